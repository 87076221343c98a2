// SPDX-License-Identifier: Apache-2.0
// Reload: see the picture in reload.h.
#include "run/reload.h"

#include "net/sys.h"

namespace relay {

void Reload::begin(Delay drain) {
  drain_ = drain;
  if (active()) {
    once_more_ = true;
    return;
  }
  faults_.clear();
  committing_ = false;
  file_ = std::make_unique<ConfigFile>(kinds_, path_, args_, ConfigFile::When::kReload);
  timer_.arm(Delay{0});
}

void Reload::cancel() {
  timer_.disarm();
  file_.reset();
  if (!committing_) change_.reset();
  while (change_.has_value() && change_->commit()) {
  }
  change_.reset();
}

void Reload::on_timer(Timer&) {
  const int64_t enough = sys::monotonic_us() + kSliceUs;
  while (step())
    if (sys::monotonic_us() >= enough) return timer_.arm(kPause);
  if (std::exchange(once_more_, false)) begin(drain_);
}

// False: it is over.
bool Reload::step() {
  if (file_ != nullptr) {
    if (file_->step()) return true;
    if (!file_->faults().empty()) {
      fail(file_->faults());
      return false;
    }
    global_ = std::move(file_->config().global);
    change_.emplace(fleet_, std::move(file_->config().relays), drain_);
    file_.reset();
    return true;
  }
  if (!committing_) {
    const bool more = change_->prepare(faults_);
    if (!faults_.empty()) {
      fail(faults_);
      return false;
    }
    committing_ = !more;
    return true;
  }
  if (change_->commit()) return true;
  const Change::Counts counts = change_->counts();
  change_.reset();
  user_.on_reloaded(counts, global_);
  return false;
}

void Reload::fail(const Faults& faults) {
  const Faults told = faults;
  change_.reset();
  file_.reset();
  user_.on_reload_failed(told);
}

}  // namespace relay

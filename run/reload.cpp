// SPDX-License-Identifier: Apache-2.0
// Reload: see the picture in reload.h.
#include "run/reload.h"

#include "net/sys.h"

namespace relay {

uint64_t Reload::begin(Delay drain) {
  drain_ = drain;
  if (active()) {
    once_more_ = true;
    return number_ + 1;
  }
  faults_.clear();
  phase_ = Phase::kRead;
  if (path_.empty()) {
    Config::Items same;
    for (const auto& running : fleet_.relays()) same.push_back({running->kind->name, running->section});
    change_.emplace(fleet_, std::move(same), drain_);
    phase_ = Phase::kPrepare;
  } else {
    file_ = std::make_unique<ConfigFile>(kinds_, path_, args_, ConfigFile::When::kReload);
  }
  timer_.arm(Delay{0});
  return ++number_;
}

void Reload::cancel() {
  timer_.disarm();
  if (!active()) return;
  const bool again = std::exchange(once_more_, false);
  if (phase_ == Phase::kCommit || phase_ == Phase::kForget || phase_ == Phase::kSettle) {
    while (step()) {
    }
    settle_by_ = {};
    if (active()) step();
    if (!again) return;
  }
  if (again) ++number_;  // who waits for that hears, too
  fail({{"relay", "a drain has begun; nothing is taken into use any more"}});
}

void Reload::on_timer(Timer&) {
  const int64_t enough = sys::monotonic_us() + kSliceUs;
  while (step())
    if (sys::monotonic_us() >= enough) return timer_.arm(kPause);
  if (active()) return timer_.arm(kLook);
  if (std::exchange(once_more_, false)) begin(drain_);
}

// False: it is over, or waits until all have settled.
bool Reload::step() {
  switch (phase_) {
    case Phase::kRead:
      if (!file_->step()) phase_ = Phase::kReadDone;
      return true;
    case Phase::kReadDone:
      if (file_->forget()) return true;
      if (!file_->faults().empty()) {
        fail(file_->faults());
        return false;
      }
      global_ = std::move(file_->config().global);
      change_.emplace(fleet_, std::move(file_->config().relays), drain_);
      file_.reset();
      phase_ = Phase::kPrepare;
      return true;
    case Phase::kPrepare:
      if (!change_->prepare(faults_)) {
        phase_ = Phase::kCommit;
        if (faults_.empty()) user_.on_reload_ready(faults_);
      }
      if (faults_.empty()) return true;
      fail(faults_);
      return false;
    case Phase::kCommit:
      if (!change_->commit()) phase_ = Phase::kForget;
      return true;
    case Phase::kForget:
      if (change_->forget()) return true;
      phase_ = Phase::kSettle;
      settle_by_ = loop_.now() + kSettleMost;
      return true;
    case Phase::kSettle:
      if (!fleet_.settled() && loop_.now() < settle_by_) return false;
      break;
  }
  const Change::Counts counts = change_->counts();
  change_.reset();
  user_.on_reloaded(counts, path_.empty() ? nullptr : &global_);
  return false;
}

void Reload::fail(const Faults& faults) {
  const Faults told = faults;  // NOLINT(performance-unnecessary-copy-initialization): it may be the file's, which goes
  change_.reset();
  file_.reset();
  user_.on_reload_failed(told);
}

}  // namespace relay

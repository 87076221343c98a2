// SPDX-License-Identifier: Apache-2.0
// Reload: the file read again and taken into use while the relays work. It does a slice of a few milliseconds at a time, so that
// traffic is not held up however long the file is:
//
//   begin ─► reading, checking ─► preparing ─► on_reload_ready ─► committing ─► settling ─► on_reloaded
//                   └── a fault ──────┴─► nothing has changed; on_reload_failed
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "run/config_file.h"
#include "run/fleet.h"

namespace relay {

class ReloadUser {
 public:
  // All is ready to be taken into use, and nothing has changed yet: the last that may find a fault.
  virtual void on_reload_ready(Faults& faults) = 0;
  // `global`: what the file and the command line say now of the process's own keys; nullptr: nothing was read.
  virtual void on_reloaded(const Change::Counts& counts, const Section* global) = 0;
  virtual void on_reload_failed(const Faults& faults) = 0;

 protected:
  ~ReloadUser() = default;
};

class Reload final : private TimerUser {
 public:
  // Borrows all for its life. `path` is empty if there is no file: the configuration stays, and only the
  // certificates are read again.
  Reload(Loop& loop, Fleet& fleet, std::span<const Kind* const> kinds, std::string path, std::span<const char* const> args, ReloadUser& user)
      : loop_(loop), fleet_(fleet), kinds_(kinds), path_(std::move(path)), args_(args), user_(user), timer_(loop, *this) {}

  const std::string& path() const { return path_; }
  bool active() const { return file_ != nullptr || change_.has_value(); }
  // `drain` is how long a relay that goes may take. One that comes while another is active begins again after it. Returns its
  // number; several that come while one is active are one.
  uint64_t begin(Delay drain);
  uint64_t number() const { return number_; }  // of the last that has begun
  // Ends it now: what has begun to be taken into use is, and all else is a reload that has failed.
  void cancel();

 private:
  static constexpr int64_t kSliceUs = 1500;
  enum class Phase : uint8_t { kRead, kReadDone, kPrepare, kCommit, kForget, kSettle };
  static constexpr Delay kPause{1};  // between slices: who has traffic is served
  static constexpr Delay kLook{2};   // whether all have settled
  static constexpr Delay kSettleMost{5000};
  void on_timer(Timer& timer) override;
  bool step();
  void fail(const Faults& faults);

  Loop& loop_;
  Fleet& fleet_;
  std::span<const Kind* const> kinds_;
  std::string path_;
  std::span<const char* const> args_;
  ReloadUser& user_;
  Timer timer_;
  Delay drain_{};
  std::unique_ptr<ConfigFile> file_;  // while it is read
  std::optional<Change> change_;
  Section global_{global_keys()};
  Faults faults_;
  Phase phase_ = Phase::kRead;
  Time settle_by_{};
  bool once_more_ = false;
  uint64_t number_ = 0;
};

}  // namespace relay

// SPDX-License-Identifier: Apache-2.0
// FileSync: sees to it that what was written to some files is on the disk, and says when, while the loop goes on.
//
//   begin(files) ─► the kernel does it (io_submit) ─► eventfd ─► on_file_sync(Status)       no thread, one call a file
//
// Where the kernel will not (it is built without, its limit of such calls is used up), the files are waited for in begin(), which is
// said in the log once; on_file_sync comes from the loop all the same.
#pragma once

#include <optional>
#include <span>

#include "lib/status.h"
#include "net/fd.h"
#include "net/loop.h"

namespace relay {

class FileSyncUser {
 public:
  // All is on the disk; or something is not, and then the kernel may have dropped it from memory as well.
  virtual void on_file_sync(const Status& status) = 0;

 protected:
  ~FileSyncUser() = default;
};

class FileSync final : private Watcher, private TimerUser {
 public:
  static constexpr size_t kMostFiles = 16;

  // Borrows both for its life.
  FileSync(Loop& loop, FileSyncUser& user) : loop_(loop), user_(user), later_(loop, *this) {}
  ~FileSync();  // waits for what is under way; and the kernel takes some 30 ms to forget a queue

  // REQUIRES: !busy(), at most kMostFiles, all open until on_file_sync.
  void begin(std::span<const int> files);
  bool busy() const { return busy_; }

 private:
  void on_event(uint32_t events) override;
  void on_timer(Timer& timer) override;
  int open();
  void wait_for(int file, int error);
  void note(int result);
  void finish();

  Loop& loop_;
  FileSyncUser& user_;
  Timer later_;
  Fd event_;
  sys::SyncQueue queue_ = 0;
  std::optional<int> opened_;  // what came of it: 0 or -errno
  bool said_ = false;  // that begin() waits
  bool busy_ = false;
  size_t left_ = 0;    // files under way
  int error_ = 0;      // the first of this time
};

}  // namespace relay

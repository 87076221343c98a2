// SPDX-License-Identifier: Apache-2.0
// FileSync: the kernel's own asynchronous fdatasync, of which the kernel has a worker do the waiting (Linux 4.18).
#include "net/file_sync.h"

#include <array>
#include <cstring>

#include "lib/log.h"

namespace relay {

FileSync::~FileSync() {
  loop_.forget(*this);
  if (opened_ == 0) sys::sync_close(queue_);
}

// Only once it is needed.
int FileSync::open() {
  event_ = Fd{sys::event_open()};
  if (!event_.open()) return event_.get();
  if (const Status status = loop_.watch(*this, event_.get(), EPOLLIN); !status.ok()) return -status.error();
  return sys::sync_open(kMostFiles, &queue_);
}

void FileSync::begin(std::span<const int> files) {
  CHECK(!busy_ && files.size() <= kMostFiles);
  busy_ = true;
  error_ = 0;
  if (!opened_) opened_ = open();
  for (const int file : files) {
    const int error = *opened_ < 0 ? *opened_ : sys::sync_begin(queue_, file, event_.get());
    if (error < 0) wait_for(file, error);
    else ++left_;
  }
  if (left_ == 0) later_.arm(Delay{0});
}

void FileSync::wait_for(int file, int error) {
  if (!said_) LogLine(Level::kWarn, "sync-waits").text("error", std::strerror(-error)).text("remedy", "raise fs.aio-max-nr; until then all wait for the disk");
  said_ = true;
  note(sys::sync_file(file));
}

void FileSync::note(int result) {
  if (result < 0 && error_ == 0) error_ = -result;
}

void FileSync::on_event(uint32_t) {
  sys::event_clear(event_.get());
  std::array<int, kMostFiles> results{};
  const int n = sys::sync_take(queue_, results.data(), static_cast<int>(results.size()));
  for (int i = 0; i < n; ++i) note(results[static_cast<size_t>(i)]);
  if (n <= 0) return;
  CHECK(static_cast<size_t>(n) <= left_);
  left_ -= static_cast<size_t>(n);
  if (left_ == 0) finish();
}

void FileSync::on_timer(Timer&) { finish(); }

void FileSync::finish() {
  busy_ = false;
  user_.on_file_sync(error_ == 0 ? Status{} : from_errno(error_, "fdatasync"));
}

}  // namespace relay

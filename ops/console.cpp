// SPDX-License-Identifier: Apache-2.0
// Console: stderr, which may be a terminal, a file, a pipe that nobody reads, or the journal.
#include "ops/console.h"

#include <algorithm>
#include <cstdlib>

#include "net/sys.h"

namespace relay {

namespace {
constexpr int kStderr = 2;
}

int64_t Console::unix_ms() { return sys::unix_ms(); }

Console::Console() : fd_(sys::log_open()) {}

void Console::may_wait(int64_t most) { until_ = sys::monotonic_ms() + most; }

uint64_t Console::write(std::string_view lines) {
  if (until_ != 0) sys::wait_writable(fd_, static_cast<int>(std::max<int64_t>(0, until_ - sys::monotonic_ms())));
  if (torn_ && sys::log_write(fd_, "\n", 1) == 1) torn_ = false;
  const ssize_t n = torn_ ? -1 : sys::log_write(fd_, lines.data(), lines.size());
  const size_t taken = n < 0 ? 0 : static_cast<size_t>(n);
  if (taken > 0) torn_ = lines[taken - 1] != '\n';
  return static_cast<uint64_t>(std::count(lines.begin() + static_cast<std::ptrdiff_t>(taken), lines.end(), '\n'));
}

bool stderr_is_journal() {
  const char* stream = std::getenv("JOURNAL_STREAM");
  return stream != nullptr && sys::same_file(kStderr, stream);
}

}  // namespace relay

// SPDX-License-Identifier: Apache-2.0
// Console: stderr as the sink of the log, in the format that whoever reads it wants.
#pragma once

#include "lib/log.h"

namespace relay {

class Console final : public LogSink {
 public:
  Console();
  int64_t unix_ms() override;
  // Never blocks, while there is work: lines that stderr does not take now are dropped and counted.
  uint64_t write(std::string_view lines) override;
  // The work is done: from now on lines wait for stderr, `most` milliseconds in all.
  void may_wait(int64_t most);

 private:
  int fd_;
  bool torn_ = false;  // the last line that was taken was not taken whole
  int64_t until_ = 0;  // until when lines may wait; 0: not at all
};

// stderr is the journal's stream ($JOURNAL_STREAM names it).
bool stderr_is_journal();

}  // namespace relay

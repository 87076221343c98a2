// SPDX-License-Identifier: Apache-2.0
// Console: stderr as the sink of the log, in the format that whoever reads it wants.
#pragma once

#include "lib/log.h"

namespace relay {

class Console final : public LogSink {
 public:
  Console();
  int64_t unix_ms() override;
  // Never blocks: lines that stderr does not take now are dropped and counted.
  uint64_t write(std::string_view lines) override;

 private:
  int fd_;
  bool torn_ = false;  // the last line that was taken was not taken whole
};

// stderr is the journal's stream ($JOURNAL_STREAM names it).
bool stderr_is_journal();

}  // namespace relay

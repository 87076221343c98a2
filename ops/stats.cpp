// SPDX-License-Identifier: Apache-2.0
// Stats: the log line.
#include "ops/stats.h"

#include "lib/check.h"
#include "lib/log.h"

namespace relay {

void log_stats(std::string_view relay, std::span<const StatRow> rows, std::span<const uint64_t> values) {
  CHECK(rows.size() == values.size());
  LogLine line(Level::kInfo, "stats");
  line.text("relay", relay);
  for (size_t i = 0; i < rows.size(); ++i) line.number(rows[i].name, values[i]);
  line.number("log_dropped", log_dropped());
}

}  // namespace relay

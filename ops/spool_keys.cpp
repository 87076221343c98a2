// SPDX-License-Identifier: Apache-2.0
// The keys of a spool.
#include "ops/spool_keys.h"

namespace relay {

bool has_spool(const Section& section) { return section.find("spool") != nullptr && section.has("spool"); }

std::optional<Spool::Plan> read_spool(const Section& section, const std::string& name) {
  if (!has_spool(section)) return std::nullopt;
  const std::string_view when = section.text("fsync");
  const Spool::Fsync fsync = when == "always" ? Spool::Fsync::kAlways : when == "no" ? Spool::Fsync::kNo : Spool::Fsync::kEverySecond;
  return Spool::Plan{std::string(section.text("spool")), name, section.size("spool-size"), fsync};
}

}  // namespace relay

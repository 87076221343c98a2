// SPDX-License-Identifier: Apache-2.0
// Confine: key and log line.
#include "ops/confine.h"

#include <cstring>

#include "lib/log.h"

namespace relay {

void confine(const Section& global, const Rights& rights) {
  Level level = Level::kInfo;
  const char* reason = nullptr;
  if (global.flag("no-seccomp")) {
    reason = "no-seccomp is set";
  } else if (!can_confine()) {
    reason = "this program has no filter: it was built for another architecture, or with sanitizers";
  } else if (const Status status = install_confinement(rights); !status.ok()) {
    level = Level::kWarn;
    reason = std::strerror(status.error());
  }
  if (reason == nullptr) LogLine(Level::kInfo, "confined").text("by", "seccomp");
  else LogLine(level, "not-confined").text("reason", reason);
}

}  // namespace relay

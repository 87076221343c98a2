// SPDX-License-Identifier: Apache-2.0
// Notify: one datagram. A service manager that cannot take it is its own concern, not a reason to stop relaying.
#include "ops/notify.h"

#include <cerrno>
#include <cstdlib>

#include "lib/text.h"
#include "net/sys.h"

namespace relay {
namespace {

std::string_view environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? std::string_view() : std::string_view(value);
}

// A variable that names the process that it is for: children inherit it, and are not meant.
bool for_this_process(const char* name) { return environment(name) == std::to_string(sys::process_id()); }

}  // namespace

bool notify_wanted() { return !environment("NOTIFY_SOCKET").empty(); }

bool notify(std::string_view state) {
  const char* socket = std::getenv("NOTIFY_SOCKET");
  return socket == nullptr || sys::send_datagram(socket, state.data(), state.size()) != -EAGAIN;
}

std::string reloading_state() { return "RELOADING=1\nMONOTONIC_USEC=" + std::to_string(sys::monotonic_us()); }

Delay watchdog_patience() {
  if (!environment("WATCHDOG_PID").empty() && !for_this_process("WATCHDOG_PID")) return Delay{0};
  const uint64_t microseconds = parse_integer(environment("WATCHDOG_USEC")).value_or(0);
  return Delay{static_cast<int64_t>(std::min<uint64_t>(microseconds / 1000, 24 * 3600 * 1000))};
}

int passed_sockets() {
  if (!for_this_process("LISTEN_PID")) return 0;
  return static_cast<int>(std::min<uint64_t>(parse_integer(environment("LISTEN_FDS")).value_or(0), 4096));
}

}  // namespace relay

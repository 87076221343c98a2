// SPDX-License-Identifier: Apache-2.0
// Notify: one datagram. A service manager that does not take it is its own concern, not a reason to stop relaying.
#include "ops/notify.h"

#include <cstdlib>

#include "net/sys.h"

namespace relay {

void notify(std::string_view state) {
  const char* socket = std::getenv("NOTIFY_SOCKET");
  if (socket != nullptr) static_cast<void>(sys::send_datagram(socket, state.data(), state.size()));
}

}  // namespace relay

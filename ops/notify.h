// SPDX-License-Identifier: Apache-2.0
// Notify: tells the service manager how we are (sd_notify(3)), without libsystemd: a datagram to $NOTIFY_SOCKET.
#pragma once

#include <string_view>

namespace relay {

// "READY=1", "STOPPING=1\nSTATUS=draining". Nothing happens if nobody asked for it.
void notify(std::string_view state);

}  // namespace relay

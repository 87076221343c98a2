// SPDX-License-Identifier: Apache-2.0
// The service manager, without libsystemd: telling it how we are (sd_notify(3)), the watchdog that it keeps over us
// (sd_watchdog_enabled(3)), the sockets that it has opened for us (sd_listen_fds(3)).
#pragma once

#include <string>
#include <string_view>

#include "net/timer.h"

namespace relay {

// "READY=1", "STOPPING=1\nSTATUS=draining". Nothing happens if nobody asked for it. Never waits: false if the manager has too much to
// read now, and should be told again in a while.
bool notify(std::string_view state);
bool notify_wanted();

// What "RELOADING=1" needs beside it: the time at which it began.
std::string reloading_state();

// How long it waits for "WATCHDOG=1" before it takes us for hung; zero: it does not.
Delay watchdog_patience();

// Descriptors 3, 4, … that were passed to this process; how many. They are its caller's from then on.
int passed_sockets();

}  // namespace relay

// SPDX-License-Identifier: Apache-2.0
// relay status: asks running relays how they are, through their admin sockets, and shows it as a table or as their own JSON.
#pragma once

#include <span>
#include <string>

#include "ops/config.h"
#include "relay.h"

namespace relay {

std::span<const Key> status_keys();
// `args` are the words behind "status". Returns the exit code: 0, 1 if there is nobody to ask, 2 for a fault in the arguments.
int status_command(std::span<const Kind* const> kinds, std::span<const char* const> args);

}  // namespace relay

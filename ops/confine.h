// SPDX-License-Identifier: Apache-2.0
// Confine: what the operator sees of net/confine.h: the key `no-seccomp`, and one line of log that says which it is.
#pragma once

#include "net/confine.h"
#include "ops/config.h"

namespace relay {

// Gives up all system calls but a relay's, for good, unless no-seccomp is set. A kernel that cannot do it is a warning and no
// fault: relaying goes on as it did before there was a filter. REQUIRES: what is ever opened for writing is open.
void confine(const Section& global, const Rights& rights);

}  // namespace relay

// SPDX-License-Identifier: Apache-2.0
// Worker: the life of a process that has one relay of a crew, and does what the main process says over the trunk (letter.h).
//
//   set up ─► configured ─► turns of the loop ─► told to drain: idle ─► gone, 0
//                  └─ faults: said, gone, 2            └─ told to stop, or nobody there to tell ─► gone
#pragma once

#include "run/nursery.h"

namespace relay {

int worker_life(Nursery::Cradle&& cradle);

}  // namespace relay

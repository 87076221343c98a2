// SPDX-License-Identifier: Apache-2.0
// Parameters of a place to listen: keys that hold for those who come there, and not for the others.
//
//   tls://0.0.0.0:8000?framing=line&clients=100      ?NAME=VALUE, &NAME=VALUE …; %HH stands for any byte
//
// They are read as keys are, by the same rows: a Section has them then.
#pragma once

#include <string_view>

#include "ops/config.h"

namespace relay {

// Up to the question mark.
std::string_view without_parameters(std::string_view place);
// Sets those of `place` in `section`, whose table says which there may be. A fault, at `where`, names the place, the parameter and the
// remedy. A byte that is written as %HH and is no printable ASCII is \xHH in the value.
void set_parameters(std::string_view place, Section& section, const std::string& where, Faults& faults);

}  // namespace relay

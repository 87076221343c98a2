// SPDX-License-Identifier: Apache-2.0
// A configuration file of any bytes: read, or refused with faults, and never the end of the process.
// covers: ops/toml.cpp ops/config.cpp ops/describe.cpp
#include "tests/fuzz/config.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace relay;
  fuzz::Input input(data, size);
  Faults faults;
  const Config config = read_toml("relay.toml", input.all(), fuzz::kinds(), faults);
  CHECK(faults.size() <= 121);  // 100, those of the item at the limit, and the last words
  fuzz::check_faults(faults);
  if (faults.empty()) {
    CHECK(!config.relays.empty());
    fuzz::check_config(config);
  }
  return 0;
}

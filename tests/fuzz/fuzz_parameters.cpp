// SPDX-License-Identifier: Apache-2.0
// Any text as a place of a plex with parameters: what has no fault is a place, and can be asked for each of its values; a fault is a printable line.
//
//   input: the place
// covers: ops/parameters.cpp kinds/plex/keys.cpp
#include "kinds/plex/keys.h"
#include "lib/text.h"
#include "ops/parameters.h"
#include "tests/fuzz/config.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace relay;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  Section section(plex::plex_keys());
  Faults faults;
  section.set("listen", text, "--listen", faults);
  section.set("upstream", "grpc://127.0.0.1:1", "--upstream", faults);
  const bool is_one = faults.empty() && section.items(*section.find("listen")).size() == 1;
  if (faults.empty() && section.has("listen")) plex::plex_check(section, faults);
  fuzz::check_faults(faults);
  if (faults.empty() && is_one) {
    const plex::PlexConfig config = plex::plex_config(section);
    const plex::Entrance& entrance = config.entrances.front();
    CHECK(entrance.framing.most >= 1 && entrance.framing.width >= 1 && entrance.framing.width <= 8);
    CHECK(entrance.framing.kind != Framing::Kind::kDelimiter || !entrance.framing.delimiter.empty());
    CHECK(is_utf8(entrance.text) && (!is_utf8(text) || text.find(entrance.text) != text.npos));  // a path may be any bytes, what is shown may not
    CHECK(entrance.clients <= config.clients);
  }
  Section own(plex::entrance_keys());
  Faults more;
  set_parameters(text, own, "--listen", more);
  fuzz::check_faults(more);
  if (more.empty()) fuzz::ask_all(own);
  return 0;
}

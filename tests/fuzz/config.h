// SPDX-License-Identifier: Apache-2.0
// What must hold of a Config, however it was read: a fault is one printable line; what has none can be asked for each of its
// values, and its description is a file that describes itself.
#pragma once

#include <array>

#include "kinds/cluster/cluster.h"
#include "kinds/plex/plex.h"
#include "kinds/redis/redis.h"
#include "lib/text.h"
#include "tests/fuzz/fuzz.h"

namespace relay::fuzz {

inline std::array<KindKeys, 3> kinds() {
  return {{{cluster::kKind.name, cluster::kKind.keys()}, {redis::kKind.name, redis::kKind.keys()}, {plex::kKind.name, plex::kKind.keys()}}};
}

inline void check_faults(const Faults& faults) {
  for (const Fault& fault : faults) {
    CHECK(!fault.where.empty() && !fault.what.empty());
    CHECK(printable(fault.where) == fault.where);
    CHECK(printable(fault.what) == fault.what);
  }
}

inline void ask_all(const Section& section) {
  for (const Key& key : section.keys()) {
    CHECK(!section.where(key.name).empty());
    if (!section.has(key.name) && key.fallback.empty()) continue;
    switch (key.type) {
      case KeyType::kText:
      case KeyType::kChoice: CHECK(!section.text(key.name).empty()); break;
      case KeyType::kBool: static_cast<void>(section.flag(key.name)); break;
      case KeyType::kInteger:
      case KeyType::kPort: CHECK(section.integer(key.name) >= key.min); break;
      case KeyType::kDuration: CHECK(section.duration(key.name).count() >= key.min); break;
      case KeyType::kSize: CHECK(section.size(key.name) <= static_cast<uint64_t>(key.max)); break;
      case KeyType::kListen:
      case KeyType::kTarget:
      case KeyType::kServer:
      case KeyType::kAdmin: static_cast<void>(section.endpoints(key.name)); break;
      case KeyType::kNetwork: CHECK(!section.networks(key.name).empty()); break;
    }
  }
}

// `config` was read without a fault.
inline void check_config(const Config& config) {
  ask_all(config.global);
  Faults faults;
  for (const Config::Item& item : config.relays) {
    ask_all(item.section);
    const Kind& kind = item.kind == redis::kKind.name ? redis::kKind : item.kind == plex::kKind.name ? plex::kKind : cluster::kKind;
    kind.check(item.section, faults);
    check_faults(faults);
    if (faults.empty()) CHECK(!kind.places(item.section).empty() && !kind.title(item.section).empty());
  }
  if (!faults.empty()) return;
  const std::string text = describe(config);
  const Config again = read_toml("again.toml", text, kinds(), faults);
  for (const Fault& fault : faults) CHECK(fault.where.empty());  // there is none
  CHECK(again.relays.size() == config.relays.size());
  // Its lines have other places and no defaults are left: the second time nothing may change any more.
  Faults none;
  const Config third = read_toml("again.toml", describe(again), kinds(), none);
  CHECK(none.empty());
  CHECK(describe(third) == describe(again));
}

}  // namespace relay::fuzz

// SPDX-License-Identifier: Apache-2.0
// Orphans: messages and events of clients that are gone, whose upstream was lost before HTTP/2 had begun to take them. They go to the next one, in order.
#pragma once

#include <cstdint>
#include <deque>
#include <string>

#include "lib/uuid.h"
#include "wire/upstream.h"

namespace relay::plex {

class PlexRelay;
class Upstream;

class Orphans {
 public:
  explicit Orphans(PlexRelay& relay) : relay_(relay) {}

  bool is_empty() const { return waiting_.empty(); }
  // Of the client `uuid`, from an upstream that is lost. It goes to another one, or waits if it `may_wait`; at most upstream-queue for each upstream does.
  void add(const upstream::Input& input, const Uuid& uuid, const Upstream& from, bool may_wait);
  // Gives on what waits, as far as upstreams have room and it is not too much for a turn. True: there is more to be done at once.
  bool serve();
  // None will come any more.
  void lose();

 private:
  static constexpr uint32_t kServed = 256;  // in a turn
  bool give(const upstream::Input& input, const Uuid& uuid, const Upstream* but);

  PlexRelay& relay_;
  std::deque<std::string> waiting_;  // as they are sent
  uint64_t bytes_ = 0;
};

}  // namespace relay::plex

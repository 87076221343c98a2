// SPDX-License-Identifier: Apache-2.0
// Queued: of a lane's queue, where the last SET of a key is that the server has not answered yet (readQueued). 65,536 places, each for one of the
// keys that fall on it: the later one has it. What is not known here is asked of the server; so it may forget what it likes, but must
// forget a key that something else is done to.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>

#include "net/timer.h"

namespace relay::redis {

class Queued {
 public:
  struct Place {
    uint64_t at = 0;      // in the lane's queue
    uint32_t size = 0;    // of the command
    Time until{};         // then its key is gone
  };

  void put(std::string_view key, const Place& place);
  void forget(std::string_view key);
  void clear();
  // Of the key, or of another one with the same hash: the command says whose it is. false: not known.
  bool find(std::string_view key, Place& place) const;

 private:
  static constexpr size_t kPlaces = 65536;
  static constexpr size_t kLongestKey = 1024;  // longer ones are not known: hashing them would take too long
  struct Slot {
    uint64_t hash = 0;
    Place place;
    uint32_t age = 0;  // of the time when it was written
  };
  using Table = std::array<Slot, kPlaces>;

  std::unique_ptr<Table> table_;  // nullptr until there is something to remember
  uint32_t age_ = 1;              // clear() makes all slots of another one worthless
  bool any_ = false;
};

}  // namespace relay::redis

// SPDX-License-Identifier: Apache-2.0
// Entrances: the places where clients come, and what holds for those who came there, over changes of the configuration.
//
//   plan      0 1 2 …        the places as they are listed now; doors know these numbers
//   slots     0 1 2 3 4 …    a client knows its slot for its life
//
// A change of limits and rates is for those who are there, too. Whose place is listed no more, or has another framing now, keeps what it came
// with, in a slot of the past, until the last of them has gone.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "kinds/plex/keys.h"
#include "lib/bucket.h"

namespace relay {
class Json;
}

namespace relay::plex {

class Entrances {
 public:
  static constexpr size_t kMost = 65536;  // slots

  // Whether there is room for so many, whatever has changed.
  bool fits(size_t count) const { return slots_.size() + count <= kMost; }
  // REQUIRES: fits().
  void settle(const std::vector<Entrance>& listed);
  const Entrance& at(uint16_t slot) const { return slots_[slot]->is; }
  uint16_t slot_of(size_t number) const { return plan_[number]; }

  bool is_full(uint16_t slot) const { return slots_[slot]->is.clients > 0 && slots_[slot]->clients >= slots_[slot]->is.clients; }
  void come(uint16_t slot) { ++slots_[slot]->clients; }
  void gone(uint16_t slot);
  // The most bytes that a message may have, of those who are there and of those who may come.
  size_t longest() const;
  // Adds the list "listeners".
  void status(Json& json) const;

 private:
  struct Slot {
    Entrance is;
    uint64_t clients = 0;
    bool listed = true;
  };
  uint16_t find(const Entrance& entrance);
  std::vector<std::unique_ptr<Slot>> slots_;  // nullptr: free
  std::vector<uint16_t> plan_;
};

// How fast a client is, where that is limited.
struct Pace {
  Bucket bytes;
  Bucket messages;
};

// How often an address comes, of those that have come of late. The table's size is fixed: each address has its place in one of its rows, and in
// a row that is full the one whose last coming is the longest ago is forgotten. So who is let in too often is let in, and nobody is refused for
// what others do. (It knows 64 bits of a keyed hash of each; two that have the same are taken for one.)
class Arrivals {
 public:
  // Whether one of that address may come, by `rate` a second; if so it has come. `scope`: of which limit. `now` in milliseconds.
  bool admit(const Addr& peer, uint32_t scope, uint32_t rate, uint32_t now);

  static constexpr size_t kRows = 4096;
  static constexpr size_t kOfARow = 4;

 private:
  struct One {
    uint64_t who = 0;  // 0: nobody
    Bucket bucket;
  };
  std::vector<One> table_;  // empty until it is needed
  uint64_t key_ = 0;
};

// Of an IPv6 address the first half: who has one mostly has all of a /64. Mixed with `key`.
uint64_t hash_of_network(const Addr& peer, uint64_t key);

}  // namespace relay::plex

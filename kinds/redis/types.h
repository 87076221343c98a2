// SPDX-License-Identifier: Apache-2.0
// KeyTypes: what smart mode remembers of the types of keys, so that a command which the server would refuse (WRONGTYPE) is not answered before it
// has. Bounded and forgetful: a key's place is given by its hash, and who comes later to the same place has it.
//
//   wrote        the key holds this type now                            (SADD k: a set)
//   refused      the key holds some other type than the one needed      (HSET k: no hash)
//   forget       nothing is known of it any more                        (somebody may have done anything to it)
//   may_be       false: the command would be refused, as far as we know; let it wait for the server
//
// Wrong knowledge (another client of the server has deleted the key) and two keys taken for one cost a command its early answer, no more.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>

#include "kinds/redis/early.h"

namespace relay::redis {

class KeyTypes {
 public:
  // kAny changes nothing, kNothing forgets.
  void wrote(uint32_t db, std::string_view key, Holds holds);
  // The server has said WRONGTYPE to a command that needs `needs` of this key.
  void refused(uint32_t db, std::string_view key, Holds needs);
  void forget(uint32_t db, std::string_view key);
  void clear();  // of all keys: FLUSHALL, SWAPDB, another server
  // Whether the key holds `needs` or nothing, for all that is known.
  bool may_be(uint32_t db, std::string_view key, Holds needs) const;

 private:
  static constexpr size_t kPlaces = 4096;
  static constexpr size_t kLongestKey = 1024;  // of a longer one nothing is remembered: hashing it would take too long
  // The key's hash above, and in the lowest byte the types that it may hold, a bit each. 0: nobody.
  using Entry = uint64_t;
  using Table = std::array<Entry, kPlaces>;

  const Entry* find(uint64_t hash) const;
  void put(uint64_t hash, uint64_t types);

  std::unique_ptr<Table> table_;  // nullptr until there is something to remember
};

}  // namespace relay::redis

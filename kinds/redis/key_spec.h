// SPDX-License-Identifier: Apache-2.0
// KeySpec: where a command's keys are among its arguments. The server says it itself (COMMAND): since version 7 by rules, before that by
// first, last and step, and "movable" for those that are not so simple, for which a table of rules is built in. For a few no rule is enough;
// they are read as the server reads them.
//
//   ZUNIONSTORE dst 2 a b WEIGHTS 1 2       index 1, range 0           ─► dst
//                                           index 2, a number of keys  ─► a b
//   XREAD COUNT 1 STREAMS s t 0 0           keyword STREAMS, range -1, half of what follows ─► s t
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace relay::redis {

// One of the server's "key specifications": where to begin, and what there is from there.
struct KeyRule {
  enum class Begin : uint8_t { kIndex, kKeyword };
  enum class Find : uint8_t { kRange, kKeynum };
  Begin begin = Begin::kIndex;
  Find find = Find::kRange;
  int32_t from = 1;      // kIndex: there; kKeyword: from there on it is looked for, and if negative, from the end to the front
  std::string keyword;   // kKeyword: keys come behind it; a command without it has none by this rule
  int32_t last = 0;      // kRange: from where it begins; negative: from the end of the arguments, or of that part of them
  int32_t limit = 0;     // kRange, if last is negative: 2: the first half of them, 3: a third
  int32_t keynum = 0;    // kKeynum: where the number is, and the first key, from where it begins
  int32_t first = 1;
  int32_t step = 1;
};

struct KeySpec {
  // kUnknown: only the server can tell (COMMAND GETKEYS).
  enum class Way : uint8_t { kRules, kSort, kMigrate, kUnknown };
  Way way = Way::kRules;
  std::vector<KeyRule> rules;  // kRules; none: no keys

  bool has_keys() const { return way != Way::kRules || !rules.empty(); }
};

// What an entry of COMMAND's reply says of keys.
struct KeyEntry {
  std::string_view name;  // in lower case; of a subcommand, "object|encoding"
  int64_t first = 0;
  int64_t last = 0;
  int64_t step = 0;
  bool movable = false;
  std::vector<KeyRule> rules;
  bool rules_understood = true;
};
// Takes the entry's rules, its ninth element. False: the reply ends in them, or they are something else. A rule of a kind that
// nobody knows clears rules_understood.
bool take_key_rules(std::string_view& rest, KeyEntry& entry);
KeySpec key_spec(const KeyEntry& entry);

// The indexes in `args` (0 is the command's name) of all keys, in the order of the rules; `indexes` is cleared first. Nothing is
// allocated if it has room. False: there is no telling, be it that the server will refuse the command or that only it knows; `indexes` is empty.
bool find_keys(const KeySpec& spec, std::span<const std::string_view> args, std::vector<uint32_t>& indexes);

}  // namespace relay::redis

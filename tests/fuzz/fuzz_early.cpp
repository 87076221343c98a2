// SPDX-License-Identifier: Apache-2.0
// Which commands are answered at once: what is said of a command lies within it, depends on nothing but its words, and no option slips through;
// and what is remembered of the types of keys is never more than what was told.
//
//   input: 0 the seed's table, 1 the same, exact, 2 all that can be added; how many steps with types; those; then a command, a word a line
// covers: kinds/redis/early.cpp kinds/redis/types.cpp
#include <map>
#include <string>
#include <vector>

#include "kinds/redis/early.h"
#include "kinds/redis/types.h"
#include "lib/text.h"
#include "tests/fuzz/fuzz.h"

namespace relay::redis {
namespace {

using Words = std::vector<std::string_view>;

Words split(std::string_view text) {
  Words words;
  while (true) {
    const size_t end = text.find('\n');
    words.push_back(text.substr(0, end));
    if (end == std::string_view::npos) return words;
    text.remove_prefix(end + 1);
  }
}

// What is said of a fault can be shown, and a word that is refused changes nothing.
EarlyTable table(uint8_t which, const Words& words) {
  EarlyTable out;
  const std::vector<std::string> all = {"append", "bitop", "decrby", "flushall", "geoadd", "hincrby", "incrby", "linsert", "lset", "setbit", "setrange",
                                        "xack", "xdel", "zremrangebylex", "zremrangebyscore"};
  if (which % 3 == 2) CHECK(out.configure(all, false).empty());
  if (which % 3 == 1) CHECK(out.configure({}, true).empty());
  EarlyTable other = out;
  const std::string fault = other.configure(std::vector<std::string>{std::string(words[0])}, false);
  CHECK(printable(fault) == fault);
  CHECK(!fault.empty() || other.knows(words[0]) || words[0].size() == 6);  // SELECT
  if (!fault.empty()) CHECK(other.knows("SET") && other.knows(words[0]) == out.knows(words[0]));
  return out;
}

bool same(const Early& a, const Early& b) {
  return a.reply == b.reply && a.repeatable == b.repeatable && a.leaves == b.leaves && a.plain_set == b.plain_set && a.value == b.value &&
         a.ttl_ms == b.ttl_ms;
}

void check_command(const EarlyTable& table, Words words) {
  const Early early = table.decide(words);
  const bool known = table.knows(words[0]);
  CHECK(known || early.reply == Made::kNone);
  std::string name(words[0]);
  for (char& c : name)
    if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')) c = static_cast<char>(c ^ 0x20);
  Words swapped = words;
  swapped[0] = name;
  CHECK(same(early, table.decide(swapped)));
  if (early.reply == Made::kNone) return;
  const int count = static_cast<int>(words.size());
  const int last = early.last_key < 0 ? count + early.last_key : early.last_key;
  if (early.first_key == 0) CHECK(early.key_step == 0);
  else CHECK(early.key_step > 0 && early.first_key <= last && last < count);
  CHECK(!early.plain_set || (early.value > 1 && early.value < count && early.ttl_ms >= 0 && early.first_key == 1));
  if (early.plain_set) {
    words.push_back("NX");
    CHECK(table.decide(words).reply == Made::kNone);
  }
}

// A model that forgets nothing: of a key and a type, whether the last that was said of them forbids it.
void check_types(fuzz::Input& input, unsigned steps) {
  KeyTypes types;
  std::map<uint16_t, std::map<Holds, bool>> forbidden;
  for (unsigned i = 0; i < steps; ++i) {
    const uint8_t what = input.byte();
    const uint16_t place = input.byte();  // key and database
    const std::string key(place % 64, 'k');
    const uint32_t db = place / 64;
    const auto holds = static_cast<Holds>(what % 8);
    auto& known = forbidden[place];
    if (what / 8 % 4 == 0) {
      types.wrote(db, key, holds);
      if (holds != Holds::kAny) known.clear();
      if (holds != Holds::kAny && holds != Holds::kNothing)
        for (uint8_t other = 1; other < 7; ++other) known[static_cast<Holds>(other)] = static_cast<Holds>(other) != holds;
    } else if (what / 8 % 4 == 1) {
      types.refused(db, key, holds);
      if (holds != Holds::kAny && holds != Holds::kNothing) known[holds] = true;
    } else if (what / 8 % 4 == 2) {
      types.forget(db, key);
      known.clear();
    } else if (what == 0xff) {
      types.clear();
      forbidden.clear();
    }
    for (uint8_t type = 0; type < 8; ++type) CHECK(types.may_be(db, key, static_cast<Holds>(type)) || forbidden[place][static_cast<Holds>(type)]);
  }
}

}  // namespace
}  // namespace relay::redis

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace relay::redis;
  relay::fuzz::Input input(data, size);
  const uint8_t which = input.byte();
  check_types(input, input.byte());
  const Words words = split(input.all());
  check_command(table(which, words), words);
  return 0;
}

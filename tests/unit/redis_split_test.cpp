// SPDX-License-Identifier: Apache-2.0
// Commands over several slots: cut into parts, and joined again; and what servers might reply that cannot be.
#ifdef RELAY_KIND_REDIS
#include <gtest/gtest.h>

#include "kinds/redis/slots.h"
#include "kinds/redis/split.h"
#include "wire/resp.h"

namespace relay::redis {
namespace {

using Words = std::vector<std::string_view>;

std::vector<std::string> commands_of(const Split& split) {
  std::vector<std::string> out;
  for (const Split::Part& part : split.parts()) {
    std::string_view rest = split.command(part);
    std::string line;
    const int64_t argc = take_token(rest).value_or(RespToken{}).number;
    for (int64_t i = 0; i < argc; ++i) line.append(i == 0 ? "" : " ").append(take_token(rest).value_or(RespToken{}).text);
    EXPECT_TRUE(rest.empty());
    out.push_back(line);
  }
  return out;
}

TEST(Place, OfKeys) {
  const Words args{"MGET", "{a}1", "{a}2", "b"};
  EXPECT_EQ(place(args, {}).where, Placed::Where::kNowhere);
  const std::vector<uint32_t> together{1, 2};
  EXPECT_EQ(place(args, together).where, Placed::Where::kTogether);
  EXPECT_EQ(place(args, together).slot, slot_of("a"));
  const std::vector<uint32_t> apart{1, 2, 3};
  EXPECT_EQ(place(args, apart).where, Placed::Where::kApart);
}

TEST(Split, IsBySlotAndKeepsTheOrderInIt) {
  const Words args{"MGET", "a", "b", "{a}2", "c", "{b}2", "a"};
  const Split split(args, 1);
  EXPECT_EQ(commands_of(split), (std::vector<std::string>{"MGET b {b}2", "MGET c", "MGET a {a}2 a"}));  // slots 3300, 7365, 15495
  ASSERT_EQ(split.parts().size(), 3U);
  EXPECT_EQ(split.parts()[0].slot, slot_of("b"));
  const auto keys = split.keys(split.parts()[2]);
  EXPECT_EQ(std::vector<uint32_t>(keys.begin(), keys.end()), (std::vector<uint32_t>{0, 2, 5}));
  EXPECT_EQ(split.size(), 6U);
}

TEST(Split, TakesValuesAlong) {
  const Words args{"mset", "a", "1", "b", "", "a", "3"};
  EXPECT_EQ(commands_of(Split(args, 2)), (std::vector<std::string>{"mset b ", "mset a 1 a 3"}));
  EXPECT_EQ(commands_of(Split(args, 2, true)), (std::vector<std::string>{"mset b ", "mset a 1", "mset a 3"}));
}

TEST(Split, HasNoPartsOfWhatTheServerRefuses) {
  for (const Words& args : {Words{"MSET", "a"}, Words{"MSET", "a", "1", "b"}, Words{"MSET"}, Words{}}) EXPECT_TRUE(Split(args, 2).parts().empty());
  EXPECT_TRUE(Split(Words{"MGET", "a"}, 0).parts().empty());
  EXPECT_EQ(wrong_number("MSet"), "-ERR wrong number of arguments for 'mset' command\r\n");
}

TEST(Join, ValuesAreBackInOrder) {
  const Words args{"MGET", "a", "b", "{a}2", "c"};
  const Split split(args, 1);  // b; c; a {a}2
  const std::vector<std::string> replies{"*1\r\n$1\r\nB\r\n", "*1\r\n$-1\r\n", "*2\r\n$2\r\nA1\r\n_\r\n"};
  EXPECT_EQ(join_values(split, replies), "*4\r\n$2\r\nA1\r\n$1\r\nB\r\n_\r\n$-1\r\n");
}

TEST(Join, ValuesThatAreNone) {
  const Words args{"MGET", "a", "b"};
  const Split split(args, 1);
  const std::string good = "*1\r\n$1\r\nB\r\n";
  for (const char* bad : {"*2\r\n$1\r\nB\r\n$1\r\nB\r\n", "*0\r\n", "*1\r\n", "", "+OK\r\n", "$1\r\nx\r\n", "*1\r\n$1\r\nB\r\n:1\r\n", "*-1\r\n", "_\r\n",
                          "%1\r\n+a\r\n+b\r\n", "*1\r\n$9\r\nB\r\n"}) {
    const std::vector<std::string> replies{good, bad};
    EXPECT_TRUE(join_values(split, replies).starts_with("-ERR relay: ")) << bad;
  }
  const std::vector<std::string> failed{good, "-LOADING x\r\n"};
  EXPECT_EQ(join_values(split, failed), "-LOADING x\r\n");
  const std::vector<std::string> few{good};
  EXPECT_TRUE(join_values(split, few).starts_with("-ERR relay: "));
}

TEST(Join, Numbers) {
  const auto joined = [](Join how, std::vector<std::string> replies) { return join(how, replies); };
  EXPECT_EQ(joined(Join::kSum, {":1\r\n", ":20\r\n", ":-3\r\n"}), ":18\r\n");
  EXPECT_EQ(joined(Join::kSum, {":9000000000000000000\r\n", ":1\r\n"}), ":9000000000000000001\r\n");
  EXPECT_EQ(joined(Join::kMin, {":4\r\n", ":2\r\n"}), ":2\r\n");
  EXPECT_EQ(joined(Join::kMax, {":4\r\n", ":2\r\n"}), ":4\r\n");
  EXPECT_EQ(joined(Join::kAnd, {"*2\r\n:1\r\n:1\r\n", "*2\r\n:0\r\n:1\r\n"}), "*2\r\n:0\r\n:1\r\n");
  EXPECT_EQ(joined(Join::kOr, {":1\r\n", ":0\r\n"}), ":1\r\n");
  EXPECT_EQ(joined(Join::kSum, {":1\r\n", "-ERR a\r\n", "-ERR b\r\n"}), "-ERR a\r\n");
  EXPECT_EQ(joined(Join::kSum, {":1\r\n", "!5\r\nERR a\r\n"}), "!5\r\nERR a\r\n");
  EXPECT_EQ(joined(Join::kSum, {"|1\r\n+ttl\r\n:1\r\n:4\r\n", ":1\r\n"}), ":5\r\n");
  for (const char* bad : {":9223372036854775807\r\n", ":99999999999999999999\r\n", ":\r\n", ":x\r\n", "+1\r\n", "$1\r\n1\r\n", "", ":1", ":1\r\n:1\r\n",
                          "*1\r\n:1\r\n", "*-1\r\n", "*999999999\r\n:1\r\n"})
    EXPECT_TRUE(joined(Join::kSum, {":1\r\n", bad}).starts_with("-ERR relay: ")) << bad;
}

TEST(Join, ListsAndTheRest) {
  const auto joined = [](Join how, std::vector<std::string> replies) { return join(how, replies); };
  EXPECT_EQ(joined(Join::kConcat, {"*1\r\n$1\r\na\r\n", "*0\r\n", "*2\r\n$1\r\nb\r\n*1\r\n:1\r\n"}), "*3\r\n$1\r\na\r\n$1\r\nb\r\n*1\r\n:1\r\n");
  EXPECT_EQ(joined(Join::kConcat, {"~1\r\n+a\r\n", "_\r\n", "~1\r\n+b\r\n"}), "~2\r\n+a\r\n+b\r\n");
  EXPECT_EQ(joined(Join::kConcat, {"%1\r\n+a\r\n:1\r\n", "%1\r\n+b\r\n:2\r\n"}), "%2\r\n+a\r\n:1\r\n+b\r\n:2\r\n");
  EXPECT_EQ(joined(Join::kConcat, {"*-1\r\n"}), "*0\r\n");
  for (const char* bad : {"~0\r\n", "+OK\r\n", "", "*2\r\n+a\r\n", "*1\r\n+a\r\n+b\r\n", "*9999999999999\r\n"})
    EXPECT_TRUE(joined(Join::kConcat, {"*0\r\n", bad}).starts_with("-ERR relay: ")) << bad;
  EXPECT_EQ(joined(Join::kFirst, {"+OK\r\n", "+OK\r\n"}), "+OK\r\n");
  EXPECT_EQ(joined(Join::kFirst, {"+OK\r\n", "-READONLY x\r\n"}), "-READONLY x\r\n");
  EXPECT_EQ(joined(Join::kAny, {"-NOTBUSY\r\n", "+OK\r\n"}), "+OK\r\n");
  EXPECT_EQ(joined(Join::kAny, {"-NOTBUSY 1\r\n", "-NOTBUSY 2\r\n"}), "-NOTBUSY 1\r\n");
  EXPECT_TRUE(joined(Join::kFirst, {}).starts_with("-ERR relay: "));
}

TEST(Cursor, CarriesASlot) {
  for (const uint64_t own : {uint64_t{0}, uint64_t{1}, (uint64_t{1} << 49U) - 1})
    for (const uint16_t slot : {uint16_t{0}, uint16_t{5461}, uint16_t{16383}}) {
      const auto joined = Cursor{own, slot}.joined();
      ASSERT_TRUE(joined);
      EXPECT_LT(*joined, uint64_t{1} << 63U);
      EXPECT_EQ(Cursor::of(*joined).own, own);
      EXPECT_EQ(Cursor::of(*joined).slot, slot);
    }
  EXPECT_FALSE((Cursor{uint64_t{1} << 49U, 0}).joined());
  EXPECT_FALSE((Cursor{UINT64_MAX, 0}).joined());
  EXPECT_EQ(Cursor::read("18446744073709551615").value_or(Cursor{}).slot, 16383);
  for (const char* bad : {"", "-1", "x", "1x", "+1", " 1", "18446744073709551616"}) EXPECT_FALSE(Cursor::read(bad)) << bad;
}

TEST(Scan, GoesFromServerToServer) {
  const Words args{"SCAN", "5461", "COUNT", "10"};
  EXPECT_EQ(scan_command(args, *Cursor::read(args[1])), "*4\r\n$4\r\nSCAN\r\n$1\r\n0\r\n$5\r\nCOUNT\r\n$2\r\n10\r\n");
  const std::string on = std::to_string(7 * 16384 + 5461);
  EXPECT_EQ(join_scan("*2\r\n$1\r\n7\r\n*1\r\n$1\r\na\r\n", 5461, 10923), "*2\r\n$6\r\n" + on + "\r\n*1\r\n$1\r\na\r\n");
  EXPECT_EQ(join_scan("*2\r\n$1\r\n0\r\n*0\r\n", 5461, 10923), "*2\r\n$5\r\n10923\r\n*0\r\n");
  EXPECT_EQ(join_scan("*2\r\n$1\r\n0\r\n*0\r\n", 10923, std::nullopt), "*2\r\n$1\r\n0\r\n*0\r\n");
  EXPECT_EQ(join_scan("-ERR invalid cursor\r\n", 1, 2), "-ERR invalid cursor\r\n");
  for (const char* bad :
       {"", "*2\r\n$1\r\n0\r\n", "*1\r\n$1\r\n0\r\n", "*2\r\n$1\r\nx\r\n*0\r\n", "*2\r\n$0\r\n\r\n*0\r\n", "*2\r\n:0\r\n*0\r\n", "+OK\r\n",
        "*2\r\n$1\r\n0\r\n*0\r\n+x\r\n", "*2\r\n$20\r\n18446744073709551615\r\n*0\r\n", "*2\r\n$20\r\n99999999999999999999\r\n*0\r\n"})
    EXPECT_TRUE(join_scan(bad, 1, 2).starts_with("-ERR relay: ")) << bad;
}

}  // namespace
}  // namespace relay::redis
#endif

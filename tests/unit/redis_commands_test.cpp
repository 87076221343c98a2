// SPDX-License-Identifier: Apache-2.0
// Where the keys of commands are: as a real server says, form by form; for servers that say less; and for those that say nonsense.
#ifdef RELAY_KIND_REDIS
#include <gtest/gtest.h>

#include "kinds/redis/commands.h"
#include "tests/unit/redis_commands.h"
#include "wire/resp.h"

namespace relay::redis {
namespace {

// The words of a line; "" is an empty one.
std::vector<std::string_view> words(std::string_view line) {
  std::vector<std::string_view> out;
  while (!line.empty()) {
    const std::string_view word = line.substr(0, line.find(' '));
    out.push_back(word == "\"\"" ? std::string_view() : word);
    line.remove_prefix(std::min(line.size(), word.size() + 1));
  }
  return out;
}

// The keys of a line, or "?" where there is no telling.
std::string keys_of(const Commands& commands, std::string_view line) {
  const std::vector<std::string_view> args = words(line);
  const Command command = commands.find(args[0], args.size() > 1 ? args[1] : std::string_view());
  if (command.keys == nullptr) return "nobody has said";
  std::vector<uint32_t> indexes{77};
  if (!find_keys(*command.keys, args, indexes)) return indexes.empty() ? "?" : "? and an index";
  std::string out;
  for (const uint32_t i : indexes) out.append(out.empty() ? "" : " ").append(args.at(i));
  return out;
}

Commands learned() {
  Commands commands;
  EXPECT_TRUE(commands.learn(kServerCommands));
  return commands;
}

TEST(Keys, AreWhereTheServerSays) {
  // It reads a number in two ways, and then refuses these; and it does not call a channel a key, though it is where a slot is.
  const std::vector<std::string_view> other{"ZUNION 01 a", "ZUNION +1 a", "ZUNIONSTORE d 0 a", "SPUBLISH c m", "SSUBSCRIBE a"};
  const Commands commands = learned();
  size_t seen = 0;
  for (const ServerForm& form : kServerForms) {
    const std::string found = keys_of(commands, form.words);
    const std::string_view said = form.keys != nullptr ? form.keys : "";
    if (std::find(other.begin(), other.end(), form.words) != other.end()) {
      EXPECT_NE(found, said) << form.words;
      ++seen;
    } else {
      EXPECT_EQ(found == "?" ? "" : found, said) << form.words;  // no keys or no telling: any server will do
    }
  }
  EXPECT_EQ(seen, other.size());
}

TEST(Keys, ThatCannotBeTold) {
  const Commands commands = learned();
  for (const char* line : {"DEL", "MSET", "BLPOP a", "LMPOP x a LEFT", "LMPOP 3 a LEFT", "ZUNION -1 a", "EVAL s 3 a b", "EVAL s 9999999999999 a", "EVAL s", "XREAD STREAMS a", "SORT", "GEORADIUS", "MIGRATE h 1 k 0",
                           "MIGRATE h 1 k 0 10 KEYS a"})
    EXPECT_EQ(keys_of(commands, line), "?") << line;
}

// As a server before version 7 says it.
std::string old_entry(std::string_view name, std::string_view flag, int first, int last, int step) {
  const auto word = [](std::string_view text) { return "$" + std::to_string(text.size()) + "\r\n" + std::string(text) + "\r\n"; };
  return "*7\r\n" + word(name) + ":-2\r\n*2\r\n+" + std::string(flag) + "\r\n+fast\r\n:" + std::to_string(first) + "\r\n:" + std::to_string(last) + "\r\n:" + std::to_string(step) + "\r\n*1\r\n+@x\r\n";
}

TEST(Keys, OfServersWithoutRules) {
  Commands commands;
  EXPECT_EQ(keys_of(commands, "GET k"), "nobody has said");
  std::string reply = "*10\r\n" + old_entry("get", "readonly", 1, 1, 1) + old_entry("mset", "write", 1, -1, 2) + old_entry("brpop", "write", 1, -2, 1) + old_entry("object", "readonly", 2, 2, 1);
  for (const char* movable : {"eval", "zunionstore", "xread", "sort", "migrate", "module.moves"}) reply += old_entry(movable, "movablekeys", 1, 1, 1);
  ASSERT_TRUE(commands.learn(reply));
  EXPECT_EQ(keys_of(commands, "GET k"), "k");
  EXPECT_EQ(keys_of(commands, "mset a 1 b 2"), "a b");
  EXPECT_EQ(keys_of(commands, "BRPOP a b 0"), "a b");
  EXPECT_EQ(keys_of(commands, "OBJECT ENCODING k"), "k");
  EXPECT_EQ(keys_of(commands, "EVAL s 2 a b c"), "a b");
  EXPECT_EQ(keys_of(commands, "ZUNIONSTORE d 2 a b"), "d a b");
  EXPECT_EQ(keys_of(commands, "XREAD COUNT 1 STREAMS a b 0 0"), "a b");
  EXPECT_EQ(keys_of(commands, "SORT k BY store STORE d"), "k d");
  EXPECT_EQ(keys_of(commands, "MIGRATE h 1 \"\" 0 10 KEYS a b"), "a b");
  EXPECT_EQ(keys_of(commands, "MODULE.MOVES a b"), "?");
}

// An entry with one rule, and what it finds.
std::string by_rule(std::string_view begin, std::string_view find, std::string_view line) {
  const std::string rule = "%2\r\n+begin_search\r\n" + std::string(begin) + "+find_keys\r\n" + std::string(find);
  const std::string reply = "*1\r\n*10\r\n+x\r\n:-1\r\n*1\r\n+movablekeys\r\n:0\r\n:0\r\n:0\r\n*0\r\n*0\r\n*1\r\n" + rule + "*0\r\n";
  Commands commands;
  return commands.learn(reply) ? keys_of(commands, line) : "no reply";
}
std::string index_at(std::string_view n) { return "%2\r\n+type\r\n+index\r\n+spec\r\n%1\r\n+index\r\n:" + std::string(n) + "\r\n"; }
std::string word_from(std::string_view word, std::string_view n) {
  return "%2\r\n+type\r\n+keyword\r\n+spec\r\n%2\r\n+keyword\r\n+" + std::string(word) + "\r\n+startfrom\r\n:" + std::string(n) + "\r\n";
}
std::string range_of(std::string_view last, std::string_view step, std::string_view limit) {
  return "%2\r\n+type\r\n+range\r\n+spec\r\n%3\r\n+lastkey\r\n:" + std::string(last) + "\r\n+keystep\r\n:" + std::string(step) + "\r\n+limit\r\n:" + std::string(limit) + "\r\n";
}
std::string number_of(std::string_view at, std::string_view first, std::string_view step) {
  return "%2\r\n+type\r\n+keynum\r\n+spec\r\n%3\r\n+keynumidx\r\n:" + std::string(at) + "\r\n+firstkey\r\n:" + std::string(first) + "\r\n+keystep\r\n:" + std::string(step) + "\r\n";
}

TEST(Keys, ByAnyRule) {
  EXPECT_EQ(by_rule(word_from("KEYS", "1"), range_of("-1", "1", "0"), "X a keys b c"), "b c");
  EXPECT_EQ(by_rule(word_from("KEYS", "-1"), range_of("0", "1", "0"), "X keys a keys b"), "b");
  EXPECT_EQ(by_rule(word_from("KEYS", "1"), range_of("0", "1", "0"), "X a b c"), "");
  EXPECT_EQ(by_rule(word_from("KEYS", "1"), range_of("-1", "2", "3"), "X keys a 1 b 2 x x"), "a");
  EXPECT_EQ(by_rule(word_from("KEYS", "1"), number_of("0", "2", "2"), "X keys 2 x a 1 b 2"), "a b");
  EXPECT_EQ(by_rule(word_from("KEYS", "1"), number_of("0", "1", "1"), "X keys 2000000000 a"), "?");
  EXPECT_EQ(by_rule(word_from("KEYS", "1"), number_of("1000000", "1", "1"), "X keys 1 a"), "?");
  EXPECT_EQ(by_rule(index_at("1"), number_of("0", "1", "1000000"), "X 2147483647 a"), "?");
}

TEST(Keys, OfARuleThatNobodyKnows) {
  for (const char* begin : {"%2\r\n+type\r\n+unknown\r\n+spec\r\n%0\r\n", "%0\r\n", "*0\r\n"}) EXPECT_EQ(by_rule(begin, range_of("0", "1", "0"), "X a"), "?") << begin;
  EXPECT_EQ(by_rule(index_at("0"), range_of("0", "1", "0"), "X a"), "?");
  EXPECT_EQ(by_rule(index_at("-1"), range_of("0", "1", "0"), "X a"), "?");
  EXPECT_EQ(by_rule(index_at("1"), range_of("0", "1", "0"), "X a"), "?");  // movable, and yet it does not move: a module's
  EXPECT_EQ(by_rule(word_from("K", "0"), range_of("0", "1", "0"), "X K a"), "?");
  EXPECT_EQ(by_rule(word_from("", "1"), range_of("0", "1", "0"), "X a"), "?");
  EXPECT_EQ(by_rule(word_from("K", "1"), range_of("0", "0", "0"), "X K a"), "?");
  EXPECT_EQ(by_rule(word_from("K", "1"), range_of("99999999999", "1", "0"), "X K a"), "?");
  EXPECT_EQ(by_rule(":1\r\n", range_of("0", "1", "0"), "X a"), "no reply");
}

TEST(Commands, HaveTheirSubcommands) {
  const Commands commands = learned();
  EXPECT_TRUE(commands.find("XGROUP").container);
  EXPECT_FALSE(commands.find("XGROUP").write);
  EXPECT_TRUE(commands.find("XGROUP", "Create").write);
  EXPECT_TRUE(commands.find("xinfo", "STREAM").read_only);
  EXPECT_FALSE(commands.find("GET", "STREAM").container);
  EXPECT_TRUE(commands.find("GET", "get").repeatable);
  EXPECT_TRUE(commands.find("XGROUP", "nonsense").container);
  EXPECT_TRUE(commands.find("XGROUP", "").container);
  EXPECT_EQ(commands.find("XGROUP|CREATE").keys, nullptr);  // no command's name
  EXPECT_EQ(commands.find("client", "list").use, Use::kState);
  EXPECT_EQ(commands.find("GET", std::string(1000, 'x')).use, Use::kShared);
}

TEST(Commands, HaveAScopeInACluster) {
  Commands fresh;
  const Commands commands = learned();
  struct Row {
    const char* line;
    Scope scope;
    Join join;
    bool built_in = true;
  };
  for (const Row& row : {Row{"MGET a", Scope::kBySlot, Join::kValues}, Row{"mset a 1", Scope::kBySlot, Join::kFirst}, Row{"DEL a", Scope::kBySlot, Join::kSum},
                         Row{"unlink a", Scope::kBySlot, Join::kSum}, Row{"EXISTS a", Scope::kBySlot, Join::kSum}, Row{"TOUCH a", Scope::kBySlot, Join::kSum},
                         Row{"MSETNX a 1", Scope::kOne, Join::kNone}, Row{"PING x", Scope::kOne, Join::kNone}, Row{"RANDOMKEY", Scope::kOne, Join::kNone},
                         Row{"DBSIZE", Scope::kMasters, Join::kSum}, Row{"KEYS *", Scope::kMasters, Join::kConcat}, Row{"FLUSHALL", Scope::kMasters, Join::kFirst},
                         Row{"flushdb async", Scope::kMasters, Join::kFirst}, Row{"SCAN 0", Scope::kScan, Join::kNone}, Row{"SCRIPT LOAD x", Scope::kNodes, Join::kFirst},
                         Row{"SCRIPT EXISTS x", Scope::kMasters, Join::kAnd}, Row{"SCRIPT FLUSH", Scope::kNodes, Join::kFirst}, Row{"GET a", Scope::kOne, Join::kNone},
                         Row{"FUNCTION LOAD x", Scope::kMasters, Join::kFirst, false}, Row{"FUNCTION STATS", Scope::kOne, Join::kNone}, Row{"INFO", Scope::kOne, Join::kNone},
                         Row{"SCRIPT KILL", Scope::kMasters, Join::kAny, false}, Row{"CONFIG SET a b", Scope::kNodes, Join::kFirst, false},
                         Row{"SLOWLOG LEN", Scope::kNodes, Join::kSum, false}, Row{"WAIT 0 0", Scope::kOne, Join::kNone}}) {
    const std::vector<std::string_view> args = words(row.line);
    const std::string_view argument = args.size() > 1 ? args[1] : std::string_view();
    EXPECT_EQ(commands.find(args[0], argument).scope, row.scope) << row.line;
    EXPECT_EQ(commands.find(args[0], argument).join, row.join) << row.line;
    if (row.built_in) {
      EXPECT_EQ(fresh.find(args[0], argument).scope, row.scope) << row.line;
    }
  }
  EXPECT_EQ(commands.find("mset").stride, 2);
  EXPECT_EQ(commands.find("mget").stride, 1);
}

TEST(Commands, AreTheSameWhenCopiedAndMoved) {
  Commands commands = learned();
  Commands copy = commands;
  Commands moved = std::move(commands);
  commands = {};
  EXPECT_EQ(keys_of(copy, "GET k"), "k");
  EXPECT_EQ(keys_of(moved, "XGROUP CREATE s g 0"), "s");
  EXPECT_FALSE(commands.learned());
}

TEST(Commands, ACutOffReplyIsNone) {
  const std::string whole = "*1\r\n" + old_entry("get", "readonly", 1, 1, 1);
  Commands commands;
  for (size_t n = 0; n < whole.size(); ++n) EXPECT_FALSE(commands.learn(std::string_view(whole).substr(0, n))) << n;
  const std::string_view server = kServerCommands;
  for (size_t n = 0; n + 1 < server.size(); n += 97) EXPECT_FALSE(commands.learn(server.substr(0, n))) << n;
  EXPECT_FALSE(commands.learned());
  std::string many = "*20000\r\n";
  for (int i = 0; i < 20000; ++i) many += old_entry("c" + std::to_string(i), "write", 1, 1, 1);
  EXPECT_FALSE(commands.learn(many));
}

TEST(Commands, OfOddNames) {
  Commands commands;
  ASSERT_TRUE(commands.learn("*5\r\n" + old_entry("", "write", 1, 1, 1) + old_entry("a|b", "write", 1, 1, 1) + old_entry(std::string(300, 'x'), "write", 1, 1, 1) + old_entry("OK", "write", 1, 1, 1) +
                             old_entry("ok", "readonly", 1, 1, 1)));
  EXPECT_EQ(commands.find("").keys, nullptr);
  EXPECT_EQ(commands.find("a|b").keys, nullptr);
  EXPECT_EQ(commands.find("a", "b").keys, nullptr);
  EXPECT_TRUE(commands.find("oK").write);
}

}  // namespace
}  // namespace relay::redis
#endif

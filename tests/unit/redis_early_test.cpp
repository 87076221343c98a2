// SPDX-License-Identifier: Apache-2.0
// Which commands smart mode answers at once, by table, and what it remembers of the types of keys.
#ifdef RELAY_KIND_REDIS
#include <gtest/gtest.h>

#include <initializer_list>
#include <string>
#include <vector>

#include "kinds/redis/early.h"
#include "kinds/redis/types.h"

namespace relay::redis {
namespace {

using Words = std::vector<std::string_view>;

// Split at spaces; "_" is an empty argument.
Words words(std::string_view line) {
  Words out;
  while (true) {
    const size_t space = line.find(' ');
    const std::string_view word = line.substr(0, space);
    out.push_back(word == "_" ? std::string_view("") : word);
    if (space == std::string_view::npos) return out;
    line.remove_prefix(space + 1);
  }
}

EarlyTable table(std::initializer_list<std::string> more = {}, bool exact = false) {
  EarlyTable out;
  EXPECT_EQ(out.configure(std::vector<std::string>(more), exact), "");
  return out;
}

const std::vector<std::string> kAdded = {
    "APPEND", "BITOP", "DECR", "DECRBY", "FLUSHALL", "FLUSHDB", "GEOADD", "HINCRBY", "INCR", "INCRBY", "LINSERT", "LPUSH", "LPUSHX", "LREM", "LSET", "LTRIM",
    "PERSIST", "PFADD", "PFMERGE", "PUBLISH", "RENAME", "RPUSH", "RPUSHX", "SDIFFSTORE", "SETBIT", "SETRANGE", "SINTERSTORE", "SMOVE", "SREM", "SUNIONSTORE",
    "UNLINK", "XACK", "XDEL", "ZREM", "ZREMRANGEBYLEX", "ZREMRANGEBYRANK", "ZREMRANGEBYSCORE"};

TEST(Early, AnswersTheSeedsTable) {
  const EarlyTable seed = table();
  for (const char* line : {
             "SET k v", "set k v", "sEt k _", "SET _ v", "SET k v EX 1", "SET k v ex 9223372036854", "SET k v PX 1500", "SET k v EXAT 2000000000",
             "SET k v pxat 2000000000000", "SET k v KEEPTTL", "SETEX k 10 v", "PSETEX k 10 v", "MSET a 1", "MSET a 1 b 2 a 3", "HMSET k f v",
             "hmset k f v g w"})
    EXPECT_EQ(seed.decide(words(line)).reply, Made::kOk) << line;
  for (const char* line : {
             "HSET k f v", "HSET k f v g w", "SADD k m", "SADD k m n o", "ZADD k 1 m", "ZADD k -1.5e3 m +inf n -Inf o .5 p 1. q", "EXPIRE k 10",
             "EXPIRE k -1", "EXPIRE k 0", "EXPIREAT k 2000000000", "EXPIREAT k 1", "PEXPIRE k 10", "PEXPIREAT k 2000000000000", "DEL k", "DEL a b c",
             "HDEL k f", "HDEL k f g"})
    EXPECT_EQ(seed.decide(words(line)).reply, Made::kOne) << line;
  EXPECT_EQ(seed.decide(words("PING")).reply, Made::kPong);
  EXPECT_EQ(seed.decide(words("pinG")).reply, Made::kPong);
}

TEST(Early, NeverAnswersWhatIsAsked) {
  EarlyTable all;
  ASSERT_EQ(all.configure(kAdded, false), "");
  for (const char* line : {
             "SET k v NX", "SET k v XX", "SET k v GET", "SET k v EX 10 NX", "SET k v NX EX 10", "SET k v GET EX 10", "ZADD k NX 1 m", "ZADD k XX 1 m",
             "ZADD k GT 1 m", "ZADD k lt 1 m", "ZADD k CH 1 m", "ZADD k INCR 1 m", "ZADD k NX CH 1 m", "EXPIRE k 10 NX", "EXPIRE k 10 XX", "EXPIRE k 10 GT",
             "PEXPIREAT k 10 LT", "PING x", "PING _", "GEOADD k NX 1 1 m", "GEOADD k CH 1 1 m", "GET k", "SETNX k v", "GETSET k v", "SELECT 1", "MULTI",
             "EXEC", "EVAL x 0", "XADD k * f v", "INFO", "NOSUCH", "_", "SETS k v", "SE k v", "zremrangebyscorex k 1 2"})
    EXPECT_EQ(all.decide(words(line)).reply, Made::kNone) << line;
  EXPECT_EQ(all.decide({}).reply, Made::kNone);
  const std::string zero("set\0", 4);
  EXPECT_EQ(all.decide(Words{zero, "k", "v"}).reply, Made::kNone);
  EXPECT_EQ(all.decide(Words{"set ", "k", "v"}).reply, Made::kNone);
  EXPECT_EQ(all.decide(Words{std::string(1000, 's'), "k", "v"}).reply, Made::kNone);
}

TEST(Early, NeverAnswersWhatTheServerWouldRefuse) {
  EarlyTable all;
  ASSERT_EQ(all.configure(kAdded, false), "");
  for (const char* line : {
             // Their number.
             "SET", "SET k", "SET k v x", "SET k v EX", "SET k v EX 1 2", "SETEX k 1", "SETEX k 1 v w", "PSETEX k 1", "MSET", "MSET a", "MSET a 1 b",
             "HSET k", "HSET k f", "HSET k f v g", "HMSET k", "HMSET k f v g", "SADD k", "ZADD k", "ZADD k 1", "ZADD k 1 m 2", "EXPIRE k", "DEL", "HDEL k",
             "PING a b", "INCR", "INCR k 1", "APPEND k", "RENAME a", "GEOADD k 1 1", "GEOADD k 1 1 m 2", "BITOP AND d", "BITOP NOT d a b",
             "FLUSHALL SYNC ASYNC", "XACK k g", "PUBLISH c", "UNLINK", "PERSIST k k",
             // Times.
             "SETEX k 0 v", "SETEX k -1 v", "SETEX k x v", "SETEX k _ v", "SETEX k 1.5 v", "SETEX k +1 v", "SETEX k 01 v", "SETEX k 1x v",
             "SETEX k 9223372036854775807 v", "SETEX k 9223372036854775808 v", "SETEX k 9223372036854775 v", "PSETEX k 0 v", "PSETEX k 9223372036854775807 v",
             "SET k v EX 0", "SET k v EX -5", "SET k v PX x", "SET k v EX 9223372036854776", "SET k v EXAT 0", "SET k v PXAT -1", "EXPIRE k x", "EXPIRE k _",
             "EXPIRE k 1.0", "EXPIRE k 9223372036854775807", "EXPIRE k -9223372036854775808", "EXPIRE k -", "EXPIRE k -0", "PEXPIRE k 9223372036854775807",
             "EXPIREAT k 9223372036854775807", "PEXPIREAT k 99999999999999999999",
             // Options.
             "SET k v BAD", "SET k v EX 1 KEEPTTL", "SET k v KEEPTTL EX 1", "SET k v PERSIST", "SET k v BAD 1", "SET k v EX 1 PX 1",
             "SET k v KEEPTTL KEEPTTL", "SET k v KEEPTTL 1", "EXPIRE k 1 BAD", "FLUSHALL BAD", "LINSERT k BESIDE p v", "BITOP NAND d a",
             // Numbers.
             "ZADD k nan m", "ZADD k 1x m", "ZADD k _ m", "ZADD k 1e999 m", "ZADD k 1e-999 m", "ZADD k 1 m x n", "ZADD k ++1 m", "ZADD k +-1 m",
             "ZADD k 0x10 m", "ZADD k . m", "ZADD k infinite m", "GEOADD k 181 0 m", "GEOADD k 0 86 m", "GEOADD k inf 0 m", "GEOADD k x 0 m", "INCRBY k x",
             "INCRBY k 1.5", "INCRBY k 9223372036854775808", "DECRBY k -9223372036854775808", "HINCRBY k f x", "LREM k x v", "LSET k x v", "LTRIM k 0 x",
             "LTRIM k _ 1", "SETRANGE k -1 v", "SETRANGE k x v", "SETRANGE k 536870912 v", "SETBIT k -1 1", "SETBIT k 0 2", "SETBIT k 4294967296 1",
             "SETBIT k 0 01", "XDEL k x", "XDEL k 1-", "XDEL k -1", "XDEL k *", "XDEL k 1-1 01-1", "XACK k g 1-x", "ZREMRANGEBYSCORE k x 1",
             "ZREMRANGEBYSCORE k ((1 2", "ZREMRANGEBYSCORE k ( 2", "ZREMRANGEBYLEX k a b", "ZREMRANGEBYLEX k - _", "ZREMRANGEBYRANK k 0 x"})
    EXPECT_EQ(all.decide(words(line)).reply, Made::kNone) << line;
}

TEST(Early, AnswersWhatIsAdded) {
  EarlyTable all;
  ASSERT_EQ(all.configure(kAdded, false), "");
  for (const char* line : {
             "APPEND k v", "BITOP AND d a", "BITOP not d a", "BITOP XOR d a b c", "DECR k", "DECRBY k 9223372036854775807",
             "GEOADD k -180 85.05112878 m 0 0 n", "HINCRBY k f -1", "INCR k", "incrby k -9223372036854775808", "LINSERT k BEFORE p v", "LINSERT k after p v",
             "LPUSH k a b", "LPUSHX k a", "LREM k 0 v", "PERSIST k", "PFADD k", "PFADD k a", "PUBLISH c m", "RPUSH k a", "RPUSHX k a", "SDIFFSTORE d a b",
             "SETBIT k 4294967295 0", "SETRANGE k 536870911 v", "SETRANGE k 0 _", "SINTERSTORE d a", "SMOVE a b m", "SREM k m", "SUNIONSTORE d a",
             "UNLINK a b", "XACK k g 1-1 18446744073709551615", "XDEL k 0 1526985054069-5", "ZREM k m", "ZREMRANGEBYLEX k - +", "ZREMRANGEBYLEX k [a (b",
             "ZREMRANGEBYRANK k 0 -1", "ZREMRANGEBYSCORE k -inf +inf", "ZREMRANGEBYSCORE k (1 5"})
    EXPECT_EQ(all.decide(words(line)).reply, Made::kOne) << line;
  for (const char* line : {"FLUSHALL", "FLUSHDB async", "FLUSHDB SYNC", "LSET k -1 v", "LTRIM k 0 -1", "PFMERGE d", "PFMERGE d a b", "RENAME a b"})
    EXPECT_EQ(all.decide(words(line)).reply, Made::kOk) << line;
  const EarlyTable seed = table();
  for (const std::string& name : kAdded) {
    EXPECT_TRUE(all.knows(name));
    EXPECT_FALSE(seed.knows(name)) << name;
  }
  EXPECT_EQ(seed.decide(words("INCR k")).reply, Made::kNone);
  EXPECT_EQ(table({"incr"}).decide(words("INCR k")).reply, Made::kOne);
}

TEST(Early, SaysWhatIsWrongWithAWord) {
  EarlyTable some = table({"INCR", "set", "SELECT"});
  for (const char* word : {"GET", "xadd", "EVAL", "GETSET", "MULTI", "SETNX", "Renamenx", "MOVE", "HINCRBYFLOAT", "restore-asking", "zunionstore"}) {
    const std::string fault = some.configure(std::vector<std::string>{"LPUSH", word}, false);
    EXPECT_NE(fault.find('"' + std::string(word) + "\" cannot be answered at once: "), std::string::npos) << fault;
  }
  for (const char* word : {"", " ", "INCRR", "get set", "JSON.SET", "*", "\n"}) {
    const std::string fault = some.configure(std::vector<std::string>{word}, false);
    EXPECT_NE(fault.find("is no command that"), std::string::npos) << fault;
    EXPECT_EQ(fault.find('\n'), std::string::npos);
  }
  EXPECT_TRUE(some.knows("INCR"));  // as before
  EXPECT_FALSE(some.knows("LPUSH"));
  EXPECT_EQ(some.configure({}, false), "");
  EXPECT_FALSE(some.knows("INCR"));
}

TEST(Early, ExactIsWhatIsCertain) {
  EarlyTable exact;
  ASSERT_EQ(exact.configure(kAdded, true), "");
  for (const char* line : {"SET k v", "SET k v EX 10", "SETEX k 10 v", "PSETEX k 10 v", "MSET a 1 b 2", "PING", "FLUSHDB"})
    EXPECT_NE(exact.decide(words(line)).reply, Made::kNone) << line;
  for (const char* line : {
             "HMSET k f v", "HSET k f v", "SADD k m", "ZADD k 1 m", "EXPIRE k 10", "DEL k", "HDEL k f", "INCR k", "LTRIM k 0 1", "RENAME a b",
             "PFMERGE a b"})
    EXPECT_EQ(exact.decide(words(line)).reply, Made::kNone) << line;
  EXPECT_FALSE(exact.knows("HSET"));
  EXPECT_TRUE(table({}, true).knows("set"));
  EXPECT_FALSE(table({}, true).knows("FLUSHDB"));
}

TEST(Early, KnowsWhichSetsArePlain) {
  struct Row {
    const char* line;
    uint8_t value;
    int64_t ttl_ms;
  };
  const EarlyTable seed = table();
  for (const Row& row : {Row{"SET k v", 2, 0}, Row{"SET k v EX 10", 2, 10'000}, Row{"SET k v px 10", 2, 10}, Row{"SETEX k 7 v", 3, 7000},
                         Row{"PSETEX k 7 v", 3, 7},
                         Row{"PSETEX k 4611686018427387904 v", 3, int64_t{1} << 62}}) {
    const Early early = seed.decide(words(row.line));
    EXPECT_TRUE(early.plain_set) << row.line;
    EXPECT_EQ(early.value, row.value) << row.line;
    EXPECT_EQ(early.ttl_ms, row.ttl_ms) << row.line;
  }
  for (const char* line : {"SET k v KEEPTTL", "SET k v EXAT 2000000000", "SET k v PXAT 1", "MSET k v", "HSET k f v", "PING"})
    EXPECT_FALSE(seed.decide(words(line)).plain_set) << line;
}

TEST(Early, KnowsKeysTypesAndWhatMayBeRepeated) {
  struct Row {
    const char* line;
    Holds needs;
    Holds leaves;
    uint8_t first;
    int8_t last;
    uint8_t step;
    bool repeatable;
  };
  EarlyTable all;
  ASSERT_EQ(all.configure(kAdded, false), "");
  using enum Holds;
  for (const Row& row : {
           Row{"SET k v", kAny, kString, 1, 1, 1, true}, Row{"SET k v EXAT 1", kAny, kAny, 1, 1, 1, true}, Row{"MSET a 1 b 2", kAny, kString, 1, -1, 2, true},
           Row{"HSET k f v", kHash, kHash, 1, 1, 1, true}, Row{"HDEL k f", kHash, kAny, 1, 1, 1, true}, Row{"SADD k m", kSet, kSet, 1, 1, 1, true},
           Row{"ZADD k 1 m", kZset, kZset, 1, 1, 1, true}, Row{"DEL a b", kAny, kNothing, 1, -1, 1, true}, Row{"EXPIRE k 1", kAny, kAny, 1, 1, 1, true},
           Row{"PING", kAny, kAny, 0, 0, 0, true}, Row{"INCR k", kString, kString, 1, 1, 1, false}, Row{"APPEND k v", kString, kString, 1, 1, 1, false},
           Row{"LPUSH k v", kList, kList, 1, 1, 1, false}, Row{"LTRIM k 0 1", kList, kAny, 1, 1, 1, false}, Row{"LSET k 0 v", kList, kAny, 1, 1, 1, true},
           Row{"RENAME a b", kAny, kAny, 1, 2, 1, false}, Row{"BITOP AND d a b", kString, kAny, 2, -1, 1, false}, Row{"SETRANGE k 0 v",
           kString, kString, 1, 1, 1, true},
           Row{"SETRANGE k 0 _", kString, kAny, 1, 1, 1, true}, Row{"XDEL k 1", kStream, kAny, 1, 1, 1, true}, Row{"PUBLISH c m",
           kAny, kAny, 0, 0, 0, false}}) {
    const Early early = all.decide(words(row.line));
    EXPECT_NE(early.reply, Made::kNone) << row.line;
    EXPECT_EQ(early.needs, row.needs) << row.line;
    EXPECT_EQ(early.leaves, row.leaves) << row.line;
    EXPECT_EQ(early.first_key, row.first) << row.line;
    EXPECT_EQ(early.last_key, row.last) << row.line;
    EXPECT_EQ(early.key_step, row.step) << row.line;
    EXPECT_EQ(early.repeatable, row.repeatable) << row.line;
  }
}

constexpr Holds kTypes[] = {Holds::kString, Holds::kHash, Holds::kSet, Holds::kZset, Holds::kList, Holds::kStream};

TEST(KeyTypes, KnowsNothingAtFirst) {
  KeyTypes types;
  for (const Holds type : kTypes) EXPECT_TRUE(types.may_be(0, "k", type));
  types.forget(0, "k");
  types.clear();
  types.wrote(0, "k", Holds::kAny);
  types.wrote(0, "k", Holds::kNothing);
  types.refused(0, "k", Holds::kAny);
  for (const Holds type : kTypes) EXPECT_TRUE(types.may_be(0, "k", type));
}

TEST(KeyTypes, RemembersWhatWasWritten) {
  KeyTypes types;
  for (const Holds written : kTypes) {
    types.wrote(3, "k", written);
    for (const Holds type : kTypes) EXPECT_EQ(types.may_be(3, "k", type), type == written);
    EXPECT_TRUE(types.may_be(3, "k", Holds::kAny));
    EXPECT_TRUE(types.may_be(3, "k", Holds::kNothing));
    types.wrote(3, "k", Holds::kAny);
    EXPECT_TRUE(types.may_be(3, "k", written));
    EXPECT_TRUE(types.may_be(4, "k", Holds::kAny));
    EXPECT_TRUE(types.may_be(4, "k", kTypes[written == Holds::kString ? 1 : 0]));  // another database
    EXPECT_TRUE(types.may_be(3, "K", kTypes[written == Holds::kString ? 1 : 0]));
  }
  types.wrote(3, "k", Holds::kNothing);
  for (const Holds type : kTypes) EXPECT_TRUE(types.may_be(3, "k", type));
}

TEST(KeyTypes, RemembersWhatWasRefused) {
  KeyTypes types;
  types.refused(0, "k", Holds::kHash);
  for (const Holds type : kTypes) EXPECT_EQ(types.may_be(0, "k", type), type != Holds::kHash);
  types.refused(0, "k", Holds::kSet);
  for (const Holds type : kTypes) EXPECT_EQ(types.may_be(0, "k", type), type != Holds::kHash && type != Holds::kSet);
  types.wrote(0, "k", Holds::kHash);
  for (const Holds type : kTypes) EXPECT_EQ(types.may_be(0, "k", type), type == Holds::kHash);
  for (const Holds type : kTypes) types.refused(0, "k", type);  // a module's
  for (const Holds type : kTypes) EXPECT_FALSE(types.may_be(0, "k", type));
  types.forget(0, "other");
  EXPECT_FALSE(types.may_be(0, "k", Holds::kHash));
  types.forget(0, "k");
  for (const Holds type : kTypes) EXPECT_TRUE(types.may_be(0, "k", type));
}

TEST(KeyTypes, IsBoundedAndForgets) {
  KeyTypes types;
  const std::string huge(100'000, 'x');
  types.wrote(0, huge, Holds::kHash);
  types.refused(0, huge, Holds::kHash);
  EXPECT_TRUE(types.may_be(0, huge, Holds::kHash));
  constexpr int kKeys = 100'000;
  for (int i = 0; i < kKeys; ++i) types.wrote(0, "key" + std::to_string(i), i % 2 == 0 ? Holds::kHash : Holds::kSet);
  int known = 0;
  for (int i = 0; i < kKeys; ++i) {
    const std::string key = "key" + std::to_string(i);
    EXPECT_TRUE(types.may_be(0, key, i % 2 == 0 ? Holds::kHash : Holds::kSet)) << key;  // no key is taken for another here
    known += types.may_be(0, key, Holds::kString) ? 0 : 1;
  }
  EXPECT_GT(known, 3900);  // nearly every place is taken, and by one key
  EXPECT_LE(known, 4096);
  types.clear();
  EXPECT_TRUE(types.may_be(0, "key" + std::to_string(kKeys - 1), Holds::kString));
}

}  // namespace
}  // namespace relay::redis
#endif

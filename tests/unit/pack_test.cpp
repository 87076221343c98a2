// SPDX-License-Identifier: Apache-2.0
// wire/pack: which arguments are packed and which never; what others have packed is read, and what we pack is read by the book; replies whole,
// split at every byte and byte by byte; users' data that look packed; what is broken, too much, or lies about its size.
#ifdef RELAY_KIND_REDIS
#include "wire/pack.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

namespace relay {
namespace {

using Words = std::vector<std::string>;
using namespace std::string_literals;

constexpr PackRules kSnappy{.snappy = true, .unsnappy = true};
constexpr PackRules kGzip{.gzip = 6, .gunzip = true};
constexpr PackRules kAll{.snappy = true, .unsnappy = true, .gzip = -1, .gunzip = true};

std::string many(std::string_view text, size_t times) {
  std::string out;
  while (times-- > 0) out += text;
  return out;
}

std::string from_hex(std::string_view hex) {
  std::string out;
  for (; hex.size() >= 2; hex.remove_prefix(2)) out += static_cast<char>(std::stoi(std::string(hex.substr(0, 2)), nullptr, 16));
  return out;
}

// Bytes that no compression makes less of.
std::string noise(size_t size) {
  std::string out;
  uint64_t x = 88172645463325252U;
  while (out.size() < size) {
    x ^= x << 13U;
    x ^= x >> 7U;
    x ^= x << 17U;
    out += static_cast<char>(x >> 32U);
  }
  return out;
}

std::string bulk(std::string_view text) { return "$" + std::to_string(text.size()) + "\r\n" + std::string(text) + "\r\n"; }

// Made by others: Python's gzip.compress(FOX, 9), FOX as above; and snappy blocks made by hand from the format's description.
const std::string kFox = many("the quick brown fox jumps over the lazy dog\n", 8);
const std::string kPythonGzip =
    from_hex("1f8b08000000000002032bc94855282ccd4cce56482aca2fcf5348cbaf50c82acd2d2856c82f4b2d5228014ae72456552aa4e4a773958caa25592d00a744757460010000");
const std::string kHello = "$sy$\x05\x10hello"s;
const std::string kTwice = "$sy$\x0a\x10hello\x05\x05"s;  // and a copy of five bytes from five before
const std::string kAs = "$sy$\xac\x02\x00" "a\xfe\x01\x00\xfe\x01\x00\xfe\x01\x00\xfe\x01\x00\xaa\x01\x00"s;  // three hundred

std::string unpacked(const PackRules& rules, std::string_view text, size_t first, size_t piece) {
  Unpacker unpacker(rules);
  std::string out;
  size_t most = first;
  for (size_t at = 0; at < text.size();) {
    const std::string_view part = text.substr(at, most);
    unpacker.feed(std::as_bytes(std::span(part)), out);
    at += part.size();
    most = piece;
  }
  EXPECT_FALSE(unpacker.holds()) << text;
  return out;
}

std::string unpacked(const PackRules& rules, std::string_view text) { return unpacked(rules, text, text.size(), text.size()); }

void expect_everywhere(const PackRules& rules, const std::string& text, const std::string& expected) {
  ASSERT_EQ(unpacked(rules, text), expected);
  ASSERT_EQ(unpacked(rules, text, 1, 1), expected);
  for (size_t split = 1; split < text.size(); ++split) ASSERT_EQ(unpacked(rules, text, split, text.size()), expected) << "at " << split;
}

// The words of the packed command, or nothing if it is not packed.
std::optional<Words> packed(const PackRules& rules, const Words& words) {
  const std::vector<std::string_view> args(words.begin(), words.end());
  std::string out = "before";
  if (!pack_command(rules, args, out)) {
    EXPECT_EQ(out, "before");
    return std::nullopt;
  }
  EXPECT_TRUE(out.starts_with("before*"));
  std::string_view rest = std::string_view(out).substr(6);
  const auto head = take_token(rest);
  Words found;
  while (const auto token = take_token(rest)) found.emplace_back(token->text);
  EXPECT_EQ(head->number, static_cast<int64_t>(words.size()));
  EXPECT_EQ(found.size(), words.size());
  EXPECT_TRUE(rest.empty());
  return found;
}

std::string packed_value(const PackRules& rules, const std::string& value) {
  const auto words = packed(rules, {"SET", "k", value});
  return words ? (*words)[2] : value;
}

// ---- commands

TEST(Pack, PacksValuesAndNothingElse) {
  const std::string key(300, 'k');
  const std::string value(300, 'v');
  struct Case {
    Words words;
    std::vector<size_t> values;
  };
  for (const auto& [words, values] : std::vector<Case>{
           {{"SET", key, value}, {2}},
           {{"set", key, value, "EX", value, "GET"}, {2}},
           {{"SETEX", key, value, value}, {3}},
           {{"PSETEX", key, "1", value}, {3}},
           {{"SETNX", key, value}, {2}},
           {{"GetSet", key, value}, {2}},
           {{"MSET", key, value, key, "short", key, value}, {2, 6}},
           {{"MSETNX", key, value, key, value}, {2, 4}},
           {{"HSET", key, key, value, key, value}, {3, 5}},
           {{"HMSET", key, key, "1", key, value}, {5}},
           {{"HSETNX", key, key, value}, {3}},
       }) {
    for (const PackRules& rules : {kSnappy, kGzip, kAll}) {
      const auto found = packed(rules, words);
      ASSERT_TRUE(found) << words[0];
      for (size_t i = 0; i < words.size(); ++i) {
        const bool is_value = std::find(values.begin(), values.end(), i) != values.end();
        EXPECT_EQ((*found)[i] != words[i], is_value) << words[0] << " " << i;
        if (is_value) { EXPECT_EQ(unpacked(rules, bulk((*found)[i])), bulk(words[i])); }
      }
    }
    EXPECT_TRUE(packs(words[0]));
    EXPECT_TRUE(unpacks(words[0]));
  }
}

TEST(Pack, LeavesAloneWhatTheServerLooksFor) {
  const std::string big(300, 'x');
  for (const std::string name :
       {"SADD",   "SREM",  "SISMEMBER", "ZADD",  "ZSCORE", "LPUSH",   "RPUSH", "LREM",    "LPOS",   "APPEND", "SETRANGE", "GETRANGE", "EVAL", "EVALSHA",
        "FCALL",  "SCRIPT", "PUBLISH",  "XADD",  "RESTORE", "CONFIG", "GET",   "HGET",    "PFADD",  "GEOADD", "",         "SETS",     "SE",   "ECHO",
        "NOSUCHCOMMANDATALL"}) {
    EXPECT_FALSE(packed(kSnappy, {name, big, big, big, big})) << name;
    EXPECT_FALSE(packs(name)) << name;
  }
}

TEST(Pack, LeavesAloneWhatTheServerWillRefuse) {
  const std::string big(300, 'x');
  for (const Words& words : std::vector<Words>{{"SET"}, {"SET", big}, {"MSET", big}, {"MSET", big, big, big}, {"HSET", big, big},
                                               {"HSET", big, big, big, big}, {"HSETNX", big, big}, {"SETEX", big, big}})
    EXPECT_FALSE(packed(kAll, words)) << words[0];
  std::string out;
  EXPECT_FALSE(pack_command(kAll, {}, out));
}

TEST(Pack, OnlyWhatIsWorthIt) {
  for (const PackRules& rules : {kSnappy, kGzip, PackRules{.gzip = 1}, PackRules{.gzip = 9}}) {
    EXPECT_FALSE(packed(rules, {"SET", "k", std::string(255, 'v')}));
    EXPECT_TRUE(packed(rules, {"SET", "k", std::string(256, 'v')}));
    EXPECT_FALSE(packed(rules, {"SET", "k", noise(256)}));
    EXPECT_FALSE(packed(rules, {"SET", "k", noise(100'000)}));
  }
  for (const PackRules& rules : {PackRules{}, PackRules{.unsnappy = true, .gunzip = true}}) EXPECT_FALSE(packed(rules, {"SET", "k", std::string(256, 'v')}));
}

TEST(Pack, SaysWhichFormatByItsMark) {
  const std::string value(5000, 'v');
  EXPECT_TRUE(packed_value(kSnappy, value).starts_with("$sy$\x88\x27"));
  for (const int level : {-1, 1, 9}) EXPECT_TRUE(packed_value({.gzip = level}, value).starts_with("\x1f\x8b\x08"));
  EXPECT_TRUE(packed_value(kAll, value).starts_with("\x1f\x8b")) << "gzip goes before snappy";
}

TEST(Pack, ValuesOfAnySizeComeBack) {
  for (const PackRules& rules : {kSnappy, kGzip, kAll}) {
    for (const size_t size : {256U, 257U, 511U, 1000U, 4096U, 32'768U, 65'535U, 65'536U, 1'000'000U}) {
      const std::string value = noise(size / 3) + std::string(size - size / 3, '\0');
      const std::string kept = packed_value(rules, value);
      EXPECT_LT(kept.size(), value.size());
      ASSERT_EQ(unpacked(rules, bulk(kept)), bulk(value)) << size;
      ASSERT_EQ(unpacked(rules, bulk(kept), 7, 1000), bulk(value)) << size;
    }
  }
}

// ---- users' data that look packed

TEST(Pack, WhatLooksPackedComesBackAsItWas) {
  for (const std::string& value : {"$sy$"s, "$sy$x"s, kHello, kAs, kPythonGzip, kPythonGzip + "x", "\x1f\x8b"s, "\x1f\x8b" + noise(500),
                                   "$sy$" + noise(5000)}) {
    for (const PackRules& rules : {kSnappy, kGzip, kAll, PackRules{.snappy = true, .unsnappy = true, .gunzip = true},
                                   PackRules{.unsnappy = true, .gzip = 1, .gunzip = true}}) {
      const std::string kept = packed_value(rules, value);
      EXPECT_EQ(unpacked(rules, bulk(kept)), bulk(value));
      const bool looks = value[0] == '$' ? rules.unsnappy : rules.gunzip;
      if (looks) { EXPECT_NE(kept, value); }
      if (looks) { EXPECT_NE(packed_value(rules, kept), kept) << "what is packed looks packed"; }
    }
  }
}

TEST(Pack, AUsersOwnGzipStaysUnlessItIsUnpackedHere) {
  const std::string own = from_hex("1f8b0800000000000403") + std::string(1000, 'z');
  EXPECT_EQ(packed_value({.gzip = 9}, own), own);
  EXPECT_EQ(unpacked({.unsnappy = true}, bulk(kPythonGzip)), bulk(kPythonGzip));
  EXPECT_EQ(unpacked({.gunzip = true}, bulk(kPythonGzip)), bulk(kFox));
  EXPECT_EQ(unpacked({.gunzip = true}, bulk(kHello)), bulk(kHello));
}

TEST(Pack, OneLayerIsTakenOff) {
  const std::string twice = packed_value(kSnappy, kHello);
  ASSERT_NE(twice, kHello);
  EXPECT_EQ(unpacked(kAll, bulk(twice)), bulk(kHello));
}

// ---- replies

TEST(Unpacker, ReadsWhatOthersHavePacked) {
  expect_everywhere(kAll, bulk(kPythonGzip), bulk(kFox));
  expect_everywhere(kAll, bulk(kHello), bulk("hello"));
  expect_everywhere(kAll, bulk(kTwice), bulk("hellohello"));
  expect_everywhere(kAll, bulk(kAs), bulk(std::string(300, 'a')));
  expect_everywhere(kAll, bulk("$sy$\0"s), bulk(""));
  expect_everywhere(kAll, bulk(kPythonGzip + kPythonGzip), bulk(kFox + kFox));
  expect_everywhere(kAll, bulk(from_hex("1f8b080000000000020303000000000000000000")), bulk(""));
}

TEST(Unpacker, FindsStringsAtAnyDepth) {
  const std::string p = bulk(kHello);
  const std::string g = bulk(kPythonGzip);
  const std::string u = bulk("hello");
  const std::string f = bulk(kFox);
  expect_everywhere(kAll, "*3\r\n" + p + "$-1\r\n*2\r\n:1\r\n" + g + p, "*3\r\n" + u + "$-1\r\n*2\r\n:1\r\n" + f + u);
  expect_everywhere(kAll, "%2\r\n+a\r\n" + p + g + "~1\r\n" + p + "#t\r\n" + p, "%2\r\n+a\r\n" + u + f + "~1\r\n" + u + "#t\r\n" + u);
  expect_everywhere(kAll, "*0\r\n*-1\r\n$0\r\n\r\n" + p + "_\r\n,1.5\r\n(12\r\n", "*0\r\n*-1\r\n$0\r\n\r\n" + u + "_\r\n,1.5\r\n(12\r\n");
}

TEST(Unpacker, LeavesAloneWhatIsNoValue) {
  const std::string p = bulk(kHello);
  const std::string u = bulk("hello");
  const std::string size = std::to_string(kHello.size() + 4);
  for (const std::string& text : {">2\r\n+invalidate\r\n*1\r\n" + p, "!" + std::to_string(kHello.size()) + "\r\n" + kHello + "\r\n",
                                  "=" + size + "\r\ntxt:" + kHello + "\r\n", "+" + kHello + "\r\n", "-" + kHello + "\r\n",
                                  "|1\r\n" + p + "*2\r\n" + p + "|0\r\n" + p + ":1\r\n"}) {
    expect_everywhere(kAll, text + p, text + u);
    expect_everywhere(kAll, "*2\r\n:1\r\n" + p + text + text + p, "*2\r\n:1\r\n" + u + text + text + u);
  }
  expect_everywhere(kAll, "*2\r\n|1\r\n" + p + "%1\r\n" + p + p + p + "|1\r\n" + p + p + p, "*2\r\n|1\r\n" + p + "%1\r\n" + p + p + u + "|1\r\n" + p + p + u);
  expect_everywhere(kAll, "|0\r\n" + p + ">0\r\n" + p, "|0\r\n" + u + ">0\r\n" + u);
}

TEST(Unpacker, LeavesAloneWhatIsNotPackedAfterAll) {
  std::string turned = kPythonGzip;
  turned[60] = static_cast<char>(turned[60] ^ 1);  // its checksum
  for (const std::string& text :
       {"$sy$"s, "$sy"s, "$sy!more"s, "$"s, "\x1f\x8b"s, "\x1f\x8b\x08\x00\x00"s, "\x1f garbage"s, "$sy$ and words"s, "$sy$\xff\xff\xff\xff\xff\xff"s,
        kHello + "x", kHello.substr(0, 9), turned, kPythonGzip + "x", kPythonGzip.substr(0, kPythonGzip.size() - 1), kPythonGzip + "\x1f\x8b"s,
        "$sy$\x0a\x10hello\x05\x06"s})
    expect_everywhere(kAll, "*2\r\n" + bulk(text) + bulk(kHello), "*2\r\n" + bulk(text) + bulk("hello"));
}

TEST(Unpacker, TakesNoMoreThanItMay) {
  PackRules rules = kAll;
  rules.most = 300;
  EXPECT_EQ(unpacked(rules, bulk(kAs)), bulk(std::string(300, 'a')));
  EXPECT_EQ(unpacked(rules, bulk(kPythonGzip)), bulk(kPythonGzip));
  const std::string exact = packed_value(kGzip, std::string(300, 'b'));
  const std::string over = packed_value(kGzip, std::string(301, 'b'));
  EXPECT_EQ(unpacked(rules, bulk(exact)), bulk(std::string(300, 'b')));
  EXPECT_EQ(unpacked(rules, bulk(over)), bulk(over));
  EXPECT_EQ(packed_value(rules, std::string(301, 'b')).size(), 301U);
  EXPECT_LT(packed_value(rules, std::string(300, 'b')).size(), 300U);
  rules.most = 299;
  EXPECT_EQ(unpacked(rules, bulk(kAs)), bulk(kAs));
  // One that is longer than it may be is not held at all.
  Unpacker unpacker(rules);
  std::string out;
  const std::string_view begun = "$300\r\n$sy$\x05\x10";
  unpacker.feed(std::as_bytes(std::span(begun)), out);
  EXPECT_FALSE(unpacker.holds());
  EXPECT_EQ(out, begun);
}

TEST(Unpacker, BombsGoThroughAsTheyAre) {
  std::string gzip = std::string(64 << 20, '\0');
  gzip = packed_value({.gzip = 9, .most = 65 << 20}, gzip);
  ASSERT_LT(gzip.size(), 100'000U);
  PackRules rules = kAll;
  rules.most = 1 << 20;
  EXPECT_EQ(unpacked(rules, bulk(gzip)), bulk(gzip));
  // Says that it is 64 MiB, in a few bytes: no memory is asked for.
  const std::string snappy = "$sy$\x80\x80\x80\x20\x00"s + "a\xfe\x01\x00"s;
  EXPECT_EQ(unpacked(kAll, bulk(snappy)), bulk(snappy));
  EXPECT_EQ(unpacked(kAll, bulk("$sy$\xff\xff\xff\xff\x0f"s)), bulk("$sy$\xff\xff\xff\xff\x0f"s));
}

TEST(Unpacker, HoldsOnlyWhatMayBePacked) {
  Unpacker unpacker(kSnappy);
  std::string out;
  const auto feed = [&](std::string_view text) {
    out.clear();
    unpacker.feed(std::as_bytes(std::span(text)), out);
    return out;
  };
  EXPECT_EQ(feed("*2\r\n$11\r\nhell"), "*2\r\n$11\r\nhell");
  EXPECT_FALSE(unpacker.holds());
  EXPECT_EQ(feed("o world\r\n$1"), "o world\r\n");
  EXPECT_TRUE(unpacker.holds());
  EXPECT_EQ(feed("1\r\n$sy"), "");
  EXPECT_EQ(feed("!"), "$11\r\n$sy!");
  EXPECT_FALSE(unpacker.holds());
  EXPECT_EQ(feed("1234567\r\n$11\r\n$sy$\x05"), "1234567\r\n");
  EXPECT_TRUE(unpacker.holds());
  unpacker.reset();
  EXPECT_FALSE(unpacker.holds());
  EXPECT_EQ(feed("+OK\r\n"), "+OK\r\n");
}

TEST(Unpacker, WhatIsNoReplyGoesThrough) {
  const std::string p = bulk(kHello);
  for (const std::string& text : {"hello\r\n"s, "$x\r\n"s, "$-2\r\n"s, "$05\r\n"s, "*-2\r\n"s, "|-1\r\n"s, "$2\r\nabc\r\n"s, "$1\r\na\r\r"s,
                                  "*1099511627777\r\n"s, "$1099511627777\r\n"s, "\r\n"s, "$?\r\n"s})
    expect_everywhere(kAll, p + text + p, bulk("hello") + text + p);
  Unpacker unpacker(kAll);
  std::string out;
  unpacker.feed(std::as_bytes(std::span(std::string_view("?"))), out);
  unpacker.reset();
  unpacker.feed(std::as_bytes(std::span(p)), out);
  EXPECT_EQ(out, "?" + bulk("hello"));
}

TEST(Unpacker, WithoutRulesNothingChanges) {
  const std::string text = "*2\r\n" + bulk(kHello) + bulk(kPythonGzip);
  expect_everywhere({}, text, text);
}

TEST(Unpacker, IsNotForRepliesThatAreNoValues) {
  for (const std::string_view name :
       {"DUMP", "dump", "Object", "DEBUG", "GETRANGE", "SUBSTR", "KEYS", "SCAN", "RANDOMKEY", "ECHO", "MONITOR", "PUNSUBSCRIBE", "HKEYS", "ACL"})
    EXPECT_FALSE(unpacks(name)) << name;
  for (const std::string_view name : {"GET", "MGET", "hgetall", "EXEC", "EVAL", "LRANGE", "HSCAN", "", "NOSUCHCOMMANDATALL", "PUNSUBSCRIBEX"})
    EXPECT_TRUE(unpacks(name)) << name;
}

}  // namespace
}  // namespace relay
#endif

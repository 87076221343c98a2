// SPDX-License-Identifier: Apache-2.0
// read_env: what a user sees of it is tested end to end (tests/test_env_file.py); here are several kinds, and texts of any shape.
#include <gtest/gtest.h>

#include <array>

#include "ops/config.h"

namespace relay {
namespace {

constexpr std::array kKeys = {
    Key{.name = "target", .type = KeyType::kTarget, .metavar = "HOST:PORT", .fallback = "", .help = "where to dial", .required = true},
    Key{.name = "client", .type = KeyType::kNetwork, .metavar = "NET", .fallback = "", .help = "who may come", .repeatable = true},
};
constexpr std::array kOtherKeys = {
    Key{.name = "depth", .type = KeyType::kInteger, .metavar = "N", .fallback = "3", .help = "how deep"},
};
constexpr std::array kKinds = {KindKeys{"cluster", kKeys}, KindKeys{"well", kOtherKeys}};

struct Got {
  Config config;
  Faults faults;
};

Got read(std::string_view text, std::span<const KindKeys> kinds = kKinds) {
  Got got;
  got.config = read_env("job.env", text, kinds, got.faults);
  return got;
}

TEST(Env, KindSaysWhichKeysThereAre) {
  const Got got = read("RELAY_DEPTH=7\nRELAY_LOG_LEVEL=debug\nRELAY_KIND='well'\n");
  ASSERT_TRUE(got.faults.empty()) << got.faults.front().what;
  ASSERT_EQ(got.config.relays.size(), 1U);
  EXPECT_EQ(got.config.relays.front().kind, "well");
  EXPECT_EQ(got.config.relays.front().section.integer("depth"), 7);
  EXPECT_EQ(got.config.relays.front().section.where("depth"), "job.env:1");
  EXPECT_EQ(got.config.global.text("log-level"), "debug");
}

TEST(Env, WithoutAKindItIsOfTheFirst) {
  const Got got = read("\n");
  ASSERT_EQ(got.config.relays.size(), 1U);
  EXPECT_EQ(got.config.relays.front().kind, "cluster");
}

TEST(Env, BadKindIsOneFault) {
  for (const std::string_view kind : {"", "wells", "\"", "'well", "well'"}) {
    const Got got = read("RELAY_DEPTH=x\nRELAY_KIND=" + std::string(kind) + "\n");
    ASSERT_EQ(got.faults.size(), 1U) << kind;
    EXPECT_EQ(got.faults.front().where, "job.env:2");
  }
}

TEST(Env, NoEndOfLastLineNeeded) {
  const Got got = read("RELAY_TARGET=10.0.0.5:9999", std::span(kKinds).first(1));
  EXPECT_TRUE(got.faults.empty());
  EXPECT_EQ(got.config.relays.front().section.text("target"), "10.0.0.5:9999");
}

// Each text that is a piece of a good one, and each with one byte changed, is read without harm, and a bad one is refused.
TEST(Env, TextsOfAnyShape) {
  const std::string good = "# x\r\nRELAY_KIND=cluster\nRELAY_TARGET=\"10.0.0.5:9999\"\n ;\n\nRELAY_CLIENT='::1,::2' \n";
  ASSERT_TRUE(read(good).faults.empty());
  for (size_t begin = 0; begin < good.size(); ++begin)
    for (size_t end = begin; end < good.size(); ++end) {
      const Got got = read(std::string_view(good).substr(begin, end - begin));
      EXPECT_TRUE(!got.faults.empty() || !got.config.relays.empty());
    }
  for (size_t at = 0; at < good.size(); ++at)
    for (const char c : {'\0', '\n', '=', '"', '\'', '#', '\xff', ' ', 'A'}) {
      std::string text = good;
      text[at] = c;
      for (const Fault& fault : read(text).faults) EXPECT_EQ(fault.what.find('\0'), std::string::npos);
    }
}

}  // namespace
}  // namespace relay

// SPDX-License-Identifier: Apache-2.0
#include "kinds/redis/queued.h"

#include <gtest/gtest.h>

#include <string>

#include "kinds/redis/unpacking.h"

namespace relay::redis {
namespace {

TEST(RedisQueued, RemembersTheLastUntilItIsForgotten) {
  Queued queued;
  Queued::Place place;
  EXPECT_FALSE(queued.find("a", place));
  queued.put("a", {100, 10, Time{5}});
  queued.put("b", {110, 11, Time{6}});
  queued.put("a", {121, 12, Time{7}});
  ASSERT_TRUE(queued.find("a", place));
  EXPECT_EQ(place.at, 121U);
  EXPECT_EQ(place.size, 12U);
  EXPECT_EQ(place.until, Time{7});
  queued.forget("a");
  queued.forget("c");
  EXPECT_FALSE(queued.find("a", place));
  EXPECT_TRUE(queued.find("b", place));
  queued.clear();
  EXPECT_FALSE(queued.find("b", place));
  queued.put("b", {0, 1, Time{1}});
  EXPECT_TRUE(queued.find("b", place));
}

TEST(RedisQueued, OfManyKeysSomeAreKnownAndNoneIsWrong) {
  Queued queued;
  uint64_t known = 0;
  for (uint64_t i = 0; i < 200'000; ++i) queued.put(std::to_string(i), {i, 1, Time{1}});
  for (uint64_t i = 0; i < 200'000; ++i) {
    Queued::Place place;
    if (!queued.find(std::to_string(i), place)) continue;
    EXPECT_EQ(place.at, i);
    ++known;
  }
  EXPECT_GT(known, 50'000U);
  EXPECT_LE(known, 65'536U);
  const std::string longest(1025, 'x');
  queued.put(longest, {1, 1, Time{1}});
  Queued::Place place;
  EXPECT_FALSE(queued.find(longest, place));
}

TEST(RedisUnpacking, OnlyTheRepliesThatAreExpected) {
  Unpacking unpacking;
  PackRules rules;
  rules.unsnappy = true;
  const uint32_t last = UINT32_MAX;  // numbers wrap around
  unpacking.expect(last, rules);
  unpacking.expect(1, rules);
  EXPECT_TRUE(unpacking.wants(last));
  unpacking.feed("$11\r\n$sy$\x05\x10");
  EXPECT_TRUE(unpacking.ready().empty());
  unpacking.feed("hello\r\n");
  EXPECT_EQ(unpacking.ready(), "$5\r\nhello\r\n");
  unpacking.said(4);
  EXPECT_EQ(unpacking.ready(), "hello\r\n");
  unpacking.ended(last);
  EXPECT_FALSE(unpacking.idle());
  unpacking.said(7);
  EXPECT_FALSE(unpacking.wants(0));
  unpacking.ended(0);
  EXPECT_TRUE(unpacking.wants(1));
  EXPECT_FALSE(unpacking.wants(2));  // which is over without a word
  EXPECT_TRUE(unpacking.idle());
}

}  // namespace
}  // namespace relay::redis

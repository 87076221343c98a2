// SPDX-License-Identifier: Apache-2.0
// lib/bucket: that over any time no more is let through than the rate and one second's worth, and no less, however it is asked.
#include "lib/bucket.h"

#include <gtest/gtest.h>

#include "lib/random.h"

namespace relay {
namespace {

TEST(Bucket, HasOneSecondsWorthAtFirst) {
  Bucket bucket;
  EXPECT_EQ(bucket.left(5, 10), 10U);
  bucket.take(10);
  EXPECT_EQ(bucket.left(5, 10), 0U);
  EXPECT_EQ(bucket.wait(10, 1), 100U);
  EXPECT_EQ(bucket.wait(10, 10), 1000U);
  EXPECT_EQ(bucket.left(104, 10), 0U);
  EXPECT_EQ(bucket.left(105, 10), 1U);
  EXPECT_EQ(bucket.left(1005, 10), 10U);
  EXPECT_EQ(bucket.left(1'000'000, 10), 10U);
}

// One a second is one a second, though it is asked each millisecond.
TEST(Bucket, LosesNothingByBeingAsked) {
  for (const uint32_t rate : {1U, 3U, 7U, 333U, 999U, 1001U, 65'537U, Bucket::kMost}) {
    Bucket bucket;
    uint64_t taken = 0;
    for (uint32_t now = 0; now <= 10'000; ++now) {
      const uint32_t left = bucket.left(now, rate);
      bucket.take(left);
      taken += left;
    }
    EXPECT_LE(taken, uint64_t{rate} * 11) << rate;
    EXPECT_GE(taken, uint64_t{rate} * 11 - 1) << rate;
  }
}

TEST(Bucket, WaitsAsLongAsItSays) {
  Random random(1);
  for (int round = 0; round < 20'000; ++round) {
    const auto rate = static_cast<uint32_t>(1 + random.below(round % 2 == 0 ? 20 : Bucket::kMost));
    Bucket bucket;
    const auto now = static_cast<uint32_t>(random.below(UINT32_MAX));  // it may wrap
    bucket.take(bucket.left(now, rate));
    const auto wanted = static_cast<uint32_t>(1 + random.below(rate));
    const uint32_t wait = bucket.wait(rate, wanted);
    EXPECT_GE(bucket.left(now + wait, rate), wanted);
    EXPECT_LE(wait, 1000U);
  }
}

TEST(Bucket, MayHaveAnotherRate) {
  Bucket bucket;
  bucket.take(bucket.left(0, 1000));
  EXPECT_EQ(bucket.left(0, 10), 0U);
  EXPECT_GT(bucket.left(0, 2000), 0U);
  EXPECT_EQ(bucket.left(1000, 1000), 1000U);
}

// What was taken at a higher rate is not owed for as long as a lower one would take.
TEST(Bucket, ALowerRateHoldsFromNowOn) {
  Bucket bucket;
  bucket.take(bucket.left(0, 1'000'000));
  EXPECT_EQ(bucket.left(0, 10), 0U);
  EXPECT_EQ(bucket.wait(10, 1), 100U);
  EXPECT_EQ(bucket.left(1000, 10), 10U);
}

}  // namespace
}  // namespace relay

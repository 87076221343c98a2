// SPDX-License-Identifier: Apache-2.0
// kinds/plex/work: what is enough for a turn, and begins anew with the next.
#include "kinds/plex/work.h"

#include <gtest/gtest.h>

namespace relay::plex {
namespace {

TEST(PlexWork, IsEnoughInItsTurnOnly) {
  Work work;
  work.add(7, Work::kMost - 1);
  EXPECT_TRUE(work.began_in(7));
  EXPECT_FALSE(work.is_enough(7));
  work.add(7, 1);
  EXPECT_TRUE(work.is_enough(7));
  EXPECT_FALSE(work.is_enough(8));  // also before anything is added in that
  EXPECT_FALSE(work.began_in(8));
  work.add(8, 0);
  EXPECT_FALSE(work.is_enough(8));
  work.add(8, Work::kMost + 500);
  EXPECT_TRUE(work.is_enough(8));
}

}  // namespace
}  // namespace relay::plex

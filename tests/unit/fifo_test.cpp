// SPDX-License-Identifier: Apache-2.0
// lib/fifo: order, what is given back and when, and a random walk against std::deque.
#include "lib/fifo.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <memory>

#include "lib/random.h"

namespace relay {
namespace {

TEST(Fifo, GivesBackWhatHasGoneAtOnce) {
  const auto one = std::make_shared<int>(1);
  Fifo<std::shared_ptr<int>> fifo;
  for (int i = 0; i < 5; ++i) fifo.push_back(one);
  EXPECT_EQ(one.use_count(), 6);
  fifo.pop_front();
  EXPECT_EQ(one.use_count(), 5);
  fifo.clear();
  EXPECT_EQ(one.use_count(), 1);
  EXPECT_TRUE(fifo.empty());
}

TEST(Fifo, IsSearchedAndFilledInTheMiddle) {
  Fifo<int> fifo;
  for (const int number : {1, 2, 4, 6}) fifo.push_back(number);
  fifo.pop_front();
  fifo.insert(std::lower_bound(fifo.begin(), fifo.end(), 5), 5);
  EXPECT_TRUE(std::equal(fifo.begin(), fifo.end(), std::deque<int>{2, 4, 5, 6}.begin()));
}

TEST(Fifo, IsAsADeque) {
  Random random(7);
  Fifo<uint64_t> fifo;
  std::deque<uint64_t> deque;
  for (int i = 0; i < 20'000; ++i) {
    const uint64_t number = random.below(100);
    switch (random.below(i / 2'000 % 2 == 0 ? 9 : 14)) {  // it grows, and shrinks, by turns
      case 0: {
        const auto at = static_cast<std::ptrdiff_t>(random.below(fifo.size() + 1));
        fifo.insert(fifo.begin() + at, number);
        deque.insert(deque.begin() + at, number);
        break;
      }
      case 1:
        if (random.below(20) > 0) break;
        fifo.erase_if([number](uint64_t one) { return one > number; });
        std::erase_if(deque, [number](uint64_t one) { return one > number; });
        break;
      case 2: case 3: case 4: case 5:
        fifo.push_back(number);
        deque.push_back(number);
        break;
      default:
        if (deque.empty()) break;
        fifo.pop_front();
        deque.pop_front();
    }
    ASSERT_EQ(fifo.size(), deque.size());
    ASSERT_EQ(fifo.empty(), deque.empty());
    ASSERT_TRUE(std::equal(fifo.begin(), fifo.end(), deque.begin()));
    if (!deque.empty()) {
      ASSERT_EQ(fifo.front(), deque.front());
    }
  }
}

TEST(FifoDeathTest, NothingIsTakenOfNothing) {
  Fifo<int> fifo;
  EXPECT_DEATH(fifo.pop_front(), "empty");
}

}  // namespace
}  // namespace relay

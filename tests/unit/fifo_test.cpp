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
  const std::deque<int> wanted = {2, 4, 5, 6};
  EXPECT_TRUE(std::equal(fifo.begin(), fifo.end(), wanted.begin(), wanted.end()));
}

// The same is done to both.
struct Both {
  Fifo<uint64_t> fifo;
  std::deque<uint64_t> deque;

  void insert(uint64_t place, uint64_t number) {
    const auto at = static_cast<std::ptrdiff_t>(place % (fifo.size() + 1));
    fifo.insert(fifo.begin() + at, number);
    deque.insert(deque.begin() + at, number);
  }
  void erase_above(uint64_t number) {
    const auto is_above = [number](uint64_t one) { return one > number; };
    fifo.erase_if(is_above);
    std::erase_if(deque, is_above);
  }
  void push(uint64_t number) {
    fifo.push_back(number);
    deque.push_back(number);
  }
  void pop() {
    if (deque.empty()) return;
    fifo.pop_front();
    deque.pop_front();
  }
  bool same() {
    return fifo.size() == deque.size() && fifo.empty() == deque.empty() && std::equal(fifo.begin(), fifo.end(), deque.begin()) &&
           (deque.empty() || fifo.front() == deque.front());
  }
};

TEST(Fifo, IsAsADeque) {
  Random random(7);
  Both both;
  for (int i = 0; i < 20'000; ++i) {
    const bool grows = i / 2'000 % 2 == 0;
    const uint64_t what = random.below(1000);
    const uint64_t number = random.below(100);
    if (what < 5) both.erase_above(number);
    else if (what < 100) both.insert(random.next(), number);
    else if (what < (grows ? 600 : 400)) both.push(number);
    else both.pop();
    ASSERT_TRUE(both.same()) << i;
  }
}

TEST(FifoDeathTest, NothingIsTakenOfNothing) {
  Fifo<int> fifo;
  EXPECT_DEATH(fifo.pop_front(), "empty");
}

}  // namespace
}  // namespace relay

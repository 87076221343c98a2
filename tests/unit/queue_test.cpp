// SPDX-License-Identifier: Apache-2.0
// queue: against a deque at random, and by hand where rings go wrong: at the bound, at the wrap, when the small ring becomes
// the whole one, and when there is no memory.
#include "queue.h"

#include <cstring>
#include <deque>
#include <new>
#include <vector>

#include "tests/unit/testing.h"

// The memory that rings and blocks come from can run out on demand.
void* operator new[](size_t size, const std::nothrow_t&) noexcept {
  return relay::test::g_no_memory ? nullptr : ::operator new[](size);
}
void* operator new(size_t size, const std::nothrow_t&) noexcept {
  return relay::test::g_no_memory ? nullptr : ::operator new(size);
}

namespace relay {
namespace {

constexpr uint64_t kSmall = 16 * 1024;  // the small ring

uint64_t length(const Queue::Spans& spans) { return spans[0].size() + spans[1].size(); }

// Puts `n` bytes of the pattern in, at the queue's own offsets. REQUIRES: there is room for them in one go.
void put(Queue& queue, uint64_t n) {
  uint64_t offset = queue.written();
  uint64_t left = n;
  for (const auto& span : queue.room())
    for (std::byte& byte : span.first(std::min<uint64_t>(left, span.size()))) {
      byte = test::pattern(offset++);
      --left;
    }
  ASSERT_EQ(left, 0U);
  queue.commit(n);
}

// Puts in as much as the queue takes, at most `n`.
void fill(Queue& queue, uint64_t n) {
  while (n > 0 && !queue.full()) {
    ASSERT_TRUE(queue.reserve());
    const uint64_t now = std::min(n, length(queue.room()));
    ASSERT_GT(now, 0U);
    put(queue, now);
    n -= now;
  }
}

bool holds_pattern(Queue& queue) {
  uint64_t offset = queue.read();
  for (const auto& span : queue.front())
    for (const std::byte byte : span)
      if (byte != test::pattern(offset++)) return false;
  return offset == queue.written();
}

TEST(Queue, BeginsWithNothing) {
  Queue queue(100);
  EXPECT_TRUE(queue.empty());
  EXPECT_FALSE(queue.full());
  EXPECT_FALSE(queue.owns_memory());
  EXPECT_EQ(queue.bound(), 100U);
  EXPECT_EQ(queue.size(), 0U);
  EXPECT_EQ(queue.peak(), 0U);
  EXPECT_EQ(length(queue.front()), 0U);
}

TEST(Queue, ASecondReaderMayBeAhead) {
  Queue queue(kSmall);
  ASSERT_TRUE(queue.reserve());
  put(queue, kSmall);
  queue.consume(1000);
  put(queue, 900);  // round the end of the ring
  uint64_t offset = 5000;
  EXPECT_EQ(length(queue.from(offset)), queue.written() - offset);
  for (const auto& span : queue.from(offset))
    for (const std::byte byte : span) ASSERT_EQ(byte, test::pattern(offset++));
  EXPECT_EQ(length(queue.from(queue.written())), 0U);
  EXPECT_EQ(queue.read(), 1000U);
}

TEST(Queue, TheBoundIsExact) {
  for (const uint64_t bound : {uint64_t{1}, uint64_t{2}, uint64_t{3}, uint64_t{100}, kSmall - 1, kSmall, kSmall + 1,
                               uint64_t{20'000}, uint64_t{6'553'600}}) {
    SCOPED_TRACE(bound);
    Queue queue(bound);
    fill(queue, bound + 1);
    EXPECT_EQ(queue.size(), bound);
    EXPECT_TRUE(queue.full());
    EXPECT_EQ(queue.peak(), bound);
    ASSERT_TRUE(queue.reserve());
    EXPECT_EQ(length(queue.room()), 0U);
    EXPECT_TRUE(holds_pattern(queue));
    queue.consume(1);
    EXPECT_FALSE(queue.full());
    ASSERT_TRUE(queue.reserve());
    EXPECT_EQ(length(queue.room()), 1U);
    put(queue, 1);
    EXPECT_TRUE(queue.full());
    EXPECT_TRUE(holds_pattern(queue));
  }
}

TEST(Queue, ReservedRoomIsNeverEmptyUntilFull) {
  Queue queue(3 * kSmall);
  while (!queue.full()) {
    ASSERT_TRUE(queue.reserve());
    const uint64_t room = length(queue.room());
    ASSERT_GT(room, 0U);
    ASSERT_LE(queue.size() + room, queue.bound());
    put(queue, std::min<uint64_t>(room, 997));
  }
  EXPECT_TRUE(holds_pattern(queue));
}

TEST(Queue, GivesItsMemoryBackWhenTheLastByteGoes) {
  Queue queue(4 * kSmall);
  for (const uint64_t n : {uint64_t{1}, kSmall, kSmall + 1, 4 * kSmall}) {
    fill(queue, n);
    EXPECT_TRUE(queue.owns_memory());
    queue.consume(n - 1);
    EXPECT_TRUE(queue.owns_memory());
    EXPECT_EQ(queue.size(), 1U);
    queue.consume(1);
    EXPECT_FALSE(queue.owns_memory());
  }
  // Reserved, but nothing came.
  ASSERT_TRUE(queue.reserve());
  EXPECT_TRUE(queue.owns_memory());
  queue.trim();
  EXPECT_FALSE(queue.owns_memory());
}

TEST(Queue, KeepsItsMemoryWhereItIsTold) {
  Queue queue(4 * kSmall);
  fill(queue, 100);
  const std::byte* const warm = queue.front()[0].data();
  queue.advance(40);
  EXPECT_TRUE(holds_pattern(queue));
  EXPECT_EQ(queue.front()[0].data(), warm + 40);
  queue.advance(60);
  EXPECT_TRUE(queue.empty() && queue.owns_memory());
  fill(queue, kSmall);
  EXPECT_EQ(queue.front()[0].data(), warm);  // from its beginning, not behind what has gone
  EXPECT_TRUE(holds_pattern(queue));
  queue.advance(kSmall);
  queue.trim();
  EXPECT_FALSE(queue.owns_memory());
}

TEST(Queue, PassesASmallRingOn) {
  Queue::Ring spare;
  Queue first(2 * kSmall), second(2 * kSmall), little(100);
  first.lend(spare);  // nothing
  EXPECT_FALSE(first.owns_memory());
  fill(first, 7);
  const std::byte* const warm = first.front()[0].data();
  first.trim(spare);  // something is in it
  EXPECT_EQ(spare, nullptr);
  first.advance(7);
  first.trim(spare);
  EXPECT_FALSE(first.owns_memory());
  EXPECT_EQ(spare.get(), warm);
  little.lend(spare);  // is not to have that much
  EXPECT_EQ(spare.get(), warm);
  fill(second, 3);
  second.lend(spare);  // has one
  second.advance(3);
  second.trim(spare);  // and one is there
  EXPECT_FALSE(second.owns_memory());
  second.lend(spare);
  EXPECT_EQ(spare, nullptr);
  fill(second, 2 * kSmall);
  EXPECT_TRUE(holds_pattern(second));
  second.advance(2 * kSmall);
  second.trim(spare);  // a big one
  EXPECT_EQ(spare, nullptr);
  EXPECT_FALSE(second.owns_memory());
}

TEST(Queue, TrimLeavesBytesAlone) {
  Queue queue(100);
  fill(queue, 10);
  queue.trim();
  EXPECT_TRUE(queue.owns_memory());
  EXPECT_TRUE(holds_pattern(queue));
}

TEST(Queue, OffsetsOnlyGrowAndThePeakStays) {
  Queue queue(100);
  fill(queue, 60);
  queue.consume(50);
  fill(queue, 20);
  EXPECT_EQ(queue.written(), 80U);
  EXPECT_EQ(queue.read(), 50U);
  EXPECT_EQ(queue.size(), 30U);
  EXPECT_EQ(queue.peak(), 60U);
  queue.consume(30);
  fill(queue, 5);
  EXPECT_EQ(queue.written(), 85U);
  EXPECT_EQ(queue.read(), 80U);
  EXPECT_EQ(queue.peak(), 60U);
  EXPECT_TRUE(holds_pattern(queue));
}

TEST(Queue, WrapsAtEveryOffsetOfASmallRing) {
  for (const uint64_t bound : {uint64_t{7}, uint64_t{8}, uint64_t{64}, uint64_t{100}}) {
    Queue queue(bound);
    fill(queue, 1);  // never empty, so the ring stays
    for (uint64_t i = 0; i < 5 * bound; ++i) {
      fill(queue, bound);
      ASSERT_TRUE(queue.full());
      ASSERT_TRUE(holds_pattern(queue)) << "bound " << bound << " offset " << queue.read();
      queue.consume(bound - 1);
      ASSERT_TRUE(holds_pattern(queue));
      fill(queue, 1);  // so that the place moves on by one more each time
      queue.consume(1);
    }
  }
}

// The small ring, full and turned by `turn` bytes, grows into the whole one: nothing may move out of its order. All by memcpy
// and memcmp: 16 Ki turns of 16 KiB each.
TEST(Queue, GrowsAtEveryOffset) {
  std::vector<std::byte> bytes(4 * kSmall);
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = test::pattern(i);
  const auto copy_in = [&](Queue& queue, uint64_t n) {
    const auto room = queue.room();
    const uint64_t first = std::min<uint64_t>(n, room[0].size());
    std::memcpy(room[0].data(), bytes.data() + queue.written(), first);
    if (n > first) std::memcpy(room[1].data(), bytes.data() + queue.written() + first, n - first);
    queue.commit(n);
  };
  const auto right = [&](Queue& queue) {
    const auto front = queue.front();
    return length(front) == queue.size() && std::memcmp(front[0].data(), bytes.data() + queue.read(), front[0].size()) == 0 &&
           (front[1].empty() ||
            std::memcmp(front[1].data(), bytes.data() + queue.read() + front[0].size(), front[1].size()) == 0);
  };
  for (uint64_t turn = 0; turn < kSmall; ++turn) {
    Queue queue(kSmall + 100);
    ASSERT_TRUE(queue.reserve());
    copy_in(queue, turn + 1);
    queue.consume(turn);
    copy_in(queue, kSmall - 1);
    ASSERT_EQ(queue.size(), kSmall);
    ASSERT_FALSE(queue.full());
    ASSERT_TRUE(queue.reserve());
    ASSERT_TRUE(right(queue)) << "turned by " << turn;
    ASSERT_EQ(length(queue.room()), 100U) << "turned by " << turn;
    copy_in(queue, 100);
    ASSERT_TRUE(queue.full());
    ASSERT_TRUE(right(queue)) << "turned by " << turn;
    queue.consume(kSmall + 99);
    ASSERT_TRUE(right(queue)) << "turned by " << turn;
  }
}

TEST(Queue, WithoutMemoryNothingChanges) {
  Queue queue(4 * kSmall);
  test::g_no_memory = true;
  EXPECT_FALSE(queue.reserve());
  EXPECT_FALSE(queue.owns_memory());
  test::g_no_memory = false;
  fill(queue, kSmall);
  test::g_no_memory = true;
  EXPECT_FALSE(queue.reserve());  // the whole ring
  EXPECT_EQ(queue.size(), kSmall);
  EXPECT_TRUE(holds_pattern(queue));
  queue.consume(10);
  EXPECT_TRUE(queue.reserve());  // the small one has room again
  EXPECT_EQ(length(queue.room()), 10U);
  test::g_no_memory = false;
  fill(queue, 4 * kSmall);
  EXPECT_TRUE(queue.full());
  EXPECT_TRUE(holds_pattern(queue));
}

// All bytes, or those at either end.
void compare(Queue& queue, const std::deque<std::byte>& model, bool all) {
  ASSERT_EQ(queue.size(), model.size());
  ASSERT_EQ(queue.empty(), model.empty());
  ASSERT_EQ(queue.full(), model.size() == queue.bound());
  const auto front = queue.front();
  ASSERT_EQ(length(front), model.size());
  for (size_t at = 0; at < model.size(); ++at) {
    if (!all && at == 32 && model.size() > 64) at = model.size() - 32;
    ASSERT_EQ(at < front[0].size() ? front[0][at] : front[1][at - front[0].size()], model[at]) << "at " << at;
  }
}

void random_walk(uint64_t bound, uint64_t seed, bool keeps) {
  Random random(seed);
  Queue queue(bound);
  std::deque<std::byte> model;
  uint64_t peak = 0;
  for (int step = 0; step < 1000; ++step) {
    const bool fills = random.below(100) < (step / 150 % 2 == 0 ? 65U : 35U);  // now more comes than goes, now less
    if (fills) {
      ASSERT_TRUE(queue.reserve());
      const auto room = queue.room();
      ASSERT_EQ(length(room) == 0, queue.full());
      const uint64_t n = random.below(std::min<uint64_t>(length(room), random.below(8) == 0 ? bound : bound / 6 + 1) + 1);
      uint64_t left = n;
      for (const auto& span : room)
        for (std::byte& byte : span.first(std::min<uint64_t>(left, span.size()))) {
          byte = static_cast<std::byte>(random.next());
          model.push_back(byte);
          --left;
        }
      queue.commit(n);
      if (queue.empty() && !keeps) queue.trim();
    } else {
      const uint64_t n = random.below(8) == 0 ? model.size() : random.below(std::min<uint64_t>(model.size(), bound / 6 + 1) + 1);
      keeps ? queue.advance(n) : queue.consume(n);
      model.erase(model.begin(), model.begin() + static_cast<std::ptrdiff_t>(n));
    }
    peak = std::max<uint64_t>(peak, model.size());
    ASSERT_EQ(queue.peak(), peak);
    if (!keeps) {
      ASSERT_EQ(queue.owns_memory(), !model.empty()) << "step " << step;
    }
    compare(queue, model, step % 100 == 0);
    if (::testing::Test::HasFatalFailure()) return;
  }
}

TEST(Queue, DoesWhatADequeDoes) {
  for (const uint64_t bound : {uint64_t{1}, uint64_t{2}, uint64_t{5}, uint64_t{64}, uint64_t{1000}, kSmall - 1, kSmall,
                               kSmall + 1, 2 * kSmall, uint64_t{50'000}})
    for (uint64_t seed = 1; seed <= (bound > 1000 ? 2U : 10U); ++seed) {
      SCOPED_TRACE("bound " + std::to_string(bound) + " seed " + std::to_string(seed));
      random_walk(bound, seed, seed % 2 == 0);
      if (HasFatalFailure()) return;
    }
}

TEST(QueueDeathTest, OurOwnMistakesAbort) {
  Queue queue(10);
  EXPECT_DEATH(queue.room(), "bug");
  fill(queue, 4);
  EXPECT_DEATH(queue.commit(7), "bug");
  EXPECT_DEATH(queue.consume(5), "bug");
  EXPECT_DEATH(Queue(0), "bug");
  EXPECT_DEATH(Queue((uint64_t{1} << 40) + 1), "bug");
}

}  // namespace
}  // namespace relay

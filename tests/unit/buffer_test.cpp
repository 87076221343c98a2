// SPDX-License-Identifier: Apache-2.0
// net/buffer: the window moves, blocks are lent and come back, one stays warm until nobody has asked for a while.
#include "net/buffer.h"

#include <array>
#include <cstring>

#include "tests/unit/testing.h"

namespace relay {
namespace {

constexpr size_t kBlock = BufferPool::kBlock;

TEST(Buffer, BeginsWithNothing) {
  const Buffer buffer;
  EXPECT_TRUE(buffer.empty());
  EXPECT_EQ(buffer.size(), 0U);
  EXPECT_FALSE(buffer.owns_block());
}

TEST(Buffer, IsAWindow) {
  BufferPool pool;
  Buffer buffer;
  ASSERT_TRUE(buffer.borrow(pool));
  EXPECT_TRUE(buffer.owns_block());
  ASSERT_EQ(buffer.room().size(), kBlock);
  std::memcpy(buffer.room().data(), "abcdef", 6);
  buffer.commit(6);
  EXPECT_EQ(buffer.size(), 6U);
  EXPECT_EQ(buffer.room().size(), kBlock - 6);
  buffer.consume(2);
  ASSERT_EQ(buffer.data().size(), 4U);
  EXPECT_EQ(std::memcmp(buffer.data().data(), "cdef", 4), 0);
  std::memcpy(buffer.room().data(), "gh", 2);
  buffer.commit(2);
  ASSERT_EQ(buffer.data().size(), 6U);
  EXPECT_EQ(std::memcmp(buffer.data().data(), "cdefgh", 6), 0);
  buffer.consume(6);
  EXPECT_TRUE(buffer.empty());
  EXPECT_EQ(buffer.room().size(), kBlock);  // an empty window begins anew
}

TEST(Buffer, CanBeFilledToTheLastByte) {
  BufferPool pool;
  Buffer buffer;
  ASSERT_TRUE(buffer.borrow(pool));
  buffer.commit(kBlock);
  EXPECT_EQ(buffer.size(), kBlock);
  EXPECT_TRUE(buffer.room().empty());
  buffer.consume(kBlock - 1);
  EXPECT_EQ(buffer.size(), 1U);
  EXPECT_TRUE(buffer.room().empty());
}

TEST(Buffer, WhatIsLeftGoesToTheFront) {
  BufferPool pool;
  Buffer buffer;
  ASSERT_TRUE(buffer.borrow(pool));
  for (size_t i = 0; i < kBlock; ++i) buffer.room()[i] = test::pattern(i);
  buffer.commit(kBlock);
  buffer.compact();  // nothing is done
  EXPECT_TRUE(buffer.room().empty());
  buffer.consume(10);
  buffer.compact();
  EXPECT_EQ(buffer.size(), kBlock - 10);
  EXPECT_EQ(buffer.room().size(), 10U);
  for (size_t i = 0; i < buffer.size(); ++i) ASSERT_EQ(buffer.data()[i], test::pattern(i + 10));
}

TEST(Buffer, GivesItsBlockBackOnlyWhenEmpty) {
  BufferPool pool;
  Buffer buffer;
  buffer.release(pool);  // nothing to give
  EXPECT_FALSE(pool.holds_spare());
  ASSERT_TRUE(buffer.borrow(pool));
  buffer.commit(3);
  buffer.release(pool);
  EXPECT_TRUE(buffer.owns_block());
  EXPECT_FALSE(pool.holds_spare());
  buffer.consume(3);
  buffer.release(pool);
  EXPECT_FALSE(buffer.owns_block());
  EXPECT_TRUE(pool.holds_spare());
}

TEST(Buffer, BorrowingTwiceKeepsWhatIsThere) {
  BufferPool pool;
  Buffer buffer;
  ASSERT_TRUE(buffer.borrow(pool));
  std::memcpy(buffer.room().data(), "x", 1);
  buffer.commit(1);
  const std::byte* const at = buffer.data().data();
  ASSERT_TRUE(buffer.borrow(pool));
  EXPECT_EQ(buffer.data().data(), at);
  EXPECT_EQ(buffer.size(), 1U);
}

TEST(BufferPool, TheNextReaderHasTheWarmBlock) {
  BufferPool pool;
  Buffer first, second;
  ASSERT_TRUE(first.borrow(pool));
  const std::byte* const warm = first.room().data();
  first.commit(7);
  first.consume(3);
  first.consume(4);
  first.release(pool);
  ASSERT_TRUE(second.borrow(pool));
  EXPECT_EQ(second.room().data(), warm);
  EXPECT_EQ(second.room().size(), kBlock);
  EXPECT_FALSE(pool.holds_spare());
}

TEST(BufferPool, KeepsSome) {
  constexpr size_t kSpare = 4;
  BufferPool pool;
  std::array<Buffer, kSpare + 1> buffers;
  for (Buffer& buffer : buffers) ASSERT_TRUE(buffer.borrow(pool));
  EXPECT_NE(buffers[0].room().data(), buffers[1].room().data());
  const std::byte* const warm = buffers[kSpare - 1].room().data();
  for (Buffer& buffer : buffers) buffer.release(pool);
  EXPECT_TRUE(pool.holds_spare());
  std::array<Buffer, kSpare> again;
  for (Buffer& buffer : again) {
    EXPECT_TRUE(pool.holds_spare());
    ASSERT_TRUE(buffer.borrow(pool));
  }
  EXPECT_EQ(again[0].room().data(), warm);  // the last that was kept
  EXPECT_FALSE(pool.holds_spare());
}

TEST(BufferPool, LetsGoWhenNobodyHasAskedBetweenTwoLooks) {
  BufferPool pool;
  pool.give_back(pool.lend());
  pool.tidy();  // one was lent since the pool began
  EXPECT_TRUE(pool.holds_spare());
  pool.give_back(pool.lend());
  pool.tidy();
  EXPECT_TRUE(pool.holds_spare());
  pool.tidy();
  EXPECT_FALSE(pool.holds_spare());
}

TEST(BufferPool, SaysWhenThereIsNoMemory) {
  BufferPool pool;
  Buffer buffer;
  test::g_no_memory = true;
  EXPECT_FALSE(buffer.borrow(pool));
  test::g_no_memory = false;
  EXPECT_FALSE(buffer.owns_block());
  EXPECT_TRUE(buffer.borrow(pool));
}

TEST(BufferDeathTest, OurOwnMistakesAbort) {
  BufferPool pool;
  Buffer buffer;
  ASSERT_TRUE(buffer.borrow(pool));
  EXPECT_DEATH(buffer.commit(kBlock + 1), "bug");
  buffer.commit(10);
  EXPECT_DEATH(buffer.commit(kBlock - 9), "bug");
  EXPECT_DEATH(buffer.consume(11), "bug");
}

}  // namespace
}  // namespace relay

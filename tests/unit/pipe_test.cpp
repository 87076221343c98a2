// SPDX-License-Identifier: Apache-2.0
// net/pipe: pipes are lent, come back empty or are closed, and are let go when nobody asks.
#include "net/pipe.h"

#include "tests/unit/testing.h"

namespace relay {
namespace {

TEST(PipePool, LendsAPipeThatNeverBlocks) {
  PipePool pool;
  const std::unique_ptr<Pipe> pipe = pool.lend();
  ASSERT_NE(pipe, nullptr);
  EXPECT_EQ(pipe->filled, 0U);
  for (const int fd : {pipe->in.get(), pipe->out.get()}) {
    EXPECT_NE(::fcntl(fd, F_GETFL) & O_NONBLOCK, 0);
    EXPECT_NE(::fcntl(fd, F_GETFD) & FD_CLOEXEC, 0);
  }
  EXPECT_GE(::fcntl(pipe->in.get(), F_GETPIPE_SZ), PipePool::kSlotsMin * 4096);
  char byte = 'x';
  EXPECT_EQ(::read(pipe->out.get(), &byte, 1), -1);
  EXPECT_EQ(errno, EAGAIN);
  ASSERT_EQ(::write(pipe->in.get(), "y", 1), 1);
  ASSERT_EQ(::read(pipe->out.get(), &byte, 1), 1);
  EXPECT_EQ(byte, 'y');
}

TEST(PipePool, LendsAgainWhatCameBackEmpty) {
  PipePool pool;
  std::unique_ptr<Pipe> pipe = pool.lend();
  ASSERT_NE(pipe, nullptr);
  const int in = pipe->in.get();
  EXPECT_FALSE(pool.holds_spare());
  pool.give_back(std::move(pipe));
  EXPECT_TRUE(pool.holds_spare());
  pipe = pool.lend();
  EXPECT_EQ(pipe->in.get(), in);
  EXPECT_FALSE(pool.holds_spare());
}

TEST(PipePool, ClosesAPipeWithBytesInside) {
  PipePool pool;
  const size_t before = test::open_descriptors();
  std::unique_ptr<Pipe> pipe = pool.lend();
  ASSERT_NE(pipe, nullptr);
  ASSERT_EQ(::write(pipe->in.get(), "x", 1), 1);
  pipe->filled = 1;
  pool.give_back(std::move(pipe));
  EXPECT_FALSE(pool.holds_spare());
  EXPECT_EQ(test::open_descriptors(), before);
}

TEST(PipePool, KeepsOnlyAFew) {
  PipePool pool;
  const size_t before = test::open_descriptors();
  std::vector<std::unique_ptr<Pipe>> pipes;
  for (size_t i = 0; i < PipePool::kSpare + 3; ++i) pipes.push_back(pool.lend());
  for (auto& pipe : pipes) ASSERT_NE(pipe, nullptr);
  for (auto& pipe : pipes) pool.give_back(std::move(pipe));
  EXPECT_EQ(test::open_descriptors(), before + 2 * PipePool::kSpare);
}

TEST(PipePool, LetsGoWhenNobodyHasAskedBetweenTwoLooks) {
  PipePool pool;
  const size_t before = test::open_descriptors();
  pool.give_back(pool.lend());
  pool.tidy();
  EXPECT_TRUE(pool.holds_spare());
  pool.tidy();
  EXPECT_FALSE(pool.holds_spare());
  EXPECT_EQ(test::open_descriptors(), before);
}

TEST(PipePool, HasNoneWhenThereAreNoDescriptors) {
  PipePool pool;
  {
    const test::NoDescriptors none;
    EXPECT_EQ(pool.lend(), nullptr);
  }
  EXPECT_NE(pool.lend(), nullptr);
}

}  // namespace
}  // namespace relay

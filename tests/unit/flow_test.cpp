// SPDX-License-Identifier: Apache-2.0
// net/flow: the data path. Whatever the sizes of pieces and buffers, whoever stalls, and however often bytes change their way
// (queue, buffer, pipe): each byte arrives once and in order, nothing is read that cannot be given, and ends are passed on.
#include "net/flow.h"

#include <memory>

#include "tests/unit/testing.h"

namespace relay {
namespace {

using State = Flow::State;
using test::Ends;
using test::Reader;
using test::settle;
using test::Writer;

// The condition is what writes and reads at the far ends.
template <typename Condition>
bool until(Loop& loop, Condition condition) {
  return test::until(loop, condition, Delay{20'000}, Delay{0});
}

// One direction as a session drives it: whatever happens to either side, the flow is pumped (or held, until let go).
class Link final : public ConnUser {
 public:
  Link(Loop& own, Ends source, Ends sink, uint64_t bound = 0)
      : loop(own),
        from(own, *this),
        to(own, *this),
        source_end(std::move(source.theirs)),
        sink_end(std::move(sink.theirs)),
        writer(source_end.get()),
        reader(sink_end.get()),
        bound_(bound) {
    const Status one = from.open({std::move(source.ours), source.family});
    const Status two = to.open({std::move(sink.ours), sink.family});
    CHECK(one.ok() && two.ok());
  }

  void on_ready(Conn&) override { run(); }
  void let_go() {
    bound_ = 0;
    run();
  }
  void run() {
    if (state == State::kDone || state == State::kFromFailed || state == State::kToFailed || flow.cut()) return;
    state = bound_ > 0 ? flow.hold(from, bound_) : flow.pump(loop, from.is_open() ? &from : nullptr, to, to_closes);
    if (state == State::kBusy) to.again();
  }

  Loop& loop;
  Conn from;
  Conn to;
  Flow flow;
  State state = State::kWaiting;
  bool to_closes = false;
  Fd source_end;
  Fd sink_end;
  Writer writer;
  Reader reader;

 private:
  uint64_t bound_;  // above 0: held
};

enum class Family : uint8_t { kTcp, kSmallTcp, kUnix };
const char* name_of(Family family) { return family == Family::kTcp ? "tcp" : family == Family::kSmallTcp ? "small tcp" : "unix"; }
Ends ends_of(Family family) {
  return family == Family::kUnix ? test::unix_ends() : test::tcp_ends(family == Family::kSmallTcp ? 8192 : 0);
}

// ---- nothing lost, repeated or reordered

struct Course {
  Family source;
  Family sink;
  uint64_t total;
  uint64_t held;   // bytes held in a queue of that size before the flow begins; 0: none
  size_t piece;    // the writer's and the reader's largest piece
  uint64_t stall;  // the reader stalls one turn in so many; 0: never
};

void run_course(const Course& course, uint64_t seed) {
  SCOPED_TRACE(std::string(name_of(course.source)) + " to " + name_of(course.sink) + " held " + std::to_string(course.held) +
               " piece " + std::to_string(course.piece) + " seed " + std::to_string(seed));
  Loop loop;
  Random random(seed);
  Link link(loop, ends_of(course.source), ends_of(course.sink), course.held);
  const auto write = [&] {
    const uint64_t left = course.total - link.writer.sent();
    if (left > 0) link.writer.put(std::min<uint64_t>(left, 1 + random.below(course.piece)));
    if (left > 0 && link.writer.sent() == course.total) CHECK(::shutdown(link.source_end.get(), SHUT_WR) == 0);
  };
  if (course.held > 0) {
    ASSERT_TRUE(until(loop, [&] {
      write();
      return link.flow.held_full();
    }));
    EXPECT_EQ(link.flow.held(), course.held);
    EXPECT_EQ(link.flow.taken(), course.held);
    EXPECT_EQ(link.reader.take(1), 0U);
    link.let_go();
  }
  int stalled = 0;
  const bool ended = until(loop, [&] {
    write();
    if (stalled == 0 && course.stall > 0 && random.below(course.stall) == 0) stalled = 1 + static_cast<int>(random.below(10));
    if (stalled > 0) --stalled;
    else link.reader.take(1 + static_cast<size_t>(random.below(course.piece)));
    return link.reader.eof() || link.reader.error() != 0 || !link.reader.right();
  });
  EXPECT_TRUE(ended) << "hangs after " << link.reader.got() << " of " << link.writer.sent() << " sent, state "
                     << static_cast<int>(link.state);
  EXPECT_TRUE(link.reader.right()) << "a wrong byte before " << link.reader.got();
  EXPECT_EQ(link.reader.error(), 0);
  EXPECT_EQ(link.reader.got(), course.total);
  EXPECT_EQ(link.flow.taken(), course.total);
  EXPECT_EQ(link.flow.given(), course.total);
  EXPECT_EQ(link.flow.held(), 0U);
  EXPECT_TRUE(link.flow.ended() && link.flow.done());
  EXPECT_EQ(link.state, State::kDone);
}

TEST(Flow, SmallPiecesArriveInOrder) {
  for (const Family source : {Family::kTcp, Family::kSmallTcp, Family::kUnix})
    for (const Family sink : {Family::kTcp, Family::kSmallTcp, Family::kUnix}) run_course({source, sink, 100'000, 0, 3000, 5}, 1);
}

TEST(Flow, BulkArrivesInOrder) {
  for (const Family source : {Family::kTcp, Family::kUnix})
    for (const Family sink : {Family::kTcp, Family::kSmallTcp, Family::kUnix})
      for (uint64_t seed = 1; seed <= 2; ++seed)
        run_course({source, sink, sink == Family::kSmallTcp ? 1'000'000U : 6'000'000U, 0, 1'000'000, 4}, seed);
}

TEST(Flow, PiecesOfEverySizeArriveInOrder) {
  for (uint64_t seed = 1; seed <= 4; ++seed) {
    const size_t piece = size_t{1} << (8 + 3 * seed);
    for (const Family sink : {Family::kTcp, Family::kUnix})
      run_course({Family::kTcp, sink, std::min<size_t>(600 * piece, 3'000'000), 0, piece, 3}, seed);
  }
}

TEST(Flow, WhatWasHeldComesFirst) {
  for (const uint64_t held : {uint64_t{1}, uint64_t{1000}, uint64_t{16384}, uint64_t{65536}, uint64_t{1'000'000}})
    for (const Family family : {Family::kTcp, Family::kUnix}) {
      run_course({family, family, 3'000'000, held, 500'000, 4}, held);
      run_course({family, Family::kSmallTcp, held + 200'000, held, 70'000, 0}, held);
    }
}

TEST(Flow, BulkIsSpliced) {
  for (const Family family : {Family::kTcp, Family::kUnix}) {
    Loop loop;
    Link link(loop, ends_of(Family::kTcp), ends_of(family));
    ASSERT_TRUE(until(loop, [&] {
      link.writer.put(1 << 20);
      link.reader.take(1 << 20);
      return link.flow.spliced() || link.reader.got() > 200'000'000;
    }));
    EXPECT_TRUE(link.flow.spliced());
    // And small pieces are copied again: the pipe goes back.
    ASSERT_TRUE(until(loop, [&] {
      link.reader.take(1 << 20);
      return link.reader.got() == link.writer.sent();
    }));
    for (int i = 0; i < 20; ++i) {
      link.writer.put(100);
      ASSERT_TRUE(until(loop, [&] {
        link.reader.take(1000);
        return link.reader.got() == link.writer.sent();
      }));
    }
    EXPECT_TRUE(link.reader.right());
    EXPECT_EQ(link.flow.held(), 0U);
  }
}

TEST(Flow, WithoutAPipeBulkIsCopied) {
  Loop loop;
  Link link(loop, ends_of(Family::kTcp), ends_of(Family::kTcp));
  const test::NoDescriptors none;
  ASSERT_TRUE(until(loop, [&] {
    link.writer.put(1 << 20);
    link.reader.take(1 << 20);
    return link.reader.got() > 5'000'000;
  }));
  EXPECT_FALSE(link.flow.spliced());
  EXPECT_TRUE(link.reader.right());
}

TEST(Flow, AnUrgentByteInBulkIsAByte) {
  for (uint64_t seed = 1; seed <= 5; ++seed) {
    SCOPED_TRACE(seed);
    Random random(seed);
    Loop loop;
    Link link(loop, ends_of(Family::kTcp), ends_of(Family::kTcp));
    ASSERT_TRUE(until(loop, [&] {
      link.writer.put(1 << 20);
      link.reader.take(1 << 20);
      return link.flow.spliced();
    }));
    uint64_t urgent = 0;
    for (int i = 0; i < 5; ++i) {
      link.writer.put(static_cast<size_t>(random.below(300'000)));
      urgent += link.writer.urgent() ? 1U : 0U;
      link.writer.put(static_cast<size_t>(random.below(300'000)));
      loop.turn(Delay{0});
      link.reader.take(static_cast<size_t>(random.below(600'000)));
    }
    ASSERT_EQ(::shutdown(link.source_end.get(), SHUT_WR), 0);
    ASSERT_TRUE(until(loop, [&] {
      link.reader.take(1 << 20);
      return link.reader.eof();
    })) << "hangs after " << link.reader.got() << " of " << link.writer.sent();
    EXPECT_GT(urgent, 0U);
    EXPECT_EQ(link.reader.got(), link.writer.sent());
    EXPECT_TRUE(link.reader.right());
  }
}

// ---- holding

TEST(Flow, AFullQueueStopsTheReading) {
  Loop loop;
  Link link(loop, ends_of(Family::kTcp), ends_of(Family::kTcp), 10'000);
  link.writer.put(50'000);
  ASSERT_TRUE(until(loop, [&] { return link.flow.held_full(); }));
  settle(loop);
  EXPECT_EQ(link.state, State::kWaiting);
  EXPECT_EQ(link.flow.held(), 10'000U);
  EXPECT_EQ(link.flow.taken(), 10'000U);
  EXPECT_EQ(link.flow.given(), 0U);
}

TEST(Flow, AnEndBehindHeldBytesIsKept) {
  for (const size_t bytes : {size_t{0}, size_t{5000}, size_t{10'000}}) {
    Loop loop;
    Link link(loop, ends_of(Family::kTcp), ends_of(Family::kTcp), 10'000);
    link.writer.put(bytes);
    ASSERT_EQ(::shutdown(link.source_end.get(), SHUT_WR), 0);
    ASSERT_TRUE(until(loop, [&] { return link.flow.taken() == bytes && (link.flow.ended() || link.flow.held_full()); }));
    settle(loop);
    EXPECT_EQ(link.flow.ended(), bytes < 10'000);  // behind a full queue it is not read yet
    EXPECT_FALSE(link.flow.done());
    link.let_go();
    ASSERT_TRUE(until(loop, [&] {
      link.reader.take(1 << 20);
      return link.reader.eof();
    }));
    EXPECT_EQ(link.reader.got(), bytes);
    EXPECT_TRUE(link.flow.done());
  }
}

TEST(Flow, HeldBytesOutliveTheirSender) {
  Loop loop;
  Link link(loop, ends_of(Family::kTcp), ends_of(Family::kTcp), 10'000);
  link.writer.put(5000);
  test::reset_peer(link.source_end);
  ASSERT_TRUE(until(loop, [&] { return link.state == State::kFromFailed; }));
  EXPECT_EQ(link.flow.failure().code(), Code::kReset);
  EXPECT_EQ(link.flow.held(), 5000U);
  link.from.close();
  EXPECT_EQ(link.flow.pump(loop, nullptr, link.to, false), State::kWaiting);
  EXPECT_EQ(link.reader.take(10'000), 5000U);
  EXPECT_TRUE(link.reader.right());
  EXPECT_FALSE(link.reader.eof());  // a reset is not an end
  EXPECT_FALSE(link.flow.done());
  EXPECT_EQ(link.flow.held(), 0U);
}

TEST(Flow, WithoutMemoryForItsQueueItFails) {
  Loop loop;
  Link link(loop, ends_of(Family::kTcp), ends_of(Family::kTcp), 10'000);
  settle(loop);
  link.writer.put(100);
  test::g_no_memory = true;
  const bool failed = until(loop, [&] { return link.state == State::kFromFailed; });
  test::g_no_memory = false;
  EXPECT_TRUE(failed);
  EXPECT_EQ(link.flow.failure().code(), Code::kLimit);
  EXPECT_EQ(link.flow.failure().error(), ENOMEM) << "what the log says";
}

// ---- back-pressure

TEST(Flow, NothingIsReadWhileTheOtherSideTakesNothing) {
  for (const Family family : {Family::kTcp, Family::kSmallTcp, Family::kUnix}) {
    SCOPED_TRACE(name_of(family));
    Loop loop;
    Link link(loop, ends_of(Family::kTcp), ends_of(family));
    // Write until nothing moves any more, though the reader has not read a byte.
    uint64_t before = 0;
    int quiet = 0;
    ASSERT_TRUE(until(loop, [&] {
      link.writer.put(1 << 20);
      quiet = link.writer.sent() == before ? quiet + 1 : 0;
      before = link.writer.sent();
      return quiet > 20;
    }));
    const uint64_t taken = link.flow.taken();
    EXPECT_GT(link.flow.held(), 0U);
    EXPECT_LE(link.flow.held(), 1024U * 1024);
    EXPECT_EQ(link.state, State::kWaiting);
    EXPECT_GT(link.writer.sent(), taken);  // bytes wait on the sender's side
    settle(loop);
    link.run();  // asked without need
    EXPECT_EQ(link.flow.taken(), taken);
    // Once the reader reads, all of it comes.
    ASSERT_EQ(::shutdown(link.source_end.get(), SHUT_WR), 0);
    ASSERT_TRUE(until(loop, [&] {
      link.reader.take(1 << 20);
      return link.reader.eof();
    }));
    EXPECT_EQ(link.reader.got(), link.writer.sent());
    EXPECT_TRUE(link.reader.right());
  }
}

TEST(Flow, AnIdleDirectionOwnsNothing) {
  Loop loop;
  Link link(loop, ends_of(Family::kTcp), ends_of(Family::kTcp));
  link.writer.put(1000);
  ASSERT_TRUE(until(loop, [&] {
    link.reader.take(1000);
    return link.reader.got() == 1000;
  }));
  EXPECT_TRUE(loop.buffers().holds_spare());  // the block is back
}

// ---- ends

TEST(Flow, PassesAHalfCloseOnAndTheOtherWayStaysOpen) {
  Loop loop;
  Link link(loop, ends_of(Family::kTcp), ends_of(Family::kTcp));
  ASSERT_EQ(::shutdown(link.source_end.get(), SHUT_WR), 0);
  ASSERT_TRUE(until(loop, [&] {
    link.reader.take(10);
    return link.reader.eof();
  }));
  EXPECT_EQ(link.state, State::kDone);
  EXPECT_TRUE(link.to.shut());
  Flow back;
  ASSERT_EQ(::send(link.sink_end.get(), "answer", 6, 0), 6);
  char text[7] = {};
  ASSERT_TRUE(until(loop, [&] {
    const State state = back.pump(loop, &link.to, link.from, false);
    return state == State::kWaiting && ::recv(link.source_end.get(), text, 6, 0) == 6;
  }));
  EXPECT_STREQ(text, "answer");
}

TEST(Flow, LeavesTheEndToTheCloseIfThatComesAnyway) {
  Loop loop;
  Link link(loop, ends_of(Family::kTcp), ends_of(Family::kTcp));
  link.to_closes = true;
  link.writer.put(10);
  ASSERT_EQ(::shutdown(link.source_end.get(), SHUT_WR), 0);
  ASSERT_TRUE(until(loop, [&] { return link.state == State::kDone; }));
  EXPECT_FALSE(link.to.shut());
  EXPECT_EQ(link.reader.take(100), 10U);
  EXPECT_FALSE(link.reader.eof());
}

// ---- failures

TEST(Flow, ASenderThatFailsIsToldAfterItsBytes) {
  for (const size_t bytes : {size_t{0}, size_t{777}}) {
    Loop loop;
    Link link(loop, ends_of(Family::kTcp), ends_of(Family::kTcp));
    link.writer.put(bytes);
    test::reset_peer(link.source_end);
    ASSERT_TRUE(until(loop, [&] { return link.state == State::kFromFailed; }));
    EXPECT_EQ(link.flow.failure().code(), Code::kReset);
    EXPECT_EQ(link.flow.failure().error(), ECONNRESET);
    EXPECT_EQ(link.flow.given(), bytes);
    EXPECT_EQ(link.reader.take(10'000), bytes);
    EXPECT_FALSE(link.flow.ended());
  }
}

TEST(Flow, AReceiverThatFailsIsTold) {
  for (const Family family : {Family::kTcp, Family::kUnix}) {
    Loop loop;
    Link link(loop, ends_of(Family::kTcp), ends_of(family));
    link.sink_end.close();
    ASSERT_TRUE(until(loop, [&] {
      link.writer.put(100);
      return link.state == State::kToFailed;
    }));
    EXPECT_EQ(link.flow.failure().code(), Code::kReset);
    EXPECT_EQ(link.flow.held(), link.flow.taken() - link.flow.given());
    EXPECT_GT(link.flow.abandon(loop), 0U);
    EXPECT_EQ(link.flow.held(), 0U);
  }
}

TEST(Flow, AReceiverThatFailsInBulkIsTold) {
  for (const Family family : {Family::kTcp, Family::kUnix}) {
    Loop loop;
    Link link(loop, ends_of(Family::kTcp), ends_of(family));
    ASSERT_TRUE(until(loop, [&] {
      link.writer.put(1 << 20);
      link.reader.take(1 << 20);
      return link.flow.spliced();
    }));
    link.sink_end.close();
    ASSERT_TRUE(until(loop, [&] {
      link.writer.put(1 << 20);
      return link.state == State::kToFailed;
    }));
    EXPECT_EQ(link.flow.failure().code(), Code::kReset);
  }
}

TEST(Flow, AbandonCountsWhatIsHeldWhereverItIs) {
  // In the queue.
  {
    Loop loop;
    Link link(loop, ends_of(Family::kTcp), ends_of(Family::kTcp), 10'000);
    link.writer.put(1234);
    ASSERT_TRUE(until(loop, [&] { return link.flow.held() == 1234; }));
    EXPECT_EQ(link.flow.abandon(loop), 1234U);
    EXPECT_TRUE(link.flow.cut());
    EXPECT_EQ(link.flow.held(), 0U);
    EXPECT_EQ(link.flow.abandon(loop), 0U);  // once
  }
  // In the buffer: the first piece that does not fit is still copied. In the pipe: after bulk.
  for (const bool bulk : {false, true}) {
    Loop loop;
    Link link(loop, ends_of(Family::kTcp), ends_of(bulk ? Family::kTcp : Family::kSmallTcp));
    if (bulk) {
      ASSERT_TRUE(until(loop, [&] {
        link.writer.put(1 << 20);
        link.reader.take(1 << 20);
        return link.flow.spliced();
      }));
    }
    ASSERT_TRUE(until(loop, [&] {
      link.writer.put(bulk ? 1 << 20 : 60'000);
      return link.flow.held() > 0 && link.state == State::kWaiting;
    }));
    EXPECT_EQ(link.flow.spliced(), bulk);
    const uint64_t held = link.flow.taken() - link.flow.given();
    EXPECT_EQ(link.flow.abandon(loop), held);
    EXPECT_EQ(link.flow.held(), 0U);
    EXPECT_FALSE(loop.pipes().holds_spare() && bulk);  // a pipe with bytes inside is never lent again
    // What was given before does arrive, and nothing else.
    const uint64_t given = link.flow.given();
    ASSERT_TRUE(until(loop, [&] {
      link.reader.take(1 << 20);
      return link.reader.got() >= given;
    }));
    settle(loop);
    link.reader.take(1 << 20);
    EXPECT_EQ(link.reader.got(), given);
    EXPECT_TRUE(link.reader.right());
  }
}

TEST(Flow, AbandonOfNothingIsNothing) {
  Loop loop;
  Flow flow;
  EXPECT_EQ(flow.abandon(loop), 0U);
  EXPECT_TRUE(flow.cut());
}

TEST(Flow, WithoutMemoryForABufferItFails) {
  Loop loop;
  Link link(loop, ends_of(Family::kTcp), ends_of(Family::kTcp));
  settle(loop);
  link.writer.put(100);
  test::g_no_memory = true;
  const bool failed = until(loop, [&] { return link.state == State::kFromFailed; });
  test::g_no_memory = false;
  EXPECT_TRUE(failed);
  EXPECT_EQ(link.flow.failure().code(), Code::kLimit);
}

}  // namespace
}  // namespace relay

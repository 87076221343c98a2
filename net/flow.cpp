// SPDX-License-Identifier: Apache-2.0
// Flow: the data path.
#include "net/flow.h"

#include <array>
#include <cerrno>

namespace relay {
namespace {

// A Queue's spans in the kernel's shape; returns how many are not empty.
size_t parts(const Queue::Spans& spans, std::array<iovec, 2>& out) {
  size_t count = 0;
  for (const auto& span : spans)
    if (!span.empty()) out[count++] = {span.data(), span.size()};
  return count;
}

}  // namespace

Flow::State Flow::fail(State state, const Status& status) {
  failure_ = status.code();
  error_ = status.error();
  return state;
}

Flow::State Flow::from_answer(const Status& status) {
  switch (status.code()) {
    case Code::kAgain: return State::kWaiting;
    case Code::kEof: from_ended_ = true; return State::kBusy;  // to be passed on by the caller's loop
    case Code::kOk:
    case Code::kReset:
    case Code::kTruncated:
    case Code::kTimeout:
    case Code::kRefused:
    case Code::kNotFound:
    case Code::kLimit:
    case Code::kInvalid:
    case Code::kSystem: break;
  }
  return fail(State::kFromFailed, status);
}

Flow::State Flow::hold(Conn& from, uint64_t bound) {
  if (queue_ == nullptr) queue_ = std::make_unique<Queue>(bound);
  State state = State::kBusy;
  for (int round = 0; round < kRounds; ++round) {
    if (from_ended_ || !from.readable() || queue_->full()) {
      state = State::kWaiting;
      break;
    }
    if (!queue_->reserve()) {
      if (queue_->empty()) return fail(State::kFromFailed, {Code::kLimit, "no memory for the queue", ENOMEM});
      state = State::kWaiting;  // as full as it can be: what it holds goes first
      break;
    }
    std::array<iovec, 2> room;
    const size_t count = parts(queue_->room(), room);
    const Result<size_t> n = from.read(std::span{room.data(), count});
    if (!n.ok()) {
      state = from_answer(n.status());
      if (state != State::kBusy) break;
      continue;
    }
    queue_->commit(*n);
    taken_ += *n;
  }
  queue_->trim();
  return state;
}

Flow::State Flow::pump(Loop& loop, Conn* from, Conn& to, bool to_closes) {
  State state = State::kBusy;
  const uint64_t enough = taken_ + kBudget;
  for (int round = 0; round < kRounds && taken_ < enough && state == State::kBusy; ++round) {
    if (held() > 0) {
      state = flush(to);
      if (state != State::kBusy) break;
    }
    if (from_ended_) {
      state = pass_end(to, to_closes);
    } else if (from == nullptr || !from->readable() || !to.writable()) {
      state = State::kWaiting;
    } else if (full_reads_ >= kBulkReads && !never_splice_ && !from->urgent() && from->can_splice() && to.can_splice()) {
      state = splice(loop, *from, to);
    } else {
      state = copy(loop, *from, to);
    }
  }
  // An idle direction owns nothing.
  if (queue_ != nullptr && queue_->empty()) queue_.reset();
  buffer_.release(loop.buffers());
  return_pipe(loop);
  return state;
}

Flow::State Flow::pass_end(Conn& to, bool to_closes) {
  if (end_passed_) return State::kDone;
  const Status status = to_closes && !to.end_is_written() ? Status{} : to.shutdown_write();
  if (status.code() == Code::kAgain) return State::kWaiting;
  if (!status.ok()) return fail(State::kToFailed, status);
  end_passed_ = true;
  return State::kDone;
}

// kBusy: everything held has gone.
Flow::State Flow::flush(Conn& to) {
  if (!to.writable()) return State::kWaiting;
  if (queue_ != nullptr && !queue_->empty()) return flush_queue(to);
  if (pipe_ != nullptr && pipe_->filled > 0) return splice_out(to);
  const Result<size_t> n = to.write(buffer_.data());
  if (!n.ok()) return n.status().code() == Code::kAgain ? State::kWaiting : fail(State::kToFailed, n.status());
  buffer_.consume(*n);
  give(*n);
  return buffer_.empty() ? State::kBusy : State::kWaiting;
}

Flow::State Flow::flush_queue(Conn& to) {
  std::array<iovec, 2> front;
  const size_t count = parts(queue_->front(), front);
  const Result<size_t> n = to.write(std::span<const iovec>{front.data(), count});
  if (!n.ok()) return n.status().code() == Code::kAgain ? State::kWaiting : fail(State::kToFailed, n.status());
  queue_->consume(*n);
  give(*n);
  return queue_->empty() ? State::kBusy : State::kWaiting;
}

Flow::State Flow::copy(Loop& loop, Conn& from, Conn& to) {
  if (!buffer_.borrow(loop.buffers())) return fail(State::kFromFailed, {Code::kLimit, "no memory for a buffer", ENOMEM});
  const Result<size_t> got = from.read(buffer_.room());
  if (!got.ok()) return from_answer(got.status());
  buffer_.commit(*got);
  taken_ += *got;
  if (*got < BufferPool::kBlock) full_reads_ = 0;
  else if (full_reads_ < kBulkReads) ++full_reads_;
  return flush(to);
}

Flow::State Flow::splice(Loop& loop, Conn& from, Conn& to) {
  if (pipe_ == nullptr) pipe_ = loop.pipes().lend();
  if (pipe_ == nullptr) {
    full_reads_ = 0;  // no pipe to be had: copy, and ask again after the next full reads
    return State::kBusy;
  }
  const Result<size_t> got = from.splice_in(*pipe_, kSpliceMost);
  if (!got.ok()) {
    if (got.status().code() != Code::kInvalid) return from_answer(got.status());
    never_splice_ = true;  // the next read tells why
    return State::kBusy;
  }
  taken_ += *got;
  spliced_ = true;
  if (*got < kSpliceLeast) full_reads_ = 0;
  return splice_out(to);
}

Flow::State Flow::splice_out(Conn& to) {
  const Result<size_t> n = to.splice_out(*pipe_);
  if (n.ok()) {
    give(*n);
    return pipe_->filled == 0 ? State::kBusy : State::kWaiting;
  }
  if (n.status().code() == Code::kAgain) return State::kWaiting;
  return fail(State::kToFailed, n.status());
}

void Flow::return_pipe(Loop& loop) {
  if (pipe_ != nullptr && pipe_->filled == 0) loop.pipes().give_back(std::move(pipe_));
}

uint64_t Flow::abandon(Loop& loop) {
  const uint64_t lost = held();
  cut_ = true;
  queue_.reset();
  if (!buffer_.empty()) buffer_.consume(buffer_.size());
  buffer_.release(loop.buffers());
  pipe_.reset();
  return lost;
}

}  // namespace relay

// SPDX-License-Identifier: Apache-2.0
// Flow: one direction of a pair. It takes bytes from one Conn, keeps them while it must, and gives them to another, each once
// and in order.
//
//              ┌─► Queue ──┐    hold(): nobody to give to yet, or what was queued is not all gone
//   from ─read─┼─► Buffer ─┼─► to    copying: through one block that all share; after a short write the Flow keeps it
//              └─► Pipe ───┘    splicing: bulk never enters this process
//
// At most one of the three holds bytes: a place is filled only when all are empty, so the switch between them can lose,
// repeat and reorder nothing. While the Flow holds bytes and `to` takes none, nothing is read: that is the back-pressure.
// Copying turns into splicing after kBulkReads full reads in a row and back when the pieces get small.
#pragma once

#include <cstdint>
#include <memory>

#include "lib/status.h"
#include "net/buffer.h"
#include "net/conn.h"
#include "net/loop.h"
#include "net/pipe.h"
#include "queue.h"

namespace relay {

class Flow {
 public:
  enum class State : uint8_t {
    kWaiting,     // for an event of either Conn
    kBusy,        // the turn's budget is used up and there is more: call again in the next turn
    kDone,        // the end of `from` has been passed on: nothing will ever flow again
    kFromFailed,  // see failure(); what was taken before is still there to be given
    kToFailed,    // see failure(); what is left cannot be given
  };

  Flow() = default;
  Flow(const Flow&) = delete;
  Flow& operator=(const Flow&) = delete;

  // Takes what `from` has into a queue of at most `bound` bytes. A full queue stops the reading (held_full()).
  State hold(Conn& from, uint64_t bound);
  // Moves bytes until one side has had enough. `from` may be nullptr: it is gone, and only what is held moves. `to_closes`: the
  // other direction is over, and `to` will be closed as soon as this one is, which says the end as well as a half-close (where
  // an end is no message of its own).
  State pump(Loop& loop, Conn* from, Conn& to, bool to_closes);
  // `from` will say nothing more, whatever becomes of it: what is held is all, and then the end.
  void finish() { from_ended_ = true; }
  // Gives up what is held; returns how many bytes that were. Nothing flows any more.
  uint64_t abandon(Loop& loop);

  Status failure() const { return {failure_, "failed", error_}; }
  uint64_t taken() const { return taken_; }             // bytes read from `from`
  uint64_t given() const { return given_; }             // bytes written to `to`
  uint64_t held() const { return cut_ ? 0 : taken_ - given_; }
  bool cut() const { return cut_; }                     // abandoned
  bool held_full() const { return queue_ != nullptr && queue_->full(); }
  bool ended() const { return from_ended_; }            // `from` has finished in order
  bool done() const { return end_passed_; }             // and `to` has been told
  bool spliced() const { return spliced_; }             // some bytes went by splice

 private:
  static constexpr int kRounds = 8;                  // reads a call: the turn's budget
  static constexpr uint64_t kBudget = 1024 * 1024;   // bytes a call, after which no further read begins
  static constexpr uint8_t kBulkReads = 2;           // full reads in a row that make a bulk transfer
  static constexpr size_t kSpliceMost = 1024 * 1024;  // bytes a splice; also how much kernel memory a stalled reader holds
  static constexpr size_t kSpliceLeast = 16 * 1024;  // pieces below this are cheaper to copy

  State pass_end(Conn& to, bool to_closes);
  State flush(Conn& to);
  State flush_queue(Conn& to);
  State copy(Loop& loop, Conn& from, Conn& to);
  State splice(Loop& loop, Conn& from, Conn& to);
  State splice_out(Conn& to);
  State from_answer(const Status& status);
  State fail(State state, const Status& status);
  void return_pipe(Loop& loop);
  void give(size_t n) { given_ += n; }

  std::unique_ptr<Queue> queue_;
  Buffer buffer_;
  std::unique_ptr<Pipe> pipe_;
  uint64_t taken_ = 0;
  uint64_t given_ = 0;
  int error_ = 0;  // of failure_
  Code failure_ = Code::kOk;
  uint8_t full_reads_ = 0;
  bool never_splice_ = false;
  bool spliced_ = false;
  bool from_ended_ = false;
  bool end_passed_ = false;
  bool cut_ = false;
};

}  // namespace relay

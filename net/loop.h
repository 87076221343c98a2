// SPDX-License-Identifier: Apache-2.0
// Loop: the one event loop of the process, over epoll, edge-triggered.
//
//   a turn:  wait ─► read the clock ─► dispatch events ─► those who asked to go on (again) ─► due timers ─► flush the log ─► bury
//
// Edge-triggered, because then a connection costs one epoll_ctl in its life and none when its interests change: a Watcher is
// told once that something became possible, remembers it, and asks the kernel until it says EAGAIN. One that stops early,
// for its budget, calls again() and is called in the next turn, after the others.
//
// Laws: nothing that the loop knows by name is destroyed inside a turn: bury() it. An event for a Watcher that has been
// removed in the same turn is dropped (events carry slot and generation).
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "lib/heap.h"
#include "lib/random.h"
#include "lib/status.h"
#include "net/buffer.h"
#include "net/fd.h"
#include "net/pipe.h"
#include "net/timer.h"

namespace relay {

class Watcher {
 public:
  static constexpr uint32_t kNoSlot = UINT32_MAX;

  // `events` are epoll's bits; 0 after again().
  virtual void on_event(uint32_t events) = 0;

  uint32_t loop_slot = kNoSlot;  // the Loop's: where it keeps this Watcher

 protected:
  Watcher() = default;
  Watcher(const Watcher&) = delete;
  Watcher& operator=(const Watcher&) = delete;
  ~Watcher() = default;  // REQUIRES: not watched
};

// What may be buried.
class Mortal {
 public:
  virtual ~Mortal() = default;
};

class Loop final : private TimerUser {
 public:
  Loop();
  ~Loop() = default;
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;

  // Watches `fd` for `events`, edge-triggered. Borrows both until forget(). kLimit: the kernel has no room for it.
  Status watch(Watcher& watcher, int fd, uint32_t events);
  // The same descriptor, other events. For those few that are not served by one registration for life.
  Status rewatch(Watcher& watcher, int fd, uint32_t events);
  // No more calls. The caller closes the descriptor in the same turn, which takes it out of epoll.
  void forget(Watcher& watcher);
  // The same for one whose descriptor has a duplicate, so that closing it would not do.
  void forget(Watcher& watcher, int fd);
  // What `from` watches is watched by `to` from now on. REQUIRES: `to` watches nothing.
  void hand_over(Watcher& from, Watcher& to);
  // Calls on_event(0) in the next turn, unless forgotten before. More than once in a turn is once.
  void again(Watcher& watcher);

  // Somebody who alone has just been answered may well speak again at once. To wake a processor takes longer than that, so before it
  // sleeps the loop looks again and again, for 50 µs at most, and only as long as such hopes come true: one that does not ends them, until
  // somebody has come that soon by himself. Never on a machine of one processor.
  void expect_soon() { expecting_ = true; }
  uint64_t looks() const { return looks_; }  // how often it has, for tests

  // Runs turns until stop().
  void run();
  void stop() { running_ = false; }
  // One turn that waits at most `most` for something to happen.
  void turn(Delay most);

  Time now() const { return now_; }  // read once a turn
  uint64_t turns() const { return turns_; }  // for who bounds what it does in one
  void bury(std::unique_ptr<Mortal> dead) { dead_.push_back(std::move(dead)); }

  BufferPool& buffers() { return buffers_; }
  PipePool& pipes() { return pipes_; }
  Random& random() { return random_; }

 private:
  friend class Timer;
  struct Slot {
    union {
      Watcher* watcher;
      uint64_t next_free;  // while free
    };
    uint32_t generation;
    bool used : 1;
    bool again : 1;
  };
  static uint64_t name(uint32_t slot, uint32_t generation) { return uint64_t{generation} << 32 | slot; }
  void dispatch(uint64_t name, uint32_t events);
  void dispatch_again();
  void fire_timers();
  void keep_tidy();
  void destroy_dead();
  void on_timer(Timer& timer) override;
  int timeout(Delay most) const;
  int wait(std::span<epoll_event> events, int timeout);

  Fd epoll_;
  bool running_ = false;
  Time now_;
  uint64_t turns_ = 0;
  uint64_t looks_ = 0;
  const bool may_look_;
  bool expecting_ = false;
  bool alone_ = true;   // no more than one event came last
  bool soon_ = false;   // who was expected last has come soon
  std::vector<Slot> slots_;
  uint32_t free_ = Watcher::kNoSlot;
  std::vector<uint64_t> again_;     // names
  std::vector<uint64_t> again_now_;  // those of the turn under way
  Heap<Timer> timers_;
  uint64_t armed_ = 0;  // how often any has been armed
  Random random_;
  std::vector<std::unique_ptr<Mortal>> dead_;
  std::vector<std::unique_ptr<Mortal>> dying_;  // being destroyed now: who dies may bury others
  BufferPool buffers_;
  PipePool pipes_;
  Timer tidy_;  // armed while a pool keeps something for the next user
};

}  // namespace relay

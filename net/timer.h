// SPDX-License-Identifier: Apache-2.0
// Timer: a wait that its waiter holds. Armed, it calls back once, from the loop, not before its time; its destructor disarms
// it. Times are the loop's monotonic milliseconds.
//
// A time-out that is pushed on by every byte is not re-armed by every byte: let it fire, look at the time of the last byte,
// arm it again for the rest.
#pragma once

#include <chrono>
#include <cstdint>
#include <utility>

#include "lib/heap.h"

namespace relay {

class Loop;
class Timer;
using Time = std::chrono::milliseconds;  // since the machine's start
using Delay = std::chrono::milliseconds;

class TimerUser {
 public:
  virtual void on_timer(Timer& timer) = 0;

 protected:
  ~TimerUser() = default;
};

class Timer {
 public:
  // Borrows both for its life.
  Timer(Loop& loop, TimerUser& user) : loop_(loop), user_(user) {}
  ~Timer() { disarm(); }
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;

  void arm(Delay delay);  // from now; an armed timer is moved. Saturates: a huge delay is for ever.
  void disarm();
  bool armed() const { return heap_place != kNotInHeap; }
  Time when() const { return when_; }  // REQUIRES: armed()

  std::pair<Time, uint64_t> heap_key() const { return {when_, order_}; }
  uint32_t heap_place = kNotInHeap;

 private:
  friend class Loop;
  Loop& loop_;
  TimerUser& user_;
  Time when_{};
  uint64_t order_ = 0;  // in which it was armed, among all
};

}  // namespace relay

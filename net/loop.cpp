// SPDX-License-Identifier: Apache-2.0
// Loop: slots, turns, timers. See loop.h for the laws.
#include "net/loop.h"

#include <algorithm>
#include <climits>
#include <utility>

#include "lib/log.h"

namespace relay {

namespace {
constexpr int kEventsATurn = 256;
constexpr int64_t kLookUs = 50;   // more than waking a processor costs
constexpr int64_t kSoonUs = 100;  // that, and being woken
constexpr Delay kTidy{250};  // what nobody used for so long is given back
constexpr Delay kForEver{int64_t{100} * 365 * 24 * 3600 * 1000};
}  // namespace

// If there is no descriptor for it, watch() says so.
Loop::Loop() : epoll_(sys::epoll_create()), now_(sys::monotonic_ms()), may_look_(sys::processors() > 1), random_(sys::random_seed()), tidy_(*this, *this) {}

Status Loop::watch(Watcher& watcher, int fd, uint32_t events) {
  CHECK(watcher.loop_slot == Watcher::kNoSlot);
  if (free_ == Watcher::kNoSlot) {
    slots_.push_back({{.next_free = Watcher::kNoSlot}, 0, false, false});
    free_ = static_cast<uint32_t>(slots_.size() - 1);
  }
  const uint32_t index = free_;
  Slot& slot = slots_[index];
  const int error = sys::epoll_add(epoll_.get(), fd, events | EPOLLET, name(index, slot.generation));
  if (error < 0) return from_errno(-error, "epoll_ctl");
  free_ = static_cast<uint32_t>(slot.next_free);
  slot.watcher = &watcher;
  slot.used = true;
  slot.again = false;
  watcher.loop_slot = index;
  return {};
}

Status Loop::rewatch(Watcher& watcher, int fd, uint32_t events) {
  CHECK(watcher.loop_slot != Watcher::kNoSlot);
  const Slot& slot = slots_[watcher.loop_slot];
  const int error = sys::epoll_modify(epoll_.get(), fd, events | EPOLLET, name(watcher.loop_slot, slot.generation));
  return error < 0 ? from_errno(-error, "epoll_ctl") : Status{};
}

void Loop::forget(Watcher& watcher) {
  if (watcher.loop_slot == Watcher::kNoSlot) return;
  Slot& slot = slots_[watcher.loop_slot];
  slot.used = false;
  ++slot.generation;
  slot.next_free = free_;
  free_ = watcher.loop_slot;
  watcher.loop_slot = Watcher::kNoSlot;
}

void Loop::forget(Watcher& watcher, int fd) {
  if (watcher.loop_slot == Watcher::kNoSlot) return;
  static_cast<void>(sys::epoll_remove(epoll_.get(), fd));
  forget(watcher);
}

void Loop::hand_over(Watcher& from, Watcher& to) {
  CHECK(from.loop_slot != Watcher::kNoSlot && to.loop_slot == Watcher::kNoSlot);
  slots_[from.loop_slot].watcher = &to;
  to.loop_slot = from.loop_slot;
  from.loop_slot = Watcher::kNoSlot;
}

void Loop::again(Watcher& watcher) {
  CHECK(watcher.loop_slot != Watcher::kNoSlot);
  Slot& slot = slots_[watcher.loop_slot];
  if (slot.again) return;
  slot.again = true;
  again_.push_back(name(watcher.loop_slot, slot.generation));
}

void Loop::run() {
  running_ = true;
  while (running_) turn(kForEver);
}

void Loop::turn(Delay most) {
  std::array<epoll_event, kEventsATurn> events;  // NOLINT: the kernel fills what is read
  const int n = wait(events, timeout(most));
  now_ = Time{sys::monotonic_ms()};
  ++turns_;
  again_now_.swap(again_);
  for (int i = 0; i < n; ++i) dispatch(events[static_cast<size_t>(i)].data.u64, events[static_cast<size_t>(i)].events);
  dispatch_again();
  fire_timers();
  keep_tidy();
  log_flush();
  destroy_dead();
}

int Loop::wait(std::span<epoll_event> events, int timeout) {
  const auto poll = [&](int most) { return sys::epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), most); };
  if (timeout == 0) return poll(0);
  const bool hoping = std::exchange(expecting_, false) && alone_ && may_look_;
  int n = 0;
  if (hoping) {
    const int64_t begin = sys::monotonic_us();
    if (soon_) ++looks_;
    while (soon_ && n == 0 && sys::monotonic_us() - begin < kLookUs) n = poll(0);
    if (n == 0) n = poll(timeout);
    soon_ = sys::monotonic_us() - begin < (soon_ ? kLookUs : kSoonUs);
  } else {
    n = poll(timeout);
  }
  alone_ = n <= 1;
  return n;
}

void Loop::dispatch(uint64_t name, uint32_t events) {
  const auto index = static_cast<uint32_t>(name);
  const Slot& slot = slots_[index];
  if (!slot.used || slot.generation != static_cast<uint32_t>(name >> 32)) return;
  slot.watcher->on_event(events);
}

void Loop::dispatch_again() {
  for (const uint64_t name : again_now_) {
    Slot& slot = slots_[static_cast<uint32_t>(name)];
    if (slot.generation != static_cast<uint32_t>(name >> 32)) continue;
    slot.again = false;  // first clear the mark, then act: the Watcher may ask again
    dispatch(name, 0);
  }
  again_now_.clear();
}

void Loop::fire_timers() {
  // None that is armed from here on: one that arms itself for now must not hold the turn. (Of those that are due at the same time it is behind the others.)
  const uint64_t last = armed_;
  while (!timers_.empty() && timers_.top().when_ <= now_ && timers_.top().order_ <= last) {
    Timer& timer = timers_.top();
    timers_.remove(timer);
    timer.user_.on_timer(timer);
  }
}

void Loop::destroy_dead() {
  while (!dead_.empty()) {
    dying_.swap(dead_);
    dying_.clear();
  }
}

void Loop::keep_tidy() {
  if (!tidy_.armed() && (buffers_.holds_spare() || pipes_.holds_spare())) tidy_.arm(kTidy);
}

void Loop::on_timer(Timer&) {
  buffers_.tidy();
  pipes_.tidy();
}

int Loop::timeout(Delay most) const {
  if (!again_.empty()) return 0;
  Delay wait = most;
  if (!timers_.empty()) wait = std::min(wait, std::max(Delay{0}, timers_.top().when_ - now_));
  return wait >= kForEver ? -1 : static_cast<int>(std::min<int64_t>(wait.count(), INT_MAX));
}

void Timer::arm(Delay delay) {
  when_ = loop_.now_ + std::clamp(delay, Delay{0}, kForEver);
  order_ = ++loop_.armed_;
  if (armed()) loop_.timers_.moved(*this);
  else loop_.timers_.push(*this);
}

void Timer::disarm() {
  if (armed()) loop_.timers_.remove(*this);
}

}  // namespace relay

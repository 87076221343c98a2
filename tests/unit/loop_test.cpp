// SPDX-License-Identifier: Apache-2.0
// net/loop and net/timer: who is called in a turn, in which order, and who is not called any more.
#include "net/loop.h"

#include <sched.h>

#include <functional>
#include <memory>

#include "tests/unit/testing.h"

namespace relay {
namespace {

using test::Ends;
using test::settle;
using test::until;

// A Watcher of one end of a socket pair; the test writes to the other.
class Spy final : public Watcher {
 public:
  Spy() : ends_(test::unix_ends()) {}
  ~Spy() { forget(); }

  void watch(Loop& loop, uint32_t events = EPOLLIN) {
    loop_ = &loop;
    const Status status = loop.watch(*this, ends_.ours.get(), events);
    ASSERT_TRUE(status.ok());
  }
  void forget() {
    if (loop_ != nullptr) loop_->forget(*this);
    ends_.ours.close();
  }
  void poke() { ASSERT_EQ(::send(ends_.theirs.get(), "x", 1, MSG_NOSIGNAL), 1); }
  int fd() const { return ends_.ours.get(); }

  void on_event(uint32_t events) override {
    calls.push_back(events);
    if (then) then();
  }

  std::vector<uint32_t> calls;
  std::function<void()> then;

 private:
  Ends ends_;
  Loop* loop_ = nullptr;
};

class Alarm final : public TimerUser {
 public:
  explicit Alarm(Loop& loop) : timer(loop, *this), loop_(loop) {}
  void on_timer(Timer& fired) override {
    EXPECT_EQ(&fired, &timer);
    EXPECT_FALSE(timer.armed());
    ++calls;
    at = loop_.now();
    if (then) then();
  }

  Timer timer;
  int calls = 0;
  Time at{};
  std::function<void()> then;

 private:
  Loop& loop_;
};

// ---- events

TEST(Loop, TellsOfAnEventOnce) {
  Loop loop;
  Spy spy;
  spy.watch(loop);
  settle(loop);
  EXPECT_TRUE(spy.calls.empty());
  spy.poke();
  loop.turn(Delay{0});
  EXPECT_EQ(spy.calls, std::vector<uint32_t>{EPOLLIN});
  settle(loop);  // not read, but told
  EXPECT_EQ(spy.calls.size(), 1U);
  spy.poke();
  settle(loop);
  EXPECT_EQ(spy.calls.size(), 2U);
}

TEST(Loop, RefusesWhatCannotBeWatched) {
  Loop loop;
  Spy spy;
  spy.watch(loop);
  class Plain final : public Watcher {
    void on_event(uint32_t) override {}
  } plain;
  EXPECT_FALSE(loop.watch(plain, -1, EPOLLIN).ok());
  EXPECT_EQ(plain.loop_slot, Watcher::kNoSlot);
  const test::Folder folder;
  const Fd file{::open(folder.file("f").c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600)};
  EXPECT_EQ(loop.watch(plain, file.get(), EPOLLIN).error(), EPERM);
  spy.poke();
  settle(loop);
  EXPECT_EQ(spy.calls.size(), 1U);
}

TEST(Loop, RewatchAsksForOtherEventsAndShowsWhatIsThere) {
  Loop loop;
  Spy spy;
  spy.watch(loop);
  spy.poke();
  settle(loop);
  ASSERT_EQ(spy.calls.size(), 1U);
  ASSERT_TRUE(loop.rewatch(spy, spy.fd(), EPOLLIN).ok());
  settle(loop);
  EXPECT_EQ(spy.calls.size(), 2U);
  ASSERT_TRUE(loop.rewatch(spy, spy.fd(), EPOLLOUT).ok());
  settle(loop);
  ASSERT_EQ(spy.calls.size(), 3U);
  EXPECT_EQ(spy.calls.back(), uint32_t{EPOLLOUT});
}

TEST(Loop, ForgetDropsAPendingEventOfTheSameTurn) {
  Loop loop;
  Spy a, b;
  a.watch(loop);
  b.watch(loop);
  // Whichever comes first ends the other.
  a.then = [&] { b.forget(); };
  b.then = [&] { a.forget(); };
  a.poke();
  b.poke();
  settle(loop);
  EXPECT_EQ(a.calls.size() + b.calls.size(), 1U);
}

TEST(Loop, AnEventForTheOldOwnerOfASlotIsNotTheNewOnes) {
  Loop loop;
  Spy a, b, next;
  a.watch(loop);
  b.watch(loop);
  // Whichever comes first ends the other and has a third move into the slot while the other's event is still to be told.
  const auto replace = [&](Spy& gone) {
    const uint32_t slot = gone.loop_slot;
    gone.forget();
    next.watch(loop);
    EXPECT_EQ(next.loop_slot, slot);
  };
  a.then = [&] { replace(b); };
  b.then = [&] { replace(a); };
  a.poke();
  b.poke();
  settle(loop);
  EXPECT_EQ(a.calls.size() + b.calls.size(), 1U);
  EXPECT_TRUE(next.calls.empty());
  next.poke();
  settle(loop);
  EXPECT_EQ(next.calls.size(), 1U);
}

TEST(Loop, ForgettingTwiceOrNothingIsHarmless) {
  Loop loop;
  Spy a, b;
  loop.forget(a);
  a.watch(loop);
  loop.forget(a);
  loop.forget(a);
  a.forget();
  b.watch(loop);
  b.poke();
  settle(loop);
  EXPECT_EQ(b.calls.size(), 1U);
}

TEST(Loop, AWatcherMayForgetItself) {
  Loop loop;
  Spy spy;
  spy.watch(loop);
  spy.then = [&] { spy.forget(); };
  spy.poke();
  settle(loop);
  EXPECT_EQ(spy.calls.size(), 1U);
  EXPECT_EQ(spy.loop_slot, Watcher::kNoSlot);
}

TEST(Loop, SlotsGrowInsideACallback) {
  Loop loop;
  Spy first;
  std::vector<std::unique_ptr<Spy>> more;
  first.watch(loop);
  first.then = [&] {
    for (int i = 0; i < 200; ++i) {
      more.push_back(std::make_unique<Spy>());
      more.back()->watch(loop);
      more.back()->poke();
    }
  };
  first.poke();
  ASSERT_TRUE(until(loop, [&] {
    return std::all_of(more.begin(), more.end(), [](const auto& spy) { return !spy->calls.empty(); }) && !more.empty();
  }));
  EXPECT_EQ(first.calls.size(), 1U);
  for (const auto& spy : more) EXPECT_EQ(spy->calls.size(), 1U);
}

TEST(Loop, HandOverMovesTheRegistration) {
  Loop loop;
  Spy from;
  class Heir final : public Watcher {
   public:
    void on_event(uint32_t events) override { calls.push_back(events); }
    std::vector<uint32_t> calls;
  } to;
  from.watch(loop);
  from.then = [&] { loop.hand_over(from, to); };
  from.poke();
  settle(loop);
  ASSERT_EQ(from.calls.size(), 1U);
  EXPECT_EQ(from.loop_slot, Watcher::kNoSlot);
  EXPECT_TRUE(to.calls.empty());
  from.poke();
  settle(loop);
  EXPECT_EQ(from.calls.size(), 1U);
  EXPECT_EQ(to.calls, std::vector<uint32_t>{EPOLLIN});
  loop.forget(to);
  from.poke();
  settle(loop);
  EXPECT_EQ(to.calls.size(), 1U);
}

TEST(Loop, WhoeverHandsOverWithAnEventPendingIsNotCalled) {
  Loop loop;
  Spy a, b;
  class Heir final : public Watcher {
   public:
    void on_event(uint32_t) override { ++calls; }
    int calls = 0;
  } to;
  a.watch(loop);
  b.watch(loop);
  a.then = [&] { loop.hand_over(b, to); };
  b.then = [&] { loop.hand_over(a, to); };
  a.poke();
  b.poke();
  settle(loop);
  EXPECT_EQ(a.calls.size() + b.calls.size(), 1U);
  EXPECT_EQ(to.calls, 1);  // the event was the descriptor's, so it is the heir's now
  loop.forget(to);
}

// ---- again

TEST(Loop, AgainIsOnceATurnHoweverOftenAsked) {
  Loop loop;
  Spy spy;
  spy.watch(loop);
  for (int i = 0; i < 3; ++i) loop.again(spy);
  loop.turn(Delay{1000});  // does not wait
  EXPECT_EQ(spy.calls, std::vector<uint32_t>{0});
  settle(loop);
  EXPECT_EQ(spy.calls.size(), 1U);
}

TEST(Loop, AgainFromItsOwnCallIsTheNextTurns) {
  Loop loop;
  Spy spy;
  spy.watch(loop);
  spy.then = [&] { loop.again(spy); };
  loop.again(spy);
  for (size_t turn = 1; turn <= 5; ++turn) {
    loop.turn(Delay{1000});
    EXPECT_EQ(spy.calls.size(), turn);
  }
}

TEST(Loop, AgainDoesNotStarveEvents) {
  Loop loop;
  Spy busy, other;
  busy.watch(loop);
  other.watch(loop);
  busy.then = [&] { loop.again(busy); };
  loop.again(busy);
  loop.turn(Delay{0});
  other.poke();
  loop.turn(Delay{0});
  EXPECT_EQ(other.calls.size(), 1U);
}

TEST(Loop, AgainIsForgottenWithItsWatcher) {
  Loop loop;
  Spy gone, next;
  gone.watch(loop);
  loop.again(gone);
  const uint32_t slot = gone.loop_slot;
  gone.forget();
  next.watch(loop);
  EXPECT_EQ(next.loop_slot, slot);
  settle(loop);
  EXPECT_TRUE(gone.calls.empty());
  EXPECT_TRUE(next.calls.empty());
  loop.again(next);  // and does not stand in the way of the new one's
  settle(loop);
  EXPECT_EQ(next.calls.size(), 1U);
}

TEST(Loop, AgainMayEndAnotherThatAsked) {
  Loop loop;
  Spy a, b;
  a.watch(loop);
  b.watch(loop);
  a.then = [&] { b.forget(); };
  loop.again(a);
  loop.again(b);
  settle(loop);
  EXPECT_EQ(a.calls.size(), 1U);
  EXPECT_TRUE(b.calls.empty());
}

// ---- looks before sleeping

// Somebody who speaks again before each turn, so that the loop finds him at its first look.
void speaks_at_once(Loop& loop, Spy& spy, int times) {
  for (int i = 0; i < times; ++i) {
    loop.expect_soon();
    spy.poke();
    loop.turn(Delay{10});
  }
}

class Looks : public ::testing::Test {
 protected:
  void SetUp() override {
    if (sys::processors() < 2) GTEST_SKIP() << "one processor";
  }
};

TEST_F(Looks, OnlyWhileHopesComeTrue) {
  Loop loop;
  Spy spy;
  spy.watch(loop);
  loop.turn(Delay{1});
  speaks_at_once(loop, spy, 1);
  EXPECT_EQ(loop.looks(), 0U);  // nothing to go by yet
  for (int i = 0; i < 1000 && loop.looks() == 0; ++i) speaks_at_once(loop, spy, 1);  // (a processor taken away meanwhile ends a hope)
  EXPECT_GE(loop.looks(), 1U);
  loop.expect_soon();
  loop.turn(Delay{1});  // nobody comes
  const uint64_t then = loop.looks();
  loop.expect_soon();
  loop.turn(Delay{1});
  EXPECT_EQ(loop.looks(), then);  // and so it sleeps
}

TEST_F(Looks, NeverUnlessAsked) {
  Loop loop;
  Spy spy;
  spy.watch(loop);
  speaks_at_once(loop, spy, 3);
  const uint64_t looks = loop.looks();
  for (int i = 0; i < 5; ++i) {
    spy.poke();
    loop.turn(Delay{10});
  }
  loop.turn(Delay{1});
  EXPECT_EQ(loop.looks(), looks);
}

TEST_F(Looks, NotAmongMany) {
  Loop loop;
  Spy one;
  Spy other;
  one.watch(loop);
  other.watch(loop);
  speaks_at_once(loop, one, 3);
  one.poke();
  other.poke();
  loop.turn(Delay{10});
  const uint64_t looks = loop.looks();
  speaks_at_once(loop, one, 1);
  EXPECT_EQ(loop.looks(), looks);
}

TEST_F(Looks, EndWithATimer) {
  Loop loop;
  Spy spy;
  Alarm alarm(loop);
  spy.watch(loop);
  speaks_at_once(loop, spy, 3);
  alarm.timer.arm(Delay{2});
  loop.expect_soon();
  ASSERT_TRUE(until(loop, [&] { return alarm.calls == 1; }));
}

TEST_F(Looks, NeverOnOneProcessor) {
  cpu_set_t all;
  ASSERT_EQ(::sched_getaffinity(0, sizeof all, &all), 0);
  cpu_set_t one;
  CPU_ZERO(&one);
  for (size_t cpu = 0; cpu < CPU_SETSIZE && CPU_COUNT(&one) == 0; ++cpu) {
    if (CPU_ISSET(cpu, &all)) CPU_SET(cpu, &one);
  }
  ASSERT_EQ(::sched_setaffinity(0, sizeof one, &one), 0);
  Loop loop;
  ASSERT_EQ(::sched_setaffinity(0, sizeof all, &all), 0);
  Spy spy;
  spy.watch(loop);
  speaks_at_once(loop, spy, 5);
  EXPECT_EQ(loop.looks(), 0U);
}

// ---- timers

TEST(Timer, FiresOnceAndNotEarly) {
  Loop loop;
  Alarm alarm(loop);
  loop.turn(Delay{0});
  const Time due = loop.now() + Delay{20};
  alarm.timer.arm(Delay{20});
  EXPECT_TRUE(alarm.timer.armed());
  EXPECT_EQ(alarm.timer.when(), due);
  ASSERT_TRUE(until(loop, [&] { return alarm.calls > 0; }));
  EXPECT_GE(alarm.at, due);
  settle(loop);
  EXPECT_EQ(alarm.calls, 1);
  EXPECT_FALSE(alarm.timer.armed());
}

TEST(Timer, TheLoopWakesForIt) {
  Loop loop;
  Alarm alarm(loop);
  loop.turn(Delay{0});
  alarm.timer.arm(Delay{5});
  const int64_t before = sys::monotonic_ms();
  loop.turn(Delay{60'000});
  loop.turn(Delay{0});  // the kernel may wake us a little before
  EXPECT_EQ(alarm.calls, 1);
  EXPECT_LT(sys::monotonic_ms() - before, 30'000);
}

TEST(Timer, ManyFireInOrder) {
  Loop loop;
  Random random(9);
  std::vector<std::unique_ptr<Alarm>> alarms;
  std::vector<Time> fired;
  loop.turn(Delay{0});
  for (int i = 0; i < 10'000; ++i) {
    alarms.push_back(std::make_unique<Alarm>(loop));
    Alarm& alarm = *alarms.back();
    alarm.timer.arm(Delay{static_cast<int64_t>(random.below(50))});
    alarm.then = [&fired, &alarm, when = alarm.timer.when()] {
      EXPECT_GE(alarm.at, when);
      fired.push_back(when);
    };
  }
  // Every third moves, every seventh is taken back.
  size_t expected = alarms.size();
  for (size_t i = 0; i < alarms.size(); i += 3) {
    Alarm& alarm = *alarms[i];
    alarm.timer.arm(Delay{static_cast<int64_t>(random.below(50))});
    alarm.then = [&fired, when = alarm.timer.when()] { fired.push_back(when); };
  }
  for (size_t i = 0; i < alarms.size(); i += 7) {
    alarms[i]->timer.disarm();
    --expected;
  }
  ASSERT_TRUE(until(loop, [&] { return fired.size() >= expected; }));
  settle(loop);
  EXPECT_EQ(fired.size(), expected);
  EXPECT_TRUE(std::is_sorted(fired.begin(), fired.end()));
  for (size_t i = 0; i < alarms.size(); ++i) ASSERT_EQ(alarms[i]->calls, i % 7 == 0 ? 0 : 1);
}

TEST(Timer, ArmingAgainMovesIt) {
  Loop loop;
  Alarm alarm(loop), later(loop);
  alarm.timer.arm(Delay{3'600'000});
  alarm.timer.arm(Delay{0});
  later.timer.arm(Delay{0});
  later.timer.arm(Delay{3'600'000});
  settle(loop);
  EXPECT_EQ(alarm.calls, 1);
  EXPECT_EQ(later.calls, 0);
}

TEST(Timer, MayArmItselfInItsCall) {
  Loop loop;
  Alarm alarm(loop);
  alarm.then = [&] {
    if (alarm.calls < 4) alarm.timer.arm(Delay{1});
  };
  alarm.timer.arm(Delay{1});
  ASSERT_TRUE(until(loop, [&] { return alarm.calls == 4; }));
  settle(loop);
  EXPECT_EQ(alarm.calls, 4);
}

TEST(Timer, OneThatIsAlwaysDueDoesNotHoldTheTurn) {
  Loop loop;
  Alarm alarm(loop);
  Spy spy;
  spy.watch(loop);
  alarm.then = [&] { alarm.timer.arm(Delay{0}); };
  alarm.timer.arm(Delay{0});
  loop.turn(Delay{0});
  EXPECT_EQ(alarm.calls, 1);
  loop.turn(Delay{60'000});
  EXPECT_EQ(alarm.calls, 2);
  spy.poke();
  loop.turn(Delay{0});
  EXPECT_EQ(spy.calls.size(), 1U);
}

TEST(Timer, OneThatIsAlwaysDueIsOnceInATurnHoweverManyOthersThereAre) {
  Loop loop;
  Alarm alarm(loop), late(loop);
  std::vector<std::unique_ptr<Alarm>> others;
  for (int i = 0; i < 100; ++i) {
    others.push_back(std::make_unique<Alarm>(loop));
    others.back()->timer.arm(Delay{3'600'000});
  }
  alarm.then = [&] { alarm.timer.arm(Delay{0}); };
  alarm.timer.arm(Delay{0});
  late.timer.arm(Delay{0});
  for (int turn = 1; turn <= 5; ++turn) {
    loop.turn(Delay{0});
    EXPECT_EQ(alarm.calls, turn);
    EXPECT_EQ(late.calls, 1);
  }
}

TEST(Timer, DisarmedByAnotherThatIsDueInTheSameTurn) {
  Loop loop;
  Alarm first(loop), second(loop);
  loop.turn(Delay{0});
  first.timer.arm(Delay{1});
  second.timer.arm(Delay{2});
  first.then = [&] { second.timer.disarm(); };
  loop.turn(Delay{0});
  ASSERT_TRUE(until(loop, [&] { return loop.now() > first.timer.when() + Delay{5}; }));
  EXPECT_EQ(first.calls, 1);
  EXPECT_EQ(second.calls, 0);
  EXPECT_FALSE(second.timer.armed());
}

TEST(Timer, DisarmedOrDeadItDoesNotFire) {
  Loop loop;
  auto dead = std::make_unique<Alarm>(loop);
  Alarm disarmed(loop), witness(loop);
  dead->timer.arm(Delay{0});
  disarmed.timer.arm(Delay{0});
  witness.timer.arm(Delay{0});
  dead.reset();
  disarmed.timer.disarm();
  disarmed.timer.disarm();
  settle(loop);
  EXPECT_EQ(witness.calls, 1);
  EXPECT_EQ(disarmed.calls, 0);
}

TEST(Timer, AHugeDelayIsForEverAndANegativeOneIsNow) {
  Loop loop;
  Alarm never(loop), now(loop);
  never.timer.arm(Delay::max());
  EXPECT_GT(never.timer.when(), loop.now());
  now.timer.arm(Delay{-5});
  settle(loop);
  EXPECT_EQ(never.calls, 0);
  EXPECT_TRUE(never.timer.armed());
  EXPECT_EQ(now.calls, 1);
}

TEST(Timer, ComesAfterTheEventsOfItsTurn) {
  Loop loop;
  Spy spy;
  Alarm alarm(loop);
  spy.watch(loop);
  spy.then = [&] { alarm.timer.disarm(); };  // the news in time makes the time-out moot
  alarm.timer.arm(Delay{0});
  spy.poke();
  settle(loop);
  EXPECT_EQ(spy.calls.size(), 1U);
  EXPECT_EQ(alarm.calls, 0);
}

// ---- burying

class Body final : public Mortal {
 public:
  explicit Body(bool& dead) : dead_(dead) {}
  ~Body() override { dead_ = true; }

 private:
  bool& dead_;
};

TEST(Loop, TheBuriedLiveUntilTheEndOfTheTurn) {
  Loop loop;
  bool dead = false;
  Spy spy;
  Alarm alarm(loop);
  spy.watch(loop);
  spy.then = [&] { loop.bury(std::make_unique<Body>(dead)); };
  alarm.then = [&] { EXPECT_FALSE(dead); };
  alarm.timer.arm(Delay{0});
  spy.poke();
  loop.turn(Delay{0});
  EXPECT_EQ(spy.calls.size(), 1U);
  EXPECT_EQ(alarm.calls, 1);
  EXPECT_TRUE(dead);
}

TEST(Loop, ADyingOneMayBuryAnother) {
  class Parent final : public Mortal {
   public:
    Parent(Loop& loop, bool& dead) : loop_(loop), dead_(dead) {}
    ~Parent() override { loop_.bury(std::make_unique<Body>(dead_)); }

   private:
    Loop& loop_;
    bool& dead_;
  };
  Loop loop;
  bool dead = false;
  loop.bury(std::make_unique<Parent>(loop, dead));
  settle(loop);
  EXPECT_TRUE(dead);
}

TEST(Loop, RunsUntilStopped) {
  Loop loop;
  Alarm alarm(loop);
  alarm.then = [&] {
    if (alarm.calls == 3) return loop.stop();
    alarm.timer.arm(Delay{1});
  };
  alarm.timer.arm(Delay{0});
  loop.run();
  EXPECT_EQ(alarm.calls, 3);
}

TEST(Loop, GivesBackWhatNobodyUses) {
  Loop loop;
  loop.buffers().give_back(loop.buffers().lend());
  loop.pipes().give_back(loop.pipes().lend());
  loop.turn(Delay{0});
  EXPECT_TRUE(loop.buffers().holds_spare());
  EXPECT_TRUE(loop.pipes().holds_spare());
  ASSERT_TRUE(until(loop, [&] { return !loop.buffers().holds_spare() && !loop.pipes().holds_spare(); }));
}

}  // namespace
}  // namespace relay

// SPDX-License-Identifier: Apache-2.0
// kinds/plex/exchange: instances that hear one another through a Redis, and what they are told when it is slow, gone, hostile, or none.
#include "kinds/plex/exchange.h"

#include <functional>
#include <memory>

#include "lib/json.h"
#include "tests/unit/fake_dns.h"
#include "tests/unit/fake_redis.h"

namespace relay::plex {
namespace {

using test::bulk;
using test::FakeRedis;

std::span<const std::byte> bytes(std::string_view text) { return std::as_bytes(std::span(text)); }

// One instance: writes down what it is told.
class Instance final : public ExchangeUser {
 public:
  Instance(Loop& loop, Resolver& resolver) : exchange(loop, resolver, *this) {}

  void on_exchange_up() override {
    ++ups;
    if (on_up) on_up();
  }
  void on_exchange_down(bool was_up, const std::string& reason) override {
    ++(was_up ? downs : failures);
    why = reason;
    if (on_down) on_down();
  }
  bool on_exchange_message(bool for_all, std::span<const std::byte> what) override {
    heard.push_back((for_all ? "all:" : "own:") + std::string(text_of(what)));
    if (on_message) on_message();
    return !is_tired;
  }
  bool is_tired = false;
  void on_exchange_too_long() override { ++too_long; }
  void on_exchange_published(uint64_t cookie, Outcome outcome) override {
    outcomes.emplace_back(cookie, outcome);
    if (on_published) on_published();
  }
  bool say(uint64_t to, std::string_view what, uint64_t cookie = 0) { return exchange.publish(to, {bytes(what)}, cookie); }
  bool say_all(std::string_view what, uint64_t cookie = 0) { return exchange.publish_all({bytes(what)}, cookie); }
  std::string status() const {
    std::string out;
    Json json(out);
    json.begin('{');
    exchange.status(json);
    json.end('}');
    return out;
  }

  Exchange exchange;
  int ups = 0, downs = 0, failures = 0, too_long = 0;
  std::string why;
  std::vector<std::string> heard;
  std::vector<std::pair<uint64_t, Outcome>> outcomes;
  std::function<void()> on_up, on_down, on_message, on_published;
};

using Outcomes = std::vector<std::pair<uint64_t, Outcome>>;

class ExchangeTest : public ::testing::Test {
 protected:
  ExchangeTest() {
    ::setenv("CARES_HOSTS", "/dev/null", 1);
    plan.relay = "me";
    plan.prefix = "p";
    plan.about = "{}";
    plan.queue = 64 * 1024;
    plan.message = 32 * 1024;
    plan.dial.target = *Endpoint::parse_target(redis.addr);
    plan.dial.retry_min = Delay{4};
    plan.dial.retry_max = Delay{20};
  }
  ~ExchangeTest() override { ::unsetenv("CARES_HOSTS"); }

  template <typename Condition>
  bool until(Condition condition, Delay limit = Delay{20'000}) {
    return test::until(loop, [&] {
      redis.serve();
      return condition();
    }, limit, Delay{1});
  }
  // What is under way arrives.
  void quiet() {
    for (int i = 0; i < 12; ++i) {
      redis.serve();
      loop.turn(Delay{0});
    }
  }
  void start(Instance& instance, uint64_t tag) {
    instance.exchange.start(plan, tag);
    ASSERT_TRUE(until([&] { return instance.exchange.is_up(); })) << instance.why;
  }
  // The server does so, instead of what is usual, for commands of that name.
  void answers(std::string_view name, std::string_view reply) {
    redis.answer = [name = std::string(name), reply = std::string(reply)](FakeRedis::Peer&, const FakeRedis::Words& words, std::string& out) {
      out = reply;
      return words[0] == name;
    };
  }

  Loop loop;
  test::FakeDns dns{loop};
  Resolver resolver{loop, dns.server()};
  FakeRedis redis;
  ExchangePlan plan;
  Instance a{loop, resolver};
  Instance b{loop, resolver};
};

TEST_F(ExchangeTest, OneToAnotherAndToAll) {
  start(a, 0xa);
  start(b, 0xb0b0b0b0b0b0);
  EXPECT_EQ(a.ups + b.ups, 2);
  ASSERT_TRUE(a.exchange.publish(0xb0b0b0b0b0b0, {bytes("hel"), bytes(""), bytes("lo")}, 7));
  ASSERT_TRUE(a.say(0xc, "nobody", 8));
  ASSERT_TRUE(a.say(0xb0b0b0b0b0b0, "again"));  // and nobody wants to know
  ASSERT_TRUE(a.say_all(std::string_view("\0\r\n$", 4), 9));
  EXPECT_TRUE(a.outcomes.empty());
  ASSERT_TRUE(until([&] { return a.outcomes.size() == 3 && b.heard.size() == 3 && a.heard.size() == 1; }));
  EXPECT_EQ(a.outcomes, (Outcomes{{7, Outcome::kDelivered}, {8, Outcome::kNobody}, {9, Outcome::kDelivered}}));
  EXPECT_EQ(b.heard, (std::vector<std::string>{"own:hello", "own:again", std::string("all:\0\r\n$", 8)}));
  EXPECT_EQ(a.heard, (std::vector<std::string>{std::string("all:\0\r\n$", 8)}));  // one's own comes back
  EXPECT_EQ(a.status(), R"({"state":"up","server":")" + redis.addr + R"(","instance":"00000000000a","queued":0,"unanswered":0,"last_error":null})");
}

TEST_F(ExchangeTest, WhoHasHadEnoughHearsOneATurn) {
  start(a, 0xa);
  start(b, 0xb);
  b.is_tired = true;
  std::vector<uint64_t> turns;
  b.on_message = [&] { turns.push_back(loop.turns()); };
  for (const char* text : {"one", "two", "three"}) ASSERT_TRUE(a.say(0xb, text));
  ASSERT_TRUE(until([&] { return turns.size() == 3; }));
  EXPECT_EQ(b.heard, (std::vector<std::string>{"own:one", "own:two", "own:three"}));
  EXPECT_LT(turns[0], turns[1]);
  EXPECT_LT(turns[1], turns[2]);
}

TEST_F(ExchangeTest, SaysWhoItIs) {
  plan.user = "who";
  plan.password = "secret \r\n";
  plan.about = "{\"name\":\"me\"}";
  start(a, 0xabc);
  ASSERT_TRUE(until([&] { return redis.last().count("SET") == 1; }));
  using Words = FakeRedis::Words;
  EXPECT_EQ(redis.last().commands, (std::vector<Words>{{"HELLO", "3", "AUTH", "who", "secret \r\n", "SETNAME", "p:000000000abc"}, {"SUBSCRIBE", "p:000000000abc", "p:all"},
                                                      {"SET", "p:instance:000000000abc", "{\"name\":\"me\"}", "EX", "30"}}));
  a.exchange.close();
  ASSERT_TRUE(until([&] { return redis.last().eof; }));
  EXPECT_EQ(redis.last().commands.back(), (Words{"DEL", "p:instance:000000000abc"}));
  EXPECT_FALSE(a.exchange.is_up());
  EXPECT_EQ(a.downs + a.failures, 0);
  plan.user.clear();
  start(a, 1);
  EXPECT_EQ(redis.last().commands[0][3], "default");
}

TEST_F(ExchangeTest, TheLongestNames) {
  plan.prefix = std::string(Exchange::kPrefixMost, 'p');
  start(a, 0xfffffffffffe);
  start(b, 0xffffffffffff);
  plan.queue = plan.message + Exchange::kEnvelope + 1;
  start(a, 0xfffffffffffe);
  quiet();
  ASSERT_TRUE(a.say(0xffffffffffff, std::string(plan.message, 'x'), 1));  // the longest message has room
  ASSERT_TRUE(until([&] { return b.heard.size() == 1 && a.outcomes.size() == 1; }));
  EXPECT_EQ(b.heard[0].size(), plan.message + 4);
  EXPECT_EQ(a.outcomes[0].second, Outcome::kDelivered);
}

TEST_F(ExchangeTest, ComesBackByItself) {
  start(a, 1);
  start(b, 2);
  ASSERT_TRUE(b.say(1, "one", 1));
  quiet();
  for (const auto& peer : redis.peers) peer->fd.close();
  redis.stop_listening();
  ASSERT_TRUE(until([&] { return a.downs == 1 && b.downs == 1 && a.failures >= 2; }));
  EXPECT_EQ(a.why, "Connection refused");
  EXPECT_FALSE(a.say(2, "x", 9));
  EXPECT_FALSE(a.say_all("x", 9));
  EXPECT_NE(a.status().find(R"("state":"dialing")"), std::string::npos);
  redis.go_on_listening();
  ASSERT_TRUE(until([&] { return a.exchange.is_up() && b.exchange.is_up(); }));
  ASSERT_TRUE(b.say(1, "two", 2));
  ASSERT_TRUE(until([&] { return a.heard.size() == 2; }));
  EXPECT_EQ(a.heard, (std::vector<std::string>{"own:one", "own:two"}));
  EXPECT_EQ(b.outcomes, (Outcomes{{1, Outcome::kDelivered}, {2, Outcome::kDelivered}}));
  EXPECT_TRUE(a.outcomes.empty());
}

TEST_F(ExchangeTest, LargeMessagesComeWholeAndInOrder) {
  plan.message = 4 * 1024 * 1024;
  plan.queue = 5 * 1024 * 1024;
  start(a, 1);
  start(b, 2);
  redis.piece = 100'000;
  std::string large(plan.message, '\0');
  for (size_t i = 0; i < large.size(); ++i) large[i] = static_cast<char>(test::pattern(i));
  ASSERT_TRUE(a.say(2, "before", 1));
  ASSERT_TRUE(a.say(2, large, 2));
  ASSERT_TRUE(a.say(2, "behind", 3));
  EXPECT_FALSE(a.say(2, large, 4));  // no room for two of them
  ASSERT_TRUE(until([&] { return a.outcomes.size() == 3; }));
  ASSERT_TRUE(until([&] { return b.heard.size() == 3; }));
  EXPECT_EQ(b.heard[0], "own:before");
  EXPECT_TRUE(b.heard[1] == "own:" + large);
  EXPECT_EQ(b.heard[2], "own:behind");
  EXPECT_EQ(a.exchange.queued(), 0u);
}

TEST_F(ExchangeTest, OrderIsKeptHoweverTheBytesAreCut) {
  start(a, 1);
  start(b, 2);
  for (const size_t piece : {1U, 7U, 1000U}) {
    redis.piece = piece;
    b.heard.clear();
    a.outcomes.clear();
    std::vector<std::string> said;
    for (uint64_t i = 1; i <= 60; ++i) {
      said.push_back("own:" + std::to_string(i) + std::string(i % 9, 'x'));
      ASSERT_TRUE(a.say(2, std::string_view(said.back()).substr(4), i));
    }
    ASSERT_TRUE(until([&] { return b.heard.size() == 60 && a.outcomes.size() == 60; }));
    EXPECT_EQ(b.heard, said);
    for (uint64_t i = 1; i <= 60; ++i) EXPECT_EQ(a.outcomes[i - 1], (std::pair{i, Outcome::kDelivered}));
  }
}

TEST_F(ExchangeTest, WhatMayWaitIsBounded) {
  start(a, 1);
  quiet();
  redis.frozen = true;
  const std::string kilobyte(1000, 'x');
  uint64_t taken = 0;
  // What the kernel takes is not in the queue any more, but waits for its answer.
  ASSERT_TRUE(until([&] {
    while (a.say(2, kilobyte, taken + 1)) ++taken;
    return a.exchange.queued() > 1000;
  }));
  while (a.say(2, kilobyte, taken + 1)) ++taken;
  EXPECT_LE(a.exchange.queued() + Exchange::kUnanswered * taken, plan.queue);
  EXPECT_GE(a.exchange.queued() + Exchange::kUnanswered * (taken + 1) + 1100, plan.queue);
  EXPECT_FALSE(a.say_all(kilobyte, 1));
  redis.frozen = false;
  ASSERT_TRUE(until([&] { return a.outcomes.size() == taken; }));
  EXPECT_TRUE(a.say(2, std::string(plan.message, 'x')));
  for (uint64_t i = 0; i < taken; ++i) EXPECT_EQ(a.outcomes[i], (std::pair{i + 1, Outcome::kNobody}));
}

TEST_F(ExchangeTest, TinyOnesAreBoundedToo) {
  start(a, 1);
  quiet();
  redis.frozen = true;
  uint64_t taken = 0;
  for (int turn = 0; turn < 200; ++turn) {
    while (taken < 1'000'000 && a.say(2, "", 1)) ++taken;
    loop.turn(Delay{0});
  }
  EXPECT_EQ(a.exchange.queued(), 0u);  // the kernel has them all
  EXPECT_GE(taken, plan.queue / Exchange::kUnanswered - 2);
  EXPECT_LE(taken, plan.queue / Exchange::kUnanswered);
}

// What Redis cannot have had whole has reached nobody; of the rest nobody knows.
TEST_F(ExchangeTest, WhatIsLostWithTheConnection) {
  start(a, 1);
  quiet();
  plan.queue = 6 * 1024 * 1024;
  plan.message = 5 * 1024 * 1024;
  start(a, 1);
  quiet();
  redis.frozen = true;
  ASSERT_TRUE(a.say(2, "had by the kernel", 1));
  for (int i = 0; i < 5; ++i) loop.turn(Delay{0});
  ASSERT_TRUE(a.say(2, std::string(plan.message, 'x'), 2));
  ASSERT_TRUE(a.say(2, "behind it", 3));
  ASSERT_TRUE(a.say(2, "nobody asks"));
  for (int i = 0; i < 5; ++i) loop.turn(Delay{0});
  ASSERT_GT(a.exchange.queued(), 100u);
  a.on_published = [&] { EXPECT_FALSE(a.say(2, "it is over")); };
  test::reset_peer(redis.last().fd);
  ASSERT_TRUE(test::until(loop, [&] { return a.downs == 1; }));
  EXPECT_EQ(a.outcomes, (Outcomes{{1, Outcome::kUnknown}, {2, Outcome::kNobody}, {3, Outcome::kNobody}}));
  EXPECT_EQ(a.exchange.queued(), 0u);
}

TEST_F(ExchangeTest, CloseTellsWhatIsOwedAndNothingMore) {
  start(a, 1);
  quiet();
  redis.frozen = true;
  ASSERT_TRUE(a.say(2, "x", 5));
  for (int i = 0; i < 5; ++i) loop.turn(Delay{0});
  a.exchange.close();
  EXPECT_EQ(a.outcomes, (Outcomes{{5, Outcome::kUnknown}}));
  a.exchange.close();
  redis.frozen = false;
  quiet();
  EXPECT_EQ(a.downs + a.failures, 0);
  EXPECT_NE(a.status().find(R"("state":"closed")"), std::string::npos);
}

TEST_F(ExchangeTest, ASilentServerIsAskedAndThenLost) {
  plan.timeout = Delay{60};
  start(a, 1);
  ASSERT_TRUE(until([&] { return redis.last().count("PING") >= 3; }));  // answered: it lives
  EXPECT_EQ(a.downs, 0);
  redis.frozen = true;
  ASSERT_TRUE(a.say(2, "x", 1));
  ASSERT_TRUE(test::until(loop, [&] { return a.downs == 1; }));
  EXPECT_EQ(a.why, "it is silent");
  EXPECT_EQ(a.outcomes, (Outcomes{{1, Outcome::kUnknown}}));
  // The kernel accepts for it, and nobody answers.
  ASSERT_TRUE(test::until(loop, [&] { return a.failures >= 2; }));
  EXPECT_EQ(a.why, "it has not answered within route-timeout");
  redis.frozen = false;
  ASSERT_TRUE(until([&] { return a.exchange.is_up(); }));
}

TEST_F(ExchangeTest, MessagesAreASignOfLife) {
  plan.timeout = Delay{250};
  start(a, 1);
  answers("PING", "");
  const int64_t end = sys::monotonic_ms() + 700;
  Time last{};
  ASSERT_TRUE(until([&] {
    if (loop.now() - last >= Delay{20}) redis.publish("p:all", "x"), last = loop.now();
    return sys::monotonic_ms() > end;
  }));
  EXPECT_EQ(a.downs, 0);
  ASSERT_TRUE(until([&] { return a.downs == 1; }));
}

TEST_F(ExchangeTest, WhatItIsToldIfThereIsNoRedis) {
  struct Row {
    const char* command;
    const char* reply;
    const char* why;
  };
  for (const Row& row : {
           Row{"HELLO", "-ERR unknown command `HELLO`, with args beginning with: `3`, `AUTH`, `me`, `secret`, \r\n",
               "it is older than Redis 6, or does not let us say HELLO: ERR unknown command `HELLO`"},
           Row{"HELLO", "-WRONGPASS invalid username-password pair or user is disabled.\r\n", "it refuses us: WRONGPASS invalid username-password pair or user is disabled."},
           Row{"HELLO", "-NOAUTH HELLO must be called\r\n", "it refuses us: NOAUTH HELLO must be called"},
           Row{"HELLO", "-ERR max number of clients reached\r\n", "it refuses us: ERR max number of clients reached"},
           Row{"HELLO", "*2\r\n+server\r\n+redis\r\n", "it does not speak RESP3"},
           Row{"HELLO", "%1\r\n+mode\r\n+cluster\r\n", "it is a node of a cluster; route needs a server that is none"},
           Row{"HELLO", "%2\r\n+modules\r\n*1\r\n%1\r\n+role\r\n+x\r\n+role\r\n+replica\r\n", "it is a replica, and what is said there stays there; route needs the master"},
           Row{"SUBSCRIBE", "-NOPERM No permissions to access a channel\r\n",
               "it refuses to subscribe us to p:000000000001 and p:all: NOPERM No permissions to access a channel"},
           Row{"SUBSCRIBE", "-LOADING Redis is loading\r\n", "it refuses to subscribe us to p:000000000001 and p:all: LOADING Redis is loading"},
           Row{"HELLO", "HTTP/1.1 400 Bad Request\r\n", "it does not speak RESP"},
           Row{"HELLO", "$99999999999999\r\n", "it does not speak RESP"},
           Row{"SET", "-READONLY You can't write against a read only replica.\r\n", "it has become a replica"},
           Row{"SET", "+OK\r\n+OK\r\n", "it answers what was not asked"},
       }) {
    answers(row.command, row.reply);
    a.why.clear();
    a.downs = a.failures = 0;
    a.exchange.start(plan, 1);
    ASSERT_TRUE(until([&] { return a.downs + a.failures >= 2; })) << row.reply;  // it is tried again
    EXPECT_EQ(a.why, row.why);
    if (std::string_view(row.command) != "SET") {
      EXPECT_EQ(a.downs, 0);
      EXPECT_NE(a.status().find(R"("last_error":"it )"), std::string::npos);
    }
  }
  redis.answer = {};
  ASSERT_TRUE(until([&] { return a.exchange.is_up(); }));
}

TEST_F(ExchangeTest, WhoLiesIsLost) {
  plan.message = 1000;
  for (const std::string& lie : {std::string("!garbage\r\n"), std::string(":1\r\n"), "$100000000\r\n" + std::string(200'000, 'x'), std::string("*1000000000000\r\n") + std::string(200'000, '*'),
                                 std::string("|1\r\n+a\r\n+b\r\n|1\r\n+a\r\n+b\r\n:1\r\n")}) {
    start(a, 1);
    quiet();
    const int before = a.downs;
    redis.last().out += lie;
    ASSERT_TRUE(until([&] { return a.downs == before + 1; })) << lie.substr(0, 30);
    a.exchange.close();
  }
  EXPECT_TRUE(a.heard.empty());
  // These mean nothing, and do no harm.
  start(a, 1);
  quiet();
  redis.last().out += ">1\r\n+invalidate\r\n>3\r\n$7\r\nmessage\r\n$5\r\nother\r\n$1\r\nx\r\n>0\r\n>3\r\n:1\r\n:2\r\n:3\r\n>3\r\n$9\r\nsubscribe\r\n$5\r\np:all\r\n:1\r\n";
  redis.last().out += "|1\r\n+a\r\n+b\r\n>3\r\n$7\r\nmessage\r\n$5\r\np:all\r\n$1\r\nx\r\n";
  ASSERT_TRUE(until([&] { return !a.heard.empty(); }));
  EXPECT_EQ(a.heard, (std::vector<std::string>{"all:x"}));
  EXPECT_TRUE(a.exchange.is_up());
}

TEST_F(ExchangeTest, AMessageThatIsTooLongIsPassedOver) {
  plan.message = 1000;
  start(a, 1);
  quiet();
  const std::string large(300'000, 'x');
  const std::string head = ">3\r\n$7\r\nmessage\r\n$5\r\np:all\r\n";
  redis.last().out += head + "$300000\r\n" + large + "\r\n" + head + "$5\r\nshort\r\n";
  ASSERT_TRUE(until([&] { return !a.heard.empty(); }));
  EXPECT_EQ(a.heard, (std::vector<std::string>{"all:short"}));
  EXPECT_EQ(a.too_long, 1);
  EXPECT_EQ(a.downs, 0);
  EXPECT_TRUE(a.exchange.is_up());
}

TEST_F(ExchangeTest, OtherBoundsKeepTheConnection) {
  plan.timeout = Delay{60'000};
  start(a, 1);
  quiet();
  ASSERT_FALSE(a.say_all(std::string(100'000, 'x')));
  plan.queue = 256 * 1024;
  plan.timeout = Delay{200};
  a.exchange.change(plan);
  ASSERT_TRUE(a.say_all(std::string(100'000, 'x'), 1));
  plan.queue = 40 * 1024;
  a.exchange.change(plan);
  EXPECT_FALSE(a.say_all("x"));  // until that has gone
  ASSERT_TRUE(until([&] { return a.outcomes.size() == 1; }));
  ASSERT_TRUE(a.say_all("x", 2));
  ASSERT_TRUE(until([&] { return a.outcomes.size() == 2; }));
  EXPECT_EQ(a.ups, 1);
  EXPECT_EQ(a.downs, 0);
  redis.answer = [](FakeRedis::Peer&, const FakeRedis::Words&, std::string&) { return true; };  // it is silent, which shows within the new time
  ASSERT_TRUE(until([&] { return a.downs == 1; }, Delay{5000}));
}

TEST_F(ExchangeTest, AMessageThatRedisRefusesHasReachedNobody) {
  test::Caught& log = test::log_to(LogFormat::kText);
  start(a, 1);
  answers("PUBLISH", "-NOPERM No permissions to access a channel\r\n");
  ASSERT_TRUE(a.say(2, "x", 1));
  ASSERT_TRUE(a.say_all("x", 2));
  ASSERT_TRUE(until([&] { return a.outcomes.size() == 2; }));
  EXPECT_EQ(a.outcomes, (Outcomes{{1, Outcome::kNobody}, {2, Outcome::kNobody}}));
  EXPECT_TRUE(a.exchange.is_up());
  log_flush();
  EXPECT_NE(log.text.find("route-refused relay=me server=" + redis.addr + " error=\"PUBLISH: NOPERM No permissions to access a channel\""), std::string::npos) << log.text;
  EXPECT_NE(log.text.find("route-up relay=me server=" + redis.addr + " instance=000000000001"), std::string::npos) << log.text;
  answers("PUBLISH", "+OK\r\n");
  ASSERT_TRUE(a.say(2, "x", 3));
  ASSERT_TRUE(until([&] { return a.downs == 1; }));
  EXPECT_EQ(a.outcomes.back(), (std::pair{uint64_t{3}, Outcome::kUnknown}));
  log_flush();
  EXPECT_NE(log.text.find("route-lost relay=me server=" + redis.addr + " error=\"it answers PUBLISH with no number\""), std::string::npos) << log.text;
}

TEST_F(ExchangeTest, ACrowdedServerIsNotKnockedAtWithoutPause) {
  redis.greeting = "-ERR max number of clients reached\r\n";
  redis.answer = [&](FakeRedis::Peer& peer, const FakeRedis::Words&, std::string&) {
    peer.fd.close();
    return true;
  };
  plan.dial.retry_min = Delay{20};
  plan.dial.retry_max = Delay{400};
  a.exchange.start(plan, 1);
  const int64_t end = sys::monotonic_ms() + 300;
  ASSERT_TRUE(until([&] { return sys::monotonic_ms() > end; }));
  EXPECT_GE(a.failures, 2);
  EXPECT_LE(a.failures, 7);  // 10, 20, 40, 80 … at least
  EXPECT_EQ(a.ups, 0);
}

TEST_F(ExchangeTest, ItsUserMayDoAnythingFromWithin) {
  start(a, 1);
  start(b, 2);
  // Closed by its first message; the second is not heard.
  b.on_message = [&] { b.exchange.close(); };
  ASSERT_TRUE(a.say(2, "one"));
  ASSERT_TRUE(a.say(2, "two"));
  quiet();
  EXPECT_EQ(b.heard.size(), 1u);
  // Started anew by one, with what is behind it thrown away; and it works.
  b.on_message = [&] {
    b.on_message = {};
    b.exchange.start(plan, 3);
  };
  start(b, 2);
  ASSERT_TRUE(a.say(2, "three"));
  ASSERT_TRUE(a.say(2, "four"));
  ASSERT_TRUE(until([&] { return b.heard.size() == 2 && b.exchange.is_up(); }));
  ASSERT_TRUE(a.say(3, "five"));
  ASSERT_TRUE(until([&] { return b.heard.size() == 3; }));
  EXPECT_EQ(b.heard, (std::vector<std::string>{"own:one", "own:three", "own:five"}));
  // Answers from within what is heard, closes from within an outcome, from within the news that it is up, and that it is down.
  b.on_message = [&] { ASSERT_TRUE(b.say(1, "back", 1)); };
  a.on_published = [&] { a.exchange.close(); };
  ASSERT_TRUE(a.say(3, "six", 1));
  ASSERT_TRUE(a.say(3, "seven", 2));
  ASSERT_TRUE(until([&] { return a.outcomes.size() == 2; }));
  EXPECT_EQ(a.outcomes, (Outcomes{{1, Outcome::kDelivered}, {2, Outcome::kUnknown}}));
  a.on_published = {};
  a.on_up = [&] { a.exchange.close(); };
  a.exchange.start(plan, 1);
  ASSERT_TRUE(until([&] { return a.ups == 2; }));
  EXPECT_FALSE(a.exchange.is_up());
  a.on_up = {};
  start(a, 1);
  a.on_down = [&] { a.exchange.close(); };
  for (const auto& peer : redis.peers) peer->fd.close();
  ASSERT_TRUE(until([&] { return a.downs == 1; }));
  redis.stop_listening();
  const int failures = a.failures;
  a.exchange.start(plan, 1);
  ASSERT_TRUE(until([&] { return a.failures == failures + 1; }));
  quiet();
  EXPECT_EQ(a.failures, failures + 1);
}

TEST_F(ExchangeTest, OwnsNoBlockWhileItIsIdle) {
  start(a, 1);
  start(b, 2);
  for (int i = 0; i < 100; ++i) ASSERT_TRUE(a.say(2, std::string(1000, 'x')) || until([&] { return a.exchange.queued() == 0; }));
  ASSERT_TRUE(until([&] { return b.heard.size() >= 90; }));
  quiet();
  const size_t before = test::open_descriptors();
  a.exchange.close();
  b.exchange.close();
  EXPECT_EQ(test::open_descriptors(), before - 2);
}

}  // namespace
}  // namespace relay::plex

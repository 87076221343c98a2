// SPDX-License-Identifier: Apache-2.0
// net/resolver: questions to a name server of the test's own, and what comes of each kind of answer, of none, and of leaving
// while one is under way.
#include "net/resolver.h"

#include <cstdlib>
#include <fstream>
#include <functional>
#include <optional>
#include <set>

#include "tests/unit/fake_dns.h"

namespace relay {
namespace {

using test::FakeDns;
using test::settle;
using test::until;

Endpoint target(const std::string& text) {
  Result<Endpoint> endpoint = Endpoint::parse_target(text);
  CHECK(endpoint.ok());
  return *endpoint;
}

class Asker final : public LookupUser {
 public:
  explicit Asker(Resolver& resolver) : lookup(resolver, *this) {}

  void ask(const std::string& what, Lookup::Want want = Lookup::Want::kToDial) { lookup.start(target(what), want); }
  void on_lookup(Result<Found> result) override {
    EXPECT_FALSE(lookup.active());
    ++answers;
    addrs.clear();
    status = result.status();
    if (result.ok())
      for (const Addr& addr : result->addrs) addrs.push_back(addr.text());
    if (result.ok()) priorities = result->priorities;
    missing = result.ok() ? result->missing : "";
    if (then) then();
  }

  Lookup lookup;
  int answers = 0;
  Status status;
  std::vector<std::string> addrs;
  std::vector<uint16_t> priorities;
  std::string missing;
  std::function<void()> then;
};

class ResolverTest : public ::testing::Test {
 protected:
  ResolverTest() { ::setenv("CARES_HOSTS", "/dev/null", 1); }  // the machine's own names are not part of the test
  ~ResolverTest() override { ::unsetenv("CARES_HOSTS"); }

  // Asks and waits for the answer.
  void ask(const std::string& what, Lookup::Want want = Lookup::Want::kToDial) {
    asker.ask(what, want);
    ASSERT_TRUE(until(loop, [&] { return asker.answers > 0; })) << what;
    EXPECT_EQ(asker.answers, 1);
  }
  using Texts = std::vector<std::string>;
  static Texts sorted(Texts texts) {
    std::sort(texts.begin(), texts.end());
    return texts;
  }

  Loop loop;
  FakeDns dns{loop};
  Resolver resolver{loop, dns.server()};
  Asker asker{resolver};
};

// ---- answers

TEST_F(ResolverTest, FindsAnIpv4Address) {
  dns.a("one.test", "127.0.0.5");
  asker.ask("one.test:99");
  EXPECT_TRUE(asker.lookup.active());
  EXPECT_EQ(asker.answers, 0);
  ASSERT_TRUE(until(loop, [&] { return asker.answers == 1; }));
  EXPECT_EQ(asker.addrs, Texts{"127.0.0.5:99"});
}

TEST_F(ResolverTest, FindsAnIpv6Address) {
  dns.aaaa("six.test", "::1");
  ask("six.test:99");
  EXPECT_EQ(asker.addrs, Texts{"[::1]:99"});
}

TEST_F(ResolverTest, FindsAllOfThem) {
  for (const char* ip : {"127.0.0.5", "127.0.0.6", "127.0.0.7"}) dns.a("all.test", ip);
  dns.aaaa("all.test", "::1");
  ask("all.test:1");
  EXPECT_EQ(sorted(asker.addrs), (Texts{"127.0.0.5:1", "127.0.0.6:1", "127.0.0.7:1", "[::1]:1"}));
}

TEST_F(ResolverTest, AnswersInCallsOfTheLoopOneAfterTheOther) {
  dns.a("one.test", "127.0.0.1");
  dns.a("two.test", "127.0.0.2");
  Texts seen;
  asker.then = [&] {
    seen.push_back(asker.addrs.at(0));
    if (seen.size() < 4) asker.ask(seen.size() % 2 == 0 ? "one.test:1" : "two.test:1");  // from inside the answer
  };
  asker.ask("one.test:1");
  ASSERT_TRUE(until(loop, [&] { return seen.size() == 4; }));
  EXPECT_EQ(seen, (Texts{"127.0.0.1:1", "127.0.0.2:1", "127.0.0.1:1", "127.0.0.2:1"}));
}

TEST_F(ResolverTest, ManyAskAtOnce) {
  std::vector<std::unique_ptr<Asker>> askers;
  for (int i = 0; i < 40; ++i) {
    const std::string name = "n" + std::to_string(i) + ".test";
    dns.a(name, "127.0.1." + std::to_string(i));
    askers.push_back(std::make_unique<Asker>(resolver));
    askers.back()->ask(name + ":7");
  }
  ASSERT_TRUE(
      until(loop, [&] { return std::all_of(askers.begin(), askers.end(), [](const auto& one) { return one->answers > 0; }); }));
  for (size_t i = 0; i < askers.size(); ++i) EXPECT_EQ(askers[i]->addrs, Texts{"127.0.1." + std::to_string(i) + ":7"});
}

TEST_F(ResolverTest, AnIdleOneOwnsNoDescriptor) {
  const size_t before = test::open_descriptors();
  dns.a("one.test", "127.0.0.1");
  ask("one.test:1");
  settle(loop);
  EXPECT_EQ(test::open_descriptors(), before);
  asker.answers = 0;
  ask("one.test:1");  // and it can be asked again
  EXPECT_EQ(asker.addrs, Texts{"127.0.0.1:1"});
}

TEST_F(ResolverTest, ALongAnswerIsCapped) {
  for (int i = 1; i <= 100; ++i) dns.a("many.test", "127.0.2." + std::to_string(i));
  ask("many.test:1");
  EXPECT_EQ(asker.addrs.size(), Resolver::kAddrsMost);
  EXPECT_EQ(std::set<std::string>(asker.addrs.begin(), asker.addrs.end()).size(), Resolver::kAddrsMost);
}

TEST_F(ResolverTest, ATruncatedAnswerIsAskedForAgainByTcp) {
  for (const bool in_pieces : {false, true}) {
    dns.truncate = true;
    dns.in_pieces = in_pieces;
    dns.asked_by_tcp = 0;
    asker.answers = 0;
    for (int i = 1; i <= 10; ++i) dns.a("long.test", "127.0.3." + std::to_string(i + (in_pieces ? 10 : 0)));
    ask("long.test:1");
    EXPECT_TRUE(asker.status.ok()) << asker.status.reason();
    EXPECT_EQ(asker.addrs.size(), in_pieces ? 20U : 10U);
    EXPECT_GT(dns.asked_by_tcp, 0);
  }
}

// ---- services

TEST_F(ResolverTest, ServicesByPriority) {
  dns.srv("_relay._tcp.site.test", 30, 0, 3003, "c.site.test");
  dns.srv("_relay._tcp.site.test", 10, 0, 3001, "a.site.test");
  dns.srv("_relay._tcp.site.test", 20, 0, 3002, "b.site.test");
  dns.a("a.site.test", "127.0.0.11");
  dns.a("b.site.test", "127.0.0.12");
  dns.a("c.site.test", "127.0.0.13");
  ask("_relay._tcp.site.test");
  EXPECT_EQ(asker.addrs, (Texts{"127.0.0.11:3001", "127.0.0.12:3002", "127.0.0.13:3003"}));
}

// With weights 1 and 9, the lighter one first in about one of ten: over 200 questions never fewer than 2 or more than 60.
TEST_F(ResolverTest, ServicesByWeight) {
  dns.srv("_relay._tcp.site.test", 10, 1, 1, "a.site.test");
  dns.srv("_relay._tcp.site.test", 10, 9, 2, "b.site.test");
  dns.a("a.site.test", "127.0.0.11");
  dns.a("b.site.test", "127.0.0.12");
  int light = 0;
  for (int i = 0; i < 200; ++i) {
    asker.answers = 0;
    ask("_relay._tcp.site.test");
    ASSERT_EQ(sorted(asker.addrs), (Texts{"127.0.0.11:1", "127.0.0.12:2"}));
    light += asker.addrs[0] == "127.0.0.11:1" ? 1 : 0;
  }
  EXPECT_GE(light, 2);
  EXPECT_LE(light, 60);
}

TEST_F(ResolverTest, AServiceWithoutAnAddressIsPassedOver) {
  dns.srv("_relay._tcp.site.test", 1, 0, 1, "gone.site.test");
  dns.srv("_relay._tcp.site.test", 2, 0, 2, "here.site.test");
  dns.srv("_relay._tcp.site.test", 3, 0, 3, "broken.site.test");
  dns.a("here.site.test", "127.0.0.12");
  dns.fails("broken.site.test", FakeDns::kServfail);
  ask("_relay._tcp.site.test");
  EXPECT_EQ(asker.addrs, Texts{"127.0.0.12:2"});
}

TEST_F(ResolverTest, ADotForAHostIsNoService) {
  dns.srv("_relay._tcp.site.test", 0, 0, 0, "");
  ask("_relay._tcp.site.test");
  EXPECT_EQ(asker.status.code(), Code::kNotFound);
}

TEST_F(ResolverTest, ServicesAreCapped) {
  for (uint16_t i = 1; i <= 40; ++i) {
    const std::string host = "h" + std::to_string(i) + ".site.test";
    dns.srv("_relay._tcp.site.test", 1, 1, i, host);
    for (int j = 0; j < 8; ++j) dns.a(host, "127.1." + std::to_string(i) + "." + std::to_string(j));
  }
  ask("_relay._tcp.site.test");
  EXPECT_EQ(asker.addrs.size(), Resolver::kAddrsMost);
}

// ---- all

TEST_F(ResolverTest, AllOfAService) {
  for (uint16_t i = 1; i <= 200; ++i) {
    const std::string host = "h" + std::to_string(i) + ".site.test";
    dns.srv("_relay._tcp.site.test", i % 2, 1, 1, host);
    dns.srv("_relay._tcp.site.test", 7, 1, 2, host);
    dns.a(host, "127.1." + std::to_string(i) + ".1");
  }
  Texts before;
  for (int i = 0; i < 2; ++i) {
    asker.answers = 0;
    ask("_relay._tcp.site.test", Lookup::Want::kAll);
    ASSERT_EQ(asker.addrs.size(), 400U);
    EXPECT_TRUE(std::is_sorted(asker.priorities.begin(), asker.priorities.end()));
    EXPECT_EQ(std::count(asker.priorities.begin(), asker.priorities.end(), 7), 200);
    EXPECT_EQ(asker.missing, "");
    if (i == 0) before = asker.addrs;
    EXPECT_EQ(asker.addrs, before);
  }
}

TEST_F(ResolverTest, AllAndWhatADialWantsAreTwoQuestions) {
  for (int i = 1; i <= 100; ++i) dns.a("many.test", "127.0.2." + std::to_string(i));
  Asker other(resolver);
  other.ask("many.test:1", Lookup::Want::kAll);
  ask("many.test:1");
  ASSERT_TRUE(until(loop, [&] { return other.answers == 1; }));
  EXPECT_EQ(asker.addrs.size(), Resolver::kAddrsMost);
  EXPECT_EQ(other.addrs.size(), 100U);
}

TEST_F(ResolverTest, AHostThatIsMissingIsNamed) {
  dns.srv("_relay._tcp.site.test", 1, 0, 1, "gone.site.test");
  dns.srv("_relay._tcp.site.test", 2, 0, 2, "here.site.test");
  dns.a("here.site.test", "127.0.0.12");
  ask("_relay._tcp.site.test", Lookup::Want::kAll);
  EXPECT_EQ(asker.addrs, Texts{"127.0.0.12:2"});
  EXPECT_EQ(asker.missing, "");  // there is no such host, for certain
  dns.srv("_relay._tcp.site.test", 3, 0, 3, "broken.site.test");
  dns.fails("broken.site.test", FakeDns::kServfail);
  asker.answers = 0;
  ask("_relay._tcp.site.test", Lookup::Want::kAll);
  EXPECT_EQ(asker.addrs, Texts{"127.0.0.12:2"});
  EXPECT_TRUE(asker.missing.starts_with("broken.site.test: ")) << asker.missing;
}

TEST_F(ResolverTest, AllOfAnEmptyNameOrService) {
  ask("nowhere.test:1", Lookup::Want::kAll);
  EXPECT_EQ(asker.status.code(), Code::kNotFound);
  dns.srv("_relay._tcp.site.test", 1, 0, 1, "gone.site.test");
  asker.answers = 0;
  ask("_relay._tcp.site.test", Lookup::Want::kAll);
  EXPECT_EQ(asker.status.code(), Code::kNotFound);
  dns.fails("gone.site.test", FakeDns::kServfail);
  asker.answers = 0;
  ask("_relay._tcp.site.test", Lookup::Want::kAll);
  EXPECT_FALSE(asker.status.ok());
  EXPECT_NE(asker.status.code(), Code::kNotFound);
}

TEST_F(ResolverTest, TheResolverMayDieWhileAllIsAsked) {
  for (uint16_t i = 1; i <= 100; ++i) {
    const std::string host = "h" + std::to_string(i) + ".site.test";
    dns.srv("_relay._tcp.site.test", 1, 1, 1, host);
    dns.silent(host);
  }
  for (const bool cancelled : {false, true}) {
    auto dying = std::make_unique<Resolver>(loop, dns.server());
    Asker other(*dying);
    const int before = dns.asked;
    other.ask("_relay._tcp.site.test", Lookup::Want::kAll);
    ASSERT_TRUE(until(loop, [&] { return dns.asked > before + 20; }));
    if (cancelled) other.lookup.cancel();
    dying.reset();
    EXPECT_FALSE(other.lookup.active());
    settle(loop);
    EXPECT_EQ(other.answers, 0);
  }
}

// ---- no answer, or none to be happy with

TEST_F(ResolverTest, NoSuchName) {
  ask("nowhere.test:1");
  EXPECT_EQ(asker.status.code(), Code::kNotFound);
  asker.answers = 0;
  ask("_relay._tcp.nowhere.test");
  EXPECT_EQ(asker.status.code(), Code::kNotFound);
}

TEST_F(ResolverTest, ANameWithoutAnAddress) {
  dns.srv("bare.test", 1, 1, 1, "x.test");  // there is such a name, but it has neither A nor AAAA
  ask("bare.test:1");
  EXPECT_EQ(asker.status.code(), Code::kNotFound);
}

// The operator is not sent to look for a name server that is not down.
TEST_F(ResolverTest, AServerThatFails) {
  dns.fails("broken.test", FakeDns::kServfail);
  ask("broken.test:1");
  EXPECT_FALSE(asker.status.ok());
  EXPECT_NE(std::string_view(asker.status.reason()).find("SERVFAIL"), std::string_view::npos) << asker.status.reason();
  asker.answers = 0;
  dns.fails("no.test", FakeDns::kRefused);
  ask("no.test:1");
  EXPECT_EQ(asker.status.code(), Code::kRefused);
}

TEST_F(ResolverTest, NobodyIsThere) {
  const test::ClosedPort nobody;
  Resolver lonely(loop, nobody.addr().text());
  Asker other(lonely);
  // One question, not A and AAAA together: the kernel tells a socket only once that nobody is there, and c-ares lets the second
  // wait for its time-out.
  other.ask("_relay._tcp.site.test");
  ASSERT_TRUE(until(loop, [&] { return other.answers == 1; }));
  EXPECT_EQ(other.status.code(), Code::kRefused);
}

TEST_F(ResolverTest, AServerThatCannotBeOne) {
  Resolver wrong(loop, "not a server");
  Asker other(wrong);
  other.ask("one.test:1");
  ASSERT_TRUE(until(loop, [&] { return other.answers == 1; }));
  EXPECT_FALSE(other.status.ok());
}

// ---- leaving

TEST_F(ResolverTest, ACancelledQuestionIsNotAnswered) {
  dns.a("one.test", "127.0.0.1");
  asker.ask("one.test:1");
  asker.lookup.cancel();
  asker.lookup.cancel();
  EXPECT_FALSE(asker.lookup.active());
  ASSERT_TRUE(until(loop, [&] { return dns.asked >= 2; }));
  settle(loop);
  EXPECT_EQ(asker.answers, 0);
  ask("one.test:1");  // another is
  EXPECT_EQ(asker.addrs, Texts{"127.0.0.1:1"});
}

TEST_F(ResolverTest, ACancelledQuestionDoesNotAnswerTheNext) {
  dns.a("one.test", "127.0.0.1");
  dns.a("two.test", "127.0.0.2");
  asker.ask("one.test:1");
  asker.lookup.cancel();
  ask("two.test:1");
  settle(loop);
  EXPECT_EQ(asker.answers, 1);
  EXPECT_EQ(asker.addrs, Texts{"127.0.0.2:1"});
}

TEST_F(ResolverTest, WhoGetsNoAnswerCanLeave) {
  dns.silent("silent.test");
  dns.a("one.test", "127.0.0.1");
  asker.ask("silent.test:1");
  ASSERT_TRUE(until(loop, [&] { return dns.asked >= 2; }));
  EXPECT_TRUE(asker.lookup.active());
  asker.lookup.cancel();
  ask("one.test:1");  // the silence does not stand in the way
  EXPECT_EQ(asker.addrs, Texts{"127.0.0.1:1"});
}

TEST_F(ResolverTest, AnAskerMayDieWhileAsking) {
  dns.a("one.test", "127.0.0.1");
  auto dying = std::make_unique<Asker>(resolver);
  dying->ask("one.test:1");
  dying.reset();
  ASSERT_TRUE(until(loop, [&] { return dns.asked >= 2; }));
  settle(loop);
}

TEST_F(ResolverTest, AnAskerMayCancelAnotherInItsAnswer) {
  dns.a("one.test", "127.0.0.1");
  Asker other(resolver);
  asker.then = [&] { other.lookup.cancel(); };
  other.then = [&] { asker.lookup.cancel(); };
  asker.ask("one.test:1");
  other.ask("one.test:1");
  ASSERT_TRUE(until(loop, [&] { return asker.answers + other.answers > 0; }));
  settle(loop);
  EXPECT_EQ(asker.answers + other.answers, 1);
}

TEST_F(ResolverTest, TheResolverMayDieWhileAsked) {
  for (const char* what : {"silent.test:1", "_relay._tcp.silent.test"}) {
    for (const bool cancelled : {false, true}) {
      dns.silent("silent.test");
      dns.silent("_relay._tcp.silent.test");
      auto dying = std::make_unique<Resolver>(loop, dns.server());
      Asker other(*dying);
      const int before = dns.asked;
      other.ask(what);
      ASSERT_TRUE(until(loop, [&] { return dns.asked > before; }));
      if (cancelled) other.lookup.cancel();
      dying.reset();
      EXPECT_FALSE(other.lookup.active());
      settle(loop);
      EXPECT_EQ(other.answers, 0);
    }
  }
}

TEST_F(ResolverTest, TheResolverMayDieWhileAskedByTcp) {
  dns.truncate = true;
  dns.in_pieces = true;
  for (int i = 1; i <= 30; ++i) dns.a("long.test", "127.0.3." + std::to_string(i));
  auto dying = std::make_unique<Resolver>(loop, dns.server());
  Asker other(*dying);
  other.ask("long.test:1");
  ASSERT_TRUE(until(loop, [&] { return dns.asked_by_tcp > 0; }));
  dying.reset();
  settle(loop);
  EXPECT_EQ(other.answers, 0);
}

// ---- hosts

TEST_F(ResolverTest, TheHostsFileComesFirst) {
  const test::Folder folder;
  const std::string hosts = folder.file("hosts");
  std::ofstream(hosts) << "127.0.0.21 listed.test alias.test\n127.0.0.22 listed.test\n";
  ::setenv("CARES_HOSTS", hosts.c_str(), 1);
  dns.a("listed.test", "127.0.0.99");
  dns.a("unlisted.test", "127.0.0.98");
  asker.ask("listed.test:5");
  EXPECT_EQ(asker.answers, 1);  // from start() itself
  asker.answers = 0;
  asker.ask("listed.test:5", Lookup::Want::kAll);
  EXPECT_EQ(asker.answers, 1);  // all of it: no AAAA is asked for
  EXPECT_EQ(sorted(asker.addrs), (Texts{"127.0.0.21:5", "127.0.0.22:5"}));
  EXPECT_EQ(dns.asked, 0);
  asker.answers = 0;
  ask("alias.test:5");
  EXPECT_EQ(asker.addrs.at(0), "127.0.0.21:5");
  asker.answers = 0;
  ask("unlisted.test:5");
  EXPECT_EQ(asker.addrs, Texts{"127.0.0.98:5"});
}

// ---- a flood

TEST_F(ResolverTest, EqualQuestionsAreOne) {
  dns.silent("slow.test");
  std::vector<std::unique_ptr<Asker>> crowd;
  for (int i = 0; i < 500; ++i) {
    crowd.push_back(std::make_unique<Asker>(resolver));
    crowd.back()->ask("slow.test:99");
  }
  ASSERT_TRUE(until(loop, [&] { return dns.asked >= 2; }));
  settle(loop);
  EXPECT_EQ(dns.asked, 2) << "A and AAAA, once";
  crowd.resize(250);  // who leaves takes nothing from the others
  for (int i = 0; i < 500; ++i) {
    Asker passing(resolver);
    passing.ask("slow.test:99");
  }
  asker.ask("slow.test:98");  // another port is another question
  ASSERT_TRUE(until(loop, [&] { return dns.asked > 2; }));
  settle(loop);
  EXPECT_LE(dns.asked, 4);
}

TEST_F(ResolverTest, AllWhoAskedGetTheAnswer) {
  dns.a("one.test", "127.0.0.5");
  std::vector<std::unique_ptr<Asker>> crowd;
  for (int i = 0; i < 100; ++i) {
    crowd.push_back(std::make_unique<Asker>(resolver));
    crowd.back()->ask("one.test:99");
  }
  ASSERT_TRUE(until(loop, [&] { return std::all_of(crowd.begin(), crowd.end(), [](const auto& one) { return one->answers == 1; }); }));
  for (const auto& one : crowd) EXPECT_EQ(one->addrs, Texts{"127.0.0.5:99"});
  EXPECT_LE(dns.asked, 2);
}

}  // namespace
}  // namespace relay

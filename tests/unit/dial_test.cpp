// SPDX-License-Identifier: Apache-2.0
// net/dial: from a target to a connection: each address in turn, pauses that grow, a limit to each try, and a stop at any moment.
#include "net/dial.h"

#include <fstream>
#include <functional>
#include <memory>

#include "tests/unit/fake_dns.h"

namespace relay {
namespace {

using test::FakeDns;
using test::settle;
using test::until;

class Nobody final : public ConnUser {
 public:
  void on_ready(Conn&) override { ++calls; }
  int calls = 0;
};

class DialTest : public ::testing::Test, public DialUser {
 protected:
  struct Failure {
    std::string to;
    Status why;
    unsigned round;
    Delay retry;
    Time at;
  };

  DialTest() {
    ::setenv("CARES_HOSTS", "/dev/null", 1);
    plan.retry_min = Delay{4};
    plan.retry_max = Delay{16};
  }
  ~DialTest() override { ::unsetenv("CARES_HOSTS"); }

  void start(const std::string& target) {
    Result<Endpoint> endpoint = Endpoint::parse_target(target);
    ASSERT_TRUE(endpoint.ok()) << target;
    plan.target = *endpoint;
    dial = std::make_unique<Dial>(loop, resolver, plan, *this);
    dial->start();
  }
  Addr listen(const std::string& place) {
    Result<Listening> made = listen_on(test::listen_place(place), SockOptions{});
    EXPECT_TRUE(made.ok()) << place;
    if (!made.ok()) return {};
    listening = std::move(*made);
    return listening.addr;
  }

  void on_dialed(const Addr& to) override {
    dialed.push_back(to.text());
    if (takes) dial->take(conn);
    if (then) then();
  }
  void on_dial_addrs(const std::vector<Addr>& addrs) override {
    for (const Addr& addr : addrs) looked_up.push_back(addr.text());
    if (then) then();
  }
  void on_dial_try(const Addr& to) override {
    tried.push_back(to.text());
    if (then) then();
  }
  void on_dial_failed(const Addr& to, const Status& why, unsigned round, Delay retry) override {
    failures.push_back({to.text(), why, round, retry, loop.now()});
    if (then) then();
  }

  Loop loop;
  FakeDns dns{loop};
  Resolver resolver{loop, dns.server()};
  DialPlan plan;
  Nobody user;
  Conn conn{loop, user};
  std::unique_ptr<Dial> dial;
  Listening listening;
  bool takes = true;
  std::vector<std::string> dialed;
  std::vector<std::string> looked_up;
  std::vector<std::string> tried;
  std::vector<Failure> failures;
  std::function<void()> then;
};

// ---- connected

TEST_F(DialTest, Connects) {
  const Addr addr = listen("127.0.0.1:0");
  start(addr.text());
  EXPECT_FALSE(dialed.empty());  // within the machine it is there at once
  EXPECT_EQ(dialed, std::vector<std::string>{addr.text()});
  EXPECT_EQ(tried, dialed);
  EXPECT_TRUE(failures.empty());
  EXPECT_TRUE(looked_up.empty());
  ASSERT_TRUE(conn.is_open());
  EXPECT_TRUE(conn.writable());
  // The connection is whole: bytes go both ways, and are heard of.
  const Fd peer{::accept4(listening.fd.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC)};
  ASSERT_TRUE(peer.open());
  ASSERT_TRUE(conn.write(std::as_bytes(std::span("hi", 2))).ok());
  char text[4] = {};
  EXPECT_EQ(::recv(peer.get(), text, sizeof text, 0), 2);
  ASSERT_EQ(::send(peer.get(), "ho", 2, 0), 2);
  ASSERT_TRUE(until(loop, [&] { return conn.readable(); }));
  EXPECT_GT(user.calls, 0);
}

TEST_F(DialTest, BytesThatCameWithTheConnectionAreNotMissed) {
  const Addr addr = listen("127.0.0.1:0");
  start(addr.text());
  Fd peer;
  // The other side speaks before the loop has told of the connection.
  for (int i = 0; i < 100 && !peer.open(); ++i)
    peer = Fd{::accept4(listening.fd.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC)};
  ASSERT_TRUE(peer.open());
  ASSERT_EQ(::send(peer.get(), "first", 5, 0), 5);
  ASSERT_TRUE(until(loop, [&] { return conn.readable(); }));
  std::array<std::byte, 10> into{};
  const Result<size_t> n = conn.read(into);
  ASSERT_TRUE(n.ok());
  EXPECT_EQ(*n, 5U);
}

TEST_F(DialTest, AConnectionThatNobodyTakesIsClosed) {
  takes = false;
  start(listen("127.0.0.1:0").text());
  ASSERT_TRUE(until(loop, [&] { return !dialed.empty(); }));
  EXPECT_FALSE(conn.is_open());
  const Fd peer{::accept4(listening.fd.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC)};
  char byte = 0;
  EXPECT_EQ(::recv(peer.get(), &byte, 1, 0), 0);
}

TEST_F(DialTest, AUnixSocket) {
  const test::Folder folder;
  listen("unix:" + folder.file("s"));
  start("unix:" + folder.file("s"));
  ASSERT_TRUE(until(loop, [&] { return !dialed.empty(); }));
  EXPECT_EQ(dialed[0], "unix");
  EXPECT_TRUE(conn.is_open());
}

// ---- failed

TEST_F(DialTest, AUnixSocketThatIsNotThere) {
  const test::Folder folder;
  start("unix:" + folder.file("s"));
  ASSERT_TRUE(until(loop, [&] { return failures.size() >= 2; }));
  EXPECT_EQ(failures[0].why.code(), Code::kNotFound);
  EXPECT_EQ(failures[0].why.error(), ENOENT);
  EXPECT_EQ(failures[0].round, 1U);
  EXPECT_EQ(failures[1].round, 2U);
  listen("unix:" + folder.file("s"));  // now it is
  ASSERT_TRUE(until(loop, [&] { return !dialed.empty(); }));
}

TEST_F(DialTest, RefusedAndThenNot) {
  test::ClosedPort port;
  start(port.addr().text());
  ASSERT_TRUE(until(loop, [&] { return failures.size() == 3; }));
  for (const Failure& failure : failures) {
    EXPECT_EQ(failure.why.code(), Code::kRefused);
    EXPECT_EQ(failure.to, port.addr().text());
  }
  port.listen(1);
  ASSERT_TRUE(until(loop, [&] { return !dialed.empty(); }));
  EXPECT_TRUE(conn.is_open());
}

TEST_F(DialTest, PausesDoubleAreShortenedAtRandomAndCapped) {
  const test::ClosedPort port;
  start(port.addr().text());
  ASSERT_TRUE(until(loop, [&] { return failures.size() == 10; }));
  std::vector<int64_t> pauses;
  int64_t longest = plan.retry_min.count();
  bool shortened = false;
  for (size_t i = 0; i < failures.size(); ++i) {
    const int64_t pause = failures[i].retry.count();
    EXPECT_GE(pause, longest / 2) << i;
    EXPECT_LE(pause, longest) << i;
    EXPECT_EQ(failures[i].round, i + 1);
    EXPECT_TRUE(i == 0 || failures[i].at - failures[i - 1].at >= failures[i - 1].retry) << i;
    shortened = shortened || pause < longest;
    longest = std::min(longest * 2, plan.retry_max.count());
  }
  EXPECT_TRUE(shortened);  // ten times at its longest: about one in a thousand million
}

TEST_F(DialTest, TheConnectionIsGivenUpAfterItsTime) {
  // A listener whose backlog is full: the kernel does not answer a further call.
  test::ClosedPort full;
  full.listen(0);
  const Addr addr = full.addr();
  std::vector<Fd> waiting;
  for (int i = 0; i < 4; ++i) {
    Result<Connecting> fd = begin_connect(addr, "", SockOptions{});
    ASSERT_TRUE(fd.ok());
    waiting.push_back(std::move(fd->fd));
  }
  plan.connect_timeout = Delay{20};
  const Time before = loop.now();
  start(addr.text());
  ASSERT_TRUE(until(loop, [&] { return failures.size() == 2; }));
  EXPECT_TRUE(dialed.empty());
  EXPECT_EQ(failures[0].why.code(), Code::kTimeout);
  EXPECT_EQ(failures[0].to, addr.text());
  EXPECT_GE(failures[0].at - before, plan.connect_timeout);
  EXPECT_GE(failures[1].at - failures[0].at, plan.connect_timeout + failures[0].retry);
}

TEST_F(DialTest, WithoutADescriptorItTriesAgain) {
  const Addr addr = listen("127.0.0.1:0");
  test::NoDescriptors none;
  start(addr.text());
  ASSERT_TRUE(until(loop, [&] { return failures.size() == 2; }));
  EXPECT_EQ(failures[0].why.code(), Code::kLimit);
  none.lift();
  ASSERT_TRUE(until(loop, [&] { return !dialed.empty(); }));
}

// ---- names

TEST_F(DialTest, EachAddressOfANameInTurn) {
  const Addr addr = listen("127.0.0.33:0");
  for (const char* ip : {"127.0.0.31", "127.0.0.32", "127.0.0.33"}) dns.a("three.test", ip);
  start("three.test:" + std::to_string(addr.port));
  ASSERT_TRUE(until(loop, [&] { return !dialed.empty(); }));
  EXPECT_EQ(looked_up.size(), 3U);
  EXPECT_EQ(dialed[0], addr.text());
  // Those before it failed, in their order, with no pause while others are left.
  ASSERT_LT(failures.size(), 3U);
  for (size_t i = 0; i < failures.size(); ++i) {
    EXPECT_EQ(failures[i].to, looked_up[i]);
    EXPECT_EQ(failures[i].retry, Delay{0});
    EXPECT_EQ(failures[i].round, 1U);
  }
  EXPECT_EQ(looked_up[failures.size()], dialed[0]);
  EXPECT_EQ(tried, std::vector<std::string>(looked_up.begin(), looked_up.begin() + static_cast<std::ptrdiff_t>(tried.size())));
  EXPECT_EQ(tried.size(), failures.size() + 1);
}

TEST_F(DialTest, AllAddressesFailedIsARoundAndTheNameIsAskedAgain) {
  const test::ClosedPort port;
  dns.a("two.test", "127.0.0.31");
  dns.a("two.test", "127.0.0.32");
  start("two.test:" + std::to_string(port.addr().port));
  ASSERT_TRUE(until(loop, [&] { return failures.size() >= 4; }));
  EXPECT_EQ(failures[0].retry, Delay{0});
  EXPECT_GT(failures[1].retry, Delay{0});
  EXPECT_EQ(failures[1].round, 1U);
  EXPECT_EQ(failures[2].retry, Delay{0});
  EXPECT_EQ(failures[2].round, 2U);
  EXPECT_GE(looked_up.size(), 4U);
}

TEST_F(DialTest, ANameThatIsNotThereYet) {
  const Addr addr = listen("127.0.0.1:0");
  start("later.test:" + std::to_string(addr.port));
  ASSERT_TRUE(until(loop, [&] { return failures.size() == 2; }));
  EXPECT_EQ(failures[0].to, "-");
  EXPECT_EQ(failures[0].why.code(), Code::kNotFound);
  EXPECT_GT(failures[0].retry, Delay{0});
  dns.a("later.test", "127.0.0.1");
  ASSERT_TRUE(until(loop, [&] { return !dialed.empty(); }));
  EXPECT_EQ(dialed[0], addr.text());
}

TEST_F(DialTest, ALookUpIsGivenUpAfterItsTime) {
  dns.silent("silent.test");
  plan.connect_timeout = Delay{20};
  const Time before = loop.now();
  start("silent.test:1");
  ASSERT_TRUE(until(loop, [&] { return failures.size() == 2; }));
  EXPECT_EQ(failures[0].why.code(), Code::kTimeout);
  EXPECT_EQ(failures[0].to, "-");
  EXPECT_GE(failures[0].at - before, plan.connect_timeout);
  EXPECT_EQ(failures[1].round, 2U);
}

TEST_F(DialTest, AServiceGoesByItsOwnPort) {
  const Addr addr = listen("127.0.0.1:0");
  dns.srv("_relay._tcp.site.test", 1, 1, addr.port, "a.site.test");
  dns.a("a.site.test", "127.0.0.1");
  start("_relay._tcp.site.test");
  ASSERT_TRUE(until(loop, [&] { return !dialed.empty(); }));
  EXPECT_EQ(dialed[0], addr.text());
}

TEST_F(DialTest, ANameOfTheHostsFileIsThereAtOnce) {
  const Addr addr = listen("127.0.0.1:0");
  const test::Folder folder;
  std::ofstream(folder.file("hosts")) << "127.0.0.1 listed.test\n";
  ::setenv("CARES_HOSTS", folder.file("hosts").c_str(), 1);
  start("listed.test:" + std::to_string(addr.port));
  EXPECT_EQ(looked_up, std::vector<std::string>{addr.text()});
  ASSERT_TRUE(until(loop, [&] { return !dialed.empty(); }));
}

// ---- stopped

TEST_F(DialTest, StoppedItCallsNoMore) {
  const test::ClosedPort refused;
  for (const std::string& target :
       {refused.addr().text(), listen("127.0.0.1:0").text(), std::string("silent.test:1"), std::string("nowhere.test:1")}) {
    SCOPED_TRACE(target);
    dns.silent("silent.test");
    start(target);
    failures.clear();
    dialed.clear();  // within the machine it may be over already
    conn.close();
    dial->stop();
    dial->stop();
    const Time before = loop.now();
    ASSERT_TRUE(until(loop, [&] { return loop.now() - before > 2 * plan.retry_max; }));
    EXPECT_TRUE(dialed.empty());
    EXPECT_TRUE(failures.empty());
    EXPECT_TRUE(looked_up.empty());
  }
}

TEST_F(DialTest, MayBeStoppedInEachCall) {
  const test::ClosedPort refused;
  const Addr taken = listen("127.0.0.1:0");
  dns.a("two.test", "127.0.0.31");
  dns.a("two.test", "127.0.0.32");
  const std::string name = "two.test:" + std::to_string(refused.addr().port);
  // Looked up, first address tried and failed, second tried and failed; failed look-up; address tried and connected.
  const std::vector<std::pair<std::string, int>> places = {
      {name, 1}, {name, 2}, {name, 3}, {name, 4}, {name, 5}, {"nowhere.test:1", 1}, {taken.text(), 1}, {taken.text(), 2}};
  for (const auto& place : places) {
    const std::string& target = place.first;
    const int nth = place.second;
    SCOPED_TRACE(target + " at call " + std::to_string(nth));
    int calls = 0;
    then = [&] {
      if (++calls == nth) dial->stop();
    };
    start(target);
    ASSERT_TRUE(until(loop, [&] { return calls >= nth; }));
    const Time before = loop.now();
    ASSERT_TRUE(until(loop, [&] { return loop.now() - before > 2 * plan.retry_max; }));
    EXPECT_EQ(calls, nth);
    conn.close();
  }
}

TEST_F(DialTest, DestroyedItLeavesNothing) {
  // A listener whose backlog is full: the dial is under way.
  test::ClosedPort full;
  full.listen(0);
  std::vector<Fd> waiting;
  for (int i = 0; i < 4; ++i) {
    Result<Connecting> connecting = begin_connect(full.addr(), "", SockOptions{});
    ASSERT_TRUE(connecting.ok());
    waiting.push_back(std::move(connecting->fd));
  }
  const size_t before = test::open_descriptors();
  start(full.addr().text());
  EXPECT_EQ(test::open_descriptors(), before + 1);
  dial.reset();
  settle(loop);
  EXPECT_EQ(test::open_descriptors(), before);
  EXPECT_TRUE(dialed.empty());
}

}  // namespace
}  // namespace relay

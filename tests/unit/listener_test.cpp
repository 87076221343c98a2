// SPDX-License-Identifier: Apache-2.0
// net/listener and listen_on: who is accepted and when not: the turn's budget, resting at the descriptor limit, holding off, and
// what becomes of the file of a Unix socket.
#include "net/listener.h"

#include <sys/stat.h>
#include <sys/un.h>

#include <cstring>
#include <fstream>
#include <functional>
#include <optional>

#include "tests/unit/testing.h"

namespace relay {
namespace {

using test::listen_place;
using test::settle;
using test::until;

class Guests final : public ListenerUser {
 public:
  void on_accept(Listener&, Socket socket, const Addr& peer) override {
    fds.push_back(std::move(socket.fd));
    peers.push_back(peer);
    if (then) then();
  }
  void on_accept_paused(Listener&, const Status& why) override {
    ++paused;
    error = why.error();
  }
  void on_accept_resumed(Listener&) override { ++resumed; }

  std::vector<Fd> fds;
  std::vector<Addr> peers;
  int paused = 0;
  int resumed = 0;
  int error = 0;
  std::function<void()> then;
};

class ListenerTest : public ::testing::Test {
 protected:
  void listen(const std::string& place) {
    Result<Listening> listening = listen_on(listen_place(place), SockOptions{});
    ASSERT_TRUE(listening.ok()) << listening.status().reason();
    addr = listening->addr;
    ASSERT_TRUE(listener.open(std::move(*listening)).ok());
    settle(loop);
  }
  void connect(size_t count = 1) {
    for (size_t i = 0; i < count; ++i) callers.push_back(test::connect_to(addr));
  }

  Loop loop;
  Guests guests;
  Listener listener{loop, guests};
  Addr addr;
  std::vector<Fd> callers;
};

// A connection to the Unix socket at `path`, or the errno why not.
int call_unix(const std::string& path, Fd& fd) {
  sockaddr_un to{};
  to.sun_family = AF_UNIX;
  CHECK(path.size() < sizeof to.sun_path);
  std::memcpy(to.sun_path, path.c_str(), path.size() + 1);
  fd = Fd{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
  return ::connect(fd.get(), reinterpret_cast<const sockaddr*>(&to), sizeof to) == 0 ? 0 : errno;
}

bool is_socket(const std::string& path) { return sys::is_socket(path.c_str()); }

TEST_F(ListenerTest, AcceptsAndSaysWho) {
  listen("127.0.0.1:0");
  EXPECT_NE(addr.port, 0);
  EXPECT_EQ(listener.text(), addr.text());
  connect();
  ASSERT_TRUE(until(loop, [&] { return !guests.fds.empty(); }));
  sockaddr_storage own{};
  socklen_t length = sizeof own;
  ASSERT_EQ(::getsockname(callers[0].get(), reinterpret_cast<sockaddr*>(&own), &length), 0);
  EXPECT_EQ(guests.peers[0].text(), Addr::from_sockaddr(own, length).text());
  EXPECT_NE(::fcntl(guests.fds[0].get(), F_GETFL) & O_NONBLOCK, 0);
  EXPECT_NE(::fcntl(guests.fds[0].get(), F_GETFD) & FD_CLOEXEC, 0);
}

TEST_F(ListenerTest, BothFamiliesOnOne) {
  if (!listen_on(listen_place("[::1]:0"), SockOptions{}).ok()) GTEST_SKIP() << "no IPv6 here";
  listen("[::]:0");
  for (const char* host : {"127.0.0.1", "::1"}) callers.push_back(test::connect_to(*Addr::parse(host, addr.port)));
  ASSERT_TRUE(until(loop, [&] { return guests.peers.size() == 2; }));
  EXPECT_EQ(guests.peers[0].host_text(), "127.0.0.1");
  EXPECT_EQ(guests.peers[1].host_text(), "::1");
}

TEST_F(ListenerTest, TheAcceptedHaveTheOptionsOfTheListening) {
  listen("127.0.0.1:0");
  connect();
  ASSERT_TRUE(until(loop, [&] { return !guests.fds.empty(); }));
  const auto option = [&](int level, int name) {
    int value = -1;
    socklen_t length = sizeof value;
    EXPECT_EQ(::getsockopt(guests.fds[0].get(), level, name, &value, &length), 0);
    return value;
  };
  EXPECT_EQ(option(SOL_SOCKET, SO_OOBINLINE), 1);
  EXPECT_EQ(option(SOL_SOCKET, SO_KEEPALIVE), 1);
  EXPECT_EQ(option(IPPROTO_TCP, TCP_NODELAY), 1);
}

TEST_F(ListenerTest, NoMoreThanItsBudgetATurn) {
  listen("127.0.0.1:0");
  connect(150);
  std::vector<size_t> turns;
  ASSERT_TRUE(until(loop, [&] {
    if (turns.empty() ? !guests.fds.empty() : guests.fds.size() > turns.back()) turns.push_back(guests.fds.size());
    return guests.fds.size() == 150;
  }));
  EXPECT_EQ(turns, (std::vector<size_t>{64, 128, 150}));
}

TEST_F(ListenerTest, ClosedInItsCallItAcceptsNobodyElse) {
  listen("127.0.0.1:0");
  guests.then = [&] { listener.close(); };
  connect(3);
  ASSERT_TRUE(until(loop, [&] { return !guests.fds.empty(); }));
  settle(loop);
  EXPECT_EQ(guests.fds.size(), 1U);
  EXPECT_FALSE(listener.is_open());
  listener.close();
}

TEST_F(ListenerTest, HeldOffItLeavesThemInTheBacklog) {
  listen("127.0.0.1:0");
  guests.then = [&] { listener.hold_off(); };
  connect(3);
  ASSERT_TRUE(until(loop, [&] { return guests.fds.size() == 1; }));
  settle(loop);
  connect(1);
  settle(loop);
  EXPECT_EQ(guests.fds.size(), 1U);
  guests.then = nullptr;
  listener.go_on();
  ASSERT_TRUE(until(loop, [&] { return guests.fds.size() == 4; }));
}

// ---- the descriptor limit

TEST_F(ListenerTest, AtTheLimitItRestsAndSaysSoOnce) {
  listen("127.0.0.1:0");
  connect(3);
  test::NoDescriptors none;
  ASSERT_TRUE(until(loop, [&] { return guests.paused > 0; }));
  EXPECT_EQ(guests.error, EMFILE);
  // It does not spin: once told, the loop waits for the rest to be over. Three rests pass.
  const Time before = loop.now();
  int turns = 0;
  while (loop.now() - before < 3 * Listener::kRest) {
    loop.turn(Delay{10'000});
    ++turns;
  }
  EXPECT_LE(turns, 8);
  EXPECT_EQ(guests.paused, 1);
  EXPECT_EQ(guests.resumed, 0);
  EXPECT_TRUE(guests.fds.empty());
  none.lift();
  ASSERT_TRUE(until(loop, [&] { return guests.fds.size() == 3; }));
  EXPECT_EQ(guests.paused, 1);
  EXPECT_EQ(guests.resumed, 1);
}

// accept(2) looks for a descriptor before it looks at the backlog: the limit may be met with nobody waiting.
TEST_F(ListenerTest, ItGoesOnThoughNobodyWaits) {
  listen("127.0.0.1:0");
  std::optional<test::NoDescriptors> none;
  guests.then = [&] { none.emplace(); };
  connect(1);  // takes the last descriptor there is
  ASSERT_TRUE(until(loop, [&] { return guests.paused == 1; }));
  ASSERT_EQ(guests.fds.size(), 1U);
  none->lift();
  EXPECT_TRUE(until(loop, [&] { return guests.resumed == 1; }, Delay{1000})) << "it says that it rests, and does not";
}

TEST_F(ListenerTest, ASecondRestIsSaidAgain) {
  listen("127.0.0.1:0");
  for (int round = 1; round <= 2; ++round) {
    connect(1);
    test::NoDescriptors none;
    ASSERT_TRUE(until(loop, [&] { return guests.paused == round; }));
    none.lift();
    ASSERT_TRUE(until(loop, [&] { return guests.resumed == round; }));
  }
  EXPECT_EQ(guests.fds.size(), 2U);
}

TEST_F(ListenerTest, ClosedAtRestItStaysClosed) {
  listen("127.0.0.1:0");
  connect(1);
  test::NoDescriptors none;
  ASSERT_TRUE(until(loop, [&] { return guests.paused == 1; }));
  listener.close();
  none.lift();
  const Time before = loop.now();
  ASSERT_TRUE(until(loop, [&] { return loop.now() - before > Listener::kRest + Delay{20}; }));
  EXPECT_TRUE(guests.fds.empty());
}

// ---- Unix sockets

TEST_F(ListenerTest, AUnixSocketComesAndGoesWithItsFile) {
  const test::Folder folder;
  const std::string path = folder.file("s");
  listen("unix:" + path);
  EXPECT_TRUE(is_socket(path));
  EXPECT_EQ(listener.text(), "unix:" + path);
  Fd caller;
  ASSERT_EQ(call_unix(path, caller), 0);
  ASSERT_TRUE(until(loop, [&] { return guests.fds.size() == 1; }));
  EXPECT_EQ(guests.peers[0].family, Addr::Family::kUnix);
  listener.close();
  EXPECT_FALSE(std::filesystem::exists(path));
}

TEST_F(ListenerTest, AStaleUnixSocketIsReplaced) {
  const test::Folder folder;
  const std::string path = folder.file("s");
  { const auto gone = listen_on(listen_place("unix:" + path), SockOptions{}); }  // its process has died: the file is still there
  ASSERT_TRUE(is_socket(path));
  listen("unix:" + path);
  Fd caller;
  EXPECT_EQ(call_unix(path, caller), 0);
}

TEST_F(ListenerTest, AUnixSocketInUseIsNot) {
  const test::Folder folder;
  const std::string path = folder.file("s");
  listen("unix:" + path);
  const auto second = listen_on(listen_place("unix:" + path), SockOptions{});
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(second.status().error(), EADDRINUSE);
  Fd caller;
  EXPECT_EQ(call_unix(path, caller), 0);  // it still answers
}

TEST_F(ListenerTest, NorIsAnyOtherFile) {
  const test::Folder folder;
  const std::string file = folder.file("f");
  std::ofstream(file) << "precious";
  const std::string link = folder.file("l");
  std::filesystem::create_symlink(file, link);
  std::filesystem::create_directory(folder.file("d"));
  for (const char* name : {"f", "l", "d"}) {
    const auto listening = listen_on(listen_place("unix:" + folder.file(name)), SockOptions{});
    ASSERT_FALSE(listening.ok()) << name;
    EXPECT_EQ(listening.status().error(), EADDRINUSE);
  }
  std::string text;
  std::ifstream(file) >> text;
  EXPECT_EQ(text, "precious");
  EXPECT_TRUE(std::filesystem::is_symlink(link));
}

// ---- what cannot be

TEST_F(ListenerTest, SaysWhyItCannotListen) {
  listen("127.0.0.1:0");
  EXPECT_EQ(listen_on(listen_place(addr.text()), SockOptions{}).status().error(), EADDRINUSE);
  EXPECT_EQ(listen_on(listen_place("203.0.113.1:0"), SockOptions{}).status().error(), EADDRNOTAVAIL);  // not one of ours
  EXPECT_EQ(listen_on(listen_place("unix:/no/such/folder/s"), SockOptions{}).status().error(), ENOENT);
  const test::NoDescriptors none;
  EXPECT_EQ(listen_on(listen_place("127.0.0.1:0"), SockOptions{}).status().code(), Code::kLimit);
}

}  // namespace
}  // namespace relay

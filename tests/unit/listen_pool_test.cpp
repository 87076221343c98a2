// SPDX-License-Identifier: Apache-2.0
// net/listen_pool: sockets that are there already: passed to the process, or lent by a Listener, with who waits in their backlog.
#include "net/listen_pool.h"

#include <sys/stat.h>

#include "tests/unit/testing.h"

namespace relay {
namespace {

using test::listen_place;
using test::settle;
using test::until;

class Guests final : public ListenerUser {
 public:
  void on_accept(Listener&, Socket socket, const Addr&) override { sockets.push_back(std::move(socket)); }
  void on_accept_paused(Listener&, const Status&) override {}
  void on_accept_resumed(Listener&) override {}
  std::vector<Socket> sockets;
};

class ListenPoolTest : public ::testing::Test {
 protected:
  Endpoint at(const Listening& listening) { return listen_place(listening.text()); }
  Listening listening(const std::string& place) {
    Result<Listening> made = listen_on(listen_place(place), SockOptions{});
    CHECK(made.ok());
    return std::move(*made);
  }
  std::string unix_place(const std::string& name) { return "unix:" + folder.file(name); }
  static ino_t socket_of(const Fd& fd) {
    struct stat found {};
    CHECK(::fstat(fd.get(), &found) == 0);
    return found.st_ino;
  }

  test::Folder folder;
  Loop loop;
  Guests before;
  Guests after;
  ListenPool pool;
};

TEST_F(ListenPoolTest, OpensANewOneWhereNothingIs) {
  Result<Listening> made = pool.open(listen_place("127.0.0.1:0"), SockOptions{});
  ASSERT_TRUE(made.ok());
  EXPECT_NE(made->addr.port, 0);
  EXPECT_FALSE(pool.open(at(*made), SockOptions{}).ok());  // in use, by nobody who lends it
}

TEST_F(ListenPoolTest, UsesWhatWasPassedOnceAndByItsAddress) {
  for (const std::string& place : {std::string("127.0.0.1:0"), std::string("[::1]:0"), unix_place("a")}) {
    Listening mine = listening(place);
    const Endpoint where = at(mine);
    const ino_t socket = socket_of(mine.fd);
    ASSERT_TRUE(pool.add(std::move(mine.fd)).ok());
    EXPECT_EQ(pool.unused(), std::vector<std::string>{where.text()});
    Result<Listening> taken = pool.open(where, SockOptions{});
    ASSERT_TRUE(taken.ok()) << where.text();
    EXPECT_EQ(socket_of(taken->fd), socket);
    EXPECT_EQ(taken->text(), where.text());
    EXPECT_TRUE(pool.unused().empty());
    EXPECT_FALSE(pool.open(where, SockOptions{}).ok());
  }
}

TEST_F(ListenPoolTest, RefusesWhatIsNoListeningSocket) {
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  const Fd other{ends[1]};
  EXPECT_FALSE(pool.add(Fd{ends[0]}).ok());
  EXPECT_EQ(pool.add(Fd{::socket(AF_INET, SOCK_DGRAM, 0)}).code(), Code::kInvalid);
  EXPECT_EQ(pool.add(Fd{::socket(AF_INET, SOCK_STREAM, 0)}).code(), Code::kInvalid);
  EXPECT_FALSE(pool.add(std::move(test::unix_ends().ours)).ok());
  EXPECT_TRUE(pool.unused().empty());
}

TEST_F(ListenPoolTest, HandsOverWithWhoWaits) {
  for (const std::string& place : {std::string("127.0.0.1:0"), unix_place("b")}) {
    Listener old(loop, before);
    old.hold_off();
    ASSERT_TRUE(old.open(listening(place)).ok());
    const Endpoint where = listen_place(old.text());
    Fd caller;
    if (where.kind == Endpoint::Kind::kAddr) caller = test::connect_to(where.addr);
    pool.lend(old);
    Result<Listening> taken = pool.open(where, SockOptions{});
    ASSERT_TRUE(taken.ok());
    EXPECT_EQ(socket_of(taken->fd), socket_of(old.listening().fd));
    EXPECT_FALSE(pool.open(where, SockOptions{}).ok()) << "lent once, taken once";
    Listener fresh(loop, after);
    fresh.hold_off();
    ASSERT_TRUE(fresh.open(std::move(*taken)).ok());
    pool.settle();
    EXPECT_FALSE(old.is_open());
    EXPECT_TRUE(fresh.is_open());
    if (!fresh.listening().path.empty()) {
      EXPECT_TRUE(sys::is_socket(fresh.listening().path.c_str())) << "the file stays";
    }
    const size_t accepted = after.sockets.size();
    fresh.go_on();
    if (caller.open()) {
      EXPECT_TRUE(until(loop, [&] { return after.sockets.size() == accepted + 1; }));
    }
    settle(loop);
    EXPECT_TRUE(before.sockets.empty());
    const std::string path = fresh.listening().path;
    fresh.close();
    if (!path.empty()) {
      EXPECT_FALSE(sys::is_socket(path.c_str())) << "the last one takes it away";
    }
  }
}

TEST_F(ListenPoolTest, LeavesTheLenderAloneIfTheChangeFails) {
  Listener old(loop, before);
  ASSERT_TRUE(old.open(listening("127.0.0.1:0")).ok());
  pool.lend(old);
  {
    Result<Listening> taken = pool.open(listen_place(old.text()), SockOptions{});
    ASSERT_TRUE(taken.ok());
  }
  pool.forget_lent();
  pool.settle();
  ASSERT_TRUE(old.is_open());
  const Fd caller = test::connect_to(old.listening().addr);
  EXPECT_TRUE(until(loop, [&] { return before.sockets.size() == 1; }));
}

TEST_F(ListenPoolTest, ClosesNobodyWhoseSocketWasNotTaken) {
  Listener old(loop, before);
  ASSERT_TRUE(old.open(listening("127.0.0.1:0")).ok());
  pool.lend(old);
  ASSERT_TRUE(pool.open(listen_place("127.0.0.1:0"), SockOptions{}).ok());  // port 0 is never "there already"
  pool.settle();
  EXPECT_TRUE(old.is_open());
}

TEST_F(ListenPoolTest, SaysWhenThereIsNoDescriptor) {
  Listener old(loop, before);
  ASSERT_TRUE(old.open(listening("127.0.0.1:0")).ok());
  pool.lend(old);
  const Endpoint where = listen_place(old.text());
  test::NoDescriptors none;
  const Result<Listening> taken = pool.open(where, SockOptions{});
  ASSERT_FALSE(taken.ok());
  EXPECT_EQ(taken.status().code(), Code::kLimit);
  none.lift();
  EXPECT_TRUE(pool.open(where, SockOptions{}).ok());
}

}  // namespace
}  // namespace relay

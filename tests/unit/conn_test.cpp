// SPDX-License-Identifier: Apache-2.0
// net/conn: what the kernel's answers are taken to mean, on TCP and on Unix sockets: short reads, ends, resets, and that a
// failure is never taken for an orderly end, nor a byte that came before it lost.
#include "net/conn.h"

#include <cstring>
#include <functional>
#include <memory>

#include "tests/unit/testing.h"

namespace relay {
namespace {

using test::Ends;
using test::settle;
using test::until;

class User final : public ConnUser {
 public:
  void on_ready(Conn& conn) override {
    ++calls;
    if (then) then(conn);
  }
  int calls = 0;
  std::function<void(Conn&)> then;
};

class ConnTest : public ::testing::TestWithParam<bool> {
 protected:
  ConnTest() : conn(loop, user), ends(tcp() ? test::tcp_ends() : test::unix_ends()) {
    const Status status = conn.open({std::move(ends.ours), ends.family});
    CHECK(status.ok());
    settle(loop);
  }
  static bool tcp() { return GetParam(); }

  void send(std::string_view text) {
    ASSERT_EQ(::send(ends.theirs.get(), text.data(), text.size(), MSG_NOSIGNAL), static_cast<ssize_t>(text.size()));
  }
  // A Unix socket resets only when it is closed with bytes unread.
  void leave_unread() { ASSERT_TRUE(tcp() || conn.write(std::as_bytes(std::span("x", 1))).ok()); }
  // What one read brings: the bytes, or "!" and the code's number.
  std::string read(size_t most = 100) {
    std::vector<std::byte> into(most);
    const Result<size_t> n = conn.read(into);
    if (!n.ok()) return '!' + std::to_string(static_cast<int>(n.status().code()));
    return {reinterpret_cast<const char*>(into.data()), *n};
  }
  static std::string fault(Code code) { return '!' + std::to_string(static_cast<int>(code)); }
  bool until_readable() {
    return until(loop, [&] { return conn.readable(); });
  }
  // Reads as a user does, only when told that it is worth a try, until `text` has come or an end.
  std::string read_all(size_t most) {
    std::string all;
    static_cast<void>(until(loop, [&] {
      while (conn.readable() && all.size() < most) {
        const std::string piece = read();
        if (piece.starts_with('!') && piece != fault(Code::kAgain)) return true;
        if (!piece.starts_with('!')) all += piece;
      }
      return all.size() >= most;
    }, Delay{5000}));
    return all;
  }

  Loop loop;
  User user;
  Conn conn;
  Ends ends;
};

INSTANTIATE_TEST_SUITE_P(Families, ConnTest, ::testing::Bool(), [](const auto& which) { return which.param ? "Tcp" : "Unix"; });

TEST_P(ConnTest, BeginsOpenAndQuiet) {
  EXPECT_TRUE(conn.is_open());
  EXPECT_FALSE(conn.readable());
  EXPECT_TRUE(conn.writable());
  EXPECT_FALSE(conn.broken() || conn.urgent() || conn.shut());
  EXPECT_EQ(read(), fault(Code::kAgain));
}

TEST_P(ConnTest, ReadsInPieces) {
  send("abcdefghij");
  ASSERT_TRUE(until_readable());
  EXPECT_EQ(read(4), "abcd");
  EXPECT_TRUE(conn.readable());  // the piece was full: there may be more
  EXPECT_EQ(read(100), "efghij");
  EXPECT_EQ(conn.readable(), !tcp());  // it was not full: there is none, and an event will come; a Unix socket must be asked
  send("k");
  ASSERT_TRUE(until_readable());
  EXPECT_EQ(read(1), "k");
  EXPECT_TRUE(conn.readable());
  EXPECT_EQ(read(1), fault(Code::kAgain));
  EXPECT_FALSE(conn.readable());
}

TEST_P(ConnTest, ReadsAndWritesScattered) {
  send("abcdef");
  ASSERT_TRUE(until_readable());
  std::array<char, 2> one{};
  std::array<char, 10> two{};
  const std::array<iovec, 2> into = {{{one.data(), one.size()}, {two.data(), two.size()}}};
  const Result<size_t> n = conn.read(std::span<const iovec>(into));
  ASSERT_TRUE(n.ok());
  EXPECT_EQ(*n, 6U);
  EXPECT_EQ(std::string(one.data(), 2) + std::string(two.data(), 4), "abcdef");
  EXPECT_EQ(conn.readable(), !tcp());
  const Result<size_t> written = conn.write(std::span<const iovec>(into).first(1));
  ASSERT_TRUE(written.ok());
  EXPECT_EQ(*written, 2U);
  char back[4] = {};
  EXPECT_EQ(::recv(ends.theirs.get(), back, sizeof back, 0), 2);
  EXPECT_STREQ(back, "ab");
}

TEST_P(ConnTest, AnOrderlyEndComesAfterTheBytes) {
  send("last words");
  ASSERT_EQ(::shutdown(ends.theirs.get(), SHUT_WR), 0);
  EXPECT_EQ(read_all(10), "last words");
  ASSERT_TRUE(until_readable());  // though the read was not full: the end is still to be read
  EXPECT_EQ(read(), fault(Code::kEof));
  EXPECT_FALSE(conn.broken());
  // The other half is open.
  const Result<size_t> n = conn.write(std::as_bytes(std::span("ok", 2)));
  EXPECT_TRUE(n.ok());
}

TEST_P(ConnTest, AnEndThatComesLaterIsAnEvent) {
  send("a");
  ASSERT_TRUE(until_readable());
  EXPECT_EQ(read(), "a");
  EXPECT_EQ(conn.readable(), !tcp());
  ASSERT_EQ(::shutdown(ends.theirs.get(), SHUT_WR), 0);
  ASSERT_TRUE(until_readable());
  EXPECT_EQ(read(), fault(Code::kEof));
}

TEST_P(ConnTest, BytesBeforeAResetAreReadFirst) {
  leave_unread();
  send("abc");
  test::reset_peer(ends.theirs);
  ASSERT_TRUE(until(loop, [&] { return conn.broken(); }));
  EXPECT_TRUE(conn.readable());
  EXPECT_EQ(read(), "abc");
  EXPECT_TRUE(conn.readable());
  EXPECT_EQ(read(), fault(Code::kReset));
  EXPECT_TRUE(conn.broken());
}

TEST_P(ConnTest, AWriteThatFailsKeepsTheReadFromLookingOrderly) {
  leave_unread();
  send("abc");
  test::reset_peer(ends.theirs);
  // The write takes the socket's error: to the kernel a read now looks like an orderly end. With and without a turn between.
  const Result<size_t> n = conn.write(std::as_bytes(std::span("y", 1)));
  ASSERT_FALSE(n.ok());
  EXPECT_EQ(n.status().code(), Code::kReset);
  EXPECT_TRUE(conn.broken());
  EXPECT_FALSE(conn.writable());
  settle(loop);
  EXPECT_TRUE(conn.readable());
  EXPECT_EQ(read(), "abc");
  EXPECT_EQ(read(), fault(Code::kReset));
}

TEST_P(ConnTest, SoItIsWithoutATurnBetween) {
  leave_unread();
  test::reset_peer(ends.theirs);
  ASSERT_FALSE(conn.write(std::as_bytes(std::span("y", 1))).ok());
  EXPECT_EQ(read(), fault(Code::kReset));
}

TEST_P(ConnTest, AndAfterTheEvent) {
  leave_unread();
  send("abc");
  test::reset_peer(ends.theirs);
  settle(loop);
  ASSERT_FALSE(conn.write(std::as_bytes(std::span("y", 1))).ok());
  EXPECT_EQ(read(), "abc");
  EXPECT_EQ(read(), fault(Code::kReset));
}

TEST_P(ConnTest, AnEndSeenBeforeTheFailureStaysOrderly) {
  send("abc");
  ends.theirs.close();  // nothing unread: an orderly end
  ASSERT_TRUE(until_readable());
  ASSERT_TRUE(until(loop, [&] { return !conn.write(std::as_bytes(std::span("y", 1))).ok(); }));  // nobody is there to take it
  EXPECT_EQ(read(), "abc");
  EXPECT_EQ(read(), fault(Code::kEof));
}

TEST_P(ConnTest, WritesUntilThereIsNoRoomAndHearsOfRoom) {
  const std::vector<std::byte> chunk(65536);
  size_t written = 0;
  while (conn.writable()) {
    const Result<size_t> n = conn.write(chunk);
    ASSERT_TRUE(n.ok() || n.status().code() == Code::kAgain);
    if (n.ok()) written += *n;
  }
  EXPECT_FALSE(conn.broken());
  settle(loop);
  EXPECT_FALSE(conn.writable());
  EXPECT_EQ(conn.unsent() > 0, tcp());  // a Unix peer has them at once
  size_t got = 0;
  std::vector<char> into(1 << 20);
  ASSERT_TRUE(until(loop, [&] {
    for (ssize_t n = 1; n > 0;) {
      n = ::recv(ends.theirs.get(), into.data(), into.size(), 0);
      if (n > 0) got += static_cast<size_t>(n);
    }
    return conn.writable() && got == written;
  }));
  EXPECT_TRUE(until(loop, [&] { return conn.unsent() == 0; }));
}

TEST_P(ConnTest, IsNotWokenByAPeerThatReads) {
  char byte = 0;
  const int calls = user.calls;
  for (int round = 0; round < 3; ++round) {
    ASSERT_TRUE(conn.write(std::as_bytes(std::span("x", 1))).ok());
    ASSERT_EQ(::recv(ends.theirs.get(), &byte, 1, 0), 1);
    settle(loop);
  }
  EXPECT_EQ(user.calls, calls);
  const std::vector<std::byte> chunk(65536);
  while (conn.writable()) static_cast<void>(conn.write(chunk));
  std::vector<char> into(1 << 20);
  const auto drain = [&] {
    while (::recv(ends.theirs.get(), into.data(), into.size(), 0) > 0) {
    }
    return conn.writable();
  };
  ASSERT_TRUE(until(loop, drain));
  settle(loop);
  const int after = user.calls;
  for (int round = 0; round < 3; ++round) {
    ASSERT_TRUE(conn.write(std::as_bytes(std::span("x", 1))).ok());
    drain();
    settle(loop);
  }
  EXPECT_EQ(user.calls, after);
}

TEST_P(ConnTest, ShutdownIsAnEndForThePeerOnly) {
  ASSERT_TRUE(conn.shutdown_write().ok());
  EXPECT_TRUE(conn.shut());
  char byte = 0;
  EXPECT_EQ(::recv(ends.theirs.get(), &byte, 1, 0), 0);
  send("z");
  ASSERT_TRUE(until_readable());
  EXPECT_EQ(read(), "z");
}

TEST_P(ConnTest, CloseIsOrderlyAndSilent) {
  conn.close();
  conn.close();
  EXPECT_FALSE(conn.is_open() || conn.readable() || conn.writable());
  const int calls = user.calls;
  char byte = 0;
  EXPECT_EQ(::recv(ends.theirs.get(), &byte, 1, 0), 0);
  settle(loop);
  EXPECT_EQ(user.calls, calls);
}

TEST_P(ConnTest, MayBeClosedInItsOwnCall) {
  user.then = [](Conn& own) { own.close(); };
  const int before = user.calls;
  send("a");
  settle(loop);
  EXPECT_EQ(user.calls, before + 1);
  EXPECT_FALSE(conn.is_open());
}

TEST_P(ConnTest, IsUsedAgainAsNew) {
  ASSERT_TRUE(conn.shutdown_write().ok());
  ends.theirs.close();
  settle(loop);
  conn.close();
  ends = test::unix_ends();
  ASSERT_TRUE(conn.open({std::move(ends.ours), ends.family}).ok());
  EXPECT_FALSE(conn.shut() || conn.broken() || conn.urgent() || conn.readable());
  send("new");
  ASSERT_TRUE(until_readable());
  EXPECT_EQ(read(), "new");
  EXPECT_EQ(read(), fault(Code::kAgain));
}

TEST_P(ConnTest, AgainIsAnotherCall) {
  const int before = user.calls;
  conn.again();
  conn.again();
  settle(loop);
  EXPECT_EQ(user.calls, before + 1);
}

TEST_P(ConnTest, SplicesThroughAPipe) {
  const std::unique_ptr<Pipe> pipe = loop.pipes().lend();
  ASSERT_NE(pipe, nullptr);
  ASSERT_EQ(conn.splice_in(*pipe, 1000).status().code(), Code::kAgain);
  send("through");
  ASSERT_TRUE(until_readable());
  const Result<size_t> in = conn.splice_in(*pipe, 1000);
  ASSERT_TRUE(in.ok());
  EXPECT_EQ(*in, 7U);
  EXPECT_EQ(pipe->filled, 7U);
  EXPECT_TRUE(conn.readable());  // a short splice says nothing of the socket
  const Result<size_t> out = conn.splice_out(*pipe);
  ASSERT_TRUE(out.ok());
  EXPECT_EQ(*out, 7U);
  EXPECT_EQ(pipe->filled, 0U);
  char back[8] = {};
  EXPECT_EQ(::recv(ends.theirs.get(), back, sizeof back, 0), 7);
  EXPECT_STREQ(back, "through");
  ASSERT_EQ(::shutdown(ends.theirs.get(), SHUT_WR), 0);
  ASSERT_TRUE(until_readable());
  EXPECT_EQ(conn.splice_in(*pipe, 1000).status().code(), Code::kInvalid);  // 0 may be urgent bytes in front: not to be believed
  EXPECT_EQ(conn.read(std::as_writable_bytes(std::span(back))).status().code(), Code::kEof);
}

// Descriptors that are passed cut a read short though more is there.
TEST(ConnUnix, BytesBehindPassedDescriptorsAreNotMissed) {
  Loop loop;
  User user;
  Ends ends = test::unix_ends();
  Conn conn(loop, user);
  ASSERT_TRUE(conn.open({std::move(ends.ours), ends.family}).ok());
  char byte = 'A';
  iovec part{&byte, 1};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof(int));
  const int passed = ends.theirs.get();
  std::memcpy(CMSG_DATA(header), &passed, sizeof passed);
  ASSERT_EQ(::sendmsg(ends.theirs.get(), &message, 0), 1);
  ASSERT_EQ(::send(ends.theirs.get(), "BBBB", 4, 0), 4);
  test::settle(loop);
  std::array<std::byte, 100> into{};
  size_t got = 0;
  while (conn.readable()) {
    const Result<size_t> n = conn.read(into);
    if (n.ok()) got += *n;
  }
  EXPECT_EQ(got, 5U);
}

TEST_P(ConnTest, TakesOverARegistrationWithItsNews) {
  class First final : public Watcher {
   public:
    void on_event(uint32_t events) override {
      ++calls;
      last = events;
    }
    int calls = 0;
    uint32_t last = 0;
  } first;
  Ends other = tcp() ? test::tcp_ends() : test::unix_ends();
  ASSERT_TRUE(loop.watch(first, other.ours.get(), Conn::kEvents).ok());
  ASSERT_EQ(::send(other.theirs.get(), "early", 5, 0), 5);
  ASSERT_TRUE(until(loop, [&] { return (first.last & EPOLLIN) != 0; }));
  const int calls = first.calls;
  User heir;
  Conn adopted(loop, heir);
  ASSERT_TRUE(adopted.open({std::move(other.ours), other.family, nullptr, &first, first.last}).ok());
  EXPECT_TRUE(adopted.is_open());
  EXPECT_TRUE(adopted.readable());  // told already: no further event would come for it
  EXPECT_TRUE(adopted.writable());
  std::array<std::byte, 10> into{};
  const Result<size_t> n = adopted.read(into);
  ASSERT_TRUE(n.ok());
  EXPECT_EQ(*n, 5U);
  ASSERT_EQ(::send(other.theirs.get(), "late", 4, 0), 4);
  ASSERT_TRUE(until(loop, [&] { return heir.calls > 0; }));
  EXPECT_TRUE(adopted.readable());
  EXPECT_EQ(first.calls, calls);
  EXPECT_EQ(first.loop_slot, Watcher::kNoSlot);
}

// ---- TCP alone

class TcpConnTest : public ConnTest {};
INSTANTIATE_TEST_SUITE_P(Only, TcpConnTest, ::testing::Values(true), [](const auto&) { return "Tcp"; });

TEST_P(TcpConnTest, UrgentBytesAreInLine) {
  send("ab");
  ASSERT_EQ(::send(ends.theirs.get(), "*", 1, MSG_OOB), 1);
  send("cd");
  EXPECT_EQ(read_all(5), "ab*cd");
  EXPECT_TRUE(conn.urgent());
  EXPECT_FALSE(conn.broken());
}

TEST_P(TcpConnTest, UrgentBytesInPiecesAreInLineToo) {
  std::string all;
  for (int i = 0; i < 20; ++i) {
    const std::string one = std::to_string(i % 10);
    ASSERT_EQ(::send(ends.theirs.get(), one.data(), 1, i % 3 == 0 ? MSG_OOB : 0), 1);
    all += one;
    if (i % 5 != 4) continue;
    ASSERT_EQ(read_all(5), all.substr(all.size() - 5)) << i;
  }
}

TEST_P(TcpConnTest, ResetIsAResetForThePeer) {
  conn.reset();
  EXPECT_FALSE(conn.is_open());
  char byte = 0;
  EXPECT_EQ(::recv(ends.theirs.get(), &byte, 1, 0), -1);
  EXPECT_EQ(errno, ECONNRESET);
}

TEST_P(TcpConnTest, ShutdownOfADeadConnectionIsAReset) {
  test::reset_peer(ends.theirs);
  const Status status = conn.shutdown_write();
  EXPECT_EQ(status.code(), Code::kReset);
  EXPECT_TRUE(conn.broken());
  settle(loop);
  EXPECT_EQ(read(), fault(Code::kReset));
}

TEST(Conn, OpenFailsWithoutADescriptorThatCanBeWatched) {
  Loop loop;
  User user;
  Conn conn(loop, user);
  const test::Folder folder;
  const Status status = conn.open({Fd{::open(folder.file("f").c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600)}, Addr::Family::kUnix});
  EXPECT_EQ(status.error(), EPERM);
  EXPECT_FALSE(conn.is_open());
}

}  // namespace
}  // namespace relay

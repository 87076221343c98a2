// SPDX-License-Identifier: Apache-2.0
// net/h2 against bytes that no server should send, and with what else goes wrong: no memory, no agreement about the protocol.
#include "net/h2.h"

#include "tests/unit/h2_fixture.h"

namespace relay {
namespace {

using test::bytes;
using test::Call;
using test::H2Server;
using test::H2Test;

std::string frame(uint8_t type, uint8_t flags, uint32_t id, const std::string& payload) {
  std::string made;
  for (const int shift : {16, 8, 0}) made += static_cast<char>(payload.size() >> shift & 0xff);
  made += static_cast<char>(type);
  made += static_cast<char>(flags);
  for (const int shift : {24, 16, 8, 0}) made += static_cast<char>(id >> shift & 0xff);
  return made + payload;
}
std::string number(uint32_t n) {
  std::string made;
  for (const int shift : {24, 16, 8, 0}) made += static_cast<char>(n >> shift & 0xff);
  return made;
}
const std::string kSettings = frame(4, 0, 0, "");
const std::string kOkHeaders = "\x88";  // ":status: 200", of HPACK's table

class H2HostileTest : public H2Test {
 protected:
  // A server that says `what` when it has been asked, and then hangs up, or resets, or stays.
  enum class Then : uint8_t { kStays, kEnds, kResets };
  void ask(const std::string& what, Then then) {
    downs = leavings = 0;
    why.clear();
    dial();
    ASSERT_TRUE(taken.ok());
    request(call);
    ASSERT_TRUE(call.stream.write({bytes("hello")}));
    loop.turn(Delay{0});
    // It is read, so that the kernel has no reason to reset.
    std::array<char, 65536> room;
    ASSERT_GT(::recv(peer.get(), room.data(), room.size(), 0), 0);
    size_t at = 0;
    while (at < what.size() && !call_is_over()) {
      const ssize_t n = ::send(peer.get(), what.data() + at, what.size() - at, MSG_NOSIGNAL);
      if (n > 0) at += static_cast<size_t>(n);
      loop.turn(Delay{0});
      if (reads) static_cast<void>(::recv(peer.get(), room.data(), room.size(), 0));
    }
    if (then == Then::kEnds) sys::shutdown_write(peer.get());
    if (then == Then::kResets) test::reset_peer(peer);
    quiet();
  }
  bool call_is_over() const { return downs > 0; }

  Call call;
  bool reads = true;
};

std::string many(const std::string& what, size_t n) {
  std::string made;
  for (size_t i = 0; i < n; ++i) made += what;
  return made;
}

TEST_F(H2HostileTest, NoSenseIsTheEndOfTheConnection) {
  const std::vector<std::string> all{
      std::string(100, '\0') + "garbage",
      std::string(70'000, '\xff'),
      "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
      frame(0, 0, 1, "data before settings"),
      kSettings + frame(0, 0, 0, "data for no stream"),
      kSettings + frame(0, 0, 77, "data for a stream that is none"),
      kSettings + frame(0, 0, 2, "and for one of its own"),
      kSettings + frame(1, 4, 0, kOkHeaders),
      kSettings + frame(1, 4, 1, std::string(40, '\xff')),                       // no HPACK
      kSettings + frame(1, 0, 1, kOkHeaders) + frame(0, 0, 1, "not the rest"),
      kSettings + frame(1, 0, 1, kOkHeaders) + many(frame(9, 0, 1, ""), 100),    // headers without an end
      kSettings + frame(1, 4, 1, "") + frame(9, 4, 1, kOkHeaders),                // a rest of nothing
      kSettings + frame(3, 0, 1, "abc"),                                          // too short
      kSettings + frame(3, 0, 0, number(8)),
      kSettings + frame(3, 0, 9, number(8)),                                      // idle
      kSettings + frame(4, 0, 0, "odd"),
      kSettings + frame(4, 0, 1, ""),
      kSettings + frame(4, 1, 0, "") + frame(4, 1, 0, "") + frame(4, 1, 0, ""),   // more answers than questions
      frame(4, 0, 0, std::string("\0\4", 2) + number(0x80000000U)),               // a window that is none
      frame(4, 0, 0, std::string("\0\5", 2) + number(1)),                         // frames of a byte
      frame(4, 0, 0, std::string("\0\2", 2) + number(1)),                         // push
      kSettings + frame(4, 1, 0, "") + frame(5, 4, 1, number(2) + kOkHeaders),
      kSettings + frame(6, 0, 0, "short"),
      kSettings + frame(6, 0, 1, "8 bytes."),
      kSettings + frame(7, 0, 1, number(0) + number(0)),
      kSettings + frame(7, 0, 0, "abc"),
      kSettings + frame(8, 0, 0, number(0)),
      kSettings + frame(8, 0, 1, number(0)),
      kSettings + frame(0, 0, 1, "data before headers"),
      kSettings + frame(8, 0, 0, number(0x7fffffff)),                             // more than a window can be
      kSettings + frame(0, 0, 1, std::string(20'000, 'x')),                       // longer than a frame may be
      many(frame(4, 0, 0, many(std::string("\0\4", 2) + number(70'000), 40)), 2),  // settings without end
  };
  for (size_t i = 0; i < all.size(); ++i) {
    SCOPED_TRACE(i);
    call.ends = 0;
    ask(all[i], Then::kStays);
    EXPECT_EQ(downs, 1);
    EXPECT_EQ(call.ends, 1);
    EXPECT_NE(call.status.code(), Code::kOk);
    EXPECT_NE(call.status.code(), Code::kEof);
    EXPECT_NE(call.status.code(), Code::kReset);
    EXPECT_TRUE(why.starts_with("the server broke the rules of HTTP/2: ")) << why;
    EXPECT_EQ(call.details, why);
    EXPECT_FALSE(call.stream.is_open());
    EXPECT_FALSE(h2->owns_block());
    if (downs == 0) h2->close();
  }
}

// What is wrong with a stream is not the others' affair.
TEST_F(H2HostileTest, NoSenseInAStreamIsTheEndOfThat) {
  const std::vector<std::string> all{
      kSettings + frame(1, 4, 1, kOkHeaders + kOkHeaders),                                         // two of one
      kSettings + frame(1, 4, 1, std::string("\0\1a\1b", 5)),                                     // no status
      kSettings + frame(1, 4, 1, kOkHeaders + std::string("\0\1A\1b", 5)),                        // not lower case
      kSettings + frame(1, 4, 1, kOkHeaders) + frame(1, 4, 1, std::string("\0\1a\1b", 5)),        // trailers that do not end it
      kSettings + frame(1, 5, 1, kOkHeaders + std::string("\0\x0e" "content-length\1" "9", 18)),  // it is not
      kSettings + frame(8, 0, 1, number(0x7fffffff)),
  };
  for (size_t i = 0; i < all.size(); ++i) {
    SCOPED_TRACE(i);
    call.ends = 0;
    ask(all[i], Then::kStays);
    EXPECT_EQ(call.ends, 1);
    EXPECT_EQ(call.status.code(), Code::kReset) << call.details;
    EXPECT_NE(call.code, 0U);
    EXPECT_EQ(downs, 0);
    h2->close();
  }
}

TEST_F(H2HostileTest, CutOffAnywhere) {
  const std::string whole = kSettings + frame(1, 4, 1, kOkHeaders) + frame(0, 0, 1, "some data") + frame(1, 5, 1, std::string("\0\1a\1b", 5));
  for (const Then then : {Then::kEnds, Then::kResets}) {
    for (size_t size = 0; size < whole.size(); ++size) {
      SCOPED_TRACE(size);
      call.ends = 0;
      call.data.clear();
      ask(whole.substr(0, size), then);
      ASSERT_EQ(downs, 1);
      ASSERT_EQ(call.ends, 1);
      EXPECT_EQ(call.status.code(), Code::kTruncated);
      const std::string_view data = std::string_view("some data").substr(0, size < 28 ? 0 : std::min<size_t>(9, size - 28));
      if (then == Then::kEnds) {
        EXPECT_EQ(call.data, data);
      }
      EXPECT_EQ(why, then == Then::kEnds ? "closed by the server" : "Connection reset by peer");
    }
    call.ends = 0;
    ask(whole, then);
    EXPECT_EQ(call.ends, 1);
    EXPECT_TRUE(call.status.ok());
    EXPECT_EQ(downs, 1);
  }
}

TEST_F(H2HostileTest, ByteByByte) {
  call.ends = 0;
  dial();
  request(call);
  quiet();
  const std::string whole = kSettings + frame(1, 4, 1, kOkHeaders) + frame(0, 8, 1, std::string("\3some data\0\0\0", 13)) + frame(0, 1, 1, "");
  for (const char byte : whole) {
    send_raw(std::string_view(&byte, 1));
    quiet();
  }
  EXPECT_EQ(call.ends, 1);
  EXPECT_TRUE(call.status.ok());
  EXPECT_EQ(call.data, "some data");
}

// It may have been on its way before our settings were there.
TEST_F(H2HostileTest, APushIsRefused) {
  const std::string promise = std::string("\x82\x84\x86\x41\1a", 6);
  ask(kSettings + frame(5, 4, 1, number(2) + promise) + frame(1, 4, 2, kOkHeaders) + frame(0, 1, 2, "pushed") + frame(1, 5, 1, kOkHeaders), Then::kStays);
  EXPECT_EQ(call.ends, 1);
  EXPECT_TRUE(call.status.ok()) << call.details;
  EXPECT_EQ(call.headers.size(), 1U);
  EXPECT_TRUE(call.data.empty());
  EXPECT_EQ(downs, 0);
}

TEST_F(H2HostileTest, AResetBehindTheEndIsNone) {
  ask(kSettings + frame(1, 5, 1, kOkHeaders) + frame(3, 0, 1, number(0)), Then::kStays);
  EXPECT_EQ(call.ends, 1);
  EXPECT_TRUE(call.status.ok());
  EXPECT_EQ(downs, 0);
}

TEST_F(H2HostileTest, DataBehindTheEnd) {
  ask(kSettings + frame(1, 4, 1, kOkHeaders) + frame(0, 1, 1, "all") + frame(0, 0, 1, "more") + frame(0, 1, 1, "more"), Then::kStays);
  EXPECT_EQ(call.ends, 1);
  EXPECT_TRUE(call.status.ok());
  EXPECT_EQ(call.data, "all");
}

// A peer that asks and asks, and reads no answer.
TEST_F(H2HostileTest, Floods) {
  reads = false;
  for (const std::string& one : {frame(6, 0, 0, "8 bytes."), frame(4, 0, 0, ""), frame(1, 4, 1, std::string("\0\1a\1b", 5))}) {
    call.ends = 0;
    const std::string some = many(one, 1000);
    std::string all = kSettings;
    while (all.size() < (size_t{64} << 20)) all += some;
    ask(all, Then::kStays);
    EXPECT_EQ(call.ends, 1);
    if (one[3] == 1) h2->close();  // what was wrong was the stream
    else EXPECT_EQ(downs, 1);
  }
}

TEST_F(H2HostileTest, HeadersWithoutEndAreNotRead) {
  make_h2({.header_list = 4096});
  connect();
  Call next;
  request(call);
  request(next);
  quiet();
  H2Server::Fields fields{{":status", "200"}};
  for (int i = 0; i < 500; ++i) fields.emplace_back("x-" + std::to_string(i), std::string(90, 'x'));  // more than a frame holds
  server->answer(1, fields);
  ASSERT_TRUE(until([&] { return call.ends == 1; }));
  EXPECT_EQ(call.status.code(), Code::kLimit);
  EXPECT_EQ(call.header_blocks, 0);
  EXPECT_NE(call.details.find("4096"), std::string::npos);
  server->answer(3, {{":status", "200"}, {"x-1", "y"}}, true);
  ASSERT_TRUE(until([&] { return next.ends == 1; }));
  EXPECT_TRUE(next.status.ok());
  EXPECT_EQ(next.headers.back().second, "y");
  EXPECT_TRUE(server->streams[1].closed);
  EXPECT_EQ(downs, 0);
}

// ---- our own limits

TEST_F(H2HostileTest, HeadersThatAreTooLongToBeSent) {
  connect();
  const std::string value(100'000, 'x');
  const std::array<H2Header, 2> fields{{{":method", "GET"}, {"x", value}}};
  h2->request(call.stream, fields, true);
  EXPECT_EQ(call.ends, 0);
  ASSERT_TRUE(until([&] { return call.ends == 1; }));
  EXPECT_EQ(call.status.code(), Code::kLimit);
  request(call, true);
  ASSERT_TRUE(until([&] { return server->streams.size() == 1; }));
  EXPECT_EQ(downs, 0);
}

TEST_F(H2HostileTest, NoMemoryForAStream) {
  connect();
  request(call);
  quiet();
  test::g_no_memory = true;
  EXPECT_FALSE(call.stream.write({bytes("hello")}));
  test::g_no_memory = false;
  EXPECT_EQ(call.ends, 0);
  EXPECT_TRUE(call.stream.is_open());
  quiet();
  EXPECT_EQ(call.ends, 1);
  EXPECT_EQ(call.status.code(), Code::kLimit);
  EXPECT_TRUE(server->streams[1].closed);
  EXPECT_EQ(downs, 0);
}

TEST_F(H2HostileTest, NoMemoryForTheOutput) {
  connect();
  request(call);
  test::g_no_memory = true;
  loop.turn(Delay{0});
  test::g_no_memory = false;
  EXPECT_EQ(call.ends, 1);
  EXPECT_EQ(call.status.code(), Code::kLimit);
  EXPECT_EQ(downs, 1);
  EXPECT_EQ(why, "out of memory");
}

TEST_F(H2HostileTest, ClosedBeforeAnythingWasSaid) {
  dial();
  h2->close();
  char byte = 0;
  EXPECT_EQ(::recv(peer.get(), &byte, 1, 0), 0);
  EXPECT_EQ(downs, 0);
}

}  // namespace
}  // namespace relay

// SPDX-License-Identifier: Apache-2.0
// net/tls, and Conn and Flow above it: two of ours talk to each other over a socket that takes little at a time, certificates
// change under them, and ends of every kind are told apart.
#include "net/tls.h"

#include <openssl/ssl.h>

#include <fstream>
#include <functional>

#include "net/flow.h"
#include "net/greeter.h"
#include "tests/unit/certificate.h"
#include "tests/unit/testing.h"

namespace relay {
namespace {

using test::make_certificate;
using test::until;

class Nobody final : public ConnUser {
 public:
  void on_ready(Conn&) override { ++calls; }
  int calls = 0;
};

std::span<const std::byte> bytes(std::string_view text) { return std::as_bytes(std::span(text.data(), text.size())); }

class TlsTest : public ::testing::Test {
 protected:
  TlsTest() {
    char path[] = "/tmp/relay-tls-XXXXXX";
    CHECK(::mkdtemp(path) != nullptr);
    folder = path;
    server_config.server = true;
    server_config.cert = make_certificate(folder + "/one.pem", "one.example");
    client_config.server_name = "one.example";
    client_config.ca = server_config.cert;
    client_config.ca_key = "ca";
    client_config.verify = true;
  }
  ~TlsTest() override { std::filesystem::remove_all(folder); }

  void load() {
    const auto here = server_context.load(server_config);
    ASSERT_FALSE(here.has_value()) << here->what;
    const auto there = client_context.load(client_config);
    ASSERT_FALSE(there.has_value()) << there->what;
  }
  // Two ends, the handshake done; `buffer` as in tcp_ends.
  void connect(int buffer = 0) {
    server.close();
    client.close();
    test::Ends ends = test::tcp_ends(buffer);
    std::unique_ptr<Tls> ours = Tls::make(server_context, ends.ours.get(), loop.buffers(), loop.now());
    std::unique_ptr<Tls> theirs = Tls::make(client_context, ends.theirs.get(), loop.buffers(), loop.now());
    ASSERT_TRUE(ours != nullptr && theirs != nullptr);
    Status one{Code::kAgain, ""}, two = one;
    for (int i = 0; i < 1000 && !(one.ok() && two.ok()); ++i) {
      if (!two.ok()) two = theirs->handshake(why);
      if (!one.ok()) one = ours->handshake(why);
      ASSERT_TRUE(one.ok() || one.code() == Code::kAgain) << why;
      ASSERT_TRUE(two.ok() || two.code() == Code::kAgain) << why;
    }
    ASSERT_TRUE(one.ok() && two.ok());
    client_fd = ends.theirs.get();
    ASSERT_TRUE(server.open({std::move(ends.ours), ends.family, std::move(ours)}).ok());
    ASSERT_TRUE(client.open({std::move(ends.theirs), ends.family, std::move(theirs)}).ok());
  }
  // What `from` reads now, at most 64 KiB; its Status at the end of that is `last`.
  std::string read(Conn& from) {
    std::string got;
    std::array<std::byte, 65536> room;
    for (;;) {
      loop.turn(Delay{1});
      const Result<size_t> n = from.read(std::span(room));
      last = n.ok() ? Status{} : n.status();
      if (n.ok()) got.append(reinterpret_cast<const char*>(room.data()), *n);
      else if (last.code() != Code::kAgain || !got.empty()) return got;
    }
  }

  std::string folder;
  TlsConfig server_config, client_config;
  TlsContext server_context, client_context;
  Loop loop;
  Nobody user;
  Conn server{loop, user}, client{loop, user};
  int client_fd = -1;
  std::string why;
  Status last;
};

TEST_F(TlsTest, BytesAndEnds) {
  load();
  connect();
  EXPECT_FALSE(server.can_splice());
  ASSERT_EQ(*client.write(bytes("hello")), 5U);
  EXPECT_EQ(read(server), "hello");
  EXPECT_FALSE(server.readable());  // the socket is empty, and so is the layer above it
  ASSERT_TRUE(client.shutdown_write().ok());
  EXPECT_TRUE(client.shut());
  EXPECT_EQ(read(server), "");
  EXPECT_EQ(last.code(), Code::kEof);
  // The other half goes on.
  ASSERT_EQ(*server.write(bytes("answer")), 6U);
  EXPECT_EQ(read(client), "answer");
  server.close();  // says its own end, too
  EXPECT_EQ(read(client), "");
  EXPECT_EQ(last.code(), Code::kEof);
}

TEST_F(TlsTest, BothAgreeOnWhatIsSpokenInside) {
  struct Case {
    std::vector<std::string> server, client;
    std::string agreed;
  };
  for (const Case& c : {Case{{"h2"}, {"h2"}, "h2"}, {{"b", "h2"}, {"a", "h2"}, "h2"}, {{}, {"h2"}, ""}, {{"h2"}, {}, ""}, {{"h2"}, {"http/1.1"}, ""}, {{}, {}, ""}}) {
    server_config.alpn = c.server;
    client_config.alpn = c.client;
    load();
    for (int i = 0; i < 2; ++i) {  // the second is resumed
      connect();
      EXPECT_EQ(server.tls()->alpn(), c.agreed);
      EXPECT_EQ(client.tls()->alpn(), c.agreed);
      ASSERT_EQ(*server.write(bytes("ticket")), 6U);
      EXPECT_EQ(read(client), "ticket");
    }
  }
}

TEST_F(TlsTest, AnEndWithoutGoodbyeIsNone) {
  load();
  connect();
  ASSERT_EQ(*client.write(bytes("half")), 4U);
  ASSERT_EQ(sys::shutdown_write(client_fd), 0);
  EXPECT_EQ(read(server), "half");
  EXPECT_EQ(read(server), "");
  EXPECT_EQ(last.code(), Code::kTruncated);
  EXPECT_TRUE(server.broken());
  EXPECT_EQ(server.unsent(), 0);  // nor was anything said about it
  connect();
  ASSERT_EQ(*client.write(bytes("half")), 4U);
  client.reset();
  EXPECT_EQ(read(server), "half");
  EXPECT_EQ(read(server), "");
  EXPECT_EQ(last.code(), Code::kReset);
}

TEST_F(TlsTest, BytesThatCameWithTheHandshakeAreNotForgotten) {
  load();
  test::Ends ends = test::tcp_ends();
  std::unique_ptr<Tls> ours = Tls::make(server_context, ends.ours.get(), loop.buffers(), loop.now());
  std::unique_ptr<Tls> theirs = Tls::make(client_context, ends.theirs.get(), loop.buffers(), loop.now());
  while (!theirs->handshake(why).ok()) static_cast<void>(ours->handshake(why));
  ASSERT_EQ(*theirs->write(bytes("at once")), 7U);
  ASSERT_TRUE(until(loop, [&] { return ours->handshake(why).ok(); }));  // has read both in one
  ASSERT_TRUE(server.open({std::move(ends.ours), ends.family, std::move(ours)}).ok());
  EXPECT_TRUE(server.readable());
  EXPECT_EQ(read(server), "at once");
}

TEST_F(TlsTest, WhatAFullSocketDidNotTakeIsKeptAndSaid) {
  load();
  connect(8192);
  const std::string block(65536, 'x');
  size_t given = 0;
  while (client.writable()) {
    const Result<size_t> n = client.write(bytes(block));
    if (n.ok()) given += *n;
  }
  EXPECT_TRUE(client.holds_bytes());
  EXPECT_GE(client.unsent(), static_cast<int>(client.tls()->unsent()));
  EXPECT_EQ(client.shutdown_write().code(), Code::kAgain);  // its turn has not come
  EXPECT_FALSE(client.shut());
  // Any bytes may follow what was refused: none of them had been taken.
  std::string got;
  bool ended = false;
  while (last.code() != Code::kEof) {
    got += read(server);
    if (!ended && client.writable()) {
      const Result<size_t> n = client.write(bytes("y"));
      if (n.ok() && *n == 1) ended = true;
    } else if (ended && !client.shut()) {
      static_cast<void>(client.shutdown_write());
    }
    ASSERT_TRUE(last.ok() || last.code() == Code::kAgain || last.code() == Code::kEof) << last.reason();
  }
  EXPECT_EQ(got.size(), given + 1);
  EXPECT_EQ(got.find_first_not_of('x'), given);
  EXPECT_FALSE(client.holds_bytes());
}

TEST_F(TlsTest, AFlowPassesItAllThroughASocketThatTakesLittle) {
  load();
  for (const int buffer : {0, 16384}) {
    connect(buffer);
    test::Ends ends = test::tcp_ends(buffer);
    Conn plain{loop, user};
    ASSERT_TRUE(plain.open({std::move(ends.ours), ends.family}).ok());
    test::Writer writer(ends.theirs.get());
    Flow flow;
    std::string room(100'000, '\0');
    uint64_t place = 0;
    constexpr uint64_t kTotal = 3'000'000;
    bool over = false;
    ASSERT_TRUE(until(loop, [&] {
      const uint64_t left = kTotal - writer.sent();
      if (left > 0) writer.put(std::min<uint64_t>(left, 200'000));
      else if (ends.theirs.open()) ends.theirs.close();
      static_cast<void>(flow.pump(loop, &plain, server, false));
      const Result<size_t> n = client.read(std::as_writable_bytes(std::span(room.data(), 1 + place % room.size())));
      if (!n.ok()) {
        over = n.status().code() == Code::kEof;
        return over;
      }
      for (size_t i = 0; i < *n; ++i)
        if (static_cast<std::byte>(room[i]) != test::pattern(place + i)) return true;
      place += *n;
      return false;
    }));
    EXPECT_TRUE(over);
    EXPECT_EQ(place, kTotal);
    EXPECT_FALSE(flow.spliced());
    EXPECT_TRUE(flow.done());
  }
}

TEST_F(TlsTest, NewCertificatesAreForNewConnections) {
  load();
  connect();
  EXPECT_EQ(client.tls()->peer_name(), "one.example");
  // The old authority does not vouch for the new one; so the client has to change, too.
  TlsConfig next = server_config;
  next.cert = make_certificate(folder + "/two.pem", "two.example");
  TlsContext fresh;
  ASSERT_FALSE(fresh.load(next).has_value());
  server_context = std::move(fresh);
  ASSERT_EQ(*client.write(bytes("still here")), 10U);
  EXPECT_EQ(read(server), "still here");
  client_config.ca = next.cert;
  client_config.server_name = "two.example";
  ASSERT_FALSE(client_context.load(client_config).has_value());
  ASSERT_EQ(*server.write(bytes("here too")), 8U);
  EXPECT_EQ(read(client), "here too");
  connect();
  EXPECT_EQ(client.tls()->peer_name(), "two.example");
  EXPECT_FALSE(client.tls()->resumed());
}

TEST_F(TlsTest, AFaultLeavesWhatWasLoaded) {
  load();
  TlsConfig bad = server_config;
  bad.cert = folder + "/nowhere.pem";
  const auto fault = server_context.load(bad);
  ASSERT_TRUE(fault.has_value());
  EXPECT_EQ(fault->key, "cert");
  EXPECT_NE(fault->what.find("nowhere.pem"), std::string::npos);
  connect();
  EXPECT_EQ(client.tls()->version(), "TLSv1.3");
}

TEST_F(TlsTest, TheSecondTimeIsResumedUntilTheKeyOfTheTicketsIsOld) {
  load();
  for (const bool expected : {false, true, true}) {
    connect();
    EXPECT_EQ(client.tls()->resumed(), expected);
    EXPECT_EQ(server.tls()->resumed(), expected);
    ASSERT_EQ(*server.write(bytes("ticket")), 6U);
    EXPECT_EQ(read(client), "ticket");
  }
  // Another day: the key is a new one.
  test::Ends ends = test::tcp_ends();
  const auto late = Tls::make(server_context, ends.ours.get(), loop.buffers(), loop.now() + Delay{13 * 3600 * 1000});
  ASSERT_TRUE(late != nullptr);
  connect();
  EXPECT_FALSE(client.tls()->resumed());
}

// OpenSSL as it comes, over memory: says what ours never would.
class Stranger {
 public:
  Stranger() {
    SSL_set_bio(ssl_, in_, out_);
    SSL_set_connect_state(ssl_);
  }
  ~Stranger() {
    SSL_free(ssl_);
    SSL_CTX_free(context_);
  }
  void greet(TlsContext& server, const Fd& fd, std::unique_ptr<Tls>& tls, Loop& loop, const Fd& theirs) {
    tls = Tls::make(server, fd.get(), loop.buffers(), loop.now());
    std::string why;
    std::array<char, 65536> room;
    while (SSL_do_handshake(ssl_) != 1 || !tls->handshake(why).ok()) {
      say(theirs);
      static_cast<void>(tls->handshake(why));
      const ssize_t n = ::recv(theirs.get(), room.data(), room.size(), 0);
      if (n > 0) BIO_write(in_, room.data(), static_cast<int>(n));
    }
  }
  void renew_key(bool both) {
    SSL_key_update(ssl_, both ? SSL_KEY_UPDATE_REQUESTED : SSL_KEY_UPDATE_NOT_REQUESTED);
    CHECK(SSL_do_handshake(ssl_) == 1);
  }
  void write(std::string_view text) { CHECK(SSL_write(ssl_, text.data(), static_cast<int>(text.size())) > 0); }
  void say(const Fd& fd) {
    char* said = nullptr;
    const long length = BIO_get_mem_data(out_, &said);
    CHECK(::send(fd.get(), said, static_cast<size_t>(length), MSG_NOSIGNAL) == length);
    BIO_reset(out_);
  }

 private:
  SSL_CTX* context_ = SSL_CTX_new(TLS_client_method());
  SSL* ssl_ = SSL_new(context_);
  BIO* in_ = BIO_new(BIO_s_mem());
  BIO* out_ = BIO_new(BIO_s_mem());
};

// A new key costs us more than the peer: no turn may be for nothing else, and what comes behind must not be waited for in vain.
TEST_F(TlsTest, APeerThatOnlyChangesKeysGetsALittleATurn) {
  load();
  for (const bool both : {false, true}) {
    server.close();
    test::Ends ends = test::unix_ends();
    Stranger stranger;
    std::unique_ptr<Tls> tls;
    stranger.greet(server_context, ends.ours, tls, loop, ends.theirs);
    ASSERT_TRUE(server.open({std::move(ends.ours), Addr::Family::kV4, std::move(tls)}).ok());
    test::settle(loop);
    std::array<std::byte, 4096> room;
    while (server.read(std::span(room)).ok()) {}
    for (int i = 0; i < 3500; ++i) stranger.renew_key(both);
    stranger.write("behind");
    stranger.say(ends.theirs);
    // It is read as its user would: when told, and as long as there is said to be more.
    int turns = 0;
    Result<size_t> got = Status{Code::kAgain, ""};
    ASSERT_TRUE(until(loop, [&] {
      if (user.calls == 0 || !server.readable()) return false;
      user.calls = 0;
      ++turns;
      got = server.read(std::span(room));
      return got.ok() || got.status().code() != Code::kAgain;
    }, Delay{30'000})) << both;  // seconds of work for valgrind
    ASSERT_TRUE(got.ok());
    EXPECT_EQ(std::string_view(reinterpret_cast<const char*>(room.data()), *got), "behind");
    EXPECT_GT(turns, 20);
  }
}

TEST_F(TlsTest, TheWrongNameIsRefusedWithAWord) {
  client_config.server_name = "two.example";
  load();
  test::Ends ends = test::tcp_ends();
  std::unique_ptr<Tls> ours = Tls::make(server_context, ends.ours.get(), loop.buffers(), loop.now());
  std::unique_ptr<Tls> theirs = Tls::make(client_context, ends.theirs.get(), loop.buffers(), loop.now());
  Status status{Code::kAgain, ""};
  ASSERT_TRUE(until(loop, [&] {
    std::string other;
    status = theirs->handshake(why);
    static_cast<void>(ours->handshake(other));
    return status.code() != Code::kAgain;
  }));
  EXPECT_EQ(status.code(), Code::kInvalid);
  EXPECT_NE(why.find("wanted two.example, has one.example"), std::string::npos) << why;
}

// ---- many at the door

class Door final : public GreeterUser {
 public:
  void on_greeted(Socket socket, const Addr&) override {
    ++greeted;
    sockets.push_back(std::move(socket.fd));
  }
  void on_greeting_failed(const Addr&, const std::string& why) override { failures.push_back(why); }
  void on_greeter_room() override { ++room; }
  int greeted = 0, room = 0;
  std::vector<std::string> failures;
  std::vector<Fd> sockets;
};

TEST_F(TlsTest, TheGreeterHasALimitAndATurnHasOne) {
  load();
  Door door;
  Greeter greeter(loop, door, 20, Delay{60'000});
  std::vector<Fd> peers;
  std::vector<std::unique_ptr<Tls>> callers;
  while (!greeter.full()) {
    test::Ends ends = test::tcp_ends();
    callers.push_back(Tls::make(client_context, ends.theirs.get(), loop.buffers(), loop.now()));
    static_cast<void>(callers.back()->handshake(why));
    greeter.greet(std::move(ends.ours), Addr{}, server_context);
    peers.push_back(std::move(ends.theirs));
  }
  EXPECT_EQ(greeter.under_way(), 20U);
  int most = 0, before = 0;
  ASSERT_TRUE(until(loop, [&] {
    most = std::max(most, door.greeted - before);
    before = door.greeted;
    for (const auto& caller : callers) static_cast<void>(caller->handshake(why));
    return door.greeted == 20;
  }));
  EXPECT_EQ(most, 1);
  EXPECT_EQ(door.room, 1);
  EXPECT_EQ(greeter.under_way(), 0U);
  EXPECT_TRUE(door.failures.empty());
}

TEST_F(TlsTest, WhoSaysNothingIsNotWaitedFor) {
  load();
  Door door;
  Greeter greeter(loop, door, 1, Delay{20});
  test::Ends ends = test::tcp_ends();
  greeter.greet(std::move(ends.ours), Addr{}, server_context);
  EXPECT_TRUE(greeter.full());
  ASSERT_TRUE(until(loop, [&] { return !door.failures.empty(); }));
  EXPECT_EQ(door.failures.front(), "no handshake within handshake-timeout");
  EXPECT_FALSE(greeter.full());
  EXPECT_EQ(door.room, 1);
}

TEST_F(TlsTest, TheGreeterMayGoWithAllThatAreUnderWay) {
  load();
  Door door;
  auto greeter = std::make_unique<Greeter>(loop, door, 8, Delay{60'000});
  std::vector<Fd> peers;
  for (int i = 0; i < 8; ++i) {
    test::Ends ends = test::tcp_ends();
    greeter->greet(std::move(ends.ours), Addr{}, server_context);
    ASSERT_EQ(::send(ends.theirs.get(), "\x16\x03", 2, MSG_NOSIGNAL), 2);
    peers.push_back(std::move(ends.theirs));
  }
  loop.turn(Delay{1});
  greeter.reset();
  test::settle(loop);
  EXPECT_EQ(door.greeted, 0);
  EXPECT_TRUE(door.failures.empty());
}

}  // namespace
}  // namespace relay

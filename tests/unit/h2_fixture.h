// SPDX-License-Identifier: Apache-2.0
// An H2 that is connected to a server of the test's, and calls that write down what they are told.
#pragma once

#include <functional>
#include <memory>

#include "net/h2.h"
#include "tests/unit/fake_dns.h"
#include "tests/unit/h2_server.h"

namespace relay::test {

inline std::span<const std::byte> bytes(std::string_view text) { return std::as_bytes(std::span(text.data(), text.size())); }
inline std::string text(std::span<const std::byte> of) { return {reinterpret_cast<const char*>(of.data()), of.size()}; }

// One call of a test's: writes down what it is told.
class Call final : public H2StreamUser {
 public:
  explicit Call(uint64_t bound = 65536) : stream(*this, bound) {}

  void on_h2_headers(std::span<const H2Header> fields, bool is_trailers) override {
    EXPECT_TRUE(stream.is_open());
    auto& to = is_trailers ? trailers : headers;
    ++(is_trailers ? trailer_blocks : header_blocks);
    for (const H2Header& field : fields) to.emplace_back(field.name, field.value);
    if (on_headers) on_headers();
  }
  void on_h2_data(std::span<const std::byte> what) override {
    EXPECT_TRUE(stream.is_open());
    data += text(what);
    if (on_data) on_data();
  }
  void on_h2_room() override {
    EXPECT_TRUE(stream.is_open());
    EXPECT_GE(stream.room(), stream.unsent().bound() / 2);
    ++rooms;
    if (on_room) on_room();
  }
  void on_h2_end(const Status& why, uint32_t error_code, const std::string& what) override {
    EXPECT_FALSE(stream.is_open());
    ++ends;
    status = why;
    code = error_code;
    details = what;
    if (on_end) on_end();
  }

  H2Stream stream;
  H2Server::Fields headers, trailers;
  std::string data;
  int header_blocks = 0, trailer_blocks = 0, rooms = 0, ends = 0;
  Status status;
  uint32_t code = 0;
  std::string details;
  std::function<void()> on_headers, on_data, on_room, on_end;
};

class H2Test : public ::testing::Test, public H2User, public DialUser {
 protected:
  H2Test() {
    ::setenv("CARES_HOSTS", "/dev/null", 1);
    make_h2({});
  }
  ~H2Test() override { ::unsetenv("CARES_HOSTS"); }
  void make_h2(const H2::Limits& limits) {
    h2.reset();
    h2 = std::make_unique<H2>(loop, static_cast<H2User&>(*this), limits);
  }

  // Connects, and leaves the peer's end in `peer`; `buffer` bytes each way, 0: the kernel's own sizes.
  void dial(int buffer = 0) {
    Result<Listening> listening = listen_on(test::listen_place("127.0.0.1:0"), SockOptions{});
    ASSERT_TRUE(listening.ok());
    const auto small = [buffer](int fd) {
      if (buffer == 0) return;
      CHECK(::setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &buffer, sizeof buffer) == 0);
      CHECK(::setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &buffer, sizeof buffer) == 0);
    };
    small(listening->fd.get());
    plan.target = *Endpoint::parse_target(listening->addr.text());
    Fd next{::dup(STDERR_FILENO)};  // the number that the dial's socket will have
    const int number = next.get();
    next.close();
    dialer = std::make_unique<Dial>(loop, resolver, plan, static_cast<DialUser&>(*this));
    dialer->start();
    small(number);
    peer = Fd{::accept4(listening->fd.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC)};
    ASSERT_TRUE(peer.open());
  }
  void connect(const H2Server::Plan& server_plan = {}, int buffer = 0) {
    dial(buffer);
    ASSERT_TRUE(taken.ok()) << taken.reason();
    server = std::make_unique<H2Server>(std::move(peer), server_plan);
    ASSERT_TRUE(h2->is_open());
  }
  void request(Call& call, bool end = false) {
    const std::array<H2Header, 5> fields{{{":method", "POST"}, {":scheme", "http"}, {":path", "/x"}, {":authority", "me"}, {"te", "trailers"}}};
    h2->request(call.stream, fields, end);
  }
  template <typename Condition>
  bool until(Condition condition, Delay limit = Delay{20'000}) {
    return test::until(loop, [&] {
      if (server != nullptr) server->serve();
      return condition();
    }, limit, Delay{1});
  }
  // What is under way arrives on both sides.
  void quiet() {
    for (int i = 0; i < 10; ++i) {
      if (server != nullptr) server->serve();
      loop.turn(Delay{0});
    }
  }
  void send_raw(std::string_view what) { ASSERT_EQ(::send(peer.get(), what.data(), what.size(), MSG_NOSIGNAL), static_cast<ssize_t>(what.size())); }

  void on_dialed(const Addr&) override { taken = h2->take(*dialer); }
  void on_dial_addrs(const std::vector<Addr>&) override {}
  void on_dial_try(const Addr&) override {}
  void on_dial_failed(const Addr&, const Status&, unsigned, Delay) override { ++dials_failed; }
  void on_h2_leaving(uint32_t error_code, const std::string& details) override {
    ++leavings;
    goaway = error_code;
    said = details;
    EXPECT_FALSE(h2->takes_streams());
    if (on_leaving) on_leaving();
  }
  void on_h2_down(const std::string& details) override {
    ++downs;
    why = details;
    EXPECT_FALSE(h2->is_open());
    if (on_down) on_down();
  }

  Loop loop;
  test::FakeDns dns{loop};
  Resolver resolver{loop, dns.server()};
  DialPlan plan;
  std::unique_ptr<Dial> dialer;
  Fd peer;
  std::unique_ptr<H2> h2;
  std::unique_ptr<H2Server> server;
  Status taken;
  int leavings = 0, downs = 0, dials_failed = 0;
  uint32_t goaway = 0;
  std::string said, why;
  std::function<void()> on_leaving, on_down;
};

}  // namespace relay::test

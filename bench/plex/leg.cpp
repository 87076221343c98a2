// SPDX-License-Identifier: Apache-2.0
// The gRPC half of a plex alone: its HTTP/2 and its codec as the client of an echo server, with so many messages under way. Each answer is decoded,
// and followed by the next message. Prints round trips a second, and a second of its own CPU time.
#include <array>
#include <optional>
#include <string>

#include "bench/plex/leg.h"
#include "net/dial.h"
#include "net/h2.h"
#include "net/loop.h"
#include "net/resolver.h"
#include "wire/grpc.h"
#include "wire/upstream.h"

namespace {

using namespace relay;

class Client final : private DialUser, private H2User, private H2StreamUser {
 public:
  Client(Loop& loop, Resolver& resolver, const DialPlan& plan, const bench::Leg& leg)
      : loop_(loop), leg_(leg), h2_(loop, *this, {}), stream_(*this, 1U << 20), reader_(4U << 20), dial_(loop, resolver, plan, *this), count_(leg) {}
  void start() { dial_.start(); }

 private:
  [[noreturn]] static void die(const char* what) {
    std::fprintf(stderr, "leg: %s\n", what);
    std::_Exit(1);
  }
  void on_dialed(const Addr&) override {
    if (!h2_.take(dial_).ok()) die("no HTTP/2");
    constexpr std::string_view kPath = "/upstream.grpc.service.UpstreamPeerService/bidirectionalStreaming";
    const std::array<H2Header, 6> headers = {{{":method", "POST"}, {":scheme", "http"}, {":path", kPath}, {":authority", "bench"}, {"te", "trailers"},
                                              {"content-type", "application/grpc"}}};
    h2_.request(stream_, headers, false);
    for (uint64_t i = 0; i < leg_.window; ++i) send();
  }
  void on_dial_addrs(const std::vector<Addr>&) override {}
  void on_dial_try(const Addr&) override {}
  void on_dial_failed(const Addr&, const Status&, unsigned, Delay) override { die("nobody listens"); }
  void on_h2_leaving(uint32_t, const std::string&) override { die("GOAWAY"); }
  void on_h2_down(const std::string&) override { die("the connection is gone"); }
  void on_h2_headers(std::span<const H2Header>, bool) override {}
  void on_h2_room() override {}
  void on_h2_end(const Status&, uint32_t, const std::string&) override { die("the stream is over"); }
  void on_h2_data(std::span<const std::byte> bytes) override {
    const Status status = reader_.feed(bytes, [&](std::span<const std::byte> message) {
      if (!decode(message, output_).ok() || output_.payload.size() != payload_.size()) die("a wrong answer");
      if (!over_ && !count_.one()) {
        over_ = true;
        loop_.stop();
      }
      send();
      return true;
    });
    if (!status.ok()) die("a bad message");
  }
  void send() {
    upstream::Input input;
    input.time = "2026-01-01T00:00:00.000Z";
    input.client_uuid = names_[next_++ % names_.size()];
    input.payload = payload_;
    head_.clear();
    encode(input, head_);
    if (!stream_.write({std::as_bytes(std::span(head_)), input.payload})) die("no room");
  }

  Loop& loop_;
  const bench::Leg leg_;
  H2 h2_;
  H2Stream stream_;
  GrpcReader reader_;
  Dial dial_;
  bench::Count count_;
  upstream::Output output_;
  std::string head_;
  const std::vector<std::string> names_ = bench::names();
  const std::array<std::byte, 64> payload_{};
  size_t next_ = 0;
  bool over_ = false;
};

}  // namespace

int main(int argc, char** argv) {
  const bench::Leg leg = bench::Leg::parse(argc, argv);
  Loop loop;
  Resolver resolver(loop, {});
  DialPlan plan;
  plan.target = *Endpoint::parse_target("127.0.0.1:" + std::to_string(leg.port));
  Client client(loop, resolver, plan, leg);
  client.start();
  loop.run();
}

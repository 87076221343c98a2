// SPDX-License-Identifier: Apache-2.0
// A name server that answers anything: real questions of the Resolver over real UDP on loopback, and answers whose number and
// question are right, or c-ares would not look at them, but whose flags, counts and records are the fuzzer's.
//
//   input: what to ask (bit 0: a service, not a host; bit 1: all of it, not what a dial wants), then for each question: 2 bytes of length, flags, counts and records
// covers: net/resolver.cpp
#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <cstdlib>
#include <memory>

#include "net/resolver.h"
#include "tests/fuzz/fuzz.h"

namespace relay {
namespace {

class Server {
 public:
  Server() : fd_(::socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)) {
    sockaddr_in here{};
    here.sin_family = AF_INET;
    here.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof here;
    CHECK(::bind(fd_.get(), reinterpret_cast<const sockaddr*>(&here), length) == 0);
    CHECK(::getsockname(fd_.get(), reinterpret_cast<sockaddr*>(&here), &length) == 0);
    place_ = "127.0.0.1:" + std::to_string(ntohs(here.sin_port));
  }
  const std::string& place() const { return place_; }

  // Answers one question, if there is one; whether there was.
  bool serve(fuzz::Input& input) {
    std::array<char, 2048> chunk;
    sockaddr_storage from{};
    socklen_t length = sizeof from;
    const ssize_t n = ::recvfrom(fd_.get(), chunk.data(), chunk.size(), 0, reinterpret_cast<sockaddr*>(&from), &length);
    if (n < 17) return false;
    const std::string_view question(chunk.data(), static_cast<size_t>(n));
    const size_t end = question.find('\0', 12) + 5;  // the name's end, type and class
    const std::string_view ours = input.text(input.number(2) % 1400);
    std::string answer(question.substr(0, 2));  // its number
    // An answer it must be, and not cut short, which would be asked again over TCP.
    const std::string_view head = ours.substr(0, 8);
    const auto flag = [&head](size_t i) { return i < head.size() ? head[i] : '\0'; };
    answer += static_cast<char>((flag(0) & 0x05) | 0x80);
    answer += flag(1);
    answer += std::string_view("\0\1", 2);  // one question
    for (size_t i = 2; i < 8; ++i) answer += flag(i);
    answer += question.substr(12, end - 12);
    if (ours.size() > 8) answer += ours.substr(8);
    return ::sendto(fd_.get(), answer.data(), answer.size(), 0, reinterpret_cast<const sockaddr*>(&from), length) >= 0;
  }

 private:
  Fd fd_;
  std::string place_;
};

class User final : public LookupUser {
 public:
  void on_lookup(Result<Found> found) override {
    CHECK(!told);
    told = true;
    if (!found.ok()) return;
    CHECK(!found->addrs.empty() && found->addrs.size() <= most && (most == Resolver::kAddrsMost || found->priorities.size() == found->addrs.size()));
    for (const Addr& addr : found->addrs) CHECK(addr.family == Addr::Family::kV4 || addr.family == Addr::Family::kV6);
  }
  bool told = false;
  size_t most = Resolver::kAddrsMost;
};

}  // namespace
}  // namespace relay

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace relay;
  static const bool alone = ::setenv("CARES_HOSTS", "/dev/null", 1) == 0 && ::setenv("LOCALDOMAIN", "", 1) == 0;
  CHECK(alone);
  static Server server;
  fuzz::Input input(data, size);
  Loop loop;
  Resolver resolver(loop, server.place());
  User user;
  {
    Lookup lookup(resolver, user);
    const uint8_t how = input.byte();
    const bool service = how % 2 == 1;
    const bool all = how / 2 % 2 == 1;
    if (all) user.most = Resolver::kAllMost;
    const Result<Endpoint> what = Endpoint::parse_target(service ? "_s._tcp.relay.test" : "relay.test:9");
    lookup.start(*what, all ? Lookup::Want::kAll : Lookup::Want::kToDial);
    // Questions come at once; after the last of the input all others are answered with nothing, so that it ends.
    for (int turns = 0; turns < 40 && !user.told; ++turns) {
      while (server.serve(input)) {}
      loop.turn(Delay{0});
    }
  }
  for (int i = 0; i < 3; ++i) loop.turn(Delay{0});  // buries the channel
  return 0;
}

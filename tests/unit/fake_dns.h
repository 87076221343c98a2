// SPDX-License-Identifier: Apache-2.0
// A tiny name server for tests, on the test's own loop: UDP and TCP on one port of loopback. It answers from a table, and
// misbehaves as told: an error code, silence, an answer cut short over UDP (TC), one that comes in pieces over TCP.
#pragma once

#include <map>
#include <memory>

#include "tests/unit/testing.h"

namespace relay::test {

class FakeDns final : private Watcher {
 public:
  static constexpr uint16_t kA = 1;
  static constexpr uint16_t kAaaa = 28;
  static constexpr uint16_t kSrv = 33;
  static constexpr int kServfail = 2;
  static constexpr int kNxdomain = 3;
  static constexpr int kRefused = 5;

  explicit FakeDns(Loop& loop) : loop_(loop), tcp_(loop, *this) {
    // TCP chooses the port, UDP follows; rarely that one is taken.
    for (int tries = 0; tries < 20 && !udp_.open(); ++tries) {
      Result<Listening> listening = listen_on(listen_place("127.0.0.1:0"), SockOptions{});
      CHECK(listening.ok());
      Fd udp{::socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)};
      sockaddr_storage storage{};
      const socklen_t length = listening->addr.to_sockaddr(storage);
      if (::bind(udp.get(), reinterpret_cast<const sockaddr*>(&storage), length) != 0) continue;
      addr_ = listening->addr;
      udp_ = std::move(udp);
      tcp_.open(std::move(listening->fd));
    }
    CHECK(udp_.open() && loop.watch(*this, udp_.get(), EPOLLIN).ok());
  }
  ~FakeDns() { loop_.forget(*this); }

  std::string server() const { return addr_.text(); }

  void a(const std::string& name, const std::string& ip) { add(name, kA, address(ip, 4)); }
  void aaaa(const std::string& name, const std::string& ip) { add(name, kAaaa, address(ip, 16)); }
  void srv(const std::string& name, uint16_t priority, uint16_t weight, uint16_t port, const std::string& host) {
    add(name, kSrv, number(priority) + number(weight) + number(port) + labels(host));
  }
  void fails(const std::string& name, int code) { codes_[name] = code; }
  void silent(const std::string& name) { codes_[name] = kSilent; }

  int asked = 0;          // questions, by UDP and TCP
  int asked_by_tcp = 0;
  bool truncate = false;  // over UDP: no record and the TC bit
  bool in_pieces = false; // over TCP: the answer byte by byte, one a turn

 private:
  static constexpr int kSilent = -1;

  // One TCP connection: questions in, each answered, for as long as the peer likes.
  class Peer final : private Watcher {
   public:
    Peer(FakeDns& own, Fd fd) : dns_(own), fd_(std::move(fd)) { CHECK(dns_.loop_.watch(*this, fd_.get(), EPOLLIN).ok()); }
    ~Peer() { dns_.loop_.forget(*this); }

   private:
    void on_event(uint32_t) override {
      std::array<char, 2048> chunk;
      for (ssize_t n; (n = ::recv(fd_.get(), chunk.data(), chunk.size(), 0)) > 0;)
        in_.append(chunk.data(), static_cast<size_t>(n));
      while (in_.size() >= 2) {
        const size_t length = read_number(in_, 0);
        if (in_.size() < 2 + length) break;
        ++dns_.asked_by_tcp;
        const std::string answer = dns_.answer(in_.substr(2, length), true);
        in_.erase(0, 2 + length);
        if (!answer.empty()) out_ += number(static_cast<uint16_t>(answer.size())) + answer;
      }
      const size_t now = dns_.in_pieces ? std::min<size_t>(out_.size(), 1 + out_.size() / 8) : out_.size();
      if (now > 0 && ::send(fd_.get(), out_.data(), now, MSG_NOSIGNAL) > 0) out_.erase(0, now);
      if (!out_.empty()) dns_.loop_.again(*this);
    }

    FakeDns& dns_;
    Fd fd_;
    std::string in_;
    std::string out_;
  };

  class Door final : private Watcher {
   public:
    Door(Loop& loop, FakeDns& own) : loop_(loop), dns_(own) {}
    ~Door() { loop_.forget(*this); }
    void open(Fd fd) {
      fd_ = std::move(fd);
      CHECK(loop_.watch(*this, fd_.get(), EPOLLIN).ok());
    }

   private:
    void on_event(uint32_t) override {
      for (int fd; (fd = ::accept4(fd_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0;)
        dns_.peers_.push_back(std::make_unique<Peer>(dns_, Fd{fd}));
    }

    Loop& loop_;
    FakeDns& dns_;
    Fd fd_;
  };

  static std::string number(uint16_t n) { return {static_cast<char>(n >> 8), static_cast<char>(n & 0xFF)}; }
  static uint16_t read_number(const std::string& from, size_t at) {
    return static_cast<uint16_t>(static_cast<unsigned char>(from[at]) << 8 | static_cast<unsigned char>(from[at + 1]));
  }
  static std::string address(const std::string& ip, size_t length) {
    const std::optional<Addr> addr = Addr::parse(ip, 0);
    CHECK(addr);
    return {reinterpret_cast<const char*>(addr->ip.data()), length};
  }
  static std::string labels(const std::string& name) {
    std::string out;
    for (size_t from = 0; from < name.size();) {
      const size_t dot = std::min(name.find('.', from), name.size());
      out += static_cast<char>(dot - from) + name.substr(from, dot - from);
      from = dot + 1;
    }
    return out + '\0';
  }
  void add(const std::string& name, uint16_t type, std::string data) { records_[{name, type}].push_back(std::move(data)); }

  void on_event(uint32_t) override {
    std::array<char, 2048> chunk;
    sockaddr_storage from{};
    for (;;) {
      socklen_t length = sizeof from;
      const ssize_t n = ::recvfrom(udp_.get(), chunk.data(), chunk.size(), 0, reinterpret_cast<sockaddr*>(&from), &length);
      if (n <= 0) return;
      const std::string out = answer({chunk.data(), static_cast<size_t>(n)}, false);
      if (!out.empty()) ::sendto(udp_.get(), out.data(), out.size(), 0, reinterpret_cast<const sockaddr*>(&from), length);
    }
  }

  // RFC 1035, section 4: one question back, then the records, each named by a pointer to it.
  std::string answer(const std::string& question, bool tcp) {
    ++asked;
    std::string name;
    size_t at = 12;
    while (at < question.size() && question[at] != 0) {
      const auto length = static_cast<size_t>(question[at]);
      name += (name.empty() ? "" : ".") + question.substr(at + 1, length);
      at += 1 + length;
    }
    if (at + 5 > question.size()) return "";
    const uint16_t type = read_number(question, at + 1);
    const auto code = codes_.find(name);
    if (code != codes_.end() && code->second == kSilent) return "";

    const auto found = records_.find({name, type});
    const bool known = std::any_of(records_.begin(), records_.end(), [&](const auto& row) { return row.first.first == name; });
    const bool cut = truncate && !tcp;
    const int rcode = code != codes_.end() ? code->second : known ? 0 : kNxdomain;
    const size_t count = rcode != 0 || cut || found == records_.end() ? 0 : found->second.size();
    std::string out = question.substr(0, 2) + number(static_cast<uint16_t>(0x8180 | (cut ? 0x0200 : 0) | rcode)) + number(1) +
                      number(static_cast<uint16_t>(count)) + number(0) + number(0) + question.substr(12, at + 5 - 12);
    for (size_t i = 0; i < count; ++i) {
      const std::string& data = found->second[i];
      out += std::string("\xC0\x0C", 2) + number(type) + number(1) + number(0) + number(60) +
             number(static_cast<uint16_t>(data.size())) + data;
    }
    return out;
  }

  Loop& loop_;
  Addr addr_;
  Fd udp_;
  std::vector<std::unique_ptr<Peer>> peers_;
  Door tcp_;
  std::map<std::pair<std::string, uint16_t>, std::vector<std::string>> records_;
  std::map<std::string, int> codes_;
};

}  // namespace relay::test

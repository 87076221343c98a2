// SPDX-License-Identifier: Apache-2.0
// A small Redis for tests, served between turns of the loop: it publishes to who has subscribed, and misbehaves as told.
#pragma once

#include <functional>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "net/tls.h"
#include "tests/unit/testing.h"
#include "wire/resp.h"

namespace relay::test {

inline std::string bulk(std::string_view text) {
  std::string out;
  append_bulk(out, text);
  return out;
}

class FakeRedis {
 public:
  using Words = std::vector<std::string>;
  struct Peer {
    Fd fd;
    RespRequest reader;
    std::string in;
    std::string out;
    std::set<std::string> channels;
    std::vector<Words> commands;
    bool eof = false;

    size_t count(std::string_view name) const {
      return static_cast<size_t>(std::count_if(commands.begin(), commands.end(), [&](const Words& words) { return words[0] == name; }));
    }
  };

  FakeRedis() { listen("127.0.0.1:0"); }

  // The port is the same as before.
  void go_on_listening() { listen(addr); }
  void stop_listening() { listening_.close(); }

  void serve() {
    for (int fd = 0; listening_.open() && (fd = ::accept4(listening_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0;) {
      peers.push_back(std::make_unique<Peer>());
      peers.back()->fd = Fd{fd};
      if (!greeting.empty()) peers.back()->out = greeting;
    }
    if (frozen) return;
    for (size_t i = 0; i < peers.size(); ++i) read(*peers[i]);
    for (const auto& peer : peers) flush(*peer);
  }

  Peer& last() { return *peers.back(); }
  // To who listens to `channel`; how many these are.
  int publish(const std::string& channel, std::string_view text) {
    int n = 0;
    for (const auto& peer : peers) {
      if (!peer->fd.open() || peer->channels.count(channel) == 0) continue;
      ++n;
      peer->out += ">3\r\n" + bulk("message") + bulk(channel) + bulk(text);
    }
    return n;
  }

  std::string addr;
  std::vector<std::unique_ptr<Peer>> peers;
  std::function<bool(Peer&, const Words&, std::string& reply)> answer;  // instead of what is usual; false: that
  std::string greeting;       // said to who has connected, before anything else
  std::string mode = "standalone";
  std::string role = "master";
  bool frozen = false;        // neither reads nor says anything
  size_t piece = 1 << 20;     // the most bytes that are said at a time

 private:
  void listen(const std::string& where) {
    Result<Listening> listening = listen_on(listen_place(where), SockOptions{});
    CHECK(listening.ok() && ::fcntl(listening->fd.get(), F_SETFL, O_NONBLOCK) == 0);
    addr = listening->addr.text();
    listening_ = std::move(listening->fd);
  }

  void read(Peer& peer) {
    std::vector<char> chunk(65536);
    while (peer.fd.open()) {
      const ssize_t n = ::recv(peer.fd.get(), chunk.data(), chunk.size(), 0);
      if (n == 0 || (n < 0 && errno != EAGAIN)) peer.eof = true;
      if (n <= 0) return;
      std::string_view rest(chunk.data(), static_cast<size_t>(n));
      while (!rest.empty()) {
        const Result<size_t> taken = peer.reader.feed(std::as_bytes(std::span(rest)));
        CHECK(taken.ok());
        peer.in += rest.substr(0, *taken);
        rest.remove_prefix(*taken);
        if (!peer.reader.done()) break;
        peer.reader.next();
        std::vector<std::string_view> args;
        split_command(peer.in, args);
        peer.commands.emplace_back(args.begin(), args.end());
        peer.in.clear();
        obey(peer, peer.commands.back());
        if (!peer.fd.open()) return;
      }
    }
  }

  void obey(Peer& peer, const Words& words) {
    std::string reply;
    if (answer && answer(peer, words, reply)) {
      peer.out += reply;
    } else if (words[0] == "HELLO") {
      peer.out += "%3\r\n" + bulk("server") + bulk("redis") + bulk("mode") + bulk(mode) + bulk("role") + bulk(role);
    } else if (words[0] == "SUBSCRIBE") {
      for (size_t i = 1; i < words.size(); ++i) {
        peer.channels.insert(words[i]);
        peer.out += ">3\r\n" + bulk("subscribe") + bulk(words[i]) + ":" + std::to_string(i) + "\r\n";
      }
    } else if (words[0] == "PUBLISH") {
      const int n = publish(words[1], words[2]);
      peer.out += ":" + std::to_string(n) + "\r\n";
    } else {
      peer.out += words[0] == "PING" ? "+PONG\r\n" : "+OK\r\n";
    }
  }

  void flush(Peer& peer) {
    if (!peer.fd.open() || peer.out.empty()) return;
    const ssize_t n = ::send(peer.fd.get(), peer.out.data(), std::min(piece, peer.out.size()), MSG_NOSIGNAL);
    if (n > 0) peer.out.erase(0, static_cast<size_t>(n));
  }

  Fd listening_;
};

}  // namespace relay::test

// SPDX-License-Identifier: Apache-2.0
// What the unit tests share: sockets in pairs, bytes that know their own position, log lines caught, a limit lowered for a
// while, and until(): the one way to wait. Nothing here runs beside the test: its peers are plain non-blocking descriptors that
// it serves between turns of the loop.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lib/check.h"
#include "lib/log.h"
#include "lib/random.h"
#include "net/addr.h"
#include "net/fd.h"
#include "net/loop.h"
#include "net/sock.h"

namespace relay::test {

inline const auto kSigpipe = std::signal(SIGPIPE, SIG_IGN);  // as the program does: splice(2) has no MSG_NOSIGNAL

// Whether no memory is to be had by `new (std::nothrow)`, which is how rings and blocks are asked for (queue_test.cpp).
inline bool g_no_memory = false;

// Runs turns until `condition` holds; false if it does not within `limit`, which is for a broken program only. `wait`: how long
// a turn may wait for news; none where the condition itself does the peers' part.
template <typename Condition>
bool until(Loop& loop, Condition condition, Delay limit = Delay{20'000}, Delay wait = Delay{2}) {
  const int64_t end = sys::monotonic_ms() + limit.count();
  while (!condition()) {
    if (sys::monotonic_ms() > end) return false;
    loop.turn(wait);
  }
  return true;
}

// What has happened by now is seen, and what follows from it.
inline void settle(Loop& loop) {
  for (int i = 0; i < 8; ++i) loop.turn(Delay{0});
}

inline Endpoint listen_place(const std::string& text) {
  Result<Endpoint> place = Endpoint::parse_listen(text);
  CHECK(place.ok());
  return *place;
}

// ---- two ends of a connection: `ours` as the relay has them (accepted, with its options), `theirs` the peer's

struct Ends {
  Fd ours;
  Fd theirs;
  Addr::Family family = Addr::Family::kV4;
};

inline Ends unix_ends() {
  int fds[2];
  CHECK(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) == 0);
  return {Fd{fds[0]}, Fd{fds[1]}, Addr::Family::kUnix};
}

// `prepare` is given the descriptor before it connects.
template <typename Prepare>
Fd connect_to(const Addr& to, Prepare prepare) {
  sockaddr_storage storage{};
  const socklen_t length = to.to_sockaddr(storage);
  Fd fd{::socket(storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  CHECK(fd.open());
  prepare(fd.get());
  CHECK(::connect(fd.get(), reinterpret_cast<const sockaddr*>(&storage), length) == 0);
  CHECK(::fcntl(fd.get(), F_SETFL, O_NONBLOCK) == 0);
  return fd;
}

inline Fd connect_to(const Addr& to) {
  return connect_to(to, [](int) {});
}

// `buffer` bytes each way on both ends; 0: the kernel's own sizes. The segments are then smaller, too: one of loopback's own size
// does not fit such a window, and the kernel would wait for its timer before each.
inline Ends tcp_ends(int buffer = 0) {
  Result<Listening> listening = listen_on(listen_place("127.0.0.1:0"), SockOptions{});
  CHECK(listening.ok());
  const auto small = [buffer](int fd) {
    if (buffer == 0) return;
    CHECK(::setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &buffer, sizeof buffer) == 0);
    CHECK(::setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &buffer, sizeof buffer) == 0);
    const int segment = buffer / 8;
    CHECK(::setsockopt(fd, IPPROTO_TCP, TCP_MAXSEG, &segment, sizeof segment) == 0);
  };
  small(listening->fd.get());
  Fd theirs = connect_to(listening->addr, small);
  const int fd = ::accept4(listening->fd.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
  CHECK(fd >= 0);
  return {Fd{fd}, std::move(theirs)};
}

// A port of loopback on which nobody listens, and nobody can: it is bound, so that the kernel gives it to no other test.
class ClosedPort {
 public:
  ClosedPort() : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)) {
    sockaddr_storage storage{};
    socklen_t length = listen_place("127.0.0.1:0").addr.to_sockaddr(storage);
    CHECK(::bind(fd_.get(), reinterpret_cast<const sockaddr*>(&storage), length) == 0);
    length = sizeof storage;
    CHECK(::getsockname(fd_.get(), reinterpret_cast<sockaddr*>(&storage), &length) == 0);
    addr_ = Addr::from_sockaddr(storage, length);
  }
  void listen(int backlog) { CHECK(::listen(fd_.get(), backlog) == 0); }  // and now somebody does
  const Addr& addr() const { return addr_; }

 private:
  Fd fd_;
  Addr addr_;
};

inline void reset_peer(Fd& fd) {
  reset_on_close(fd.get());
  fd.close();
}

// ---- bytes that know their position, so that one lost, repeated or out of place shows

inline std::byte pattern(uint64_t position) {
  uint64_t z = (position >> 3) * 0x9e3779b97f4a7c15U;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
  return static_cast<std::byte>(z >> (8 * (position & 7)));
}

class Writer {
 public:
  explicit Writer(int fd) : fd_(fd) {}

  // Writes at most `most` bytes; less when the socket takes no more.
  size_t put(size_t most) {
    std::array<std::byte, 65536> chunk;
    size_t done = 0;
    while (done < most) {
      const size_t n = std::min(most - done, chunk.size());
      for (size_t i = 0; i < n; ++i) chunk[i] = pattern(sent_ + i);
      const ssize_t gone = ::send(fd_, chunk.data(), n, MSG_NOSIGNAL);
      if (gone <= 0) break;
      done += static_cast<size_t>(gone);
      sent_ += static_cast<uint64_t>(gone);
    }
    return done;
  }
  bool urgent() {
    const std::byte byte = pattern(sent_);
    if (::send(fd_, &byte, 1, MSG_OOB | MSG_NOSIGNAL) != 1) return false;
    ++sent_;
    return true;
  }
  uint64_t sent() const { return sent_; }

 private:
  int fd_;
  uint64_t sent_ = 0;
};

class Reader {
 public:
  explicit Reader(int fd) : fd_(fd) {}

  // Reads at most `most` bytes of what is there.
  size_t take(size_t most) {
    std::array<std::byte, 65536> chunk;
    size_t done = 0;
    while (done < most && !eof_ && error_ == 0) {
      const ssize_t n = ::recv(fd_, chunk.data(), std::min(most - done, chunk.size()), 0);
      if (n == 0) eof_ = true;
      if (n < 0 && errno == EAGAIN) break;
      if (n < 0) error_ = errno;
      for (ssize_t i = 0; i < n; ++i) right_ = right_ && chunk[static_cast<size_t>(i)] == pattern(got_++);
      if (n > 0) done += static_cast<size_t>(n);
    }
    return done;
  }
  uint64_t got() const { return got_; }
  bool right() const { return right_; }  // every byte so far was the one due
  bool eof() const { return eof_; }
  int error() const { return error_; }

 private:
  int fd_;
  uint64_t got_ = 0;
  bool right_ = true;
  bool eof_ = false;
  int error_ = 0;
};

// ---- the process' surroundings

// While it lives no further descriptor can be opened.
class NoDescriptors {
 public:
  NoDescriptors() {
    CHECK(::getrlimit(RLIMIT_NOFILE, &before_) == 0);
    const Fd free{::dup(STDERR_FILENO)};  // the lowest number that is free
    CHECK(free.open());
    rlimit now = before_;
    now.rlim_cur = static_cast<rlim_t>(free.get());
    CHECK(::setrlimit(RLIMIT_NOFILE, &now) == 0);
  }
  ~NoDescriptors() { lift(); }
  void lift() { CHECK(::setrlimit(RLIMIT_NOFILE, &before_) == 0); }
  NoDescriptors(const NoDescriptors&) = delete;
  NoDescriptors& operator=(const NoDescriptors&) = delete;

 private:
  rlimit before_{};
};

inline size_t open_descriptors() {
  const auto entries = std::filesystem::directory_iterator("/proc/self/fd");
  return static_cast<size_t>(std::distance(begin(entries), end(entries)));
}

class Folder {
 public:
  Folder() {
    std::string name = (std::filesystem::temp_directory_path() / "relay-unit-XXXXXX").string();
    CHECK(::mkdtemp(name.data()) != nullptr);
    path_ = name;
  }
  ~Folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  std::string file(const std::string& name) const { return (path_ / name).string(); }

 private:
  std::filesystem::path path_;
};

// The log's sink for the rest of the process (it cannot be closed); what it caught is cleared by log_to().
class Caught final : public LogSink {
 public:
  int64_t unix_ms() override { return now; }
  uint64_t write(std::string_view lines) override {
    ++writes;
    longest = std::max(longest, lines.size());
    if (refuse) return static_cast<uint64_t>(std::count(lines.begin(), lines.end(), '\n'));
    text.append(lines);
    return 0;
  }

  int64_t now = 0;
  bool refuse = false;
  int writes = 0;
  size_t longest = 0;
  std::string text;
};

inline Caught& log_to(LogFormat format, Level level = Level::kDebug) {
  static Caught caught;
  log_flush();
  caught = Caught{};
  log_open(caught, level, format);
  return caught;
}

}  // namespace relay::test

// SPDX-License-Identifier: Apache-2.0
// What every run of load.cpp stands on: clocks, CPU time of a tree of processes, sockets, and the two end processes
// (Ends). Only load.cpp, plex/load.cpp and plex/crowd.cpp include it. Everything here ends the process when it fails, with one line that says what
// failed.
#pragma once

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <new>
#include <string>
#include <vector>

namespace bench {

constexpr size_t kSend = size_t{256} << 10;  // at most, in one send
constexpr size_t kRecv = size_t{1} << 20;    // at most, in one recv
constexpr int kHandshakeSeconds = 10;        // for the first byte through the middle
constexpr int kPatienceMs = 30'000;          // for anything else an end has to do

struct Options {
  std::string run, way = "up", from = "127.0.0.1";
  uint64_t port = 0, target_port = 0, conns = 1, bytes = 0, size = 64, count = 20, cpu_of = 0,
           lowat = size_t{256} << 10;
  double seconds = 1, warmup = 0.2;
  std::vector<char*> command;
};

// What the ends tell the parent. A counter has one writer and its own cache line.
struct Shared {
  alignas(64) std::atomic<uint64_t> up{0};      // bytes the server end has got
  alignas(64) std::atomic<uint64_t> down{0};    // bytes the client end has got
  alignas(64) std::atomic<bool> over{false};    // the parent is about to kill the ends: what they see now is no error
  uint64_t count = 0, took_ns = 0, cpu_ns = 0;  // rtt, rate: written by the client before it reports
  uint32_t p50 = 0, p90 = 0, p99 = 0, p999 = 0, max = 0;  // ns
};
inline Shared* shared = nullptr;

[[noreturn]] inline void die(const char* what) {
  if (shared == nullptr || !shared->over)
    std::fprintf(stderr, "load: %s%s%s\n", what, errno != 0 ? ": " : "", errno != 0 ? std::strerror(errno) : "");
  _exit(1);
}
inline void need(bool ok, const char* what) {
  if (!ok) die(what);
}

// A program of the bench has as many descriptors as it may, and ends with whoever has started it.
inline void begin() {
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
}

inline uint64_t now_ns() {
  timespec t{};
  clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<uint64_t>(t.tv_sec) * 1'000'000'000u + static_cast<uint64_t>(t.tv_nsec);
}
inline uint64_t to_ns(double seconds) { return static_cast<uint64_t>(seconds * 1e9); }
inline double to_s(uint64_t ns) { return static_cast<double>(ns) / 1e9; }

// CPU time of a process and all its descendants, those it has reaped too (socat has a child for each connection).
inline uint64_t cpu_ns(pid_t pid) {
  if (pid <= 0) return 0;
  uint64_t sum = 0;
  clockid_t clock{};
  timespec t{};
  if (clock_getcpuclockid(pid, &clock) == 0 && clock_gettime(clock, &t) == 0)
    sum += static_cast<uint64_t>(t.tv_sec) * 1'000'000'000u + static_cast<uint64_t>(t.tv_nsec);
  const std::string proc = "/proc/" + std::to_string(pid);
  std::ifstream stat(proc + "/stat");
  std::string line;
  if (std::getline(stat, line)) {  // the name may hold anything, so fields count from the last ')'; state is field 3
    const char* p = line.c_str() + std::min(line.rfind(')'), line.size() - 1) + 1;
    char* end = nullptr;
    for (int field = 3; field < 16 && *p != 0; ++field) p += std::strcspn(p + 1, " ") + 1;
    const uint64_t reaped_user = std::strtoull(p, &end, 10);
    sum += (reaped_user + std::strtoull(end, nullptr, 10)) *
           (1'000'000'000u / static_cast<uint64_t>(sysconf(_SC_CLK_TCK)));
  }
  std::error_code gone;
  for (const auto& task : std::filesystem::directory_iterator(proc + "/task", gone)) {
    std::ifstream children(task.path() / "children");
    for (pid_t child = 0; children >> child;) sum += cpu_ns(child);
  }
  return sum;
}

// ---- sockets ----

inline sockaddr_in address(uint32_t ip, uint64_t port) {
  sockaddr_in a{};
  a.sin_family = AF_INET;
  a.sin_addr.s_addr = htonl(ip);
  a.sin_port = htons(static_cast<uint16_t>(port));
  return a;
}
inline int call(int (*f)(int, const sockaddr*, socklen_t), int fd, const sockaddr_in& a) {
  return f(fd, reinterpret_cast<const sockaddr*>(&a), sizeof a);
}
inline void set(int fd, int level, int name, int value) {
  need(setsockopt(fd, level, name, &value, sizeof value) == 0, "setsockopt");
}
inline void set_nonblocking(int fd) { need(fcntl(fd, F_SETFL, O_NONBLOCK) == 0, "fcntl"); }
inline void set_timeout(int fd) {
  const timeval t{kHandshakeSeconds, 0};
  need(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t) == 0, "setsockopt");
}
inline int new_socket() {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  need(fd >= 0, "socket");
  return fd;
}

inline int listen_on(uint64_t port) {
  const int fd = new_socket();
  set(fd, SOL_SOCKET, SO_REUSEADDR, 1);
  need(call(bind, fd, address(INADDR_LOOPBACK, port)) == 0 && listen(fd, 4096) == 0, "listen on the target port");
  return fd;
}
inline int accept_on(int listener, int flags) {
  const int fd = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC | flags);
  need(fd >= 0, "accept: nobody came through the middle");
  set(fd, IPPROTO_TCP, TCP_NODELAY, 1);
  return fd;
}
inline int connect_to(uint64_t port, uint32_t from = INADDR_LOOPBACK) {
  const int fd = new_socket();
  if (from != INADDR_LOOPBACK) need(call(bind, fd, address(from, 0)) == 0, "bind");
  need(call(connect, fd, address(INADDR_LOOPBACK, port)) == 0, "connect to the middle");
  set(fd, IPPROTO_TCP, TCP_NODELAY, 1);
  return fd;
}
inline void send_byte(int fd) { need(send(fd, "x", 1, MSG_NOSIGNAL) == 1, "send of one byte"); }
inline void recv_byte(int fd) {
  char byte = 0;
  const ssize_t n = recv(fd, &byte, 1, 0);
  if (n == 0) errno = 0;
  need(n == 1, n == 0 ? "the middle closed before a byte came through" : "no byte came through the middle");
}

inline std::vector<int> open_pairs(const Options& o) {
  std::vector<int> fds;
  for (uint64_t i = 0; i < o.conns; ++i) {
    const int fd = connect_to(o.port);
    set_timeout(fd);
    send_byte(fd);
    recv_byte(fd);
    fds.push_back(fd);
  }
  return fds;
}
inline std::vector<int> accept_pairs(int listener, const Options& o) {
  set_timeout(listener);
  std::vector<int> fds;
  while (fds.size() < o.conns) {
    const int fd = accept_on(listener, 0);
    set_timeout(fd);
    recv_byte(fd);
    send_byte(fd);
    fds.push_back(fd);
  }
  return fds;
}

// ---- the two end processes ----

class Ends {
 public:
  template <typename Server, typename Client>
  Ends(const Options& o, Server server, Client client) {
    void* page = mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    need(page != MAP_FAILED, "mmap");
    shared = new (page) Shared;
    need(pipe2(reports_.data(), O_CLOEXEC) == 0 && pipe2(orders_.data(), O_CLOEXEC) == 0, "pipe");
    const int listener = listen_on(o.target_port);
    ends_[0] = fork_end([&] { server(*this, listener); });
    ends_[1] = fork_end([&] { client(*this); });
    close(listener);
    close(reports_[1]);
  }
  ~Ends() {
    shared->over = true;
    for (const pid_t end : ends_) kill(end, SIGKILL);
    for (const pid_t end : ends_) waitpid(end, nullptr, 0);
  }
  Ends(const Ends&) = delete;
  Ends& operator=(const Ends&) = delete;

  // For the ends: say "done with this step"; wait for the parent's word.
  void report() const { need(write(reports_[1], "r", 1) == 1, "report"); }
  void await_order() const {
    char byte = 0;
    if (read(orders_[0], &byte, 1) != 1) _exit(0);
  }
  // For the parent: the reverse. An end that dies ends the run (it has said why).
  void order() const { need(write(orders_[1], "oo", 2) == 2, "order"); }
  void await_reports(int n) const {
    char byte = 0;
    while (n-- > 0) {
      if (!rest(kPatienceMs)) die("the ends do not get on: is the middle stuck?");
      need(read(reports_[0], &byte, 1) == 1, "an end died");
    }
  }
  void run_for(double seconds) const {
    if (rest(static_cast<int>(seconds * 1e3))) die("unexpected report");
  }

 private:
  template <typename Body>
  pid_t fork_end(Body body) {
    const pid_t pid = fork();
    need(pid >= 0, "fork");
    if (pid == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      body();
      for (;;) pause();  // keeps its connections until it is killed
    }
    return pid;
  }
  // Waits for a report (true) or the time (false).
  bool rest(int ms) const {
    std::array<pollfd, 3> p{};
    p[0] = {reports_[0], POLLIN, 0};
    for (size_t i = 0; i < 2; ++i) p[i + 1] = {static_cast<int>(syscall(SYS_pidfd_open, ends_[i], 0)), POLLIN, 0};
    const int n = poll(p.data(), p.size(), ms);
    for (size_t i = 1; i < 3; ++i) close(p[i].fd);
    if (p[1].revents != 0 || p[2].revents != 0) _exit(1);
    return n > 0;
  }

  std::array<int, 2> reports_{}, orders_{};
  std::array<pid_t, 2> ends_{};
};

}  // namespace bench

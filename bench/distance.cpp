// SPDX-License-Identifier: Apache-2.0
// The distance: a TCP proxy that hands each byte on a fixed time after it came, for a bench on one machine of what is
// meant for two. (The kernel has a better one, netem, but that needs rights and a module.)
//
//   client --> 127.0.0.1:PORT [ distance --us D ] --> 127.0.0.1:TARGET-PORT
//
// A byte read at T is written at T + D. The kernel wakes us later than asked, the more so the longer we slept: when little
// is under way, a round trip or two, we ask earlier, by what it was late before, and spin away what is left. Then a round
// trip takes 2 D and what it takes through any proxy. When much is under way spinning would take a processor from those
// who are measured, and being some microseconds late does not matter.
//
// A half-close arrives as one, a reset as one, D later and behind the bytes before it. A new connection costs its round
// trip, as over a network: what a client says is not read before the connection is 2 D old, though to the client it looks
// connected at once.
//
// Not imitated: loss, a limit of bandwidth, slow start. A direction holds WINDOW bytes under way, then it is not read until
// some have gone; on a line that is long and fat that is a limit, too.
//
//   Flow, one for each direction:    splice --> [ piece: a pipe, due then ] [ piece ] [ piece ] --> splice
//
// The bytes wait in pipes, of which each holds what one read has found: they are never copied here, for that would cost
// the machine more than the programs that are measured. A pipe is given back when it is empty.
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <deque>
#include <memory>
#include <set>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace {

constexpr size_t kPooled = 512;        // empty pipes that are kept for whoever needs one next
constexpr size_t kMost = 4000;         // pieces under way: two descriptors each
constexpr int kRounds = 4;             // reads of one socket before others have their turn
constexpr size_t kRead = size_t{1} << 20;  // at most, in one read; a pipe takes less
constexpr size_t kFew = 4;             // pieces under way at most, for us to spin
constexpr uint64_t kBatch = 20'000;    // nanoseconds that we wait for more to be due, when more than a few are under way
constexpr uint64_t kLatest = 80'000;   // nanoseconds: more is not the kernel's way but an accident
constexpr const char* kUsage =
    "usage: distance --port P --target-port T --us D [--window 67108864]\n"
    "  passes connections to 127.0.0.1:P on to 127.0.0.1:T, each byte D microseconds after it came\n"
    "  port 0: the kernel chooses; the port is said on standard output\n";

struct Options {
  uint64_t port = 0, target_port = 0, us = 0, window = uint64_t{64} << 20;
};

[[noreturn]] void die(const char* what) {
  std::fprintf(stderr, "distance: %s: %s\n", what, std::strerror(errno));
  _exit(1);
}
void need(bool ok, const char* what) {
  if (!ok) die(what);
}

uint64_t now_ns() {
  timespec t{};
  clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<uint64_t>(t.tv_sec) * 1'000'000'000u + static_cast<uint64_t>(t.tv_nsec);
}

sockaddr_in loopback(uint64_t port) {
  sockaddr_in a{};
  a.sin_family = AF_INET;
  a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  a.sin_port = htons(static_cast<uint16_t>(port));
  return a;
}
int new_socket() {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  need(fd >= 0, "socket");
  return fd;
}
void set(int fd, int level, int name, int value) {
  need(setsockopt(fd, level, name, &value, sizeof value) == 0, "setsockopt");
}

// ---- bytes under way ----

class Pipe {
 public:
  Pipe() { need(pipe2(ends_.data(), O_CLOEXEC | O_NONBLOCK) == 0, "pipe2"); }
  Pipe(Pipe&& other) noexcept : ends_(std::exchange(other.ends_, {-1, -1})) {}
  Pipe& operator=(Pipe&& other) noexcept {
    std::swap(ends_, other.ends_);
    return *this;
  }
  ~Pipe() {
    for (const int fd : ends_)
      if (fd >= 0) close(fd);
  }
  // Like recv and send, with this pipe, which is empty before the first. SIGPIPE is ignored.
  ssize_t fill(int from, size_t most) const { return splice(from, nullptr, ends_[1], nullptr, most, SPLICE_F_NONBLOCK | SPLICE_F_MOVE); }
  ssize_t empty(int to, size_t most) const { return splice(ends_[0], nullptr, to, nullptr, most, SPLICE_F_NONBLOCK | SPLICE_F_MOVE); }

 private:
  std::array<int, 2> ends_{-1, -1};
};

class Pool {
 public:
  Pipe get() {
    if (free_.empty()) return {};
    Pipe pipe = std::move(free_.back());
    free_.pop_back();
    return pipe;
  }
  void put(Pipe pipe) {  // REQUIRES: it is empty
    if (free_.size() < kPooled) free_.push_back(std::move(pipe));
  }

 private:
  std::vector<Pipe> free_;
};

enum class End : uint8_t { kNone, kFinish, kReset };

struct Flow {
  struct Piece {
    Pipe pipe;
    uint64_t left, due;
  };

  int from = -1, to = -1;
  std::deque<Piece> pieces;
  uint64_t bytes = 0;  // under way
  uint64_t not_before = 0;  // when it is read first, if only in pretence
  End end = End::kNone;     // what is passed on at end_due, behind the last byte
  uint64_t end_due = 0;
  bool blocked = false;  // the receiver takes no more: waits for room
  bool over = false;     // the end was passed on, or nobody is there to get anything
  uint64_t scheduled = 0;
};

struct Pair {
  struct Side {
    Pair* pair = nullptr;
    size_t index = 0;
    int fd = -1;
    uint32_t events = 0;  // what epoll was told
  };
  std::array<Side, 2> sides;
  std::array<Flow, 2> flows;  // flows[i] is what sides[i] says
  bool closed = false;
};

class Distance {
 public:
  explicit Distance(const Options& o) : o_(o), delay_(o.us * 1000) {
    ep_ = epoll_create1(EPOLL_CLOEXEC);
    need(ep_ >= 0, "epoll_create1");
    listener_ = new_socket();
    set(listener_, SOL_SOCKET, SO_REUSEADDR, 1);
    sockaddr_in a = loopback(o.port);
    socklen_t size = sizeof a;
    auto* generic = reinterpret_cast<sockaddr*>(&a);
    need(bind(listener_, generic, size) == 0 && listen(listener_, 4096) == 0 && getsockname(listener_, generic, &size) == 0, "listen");
    epoll_event e{};
    e.events = EPOLLIN;
    e.data.ptr = nullptr;
    need(epoll_ctl(ep_, EPOLL_CTL_ADD, listener_, &e) == 0, "epoll_ctl");
    std::printf("%u\n", ntohs(a.sin_port));
    std::fflush(stdout);
  }

  [[noreturn]] void run() {
    std::array<epoll_event, 256> ready{};
    for (;;) {
      const int n = wait(ready);
      need(n >= 0 || errno == EINTR, "epoll_pwait2");
      for (int i = 0; i < n; ++i) on_event(ready[static_cast<size_t>(i)]);
      while (!due_.empty() && due_.begin()->first <= now_ns()) {
        Pair& pair = *due_.begin()->second.first;
        deliver(pair, due_.begin()->second.second);
      }
      graveyard_.clear();
    }
  }

 private:
  template <size_t N>
  int wait(std::array<epoll_event, N>& ready) {
    if (due_.empty()) return epoll_pwait2(ep_, ready.data(), static_cast<int>(N), nullptr, nullptr);
    const uint64_t now = now_ns(), due = due_.begin()->first;
    const uint64_t wake = pieces_ <= kFew ? due - std::min(late_, delay_ / 4) : due + std::min(kBatch, delay_ / 4);
    const uint64_t left = wake > now ? wake - now : 0;
    const timespec timeout{static_cast<time_t>(left / 1'000'000'000u), static_cast<long>(left % 1'000'000'000u)};
    const int n = epoll_pwait2(ep_, ready.data(), static_cast<int>(N), &timeout, nullptr);
    if (n == 0 && left != 0) late_ = (7 * late_ + std::min(now_ns() - wake, kLatest)) / 8;
    return n;
  }

  void on_event(const epoll_event& e) {
    auto* side = static_cast<Pair::Side*>(e.data.ptr);
    if (side == nullptr) {
      accept_all();
      return;
    }
    Pair& pair = *side->pair;
    if (pair.closed) return;
    Flow& out = pair.flows[1 - side->index];
    if (out.blocked && (e.events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) != 0) {
      out.blocked = false;
      deliver(pair, 1 - side->index);
      if (pair.closed) return;
    }
    if ((e.events & (EPOLLIN | EPOLLERR | EPOLLHUP)) != 0) read(pair, side->index);
    if (!pair.closed) update(pair);
  }

  void accept_all() {
    for (;;) {
      const int fd = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
      if (fd < 0 && (errno == EAGAIN || errno == ECONNABORTED || errno == EINTR)) return;
      need(fd >= 0, "accept4");
      auto made = std::make_unique<Pair>();
      Pair* const pair = made.get();
      pairs_.emplace(pair, std::move(made));
      const int far = new_socket();
      const sockaddr_in a = loopback(o_.target_port);
      const bool failed = connect(far, reinterpret_cast<const sockaddr*>(&a), sizeof a) != 0 && errno != EINPROGRESS;
      for (size_t i = 0; i < 2; ++i) {
        pair->sides[i] = {pair, i, i == 0 ? fd : far, 0};
        pair->flows[i].from = i == 0 ? fd : far;
        pair->flows[i].to = i == 0 ? far : fd;
        set(pair->sides[i].fd, IPPROTO_TCP, TCP_NODELAY, 1);
      }
      pair->flows[0].not_before = now_ns() + 2 * delay_;
      pair->flows[1].not_before = now_ns() + delay_;
      if (failed) {
        fail(*pair, 1);
        schedule(*pair, 1);
      }
      update(*pair);
    }
  }

  void read(Pair& pair, size_t index) {
    Flow& flow = pair.flows[index];
    for (int round = 0; round < kRounds && flow.end == End::kNone && flow.bytes < o_.window; ++round) {
      if (pieces_ >= kMost) break;  // epoll says it again, until the first is due
      ssize_t n = 0;
      if (flow.over) {  // nobody gets it any more
        n = recv(flow.from, nullptr, kRead, MSG_TRUNC);
      } else {
        Pipe pipe = pool_.get();
        n = pipe.fill(flow.from, kRead);
        if (n > 0) {
          flow.pieces.push_back({std::move(pipe), static_cast<uint64_t>(n), due_after(flow)});
          flow.bytes += static_cast<uint64_t>(n);
          ++pieces_;
        } else {
          const int why = errno;
          pool_.put(std::move(pipe));
          errno = why;
        }
      }
      if (n < 0 && (errno == EAGAIN || errno == EINTR)) break;
      if (n <= 0) finish(flow, n == 0 ? End::kFinish : End::kReset);
    }
    schedule(pair, index);
  }

  uint64_t due_after(const Flow& flow) const { return std::max(now_ns(), flow.not_before) + delay_; }

  void finish(Flow& flow, End how) const {
    flow.end = how;
    flow.end_due = due_after(flow);
  }

  // The one that flows[index] comes from is gone; the other hears of it, D later.
  void fail(Pair& pair, size_t index) const {
    if (pair.flows[index].end != End::kReset) finish(pair.flows[index], End::kReset);
  }

  // Passes on what is due of flows[index].
  void deliver(Pair& pair, size_t index) {
    Flow& flow = pair.flows[index];
    const uint64_t now = now_ns();
    while (!flow.pieces.empty() && flow.pieces.front().due <= now) {
      Flow::Piece& piece = flow.pieces.front();
      const ssize_t n = piece.pipe.empty(flow.to, piece.left);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0 && errno == EAGAIN) {
        flow.blocked = true;
        break;
      }
      if (n <= 0) {  // the receiver is gone
        flow.over = true;
        forget(flow);
        fail(pair, 1 - index);
        schedule(pair, 1 - index);
        break;
      }
      piece.left -= static_cast<uint64_t>(n);
      flow.bytes -= static_cast<uint64_t>(n);
      if (piece.left != 0) continue;
      pool_.put(std::move(piece.pipe));
      flow.pieces.pop_front();
      --pieces_;
    }
    if (flow.pieces.empty() && flow.end != End::kNone && flow.end_due <= now && !pass_end(pair, index)) return;
    schedule(pair, index);
    update(pair);
  }

  void forget(Flow& flow) {
    pieces_ -= flow.pieces.size();
    flow.pieces.clear();
    flow.bytes = 0;
  }

  // False: that was the end of the pair, too.
  bool pass_end(Pair& pair, size_t index) {
    Flow& flow = pair.flows[index];
    if (flow.end == End::kFinish && !flow.over) shutdown(flow.to, SHUT_WR);
    flow.over = true;
    if (flow.end == End::kFinish && !pair.flows[1 - index].over) return true;
    bury(pair, flow.end == End::kReset || pair.flows[1 - index].end == End::kReset);
    return false;
  }

  void bury(Pair& pair, bool reset) {
    pair.closed = true;
    for (size_t i = 0; i < 2; ++i) {
      unschedule(pair, i);
      forget(pair.flows[i]);
      if (reset) {
        const linger now{1, 0};
        need(setsockopt(pair.sides[i].fd, SOL_SOCKET, SO_LINGER, &now, sizeof now) == 0, "setsockopt");
      }
      close(pair.sides[i].fd);
    }
    graveyard_.push_back(pairs_.extract(&pair));
  }

  // One entry at most for each flow: when it has something to do next.
  void schedule(Pair& pair, size_t index) {
    Flow& flow = pair.flows[index];
    unschedule(pair, index);
    if (flow.blocked) return;
    if (!flow.pieces.empty()) {
      flow.scheduled = flow.pieces.front().due;
    } else if (flow.end != End::kNone && (!flow.over || flow.end == End::kReset)) {
      flow.scheduled = flow.end_due;
    } else {
      return;
    }
    due_.insert({flow.scheduled, {&pair, index}});
  }
  void unschedule(Pair& pair, size_t index) {
    if (pair.flows[index].scheduled != 0) due_.erase({pair.flows[index].scheduled, {&pair, index}});
    pair.flows[index].scheduled = 0;
  }

  // Tells epoll what the pair wants. A socket that wants nothing is taken out: its hang-up would wake us for ever.
  void update(Pair& pair) const {
    for (size_t i = 0; i < 2; ++i) {
      Pair::Side& side = pair.sides[i];
      const Flow &in = pair.flows[i], &out = pair.flows[1 - i];
      const bool reads = in.end == End::kNone && in.bytes < o_.window;
      const uint32_t wanted = (reads ? EPOLLIN : 0u) | (out.blocked ? EPOLLOUT : 0u);
      if (wanted == side.events) continue;
      epoll_event e{};
      e.events = wanted;
      e.data.ptr = &side;
      const int how = wanted == 0 ? EPOLL_CTL_DEL : side.events == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD;
      need(epoll_ctl(ep_, how, side.fd, &e) == 0, "epoll_ctl");
      side.events = wanted;
    }
  }

  const Options o_;
  const uint64_t delay_;
  int ep_ = -1, listener_ = -1;
  uint64_t late_ = 0;  // how late timers are, a moving average, ns
  size_t pieces_ = 0;  // of all flows
  Pool pool_;
  std::set<std::pair<uint64_t, std::pair<Pair*, size_t>>> due_;
  std::unordered_map<Pair*, std::unique_ptr<Pair>> pairs_;
  std::vector<decltype(pairs_)::node_type> graveyard_;  // closed in this turn: an event of this turn may still name them
};

[[noreturn]] void usage() {
  std::fputs(kUsage, stderr);
  _exit(2);
}

Options parse(int argc, char** argv) {
  Options o;
  const std::array<std::pair<std::string_view, uint64_t*>, 4> names{
      {{"--port", &o.port}, {"--target-port", &o.target_port}, {"--us", &o.us}, {"--window", &o.window}}};
  for (int i = 1; i < argc; i += 2) {
    const auto* found = std::find_if(names.begin(), names.end(), [&](const auto& name) { return name.first == argv[i]; });
    if (found == names.end() || i + 1 >= argc) usage();
    const std::string_view text = argv[i + 1];
    const auto read = std::from_chars(text.data(), text.data() + text.size(), *found->second);
    if (read.ec != std::errc{} || read.ptr != text.data() + text.size()) usage();
  }
  if (o.target_port == 0 || o.target_port > 65535 || o.port > 65535 || o.us > 10'000'000 || o.window == 0) usage();
  return o;
}

}  // namespace

int main(int argc, char** argv) {
  const Options o = parse(argc, argv);
  signal(SIGPIPE, SIG_IGN);
  prctl(PR_SET_TIMERSLACK, 1000UL);  // nanoseconds; the default would add 50 microseconds to each way
  rlimit files{};
  if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
  }
  Distance(o).run();
}

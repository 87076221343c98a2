// SPDX-License-Identifier: Apache-2.0
// The clients of a plex, or of a program that does its work: raw TCP, to 127.0.0.1:PORT. What answers them is an upstream behind the program.
//
//   clients (this) --> PORT [ plex | grpc_proxy ] == one gRPC stream ==> an echo server
//
// One call is one run and prints one JSON object (`hold` and `push` one for each phase, and Enter on stdin goes on). Clients are non-blocking and
// served by one epoll, edge-triggered; a single client is served by blocking calls, which is cheaper. A client is there when it has had an
// answer: a program that accepts early gains nothing. The bytes are counted and not looked at.
#include "../ends.h"

#include <sys/epoll.h>

#include <charconv>
#include <cinttypes>
#include <string_view>
#include <utility>

namespace {

using namespace bench;

constexpr const char* kUsage =
    "usage: load echo|hold|push --port P [options]\n"
    "  echo   round trips of --size 64 bytes, one under way for each of --conns 1 clients; --seconds 1 after --warmup 0.2\n"
    "         --cpu-of PID, as often as you like: the CPU time of that process between the same two moments\n"
    "  hold   --conns clients; open, each has its answer, one asks for a broadcast of --size to all (--count 5 times), close\n"
    "  push   --bytes in all by --conns clients that do not read, until that is sent or none gets on for a second; then they read\n"
    "         as many as they send, then close; one that is ended meanwhile is counted\n";

struct Arguments {
  std::string run;
  uint64_t port = 0, conns = 1, size = 64, count = 5, bytes = 60'000'000;
  double seconds = 1, warmup = 0.2;
  std::vector<uint64_t> pids;
};

[[noreturn]] void usage(const char* what) {
  std::fprintf(stderr, "load: %s\n%s", what, kUsage);
  _exit(2);
}

// What the clients and the others have used so far.
struct Moment {
  uint64_t at = now_ns();
  std::vector<uint64_t> cpu;
  explicit Moment(const std::vector<uint64_t>& pids) {
    for (const uint64_t pid : pids) cpu.push_back(cpu_ns(static_cast<pid_t>(pid)));
  }
};

std::vector<char> text(size_t size) { return std::vector<char>(size, 'x'); }

int new_client(uint64_t port) {
  const int fd = connect_to(port);
  const linger at_once{1, 0};  // no port waits behind a run
  need(setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once) == 0, "setsockopt");
  static_cast<void>(setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "reno", 4));  // no pacing, whatever the machine's default is
  return fd;
}

void send_all(int fd, const std::vector<char>& what) {
  for (size_t sent = 0; sent < what.size();) {
    const ssize_t n = send(fd, what.data() + sent, what.size() - sent, MSG_NOSIGNAL);
    need(n > 0, "send");
    sent += static_cast<size_t>(n);
  }
}

void recv_all(int fd, std::vector<char>& into) {
  for (size_t got = 0; got < into.size();) {
    const ssize_t n = recv(fd, into.data() + got, into.size() - got, 0);
    if (n == 0) errno = 0;
    need(n > 0, "no answer");
    got += static_cast<size_t>(n);
  }
}

// All are sent a message before the first answer is waited for.
std::vector<int> open_clients(const Arguments& o, bool say_something) {
  std::vector<int> fds;
  std::vector<char> message = text(o.size);
  for (uint64_t i = 0; i < o.conns; ++i) fds.push_back(new_client(o.port));
  if (!say_something) return fds;
  for (const int fd : fds) send_all(fd, message);
  for (const int fd : fds) {
    set_timeout(fd);
    recv_all(fd, message);
  }
  return fds;
}

class Epoll {
 public:
  explicit Epoll(const std::vector<int>& fds, uint32_t events) : fd_(epoll_create1(EPOLL_CLOEXEC)) {
    need(fd_ >= 0, "epoll_create1");
    for (uint32_t i = 0; i < fds.size(); ++i) {
      set_nonblocking(fds[i]);
      epoll_event event{};
      event.events = events;
      event.data.u32 = i;
      need(epoll_ctl(fd_, EPOLL_CTL_ADD, fds[i], &event) == 0, "epoll_ctl");
    }
  }
  ~Epoll() { close(fd_); }
  Epoll(const Epoll&) = delete;
  Epoll& operator=(const Epoll&) = delete;

  // Which are ready; nobody for so long ends the run, unless `may_be_none`.
  template <typename F>
  bool wait(int ms, bool may_be_none, F each) {
    int n = 0;
    do n = epoll_wait(fd_, events_.data(), static_cast<int>(events_.size()), ms);
    while (n < 0 && errno == EINTR);  // it was stopped, and goes on
    need(n >= 0, "epoll_wait");
    if (n == 0 && !may_be_none) {
      errno = 0;
      die("nobody gets an answer: is the program stuck?");
    }
    for (int i = 0; i < n; ++i) each(events_[static_cast<size_t>(i)].data.u32, events_[static_cast<size_t>(i)].events);
    return n > 0;
  }

 private:
  int fd_;
  std::array<epoll_event, 256> events_{};
};

// ---- echo

void print_echo(const Arguments& o, const Moment& from, const Moment& to, uint64_t trips, std::vector<uint32_t>& ns) {
  std::sort(ns.begin(), ns.end());
  const auto at = [&](double share) { return ns.empty() ? 0.0 : ns[static_cast<size_t>(share * static_cast<double>(ns.size() - 1))] / 1e3; };
  const double seconds = to_s(to.at - from.at);
  std::printf("{\"run\":\"echo\",\"trips\":%" PRIu64 ",\"seconds\":%.4f,\"per_s\":%.1f,", trips, seconds, static_cast<double>(trips) / seconds);
  std::printf("\"p50_us\":%.2f,\"p99_us\":%.2f,\"p999_us\":%.2f,\"cpu_s\":[", at(0.5), at(0.99), at(0.999));
  for (size_t i = 0; i < o.pids.size(); ++i) std::printf("%s%.6f", i == 0 ? "" : ",", to_s(to.cpu[i] - from.cpu[i]));
  std::printf("],\"own_cpu_s\":%.6f}\n", to_s(to.cpu.back() - from.cpu.back()));
}

void echo_one(const Arguments& o, const std::vector<uint64_t>& pids) {
  const int fd = open_clients(o, true).front();
  const std::vector<char> message = text(o.size);
  std::vector<char> answer(o.size);
  std::vector<uint32_t> ns;
  ns.reserve(1 << 20);
  const auto run_until = [&](uint64_t end) {
    for (uint64_t now = now_ns(); now < end;) {
      send_all(fd, message);
      recv_all(fd, answer);
      const uint64_t then = now_ns();
      ns.push_back(static_cast<uint32_t>(then - now));
      now = then;
    }
  };
  run_until(now_ns() + to_ns(o.warmup));
  ns.clear();
  const Moment from(pids);
  run_until(from.at + to_ns(o.seconds));
  const Moment to(pids);
  print_echo(o, from, to, ns.size(), ns);
}

void echo_many(const Arguments& o, const std::vector<uint64_t>& pids) {
  struct One {
    uint64_t asked = 0;
    size_t got = 0;
  };
  const std::vector<int> fds = open_clients(o, true);
  Epoll epoll(fds, EPOLLIN | EPOLLET);
  const std::vector<char> message = text(o.size);
  std::vector<char> answer(o.size);
  std::vector<One> ones(fds.size());
  std::vector<uint32_t> ns;
  ns.reserve(1 << 22);
  uint64_t trips = 0;
  const auto ask = [&](uint32_t i) {
    need(send(fds[i], message.data(), message.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(message.size()), "send");
    ones[i].asked = now_ns();
    ones[i].got = 0;
  };
  for (uint32_t i = 0; i < fds.size(); ++i) ask(i);
  const auto run_until = [&](uint64_t end) {
    while (now_ns() < end)
      epoll.wait(kPatienceMs, false, [&](uint32_t i, uint32_t) {
        One& one = ones[i];
        while (one.got < o.size) {
          const ssize_t n = recv(fds[i], answer.data(), o.size - one.got, 0);
          if (n < 0 && errno == EAGAIN) return;
          if (n == 0) errno = 0;
          need(n > 0, "recv: the program has ended a client");
          one.got += static_cast<size_t>(n);
        }
        ns.push_back(static_cast<uint32_t>(now_ns() - one.asked));
        ++trips;
        ask(i);
      });
  };
  run_until(now_ns() + to_ns(o.warmup));
  ns.clear();
  trips = 0;
  const Moment from(pids);
  run_until(from.at + to_ns(o.seconds));
  const Moment to(pids);
  print_echo(o, from, to, trips, ns);
}

// ---- hold

void phase(const char* json) {
  std::printf("%s\n", json);
  std::fflush(stdout);
  char line[16];
  if (std::fgets(line, sizeof line, stdin) == nullptr) _exit(0);
}

// From the question to the last client's last byte.
uint64_t broadcast(Epoll& epoll, const std::vector<int>& fds, size_t size) {
  std::vector<char> message = text(size);
  message[0] = 'B';  // what an upstream of this bench gives to all
  std::vector<size_t> got(fds.size(), 0);
  std::vector<char> answer(size);
  const uint64_t began = now_ns();
  send_all(fds[0], message);
  for (size_t done = 0; done < fds.size();)
    epoll.wait(kPatienceMs, false, [&](uint32_t i, uint32_t) {
      while (got[i] < size) {
        const ssize_t n = recv(fds[i], answer.data(), size - got[i], 0);
        if (n < 0 && errno == EAGAIN) return;
        if (n == 0) errno = 0;
        need(n > 0, "recv: the program has ended a client");
        got[i] += static_cast<size_t>(n);
        if (got[i] == size) ++done;
      }
    });
  return now_ns() - began;
}

void run_hold(const Arguments& o) {
  const std::vector<int> fds = open_clients(o, false);
  phase("{\"phase\":\"open\"}");
  std::vector<char> message = text(o.size);
  for (const int fd : fds) {
    set_timeout(fd);
    send_all(fd, message);
    recv_all(fd, message);
  }
  phase("{\"phase\":\"carried\"}");
  Epoll epoll(fds, EPOLLIN | EPOLLET);
  std::vector<uint64_t> took;
  for (uint64_t i = 0; i < o.count; ++i) took.push_back(broadcast(epoll, fds, o.size));
  std::sort(took.begin(), took.end());
  const std::string median = std::to_string(to_s(took[took.size() / 2])), worst = std::to_string(to_s(took.back()));
  const std::string said = "{\"phase\":\"broadcast\",\"median_s\":" + median + ",\"worst_s\":" + worst + "}";
  phase(said.c_str());
  for (const int fd : fds) close(fd);
  phase("{\"phase\":\"closed\"}");
}

// ---- push

void run_push(const Arguments& o) {
  const std::vector<int> fds = open_clients(o, true);
  phase("{\"phase\":\"open\"}");
  Epoll epoll(fds, EPOLLIN | EPOLLOUT | EPOLLET);
  static std::array<char, 64 * 1024> bytes{};
  bytes.fill('x');
  const uint64_t each = o.bytes / fds.size();
  std::vector<uint64_t> sent(fds.size(), 0), got(fds.size(), 0);
  uint64_t all_sent = 0, all_got = 0, unsent = 0, ungot = 0, ended = 0;
  const auto push = [&](uint32_t i) {
    while (sent[i] < each) {
      const ssize_t n = send(fds[i], bytes.data(), std::min<uint64_t>(bytes.size(), each - sent[i]), MSG_NOSIGNAL);
      if (n < 0 && errno == EAGAIN) return;
      if (n < 0 && errno == ECONNRESET) {  // it was too slow: nothing more is expected of it
        ++ended;
        unsent += each - sent[i];
        ungot += each - got[i];
        sent[i] = got[i] = each;
        return;
      }
      need(n > 0, "send");
      sent[i] += static_cast<uint64_t>(n);
      all_sent += static_cast<uint64_t>(n);
    }
  };
  const auto pull = [&](uint32_t i) {
    while (got[i] < each) {
      static std::array<char, 256 * 1024> answer{};
      const ssize_t n = recv(fds[i], answer.data(), answer.size(), 0);
      if (n < 0 && errno == EAGAIN) return;
      if (n == 0) errno = 0;
      need(n > 0, "recv: the program has ended a client");
      got[i] += static_cast<uint64_t>(n);
      all_got += static_cast<uint64_t>(n);
    }
  };
  uint64_t moved_at = now_ns();
  while (all_sent + unsent < each * fds.size() && now_ns() - moved_at < 1'000'000'000u) {
    const uint64_t before = all_sent;
    epoll.wait(100, true, [&](uint32_t i, uint32_t) { push(i); });
    if (all_sent != before) moved_at = now_ns();
  }
  phase(("{\"phase\":\"pushed\",\"bytes\":" + std::to_string(all_sent) + ",\"ended\":" + std::to_string(ended) + "}").c_str());
  const uint64_t began = now_ns();
  for (uint32_t i = 0; i < fds.size(); ++i) {
    push(i);
    pull(i);
  }
  while (all_got + ungot < each * fds.size())
    epoll.wait(kPatienceMs, false, [&](uint32_t i, uint32_t) {
      push(i);
      pull(i);
    });
  phase(("{\"phase\":\"echoed\",\"bytes\":" + std::to_string(all_got) + ",\"seconds\":" + std::to_string(to_s(now_ns() - began)) + "}").c_str());
}

// ---- command line

template <typename T>
void number(std::string_view word, T& value) {
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
  if (error != std::errc{} || end != word.data() + word.size()) usage("not a number");
}

Arguments parse(int argc, char** argv) {
  Arguments o;
  if (argc < 2) usage("which run?");
  o.run = argv[1];
  const std::array<std::pair<std::string_view, uint64_t*>, 5> numbers{
      {{"--port", &o.port}, {"--conns", &o.conns}, {"--size", &o.size}, {"--count", &o.count}, {"--bytes", &o.bytes}}};
  for (int i = 2; i < argc; i += 2) {
    const std::string_view name = argv[i];
    if (i + 1 == argc) usage("an option without its value");
    const std::string_view value = argv[i + 1];
    const auto n = std::find_if(numbers.begin(), numbers.end(), [&](const auto& known) { return known.first == name; });
    if (n != numbers.end())
      number(value, *n->second);
    else if (name == "--seconds")
      number(value, o.seconds);
    else if (name == "--warmup")
      number(value, o.warmup);
    else if (name == "--cpu-of")
      number(value, o.pids.emplace_back());
    else
      usage("unknown option");
  }
  if (o.port == 0 || o.conns == 0 || o.size == 0 || o.count == 0) usage("--port, and no zeros, please");
  return o;
}

}  // namespace

int main(int argc, char** argv) {
  const Arguments o = parse(argc, argv);
  begin();
  std::vector<uint64_t> pids = o.pids;
  pids.push_back(static_cast<uint64_t>(getpid()));
  if (o.run == "echo" && o.conns == 1)
    echo_one(o, pids);
  else if (o.run == "echo")
    echo_many(o, pids);
  else if (o.run == "hold")
    run_hold(o);
  else if (o.run == "push")
    run_push(o);
  else
    usage("which run?");
  return 0;
}

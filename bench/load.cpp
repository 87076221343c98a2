// SPDX-License-Identifier: Apache-2.0
// The two ends of a measurement, whatever stands between them.
//
//   client end (the function) --> 127.0.0.1:PORT [ the program under test ] --> 127.0.0.1:TARGET-PORT server end (the
//   gateway)
//
// One call is one run and prints one JSON object (`hold` one for each phase). The process forks a client end and a
// server end; they count into shared memory, and the parent looks at the counters and at the CPU time of the program in
// the middle at the same two moments. So nothing is agreed in-band, nothing depends on how the middle closes, and PORT
// = TARGET-PORT measures "nothing between". A pair counts as open when it has carried one byte each way: a middle that
// accepts early gains nothing by it.
//
// The ends do the same for every rival: non-blocking sockets and level-triggered epoll, but for a single connection of
// round trips, where blocking calls are cheaper; TCP_NODELAY; buffer sizes left to the kernel. They do not look at the
// bytes: tests do that.
#include <fcntl.h>
#include <spawn.h>
#include <sys/epoll.h>

#include <charconv>
#include <cinttypes>
#include <string_view>
#include <utility>

#include "ends.h"

namespace {

using namespace bench;

constexpr uint64_t kForever = UINT64_MAX;
constexpr const char* kUsage =
    "usage: load bulk|rtt|rate|hold|drain|start --port P [--target-port T] [options]\n"
    "  bulk   bytes through N connections   --conns 1 --way up|down|both --seconds 1 --bytes 0 (0: by time alone)\n"
    "         --lowat 262144 (1: the kernel's default): a receiver sleeps until it can have that much\n"
    "  rtt    round trips of --size 64 bytes, --conns of them under way at any time\n"
    "  rate   connect, one byte each way, close; --conns of them under way at any time\n"
    "  hold   N pairs; each Enter on stdin goes on: open, carry --bytes each way on every pair, close\n"
    "  drain  a gateway (--from ADDRESS) sends --bytes, then a client comes and reads all of it\n"
    "  start  -- COMMAND...   exec to accepting on PORT, --count times\n"
    "  all    --warmup 0.2 seconds not counted; --cpu-of PID the program in the middle, with its children\n";

[[noreturn]] void usage(const char* what) {
  std::fprintf(stderr, "load: %s\n%s", what, kUsage);
  _exit(2);
}

// A receiver that is woken for every segment costs the machine more than the copying, and the one who wakes it, the
// program in the middle, pays. These receivers want much at a time and say so. Only for flows without an end: the tail
// of others would wait.
void want_much(const std::vector<int>& fds, const Options& o) {
  for (const int fd : fds) set(fd, SOL_SOCKET, SO_RCVLOWAT, static_cast<int>(o.lowat));
}

// Sends and receives so many bytes on each connection, all at once.
void pump(const std::vector<int>& fds, uint64_t to_send, uint64_t to_recv, std::atomic<uint64_t>& received) {
  static std::array<char, kSend> out;
  static std::array<char, kRecv> in;
  struct Flow {
    uint64_t to_send, to_recv;
    uint32_t events() const { return (to_send != 0 ? EPOLLOUT : 0u) | (to_recv != 0 ? EPOLLIN : 0u); }
  };
  std::vector<Flow> flows(fds.size(), Flow{to_send, to_recv});
  const int ep = epoll_create1(EPOLL_CLOEXEC);
  epoll_event e{};
  for (uint32_t i = 0; i < fds.size(); ++i) {
    set_nonblocking(fds[i]);
    e.events = flows[i].events();
    e.data.u32 = i;
    need(epoll_ctl(ep, EPOLL_CTL_ADD, fds[i], &e) == 0, "epoll_ctl");
  }
  size_t busy = to_send == 0 && to_recv == 0 ? 0 : fds.size();
  std::array<epoll_event, 64> ready{};
  while (busy != 0) {
    const int n = epoll_wait(ep, ready.data(), static_cast<int>(ready.size()), kPatienceMs);
    errno = n == 0 ? ETIMEDOUT : errno;
    need(n > 0 || errno == EINTR, "bytes do not move");
    for (int k = 0; k < n; ++k) {
      const uint32_t i = ready[static_cast<size_t>(k)].data.u32;
      Flow& flow = flows[i];
      const uint32_t before = flow.events();
      if (flow.to_recv != 0) {
        const ssize_t r = recv(fds[i], in.data(), std::min<uint64_t>(in.size(), flow.to_recv), 0);
        if (r == 0) errno = ECONNRESET;
        need(r > 0 || (r < 0 && errno == EAGAIN), "bulk: recv");
        if (r > 0) {
          flow.to_recv -= static_cast<uint64_t>(r);
          received.fetch_add(static_cast<uint64_t>(r), std::memory_order_relaxed);
        }
      }
      if (flow.to_send != 0) {
        const ssize_t w = send(fds[i], out.data(), std::min<uint64_t>(out.size(), flow.to_send), MSG_NOSIGNAL);
        need(w > 0 || errno == EAGAIN, "bulk: send");
        if (w > 0) flow.to_send -= static_cast<uint64_t>(w);
      }
      if (flow.events() != before) {
        e.events = flow.events();
        e.data.u32 = i;
        need(epoll_ctl(ep, EPOLL_CTL_MOD, fds[i], &e) == 0, "epoll_ctl");
        if (e.events == 0) --busy;
      }
    }
  }
  close(ep);
}

// ---- runs ----

void run_bulk(const Options& o) {
  const bool up = o.way != "down", down = o.way != "up";
  Ends ends(
      o,
      [&](Ends& e, int listener) {
        const auto fds = accept_pairs(listener, o);
        want_much(fds, o);
        e.report();
        pump(fds, down ? kForever : 0, up ? kForever : 0, shared->up);
      },
      [&](Ends& e) {
        const auto fds = open_pairs(o);
        want_much(fds, o);
        e.report();
        pump(fds, up ? kForever : 0, down ? kForever : 0, shared->down);
      });
  ends.await_reports(2);
  ends.run_for(o.warmup);
  const pid_t middle = static_cast<pid_t>(o.cpu_of);
  const uint64_t up0 = shared->up, down0 = shared->down, t0 = now_ns(), cpu0 = cpu_ns(middle);
  uint64_t up_bytes = 0, down_bytes = 0, took = 0;
  do {  // with --bytes a look at the counters every 2 ms; by time alone one long rest
    ends.run_for(o.bytes == 0 ? o.seconds : 0.002);
    took = now_ns() - t0;
    up_bytes = shared->up - up0;
    down_bytes = shared->down - down0;
  } while (o.bytes != 0 && up_bytes + down_bytes < o.bytes);
  const double cpu = to_s(cpu_ns(middle) - cpu0), gb = static_cast<double>(up_bytes + down_bytes) / 1e9;
  std::printf("{\"run\":\"bulk\",\"way\":\"%s\",\"conns\":%" PRIu64 ",\"seconds\":%.4f,\"up_bytes\":%" PRIu64
              ",\"down_bytes\":%" PRIu64 ",\"gb_per_s\":%.4f,\"cpu_s\":%.4f,\"cpu_s_per_gb\":%.4f}\n",
              o.way.c_str(), o.conns, to_s(took), up_bytes, down_bytes, gb / to_s(took), cpu, gb > 0 ? cpu / gb : 0);
}

// Latencies of the counted time, in ns.
class Times {
 public:
  explicit Times(const Options& o)
      : middle_(static_cast<pid_t>(o.cpu_of)),
        counts_from_(now_ns() + to_ns(o.warmup)),
        until_(counts_from_ + to_ns(o.seconds)) {
    ns_.reserve(1u << 21);
  }
  // False when the time is over.
  bool add(uint64_t began, uint64_t ended) {
    if (ended < counts_from_) return true;
    if (first_ == 0) {
      first_ = now_ns();
      cpu_ = cpu_ns(middle_);
      return true;
    }
    if (began < first_) return true;
    ns_.push_back(static_cast<uint32_t>(std::min<uint64_t>(ended - began, UINT32_MAX)));
    return ended < until_;
  }
  void publish() {
    shared->took_ns = now_ns() - first_;
    shared->cpu_ns = cpu_ns(middle_) - cpu_;
    shared->count = ns_.size();
    need(!ns_.empty(), "nothing was measured: give it more --seconds");
    std::sort(ns_.begin(), ns_.end());
    const auto at = [&](double part) { return ns_[static_cast<size_t>(part * static_cast<double>(ns_.size() - 1))]; };
    shared->p50 = at(.5), shared->p90 = at(.9), shared->p99 = at(.99), shared->p999 = at(.999),
    shared->max = ns_.back();
  }

 private:
  const pid_t middle_;
  const uint64_t counts_from_, until_;
  uint64_t first_ = 0, cpu_ = 0;
  std::vector<uint32_t> ns_;
};

void print_times(const char* run, const Options& o) {
  const auto us = [](uint32_t ns) { return ns / 1e3; };
  const double count = static_cast<double>(shared->count);
  std::printf("{\"run\":\"%s\",\"conns\":%" PRIu64 ",\"count\":%" PRIu64
              ",\"per_s\":%.1f,\"p50_us\":%.2f,\"p90_us\":%.2f,\"p99_us\":%.2f,\"p999_us\":%.2f,\"max_us\":%.1f,\"cpu_"
              "s\":%.4f,\"cpu_us_each\":%.3f}\n",
              run, o.conns, shared->count, count / to_s(shared->took_ns), us(shared->p50), us(shared->p90),
              us(shared->p99), us(shared->p999), us(shared->max), to_s(shared->cpu_ns),
              static_cast<double>(shared->cpu_ns) / 1e3 / count);
}

void send_all(int fd, const char* data, size_t size) {
  const ssize_t n = send(fd, data, size, MSG_NOSIGNAL);
  need(n == static_cast<ssize_t>(size), "a small send was cut short");
}

// Calls f(i) for connections with something to read, until it returns false.
template <typename F>
void on_readable(const std::vector<int>& fds, F f) {
  const int ep = epoll_create1(EPOLL_CLOEXEC);
  for (uint32_t i = 0; i < fds.size(); ++i) {
    epoll_event e{};
    e.events = EPOLLIN;
    e.data.u32 = i;
    need(epoll_ctl(ep, EPOLL_CTL_ADD, fds[i], &e) == 0, "epoll_ctl");
  }
  std::array<epoll_event, 64> ready{};
  for (;;) {
    const int n = epoll_wait(ep, ready.data(), static_cast<int>(ready.size()), -1);
    for (int k = 0; k < n; ++k)
      if (!f(ready[static_cast<size_t>(k)].data.u32)) return;
  }
}

void run_rtt(const Options& o) {
  const size_t size = o.size;
  Ends ends(
      o,
      [&](Ends&, int listener) {
        const auto fds = accept_pairs(listener, o);
        std::vector<char> buffer(size);
        const auto echo = [&](size_t i) {
          const ssize_t n = recv(fds[i], buffer.data(), size, 0);
          if (n <= 0) _exit(0);
          send_all(fds[i], buffer.data(), static_cast<size_t>(n));
          return true;
        };
        if (fds.size() == 1)
          while (echo(0)) {
          }
        else
          on_readable(fds, echo);
      },
      [&](Ends& e) {
        const auto fds = open_pairs(o);
        const std::vector<char> message(size, 'm');
        std::vector<char> buffer(size);
        std::vector<uint64_t> began(fds.size());
        std::vector<size_t> got(fds.size());
        Times times(o);
        const auto ask = [&](size_t i) {
          got[i] = 0;
          began[i] = now_ns();
          send_all(fds[i], message.data(), size);
        };
        const auto answer = [&](size_t i) {
          const ssize_t n = recv(fds[i], buffer.data(), size - got[i], 0);
          need(n > 0, "rtt: recv");
          got[i] += static_cast<size_t>(n);
          if (got[i] < size) return true;
          if (!times.add(began[i], now_ns())) return false;
          ask(i);
          return true;
        };
        for (size_t i = 0; i < fds.size(); ++i) ask(i);
        if (fds.size() == 1)
          while (answer(0)) {
          }
        else
          on_readable(fds, answer);
        times.publish();
        e.report();
      });
  ends.await_reports(1);
  print_times("rtt", o);
}

void run_rate(const Options& o) {
  Ends ends(
      o,
      [&](Ends&, int listener) {
        const int ep = epoll_create1(EPOLL_CLOEXEC);
        const auto watch = [&](int fd) {
          epoll_event e{};
          e.events = EPOLLIN;
          e.data.fd = fd;
          need(epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e) == 0, "epoll_ctl");
        };
        watch(listener);
        std::array<epoll_event, 64> ready{};
        for (;;) {
          const int n = epoll_wait(ep, ready.data(), static_cast<int>(ready.size()), -1);
          for (int k = 0; k < n; ++k) {
            const int fd = ready[static_cast<size_t>(k)].data.fd;
            char byte = 0;
            if (fd == listener)
              watch(accept_on(listener, SOCK_NONBLOCK));
            else if (recv(fd, &byte, 1, 0) != 1 || send(fd, &byte, 1, MSG_NOSIGNAL) != 1)
              close(fd);
          }
        }
      },
      [&](Ends& e) {
        Times times(o);
        struct Slot {
          int fd;
          uint64_t began;
        };
        const auto begin = [&] {  // connect() on loopback ends at once, so it may block
          const uint64_t t = now_ns();
          const int fd = connect_to(o.port);
          send_byte(fd);
          return Slot{fd, t};
        };
        const auto end = [&](const Slot& slot) {
          recv_byte(slot.fd);
          const uint64_t t = now_ns();
          close(slot.fd);
          return times.add(slot.began, t);
        };
        if (o.conns == 1) {
          for (;;) {
            const Slot slot = begin();
            set_timeout(slot.fd);
            if (!end(slot)) break;
          }
        } else {
          std::vector<pollfd> polls(o.conns);
          std::vector<Slot> slots(o.conns);
          const auto fill = [&](size_t i) {
            slots[i] = begin();
            polls[i] = {slots[i].fd, POLLIN, 0};
          };
          for (size_t i = 0; i < o.conns; ++i) fill(i);
          for (bool more = true; more;) {
            need(poll(polls.data(), polls.size(), kHandshakeSeconds * 1000) > 0, "no connection gets its byte");
            for (size_t i = 0; i < o.conns && more; ++i) {
              if (polls[i].revents == 0) continue;
              more = end(slots[i]);
              fill(i);
            }
          }
        }
        times.publish();
        e.report();
      });
  ends.await_reports(1);
  print_times("rate", o);
}

void await_enter(const char* phase, const Options& o) {
  std::printf("{\"run\":\"hold\",\"phase\":\"%s\",\"conns\":%" PRIu64 ",\"bytes_each_way\":%" PRIu64 "}\n", phase,
              o.conns, o.bytes);
  std::fflush(stdout);
  for (int c = 0; c != '\n' && c != EOF;) c = std::getchar();
}

void run_hold(const Options& o) {
  const auto carry = [&o](Ends& e, const std::vector<int>& fds, std::atomic<uint64_t>& received) {
    e.report();
    e.await_order();
    pump(fds, o.bytes, o.bytes, received);
    e.report();
    e.await_order();
    for (const int fd : fds) close(fd);
    e.report();
  };
  Ends ends(
      o, [&](Ends& e, int listener) { carry(e, accept_pairs(listener, o), shared->up); },
      [&](Ends& e) { carry(e, open_pairs(o), shared->down); });
  for (const char* phase : {"open", "carried", "closed"}) {
    ends.await_reports(2);
    await_enter(phase, o);
    if (std::strcmp(phase, "closed") != 0) ends.order();
  }
}

// Gateway first. Only a program with a queue has something to drain, so there is no server end here.
void run_drain(const Options& o) {
  static std::array<char, kRecv> buffer;
  in_addr from{};
  need(inet_pton(AF_INET, o.from.c_str(), &from) == 1, "--from");
  const int gateway = connect_to(o.port, ntohl(from.s_addr));
  set_nonblocking(gateway);
  uint64_t sent = 0, got = 0;
  bool blocked = false;
  while (sent < o.bytes && !blocked) {
    const ssize_t n = send(gateway, buffer.data(), std::min<uint64_t>(buffer.size(), o.bytes - sent), MSG_NOSIGNAL);
    need(n > 0 || errno == EAGAIN, "drain: the gateway's send");
    if (n > 0) sent += static_cast<uint64_t>(n);
    pollfd p{gateway, POLLOUT, 0};
    if (n < 0) blocked = poll(&p, 1, 300) == 0;
  }
  poll(nullptr, 0, 100);  // what is on its way into the queue gets there
  const uint64_t t0 = now_ns(), cpu0 = cpu_ns(static_cast<pid_t>(o.cpu_of));
  const int client = connect_to(o.port);
  set_timeout(client);
  uint64_t first = 0;
  while (got < sent) {
    const ssize_t n = recv(client, buffer.data(), buffer.size(), 0);
    if (n == 0) errno = 0;
    need(n > 0, "drain: the client did not get all");
    if (first == 0) first = now_ns() - t0;
    got += static_cast<uint64_t>(n);
  }
  const uint64_t took = now_ns() - t0;
  std::printf("{\"run\":\"drain\",\"bytes\":%" PRIu64
              ",\"blocked\":%s,\"first_byte_ms\":%.3f,\"ms\":%.3f,\"gb_per_s\":%.3f,\"cpu_s\":%.4f}\n",
              got, blocked ? "true" : "false", to_s(first) * 1e3, to_s(took) * 1e3,
              static_cast<double>(got) / static_cast<double>(took), to_s(cpu_ns(static_cast<pid_t>(o.cpu_of)) - cpu0));
}

// spawn, then connect until it works. Here and not in Python because spawning from there costs more than what is
// measured.
void run_start(const Options& o) {
  need(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0,
       "prctl");  // grandchildren of the killed come to us, so that none outlives its round
  std::vector<uint64_t> ns;
  posix_spawnattr_t attributes;
  posix_spawn_file_actions_t files;
  posix_spawnattr_init(&attributes);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP);
  posix_spawn_file_actions_init(&files);
  for (const int fd : {0, 1, 2}) posix_spawn_file_actions_addopen(&files, fd, "/dev/null", O_RDWR, 0);
  for (uint64_t i = 0; i < o.count; ++i) {
    const uint64_t t0 = now_ns();
    pid_t pid = 0;
    errno = posix_spawnp(&pid, o.command[0], &files, &attributes, o.command.data(), environ);
    need(errno == 0, o.command[0]);
    bool up = false;
    for (uint64_t tries = 1; !up; ++tries) {
      const int fd = new_socket();
      up = call(connect, fd, address(INADDR_LOOPBACK, o.port)) == 0;
      if (up) ns.push_back(now_ns() - t0);
      constexpr linger reset{1, 0};
      setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
      close(fd);
      const bool late = now_ns() - t0 > to_ns(5);
      if (!up && (late || (tries % 64 == 0 && waitpid(pid, nullptr, WNOHANG) == pid))) {
        kill(-pid, SIGKILL);
        errno = 0;
        die(late ? "start: nobody listens after 5 s" : "start: the program ended before it listened");
      }
    }
    kill(-pid, SIGKILL);
    while (waitpid(-pid, nullptr, 0) > 0) {
    }
  }
  std::sort(ns.begin(), ns.end());
  std::printf("{\"run\":\"start\",\"count\":%zu,\"min_ms\":%.4f,\"median_ms\":%.4f,\"max_ms\":%.4f}\n", ns.size(),
              to_s(ns.front()) * 1e3, to_s(ns[ns.size() / 2]) * 1e3, to_s(ns.back()) * 1e3);
}

// ---- command line ----

template <typename T>
void number(std::string_view text, T& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) usage("not a number");
}

Options parse(int argc, char** argv) {
  Options o;
  if (argc < 2) usage("which run?");
  o.run = argv[1];
  if (o.run == "drain") o.bytes = uint64_t{6400} << 10;
  const std::array<std::pair<std::string_view, uint64_t*>, 8> numbers{{{"--port", &o.port},
                                                                       {"--target-port", &o.target_port},
                                                                       {"--conns", &o.conns},
                                                                       {"--bytes", &o.bytes},
                                                                       {"--size", &o.size},
                                                                       {"--count", &o.count},
                                                                       {"--cpu-of", &o.cpu_of},
                                                                       {"--lowat", &o.lowat}}};
  for (int i = 2; i < argc; i += 2) {
    const std::string_view name = argv[i];
    if (name == "--") {
      o.command.assign(argv + i + 1, argv + argc);
      break;
    }
    if (i + 1 == argc) usage("an option without its value");
    const std::string_view value = argv[i + 1];
    const auto n = std::find_if(numbers.begin(), numbers.end(), [&](const auto& known) { return known.first == name; });
    if (n != numbers.end())
      number(value, *n->second);
    else if (name == "--seconds")
      number(value, o.seconds);
    else if (name == "--warmup")
      number(value, o.warmup);
    else if (name == "--way")
      o.way = value;
    else if (name == "--from")
      o.from = value;
    else
      usage("unknown option");
  }
  if (o.port == 0 || o.conns == 0 || o.size == 0 || o.count == 0) usage("--port, and no zeros, please");
  if (o.way != "up" && o.way != "down" && o.way != "both") usage("--way up, down or both");
  if (o.run == "start" && o.command.empty()) usage("start -- COMMAND");
  o.command.push_back(nullptr);
  return o;
}

}  // namespace

int main(int argc, char** argv) {
  const Options o = parse(argc, argv);
  begin();
  if (o.run == "bulk")
    run_bulk(o);
  else if (o.run == "rtt")
    run_rtt(o);
  else if (o.run == "rate")
    run_rate(o);
  else if (o.run == "hold")
    run_hold(o);
  else if (o.run == "drain")
    run_drain(o);
  else if (o.run == "start")
    run_start(o);
  else
    usage("which run?");
  return 0;
}

// SPDX-License-Identifier: Apache-2.0
// Very many clients of a plex, or few that never stop. What they say and hear is numbered and looked at, unlike load.cpp's. One process; `hold` may
// be started many times for more clients than one process has descriptors for. Lines of --size bytes, the last of which is LF.
//
//   hold   --clients, each of which has been let in when this says so; then what standard input says, a line each, answered by a line of JSON:
//            echo        each says a line of its own, and waits for it to come back
//            say N       the first of them says the line B N, which an upstream of the bench gives to all
//            expect N    until all of them have heard the lines B 1 to B N, in order, each once
//            close       all finish (FIN), and wait for the other end of each
//   flood  --clients that say "C N", C their number, N counting from 1, as fast as they are read, for --seconds or --messages each; then how many each
//          has said. They stay until standard input ends. --rate in all a second; 0: none.
//
// Whoever is left when the process ends is reset.
#include "../ends.h"

#include <sys/epoll.h>

#include <charconv>
#include <cinttypes>
#include <string_view>
#include <utility>

namespace {

using namespace bench;

constexpr const char* kUsage =
    "usage: crowd hold|flood --port P [--from 127.0.0.1] [--clients 1] [--size 64] [--messages 0] [--seconds 1] [--rate 0] [--patience 30]\n";

struct Arguments {
  std::string run;
  uint32_t from = INADDR_LOOPBACK;
  uint64_t port = 0, clients = 1, size = 64, messages = 0, seconds = 1, rate = 0, patience = 30;
};

[[noreturn]] void usage(const char* what) {
  std::fprintf(stderr, "crowd: %s\n%s", what, kUsage);
  _exit(2);
}

void print(const std::string& json) {
  std::printf("{%s}\n", json.c_str());
  std::fflush(stdout);
}
std::string field(const char* name, uint64_t value) { return '"' + std::string(name) + "\":" + std::to_string(value); }

// "E 17 3", and blanks up to the size.
std::string line(char what, uint64_t one, uint64_t other, size_t size) {
  std::string text = what == 0 ? "" : std::string(1, what) + ' ';
  text += std::to_string(one);
  text += ' ';
  text += std::to_string(other);
  need(text.size() < size, "--size: too small for a line");
  text.resize(size - 1, ' ');
  return text + '\n';
}

class Crowd {
 public:
  Crowd(const Arguments& o, uint32_t events) : o_(o), epoll_(epoll_create1(EPOLL_CLOEXEC)) {
    need(epoll_ >= 0, "epoll_create1");
    for (uint32_t i = 0; i < o.clients; ++i) {
      fds_.push_back(connect_to(o.port, o.from));
      const linger at_once{1, 0};
      need(setsockopt(fds_[i], SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once) == 0, "setsockopt");
      set_nonblocking(fds_[i]);
      epoll_event event{};
      event.events = events;
      event.data.u32 = i;
      need(epoll_ctl(epoll_, EPOLL_CTL_ADD, fds_[i], &event) == 0, "epoll_ctl");
    }
  }
  Crowd(const Crowd&) = delete;
  Crowd& operator=(const Crowd&) = delete;
  ~Crowd() {
    for (const int fd : fds_) close(fd);
    close(epoll_);
  }

  template <typename F>
  bool wait(int ms, F each) {
    int n = 0;
    do n = epoll_wait(epoll_, events_.data(), static_cast<int>(events_.size()), ms);
    while (n < 0 && errno == EINTR);  // it was stopped, and goes on
    need(n >= 0, "epoll_wait");
    for (int i = 0; i < n; ++i) each(events_[static_cast<size_t>(i)].data.u32);
    return n > 0;
  }
  int fd(uint32_t i) const { return fds_[i]; }
  uint32_t size() const { return static_cast<uint32_t>(fds_.size()); }

 protected:
  const Arguments o_;

 private:
  const int epoll_;
  std::vector<int> fds_;
  std::array<epoll_event, 256> events_{};
};

// ---- hold

class Hold final : public Crowd {
 public:
  explicit Hold(const Arguments& o) : Crowd(o, EPOLLIN | EPOLLET), ones_(o.clients), text_(o.clients * o.size) {}

  void say(char what, uint32_t i, uint64_t one, uint64_t other) {
    const std::string said = line(what, one, other, o_.size);
    need(send(fd(i), said.data(), said.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(said.size()), "send");
  }
  void echo() {
    ++round_;
    const uint64_t before = echoed_;
    for (uint32_t i = 0; i < size(); ++i) {
      say('E', i, i, round_);
      if (i % 64 == 0) wait(0, [&](uint32_t at) { read(at); });  // their answers do not pile up
    }
    until([&] { return echoed_ - before >= size(); });
    tell("echoed", echoed_ - before);
  }
  void expect(uint64_t number) {
    wanted_ = number;
    have_ = 0;
    for (const One& one : ones_) have_ += one.heard >= wanted_;
    until([&] { return have_ >= size(); });
    tell("heard", have_);
  }
  void close() {
    for (uint32_t i = 0; i < size(); ++i) static_cast<void>(shutdown(fd(i), SHUT_WR));
    until([&] { return gone_ >= size(); });
    tell("closed", gone_);
  }

 private:
  struct One {
    uint32_t heard = 0;  // B 1 to B this
    uint32_t part = 0;   // of the line that is coming
    bool gone = false;   // ended by the other side
  };

  // Until `over`, or nobody has heard anything for --patience seconds: the answer then says how far it came.
  template <typename F>
  void until(F over) {
    while (!over() && wait(static_cast<int>(o_.patience * 1000), [&](uint32_t i) { read(i); })) {}
  }
  void tell(const char* what, uint64_t many) {
    print(field(what, many) + ',' + field("wrong", wrong_) + ',' + field("gone", gone_) + ',' + field("at_ns", last_ns_));
  }

  void read(uint32_t i) {
    One& one = ones_[i];
    for (;;) {
      const ssize_t n = recv(fd(i), block_.data(), block_.size(), 0);
      if (n < 0 && errno == EAGAIN) return;
      if (n <= 0) {
        if (!std::exchange(one.gone, true)) ++gone_;
        return;
      }
      for (size_t at = 0; at < static_cast<size_t>(n);) {
        const size_t take = std::min(o_.size - one.part, static_cast<size_t>(n) - at);
        char* const text = text_.data() + i * o_.size;
        std::memcpy(text + one.part, block_.data() + at, take);
        one.part += static_cast<uint32_t>(take);
        at += take;
        if (one.part < o_.size) break;
        one.part = 0;
        heard(i, one, std::string_view(text, o_.size));
      }
    }
  }
  void heard(uint32_t i, One& one, std::string_view text) {
    if (text == line('E', i, round_, o_.size)) {
      ++echoed_;
    } else if (text == line('B', one.heard + 1, 0, o_.size)) {
      if (++one.heard == wanted_) ++have_;
    } else {
      if (wrong_++ == 0) std::fprintf(stderr, "crowd: client %u, behind B %u: %.*s\n", i, one.heard, static_cast<int>(text.size()) - 1, text.data());
    }
    last_ns_ = now_ns();
  }

  std::vector<One> ones_;
  std::vector<char> text_;  // a line for each
  std::array<char, 16384> block_{};
  uint64_t round_ = 0, echoed_ = 0, wanted_ = 0, have_ = 0, wrong_ = 0, gone_ = 0, last_ns_ = 0;
};

void run_hold(const Arguments& o) {
  const uint64_t began = now_ns();
  Hold hold(o);
  print(field("open", hold.size()) + ',' + field("ns", now_ns() - began));
  for (char word[64]; std::fgets(word, sizeof word, stdin) != nullptr;) {
    const std::string_view what(word);
    const uint64_t number = what.find(' ') == std::string_view::npos ? 0 : std::strtoull(word + what.find(' '), nullptr, 10);
    if (what.starts_with("echo")) {
      hold.echo();
    } else if (what.starts_with("say")) {
      print(field("at_ns", now_ns()));
      hold.say('B', 0, number, 0);
    } else if (what.starts_with("expect")) {
      hold.expect(number);
    } else if (what.starts_with("close")) {
      hold.close();
    }
  }
}

// ---- flood

class Flood final : public Crowd {
 public:
  explicit Flood(const Arguments& o) : Crowd(o, EPOLLOUT | EPOLLET), ones_(o.clients) {}

  void run() {
    const uint64_t began = now_ns();
    const uint64_t end = o_.messages != 0 ? UINT64_MAX : began + o_.seconds * 1'000'000'000u;
    uint64_t now = began;
    while (now < end && done_ < size()) {
      allowed_ = o_.rate == 0 ? UINT64_MAX : static_cast<uint64_t>(to_s(now - began) * static_cast<double>(o_.rate)) + 1;
      bool any = false;
      for (uint32_t i = 0; i < size(); ++i)
        if (ones_[i].writable) any |= write(i, false);
      wait(any ? 0 : 1, [&](uint32_t i) { ones_[i].writable = true; });
      now = now_ns();
    }
    for (uint32_t i = 0; i < size(); ++i)  // no half lines
      while (!ones_[i].rest.empty() && !write(i, true)) wait(1, [&](uint32_t at) { ones_[at].writable = true; });
    std::string said = field("ns", now_ns() - began) + ',' + field("all", all_) + ",\"said\":[";
    for (uint32_t i = 0; i < size(); ++i) said += (i == 0 ? "" : ",") + std::to_string(ones_[i].said);
    print(said + ']');
  }

 private:
  static constexpr uint64_t kBatch = 32;  // lines of one client at a time
  struct One {
    uint64_t said = 0;
    std::string rest;  // begun, and not taken
    bool writable = true;
    bool done = false;
  };

  // Whether it got anywhere.
  bool write(uint32_t i, bool rest_only) {
    One& one = ones_[i];
    for (uint64_t n = 0; !rest_only && n < kBatch && one.rest.size() < kBatch * o_.size && all_ < allowed_; ++n) {
      if (o_.messages != 0 && one.said == o_.messages) break;
      one.rest += line(0, i, ++one.said, o_.size);
      ++all_;
    }
    if (one.rest.empty()) {
      if (!one.done && o_.messages != 0 && one.said == o_.messages) {
        one.done = true;
        ++done_;
      }
      return false;
    }
    const ssize_t n = send(fd(i), one.rest.data(), one.rest.size(), MSG_NOSIGNAL);
    if (n < 0 && errno == EAGAIN) {
      one.writable = false;
      return false;
    }
    need(n > 0, "send: a client was ended");
    one.rest.erase(0, static_cast<size_t>(n));
    return true;
  }

  std::vector<One> ones_;
  uint64_t all_ = 0, allowed_ = 0, done_ = 0;
};

void run_flood(const Arguments& o) {
  Flood flood(o);
  flood.run();
  while (std::getchar() != EOF) {}
}

// ---- command line

Arguments parse(int argc, char** argv) {
  Arguments o;
  if (argc < 2) usage("which run?");
  o.run = argv[1];
  const std::array<std::pair<std::string_view, uint64_t*>, 7> numbers{{{"--port", &o.port},
                                                                       {"--clients", &o.clients},
                                                                       {"--size", &o.size},
                                                                       {"--messages", &o.messages},
                                                                       {"--seconds", &o.seconds},
                                                                       {"--rate", &o.rate},
                                                                       {"--patience", &o.patience}}};
  for (int i = 2; i < argc; i += 2) {
    const std::string_view name = argv[i];
    if (i + 1 == argc) usage("an option without its value");
    const std::string_view value = argv[i + 1];
    if (name == "--from") {
      in_addr from{};
      if (inet_pton(AF_INET, argv[i + 1], &from) != 1) usage("--from: no address");
      o.from = ntohl(from.s_addr);
      continue;
    }
    const auto n = std::find_if(numbers.begin(), numbers.end(), [&](const auto& known) { return known.first == name; });
    if (n == numbers.end()) usage("unknown option");
    const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), *n->second);
    if (error != std::errc{} || end != value.data() + value.size()) usage("not a number");
  }
  if (o.port == 0 || o.clients == 0 || o.size == 0 || o.patience == 0) usage("--port, and no zeros, please");
  return o;
}

}  // namespace

int main(int argc, char** argv) {
  const Arguments o = parse(argc, argv);
  begin();
  if (o.run == "hold")
    run_hold(o);
  else if (o.run == "flood")
    run_flood(o);
  else
    usage("which run?");
  return 0;
}

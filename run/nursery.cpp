// SPDX-License-Identifier: Apache-2.0
// Nursery: both of its sides. See nursery.h.
#include "run/nursery.h"

#include <sys/socket.h>
#include <sys/wait.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <set>
#include <utility>

#include "lib/log.h"
#include "net/sys.h"

namespace relay {
namespace {

struct Wish {
  int32_t kill;  // a process; 0: make one
};
struct News {
  int32_t pid;
  int32_t status;  // as wait(2) has it
};

// In the nursery, until the main process has gone.
class Inside {
 public:
  Inside(Fd fd, std::span<const Kind* const> kinds, Nursery::Life life, std::span<uint64_t> shared)
      : fd_(std::move(fd)), kinds_(kinds), life_(life), shared_(shared) {}

  void run() {
    const int only = fd_.get();
    sys::close_others(&only, 1);
    sys::ignore_signals();
    sys::name_process("relay-nursery");
    constexpr int kSignals[] = {SIGCHLD, 0};
    signals_ = Fd{sys::signal_open(kSignals)};
    while (signals_.open()) {
      const std::array<int, 2> both = {fd_.get(), signals_.get()};
      sys::wait_readable(both.data(), both.size());
      tell_ended();
      if (!serve()) break;
    }
    for (const int pid : children_) sys::kill(pid);
    sys::exit_at_once(0);
  }

 private:
  // False: the main process has gone.
  bool serve() {
    for (;;) {
      Wish wish{};
      std::array<int, 2> fds{};
      size_t count = fds.size();
      const ssize_t n = sys::receive_fds(fd_.get(), &wish, sizeof wish, fds.data(), &count);
      if (n == -EAGAIN) return true;
      if (n != static_cast<ssize_t>(sizeof wish)) return false;
      if (wish.kill != 0) {
        if (children_.contains(wish.kill)) sys::kill(wish.kill);
      } else if (count == fds.size()) {
        make(Fd{fds[0]}, Fd{fds[1]});
      }
    }
  }

  void make(Fd trunk, Fd hatch) {
    const int pid = sys::fork();
    if (pid > 0) children_.insert(pid);
    if (pid != 0) return;  // where there is none, the main process sees its trunk end
    const std::array<int, 2> kept = {trunk.get(), hatch.get()};
    sys::close_others(kept.data(), kept.size());
    sys::exit_at_once(life_({kinds_, std::move(trunk), std::move(hatch), shared_}));
  }

  void tell_ended() {
    while (sys::signal_take(signals_.get()) != 0) {
    }
    News news{};
    while ((news.pid = sys::reap(&news.status)) > 0) {
      children_.erase(news.pid);
      static_cast<void>(sys::send_fds(fd_.get(), &news, sizeof news, nullptr, 0));  // what it does not take would only have been told
    }
  }

  Fd fd_;
  Fd signals_;
  std::span<const Kind* const> kinds_;
  Nursery::Life life_;
  std::span<uint64_t> shared_;
  std::set<int> children_;
};

}  // namespace

std::unique_ptr<Nursery> Nursery::open(std::span<const Kind* const> kinds, Life life) {
  int ends[2] = {-1, -1};
  if (sys::socket_pair(SOCK_SEQPACKET, ends) < 0) return nullptr;
  Fd ours{ends[0]};
  Fd theirs{ends[1]};
  auto* const words = static_cast<uint64_t*>(sys::share_memory(kShared * sizeof(uint64_t)));
  if (words == nullptr) return nullptr;
  const int pid = sys::fork();
  if (pid < 0) return nullptr;
  if (pid == 0) ours.close();
  if (pid == 0) Inside(std::move(theirs), kinds, life, {words, kShared}).run();
  return std::unique_ptr<Nursery>(new Nursery(std::move(ours), {words, kShared}));
}

Status Nursery::watch(Loop& loop) {
  const Status status = loop.watch(*this, fd_.get(), EPOLLIN);
  if (status.ok()) loop_ = &loop;
  return status;
}

bool Nursery::make(Fd trunk, Fd hatch) {
  const Wish wish{};
  const std::array<int, 2> fds = {trunk.get(), hatch.get()};
  return fd_.open() && sys::send_fds(fd_.get(), &wish, sizeof wish, fds.data(), fds.size()) >= 0;
}

void Nursery::kill(int pid) {
  const Wish wish{pid};
  if (fd_.open()) static_cast<void>(sys::send_fds(fd_.get(), &wish, sizeof wish, nullptr, 0));
}

void Nursery::close() {
  if (!fd_.open()) return;
  if (loop_ != nullptr) loop_->forget(*this);
  fd_ = Fd{};
}

void Nursery::on_event(uint32_t) {
  for (;;) {
    News news{};
    size_t none = 0;
    const ssize_t n = sys::receive_fds(fd_.get(), &news, sizeof news, nullptr, &none);
    if (n == -EAGAIN) return;
    if (n != static_cast<ssize_t>(sizeof news)) {
      LogLine(Level::kError, "nursery-lost").text("remedy", "workers that end are not replaced until the process is started again");
      return close();
    }
    if (WIFSIGNALED(news.status)) LogLine(Level::kError, "worker-killed").number("pid", news.pid).number("signal", WTERMSIG(news.status));
    else if (WEXITSTATUS(news.status) != 0) LogLine(Level::kError, "worker-failed").number("pid", news.pid).number("status", WEXITSTATUS(news.status));
  }
}

std::span<uint64_t> Nursery::share(size_t count, size_t& offset) {
  if (const auto at = std::find_if(free_.begin(), free_.end(), [count](const Free& free) { return free.count == count; }); at != free_.end()) {
    offset = at->offset;
    free_.erase(at);
    std::ranges::fill(shared_.subspan(offset, count), 0);
    return shared_.subspan(offset, count);
  }
  if (shared_.size() - used_ < count) return {};
  offset = used_;
  used_ += count;
  return shared_.subspan(offset, count);
}

}  // namespace relay

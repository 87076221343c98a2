// SPDX-License-Identifier: Apache-2.0
// Nursery: a small process of its own that makes the worker processes, at the start and whenever one is to be replaced.
//
//   main ── "one more", its ends of a trunk and a hatch ──► nursery ── fork ──► worker
//        ◄─ "number 4711 has ended, by signal 9" ──────────
//
// It is forked before anything else is there: so what it forks has nothing of the main process in it, neither descriptors nor memory, and the main
// process can give up the right to make processes (net/confine.h). When the main process is gone, so are they all.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "net/fd.h"
#include "net/loop.h"

namespace relay {

struct Kind;

class Nursery final : private Watcher {
 public:
  // The life of a worker: what it has of the main process. Returns its exit status.
  struct Cradle {
    std::span<const Kind* const> kinds;
    Fd trunk;
    Fd hatch;  // brings descriptors: a datagram for each
    std::span<uint64_t> shared;
  };
  using Life = int (*)(Cradle&&);

  // Forks. nullptr: the kernel has no process or no memory for it. REQUIRES: nothing is open but what is inherited, and no loop.
  static std::unique_ptr<Nursery> open(std::span<const Kind* const> kinds, Life life);
  ~Nursery() { close(); }

  // Tells of workers that ended badly from now on, in the log.
  Status watch(Loop& loop);
  // A worker with these ends. Borrows nothing. False: the nursery is gone.
  bool make(Fd trunk, Fd hatch);
  // Ends it at once.
  void kill(int pid);
  void close();

  bool is_open() const { return fd_.open(); }
  // `count` numbers that all processes see; empty: there are no more. `offset`: where a worker finds them in Cradle::shared.
  std::span<uint64_t> share(size_t count, size_t& offset);
  void give_back(size_t offset, size_t count) { free_.push_back({offset, count}); }

 private:
  static constexpr size_t kShared = 512 * 1024;  // numbers; pages that nobody touches are not there

  Nursery(Fd fd, std::span<uint64_t> shared) : fd_(std::move(fd)), shared_(shared) {}
  void on_event(uint32_t events) override;

  Fd fd_;
  Loop* loop_ = nullptr;
  std::span<uint64_t> shared_;
  size_t used_ = 0;
  struct Free {
    size_t offset;
    size_t count;
  };
  std::vector<Free> free_;
};

}  // namespace relay

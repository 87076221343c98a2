// SPDX-License-Identifier: Apache-2.0
// Pipe: the kernel's own buffer between two sockets, for splice(2): bytes go from one to the other without being copied to
// user space. PipePool lends them.
//
// A pipe holds slots, not bytes: each piece that the network delivered takes one, be it 1 byte or 32 KiB. So splice says
// EAGAIN both when the socket has nothing and when the pipe is full; only of an empty pipe is the answer clear. Hence the
// rule of the one user (Flow): fill an empty pipe, empty it, fill it again.
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "net/fd.h"

namespace relay {

struct Pipe {
  Fd in;              // we write here
  Fd out;             // and read here
  size_t filled = 0;  // bytes inside
};

class PipePool {
 public:
  static constexpr size_t kBytes = 1024 * 1024;  // of slots, in pages: 256 slots; the most that an ordinary user may have
  static constexpr int kSlotsMin = 16;          // with fewer, copying is better
  static constexpr size_t kSpare = 8;           // kept open for the next user

  // nullptr if there are no descriptors, no memory, or only pipes too small to pay.
  std::unique_ptr<Pipe> lend();
  // Takes an empty pipe back; one with bytes inside is closed, and they are gone: the caller has counted them.
  void give_back(std::unique_ptr<Pipe> pipe);
  bool holds_spare() const { return !spare_.empty(); }
  // Closes the spare pipes, if none was lent since the last call.
  void tidy();

 private:
  bool used_ = false;
  std::vector<std::unique_ptr<Pipe>> spare_;
};

}  // namespace relay

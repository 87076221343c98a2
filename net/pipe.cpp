// SPDX-License-Identifier: Apache-2.0
// PipePool: lends pipes and keeps a few open.
#include "net/pipe.h"

#include "net/sys.h"

namespace relay {

std::unique_ptr<Pipe> PipePool::lend() {
  used_ = true;
  if (!spare_.empty()) {
    auto pipe = std::move(spare_.back());
    spare_.pop_back();
    return pipe;
  }
  int ends[2];
  int slots = 0;
  if (sys::pipe(ends, kBytes, &slots) < 0) return nullptr;
  auto pipe = std::make_unique<Pipe>();
  pipe->out = Fd{ends[0]};
  pipe->in = Fd{ends[1]};
  return slots >= kSlotsMin ? std::move(pipe) : nullptr;
}

void PipePool::give_back(std::unique_ptr<Pipe> pipe) {
  if (pipe->filled == 0 && spare_.size() < kSpare) spare_.push_back(std::move(pipe));
}

void PipePool::tidy() {
  if (!used_) spare_.clear();
  used_ = false;
}

}  // namespace relay

// SPDX-License-Identifier: Apache-2.0
// Buffer: a linear window on a block of bytes that is lent when bytes come and given back when it is empty: an idle
// connection owns none.
//
//   ┌───────────┬──────────────┬──────────┐
//   │   done    │     data     │   room   │      done <= filled <= kBlock; both live in the block, so
//                                               that a Buffer without one is a pointer
//   └───────────┴──────────────┴──────────┘
//
// BufferPool lends the blocks and keeps some warm for the next readers (TLS has one in its hands beside the reader's), which is
// why copying through the relay runs in the processor's cache however many connections there are. The loop lets go of these too
// when nobody has read for a while.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <new>
#include <span>
#include <utility>

#include "lib/check.h"

namespace relay {

class BufferPool {
 public:
  static constexpr uint32_t kBlock = 64 * 1024;

  struct Block {
    uint32_t done = 0;
    uint32_t filled = 0;
    std::byte bytes[kBlock];  // NOLINT: not zeroed
  };
  using Lent = std::unique_ptr<Block>;

  // Empty if there is no memory.
  Lent lend() {
    used_ = true;
    if (spares_ > 0) return std::move(spare_[--spares_]);
    return Lent{new (std::nothrow) Block};
  }
  void give_back(Lent block) {
    if (spares_ < kSpare) spare_[spares_++] = std::move(block);
  }
  bool holds_spare() const { return spares_ > 0; }
  // Lets the spare blocks go, if none was lent since the last call.
  void tidy() {
    while (!used_ && spares_ > 0) spare_[--spares_].reset();
    used_ = false;
  }

 private:
  static constexpr size_t kSpare = 4;
  std::array<Lent, kSpare> spare_;
  size_t spares_ = 0;
  bool used_ = false;
};

class Buffer {
 public:
  bool empty() const { return size() == 0; }
  size_t size() const { return block_ == nullptr ? 0 : block_->filled - block_->done; }
  bool owns_block() const { return block_ != nullptr; }

  // Takes a block if it has none; false if there is no memory.
  [[nodiscard]] bool borrow(BufferPool& pool) {
    if (block_ == nullptr) block_ = pool.lend();
    return block_ != nullptr;
  }
  // Gives the block back if nothing is in it.
  void release(BufferPool& pool) {
    if (block_ == nullptr || !empty()) return;
    block_->done = block_->filled = 0;
    pool.give_back(std::move(block_));
  }

  // REQUIRES, all of them: owns_block(). The spans are valid until the next call.
  std::span<std::byte> room() { return {block_->bytes + block_->filled, BufferPool::kBlock - block_->filled}; }
  std::span<const std::byte> data() const { return {block_->bytes + block_->done, size()}; }

  void commit(size_t n) {  // the first n bytes of room() are data now
    CHECK(n <= BufferPool::kBlock - block_->filled);
    block_->filled += static_cast<uint32_t>(n);
  }
  void consume(size_t n) {  // the first n bytes of data() are done
    CHECK(n <= size());
    block_->done += static_cast<uint32_t>(n);
    if (empty()) block_->done = block_->filled = 0;
  }
  void compact() {  // data() moves to the front of the block
    if (block_->done == 0) return;
    std::memmove(block_->bytes, block_->bytes + block_->done, size());
    block_->filled -= block_->done;
    block_->done = 0;
  }

 private:
  BufferPool::Lent block_;
};

}  // namespace relay

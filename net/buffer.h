// SPDX-License-Identifier: Apache-2.0
// Buffer: a linear window on a block of bytes that is lent when bytes come and given back when it is empty: an idle
// connection owns none.
//
//   ┌───────────┬──────────────┬──────────┐
//   │   done    │     data     │   room   │      done_ <= filled_ <= kBlock
//   └───────────┴──────────────┴──────────┘
//
// BufferPool lends the blocks and keeps one warm for the next reader, which is why copying through the relay runs in the
// processor's cache however many connections there are. The loop lets go of that one too when nobody has read for a while.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <span>
#include <utility>

#include "lib/check.h"

namespace relay {

class BufferPool {
 public:
  static constexpr size_t kBlock = 65536;
  using Block = std::unique_ptr<std::byte[]>;

  // Empty if there is no memory.
  Block lend() {
    used_ = true;
    if (spare_ != nullptr) return std::move(spare_);
    return Block{new (std::nothrow) std::byte[kBlock]};
  }
  void give_back(Block block) {
    if (spare_ == nullptr) spare_ = std::move(block);
  }
  bool holds_spare() const { return spare_ != nullptr; }
  // Lets the spare block go, if none was lent since the last call.
  void tidy() {
    if (!used_) spare_.reset();
    used_ = false;
  }

 private:
  Block spare_;
  bool used_ = false;
};

class Buffer {
 public:
  bool empty() const { return done_ == filled_; }
  size_t size() const { return filled_ - done_; }
  bool owns_block() const { return block_ != nullptr; }

  // Takes a block if it has none; false if there is no memory.
  [[nodiscard]] bool borrow(BufferPool& pool) {
    if (block_ == nullptr) block_ = pool.lend();
    return block_ != nullptr;
  }
  // Gives the block back if nothing is in it.
  void release(BufferPool& pool) {
    if (!empty() || block_ == nullptr) return;
    pool.give_back(std::move(block_));
    done_ = filled_ = 0;
  }

  // REQUIRES: owns_block(). Both are valid until the next call.
  std::span<std::byte> room() { return {block_.get() + filled_, BufferPool::kBlock - filled_}; }
  std::span<const std::byte> data() const { return {block_.get() + done_, size()}; }

  void commit(size_t n) {  // the first n bytes of room() are data now
    CHECK(n <= BufferPool::kBlock - filled_);
    filled_ += static_cast<uint32_t>(n);
  }
  void consume(size_t n) {  // the first n bytes of data() are done
    CHECK(n <= size());
    done_ += static_cast<uint32_t>(n);
    if (empty()) done_ = filled_ = 0;
  }

 private:
  BufferPool::Block block_;
  uint32_t done_ = 0;
  uint32_t filled_ = 0;
};

}  // namespace relay

// SPDX-License-Identifier: Apache-2.0
// Queue: the ingress queue. A bounded ring of bytes between one writer and one reader; no I/O, no clock.
//
//        read_ ──────► written_                 offsets only grow; the place in the ring is offset & mask
//   ┌──────┬──────────────┬────────────┐
//   │ room │ front: bytes │    room    │        both may wrap, hence up to two spans each, for readv and writev
//   └──────┴──────────────┴────────────┘
//
// The bound is exact (6400KiB means 6400KiB); the ring behind it is a power of two: a small one for the first bytes, and when
// they do not fit, the whole one, of which pages that no byte has reached are never touched. It is taken from the heap when
// the first byte comes and given back when the last one goes, so that an empty Queue owns nothing; an owner that is never idle
// for long keeps it (advance), or passes it on to the next Queue (lend, trim with a spare). A full queue is a state, never a
// drop: what to do then is the owner's. 64-bit offsets do not wrap in the life of a machine.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <span>
#include <utility>

#include "lib/check.h"

namespace relay {

class Queue {
 public:
  using Spans = std::array<std::span<std::byte>, 2>;
  using Ring = std::unique_ptr<std::byte[]>;  // a small one, on its way from one Queue to another

  // REQUIRES: 0 < bound <= 1 TiB.
  explicit Queue(uint64_t bound) : bound_(bound) { CHECK(bound > 0 && bound <= uint64_t{1} << 40); }

  uint64_t bound() const { return bound_; }
  // Another bound from now on, though not less than what is in it. REQUIRES: as for a new one.
  void set_bound(uint64_t bound) {
    CHECK(bound > 0 && bound <= uint64_t{1} << 40);
    bound_ = bound > size() ? bound : size();
  }
  uint64_t size() const { return written_ - read_; }
  bool empty() const { return written_ == read_; }
  bool full() const { return size() == bound_; }
  uint64_t peak() const { return peak_; }        // the most bytes that were ever in it at once
  uint64_t written() const { return written_; }  // offsets: all bytes that ever came, all that ever went
  uint64_t read() const { return read_; }
  bool owns_memory() const { return ring_ != nullptr; }

  // Sees to it that room() is not empty unless the queue is full. False: there is no memory, and nothing has changed.
  [[nodiscard]] bool reserve() {
    if (ring_ == nullptr) return take_ring(whole() < kSmall ? whole() : kSmall);
    return size() < capacity_ || full() || take_ring(whole());
  }
  // The same for `n` bytes at once, with no more memory than they need. REQUIRES: n <= bound() - size().
  [[nodiscard]] bool reserve(uint64_t n) {
    CHECK(n <= bound_ - size());
    if (ring_ != nullptr && size() + n <= capacity_) return true;
    const uint64_t least = std::bit_ceil(size() + n);
    return take_ring(least < kSmall ? (whole() < kSmall ? whole() : kSmall) : least);
  }
  // Gives the memory back if no byte is in it; the other one: to `spare`, if that is where a small ring belongs and none is there.
  void trim() {
    if (empty()) ring_.reset();
  }
  void trim(Ring& spare) {
    if (empty() && ring_ != nullptr && capacity_ == kSmall && spare == nullptr) spare = std::move(ring_);
    trim();
  }
  // Takes `spare` for its ring if it has none and it is of use.
  void lend(Ring& spare) {
    if (ring_ != nullptr || spare == nullptr || whole() < kSmall) return;
    ring_ = std::move(spare);
    capacity_ = kSmall;
    base_ = read_;
  }

  // Where the next bytes go, in order; both empty when the queue is full. Valid until the next call of anything else.
  // REQUIRES: reserve() has just been true.
  Spans room() {
    CHECK(ring_ != nullptr);
    return spans(written_, (bound_ < capacity_ ? bound_ : capacity_) - size());
  }
  // The first `n` bytes of room() have been filled. REQUIRES: n is at most the size of room().
  void commit(uint64_t n) {
    CHECK(n <= bound_ - size() && n <= capacity_ - size());
    written_ += n;
    if (size() > peak_) peak_ = size();
  }

  // The oldest bytes, in order; both empty when the queue is. Valid until the next call of anything else.
  Spans front() { return empty() ? Spans{} : spans(read_, size()); }
  // The bytes from `offset` on: for a second reader, that is ahead of the first. REQUIRES: read() <= offset <= written().
  Spans from(uint64_t offset) {
    CHECK(read_ <= offset && offset <= written_);
    return offset == written_ ? Spans{} : spans(offset, written_ - offset);
  }
  // The first `n` bytes of front() have gone. REQUIRES: n <= size().
  void consume(uint64_t n) {
    advance(n);
    trim();
  }
  // The same, and the ring stays: its first bytes, which the processor has at hand, are the next to be filled.
  void advance(uint64_t n) {
    CHECK(n <= size());
    read_ += n;
    if (empty()) base_ = read_;
  }

 private:
  static constexpr uint64_t kSmall = 16 * 1024;

  uint64_t whole() const { return std::bit_ceil(bound_); }

  // A ring of `capacity` bytes instead of the one there is, with the same bytes inside.
  bool take_ring(uint64_t capacity) {
    Ring ring{new (std::nothrow) std::byte[capacity]};  // not zeroed
    if (ring == nullptr) return false;
    std::byte* to = ring.get();
    if (!empty())
      for (const auto& span : front()) to = std::copy(span.begin(), span.end(), to);
    ring_ = std::move(ring);
    capacity_ = capacity;
    base_ = read_;
    return true;
  }

  // A ring starts at its own beginning (base_), so that one that holds little touches few pages.
  Spans spans(uint64_t offset, uint64_t length) const {
    const uint64_t at = (offset - base_) & (capacity_ - 1);
    const uint64_t first = length < capacity_ - at ? length : capacity_ - at;
    return {std::span{ring_.get() + at, first}, std::span{ring_.get(), length - first}};
  }

  Ring ring_;
  uint64_t bound_;
  uint64_t capacity_ = 0;  // of ring_, if there is one
  uint64_t base_ = 0;
  uint64_t written_ = 0;
  uint64_t read_ = 0;
  uint64_t peak_ = 0;
};

}  // namespace relay

// SPDX-License-Identifier: Apache-2.0
// Heap: a binary min-heap of pointers whose elements know their own place, so that one can be taken out or moved in O(log n)
// without a search. T has `heap_key()` (anything with <) and a member `uint32_t heap_place`, kNotInHeap while outside.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "lib/check.h"

namespace relay {

inline constexpr uint32_t kNotInHeap = UINT32_MAX;

// Borrows its elements: each must be removed before it dies.
template <typename T>
class Heap {
 public:
  bool empty() const { return items_.empty(); }
  uint32_t size() const { return static_cast<uint32_t>(items_.size()); }
  T& top() const { return *items_.front(); }  // REQUIRES: !empty()

  // REQUIRES: outside the heap.
  void push(T& item) {
    CHECK(item.heap_place == kNotInHeap);
    items_.push_back(&item);
    item.heap_place = size() - 1;
    up(item.heap_place);
  }

  // REQUIRES: in this heap.
  void remove(T& item) {
    const uint32_t at = item.heap_place;
    CHECK(at < size() && items_[at] == &item);
    swap(at, size() - 1);
    items_.pop_back();
    item.heap_place = kNotInHeap;
    if (at < size()) restore(at);
  }

  // The key of `item` has changed. REQUIRES: in this heap.
  void moved(T& item) { restore(item.heap_place); }

 private:
  bool less(uint32_t a, uint32_t b) const { return items_[a]->heap_key() < items_[b]->heap_key(); }
  void swap(uint32_t a, uint32_t b) {
    std::swap(items_[a], items_[b]);
    items_[a]->heap_place = a;
    items_[b]->heap_place = b;
  }
  void restore(uint32_t at) {
    up(at);
    down(at);
  }
  void up(uint32_t at) {
    for (; at > 0 && less(at, (at - 1) / 2); at = (at - 1) / 2) swap(at, (at - 1) / 2);
  }
  void down(uint32_t at) {
    for (;;) {
      uint32_t least = at;
      for (uint32_t child = 2 * at + 1; child <= 2 * at + 2 && child < size(); ++child)
        if (less(child, least)) least = child;
      if (least == at) return;
      swap(at, least);
      at = least;
    }
  }

  std::vector<T*> items_;
};

}  // namespace relay

// SPDX-License-Identifier: Apache-2.0
// Fifo: first in, first out, in one piece of memory, which can be searched. An empty one has no memory: std::deque takes 576 bytes before there is
// anything in it, which counts where each of a million clients has one. push_back and pop_front are O(1), amortised.
//
//   Fifo<Kept> kept;   kept.push_back({…});   kept.front();   kept.pop_front();   for (const Kept& one : kept) …
#pragma once

#include <algorithm>
#include <cstddef>
#include <utility>
#include <vector>

#include "lib/check.h"

namespace relay {

// T can be made of nothing, and moved. What changes it makes iterators and references invalid.
template <typename T>
class Fifo {
 public:
  using iterator = typename std::vector<T>::iterator;
  using const_iterator = typename std::vector<T>::const_iterator;

  bool empty() const { return first_ == items_.size(); }
  size_t size() const { return items_.size() - first_; }
  iterator begin() { return items_.begin() + static_cast<std::ptrdiff_t>(first_); }
  iterator end() { return items_.end(); }
  const_iterator begin() const { return items_.begin() + static_cast<std::ptrdiff_t>(first_); }
  const_iterator end() const { return items_.end(); }
  // REQUIRES: !empty()
  T& front() {
    CHECK(!empty());
    return items_[first_];
  }

  void push_back(T item) { items_.push_back(std::move(item)); }
  // Before `at`.
  void insert(iterator at, T item) { items_.insert(at, std::move(item)); }
  // REQUIRES: !empty()
  void pop_front() {
    front() = T();  // what it holds is given back now
    ++first_;
    if (empty()) clear();
    if (first_ <= items_.size() / 2) return;
    items_.erase(items_.begin(), begin());
    first_ = 0;
  }
  template <typename Predicate>
  void erase_if(Predicate predicate) {
    items_.erase(std::remove_if(begin(), end(), predicate), end());
    if (empty()) clear();
  }
  void clear() {
    items_ = std::vector<T>();
    first_ = 0;
  }

 private:
  std::vector<T> items_;
  size_t first_ = 0;  // those before it have gone
};

}  // namespace relay

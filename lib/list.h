// SPDX-License-Identifier: Apache-2.0
// List: a doubly linked list through the elements themselves. An element is in at most one list per ListNode, knows how to
// leave it in O(1), and leaves it when it dies. A state that many objects share is a List; moving between states is moving
// between lists. No allocation.
//
//   struct Session : ListNode { … };   List<Session> waiting;   waiting.push_back(session);
#pragma once

#include <cstddef>

#include "lib/check.h"

namespace relay {

class ListNode {
 public:
  ListNode() = default;
  ListNode(const ListNode&) = delete;
  ListNode& operator=(const ListNode&) = delete;
  ~ListNode() { unlink(); }

  bool linked() const { return next_ != this; }
  void unlink() {
    prev_->next_ = next_;
    next_->prev_ = prev_;  // NOLINT(clang-analyzer-core.NullDereference): each points to one, be it itself
    next_ = prev_ = this;
  }

 private:
  template <typename T>
  friend class List;
  ListNode* next_ = this;
  ListNode* prev_ = this;
};

// Borrows its elements; an element must not outlive its place in memory. Order is first in, first out.
template <typename T>
class List {
 public:
  bool empty() const { return !head_.linked(); }
  T* front() { return empty() ? nullptr : static_cast<T*>(head_.next_); }

  // Moves `element` from wherever it is to the end of this list.
  void push_back(T& element) { put_before(element, head_); }
  // The same, to its beginning.
  void push_front(T& element) {
    ListNode& node = element;
    node.unlink();
    put_before(node, *head_.next_);
  }

  // The element after `element`, or nullptr. REQUIRES: `element` is in this list.
  T* next(T& element) {
    ListNode& node = element;
    return node.next_ == &head_ ? nullptr : static_cast<T*>(node.next_);
  }

 private:
  static void put_before(ListNode& node, ListNode& next) {
    node.unlink();
    node.prev_ = next.prev_;
    node.next_ = &next;
    next.prev_->next_ = &node;
    next.prev_ = &node;
  }

  ListNode head_;
};

}  // namespace relay

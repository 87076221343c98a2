// SPDX-License-Identifier: Apache-2.0
// Table: the clients by their UUIDs, and in an order that stays while others come and go.
//
//   places   0 1 2 3 …     a client has one for its life: who goes through all of them in pieces misses nobody who was there
//   cells    uuid ─► place  a hash table with open addressing (linear probing), at most three quarters full: 5 to 11 bytes a client
#pragma once

#include <cstdint>
#include <vector>

#include "lib/check.h"
#include "lib/uuid.h"

namespace relay::plex {

// T has `const Uuid& uuid() const` and a member `uint32_t place`, which is the Table's. Borrows them.
template <typename T>
class Table {
 public:
  size_t size() const { return used_; }

  T* find(const Uuid& uuid) const {
    if (cells_.empty()) return nullptr;
    for (size_t at = home(uuid);; at = next(at)) {
      if (cells_[at] == kFree) return nullptr;
      T* item = places_[cells_[at]];
      if (item->uuid() == uuid) return item;
    }
  }

  // REQUIRES: its uuid is not there.
  void add(T& item) {
    if (cells_.empty() || (used_ + 1) * 4 > cells_.size() * 3) grow();
    if (free_.empty()) {
      item.place = static_cast<uint32_t>(places_.size());
      places_.push_back(&item);
    } else {
      item.place = free_.back();
      free_.pop_back();
      places_[item.place] = &item;
    }
    put(item);
    ++used_;
  }

  // REQUIRES: it is there.
  void remove(T& item) {
    size_t hole = home(item.uuid());
    while (cells_[hole] != item.place) {
      CHECK(cells_[hole] != kFree);
      hole = next(hole);
    }
    // Those behind it that would have stood there, had it been free, move up: then no search ends too early.
    for (size_t at = next(hole); cells_[at] != kFree; at = next(at)) {
      const size_t wants = home(places_[cells_[at]]->uuid());
      if (((at - wants) & mask()) < ((at - hole) & mask())) continue;
      cells_[hole] = cells_[at];
      hole = at;
    }
    cells_[hole] = kFree;
    places_[item.place] = nullptr;
    free_.push_back(item.place);
    --used_;
    if (used_ == 0) *this = {};
  }

  // For going through all: those at 0 to places() - 1, nullptr where nobody is.
  uint32_t places() const { return static_cast<uint32_t>(places_.size()); }
  T* at(uint32_t place) const { return places_[place]; }

 private:
  static constexpr uint32_t kFree = UINT32_MAX;
  size_t mask() const { return cells_.size() - 1; }
  size_t home(const Uuid& uuid) const { return uuid.hash() & mask(); }
  size_t next(size_t at) const { return (at + 1) & mask(); }
  void put(const T& item) {
    size_t at = home(item.uuid());
    while (cells_[at] != kFree) at = next(at);
    cells_[at] = item.place;
  }
  void grow() {
    cells_.assign(cells_.empty() ? 16 : cells_.size() * 2, kFree);
    for (const T* item : places_)
      if (item != nullptr) put(*item);
  }

  std::vector<T*> places_;
  std::vector<uint32_t> free_;   // places
  std::vector<uint32_t> cells_;  // a power of two
  size_t used_ = 0;
};

}  // namespace relay::plex

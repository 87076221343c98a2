// SPDX-License-Identifier: Apache-2.0
// Queued: the hash is not secret: who makes keys fall on one place makes them unknown, no more.
#include "kinds/redis/queued.h"

#include <functional>
#include <new>

namespace relay::redis {
namespace {

size_t place_of(uint64_t hash) { return static_cast<size_t>((hash * 0x9e3779b97f4a7c15U) >> 48); }

uint64_t hash_of(std::string_view key) { return std::hash<std::string_view>{}(key); }

}  // namespace

void Queued::put(std::string_view key, const Place& place) {
  if (key.size() > kLongestKey) return;
  if (table_ == nullptr) table_ = std::unique_ptr<Table>{new (std::nothrow) Table{}};  // without memory nothing is known
  if (table_ == nullptr) return;
  const uint64_t hash = hash_of(key);
  (*table_)[place_of(hash)] = {hash, place, age_};
  any_ = true;
}

void Queued::forget(std::string_view key) {
  if (!any_ || key.size() > kLongestKey) return;
  const uint64_t hash = hash_of(key);
  Slot& slot = (*table_)[place_of(hash)];
  if (slot.hash == hash) slot.age = 0;
}

void Queued::clear() {
  if (!any_) return;
  any_ = false;
  if (++age_ != 0) return;
  table_->fill({});
  age_ = 1;
}

bool Queued::find(std::string_view key, Place& place) const {
  if (!any_ || key.size() > kLongestKey) return false;
  const uint64_t hash = hash_of(key);
  const Slot& slot = (*table_)[place_of(hash)];
  if (slot.age != age_ || slot.hash != hash) return false;
  place = slot.place;
  return true;
}

}  // namespace relay::redis

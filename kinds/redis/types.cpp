// SPDX-License-Identifier: Apache-2.0
// KeyTypes: 4096 places of eight bytes. All types and "one that we have no name for" (a module's) are the bits of a key of which nothing is known;
// a write leaves one of them, a refusal takes one away.
#include "kinds/redis/types.h"

#include <functional>
#include <new>

namespace relay::redis {
namespace {

constexpr uint64_t kTypes = 0xff;
constexpr uint64_t kUnnamed = 0x80;

// 0: it is not a question of the type.
uint64_t bit_of(Holds holds) {
  switch (holds) {
    case Holds::kAny:
    case Holds::kNothing: return 0;
    case Holds::kString: return 0x01;
    case Holds::kHash: return 0x02;
    case Holds::kSet: return 0x04;
    case Holds::kZset: return 0x08;
    case Holds::kList: return 0x10;
    case Holds::kStream: return 0x20;
  }
  return 0;
}

// The place is taken from bits that the entry keeps too, which does not matter: 56 bits are left to tell keys apart.
uint64_t hash_of(uint32_t db, std::string_view key) {
  const uint64_t hash = (std::hash<std::string_view>{}(key) ^ db) * 0x9e3779b97f4a7c15U;
  return (hash ^ (hash >> 32)) & ~kTypes;
}

}  // namespace

const KeyTypes::Entry* KeyTypes::find(uint64_t hash) const {
  if (table_ == nullptr) return nullptr;
  const Entry& entry = (*table_)[(hash >> 8) % kPlaces];
  return entry != 0 && (entry & ~kTypes) == hash ? &entry : nullptr;
}

void KeyTypes::put(uint64_t hash, uint64_t types) {
  if (table_ == nullptr) table_ = std::unique_ptr<Table>{new (std::nothrow) Table{}};
  if (table_ != nullptr) (*table_)[(hash >> 8) % kPlaces] = hash | types;
}

void KeyTypes::wrote(uint32_t db, std::string_view key, Holds holds) {
  const uint64_t bit = bit_of(holds);
  if (holds == Holds::kNothing) forget(db, key);
  else if (bit != 0 && key.size() <= kLongestKey) put(hash_of(db, key), bit);
}

void KeyTypes::refused(uint32_t db, std::string_view key, Holds needs) {
  const uint64_t bit = bit_of(needs);
  if (bit == 0 || key.size() > kLongestKey) return;
  const uint64_t hash = hash_of(db, key);
  const Entry* entry = find(hash);
  put(hash, (((entry != nullptr ? *entry : kTypes) & kTypes & ~bit) | kUnnamed));
}

void KeyTypes::forget(uint32_t db, std::string_view key) {
  if (table_ == nullptr || key.size() > kLongestKey) return;
  const uint64_t hash = hash_of(db, key);
  if (find(hash) != nullptr) (*table_)[(hash >> 8) % kPlaces] = 0;
}

void KeyTypes::clear() {
  if (table_ != nullptr) table_->fill(0);
}

bool KeyTypes::may_be(uint32_t db, std::string_view key, Holds needs) const {
  const uint64_t bit = bit_of(needs);
  if (bit == 0 || table_ == nullptr || key.size() > kLongestKey) return true;
  const Entry* entry = find(hash_of(db, key));
  return entry == nullptr || (*entry & bit) != 0;
}

}  // namespace relay::redis

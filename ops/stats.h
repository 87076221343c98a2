// SPDX-License-Identifier: Apache-2.0
// Stats: what a relay counts. A kind lists its statistics once (StatRow); the log, and whatever else shows them to an
// operator, work from that list.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace relay {

struct StatRow {
  enum class Type : uint8_t { kCounter, kGauge };
  std::string_view name;
  Type type;
  std::string_view help;
};

// E is an enum class whose values 0 … kCount-1 index the rows; its last enumerator is kCount.
template <typename E>
class Stats {
 public:
  static constexpr size_t kCount = static_cast<size_t>(E::kCount);

  Stats() : values_(own_) {}
  // They are kept in `where`, which others may read, too. Borrows it for its life. REQUIRES: it has kCount numbers.
  explicit Stats(std::span<uint64_t> where) : values_(where) {}
  Stats(const Stats&) = delete;
  Stats& operator=(const Stats&) = delete;

  void add(E stat, uint64_t n = 1) { values_[static_cast<size_t>(stat)] += n; }
  void sub(E stat, uint64_t n = 1) { values_[static_cast<size_t>(stat)] -= n; }
  uint64_t get(E stat) const { return values_[static_cast<size_t>(stat)]; }
  std::span<const uint64_t> values() const { return values_; }

 private:
  std::array<uint64_t, kCount> own_{};
  std::span<uint64_t> values_;
};

// One `stats` line of the log. REQUIRES: as many rows as values.
void log_stats(std::string_view relay, std::span<const StatRow> rows, std::span<const uint64_t> values);

}  // namespace relay

// SPDX-License-Identifier: Apache-2.0
// Uuid: sixteen bytes that name something for ever (RFC 9562), and their text, 8-4-4-4-12 in lower case.
#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace relay {

struct Uuid {
  static constexpr size_t kText = 36;

  std::array<uint8_t, 16> bytes{};

  auto operator<=>(const Uuid&) const = default;  // NOLINT(modernize-use-nullptr): there is none

  // Of version 4 (section 5.4) from random bytes: sets the six bits that say so.
  static Uuid random(const std::array<uint8_t, 16>& from);
  // Either case; nothing else: no braces, no urn:uuid:.
  static std::optional<Uuid> parse(std::string_view text);

  void write(char* to) const;  // kText characters
  std::string text() const;
  // For tables. Its bits are random already.
  uint64_t hash() const;
};

}  // namespace relay

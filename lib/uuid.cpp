// SPDX-License-Identifier: Apache-2.0
// Uuid: a table in each direction. One is read with each message of an upstream and written with each of a client.
#include "lib/uuid.h"

#include <cstring>

namespace relay {
namespace {

constexpr std::string_view kHex = "0123456789abcdef";
constexpr uint8_t kNoDigit = 0xff;

constexpr std::array<uint8_t, 256> kValues = [] {
  std::array<uint8_t, 256> values{};
  values.fill(kNoDigit);
  for (uint8_t i = 0; i < 16; ++i) values[static_cast<uint8_t>(kHex[i])] = i;
  for (uint8_t i = 10; i < 16; ++i) values[static_cast<uint8_t>(kHex[i] - 'a' + 'A')] = i;
  return values;
}();

// Before which bytes a hyphen stands.
constexpr bool is_cut(size_t byte) { return byte == 4 || byte == 6 || byte == 8 || byte == 10; }

}  // namespace

Uuid Uuid::random(const std::array<uint8_t, 16>& from) {
  Uuid uuid{from};
  uuid.bytes[6] = static_cast<uint8_t>((uuid.bytes[6] & 0x0fU) | 0x40U);  // version 4
  uuid.bytes[8] = static_cast<uint8_t>((uuid.bytes[8] & 0x3fU) | 0x80U);  // the variant of RFC 9562
  return uuid;
}

std::optional<Uuid> Uuid::parse(std::string_view text) {
  if (text.size() != kText) return std::nullopt;
  Uuid uuid;
  const char* from = text.data();
  for (size_t i = 0; i < uuid.bytes.size(); ++i) {
    if (is_cut(i) && *from++ != '-') return std::nullopt;
    const uint8_t high = kValues[static_cast<uint8_t>(*from++)];
    const uint8_t low = kValues[static_cast<uint8_t>(*from++)];
    if (high == kNoDigit || low == kNoDigit) return std::nullopt;
    uuid.bytes[i] = static_cast<uint8_t>(high << 4U | low);
  }
  return uuid;
}

void Uuid::write(char* to) const {
  for (size_t i = 0; i < bytes.size(); ++i) {
    if (is_cut(i)) *to++ = '-';
    *to++ = kHex[bytes[i] >> 4U];
    *to++ = kHex[bytes[i] & 15U];
  }
}

std::string Uuid::text() const {
  std::string text(kText, '\0');
  write(text.data());
  return text;
}

// The six bits that are always the same are not in the same places of both halves.
uint64_t Uuid::hash() const {
  std::array<uint64_t, 2> halves;
  std::memcpy(halves.data(), bytes.data(), sizeof halves);
  return halves[0] ^ halves[1];
}

}  // namespace relay

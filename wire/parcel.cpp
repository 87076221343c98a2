// SPDX-License-Identifier: Apache-2.0
// Parcels, byte by byte.
#include "wire/parcel.h"

#include <algorithm>

namespace relay {
namespace {

constexpr std::string_view kStart = "PX\x01";
constexpr size_t kHead = 14;
constexpr size_t kOutput = kHead + 8;  // at least
constexpr size_t kReport = kHead + 25;
constexpr size_t kWhere = 10;  // in a UUID
constexpr uint8_t kLastDelivery = static_cast<uint8_t>(upstream::Delivery::kUnreachable);

void put(std::string& to, uint64_t value, unsigned bytes) {
  while (bytes-- > 0) to += static_cast<char>(value >> (8 * bytes) & 0xffU);
}

uint64_t take(std::span<const std::byte>& from, size_t bytes) {
  uint64_t value = 0;
  for (const std::byte byte : from.first(bytes)) value = value << 8U | static_cast<uint64_t>(byte);
  from = from.subspan(bytes);
  return value;
}

}  // namespace

Place Place::of(const Uuid& uuid) {
  std::span<const std::byte> bytes = std::as_bytes(std::span(uuid.bytes)).subspan(kWhere);
  const auto tag = static_cast<uint32_t>(take(bytes, 4));
  return {tag, static_cast<uint16_t>(take(bytes, 2))};
}

void Place::stamp(Uuid& uuid) const {
  for (size_t i = 0; i < 6; ++i) uuid.bytes[kWhere + i] = static_cast<uint8_t>(number() >> (8 * (5 - i)) & 0xffU);
}

uint64_t name_number(std::string_view name) {
  uint64_t hash = 0xcbf29ce484222325U;
  for (const char c : name) hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001b3U;
  return hash == 0 ? 1 : hash;
}

void encode(const Parcel& parcel, std::string& to) {
  to += kStart;
  put(to, static_cast<uint64_t>(parcel.what), 1);
  put(to, parcel.from.tag, 4);
  put(to, parcel.from.worker, 2);
  put(to, parcel.speaker, 4);
  if (parcel.what == Parcel::What::kOutput) return put(to, parcel.name, 8);
  put(to, parcel.request, 8);
  for (const uint8_t byte : parcel.uuid.bytes) to += static_cast<char>(byte);
  put(to, static_cast<uint64_t>(parcel.delivery), 1);
}

Status decode(std::span<const std::byte> bytes, Parcel& parcel) {
  const auto bad = [](const char* why) { return Status{Code::kInvalid, why}; };
  if (bytes.size() < kHead || !std::ranges::equal(bytes.first(2), std::as_bytes(std::span(kStart)).first(2))) return bad("it is no parcel");
  if (bytes[2] != static_cast<std::byte>(kStart[2])) return bad("it is a parcel of another version of relay");
  const auto what = static_cast<uint8_t>(bytes[3]);
  if (what > static_cast<uint8_t>(Parcel::What::kReport)) return bad("it is a parcel of an unknown kind");
  parcel = {};
  parcel.what = static_cast<Parcel::What>(what);
  if (parcel.what == Parcel::What::kReport ? bytes.size() != kReport : bytes.size() < kOutput) return bad("it is a parcel of another length");
  bytes = bytes.subspan(4);
  parcel.from.tag = static_cast<uint32_t>(take(bytes, 4));
  parcel.from.worker = static_cast<uint16_t>(take(bytes, 2));
  parcel.speaker = static_cast<uint32_t>(take(bytes, 4));
  if (parcel.what == Parcel::What::kOutput) {
    parcel.name = take(bytes, 8);
    parcel.message = bytes;
    return {};
  }
  parcel.request = take(bytes, 8);
  for (uint8_t& byte : parcel.uuid.bytes) byte = static_cast<uint8_t>(take(bytes, 1));
  const auto delivery = static_cast<uint8_t>(take(bytes, 1));
  if (delivery > kLastDelivery) return bad("it is a report of an unknown outcome");
  parcel.delivery = static_cast<upstream::Delivery>(delivery);
  return {};
}

}  // namespace relay

// SPDX-License-Identifier: Apache-2.0
// gRPC: status codes, percent-encoding, and the parts of messages that are cut.
#include "wire/grpc.h"

#include <algorithm>
#include <cstring>
#include <new>

#include "lib/text.h"

namespace relay {
namespace {

constexpr uint32_t kUnknown = 2, kPermissionDenied = 7, kUnimplemented = 12, kInternal = 13, kUnavailable = 14, kUnauthenticated = 16;

constexpr std::array<std::string_view, 17> kCodes = {
    "OK",           "CANCELLED",          "UNKNOWN",          "INVALID_ARGUMENT",   "DEADLINE_EXCEEDED",   "NOT_FOUND",
    "ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED",            "OUT_OF_RANGE",
    "UNIMPLEMENTED", "INTERNAL",           "UNAVAILABLE",      "DATA_LOSS",          "UNAUTHENTICATED"};

constexpr std::string_view kHex = "0123456789ABCDEF";

}  // namespace

std::array<std::byte, kGrpcPrefix> grpc_prefix(uint32_t length) {
  const auto byte = [length](unsigned shift) { return static_cast<std::byte>(length >> shift & 0xffU); };
  return {std::byte{0}, byte(24), byte(16), byte(8), byte(0)};
}

// ---- the status

std::string_view grpc_code_name(uint32_t code) { return code < kCodes.size() ? kCodes[code] : std::string_view(); }

uint32_t parse_grpc_status(std::string_view text) {
  const std::optional<uint64_t> code = parse_integer(text);
  return code && *code <= UINT32_MAX ? static_cast<uint32_t>(*code) : kUnknown;
}

uint32_t grpc_code_of_http(unsigned status) {
  switch (status) {
    case 400: return kInternal;
    case 401: return kUnauthenticated;
    case 403: return kPermissionDenied;
    case 404: return kUnimplemented;
    case 429:
    case 502:
    case 503:
    case 504: return kUnavailable;
    default: return kUnknown;
  }
}

std::string encode_grpc_message(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (const char c : text) {
    const auto byte = static_cast<uint8_t>(c);
    if (byte >= 0x20 && byte <= 0x7e && c != '%') out += c;
    else out.append(1, '%').append(1, kHex[byte >> 4U]).append(1, kHex[byte & 15U]);
  }
  return out;
}

std::string decode_grpc_message(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    const int value = text[i] == '%' ? hex_byte(text.substr(i + 1)) : -1;
    out += value >= 0 ? static_cast<char>(value) : text[i];
    if (value >= 0) i += 2;
  }
  return out;
}

std::optional<int64_t> parse_grpc_timeout(std::string_view text) {
  constexpr std::string_view kUnits = "HMSmun";
  constexpr std::array<int64_t, 6> kNanoseconds = {3'600'000'000'000, 60'000'000'000, 1'000'000'000, 1'000'000, 1000, 1};
  constexpr int64_t kMillisecond = 1'000'000;
  const size_t unit = text.empty() ? std::string_view::npos : kUnits.find(text.back());
  if (unit == std::string_view::npos || text.size() > 9) return std::nullopt;
  const std::optional<uint64_t> number = parse_integer(text.substr(0, text.size() - 1));
  if (!number) return std::nullopt;
  const auto count = static_cast<int64_t>(*number);
  const int64_t each = kNanoseconds[unit];
  return each >= kMillisecond ? count * (each / kMillisecond) : (count * each + kMillisecond - 1) / kMillisecond;
}

// ---- protobuf

namespace {

std::optional<uint64_t> take_varint(std::string_view& bytes) {
  uint64_t value = 0;
  for (unsigned shift = 0; shift < 64 && !bytes.empty(); shift += 7) {
    const auto byte = static_cast<uint8_t>(bytes.front());
    bytes.remove_prefix(1);
    value |= uint64_t{byte & 0x7fU} << shift;
    if (byte < 0x80) return value;
  }
  return std::nullopt;
}

}  // namespace

std::optional<std::string_view> proto_text(std::string_view message, uint32_t number) {
  constexpr uint32_t kVarint = 0;
  constexpr uint32_t kFixed64 = 1;
  constexpr uint32_t kBytes = 2;
  constexpr uint32_t kFixed32 = 5;
  std::string_view found;
  while (!message.empty()) {
    const std::optional<uint64_t> first = take_varint(message);
    if (!first) return std::nullopt;
    const auto key = static_cast<uint32_t>(*first);
    uint64_t size = 0;
    if ((key & 7U) == kVarint) {
      if (!take_varint(message)) return std::nullopt;
      continue;
    }
    if ((key & 7U) == kFixed64) size = 8;
    else if ((key & 7U) == kFixed32) size = 4;
    else if (const std::optional<uint64_t> length = take_varint(message); (key & 7U) == kBytes && length) size = *length;
    else return std::nullopt;
    if (size > message.size()) return std::nullopt;
    if (key == (number << 3U | kBytes)) found = message.substr(0, size);
    message.remove_prefix(size);
  }
  return found;
}

// ---- messages

void GrpcReader::clear() {
  prefix_used_ = 0;
  part_.reset();
}

bool GrpcReader::fill_prefix(std::span<const std::byte>& bytes) {
  const size_t n = std::min(kGrpcPrefix - prefix_used_, bytes.size());
  std::copy_n(bytes.begin(), n, prefix_.begin() + prefix_used_);
  bytes = bytes.subspan(n);
  prefix_used_ = static_cast<uint8_t>(prefix_used_ + n);
  if (prefix_used_ < kGrpcPrefix) return false;
  prefix_used_ = 0;
  return true;
}

bool GrpcReader::fill_part(std::span<const std::byte>& bytes) {
  const size_t n = std::min<size_t>(part_length_ - part_used_, bytes.size());
  std::memcpy(part_.get() + part_used_, bytes.data(), n);
  bytes = bytes.subspan(n);
  part_used_ += static_cast<uint32_t>(n);
  return part_used_ == part_length_;
}

Status GrpcReader::check(std::span<const std::byte, kGrpcPrefix> prefix, uint32_t& length) const {
  const auto byte = [prefix](size_t i) { return std::to_integer<uint32_t>(prefix[i]); };
  if (byte(0) == 1) return {Code::kInvalid, "a compressed message, which was not asked for"};
  if (byte(0) != 0) return {Code::kInvalid, "no gRPC message"};
  length = byte(1) << 24U | byte(2) << 16U | byte(3) << 8U | byte(4);
  if (length > most_) return {Code::kLimit, "a message that is too long"};
  return {};
}

// All of it at once: the kernel gives no memory for it before bytes are there, and nothing is copied twice.
Status GrpcReader::begin_part(uint32_t length) {
  part_ = std::unique_ptr<std::byte[]>{new (std::nothrow) std::byte[length]};  // not zeroed
  if (part_ == nullptr) return {Code::kLimit, "no memory for a message"};
  part_used_ = 0;
  part_length_ = length;
  return {};
}

}  // namespace relay

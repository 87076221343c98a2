// SPDX-License-Identifier: Apache-2.0
// Framing: looks for an end with what libc has for it, or computes it.
#include "wire/framing.h"

#include <algorithm>
#include <cstring>
#include <string_view>

#include "lib/check.h"

namespace relay {
namespace {

constexpr Status kTooLong(Code::kLimit, "a message that is too long");

// `scanned` counts the places at which no delimiter begins. The last bytes are not among them: the first half of one may be there.
Result<size_t> find_end(std::span<const std::byte> bytes, std::string_view delimiter, size_t most, size_t& scanned) {
  const std::span<const std::byte> window = bytes.first(std::min(bytes.size(), most));
  const size_t from = std::min(scanned, window.size());
  const size_t left = window.size() - from;
  const std::byte* begin = window.data() + from;
  const void* found = delimiter.size() == 1 ? std::memchr(begin, delimiter.front(), left) : ::memmem(begin, left, delimiter.data(), delimiter.size());
  if (found != nullptr) {
    scanned = 0;
    return static_cast<size_t>(static_cast<const std::byte*>(found) - window.data()) + delimiter.size();
  }
  if (bytes.size() >= most) return kTooLong;
  if (left >= delimiter.size()) scanned = window.size() - delimiter.size() + 1;
  return size_t{0};
}

Result<size_t> read_length(std::span<const std::byte> bytes, const Framing& framing) {
  const size_t width = framing.width;
  if (bytes.size() < width) return size_t{0};
  uint64_t number = 0;
  for (size_t i = 0; i < width; ++i) number = number << 8U | std::to_integer<uint64_t>(bytes[framing.little ? width - 1 - i : i]);
  if (framing.inclusive && number < width) return Status{Code::kInvalid, "a length that is less than its own bytes"};
  const uint64_t rest = framing.inclusive ? number - width : number;
  if (width > framing.most || rest > framing.most - width) return kTooLong;
  const size_t size = width + static_cast<size_t>(rest);
  return bytes.size() >= size ? size : size_t{0};
}

}  // namespace

Result<size_t> Framing::next(std::span<const std::byte> bytes, size_t& scanned) const {
  CHECK(!bytes.empty());
  switch (kind) {
    case Kind::kRaw: return std::min(bytes.size(), most);
    case Kind::kLine: return find_end(bytes, "\n", most, scanned);
    case Kind::kDelimiter: return find_end(bytes, delimiter, most, scanned);
    case Kind::kLengthPrefix: return read_length(bytes, *this);
  }
  return kTooLong;
}

}  // namespace relay

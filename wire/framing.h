// SPDX-License-Identifier: Apache-2.0
// Framing: where a message ends in a stream of bytes that says so by itself, or does not. Messages keep all their bytes: the delimiter, or the
// length before them, is part of them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "lib/status.h"

namespace relay {

struct Framing {
  enum class Kind : uint8_t {
    kRaw,           // whatever has come, up to `most`
    kLine,          // up to and with LF
    kDelimiter,     // up to and with `delimiter`
    kLengthPrefix,  // a number of `width` bytes first
  };
  Kind kind = Kind::kRaw;
  size_t most = 64 * 1024;  // bytes of a message, all told
  std::string delimiter{};  // not empty for kDelimiter
  uint8_t width = 4;        // 1 to 8
  bool little = false;      // the least byte first
  bool inclusive = false;   // the number counts its own bytes, too

  bool operator==(const Framing&) const = default;

  // The bytes of the first message of `bytes`; 0: it is not whole yet. `scanned`: how many bytes of it were looked through by the last call
  // with the beginning of the same message, 0 at first; it is moved on, so that a message in many pieces is not looked through from its start
  // each time, and is 0 again once the message is whole. kLimit: the message is, or will be, longer than `most`. kInvalid: a length that is
  // less than its own bytes. REQUIRES: bytes is not empty.
  Result<size_t> next(std::span<const std::byte> bytes, size_t& scanned) const;
};

}  // namespace relay

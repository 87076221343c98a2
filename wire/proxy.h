// SPDX-License-Identifier: Apache-2.0
// The PROXY protocol, versions 1 and 2 (haproxy's proxy-protocol.txt): what a balancer says first about whom it connects for.
//
//   1:  PROXY TCP4 192.0.2.1 198.51.100.1 4711 7999\r\n          PROXY UNKNOWN …\r\n
//   2:  \r\n\r\n\0\r\nQUIT\n, version and command, family, length, addresses, whatever else
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "lib/status.h"

namespace relay {

struct ProxyHeader {
  // A header is at most so long here: of version 2 with what it may have behind the addresses.
  static constexpr size_t kMost = 4096;

  enum class Family : uint8_t { kNone, kV4, kV6 };  // kNone: it does not say, or connects for itself

  Family family = Family::kNone;
  std::array<uint8_t, 16> ip{};  // of who connects; IPv4 in the first four bytes
  uint16_t port = 0;

  // How many bytes the header has that `bytes` begin with; 0: it is not whole yet. kInvalid: it is none. kLimit: it is longer than kMost.
  static Result<size_t> parse(std::span<const std::byte> bytes, ProxyHeader& header);
};

}  // namespace relay

// SPDX-License-Identifier: Apache-2.0
// PROXY headers: never past the end of the bytes, the same however they come, and nothing but bytes that are needed.
#include <cstdint>

#include "lib/check.h"
#include "wire/proxy.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using relay::ProxyHeader;
  const std::span bytes(reinterpret_cast<const std::byte*>(data), size);
  ProxyHeader whole;
  const relay::Result<size_t> all = ProxyHeader::parse(bytes, whole);
  if (all.ok()) CHECK(*all <= size && *all <= ProxyHeader::kMost);
  for (size_t n = 0; n < size && n < 300; ++n) {
    ProxyHeader part;
    const relay::Result<size_t> some = ProxyHeader::parse(bytes.first(n), part);
    // Once it is known to be one or none it stays so.
    if (some.ok() && *some > 0) CHECK(all.ok() && *all == *some && part.ip == whole.ip && part.port == whole.port && part.family == whole.family);
    if (!some.ok()) CHECK(!all.ok());
  }
  return 0;
}

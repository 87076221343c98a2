// SPDX-License-Identifier: Apache-2.0
// PROXY headers: never past the end of the bytes, the same however they come, and once it is known to be one, or none, it stays so.
//
//   input: the bytes
// covers: wire/proxy.cpp
#include <algorithm>
#include <span>

#include "tests/fuzz/fuzz.h"
#include "wire/proxy.h"

namespace relay {
namespace {

void check(std::span<const std::byte> bytes) {
  ProxyHeader whole;
  const Result<size_t> all = ProxyHeader::parse(bytes, whole);
  CHECK(!all.ok() || (*all <= bytes.size() && *all <= ProxyHeader::kMost));
  for (size_t n = 0; n < std::min<size_t>(bytes.size(), 300); ++n) {
    ProxyHeader part;
    const Result<size_t> some = ProxyHeader::parse(bytes.first(n), part);
    CHECK(some.ok() || !all.ok());
    if (!some.ok() || *some == 0) continue;
    CHECK(all.ok() && *all == *some && part.ip == whole.ip && part.port == whole.port && part.family == whole.family);
  }
}

}  // namespace
}  // namespace relay

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  relay::check(std::as_bytes(std::span(data, size)));
  return 0;
}

// SPDX-License-Identifier: Apache-2.0
// Parcels: never past the end of the bytes, and what is one is written again as it was.
//
//   input: the bytes
// covers: wire/parcel.cpp
#include <algorithm>
#include <span>
#include <string>

#include "tests/fuzz/fuzz.h"
#include "wire/parcel.h"

namespace relay {
namespace {

void check(std::span<const std::byte> bytes) {
  Parcel parcel;
  if (!decode(bytes, parcel).ok()) return;
  std::string again;
  encode(parcel, again);
  CHECK(again.size() + parcel.message.size() == bytes.size());
  CHECK(parcel.message.empty() || parcel.message.data() == bytes.data() + again.size());
  CHECK(std::ranges::equal(bytes.first(again.size()), std::as_bytes(std::span(again))));
  Uuid uuid = parcel.uuid;
  parcel.from.stamp(uuid);
  CHECK(Place::of(uuid) == parcel.from);
}

}  // namespace
}  // namespace relay

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  relay::check(std::as_bytes(std::span(data, size)));
  return 0;
}

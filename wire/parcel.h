// SPDX-License-Identifier: Apache-2.0
// Parcel: what the processes of a plex, and plexes that share their clients, pass to one another: a message of an upstream's for clients that are
// elsewhere, and what has become of it.
//
//   "PX" 1 what | tag (4) worker (2): from whom | speaker (4) | an output: name (8), the message (OutputStreamRequest)
//                                                             | a report: request (8) uuid (16) delivery (1)
//
// Numbers are big-endian. Where a client is stands in the last six bytes of its name: Place::of.
#pragma once

#include <cstddef>
#include <cstdint>
#include <compare>
#include <span>
#include <string>
#include <string_view>

#include "lib/status.h"
#include "lib/uuid.h"
#include "wire/upstream.h"

namespace relay {

// A process: which of those that were started, and which of its workers.
struct Place {
  uint32_t tag = 0;
  uint16_t worker = 0;

  auto operator<=>(const Place&) const = default;  // NOLINT(modernize-use-nullptr): there is none
  static Place of(const Uuid& uuid);
  void stamp(Uuid& uuid) const;
  uint64_t number() const { return uint64_t{tag} << 16 | worker; }
};

struct Parcel {
  enum class What : uint8_t { kOutput, kReport };

  What what = What::kOutput;
  Place from;             // of a report: whom it is for knows that
  uint32_t speaker = 0;   // the upstream's number there; of a report: the one it is for. 0: an operator
  uint64_t name = 0;      // kOutput: name_number() of the upstream, which another process may have as well
  std::span<const std::byte> message{};  // kOutput
  uint64_t request = 0;   // kReport
  Uuid uuid{};
  upstream::Delivery delivery = upstream::Delivery::kNone;
};

// The same for the same name, everywhere (FNV-1a). Not 0.
uint64_t name_number(std::string_view name);

// Appends all but `message`, which comes last.
void encode(const Parcel& parcel, std::string& to);
// `message` is a view of `bytes`. What is in it is not looked at.
Status decode(std::span<const std::byte> bytes, Parcel& parcel);

}  // namespace relay

// SPDX-License-Identifier: Apache-2.0
// gRPC's own bytes, over HTTP/2 (the specification "gRPC over HTTP2"): messages with a length before them in the body, a status in the
// trailers.
//
//   body:      ┌────────────┬───────────────┬─────────┐┌────
//              │ compressed │ length, 4     │ message ││ …
//              └────────────┴───────────────┴─────────┘└────
//   trailers:  grpc-status: 0   grpc-message: percent-encoded
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "lib/status.h"

namespace relay {

inline constexpr size_t kGrpcPrefix = 5;

// What stands before a message of that length.
std::array<std::byte, kGrpcPrefix> grpc_prefix(uint32_t length);

// The names of status codes ("UNAVAILABLE"); "" if there is no such code.
std::string_view grpc_code_name(uint32_t code);
// grpc-status as it is written: nothing, or no number, is UNKNOWN (2).
uint32_t parse_grpc_status(std::string_view text);
// What HTTP's own status means where there is no grpc-status (the table "HTTP to gRPC Status Code Mapping").
uint32_t grpc_code_of_http(unsigned status);
std::string encode_grpc_message(std::string_view text);
// Never fails: what is badly encoded is left as it is.
std::string decode_grpc_message(std::string_view text);
// grpc-timeout ("250m", "30S"), in milliseconds, rounded up; nothing: it is none.
std::optional<int64_t> parse_grpc_timeout(std::string_view text);

// The text in field `number` of a message of protobuf, as far as one can see without knowing what message it is; empty: it is not there.
// Nothing: this is no message.
std::optional<std::string_view> proto_text(std::string_view message, uint32_t number);

// Cuts the body into messages, however it comes in pieces. A message that is whole in a piece is not copied; a part of one is kept, in memory
// that is given back with its last byte.
class GrpcReader {
 public:
  // No message may be longer than `most` bytes.
  explicit GrpcReader(uint32_t most) : most_(most) {}
  // Holds for messages that begin from now on.
  void set_most(uint32_t most) { most_ = most; }

  // Takes `bytes`, all of it, and calls take(std::span<const std::byte> message) for each message that is whole now; valid within the call.
  // take() returns whether to go on: false ends the call, and whatever else was in `bytes` is thrown away (for one whose stream has gone), or is
  // rest(), to be fed later.
  // kInvalid: a message is compressed, which nobody has asked for, or its first byte is none of 0 and 1. kLimit: one is too long, or there is no
  // memory. After a failure no more may be fed.
  template <typename F>
  Status feed(std::span<const std::byte> bytes, F&& take);
  // What was behind the message that take() had last; where it was, so only as long as that is there.
  std::span<const std::byte> rest() const { return rest_; }
  // A part of a message has come: an end now would cut it off.
  bool has_part() const { return prefix_used_ > 0 || part_ != nullptr; }
  void clear();

 private:
  // Each takes off the front of `bytes` what belongs to it. True: it is whole.
  bool fill_prefix(std::span<const std::byte>& bytes);
  bool fill_part(std::span<const std::byte>& bytes);
  Status check(std::span<const std::byte, kGrpcPrefix> prefix, uint32_t& length) const;
  Status begin_part(uint32_t length);

  uint32_t most_;
  std::span<const std::byte> rest_;
  uint8_t prefix_used_ = 0;  // bytes of a prefix that is not whole yet
  std::array<std::byte, kGrpcPrefix> prefix_{};
  std::unique_ptr<std::byte[]> part_;  // a message that is not whole yet, with room for all of it
  uint32_t part_used_ = 0;
  uint32_t part_length_ = 0;
};

template <typename F>
Status GrpcReader::feed(std::span<const std::byte> bytes, F&& take) {
  while (!bytes.empty()) {
    if (part_ != nullptr) {
      if (!fill_part(bytes)) return {};
      const std::unique_ptr<std::byte[]> whole = std::move(part_);  // take() may clear(), or be the end of this
      rest_ = bytes;
      if (!take(std::span<const std::byte>(whole.get(), part_length_))) return {};
      continue;
    }
    uint32_t length = 0;
    if (prefix_used_ > 0 || bytes.size() < kGrpcPrefix) {
      if (!fill_prefix(bytes)) return {};
      if (const Status status = check(prefix_, length); !status.ok()) return status;
    } else {
      if (const Status status = check(bytes.first<kGrpcPrefix>(), length); !status.ok()) return status;
      bytes = bytes.subspan(kGrpcPrefix);
    }
    if (bytes.size() < length) {
      if (const Status status = begin_part(length); !status.ok()) return status;
      continue;
    }
    const std::span<const std::byte> message = bytes.first(length);
    bytes = bytes.subspan(length);
    rest_ = bytes;
    if (!take(message)) return {};
  }
  return {};
}

}  // namespace relay

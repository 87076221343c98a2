// SPDX-License-Identifier: Apache-2.0
// The messages of proto/upstream.proto, which says what they mean: what a plex says to its upstreams (Input) and hears from them (Output, Ready,
// Live). Protobuf's wire format, by protozero. Views point into what was decoded, or is to be encoded, and live no longer than that.
//
// Fields that are not known are passed over; a field that comes twice counts as its last; a wrong wire type, a text that is no UTF-8, or a number
// of an enumeration that there is not are faults (kInvalid), except where said.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lib/status.h"

namespace relay::upstream {

enum class Event : uint8_t { kData, kConnected, kDisconnected, kReadEof, kRehomed, kDelivery, kWritable };
enum class Command : uint8_t { kSend, kClose, kAbort, kAccept, kReject, kPause, kResume, kJoin, kLeave };
enum class Broadcast : uint8_t { kAll, kActive, kNotActive };
enum class Delivery : uint8_t { kNone, kDelivered, kUnknownClient, kQueueFull, kClosed, kNoGroup, kUnreachable };
enum class CloseReason : uint8_t { kNone, kClient, kReset, kTruncated, kIdle, kUpstream, kRejected, kSlow, kDrain, kAdmin, kFraming, kError, kRehomed };

// Bits of ReadyResult.features: 1 << the number in the proto. Numbers that are not known are passed over.
using Features = uint32_t;
inline constexpr Features kEvents = 1U << 1, kSeq = 1U << 2, kAck = 1U << 3, kAuth = 1U << 4, kDeliveryReport = 1U << 5, kGroups = 1U << 6;
inline constexpr size_t kMostUuids = 4096;  // of each list of a message

using Labels = std::vector<std::pair<std::string_view, std::string_view>>;

// Who a client is: with CONNECTED and REHOMED.
struct ClientInfo {
  std::string_view peer{};        // "192.0.2.1:4711", "[2001:db8::1]:4711", "unix"
  std::string_view local{};       // where it came to
  std::string_view listener{};    // the same as configured
  std::string_view tls_version{}; // empty: no TLS
  std::string_view sni{};
  std::string_view alpn{};
  std::string_view subject{};     // of its certificate
};

// InputStreamRequest: from a plex to an upstream.
struct Input {
  std::string_view time{};         // RFC 3339
  std::string_view client_uuid{};  // text
  std::span<const std::byte> payload{};
  Event event = Event::kData;
  uint64_t seq = 0;
  const ClientInfo* client = nullptr;  // nullptr: not there
  CloseReason close = CloseReason::kNone;  // with DISCONNECTED
  std::string_view close_details{};
  bool redelivered = false;
  uint64_t request_id = 0;
  Delivery delivery = Delivery::kNone;
  Labels labels{};
};

// Appends a whole gRPC message up to its payload, which comes last: the message is what was appended and then `input.payload`, if there is any.
// REQUIRES: its texts are UTF-8 (else it is no message to its reader), and it is shorter than 4 GiB.
void encode(const Input& input, std::string& to);
// Of one message, without gRPC's prefix. `client` and `labels` are not read: this is for finding again what was sent, and for tests.
Status decode(std::span<const std::byte> message, Input& input);

// OutputStreamRequest: from an upstream.
struct Output {
  enum class Target : uint8_t { kNone, kClient, kBroadcast, kGroup };

  std::string_view time{};
  Target target = Target::kNone;   // of the oneof: the last that came
  std::string_view client_uuid{};
  Broadcast broadcast = Broadcast::kAll;
  std::string_view group{};
  std::span<const std::byte> payload{};
  Command command = Command::kSend;
  std::vector<std::string_view> client_uuids{};
  uint64_t ack_seq = 0;
  uint64_t request_id = 0;
  std::string_view reason{};
  bool has_idle_timeout = false;
  uint32_t idle_timeout_ms = 0;
  Labels labels{};
  std::vector<std::string_view> except_uuids{};

  void clear();  // keeps the vectors' memory
};
// kInvalid: it is no such message. kLimit: more clients or labels in it than 4096 and 64, or no memory. kNotFound: a command or a choice of a later
// protocol, to be passed over.
Status decode(std::span<const std::byte> message, Output& output);
// Appends a whole gRPC message: of what an operator says, for those who are elsewhere.
void encode(const Output& output, std::string& to);

struct Ready {
  bool ready = false;
  Features features = 0;
  uint32_t weight = 0;       // 0: not said
  uint64_t max_clients = 0;  // 0: no limit
};
Status decode(std::span<const std::byte> message, Ready& ready);

struct Live {
  bool live = false;
};
Status decode(std::span<const std::byte> message, Live& live);

}  // namespace relay::upstream

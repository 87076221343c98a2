// SPDX-License-Identifier: Apache-2.0
// The messages of proto/control.proto, which says what they mean: what programs ask of a plex, and its answers. Protobuf's wire format, by
// protozero; faults as in upstream.h, whose Output stands for the greater part of each request.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "lib/status.h"
#include "wire/upstream.h"

namespace relay::control {

// What requests have beside the fields of an Output. (Its `time` is their `relay`.)
struct Request {
  bool abort = false;
  uint64_t after = 0;
  uint64_t most = 0;
  std::string_view url{};
};
// Of any of them; refused for what upstream::decode() refuses. Views point into `message`.
Status decode(std::span<const std::byte> message, upstream::Output& output, Request& request);

struct Sent {
  uint64_t sent = 0;
  uint64_t unknown = 0;
  uint64_t dropped = 0;
  bool under_way = false;
  uint64_t routed = 0;
  uint64_t route_lost = 0;
};

struct ClientState {
  std::string client{};
  std::string peer{};
  std::string_view upstream{};  // empty: none
  std::string_view state{};
  uint64_t messages = 0;
  uint64_t queued = 0;
  uint64_t kept = 0;
};

struct UpstreamState {
  std::string_view upstream{};
  std::string_view state{};
  uint64_t clients = 0;
  std::string features{};
  uint64_t weight = 0;
  std::string_view last_error{};
};

enum class WatchKind : uint8_t { kNone, kConnected, kDisconnected, kReadEof, kRehomed, kAccepted, kMissed };

struct WatchEvent {
  std::string_view time{};
  std::string_view client{};
  WatchKind kind = WatchKind::kNone;
  uint64_t seq = 0;
  const upstream::ClientInfo* info = nullptr;  // nullptr: not there
  upstream::CloseReason close = upstream::CloseReason::kNone;
  std::string_view details{};
  std::string_view upstream{};
  uint64_t missed = 0;
};

// Each appends a message, without gRPC's prefix. Those two go into a ListResult and an UpstreamsResult, whose `next` is another field.
// A text that is not UTF-8 is written as printable() shows it.
void encode(const Sent& sent, std::string& to);
void encode(const ClientState& client, std::string& to);
void encode(const WatchEvent& event, std::string& to);
void add_to_list(const ClientState& client, std::string& to);
void add_next(uint64_t next, std::string& to);
void add_to_list(const UpstreamState& upstream, std::string& to);

}  // namespace relay::control

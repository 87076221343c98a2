// SPDX-License-Identifier: Apache-2.0
// Orphans: who gets them, and those that wait.
#include "kinds/plex/orphans.h"

#include <algorithm>
#include <utility>

#include "kinds/plex/plex.h"
#include "wire/grpc.h"

namespace relay::plex {
namespace {

constexpr size_t kBeside = sizeof(std::string);  // what keeping one takes

upstream::Input read_back(const std::string& message) {
  upstream::Input input;
  const bool is_one = decode(std::as_bytes(std::span(message)).subspan(kGrpcPrefix), input).ok();
  CHECK(is_one);  // it was written here
  return input;
}

}  // namespace

void Orphans::add(const upstream::Input& input, const Uuid& uuid, const Upstream& from, bool may_wait) {
  if (waiting_.empty() && give(input, uuid, &from)) return;
  std::string message;
  encode(input, message);
  message.append(reinterpret_cast<const char*>(input.payload.data()), input.payload.size());
  const uint64_t size = message.size() + kBeside;
  if (!may_wait || bytes_ + size > relay_.config().upstream_queue * std::max<size_t>(relay_.upstreams().size(), 1)) {
    relay_.lost(input.event == upstream::Event::kData ? 1 : 0, may_wait ? "upstream-queue is full, of a client that has gone" : "the relay ends");
    return;
  }
  bytes_ += size;
  waiting_.push_back(std::move(message));
}

// To any, but what is of one client to the same. False: there is none, or it has no room.
bool Orphans::give(const upstream::Input& input, const Uuid& uuid, const Upstream* but) {
  Upstream* to = nullptr;
  uint64_t best = 0;
  for (const std::unique_ptr<Upstream>& upstream : relay_.upstreams()) {
    if (!upstream->is_usable() || upstream.get() == but) continue;
    const uint64_t score = (uuid.hash() ^ upstream->id()) * 0x9e3779b97f4a7c15U;
    if (to != nullptr && score <= best) continue;
    to = upstream.get();
    best = score;
  }
  if (to == nullptr) return false;
  if (input.event == upstream::Event::kData) return to->give(input);
  to->tell(input);
  return true;
}

bool Orphans::serve() {
  for (uint32_t left = kServed; left > 0 && !waiting_.empty(); --left) {
    const upstream::Input input = read_back(waiting_.front());
    if (!give(input, Uuid::parse(input.client_uuid).value_or(Uuid{}), nullptr)) return false;
    bytes_ -= waiting_.front().size() + kBeside;
    waiting_.pop_front();
  }
  return !waiting_.empty();
}

void Orphans::lose() {
  for (const std::string& message : std::exchange(waiting_, {}))
    if (read_back(message).event == upstream::Event::kData) relay_.lost(1, "the relay ends");
  bytes_ = 0;
}

}  // namespace relay::plex

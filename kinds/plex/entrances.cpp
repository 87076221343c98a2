// SPDX-License-Identifier: Apache-2.0
// Entrances and Arrivals: see entrances.h.
#include "kinds/plex/entrances.h"

#include <algorithm>
#include <array>

#include "lib/check.h"
#include "lib/json.h"
#include "lib/random.h"
#include "net/sys.h"

namespace relay::plex {
namespace {

std::string_view name_of(Framing::Kind kind) {
  switch (kind) {
    case Framing::Kind::kRaw: return "raw";
    case Framing::Kind::kLine: return "line";
    case Framing::Kind::kDelimiter: return "delimiter";
    case Framing::Kind::kLengthPrefix: return "length-prefix";
  }
  return {};
}

// What a client has agreed to by coming, or is counted by, is the same.
bool is_the_same(const Entrance& a, const Entrance& b) {
  return a.text == b.text && a.own_addresses == b.own_addresses && a.framing == b.framing;
}

}  // namespace

uint64_t hash_of_network(const Addr& peer, uint64_t key) {
  uint64_t hash = mix(key ^ static_cast<uint64_t>(peer.family));
  constexpr std::array<uint8_t, 12> kTranslated = {0, 0x64, 0xff, 0x9b};  // RFC 6052: behind it is an IPv4 address, somebody's own
  if (peer.family == Addr::Family::kV6 && std::equal(kTranslated.begin(), kTranslated.end(), peer.ip.begin())) {
    for (size_t i = kTranslated.size(); i < peer.ip.size(); ++i) hash = mix((hash ^ peer.ip[i]) + key);
    return hash;
  }
  for (size_t i = 0; i < (peer.family == Addr::Family::kV4 ? 4 : 8); ++i) hash = mix((hash ^ peer.ip[i]) + key);
  return hash;
}

// ---- Entrances

// Where it was, or a free slot, or a new one.
uint16_t Entrances::find(const Entrance& entrance) {
  const auto number = [&](auto at) { return static_cast<uint16_t>(at - slots_.begin()); };
  const auto same = std::find_if(slots_.begin(), slots_.end(), [&](const auto& slot) { return slot != nullptr && !slot->listed && is_the_same(slot->is, entrance); });
  if (same != slots_.end()) return number(same);
  auto free = std::find(slots_.begin(), slots_.end(), nullptr);
  if (free == slots_.end()) {
    CHECK(slots_.size() < kMost);
    slots_.emplace_back();
    free = slots_.end() - 1;
  }
  *free = std::make_unique<Slot>();
  return number(free);
}

void Entrances::settle(const std::vector<Entrance>& listed) {
  for (const auto& slot : slots_)
    if (slot != nullptr) slot->listed = false;
  plan_.clear();
  for (const Entrance& entrance : listed) {
    const uint16_t slot = find(entrance);
    slots_[slot]->is = entrance;
    slots_[slot]->listed = true;
    plan_.push_back(slot);
  }
  for (auto& slot : slots_)
    if (slot != nullptr && !slot->listed && slot->clients == 0) slot.reset();
}

void Entrances::gone(uint16_t slot) {
  Slot& its = *slots_[slot];
  if (--its.clients == 0 && !its.listed) slots_[slot].reset();
}

size_t Entrances::longest() const {
  size_t most = 0;
  for (const auto& slot : slots_)
    if (slot != nullptr) most = std::max(most, slot->is.framing.most);
  return most;
}

void Entrances::status(Json& json) const {
  json.begin('[', "listeners");
  for (const auto& slot : slots_) {
    if (slot == nullptr) continue;
    const Entrance& is = slot->is;
    json.begin('{').text("listener", is.text).flag("listed", slot->listed).number("clients", slot->clients);
    json.text("framing", name_of(is.framing.kind)).number("max_message", is.framing.most);
    json.number("clients_most", is.clients).number("clients_per_address", is.clients_per_address).number("accept_rate", is.accept_rate)
        .number("accept_rate_per_address", is.address_rate).number("client_rate", is.byte_rate).number("client_messages", is.message_rate).end('}');
  }
  json.end(']');
}

// ---- Arrivals

bool Arrivals::admit(const Addr& peer, uint32_t scope, uint32_t rate, uint32_t now) {
  if (table_.empty()) {
    table_.resize(kRows * kOfARow);
    CHECK(sys::random_bytes(&key_, sizeof key_));
  }
  const uint64_t who = std::max<uint64_t>(1, mix(hash_of_network(peer, key_) ^ scope));
  One* const row = &table_[who % kRows * kOfARow];
  One* one = std::find_if(row, row + kOfARow, [&](const One& each) { return each.who == who; });
  if (one == row + kOfARow) {
    const auto age = [&](const One& each) { return each.who == 0 ? UINT32_MAX : now - each.bucket.asked_at(); };
    one = std::max_element(row, row + kOfARow, [&](const One& a, const One& b) { return age(a) < age(b); });
    *one = {who, {}};
  }
  if (one->bucket.left(now, rate) == 0) return false;
  one->bucket.take(1);
  return true;
}

}  // namespace relay::plex

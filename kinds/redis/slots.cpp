// SPDX-License-Identifier: Apache-2.0
// Slots: the arithmetic, and reading what servers say of their cluster. It is read once in a while, so by tokens and without hurry; asked for
// each command, so by one look into an array.
#include "kinds/redis/slots.h"

#include <algorithm>
#include <map>

#include "lib/text.h"
#include "wire/resp.h"

namespace relay::redis {
namespace {

constexpr size_t kLongestHost = 255;

consteval std::array<uint16_t, 256> crc_table() {
  std::array<uint16_t, 256> table{};
  for (uint32_t i = 0; i < table.size(); ++i) {
    uint32_t crc = i << 8U;
    for (int bit = 0; bit < 8; ++bit) crc = (crc << 1U) ^ ((crc & 0x8000U) != 0 ? 0x1021U : 0);
    table[i] = static_cast<uint16_t>(crc);
  }
  return table;
}
constexpr std::array<uint16_t, 256> kCrc = crc_table();

uint16_t crc16(std::string_view text) {
  uint32_t crc = 0;
  for (const char c : text) crc = ((crc << 8U) & 0xffffU) ^ kCrc[(crc >> 8U) ^ static_cast<uint8_t>(c)];
  return static_cast<uint16_t>(crc);
}

bool is_list(const std::optional<RespToken>& token) { return token && (token->type == '*' || token->type == '~') && token->number >= 0; }

bool is_text(const RespToken& token) { return token.type == '$' || token.type == '+' || token.type == '='; }

// A number of a slot or a port. Those that are none are as good as too large.
bool take_number(std::string_view& rest, uint64_t& value) {
  const auto token = take_token(rest);
  if (!token || token->type != ':') return false;
  value = parse_integer(token->text).value_or(UINT64_MAX);
  return true;
}

// Any text, or null, which is empty.
bool take_text(std::string_view& rest, std::string_view& value) {
  const auto token = take_token(rest);
  if (!token || !(is_text(*token) || token->type == '_')) return false;
  value = is_text(*token) ? token->text : std::string_view();
  return true;
}

// How many names with a value come next: a map, or in RESP2 a list of twice as many.
std::optional<int64_t> take_fields(std::string_view& rest) {
  const auto head = take_token(rest);
  if (!head || head->number < 0) return std::nullopt;
  if (head->type == '%') return head->number;
  if (!is_list(head) || head->number % 2 != 0) return std::nullopt;
  return head->number / 2;
}

// What a reply says of a node.
struct Said {
  std::string_view endpoint;  // what it wants to be called; empty: as he who was asked
  std::string_view ip;
  std::string_view role;
  std::string_view health = "online";
  uint64_t port = 0;
  uint64_t tls_port = 0;

  std::string address(const Asked& asked) const {
    const std::string_view name = endpoint == "?" ? ip : endpoint;  // "?": it wants to be called by a name and has none
    return join_address(name.empty() ? asked.host : name, static_cast<int64_t>(std::min<uint64_t>(asked.tls && tls_port != 0 ? tls_port : port, UINT16_MAX + 1)));
  }
};

// Fields that nobody knows are stepped over.
bool take_node_fields(std::string_view& rest, Said& node) {
  const auto fields = take_fields(rest);
  if (!fields) return false;
  for (int64_t i = 0; i < *fields; ++i) {
    std::string_view name;
    if (!take_text(rest, name)) return false;
    bool good = false;
    if (name == "ip") good = take_text(rest, node.ip);
    else if (name == "endpoint") good = take_text(rest, node.endpoint);
    else if (name == "role") good = take_text(rest, node.role);
    else if (name == "health") good = take_text(rest, node.health);
    else if (name == "port") good = take_number(rest, node.port);
    else if (name == "tls-port") good = take_number(rest, node.tls_port);
    else good = skip_value(rest);
    if (!good) return false;
  }
  return true;
}

// A node of CLUSTER SLOTS: endpoint, port, and from newer servers its id and a few fields.
bool take_listed_node(std::string_view& rest, Said& node) {
  const auto head = take_token(rest);
  if (!is_list(head) || head->number < 2) return false;
  if (!take_text(rest, node.endpoint) || !take_number(rest, node.port)) return false;
  for (int64_t i = 2; i < head->number; ++i)
    if (!(i == 3 ? take_node_fields(rest, node) : skip_value(rest))) return false;
  return true;
}

// One more node of a shard. Two masters: the one that works is it.
bool add(Shard& shard, Node node, bool master) {
  if (node.address.empty()) return true;
  if (master && (shard.master.address.empty() || (!shard.master.online && node.online))) std::swap(shard.master, node);
  else if (master) node.online = false;
  if (node.address.empty()) return true;
  if (shard.replicas.size() >= SlotMap::kMostReplicas) return false;
  if (std::none_of(shard.replicas.begin(), shard.replicas.end(), [&](const Node& other) { return other.address == node.address; })) shard.replicas.push_back(std::move(node));
  return true;
}

bool take_slots(std::string_view& rest, std::vector<SlotRange>& ranges) {
  const auto head = take_token(rest);
  if (!is_list(head) || head->number % 2 != 0) return false;
  for (int64_t i = 0; i < head->number; i += 2) {
    uint64_t first = 0;
    uint64_t last = 0;
    if (!take_number(rest, first) || !take_number(rest, last) || first > last || last >= kSlots) return false;
    ranges.push_back({static_cast<uint16_t>(first), static_cast<uint16_t>(last)});
  }
  return true;
}

bool take_shard_nodes(std::string_view& rest, const Asked& asked, Shard& shard) {
  const auto head = take_token(rest);
  if (!is_list(head)) return false;
  for (int64_t i = 0; i < head->number; ++i) {
    Said node;
    if (!take_node_fields(rest, node)) return false;
    if (!add(shard, {node.address(asked), node.health == "online"}, node.role == "master")) return false;
  }
  return true;
}

// A shard of CLUSTER SHARDS; its ranges may be none.
bool take_shard(std::string_view& rest, const Asked& asked, Shard& shard) {
  const auto fields = take_fields(rest);
  if (!fields) return false;
  for (int64_t i = 0; i < *fields; ++i) {
    std::string_view name;
    if (!take_text(rest, name)) return false;
    const bool good = name == "slots" ? take_slots(rest, shard.ranges) : name == "nodes" ? take_shard_nodes(rest, asked, shard) : skip_value(rest);
    if (!good) return false;
  }
  return true;
}

}  // namespace

uint16_t slot_of(std::string_view key) {
  const size_t open = key.find('{');
  if (open != std::string_view::npos) {
    const size_t close = key.find('}', open + 1);
    if (close != std::string_view::npos && close > open + 1) key = key.substr(open + 1, close - open - 1);
  }
  return crc16(key) % kSlots;
}

std::string join_address(std::string_view host, int64_t port) {
  const bool plain = std::all_of(host.begin(), host.end(), [](char c) { return c > ' ' && c < 0x7f && std::string_view("/@[],\"\\").find(c) == std::string_view::npos; });
  if (host.empty() || host.size() > kLongestHost || !plain || port <= 0 || port > UINT16_MAX) return {};
  const bool v6 = host.find(':') != std::string_view::npos;
  return (v6 ? "[" : "") + std::string(host) + (v6 ? "]:" : ":") + std::to_string(port);
}

std::optional<Redirect> parse_redirect(std::string_view error) {
  if (error.starts_with('-')) error.remove_prefix(1);
  if (error.ends_with("\r\n")) error.remove_suffix(2);
  Redirect found;
  if (error.starts_with("ASK ")) found.ask = true;
  else if (!error.starts_with("MOVED ")) return std::nullopt;
  error.remove_prefix(found.ask ? 4 : 6);
  const size_t space = error.find(' ');
  const size_t colon = error.rfind(':');
  if (space == std::string_view::npos || colon == std::string_view::npos || colon < space) return std::nullopt;
  const auto slot = parse_integer(error.substr(0, space));
  const auto port = parse_integer(error.substr(colon + 1));
  if (!slot || *slot >= kSlots || !port || *port == 0 || *port > UINT16_MAX) return std::nullopt;
  found.slot = static_cast<uint16_t>(*slot);
  found.port = static_cast<uint16_t>(*port);
  found.host = error.substr(space + 1, colon - space - 1);
  if (found.host == "?") found.host = {};
  if (!found.host.empty() && join_address(found.host, found.port).empty()) return std::nullopt;
  return found;
}

bool SlotMap::give(SlotRange range, size_t shard) {
  given_ += size_t{range.last} - range.first + 1;
  std::fill(owner_.begin() + range.first, owner_.begin() + range.last + 1, static_cast<uint16_t>(shard));
  return given_ <= size_t{4} * kSlots;
}

void SlotMap::settle() {
  for (Shard& shard : shards_) shard.ranges.clear();
  std::vector<uint16_t> order;  // old indexes, as their first slots come
  for (uint16_t slot = 0; slot < kSlots; ++slot) {
    if (owner_[slot] == kNobody) continue;
    std::vector<SlotRange>& ranges = shards_[owner_[slot]].ranges;
    if (ranges.empty()) order.push_back(owner_[slot]);
    if (!ranges.empty() && ranges.back().last + 1 == slot) ranges.back().last = slot;
    else ranges.push_back({slot, slot});
  }
  std::vector<Shard> sorted;
  sorted.reserve(order.size());
  std::vector<uint16_t> place(shards_.size(), kNobody);
  for (const uint16_t old : order) {
    place[old] = static_cast<uint16_t>(sorted.size());
    sorted.push_back(std::move(shards_[old]));
  }
  for (uint16_t& owner : owner_)
    if (owner != kNobody) owner = place[owner];
  shards_ = std::move(sorted);
}

std::optional<SlotMap> SlotMap::read_slots(std::string_view reply, const Asked& asked) {
  SlotMap map;
  std::map<std::string, size_t, std::less<>> by_master;
  if (!skip_attributes(reply)) return std::nullopt;
  const auto head = take_token(reply);
  if (!is_list(head)) return std::nullopt;
  for (int64_t i = 0; i < head->number; ++i) {
    const auto entry = take_token(reply);
    uint64_t first = 0;
    uint64_t last = 0;
    if (!is_list(entry) || entry->number < 3 || !take_number(reply, first) || !take_number(reply, last) || first > last || last >= kSlots) return std::nullopt;
    Shard shard;
    for (int64_t n = 2; n < entry->number; ++n) {
      Said node;
      if (!take_listed_node(reply, node)) return std::nullopt;
      if (!add(shard, {node.address(asked), true}, n == 2)) return std::nullopt;
    }
    const auto [at, fresh] = by_master.try_emplace(shard.master.address, map.shards_.size());
    if (fresh) map.shards_.push_back(std::move(shard));
    if (map.shards_.size() > kMostShards) return std::nullopt;
    if (!map.give({static_cast<uint16_t>(first), static_cast<uint16_t>(last)}, at->second)) return std::nullopt;
  }
  if (!reply.empty()) return std::nullopt;
  map.settle();
  return map;
}

std::optional<SlotMap> SlotMap::read_shards(std::string_view reply, const Asked& asked) {
  SlotMap map;
  if (!skip_attributes(reply)) return std::nullopt;
  const auto head = take_token(reply);
  if (!is_list(head)) return std::nullopt;
  for (int64_t i = 0; i < head->number; ++i) {
    Shard shard;
    if (!take_shard(reply, asked, shard) || map.shards_.size() >= kMostShards) return std::nullopt;
    for (const SlotRange& range : shard.ranges)
      if (!map.give(range, map.shards_.size())) return std::nullopt;
    map.shards_.push_back(std::move(shard));
  }
  if (!reply.empty()) return std::nullopt;
  map.settle();
  return map;
}

const Shard* SlotMap::from(uint16_t slot) const {
  const auto at = std::lower_bound(shards_.begin(), shards_.end(), slot, [](const Shard& shard, uint16_t least) { return shard.ranges.front().first < least; });
  return at == shards_.end() ? nullptr : &*at;
}

size_t SlotMap::covered() const { return static_cast<size_t>(kSlots - std::count(owner_.begin(), owner_.end(), kNobody)); }

bool SlotMap::moved(uint16_t slot, std::string_view address) {
  if (slot >= kSlots) return false;
  if (owner_[slot] != kNobody) {
    Shard& shard = shards_[owner_[slot]];
    if (shard.master.address == address) return false;
    const auto heir = std::find_if(shard.replicas.begin(), shard.replicas.end(), [&](const Node& node) { return node.address == address; });
    if (heir != shard.replicas.end()) {
      heir->online = true;
      std::swap(*heir, shard.master);
      heir->online = false;
      if (heir->address.empty()) shard.replicas.erase(heir);
      return true;
    }
  }
  size_t to = 0;
  while (to < shards_.size() && shards_[to].master.address != address) ++to;
  if (to == kMostShards) return false;
  if (to == shards_.size()) shards_.push_back({.master = {std::string(address), true}, .replicas = {}, .ranges = {}});
  owner_[slot] = static_cast<uint16_t>(to);
  settle();
  return true;
}

std::string SlotMap::address(const Redirect& to, std::string_view asked_host) const {
  if (!to.host.empty()) return join_address(to.host, to.port);
  const std::string tail = ":" + std::to_string(to.port);
  std::string found;
  for (const Shard& shard : shards_) {
    for (size_t i = 0; i <= shard.replicas.size(); ++i) {
      const std::string& address = i == 0 ? shard.master.address : shard.replicas[i - 1].address;
      if (!address.ends_with(tail) || address == found) continue;
      if (!found.empty()) return join_address(asked_host, to.port);
      found = address;
    }
  }
  return found.empty() ? join_address(asked_host, to.port) : found;
}

}  // namespace relay::redis

// SPDX-License-Identifier: Apache-2.0
// What a cluster is: 16384 slots, and who has them. A key's slot is arithmetic; whose it is, the servers say, all at once (CLUSTER SLOTS,
// CLUSTER SHARDS) or one slot at a time, to one who has asked the wrong server (MOVED, ASK). No I/O.
//
//   key ─► slot_of ─► SlotMap ─► Shard: a master and its replicas
//                        ▲
//   reply to CLUSTER … ──┴── MOVED
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace relay::redis {

inline constexpr uint16_t kSlots = 16384;

// CRC16 (XMODEM) of the key, or of what stands between its first '{' and the first '}' behind that, if anything does.
uint16_t slot_of(std::string_view key);

// "MOVED 3999 10.0.0.9:6381" and "ASK …", as the server sends them. An empty host stands for one that the server does not know: see
// SlotMap::address. The host is what the server wrote, a view into the line.
struct Redirect {
  bool ask = false;
  uint16_t slot = 0;
  std::string_view host;
  uint16_t port = 0;
};
// `error` with its '-', or as an error in RESP3's other form; with or without its CR LF. Nothing: it is another error.
std::optional<Redirect> parse_redirect(std::string_view error);

struct Node {
  std::string address;  // HOST:PORT, [HOST]:PORT for IPv6; no scheme
  bool online = true;   // false: the server says that it has failed, or is loading
  bool operator==(const Node&) const = default;
};

struct SlotRange {
  uint16_t first;
  uint16_t last;  // belongs to it
  bool operator==(const SlotRange&) const = default;
};

struct Shard {
  Node master;  // its address is empty: there is none now
  std::vector<Node> replicas;
  std::vector<SlotRange> ranges;  // sorted; never empty
  bool operator==(const Shard&) const = default;
};

// Whom the map was asked of: a node without a known host is at his, and with `tls` the ports are those for TLS.
struct Asked {
  std::string_view host;
  bool tls = false;
};

class SlotMap {
 public:
  static constexpr size_t kMostShards = 4096;    // four times what a cluster is meant to have
  static constexpr size_t kMostReplicas = 128;  // of one

  // From a whole reply, in RESP2 or RESP3. Nothing: it is none. Shards without slots are left out, and so are nodes whose address makes no
  // sense; slots may be missing; one that two shards claim has the second.
  static std::optional<SlotMap> read_slots(std::string_view reply, const Asked& asked);
  static std::optional<SlotMap> read_shards(std::string_view reply, const Asked& asked);

  // Sorted by their first slot.
  const std::vector<Shard>& shards() const { return shards_; }
  // nullptr: nobody has it. REQUIRES: slot < kSlots. Valid until the map changes.
  const Shard* of(uint16_t slot) const { return owner_[slot] == kNobody ? nullptr : &shards_[owner_[slot]]; }
  // The shard whose first slot is the least at or behind `slot`; nullptr: there is none. Whoever wants to see each shard once begins with 0
  // and goes on behind the first slot of the last one seen.
  const Shard* from(uint16_t slot) const;
  size_t covered() const;  // slots that somebody has

  // What MOVED has said: `address` has the slot. If it was a replica of the one that had it until now it is the master of that shard from
  // now on. The map is old then, and should be read anew; until then this is better than asking the wrong one again.
  // False: it says so already.
  bool moved(uint16_t slot, std::string_view address);

  // Where a redirection leads: HOST:PORT. Without a host it is the node of the map that has that port, if there is just one; else whom we asked.
  std::string address(const Redirect& to, std::string_view asked_host) const;

  bool operator==(const SlotMap& other) const { return shards_ == other.shards_; }

 private:
  static constexpr uint16_t kNobody = UINT16_MAX;

  SlotMap() { owner_.fill(kNobody); }
  // False: more has been given than a cluster has, several times over.
  bool give(SlotRange range, size_t shard);
  // owner_ is right: makes the shards' ranges of it, drops those without any, and sorts them.
  void settle();

  std::vector<Shard> shards_;
  std::array<uint16_t, kSlots> owner_;
  size_t given_ = 0;
};

// HOST:PORT, with the brackets that IPv6 wants. Empty: it is no place.
std::string join_address(std::string_view host, int64_t port);

}  // namespace relay::redis

// SPDX-License-Identifier: Apache-2.0
// What the servers of a cluster say, and what clients ask of several of them: a map is a map, keys are among the arguments, parts are the
// whole, and what is joined is one reply.
//
//   input: what it is (0 CLUSTER SLOTS, 1 CLUSTER SHARDS, 2 a redirection, 3 COMMAND and a command, 4 a command and its parts' replies,
//          5 SCAN's reply); then the bytes, pieces of them ended by a 0
// covers: kinds/redis/slots.cpp kinds/redis/key_spec.cpp kinds/redis/commands.cpp kinds/redis/split.cpp
#include <algorithm>
#include <span>

#include "kinds/redis/commands.h"
#include "kinds/redis/slots.h"
#include "kinds/redis/split.h"
#include "net/addr.h"
#include "tests/fuzz/fuzz.h"
#include "wire/resp.h"

namespace relay::redis {
namespace {

void check_address(const Node& node, bool may_be_none) {
  if (node.address.empty()) CHECK(may_be_none);
  CHECK(node.address.size() <= 255 + 8);
  for (const char c : node.address) CHECK(c > ' ' && c < 0x7f);
  (void)Endpoint::parse_target(node.address);
}

void check_map(const SlotMap& map) {
  size_t slots = 0;
  int last_first = -1;
  CHECK(map.shards().size() <= SlotMap::kMostShards);
  for (const Shard& shard : map.shards()) {
    CHECK(!shard.ranges.empty() && shard.ranges.front().first > last_first);
    last_first = shard.ranges.front().first;
    check_address(shard.master, true);
    for (const Node& replica : shard.replicas) check_address(replica, false);
    int end = -1;
    for (const SlotRange& range : shard.ranges) {
      CHECK(range.first > end + 0 && range.first <= range.last && range.last < kSlots);
      end = range.last;
      slots += size_t{range.last} - range.first + 1;
      CHECK(map.of(range.first) == &shard && map.of(range.last) == &shard);
    }
  }
  CHECK(slots == map.covered());
  size_t seen = 0;
  for (const Shard* shard = map.from(0); shard != nullptr; ++seen) {
    const uint16_t first = shard->ranges.front().first;
    shard = first + 1 < kSlots ? map.from(static_cast<uint16_t>(first + 1)) : nullptr;
  }
  CHECK(seen == map.shards().size());
}

void check_moves(SlotMap map, std::string_view text) {
  const auto redirect = parse_redirect(text);
  if (!redirect) return;
  CHECK(redirect->slot < kSlots && redirect->port != 0);
  const std::string address = map.address(*redirect, "asked.example");
  CHECK(!address.empty());
  check_address({address, true}, false);
  if (map.moved(redirect->slot, address)) check_map(map);
  const Shard* owner = map.of(redirect->slot);
  CHECK(owner != nullptr && owner->master.address == address);
  CHECK(!map.moved(redirect->slot, address));
}

std::vector<std::string_view> words(std::string_view text) {
  std::vector<std::string_view> out;
  while (!text.empty() && out.size() < 200) {
    const std::string_view word = text.substr(0, text.find(' '));
    out.push_back(word);
    text.remove_prefix(std::min(text.size(), word.size() + 1));
  }
  return out;
}

void check_keys(std::string_view reply, std::string_view line) {
  Commands commands;
  const bool learned = commands.learn(reply);
  CHECK(learned == commands.learned());
  const std::vector<std::string_view> args = words(line);
  if (args.empty()) return;
  const Command command = commands.find(args[0], args.size() > 1 ? args[1] : std::string_view());
  if (command.keys == nullptr) return;
  std::vector<uint32_t> indexes;
  const bool found = find_keys(*command.keys, args, indexes);
  CHECK(found || indexes.empty());
  for (const uint32_t index : indexes) CHECK(index > 0 && index < args.size());
  (void)place(args, indexes);
}

// One whole reply, if `text` is that.
bool is_reply(std::string_view text) {
  RespReply reply;
  const Result<size_t> n = reply.feed(std::as_bytes(std::span(text)));
  return n.ok() && reply.done() && *n == text.size();
}

void check_split(std::string_view line, std::vector<std::string> replies, uint8_t how) {
  const std::vector<std::string_view> args = words(line);
  for (const uint8_t stride : {uint8_t{1}, uint8_t{2}}) {
    const Split split(args, stride, how % 2 != 0);
    std::vector<bool> seen(split.size());
    for (const Split::Part& part : split.parts()) {
      CHECK(is_reply(split.command(part)) && part.count > 0);  // a command has a list's form
      for (const uint32_t key : split.keys(part)) {
        CHECK(!seen[key] && slot_of(args[1 + size_t{key} * stride]) == part.slot);
        seen[key] = true;
      }
    }
    CHECK(std::all_of(seen.begin(), seen.end(), [](bool one) { return one; }));
    const bool good = std::all_of(replies.begin(), replies.end(), is_reply);
    const std::string joined = join_values(split, replies);
    CHECK(!good || is_reply(joined));
  }
  const bool good = std::all_of(replies.begin(), replies.end(), is_reply);
  for (const Join one : {Join::kFirst, Join::kAny, Join::kSum, Join::kMin, Join::kMax, Join::kAnd, Join::kOr, Join::kConcat}) {
    const std::string joined = join(one, replies);
    CHECK(!good || is_reply(joined));
  }
}

void check_scan(std::string_view reply, std::string_view argument) {
  const std::string joined = join_scan(reply, 5461, 10923);
  CHECK(!is_reply(reply) || is_reply(joined));
  const auto cursor = Cursor::read(argument);
  if (cursor && cursor->joined()) CHECK(Cursor::of(*cursor->joined()).own == cursor->own && Cursor::of(*cursor->joined()).slot == cursor->slot);
}

}  // namespace
}  // namespace relay::redis

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace relay::redis;
  relay::fuzz::Input input(data, size);
  const uint8_t what = input.byte();
  const Asked asked{.host = "10.0.0.1", .tls = what >= 128};
  switch (what % 6) {
    case 0:
    case 1: {
      const std::string_view reply = input.until('\0');
      const auto map = what % 6 == 0 ? SlotMap::read_slots(reply, asked) : SlotMap::read_shards(reply, asked);
      if (!map) break;
      check_map(*map);
      check_moves(*map, input.all());
      break;
    }
    case 2: {
      const auto map = SlotMap::read_slots("*0\r\n", asked);
      if (map) check_moves(*map, input.all());
      break;
    }
    case 3: {
      const std::string_view reply = input.until('\0');
      check_keys(reply, input.all());
      break;
    }
    case 4: {
      const std::string_view line = input.until('\0');
      std::vector<std::string> replies;
      while (!input.empty() && replies.size() < 20) replies.emplace_back(input.until('\0'));
      check_split(line, replies, what / 6);
      break;
    }
    case 5: {
      const std::string_view argument = input.until('\0');
      check_scan(input.all(), argument);
      break;
    }
    default: break;
  }
  return 0;
}

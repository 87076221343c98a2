// SPDX-License-Identifier: Apache-2.0
// A cluster's slots: of keys, as a server has them; the map from what servers of several versions say; and their redirections.
#ifdef RELAY_KIND_REDIS
#include <gtest/gtest.h>

#include "kinds/redis/slots.h"

namespace relay::redis {
namespace {

TEST(Slot, IsThatOfTheServer) {  // CLUSTER KEYSLOT
  struct Row {
    std::string_view key;
    uint16_t slot;
  };
  using namespace std::string_view_literals;
  for (const Row& row : {Row{"", 0}, Row{"123456789", 12739}, Row{"foo", 12182}, Row{"a", 15495}, Row{"b", 3300}, Row{"{a}b", 15495}, Row{"x{a}y{b}", 15495}, Row{"{}a", 10875},
                         Row{"{a", 10276}, Row{"}a{", 11710}, Row{"{{a}}", 10276}, Row{"x{}{a}", 15756}, Row{"a\0b\xff"sv, 7390}, Row{"{user1000}.following", 3443}})
    EXPECT_EQ(slot_of(row.key), row.slot) << row.key;
}

std::string word(std::string_view text) { return "$" + std::to_string(text.size()) + "\r\n" + std::string(text) + "\r\n"; }
std::string number(int64_t n) { return ":" + std::to_string(n) + "\r\n"; }
std::string list(const std::vector<std::string>& values) {
  std::string out = "*" + std::to_string(values.size()) + "\r\n";
  for (const std::string& value : values) out += value;
  return out;
}
std::string fields(bool resp3, const std::vector<std::string>& values) {
  std::string out = list(values);
  return resp3 ? "%" + std::to_string(values.size() / 2) + out.substr(out.find('\r')) : out;
}
// A node of CLUSTER SLOTS, as version 7 says it.
std::string node(std::string_view host, int port, bool resp3 = false, const std::vector<std::string>& more = {}) {
  return list({word(host), number(port), word("id"), fields(resp3, more)});
}
// One of CLUSTER SHARDS.
std::string shard_node(bool resp3, const std::string& endpoint, std::string_view ip, int port, std::string_view role, std::string_view health, int tls_port = 0) {
  std::vector<std::string> all{word("id"), word("x"), word("port"), number(port), word("ip"), word(ip), word("endpoint"), endpoint, word("hostname"), word("h"), word("role"), word(role),
                               word("replication-offset"), number(28), word("health"), word(health)};
  if (tls_port != 0) all.insert(all.end(), {word("tls-port"), number(tls_port)});
  return fields(resp3, all);
}
std::string shard(bool resp3, const std::string& slots, const std::string& nodes) { return fields(resp3, {word("slots"), slots, word("nodes"), nodes}); }

constexpr Asked kAsked{.host = "10.0.0.1", .tls = false};

std::string master(const SlotMap& map, uint16_t slot) { return map.of(slot) == nullptr ? "nobody" : map.of(slot)->master.address; }

TEST(SlotMap, FromClusterSlots) {
  for (const bool resp3 : {false, true}) {
    const std::string reply = list({list({number(0), number(5460), node("127.0.0.1", 1, resp3), node("127.0.0.1", 4, resp3)}), list({number(5461), number(10922), node("::1", 2, resp3)}),
                                    list({number(10923), number(10923), node("127.0.0.1", 1, resp3), node("127.0.0.1", 4, resp3)}), list({number(10925), number(16383), node("h.example", 3, resp3)})});
    const auto map = SlotMap::read_slots(reply, kAsked);
    ASSERT_TRUE(map);
    ASSERT_EQ(map->shards().size(), 3U);
    EXPECT_EQ(map->shards()[0].ranges, (std::vector<SlotRange>{{0, 5460}, {10923, 10923}}));
    EXPECT_EQ(map->shards()[0].replicas, (std::vector<Node>{{"127.0.0.1:4", true}}));
    EXPECT_EQ(master(*map, 0), "127.0.0.1:1");
    EXPECT_EQ(master(*map, 5461), "[::1]:2");
    EXPECT_EQ(master(*map, 10923), "127.0.0.1:1");
    EXPECT_EQ(master(*map, 10924), "nobody");
    EXPECT_EQ(master(*map, 16383), "h.example:3");
    EXPECT_EQ(map->covered(), 16383U);
    for (size_t n = 0; n < reply.size(); ++n) EXPECT_FALSE(SlotMap::read_slots(std::string_view(reply).substr(0, n), kAsked)) << n;
    EXPECT_FALSE(SlotMap::read_slots(reply + "+x\r\n", kAsked));
  }
}

TEST(SlotMap, FromClusterSlotsWithoutHosts) {
  const std::vector<std::string> ip{word("ip"), word("10.0.0.7"), word("hostname"), word("h")};
  const std::string reply = list({list({number(0), number(0), node("", 1)}), list({number(1), number(1), node("?", 2, false, ip)}), list({number(2), number(2), node("?", 3)}),
                                  list({number(3), number(3), list({"$-1\r\n", number(4), word("id"), fields(true, ip)})}), list({number(4), number(4), list({"_\r\n", number(5)})}),
                                  list({number(5), number(5), node("bad host", 6)}), list({number(6), number(6), node("h", 0), node("h", 70000), node("h", 7)})});
  const auto map = SlotMap::read_slots(reply, kAsked);
  ASSERT_TRUE(map);
  EXPECT_EQ(master(*map, 0), "10.0.0.1:1");
  EXPECT_EQ(master(*map, 1), "10.0.0.7:2");
  EXPECT_EQ(master(*map, 2), "10.0.0.1:3");
  EXPECT_EQ(master(*map, 3), "10.0.0.1:4");
  EXPECT_EQ(master(*map, 4), "10.0.0.1:5");
  EXPECT_EQ(master(*map, 5), "");
  EXPECT_TRUE(SlotMap::read_slots("*0\r\n", kAsked));
}

TEST(SlotMap, FromClusterShards) {
  for (const bool resp3 : {false, true}) {
    const std::string reply = list({
        shard(resp3, list({number(8000), number(16383)}), list({shard_node(resp3, word("b.example"), "10.0.0.2", 2, "master", "online", 12), shard_node(resp3, word("c"), "10.0.0.3", 3, "replica", "loading")})),
        shard(resp3, list({number(0), number(1), number(4), number(7999)}),
              list({shard_node(resp3, word("old"), "10.0.0.4", 4, "master", "fail"), shard_node(resp3, word("?"), "10.0.0.5", 5, "master", "online"), shard_node(resp3, "$-1\r\n", "", 6, "replica", "online")})),
        shard(resp3, list({}), list({shard_node(resp3, word("spare"), "", 9, "master", "online")})),
    });
    const auto map = SlotMap::read_shards(reply, kAsked);
    ASSERT_TRUE(map);
    ASSERT_EQ(map->shards().size(), 2U);
    EXPECT_EQ(map->shards()[0].master, (Node{"10.0.0.5:5", true}));
    EXPECT_EQ(map->shards()[0].replicas, (std::vector<Node>{{"old:4", false}, {"10.0.0.1:6", true}}));
    EXPECT_EQ(map->shards()[0].ranges, (std::vector<SlotRange>{{0, 1}, {4, 7999}}));
    EXPECT_EQ(map->shards()[1].replicas, (std::vector<Node>{{"c:3", false}}));
    EXPECT_EQ(master(*map, 8000), "b.example:2");
    EXPECT_EQ(master(*map, 3), "nobody");
    EXPECT_EQ(master(*SlotMap::read_shards(reply, {.host = "x", .tls = true}), 8000), "b.example:12");
    for (size_t n = 0; n < reply.size(); ++n) EXPECT_FALSE(SlotMap::read_shards(std::string_view(reply).substr(0, n), kAsked)) << n;
  }
}

TEST(SlotMap, OfNonsenseIsNone) {
  for (const std::string& bad : {std::string("-ERR This instance has cluster support disabled\r\n"), std::string("+OK\r\n"), std::string("*-1\r\n"), std::string("*1\r\n*0\r\n"), std::string("*1\r\n:1\r\n"),
                                 list({list({number(0), number(16384), node("h", 1)})}), list({list({number(2), number(1), node("h", 1)})}), list({list({number(-1), number(1), node("h", 1)})}),
                                 list({list({":x\r\n", number(1), node("h", 1)})}), list({list({number(0), number(1), list({word("h")})})}), list({list({number(0), number(1)})})})
    EXPECT_FALSE(SlotMap::read_slots(bad, kAsked)) << bad;
  for (const std::string& bad : {std::string("*1\r\n:1\r\n"), list({shard(false, list({number(1)}), list({}))}), list({shard(false, list({number(1), number(16384)}), list({}))}), list({list({word("slots")})})})
    EXPECT_FALSE(SlotMap::read_shards(bad, kAsked)) << bad;
}

TEST(SlotMap, ManyOverlapsAreRefused) {
  std::vector<std::string> entries(4, list({number(0), number(16383), node("h", 1)}));
  EXPECT_TRUE(SlotMap::read_slots(list(entries), kAsked));
  entries.push_back(entries.front());
  EXPECT_FALSE(SlotMap::read_slots(list(entries), kAsked));
}

SlotMap two_shards() {
  const auto map = SlotMap::read_slots(list({list({number(0), number(99), node("a", 1), node("a", 2)}), list({number(100), number(199), node("b", 1)})}), kAsked);
  EXPECT_TRUE(map);
  return *map;
}

TEST(SlotMap, BelievesMoved) {
  SlotMap map = two_shards();
  EXPECT_FALSE(map.moved(5, "a:1"));
  EXPECT_TRUE(map.moved(5, "b:1"));  // resharded
  EXPECT_EQ(map.shards()[0].ranges, (std::vector<SlotRange>{{0, 4}, {6, 99}}));
  EXPECT_EQ(map.shards()[1].ranges, (std::vector<SlotRange>{{5, 5}, {100, 199}}));
  EXPECT_TRUE(map.moved(0, "a:2"));  // failed over
  EXPECT_EQ(master(map, 50), "a:2");
  EXPECT_EQ(map.shards()[0].replicas, (std::vector<Node>{{"a:1", false}}));
  EXPECT_TRUE(map.moved(7, "new:1"));
  EXPECT_EQ(master(map, 7), "new:1");
  EXPECT_TRUE(map.moved(300, "new:1"));
  EXPECT_EQ(map.shards().size(), 3U);
  EXPECT_TRUE(map.moved(7, "b:1"));
  EXPECT_TRUE(map.moved(300, "b:1"));
  EXPECT_EQ(map.shards().size(), 2U);  // who has no slots any more is gone
  EXPECT_EQ(map.covered(), 201U);
  EXPECT_FALSE(map.moved(16384, "b:1"));
  for (uint16_t slot = 0; slot < 5000; ++slot) (void)map.moved(slot, "n" + std::to_string(slot) + ":1");
  EXPECT_EQ(map.shards().size(), SlotMap::kMostShards);
}

TEST(SlotMap, ShowsEachShardOnce) {
  SlotMap map = two_shards();
  (void)map.moved(50, "c:1");
  (void)map.moved(150, "a:1");
  std::string seen;
  for (const Shard* shard = map.from(0); shard != nullptr; shard = map.from(static_cast<uint16_t>(shard->ranges.front().first + 1))) seen += shard->master.address + ' ';
  EXPECT_EQ(seen, "a:1 c:1 b:1 ");
  EXPECT_EQ(map.from(16383), nullptr);
}

TEST(Redirect, IsRead) {
  const auto moved = parse_redirect("-MOVED 3999 127.0.0.1:6381\r\n");
  ASSERT_TRUE(moved);
  EXPECT_FALSE(moved->ask);
  EXPECT_EQ(moved->slot, 3999);
  EXPECT_EQ(moved->host, "127.0.0.1");
  EXPECT_EQ(moved->port, 6381);
  EXPECT_TRUE(parse_redirect("ASK 0 h.example:1").value_or(Redirect{}).ask);
  EXPECT_EQ(parse_redirect("-MOVED 1 2001:db8::1:7000\r\n").value_or(Redirect{}).host, "2001:db8::1");
  for (const char* bare : {"-MOVED 1 :7000\r\n", "-MOVED 1 ?:7000\r\n"}) {
    const auto found = parse_redirect(bare);
    ASSERT_TRUE(found);
    EXPECT_EQ(found->host, "");
    EXPECT_EQ(found->port, 7000);
  }
  for (const char* bad : {"", "-", "-ERR x", "MOVED", "MOVED ", "MOVED 1", "MOVED 1 ", "MOVED 1 h", "MOVED 1 h:", "MOVED 1 h:0", "MOVED 1 h:65536", "MOVED 16384 h:1", "MOVED -1 h:1", "MOVED x h:1", "MOVED 1 h h:1",
                          "MOVED :1", "MOVED 1:1 h", "moved 1 h:1", "ASKING 1 h:1", "-TRYAGAIN x"})
    EXPECT_FALSE(parse_redirect(bad)) << bad;
}

TEST(Redirect, LeadsSomewhere) {
  const SlotMap map = two_shards();
  const auto to = [&](std::string_view line) { return map.address(*parse_redirect(line), "asked"); };
  EXPECT_EQ(to("MOVED 1 h:5"), "h:5");
  EXPECT_EQ(to("MOVED 1 ::1:5"), "[::1]:5");
  EXPECT_EQ(to("MOVED 1 :2"), "a:2");       // the only one with that port
  EXPECT_EQ(to("MOVED 1 :1"), "asked:1");   // there are two
  EXPECT_EQ(to("MOVED 1 ?:77"), "asked:77");
}

}  // namespace
}  // namespace relay::redis
#endif

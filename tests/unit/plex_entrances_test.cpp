// SPDX-License-Identifier: Apache-2.0
// kinds/plex/entrances: who keeps what over changes of the configuration, and how often an address may come.
#include "kinds/plex/entrances.h"

#include <gtest/gtest.h>

namespace relay::plex {
namespace {

Entrance entrance(const std::string& text, Framing::Kind kind = Framing::Kind::kRaw, uint64_t clients = 0) {
  Entrance one;
  one.text = text;
  one.framing.kind = kind;
  one.clients = clients;
  return one;
}

Addr addr(std::string_view text) { return *Addr::parse(text, 4711); }

TEST(Entrances, KeepTheirSlotsOverAChangeOfLimits) {
  Entrances all;
  all.settle({entrance("a"), entrance("b")});
  const uint16_t a = all.slot_of(0);
  const uint16_t b = all.slot_of(1);
  all.come(a);
  all.settle({entrance("b"), entrance("a", Framing::Kind::kRaw, 1)});
  EXPECT_EQ(all.slot_of(0), b);
  EXPECT_EQ(all.slot_of(1), a);
  EXPECT_TRUE(all.is_full(a));
  EXPECT_FALSE(all.is_full(b));
}

TEST(Entrances, AreKeptForThoseWhoAreThere) {
  Entrances all;
  all.settle({entrance("a")});
  const uint16_t old = all.slot_of(0);
  all.come(old);
  all.settle({entrance("a", Framing::Kind::kLine)});
  const uint16_t now = all.slot_of(0);
  EXPECT_NE(old, now);
  EXPECT_EQ(all.at(old).framing.kind, Framing::Kind::kRaw);
  EXPECT_EQ(all.at(now).framing.kind, Framing::Kind::kLine);
  all.gone(old);
  all.settle({entrance("a", Framing::Kind::kLine), entrance("b")});
  EXPECT_EQ(all.slot_of(0), now);
  EXPECT_EQ(all.slot_of(1), old);  // it was free
}

TEST(Entrances, OfThePastMayComeBack) {
  Entrances all;
  all.settle({entrance("a")});
  const uint16_t old = all.slot_of(0);
  all.come(old);
  all.settle({entrance("a", Framing::Kind::kLine)});
  all.settle({entrance("a")});
  EXPECT_EQ(all.slot_of(0), old);
}

TEST(Entrances, MayBeTheSamePlaceTwice) {
  Entrances all;
  all.settle({entrance("a:0"), entrance("a:0")});
  EXPECT_NE(all.slot_of(0), all.slot_of(1));
  const uint16_t first = all.slot_of(0);
  all.settle({entrance("a:0"), entrance("a:0")});
  EXPECT_EQ(all.slot_of(0), first);
}

TEST(Arrivals, OfOneAddressAreLimited) {
  Arrivals arrivals;
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(arrivals.admit(addr("192.0.2.1"), 0, 3, 1000));
  EXPECT_FALSE(arrivals.admit(addr("192.0.2.1"), 0, 3, 1000));
  EXPECT_TRUE(arrivals.admit(addr("192.0.2.2"), 0, 3, 1000));
  EXPECT_TRUE(arrivals.admit(addr("192.0.2.1"), 1, 3, 1000));  // another limit
  EXPECT_FALSE(arrivals.admit(addr("192.0.2.1"), 0, 3, 1333));
  EXPECT_TRUE(arrivals.admit(addr("192.0.2.1"), 0, 3, 1334));
  EXPECT_FALSE(arrivals.admit(addr("192.0.2.1"), 0, 3, 1334));
}

TEST(Arrivals, OfASlash64AreOne) {
  Arrivals arrivals;
  EXPECT_TRUE(arrivals.admit(addr("2001:db8:1:2::1"), 0, 1, 5));
  EXPECT_FALSE(arrivals.admit(addr("2001:db8:1:2:ffff::9"), 0, 1, 5));
  EXPECT_TRUE(arrivals.admit(addr("2001:db8:1:3::1"), 0, 1, 5));
}

// More addresses than the table has room for: all of them come in, and one that has not been forgotten is still known.
TEST(Arrivals, ThatAreManyCostNobodyAnything) {
  Arrivals arrivals;
  Addr peer = addr("10.0.0.0");
  for (uint32_t i = 0; i < 200'000; ++i) {
    peer.ip = {10, static_cast<uint8_t>(i >> 16), static_cast<uint8_t>(i >> 8), static_cast<uint8_t>(i)};
    EXPECT_TRUE(arrivals.admit(peer, 0, 1, 77 + i / 1000));
  }
  EXPECT_FALSE(arrivals.admit(peer, 0, 1, 277));
}

}  // namespace
}  // namespace relay::plex

// SPDX-License-Identifier: Apache-2.0
// kinds/plex/table: who is found by name, and by place, while others come and go.
#include "kinds/plex/table.h"

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <vector>

#include "lib/random.h"

namespace relay::plex {
namespace {

struct Item {
  explicit Item(const Uuid& name) : name_(name) {}
  const Uuid& uuid() const { return name_; }
  uint32_t place = 0;

 private:
  Uuid name_;
};

Uuid name_of(uint64_t low, uint64_t high = 0) {
  Uuid uuid;
  for (size_t i = 0; i < 8; ++i) {
    uuid.bytes[i] = static_cast<uint8_t>(low >> (8 * i));
    uuid.bytes[8 + i] = static_cast<uint8_t>(high >> (8 * i));
  }
  return uuid;
}

TEST(Table, AnEmptyOneFindsNobody) {
  Table<Item> table;
  EXPECT_EQ(table.find(name_of(1)), nullptr);
  EXPECT_EQ(table.places(), 0U);
  EXPECT_EQ(table.size(), 0U);
}

TEST(Table, PlacesStayAndAreUsedAgain) {
  Table<Item> table;
  Item a(name_of(1));
  Item b(name_of(2));
  Item c(name_of(3));
  table.add(a);
  table.add(b);
  EXPECT_EQ(table.at(a.place), &a);
  EXPECT_EQ(table.at(b.place), &b);
  const uint32_t free = a.place;
  table.remove(a);
  EXPECT_EQ(table.at(free), nullptr);
  EXPECT_EQ(table.at(b.place), &b);
  table.add(c);
  EXPECT_EQ(c.place, free);
  EXPECT_EQ(table.places(), 2U);
}

TEST(Table, WhenTheLastHasGoneItOwnsNothing) {
  Table<Item> table;
  Item a(name_of(1));
  table.add(a);
  table.remove(a);
  EXPECT_EQ(table.places(), 0U);
}

// Names that all want the same cell, and those that want the ones behind it: searches run into one another.
TEST(Table, CollisionsAreFoundWhoeverGoes) {
  for (size_t gone = 0; gone < 8; ++gone) {
    Table<Item> table;
    std::vector<std::unique_ptr<Item>> items;
    for (uint64_t i = 0; items.size() < 8; ++i) {
      const Uuid uuid = name_of(i, i * 7919);
      if (uuid.hash() % 16 < 13 || uuid.hash() % 16 > 14) continue;  // at the end, so that they wrap
      items.push_back(std::make_unique<Item>(uuid));
      table.add(*items.back());
    }
    table.remove(*items[gone]);
    for (size_t i = 0; i < items.size(); ++i) EXPECT_EQ(table.find(items[i]->uuid()), i == gone ? nullptr : items[i].get());
  }
}

TEST(Table, AgreesWithAMapOverManyThatComeAndGo) {
  Random random(7);
  Table<Item> table;
  std::map<Uuid, std::unique_ptr<Item>> model;
  for (int step = 0; step < 200'000; ++step) {
    const Uuid uuid = name_of(random.below(3000), 1);
    const auto at = model.find(uuid);
    ASSERT_EQ(table.find(uuid), at == model.end() ? nullptr : at->second.get());
    const bool growing = (step / 20'000) % 2 == 0;
    if (at == model.end() && random.below(4) < (growing ? 3U : 1U)) {
      auto item = std::make_unique<Item>(uuid);
      table.add(*item);
      model.emplace(uuid, std::move(item));
    } else if (at != model.end() && random.below(4) < (growing ? 1U : 3U)) {
      table.remove(*at->second);
      model.erase(at);
    }
    ASSERT_EQ(table.size(), model.size());
  }
  for (const auto& [uuid, item] : model) EXPECT_EQ(table.at(item->place), item.get());
}

}  // namespace
}  // namespace relay::plex

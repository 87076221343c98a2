// SPDX-License-Identifier: Apache-2.0
// lib/list: order, moving between lists, leaving at death, and a random walk over three lists against vectors.
#include "lib/list.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <memory>
#include <vector>

#include "lib/random.h"

namespace relay {
namespace {

struct Item : ListNode {
  explicit Item(int n) : number(n) {}
  int number;
};

std::vector<int> numbers(List<Item>& list) {
  std::vector<int> out;
  for (Item* item = list.front(); item != nullptr; item = list.next(*item)) out.push_back(item->number);
  return out;
}

TEST(List, BeginsEmpty) {
  List<Item> list;
  EXPECT_TRUE(list.empty());
  EXPECT_EQ(list.front(), nullptr);
}

TEST(List, FirstInFirstOut) {
  Item a(1), b(2), c(3);
  List<Item> list;
  EXPECT_FALSE(a.linked());
  list.push_back(a);
  list.push_back(b);
  list.push_back(c);
  EXPECT_TRUE(a.linked());
  EXPECT_FALSE(list.empty());
  EXPECT_EQ(numbers(list), (std::vector<int>{1, 2, 3}));
  EXPECT_EQ(list.next(c), nullptr);
  list.front()->unlink();
  EXPECT_EQ(numbers(list), (std::vector<int>{2, 3}));
}

TEST(List, PushingAgainMovesToTheEnd) {
  Item a(1), b(2);
  List<Item> list;
  list.push_back(a);
  list.push_back(b);
  list.push_back(a);
  EXPECT_EQ(numbers(list), (std::vector<int>{2, 1}));
  list.push_back(a);
  EXPECT_EQ(numbers(list), (std::vector<int>{2, 1}));
}

TEST(List, PushedToTheFront) {
  Item a(1), b(2);
  List<Item> list;
  list.push_front(a);
  list.push_front(b);
  EXPECT_EQ(numbers(list), (std::vector<int>{2, 1}));
  list.push_front(b);
  EXPECT_EQ(numbers(list), (std::vector<int>{2, 1}));
  list.push_front(a);
  EXPECT_EQ(numbers(list), (std::vector<int>{1, 2}));
}

TEST(List, AnElementIsInOneListAtATime) {
  Item a(1), b(2);
  List<Item> one, other;
  one.push_back(a);
  one.push_back(b);
  other.push_back(a);
  EXPECT_EQ(numbers(one), (std::vector<int>{2}));
  EXPECT_EQ(numbers(other), (std::vector<int>{1}));
}

TEST(List, UnlinkingTwiceIsHarmless) {
  Item a(1);
  List<Item> list;
  a.unlink();
  list.push_back(a);
  a.unlink();
  a.unlink();
  EXPECT_TRUE(list.empty());
  EXPECT_FALSE(a.linked());
}

TEST(List, TheDeadLeave) {
  List<Item> list;
  Item a(1);
  auto b = std::make_unique<Item>(2);
  Item c(3);
  list.push_back(a);
  list.push_back(*b);
  list.push_back(c);
  b.reset();
  EXPECT_EQ(numbers(list), (std::vector<int>{1, 3}));
}

TEST(List, ElementsMayOutliveTheirList) {
  Item a(1), b(2);
  {
    List<Item> list;
    list.push_back(a);
    list.push_back(b);
  }
  List<Item> list;
  list.push_back(b);
  list.push_back(a);
  EXPECT_EQ(numbers(list), (std::vector<int>{2, 1}));
}

TEST(List, TheNextIsKnownBeforeOneLeaves) {
  Item a(1), b(2), c(3);
  List<Item> list;
  for (Item* item : {&a, &b, &c}) list.push_back(*item);
  std::vector<int> seen;
  for (Item* item = list.front(); item != nullptr;) {
    Item* next = list.next(*item);
    seen.push_back(item->number);
    item->unlink();
    item = next;
  }
  EXPECT_EQ(seen, (std::vector<int>{1, 2, 3}));
  EXPECT_TRUE(list.empty());
}

TEST(List, MovesAsVectorsDo) {
  Random random(7);
  std::array<List<Item>, 3> lists;
  std::array<std::vector<int>, 3> model;
  std::vector<std::unique_ptr<Item>> items;
  for (int i = 0; i < 40; ++i) items.push_back(std::make_unique<Item>(i));
  for (int step = 0; step < 5000; ++step) {
    const auto who = static_cast<size_t>(random.below(items.size()));
    const int number = items[who]->number;
    for (auto& list : model) list.erase(std::remove(list.begin(), list.end(), number), list.end());
    const auto where = static_cast<size_t>(random.below(5));
    if (where < 3) {
      lists[where].push_back(*items[who]);
      model[where].push_back(number);
    } else if (where == 3) {
      items[who]->unlink();
    } else {
      items[who] = std::make_unique<Item>(number);  // dies where it stands
    }
    ASSERT_EQ(items[who]->linked(), where < 3);
    for (size_t i = 0; i < lists.size(); ++i) {
      ASSERT_EQ(numbers(lists[i]), model[i]) << "step " << step;
      ASSERT_EQ(lists[i].empty(), model[i].empty());
    }
  }
}

}  // namespace
}  // namespace relay

// SPDX-License-Identifier: Apache-2.0
// lib/heap: pushes, removals from anywhere and moved keys, at random, against a sorted model.
#include "lib/heap.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <vector>

#include "lib/random.h"

namespace relay {
namespace {

struct Item {
  uint64_t key = 0;
  uint32_t heap_place = kNotInHeap;
  uint64_t heap_key() const { return key; }
};

std::vector<uint64_t> drain(Heap<Item>& heap) {
  std::vector<uint64_t> out;
  while (!heap.empty()) {
    Item& item = heap.top();
    heap.remove(item);
    EXPECT_EQ(item.heap_place, kNotInHeap);
    out.push_back(item.key);
  }
  return out;
}

TEST(Heap, GivesTheLeastFirst) {
  std::vector<Item> items(7);
  uint64_t key = 0;
  for (Item& item : items) item.key = (key += 5) % 7;
  Heap<Item> heap;
  EXPECT_TRUE(heap.empty());
  for (Item& item : items) heap.push(item);
  EXPECT_EQ(heap.size(), 7U);
  EXPECT_EQ(drain(heap), (std::vector<uint64_t>{0, 1, 2, 3, 4, 5, 6}));
  EXPECT_EQ(heap.size(), 0U);
}

TEST(Heap, TakesOneOutOfAnywhere) {
  for (size_t gone = 0; gone < 15; ++gone) {
    std::vector<Item> items(15);
    Heap<Item> heap;
    for (size_t i = 0; i < items.size(); ++i) {
      items[i].key = i * 7 % 15;
      heap.push(items[i]);
    }
    heap.remove(items[gone]);
    std::vector<uint64_t> rest;
    for (uint64_t key = 0; key < 15; ++key)
      if (key != items[gone].key) rest.push_back(key);
    EXPECT_EQ(drain(heap), rest);
  }
}

TEST(Heap, EqualKeysAllComeOut) {
  std::vector<Item> items(20);
  Heap<Item> heap;
  for (size_t i = 0; i < items.size(); ++i) {
    items[i].key = i % 3;
    heap.push(items[i]);
  }
  const std::vector<uint64_t> out = drain(heap);
  EXPECT_EQ(out.size(), 20U);
  EXPECT_TRUE(std::is_sorted(out.begin(), out.end()));
}

TEST(Heap, DoesWhatASortedSetDoes) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    Random random(seed);
    std::vector<Item> items(200);
    std::multiset<uint64_t> model;
    Heap<Item> heap;
    for (int step = 0; step < 3000; ++step) {
      Item& item = items[static_cast<size_t>(random.below(items.size()))];
      const uint64_t key = random.below(step % 2 == 0 ? 50 : 1'000'000);  // with and without ties
      const bool inside = item.heap_place != kNotInHeap;
      if (!inside) {
        item.key = key;
        heap.push(item);
        model.insert(key);
      } else if (random.below(2) == 0) {
        heap.remove(item);
        model.erase(model.find(item.key));
      } else {
        model.erase(model.find(item.key));
        item.key = key;
        heap.moved(item);
        model.insert(key);
      }
      ASSERT_EQ(heap.size(), model.size());
      ASSERT_EQ(heap.empty(), model.empty());
      ASSERT_TRUE(model.empty() || heap.top().key == *model.begin()) << "seed " << seed << " step " << step;
    }
    EXPECT_EQ(drain(heap), std::vector<uint64_t>(model.begin(), model.end()));
  }
}

TEST(HeapDeathTest, OurOwnMistakesAbort) {
  Heap<Item> heap;
  Item a, b;
  heap.push(a);
  EXPECT_DEATH(heap.push(a), "bug");
  EXPECT_DEATH(heap.remove(b), "bug");
  b.heap_place = 0;  // says that it is in the heap, but another is in its place
  EXPECT_DEATH(heap.remove(b), "bug");
}

}  // namespace
}  // namespace relay

// SPDX-License-Identifier: Apache-2.0
// The ring, by any sequence of what a session does with it, beside a model that is a plain std::deque.
// covers: queue.h
#include <deque>

#include "queue.h"
#include "tests/fuzz/fuzz.h"

namespace relay {
namespace {

class Game {
 public:
  explicit Game(uint64_t bound) : queue_(bound) {}

  void put(uint64_t most) {
    CHECK(queue_.reserve());
    uint64_t filled = 0;
    for (const std::span<std::byte> span : queue_.room())
      for (std::byte& place : span) {
        if (filled == most) break;
        place = next_;
        model_.push_back(next_);
        next_ = static_cast<std::byte>(static_cast<uint8_t>(next_) * 5U + 1U);
        ++filled;
      }
    CHECK(filled > 0 || most == 0 || queue_.full());
    queue_.commit(filled);
    check();
  }
  void take(uint64_t most) {
    const uint64_t n = most < queue_.size() ? most : queue_.size();
    queue_.consume(n);
    model_.erase(model_.begin(), model_.begin() + static_cast<std::ptrdiff_t>(n));
    check();
  }
  void trim() {
    queue_.trim();
    check();
  }
  void compare() {
    size_t at = 0;
    for (const std::span<std::byte> span : queue_.front())
      for (const std::byte byte : span) CHECK(byte == model_[at++]);
    CHECK(at == model_.size());
  }

 private:
  void check() {
    if (model_.size() > peak_) peak_ = model_.size();
    CHECK(queue_.size() == model_.size() && queue_.empty() == model_.empty() && queue_.full() == (model_.size() == queue_.bound()));
    CHECK(queue_.written() - queue_.read() == queue_.size() && queue_.peak() == peak_);
    CHECK(!queue_.empty() || queue_.front()[0].empty());
  }

  Queue queue_;
  std::deque<std::byte> model_;
  std::byte next_{1};
  size_t peak_ = 0;
};

}  // namespace
}  // namespace relay

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  relay::fuzz::Input input(data, size);
  relay::Game game(1 + input.number(2));
  for (int steps = 0; !input.empty() && steps < 100; ++steps) {
    const uint8_t what = input.byte();
    if (what % 4 == 0) game.put(input.byte());
    if (what % 4 == 1) game.put(input.number(2));
    if (what % 4 == 2) game.take(input.number(2));
    if (what == 3) game.trim();
    if (what % 16 == 7) game.compare();
  }
  game.compare();
  return 0;
}

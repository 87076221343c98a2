// SPDX-License-Identifier: Apache-2.0
// Work: how many messages to clients somebody who speaks has made in one turn of the loop, so that others are heard in between.
#pragma once

#include <cstdint>

namespace relay::plex {

class Work {
 public:
  static constexpr uint64_t kMost = 1024;  // and what one message makes more

  // `turn`: Loop::turns().
  void add(uint64_t turn, uint64_t messages) {
    if (turn_ != turn) done_ = 0;
    turn_ = turn;
    done_ += messages;
  }
  bool began_in(uint64_t turn) const { return turn_ == turn; }
  bool is_enough(uint64_t turn) const { return turn_ == turn && done_ >= kMost; }

 private:
  uint64_t turn_ = 0;
  uint64_t done_ = 0;
};

}  // namespace relay::plex

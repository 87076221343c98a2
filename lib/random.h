// SPDX-License-Identifier: Apache-2.0
// Random: a small, seedable generator (splitmix64) for jitter. Not for secrets.
#pragma once

#include <cstdint>

namespace relay {

// Each bit of the result depends on each of `z`: a hash of a number. Not against who chooses the numbers.
inline uint64_t mix(uint64_t z) {
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
  return z ^ (z >> 31);
}

class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}

  uint64_t next() { return mix(state_ += 0x9e3779b97f4a7c15U); }
  // 0 <= result < bound. REQUIRES: bound > 0. The bias of the remainder does not matter to a jitter.
  uint64_t below(uint64_t bound) { return next() % bound; }

 private:
  uint64_t state_;
};

}  // namespace relay

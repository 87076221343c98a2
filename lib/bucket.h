// SPDX-License-Identifier: Apache-2.0
// Bucket: so much a second, and one second's worth at once. It has no clock and no timer: who asks says what time it is.
//
//   left(now, rate) ─► take(n) … 0 left ─► wait(rate, n) milliseconds, then ask again
#pragma once

#include <algorithm>
#include <cstdint>

namespace relay {

class Bucket {
 public:
  static constexpr uint32_t kMost = 1U << 30U;  // of a rate

  // How much may be taken. `now` in milliseconds, which may wrap; `rate` may be another each time. REQUIRES: rate is from 1 to kMost.
  uint32_t left(uint32_t now, uint32_t rate) {
    const uint64_t most = uint64_t{rate} * 1000;
    const uint64_t gained = uint64_t{now - at_} * rate;
    used_ = std::min(used_, most);  // of a higher rate before, one second's worth of this one is owed at most
    used_ = gained >= used_ ? 0 : used_ - gained;
    at_ = now;
    return used_ >= most ? 0 : static_cast<uint32_t>((most - used_) / 1000);
  }
  // REQUIRES: `n` were left.
  void take(uint32_t n) { used_ += uint64_t{n} * 1000; }
  // How many milliseconds until `n` are left. REQUIRES: left() has just been asked, with this rate; n is from 1 to rate.
  uint32_t wait(uint32_t rate, uint32_t n) const {
    const uint64_t wanted = used_ + uint64_t{n} * 1000;
    const uint64_t most = uint64_t{rate} * 1000;
    return wanted <= most ? 0 : static_cast<uint32_t>((wanted - most + rate - 1) / rate);
  }
  uint32_t asked_at() const { return at_; }

 private:
  uint64_t used_ = 0;  // in thousandths, and not there again since
  uint32_t at_ = 0;
};

}  // namespace relay

// SPDX-License-Identifier: Apache-2.0
// Unpacking: numbers of replies wrap around, so they are compared by their difference.
#include "kinds/redis/unpacking.h"

#include <span>

namespace relay::redis {

void Unpacking::expect(uint32_t seq, const PackRules& rules) {
  if (idle()) unpacker_ = Unpacker(rules);
  expected_.push_back(seq);
}

bool Unpacking::wants(uint32_t seq) {
  while (!expected_.empty() && static_cast<int32_t>(expected_.front() - seq) < 0) expected_.pop_front();
  return !expected_.empty() && expected_.front() == seq;
}

void Unpacking::feed(std::string_view text) { unpacker_.feed(std::as_bytes(std::span(text)), ready_); }

void Unpacking::ended(uint32_t seq) {
  if (!wants(seq)) return;
  expected_.pop_front();
  unpacker_.reset();
}

void Unpacking::said(size_t n) {
  said_ += n;
  if (said_ < ready_.size()) return;
  if (ready_.capacity() > kPiece) ready_ = {};
  else ready_.clear();
  said_ = 0;
}

}  // namespace relay::redis

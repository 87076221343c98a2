// SPDX-License-Identifier: Apache-2.0
// Unpacking: the replies of one client on their way out, where values are unpacked (wire/pack.h). Replies go through it in their order, each
// in pieces; of some commands they are left alone. What comes out may be much more than goes in: it is kept here until the client takes it.
//
//   reply ─► feed() ─► ready() ─► said()
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>
#include <string_view>

#include "wire/pack.h"

namespace relay::redis {

class Unpacking {
 public:
  // So much at a time: a thousand times as much may come out.
  static constexpr size_t kPiece = 16 * 1024;

  // The strings in reply `seq` are to be unpacked. In the order of the numbers. The rules hold from when nothing is under way.
  void expect(uint32_t seq, const PackRules& rules);
  // Whether reply `seq`, whose turn it is, is one of these.
  bool wants(uint32_t seq);
  // A piece of it. REQUIRES: wants(seq), and nothing is ready.
  void feed(std::string_view text);
  // It is over.
  void ended(uint32_t seq);

  std::string_view ready() const { return std::string_view(ready_).substr(said_); }
  void said(size_t n);
  bool idle() const { return expected_.empty() && ready_.empty(); }

 private:
  Unpacker unpacker_{PackRules{}};
  std::deque<uint32_t> expected_;
  std::string ready_;
  size_t said_ = 0;  // of ready_
};

}  // namespace relay::redis

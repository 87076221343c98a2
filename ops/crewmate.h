// SPDX-License-Identifier: Apache-2.0
// Crewmate: what a relay knows that runs as one of several worker processes, its crew: which one it is, what the others count, and a way to
// write to them. run/crew.h has the picture.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace relay {

// Letters from worker to worker, in order, each whole.
class Mail {
 public:
  static constexpr unsigned kEverybody = UINT32_MAX;  // but oneself
  // False: there is no room, and the letter is lost: its sender counts it.
  virtual bool send(unsigned to, std::span<const std::byte> letter) = 0;

 protected:
  ~Mail() = default;
};

struct Crewmate {
  unsigned number;  // 0 to count - 1
  unsigned count;
  uint32_t tag;     // the crew's: random, another one each time that the program is started
  std::span<uint64_t> values;  // the statistics of all, one worker's behind the other's: anybody may read them, each writes its own
  Mail& mail;

  std::span<uint64_t> own() const { return values.subspan(number * (values.size() / count), values.size() / count); }
};

}  // namespace relay

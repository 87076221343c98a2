// SPDX-License-Identifier: Apache-2.0
// EarlyTable: which commands smart mode answers before the server has done them, and with what. Pure: arguments in, a verdict out.
//
//   command ─► name: in the table, or added by asynCommands? ─► number of arguments? ─► would the server take them? ─► reply, keys, types
//                 │ no                                            │ no                   │ no, or it is not plain that it would
//                 └────────────────────────────────────────────────┴──────────────────────┴─► wait for the server
//
// What depends on the data (a key of another type, the number that INCR makes) is not decided here: KeyTypes remembers what it can of the
// first, and of the second the reply's type is right and its value is not. SELECT is no command for this table: only the session knows
// which databases there are.
#pragma once

#include <bitset>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace relay::redis {

// The reply that is made up: none, "+OK\r\n", ":1\r\n", "+PONG\r\n".
enum class Made : uint8_t { kNone, kOk, kOne, kPong };

// The type of what a key holds. kAny: as before, or not known; kNothing: there is no such key.
enum class Holds : uint8_t { kAny, kString, kHash, kSet, kZset, kList, kStream, kNothing };

struct Early {
  Made reply = Made::kNone;  // kNone: it must wait for the server, and nothing else here means anything
  // Sent again, with all repeatable ones that went behind it, it leaves the same data as sent once, if nobody else has written meanwhile: it does
  // not look at the data (INCR), move what is at a place (LTRIM), or take from another key (RENAME).
  bool repeatable = false;
  Holds needs = Holds::kAny;   // the server refuses it (WRONGTYPE) if one of its keys holds anything but this or nothing
  Holds leaves = Holds::kAny;  // what all its keys hold afterwards
  uint8_t first_key = 0;       // the keys are these arguments; 0: it has none
  int8_t last_key = 0;         // negative: from the end, -1 is the last argument
  uint8_t key_step = 0;
  bool plain_set = false;  // SET k v [EX n | PX n], SETEX, PSETEX: afterwards the key holds argument `value`, for ttl_ms
  uint8_t value = 0;
  int64_t ttl_ms = 0;  // 0: for good
};

// Calls `f` with each key of the command that was decided on so.
template <typename F>
void each_key(const Early& early, std::span<const std::string_view> args, F f) {
  const size_t last = early.last_key < 0 ? args.size() + static_cast<size_t>(static_cast<int64_t>(early.last_key)) : static_cast<size_t>(early.last_key);
  for (size_t i = early.first_key; i > 0 && i <= last && i < args.size(); i += early.key_step > 0 ? early.key_step : 1) f(args[i]);
}

class EarlyTable {
 public:
  EarlyTable();

  // `more`: the words of asynCommands, in any case; with `exact` only those are early whose answer is the same whatever the data are, among them too.
  // Returns what is wrong with which word, and has changed nothing then; else an empty text.
  std::string configure(std::span<const std::string> more, bool exact);

  // `args[0]` is the name, in any case. REQUIRES: a whole command, its arguments within RespLimits. No allocation.
  Early decide(std::span<const std::string_view> args) const;

  // Whether a command of this name could be early at all, whatever its arguments are.
  bool knows(std::string_view name) const;

 private:
  std::bitset<64> on_;  // by row of the table
};

}  // namespace relay::redis

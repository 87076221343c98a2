// SPDX-License-Identifier: Apache-2.0
// Values that are kept packed on the server: on the way there in commands, on the way back in replies. The formats (doc/pack.md) are those
// of the smart-relayer of old, so that either reads what the other has written.
//
//   command ─► pack_command ─► the same with its values packed
//   bytes of replies ─► Unpacker ─► the same replies with their strings unpacked
//
// Packed are the values of strings and of hashes' fields, and nothing that a server looks for or puts in order: no keys, field names, members,
// elements, scores or patterns. To pack them would be to need the same bytes of every release of a library for ever.
//
// What a client has written comes back as it was, whatever it is, when the relay unpacks what it packs: a value that could be taken for a packed
// one is packed itself, however short. One layer is taken off, never more.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "wire/resp.h"

namespace relay {

struct PackRules {
  bool snappy = false;
  bool unsnappy = false;
  int gzip = 0;  // level: 1 to 9, -1 for zlib's own choice; 0: off. It goes before snappy
  bool gunzip = false;
  // Values that are longer are left alone, and so is what would be longer when it is unpacked. One value takes so much memory, packed and
  // unpacked each, and the process does nothing else while it is at it.
  uint64_t most = uint64_t{64} << 20;

  bool any_packing() const { return snappy || gzip != 0; }
  bool any_unpacking() const { return unsnappy || gunzip; }
};

// Could a command of that name, in any case, have something to pack?
bool packs(std::string_view command_name);
// May strings in its reply be unpacked? Not where they are names, pieces or descriptions of what is kept, or what the client has just said.
// EXEC and scripts: yes, whatever is in them.
bool unpacks(std::string_view command_name);

// Appends the command with its values packed as the rules say, and returns true; false, with nothing appended, if that would be the same
// command. One that the server will refuse for the number of its arguments is the same. REQUIRES: `args` is a whole command.
bool pack_command(const PackRules& rules, std::span<const std::string_view> args, std::string& out);

// Bulk strings of RESP 2 and 3 at any depth. Pushes, attributes, errors and verbatim strings go through as they are, and so does a string
// that begins like a packed one and is none. Only strings that begin so are held, each until it is whole, and of others a head that is cut
// off, with less than four bytes behind it: what feed() has not given out when the connection ends belongs to a reply that is not whole.
// Bytes that are no reply go through, and all behind them, until reset().
class Unpacker {
 public:
  explicit Unpacker(const PackRules& rules) : rules_(rules) {}

  // Takes all of `in`, which may begin and end anywhere, and appends what can be said by now.
  void feed(std::span<const std::byte> in, std::string& out);
  bool holds() const { return !held_.empty(); }
  // Forgets what it holds; the next byte is the first one of a reply.
  void reset() { *this = Unpacker(rules_); }

 private:
  enum class State : uint8_t { kType, kLine, kNumber, kMark, kHeld, kBulk, kCr, kLf, kBroken };
  size_t step(std::string_view text);
  size_t run(std::string_view text);
  State begin(char c);
  State counted(RespNumber::State state);
  State aggregate(uint64_t n);
  State value_ended();
  State marked(char c);
  bool withholds() const;
  void give(std::string_view string, std::string& out) const;

  PackRules rules_;
  std::string held_;                // of a string that may be packed: what came with earlier pieces, its head first
  uint64_t pending_ = 1;            // values to come of this reply, those included that are nested in others
  uint64_t loud_at_ = UINT64_MAX;   // while more than these are to come, they are a push's or an attribute's
  uint64_t left_ = 0;               // bytes to come of this string
  RespNumber number_;
  State state_ = State::kType;
  char here_ = 0;                   // the type of the value that is being read
  std::string_view mark_;           // kMark: what is left of what it might begin with
};

}  // namespace relay

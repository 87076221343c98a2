// SPDX-License-Identifier: Apache-2.0
// Commands: what a relay must know of a command to know over which connection it may go, and to which servers of a cluster. What decides
// about a connection's state is built in; what else there is, what may be repeated, and where the keys are, the server says itself (COMMAND).
//
// It is asked for each command, so it is one look into a table, without allocation.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "kinds/redis/key_spec.h"

namespace relay::redis {

enum class Use : uint8_t {
  kShared,   // leaves nothing behind: it may go between those of others
  kAlone,    // may take its time: a connection of its own until it is answered
  kMulti,    // begins what kExec ends
  kWatch,    // begins what kExec or kUnwatch ends
  kExec,
  kUnwatch,
  kState,    // changes the connection for good, or has no one reply: a connection of its own for the client's life
  kWait,     // as kAlone, behind all that was done before
  kSelect,   // these change what the client is
  kAuth,
  kHello,
  kClient,
  kReset,
  kQuit,
};

// To whom a command goes in a cluster.
enum class Scope : uint8_t {
  kOne,      // where its keys are; without keys, any
  kBySlot,   // the same, but keys in several slots are asked for apart (split.h)
  kMasters,  // all of them
  kNodes,    // those and their replicas
  kScan,     // one master after the other, as its cursor says (split.h)
};

// What becomes of several replies. An error in one of them is the whole reply, but with kAny.
enum class Join : uint8_t {
  kNone,
  kValues,  // MGET: in the order of the keys
  kFirst,   // all alike: the first
  kAny,     // one that is no error
  kSum, kMin, kMax, kAnd, kOr,  // of integers, or of lists of them
  kConcat,  // lists, one behind the other
};

struct Command {
  Use use = Use::kShared;
  bool repeatable = false;  // done twice it is as if done once, whatever others have done meanwhile: it only reads
  bool read_only = false;   // a replica may answer it
  bool write = false;
  bool container = false;   // has subcommands, and keys and all that are theirs: ask with the first argument, too
  Scope scope = Scope::kOne;
  Join join = Join::kNone;
  uint8_t stride = 0;       // Scope::kBySlot: how many arguments each key has, itself included
  const KeySpec* keys = nullptr;  // nullptr: nobody has said where they are
};

class Commands {
 public:
  Commands();

  // `name` in any case. One that nobody has heard of goes as it is. Its `keys` are there until learn() is true, or this is gone.
  Command find(std::string_view name) const;
  // The same, and if it has subcommands, the one that `argument` is, or itself if that is none. `argument` is the one behind the name, or empty.
  Command find(std::string_view name, std::string_view argument) const;
  // Whole reply of COMMAND. False: it is none, and nothing has changed.
  bool learn(std::string_view reply);
  bool learned() const { return learned_; }

 private:
  static constexpr uint16_t kNone = UINT16_MAX;
  struct Entry {
    uint32_t name = 0;       // in names_, in lower case
    uint8_t size = 0;
    uint8_t container = 0;   // of a subcommand: the size of the name before the '|'
    uint16_t keys = kNone;   // in specs_
    Command command;
  };
  struct Seen;

  const Entry* look(std::string_view name, std::string_view argument) const;
  Command told(const Entry* entry) const;
  void add_built_in();
  Entry* add(std::string_view name);
  bool take_entry(std::string_view& rest, std::string_view container);
  void note(const Seen& seen, std::string_view container);
  void index();

  std::string names_;
  std::vector<Entry> entries_;
  std::vector<KeySpec> specs_;
  std::vector<uint16_t> table_;  // a power of two, at most half of it used: indexes of entries_, or kNone
  bool learned_ = false;
};

}  // namespace relay::redis

// SPDX-License-Identifier: Apache-2.0
// Commands: what a relay must know of a command to know over which connection it may go. What decides about a connection's state is built
// in; what else there is, and what may be repeated, the server says itself (COMMAND).
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

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

struct Command {
  Use use = Use::kShared;
  bool repeatable = false;  // done twice it is as if done once, whatever others have done meanwhile: it only reads
};

class Commands {
 public:
  // `name` in any case. One that nobody has heard of goes as it is.
  Command find(std::string_view name) const;
  // Whole reply of COMMAND. False: it is none, and nothing has changed.
  bool learn(std::string_view reply);
  bool learned() const { return !known_.empty(); }

 private:
  std::map<std::string, Command, std::less<>> known_;
};

}  // namespace relay::redis

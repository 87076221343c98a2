// SPDX-License-Identifier: Apache-2.0
// Watches: who wants to hear what becomes of clients (GET watch, PlexControl.Watch).
//
//   PlexRelay::noted(client, what) ─► tell(event) ─► each that it is for: a line of JSON, or a message ─► Pieces::say
//
// Who has missed something hears so with what comes next, or within about a second of there being room.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lib/uuid.h"
#include "net/loop.h"
#include "net/timer.h"
#include "ops/control.h"
#include "wire/control.h"

namespace relay::plex {

// Appends it as JSON with an end of line, or as a message of protobuf.
void encode(const control::WatchEvent& event, bool rpc, std::string& to);

// The piece that says how many there was no room for (Pieces::SayMissed).
void say_missed(uint64_t count, bool rpc, std::string& piece);

class Watches final : private TimerUser {
 public:
  Watches(ControlDesk& desk, Loop& loop) : desk_(desk), owed_(loop, *this) {}

  size_t size() const { return all_.size(); }
  bool empty() const { return all_.empty(); }
  // `only`: of these clients; empty: of all.
  void add(Ticket ticket, bool rpc, std::vector<Uuid> only) { all_.push_back({Pieces(ticket, rpc, say_missed), std::move(only)}); }
  // Returns how often it was missed.
  uint64_t tell(const Uuid& uuid, const control::WatchEvent& event, size_t most);
  void remove(Ticket ticket);
  // Each hears the end. REQUIRES: not from within Relay::control().
  void end(int status, std::string_view why);

 private:
  struct Watch {
    Pieces pieces;
    std::vector<Uuid> only;
  };
  void on_timer(Timer& timer) override;

  ControlDesk& desk_;
  std::vector<Watch> all_;
  Timer owed_;       // while somebody has not been told what it has missed
  size_t most_ = 0;  // that may wait for one
};

}  // namespace relay::plex

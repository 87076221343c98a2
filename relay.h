// SPDX-License-Identifier: Apache-2.0
// What a relay is. A Kind is a constant that describes one kind of conversation; a Relay is a configured instance of it.
//
//   relay.cpp ── knows ──► Kind (name, keys, check, make) ── makes ──► Relay (start, drain, stop, idle, report)
//
// Every kind is written against this file and the rooms below it; only relay.cpp knows which kinds there are.
#pragma once

#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "net/loop.h"
#include "net/resolver.h"
#include "ops/config.h"

namespace relay {

inline constexpr std::string_view kVersion = "0.1.0";

// What all relays of the process share.
struct Env {
  Loop& loop;
  Resolver& resolver;
};

class Relay {
 public:
  virtual ~Relay() = default;

  // Opens its listeners. A fault is the operator's to mend: a port in use, no permission. Called once.
  virtual void start(Faults& faults) = 0;
  // Takes nothing new, delivers what it has; idle() once that is done.
  virtual void drain() = 0;
  // Ends everything now. `why` goes into the log; static.
  virtual void stop(std::string_view why) = 0;
  virtual bool idle() const = 0;  // nothing is open but listeners
  virtual void report() = 0;  // a `stats` line in the log
};

struct Kind {
  std::string_view name;     // kind = "cluster"
  std::string_view command;  // relay start
  std::string_view summary;  // one line of --help
  std::string_view help;     // what it does and an example, before the options of COMMAND --help
  std::span<const Key> (*keys)();
  // Faults that only show when keys are seen together.
  void (*check)(const Section& section, Faults& faults);
  // Where it would listen, ports filled in. REQUIRES, here and below: `section` had no faults.
  std::vector<Endpoint> (*places)(const Section& section);
  // `section` is not needed afterwards.
  std::unique_ptr<Relay> (*make)(const Env& env, const Section& section);
};

}  // namespace relay

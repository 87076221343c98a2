// SPDX-License-Identifier: Apache-2.0
// What a relay is. A Kind is a constant that describes one kind of conversation; a Relay is a configured instance of it.
//
//   relay.cpp ── knows ──► Kind (name, keys, check, make) ── makes ──► Relay (prepare, commit, drain, stop, idle, status)
//
// Every kind is written against this file and the rooms below it; only relay.cpp knows which kinds there are.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "lib/json.h"
#include "lib/log.h"
#include "net/listen_pool.h"
#include "net/loop.h"
#include "net/resolver.h"
#include "ops/config.h"
#include "ops/control.h"
#include "ops/crewmate.h"
#include "ops/last_error.h"
#include "ops/stats.h"

namespace relay {

inline constexpr std::string_view kVersion = "0.1.0";

// What all relays of the process share.
struct Env {
  Loop& loop;
  Resolver& resolver;
  ListenPool& sockets;
  ControlDesk& desk;
  const Crewmate* mate = nullptr;  // of a relay that is one of several worker processes
};

class Relay {
 public:
  virtual ~Relay() = default;

  // A configuration is taken into use in two steps, so that all relays of a file change or none does: the first one as well as
  // one that comes while the relay works. `section` has no faults of its own, and is not needed after the call.
  virtual void prepare(const Section& section, Faults& faults) = 0;  // opens what is missing, beside what is there
  virtual void commit() = 0;    // goes over to it. Sessions go on; what the section says of them holds from now on.
  virtual void rollback() = 0;  // forgets it
  // Lends its listening sockets to Env::sockets: it will be changed, or drained, unless the change fails.
  virtual void lend() = 0;
  // Whether it depends on files of its own (certificates), or has been changed by control(): then a reload prepares it anew though its section is
  // the same. After prepare() it is said of what is prepared.
  virtual bool reads_files() const = 0;

  // Takes nothing new, delivers what it has; idle() once that is done.
  virtual void drain() = 0;
  // Ends everything now, but for at most half a second of last words to those who listen; a second time without these. `why` goes into the
  // log; static.
  virtual void stop(std::string_view why) = 0;
  virtual bool idle() const = 0;  // nothing is open but listeners
  virtual bool settled() const { return true; }  // what commit() has taken into use is in force everywhere

  virtual const std::string& name() const = 0;
  // Its statistics, in the order of Kind::stats, valid for the turn.
  virtual std::span<const uint64_t> values() const = 0;
  // What an operator asks of this relay alone: `what` is what stands behind its name in the path ("send"), `body` the request's. Appends
  // the answer, a JSON object, and returns HTTP's status; 404: there is no such thing. Or kAnswersLater, kAnswersOn: then Env::desk gets it, by
  // the query's ticket. Of gRPC `what` is the method, `body` and the answer are its messages (ControlQuery::rpc), and 501 is: there is no such method.
  virtual int control(std::string_view /*what*/, const ControlQuery& /*query*/, std::string& /*answer*/) { return 404; }
  // Who asked with that ticket, perhaps of another relay, waits for the answer no longer.
  virtual void hung_up(Ticket /*ticket*/) {}
  // A letter of another worker's, and one that could not be delivered; only with Env::mate.
  // False: that was enough for this turn.
  virtual bool on_mail(unsigned /*from*/, std::span<const std::byte> /*letter*/) { return true; }
  virtual void on_mail_returned(unsigned /*to*/, std::span<const std::byte> /*letter*/) {}
  // The log has another level from now on; who has processes of its own tells them.
  virtual void log_level(Level /*level*/) {}
  virtual const LastError& last_error() const = 0;
  // Adds members to the object that describes it: where it listens, its sessions (at most `most` of them), its last error.
  virtual void status(Json& json, size_t most) = 0;
};

// With workers: who is asked what the admin socket is asked.
inline constexpr unsigned kAsksAll = UINT32_MAX;
struct Asked {
  unsigned worker = 0;
  bool goes_on = false;  // kAnswersOn
  // What all are to do that holds until the next configuration, and so for a worker that comes later. Who asks for the same again, and is
  // not refused, has undone it. Empty: it is of the moment.
  std::string lasts{};
};

struct Kind {
  std::string_view name;     // kind = "cluster"
  std::string_view command;  // relay start
  std::string_view service{};  // "package.Service": its relays are controlled by gRPC, too; field 1 of each request is the relay's name
  std::span<const std::string_view> looks{};  // the methods of it that change nothing
  std::string_view summary;  // one line of --help
  std::string_view help;     // what it does and an example, before the options of COMMAND --help
  std::span<const Key> (*keys)();
  std::span<const StatRow> (*stats)();
  // Faults that only show when keys are seen together.
  void (*check)(const Section& section, Faults& faults);
  // How many descriptors it may come to need.
  uint64_t (*descriptors)(const Section& section);
  // What the log calls it, and where it would listen, ports filled in. REQUIRES, here and below: `section` had no faults.
  std::string (*title)(const Section& section);
  std::vector<Endpoint> (*places)(const Section& section);
  std::unique_ptr<Relay> (*make)(const Env& env);
  // For a kind that can run as several processes (run/crew.h); else nullptr: how many there are to be, 1: none but the main one; who is
  // asked; what somebody is told who was too slow for answers that go on; the key that says where it dials, for people.
  unsigned (*workers)(const Section& section) = nullptr;
  Asked (*asked)(std::string_view what, const ControlQuery& query, unsigned workers) = nullptr;
  Pieces::SayMissed say_missed = nullptr;
  std::string_view target_key = {};
  std::string_view missed_key = {};  // and the counter of what was missed by such a one
  std::string_view mail_lost_key = {};  // and that of mail that reached nobody
};

}  // namespace relay

// SPDX-License-Identifier: Apache-2.0
// Fleet: the relays of the process, those that were taken out of the configuration and have something left to deliver, and the
// change from one configuration to the next.
//
//   Change change(fleet, config);      who stays, who changes, who comes, who goes
//   while (change.prepare(faults)) …    opens what is new, a relay a call; nothing is in use yet
//   faults? let it go: all is as it was.   Else: while (change.commit()) …
#pragma once

#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "relay.h"

namespace relay {

class Nursery;

struct Running {
  uint64_t id;  // only grows
  const Kind* kind;
  Section section;
  std::unique_ptr<Relay> relay;
  Time until{};                 // of one that was taken out: the most it may still take
  std::vector<uint64_t> shown;  // what the metrics said last: a counter never falls
};

class Fleet {
 public:
  Fleet(std::span<const Kind* const> kinds, const Env& env, const Section& global, Nursery* nursery) : kinds_(kinds), env_(env), global_(global), nursery_(nursery) {}

  // In the order of `id`.
  const std::vector<std::unique_ptr<Running>>& relays() const { return relays_; }
  const std::vector<std::unique_ptr<Running>>& retired() const { return retired_; }
  // Destroys some of those taken out that have ended; ends those whose time is up. True: there are more to destroy. REQUIRES: outside
  // a turn of the loop.
  bool sweep();
  // How long until the time of one of those is up.
  Delay patience() const;
  void drain();
  void stop(std::string_view why);
  bool idle() const;
  bool settled() const;
  void log_stats() const;
  void log_level(Level level);
  // "2 relays: clients 3, gateways 3, …": the sums of the gauges of each kind that has a relay.
  std::string summary() const;

 private:
  friend class Change;
  std::unique_ptr<Relay> make(const Kind& kind, const Section& section) const;

  std::span<const Kind* const> kinds_;
  Env env_;
  const Section& global_;
  Nursery* nursery_;  // nullptr: there are no worker processes
  std::vector<std::unique_ptr<Running>> relays_;
  std::vector<std::unique_ptr<Running>> retired_;
  uint64_t next_id_ = 1;
};

class Change {
 public:
  struct Counts {
    size_t kept = 0;
    size_t changed = 0;
    size_t added = 0;
    size_t removed = 0;
  };

  // A relay is known again by its name; `drain` is how long one that goes may take. Borrows `fleet`.
  Change(Fleet& fleet, Config::Items items, Delay drain);
  ~Change();  // without commit(): rolls back
  Change(const Change&) = delete;
  Change& operator=(const Change&) = delete;

  // One relay further, and there are several rounds. False: that was all.
  bool prepare(Faults& faults);
  // REQUIRES: prepared without a fault.
  bool commit();
  // Frees a piece of what was needed. False: that was all.
  bool forget();
  const Counts& counts() const { return counts_; }

 private:
  enum class Fate : uint8_t { kKept, kChanged, kAdded };
  struct Step {
    Fate fate;
    std::unique_ptr<Running> added;  // kAdded
    Running* running;
    Section section;
    bool prepared = false;  // reads_files() may say something else since
  };
  // What is to be done for the items, one after the other, before prepare() may begin; `next_` is the next item (or old relay).
  enum class Phase : uint8_t { kIndex, kName, kMatchEqual, kMatchName, kSort, kLend, kPrepare };
  void index_one();
  void name_one();
  void match_one(bool equal);
  void sort_one();
  void lend_one();
  void take_out_removed();

  Fleet& fleet_;
  Delay drain_;
  Config::Items items_;
  std::vector<std::string> titles_;  // of the items, as the log and the metrics know them
  std::vector<Running*> found_;      // for each item, the relay that it is; nullptr: none
  std::multimap<std::string_view, Running*> old_;  // by name, those not found again
  std::map<std::string, size_t, std::less<>> seen_;
  Phase phase_ = Phase::kIndex;
  size_t next_ = 0;
  std::vector<Step> steps_;
  std::vector<Running*> removed_;
  std::vector<std::unique_ptr<Running>> leaving_;  // of these, those still to be drained
  Counts counts_;
  size_t committed_ = 0;
  bool done_ = false;
};

}  // namespace relay

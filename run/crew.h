// SPDX-License-Identifier: Apache-2.0
// Crew: a relay that runs as several processes (`workers`), as the main process sees it.
//
//   main process: Crew ═ trunk ═ worker 0: the relay       all listen at one place (SO_REUSEPORT): the kernel deals clients out
//                      ═ trunk ═ worker 1: the relay       each has its own loop, descriptors and connections
//                      ═ trunk ═ worker 2: the relay
//
// The Crew opens the listening sockets, and keeps them: while a worker that has died is replaced, who comes waits in the kernel. It passes on the
// configuration, what the admin socket is asked, and mail from worker to worker. Statistics are in memory that all share: what a worker has
// counted outlives it.
//
// A worker says every two seconds that it lives. One that does not stops its clients, and in time the others, whose mail has a bound: it is ended,
// and replaced.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "relay.h"
#include "run/nursery.h"
#include "run/trunk.h"

namespace relay {

class Crew final : public Relay, private TimerUser {
 public:
  // Borrows all for its life. `nursery` may be nullptr: then prepare() is a fault.
  Crew(const Env& env, const Kind& kind, Nursery* nursery, const Section& global);
  ~Crew() override;

  void prepare(const Section& section, Faults& faults) override;
  void commit() override;
  void rollback() override;
  void lend() override {}
  bool reads_files() const override { return reads_files_ || by_hand_; }
  void drain() override;
  void stop(std::string_view why) override;
  bool idle() const override;
  bool settled() const override;
  const std::string& name() const override { return name_; }
  std::span<const uint64_t> values() const override;
  int control(std::string_view what, const ControlQuery& query, std::string& answer) override;
  void hung_up(Ticket ticket) override;
  void log_level(Level level) override;
  const LastError& last_error() const override { return last_error_; }
  void status(Json& json, size_t most) override;

 private:
  class Hand;
  struct Place {
    std::string asked;               // as configured
    std::vector<Listening> sockets;  // one for each worker; of a Unix socket, and one that was passed to us, duplicates
  };
  struct Next {
    Section section;
    std::vector<Place> fresh;        // those that are new
    std::vector<std::string> asked;  // all
    bool reads_files = false;
  };
  struct Question {
    std::set<unsigned> waits_for;  // workers
    std::string text;              // of the answers so far
    int status;
    bool of_all;
    bool goes_on;
    Pieces pieces;
    size_t starting;  // of one that goes on: how many workers have not begun; what others say before that is not passed on
    size_t most = 0;  // that may wait for the asker
    std::string lasts{};  // Asked::lasts
    LetterWriter letter{};  // of one that lasts, for a worker that comes later
    std::set<unsigned> did{};  // workers
  };
  static constexpr Delay kStopMost{2000};  // that a worker may take when it has been told to stop

  void on_timer(Timer& timer) override;
  bool copy_place(const Endpoint& where, Place& place) const;
  Status open_place(const Endpoint& where, size_t count, Place& place) const;
  Place* find_place(std::string_view asked);
  void lost(Hand& hand);
  void deliver(Hand& from, unsigned to, std::span<const std::byte> mail);
  void give_back(unsigned from, unsigned to, std::span<const std::byte> mail);
  void heard_error(LetterReader& letter);
  void hold();
  void choose_held();
  void feel();
  void tell_owed();
  void said(Hand& hand, Ticket ticket, size_t most, std::string_view piece);
  void answered(Hand& hand, Ticket ticket, int status, std::string_view text);
  void finish(Ticket ticket);
  std::span<uint64_t> values_of(unsigned number) const;

  Env env_;
  const Kind& kind_;
  Nursery* nursery_;
  const Section& global_;
  Section section_;
  std::string name_;
  const uint32_t tag_;
  std::span<uint64_t> shared_;
  size_t offset_ = 0;
  std::vector<std::unique_ptr<Hand>> hands_;
  std::vector<Place> places_;
  std::unique_ptr<Next> next_;
  std::map<Ticket, Question> questions_;
  mutable std::vector<uint64_t> sums_;
  LastError last_error_;         // of all workers, as far as they have said
  Timer owed_;                   // while somebody has not been told what it has missed
  uint64_t missed_ = 0;          // pieces that there was no room for here, and that no worker knows of
  uint64_t unreturned_ = 0;      // mail for nobody, whose sender could not be told
  Timer stuck_;                  // while mail is held, or the workers are being stopped
  Timer pulse_;                  // to see who has not said that it lives
  bool held_ = false;
  bool reads_files_ = false;
  bool by_hand_ = false;         // workers may have changed what the file says
  std::map<std::string, LetterWriter> lasting_;  // and what they were told, by Asked::lasts
  bool draining_ = false;
  bool stopping_ = false;
};

std::unique_ptr<Relay> make_crew(const Env& env, const Kind& kind, Nursery* nursery, const Section& global);

}  // namespace relay

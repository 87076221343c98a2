// SPDX-License-Identifier: Apache-2.0
// Crowd: what is said to many, done in pieces.
//
//   broadcast ─► [ job 7, job 8, job 9 ]     job 7 goes through the Table's places, some in each turn; then job 8 does, …
//
// Jobs are numbered, and each client remembers the last one it has had. So somebody who is spoken to alone while jobs are on their way has them first
// (catch_up), and order holds for each client; who has come after a job is not meant by it.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <set>
#include <string>

#include "lib/uuid.h"
#include "net/loop.h"
#include "net/timer.h"
#include "wire/upstream.h"

namespace relay::plex {

class Client;
class PlexRelay;

class Crowd final : private TimerUser {
 public:
  Crowd(PlexRelay& relay, Loop& loop) : relay_(relay), timer_(loop, *this) {}

  // Of a message whose target is a broadcast or a group; `had`: those who are not to hear it, besides those that it excepts. False: there is no
  // room for it (broadcast-queue). `speaker`: an upstream's id, 0 for an operator, or another number for who is elsewhere.
  bool add(const upstream::Output& output, std::set<Uuid> had, uint32_t speaker);
  void catch_up(Client& client);
  uint32_t newest() const { return first_ + static_cast<uint32_t>(jobs_.size()) - 1; }
  bool idle() const { return jobs_.empty(); }
  // An upstream is to wait with what else it has to say to many: enough of its own is not done yet, or all have said more than half of what may wait.
  bool is_behind(uint32_t speaker) const;
  void clear();

 private:
  static constexpr uint32_t kSlice = 256;    // clients a turn
  static constexpr uint64_t kBesideUuid = 64;  // bytes
  static constexpr size_t kJobsHeld = 8;           // who is spoken to alone has to hear them all first; and each turn brings more
  static constexpr size_t kJobsMost = 16 * 1024;  // of those who cannot be made to wait: operators, and who is elsewhere

  struct Job {
    upstream::Broadcast to{};
    bool is_group = false;
    std::string group;
    std::string payload;
    upstream::Command command{};
    std::string reason;
    uint32_t speaker = 0;
    uint32_t active_since = 0;  // a tick
    std::set<Uuid> except;
    uint64_t size = 0;
  };
  void on_timer(Timer& timer) override;
  bool is_meant(const Job& job, Client& client) const;
  void hear(const Job& job, Client& client);

  PlexRelay& relay_;
  Timer timer_;
  std::deque<Job> jobs_;
  uint32_t first_ = 1;   // the number of jobs_.front(), or of the next one
  uint32_t at_ = 0;      // the place where it goes on
  uint64_t bytes_ = 0;
  std::map<uint32_t, size_t> jobs_of_;  // how many, by speaker
};

}  // namespace relay::plex

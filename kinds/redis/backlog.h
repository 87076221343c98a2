// SPDX-License-Identifier: Apache-2.0
// Backlog: what was answered early, in a spool: first it is in the file, then it is answered, and then it goes over a lane. It survives the
// end of the process, and is on its way again before anything newer when the relay is started.
//
//   take() ─► fresh_ ── once a turn, all together ──► in the file ─┬─► answered (fsync = always: when it is on the disk)
//                │                                                 └─► a lane, if there is room and nothing older is in the file alone
//                └─ the file takes no more: stranded_ ─► a lane,        else: read from the file later, in its order ─► a lane
//                   as commands whose clients wait for the server
//
//   loaded_: those that are in lanes; the file may forget all before the first that is not done
//
// The order is the file's. Who must not overtake what is in the file alone waits until that is in a lane (mark(), is_past()).
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "kinds/redis/lane.h"
#include "lib/json.h"
#include "net/timer.h"
#include "ops/spool.h"

namespace relay::redis {

class RedisRelay;

class Backlog final : private SpoolUser, private TimerUser {
 public:
  // kYes: it is taken; the Session's spool_answer() or spool_left() is called. kNotNow: RedisRelay::room() says when to ask again.
  // kNever: it is too long, or the spool fails: its client is to wait for the server.
  enum class Taken : uint8_t { kYes, kNotNow, kNever };

  // Borrows `relay` for its life.
  explicit Backlog(RedisRelay& relay);

  // What is wrong, in words with a remedy, or nothing. It waits for the disk. Once, and before anything else.
  std::optional<std::string> open(const Spool::Plan& plan);
  const std::string& dir() const { return dir_; }
  // Another bound, another fsync.
  void change(const Spool::Plan& plan);
  // What is there goes over lanes from now on, as they have room.
  void start() { ask(); }

  // An early command of a session; of `entry` are filled in: session, seq, expected, repeatable, needs, leaves.
  Taken take(const Lane::Entry& entry, uint32_t db, std::string_view command);

  // What of that database (nothing: of any) was taken until now, and whether that is in lanes, or needs none any more.
  uint64_t mark(std::optional<uint32_t> db) const;
  bool is_past(uint64_t mark) const { return stranded_.empty() && (mark <= loaded() || all_loaded()); }

  // For lanes. The record that ends at `end` is done, or is given up.
  void done_with(uint64_t end);
  // Whether what must not be repeated may be sent now, up to that record; if not, the lanes are called when it may (Lane::turn).
  bool may_send(uint64_t end);

  // A client has gone, or a lane: if the relay is draining, that may have been the last.
  void look();
  // The end. What is not done stays in the file, which is said.
  void close();
  bool closed() const { return closed_; }
  void status(Json& json) const;

 private:
  struct Fresh {  // taken in this turn
    Lane::Entry entry;
    uint32_t db;
    size_t at;    // of its body, in bytes_
    size_t size;
  };
  struct Owed {  // in the file, not answered
    Handle session;
    uint32_t seq;
    Made made;
    uint64_t end;
  };
  struct Stranded {
    Lane::Entry entry;
    uint32_t db;
    std::string command;
  };
  struct Loaded {
    uint64_t end;
    bool done;
  };
  struct Front {  // read from the file; finds no room
    uint64_t at;
    Lane::Entry entry;
    uint32_t db;
    std::string command;
  };

  void on_synced(const Status& status) override;
  void on_uncertain(const SpoolRecord& record) override;
  void on_timer(Timer& timer) override;

  void ask() { turn_.arm(Delay{0}); }
  void turn();
  bool fails() const;
  void strand();
  void settle();
  void answer();
  void load();
  bool load_one(const SpoolRecord& record);
  void read_one(uint64_t end);
  bool give(const Lane::Entry& entry, uint32_t db, std::string_view command);
  void put_stranded();
  void free_done();
  void count();
  bool may_end() const;
  bool waits_for_time() const;

  // Where what is in the file alone begins.
  uint64_t loaded() const { return front_ ? front_->at : spool_.read(); }
  bool all_loaded() const { return fresh_.empty() && !front_ && spool_.all_read(); }

  RedisRelay& relay_;
  Spool spool_;
  std::string dir_;
  Spool::Fsync fsync_ = Spool::Fsync::kEverySecond;
  Timer turn_;   // at the end of this one
  Timer later_;  // while something waits that nobody tells of
  std::string bytes_;  // bodies of fresh_
  std::vector<Fresh> fresh_;
  bool in_memory_ = false;  // when the first of these came, nothing was in the file alone
  std::deque<Owed> owed_;
  std::deque<Stranded> stranded_;
  std::deque<Loaded> loaded_;
  std::optional<Front> front_;
  std::map<uint32_t, uint64_t> taken_;  // by database: where the last one ends
  uint64_t last_ = 0;      // the same of all
  uint64_t old_end_ = 0;   // what is before was found in the file
  uint64_t unread_ = 0;    // of what came since, records in the file alone
  uint64_t done_ = 0;      // all before is done; the spool hears of it once a turn
  Time failed_until_{};    // it is not tried before
  bool sync_failed_ = false;      // the last time
  uint64_t unsafe_until_ = 0;     // what a sync has failed for
  Time unsafe_deadline_{};        // then who waits for that is told
  Time not_noted_since_{};        // may_send() finds the file not writable
  bool not_noted_said_ = false;
  bool lanes_wait_ = false;       // may_send() was false
  bool closed_ = false;
};

}  // namespace relay::redis

// SPDX-License-Identifier: Apache-2.0
// Lane: a connection to a server that all clients share who are in the same state (database, protocol, login), and the commands that
// wait to be sent over it or to be answered. It comes back by itself, with what it still owes.
//
//   queue_    ├── answered ──┤── sent, not answered ──┤── not sent ──┤          entries_: one for each command that is not answered
//             gone           read()                   sent_          written()
//
// A command is a client's, who waits for its reply; or early: its client has had an answer already, and what it does is owed by us.
// Those are kept until the server has answered them, however long that takes; clients are told after `timeout`.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "kinds/redis/early.h"
#include "kinds/redis/link.h"
#include "kinds/redis/queued.h"
#include "lib/json.h"
#include "net/loop.h"
#include "net/timer.h"
#include "queue.h"
#include "wire/resp.h"

namespace relay::redis {

class RedisRelay;
class Session;

std::string_view made_up(Made made);  // the reply's bytes

// A client, by a name that nobody else gets when it has gone.
struct Handle {
  uint32_t place = UINT32_MAX;
  uint32_t generation = 0;
};

class Lane final : public Mortal, private LinkUser, private TimerUser {
 public:
  struct Key {
    uint32_t node = 0;
    Setting setting;
    bool operator==(const Key& other) const = default;
  };
  struct Entry {
    Handle session;          // early: none
    uint32_t seq = 0;        // which reply of the session
    uint32_t part = 0;       // of several that are joined into one reply, from 1 on
    uint32_t size = 0;       // in queue_
    uint64_t spooled = 0;    // early: where its record in the spool ends; 0: it is in none
    Made expected = Made::kNone;   // early: the answer that was given; kNone: the server's was compared with it already
    Holds needs = Holds::kAny;     // of its one key, which is its first argument: the type that it needs, and what it leaves
    Holds leaves = Holds::kAny;
    uint8_t moves = 0;             // redirections
    uint8_t repeats = 0;           // times that it was sent over a connection that was lost
    bool early : 1 = false;
    bool repeatable : 1 = false;
    bool asking : 1 = false;       // its bytes begin with an ASKING, which has a reply of its own
    bool asked : 1 = false;        // they do, whether or not that was answered
    bool scripted : 1 = false;     // a client's script may have made its error up
    bool wide : 1 = false;         // there is no telling what it writes
    bool tells_type : 1 = false;   // its key was thought to be of another type: a reply that is no error says that it is not
  };

  Lane(RedisRelay& relay, uint32_t id, Key key);
  ~Lane() override;
  void start();

  uint32_t id() const { return id_; }
  const Key& key() const { return key_; }
  bool ready() const { return link_.ready(); }
  // In vain for longer than `timeout`: clients get an error at once, until it is back; and what that says.
  bool hopeless() const { return hopeless_; }
  std::string complaint() const;
  const std::string& refusal() const { return link_.refusal(); }
  bool stuck() const { return stuck_; }
  bool retired() const { return retired_; }
  size_t owed() const { return entries_.size() + held_.size(); }
  Time since() const { return link_.since(); }  // when it was connected
  Time used() const { return used_; }  // when a command came last
  void use(Time now) { used_ = now; }  // one is about to come
  // Early commands that ever came, and those that are done with. In their order, so: done >= what came before X means all before X.
  // The same of all.
  uint64_t put_total() const { return put_; }
  uint64_t done_total() const { return put_ - owed(); }
  uint64_t early_put() const { return early_put_; }
  uint64_t early_done() const { return early_done_; }
  bool has_early() const { return early_put_ != early_done_; }

  // A whole command. `entry.size` is filled in. False: there is no room now.
  bool put(const Entry& entry, std::string_view command);
  bool put(const Entry& entry, std::span<const std::string_view> pieces);
  // A client has taken what it could not: goes on in the next turn.
  // Clients wait until half of what there is room for has gone; asked before each put() for one.
  bool full();
  // Whether put() would take a command of a client that is so long.
  bool fits(uint64_t size) const;
  std::string front() { return copy(queue_.read(), entries_.front().size); }
  void resume();
  // Reading what the server has not got yet (read_queued.cpp). The command that was put last SETs `key`, for as long as `until`; something else
  // is done to that key, or to any; the value that `key` will have, if that is known.
  void remember(std::string_view key, Time until);
  void forget(std::string_view key) {
    if (queued_ != nullptr) queued_->forget(key);
  }
  void forget_all() {
    if (queued_ != nullptr) queued_->clear();
  }
  bool read_queued(std::string_view key, std::string& value);
  // Whether it has commands that write; and such where there is no telling what.
  bool owes_writes() const { return has_early() || writes_ > 0; }
  bool owes_wide_writes() const { return wide_writes_ > 0; }
  // The memory of an empty queue goes: it is kept warm while commands come.
  void tidy() { queue_.trim(); }
  // Somebody waits for what was answered early: it goes out with the next turn.
  void hurry();
  // No more commands come; it ends when nothing is owed.
  void retire();
  // Gives all that it owes to the relay, to find a place for it (RedisRelay::reroute), and ends.
  void scatter();
  // To write in the next turn: then the commands of all clients that have something now go together.
  void turn();
  // What was not delivered is lost, but for what is in a spool. The relay buries it.
  void end(std::string_view why);
  void status(Json& json) const;

 private:
  void on_link_ready() override;
  void on_link_turn() override { write(); }
  size_t on_link_bytes(std::span<const std::byte> bytes) override;
  void on_link_read() override;
  void on_link_lost(const std::string& why) override;
  void on_timer(Timer& timer) override;

  enum class Reply : uint8_t { kUnknown, kPass, kKeep, kDrop, kAgain };
  static constexpr uint64_t kAll = UINT64_MAX;
  void dial();
  void write();
  Reply begin_reply(char first, const Entry& entry) const;
  void outgrown(const Entry& entry);
  void reply_ended(bool push);
  void done_with_front(bool answered = true);
  void error_came(Entry& entry, Session* session);
  // When the server is not able to do things for now (hold.cpp). Whether an error says so: not done, and not for what the command is.
  static bool is_for_now(std::string_view error);
  bool hold(Entry& entry, std::string_view error);
  bool goes_again(const Entry& entry) const;
  void keep_back();
  void put_back();
  void try_again();
  void look_behind(bool works);
  void go_on();
  uint64_t may_write();
  bool gathers() const;
  void early_is_done();
  void sync_is_done(const Entry& entry);
  void refuse_waiting();
  bool has_spooled() const;
  uint64_t end_of_command(uint64_t offset) const;
  void early_answered(Entry& entry);
  void told_type(const Entry& entry);
  void drop_lost();
  bool outlives(Entry& entry, uint64_t end, bool first);
  void refuse_all();
  void give_up();
  template <typename Keep>
  void sift(Keep keep);
  void append(std::string_view bytes);
  std::string copy(uint64_t offset, uint64_t size);
  void watch();
  void wait_for_server();

  RedisRelay& relay_;
  const uint32_t id_;
  Key key_;
  const bool own_login_;  // it is the relay's
  Link link_;
  Timer retry_;     // after a loss, or until what was held is tried again
  Timer patience_;  // without a server, or without a reply
  Delay pause_{};
  Queue queue_;
  uint64_t sent_ = 0;  // offset in queue_
  uint64_t goal_ = 0;  // so far it goes out, whatever is under way
  uint64_t sync_bytes_ = 0;  // of clients who wait, in queue_
  std::deque<Entry> entries_;
  RespReply reader_;
  Reply reply_ = Reply::kUnknown;
  std::string kept_;  // of the reply that is being read: kKeep
  bool passed_ = false;  // of the reply that is being read, its client has had something
  uint64_t until_ = kAll;   // offset in queue_: so much is sent, while the server is not able to do things
  std::deque<Entry> held_;  // to be sent again: refused for now, and what was done behind that
  std::string held_bytes_;
  std::string for_now_;     // what the server said
  Time held_since_{};
  Time away_since_{};  // no connection since; 0: there is one
  Time progress_{};  // the last reply, or the first command after none
  Time used_{};
  uint64_t put_ = 0;
  uint64_t early_put_ = 0;
  uint64_t early_done_ = 0;
  uint64_t done_aside_ = 0;  // done while older ones are held: they count when those are done
  uint64_t late_ = 0;        // those
  bool noted_ = false;     // there are some that must not be repeated, and of which the spool is told before they are sent
  std::unique_ptr<Queued> queued_;
  uint64_t writes_ = 0;       // of clients who wait
  uint64_t wide_writes_ = 0;  // of these
  bool wrote_ = false;     // the server has done a write over this one
  bool stuck_ = false;     // a client has no room for what comes
  bool hopeless_ = false;
  bool silent_ = false;    // was lost because it said nothing, and has said nothing since
  bool retired_ = false;
  bool full_ = false;      // a client was sent away
  bool writing_ = false;   // asked for a turn to write
  bool suspicious_ = false;  // of a cluster, and silent: nothing more is sent that it might do, and nobody would know
  bool demoted_ = false;   // what is held is, because the server has become a replica
  bool ended_ = false;
};

}  // namespace relay::redis

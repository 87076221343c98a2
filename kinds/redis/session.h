// SPDX-License-Identifier: Apache-2.0
// Session: one client. It takes its commands apart, sends each over a connection that is fit for it, and gives it the replies in order.
//
//                        needs a connection of its own                    ready
//    Sharing ───────────────────────────────────────────► Waiting ───────────────────► Owning
//      ▲   all that is under way has been answered first                                 │ a transaction, a blocking or a big command
//      └─────────────────────────────────────────────────────────────────────────────────┤ is over
//                                                                                        └─► for ever: SUBSCRIBE, MONITOR, …: bytes both ways
//
// Each command that is to have a reply has a number. The reply to number head_ goes out as it comes; what comes for later ones, or is
// said by the relay itself, is parked until it is its turn.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "kinds/redis/commands.h"
#include "kinds/redis/lane.h"
#include "kinds/redis/lease.h"
#include "kinds/redis/split.h"
#include "kinds/redis/unpacking.h"
#include "lib/json.h"
#include "lib/list.h"
#include "net/addr.h"
#include "net/buffer.h"
#include "net/conn.h"
#include "net/loop.h"
#include "queue.h"
#include "wire/resp.h"

namespace relay::redis {

class RedisRelay;

class Session final : public Mortal, public ListNode, private ConnUser, private TimerUser {
 public:
  Session(RedisRelay& relay, uint32_t id, Handle handle);
  ~Session() override;
  // Owns itself until it ends; then its relay buries it.
  static Session& make(RedisRelay& relay, uint32_t id, Handle handle);
  std::unique_ptr<Session> release() { return std::move(self_); }

  void begin(Socket socket, const Addr& peer);
  void drain();
  // `why` is static. Once; the session is buried.
  void end(std::string_view why);
  void status(Json& json) const;
  uint32_t id() const { return id_; }
  Handle handle() const { return handle_; }
  void poke() { client_.again(); }  // REQUIRES: not ended
  bool ended() const { return state_ == State::kEnded; }

  // For its Lanes and its Lease. Room for a piece of reply `seq` now; the piece; the end of it; no reply will come, and why.
  size_t room(uint32_t seq);
  size_t room(const Lane::Entry& entry) { return entry.part > 0 ? SIZE_MAX : room(entry.seq); }
  void deliver(const Lane::Entry& entry, std::string_view text);
  // The same for bytes that stay where they are until the relay flushes whom it has touched: the client may have them from there.
  void pass(const Lane::Entry& entry, std::string_view text);
  void pass(uint32_t seq, std::string_view text);
  void pass_raw(std::string_view text);
  void replied(const Lane::Entry& entry);
  void deliver_error(const Lane::Entry& entry, std::string_view text);
  bool retract(const Lane::Entry& entry);
  bool split_by_key(const Lane::Entry& entry, uint32_t node, std::string_view text);
  size_t room() { return room(head_); }
  void deliver(uint32_t seq, std::string_view text);
  void replied(uint32_t seq);
  void deliver_error(uint32_t seq, std::string_view text);
  // What came of the reply `seq` is taken back. False: the client has had some of it.
  bool retract(uint32_t seq);
  // It cannot go on until this client takes its replies.
  void hold_up(const Lane& lane);
  void hold_up(Lease& lease);
  // Reply `seq` that the spool owed: there it is; or it does not owe it any more, and it will come over a lane.
  void spool_answer(uint32_t seq, std::string_view text);
  void spool_left() { --spool_owes_; }
  void lease_comes(Lease& lease) { lease_ = &lease; }  // the one that it waits for: it is its owner from now on
  void lease_ready(Lease& lease);
  // What reply `seq` is owed to must be said to `node`. False: it cannot be.
  bool lease_moved(uint32_t seq, uint32_t node, bool ask);
  void lease_lost(const std::string& why, const std::string& refusal, bool in_a_reply);
  // The URL has another database now: it is that of clients who have chosen none.
  void follow(uint32_t db) { setting_.db = chose_db_ ? setting_.db : db; }
  // And perhaps another server: what it waits for a connection of its own with is looked at again.
  void start_over();
  // There may be room for its commands again.
  void resume();
  void flush();
  bool touched = false;  // RedisRelay's: it is in the list of those to be flushed
  bool queued = false;   // RedisRelay's: it is in the list of those that wait for room

 private:
  enum class State : uint8_t { kOpen, kClosing, kEnded };
  enum class Pin : uint8_t { kNone, kWaiting, kCommand, kTransaction, kLife };
  enum class Outcome : uint8_t { kNo, kDone, kNotNow };
  static constexpr Delay kLook{20};  // whether there is a connection now
  static constexpr std::string_view kOnTheWay = "-TRYAGAIN relay: what was sent before has not found its node yet\r\n";
  struct Parked {
    std::string text;
    bool done = false;
    size_t said = 0;  // of text
  };
  struct Adoption {  // what the client becomes if the server does not refuse it
    Setting setting;
    uint32_t seq;
    char first = 0;  // byte of the reply
  };
  struct Mark {
    uint32_t lane;
    uint64_t put;
  };

  void on_ready(Conn& conn) override;
  void on_timer(Timer& timer) override;

  // The client's bytes (session.cpp).
  void load();
  void store();
  void read();
  void look_for_end();
  void process();
  void process_loaded();
  bool is_held() const;
  bool is_due() const;
  bool holds_others() const;
  bool frame();
  bool feed(std::span<const std::byte> data, bool full);
  bool gather();
  void stop_gathering();
  void consumed();
  std::string_view bytes() const;
  std::string_view word(size_t index) const;
  const std::vector<std::string_view>& args() const;

  // Where a command goes (dispatch.cpp).
  bool dispatch();
  bool dispatch_to(const Command& command);
  bool dispatch_behind(const Command& command);
  bool dispatch_own(const Command& command);
  bool quit();
  bool select();
  bool auth();
  bool hello();
  bool client_command();
  bool reset_command();
  bool adopt(Setting want, std::string_view command);
  void adopted();
  Lane* lane_for(const Setting& setting);
  bool no_lane();
  bool wait_for_long(std::string_view error);
  bool refuse_command(std::string_view error);
  bool hopeless(Lane& lane);
  bool share(const Command& command);
  Outcome early(Lane::Entry& entry);
  std::optional<Outcome> into_lane(Lane::Entry& entry, const Early& verdict, const std::vector<std::string_view>& words);
  std::optional<Outcome> into_spool(Lane::Entry& entry);
  bool send_shared(Lane& lane, const Command& command, Lane::Entry& entry);
  void written(const Lane::Entry& entry);
  bool stops_something() const;
  // In a cluster (route.cpp).
  bool dispatch_cluster(Command command);
  bool begin_transaction(const Command& command);
  Placed locate(const Command& command);
  bool share_parts(const Command& command, std::unique_ptr<Joint> joint, const std::vector<std::pair<uint32_t, std::string>>& parts);
  bool share_split(const Command& command);
  bool share_all(const Command& command);
  bool share_scan(const Command& command);
  Joint* joint(uint32_t seq) const;
  void begin_joint(uint32_t seq, std::unique_ptr<Joint> joint);
  void joined(uint32_t seq);
  bool nobody_has_it();
  bool no_map();
  bool read_from_replica(const Command& command, uint16_t slot);
  bool settled();
  bool loaded(std::optional<uint32_t> db);
  bool wait_for_early();
  bool settled_beside(const Lane& lane);
  void take_marks(const Lane* but);
  bool take_lease(Pin pin);
  bool own(Pin pin);
  bool stream();
  bool pass_on();
  void resend();
  void unpin();
  void gave_up(const std::string& why);
  bool wait();
  bool wait_for_room();

  // Values that are packed (packing.cpp).
  void pack();
  void expect_reply(uint32_t seq);
  void say_reply(std::string_view text);
  bool say_ready();
  size_t room_of_head();
  bool own_for_life();

  // Reads of what waits for the server (read_queued.cpp).
  bool read_queued();
  void note_own(Pin pin);
  void end_aside();

  // Replies and the end (session.cpp).
  uint32_t under_way() const { return next_ - head_; }
  size_t room_to_say() const;
  bool is_parked(uint32_t seq) const;
  void next_head();
  void answer(std::string_view text);
  void say(std::string_view text);
  void put(std::string_view text);
  bool begin_piece(uint32_t seq, std::string_view text);
  void park(uint32_t seq, std::string_view text);
  bool lend(std::string_view text);
  void write_lent();
  uint64_t unsaid() const { return out_.size() + lent_.size(); }
  void flush_parked();
  void all_answered();
  void refuse(std::string_view text);
  void close_when_said(std::string_view why);
  void write();
  void no_more();
  void schedule();

  RedisRelay& relay_;
  std::unique_ptr<Session> self_;
  Conn client_;
  Addr addr_;
  Timer timer_;
  State state_ = State::kOpen;
  Pin pin_ = Pin::kNone;
  Pin wanted_ = Pin::kNone;     // kWaiting: what the connection is for
  bool streaming_ = false;      // a command is on its way to the connection of its own
  bool acquiring_ = false;
  bool blocking_ = false;       // kCommand: it may wait for ever
  bool multi_ = false;
  bool ending_ = false;         // EXEC and the like are under way: nothing goes behind them
  bool ended_in_ = false;       // the client has finished
  bool waits_ = false;          // for room, or for replies
  bool gathering_ = false;      // encoded_ grows with a command that is longer than a block
  bool too_long_ = false;       // to be gathered
  bool aside_ = false;          // what its own connection does may write strings
  bool packed_ = false;         // the command at the front is, if it is to be
  bool rewritten_ = false;      // and is in encoded_, with other lengths than reader_ has seen
  bool marked_ = false;         // marks_ are taken, for the command at the front
  bool after_ping_ = false;     // WAIT
  bool resending_ = false;      // alone_ waits for a lease
  bool asks_ = false;           // which wants an ASKING first
  uint8_t moves_ = 0;           // of alone_
  bool begun_ = false;          // MULTI is said, but not yet where
  bool spoiled_ = false;        // and one of its commands was refused
  bool chose_db_ = false;       // by SELECT
  uint8_t ordinal_ = 0;         // which of the lanes of a kind, while something is under way
  Buffer in_;                   // while it is worked on, and while much is in it
  std::string rest_;            // else: what came and is not done with, from the beginning of a command on
  size_t fed_ = 0;              // of that, what reader_ has seen
  RespRequest reader_;
  std::unique_ptr<const std::string> complaint_;  // what the client has said is no command
  std::string encoded_;         // the command at the front, when it was a line, or is longer than a block
  size_t encoded_sent_ = 0;
  std::string alone_;           // in a cluster: the command that is under way over a lease, if it may have to be sent elsewhere
  std::string head_text_;       // how the reply to EXEC begins
  Queue out_;
  std::string_view lent_;       // goes out first: it is still where it came. Only until flush(), and while out_ is empty
  uint32_t next_ = 0;           // the number of the next command
  uint32_t head_ = 0;           // the number of the reply that goes out next
  std::map<uint32_t, Parked> parked_;
  uint64_t parked_bytes_ = 0;
  std::unique_ptr<Unpacking> unpacking_;  // once there was something to unpack
  Setting setting_;
  std::unique_ptr<std::map<uint32_t, std::unique_ptr<Joint>>> joints_;  // once there was one
  uint32_t node_ = 0;           // where the command at the front goes
  std::unique_ptr<Adoption> adopting_;
  std::optional<uint32_t> selecting_;  // kWaiting: the database that it is to be in if the server does not refuse it
  std::vector<Mark> marks_;
  std::optional<uint64_t> spool_mark_;  // taken, for the command at the front
  uint32_t spool_owes_ = 0;     // replies
  uint64_t lanes_epoch_ = 0;
  uint64_t moves_epoch_ = 0;
  Lease* lease_ = nullptr;
  uint32_t holds_up_ = UINT32_MAX;  // the lane that waits for us to read
  bool holds_up_lease_ = false;
  Time since_;
  Time last_taken_;
  Time since_waiting_{};
  uint64_t commands_ = 0;
  std::string_view why_;        // kClosing
  uint32_t id_;
  Handle handle_;
};

}  // namespace relay::redis

// SPDX-License-Identifier: Apache-2.0
// Client: one long-lived connection of a peer, its name (UUID), and what is under way to and from it.
//
//   Waiting ── an upstream is there ──► Homed ─────────────► Homed, finished ──────────► Ending ──► gone
//   (unread)                            │  ▲ (FEATURE_AUTH:   (it has sent FIN, and      (the rest is
//      ▲                                │  │  unread until     may still be sent to)      given to it)
//      └──────── the upstream goes ─────┘  └─ COMMAND_ACCEPT)
//
// One that is gone is remembered while an upstream has not acknowledged all that it had sent: another may have to be given it again.
//
// What it has sent is cut into messages (wire/framing) and given to its upstream in order. When that has no room, or too much of it is not
// acknowledged, or it is faster than it may be, or a command says so, the client is not read: the kernel, and in the end the client, wait. What is for it is written at once, and
// what its kernel does not take waits in a queue with a bound. A client that has nothing under way is this object and no more.
#pragma once

#include <algorithm>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "lib/fifo.h"
#include "lib/list.h"
#include "lib/uuid.h"
#include "net/conn.h"
#include "net/loop.h"
#include "net/timer.h"
#include "queue.h"
#include "wire/control.h"
#include "wire/framing.h"
#include "wire/upstream.h"

namespace relay {
class Json;
}

namespace relay::plex {

class PlexRelay;
class Upstream;
class Group;

using upstream::CloseReason;
std::string_view name_of(CloseReason why);  // "client-closed"

class Client final : public ListNode, public Mortal, private ConnUser {
 public:
  Client(PlexRelay& relay, const Uuid& uuid, const Addr& peer);
  ~Client() override;

  // Its peer says first for whom it connects. REQUIRES: begin() has been true; nobody has it yet.
  void await_proxy();
  bool is_known() const { return !unknown_; }
  bool is_counted = false;  // among those of its address
  bool is_announced = false;  // to those who watch
  uint16_t entrance = 0;    // where it came

  // Takes the connection over. False: it could not be watched, and is closed; then this is to be thrown away.
  bool begin(Socket socket);

  const Uuid& uuid() const { return uuid_; }
  uint32_t place = 0;           // the Table's
  uint32_t heard = 0;           // the last broadcast that it has had, or was not for it
  const Addr& peer() const { return peer_; }
  Upstream* home() const { return home_; }
  // Who it is, in words that `texts` holds.
  struct Texts {
    std::string peer;
    std::string local;
    std::string subject;
    std::string sni;
    std::string alpn;
  };
  upstream::ClientInfo info(Texts& texts) const;
  const std::map<std::string, std::string>* labels() const;
  std::string_view label(const std::string& name) const;  // empty: it has none
  std::vector<Group*>* groups();
  // False: it is in too many. REQUIRES: it is not in that one; and for the other: it is.
  bool join(Group& group);
  void part(Group& group);

  // It is `home`'s from now on (nullptr: nobody's; it waits). `gated`: it is not read until accept().
  void move_to(Upstream* home, bool gated);
  // It is to have another home, and until nothing of it is under way to this one it is not read; or not, after all. REQUIRES: it has a home.
  void leave(bool yes);
  bool may_leave() const;
  bool is_gated() const { return gated_; }
  bool is_new() const { return !met_; }  // no upstream has heard of it
  void met() { met_ = true; }
  // Of the last upstream: what it had not acknowledged, or had not been sent to it, is given to the next one. `id`: that upstream.
  void take_back(uint32_t id);
  // The same for one message that has been found in the upstream's queue.
  void take_back(uint64_t seq, std::span<const std::byte> payload, bool redelivered);

  // Goes on with what waits to be sent upstream, and with reading, as far as it may. May bury it.
  void pump();
  void acknowledged(uint64_t seq, uint32_t upstream);  // by that one

  // For the client. False: it has no room for that, and has ended, or it was ending already.
  bool write(std::span<const std::byte> bytes);
  // All that was written so far is the client's kernel's: `id` gets its report now, or when that is so.
  void report(uint32_t upstream, uint64_t id);

  void accept();
  // By a command of that one, 0: of an operator.
  void pause(uint32_t speaker);
  void resume();
  // That upstream is gone: what it has paused goes on.
  void resume_of(uint32_t speaker);
  void set_idle_timeout(Delay after);
  // False: it has too many.
  bool set_label(std::string_view name, std::string_view value);
  // Gives it what was written, and ends it then. The second one at once, with a reset if `reset`.
  void finish(CloseReason reason, std::string_view given);
  void end(CloseReason reason, std::string_view given, bool reset = false);
  // Gives on what was read of it, reads no more, and ends it then.
  void drain();
  // At once, and nothing of it is remembered.
  void give_up(std::string_view why);
  // Other limits hold from now on: it may be that it is to be read again.
  void reconfigured();
  // Another turn, whether its connection is there or not.
  void go_on();
  bool ending() const { return ending_ || ended_; }
  bool is_gone() const { return ended_; }
  bool was_slow() const { return ended_ && why_ == CloseReason::kSlow; }
  size_t unsent() const { return extras_ == nullptr ? 0 : extras_->unsent; }
  size_t unacknowledged() const { return extras_ == nullptr ? 0 : extras_->kept.size() - extras_->unsent; }

  // In ticks of the relay's (PlexRelay::tick).
  uint32_t read_at() const { return read_at_; }
  uint64_t seq() const { return seq_; }
  bool has_spoken() const { return seq_ > 0 || (extras_ != nullptr && !extras_->part.empty()); }
  // Ends it if it has been silent for too long.
  void check_idle(uint32_t now);
  control::ClientState shown() const;
  void status(Json& json) const;

 private:
  // What most clients have nothing of.
  struct Extras final : TimerUser {
    Extras(Client& owner, Loop& loop, uint64_t bound) : client(owner), timer(loop, *this), out(bound) {}
    void on_timer(Timer&) override { client.on_deadline(); }

    struct Kept {
      uint64_t seq;
      std::string payload;
      uint32_t upstream;  // it was given to, 0: to none yet
      bool again;         // it may have been given to another before
      uint32_t turn = 0;    // `turns`, when it was given: one with a lower number and more turns came later
      uint32_t failed = 0;  // upstreams that were lost while they had it
    };
    struct Report {
      uint64_t offset;  // of `out`
      uint32_t upstream;
      uint64_t id;
    };
    // The message with that number, or the first behind it.
    Fifo<Kept>::iterator find(uint64_t seq) {
      return std::lower_bound(kept.begin(), kept.end(), seq, [](const Kept& one, uint64_t wanted) { return one.seq < wanted; });
    }

    Client& client;
    Timer timer;
    Queue out;                   // to the client
    std::string part;            // bytes read that are no whole message yet, or for which there was no room
    size_t done = 0;             // of `part`: given already
    size_t scanned = 0;
    Fifo<Kept> kept;             // messages that are not acknowledged, or were taken back; by seq
    size_t unsent = 0;           // how many of `kept` have no upstream
    uint32_t turns = 0;          // how often some of `kept` were given once more
    uint64_t kept_bytes = 0;     // with what keeping them takes
    Fifo<Report> reports;
    std::vector<Group*> groups;
    std::map<std::string, std::string> labels;
    Delay idle_timeout{-1};      // of its own; -1: it has none
    uint32_t gated_at = 0;       // a tick; while it has no upstream: for how many it was gated
    uint32_t paused_by = 0;
    Time held_until{};
    int in_kernel = 0;           // bytes for it, when that was asked last
    uint64_t leaves_at = 0;      // of its home's queue: where the last of it ends
    std::string end_details;
  };

  void on_ready(Conn& conn) override;
  void read_proxy();
  void on_deadline();
  std::string_view state() const;  // for people
  Extras& extras();
  void drop_extras();

  bool may_send() const { return home_ != nullptr && !gated_ && !roomless_; }
  bool may_give() const;
  bool is_owed() const;
  Delay own_idle_timeout(bool owed) const;
  bool is_taking();
  bool may_read() const { return may_give() && !eof_ && !draining_; }
  bool has_pending() const { return extras_ != nullptr && (!extras_->part.empty() || extras_->unsent > 0); }
  bool send(std::span<const std::byte> payload);
  bool resend();
  bool send_part();
  size_t send_messages(std::span<const std::byte> bytes, size_t& scanned);
  bool read_block();
  bool has_left();
  void read();
  void at_end();
  void read_failed(const Status& why);
  void keep(uint64_t seq, std::span<const std::byte> payload, uint32_t upstream);
  void count_part();
  const Framing& framing() const;
  bool may_say();
  void hold(uint32_t ms, bool for_messages);
  Delay hold_on();
  void haunt();
  void again() {
    if (conn_.is_open()) conn_.again();
  }
  void flush();
  void written();
  void linger();
  void arm(Delay after);

  PlexRelay& relay_;
  Conn conn_;
  Upstream* home_ = nullptr;
  std::unique_ptr<Extras> extras_;
  Uuid uuid_;
  Addr peer_;
  uint64_t seq_ = 0;  // messages read of it
  uint32_t read_at_ = 0;
  uint32_t moved_at_ = 0;
  uint32_t waits_since_ = 0;  // for an upstream; while it has none
  bool met_ : 1 = false;
  bool unknown_ : 1 = false;    // whom it is for has not been said yet
  bool gated_ : 1 = false;      // not accepted yet
  bool accepted_ : 1 = false;
  bool was_gated_ : 1 = false;  // by an upstream that is lost: the gate stays closed, whether the next one knows of it or not
  bool paused_ : 1 = false;     // by a command
  bool slow_ : 1 = false;       // its queue was more than a quarter full, and is not empty yet
  bool roomless_ : 1 = false;   // its upstream had no room
  bool acks_full_ : 1 = false;
  bool held_ : 1 = false;       // it was faster than it may be
  bool hasty_ : 1 = false;      // it has not been slower since
  bool leaving_ : 1 = false;    // it is to have another home
  bool eof_ : 1 = false;        // it has finished, or failed: nothing more can be read
  bool eof_told_ : 1 = false;   // to its upstream
  bool eof_noted_ : 1 = false;  // to those who watch: once, whoever has it
  bool deaf_ : 1 = false;       // writing has failed
  bool draining_ : 1 = false;   // it is not read any more, and ends once nothing of it is pending
  bool ending_ : 1 = false;
  bool shut_ : 1 = false;       // our end has been said; it is waited for
  bool ended_ : 1 = false;      // the connection is gone; it is here for as long as something it has sent is not acknowledged
  bool told_gone_ : 1 = false;  // its upstream knows
  CloseReason why_ = CloseReason::kNone;  // of the end that is under way: ending_, or once what was read has been sent
};

}  // namespace relay::plex

// SPDX-License-Identifier: Apache-2.0
// Upstream: one connection to the server, and who is owed a reply on it.
//
//   Dialing ─► Greeting ─► Ready ──lost──► Dialing …          a shared one comes back by itself, with what it still owes
//                 ▲          │ release (a private one): RESET      a private one ends when it is lost
//                 └──────────┘
//
//   shared    commands of all clients, whole, one behind the other; their bytes are kept until they are answered, so that they can be
//             sent again where that is safe
//   private   one Session's, for as long as it needs it; its bytes are kept until they are sent. Opaque: replies are not told apart.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "lib/json.h"
#include "lib/list.h"
#include "net/buffer.h"
#include "net/conn.h"
#include "net/dial.h"
#include "net/loop.h"
#include "queue.h"
#include "wire/resp.h"

namespace relay::redis {

class RedisRelay;
class Session;

class Upstream final : public Mortal, public ListNode, private ConnUser, private DialUser, private TimerUser {
 public:
  // Of a private one `owner` is the first user.
  Upstream(RedisRelay& relay, Session* owner);
  ~Upstream() override;
  void start();

  bool is_private() const { return private_; }
  bool ready() const { return state_ == State::kReady; }
  // In vain for longer than `timeout`: commands get an error at once, until it is back.
  bool hopeless() const { return hopeless_; }
  const std::string& trouble() const { return trouble_; }
  bool stuck() const { return stuck_on_ != nullptr; }
  size_t owed() const { return entries_.size() - first_; }

  // A shared one's. A whole command of `session`; false: there is no room now, and the session will be called (Session::resume).
  bool send(Session& session, std::string_view command, bool repeatable);
  // A private one's. A command begins; then its bytes, as many as are taken. begin() means that a reply will be owed.
  void begin();
  size_t send_part(std::string_view bytes);
  void make_opaque();
  void finish();           // no more commands: passes the client's end on
  // What `session` is owed is thrown away.
  void forget(Session& session);
  // `session` has taken what it could not: goes on in the next turn.
  void resume();
  // Ends it; the relay buries it. `why` goes into the log; static.
  void end(std::string_view why);
  bool open() const { return conn_.is_open(); }
  // Its user has done with it: it is made like new, and the relay hears when it is (idle).
  void release();
  // The next user. REQUIRES: private, ready, idle.
  void lend(Session& owner) { owner_ = &owner; }
  // The server is another by now: it goes when nothing is owed any more.
  void retire();
  void status(Json& json) const;

 private:
  enum class State : uint8_t { kIdle, kDialing, kPausing, kGreeting, kReady, kEnded };
  enum class Greeting : uint8_t { kReset, kAuth, kSelect, kCommand };
  struct Entry {
    Session* session;  // nullptr: gone
    uint32_t size;     // of a shared one's command, in queue_
    bool repeatable;
    bool failed;       // was lost with a connection; its error waits for its turn
  };

  void on_ready(Conn& conn) override;
  void on_dialed(const Addr& to) override;
  void on_dial_addrs(const std::vector<Addr>&) override {}
  void on_dial_try(const Addr&) override {}
  void on_dial_failed(const Addr& to, const Status& why, unsigned round, Delay retry) override;
  void on_timer(Timer& timer) override;

  void dial();
  void stop_dialing();
  void greet(bool reset);
  void greeted(std::string_view reply);
  void became_ready();
  void write();
  void read();
  bool take(std::span<const std::byte> bytes);
  size_t take_greeting(std::span<const std::byte> bytes);
  size_t take_opaque(std::span<const std::byte> bytes);
  size_t take_reply(std::span<const std::byte> bytes);
  void answered();
  void settle();
  void lost(std::string_view why);
  void keep_what_is_owed();
  void give_up();
  bool append(std::string_view bytes);
  void pop();

  RedisRelay& relay_;
  Session* owner_;
  const bool private_;
  State state_ = State::kIdle;
  Conn conn_;
  std::unique_ptr<Dial> dial_;
  Timer retry_;    // after a loss
  Timer patience_;  // `timeout` without a server
  Delay pause_{};
  std::string greeting_;          // not yet sent
  std::vector<Greeting> greetings_;  // not yet answered
  std::string reply_;             // to one of those
  Queue queue_;                   // commands
  uint64_t sent_ = 0;             // offset in queue_
  std::vector<Entry> entries_;    // from first_: who is owed a reply
  size_t first_ = 0;
  Buffer in_;
  RespReply reader_;
  Session* stuck_on_ = nullptr;   // has no room for what is in in_
  std::string trouble_;
  bool hopeless_ = false;
  bool opaque_ = false;
  bool finishing_ = false;
  bool retired_ = false;
  bool writing_ = false;  // asked for a turn to write
};

}  // namespace relay::redis

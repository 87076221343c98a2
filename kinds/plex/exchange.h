// SPDX-License-Identifier: Apache-2.0
// Exchange: what the instances of one service say to one another, by way of a Redis server. Each has a tag; it hears the channel of its tag, and
// the one for all. Who is where is not kept anywhere: a message for a tag that nobody hears is one that Redis gives to nobody, and says so.
//
//   Closed ─start()─► Dialing ─► Greeting (HELLO 3) ─► Subscribing ─► Up ── PUBLISH, PING, SET ──┐
//                       ▲  ▲          │                    │                                     │
//                       │  └─ pause ◄─┴────────────────────┴── lost, silent, refused ◄───────────┘
//
//   PREFIX:TAG           the channel of one instance, TAG in 12 hexadecimal digits: those of a UUID that say where its client is
//   PREFIX:all           the channel of all of them; one's own messages come back by it
//   PREFIX:instance:TAG  a key that says who it is, for people; it expires when the instance has gone
//
// One connection with RESP3, for both ways: what is published comes between the answers. Redis 6 or newer; no cluster (the count of receivers would be that
// of one node), no replica (what is published there stays there). A message is given away once or not at all; nothing is kept for later.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <initializer_list>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "net/buffer.h"
#include "net/conn.h"
#include "net/dial.h"
#include "net/loop.h"
#include "ops/doors.h"
#include "queue.h"
#include "wire/resp.h"

namespace relay {
class Json;
}

namespace relay::plex {

// What has become of a message. kNobody: it has reached nobody, and will not. kUnknown: the connection was lost before Redis has answered.
enum class Outcome : uint8_t { kDelivered, kNobody, kUnknown };

// Any of these may call anything but the destructor.
class ExchangeUser {
 public:
  // Subscribed: from now on others reach us, and we them.
  virtual void on_exchange_up() = 0;
  // It is not there: lost if it `was_up`, else not come about. It is tried again.
  virtual void on_exchange_down(bool was_up, const std::string& why) = 0;
  // The bytes are valid for the call. False: that was enough for this turn.
  virtual bool on_exchange_message(bool for_all, std::span<const std::byte> bytes) = 0;
  // One came that is longer than ExchangePlan::message: nobody has read it.
  virtual void on_exchange_too_long() = 0;
  // In the order of publish(), once for each with a cookie.
  virtual void on_exchange_published(uint64_t cookie, Outcome outcome) = 0;

 protected:
  ~ExchangeUser() = default;
};

struct ExchangePlan {
  std::string relay;     // its name, for the log
  std::string prefix;    // of the channels
  DialPlan dial;         // where Redis is; retry_min and retry_max are those of all pauses
  std::string user;      // empty: the default one
  std::string password;  // empty: nothing is said
  std::string about;     // the value of the instance's key
  uint64_t queue = 0;    // bytes that may wait for Redis; kUnanswered for each message that waits for its answer included
  uint64_t message = 0;  // the most bytes of a message that comes
  Delay timeout{5000};   // for answers; and a server that is silent for so long is asked whether it lives
};

class Exchange final : private ConnUser, private DialUser, private TimerUser {
 public:
  using Parts = std::initializer_list<std::span<const std::byte>>;
  static constexpr uint64_t kUnanswered = 64;
  static constexpr uint64_t kEnvelope = 256;  // the bytes around a message, with the longest prefix
  static constexpr size_t kPrefixMost = 128;

  // Borrows all for its life.
  Exchange(Loop& loop, Resolver& resolver, ExchangeUser& user);
  ~Exchange();

  // Connects, and stays connected until close(); what was before is closed. REQUIRES: `plan.queue` is more than the longest message and kEnvelope.
  void start(ExchangePlan plan, uint64_t tag);
  // Other bounds, time-outs and pauses; the connection stays, and the next one is made as `plan` says. REQUIRES: start() was called; the server, user,
  // password and prefix are the same, and those of start() hold.
  void change(ExchangePlan plan);
  // Whoever waits for an outcome has it now, and then nothing is called any more. What Redis has not taken is thrown away.
  void close();
  bool is_up() const { return state_ == State::kUp; }

  // Gives a message, which is the parts one after the other, to one instance or to all. False: it is not up, or there is no room; nothing has happened then.
  // `cookie`: for on_exchange_published, which comes later; 0: nobody wants to know.
  bool publish(uint64_t tag, Parts parts, uint64_t cookie);
  bool publish_all(Parts parts, uint64_t cookie);
  uint64_t queued() const { return out_.size(); }

  // Adds members to an object.
  void status(Json& json) const;

 private:
  enum class State : uint8_t { kClosed, kPause, kDialing, kGreeting, kSubscribing, kUp };
  enum class What : uint8_t { kHello, kSubscribe, kPing, kRegister, kPublish };
  struct Asked {
    uint64_t cookie;
    uint64_t end;  // of the command, in the queue's offsets
    What what;
  };
  static constexpr uint64_t kOwn = 8192;  // room for our own commands
  static constexpr Delay kRefresh{10'000};

  void on_dialed(const Addr& to) override;
  void on_dial_addrs(const std::vector<Addr>&) override {}
  void on_dial_try(const Addr&) override {}
  void on_dial_failed(const Addr& to, const Status& why, unsigned round, Delay retry) override;
  void on_ready(Conn& conn) override;
  void on_timer(Timer& timer) override;

  static std::string_view name_of(State state);
  uint64_t bound() const;
  void dial();
  void ask(What what, std::initializer_list<std::string_view> words);
  bool publish_to(std::string_view channel, Parts parts, uint64_t cookie);
  void put(std::span<const std::byte> bytes);
  void write();
  void read();
  bool fill();
  void take(uint64_t epoch);
  bool is_too_long();
  void heard(char type, std::string_view reply);
  void heard_push(std::string_view push);
  void answered(const Asked& asked, char type, std::string_view reply);
  void greeted(char type, std::string_view reply);
  void subscribed();
  void registered(char type, std::string_view reply);
  void published(const Asked& asked, char type, std::string_view reply);
  void enrol();
  void look_alive();
  void refused(std::string_view command, std::string_view error);
  void lost(std::string_view why, bool slowly = false);
  std::deque<Asked> shut(uint64_t& given);
  void tell(const std::deque<Asked>& asked, uint64_t given);
  Delay next_pause(bool slowly);

  Loop& loop_;
  Resolver& resolver_;
  ExchangeUser& user_;
  ExchangePlan plan_;
  std::string own_;   // the channels
  std::string all_;
  std::string key_;
  std::string tag_;
  Conn conn_;
  std::unique_ptr<Dial> dial_;
  Timer timer_;    // of the state: the pause, the greeting, silence
  Timer refresh_;  // of the key
  Queue out_{1};
  std::deque<Asked> asked_;  // what is not answered yet
  std::string head_;         // of the command that is made; its memory is kept
  RespReply reader_;
  Buffer in_;
  std::string reply_;        // the beginning of one that came in pieces
  std::string trouble_;
  Sparing refusals_;
  uint64_t publishing_ = 0;  // of these, messages
  Time heard_at_{};          // or it read on
  Time up_at_{};
  Delay pause_{};
  uint64_t epoch_ = 0;       // the number of the connection: what is done with one is not gone on with after it
  int channels_ = 0;         // that have been confirmed
  State state_ = State::kClosed;
  bool reading_ = false;
  bool resting_ = false;  // until the next turn
  bool pinging_ = false;
  bool blocked_ = false;       // the kernel takes no more of what we say
  bool passing_over_ = false;  // what is too long, to its end
  bool enrolling_ = false;
  bool enrol_refused_ = false;
};

}  // namespace relay::plex

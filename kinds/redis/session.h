// SPDX-License-Identifier: Apache-2.0
// Session: one client. It takes its commands apart, sends each over a connection that is fit for it, and gives it the replies in order.
//
//                        needs a connection of its own                    ready
//    Sharing ───────────────────────────────────────────► Waiting ───────────────────► Owning
//      ▲   all that is under way has been answered first                                 │ a transaction, a blocking or a big command
//      └─────────────────────────────────────────────────────────────────────────────────┤ is over
//                                                                                        └─► for ever: SUBSCRIBE, AUTH, …: bytes both ways
//
// At any time all that is under way is on one connection: so replies come in order, and nothing need be sorted.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "kinds/redis/commands.h"
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
class Upstream;

class Session final : public Mortal, public ListNode, private ConnUser, private TimerUser {
 public:
  Session(RedisRelay& relay, uint32_t id);
  ~Session() override;
  // Owns itself until it ends; then its relay buries it.
  static Session& make(RedisRelay& relay, uint32_t id);
  std::unique_ptr<Session> release() { return std::move(self_); }

  void begin(Socket socket, const Addr& peer);
  void drain();
  // `why` is static. Once; the session is buried.
  void end(std::string_view why);
  void status(Json& json) const;
  uint32_t id() const { return id_; }
  void poke() { client_.again(); }  // REQUIRES: not ended
  bool ended() const { return state_ == State::kEnded; }

  // For its Upstream. Room for replies now; a piece of a reply; its end; no reply will come, and why.
  size_t room();
  void deliver(std::span<const std::byte> bytes);
  void replied();
  void deliver_error(std::string_view text);
  // The upstream cannot go on until this client takes its replies.
  void hold_up(Upstream& upstream);
  void private_ready(Upstream& upstream);
  void private_lost(std::string_view why, bool in_a_reply);
  // There may be room for its commands again.
  void resume();
  void flush();
  bool touched = false;  // RedisRelay's: it is in the list of those to be flushed

 private:
  enum class State : uint8_t { kOpen, kClosing, kEnded };
  enum class Pin : uint8_t { kNone, kWaiting, kCommand, kTransaction, kLife };

  void on_ready(Conn& conn) override;
  void on_timer(Timer& timer) override;
  void load();
  void store();
  void read();
  void process();
  void process_loaded();
  bool frame();
  bool dispatch();
  bool dispatch_behind(const Command& command);
  bool dispatch_own(const Command& command, uint64_t argc);
  bool share(std::string_view bytes, const Command& command);
  bool take_private(Pin pin);
  bool own(Pin pin);
  bool stream();
  bool pass_on();
  void unpin();
  void consumed();
  void refuse(std::string_view text);
  void say(std::string_view text);
  void close_when_said(std::string_view why);
  void write();
  void no_more();
  void gave_up(const std::string& why);
  void schedule();
  std::string_view word(size_t index) const;

  RedisRelay& relay_;
  std::unique_ptr<Session> self_;
  Conn client_;
  Addr addr_;
  Timer timer_;
  State state_ = State::kOpen;
  Pin pin_ = Pin::kNone;
  Pin wanted_ = Pin::kNone;     // kWaiting: what the connection is for
  Buffer in_;                   // while it is worked on
  std::string rest_;            // else: what came and is not done with, from the beginning of a command on
  size_t fed_ = 0;              // of that, what reader_ has seen
  RespRequest reader_;
  std::vector<std::string> words_;  // of an inline command
  std::string encoded_;         // the same as it is sent
  bool streaming_ = false;      // a command is on its way to the connection of its own
  bool acquiring_ = false;
  bool blocking_ = false;       // kCommand: it may wait for ever
  bool multi_ = false;
  bool ending_ = false;         // EXEC and the like are under way: nothing goes behind them
  bool ended_in_ = false;       // the client has finished
  bool waits_ = false;          // for room, or for replies
  std::string head_;            // how the reply to EXEC begins
  Queue out_;
  Upstream* upstream_ = nullptr;  // kNone: where what is under way is; else the session's own
  Upstream* holds_up_ = nullptr;  // waits for us to read
  uint64_t under_way_ = 0;
  Time since_;
  Time last_taken_;
  Time since_waiting_{};
  uint64_t commands_ = 0;
  std::string_view why_;        // kClosing
  uint32_t id_;
};

}  // namespace relay::redis

// SPDX-License-Identifier: Apache-2.0
// Link: one connection to a server: dialling it, saying who we are, and then bytes. What the bytes mean is its user's (Lane, Lease).
//
//   Closed ─dial()─► Dialing ─► Greeting ─► Ready
//      ▲                            │ ▲        │ greet_again(): another user, other state
//      │                            │ └────────┘
//      └── close(), on_link_lost ◄──┴── the server ends it, refuses us, says what is no RESP
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "net/buffer.h"
#include "net/conn.h"
#include "net/dial.h"
#include "net/loop.h"
#include "wire/resp.h"

namespace relay::redis {

class RedisRelay;

struct Login {
  std::string user;      // empty: the default one
  std::string password;  // empty: nothing is said
  bool operator==(const Login& other) const = default;
};

// In which state a connection is for those who use it.
struct Setting {
  Login login;
  uint32_t db = 0;
  uint8_t protocol = 2;
  bool replica = false;  // of a cluster, and reads are wanted from it
  std::string name = {};      // CLIENT SETNAME
  bool operator==(const Setting& other) const = default;
};

class LinkUser {
 public:
  virtual void on_link_ready() = 0;
  // It may be writable now, or its user has asked for a turn.
  virtual void on_link_turn() = 0;
  // Replies; returns how many bytes it took. 0: not now; Link::again() when there is room. The bytes stay until the relay has flushed
  // who was touched (RedisRelay::touch).
  virtual size_t on_link_bytes(std::span<const std::byte> bytes) = 0;
  // What came in this turn has all been given.
  virtual void on_link_read() = 0;
  // Closed, by the server or for what it said; not by close(). refusal() says whether it was for who we are.
  virtual void on_link_lost(const std::string& why) = 0;

 protected:
  ~LinkUser() = default;
};

class Link final : private ConnUser, private DialUser {
 public:
  enum class State : uint8_t { kClosed, kDialing, kGreeting, kReady };

  // Borrows both for its life.
  Link(RedisRelay& relay, LinkUser& user);
  ~Link();

  // Dials until it is there or close() is called; its user hears of that later, not from within this. `want`: what is said first.
  void dial(const DialPlan& plan, const Setting& want, bool ask_commands);
  // For the next user: forgets all that the last one has left (RESET), and becomes `want`. REQUIRES: ready.
  void greet_again(const Setting& want);
  void close();

  State state() const { return state_; }
  bool open() const { return conn_.is_open(); }
  bool ready() const { return state_ == State::kReady; }
  // Bytes may be written: the greeting is behind us, or on its way and of a kind that will not be refused.
  bool sends() const { return state_ == State::kReady || (state_ == State::kGreeting && !careful_ && greeting_.empty()); }
  bool broken() const { return conn_.broken(); }
  // The server's refusal of our login, database or protocol, as it came; or empty.
  const std::string& refusal() const { return refusal_; }
  const std::string& trouble() const { return trouble_; }
  bool writable() const { return conn_.writable(); }
  // As Conn's. REQUIRES: sends().
  Result<size_t> write(std::span<const iovec> parts) { return conn_.write(parts); }
  void finish() { static_cast<void>(conn_.shutdown_write()); }
  void again() {
    if (conn_.is_open()) conn_.again();
  }
  // For its user, who has found something wrong: closes it as if the server had.
  void fail(std::string_view why);
  Time since() const { return since_; }  // when it was connected

 private:
  enum class Asked : uint8_t { kReset, kLogin, kProtocol, kDatabase, kCommands, kOther };

  void on_ready(Conn& conn) override;
  void on_dialed(const Addr& to) override;
  void on_dial_addrs(const std::vector<Addr>&) override {}
  void on_dial_try(const Addr&) override {}
  void on_dial_failed(const Addr& to, const Status& why, unsigned round, Delay retry) override;

  void ask(Asked what, std::initializer_list<std::string_view> words);
  void become(const Setting& want);
  void begin_greeting();
  void write_greeting();
  void answered(std::string_view reply);
  size_t take_greeting(std::span<const std::byte> bytes);
  void read();
  bool fill();
  bool give();

  RedisRelay& relay_;  // may be gone when this is
  Loop& loop_;
  LinkUser& user_;
  Conn conn_;
  std::unique_ptr<Dial> dial_;
  Setting want_;
  std::string greeting_;       // not yet written
  std::vector<Asked> asked_;   // not yet answered
  std::string reply_;          // to one of those
  RespReply reader_;
  Buffer in_;
  std::string refusal_;
  std::string trouble_;
  Time since_{};
  State state_ = State::kClosed;
  bool careful_ = false;  // nothing may be sent before the server has agreed to what we are
  bool ask_commands_ = false;
  bool reading_ = false;
};

}  // namespace relay::redis

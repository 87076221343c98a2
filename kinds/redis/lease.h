// SPDX-License-Identifier: Apache-2.0
// Lease: a connection to a server that one client has for itself, for as long as what it does needs it: a transaction, a command that
// waits, a command too big to go between those of others; or for life, and then bytes go through it unread (opaque).
//
//   lend() ─► [becomes what the client is] ─► the client's ─ give_back() ─► [RESET] ─► idle, for the next one
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <string_view>

#include "kinds/redis/link.h"
#include "lib/json.h"
#include "net/loop.h"
#include "net/timer.h"
#include "queue.h"
#include "wire/resp.h"

namespace relay::redis {

class RedisRelay;
class Session;

class Lease final : public Mortal, private LinkUser, private TimerUser {
 public:
  static constexpr std::string_view kSilent = "no answer from the server within the timeout";

  Lease(RedisRelay& relay, uint32_t node);
  ~Lease() override;

  // For `owner`, from now on; ready(), or it will be told (Session::lease_ready). nullptr: to have one in hand.
  void dial(Session* owner, const Setting& want);
  // REQUIRES: idle, ready.
  void lend(Session& owner, const Setting& want);
  bool ready() const { return link_.ready() || link_.sends(); }
  bool idle() const { return owner_ == nullptr && link_.ready(); }
  uint32_t node() const { return node_; }
  const std::string& trouble() const { return link_.trouble(); }
  const std::string& refusal() const { return link_.refusal(); }
  Time since() const { return link_.since(); }
  // When bytes went either way last. While a client's reply is owed, its Session sees to it that this is not too long ago.
  Time moved() const { return moved_; }
  void fail(std::string_view why) { link_.fail(why); }

  // A command begins whose reply is the session's number `seq`; then its bytes, as many as are taken.
  void begin(uint32_t seq);
  size_t send(std::string_view bytes);
  // Of the next reply nobody hears.
  void begin_unheard() { owed_.push_back(kUnheard); }
  void make_opaque();
  void finish();  // no more commands: passes the client's end on
  // The client has taken what it could not: goes on in the next turn.
  void resume();
  void give_back();
  void retire();
  // Ends it; the relay buries it.
  void end(std::string_view why);
  void status(Json& json) const;

 private:
  static constexpr uint64_t kUnheard = UINT64_MAX;

  void on_link_ready() override;
  void on_link_turn() override;
  size_t on_link_bytes(std::span<const std::byte> bytes) override;
  void on_link_read() override {}
  void on_link_lost(const std::string& why) override;
  void on_timer(Timer& timer) override;
  void write();
  void forget_owed();
  size_t take_error(std::span<const std::byte> bytes);

  RedisRelay& relay_;
  const uint32_t node_;
  Session* owner_ = nullptr;
  Link link_;
  Timer patience_;
  Queue queue_;                 // commands, until they are sent
  std::deque<uint64_t> owed_;   // replies, by the session's numbers
  RespReply reader_;
  std::string error_;           // in a cluster: the one that is being read
  Time moved_{};
  bool opaque_ = false;
  bool finishing_ = false;
  bool retired_ = false;
  bool writing_ = false;
  bool ended_ = false;
};

}  // namespace relay::redis

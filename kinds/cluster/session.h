// SPDX-License-Identifier: Apache-2.0
// Session: one client, one gateway, and what flows between them.
//
//                    other side comes                    one side fails
//    Waiting ───────────────────────────► Paired ─────────────────────────► Dying
//      │  holds what the one side sends     │ two Flows, until both ends     │ gives the other side what is left of the
//      │  (a client's: while it dials)      │ have been passed on            │ failed one's bytes while it takes them,
//      │                                    │                                │ then resets it
//      └────────────── end(why), once: one line in the log, both closed, buried ◄──┘
//
// A gateway that has gone while Waiting leaves its bytes: they wait for the client without it, which then sees the end as of
// one that has closed: only what it says to nobody is answered with a reset.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "lib/json.h"
#include "lib/list.h"
#include "net/addr.h"
#include "net/conn.h"
#include "net/dial.h"
#include "net/flow.h"
#include "net/loop.h"

namespace relay::cluster {

enum class Side : uint8_t { kClient, kGateway };
constexpr Side other(Side side) { return side == Side::kClient ? Side::kGateway : Side::kClient; }
constexpr std::string_view name_of(Side side) { return side == Side::kClient ? "client" : "gateway"; }

class ClusterRelay;

class Session final : public Mortal, public ListNode, private ConnUser, private TimerUser {
 public:
  Session(ClusterRelay& relay, uint32_t id);
  ~Session() override;
  // Owns itself until it ends; then its relay buries it.
  static Session& make(ClusterRelay& relay, uint32_t id);
  std::unique_ptr<Session> release() { return std::move(self_); }

  // The first side is here. May end the session.
  void begin(Side side, Socket socket, const Addr& peer);
  // The other side is here. May end the session. REQUIRES: waiting for `side`.
  void join(Side side, Socket socket, const Addr& peer);
  // The relay is draining: end as soon as nothing accepted is left to deliver.
  void drain();
  // `why` is static. Once; the session is buried.
  void end(std::string_view why);
  // The configuration has changed; `elsewhere`: so has the target, and who is dialling begins again.
  void reconfigured(bool elsewhere);
  void status(Json& json) const;

  uint64_t held() const { return flows_[0].held() + flows_[1].held(); }
  // What has reached the other side, or its kernel at least, from `side`; and what never will.
  uint64_t delivered_from(Side side) const { return flows_[index(side)].taken() - flows_[index(side)].held() - lost_[index(side)]; }
  uint64_t lost_from(Side side) const { return lost_[index(side)]; }
  // Waiting, and finished without a byte.
  bool has_left_nothing() const { return state_ == State::kWaiting && half_closed_ && held() == 0; }
  uint32_t id() const { return id_; }
  Side waiting_side() const { return waiting_side_; }  // who came first
  bool was_paired() const { return paired_; }

 private:
  enum class State : uint8_t { kWaiting, kPaired, kDying, kEnded };

  void on_ready(Conn& conn) override;
  void on_timer(Timer& timer) override;
  class Dialing;
  class Count;
  friend class Count;
  friend class Dialing;

  void dial();
  void dialed(const Addr& to);
  static size_t index(Side side) { return static_cast<size_t>(side); }
  void wait();
  void pair();
  void run_flows();
  void run_flow(Side from);
  void failed(Side side, const Status& why);
  void look_at_dying();
  void linger(Side side);
  bool dead(Side side);
  void cut(Side from);
  bool to_be_reset(Side side);
  void close(Side side);
  bool owes() const;
  template <typename Visit>
  void each_limit(Visit visit) const;
  const char* limit_reached() const;
  void schedule();
  void stop_dialing();
  void blame(Side side, const Status& why);
  void log_end(std::string_view why);
  Delay quiet() const;

  std::string_view name_of_state() const;
  Conn& conn(Side side) { return side == Side::kClient ? client_ : gateway_; }
  Flow& flow_from(Side side) { return flows_[index(side)]; }

  ClusterRelay& relay_;
  std::unique_ptr<Session> self_;
  std::unique_ptr<Dialing> dialing_;  // a client's, while it has no gateway
  Conn client_;
  Conn gateway_;
  std::array<Flow, 2> flows_;       // by the Side that they come from
  std::array<Addr, 2> addrs_;
  std::array<uint64_t, 2> lost_{};  // by the Side that sent them
  std::array<uint32_t, 2> unconfirmed_{};  // the same: written to the other side's kernel before that side failed
  Timer timer_;                     // the next limit that may be reached; kDying: the next look
  Time since_;
  Time last_moved_;                 // when bytes last moved
  uint64_t queued_max_ = 0;         // kWaiting: the most that the queue held
  uint64_t left_ = 0;               // kDying: what was undelivered at the last look
  const char* blame_ = nullptr;     // the first thing that went wrong; static
  uint32_t id_;
  int error_ = 0;                   // of blame_, an errno or 0
  uint16_t look_ms_ = 0;            // kDying: time to the next look
  State state_ = State::kWaiting;
  Side waiting_side_ = Side::kClient;
  Side first_ended_ = Side::kClient;  // REQUIRES: one has ended
  bool counting_ = false;
  bool paired_ = false;
  bool half_closed_ = false;
  bool full_told_ = false;
  bool cut_short_ = false;   // a limit ended it
  bool left_early_ = false;  // a gateway failed while it waited, and left bytes
};

}  // namespace relay::cluster

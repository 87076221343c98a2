// SPDX-License-Identifier: Apache-2.0
// Dial: connects to a target, however long that takes: looks its name up, tries each address in turn, and begins again after
// a pause that doubles from retry_min to retry_max, each time shortened at random by up to half (so that many relays do not
// knock together).
//
//   start ─► looking up ─► connecting to address 1 … n, handshake of TLS ──► on_dialed
//                 ▲                          │ all failed
//                 └────── pause ◄────────────┘ on_dial_failed
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "net/addr.h"
#include "net/conn.h"
#include "net/fd.h"
#include "net/loop.h"
#include "net/resolver.h"
#include "net/sock.h"

namespace relay {

struct DialPlan {
  Endpoint target;
  SockOptions options;
  TlsContext* tls = nullptr;    // of a target with TLS; borrowed
  Delay connect_timeout{5000};  // an address, the handshake with it, and the look-up of the name
  Delay retry_min{100};
  Delay retry_max{5000};
};

class DialUser {
 public:
  // Connected: take() the connection here, or it is closed. The Dial is finished. May come from within start().
  virtual void on_dialed(const Addr& to) = 0;
  // The name has been looked up: these will be tried.
  virtual void on_dial_addrs(const std::vector<Addr>& addrs) = 0;
  virtual void on_dial_try(const Addr& to) = 0;
  // One address, or the look-up (family kNone), has failed. `retry` is the pause before the next round, 0 while others are
  // left in this one. The Dial goes on by itself, unless it is stopped.
  virtual void on_dial_failed(const Addr& to, const Status& why, unsigned round, Delay retry) = 0;

 protected:
  ~DialUser() = default;
};

class Dial final : private Watcher, private TimerUser, private LookupUser {
 public:
  // Borrows all but the plan for its life.
  Dial(Loop& loop, Resolver& resolver, const DialPlan& plan, DialUser& user);
  ~Dial() { stop(); }

  void start();
  // No more calls. Safe at any time, also from a call-back; destroying from one is not: bury its owner.
  void stop();
  // Opens `conn` with the connection, registered as it is: no further system call. REQUIRES: within on_dialed.
  void take(Conn& conn);
  // Within on_dial_failed: why, in words; empty if its Status says it all.
  const std::string& details() const { return details_; }
  // Stops it and lets it go, though it may be calling; nothing to do if there is none.
  static void let_go(std::unique_ptr<Dial>& dial);

 private:
  void on_event(uint32_t events) override;
  void on_timer(Timer& timer) override;
  void on_lookup(Result<Found> found) override;
  void connect_next();
  void connected(uint32_t events);
  void handshake();
  void dialed();
  void failed(const Addr& to, const Status& why);
  void close();

  Loop& loop_;
  const DialPlan plan_;
  DialUser& user_;
  Lookup lookup_;
  Timer timer_;
  std::vector<Addr> addrs_;
  size_t next_ = 0;  // in addrs_
  Fd fd_;            // the connection under way
  std::unique_ptr<Tls> tls_;
  std::string details_;
  uint32_t events_ = 0;  // that told us it is there
  unsigned round_ = 1;
  Delay pause_;
  bool stopped_ = true;
};

}  // namespace relay

// SPDX-License-Identifier: Apache-2.0
// Listener: accepts connections on one address, a bounded number a turn.
//
// At the descriptor limit (or without memory) it rests: it says so once, tries again every kRest, and says when it goes on.
// The kernel's backlog holds who comes meanwhile. hold_off() does the same at its user's wish.
#pragma once

#include <string>

#include "net/addr.h"
#include "net/fd.h"
#include "net/loop.h"
#include "net/sock.h"

namespace relay {

class Listener;

class ListenerUser {
 public:
  virtual void on_accept(Listener& listener, Fd fd, const Addr& peer) = 0;
  virtual void on_accept_paused(Listener& listener, const Status& why) = 0;
  virtual void on_accept_resumed(Listener& listener) = 0;

 protected:
  ~ListenerUser() = default;
};

class Listener final : private Watcher, private TimerUser {
 public:
  static constexpr Delay kRest{100};

  // Borrows both for its life.
  Listener(Loop& loop, ListenerUser& user) : loop_(loop), user_(user), timer_(loop, *this) {}
  ~Listener() { close(); }

  // Takes over what listen_on() made, and begins to accept, unless held off.
  Status open(Listening listening);
  bool is_open() const { return listening_.fd.open(); }
  // Stops listening; a Unix socket's file is removed, unless somebody else listens there by now.
  void close();
  void hold_off() { held_off_ = true; }
  void go_on();
  Status change(const SockOptions& options) { return change_options(listening_.fd.get(), listening_.addr, options); }

  const Listening& listening() const { return listening_; }
  std::string text() const { return listening_.text(); }

 private:
  static constexpr int kBudget = 64;
  void on_event(uint32_t events) override;
  void on_timer(Timer& timer) override;

  Loop& loop_;
  ListenerUser& user_;
  Listening listening_;
  Timer timer_;
  bool held_off_ = false;
  bool missed_ = false;  // somebody came, or may have, while it was held off
  bool resting_ = false;
};

}  // namespace relay

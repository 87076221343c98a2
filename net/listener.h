// SPDX-License-Identifier: Apache-2.0
// Listener: accepts connections on one address, a bounded number a turn.
//
// At the descriptor limit (or without memory) it rests: it says so once, tries again every kRest, and says when it goes on.
// The kernel's backlog holds who comes meanwhile. hold_off() does the same at its user's wish.
//
// With TLS the handshake comes first (Greeter): its user is asked who may try (on_knock), and on_accept is for those who have
// done it. While as many as may be are under way, the listener rests as well, and so it does when more come than set_rate() allows.
#pragma once

#include <memory>
#include <string>

#include "lib/bucket.h"
#include "net/addr.h"
#include "net/fd.h"
#include "net/greeter.h"
#include "net/loop.h"
#include "net/sock.h"
#include "net/socket.h"

namespace relay {

class Listener;

class ListenerUser {
 public:
  // `socket` is to be taken in the call, or it is closed.
  virtual void on_accept(Listener& listener, Socket socket, const Addr& peer) = 0;
  virtual void on_accept_paused(Listener& listener, const Status& why) = 0;
  virtual void on_accept_resumed(Listener& listener) = 0;
  // With TLS: with which side's certificate and trust `peer` is to be greeted; nullptr: not at all. Borrowed until the
  // listener is closed.
  virtual TlsContext* on_knock(Listener&, const Addr&) { return nullptr; }
  virtual void on_handshake_failed(Listener&, const Addr&, const std::string&) {}
  // With TLS: how long `peer` may take to say first, by the PROXY protocol, for whom it connects; on_knock, and whatever follows, is then
  // for that one. 0: it is to say nothing.
  virtual Delay proxy_time(const Addr&) { return {}; }
  virtual void on_proxy_failed(Listener&, const Addr&, const std::string&) {}
  // There are more than set_rate() allows: once, until it has had all who wait.
  virtual void on_accept_held(Listener&) {}

 protected:
  ~ListenerUser() = default;
};

class Listener final : private Watcher, private TimerUser, private GreeterUser {
 public:
  static constexpr Delay kRest{100};

  // Borrows both for its life.
  Listener(Loop& loop, ListenerUser& user) : loop_(loop), user_(user), timer_(loop, *this) {}
  ~Listener() { close(); }

  // Takes over what listen_on() made, and begins to accept, unless held off.
  Status open(Listening listening);
  // Who comes must speak TLS. Again: with other bounds, for those who come from now on. REQUIRES, the first time: not open yet.
  void use_tls(size_t handshake_limit, Delay handshake_timeout);
  bool is_open() const { return listening_.fd.open(); }
  // Stops listening; a Unix socket's file is removed, unless somebody else listens there by now.
  void close();
  void hold_off() { held_off_ = true; }
  // At most so many a second are accepted, and that many at once; 0: any number. Others wait in the kernel's backlog.
  void set_rate(uint32_t a_second) {
    if (a_second != rate_ && timer_.armed()) timer_.arm(Delay{0});  // who waits, waits for the other one
    rate_ = a_second;
  }
  void go_on();
  Status change(const SockOptions& options) const { return change_options(listening_.fd.get(), listening_.addr, options); }

  const Listening& listening() const { return listening_; }
  std::string text() const { return listening_.text(); }

 private:
  static constexpr int kBudget = 64;
  void on_event(uint32_t events) override;
  void on_timer(Timer& timer) override;
  void on_greeted(Socket socket, const Addr& peer) override { user_.on_accept(*this, std::move(socket), peer); }
  void on_greeting_failed(const Addr& peer, const std::string& why) override { user_.on_handshake_failed(*this, peer, why); }
  void on_greeter_room() override;
  TlsContext* on_announced(const Addr& peer) override { return user_.on_knock(*this, peer); }
  void on_announcement_failed(const Addr& peer, const std::string& why) override { user_.on_proxy_failed(*this, peer, why); }
  bool is_too_fast();
  void accepted(Fd fd, const Addr& peer);

  Loop& loop_;
  ListenerUser& user_;
  Listening listening_;
  std::unique_ptr<Greeter> greeter_;  // with TLS
  Timer timer_;
  Bucket bucket_;
  uint32_t rate_ = 0;
  bool held_off_ = false;
  bool missed_ = false;  // somebody came, or may have, while it was held off
  bool resting_ = false;
  bool slowed_ = false;  // on_accept_held() has been said
};

}  // namespace relay

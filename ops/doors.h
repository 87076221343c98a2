// SPDX-License-Identifier: Apache-2.0
// Doors: where a relay listens, over changes of its configuration, with the certificates that are shown there, and what the log says of
// those who come and are not let in.
//
//   prepare ─► commit        new places are open, those that stay are as they were, with who waits in front of them
//        └───► rollback      nothing has happened
//
// A door has a role: what the log calls those who come there ("client"). It is the kind's to say who they are and whether they may
// come in; so a Doors asks, and tells, its DoorsUser.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "lib/json.h"
#include "net/listen_pool.h"
#include "net/listener.h"
#include "net/loop.h"
#include "ops/config.h"
#include "ops/tls_keys.h"

namespace relay {

// What stands in the error when `where` cannot be listened on, with what to do about it.
std::string bind_remedy(const Endpoint& where, const Status& why);

// Which of them it is.
struct DoorSign {
  std::string_view role;
  size_t number;  // of its place in the plan
};

class DoorsUser {
 public:
  // As ListenerUser's, with the sign of the door in the place of its Listener.
  virtual void on_come(const DoorSign& door, Socket socket, const Addr& peer) = 0;
  virtual TlsContext* on_knock(const DoorSign& door, const Addr& peer) = 0;
  virtual Delay proxy_time(const Addr&) { return {}; }
  virtual void on_proxy_failed(const DoorSign&, const Addr&, const std::string&) {}
  virtual void on_accept_held(const DoorSign&) {}
  // A Doors has said so by itself, in the log:
  virtual void on_accept_paused() = 0;
  // And this it leaves to its user, who knows better who that was: see Doors::handshake_failed.
  virtual void on_handshake_failed(const DoorSign& door, const Addr& peer, const std::string& why) = 0;
  virtual const std::string& name() const = 0;  // the relay's, for the log

 protected:
  ~DoorsUser() = default;
};

// At most so many lines a second tell of one matter, whoever floods us.
class Sparing {
 public:
  bool tell(Time now);
  // How many were not told of since this was asked last.
  uint64_t untold();

 private:
  static constexpr uint32_t kMost = 10;
  Time since_{};
  uint32_t told_ = 0;
  uint32_t untold_ = 0;
};

class Doors final : private ListenerUser {
 public:
  struct Place {
    Endpoint where;
    std::string_view role;  // static
    uint32_t rate = 0;      // as Listener::set_rate
  };
  // Of a configuration; for one call.
  struct Plan {
    const std::string& name;  // the relay's
    std::vector<Place> places;
    const SockOptions& options;
    const TlsKeys* tls;  // nullptr: there is none
  };

  // Borrows all for its life.
  Doors(Loop& loop, ListenPool& sockets, DoorsUser& user) : loop_(loop), sockets_(sockets), user_(user) {}

  // Opens what is missing, and reads the files of TLS.
  void prepare(const Plan& plan, Faults& faults);
  // Goes over to what was prepared. REQUIRES: the plan is the same.
  void commit(const Plan& plan);
  void rollback();
  void lend();

  void hold_off();
  void go_on();
  void close();
  // The contexts of the last commit with TLS; their address is the same after any other. REQUIRES: there was one.
  TlsContexts& tls() { return *tls_; }
  // Adds the list "listening".
  void status(Json& json) const;

  // Log lines, as far as they are not too many. `role`: what the peer is.
  void refused(std::string_view role, const Addr& peer, std::string_view reason);
  void handshake_failed(std::string_view role, const Addr& peer, const std::string& why);

 private:
  struct Door {
    Door(Loop& loop, ListenerUser& user, std::string_view who, std::string what) : listener(loop, user), role(who), place(std::move(what)) {}
    Listener listener;
    std::string_view role;
    std::string place;  // as configured
    size_t number = 0;  // of that in the plan
  };
  void on_accept(Listener& listener, Socket socket, const Addr& peer) override { user_.on_come(sign_of(listener), std::move(socket), peer); }
  TlsContext* on_knock(Listener& listener, const Addr& peer) override { return user_.on_knock(sign_of(listener), peer); }
  Delay proxy_time(const Addr& peer) override { return user_.proxy_time(peer); }
  void on_proxy_failed(Listener& listener, const Addr& peer, const std::string& why) override { user_.on_proxy_failed(sign_of(listener), peer, why); }
  void on_accept_held(Listener& listener) override { user_.on_accept_held(sign_of(listener)); }
  void on_handshake_failed(Listener& listener, const Addr& peer, const std::string& why) override { user_.on_handshake_failed(sign_of(listener), peer, why); }
  void on_accept_paused(Listener& listener, const Status& why) override;
  void on_accept_resumed(Listener& listener) override;

  void open(const Plan& plan, const Place& place, Faults& faults);
  void use_certificates(const Plan& plan);
  DoorSign sign_of(const Listener& listener) const;

  Loop& loop_;
  ListenPool& sockets_;
  DoorsUser& user_;
  std::vector<std::unique_ptr<Door>> doors_;
  std::vector<std::unique_ptr<Door>> prepared_;  // those that are new; they do not accept yet
  std::unique_ptr<TlsContexts> tls_;             // where TLS is used, or was
  std::unique_ptr<TlsContexts> prepared_tls_;    // the files read anew
  Sparing refusals_;
  Sparing handshake_failures_;
};

}  // namespace relay

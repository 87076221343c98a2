// SPDX-License-Identifier: Apache-2.0
// ListenPool: listening sockets that are there already, and are to be used instead of new ones.
//
//   add()   one that a service manager has passed to the process (sd_listen_fds(3)): the first relay that listens there has it
//   lend()  one of a Listener that may be about to stop, while a configuration is changed: whoever is to listen there next
//           gets a duplicate, so that nobody who waits in the kernel's backlog is turned away
//
//   lend() … open() … settle()          the change is made: who has lent what was taken stops listening
//            open() fails … forget_lent()   it is not: who has lent goes on as if nothing had been
#pragma once

#include <string>
#include <vector>

#include "lib/status.h"
#include "net/addr.h"
#include "net/fd.h"
#include "net/listener.h"
#include "net/sock.h"

namespace relay {

// It is that very place, however it is written: with TLS or without. Not a port that the kernel chooses.
bool listens_on(const Listening& listening, const Endpoint& where);

class ListenPool {
 public:
  // Takes the socket over. kInvalid: it is no listening stream socket of a family that is ours; then it is closed. `asked`: it is for whoever is
  // to listen on what is written so (Endpoint::text), whatever port it has; empty: for its own address.
  Status add(Fd fd, std::string asked = {});
  // Borrows `lender` until settle() or forget_lent(). REQUIRES: it is open.
  void lend(Listener& lender);

  bool has(const Endpoint& where) const;  // one that was added, or is lent
  // A socket that listens on `where`: one that is there, or else a new one (listen_on); of IPv4, if that is any address and there is no IPv6.
  Result<Listening> open(const Endpoint& where, const SockOptions& options);

  void settle();
  void forget_lent() { lent_.clear(); }
  void forget_passed() { passed_.clear(); }  // closes those that nobody has taken
  // Where the sockets listen that were added and that nobody has taken.
  std::vector<std::string> unused() const;

 private:
  struct Passed {
    Listening listening;
    std::string asked;
  };
  struct Lent {
    Listener* lender;
    bool taken;
  };
  Result<Listening> take(const Endpoint& where);
  static bool is_for(const Passed& passed, const Endpoint& where);

  std::vector<Passed> passed_;
  std::vector<Lent> lent_;
};

}  // namespace relay

// SPDX-License-Identifier: Apache-2.0
// Greeter: the TLS handshakes of one listener, before anybody else hears of the connection.
//
//   accepted ─► (its PROXY header) ─► under way, at most `limit` of them, each at most `timeout` ─► greeted, or failed and closed
//
// A handshake costs as much processor time as passing on a megabyte, and who says nothing costs no memory but his place. The steps that
// are due stand in a queue, and a turn of the loop takes kStepsATurn of them: a flood of handshakes slows other handshakes down, not the
// bytes of those who are there. Who keeps silent holds his place only while nobody else wants it.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "lib/list.h"
#include "net/loop.h"
#include "net/socket.h"
#include "net/timer.h"

namespace relay {

class GreeterUser {
 public:
  // Valid within the call; what is not taken is closed.
  virtual void on_greeted(Socket socket, const Addr& peer) = 0;
  virtual void on_greeting_failed(const Addr& peer, const std::string& why) = 0;
  // There is room for another: it was full().
  virtual void on_greeter_room() = 0;
  // Who was to say for whom it connects has said so: with which context that one is to be greeted; nullptr: not at all.
  virtual TlsContext* on_announced(const Addr&) { return nullptr; }
  virtual void on_announcement_failed(const Addr&, const std::string&) {}

 protected:
  ~GreeterUser() = default;
};

class Greeter final {
 public:
  // Borrows both for its life.
  Greeter(Loop& loop, GreeterUser& user, size_t limit, Delay timeout) : loop_(loop), user_(user), limit_(limit), timeout_(timeout) {}
  ~Greeter() { close(); }

  // For those who come from now on.
  void change(size_t limit, Delay timeout) {
    const bool was_full = full();
    limit_ = limit;
    timeout_ = timeout;
    if (was_full && !full()) user_.on_greeter_room();
  }
  bool full() const { return count_ >= limit_; }
  size_t under_way() const { return count_; }
  // For another who waits while it is full(): the one who has been silent for longest, and for kPatience, gives way; or the one who began first,
  // if that is a quarter of the time-out ago: a byte now and then keeps nobody out. False: there is no such.
  bool make_room();
  // Borrows `context` until the handshake is over, or close().
  void greet(Fd fd, const Addr& peer, TlsContext& context) { come(std::move(fd), peer, &context, timeout_); }
  // The same for one who says first, by the PROXY protocol and within `time`, for whom it connects.
  void announce(Fd fd, const Addr& peer, Delay time) { come(std::move(fd), peer, nullptr, time); }
  void close();  // all that are under way, with no more calls

 private:
  static constexpr int kStepsATurn = 1;  // a turn costs little beside a step
  static constexpr Delay kPatience{1000};
  static constexpr int kLookedAt = 256;  // who may give way

  class Guest;
  void come(Fd fd, const Addr& peer, TlsContext* context, Delay time);
  void wait_for(Guest& guest);
  bool read_header(Guest& guest);
  void due(Guest& guest);
  void serve();
  void step(Guest& guest);
  void fail(Guest& guest, const std::string& why);
  void remove(Guest& guest);

  Loop& loop_;
  GreeterUser& user_;
  size_t limit_;
  Delay timeout_;
  size_t count_ = 0;
  uint64_t turn_ = 0;  // of which steps_ were taken
  int steps_ = 0;
  List<Guest> waiting_;  // for the peer, who has been silent for longest first
  List<Guest> due_;      // for their turn
};

}  // namespace relay

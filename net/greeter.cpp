// SPDX-License-Identifier: Apache-2.0
// Greeter: see greeter.h.
#include "net/greeter.h"

#include <cstring>

#include "net/conn.h"

namespace relay {

class Greeter::Guest final : public Mortal, public ListNode, public Watcher, private TimerUser {
 public:
  Guest(Greeter& greeter, Fd own, const Addr& from, TlsContext& with)
      : peer(from), context(with), fd(std::move(own)), timer(greeter.loop_, *this), greeter_(greeter) {}

  Addr peer;
  TlsContext& context;
  Fd fd;
  std::unique_ptr<Tls> tls;
  std::unique_ptr<Guest> self;  // until it is buried
  Timer timer;
  Time silent_since{};
  uint32_t events = 0;
  bool is_due = false;

 private:
  void on_event(uint32_t now) override {
    events |= now;
    if ((events & ~uint32_t{EPOLLOUT}) != 0) greeter_.due(*this);  // else it has not said anything yet
  }
  void on_timer(Timer&) override { greeter_.fail(*this, "no handshake within handshake-timeout"); }

  Greeter& greeter_;
};

void Greeter::greet(Fd fd, const Addr& peer, TlsContext& context) {
  auto made = std::make_unique<Guest>(*this, std::move(fd), peer, context);
  Guest& guest = *made;
  guest.self = std::move(made);
  ++count_;
  wait_for(guest);
  const Status status = loop_.watch(guest, guest.fd.get(), Conn::kEvents);
  if (!status.ok()) return fail(guest, std::strerror(status.error()));
  guest.timer.arm(timeout_);
}

void Greeter::close() {
  for (List<Guest>* list : {&waiting_, &due_})
    while (Guest* guest = list->front()) remove(*guest);
}

void Greeter::wait_for(Guest& guest) {
  guest.silent_since = loop_.now();
  waiting_.push_back(guest);
}

bool Greeter::make_room() {
  Guest* const guest = waiting_.front();
  if (guest == nullptr || loop_.now() - guest->silent_since < kPatience) return false;
  fail(*guest, "silent for a second while others waited: handshake-limit is reached");
  return true;
}

void Greeter::due(Guest& guest) {
  if (!guest.is_due) {
    guest.is_due = true;
    due_.push_back(guest);
  }
  serve();
}

// The first in the queue calls us again in the next turn, for all of them.
void Greeter::serve() {
  if (turn_ != loop_.turns()) {
    turn_ = loop_.turns();
    steps_ = 0;
  }
  while (Guest* guest = due_.front()) {
    if (steps_ >= kStepsATurn) return loop_.again(*guest);
    ++steps_;
    guest->is_due = false;
    wait_for(*guest);
    step(*guest);
  }
}

void Greeter::step(Guest& guest) {
  // A new configuration may have taken the certificate away.
  if (guest.tls == nullptr && guest.context.loaded()) guest.tls = Tls::make(guest.context, guest.fd.get(), loop_.buffers(), loop_.now());
  if (guest.tls == nullptr) return fail(guest, guest.context.loaded() ? "no memory" : "no certificate any more");
  std::string why;
  const Status status = guest.tls->handshake(why);
  if (status.code() == Code::kAgain) return;
  if (!status.ok()) return fail(guest, why);
  guest.timer.disarm();
  // Not in any list, so that close() from within the call leaves it alone.
  guest.unlink();
  user_.on_greeted({std::move(guest.fd), guest.peer.family, std::move(guest.tls), &guest, guest.events}, guest.peer);
  remove(guest);
}

void Greeter::fail(Guest& guest, const std::string& why) {
  guest.unlink();
  user_.on_greeting_failed(guest.peer, why);
  remove(guest);
}

void Greeter::remove(Guest& guest) {
  const bool was_full = full();
  guest.unlink();
  guest.timer.disarm();
  loop_.forget(guest);
  guest.tls.reset();
  guest.fd.close();
  --count_;
  loop_.bury(std::move(guest.self));
  if (was_full) user_.on_greeter_room();
}

}  // namespace relay

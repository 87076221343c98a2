// SPDX-License-Identifier: Apache-2.0
// Greeter: see greeter.h.
#include "net/greeter.h"

#include <array>
#include <cerrno>
#include <cstring>

#include "net/conn.h"
#include "net/proxied.h"
#include "net/sys.h"

namespace relay {

class Greeter::Guest final : public Mortal, public ListNode, public Watcher, private TimerUser {
 public:
  Guest(Greeter& greeter, Fd own, const Addr& from, TlsContext* with)
      : peer(from), context(with), fd(std::move(own)), timer(greeter.loop_, *this), began(greeter.loop_.now()), greeter_(greeter) {}

  Addr peer;
  TlsContext* context;  // nullptr: its PROXY header has not come yet
  Fd fd;
  std::unique_ptr<Tls> tls;
  std::unique_ptr<Guest> self;  // until it is buried
  Timer timer;
  const Time began;
  Time silent_since{};
  uint32_t events = 0;
  bool is_due = false;

 private:
  void on_event(uint32_t now) override {
    events |= now;
    if ((events & ~uint32_t{EPOLLOUT}) != 0) greeter_.due(*this);  // else it has not said anything yet
  }
  void on_timer(Timer&) override { greeter_.fail(*this, context == nullptr ? "no PROXY header in time" : "no handshake within handshake-timeout"); }

  Greeter& greeter_;
};

void Greeter::come(Fd fd, const Addr& peer, TlsContext* context, Delay time) {
  auto made = std::make_unique<Guest>(*this, std::move(fd), peer, context);
  Guest& guest = *made;
  guest.self = std::move(made);
  ++count_;
  wait_for(guest);
  const Status status = loop_.watch(guest, guest.fd.get(), Conn::kEvents);
  if (!status.ok()) return fail(guest, std::strerror(status.error()));
  guest.timer.arm(time);
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
  if (guest == nullptr) return false;
  if (loop_.now() - guest->silent_since >= kPatience) {
    fail(*guest, "silent for a second while others waited: handshake-limit is reached");
    return true;
  }
  Guest* first = guest;
  int left = kLookedAt;
  for (Guest* one = waiting_.next(*guest); one != nullptr && left > 0; one = waiting_.next(*one), --left)
    if (one->began < first->began) first = one;
  if (loop_.now() - first->began < timeout_ / 4) return false;
  fail(*first, "it took long while others waited: handshake-limit is reached");
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

// False: it is not whole yet, or the guest is gone. The header alone is taken from the kernel: what follows is the handshake.
bool Greeter::read_header(Guest& guest) {
  std::array<std::byte, ProxyHeader::kMost> bytes;  // NOLINT: the kernel fills what is read
  const ssize_t n = sys::peek(guest.fd.get(), bytes.data(), bytes.size());
  if (n == -EAGAIN) return false;
  constexpr const char* kNone = "it went without a PROXY header";
  if (n <= 0) return fail(guest, n == 0 ? kNone : std::strerror(static_cast<int>(-n))), false;
  ProxyHeader header;
  const Result<size_t> size = ProxyHeader::parse(std::span(bytes).first(static_cast<size_t>(n)), header);
  if (!size.ok()) return fail(guest, size.status().reason()), false;
  if (*size == 0 && (guest.events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) return fail(guest, kNone), false;
  if (*size == 0) return false;
  if (sys::recv(guest.fd.get(), bytes.data(), *size) != static_cast<ssize_t>(*size)) return fail(guest, kNone), false;
  guest.peer = announced_by(header, guest.peer);
  guest.context = user_.on_announced(guest.peer);
  if (guest.context == nullptr) return remove(guest), false;
  guest.timer.arm(timeout_);
  return true;
}

void Greeter::step(Guest& guest) {
  if (guest.context == nullptr && !read_header(guest)) return;
  // A new configuration may have taken the certificate away.
  if (guest.tls == nullptr && guest.context->loaded()) guest.tls = Tls::make(*guest.context, guest.fd.get(), loop_.buffers(), loop_.now());
  if (guest.tls == nullptr) return fail(guest, guest.context->loaded() ? "no memory" : "no certificate any more");
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
  if (guest.context == nullptr) user_.on_announcement_failed(guest.peer, why);
  else user_.on_greeting_failed(guest.peer, why);
  const bool was_due = guest.is_due;
  remove(guest);
  if (Guest* next = due_.front(); was_due && next != nullptr) loop_.again(*next);  // it was asked for the first one alone
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

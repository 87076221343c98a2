// SPDX-License-Identifier: Apache-2.0
// Listener: accept until the kernel has no more, the budget is used up, or descriptors are.
#include "net/listener.h"

#include <algorithm>

#include "net/sys.h"

namespace relay {

Status Listener::open(Listening listening) {
  const Status status = loop_.watch(*this, listening.fd.get(), EPOLLIN);
  if (!status.ok()) return status;
  listening_ = std::move(listening);
  return {};
}

void Listener::use_tls(size_t handshake_limit, Delay handshake_timeout) {
  if (greeter_ != nullptr) return greeter_->change(handshake_limit, handshake_timeout);
  CHECK(!is_open());
  greeter_ = std::make_unique<Greeter>(loop_, static_cast<GreeterUser&>(*this), handshake_limit, handshake_timeout);
}

void Listener::close() {
  if (!is_open()) return;
  if (greeter_ != nullptr) greeter_->close();
  timer_.disarm();
  loop_.forget(*this, listening_.fd.get());
  listening_.fd.close();
  if (!listening_.path.empty()) static_cast<void>(remove_stale(listening_.path));
}

void Listener::go_on() {
  held_off_ = false;
  if (is_open() && missed_) loop_.again(*this);  // the edge for those in the backlog has passed
  missed_ = false;
}

void Listener::on_greeter_room() {
  if (is_open()) loop_.again(*this);
}

void Listener::accepted(Fd fd, const Addr& peer) {
  if (greeter_ == nullptr) return user_.on_accept(*this, {std::move(fd), peer.family}, peer);
  if (const Delay time = user_.proxy_time(peer); time.count() > 0) return greeter_->announce(std::move(fd), peer, time);
  TlsContext* const context = user_.on_knock(*this, peer);
  if (context != nullptr && is_open()) greeter_->greet(std::move(fd), peer, *context);
}

// Looks again when a tenth of a second's worth may come, not for each.
bool Listener::is_too_fast() {
  const auto now = static_cast<uint32_t>(loop_.now().count());
  if (rate_ == 0 || bucket_.left(now, rate_) > 0) return false;
  if (!sys::is_readable(listening_.fd.get())) {  // nobody waits
    slowed_ = false;
    return true;
  }
  if (!slowed_) user_.on_accept_held(*this);
  slowed_ = true;
  timer_.arm(Delay{bucket_.wait(rate_, std::max(rate_ / 10, 1U))});
  return true;
}

void Listener::on_event(uint32_t) {
  bool any = false;
  for (int left = kBudget; is_open() && !held_off_; --left) {
    if (greeter_ != nullptr && greeter_->full()) {  // on_greeter_room
      if (sys::is_readable(listening_.fd.get()) && !greeter_->make_room()) timer_.arm(kRest);
      return;
    }
    if (is_too_fast()) return;
    // Errors alone, of a kind that does not go away: not at once again.
    if (left == 0) return any ? loop_.again(*this) : timer_.arm(kRest);
    sockaddr_storage from{};
    socklen_t length = sizeof from;
    const int fd = sys::accept(listening_.fd.get(), reinterpret_cast<sockaddr*>(&from), &length);
    const Status status = fd < 0 ? from_errno(-fd, "accept") : Status{};
    if (resting_ && status.code() != Code::kLimit) {  // "nobody waits" is good news too: the descriptor was there to be had
      resting_ = false;
      user_.on_accept_resumed(*this);
    }
    switch (status.code()) {
      case Code::kOk: break;
      case Code::kAgain: slowed_ = false; return;
      case Code::kLimit:
        if (!resting_) user_.on_accept_paused(*this, status);
        resting_ = true;
        return timer_.arm(kRest);
      case Code::kEof:
      case Code::kReset:
      case Code::kTruncated:
      case Code::kTimeout:
      case Code::kRefused:
      case Code::kNotFound:
      case Code::kInvalid:
      case Code::kSystem: continue;  // that one connection has failed (accept(2)); the next may not have
    }
    any = true;
    if (rate_ > 0) bucket_.take(1);
    accepted(Fd{fd}, Addr::from_sockaddr(from, length));
  }
  missed_ = held_off_;
}

void Listener::on_timer(Timer&) { on_event(0); }

}  // namespace relay

// SPDX-License-Identifier: Apache-2.0
// Dial: see the picture in dial.h.
#include "net/dial.h"

#include <algorithm>
#include <cerrno>

namespace relay {

Dial::Dial(Loop& loop, Resolver& resolver, const DialPlan& plan, DialUser& user)
    : loop_(loop), plan_(plan), user_(user), lookup_(resolver, *this), timer_(loop, *this), pause_(plan.retry_min) {}

void Dial::start() {
  stopped_ = false;
  addrs_.clear();
  next_ = 0;
  switch (plan_.target.kind) {
    case Endpoint::Kind::kAddr: addrs_.push_back(plan_.target.addr); break;
    case Endpoint::Kind::kUnix:
      addrs_.emplace_back();
      addrs_.back().family = Addr::Family::kUnix;
      break;
    case Endpoint::Kind::kName:
    case Endpoint::Kind::kService:
      timer_.arm(plan_.connect_timeout);
      lookup_.start(plan_.target);
      return;
  }
  connect_next();
}

void Dial::stop() {
  stopped_ = true;
  timer_.disarm();
  lookup_.cancel();
  close();
}

void Dial::close() {
  if (!fd_.open()) return;
  loop_.forget(*this);
  tls_.reset();
  fd_.close();
}

void Dial::on_lookup(Result<Found> found) {
  timer_.disarm();
  if (!found.ok()) return failed({}, found.status());
  addrs_ = std::move(found->addrs);
  user_.on_dial_addrs(addrs_);
  if (!stopped_) connect_next();
}

void Dial::connect_next() {
  const Addr to = addrs_[next_++];
  user_.on_dial_try(to);
  if (stopped_) return;
  Result<Connecting> connecting = begin_connect(to, plan_.target.host, plan_.options);
  if (!connecting.ok()) return failed(to, connecting.status());
  const Status status = loop_.watch(*this, connecting->fd.get(), Conn::kEvents);
  if (!status.ok()) return failed(to, status);
  fd_ = std::move(connecting->fd);
  if (connecting->done) connected(EPOLLOUT);
  else timer_.arm(plan_.connect_timeout);
}

void Dial::take(Conn& conn) {
  const Status status = conn.open({std::move(fd_), addrs_[next_ - 1].family, std::move(tls_), this, events_});
  CHECK(status.ok());
}

void Dial::on_event(uint32_t events) {
  if (tls_ != nullptr) {
    events_ |= events;
    return handshake();
  }
  if ((events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) == 0) return;
  const Addr to = addrs_[next_ - 1];
  // Writable and no error: connected, with no need to ask.
  const int error = (events & (EPOLLERR | EPOLLHUP)) != 0 ? sys::socket_error(fd_.get()) : 0;
  timer_.disarm();
  if (error != 0) {
    close();
    return failed(to, from_errno(error, "connect"));
  }
  connected(events);
}

void Dial::connected(uint32_t events) {
  const Addr to = addrs_[next_ - 1];
  if (to.family != Addr::Family::kUnix && connected_to_itself(fd_.get(), to)) {
    close();
    return failed(to, from_errno(ECONNREFUSED, "connected to itself"));
  }
  events_ = events;
  if (plan_.tls == nullptr) return dialed();
  tls_ = Tls::make(*plan_.tls, fd_.get(), loop_.buffers(), loop_.now());
  if (tls_ == nullptr) {
    close();
    return failed(to, from_errno(ENOMEM, "TLS"));
  }
  timer_.arm(plan_.connect_timeout);
  handshake();
}

void Dial::handshake() {
  std::string why;
  const Status status = tls_->handshake(why);
  if (status.code() == Code::kAgain) return;
  timer_.disarm();
  if (status.ok()) return dialed();
  close();
  details_ = std::move(why);
  failed(addrs_[next_ - 1], status);
}

void Dial::dialed() {
  stopped_ = true;
  user_.on_dialed(addrs_[next_ - 1]);
  close();  // nobody has taken it
}

void Dial::on_timer(Timer&) {
  if (lookup_.active()) {
    lookup_.cancel();
    return failed({}, {Code::kTimeout, "the name lookup took longer than connect-timeout"});
  }
  if (!fd_.open()) return start();  // the pause is over
  if (tls_ != nullptr) details_ = "no handshake within connect-timeout";
  close();
  failed(addrs_[next_ - 1], {Code::kTimeout, "no answer within connect-timeout"});
}

void Dial::failed(const Addr& to, const Status& why) {
  if (next_ < addrs_.size()) {
    user_.on_dial_failed(to, why, round_, Delay{0});
    details_.clear();
    if (!stopped_) connect_next();
    return;
  }
  const auto jitter = static_cast<int64_t>(loop_.random().below(static_cast<uint64_t>(pause_.count() / 2 + 1)));
  const Delay pause = pause_ - Delay{jitter};
  pause_ = std::min(pause_ * 2, plan_.retry_max);
  timer_.arm(pause);
  const unsigned round = round_++;
  user_.on_dial_failed(to, why, round, pause);
  details_.clear();
}

void Dial::let_go(std::unique_ptr<Dial>& dial) {
  if (dial == nullptr) return;
  dial->stop();
  struct Grave final : Mortal {
    explicit Grave(std::unique_ptr<Dial> dead) : inside(std::move(dead)) {}
    std::unique_ptr<Dial> inside;
  };
  Loop& loop = dial->loop_;
  loop.bury(std::make_unique<Grave>(std::move(dial)));
}

}  // namespace relay

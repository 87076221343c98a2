// SPDX-License-Identifier: Apache-2.0
// Link: see the picture in link.h.
#include "kinds/redis/link.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "kinds/redis/redis.h"
#include "lib/log.h"

namespace relay::redis {
namespace {

constexpr size_t kLongestGreeting = 8 * 1024 * 1024;  // COMMAND's reply is some 250 KiB
constexpr int kRounds = 4;

std::string first_line(std::string_view reply) {
  reply = reply.substr(0, reply.find('\r'));
  return std::string(reply.substr(reply.starts_with('-') ? 1 : 0));
}

// No refusal: it may be otherwise a little later.
bool is_for_now(std::string_view error) {
  return error.starts_with("-LOADING ") || error.starts_with("-BUSY ") || error.starts_with("-MASTERDOWN ") || error.starts_with("-ERR max number of clients reached");
}

}  // namespace

Link::Link(RedisRelay& relay, LinkUser& user) : relay_(relay), loop_(relay.loop()), user_(user), conn_(relay.loop(), *this) {}

Link::~Link() { close(); }

// ---- coming and going

void Link::dial(const DialPlan& plan, const Setting& want, bool ask_commands) {
  want_ = want;
  ask_commands_ = ask_commands;
  state_ = State::kDialing;
  refusal_.clear();
  relay_.stats().add(Stat::kDials);
  dial_ = std::make_unique<Dial>(loop_, relay_.resolver(), plan, static_cast<DialUser&>(*this));
  dial_->start();
}

void Link::on_dialed(const Addr& to) {
  dial_->take(conn_);
  Dial::let_go(dial_);
  since_ = loop_.now();
  if (conn_.tls() != nullptr) relay_.stats().add(Stat::kTlsHandshakes);
  if (log_enabled(Level::kDebug)) LogLine(Level::kDebug, "connected").text("relay", relay_.config().name).text("addr", to.text());
  become(want_);
  conn_.again();  // not from within dial(): its user may be in the middle of something
}

void Link::on_dial_failed(const Addr& to, const Status& why, unsigned round, Delay retry) {
  const std::string& details = dial_->details();
  if (!details.empty()) relay_.stats().add(Stat::kTlsHandshakeFailures);
  relay_.stats().add(Stat::kDialFailures);
  trouble_ = !details.empty() ? details : why.error() != 0 ? std::strerror(why.error()) : why.reason();
  relay_.dial_failed(to, trouble_, round, retry);
}

void Link::close() {
  Dial::let_go(dial_);
  conn_.close();
  if (in_.owns_block()) in_.consume(in_.size());
  if (!reading_) in_.release(loop_.buffers());
  greeting_.clear();
  asked_.clear();
  reply_.clear();
  reader_.next();
  state_ = State::kClosed;
}

void Link::fail(std::string_view why) {
  if (state_ == State::kClosed) return;
  trouble_ = why;
  close();
  user_.on_link_lost(trouble_);
}

// ---- the greeting

void Link::ask(Asked what, std::initializer_list<std::string_view> words) {
  append_command(greeting_, words);
  asked_.push_back(what);
}

// Says what makes a new connection, or one after RESET, what is wanted. Until a login is accepted nothing may be sent for whoever
// it is of: it would be done with another's rights. Until a database is, it would be done in another.
void Link::become(const Setting& want) {
  const Login& login = want.login;
  if (!login.password.empty() && login.user.empty()) ask(Asked::kLogin, {"AUTH", login.password});
  if (!login.password.empty() && !login.user.empty()) ask(Asked::kLogin, {"AUTH", login.user, login.password});
  careful_ = !login.password.empty() || want.db != 0 || (ask_commands_ && !relay_.commands().learned());
  if (want.protocol == 3) ask(Asked::kProtocol, {"HELLO", "3"});
  if (want.db != 0) ask(Asked::kDatabase, {"SELECT", std::to_string(want.db)});
  if (want.replica) ask(Asked::kOther, {"READONLY"});
  if (!want.name.empty()) ask(Asked::kOther, {"CLIENT", "SETNAME", want.name});
  if (ask_commands_ && !relay_.commands().learned()) ask(Asked::kCommands, {"COMMAND"});
}

void Link::begin_greeting() {
  state_ = State::kGreeting;
  if (asked_.empty()) {
    state_ = State::kReady;
    return user_.on_link_ready();
  }
  write_greeting();
}

void Link::greet_again(const Setting& want) {
  ask_commands_ = false;
  ask(Asked::kReset, {"RESET"});
  become(want);
  begin_greeting();
}

void Link::write_greeting() {
  while (!greeting_.empty() && conn_.is_open() && conn_.writable()) {
    const Result<size_t> n = conn_.write(std::as_bytes(std::span(greeting_)));
    if (!n.ok()) break;  // what it is, the next read says
    greeting_.erase(0, *n);
  }
}

void Link::answered(std::string_view reply) {
  const Asked what = asked_.front();
  asked_.erase(asked_.begin());
  const bool error = reply.starts_with('-');
  switch (what) {
    case Asked::kReset:
      if (error) return fail("no RESET");  // a server before 6.2
      break;
    case Asked::kLogin:
    case Asked::kProtocol:
    case Asked::kDatabase:
      if (!error) break;
      if (!is_for_now(reply)) refusal_ = reply;
      return fail((what == Asked::kLogin ? "the server refused the login: " : what == Asked::kDatabase ? "the server refused the database: " : "the server refused RESP3: ") +
                  first_line(reply));
    case Asked::kCommands:
      if (!error) static_cast<void>(relay_.commands().learn(reply));
      break;
    case Asked::kOther: break;
  }
  if (!asked_.empty()) return;
  state_ = State::kReady;
  user_.on_link_ready();
}

size_t Link::take_greeting(std::span<const std::byte> bytes) {
  const Result<size_t> n = reader_.feed(bytes);
  if (!n.ok() || reply_.size() + *n > kLongestGreeting) {
    fail("it does not speak RESP");
    return 0;
  }
  const size_t taken = *n;
  reply_.append(text_of(bytes.first(taken)));
  if (!reader_.done()) return taken;
  reader_.next();
  const std::string reply = std::exchange(reply_, {});
  answered(reply);
  return taken;
}

// ---- bytes

void Link::on_ready(Conn&) {
  if (state_ == State::kDialing) begin_greeting();
  write_greeting();
  if (state_ != State::kClosed) user_.on_link_turn();
  if (conn_.is_open()) read();
}

// Whether there is something to be given.
bool Link::fill() {
  if (!in_.empty()) return true;
  if (!conn_.readable()) return false;
  if (!in_.borrow(loop_.buffers())) {
    fail("out of memory");
    return false;
  }
  const Result<size_t> n = conn_.read(in_.room());
  if (n.ok()) in_.commit(*n);
  else if (n.status().code() == Code::kEof) fail("closed by the server");
  else if (n.status().code() != Code::kAgain) fail(n.status().error() != 0 ? std::strerror(n.status().error()) : n.status().reason());
  return n.ok();
}

// False: there was no room for all of it.
bool Link::give() {
  while (!in_.empty() && conn_.is_open()) {
    const size_t n = asked_.empty() ? user_.on_link_bytes(in_.data()) : take_greeting(in_.data());
    in_.consume(std::min(n, in_.size()));  // what was taken may have ended all of this
    if (n == 0) return false;
  }
  return true;
}

void Link::read() {
  bool more = true;
  bool stuck = false;
  reading_ = true;  // the block stays, whatever comes: clients have been lent what is in it
  for (int round = 0; round < kRounds && conn_.is_open() && more && !stuck; ++round) {
    relay_.batch();
    more = fill();
    stuck = more && !give();
    relay_.flush_touched();
    in_.release(loop_.buffers());
  }
  reading_ = false;
  user_.on_link_read();
  if (conn_.is_open() && (conn_.readable() || !in_.empty()) && !stuck) conn_.again();
}

}  // namespace relay::redis

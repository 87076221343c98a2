// SPDX-License-Identifier: Apache-2.0
// Session: see the picture in session.h. Everything that happens to a client ends in process(), which goes on with its commands as far as
// it can, and says in waits_ that it cannot.
#include "kinds/redis/session.h"

#include <algorithm>
#include <cstring>

#include "kinds/redis/redis.h"
#include "lib/log.h"

namespace relay::redis {
namespace {

constexpr uint64_t kOut = 256 * 1024;      // replies that the client has not taken
constexpr uint64_t kReserve = 4 * 1024;    // of that, for words of our own
constexpr uint64_t kEnough = 64 * 1024;    // so many, and no more of its commands are taken
constexpr int kRounds = 4;
constexpr Delay kLastWords{5000};
constexpr Delay kQuietDrain{1000};
constexpr std::string_view kRefusals[] = {"-EXECABORT", "-ERR EXEC without", "-ERR DISCARD without"};

std::string_view text_of(std::span<const std::byte> bytes) { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }

}  // namespace

Session::Session(RedisRelay& relay, uint32_t id)
    : relay_(relay), client_(relay.loop(), *this), timer_(relay.loop(), *this), out_(kOut), since_(relay.loop().now()), last_taken_(since_), id_(id) {}

Session::~Session() = default;

Session& Session::make(RedisRelay& relay, uint32_t id) {
  auto session = std::make_unique<Session>(relay, id);
  Session& self = *session;
  self.self_ = std::move(session);
  return self;
}

void Session::begin(Socket socket, const Addr& peer) {
  addr_ = peer;
  if (const Status status = client_.open(std::move(socket)); !status.ok()) return end("client-error");
  client_.try_reading();
  on_ready(client_);
}

// ---- the client's bytes

// What is not done with is kept in a block only while it is worked on: a client that says half a command owns what it has said.
void Session::load() {
  if (in_.owns_block()) return;
  if (!in_.borrow(relay_.loop().buffers())) return end("no-memory");
  if (rest_.empty()) return;
  std::memcpy(in_.room().data(), rest_.data(), rest_.size());
  in_.commit(rest_.size());
  rest_ = {};
}

void Session::store() {
  if (!in_.owns_block()) return;
  if (!in_.empty() && state_ == State::kOpen) rest_.assign(text_of(in_.data()));
  in_.consume(in_.size());
  in_.release(relay_.loop().buffers());
}

void Session::on_ready(Conn&) {
  if (state_ == State::kEnded) return;
  last_taken_ = holds_up_ == nullptr ? relay_.loop().now() : last_taken_;
  write();
  if (state_ == State::kOpen && waits_) process();
  if (state_ == State::kOpen) read();
  if (state_ != State::kOpen || !waits_) return;
  // While it is not read, for what it has said is not done with, its end shows here.
  if (client_.broken()) return end("client-reset");
  if (client_.finished() && pin_ == Pin::kCommand && blocking_ && !ended_in_) {
    ended_in_ = true;  // what is behind a command that waits is not done any more, by the server neither
    no_more();
  }
}

void Session::read() {
  for (int round = 0; round < kRounds && state_ == State::kOpen && client_.readable() && !ended_in_ && out_.size() <= kEnough; ++round) {
    load();
    if (state_ != State::kOpen) return;
    if (in_.room().empty()) {
      const bool full = in_.size() == BufferPool::kBlock;
      if (!full) {
        store();
        continue;
      }
      process_loaded();
      if (state_ == State::kOpen && in_.size() == BufferPool::kBlock) break;
      continue;
    }
    const Result<size_t> n = client_.read(in_.room());
    if (n.ok()) {
      in_.commit(*n);
    } else if (n.status().code() == Code::kEof) {
      ended_in_ = true;
    } else if (n.status().code() == Code::kAgain) {
      break;
    } else {
      store();
      return end(n.status().code() == Code::kTimeout ? "client-timeout" : "client-reset");
    }
    process_loaded();
  }
  store();
  if (!out_.empty()) write();
  if (state_ == State::kOpen && client_.readable() && !ended_in_ && rest_.size() < BufferPool::kBlock && out_.size() <= kEnough) client_.again();
}

void Session::process() {
  if (state_ != State::kOpen) return;
  load();
  if (state_ == State::kOpen) process_loaded();
  store();
  if (!out_.empty()) write();
  if (state_ == State::kOpen && client_.readable()) client_.again();
}

void Session::resume() {
  if (waits_) process();
}

void Session::process_loaded() {
  waits_ = false;
  while (state_ == State::kOpen && !waits_) {
    if (pin_ == Pin::kLife && encoded_.empty()) {
      if (!pass_on()) break;
    } else if (streaming_) {
      if (!stream()) break;
    } else if (pin_ == Pin::kWaiting || (pin_ == Pin::kCommand && !blocking_) || ending_ || under_way_ >= relay_.config().pipeline || out_.size() > kEnough) {
      waits_ = true;
    } else if (!frame()) {
      break;
    } else if (!dispatch()) {
      waits_ = true;
    }
  }
  if (ended_in_ && state_ == State::kOpen) no_more();
}

// The client has finished, and what it has said before is done with, or will never be.
void Session::no_more() {
  const bool all_said = pin_ == Pin::kCommand ? blocking_ && !streaming_ : (pin_ == Pin::kLife || pin_ == Pin::kTransaction) && !waits_;
  if (all_said && upstream_ != nullptr) return upstream_->finish();  // as with the server itself, which then stops waiting
  if (pin_ == Pin::kNone && !waits_ && under_way_ == 0) close_when_said("client-closed");
}

// Whether there is a command: a whole one, or as much of one as goes into a block.
bool Session::frame() {
  while (!reader_.done()) {
    const auto data = in_.data().subspan(fed_);
    const bool full = data.empty() && fed_ == BufferPool::kBlock;
    if (full && !reader_.is_inline()) return true;
    if (data.empty() && !full) return false;
    const Result<size_t> n = full ? Status{Code::kInvalid, "Protocol error: too big inline request"} : reader_.feed(data);
    if (!n.ok()) {
      if (under_way_ > 0) {
        waits_ = true;  // its replies come first
        reader_.next();
        fed_ = 0;
        return false;
      }
      refuse(reader_.complaint(n.status()));
      return false;
    }
    fed_ += *n;
    if (reader_.done() && reader_.argc() == 0 && !reader_.is_inline()) consumed();
  }
  return true;
}

// The command at the front has been taken care of.
void Session::consumed() {
  in_.consume(fed_);
  fed_ = 0;
  reader_.next();
}

std::string_view Session::word(size_t index) const {
  if (!words_.empty()) return index < words_.size() ? std::string_view(words_[index]) : std::string_view();
  const auto args = reader_.args();
  if (index >= args.size() || args[index].at + args[index].size > fed_) return {};
  return text_of(in_.data()).substr(args[index].at, args[index].size);
}

// Sends the command at the front where it belongs. False: not now.
bool Session::dispatch() {
  const bool whole = reader_.done();
  uint64_t argc = reader_.argc();
  words_.clear();
  if (reader_.is_inline()) {
    auto words = RespRequest::split_words(text_of(in_.data()).substr(0, fed_));
    if (!words && under_way_ > 0) return false;
    if (!words) {
      refuse("Protocol error: unbalanced quotes in request");
      return true;
    }
    if (words->empty()) {
      consumed();
      return true;
    }
    words_ = std::move(*words);
    argc = words_.size();
  }
  Command command = relay_.commands().find(word(0));
  if (whole && command.use == Use::kQuit) {
    if (under_way_ > 0) return false;
    say("+OK\r\n");
    close_when_said("quit");
    return true;
  }
  if (pin_ == Pin::kTransaction) return dispatch_own(command, argc);
  if (pin_ == Pin::kCommand) return dispatch_behind(command);
  if (whole && command.use == Use::kSelect && argc == 2 && word(1) == relay_.config().server.db) {
    if (under_way_ > 0) return false;
    say("+OK\r\n");
    consumed();
    return true;
  }
  if (!whole && command.use == Use::kShared) command.use = Use::kAlone;
  switch (command.use) {
    case Use::kShared:
    case Use::kExec:     // outside a transaction, an error
    case Use::kUnwatch:  // of nothing
      if (words_.empty()) return share(text_of(in_.data()).substr(0, fed_), command);
      encoded_.clear();
      append_command(encoded_, words_);
      if (!share(encoded_, command)) return encoded_.clear(), false;
      encoded_.clear();
      return true;
    case Use::kAlone:
      blocking_ = whole;
      return take_private(Pin::kCommand);
    case Use::kMulti:
    case Use::kWatch:
      if (under_way_ == 0) multi_ = command.use == Use::kMulti;
      return take_private(Pin::kTransaction);
    case Use::kState:
    case Use::kSelect:
    case Use::kQuit: break;
  }
  return take_private(Pin::kLife);
}

// Behind a command that may wait for ever: to the same connection, so that the server sees all that comes, and the client's end in its
// turn.
bool Session::dispatch_behind(const Command& command) {
  switch (command.use) {
    case Use::kState:
    case Use::kSelect: return own(Pin::kLife);
    case Use::kMulti:
    case Use::kWatch: multi_ = command.use == Use::kMulti; return own(Pin::kTransaction);
    case Use::kShared:
    case Use::kAlone:
    case Use::kExec:
    case Use::kUnwatch:
    case Use::kQuit: break;
  }
  return own(Pin::kCommand);
}

// In a transaction, or between WATCH and what ends it.
bool Session::dispatch_own(const Command& command, uint64_t argc) {
  switch (command.use) {
    case Use::kState:
    case Use::kSelect: return own(Pin::kLife);
    case Use::kMulti: multi_ = true; break;
    case Use::kExec: ending_ = argc == 1; break;
    case Use::kUnwatch: ending_ = argc == 1 && !multi_; break;
    case Use::kShared:
    case Use::kAlone:
    case Use::kWatch:
    case Use::kQuit: break;
  }
  return own(Pin::kTransaction);
}

// ---- over a shared connection

bool Session::share(std::string_view bytes, const Command& command) {
  Upstream& upstream = under_way_ > 0 ? *upstream_ : relay_.shared();
  if (upstream.hopeless()) {
    if (under_way_ > 0) return false;
    upstream.start();
    relay_.stats().add(Stat::kErrors);
    say("-ERR relay: cannot reach the server: " + upstream.trouble() + "\r\n");
    consumed();
    return true;
  }
  if (!upstream.send(*this, bytes, command.repeatable)) return false;
  relay_.stats().add(Stat::kCommands);
  relay_.stats().add(Stat::kSharedCommands);
  ++commands_;
  ++under_way_;
  upstream_ = &upstream;
  consumed();
  return true;
}

// ---- over one of its own

bool Session::take_private(Pin pin) {
  if (under_way_ > 0) return false;
  upstream_ = nullptr;
  wanted_ = pin;
  pin_ = Pin::kWaiting;
  relay_.stats().add(Stat::kPins);
  relay_.stats().add(Stat::kPinned);
  since_waiting_ = relay_.loop().now();
  acquiring_ = true;
  upstream_ = relay_.acquire(*this);
  acquiring_ = false;
  if (upstream_ != nullptr && upstream_->ready()) return own(pin);
  schedule();
  return false;
}

void Session::private_ready(Upstream& upstream) {
  if (acquiring_) return;  // it will see
  upstream_ = &upstream;
  load();
  if (state_ != State::kOpen || pin_ != Pin::kWaiting) return;
  own(wanted_);
  process_loaded();
  store();
  if (state_ == State::kOpen && client_.readable()) client_.again();
}

// The command at the front begins its way there.
bool Session::own(Pin pin) {
  pin_ = pin;
  relay_.stats().add(Stat::kCommands);
  ++commands_;
  if (!words_.empty() || reader_.is_inline()) {
    if (words_.empty()) words_ = RespRequest::split_words(text_of(in_.data()).substr(0, fed_)).value_or(std::vector<std::string>());
    append_command(encoded_, words_);
    words_.clear();
    consumed();
  }
  if (pin == Pin::kLife) {
    upstream_->make_opaque();
    under_way_ = 0;
    reader_.next();
    fed_ = 0;
    ending_ = false;
  } else {
    upstream_->begin();
    ++under_way_;
  }
  streaming_ = pin != Pin::kLife || !encoded_.empty();
  return true;
}

// Gives the connection what there is of the command that is on its way. False: there is no more, or no room.
bool Session::stream() {
  if (!encoded_.empty()) {
    encoded_.erase(0, upstream_->send_part(encoded_));
    waits_ = !encoded_.empty();
    streaming_ = waits_;
    if (!streaming_ && pin_ == Pin::kCommand && under_way_ == 0) unpin();
    return !waits_;
  }
  const size_t n = upstream_->send_part(text_of(in_.data()).substr(0, fed_));
  in_.consume(n);
  fed_ -= n;
  if (fed_ > 0) {
    waits_ = true;
    return false;
  }
  if (reader_.done()) {
    reader_.next();
    streaming_ = false;
    if (pin_ == Pin::kCommand && under_way_ == 0) unpin();
    return true;
  }
  if (in_.empty()) return false;
  const Result<size_t> more = reader_.feed(in_.data());
  if (!more.ok()) {
    refuse(reader_.complaint(more.status()));
    return false;
  }
  fed_ = *more;
  return true;
}

// For the rest of its life: bytes.
bool Session::pass_on() {
  if (in_.empty()) return false;
  in_.consume(upstream_->send_part(text_of(in_.data())));
  waits_ = !in_.empty();
  return !waits_;
}

void Session::unpin() {
  relay_.stats().sub(Stat::kPinned);
  Upstream* upstream = std::exchange(upstream_, nullptr);
  pin_ = Pin::kNone;
  multi_ = ending_ = false;
  head_.clear();
  upstream->release();
}

void Session::private_lost(std::string_view why, bool in_a_reply) {
  const Pin pin = pin_;
  const bool whole = !streaming_ && !in_a_reply;
  upstream_ = nullptr;
  holds_up_ = nullptr;
  if (state_ != State::kOpen) return;
  if (ended_in_) return close_when_said("client-closed");
  if (pin == Pin::kWaiting) return gave_up(std::string("cannot reach the server: ").append(why));
  if (pin == Pin::kLife || !whole) return close_when_said("server-lost");
  if (under_way_ == 0) say("-ERR relay: connection to the server was lost; the transaction is discarded\r\n");
  relay_.stats().add(Stat::kLostCommands, under_way_);
  for (; under_way_ > 0; --under_way_) say("-ERR relay: connection to the server was lost; the command may have been executed\r\n");
  if (pin == Pin::kTransaction) return close_when_said("server-lost");
  relay_.stats().sub(Stat::kPinned);
  pin_ = Pin::kNone;
  relay_.touch(*this);
  waits_ = true;
}

// There is no connection for the command at the front.
void Session::gave_up(const std::string& why) {
  Upstream* upstream = std::exchange(upstream_, nullptr);
  relay_.cancel(*this);
  if (upstream != nullptr) upstream->end("unused");
  relay_.stats().sub(Stat::kPinned);
  relay_.stats().add(Stat::kErrors);
  pin_ = Pin::kNone;
  multi_ = false;
  say("-ERR relay: " + why + "\r\n");
  if (!reader_.done()) return close_when_said("server-lost");  // a big one, of which the rest would follow
  load();
  if (state_ != State::kOpen) return;
  consumed();
  store();
  waits_ = true;
  relay_.touch(*this);
}

// ---- replies

size_t Session::room() {
  const uint64_t most = kOut - kReserve;
  return out_.size() >= most ? 0 : static_cast<size_t>(most - out_.size());
}

void Session::deliver(std::span<const std::byte> bytes) {
  if (state_ != State::kOpen) return;
  if (ending_ && under_way_ == 1 && head_.size() < 32) head_.append(text_of(bytes.first(std::min<size_t>(bytes.size(), 32))));
  say(text_of(bytes));
  relay_.touch(*this);
}

void Session::replied() {
  if (state_ == State::kEnded) return;
  --under_way_;
  relay_.touch(*this);
  if (under_way_ > 0) return;
  if (pin_ == Pin::kNone) {
    upstream_ = nullptr;
  } else if (pin_ == Pin::kCommand && !streaming_) {
    unpin();
  } else if (pin_ == Pin::kTransaction && ending_ && !streaming_) {
    // A refusal (by an ACL, say) leaves the transaction open.
    const bool over = !head_.starts_with('-') || std::any_of(std::begin(kRefusals), std::end(kRefusals), [this](auto text) { return head_.starts_with(text); });
    ending_ = false;
    head_.clear();
    if (over) unpin();
  }
}

void Session::deliver_error(std::string_view text) {
  relay_.stats().add(Stat::kErrors);
  say("-ERR relay: " + std::string(text) + "\r\n");
  replied();
}

void Session::say(std::string_view text) {
  while (!text.empty() && state_ == State::kOpen) {
    if (out_.full() || !out_.reserve()) return end(out_.full() ? "stalled" : "no-memory");
    for (const auto& span : out_.room()) {
      const size_t n = std::min(text.size(), span.size());
      if (n > 0) std::memcpy(span.data(), text.data(), n);
      text.remove_prefix(n);
      out_.commit(n);
      if (n < span.size()) break;
    }
  }
  relay_.touch(*this);
}

// What cannot be read as commands ends the conversation, as with the server.
void Session::refuse(std::string_view text) {
  relay_.stats().add(Stat::kProtocolErrors);
  say("-ERR " + std::string(text) + "\r\n");
  close_when_said("protocol-error");
}

void Session::flush() {
  if (state_ == State::kEnded) return;
  write();
  if (waits_) process();
  else if (ended_in_ && state_ == State::kOpen) no_more();
  else if (state_ == State::kOpen && client_.readable()) client_.again();
}

void Session::write() {
  if (state_ == State::kEnded) return;
  while (!out_.empty() && client_.writable()) {
    const Queue::Spans spans = out_.front();
    const iovec parts[] = {{spans[0].data(), spans[0].size()}, {spans[1].data(), spans[1].size()}};
    const Result<size_t> n = client_.write(std::span(parts).first(spans[1].empty() ? 1 : 2));
    if (!n.ok()) {
      if (n.status().code() == Code::kAgain) break;
      return end("client-reset");
    }
    out_.consume(*n);
    last_taken_ = relay_.loop().now();
  }
  if (holds_up_ != nullptr && out_.size() <= kEnough) std::exchange(holds_up_, nullptr)->resume();
  if (state_ == State::kClosing && out_.empty() && !client_.holds_bytes()) end(why_);
}

void Session::hold_up(Upstream& upstream) {
  holds_up_ = &upstream;
  schedule();
}

// ---- limits and the end

void Session::schedule() {
  const RedisConfig& config = relay_.config();
  if (state_ == State::kClosing) timer_.arm(kLastWords);
  else if (pin_ == Pin::kWaiting) timer_.arm(config.timeout);
  else if (holds_up_ != nullptr && !holds_up_->is_private()) timer_.arm(config.stall_timeout);
  else if (relay_.draining()) timer_.arm(kQuietDrain);
}

void Session::on_timer(Timer&) {
  const Time now = relay_.loop().now();
  const RedisConfig& config = relay_.config();
  if (state_ == State::kClosing) return end(why_);
  if (pin_ == Pin::kWaiting && now - since_waiting_ >= config.timeout) {
    gave_up(upstream_ == nullptr ? "all connections to the server are in use (maxConnections)" : "cannot reach the server: " + upstream_->trouble());
    return relay_.flush_touched();
  }
  if (holds_up_ != nullptr && !holds_up_->is_private() && now - last_taken_ >= config.stall_timeout) {
    relay_.stats().add(Stat::kStalled);
    return end("stalled");
  }
  if (relay_.draining() && now - last_taken_ >= kQuietDrain) return end("drained");
  schedule();
}

void Session::drain() {
  if (state_ == State::kOpen && pin_ == Pin::kNone && under_way_ == 0 && rest_.empty() && out_.empty()) {
    client_.try_reading();  // what came in this very turn was accepted too
    read();
    if (state_ == State::kOpen && under_way_ == 0 && pin_ == Pin::kNone && rest_.empty() && out_.empty()) return end("drained");
  }
  if (state_ != State::kEnded) schedule();
}

void Session::close_when_said(std::string_view why) {
  if (state_ != State::kOpen) return;
  state_ = State::kClosing;
  why_ = why;
  relay_.touch(*this);
  schedule();
}

void Session::end(std::string_view why) {
  if (state_ == State::kEnded) return;
  state_ = State::kEnded;
  timer_.disarm();
  if (pin_ != Pin::kNone) relay_.stats().sub(Stat::kPinned);
  if (pin_ == Pin::kWaiting) relay_.cancel(*this);
  Upstream* upstream = std::exchange(upstream_, nullptr);
  if (upstream != nullptr && pin_ == Pin::kNone) upstream->forget(*this);
  else if (upstream != nullptr) upstream->end("client-closed");
  holds_up_ = nullptr;
  if (why == "client-reset" || why == "stalled" || why == "no-memory") client_.reset();
  else client_.close();
  if (log_enabled(Level::kDebug))
    LogLine(Level::kDebug, "client-end").text("relay", relay_.config().name).number("session", id_).text("peer", addr_.text()).text("reason", why)
        .number("commands", commands_).number("duration_ms", (relay_.loop().now() - since_).count());
  relay_.ended(*this);
}

void Session::status(Json& json) const {
  const std::string_view pins[] = {"shared", "waiting", "command", "transaction", "own"};
  json.number("session", id_).text("client", addr_.text()).text("state", state_ == State::kOpen ? pins[static_cast<size_t>(pin_)] : "ending");
  json.number("age_ms", (relay_.loop().now() - since_).count()).number("commands", commands_).number("under_way", under_way_);
  json.number("queued_bytes", out_.size());
}

}  // namespace relay::redis

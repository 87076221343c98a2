// SPDX-License-Identifier: Apache-2.0
// Upstream: see the picture in upstream.h.
#include "kinds/redis/upstream.h"

#include <algorithm>
#include <cstring>

#include "kinds/redis/redis.h"
#include "lib/log.h"

namespace relay::redis {
namespace {

constexpr uint64_t kSharedQueue = 1024 * 1024;  // must hold the longest command that is shared
constexpr uint64_t kPrivateQueue = 128 * 1024;
constexpr size_t kLongestGreeting = 8 * 1024 * 1024;  // COMMAND's is some 250 KiB
constexpr int kRounds = 4;
constexpr std::string_view kLost = "connection to the server was lost; the command may have been executed";

std::string_view text_of(std::span<const std::byte> bytes) { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }

std::string first_line(std::string_view reply) {
  reply = reply.substr(0, reply.find('\r'));
  return std::string(reply.substr(reply.starts_with('-') ? 1 : 0));
}

}  // namespace

Upstream::Upstream(RedisRelay& relay, Session* owner)
    : relay_(relay), owner_(owner), private_(owner != nullptr), conn_(relay.loop(), *this), retry_(relay.loop(), *this), patience_(relay.loop(), *this),
      pause_(relay.config().dial.retry_min), queue_(owner != nullptr ? kPrivateQueue : kSharedQueue) {}

Upstream::~Upstream() = default;

// ---- coming and going

void Upstream::start() {
  if (state_ == State::kIdle) dial();
}

void Upstream::dial() {
  state_ = State::kDialing;
  if (!private_ && !patience_.armed()) patience_.arm(relay_.config().timeout);
  relay_.stats().add(Stat::kDials);
  dial_ = std::make_unique<Dial>(relay_.loop(), relay_.resolver(), relay_.config().dial, static_cast<DialUser&>(*this));
  dial_->start();
}

void Upstream::stop_dialing() {
  if (dial_ == nullptr) return;
  dial_->stop();
  // It may be calling.
  struct Grave final : Mortal {
    explicit Grave(std::unique_ptr<Dial> dead) : dial(std::move(dead)) {}
    std::unique_ptr<Dial> dial;
  };
  relay_.loop().bury(std::make_unique<Grave>(std::move(dial_)));
}

void Upstream::on_dialed(const Addr& to) {
  dial_->take(conn_);
  stop_dialing();
  if (conn_.tls() != nullptr) relay_.stats().add(Stat::kTlsHandshakes);
  if (log_enabled(Level::kDebug)) LogLine(Level::kDebug, "connected").text("relay", relay_.config().name).text("addr", to.text()).number("private", private_ ? 1 : 0);
  greet(false);
}

void Upstream::on_dial_failed(const Addr& to, const Status& why, unsigned round, Delay retry) {
  const std::string& details = dial_->details();
  if (!details.empty()) relay_.stats().add(Stat::kTlsHandshakeFailures);
  relay_.stats().add(Stat::kDialFailures);
  trouble_ = !details.empty() ? details : why.error() != 0 ? std::strerror(why.error()) : why.reason();
  LogLine(Level::kWarn, "dial-failed").text("relay", relay_.config().name).text("target", relay_.config().server.place.text()).text("addr", to.text())
      .text("error", trouble_).number("attempt", round).count("retry_ms", retry.count());
  relay_.failed(trouble_);
}

void Upstream::on_timer(Timer& timer) {
  if (&timer == &retry_) return dial();
  if (state_ == State::kGreeting) trouble_ = "it does not answer";
  give_up();
  if (state_ == State::kGreeting) lost(trouble_);  // whoever has a command next makes it try again
}

// Says who we are, and asks what must be known.
void Upstream::greet(bool reset) {
  const ServerUrl& server = relay_.config().server;
  const auto add = [this](Greeting what, std::initializer_list<std::string> words) {
    append_command(greeting_, std::vector<std::string>(words));
    greetings_.push_back(what);
  };
  if (reset) add(Greeting::kReset, {"RESET"});
  if (!server.password.empty() && server.user.empty()) add(Greeting::kAuth, {"AUTH", server.password});
  if (!server.password.empty() && !server.user.empty()) add(Greeting::kAuth, {"AUTH", server.user, server.password});
  if (server.db != "0") add(Greeting::kSelect, {"SELECT", server.db});
  if (!relay_.commands().learned()) add(Greeting::kCommand, {"COMMAND"});
  if (greetings_.empty()) return became_ready();
  state_ = State::kGreeting;
  write();
}

void Upstream::greeted(std::string_view reply) {
  const Greeting what = greetings_.front();
  greetings_.erase(greetings_.begin());
  const bool error = reply.starts_with('-');
  switch (what) {
    case Greeting::kReset:
      if (error) return end("no-reset");  // a server before 6.2
      break;
    case Greeting::kAuth:
    case Greeting::kSelect:
      if (!error) break;
      trouble_ = (what == Greeting::kAuth ? "the server refused the login: " : "the server refused the database: ") + first_line(reply);
      return lost(trouble_);
    case Greeting::kCommand:
      if (!error) static_cast<void>(relay_.commands().learn(reply));
      break;
  }
  if (greetings_.empty()) became_ready();
}

void Upstream::became_ready() {
  state_ = State::kReady;
  hopeless_ = false;
  patience_.disarm();
  if (!private_) {
    settle();
    write();
    return relay_.room();
  }
  if (owner_ != nullptr) return owner_->private_ready(*this);
  relay_.became_idle(*this);
}

void Upstream::release() {
  owner_ = nullptr;
  if (retired_ || !conn_.is_open()) return end("released");
  greet(true);
}

void Upstream::retire() {
  retired_ = true;
  if (owner_ == nullptr && owed() == 0) end("retired");
}

void Upstream::end(std::string_view) {
  if (state_ == State::kEnded) return;
  state_ = State::kEnded;
  owner_ = nullptr;
  stop_dialing();
  retry_.disarm();
  patience_.disarm();
  while (owed() > 0) pop();
  conn_.close();
  if (in_.owns_block()) in_.consume(in_.size());
  in_.release(relay_.loop().buffers());
  relay_.ended(*this);
}

// The connection is gone. What was owed on a shared one is sent again, or answered with an error.
void Upstream::lost(std::string_view why) {
  if (state_ == State::kEnded) return;
  trouble_ = why;
  const bool refused = state_ == State::kGreeting && trouble_.starts_with("the server refused");
  // A server that closes what nobody uses, or what has said QUIT, is within its rights.
  const Level level = owed() > 0 || refused ? Level::kWarn : Level::kInfo;
  const bool ours = finishing_;  // it does as we have asked
  if (!ours) LogLine(level, "server-lost").text("relay", relay_.config().name).text("target", relay_.config().server.place.text()).text("error", trouble_)
      .number("owed", owed());
  if (!ours) relay_.stats().add(Stat::kUpstreamsLost);
  if (!ours) relay_.failed(trouble_);
  conn_.close();
  if (in_.owns_block()) in_.consume(in_.size());
  in_.release(relay_.loop().buffers());
  greeting_.clear();
  greetings_.clear();
  reply_.clear();
  if (private_) {
    const bool in_a_reply = reader_.begun();
    if (Session* owner = owner_; owner != nullptr) {
      owner_ = nullptr;
      owner->private_lost(trouble_, in_a_reply);
    }
    return end("lost");
  }
  stuck_on_ = nullptr;
  keep_what_is_owed();
  reader_.next();
  settle();
  if (retired_ && owed() == 0) return end("retired");
  if (owed() == 0 && !refused) {
    state_ = State::kIdle;
    return;
  }
  state_ = State::kPausing;
  const auto jitter = static_cast<int64_t>(relay_.loop().random().below(static_cast<uint64_t>(pause_.count() / 2 + 1)));
  retry_.arm(std::max(Delay{1}, pause_ - Delay{jitter}));
  pause_ = std::min(pause_ * 2, relay_.config().dial.retry_max);
  if (refused) return give_up();
  if (!hopeless_ && !patience_.armed()) patience_.arm(relay_.config().timeout);
}

// What the server cannot have executed, because it has not had it whole, and what only reads, is kept for the next connection.
void Upstream::keep_what_is_owed() {
  Queue before = std::exchange(queue_, Queue(kSharedQueue));
  uint64_t at = before.read();
  std::vector<Entry> kept;
  for (size_t i = first_; i < entries_.size(); ++i) {
    Entry entry = entries_[i];
    const uint64_t begin = at;
    at += entry.size;
    if (entry.session == nullptr) continue;
    if (i == first_ && reader_.begun()) {
      entry.session->end("server-lost");  // it has had a part of the reply
      continue;
    }
    const bool unsent = at > sent_;
    if (!entry.failed && (unsent || entry.repeatable)) {
      uint64_t left = entry.size;
      for (const auto& span : before.from(begin)) {
        const auto piece = span.first(std::min<uint64_t>(left, span.size()));
        if (!append(text_of(piece))) break;  // it fitted before
        left -= piece.size();
      }
      if (!unsent) relay_.stats().add(Stat::kRepeated);
    } else if (!entry.failed) {
      relay_.stats().add(Stat::kLostCommands);
      entry.failed = true;
      entry.size = 0;
    }
    kept.push_back(entry);
  }
  relay_.stats().sub(Stat::kUnderWay, owed() - kept.size());
  entries_ = std::move(kept);
  first_ = 0;
  sent_ = queue_.read();
}

void Upstream::give_up() {
  hopeless_ = true;
  if (trouble_.empty()) trouble_ = "it does not answer";
  const std::string why = "cannot reach the server: " + trouble_;
  queue_ = Queue(kSharedQueue);
  sent_ = 0;
  while (owed() > 0) {
    const Entry entry = entries_[first_];
    pop();
    if (entry.session != nullptr) entry.session->deliver_error(entry.failed ? kLost : std::string_view(why));
  }
  relay_.flush_touched();
  relay_.room();
}

// ---- what goes to the server

bool Upstream::append(std::string_view bytes) {
  if (bytes.size() > queue_.bound() - queue_.size()) return false;
  while (!bytes.empty()) {
    if (!queue_.reserve()) return false;
    for (const auto& span : queue_.room()) {
      const size_t n = std::min(bytes.size(), span.size());
      std::memcpy(span.data(), bytes.data(), n);
      bytes.remove_prefix(n);
      queue_.commit(n);
      if (n < span.size()) break;
    }
  }
  return true;
}

bool Upstream::send(Session& session, std::string_view command, bool repeatable) {
  start();
  if (stuck() || !append(command)) {
    relay_.wait_for_room(session);
    return false;
  }
  entries_.push_back({&session, static_cast<uint32_t>(command.size()), repeatable, false});
  relay_.stats().add(Stat::kUnderWay);
  // In the next turn: then those of all clients that have something now go together.
  if (conn_.is_open() && !std::exchange(writing_, true)) conn_.again();
  return true;
}

void Upstream::begin() {
  if (opaque_) return;
  entries_.push_back({owner_, 0, false, false});
  relay_.stats().add(Stat::kUnderWay);
}

size_t Upstream::send_part(std::string_view bytes) {
  bytes = bytes.substr(0, queue_.bound() - queue_.size());
  if (!append(bytes)) return 0;
  if (conn_.is_open() && !std::exchange(writing_, true)) conn_.again();
  return bytes.size();
}

void Upstream::finish() {
  finishing_ = true;
  write();
}

void Upstream::write() {
  writing_ = false;
  if (!conn_.is_open()) return;
  while (!greeting_.empty() && conn_.writable()) {
    const Result<size_t> n = conn_.write(std::as_bytes(std::span(greeting_)));
    if (!n.ok()) break;  // what it is, the next read says
    greeting_.erase(0, *n);
  }
  if (state_ != State::kReady) return;
  while (sent_ < queue_.written() && conn_.writable()) {
    const Queue::Spans spans = queue_.from(sent_);
    const iovec parts[] = {{spans[0].data(), spans[0].size()}, {spans[1].data(), spans[1].size()}};
    const Result<size_t> n = conn_.write(std::span(parts).first(spans[1].empty() ? 1 : 2));
    if (!n.ok()) break;
    sent_ += *n;
    if (private_) queue_.consume(*n);
  }
  if (finishing_ && sent_ == queue_.written()) static_cast<void>(conn_.shutdown_write());
}

// ---- what comes from it

void Upstream::on_ready(Conn&) {
  const bool full = private_ && queue_.full();
  write();
  if (full && !queue_.full() && owner_ != nullptr) owner_->resume();
  if (state_ != State::kEnded) read();
}

void Upstream::read() {
  relay_.batch();
  BufferPool& pool = relay_.loop().buffers();
  for (int round = 0; round < kRounds && conn_.is_open() && !stuck(); ++round) {
    if (in_.empty()) {
      if (!conn_.readable()) break;
      if (!in_.borrow(pool)) {
        lost("out of memory");
        break;
      }
      const Result<size_t> n = conn_.read(in_.room());
      if (!n.ok()) {
        in_.release(pool);
        if (n.status().code() == Code::kAgain) break;
        lost(n.status().code() == Code::kEof ? "closed by the server" : n.status().error() != 0 ? std::strerror(n.status().error()) : n.status().reason());
        break;
      }
      in_.commit(*n);
    }
    while (!in_.empty() && conn_.is_open()) {
      if (!take(in_.data())) break;
    }
    if (in_.empty()) in_.release(pool);
  }
  relay_.flush_touched();
  if (!private_) relay_.room();
  if (conn_.is_open() && conn_.readable() && !stuck()) conn_.again();
}

// False: no more can be taken now.
bool Upstream::take(std::span<const std::byte> bytes) {
  const size_t n = state_ == State::kGreeting ? take_greeting(bytes) : opaque_ ? take_opaque(bytes) : take_reply(bytes);
  if (n == 0) return false;
  if (in_.owns_block()) in_.consume(std::min(n, in_.size()));  // what was taken may have ended all of this
  return true;
}

size_t Upstream::take_greeting(std::span<const std::byte> bytes) {
  const Result<size_t> n = reader_.feed(bytes);
  if (!n.ok() || reply_.size() + *n > kLongestGreeting) {
    lost("it does not speak RESP");
    return 0;
  }
  reply_.append(text_of(bytes.first(*n)));
  const size_t taken = *n;
  if (!reader_.done()) return taken;
  reader_.next();
  const std::string reply = std::move(reply_);
  reply_.clear();
  greeted(reply);
  return taken;
}

size_t Upstream::take_opaque(std::span<const std::byte> bytes) {
  if (owner_ == nullptr) return bytes.size();
  const size_t room = owner_->room();
  if (room == 0) {
    stuck_on_ = owner_;
    owner_->hold_up(*this);
    return 0;
  }
  bytes = bytes.first(std::min(room, bytes.size()));
  owner_->deliver(bytes);
  return bytes.size();
}

size_t Upstream::take_reply(std::span<const std::byte> bytes) {
  if (owed() == 0) {
    // A last word, such as that it is full.
    lost(bytes.front() == std::byte{'-'} ? first_line(text_of(bytes)) : "a reply that nobody has asked for");
    return 0;
  }
  Session* session = entries_[first_].session;
  if (session != nullptr) {
    const size_t room = session->room();
    if (room == 0) {
      stuck_on_ = session;
      session->hold_up(*this);
      return 0;
    }
    bytes = bytes.first(std::min(room, bytes.size()));
  }
  const Result<size_t> n = reader_.feed(bytes);
  if (!n.ok()) {
    lost(n.status().reason());
    return 0;
  }
  if (session != nullptr) session->deliver(bytes.first(*n));
  if (reader_.done()) answered();
  return *n;
}

void Upstream::pop() {
  relay_.stats().sub(Stat::kUnderWay);
  if (++first_ < entries_.size()) {
    if (first_ < 4096) return;
    entries_.erase(entries_.begin(), entries_.begin() + static_cast<std::ptrdiff_t>(first_));
  } else {
    entries_.clear();
  }
  first_ = 0;
}

void Upstream::answered() {
  const Entry entry = entries_[first_];
  pop();
  reader_.next();
  pause_ = relay_.config().dial.retry_min;
  if (!private_) queue_.consume(entry.size);
  if (entry.session != nullptr) entry.session->replied();
  if (state_ == State::kEnded) return;
  settle();
  if (retired_ && owed() == 0 && owner_ == nullptr) end("retired");
}

// Those that were lost, as far as it is their turn.
void Upstream::settle() {
  while (owed() > 0 && entries_[first_].failed) {
    Session* session = entries_[first_].session;
    pop();
    if (session != nullptr) session->deliver_error(kLost);
  }
}

void Upstream::forget(Session& session) {
  for (size_t i = first_; i < entries_.size(); ++i)
    if (entries_[i].session == &session) entries_[i].session = nullptr;
  if (stuck_on_ == &session) resume();
}

void Upstream::resume() {
  stuck_on_ = nullptr;
  if (conn_.is_open()) conn_.again();
}

void Upstream::make_opaque() {
  opaque_ = true;
  while (owed() > 0) pop();
}

void Upstream::status(Json& json) const {
  const std::string_view names[] = {"idle", "dialing", "pausing", "greeting", "ready", "ended"};
  json.text("state", names[static_cast<size_t>(state_)]).flag("private", private_).number("owed", owed()).number("queued_bytes", queue_.size());
}

}  // namespace relay::redis

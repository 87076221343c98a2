// SPDX-License-Identifier: Apache-2.0
// Session: see the picture in session.h. Everything that happens to a client ends in process(), which goes on with its commands as far as
// it can, and says in waits_ that it cannot. Where a command goes is in dispatch.cpp.
#include "kinds/redis/session.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "kinds/redis/redis.h"
#include "lib/log.h"

namespace relay::redis {
namespace {

constexpr uint64_t kOut = 256 * 1024;      // replies that the client has not taken
constexpr uint64_t kReserve = 4 * 1024;    // of that, for words of our own
constexpr uint64_t kEnough = 64 * 1024;    // so many, and no more of its commands are taken
constexpr uint64_t kMostParked = uint64_t{64} << 20;
constexpr size_t kMuch = 16 * 1024;        // of a client's bytes: they keep the block that they are in
constexpr int kRounds = 4;
constexpr Delay kLastWords{5000};
constexpr Delay kQuietDrain{1000};
constexpr std::string_view kRefusals[] = {"-EXECABORT", "-ERR EXEC without", "-ERR DISCARD without"};

}  // namespace

Session::Session(RedisRelay& relay, uint32_t id, Handle handle)
    : relay_(relay), client_(relay.loop(), *this), timer_(relay.loop(), *this), out_(kOut), setting_(relay.setting()), since_(relay.loop().now()), last_taken_(since_), id_(id),
      handle_(handle) {
  setting_.login = {};  // the relay's own, until it says who it is
}

Session::~Session() = default;

Session& Session::make(RedisRelay& relay, uint32_t id, Handle handle) {
  auto session = std::make_unique<Session>(relay, id, handle);
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

// What is not done with is kept in a block only while it is worked on: a client that says half a command owns what it has said. More
// than a little stays where it is, or waiting for room would be copying.
void Session::load() {
  if (in_.owns_block()) return;
  if (!in_.borrow(relay_.loop().buffers())) return end("no-memory");
  if (rest_.empty()) return;
  std::memcpy(in_.room().data(), rest_.data(), rest_.size());
  in_.commit(rest_.size());
  rest_ = {};
}

void Session::store() {
  if (!in_.owns_block() || (state_ == State::kOpen && in_.size() >= kMuch)) return;
  if (!in_.empty() && state_ == State::kOpen) rest_.assign(text_of(in_.data()));
  in_.consume(in_.size());
  in_.release(relay_.loop().buffers());
}

void Session::on_ready(Conn&) {
  if (state_ == State::kEnded) return;
  last_taken_ = holds_others() ? last_taken_ : relay_.loop().now();
  write();
  if (waits_) process();
  else if (ended_in_ && state_ == State::kOpen) no_more();
  if (state_ == State::kOpen) read();
  look_for_end();
}

// While it is not read, for what it has said is not done with, its end shows here.
void Session::look_for_end() {
  if (state_ != State::kOpen || !waits_) return;
  if (client_.broken()) return end("client-reset");
  if (client_.finished() && (pin_ == Pin::kCommand || pin_ == Pin::kTransaction) && blocking_ && !ended_in_) {
    ended_in_ = true;  // what is behind a command that waits is not done any more, by the server neither: be it half sent
    lease_->finish();
  }
}

void Session::read() {
  if (pin_ == Pin::kNone && in_.empty() && rest_.empty() && client_.readable() && relay_.crowded()) {
    waits_ = true;  // what it says is as well kept by the kernel
    return relay_.wait_for_room(*this);
  }
  for (int round = 0; round < kRounds && state_ == State::kOpen && client_.readable() && !ended_in_ && !waits_ && unsaid() <= kEnough; ++round) {
    load();
    if (state_ != State::kOpen) return;
    if (in_.room().size() < BufferPool::kBlock / 2) in_.compact();
    if (in_.room().empty()) {
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
  if (state_ == State::kOpen && client_.readable() && !ended_in_ && !waits_ && out_.size() <= kEnough) client_.again();
}

void Session::process() {
  if (state_ != State::kOpen) return;
  load();
  if (state_ == State::kOpen) process_loaded();
  store();
  if (!out_.empty()) write();
  if (state_ == State::kOpen && client_.readable() && !waits_) client_.again();
  look_for_end();
}

void Session::resume() {
  if (waits_) process();
}

// No more of its commands are looked at for now.
bool Session::is_held() const {
  return pin_ == Pin::kWaiting || (pin_ == Pin::kCommand && !blocking_) || ending_ || adopting_ != nullptr || under_way() >= relay_.config().pipeline ||
         unsaid() + parked_bytes_ > kEnough;
}

void Session::process_loaded() {
  waits_ = false;
  while (state_ == State::kOpen && !waits_) {
    if (complaint_ != nullptr) {  // no more is read; the replies to what was said before come first
      if (under_way() == 0) refuse(*complaint_);
      waits_ = true;
    } else if (pin_ == Pin::kLife && encoded_.empty()) {
      if (!pass_on()) break;
    } else if (streaming_) {
      if (!stream()) break;
    } else if (const bool held = is_held(); !held && !frame()) {
      if (complaint_ == nullptr) break;
    } else if (held || !dispatch()) {
      waits_ = true;
    }
  }
  if (ended_in_ && state_ == State::kOpen) no_more();
}

// The client has finished, and what it has said before is done with, or will never be.
void Session::no_more() {
  const bool half = streaming_ && !waits_;  // of a command of which the rest will not come
  const bool for_long = (pin_ == Pin::kLife && !waits_) || (pin_ == Pin::kTransaction && (!waits_ || blocking_));
  const bool all_said = half || for_long || (pin_ == Pin::kCommand && blocking_ && !streaming_);
  if (all_said && lease_ != nullptr) return lease_->finish();  // as with the server itself, which then stops waiting
  if (pin_ == Pin::kNone && !waits_ && under_way() == 0) close_when_said("client-closed");
}

// Whether there is a command: a whole one, or as much of one as is gathered, or goes into a block.
bool Session::frame() {
  while (!reader_.done()) {
    const auto data = in_.data().subspan(fed_);
    const bool full = data.empty() && fed_ == BufferPool::kBlock;
    if ((full || (gathering_ && data.empty())) && !reader_.is_inline()) {
      if (gather()) {
        if (in_.empty() && !full) return false;
        continue;
      }
      if (full || too_long_) return true;
    }
    if (data.empty() && !full) return false;
    if (!feed(data, full)) return false;
  }
  return true;
}

// False: what comes is no command.
bool Session::feed(std::span<const std::byte> data, bool full) {
  const Result<size_t> n = full ? Status{Code::kInvalid, "Protocol error: too big inline request"} : reader_.feed(data);
  if (!n.ok()) {
    complaint_ = std::make_unique<const std::string>(reader_.complaint(n.status()));
    stop_gathering();
    return false;
  }
  fed_ += *n;
  if (reader_.done() && gathering_) static_cast<void>(gather());
  if (reader_.done() && reader_.argc() == 0 && !reader_.is_inline()) consumed();
  return true;
}

// A command that is longer than a block, and that may be answered early, or packed, is gathered whole, as far as there is room for such.
bool Session::gather() {
  if (too_long_ || (!gathering_ && !(pin_ == Pin::kNone ? relay_.gathers(word(0)) : relay_.packs(word(0))))) return false;
  if (!relay_.may_gather(encoded_.size(), fed_)) {
    too_long_ = true;
    return false;
  }
  gathering_ = true;
  encoded_.append(text_of(in_.data()).substr(0, fed_));
  in_.consume(fed_);
  fed_ = 0;
  return true;
}

void Session::stop_gathering() {
  if (std::exchange(gathering_, false)) relay_.gathered(encoded_.size());
  too_long_ = false;
  encoded_ = {};
  encoded_sent_ = 0;
}

// The command at the front has been taken care of.
void Session::consumed() {
  in_.consume(fed_);
  fed_ = 0;
  if (!encoded_.empty()) stop_gathering();
  marked_ = packed_ = rewritten_ = false;
  spool_mark_.reset();
  since_waiting_ = {};
  reader_.next();
}

std::string_view Session::bytes() const { return encoded_.empty() ? text_of(in_.data()).substr(0, fed_) : std::string_view(encoded_); }

std::string_view Session::word(size_t index) const {
  if (reader_.is_inline() || rewritten_) return index < args().size() ? args()[index] : std::string_view();
  const auto known = reader_.args();
  const std::string_view all = bytes();
  if (index >= known.size() || size_t{known[index].at} + known[index].size > all.size()) return {};
  return all.substr(known[index].at, known[index].size);
}

// REQUIRES: a whole command. Valid until the next call, by whomever.
const std::vector<std::string_view>& Session::args() const {
  split_command(bytes(), relay_.scratch());
  return relay_.scratch();
}

// ---- replies

void Session::answer(std::string_view text) {
  relay_.loop().expect_soon();
  if (under_way() == 0) return say(text);
  parked_[next_++] = {std::string(text), true};
  parked_bytes_ += text.size();
}

size_t Session::room(uint32_t seq) {
  if (seq != head_ || is_parked(head_)) return kMostParked - std::min(parked_bytes_, kMostParked) + 1;  // beyond that it ends
  return room_of_head();
}

size_t Session::room_to_say() const {
  const uint64_t most = kOut - kReserve;
  return unsaid() >= most ? 0 : static_cast<size_t>(most - unsaid());
}

bool Session::is_parked(uint32_t seq) const { return !parked_.empty() && parked_.begin()->first == seq; }

// A piece of a reply has come. Whether it is its turn.
bool Session::begin_piece(uint32_t seq, std::string_view text) {
  if (adopting_ != nullptr && adopting_->seq == seq && adopting_->first == 0) adopting_->first = text.front();
  if (ending_ && under_way() == 1 && head_text_.size() < 32) head_text_.append(text.substr(0, 32));
  return seq == head_ && !is_parked(seq);
}

void Session::park(uint32_t seq, std::string_view text) {
  parked_[seq].text.append(text);
  parked_bytes_ += text.size();
  if (parked_bytes_ > kMostParked) end("too-many-replies");
}

void Session::deliver(uint32_t seq, std::string_view text) {
  if (state_ != State::kOpen || text.empty()) return;
  if (begin_piece(seq, text) && text.size() <= room_of_head()) {  // errors come without asking for room
    say_reply(text);
  } else {
    park(seq, text);
    if (seq == head_) flush_parked();
  }
  relay_.touch(*this);
}

void Session::pass(uint32_t seq, std::string_view text) {
  if (state_ != State::kOpen || text.empty()) return;
  if (!begin_piece(seq, text)) park(seq, text);
  else if (unpacking_ != nullptr && unpacking_->wants(seq)) say_reply(text);
  else if (!lend(text)) say(text);
  relay_.touch(*this);
}

void Session::pass_raw(std::string_view text) {
  if (!lend(text)) say(text);
  relay_.touch(*this);
}

// Replies that follow each other go out as one piece. False: it must be copied.
bool Session::lend(std::string_view text) {
  if (!relay_.batching() || state_ != State::kOpen || !out_.empty() || !client_.writable()) return false;
  if (!lent_.empty() && lent_.data() + lent_.size() != text.data()) return false;
  lent_ = lent_.empty() ? text : std::string_view(lent_.data(), lent_.size() + text.size());
  return true;
}

void Session::replied(uint32_t seq) {
  if (state_ == State::kEnded) return;
  relay_.touch(*this);
  if (adopting_ != nullptr && adopting_->seq == seq) adopted();
  if (seq != head_ || is_parked(seq) || (unpacking_ != nullptr && !unpacking_->ready().empty())) {
    parked_[seq].done = true;
    if (seq != head_) return;
  } else {
    next_head();
  }
  flush_parked();
  if (under_way() == 0) all_answered();
}

// As far as it is their turn, and there is room.
void Session::flush_parked() {
  while (say_ready() && is_parked(head_) && state_ == State::kOpen) {
    Parked& first = parked_.begin()->second;
    if (first.said < first.text.size()) {
      const size_t n = std::min(room_of_head(), first.text.size() - first.said);
      if (n == 0) return;
      say_reply(std::string_view(first.text).substr(first.said, n));
      parked_bytes_ -= n;
      first.said += n;
      continue;
    }
    first.text.clear();
    first.said = 0;
    if (!first.done) return;
    parked_.erase(parked_.begin());
    next_head();
  }
}

void Session::next_head() {
  if (unpacking_ != nullptr) unpacking_->ended(head_);
  ++head_;
}

// A part of a reply that several servers give.
void Session::deliver(const Lane::Entry& entry, std::string_view text) {
  if (entry.part == 0) return deliver(entry.seq, text);
  Joint* whole = joint(entry.seq);
  if (whole == nullptr || state_ != State::kOpen) return;
  whole->replies[entry.part - 1].append(text);
  parked_bytes_ += text.size();
  if (parked_bytes_ > kMostParked) end("too-many-replies");
}

void Session::pass(const Lane::Entry& entry, std::string_view text) { entry.part == 0 ? pass(entry.seq, text) : deliver(entry, text); }

void Session::replied(const Lane::Entry& entry) {
  if (entry.part == 0) return replied(entry.seq);
  Joint* whole = joint(entry.seq);
  if (whole != nullptr && --whole->left == 0) joined(entry.seq);
}

void Session::deliver_error(const Lane::Entry& entry, std::string_view text) {
  if (entry.part == 0) return deliver_error(entry.seq, text);
  relay_.stats().add(Stat::kErrors);
  deliver(entry, "-ERR relay: " + std::string(text) + "\r\n");
  replied(entry);
}

bool Session::retract(const Lane::Entry& entry) {
  if (entry.part == 0) return retract(entry.seq);
  if (Joint* whole = joint(entry.seq); whole != nullptr) {
    parked_bytes_ -= whole->replies[entry.part - 1].size();
    whole->replies[entry.part - 1].clear();
  }
  return true;
}

void Session::all_answered() {
  if (pin_ == Pin::kCommand && !streaming_) return unpin();
  if (pin_ != Pin::kTransaction || !ending_ || streaming_) return;
  // A refusal (by an ACL, say) leaves the transaction open.
  const bool over =
      !head_text_.starts_with('-') || std::any_of(std::begin(kRefusals), std::end(kRefusals), [this](auto text) { return head_text_.starts_with(text); });
  ending_ = false;
  head_text_.clear();
  if (over) unpin();
}

void Session::deliver_error(uint32_t seq, std::string_view text) {
  relay_.stats().add(Stat::kErrors);
  deliver(seq, "-ERR relay: " + std::string(text) + "\r\n");
  replied(seq);
}

void Session::spool_answer(uint32_t seq, std::string_view text) {
  if (state_ == State::kEnded) return;
  --spool_owes_;
  deliver(seq, text);
  replied(seq);
}

bool Session::retract(uint32_t seq) {
  if (seq == head_) return false;
  if (const auto at = parked_.find(seq); at != parked_.end()) {
    parked_bytes_ -= at->second.text.size() - at->second.said;
    parked_.erase(at);
  }
  return true;
}

void Session::say(std::string_view text) {
  if (text.empty() || state_ != State::kOpen) return;
  if (!lent_.empty()) put(std::exchange(lent_, {}));
  if (state_ == State::kOpen) put(text);
  relay_.touch(*this);
}

void Session::put(std::string_view text) {
  if (text.size() > out_.bound() - out_.size()) return end("stalled");
  out_.lend(relay_.spare_ring());
  if (!out_.reserve(text.size())) return end("no-memory");
  for (const auto& span : out_.room()) {
    const size_t n = std::min(text.size(), span.size());
    if (n > 0) std::memcpy(span.data(), text.data(), n);
    text.remove_prefix(n);
    out_.commit(n);
  }
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

// What of it the client does not take now is copied.
void Session::write_lent() {
  std::string_view rest = std::exchange(lent_, {});
  while (!rest.empty() && client_.writable()) {
    const Result<size_t> n = client_.write(std::as_bytes(std::span(rest)));
    if (n.ok()) rest.remove_prefix(*n);
    else if (n.status().code() != Code::kAgain) return end("client-reset");
    last_taken_ = relay_.loop().now();
  }
  if (!rest.empty()) put(rest);
}

void Session::write() {
  if (!lent_.empty()) write_lent();
  if (state_ == State::kEnded) return;
  while (!out_.empty() && client_.writable()) {
    const Queue::Spans spans = out_.front();
    const iovec parts[] = {{spans[0].data(), spans[0].size()}, {spans[1].data(), spans[1].size()}};
    const Result<size_t> n = client_.write(std::span(parts).first(spans[1].empty() ? 1 : 2));
    if (!n.ok()) {
      if (n.status().code() == Code::kAgain) break;
      return end("client-reset");
    }
    out_.advance(*n);
    out_.trim(relay_.spare_ring());
    last_taken_ = relay_.loop().now();
    if (say_ready() && !is_parked(head_)) continue;
    flush_parked();
    if (under_way() == 0 && state_ == State::kOpen) all_answered();
  }
  const bool enough = out_.size() <= kEnough && (unpacking_ == nullptr || unpacking_->ready().empty());
  if (holds_up_ != UINT32_MAX && enough) relay_.resume(std::exchange(holds_up_, UINT32_MAX));
  if (holds_up_lease_ && enough && lease_ != nullptr) {
    holds_up_lease_ = false;
    lease_->resume();
  }
  if (state_ == State::kClosing && out_.empty() && !client_.holds_bytes()) end(why_);
}

void Session::hold_up(const Lane& lane) {
  holds_up_ = lane.id();
  schedule();
}

void Session::hold_up(Lease&) {
  holds_up_lease_ = true;
  schedule();
}

// ---- limits and the end

// It does not read, and others want the connection over which its replies come. One that is its own for good is nobody else's.
bool Session::holds_others() const { return holds_up_ != UINT32_MAX || (holds_up_lease_ && pin_ != Pin::kLife); }

// Its connection owes a reply, and to nothing that waits.
bool Session::is_due() const { return (pin_ == Pin::kCommand || pin_ == Pin::kTransaction) && !blocking_ && under_way() > 0; }

void Session::schedule() {
  const RedisConfig& config = relay_.config();
  if (state_ == State::kClosing) timer_.arm(kLastWords);
  else if (pin_ == Pin::kWaiting) timer_.arm(config.timeout);
  else if (holds_others()) timer_.arm(config.stall_timeout);
  else if (pin_ == Pin::kNone && since_waiting_ != Time{}) timer_.arm(kLook);
  else if (relay_.draining()) timer_.arm(kQuietDrain);
  else if (is_due()) timer_.arm(streaming_ ? config.timeout : config.timeout - std::min(config.timeout - Delay{1}, relay_.loop().now() - lease_->moved()));
}

void Session::on_timer(Timer&) {
  const Time now = relay_.loop().now();
  const RedisConfig& config = relay_.config();
  if (state_ == State::kClosing) return end(why_);
  if (pin_ == Pin::kWaiting && now - since_waiting_ >= config.timeout) {
    gave_up(lease_ == nullptr ? "all connections to the server are in use (maxConnections)" : "cannot reach the server: " + lease_->trouble());
    return relay_.flush_touched();
  }
  if (pin_ == Pin::kNone && since_waiting_ != Time{} && !holds_others()) return process();
  if (holds_others() && now - last_taken_ >= config.stall_timeout) {
    relay_.stats().add(Stat::kStalled);
    return end("stalled");
  }
  // While a command is on its way the server is silent only if it does not take what there is of it.
  if (is_due() && (!streaming_ || waits_) && !holds_up_lease_ && now - lease_->moved() >= config.timeout) return lease_->fail(Lease::kSilent);
  const bool due = under_way() > 0 && pin_ != Pin::kLife;  // a reply
  if (relay_.draining() && !due && now - last_taken_ >= kQuietDrain) return end("drained");
  schedule();
}

void Session::drain() {
  const auto quiet = [this] { return state_ == State::kOpen && pin_ == Pin::kNone && under_way() == 0 && rest_.empty() && in_.empty() && out_.empty() && !gathering_ && !waits_; };
  if (quiet()) {
    client_.try_reading();  // what came in this very turn was accepted too
    read();
    if (quiet()) return end("drained");
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
  lent_ = {};
  timer_.disarm();
  stop_gathering();
  if (pin_ != Pin::kNone) relay_.stats().sub(Stat::kPinned);
  end_aside();
  if (pin_ == Pin::kWaiting) relay_.cancel(*this);
  if (Lease* lease = std::exchange(lease_, nullptr); lease != nullptr) lease->end("client-closed");
  if (holds_up_ != UINT32_MAX) relay_.resume(std::exchange(holds_up_, UINT32_MAX));
  if (why == "client-reset" || why == "stalled" || why == "no-memory" || why == "too-many-replies") client_.reset();
  else client_.close();
  if (log_enabled(Level::kDebug))
    LogLine(Level::kDebug, "client-end").text("relay", relay_.config().name).number("session", id_).text("peer", addr_.text()).text("reason", why)
        .number("commands", commands_).number("duration_ms", (relay_.loop().now() - since_).count());
  relay_.ended(*this);
}

void Session::status(Json& json) const {
  const std::string_view pins[] = {"shared", "waiting", "command", "transaction", "own"};
  json.number("session", id_).text("client", addr_.text()).text("state", state_ == State::kOpen ? pins[static_cast<size_t>(pin_)] : "ending");
  json.number("age_ms", (relay_.loop().now() - since_).count()).number("commands", commands_).number("under_way", under_way());
  json.number("db", setting_.db).number("protocol", setting_.protocol).text("name", setting_.name).number("queued_bytes", out_.size() + parked_bytes_);
}

}  // namespace relay::redis

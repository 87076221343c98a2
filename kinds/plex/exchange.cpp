// SPDX-License-Identifier: Apache-2.0
// Exchange: see the picture in exchange.h.
#include "kinds/plex/exchange.h"

#include <algorithm>
#include <array>
#include <cinttypes>
#include <cstdio>
#include <cstring>
#include <optional>
#include <utility>

#include "lib/json.h"
#include "lib/log.h"

namespace relay::plex {
namespace {

constexpr int kRounds = 4;
constexpr uint64_t kLeastAnswer = 65536;  // HELLO's has a list of modules in it
constexpr size_t kErrorMost = 200;
constexpr uint64_t kPassedMost = uint64_t{2} << 30;  // bytes: more than any instance may have for its longest message
constexpr std::string_view kExpires = "30";  // seconds: three times kRefresh

std::string first_line(std::string_view reply) {
  reply = reply.substr(reply.starts_with('-') ? 1 : 0);
  return std::string(reply.substr(0, std::min(reply.find('\r'), kErrorMost)));
}

// It may be otherwise a little later.
bool is_for_now(std::string_view error) {
  return error.starts_with("-LOADING ") || error.starts_with("-BUSY ") || error.starts_with("-MASTERDOWN ") || error.starts_with("-ERR max number of clients reached");
}

std::string words_of(const Status& why) { return why.error() != 0 ? std::strerror(why.error()) : why.reason(); }

// The text that a map has for `key`.
std::string_view find_text(std::string_view map, std::string_view key) {
  const auto head = take_token(map);
  if (!head || head->type != '%') return {};
  for (int64_t left = head->number; left > 0; --left) {
    const auto name = take_token(map);
    if (!name) return {};
    if (name->text != key) {
      if (!skip_value(map)) return {};
      continue;
    }
    const auto value = take_token(map);
    return value ? value->text : std::string_view();
  }
  return {};
}

}  // namespace

Exchange::Exchange(Loop& loop, Resolver& resolver, ExchangeUser& user)
    : loop_(loop), resolver_(resolver), user_(user), conn_(loop, *this), timer_(loop, *this), refresh_(loop, *this) {}

Exchange::~Exchange() {
  uint64_t given = 0;
  static_cast<void>(shut(given));
}

std::string_view Exchange::name_of(State state) {
  switch (state) {
    case State::kClosed: return "closed";
    case State::kPause: return "down";
    case State::kDialing: return "dialing";
    case State::kGreeting:
    case State::kSubscribing: return "greeting";
    case State::kUp: return "up";
  }
  return {};
}

// ---- coming and going

void Exchange::start(ExchangePlan plan, uint64_t tag) {
  close();
  plan_ = std::move(plan);
  CHECK(plan_.prefix.size() <= kPrefixMost && plan_.queue > plan_.message + kEnvelope);
  char text[17];
  std::snprintf(text, sizeof text, "%012" PRIx64, tag);
  tag_ = text;
  own_ = plan_.prefix + ':' + tag_;
  all_ = plan_.prefix + ":all";
  key_ = plan_.prefix + ":instance:" + tag_;
  pause_ = Delay{0};
  trouble_.clear();
  dial();
}

void Exchange::change(ExchangePlan plan) {
  plan.about = std::move(plan_.about);  // of the start
  plan_ = std::move(plan);
  CHECK(plan_.queue > plan_.message + kEnvelope);
  if (conn_.is_open()) out_.set_bound(std::max(bound(), out_.size() + kOwn));
  if (state_ == State::kUp) timer_.arm(Delay{0});  // for another time-out
}

uint64_t Exchange::bound() const { return plan_.queue + kOwn + plan_.user.size() + plan_.password.size() + plan_.about.size(); }

void Exchange::dial() {
  state_ = State::kDialing;
  dial_ = std::make_unique<Dial>(loop_, resolver_, plan_.dial, static_cast<DialUser&>(*this));
  dial_->start();
}

void Exchange::on_dialed(const Addr&) {
  dial_->take(conn_);
  Dial::let_go(dial_);
  state_ = State::kGreeting;
  out_ = Queue(bound());
  timer_.arm(plan_.timeout);
  heard_at_ = loop_.now();
  const std::string& user = plan_.user.empty() ? std::string("default") : plan_.user;
  if (plan_.password.empty()) ask(What::kHello, {"HELLO", "3", "SETNAME", own_});
  else ask(What::kHello, {"HELLO", "3", "AUTH", user, plan_.password, "SETNAME", own_});
}

void Exchange::on_dial_failed(const Addr& to, const Status& why, unsigned round, Delay retry) {
  trouble_ = !dial_->details().empty() ? dial_->details() : words_of(why);
  LogLine(Level::kWarn, "dial-failed").text("relay", plan_.relay).text("target", to.family == Addr::Family::kNone ? plan_.dial.target.text() : to.text())
      .text("error", trouble_).number("round", round).number("retry_ms", retry.count());
  if (retry.count() > 0) user_.on_exchange_down(false, trouble_);
}

Delay Exchange::next_pause(bool slowly) {
  pause_ = slowly ? plan_.dial.retry_max : pause_.count() == 0 ? plan_.dial.retry_min : std::min(pause_ * 2, plan_.dial.retry_max);
  return pause_ - Delay{static_cast<int64_t>(loop_.random().below(static_cast<uint64_t>(pause_.count()) / 2 + 1))};
}

// Leaves nothing of the connection but what it owes, of which Redis can have had what ends before `given`.
std::deque<Exchange::Asked> Exchange::shut(uint64_t& given) {
  ++epoch_;
  Dial::let_go(dial_);
  timer_.disarm();
  refresh_.disarm();
  conn_.close();
  given = out_.read();
  out_.consume(out_.size());
  if (in_.owns_block()) in_.consume(in_.size());
  if (!reading_) in_.release(loop_.buffers());
  reader_.next();
  reply_ = {};
  channels_ = 0;
  publishing_ = 0;
  pinging_ = enrolling_ = enrol_refused_ = passing_over_ = blocked_ = false;
  return std::exchange(asked_, {});
}

// A command that Redis has not had to its end is not done.
void Exchange::tell(const std::deque<Asked>& asked, uint64_t given) {
  for (const Asked& one : asked)
    if (one.cookie != 0) user_.on_exchange_published(one.cookie, one.end > given ? Outcome::kNobody : Outcome::kUnknown);
}

void Exchange::close() {
  if (state_ == State::kClosed) return;
  if (state_ == State::kUp && out_.reserve(kOwn / 2)) {  // not worth waiting for: the key expires
    ask(What::kRegister, {"DEL", key_});
    write();
  }
  uint64_t given = 0;
  const std::deque<Asked> asked = shut(given);
  state_ = State::kClosed;
  tell(asked, given);
}

void Exchange::lost(std::string_view why, bool slowly) {
  const bool was_up = state_ == State::kUp;
  if (was_up && loop_.now() - up_at_ >= plan_.dial.retry_max) pause_ = Delay{0};
  const Delay pause = next_pause(slowly);
  trouble_ = why;
  LogLine(Level::kWarn, "route-lost").text("relay", plan_.relay).text("server", plan_.dial.target.text()).text("error", trouble_).count("unanswered", publishing_)
      .number("retry_ms", pause.count());
  uint64_t given = 0;
  const std::deque<Asked> asked = shut(given);
  state_ = State::kPause;
  timer_.arm(pause);
  const uint64_t epoch = epoch_;
  tell(asked, given);
  if (epoch == epoch_) user_.on_exchange_down(was_up, trouble_);
}

void Exchange::on_timer(Timer& timer) {
  if (&timer == &refresh_) return enrol();
  switch (state_) {
    case State::kPause: return dial();
    case State::kGreeting:
    case State::kSubscribing: return lost("it has not answered within route-timeout");
    case State::kUp: return look_alive();
    case State::kClosed:
    case State::kDialing: return;
  }
}

// Whatever it says counts; who says nothing is asked, and has as long again.
void Exchange::look_alive() {
  const Delay silent = loop_.now() - heard_at_;
  if (silent < plan_.timeout) return timer_.arm(plan_.timeout - silent);
  if (pinging_) return lost("it is silent");
  pinging_ = true;
  timer_.arm(plan_.timeout);
  ask(What::kPing, {"PING"});
}

void Exchange::enrol() {
  refresh_.arm(kRefresh);
  if (enrolling_) return;
  enrolling_ = true;
  ask(What::kRegister, {"SET", key_, plan_.about, "EX", kExpires});
}

// ---- what we say

// REQUIRES: there is room.
void Exchange::put(std::span<const std::byte> bytes) {
  for (const auto& room : out_.room()) {
    const size_t n = std::min(room.size(), bytes.size());
    if (n == 0) continue;
    std::memcpy(room.data(), bytes.data(), n);
    out_.commit(n);
    bytes = bytes.subspan(n);
  }
}

void Exchange::ask(What what, std::initializer_list<std::string_view> words) {
  head_.clear();
  append_command(head_, words);
  if (!out_.reserve(head_.size())) return lost("out of memory");
  put(std::as_bytes(std::span(head_)));
  asked_.push_back({0, out_.written(), what});
  conn_.again();
}

bool Exchange::publish(uint64_t tag, Parts parts, uint64_t cookie) {
  char channel[kPrefixMost + 24];
  const int n = std::snprintf(channel, sizeof channel, "%s:%012" PRIx64, plan_.prefix.c_str(), tag);
  return publish_to({channel, static_cast<size_t>(n)}, parts, cookie);
}

bool Exchange::publish_all(Parts parts, uint64_t cookie) { return publish_to(all_, parts, cookie); }

bool Exchange::publish_to(std::string_view channel, Parts parts, uint64_t cookie) {
  if (state_ != State::kUp) return false;
  uint64_t size = 0;
  for (const auto& part : parts) size += part.size();
  head_ = "*3\r\n$7\r\nPUBLISH\r\n";
  append_bulk(head_, channel);
  head_.append("$").append(std::to_string(size)).append("\r\n");
  constexpr std::string_view kEnd = "\r\n";
  const uint64_t all = head_.size() + size + kEnd.size();
  if (out_.size() + all + kUnanswered * (publishing_ + 1) > plan_.queue || !out_.reserve(all)) return false;
  put(std::as_bytes(std::span(head_)));
  for (const auto& part : parts) put(part);
  put(std::as_bytes(std::span(kEnd)));
  asked_.push_back({cookie, out_.written(), What::kPublish});
  ++publishing_;
  conn_.again();  // with all that is said in this turn
  return true;
}

void Exchange::write() {
  while (!out_.empty() && conn_.is_open() && conn_.writable()) {
    const Queue::Spans front = out_.front();
    const std::array<iovec, 2> parts = {{{front[0].data(), front[0].size()}, {front[1].data(), front[1].size()}}};
    const Result<size_t> n = conn_.write(std::span(parts).first(front[1].empty() ? 1 : 2));
    if (!n.ok()) {
      if (n.status().code() != Code::kAgain) conn_.try_reading();  // which says why
      blocked_ = true;
      return;
    }
    out_.consume(*n);
    if (std::exchange(blocked_, false)) heard_at_ = loop_.now();  // it has read on; our question may stand behind much that it has to read
  }
}

// ---- what we hear

void Exchange::on_ready(Conn&) {
  write();
  read();
}

void Exchange::read() {
  const uint64_t epoch = epoch_;
  reading_ = true;  // the block stays, whatever comes: our user has been lent what is in it
  resting_ = false;
  if (in_.owns_block()) take(epoch);  // what was too much for the last turn
  for (int round = 0; round < kRounds && epoch == epoch_ && !resting_ && fill(); ++round) take(epoch);
  reading_ = false;
  in_.release(loop_.buffers());
  if (epoch == epoch_ && (resting_ || conn_.readable())) conn_.again();
}

// Whether there is something to be taken.
bool Exchange::fill() {
  if (!conn_.readable()) return false;
  if (!in_.borrow(loop_.buffers())) {
    lost("out of memory");
    return false;
  }
  const Result<size_t> n = conn_.read(in_.room());
  if (n.ok()) {
    in_.commit(*n);
    heard_at_ = loop_.now();
  } else if (n.status().code() != Code::kAgain) {
    lost(n.status().code() == Code::kEof ? "it has closed the connection" : words_of(n.status()));
  }
  return n.ok();
}

void Exchange::take(uint64_t epoch) {
  const uint64_t most = std::max(plan_.message, kLeastAnswer) + kEnvelope;
  while (epoch == epoch_ && !resting_ && !in_.empty()) {
    const Result<size_t> n = reader_.feed(in_.data());
    if (!n.ok()) return lost("it does not speak RESP");
    if (reader_.size() > most && !is_too_long()) return lost("it says more at once than an answer may have", true);
    const std::string_view part = text_of(in_.data().first(*n));
    if (passing_over_) {
      in_.consume(*n);
      if (!reader_.done()) continue;
      passing_over_ = false;
      reader_.next();
      user_.on_exchange_too_long();
      continue;
    }
    if (!reader_.done()) {
      reply_.append(part);
      in_.consume(*n);
      continue;
    }
    const char type = reader_.type();
    reader_.next();
    if (reply_.empty()) {
      heard(type, part);
    } else {
      reply_.append(part);
      const std::string whole = std::exchange(reply_, {});
      heard(type, whole);
    }
    if (epoch == epoch_) in_.consume(*n);
  }
}

// A message of another one, whose bound may be larger, is passed over: it is not lost with the connection that all others have.
bool Exchange::is_too_long() {
  if (!reader_.is_push() || reader_.size() > kPassedMost) return false;
  if (std::exchange(passing_over_, true)) return true;
  reply_ = {};
  refused("a message", "- it is longer than max-upstream-message, and passed over");
  return true;
}

void Exchange::heard(char type, std::string_view reply) {
  if (type == '>') return heard_push(reply);
  if (asked_.empty() || !skip_attributes(reply)) return lost("it answers what was not asked");
  const Asked asked = asked_.front();
  asked_.pop_front();
  answered(asked, type, reply);
}

void Exchange::heard_push(std::string_view push) {
  const std::optional<RespMessage> message = read_message(push);
  if (!message) return;
  const bool for_all = message->channel == all_;
  if (!for_all && message->channel != own_) return;
  if (message->kind == "message" && state_ == State::kUp) resting_ = !user_.on_exchange_message(for_all, std::as_bytes(std::span(message->text)));
  if (message->kind == "subscribe" && state_ == State::kSubscribing && ++channels_ == 2) subscribed();
}

void Exchange::answered(const Asked& asked, char type, std::string_view reply) {
  switch (asked.what) {
    case What::kHello: return greeted(type, reply);
    case What::kSubscribe: return lost("it refuses to subscribe us to " + own_ + " and " + all_ + ": " + first_line(reply), !is_for_now(reply));
    case What::kPing: pinging_ = false; return;
    case What::kRegister: return registered(type, reply);
    case What::kPublish: return published(asked, type, reply);
  }
}

void Exchange::greeted(char type, std::string_view reply) {
  if (type == '-') {
    // Old servers repeat what they do not know, the password included.
    const std::string error = first_line(reply.substr(0, reply.find(", with args")));
    const bool is_old = error.starts_with("ERR unknown command") || error.starts_with("NOPROTO");
    return lost((is_old ? "it is older than Redis 6, or does not let us say HELLO: " : "it refuses us: ") + error, !is_for_now(reply));
  }
  if (type != '%') return lost("it does not speak RESP3", true);
  if (find_text(reply, "mode") == "cluster") return lost("it is a node of a cluster; route needs a server that is none", true);
  const std::string_view role = find_text(reply, "role");
  if (role == "replica" || role == "slave") return lost("it is a replica, and what is said there stays there; route needs the master", true);
  state_ = State::kSubscribing;
  ask(What::kSubscribe, {"SUBSCRIBE", own_, all_});
}

void Exchange::subscribed() {
  asked_.clear();  // SUBSCRIBE, which has no other answer
  state_ = State::kUp;
  up_at_ = loop_.now();
  trouble_.clear();
  timer_.arm(plan_.timeout);
  LogLine(Level::kInfo, "route-up").text("relay", plan_.relay).text("server", plan_.dial.target.text()).text("instance", tag_);
  enrol();
  if (state_ == State::kUp) user_.on_exchange_up();
}

void Exchange::registered(char type, std::string_view reply) {
  enrolling_ = false;
  if (type != '-') return;
  if (reply.starts_with("-READONLY ")) return lost("it has become a replica");
  if (!std::exchange(enrol_refused_, true)) refused("SET", reply);
}

void Exchange::published(const Asked& asked, char type, std::string_view reply) {
  --publishing_;
  const auto count = type == ':' ? take_token(reply) : std::nullopt;
  const bool refuses = type == '-' || type == '!';
  if (refuses) refused("PUBLISH", reply);
  const uint64_t epoch = epoch_;
  if (asked.cookie != 0)
    user_.on_exchange_published(asked.cookie, count ? count->number > 0 ? Outcome::kDelivered : Outcome::kNobody : refuses ? Outcome::kNobody : Outcome::kUnknown);
  if (!count && !refuses && epoch == epoch_) lost("it answers PUBLISH with no number", true);
}

void Exchange::refused(std::string_view command, std::string_view error) {
  trouble_ = std::string(command) + ": " + first_line(error);
  if (refusals_.tell(loop_.now()))
    LogLine(Level::kWarn, "route-refused").text("relay", plan_.relay).text("server", plan_.dial.target.text()).text("error", trouble_).count("untold", refusals_.untold());
}

void Exchange::status(Json& json) const {
  json.text("state", name_of(state_)).text("server", plan_.dial.target.text()).text("instance", tag_).number("queued", out_.size()).number("unanswered", publishing_);
  if (trouble_.empty()) json.null("last_error");
  else json.text("last_error", trouble_);
}

}  // namespace relay::plex

// SPDX-License-Identifier: Apache-2.0
// Client: whose it is, what is kept of it and written to it, and its end. See client.h for the picture; reading is in read.cpp.
#include "kinds/plex/client.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "kinds/plex/plex.h"
#include "lib/json.h"
#include "lib/log.h"
#include "lib/text.h"

namespace relay::plex {
namespace {

constexpr int kRounds = 4;           // blocks a turn, of what is thrown away
constexpr Delay kLinger{2000};       // for the other end, after ours
constexpr Delay kLookAgain{100};     // at one that is not over yet, at the earliest
constexpr size_t kNameMost = 1024;   // of a certificate

}  // namespace

std::string_view name_of(CloseReason why) {
  switch (why) {
    case CloseReason::kNone: return "none";
    case CloseReason::kClient: return "client-closed";
    case CloseReason::kReset: return "client-reset";
    case CloseReason::kTruncated: return "client-truncated";
    case CloseReason::kIdle: return "idle";
    case CloseReason::kUpstream: return "upstream";
    case CloseReason::kRejected: return "rejected";
    case CloseReason::kSlow: return "slow";
    case CloseReason::kDrain: return "drain";
    case CloseReason::kAdmin: return "admin";
    case CloseReason::kFraming: return "framing";
    case CloseReason::kError: return "error";
    case CloseReason::kRehomed: return "rehomed";
  }
  return {};
}

Client::Client(PlexRelay& relay, const Uuid& uuid, const Addr& peer)
    : relay_(relay), conn_(relay.loop(), *this), uuid_(uuid), peer_(peer), read_at_(relay.tick()), moved_at_(read_at_), waits_since_(read_at_) {}

Client::~Client() = default;

bool Client::begin(Socket socket) {
  if (!conn_.open(std::move(socket)).ok()) return false;
  if (conn_.finished()) again();  // it had left before its handshake was over: no event will tell
  return true;
}

Client::Extras& Client::extras() {
  if (extras_ == nullptr) extras_ = std::make_unique<Extras>(*this, relay_.loop(), std::max<uint64_t>(relay_.config().client_queue, relay_.config().upstream_message));
  return *extras_;
}

// Once nothing is in them.
void Client::drop_extras() {
  if (extras_ == nullptr) return;
  const Extras& has = *extras_;
  if (has.timer.armed() || !has.out.empty() || !has.part.empty() || !has.kept.empty() || !has.reports.empty() || !has.groups.empty() || !has.labels.empty() ||
      has.idle_timeout.count() >= 0 || !has.end_details.empty() || has.in_kernel > 0 || leaving_ ||
      (paused_ && has.paused_by != 0) || (was_gated_ && !accepted_))
    return;
  extras_.reset();
}

upstream::ClientInfo Client::info(Texts& texts) const {
  upstream::ClientInfo info;
  texts.peer = peer_.text();
  const Addr local = conn_.local();
  texts.local = local.text();
  info.peer = texts.peer;
  info.local = texts.local;
  info.listener = relay_.entrances().at(entrance).text;
  const Tls* tls = conn_.tls();
  if (tls == nullptr) return info;
  const auto clean = [](std::string_view text) { return is_utf8(text) ? std::string(text) : printable(text); };
  texts.subject = clean(tls->peer_name().substr(0, kNameMost));
  texts.alpn = clean(tls->alpn());
  texts.sni = clean(tls->sni().substr(0, kNameMost));
  info.tls_version = tls->version();
  info.alpn = texts.alpn;
  info.sni = texts.sni;
  info.subject = texts.subject;
  return info;
}

const std::map<std::string, std::string>* Client::labels() const { return extras_ == nullptr ? nullptr : &extras_->labels; }
std::string_view Client::label(const std::string& name) const {
  if (extras_ == nullptr) return {};
  const auto at = extras_->labels.find(name);
  return at == extras_->labels.end() ? std::string_view() : std::string_view(at->second);
}

std::vector<Group*>* Client::groups() { return extras_ == nullptr ? nullptr : &extras_->groups; }

bool Client::join(Group& group) {
  std::vector<Group*>& groups = extras().groups;
  if (groups.size() >= PlexRelay::kGroupsMost) return false;
  groups.push_back(&group);
  return true;
}

void Client::part(Group& group) {
  std::erase(extras_->groups, &group);
  if (!ended_) drop_extras();
}

// ---- for whom it connects

void Client::await_proxy() {
  unknown_ = true;
  arm(relay_.config().proxy_timeout);
}

// ---- whose it is

void Client::move_to(Upstream* home, bool gated) {
  home_ = home;
  roomless_ = leaving_ = false;
  if (home == nullptr) {
    // The next one knows nothing of what this one has wanted, or has been told.
    if (gated_) extras().gated_at = relay_.tick() - extras().gated_at;
    was_gated_ = was_gated_ || gated_;
    paused_ = gated_ = eof_told_ = told_gone_ = false;
    waits_since_ = moved_at_ = relay_.tick();
    return;
  }
  const bool was_gated_here = gated_;
  gated_ = (gated || was_gated_) && !accepted_ && !ended_;
  if (gated_) {
    // Its time is that at all of its upstreams.
    if (!was_gated_here) extras().gated_at = relay_.tick() - (was_gated_ ? extras().gated_at : 0);
    arm(std::max(Delay{0}, relay_.config().auth_timeout - Delay{int64_t{relay_.tick() - extras().gated_at} * 10}));
  }
  again();
}

void Client::leave(bool yes) {
  if (leaving_ ? yes : !yes) return;
  leaving_ = yes;
  if (yes) {
    extras().leaves_at = seq_ == 0 ? 0 : home_->given();
    return;
  }
  drop_extras();
  again();
}

// What HTTP/2 has taken is on its way; with FEATURE_ACK that is not enough.
bool Client::may_leave() const {
  if (!home_->has_sent(extras_->leaves_at)) return false;
  return std::none_of(extras_->kept.begin(), extras_->kept.end(), [](const Extras::Kept& kept) { return kept.upstream != 0; });
}

bool Client::may_give() const { return may_send() && !leaving_ && !paused_ && !(slow_ && relay_.config().pause_slow && !draining_) && !acks_full_ && !(held_ && !draining_) && !ending_ && !ended_; }

void Client::take_back(uint32_t id) {
  if (extras_ == nullptr) return;
  Extras& has = *extras_;
  for (Extras::Kept& kept : has.kept) {
    if (kept.upstream != id) continue;
    kept.upstream = 0;
    kept.again = true;
    ++kept.failed;
    ++has.unsent;
  }
}

void Client::take_back(uint64_t seq, std::span<const std::byte> payload, bool redelivered) {
  Extras& has = extras();
  const auto at = has.find(seq);
  if (at != has.kept.end() && at->seq == seq) {  // it is kept anyway, for its acknowledgement
    if (at->upstream != 0) ++has.unsent;
    at->upstream = 0;
    at->again = redelivered;
    return;
  }
  has.kept.insert(at, {seq, std::string(text_of(payload)), 0, redelivered});
  has.kept_bytes += payload.size() + sizeof(Extras::Kept);
  ++has.unsent;
}

void Client::keep(uint64_t seq, std::span<const std::byte> payload, uint32_t upstream) {
  Extras& has = extras();
  has.kept.push_back({seq, std::string(text_of(payload)), upstream, false, has.turns});
  has.kept_bytes += payload.size() + sizeof(Extras::Kept);
  if (has.kept_bytes < relay_.config().ack_queue || acks_full_) return;
  acks_full_ = true;
  relay_.stats().add(Stat::kAckQueueFull);
}

// With round-robin an upstream may be given 5, which another has left, behind 6: that 6 has been dealt with then says nothing of 5.
void Client::acknowledged(uint64_t seq, uint32_t upstream) {
  if (extras_ == nullptr || upstream == 0) return;  // 0: of one that is not here
  Extras& has = *extras_;
  const auto at = has.turns == 0 ? has.kept.end() : has.find(seq);
  const uint32_t turn = at != has.kept.end() && at->seq == seq && at->upstream == upstream ? at->turn : 0;
  const auto is_done = [&](const Extras::Kept& kept) {
    if (kept.seq > seq || kept.upstream != upstream || kept.turn > turn) return false;
    has.kept_bytes -= kept.payload.size() + sizeof(Extras::Kept);
    relay_.stats().add(Stat::kAcked);
    return true;
  };
  while (!has.kept.empty() && is_done(has.kept.front())) has.kept.pop_front();
  if (!has.kept.empty() && has.kept.front().seq <= seq) has.kept.erase_if(is_done);  // with round-robin: others have some before
  if (acks_full_ && has.kept_bytes < relay_.config().ack_queue) {
    acks_full_ = false;
    again();
  }
  if (ended_) return haunt();
  if (leaving_) return;  // that is looked at soon, and labels may come with this
  drop_extras();
}

void Client::accept() {
  accepted_ = true;
  if (!gated_) return;
  gated_ = false;
  relay_.noted(*this, control::WatchKind::kAccepted);
  if (extras_ != nullptr && extras_->timer.armed()) extras_->timer.arm(Delay{0});  // for another time-out, or none
  again();
}

void Client::pause(uint32_t speaker) {
  paused_ = true;
  if (speaker != 0 || extras_ != nullptr) extras().paused_by = speaker;
}

void Client::resume() {
  paused_ = false;
  again();
}

void Client::resume_of(uint32_t speaker) {
  if (paused_ && extras_ != nullptr && extras_->paused_by == speaker) resume();
}

bool Client::set_label(std::string_view name, std::string_view value) {
  if (name.size() > PlexRelay::kLabelMost || value.size() > PlexRelay::kLabelMost) return false;
  auto& labels = extras().labels;
  if (value.empty()) {
    labels.erase(std::string(name));
    drop_extras();
    return true;
  }
  if (labels.size() >= PlexRelay::kLabelsMost && !labels.contains(std::string(name))) return false;
  labels.insert_or_assign(std::string(name), std::string(value));
  return true;
}

void Client::set_idle_timeout(Delay after) {
  if (after.count() == 0 && extras_ == nullptr) return;
  extras().idle_timeout = after.count() == 0 ? Delay{-1} : after;
  if (after.count() > 0) arm(after);
  drop_extras();
}

// ---- to it

bool Client::write(std::span<const std::byte> bytes) {
  if (ended_ || ending_ || deaf_) return false;
  moved_at_ = relay_.tick();
  relay_.loop().expect_soon();  // what it says to that
  size_t done = 0;
  if ((extras_ == nullptr || extras_->out.empty()) && conn_.writable()) {
    const Result<size_t> n = conn_.write(bytes);
    if (n.ok()) done = *n;
    else if (n.status().code() != Code::kAgain) {
      deaf_ = true;  // what it has sent before is still to be read
      conn_.try_reading();
      conn_.again();
      return false;
    }
    relay_.stats().add(Stat::kBytesOut, done);
  }
  if (done == bytes.size()) {
    relay_.stats().add(Stat::kMessagesOut);
    return true;
  }
  Queue& out = extras().out;
  out.set_bound(std::max<uint64_t>(relay_.config().client_queue, relay_.config().upstream_message));  // a reload may have changed it
  // One message waits whatever its size if nothing else does.
  const uint64_t most = out.empty() ? out.bound() : std::max(relay_.config().client_queue, out.size());
  if (bytes.size() - done > most - out.size() || !out.reserve(bytes.size() - done)) {
    relay_.stats().add(Stat::kClientQueueFull);
    relay_.stats().add(Stat::kSlowClients);
    end(CloseReason::kSlow, "its queue is full", true);
    return false;
  }
  const size_t rest = bytes.size() - done;
  for (const std::span<std::byte> room : out.room()) {
    const size_t part = std::min(room.size(), bytes.size() - done);
    if (part > 0) std::memcpy(room.data(), bytes.data() + done, part);
    done += part;
  }
  out.commit(rest);
  relay_.stats().add(Stat::kMessagesOut);
  if (out.size() > relay_.config().client_queue / 4) slow_ = true;
  return true;
}

void Client::report(uint32_t upstream, uint64_t id) {
  if (extras_ == nullptr || extras_->out.empty()) return relay_.report(upstream, id, uuid_, upstream::Delivery::kDelivered);
  extras_->reports.push_back({extras_->out.written(), upstream, id});
  // One report waits whatever its message's size, as that does.
  if (extras_->reports.size() == 1 || extras_->out.size() + extras_->reports.size() * sizeof(Extras::Report) <= relay_.config().client_queue) return;
  relay_.stats().add(Stat::kClientQueueFull);
  relay_.stats().add(Stat::kSlowClients);
  end(CloseReason::kSlow, "its queue is full", true);
}

// Gives its kernel what waits.
void Client::flush() {
  Extras& has = *extras_;
  while (!has.out.empty() && conn_.writable()) {
    const Queue::Spans front = has.out.front();
    std::array<iovec, 2> parts{};
    size_t count = 0;
    for (const std::span<std::byte> span : front)
      if (!span.empty()) parts[count++] = {span.data(), span.size()};
    const Result<size_t> n = conn_.write(std::span(parts).first(count));
    if (!n.ok()) {
      if (n.status().code() == Code::kAgain) break;
      deaf_ = true;
      if (ending_) return end(why_, has.end_details);
      conn_.try_reading();
      return;
    }
    has.out.consume(*n);
    moved_at_ = relay_.tick();
    relay_.stats().add(Stat::kBytesOut, *n);
  }
  written();
}

// More of what waits has gone: whoever asked for it is told.
void Client::written() {
  Extras& has = *extras_;
  while (!has.reports.empty() && has.reports.front().offset <= has.out.read()) {
    const Extras::Report report = has.reports.front();
    has.reports.pop_front();
    relay_.report(report.upstream, report.id, uuid_, upstream::Delivery::kDelivered);
  }
  if (!has.out.empty()) return;
  if (slow_) {
    slow_ = false;
    relay_.tell(*this, upstream::Event::kWritable);
  }
  if (!ending_) drop_extras();
}

// ---- the end

void Client::arm(Delay after) {
  Extras& has = extras();
  if (has.timer.armed() && has.timer.when() <= relay_.loop().now() + after) return;
  has.timer.arm(after);
}

// How long it is still held back for its rate; -1: not any more.
Delay Client::hold_on() {
  const Delay left = extras_->held_until - relay_.loop().now();
  if (left.count() > 0) return left;
  held_ = false;
  again();
  return Delay{-1};
}

// Looks which of its states has lasted for too long, and waits on for the one that will first.
void Client::on_deadline() {
  const uint32_t now = relay_.tick();
  const PlexConfig& config = relay_.config();
  if (is_taking()) moved_at_ = now;
  Delay next = held_ ? hold_on() : Delay{-1};
  // Whether `limit` has passed since `since`; else it is one to wait for.
  const auto over = [&](uint32_t since, Delay limit) {
    if (limit.count() <= 0) return false;
    const Delay left = limit - Delay{int64_t{now - since} * 10};
    if (left.count() <= 0) return true;
    if (next.count() < 0 || left < next) next = left;
    return false;
  };
  if (unknown_ && !ending_) {
    if (over(moved_at_, config.proxy_timeout)) {
      relay_.stats().add(Stat::kProxyErrors);
      return end(CloseReason::kError, "no PROXY header in time", true);
    }
  } else if (ending_) {
    if (over(moved_at_, shut_ ? kLinger : std::max(config.half_close_timeout, kLinger))) return end(why_, extras_->end_details, !shut_);
  } else if (gated_) {
    if (over(extras_->gated_at, config.auth_timeout)) {
      relay_.stats().add(Stat::kAuthTimeouts);
      return finish(CloseReason::kRejected, "neither accepted nor rejected in time");
    }
  } else if (eof_told_ && over(moved_at_, config.half_close_timeout)) {
    relay_.stats().add(Stat::kHalfCloseTimeouts);
    return end(CloseReason::kClient, {});
  }
  const bool owed = is_owed();
  if (over(owed ? now : moved_at_, own_idle_timeout(owed))) {
    relay_.stats().add(Stat::kIdleTimeouts);
    return finish(CloseReason::kIdle, {});
  }
  if (extras_->in_kernel > 0 && next > kLookAgain) next = std::max(next / 4, kLookAgain);  // whether that grows less
  if (next.count() >= 0) extras_->timer.arm(next);
  else drop_extras();
}

// 0 or less: none. Who is owed something is not idle, and looked at again.
Delay Client::own_idle_timeout(bool owed) const {
  const Delay limit = ending_ ? Delay{0} : extras_->idle_timeout;
  return owed && limit.count() > 0 ? std::max(limit, kLookAgain) : limit;
}

// Whether it has taken some, since this was asked last, of what its kernel has been given long ago.
bool Client::is_taking() {
  const int waits = conn_.is_open() ? std::max(conn_.unsent(), 0) : 0;
  if (waits == 0 && extras_ == nullptr) return false;
  return std::exchange(extras().in_kernel, waits) != waits && waits > 0;
}

// It has said something that has not been given on: it is not idle, however long that waits. But for one that waits because it does not listen.
bool Client::is_owed() const {
  if (slow_ && relay_.config().pause_slow) return false;
  if (extras_ != nullptr && (extras_->unsent > 0 || (!extras_->part.empty() && !may_give()))) return true;  // a part of a message alone is its own matter
  if (eof_ || !conn_.is_open()) return false;
  const bool tls_has_some = conn_.tls() != nullptr && !conn_.tls()->drained() && met_ && !may_read();
  return tls_has_some || conn_.unread();
}

void Client::check_idle(uint32_t now) {
  if (ended_ || ending_ || unknown_) return;
  const PlexConfig& config = relay_.config();
  if (home_ == nullptr && config.wait_timeout.count() > 0 && int64_t{now - waits_since_} * 10 >= config.wait_timeout.count()) {
    relay_.stats().add(Stat::kWaitTimeouts);
    return finish(CloseReason::kIdle, "no upstream came");
  }
  if (config.idle_timeout.count() == 0 || (extras_ != nullptr && extras_->idle_timeout.count() >= 0)) return;
  if (int64_t{now - moved_at_} * 10 < config.idle_timeout.count() || is_owed()) return;
  if (is_taking()) {
    moved_at_ = now;
    return;
  }
  relay_.stats().add(Stat::kIdleTimeouts);
  finish(CloseReason::kIdle, {});
}

void Client::finish(CloseReason reason, std::string_view given) {
  if (ended_ || ending_) return;
  const std::string details(given);
  ending_ = true;
  why_ = reason;
  extras().end_details = details;
  moved_at_ = relay_.tick();
  static_cast<void>(is_taking());
  extras_->timer.arm(kLinger);
  linger();
}

// Its queue is emptied, our end is said, and its own is waited for: closing before it has read all could cost it the rest.
void Client::linger() {
  if (extras_->out.empty() && !shut_) {
    const Status status = conn_.shutdown_write();
    if (status.code() == Code::kAgain) return;
    if (!status.ok()) return end(why_, extras_->end_details);
    shut_ = true;
    moved_at_ = relay_.tick();
    extras_->timer.arm(kLinger);
  }
  if (eof_ && shut_) return end(why_, extras_->end_details);
  Buffer block;
  for (int round = 0; round < kRounds && conn_.readable(); ++round) {
    if (!block.borrow(relay_.loop().buffers())) return end(why_, extras_->end_details);
    const Result<size_t> n = conn_.read(block.room());
    if (n.ok() || n.status().code() == Code::kAgain) continue;
    eof_ = true;
    break;
  }
  block.release(relay_.loop().buffers());
  if (eof_ && (shut_ || conn_.broken())) return end(why_, extras_->end_details);
  if (conn_.readable()) conn_.again();
}

void Client::end(CloseReason reason, std::string_view given, bool reset) {
  if (ended_) return;
  const std::string details(given);  // it may be of what is let go here
  ended_ = true;
  why_ = reason;
  if (extras_ != nullptr && !extras_->out.empty()) reset = true;  // it has not had all, and is not to take that for an end
  relay_.left(*this);
  relay_.noted(*this, control::WatchKind::kDisconnected, reason, details);
  if (reason == CloseReason::kReset) relay_.stats().add(Stat::kResets);
  if (extras_ != nullptr)
    for (const Extras::Report& report : std::exchange(extras_->reports, {}))
      relay_.report(report.upstream, report.id, uuid_, reason == CloseReason::kSlow ? upstream::Delivery::kQueueFull : upstream::Delivery::kClosed);
  if (log_enabled(Level::kDebug)) {
    LogLine line(Level::kDebug, "client-end");
    line.text("relay", relay_.config().name).text("client", uuid_.text()).text("peer", peer_.text()).text("reason", name_of(reason));
    if (!details.empty()) line.text("details", details);
    line.number("messages", seq_);
  }
  if (reset) conn_.reset();
  else conn_.close();
  if (extras_ != nullptr) {
    extras_->timer.disarm();
    extras_->out.consume(extras_->out.size());
    if (!unknown_ && !extras_->part.empty()) count_part();
    extras_->part = {};
    extras_->end_details = details;
    while (!extras_->groups.empty()) relay_.leave(*this, *extras_->groups.back());
  } else if (!details.empty()) {
    extras().end_details = details;
  }
  if (unsent() == 0) roomless_ = false;
  haunt();
}

void Client::drain() {
  if (ended_ || ending_ || draining_) return;
  if (unknown_) return end(CloseReason::kDrain, {});
  relay_.catch_up(*this);
  if (ended_ || ending_) return;
  draining_ = true;
  paused_ = false;
  if (has_pending() && !gated_) return again();
  finish(CloseReason::kDrain, "the relay ends");
}

void Client::give_up(std::string_view why) {
  if (ended_) return relay_.ended(*this);
  if (extras_ != nullptr) {
    relay_.lost(extras_->unsent, "the relay ends");
    extras_->kept.clear();
    extras_->unsent = 0;
  }
  end(CloseReason::kDrain, why);
}

void Client::reconfigured() {
  const bool was_held_back = slow_ || acks_full_;
  if (slow_ && (extras_ == nullptr || extras_->out.size() <= relay_.config().client_queue / 4)) {
    slow_ = false;
    relay_.tell(*this, upstream::Event::kWritable);
  }
  if (acks_full_ && (extras_ == nullptr || extras_->kept_bytes < relay_.config().ack_queue)) acks_full_ = false;
  if (was_held_back) again();
}

void Client::go_on() {
  if (conn_.is_open()) return conn_.again();
  pump();
}

std::string_view Client::state() const {
  if (ended_) return "gone";
  if (unknown_) return "unknown";
  if (ending_) return "ending";
  if (home_ == nullptr) return "waiting";
  if (gated_) return "not-accepted";
  if (leaving_) return "moving";
  if (paused_) return "paused";
  if (slow_) return "slow";
  if (roomless_) return "no-room";
  if (acks_full_) return "acks-full";
  if (held_) return "held";
  return eof_ ? "finished" : "open";
}

control::ClientState Client::shown() const {
  control::ClientState state;
  state.client = uuid_.text();
  state.peer = peer_.text();
  if (home_ != nullptr) state.upstream = home_->name();
  state.state = this->state();
  state.messages = seq_;
  if (extras_ == nullptr) return state;
  state.queued = extras_->out.size();
  state.kept = extras_->kept.size();
  return state;
}

void Client::status(Json& json) const {
  const control::ClientState state = shown();
  json.text("client", state.client).text("peer", state.peer).text("upstream", home_ == nullptr ? std::string_view("-") : state.upstream);
  json.text("listener", relay_.entrances().at(entrance).text).text("state", state.state).number("messages", state.messages).number("queued", state.queued).number("kept", state.kept);
}

}  // namespace relay::plex

// SPDX-License-Identifier: Apache-2.0
// Client: reading, cutting into messages, giving them on; and what is written to it. See client.h for the picture.
#include "kinds/plex/client.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "kinds/plex/plex.h"
#include "lib/json.h"
#include "lib/log.h"
#include "lib/text.h"
#include "wire/proxy.h"

namespace relay::plex {
namespace {

constexpr int kRounds = 4;           // blocks a turn
constexpr Delay kLinger{2000};       // for the other end, after ours
constexpr size_t kLabelMost = 256;   // bytes of a name, or a value
constexpr size_t kNameMost = 1024;   // of a certificate
constexpr size_t kReportsMost = 65536;

std::span<const std::byte> bytes_of(std::string_view text) { return std::as_bytes(std::span(text)); }
std::string_view text_of(std::span<const std::byte> bytes) { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }

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
  }
  return {};
}

}  // namespace

Client::Client(PlexRelay& relay, const Uuid& uuid, const Addr& peer)
    : relay_(relay), conn_(relay.loop(), *this), uuid_(uuid), peer_(peer), read_at_(relay.tick()), moved_at_(relay.tick()) {}

Client::~Client() = default;

bool Client::begin(Socket socket) { return conn_.open(std::move(socket)).ok(); }

Client::Extras& Client::extras() {
  if (extras_ == nullptr) extras_ = std::make_unique<Extras>(*this, relay_.loop(), relay_.config().client_queue);
  return *extras_;
}

// Once nothing is in them.
void Client::drop_extras() {
  if (extras_ == nullptr) return;
  const Extras& has = *extras_;
  if (has.timer.armed() || !has.out.empty() || !has.part.empty() || !has.kept.empty() || !has.reports.empty() || !has.groups.empty() || !has.labels.empty() ||
      has.idle_timeout.count() >= 0 || !has.end_details.empty())
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
  info.listener = relay_.listener_of(local);
  const Tls* tls = conn_.tls();
  if (tls == nullptr) return info;
  const auto clean = [](std::string_view text) { return is_utf8(text) ? std::string(text) : printable(text); };
  texts.subject = clean(tls->peer_name().substr(0, kNameMost));
  texts.sni = clean(tls->sni().substr(0, kNameMost));
  info.tls_version = tls->version();
  info.alpn = tls->alpn();
  info.sni = texts.sni;
  info.subject = texts.subject;
  return info;
}

const std::map<std::string, std::string>* Client::labels() const { return extras_ == nullptr ? nullptr : &extras_->labels; }
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

void Client::read_proxy() {
  std::array<std::byte, 1024> bytes;  // NOLINT: the kernel fills what is read
  std::string& part = extras().part;
  while (unknown_ && conn_.readable()) {
    const Result<size_t> n = conn_.read(bytes);
    if (!n.ok()) {
      if (n.status().code() == Code::kAgain) return;
      relay_.stats().add(Stat::kProxyErrors);
      return end(CloseReason::kClient, "it went without a PROXY header");
    }
    part.append(text_of(std::span(bytes).first(*n)));
    ProxyHeader header;
    const Result<size_t> size = ProxyHeader::parse(bytes_of(part), header);
    if (!size.ok()) {
      relay_.stats().add(Stat::kProxyErrors);
      return end(CloseReason::kError, size.status().reason(), true);
    }
    if (*size == 0) continue;
    unknown_ = false;
    part.erase(0, *size);
    relay_.stats().add(Stat::kBytesIn, part.size());
    if (header.family != ProxyHeader::Family::kNone) {
      peer_.family = header.family == ProxyHeader::Family::kV4 ? Addr::Family::kV4 : Addr::Family::kV6;
      peer_.ip = header.ip;
      peer_.port = header.port;
      peer_.scope = 0;
      constexpr std::array<uint8_t, 12> kMapped = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
      if (peer_.family == Addr::Family::kV6 && std::equal(kMapped.begin(), kMapped.end(), peer_.ip.begin())) {  // an IPv4 one is one
        std::copy_n(peer_.ip.begin() + 12, 4, peer_.ip.begin());
        std::fill(peer_.ip.begin() + 4, peer_.ip.end(), uint8_t{0});
        peer_.family = Addr::Family::kV4;
      }
    }
    if (extras_->timer.armed()) extras_->timer.arm(Delay{0});
    relay_.introduced(*this);
    again();  // what came with it, its end perhaps
  }
}

// ---- whose it is

void Client::move_to(Upstream* home, bool gated) {
  home_ = home;
  roomless_ = false;
  if (home == nullptr) {
    // The next one knows nothing of what this one has wanted, or has been told.
    paused_ = gated_ = eof_told_ = told_gone_ = false;
    moved_at_ = relay_.tick();
    return;
  }
  gated_ = gated && !accepted_;
  if (gated_) {
    extras().gated_at = relay_.tick();
    arm(relay_.config().auth_timeout);
  }
  again();
}

bool Client::may_give() const { return may_send() && !paused_ && !(slow_ && relay_.config().pause_slow) && !acks_full_ && !ending_ && !ended_; }

void Client::take_back(uint32_t id) {
  if (extras_ == nullptr) return;
  Extras& has = *extras_;
  for (Extras::Kept& kept : has.kept) {
    if (kept.upstream != id) continue;
    kept.upstream = 0;
    kept.again = true;
    ++has.unsent;
  }
}

void Client::take_back(uint64_t seq, std::span<const std::byte> payload, bool redelivered) {
  Extras& has = extras();
  const auto at = std::lower_bound(has.kept.begin(), has.kept.end(), seq, [](const Extras::Kept& kept, uint64_t wanted) { return kept.seq < wanted; });
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
  has.kept.push_back({seq, std::string(text_of(payload)), upstream, false});
  has.kept_bytes += payload.size() + sizeof(Extras::Kept);
  if (has.kept_bytes < relay_.config().ack_queue || acks_full_) return;
  acks_full_ = true;
  relay_.stats().add(Stat::kAckQueueFull);
}

void Client::acknowledged(uint64_t seq, uint32_t upstream) {
  if (extras_ == nullptr) return;
  Extras& has = *extras_;
  const auto is_done = [&](const Extras::Kept& kept) {
    if (kept.seq > seq || kept.upstream != upstream) return false;
    has.kept_bytes -= kept.payload.size() + sizeof(Extras::Kept);
    relay_.stats().add(Stat::kAcked);
    return true;
  };
  while (!has.kept.empty() && is_done(has.kept.front())) has.kept.pop_front();
  if (!has.kept.empty() && has.kept.front().seq <= seq) std::erase_if(has.kept, is_done);  // with round-robin: others have some before
  if (acks_full_ && has.kept_bytes < relay_.config().ack_queue) {
    acks_full_ = false;
    again();
  }
  if (ended_) return haunt();
  drop_extras();
}

void Client::accept() {
  accepted_ = true;
  if (!gated_) return;
  gated_ = false;
  if (extras_ != nullptr && extras_->timer.armed()) extras_->timer.arm(Delay{0});  // for another time-out, or none
  again();
}

void Client::pause(bool yes) {
  paused_ = yes;
  if (!yes) again();
}

bool Client::set_label(std::string_view name, std::string_view value) {
  if (name.size() > kLabelMost || value.size() > kLabelMost) return false;
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

// ---- from it

void Client::on_ready(Conn&) {
  if (ended_) return;
  if (conn_.writable() && extras_ != nullptr && !extras_->out.empty()) flush();
  if (ended_) return;
  if (unknown_) return read_proxy();
  if (ending_) return linger();
  // Who has reset the connection does not expect that what is still unread is heard; nor does one who has said nothing and left.
  if (conn_.broken() && !may_read()) return end(CloseReason::kReset, {});
  const bool is_empty = extras_ == nullptr || (extras_->out.empty() && !has_pending() && extras_->kept.empty());
  if (home_ == nullptr && !eof_ && is_empty && conn_.tls() == nullptr && conn_.finished() && !conn_.unread()) return end(CloseReason::kClient, {});
  if (!roomless_) pump();
  if (conn_.is_open() && conn_.broken() && !ending_ && !may_read()) end(CloseReason::kReset, {});  // no event will come any more
}

void Client::pump() {
  roomless_ = false;
  if (ended_) return haunt();
  if (ending_ || !may_send()) return;
  if (!resend() || !send_part()) return;
  if (draining_) return finish(CloseReason::kDrain, "the relay ends");
  read();
}

// What is left to do for one that is gone.
void Client::haunt() {
  if (home_ != nullptr && !roomless_) {
    if (!resend()) return;
    const bool told = told_gone_;
    told_gone_ = true;
    if (!told)
      relay_.tell(*this, upstream::Event::kDisconnected, why_, extras_ == nullptr ? std::string_view() : std::string_view(extras_->end_details));
  }
  if (extras_ == nullptr || extras_->kept.empty()) relay_.ended(*this);
}

// Gives a new message to an upstream. False: there was no room.
bool Client::send(std::span<const std::byte> payload) {
  Upstream* to = relay_.give(*this, payload, seq_ + 1, false);
  if (to == nullptr) {
    roomless_ = true;
    return false;
  }
  ++seq_;
  relay_.stats().add(Stat::kMessagesIn);
  if (to->has(upstream::kAck)) keep(seq_, payload, to->id());
  return true;
}

// What was taken back goes first. False: there was no room.
bool Client::resend() {
  if (extras_ == nullptr || extras_->unsent == 0) return true;
  Extras& has = *extras_;
  constexpr uint32_t kDone = UINT32_MAX;  // of no upstream
  for (Extras::Kept& kept : has.kept) {
    if (kept.upstream != 0) continue;
    Upstream* to = relay_.give(*this, bytes_of(kept.payload), kept.seq, kept.again);
    if (to == nullptr) {
      roomless_ = true;
      break;
    }
    if (kept.again) relay_.stats().add(Stat::kRedelivered);
    --has.unsent;
    kept.upstream = to->has(upstream::kAck) ? to->id() : kDone;
    if (kept.upstream == kDone) has.kept_bytes -= kept.payload.size() + sizeof kept;
  }
  std::erase_if(has.kept, [](const Extras::Kept& kept) { return kept.upstream == kDone; });
  if (roomless_) return false;
  if (has.kept_bytes < relay_.config().ack_queue) acks_full_ = false;
  if (!ended_) drop_extras();
  return true;
}

// Cuts `bytes` into messages and gives them on, as far as it may; returns how many bytes these had.
size_t Client::send_messages(std::span<const std::byte> bytes, size_t& scanned) {
  size_t done = 0;
  while (done < bytes.size() && may_give()) {
    const Result<size_t> size = relay_.config().framing.next(bytes.subspan(done), scanned);
    if (!size.ok()) {
      relay_.stats().add(Stat::kFramingErrors);
      finish(CloseReason::kFraming, size.status().reason());
      return done;
    }
    if (*size == 0) break;
    scanned = 0;
    if (!send(bytes.subspan(done, *size))) break;
    done += *size;
  }
  return done;
}

// What was read and could not be given on, or was no whole message. False: some still cannot.
bool Client::send_part() {
  if (extras_ == nullptr || extras_->part.empty()) return true;
  const size_t done = send_messages(bytes_of(std::string_view(extras_->part).substr(extras_->done)), extras_->scanned);
  if (ended_) return false;
  Extras& has = *extras_;
  has.done += done;
  if (ending_) return false;
  if (has.done == has.part.size()) {
    has.part = {};
    has.done = has.scanned = 0;
    drop_extras();
  } else if (has.done > has.part.size() / 2) {
    has.part.erase(0, has.done);
    has.done = 0;
  }
  return may_give();
}

void Client::read() {
  for (int round = 0; round < kRounds && may_read() && conn_.readable(); ++round)
    if (!read_block()) break;
  if (eof_) return at_end();
  if (may_read() && conn_.readable()) again();
}

// False: there is nothing more now.
bool Client::read_block() {
  Buffer block;
  if (!block.borrow(relay_.loop().buffers())) {
    end(CloseReason::kError, "out of memory");
    return false;
  }
  const Framing& framing = relay_.config().framing;
  const size_t most = framing.kind == Framing::Kind::kRaw ? std::min(framing.most, block.room().size()) : block.room().size();
  const Result<size_t> n = conn_.read(block.room().first(most));
  if (!n.ok()) {
    block.release(relay_.loop().buffers());
    read_failed(n.status());
    return false;
  }
  block.commit(*n);
  relay_.stats().add(Stat::kBytesIn, *n);
  read_at_ = moved_at_ = relay_.tick();
  if (extras_ == nullptr || extras_->part.empty()) {
    size_t scanned = 0;
    block.consume(send_messages(block.data(), scanned));
    if (!block.empty()) {
      Extras& has = extras();
      has.part.assign(text_of(block.data()));
      has.done = 0;
      has.scanned = scanned;
    }
  } else {
    extras_->part.append(text_of(block.data()));
    static_cast<void>(send_part());
  }
  block.consume(block.size());
  block.release(relay_.loop().buffers());
  return may_read();
}

void Client::read_failed(const Status& why) {
  if (why.code() == Code::kAgain) return;
  eof_ = true;
  if (why.code() == Code::kEof) return;
  why_ = why.code() == Code::kTruncated ? CloseReason::kTruncated : why.code() == Code::kReset ? CloseReason::kReset : CloseReason::kError;
  if (why_ == CloseReason::kError) extras().end_details = why.error() != 0 ? std::strerror(why.error()) : why.reason();
}

// All that it has sent has been given on, but for a message that it has not finished.
void Client::at_end() {
  if (ending_ || ended_) return;
  if (why_ != CloseReason::kNone) {
    return end(why_, extras_ == nullptr ? std::string_view() : std::string_view(extras_->end_details));
  }
  if (eof_told_) return;
  eof_told_ = true;
  if (extras_ != nullptr && !extras_->part.empty()) {
    relay_.stats().add(Stat::kFramingErrors);
    return finish(CloseReason::kFraming, "its last message has no end");
  }
  relay_.tell(*this, upstream::Event::kReadEof);
  if (!ended_ && relay_.config().half_close_timeout.count() > 0) arm(relay_.config().half_close_timeout);
}

// ---- to it

bool Client::write(std::span<const std::byte> bytes) {
  if (ended_ || ending_ || deaf_) return false;
  moved_at_ = relay_.tick();
  relay_.loop().expect_soon();  // what it says to that
  relay_.stats().add(Stat::kMessagesOut);
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
  if (done == bytes.size()) return true;
  Queue& out = extras().out;
  if (bytes.size() - done > out.bound() - out.size() || !out.reserve(bytes.size() - done)) {
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
  if (out.size() > out.bound() / 4) slow_ = true;
  return true;
}

void Client::report(uint32_t upstream, uint64_t id) {
  if (extras_ == nullptr || extras_->out.empty()) return relay_.report(upstream, id, uuid_, upstream::Delivery::kDelivered);
  if (extras_->reports.size() >= kReportsMost) return end(CloseReason::kSlow, "too many reports wait", true);
  extras_->reports.push_back({extras_->out.written(), upstream, id});
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

// Looks which of its states has lasted for too long, and waits on for the one that will first.
void Client::on_deadline() {
  const uint32_t now = relay_.tick();
  const PlexConfig& config = relay_.config();
  Delay next{-1};
  // Whether `limit` has passed since `since`; else it is one to wait for.
  const auto over = [&](uint32_t since, Delay limit) {
    if (limit.count() <= 0) return false;
    const Delay left = limit - Delay{int64_t{now - since} * 10};
    if (left.count() <= 0) return true;
    if (next.count() < 0 || left < next) next = left;
    return false;
  };
  if (unknown_) {
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
  } else if (eof_ && over(moved_at_, config.half_close_timeout)) {
    relay_.stats().add(Stat::kHalfCloseTimeouts);
    return end(CloseReason::kClient, {});
  }
  if (!ending_ && over(moved_at_, extras_->idle_timeout)) {
    relay_.stats().add(Stat::kIdleTimeouts);
    return finish(CloseReason::kIdle, {});
  }
  if (next.count() >= 0) extras_->timer.arm(next);
  else drop_extras();
}

void Client::check_idle(uint32_t now) {
  if (ended_ || ending_ || unknown_) return;
  const PlexConfig& config = relay_.config();
  if (home_ == nullptr && config.wait_timeout.count() > 0 && int64_t{now - moved_at_} * 10 >= config.wait_timeout.count()) {
    relay_.stats().add(Stat::kWaitTimeouts);
    return finish(CloseReason::kIdle, "no upstream came");
  }
  if (config.idle_timeout.count() == 0 || (extras_ != nullptr && extras_->idle_timeout.count() >= 0)) return;
  if (int64_t{now - moved_at_} * 10 < config.idle_timeout.count()) return;
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
    if (!extras_->part.empty()) count_part();
    extras_->part = {};
    extras_->end_details = details;
    while (!extras_->groups.empty()) relay_.leave(*this, *extras_->groups.back());
  } else if (!details.empty()) {
    extras().end_details = details;
  }
  if (unsent() == 0) roomless_ = false;
  haunt();
}

// What was read and reaches nobody is lost, but for a message that has no end, or is none.
void Client::count_part() {
  const std::span<const std::byte> bytes = bytes_of(std::string_view(extras_->part).substr(extras_->done));
  size_t scanned = 0;
  for (size_t done = 0; done < bytes.size();) {
    const Result<size_t> size = relay_.config().framing.next(bytes.subspan(done), scanned);
    if (!size.ok() || *size == 0) return;
    relay_.stats().add(Stat::kLostMessages);
    scanned = 0;
    done += *size;
  }
}

void Client::drain() {
  if (ended_ || ending_ || draining_) return;
  if (unknown_) return end(CloseReason::kDrain, {});
  relay_.catch_up(*this);
  if (ended_ || ending_) return;
  draining_ = true;
  if (has_pending()) return again();
  finish(CloseReason::kDrain, "the relay ends");
}

void Client::give_up(std::string_view why) {
  if (ended_) return relay_.ended(*this);
  if (extras_ != nullptr) {
    relay_.stats().add(Stat::kLostMessages, extras_->unsent);
    extras_->kept.clear();
    extras_->unsent = 0;
  }
  end(CloseReason::kDrain, why);
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
  if (paused_) return "paused";
  if (slow_) return "slow";
  if (roomless_) return "no-room";
  if (acks_full_) return "acks-full";
  return eof_ ? "finished" : "open";
}

void Client::status(Json& json) const {
  json.text("client", uuid_.text()).text("peer", peer_.text()).text("upstream", home_ == nullptr ? std::string_view("-") : std::string_view(home_->name()));
  json.text("state", state());
  json.number("messages", seq_).number("queued", extras_ == nullptr ? 0 : extras_->out.size()).number("kept", extras_ == nullptr ? 0 : extras_->kept.size());
}

}  // namespace relay::plex

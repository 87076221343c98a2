// SPDX-License-Identifier: Apache-2.0
// Client: reading, cutting into messages, giving them on; and what is written to it. See client.h for the picture.
#include "kinds/plex/client.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "kinds/plex/plex.h"
#include "lib/log.h"

namespace relay::plex {
namespace {

constexpr int kRounds = 4;           // blocks a turn
constexpr Delay kLinger{2000};       // for the other end, after ours
constexpr size_t kLabelMost = 1024;  // bytes of a name, or a value

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

Client::Client(PlexRelay& relay, const Uuid& uuid, const Addr& peer, std::string_view listener)
    : relay_(relay), conn_(relay.loop(), *this), listener_(listener), uuid_(uuid), peer_(peer), read_at_(relay.tick()), moved_at_(relay.tick()) {}

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

upstream::ClientInfo Client::info(std::string& peer, std::string& subject) const {
  upstream::ClientInfo info;
  peer = peer_.text();
  info.peer = peer;
  info.listener = listener_;
  info.local = listener_;
  if (const Tls* tls = conn_.tls(); tls != nullptr) {
    subject = tls->peer_name();
    info.tls_version = tls->version();
    info.alpn = tls->alpn();
    info.subject = subject;
  }
  return info;
}

const std::map<std::string, std::string>* Client::labels() const { return extras_ == nullptr ? nullptr : &extras_->labels; }
std::vector<Group*>* Client::groups() { return extras_ == nullptr ? nullptr : &extras_->groups; }

// ---- whose it is

void Client::move_to(Upstream* home, bool gated) {
  home_ = home;
  roomless_ = false;
  if (home == nullptr) return;
  gated_ = gated && !accepted_;
  read_at_ = relay_.tick();
  if (gated_) arm(relay_.config().auth_timeout);
  conn_.again();
}

void Client::take_back(uint32_t id) {
  if (extras_ == nullptr) return;
  Extras& has = *extras_;
  has.unsent = 0;
  for (Extras::Kept& kept : has.kept) {
    if (kept.upstream == id) {
      kept.upstream = 0;
      kept.again = true;
    }
    if (kept.upstream == 0) ++has.unsent;
  }
}

void Client::take_back(uint64_t seq, std::span<const std::byte> payload, bool redelivered) {
  if (ended_) return;
  Extras& has = extras();
  const auto at = std::lower_bound(has.kept.begin(), has.kept.end(), seq, [](const Extras::Kept& kept, uint64_t wanted) { return kept.seq < wanted; });
  if (at != has.kept.end() && at->seq == seq) {  // it is kept anyway, for its acknowledgement
    if (at->upstream != 0) ++has.unsent;
    at->upstream = 0;
    at->again = redelivered;
    return;
  }
  has.kept.insert(at, {seq, std::string(text_of(payload)), 0, redelivered});
  has.kept_bytes += payload.size();
  ++has.unsent;
}

void Client::keep(uint64_t seq, std::span<const std::byte> payload, uint32_t upstream, bool again) {
  Extras& has = extras();
  has.kept.push_back({seq, std::string(text_of(payload)), upstream, again});
  has.kept_bytes += payload.size();
  if (has.kept_bytes < relay_.config().ack_queue || acks_full_) return;
  acks_full_ = true;
  relay_.stats().add(Stat::kAckQueueFull);
}

void Client::acknowledged(uint64_t seq) {
  if (extras_ == nullptr) return;
  Extras& has = *extras_;
  // What was taken back and not sent anew has not been dealt with by who says so now, but it has by somebody: it is done.
  while (!has.kept.empty() && has.kept.front().seq <= seq) {
    if (has.kept.front().upstream == 0) --has.unsent;
    has.kept_bytes -= has.kept.front().payload.size();
    has.kept.pop_front();
    relay_.stats().add(Stat::kAcked);
  }
  if (acks_full_ && has.kept_bytes < relay_.config().ack_queue) {
    acks_full_ = false;
    conn_.again();
  }
  drop_extras();
}

void Client::accept() {
  accepted_ = true;
  if (!gated_) return;
  gated_ = false;
  if (extras_ != nullptr) extras_->timer.disarm();
  if (eof_ || ending_) arm(relay_.config().half_close_timeout);
  drop_extras();
  conn_.again();
}

void Client::pause(bool yes) {
  paused_ = yes;
  if (!yes) conn_.again();
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
  if (ending_) return linger();
  // Nobody wants to hear what came before it failed.
  if (conn_.broken() && (paused_ || gated_)) return end(CloseReason::kReset, {});
  pump();
}

void Client::pump() {
  if (ended_ || ending_ || !may_send()) return;
  roomless_ = false;
  if (!resend() || !send_part()) return;
  read();
}

// Gives one message to an upstream. False: there was no room.
bool Client::send(std::span<const std::byte> payload, uint64_t seq, bool again, bool keep_it) {
  Upstream* to = relay_.give(*this, payload, seq, again);
  if (to == nullptr) {
    roomless_ = true;
    return false;
  }
  relay_.stats().add(again ? Stat::kRedelivered : Stat::kMessagesIn);
  if (keep_it && to->has(upstream::kAck)) keep(seq, payload, to->id(), again);
  return true;
}

// What was taken back goes first. False: there was no room.
bool Client::resend() {
  if (extras_ == nullptr || extras_->unsent == 0) return true;
  Extras& has = *extras_;
  for (size_t i = 0; i < has.kept.size() && has.unsent > 0;) {
    Extras::Kept& kept = has.kept[i];
    if (kept.upstream != 0) {
      ++i;
      continue;
    }
    Upstream* to = relay_.give(*this, bytes_of(kept.payload), kept.seq, kept.again);
    if (to == nullptr) {
      roomless_ = true;
      return false;
    }
    if (kept.again) relay_.stats().add(Stat::kRedelivered);
    --has.unsent;
    if (to->has(upstream::kAck)) {
      kept.upstream = to->id();
      ++i;
    } else {
      has.kept_bytes -= kept.payload.size();
      has.kept.erase(has.kept.begin() + static_cast<std::ptrdiff_t>(i));
    }
  }
  if (has.kept_bytes < relay_.config().ack_queue) acks_full_ = false;
  drop_extras();
  return true;
}

// Cuts `bytes` into messages and gives them on; returns how many bytes these had. `stuck`: there was no room for more.
size_t Client::send_messages(std::span<const std::byte> bytes, bool& stuck) {
  size_t done = 0;
  size_t fresh = 0;
  size_t& scanned = extras_ == nullptr ? fresh : extras_->scanned;
  while (done < bytes.size() && may_read()) {
    const Result<size_t> size = relay_.config().framing.next(bytes.subspan(done), scanned);
    if (!size.ok()) {
      relay_.stats().add(Stat::kFramingErrors);
      finish(CloseReason::kFraming, size.status().reason());
      return bytes.size();
    }
    if (*size == 0) break;
    if (!send(bytes.subspan(done, *size), seq_ + 1, false, true)) {
      stuck = true;
      break;
    }
    ++seq_;
    done += *size;
    if (extras_ != nullptr) extras_->scanned = 0;  // (it may have come to be meanwhile)
    fresh = 0;
  }
  return done;
}

// What was read and could not be given on. False: it still cannot.
bool Client::send_part() {
  if (extras_ == nullptr || extras_->part.empty()) return true;
  bool stuck = false;
  const size_t done = send_messages(bytes_of(std::string_view(extras_->part).substr(extras_->done)), stuck);
  if (ended_ || extras_ == nullptr) return false;
  Extras& has = *extras_;
  has.done += std::min(done, has.part.size() - has.done);
  if (has.done == has.part.size()) {
    has.part = {};
    has.done = has.scanned = 0;
    drop_extras();
  } else if (has.done > has.part.size() / 2) {
    has.part.erase(0, has.done);
    has.done = 0;
  }
  return !stuck && !ending_;
}

void Client::read() {
  for (int round = 0; round < kRounds && may_read() && conn_.readable(); ++round)
    if (!read_block()) break;
  if (ended_) return;
  if (eof_) return at_end();
  if (may_read() && conn_.readable()) conn_.again();
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
  bool stuck = false;
  if (extras_ == nullptr || extras_->part.empty()) {
    const size_t done = send_messages(block.data(), stuck);
    block.consume(done);
    if (!block.empty() && !ended_ && !ending_) {
      Extras& has = extras();
      has.part.assign(text_of(block.data()));
      has.done = 0;
    }
  } else {
    extras_->part.append(text_of(block.data()));
    stuck = !send_part();
  }
  block.consume(block.size());
  block.release(relay_.loop().buffers());
  return !stuck && !ended_ && !ending_;
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
  if (why_ != CloseReason::kNone) {
    const std::string details = extras_ == nullptr ? std::string() : extras_->end_details;
    return end(why_, details);
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
  relay_.stats().add(Stat::kMessagesOut);
  size_t done = 0;
  if ((extras_ == nullptr || extras_->out.empty()) && conn_.writable()) {
    const Result<size_t> n = conn_.write(bytes);
    if (n.ok()) done = *n;
    else if (n.status().code() != Code::kAgain) {
      deaf_ = true;  // what it has sent before is still to be read
      try_reading();
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
  for (const std::span<std::byte> room : out.room()) {
    const size_t part = std::min(room.size(), bytes.size() - done);
    if (part > 0) std::memcpy(room.data(), bytes.data() + done, part);
    if (part > 0) done += part;
    if (done == bytes.size()) break;
  }
  out.commit(done - (bytes.size() - (bytes.size() - done)) );
  return true;
}

}  // namespace relay::plex

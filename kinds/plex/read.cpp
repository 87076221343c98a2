// SPDX-License-Identifier: Apache-2.0
// Client: reading, cutting into messages, giving them on. See client.h for the picture.
#include <algorithm>
#include <array>
#include <cstring>

#include "kinds/plex/client.h"
#include "kinds/plex/plex.h"
#include "lib/text.h"
#include "net/proxied.h"

namespace relay::plex {
namespace {

constexpr int kRounds = 4;  // blocks a turn

}  // namespace

// ---- for whom it connects

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
    peer_ = announced_by(header, peer_);
    if (extras_->timer.armed()) extras_->timer.arm(Delay{0});
    relay_.introduced(*this);
    again();  // what came with it, its end perhaps
  }
}

// ---- from it

void Client::on_ready(Conn&) {
  if (ended_) return;
  if (conn_.writable() && extras_ != nullptr && !extras_->out.empty()) flush();
  if (ended_) return;
  if (ending_) return linger();
  if (unknown_) return read_proxy();
  // Who has reset the connection does not expect that what is still unread is heard; nor does one who has said nothing and left.
  if (conn_.broken() && !may_read()) return end(CloseReason::kReset, {});
  const bool is_empty = extras_ == nullptr || (extras_->out.empty() && !has_pending() && extras_->kept.empty());
  if (home_ == nullptr && !met_ && !eof_ && is_empty && conn_.finished() && has_left()) return end(why_ == CloseReason::kNone ? CloseReason::kClient : why_, {});
  if (ended_) return;
  if (!roomless_) pump();
  if (conn_.is_open() && conn_.broken() && !ending_ && !may_read()) end(CloseReason::kReset, {});  // no event will come any more
}

// It has finished, and no upstream has heard of it: whether it has said nothing before. Of TLS only reading tells; what that finds waits.
bool Client::has_left() {
  if (conn_.tls() == nullptr) return !conn_.unread();
  static_cast<void>(read_block());
  return eof_ && !has_pending();
}

void Client::pump() {
  roomless_ = false;
  relay_.begin_turn();
  if (ended_) return haunt();
  if (ending_ || !may_send() || leaving_) return;
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
  moved_at_ = relay_.tick();  // what has waited for its rate is an exchange, too
  relay_.stats().add(Stat::kMessagesIn);
  if (relay_.entrances().at(entrance).message_rate > 0) relay_.pace(*this).messages.take(1);
  if (to->has(upstream::kAck)) keep(seq_, payload, to->id());
  return true;
}

// What was taken back goes first. False: there was no room.
bool Client::resend() {
  if (extras_ == nullptr || extras_->unsent == 0) return true;
  Extras& has = *extras_;
  constexpr uint32_t kDone = UINT32_MAX;  // of no upstream
  ++has.turns;
  for (Extras::Kept& kept : has.kept) {
    if (kept.upstream != 0) continue;
    if (const uint32_t most = relay_.config().delivery_limit; most > 0 && kept.failed >= most) {
      relay_.given_up(*this, kept.seq, kept.payload.size());
      --has.unsent;
      has.kept_bytes -= kept.payload.size() + sizeof kept;
      kept.upstream = kDone;
      continue;
    }
    Upstream* to = relay_.give(*this, bytes_of(kept.payload), kept.seq, kept.again);
    if (to == nullptr) {
      roomless_ = true;
      break;
    }
    if (kept.again) relay_.stats().add(Stat::kRedelivered);
    --has.unsent;
    kept.turn = has.turns;
    kept.upstream = to->has(upstream::kAck) ? to->id() : kDone;
    if (kept.upstream == kDone) has.kept_bytes -= kept.payload.size() + sizeof kept;
  }
  has.kept.erase_if([](const Extras::Kept& kept) { return kept.upstream == kDone; });
  if (roomless_) return false;
  if (has.kept_bytes < relay_.config().ack_queue) acks_full_ = false;
  if (!ended_) drop_extras();
  return true;
}

const Framing& Client::framing() const { return relay_.entrances().at(entrance).framing; }

// It is faster than it may be, and is not read for a while.
void Client::hold(uint32_t ms, bool for_messages) {
  if (!hasty_) relay_.stats().add(for_messages ? Stat::kMessageRateHolds : Stat::kClientRateHolds);
  held_ = hasty_ = true;
  extras().held_until = relay_.loop().now() + Delay{ms};
  arm(Delay{ms});
}

// Whether one more message is within its rate. What has been read when the relay ends is given on at once.
bool Client::may_say() {
  const uint32_t rate = relay_.entrances().at(entrance).message_rate;
  if (rate == 0 || draining_) return true;
  Bucket& messages = relay_.pace(*this).messages;
  if (messages.left(relay_.now_ms(), rate) > 0) return true;
  hold(messages.wait(rate, std::max(rate / 10, 1U)), true);
  return false;
}

// Cuts `bytes` into messages and gives them on, as far as it may; returns how many bytes these had.
size_t Client::send_messages(std::span<const std::byte> bytes, size_t& scanned) {
  size_t done = 0;
  while (done < bytes.size() && may_give()) {
    const Result<size_t> size = framing().next(bytes.subspan(done), scanned);
    if (!size.ok()) {
      relay_.stats().add(Stat::kFramingErrors);
      finish(CloseReason::kFraming, size.status().reason());
      return done;
    }
    if (*size == 0 || !may_say()) break;
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
  if (!conn_.readable() && !held_) hasty_ = false;
  if (may_read() && conn_.readable()) again();
}

// False: there is nothing more now.
bool Client::read_block() {
  // No more than its rate allows, so that what it has to wait for is small beside that.
  const uint32_t rate = relay_.entrances().at(entrance).byte_rate;
  const size_t left = rate == 0 ? SIZE_MAX : relay_.pace(*this).bytes.left(relay_.now_ms(), rate);
  if (left == 0) {
    hold(relay_.pace(*this).bytes.wait(rate, std::max(rate / 10, 1U)), false);
    return false;
  }
  Buffer block;
  if (!block.borrow(relay_.loop().buffers())) {
    end(CloseReason::kError, "out of memory");
    return false;
  }
  const size_t room = std::min(left, block.room().size());
  const size_t most = framing().kind == Framing::Kind::kRaw ? std::min(framing().most, room) : room;
  const Result<size_t> n = conn_.read(block.room().first(most));
  if (!n.ok()) {
    block.release(relay_.loop().buffers());
    read_failed(n.status());
    return false;
  }
  block.commit(*n);
  if (rate > 0) relay_.pace(*this).bytes.take(static_cast<uint32_t>(*n));
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
  if (!eof_noted_) relay_.noted(*this, control::WatchKind::kReadEof);
  eof_noted_ = true;
  moved_at_ = relay_.tick();  // this one has as long for its answer as any other
  if (!ended_ && relay_.config().half_close_timeout.count() > 0) arm(relay_.config().half_close_timeout);
}

// What was read and reaches nobody is lost, but for a message that has no end, or is none.
void Client::count_part() {
  const std::span<const std::byte> bytes = bytes_of(std::string_view(extras_->part).substr(extras_->done));
  size_t scanned = 0;
  uint64_t count = 0;
  for (size_t done = 0; done < bytes.size();) {
    const Result<size_t> size = framing().next(bytes.subspan(done), scanned);
    if (!size.ok() || *size == 0) break;
    ++count;
    scanned = 0;
    done += *size;
  }
  relay_.lost(count, "their client was ended before they could be given on");
}

}  // namespace relay::plex

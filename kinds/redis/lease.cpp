// SPDX-License-Identifier: Apache-2.0
// Lease: see the picture in lease.h.
#include "kinds/redis/lease.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "kinds/redis/redis.h"
#include "lib/log.h"

namespace relay::redis {
namespace {

constexpr uint64_t kQueue = 128 * 1024;
constexpr size_t kLongestError = 64 * 1024;

}  // namespace

Lease::Lease(RedisRelay& relay, uint32_t node) : relay_(relay), node_(node), link_(relay, *this), patience_(relay.loop(), *this), queue_(kQueue) {}

Lease::~Lease() = default;

// ---- coming and going

void Lease::dial(Session* owner, const Setting& want) {
  owner_ = owner;
  link_.dial(relay_.plan(node_), want, false);
  if (owner == nullptr) patience_.arm(relay_.config().timeout);  // an owner waits with a time-out of its own
}

void Lease::lend(Session& owner, const Setting& want) {
  owner_ = &owner;
  if (!(want == relay_.setting())) link_.greet_again(want);
}

void Lease::on_link_ready() {
  patience_.disarm();
  if (owner_ != nullptr) return owner_->lease_ready(*this);
  relay_.became_idle(*this);
}

void Lease::give_back() {
  owner_ = nullptr;
  const auto most = static_cast<uint64_t>(relay_.config().max_connected.count());
  const bool old = most > 0 && static_cast<uint64_t>((relay_.loop().now() - link_.since()).count()) >= most;
  if (retired_ || old || !link_.ready()) return end("released");
  patience_.arm(relay_.config().timeout);
  link_.greet_again(relay_.setting());
}

void Lease::retire() {
  retired_ = true;
  if (owner_ == nullptr) end("retired");
}

void Lease::on_timer(Timer&) { end("it does not answer"); }

void Lease::end(std::string_view) {
  if (std::exchange(ended_, true)) return;
  owner_ = nullptr;
  patience_.disarm();
  link_.close();
  forget_owed();
  relay_.ended(*this);
}

void Lease::on_link_lost(const std::string& why) {
  if (ended_) return;
  if (!finishing_) {  // else it does as we have asked
    LogLine(owed_.empty() ? Level::kInfo : Level::kWarn, "server-lost").text("relay", relay_.config().name).text("target", relay_.place(node_)).text("error", why)
        .number("owed", owed_.size());
    relay_.stats().add(Stat::kUpstreamsLost);
    relay_.failed(why);
  }
  const bool in_a_reply = reader_.begun();
  if (Session* owner = std::exchange(owner_, nullptr); owner != nullptr) owner->lease_lost(why, link_.refusal(), in_a_reply);
  end("lost");
}

// ---- bytes

void Lease::begin(uint32_t seq) {
  moved_ = relay_.loop().now();
  owed_.push_back(seq);
  relay_.stats().add(Stat::kUnderWay);
}

size_t Lease::send(std::string_view bytes) {
  bytes = bytes.substr(0, queue_.bound() - queue_.size());
  if (bytes.empty() || !queue_.reserve(bytes.size())) return 0;
  const size_t taken = bytes.size();
  for (const auto& span : queue_.room()) {
    const size_t n = std::min(bytes.size(), span.size());
    if (n > 0) std::memcpy(span.data(), bytes.data(), n);
    bytes.remove_prefix(n);
    queue_.commit(n);
  }
  if (link_.sends() && !std::exchange(writing_, true)) link_.again();
  return taken;
}

void Lease::finish() {
  finishing_ = true;
  write();
}

void Lease::write() {
  writing_ = false;
  if (!link_.sends()) return;
  while (!queue_.empty() && link_.writable()) {
    const Queue::Spans spans = queue_.front();
    const iovec parts[] = {{spans[0].data(), spans[0].size()}, {spans[1].data(), spans[1].size()}};
    const Result<size_t> n = link_.write(std::span(parts).first(spans[1].empty() ? 1 : 2));
    if (!n.ok()) break;
    queue_.consume(*n);
    moved_ = relay_.loop().now();
  }
  if (finishing_ && queue_.empty()) link_.finish();
}

void Lease::on_link_turn() {
  const bool full = queue_.full();
  write();
  if (full && !queue_.full() && owner_ != nullptr) owner_->resume();
}

size_t Lease::on_link_bytes(std::span<const std::byte> bytes) {
  if (!opaque_ && owed_.empty()) {
    link_.fail(bytes.front() == std::byte{'-'} ? std::string(text_of(bytes).substr(1, text_of(bytes).find('\r') - 1)) : "a reply that nobody has asked for");
    return 0;
  }
  const bool heard = opaque_ || owed_.front() != kUnheard;
  moved_ = relay_.loop().now();
  if (owner_ == nullptr) return bytes.size();
  if (heard) {
    const size_t room = opaque_ ? owner_->room() : owner_->room(static_cast<uint32_t>(owed_.front()));
    if (room == 0) {
      owner_->hold_up(*this);
      return 0;
    }
    bytes = bytes.first(std::min(room, bytes.size()));
  }
  if (opaque_ && owed_.empty()) {
    owner_->pass_raw(text_of(bytes));
    return bytes.size();
  }
  if (heard && !opaque_ && relay_.cluster() != nullptr && (!error_.empty() || (!reader_.begun() && bytes.front() == std::byte{'-'}))) return take_error(bytes);
  const Result<size_t> n = reader_.feed(bytes);
  if (!n.ok()) {
    link_.fail(n.status().reason());
    return 0;
  }
  const auto seq = static_cast<uint32_t>(owed_.front());
  if (heard) owner_->pass(seq, text_of(bytes.first(*n)));
  if (!reader_.done() || ended_) return *n;  // the client may have been ended by it
  const bool push = reader_.is_push();
  reader_.next();
  if (push) return *n;
  owed_.pop_front();
  if (heard) relay_.stats().sub(Stat::kUnderWay);
  if (heard && owner_ != nullptr) owner_->replied(seq);
  return *n;
}

// Which may say that the keys are at another node: a client that knows nothing of clusters does not hear that.
size_t Lease::take_error(std::span<const std::byte> bytes) {
  const Result<size_t> n = reader_.feed(bytes);
  if (!n.ok() || error_.size() + *n > kLongestError) {
    link_.fail(n.ok() ? "an endless error" : n.status().reason());
    return 0;
  }
  const size_t taken = *n;
  error_.append(text_of(bytes.first(taken)));
  if (!reader_.done()) return taken;
  reader_.next();
  std::string error = std::exchange(error_, {});
  const auto seq = static_cast<uint32_t>(owed_.front());
  owed_.pop_front();
  relay_.stats().sub(Stat::kUnderWay);
  bool ask = false;
  if (const std::optional<uint32_t> node = relay_.cluster()->told(error, node_, ask); node) {
    if (owner_->lease_moved(seq, *node, ask)) return taken;
    error = "-TRYAGAIN relay: the keys are on their way to another node; try again\r\n";
  }
  Session* owner = owner_;
  owner->deliver(seq, error);
  if (owner_ == owner) owner->replied(seq);  // it may have ended
  return taken;
}

void Lease::resume() { link_.again(); }

// What is still owed is, too, only passed on.
void Lease::make_opaque() {
  opaque_ = true;
  forget_owed();
}

void Lease::forget_owed() {
  relay_.stats().sub(Stat::kUnderWay, owed_.size() - static_cast<size_t>(std::count(owed_.begin(), owed_.end(), kUnheard)));
  owed_.clear();
}

void Lease::status(Json& json) const {
  const std::string_view names[] = {"idle", "dialing", "greeting", "ready"};
  json.text("state", names[static_cast<size_t>(link_.state())]).flag("private", true).text("target", relay_.place(node_)).number("owed", owed_.size())
      .number("queued_bytes", queue_.size());
}

}  // namespace relay::redis

// SPDX-License-Identifier: Apache-2.0
// Upstream: dialling, checking, the three calls, and what is left when they end. See upstream.h for the picture.
#include "kinds/plex/upstream.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "kinds/plex/plex.h"
#include "lib/json.h"
#include "lib/log.h"
#include "lib/text.h"
#include "wire/parcel.h"

namespace relay::plex {
namespace {

constexpr uint32_t kOk = 0, kUnknown = 2, kUnimplemented = 12;  // codes of gRPC
constexpr uint64_t kCallQueue = 4096;                           // of ready and live, whose messages are empty
constexpr uint32_t kCheckMost = 64 * 1024;                      // bytes of an answer to these
constexpr size_t kLateMost = 4;                                 // events a client that may wait beside the queue
constexpr size_t kLateBytes = 64 * 1024 * 1024;
constexpr size_t kLateReports = 1024 * 1024;                    // some 80 MB

std::string_view name_of(Upstream::State state) {
  switch (state) {
    case Upstream::State::kDown: return "down";
    case Upstream::State::kDialing: return "dialing";
    case Upstream::State::kAsking: return "asking";
    case Upstream::State::kNotReady: return "not-ready";
    case Upstream::State::kUp: return "up";
    case Upstream::State::kLeaving: return "leaving";
  }
  return {};
}

std::string features_text(upstream::Features features) {
  constexpr std::array<std::pair<upstream::Features, std::string_view>, 6> kNames = {{{upstream::kEvents, "events"}, {upstream::kSeq, "seq"}, {upstream::kAck, "ack"},
                                                                                     {upstream::kAuth, "auth"}, {upstream::kDeliveryReport, "delivery"}, {upstream::kGroups, "groups"}}};
  std::string text;
  for (const auto& [bit, name] : kNames)
    if ((features & bit) != 0) text += (text.empty() ? "" : ",") + std::string(name);
  return text.empty() ? "none" : text;
}

// upstream-queue; more while there are clients from before a reload whose messages may be longer than that.
uint64_t bound_of(const PlexRelay& relay) { return std::max<uint64_t>(relay.config().upstream_queue, relay.entrances().longest() + kBesideMessage); }

}  // namespace

Upstream::Upstream(PlexRelay& relay, uint32_t id, std::string name, std::string source, DialPlan plan, std::string authority)
    : relay_(relay),
      loop_(relay.loop()),
      id_(id),
      name_(std::move(name)),
      name_number_(relay::name_number(name_)),
      source_(std::move(source)),
      authority_(std::move(authority)),
      plan_(std::move(plan)),
      h2_(relay.loop(), *this, {}),
      ready_(*this, Call::kReady, kCallQueue, kCheckMost),
      live_(*this, Call::kLive, kCallQueue, kCheckMost),
      talk_(*this, Call::kTalk, bound_of(relay), relay.config().upstream_message),
      timer_(relay.loop(), *this),
      live_timer_(relay.loop(), *this),
      rest_timer_(relay.loop(), *this) {}

Upstream::~Upstream() { Dial::let_go(dial_); }

// ---- coming

void Upstream::start() { dial(); }

void Upstream::dial() {
  state_ = State::kDialing;
  dial_ = std::make_unique<Dial>(loop_, relay_.resolver(), plan_, static_cast<DialUser&>(*this));
  dial_->start();
}

void Upstream::on_dial_try(const Addr&) { relay_.stats().add(Stat::kDials); }

void Upstream::on_dialed(const Addr&) {
  const Status status = h2_.take(*dial_);
  Dial::let_go(dial_);
  if (h2_.tls() != nullptr) relay_.stats().add(Stat::kTlsHandshakes);
  if (!status.ok()) {
    h2_.close();
    trouble_ = status.reason();
    relay_.stats().add(Stat::kDialFailures);
    relay_.failed(name_ + ": " + trouble_);
    LogLine(Level::kWarn, "dial-failed").text("relay", relay_.name()).text("target", name_).text("error", trouble_);
    return down(next_pause());
  }
  ask_ready();
}

void Upstream::on_dial_failed(const Addr& to, const Status& why, unsigned round, Delay retry) {
  const std::string& details = dial_->details();
  if (!details.empty()) relay_.stats().add(Stat::kTlsHandshakeFailures);
  relay_.stats().add(Stat::kDialFailures);
  trouble_ = !details.empty() ? details : why.error() != 0 ? std::strerror(why.error()) : why.reason();
  const std::string target = to.family == Addr::Family::kNone ? name_ : to.text();
  relay_.failed(target + ": " + trouble_);
  LogLine(Level::kWarn, "dial-failed").text("relay", relay_.name()).text("target", target).text("error", trouble_).number("round", round).number("retry_ms", retry.count());
}

void Upstream::request(Stream& stream, std::string_view method, bool end) {
  const std::string path = "/upstream.grpc.service.UpstreamPeerService/" + std::string(method);
  const std::string agent = "relay/" + std::string(kVersion);
  const std::string timeout = std::to_string(relay_.config().ready_timeout.count()) + "m";  // milliseconds
  const std::array<H2Header, 8> headers = {{{":method", "POST"}, {":scheme", h2_.tls() != nullptr ? "https" : "http"}, {":path", path}, {":authority", authority_},
                                           {"te", "trailers"}, {"content-type", "application/grpc"}, {"user-agent", agent}, {"grpc-timeout", timeout}}};
  h2_.request(stream.stream, std::span(headers).first(end ? 8 : 7), false);
  if (end) stream.stream.finish();
}

void Upstream::ask_ready() {
  state_ = State::kAsking;
  asked_at_ = loop_.now();
  ready_.reset();
  static_cast<void>(ready_.stream.write({grpc_prefix(0)}));
  request(ready_, "ready", true);
  timer_.arm(relay_.config().ready_timeout);
}

void Upstream::not_ready(std::string_view why) {
  ready_.reset();
  relay_.stats().add(Stat::kNotReady);
  trouble_ = why;
  relay_.failed(name_ + ": " + trouble_);
  LogLine(Level::kInfo, "upstream-not-ready").text("relay", relay_.name()).text("upstream", name_).text("error", why);
  state_ = State::kNotReady;
  timer_.arm(relay_.config().ready_interval);
}

void Upstream::up(const upstream::Ready& ready) {
  timer_.disarm();
  ready_.reset();
  state_ = State::kUp;
  features_ = ready.features;
  weight_ = std::clamp<uint32_t>(ready.weight, 1, 1'000'000);
  max_clients_ = ready.max_clients;
  up_at_ = live_at_ = loop_.now();
  refused_ = false;
  talk_.reset();
  talk_.stream.unsent().set_bound(bound_of(relay_));  // which may have been smaller than what was in it
  sent_ = {};
  request(talk_, "bidirectionalStreaming", false);
  ask_live();
  trouble_.clear();
  LogLine(Level::kInfo, "upstream-up").text("relay", relay_.name()).text("upstream", name_).text("features", features_text(features_));
  relay_.upstream_up(*this);
}

// ---- whether it lives

void Upstream::ask_live() {
  const Delay interval = relay_.config().live_interval;
  if (interval.count() == 0) return;
  live_timer_.arm(interval);
  talk_.stream.tidy();
  if (!live_.stream.is_open()) {
    live_.reset();
    request(live_, "live", false);
  }
  static_cast<void>(live_.stream.write({grpc_prefix(0)}));  // no room: it has not answered the last 800 either
}

void Upstream::reconfigured() {
  plan_ = relay_.plan_to(plan_.target, plan_.tls);
  talk_.stream.unsent().set_bound(bound_of(relay_));
  talk_.reader.set_most(relay_.config().upstream_message);
  if (state_ != State::kUp) return;
  live_timer_.disarm();
  live_at_ = loop_.now();
  ask_live();
  if (refused_ && talk_.stream.unsent().size() < talk_.stream.unsent().bound()) on_room();
}

void Upstream::heard_live() { live_at_ = loop_.now(); }

void Upstream::on_timer(Timer& timer) {
  if (&timer == &rest_timer_) return go_on();
  if (&timer == &live_timer_) {
    if (rest_timer_.armed()) heard_live();  // it is not read meanwhile
    if (loop_.now() - live_at_ >= relay_.config().live_timeout) {
      relay_.stats().add(Stat::kNotLive);
      return lost("it has not said that it lives");
    }
    return ask_live();
  }
  switch (state_) {
    case State::kDown: return dial();
    case State::kNotReady: return ask_ready();
    case State::kAsking: {
      const bool took = ready_.stream.unsent().empty();  // a question that it does not let leave stays with HTTP/2
      ready_.reset();
      if (h2_.is_open() && h2_.last_heard() >= asked_at_ && took) return not_ready("no answer to ready in time");
      h2_.close();
      trouble_ = "it says nothing";
      relay_.failed(name_ + ": " + trouble_);
      relay_.stats().add(Stat::kNotReady);
      LogLine(Level::kInfo, "upstream-not-ready").text("relay", relay_.name()).text("upstream", name_).text("error", trouble_);
      return down(next_pause());
    }
    case State::kLeaving: return lost(trouble_);
    case State::kUp: return lost("it takes no events");
    case State::kDialing: return;
  }
}

// ---- what it says

void Upstream::Stream::reset() {
  stream.reset(H2Stream::kCancel);
  reader.clear();
  code.reset();
  message.clear();
  rest = {};
  answers_ = false;
  http_code_ = 0;
}

void Upstream::Stream::on_h2_headers(std::span<const H2Header> headers, bool trailers) {
  for (const H2Header& header : headers) {
    if (header.name == "grpc-status") code = parse_grpc_status(header.value);
    if (header.name == "grpc-message") message = printable(decode_grpc_message(header.value));
    if (header.name == ":status" && header.value != "200") {
      http_code_ = grpc_code_of_http(static_cast<unsigned>(parse_integer(header.value).value_or(0)));
      message = "HTTP " + printable(header.value);
    }
    if (!trailers && header.name == "content-type") answers_ = header.value.starts_with("application/grpc");
  }
  if (trailers || call_ != Call::kTalk || code || (answers_ && http_code_ == 0)) return;
  // Nothing of what follows is for us, and nothing of ours is heard.
  const std::string_view name = grpc_code_name(http_code_);
  owner_.ended(call_, kUnknown, http_code_ == 0 ? "it does not speak gRPC" : std::string(name.empty() ? "UNKNOWN" : name) + ": " + message);
}

void Upstream::Stream::on_h2_data(std::span<const std::byte> bytes) {
  if (!answers_ || http_code_ != 0) return;  // a page that says what is wrong
  if (call_ == Call::kTalk && owner_.rest_timer_.armed()) rest.append(text_of(bytes));
  else take(bytes);
}

void Upstream::Stream::take(std::span<const std::byte> bytes) {
  bool tired = false;
  const Status status = reader.feed(bytes, [&](std::span<const std::byte> one) {
    const bool more = owner_.message(call_, one);
    tired = more && call_ == Call::kTalk && owner_.is_tired();
    return more && !tired;
  });
  if (tired) {
    rest.assign(text_of(reader.rest()));
    owner_.h2_.hold(true);
    return owner_.rest_timer_.arm(Delay{0});
  }
  if (status.ok() || !stream.is_open()) return;
  owner_.relay_.stats().add(Stat::kBadMessages);
  if (call_ != Call::kTalk) stream.reset(H2Stream::kCancel);  // whose queue is still wanted
  owner_.ended(call_, kUnknown, std::string("it has sent ") + status.reason());
}

void Upstream::Stream::hear_rest() {
  while (!rest.empty()) {
    const std::string bytes = std::exchange(rest, {});
    take(std::as_bytes(std::span(bytes)));
  }
}

void Upstream::Stream::on_h2_end(const Status& why, uint32_t error_code, const std::string& details) {
  hear_rest();  // it has said that before its end
  const bool in_order = why.ok() || why.code() == Code::kEof;
  uint32_t result = in_order ? code.value_or(http_code_ != 0 ? http_code_ : kUnknown) : kUnknown;
  std::string text = message;
  if (!in_order) {
    text = why.code() == Code::kReset ? "the stream was reset, code " + std::to_string(error_code) : !details.empty() ? details : why.reason();
  } else if (reader.has_part()) {
    result = kUnknown;
    text = "its last message was cut off";
  } else if (!code && http_code_ == 0) {
    text = answers_ ? "the stream ended without a grpc-status" : "it does not speak gRPC";
  }
  if (text.empty()) text = result == kOk ? "the stream was ended by the upstream" : "";
  const std::string_view name = grpc_code_name(result);
  if (result != kOk) text = std::string(name.empty() ? "UNKNOWN" : name) + (text.empty() ? "" : ": " + text);
  owner_.ended(call_, result, text);
}

// False: whatever else has come is not for us any more.
bool Upstream::message(Call call, std::span<const std::byte> bytes) {
  if (call == Call::kTalk) return talked(bytes);
  if (call == Call::kLive) {
    upstream::Live live;
    if (const Status status = decode(bytes, live); !status.ok() || !live.live) {
      relay_.stats().add(Stat::kNotLive);
      lost(status.ok() ? "it says that it does not live" : "its answer to live is no LiveResult");
      return false;
    }
    heard_live();
    return true;
  }
  if (state_ != State::kAsking) return false;
  upstream::Ready ready;
  if (const Status status = decode(bytes, ready); !status.ok()) not_ready("its answer to ready is no ReadyResult");
  else if (!ready.ready) not_ready("it says that it is not");
  else if (h2_.takes_streams()) up(ready);
  else trouble_ = "it is going away";  // the connection's end follows
  return false;
}

bool Upstream::talked(std::span<const std::byte> bytes) {
  heard_live();
  const uint64_t before = relay_.written();
  const uint64_t broadcasts = relay_.stats().get(Stat::kBroadcasts);
  if (const Status status = relay_.heard(*this, bytes); !status.ok()) lost("it said what is no OutputStreamRequest: " + std::string(status.reason()));
  work_.add(loop_.turns(), relay_.written() - before);
  to_all_ = relay_.stats().get(Stat::kBroadcasts) != broadcasts;
  return state_ == State::kUp || state_ == State::kLeaving;
}

// It has made as much work as it may in one turn, or has said more to all than is done yet: what it says on is heard later, so that others are heard,
// too, and what is for all need not be thrown away.
bool Upstream::is_tired() const { return work_.is_enough(loop_.turns()) || (to_all_ && relay_.is_behind(id_)); }

// In a turn of its own: with what is left of the last block, and then with the connection.
void Upstream::go_on() {
  if (work_.began_in(loop_.turns()) || (to_all_ && relay_.is_behind(id_))) return rest_timer_.arm(Delay{0});
  heard_live();
  const std::string bytes = std::exchange(talk_.rest, {});
  talk_.take(std::as_bytes(std::span(bytes)));
  if (!rest_timer_.armed()) h2_.hold(false);
}

// One of the calls is over.
void Upstream::ended(Call call, uint32_t code, const std::string& why) {
  switch (call) {
    case Call::kReady:
      if (state_ != State::kAsking) return;
      if (code == kUnimplemented && h2_.takes_streams()) return up({.ready = true});
      if (h2_.takes_streams()) return not_ready(code == kOk ? "it has not answered" : why);
      trouble_ = why;
      return;  // the connection's end follows
    case Call::kLive:
      if (code == kUnimplemented) heard_live();  // it has no such method, and has said so. (Servers of gRPC end who sends PINGs without need.)
      return;  // it is opened anew, and time will tell
    case Call::kTalk: return lost(why, code == kOk);
  }
}

// ---- what is said to it

bool Upstream::give(const upstream::Input& input) {
  if (!has_room()) return false;
  upstream::Input one = input;
  if (!has(upstream::kSeq) && !has(upstream::kAck)) one.seq = 0;
  if (!has(upstream::kAck)) one.redelivered = false;
  head_.clear();
  encode(one, head_);
  if (head_.size() + input.payload.size() > talk_.stream.unsent().bound()) {  // (it had been read for another configuration)
    relay_.lost(1, "longer than upstream-queue");
    return true;
  }
  loop_.expect_soon();  // its answer
  if (write(input.payload, input.seq, true)) return true;
  refused_ = true;
  relay_.stats().add(Stat::kUpstreamQueueFull);
  return false;
}

void Upstream::tell(const upstream::Input& input) {
  if (state_ != State::kUp && state_ != State::kLeaving) return;
  if (!has(upstream::kEvents)) return;
  upstream::Input one = input;
  if (!has(upstream::kSeq) && !has(upstream::kAck)) one.seq = 0;
  head_.clear();
  encode(one, head_);
  if (head_.size() > talk_.stream.unsent().bound()) {  // then without what makes it long
    one.labels.clear();
    one.close_details = {};
    head_.clear();
    encode(one, head_);
  }
  if (late_.empty() && write({}, input.seq)) return;
  // One that takes no events is given up, but not from here: who tells may be in the middle of something.
  if (late_events_ >= 1024 + kLateMost * relay_.config().clients || late_bytes_ >= kLateBytes) timer_.arm(Delay{0});
  refused_ = true;
  ++late_events_;
  late_bytes_ += head_.size();
  late_.push_back({.event = head_});
}

void Upstream::encode_report(uint64_t request, const Uuid& uuid, upstream::Delivery what) {
  char text[Uuid::kText];
  uuid.write(text);
  upstream::Input input;
  input.time = relay_.time_text();
  input.client_uuid = {text, sizeof text};
  input.event = upstream::Event::kDelivery;
  input.request_id = request;
  input.delivery = what;
  head_.clear();
  encode(input, head_);
}

// A client that ends, or reads on after a long time, may owe tens of thousands: no reason to give up an upstream that reads.
void Upstream::report(uint64_t request, const Uuid& uuid, upstream::Delivery what) {
  if ((state_ != State::kUp && state_ != State::kLeaving) || !has(upstream::kDeliveryReport)) return;
  if (late_.empty()) {
    encode_report(request, uuid, what);
    if (write({}, 0)) return;
  }
  if (late_.size() - late_events_ >= kLateReports) timer_.arm(Delay{0});
  refused_ = true;
  late_.push_back({.event = {}, .request = request, .uuid = uuid, .what = what});
}

// True: none are left.
bool Upstream::send_late() {
  while (!late_.empty()) {
    const Late& late = late_.front();
    const bool is_event = !late.event.empty();
    if (is_event) head_ = late.event;
    else encode_report(late.request, late.uuid, late.what);
    Queue& queue = talk_.stream.unsent();
    if (head_.size() > queue.bound()) queue.set_bound(head_.size());  // (it was made for another configuration)
    if (!write({}, 0)) return false;
    if (is_event) {
      --late_events_;
      late_bytes_ -= head_.size();
    }
    late_.pop_front();
  }
  return true;
}

void Upstream::on_room() {
  if (state_ == State::kLeaving) {
    if (send_late()) talk_.stream.finish();
    return;
  }
  if (state_ != State::kUp || !send_late()) return;
  talk_.stream.unsent().set_bound(bound_of(relay_));  // a reload may have made it less than what was in it
  refused_ = false;
  relay_.upstream_has_room(*this);
}

// ---- going

void Upstream::on_h2_leaving(uint32_t error_code, const std::string& details) {
  blames_ = error_code != 0;
  trouble_ = details.empty() ? "it is going away" : "it is going away: " + printable(details);
  if (state_ == State::kUp) leave();
}

// What it has is sent, and it may answer; then it is over.
void Upstream::leave() {
  if (state_ == State::kLeaving) return;
  state_ = State::kLeaving;
  relay_.stats().sub(Stat::kUpstreams);
  live_timer_.disarm();
  live_.reset();
  timer_.arm(kLeave);
  relay_.upstream_has_room(*this);  // who waited for room in it may find some elsewhere
  if (send_late()) talk_.stream.finish();
}

void Upstream::retire() {
  retired_ = true;
  if (state_ == State::kUp) {
    trouble_ = "it was taken out";
    return leave();
  }
  if (state_ != State::kLeaving) close();
}

void Upstream::on_h2_down(const std::string& why) {
  if (state_ == State::kUp || state_ == State::kLeaving) return lost(why);
  if (state_ == State::kDown) return;
  trouble_ = trouble_.empty() ? why : trouble_;
  LogLine(Level::kWarn, "dial-failed").text("relay", relay_.name()).text("target", name_).text("error", why);
  relay_.failed(name_ + ": " + why);
  relay_.stats().add(Stat::kDialFailures);
  down(next_pause());
}

// The stream is over, or to be given up.
void Upstream::lost(const std::string& why, bool ended_well) {
  if (state_ != State::kUp && state_ != State::kLeaving) return;
  talk_.hear_rest();
  if (state_ != State::kUp && state_ != State::kLeaving) return;  // what it had said was its end
  const std::string said = why.empty() ? trouble_ : why;
  const bool left = state_ == State::kLeaving && (retired_ || (ended_well && !blames_));
  if (state_ == State::kUp) relay_.stats().sub(Stat::kUpstreams);
  if (!left) {
    relay_.stats().add(Stat::kUpstreamsLost);
    relay_.failed(name_ + ": " + said);
    LogLine(Level::kWarn, "upstream-lost").text("relay", relay_.name()).text("upstream", name_).text("error", said).number("clients", client_count);
  } else {
    LogLine(Level::kInfo, "upstream-left").text("relay", relay_.name()).text("upstream", name_);
  }
  trouble_ = said;
  const bool lasted = loop_.now() - up_at_ >= Delay{1000};
  state_ = State::kDown;
  const std::string rest = unsent();
  talk_.reset();
  live_.reset();
  live_timer_.disarm();
  rest_timer_.disarm();
  h2_.close();
  give_back(rest);
  relay_.upstream_gone(*this);
  if (lasted) pause_ = {};
  down(next_pause());
}

// What is in the queue of whole messages: those that HTTP/2 has taken nothing of.
std::string Upstream::unsent() {
  count_sent();
  Queue& queue = talk_.stream.unsent();
  const bool cut = !sent_.empty() && first_ < queue.read();
  const uint64_t begin = cut ? first_ + sent_.front().size : queue.read();
  if (cut && sent_.front().is_data && !has(upstream::kAck)) relay_.lost(1, "cut off with its upstream's connection");
  if (cut) sent_.pop_front();
  std::string all;
  for (const std::span<std::byte> span : queue.from(begin)) all.append(text_of(span));
  return all;
}

// Forgets those that have gone.
void Upstream::count_sent() {
  while (!sent_.empty() && first_ + sent_.front().size <= talk_.stream.unsent().read()) {
    first_ += sent_.front().size;
    sent_.pop_front();
  }
}

bool Upstream::write(std::span<const std::byte> payload, uint64_t seq, bool is_data) {
  if (!talk_.stream.write({std::as_bytes(std::span(head_)), payload})) return false;
  count_sent();
  const auto size = static_cast<uint32_t>(head_.size() + payload.size());
  if (sent_.empty()) first_ = talk_.stream.unsent().written() - size;
  sent_.push_back({size, is_data, seq});
  return true;
}

// Whose clients are to have it once more. `all`: what unsent() has found.
void Upstream::give_back(const std::string& all) {
  const auto give_one = [&](std::string_view message, uint64_t seq) {
    upstream::Input input;
    if (!decode(std::as_bytes(std::span(message)).subspan(kGrpcPrefix), input).ok()) return;
    input.seq = seq;
    relay_.take_back(*this, input);
  };
  size_t at = 0;
  for (const Sent& sent : std::exchange(sent_, {})) {
    give_one(std::string_view(all).substr(at, sent.size), sent.seq);
    at += sent.size;
  }
  late_bytes_ = late_events_ = 0;
  for (const Late& late : std::exchange(late_, {}))
    if (!late.event.empty()) give_one(late.event, 0);
}

Delay Upstream::next_pause() {
  pause_ = pause_.count() == 0 ? plan_.retry_min : std::min(pause_ * 2, plan_.retry_max);
  return pause_ - Delay{static_cast<int64_t>(loop_.random().below(static_cast<uint64_t>(pause_.count()) / 2 + 1))};
}

void Upstream::down(Delay pause) {
  state_ = State::kDown;
  timer_.disarm();
  if (retired_) return close();
  timer_.arm(pause);
}

void Upstream::close() {
  const bool was_up = state_ == State::kUp;
  const bool had = was_up || state_ == State::kLeaving;
  state_ = State::kDown;
  retired_ = true;
  Dial::let_go(dial_);
  timer_.disarm();
  live_timer_.disarm();
  rest_timer_.disarm();
  ready_.reset();
  live_.reset();
  const std::string rest = had ? unsent() : std::string();
  talk_.reset();
  h2_.close();
  if (was_up) relay_.stats().sub(Stat::kUpstreams);
  if (had) {
    give_back(rest);
    relay_.upstream_gone(*this);
  }
  relay_.upstream_closed(*this);
}

control::UpstreamState Upstream::shown() const { return {name_, name_of(state_), client_count, features_text(features_), static_cast<uint64_t>(weight_), trouble_}; }

void Upstream::status(Json& json) const {
  const control::UpstreamState state = shown();
  json.text("upstream", state.upstream).text("state", state.state).number("clients", state.clients).text("features", state.features).number("weight", state.weight);
  if (tier != nullptr) json.number("priority", uint64_t{priority});
  if (state.last_error.empty()) json.null("last_error");
  else json.text("last_error", state.last_error);
}

}  // namespace relay::plex

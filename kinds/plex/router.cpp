// SPDX-License-Identifier: Apache-2.0
// Router: where to, and what comes from there. See router.h.
#include "kinds/plex/router.h"

#include <algorithm>
#include <set>
#include <utility>

#include "kinds/plex/plex.h"
#include "lib/json.h"
#include "net/sys.h"

namespace relay::plex {
namespace {

using upstream::Delivery;
using upstream::Output;

bool is_for_all(const Output& output) {
  const bool changes_group = output.command == upstream::Command::kJoin || output.command == upstream::Command::kLeave;
  return output.target == Output::Target::kBroadcast || (output.target == Output::Target::kGroup && !changes_group);
}

bool is_same(const Route& a, const Route& b) {
  return a.plan.relay == b.plan.relay && a.plan.prefix == b.plan.prefix && a.plan.dial.target.text() == b.plan.dial.target.text() && a.plan.user == b.plan.user &&
         a.plan.password == b.plan.password;
}

// The tag of one that has no crew.
uint32_t new_tag() {
  uint32_t tag = 0;
  CHECK(sys::random_bytes(&tag, sizeof tag));
  return tag;
}

}  // namespace

Router::Router(PlexRelay& relay, const Env& env)
    : relay_(relay), mate_(env.mate), self_{mate_ != nullptr ? mate_->tag : new_tag(), static_cast<uint16_t>(mate_ != nullptr ? mate_->number : 0)},
      exchange_(env.loop, env.resolver, *this) {}

void Router::configure(const std::optional<Route>& route, std::unique_ptr<TlsContext> tls) {
  const bool same = route && route_ && is_same(*route_, *route);
  if (!same) close();
  if (tls_ != nullptr && tls != nullptr) *tls_ = std::move(*tls);
  else tls_ = std::move(tls);
  routes_ = route.has_value();
  route_ = route;
  if (!route) return;
  ExchangePlan plan = route->plan;
  plan.dial.tls = tls_.get();
  if (same) return exchange_.change(std::move(plan));
  Json json(plan.about);
  json.begin('{').text("name", plan.relay).number("pid", sys::process_id()).number("worker", self_.worker).text("since", relay_.time_text()).end('}');
  exchange_.start(std::move(plan), self_.number());
}

void Router::close() {
  if (exchange_.is_up()) relay_.stats().sub(Stat::kRoutes);
  exchange_.close();
}

bool Router::is_elsewhere(const Uuid& uuid) const {
  const Place place = Place::of(uuid);
  if (place == self_) return false;
  return place.tag == self_.tag && mate_ != nullptr ? place.worker < mate_->count : routes_;
}

// ---- out

void Router::pass_on(uint32_t speaker, std::string_view name, std::span<const std::byte> message, const Output& output) {
  if (!is_on()) return;
  std::set<Place> places;
  Asked asked{0, speaker, 0, {}};
  const auto look = [&](std::string_view text) -> std::optional<Uuid> {
    const std::optional<Uuid> uuid = Uuid::parse(text);
    if (!uuid || relay_.find(*uuid) != nullptr || !is_elsewhere(*uuid)) return std::nullopt;
    places.insert(Place::of(*uuid));
    return uuid;
  };
  if (output.target == Output::Target::kClient)
    if (const std::optional<Uuid> uuid = look(output.client_uuid)) asked = {0, speaker, output.request_id, *uuid};
  for (const std::string_view text : output.client_uuids) static_cast<void>(look(text));
  const bool for_all = is_for_all(output);
  if (!for_all && places.empty()) return;

  std::string head;
  encode(Parcel{.from = self_, .speaker = speaker, .name = name_number(name)}, head);
  std::string made;
  if (message.empty()) {
    encode(output, made);
    message = std::as_bytes(std::span(made)).subspan(kGrpcPrefix);
  }
  if (for_all) return send_to_all(std::as_bytes(std::span(head)), message);  // with it to those who are named
  for (const Place& place : places) {
    const bool is_his = asked.request != 0 && place == Place::of(asked.uuid);
    send(place, std::as_bytes(std::span(head)), message, is_his ? asked : Asked{0, speaker, 0, {}});
  }
}

void Router::send_to_all(std::span<const std::byte> head, std::span<const std::byte> message) {
  if (mate_ != nullptr && mate_->count > 1) {
    std::string letter(reinterpret_cast<const char*>(head.data()), head.size());
    letter.append(reinterpret_cast<const char*>(message.data()), message.size());
    relay_.stats().add(mate_->mail.send(Mail::kEverybody, std::as_bytes(std::span(letter))) ? Stat::kRouted : Stat::kRouteLost);
  }
  if (!routes_) return;
  if (!exchange_.publish_all({head, message}, cookies_ + 1)) return relay_.stats().add(Stat::kRouteLost);
  published({});
}

void Router::published(const Asked& asked) {
  asked_.push_back(asked);
  asked_.back().cookie = ++cookies_;
  relay_.stats().add(Stat::kRouted);
}

void Router::send(const Place& to, std::span<const std::byte> head, std::span<const std::byte> message, const Asked& asked) {
  if (mate_ != nullptr && to.tag == self_.tag) {
    std::string letter(reinterpret_cast<const char*>(head.data()), head.size());
    letter.append(reinterpret_cast<const char*>(message.data()), message.size());
    if (!mate_->mail.send(to.worker, std::as_bytes(std::span(letter)))) return lost(asked, Delivery::kQueueFull);
    return relay_.stats().add(Stat::kRouted);
  }
  if (!exchange_.publish(to.number(), {head, message}, cookies_ + 1)) return lost(asked, Delivery::kUnreachable);
  published(asked);
}

void Router::lost(const Asked& asked, Delivery why) {
  relay_.stats().add(Stat::kRouteLost);
  if (asked.request != 0) relay_.report(asked.speaker, asked.request, asked.uuid, why);
}

void Router::report(uint32_t speaker, uint64_t request, const Uuid& uuid, Delivery what) {
  if (speaker == kNoReports) return;
  const size_t index = (speaker - kElsewhere) % kSpeakersMost;
  if (index >= speakers_.size() || speakers_[index].id != speaker) return relay_.stats().add(Stat::kRouteLost);  // another has its place
  const Speaker& asks = speakers_[index];
  std::string parcel;
  encode(Parcel{.what = Parcel::What::kReport, .from = self_, .speaker = asks.number, .request = request, .uuid = uuid, .delivery = what}, parcel);
  send(asks.place, std::as_bytes(std::span(parcel)), {}, {});
}

void Router::on_exchange_published(uint64_t cookie, Outcome outcome) {
  if (asked_.empty() || asked_.front().cookie != cookie) return;
  const Asked asked = asked_.front();
  asked_.pop_front();
  if (outcome != Outcome::kDelivered) lost(asked, Delivery::kUnreachable);
}

// ---- in

bool Router::is_tired() const { return work_.is_enough(relay_.loop().turns()); }

bool Router::mail(std::span<const std::byte> letter) {
  arrived(letter, false);
  return !is_tired();
}

void Router::mail_returned(unsigned to, std::span<const std::byte> letter) {
  Parcel parcel;
  if (!decode(letter, parcel).ok() || parcel.what != Parcel::What::kOutput) return relay_.stats().add(Stat::kRouteLost);
  output_.clear();
  const std::optional<Uuid> uuid = decode(parcel.message, output_).ok() && output_.target == Output::Target::kClient ? Uuid::parse(output_.client_uuid) : std::nullopt;
  const bool is_his = uuid && Place::of(*uuid) == Place{self_.tag, static_cast<uint16_t>(to)};  // it may have been for others as well
  lost({0, parcel.speaker, is_his ? output_.request_id : 0, uuid.value_or(Uuid{})}, Delivery::kUnreachable);
}

void Router::on_exchange_up() { relay_.stats().add(Stat::kRoutes); }

void Router::on_exchange_down(bool was_up, const std::string& why) {
  if (was_up) relay_.stats().sub(Stat::kRoutes);
  relay_.failed("route: " + why);
}

void Router::on_exchange_too_long() { relay_.stats().add(Stat::kRouteLost); }

bool Router::on_exchange_message(bool for_all, std::span<const std::byte> bytes) {
  arrived(bytes, for_all);
  return !is_tired();
}

uint32_t Router::speaker_of(const Parcel& parcel) {
  if (parcel.speaker == 0) return 0;
  const std::pair<Place, uint32_t> who{parcel.from, parcel.speaker};
  if (const auto at = numbers_.find(who); at != numbers_.end()) return at->second;
  const uint32_t id = kElsewhere + next_speaker_;
  const size_t index = next_speaker_ % kSpeakersMost;
  next_speaker_ = (next_speaker_ + 1) % kSpeakersEver;
  if (index == speakers_.size()) speakers_.emplace_back();
  else numbers_.erase({speakers_[index].place, speakers_[index].number});  // who came first
  speakers_[index] = {id, parcel.from, parcel.speaker};
  return numbers_[who] = id;
}

// `for_all`: by Redis, which gives such a message to all workers, and our own have it by mail.
void Router::arrived(std::span<const std::byte> bytes, bool for_all) {
  Parcel parcel;
  if (const Status status = decode(bytes, parcel); !status.ok()) return relay_.bad_parcel(status);
  if (for_all && parcel.from.tag == self_.tag) return;
  if (parcel.what == Parcel::What::kReport) {
    if (!is_elsewhere(parcel.speaker)) relay_.report(parcel.speaker, parcel.request, parcel.uuid, parcel.delivery);
    return;
  }
  output_.clear();
  if (const Status status = decode(parcel.message, output_); !status.ok()) return relay_.bad_parcel(status);
  relay_.stats().add(Stat::kRouteReceived);
  const uint64_t before = relay_.written();
  relay_.deliver({.id = parcel.speaker != 0 && output_.request_id == 0 ? kNoReports : speaker_of(parcel), .name = "elsewhere", .acks_for = relay_.id_of(parcel.name), .is_elsewhere = true}, output_);
  work_.add(relay_.loop().turns(), relay_.written() - before);
}

void Router::status(Json& json) const {
  if (!routes_) return;
  json.begin('{', "route");
  exchange_.status(json);
  json.end('}');
}

}  // namespace relay::plex

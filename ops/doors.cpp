// SPDX-License-Identifier: Apache-2.0
// Doors: opening, changing, telling.
#include "ops/doors.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "lib/check.h"
#include "lib/log.h"

namespace relay {

std::string bind_remedy(const Endpoint& where, const Status& why) {
  const std::string place = where.text();
  const std::string port = std::to_string(where.port);
  switch (why.error()) {
    case EADDRINUSE:
      if (where.kind == Endpoint::Kind::kUnix) return place + " is in use or is no socket; stop the program that listens there, or choose another path";
      return place + " is in use; stop the program that has it (ss -ltnp 'sport = :" + port + "') or choose another port";
    case EACCES:
    case EPERM:
      if (where.kind == Endpoint::Kind::kUnix) return "no permission to make " + place + "; choose a folder that this user may write to";
      return "no permission to listen on " + place + "; choose a port from 1024 up, or grant CAP_NET_BIND_SERVICE";
    case EADDRNOTAVAIL: return place + " is no address of this machine; see: ip addr";
    case ENAMETOOLONG: return place + ": the path is too long; a socket's has at most 107 bytes";
    case ENOENT: return place + ": the folder does not exist; make it first";
    default: return "cannot listen on " + place + ": " + (why.error() != 0 ? std::strerror(why.error()) : why.reason());
  }
}

// ---- Sparing

bool Sparing::tell(Time now) {
  if (now - since_ >= Delay{1000}) {
    since_ = now;
    told_ = 0;
  }
  if (++told_ <= kMost) return true;
  ++untold_;
  return false;
}

uint64_t Sparing::untold() { return std::exchange(untold_, 0U); }

// ---- Doors

void Doors::prepare(const Plan& plan, Faults& faults) {
  if (plan.tls != nullptr) {
    prepared_tls_ = std::make_unique<TlsContexts>();
    std::vector<TlsFault> found;
    prepared_tls_->load(*plan.tls, found);
    for (const TlsFault& fault : found) faults.push_back({plan.name, std::string(fault.key) + ": " + fault.what});
  }
  for (const Place& place : plan.places) open(plan, place, faults);
}

void Doors::rollback() {
  prepared_.clear();
  prepared_tls_.reset();
}

void Doors::open(const Plan& plan, const Place& place, Faults& faults) {
  const Endpoint& where = place.where;
  std::string what = where.text();  // a door that has the same stays as it is
  // Several have the same place where the kernel is to choose the port.
  const auto number = static_cast<size_t>(&place - plan.places.data());
  const auto wanted = std::count_if(plan.places.begin(), plan.places.begin() + static_cast<std::ptrdiff_t>(number), [&](const Place& one) { return one.where.text() == what; });
  if (std::count_if(doors_.begin(), doors_.end(), [&](const auto& door) { return door->place == what && door->listener.is_open(); }) > wanted) return;
  Result<Listening> listening = sockets_.open(where, plan.options);
  if (!listening.ok()) {
    faults.push_back({plan.name, bind_remedy(where, listening.status())});
    return;
  }
  prepared_.push_back(std::make_unique<Door>(loop_, static_cast<ListenerUser&>(*this), place.role, std::move(what)));
  Listener& listener = prepared_.back()->listener;
  prepared_.back()->number = number;
  listener.set_rate(place.rate);
  listener.hold_off();
  if (where.tls) listener.use_tls(plan.tls->handshake_limit, plan.tls->handshake_timeout);
  if (const Status status = listener.open(std::move(*listening)); !status.ok())
    faults.push_back({plan.name, "cannot watch " + where.text() + ": " + std::strerror(status.error())});
}

// Doors that the new configuration has too stay as they are, with those who wait in front of them.
void Doors::commit(const Plan& plan) {
  use_certificates(plan);
  std::vector<std::unique_ptr<Door>> before = std::exchange(doors_, std::exchange(prepared_, {}));
  // Of those with port 0 that are written alike each finds itself again.
  std::sort(before.begin(), before.end(), [](const auto& a, const auto& b) { return a->number < b->number; });
  for (const auto& door : doors_) {
    LogLine(Level::kInfo, "listening").text("relay", plan.name).text("role", door->role).text("addr", door->listener.text()).count("tls", door->place.starts_with("tls://") ? 1 : 0);
    door->listener.go_on();
  }
  for (size_t number = 0; number < plan.places.size(); ++number) {
    const Place& place = plan.places[number];
    const std::string what = place.where.text();
    const auto at = std::find_if(before.begin(), before.end(), [&](const auto& door) { return door != nullptr && door->place == what && door->listener.is_open(); });
    if (at == before.end()) continue;
    Door& door = **at;
    door.role = place.role;
    door.number = number;
    door.listener.set_rate(place.rate);
    if (place.where.tls) door.listener.use_tls(plan.tls->handshake_limit, plan.tls->handshake_timeout);
    static_cast<void>(door.listener.change(plan.options));  // for those who come from now on; the kernel took the like before
    doors_.push_back(std::move(*at));
  }
  for (const auto& door : before)
    if (door != nullptr && door->listener.is_open()) LogLine(Level::kInfo, "not-listening").text("relay", plan.name).text("addr", door->listener.text());
}

// For connections that come from now on.
void Doors::use_certificates(const Plan& plan) {
  if (prepared_tls_ == nullptr) return;
  if (tls_ == nullptr) tls_ = std::make_unique<TlsContexts>();
  *tls_ = std::move(*std::exchange(prepared_tls_, nullptr));
  const TlsContext& shown = plan.tls->listens ? tls_->gateway : tls_->target;
  for (const TlsFault& warning : shown.warnings(plan.tls->gateway))
    LogLine(Level::kWarn, "certificate").text("relay", plan.name).text("problem", warning.what);
}

void Doors::lend() {
  for (const auto& door : doors_)
    if (door->listener.is_open()) sockets_.lend(door->listener);
}

void Doors::hold_off() {
  for (const auto& door : doors_) door->listener.hold_off();
}

void Doors::go_on() {
  for (const auto& door : doors_) door->listener.go_on();
}

void Doors::close() {
  for (const auto& door : doors_) door->listener.close();
}

DoorSign Doors::sign_of(const Listener& listener) const {
  const Door& door = **std::find_if(doors_.begin(), doors_.end(), [&](const auto& one) { return &one->listener == &listener; });
  return {door.role, door.number};
}

// ---- telling

void Doors::status(Json& json) const {
  json.begin('[', "listening");
  for (const auto& door : doors_)
    if (door->listener.is_open()) json.begin('{').text("addr", door->listener.text()).text("role", door->role).end('}');
  json.end(']');
}

void Doors::refused(std::string_view role, const Addr& peer, std::string_view reason) {
  if (!refusals_.tell(loop_.now())) return;
  LogLine(Level::kWarn, "refused").text("relay", user_.name()).text("role", role).text("peer", peer.text()).text("reason", reason)
      .count("suppressed", refusals_.untold());
}

void Doors::handshake_failed(std::string_view role, const Addr& peer, const std::string& why) {
  if (!handshake_failures_.tell(loop_.now())) return;
  LogLine(Level::kWarn, "handshake-failed").text("relay", user_.name()).text("role", role).text("peer", peer.text()).text("error", why)
      .count("suppressed", handshake_failures_.untold());
}

void Doors::on_accept_paused(Listener& listener, const Status& why) {
  user_.on_accept_paused();
  LogLine(Level::kWarn, "accept-paused").text("relay", user_.name()).text("addr", listener.text()).text("error", std::strerror(why.error()));
}

void Doors::on_accept_resumed(Listener& listener) { LogLine(Level::kInfo, "accept-resumed").text("relay", user_.name()).text("addr", listener.text()); }

}  // namespace relay

// SPDX-License-Identifier: Apache-2.0
// PlexRelay: doors, upstreams and their names, who comes and who goes. Which upstream a client gets is in homes.cpp, what upstreams say in deliver.cpp.
#include "kinds/plex/plex.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <ctime>
#include <utility>

#include "lib/json.h"
#include "lib/log.h"
#include "net/sys.h"

namespace relay::plex {
namespace {

constexpr std::string_view kClient = "client";  // the role of the doors
constexpr uint32_t kUnsentMost = 128 * 1024;     // bytes for an upstream in the kernel's hands: what waits here can still be given to another
constexpr uint32_t kDrained = 256;              // clients that are told in a turn that it ends
constexpr Delay kFarewell{500};
constexpr uint32_t kLooks = 4096;               // clients that are looked at in a turn, whether they are silent

using Type = StatRow::Type;
constexpr std::array<StatRow, Stats<Stat>::kCount> kRows = {{
    {"clients", Type::kGauge, "clients there now"},
    {"workers", Type::kGauge, "processes that have clients"},
    {"waiting", Type::kGauge, "of these, those that no upstream has yet"},
    {"upstreams", Type::kGauge, "upstreams that clients may be given to now"},
    {"groups", Type::kGauge, "groups that have members"},
    {"routes", Type::kGauge, "connections to the Redis server of `route` that are up: one for each process"},
    {"watchers", Type::kGauge, "those who watch clients come and go"},
    {"accepted", Type::kCounter, "clients that were let in"},
    {"refused_busy", Type::kCounter, "clients that were closed at once because there are as many as there may be"},
    {"refused_address", Type::kCounter, "clients that were closed at once because there are as many of their address as there may be"},
    {"refused_rate", Type::kCounter, "clients that were closed at once because more of their address came than may"},
    {"refused_no_upstream", Type::kCounter, "clients that were closed at once because there was no upstream"},
    {"refused_draining", Type::kCounter, "clients that were closed at once because the relay ends"},
    {"messages_in", Type::kCounter, "messages of clients that were given to an upstream"},
    {"bytes_in", Type::kCounter, "bytes read from clients"},
    {"messages_out", Type::kCounter, "messages of upstreams that were given to a client"},
    {"bytes_out", Type::kCounter, "bytes written to clients"},
    {"broadcasts", Type::kCounter, "messages of upstreams for all, for active ones or for a group"},
    {"rehomed", Type::kCounter, "clients that another upstream got because theirs had gone, or their label says so"},
    {"redelivered", Type::kCounter, "messages that were given to an upstream once more"},
    {"lost_messages", Type::kCounter, "messages of clients that were read and reached no upstream"},
    {"given_up", Type::kCounter, "messages that were given to delivery-limit upstreams, of which none has acknowledged them"},
    {"acked", Type::kCounter, "messages that were acknowledged"},
    {"unknown_clients", Type::kCounter, "messages of upstreams for a client that there is not"},
    {"dropped_messages", Type::kCounter, "messages of upstreams that were thrown away: for many, with broadcast-queue full, or for one that took no more"},
    {"slow_clients", Type::kCounter, "clients that were ended because their queue was full"},
    {"idle_timeouts", Type::kCounter, "clients ended by an idle time-out"},
    {"half_close_timeouts", Type::kCounter, "clients ended by half-close-timeout"},
    {"wait_timeouts", Type::kCounter, "clients ended by wait-timeout"},
    {"auth_rejected", Type::kCounter, "clients that an upstream has rejected"},
    {"auth_timeouts", Type::kCounter, "clients ended by auth-timeout"},
    {"framing_errors", Type::kCounter, "clients ended because of a message that was too long, or none"},
    {"proxy_errors", Type::kCounter, "clients ended because they did not say for whom they connect"},
    {"upstream_queue_full", Type::kCounter, "times that a message had to wait because its upstream's queue was full"},
    {"client_queue_full", Type::kCounter, "times that a client's queue was full"},
    {"ack_queue_full", Type::kCounter, "times that a client was not read on because too much of it was not acknowledged"},
    {"upstreams_lost", Type::kCounter, "upstreams that were lost"},
    {"not_ready", Type::kCounter, "times that an upstream was not ready, or did not say"},
    {"not_live", Type::kCounter, "times that an upstream was not live, or did not say"},
    {"bad_messages", Type::kCounter, "messages of upstreams that could not be read, or make no sense"},
    {"resets", Type::kCounter, "clients that ended with a reset"},
    {"dials", Type::kCounter, "times that an upstream was dialled"},
    {"dial_failures", Type::kCounter, "connections to upstreams that did not come about"},
    {"accept_pauses", Type::kCounter, "times that accepting paused for want of descriptors or memory"},
    {"accept_rate_holds", Type::kCounter, "times that accepting in one place rested because more came than accept-rate allows"},
    {"client_rate_holds", Type::kCounter, "times that a client began to be held back because it was faster than client-rate"},
    {"client_message_holds", Type::kCounter, "times that a client began to be held back because it said more than client-messages allows"},
    {"tls_handshakes", Type::kCounter, "TLS handshakes that went well, on both sides"},
    {"tls_handshake_failures", Type::kCounter, "TLS handshakes that failed, on both sides"},
    {"routed", Type::kCounter, "messages of upstreams that were given to another worker or instance, and reports to these"},
    {"route_received", Type::kCounter, "messages that came from another worker or instance"},
    {"route_lost", Type::kCounter, "messages for another worker or instance that reached nobody, or may not have"},
    {"refused_watchers", Type::kCounter, "those who were not let watch because there are as many as there may be"},
    {"missed_events", Type::kCounter, "events that a watcher missed because it was too slow"},
}};

std::string authority_of(const Source& source) {
  const Endpoint& place = source.place;
  switch (place.kind) {
    case Endpoint::Kind::kAddr: return place.addr.text();
    case Endpoint::Kind::kName: return place.host + ":" + std::to_string(place.port);
    case Endpoint::Kind::kService: return tls_name(place);  // who answers in the DNS says where it is, and the labels before the domain which service
    case Endpoint::Kind::kUnix: break;
  }
  return "localhost";
}

// Of one of the upstreams that a name stands for.
std::string name_of(const Source& source, const Addr& addr) { return source.text + " (" + addr.text() + ")"; }

// Among whom clients of one address are counted.
uint32_t scope_of(const Entrance& entrance, uint16_t slot) { return entrance.own_addresses ? slot + 1U : 0; }

}  // namespace

std::span<const StatRow> stat_rows() { return kRows; }

// A source whose place is a name: it is looked up again and again, and has an upstream for each address.
class PlexRelay::Names final : private LookupUser, private TimerUser {
 public:
  Names(PlexRelay& relay, Source from, TlsContext* tls)
      : source(std::move(from)), context(tls), relay_(relay), lookup_(relay.resolver(), *this), timer_(relay.loop(), *this) {}
  void begin() {
    interval_ = relay_.config().resolve_interval;
    timer_.arm(interval_);
    if (!lookup_.active()) lookup_.start(source.place, Lookup::Want::kAll);
  }
  // Another interval holds from now on.
  void reconfigured() {
    if (interval_ != relay_.config().resolve_interval) begin();
  }
  // So many of its addresses have no upstream, because there are kUpstreamsMost. Said once, until all have one.
  void leave_out(size_t count) {
    if (count > 0 && !leaves_out_)
      LogLine(Level::kWarn, "too-many-addresses").text("relay", relay_.name()).text("name", source.place.text()).number("limit", kUpstreamsMost).number("left_out", count);
    leaves_out_ = count > 0;
  }

  static constexpr size_t kUpstreamsMost = 1000;
  const Source source;
  TlsContext* context;
  const std::shared_ptr<Tier> tier = source.place.kind == Endpoint::Kind::kService ? std::make_shared<Tier>() : nullptr;

 private:
  void on_timer(Timer&) override { begin(); }
  void on_lookup(Result<Found> found) override {
    const std::string why = found.ok() ? found->missing : found.status().reason();
    if (!why.empty()) {
      LogLine(Level::kWarn, "resolve-failed").text("relay", relay_.name()).text("name", source.place.text()).text("error", why);
      relay_.failed(source.place.text() + ": " + why);
    }
    if (found.ok()) relay_.has_addrs(*this, *found);
  }

  PlexRelay& relay_;
  bool leaves_out_ = false;
  Delay interval_{};
  Lookup lookup_;
  Timer timer_;
};

struct PlexRelay::Next {
  PlexConfig config;
  std::vector<std::unique_ptr<TlsContext>> contexts;  // nullptr: no TLS
  std::unique_ptr<TlsContext> route;
};

PlexRelay::PlexRelay(const Env& env)
    : env_(env), stats_(env.mate != nullptr ? Stats<Stat>(env.mate->own()) : Stats<Stat>()), doors_(env.loop, env.sockets, *this), orphans_(*this), crowd_(*this, env.loop),
      router_(*this, env), watches_(env.desk, env.loop), serve_(env.loop, *this), sweep_(env.loop, *this), drain_(env.loop, *this), farewell_(env.loop, *this), move_(env.loop, *this) {
  stats_.add(Stat::kWorkers);
}

PlexRelay::~PlexRelay() {
  stop("terminated");
  close_upstreams();
}

// ---- configuration

Doors::Plan PlexRelay::doors_of(const PlexConfig& config) {
  Doors::Plan plan{config.name, {}, config.dial.options, config.tls.get()};
  for (const Entrance& entrance : config.entrances) plan.places.push_back({entrance.place, kClient, entrance.accept_rate});
  return plan;
}

void PlexRelay::prepare(const Section& section, Faults& faults) {
  next_ = std::make_unique<Next>(Next{plex_config(section), {}, nullptr});
  for (const Source& source : next_->config.sources) {
    next_->contexts.push_back(source.place.tls ? std::make_unique<TlsContext>() : nullptr);
    if (!source.place.tls) continue;
    if (const std::optional<TlsFault> fault = next_->contexts.back()->load(source.tls)) faults.push_back({next_->config.name, std::string(fault->key) + ": " + fault->what});
  }
  if (const std::optional<Route>& route = next_->config.route; route && route->plan.dial.target.tls) {
    next_->route = std::make_unique<TlsContext>();
    if (const std::optional<TlsFault> fault = next_->route->load(route->tls)) faults.push_back({next_->config.name, "route: " + std::string(fault->key) + ": " + fault->what});
  }
  if (!entrances_.fits(next_->config.entrances.size())) faults.push_back({next_->config.name, "clients of too many former configurations are there; restart it"});
  doors_.prepare(doors_of(next_->config), faults);
}

void PlexRelay::rollback() {
  doors_.rollback();
  next_.reset();
}

// Also of a configuration that is only prepared: a crew's probe never gets further.
bool PlexRelay::reads_files() const {
  const auto has_files = [](const PlexConfig& config) { return config.tls != nullptr || (config.route && config.route->plan.dial.target.tls); };
  if (next_ != nullptr && has_files(next_->config)) return true;
  return by_hand_ || has_files(config_);
}

void PlexRelay::commit() {
  config_ = std::move(next_->config);
  by_hand_ = false;
  if (env_.mate == nullptr && config_.workers > 1)
    LogLine(Level::kWarn, "needs-restart").text("relay", config_.name).text("key", "workers").text("remedy", "the old value stays in force until the process is started again");
  entrances_.settle(config_.entrances);
  count_addresses();
  doors_.commit(doors_of(config_));
  router_.configure(config_.route, std::move(next_->route));
  settle_sources();
  settle_all_homes();
  next_.reset();
  for (const std::unique_ptr<Names>& names : names_) names->reconfigured();
  for (const std::unique_ptr<Upstream>& upstream : upstreams_) upstream->reconfigured();
  for (uint32_t place = 0; place < clients_.places(); ++place)
    if (Client* client = clients_.at(place); client != nullptr) client->reconfigured();
  if (config_.idle_timeout.count() > 0 || config_.wait_timeout.count() > 0) sweep_.arm(Delay{0});
  else sweep_.disarm();
}

// Upstreams that are named no more go, new ones come, others stay as they are; of those with TLS new connections have the new certificates.
void PlexRelay::settle_sources() {
  const auto named = [&](const std::string& text) {
    return std::any_of(config_.sources.begin(), config_.sources.end(), [&](const Source& source) { return source.text == text; });
  };
  std::erase_if(names_, [&](const auto& names) { return !named(names->source.text); });
  std::set<std::string> goes;
  for (const std::unique_ptr<Upstream>& upstream : upstreams_)
    if (!upstream->retired() && !named(upstream->source())) goes.insert(upstream->source());
  for (size_t i = 0; i < config_.sources.size(); ++i) {
    const Source& source = config_.sources[i];
    std::unique_ptr<TlsContext>& context = contexts_[source.text];
    if (next_->contexts[i] != nullptr && context != nullptr) *context = std::move(*next_->contexts[i]);
    else if (next_->contexts[i] != nullptr) context = std::move(next_->contexts[i]);
    if (!has_source(source.text)) add_source(source, context.get());
  }
  for (const std::string& text : goes) remove_source(text);
  std::erase_if(contexts_, [&](const auto& one) { return !named(one.first); });
}

bool PlexRelay::has_source(std::string_view text) const {
  return std::any_of(names_.begin(), names_.end(), [&](const auto& names) { return names->source.text == text; }) ||
         std::any_of(upstreams_.begin(), upstreams_.end(), [&](const auto& upstream) { return !upstream->retired() && upstream->source() == text; });
}

bool PlexRelay::find_source(const Endpoint& place, std::string& text) const {
  const auto is_it = [&](const std::string& written) {
    const Result<Source> source = parse_source(written);
    if (!source.ok() || source->place.text() != place.text()) return false;
    text = written;
    return true;
  };
  return std::any_of(names_.begin(), names_.end(), [&](const auto& names) { return is_it(names->source.text); }) ||
         std::any_of(upstreams_.begin(), upstreams_.end(), [&](const auto& upstream) { return !upstream->retired() && is_it(upstream->source()); });
}

void PlexRelay::add_source(const Source& source, TlsContext* tls) {
  const Endpoint::Kind kind = source.place.kind;
  if (kind != Endpoint::Kind::kName && kind != Endpoint::Kind::kService) return add_upstream(source, source.place, tls);
  names_.push_back(std::make_unique<Names>(*this, source, tls));
  names_.back()->begin();
}

void PlexRelay::remove_source(std::string_view text) {
  std::erase_if(names_, [&](const auto& names) { return names->source.text == text; });
  std::vector<Upstream*> goes;
  for (const std::unique_ptr<Upstream>& upstream : upstreams_)
    if (!upstream->retired() && upstream->source() == text) goes.push_back(upstream.get());
  for (Upstream* upstream : goes) upstream->retire();
}

// The name stands for these now; or, if something is missing, for these and for whatever it stood for before. Where there are too many, those that
// are there already stay: which of them come first may be another matter at each look-up.
void PlexRelay::has_addrs(Names& names, const Found& found) {
  std::map<std::string, std::pair<Addr, uint16_t>, std::less<>> wanted;
  for (size_t i = 0; i < found.addrs.size(); ++i)
    wanted.try_emplace(name_of(names.source, found.addrs[i]), found.addrs[i], found.priorities[i]);  // twice: the better priority, which is first
  std::vector<Upstream*> goes;
  size_t count = 0;
  bool is_other = false;
  for (const std::unique_ptr<Upstream>& upstream : upstreams_) {
    if (upstream->retired() || upstream->source() != names.source.text) continue;
    const auto at = wanted.find(upstream->name());
    if (at == wanted.end() && found.missing.empty()) {
      goes.push_back(upstream.get());
      continue;
    }
    ++count;
    if (at == wanted.end()) continue;
    is_other = is_other || upstream->priority != at->second.second;
    upstream->priority = at->second.second;
    wanted.erase(at);
  }
  for (size_t i = 0; i < found.addrs.size() && count < Names::kUpstreamsMost; ++i) {
    if (wanted.erase(name_of(names.source, found.addrs[i])) == 0) continue;
    Endpoint place;
    place.addr = found.addrs[i];
    place.port = found.addrs[i].port;
    place.has_port = true;
    place.tls = names.source.place.tls;
    add_upstream(names.source, place, names.context, names.tier, found.priorities[i]);
    ++count;
  }
  names.leave_out(wanted.size());
  for (Upstream* upstream : goes) upstream->retire();
  if (!is_other) return;
  settle_all_homes();
  serve_.arm(Delay{0});
}

DialPlan PlexRelay::plan_to(const Endpoint& place, TlsContext* tls) const {
  DialPlan plan = config_.dial;
  plan.target = place;
  plan.tls = tls;
  plan.options.unsent_most = kUnsentMost;
  return plan;
}

void PlexRelay::add_upstream(const Source& source, const Endpoint& place, TlsContext* tls, std::shared_ptr<Tier> tier, uint16_t priority) {
  if (stopping_ || drained_) return;
  const std::string name = place.text() == source.place.text() ? source.text : name_of(source, place.addr);
  upstreams_.push_back(std::make_unique<Upstream>(*this, next_upstream_++, name, source.text, plan_to(place, tls), authority_of(source)));
  upstreams_.back()->priority = priority;
  upstreams_.back()->tier = std::move(tier);
  upstreams_.back()->start();
}

Upstream* PlexRelay::find(uint32_t id) {
  for (const std::unique_ptr<Upstream>& upstream : upstreams_)
    if (upstream->id() == id) return upstream.get();
  return nullptr;
}

uint32_t PlexRelay::id_of(uint64_t name_number) const {
  uint32_t retired = 0;
  for (const std::unique_ptr<Upstream>& upstream : upstreams_) {
    if (upstream->name_number() != name_number) continue;
    if (!upstream->retired()) return upstream->id();
    retired = upstream->id();
  }
  return retired;
}

// ---- clients come

bool PlexRelay::refuse(const Addr& peer, Stat stat, std::string_view reason) {
  stats_.add(stat);
  doors_.refused(kClient, peer, reason);
  return false;
}

// Those of other processes included.
uint64_t PlexRelay::all_clients() const {
  if (env_.mate == nullptr) return clients_.size();
  uint64_t sum = 0;
  for (auto i = static_cast<size_t>(Stat::kClients); i < env_.mate->values.size(); i += Stats<Stat>::kCount) sum += env_.mate->values[i];
  return sum - stats_.get(Stat::kClients) + clients_.size();  // those that are only remembered count, too
}

// `is_known`: it connects for itself, or has said for whom.
bool PlexRelay::admits(uint16_t slot, const Addr& peer, bool is_known) {
  if (draining_) return refuse(peer, Stat::kRefusedDraining, "draining");
  if (all_clients() >= config_.clients || entrances_.is_full(slot)) return refuse(peer, Stat::kRefusedBusy, "too-many-clients");
  const Entrance& entrance = entrances_.at(slot);
  if (entrance.clients_per_address > 0 && is_known) {
    const auto of_address = addresses_.find({scope_of(entrance, slot), peer.ip});
    if (of_address != addresses_.end() && of_address->second >= entrance.clients_per_address) return refuse(peer, Stat::kRefusedAddress, "too-many-of-its-address");
  }
  return !config_.refuse_alone || has_usable() || refuse(peer, Stat::kRefusedNoUpstream, "no-upstream");
}

bool PlexRelay::is_slow_enough(uint16_t slot, const Addr& peer) {
  const Entrance& entrance = entrances_.at(slot);
  const uint32_t rate = entrance.address_rate;
  if (rate == 0 || peer.family == Addr::Family::kUnix || arrivals_.admit(peer, entrance.own_address_rate ? slot + 1U : 0, rate, now_ms())) return true;
  return refuse(peer, Stat::kRefusedRate, "too-often");
}

TlsContext* PlexRelay::on_knock(const DoorSign& door, const Addr& peer) {
  const uint16_t slot = entrances_.slot_of(door.number);
  return admits(slot, peer, true) && is_slow_enough(slot, peer) ? &doors_.tls().client : nullptr;
}

void PlexRelay::on_proxy_failed(const DoorSign&, const Addr& peer, const std::string&) {
  refuse(peer, Stat::kProxyErrors, "no-proxy-header");
}

void PlexRelay::on_accept_held(const DoorSign&) { stats_.add(Stat::kAcceptRateHolds); }

void PlexRelay::on_handshake_failed(const DoorSign&, const Addr& peer, const std::string& why) {
  stats_.add(Stat::kTlsHandshakeFailures);
  doors_.handshake_failed(kClient, peer, why);
}

void PlexRelay::on_come(const DoorSign& door, Socket socket, const Addr& peer) {
  const bool greeted = socket.tls != nullptr;
  if (greeted) stats_.add(Stat::kTlsHandshakes);
  const uint16_t slot = entrances_.slot_of(door.number);
  const bool is_known = greeted || !is_proxy(peer);
  if (!admits(slot, peer, is_known) || (is_known && !greeted && !is_slow_enough(slot, peer))) return;
  auto owned = std::make_unique<Client>(*this, new_uuid(), peer);
  owned->entrance = slot;
  if (!owned->begin(std::move(socket))) return;
  Client& client = *owned.release();  // the table's until ended()
  client.heard = crowd_.newest();
  clients_.add(client);
  entrances_.come(slot);
  if (client.place < paces_.size()) paces_[client.place] = {};
  stats_.add(Stat::kAccepted);
  stats_.add(Stat::kClients);
  if (log_enabled(Level::kDebug)) LogLine(Level::kDebug, "accepted").text("relay", config_.name).text("client", client.uuid().text()).text("peer", peer.text());
  stats_.add(Stat::kWaiting);
  if (is_known) return introduced(client);
  unknown_.push_back(client);
  client.await_proxy();
}

bool PlexRelay::is_proxy(const Addr& peer) const {
  return std::any_of(config_.proxies.begin(), config_.proxies.end(), [&](const Network& network) { return network.contains(peer); });
}

void PlexRelay::introduced(Client& client) {
  if (config_.refuse_alone && !has_usable()) {
    refuse(client.peer(), Stat::kRefusedNoUpstream, "no-upstream");
    return client.end(CloseReason::kError, "there is no upstream", true);
  }
  if (client.linked() && !is_slow_enough(client.entrance, client.peer())) return client.end(CloseReason::kError, "its address comes too often", true);
  if (!counts(client)) return client.end(CloseReason::kError, "too many clients of its address", true);
  waiting_.push_back(client);
  if (has_usable()) home(client);
  client.is_announced = true;
  noted(client, control::WatchKind::kConnected);
}

// Those that came when there was no limit of them, and there is one now.
void PlexRelay::count_addresses() {
  for (uint32_t place = 0; place < clients_.places(); ++place) {
    Client* client = clients_.at(place);
    if (client == nullptr || client->is_gone() || client->is_counted || !client->is_known() || client->peer().family == Addr::Family::kUnix) continue;
    const Entrance& entrance = entrances_.at(client->entrance);
    if (entrance.clients_per_address == 0) continue;
    ++addresses_[{scope_of(entrance, client->entrance), client->peer().ip}];
    client->is_counted = true;
  }
}

// Whether there may be one more of its address; if so it is one.
bool PlexRelay::counts(Client& client) {
  const Addr& peer = client.peer();
  const Entrance& entrance = entrances_.at(client.entrance);
  if (entrance.clients_per_address == 0 || peer.family == Addr::Family::kUnix) return true;
  uint32_t& count = addresses_[{scope_of(entrance, client.entrance), peer.ip}];
  if (count >= entrance.clients_per_address) return refuse(peer, Stat::kRefusedAddress, "too-many-of-its-address");
  ++count;
  client.is_counted = true;
  return true;
}

Pace& PlexRelay::pace(const Client& client) {
  if (client.place >= paces_.size()) paces_.resize(client.place + size_t{1});
  return paces_[client.place];
}

// From the kernel's source of random numbers, some at a time.
Uuid PlexRelay::new_uuid() {
  Uuid uuid;
  do {
    std::array<uint8_t, 16> bytes{};
    if (random_left_ < bytes.size()) {
      CHECK(sys::random_bytes(random_.data(), random_.size()));
      random_left_ = random_.size();
    }
    random_left_ -= bytes.size();
    std::copy_n(random_.begin() + static_cast<std::ptrdiff_t>(random_left_), bytes.size(), bytes.begin());
    uuid = Uuid::random(bytes);
    router_.stamp(uuid);
  } while (clients_.find(uuid) != nullptr);
  return uuid;
}

// ---- and go

void PlexRelay::left(Client& client) {
  stats_.sub(Stat::kClients);
  leaving_.erase(&client);
  if (client.home() == nullptr) stats_.sub(Stat::kWaiting);
}

void PlexRelay::ended(Client& client) {
  if (client.is_counted)
    if (const auto at = addresses_.find({scope_of(entrances_.at(client.entrance), client.entrance), client.peer().ip}); at != addresses_.end() && --at->second == 0) addresses_.erase(at);
  clients_.remove(client);
  entrances_.gone(client.entrance);
  if (client.home() != nullptr) --client.home()->client_count;
  lost(client.unsent(), "their client has gone");
  client.unlink();
  if (!waiting_.empty() && !serve_.armed()) serve_.arm(Delay{0});  // it may have been in the way of one
  env_.loop.bury(std::unique_ptr<Mortal>(&client));
  if (drained_ || (draining_ && clients_.size() == 0)) drain_.arm(Delay{0});
}

void PlexRelay::on_timer(Timer& timer) {
  if (&timer == &serve_) return serve();
  if (&timer == &sweep_) return sweep();
  if (&timer == &move_) return settle_homes();
  if (&timer == &farewell_) return close_upstreams();
  go_on_draining();
}

// Looks at some clients, so that all are looked at eight times in the shortest of the times that count.
void PlexRelay::sweep() {
  Delay limit = config_.idle_timeout;
  if (config_.wait_timeout.count() > 0 && (limit.count() == 0 || config_.wait_timeout < limit)) limit = config_.wait_timeout;
  if (limit.count() == 0) return;
  const uint32_t now = tick();
  for (uint32_t left = std::min(clients_.places(), kLooks); left > 0; --left) {
    if (swept_ >= clients_.places()) swept_ = 0;
    if (clients_.places() == 0) break;
    if (Client* client = clients_.at(swept_++); client != nullptr) client->check_idle(now);
  }
  const int64_t slices = clients_.places() / kLooks + 1;
  sweep_.arm(std::clamp(limit / (8 * slices), Delay{1}, Delay{10'000}));
}

void PlexRelay::drain() {
  if (draining_) return;
  draining_ = true;
  doors_.close();
  drain_.arm(clients_.size() == 0 ? Delay{0} : config_.drain_grace);
}

// The grace is over: clients have what was said to them and what they said is given on; then the streams are ended.
void PlexRelay::go_on_draining() {
  drained_ = true;
  for (uint32_t left = kDrained; left > 0 && drained_to_ < clients_.places(); --left)
    if (Client* client = clients_.at(drained_to_++); client != nullptr) client->drain();
  if (drained_to_ < clients_.places()) drain_.arm(Delay{0});
  if (clients_.size() == 0 && orphans_.is_empty()) retire_upstreams();
}

void PlexRelay::retire_upstreams() {
  end_watches();
  names_.clear();
  std::vector<Upstream*> all;
  for (const std::unique_ptr<Upstream>& upstream : upstreams_)
    if (!upstream->retired()) all.push_back(upstream.get());
  for (Upstream* upstream : all) upstream->retire();
}

bool PlexRelay::idle() const { return clients_.size() == 0 && (upstreams_.empty() || !draining_); }

void PlexRelay::close_upstreams() {
  std::vector<Upstream*> all;
  for (const std::unique_ptr<Upstream>& upstream : upstreams_) all.push_back(upstream.get());
  for (Upstream* upstream : all) upstream->close();
  if (untold_losses_ > 0) tell_losses("the relay ends");
}

// Upstreams hear what has become of clients: a server forgets what it has not read when its connection ends, so each has a moment to end its stream.
void PlexRelay::stop(std::string_view why) {
  if (stopping_) return close_upstreams();
  draining_ = stopping_ = true;
  doors_.close();
  crowd_.clear();
  router_.close();
  uint64_t unacknowledged = 0;
  for (uint32_t place = 0; place < clients_.places(); ++place)
    if (Client* client = clients_.at(place); client != nullptr) {
      unacknowledged += client->unacknowledged();
      client->give_up(why);
    }
  if (unacknowledged > 0) LogLine(Level::kWarn, "messages-unacknowledged").text("relay", config_.name).number("count", unacknowledged);
  orphans_.lose();
  retire_upstreams();
  farewell_.arm(kFarewell);
}

// ---- showing

std::string_view PlexRelay::time_text() {
  if (time_of_text_ == env_.loop.now()) return time_text_;
  time_of_text_ = env_.loop.now();
  const int64_t ms = sys::unix_ms();
  const auto seconds = static_cast<time_t>(ms / 1000);
  std::tm parts{};
  gmtime_r(&seconds, &parts);
  char text[40];
  const size_t length = std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &parts);
  time_text_.assign(text, length);
  std::snprintf(text, sizeof text, ".%03dZ", static_cast<int>(ms % 1000));
  time_text_ += text;
  return time_text_;
}

void PlexRelay::show_upstreams(Json& json) const {
  json.begin('[', "upstreams");
  for (const std::unique_ptr<Upstream>& upstream : upstreams_) {
    json.begin('{');
    upstream->status(json);
    json.end('}');
  }
  json.end(']');
}

void PlexRelay::status(Json& json, size_t most) {
  std::string targets;
  for (const Source& source : config_.sources) targets += (targets.empty() ? "" : " ") + source.text;
  json.text("target", targets).text("balance", name_of(config_.balance));
  if (config_.balance == Balance::kHash) json.text("hash_by", config_.hash_label.empty() ? "address" : "label:" + config_.hash_label);
  json.flag("draining", draining_);
  doors_.status(json);
  last_error_.status(json, env_.loop.now());
  entrances_.status(json);
  show_upstreams(json);
  router_.status(json);
  json.begin('[', "connections");
  uint64_t shown = 0;
  for (uint32_t place = 0; place < clients_.places() && shown < most; ++place)
    if (const Client* client = clients_.at(place); client != nullptr) {
      json.begin('{');
      client->status(json);
      json.end('}');
      ++shown;
    }
  json.end(']').number("connections_not_shown", clients_.size() - shown);
}

// ---- the kind

constexpr std::array<std::string_view, 4> kMayLook = {"List", "Get", "Upstreams", "Watch"};

const Kind kKind = {
    .name = "plex",
    .command = "plex",
    .service = "relay.plex.control.PlexControl",
    .looks = kMayLook,
    .summary = "name long-lived TCP clients, and pass what they say to gRPC servers",
    .help = "Gives each client that connects a UUID, and passes what it sends to a gRPC server (an upstream) over one stream for all\n"
            "clients; the upstream answers by UUID, or to all. proto/upstream.proto is the protocol, relay-plex(7) the manual.\n"
            "\n"
            "  relay plex --listen tcp://0.0.0.0:7999 --upstream grpc://127.0.0.1:45888 --upstream grpcs://app2.example:443\n"
            "  relay plex --listen :7999 --upstream grpc://_grpc._tcp.app.example --balance least-clients --framing line\n",
    .keys = plex_keys,
    .stats = stat_rows,
    .check = plex_check,
    // The kernel deals clients out to workers by chance.
    .descriptors = [](const Section& section) {
      const auto clients = static_cast<uint64_t>(section.integer("clients"));
      const auto workers = static_cast<uint64_t>(section.integer("workers"));
      return 16 + clients / workers + (workers > 1 ? clients / workers / 10 + workers : 0);
    },
    .title = plex_title,
    .places = [](const Section& section) { return section.endpoints("listen"); },
    .make = [](const Env& env) -> std::unique_ptr<Relay> { return std::make_unique<PlexRelay>(env); },
    .workers = [](const Section& section) { return static_cast<unsigned>(section.integer("workers")); },
    .asked = plex_asked,
    .say_missed = say_missed,
    .target_key = "upstream",
    .missed_key = "missed_events",
    .mail_lost_key = "route_lost",
};

}  // namespace relay::plex

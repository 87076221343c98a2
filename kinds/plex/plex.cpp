// SPDX-License-Identifier: Apache-2.0
// PlexRelay: doors, upstreams and their names, and who gets which client. What upstreams say is in deliver.cpp.
#include "kinds/plex/plex.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <ctime>
#include <utility>

#include "lib/json.h"
#include "lib/log.h"
#include "net/sys.h"

namespace relay::plex {
namespace {

constexpr std::string_view kClient = "client";  // the role of the doors
constexpr uint32_t kServed = 256;               // clients that are served in a turn, of those who waited
constexpr uint32_t kLooks = 4096;               // clients that are looked at in a turn, whether they are silent

using Type = StatRow::Type;
constexpr std::array<StatRow, Stats<Stat>::kCount> kRows = {{
    {"clients", Type::kGauge, "clients there now"},
    {"waiting", Type::kGauge, "of these, those that no upstream has yet"},
    {"upstreams", Type::kGauge, "upstreams that clients may be given to now"},
    {"groups", Type::kGauge, "groups that have members"},
    {"accepted", Type::kCounter, "clients that were let in"},
    {"refused_busy", Type::kCounter, "clients that were closed at once because there are as many as there may be"},
    {"refused_address", Type::kCounter, "clients that were closed at once because there are as many of their address as there may be"},
    {"refused_no_upstream", Type::kCounter, "clients that were closed at once because there was no upstream"},
    {"refused_draining", Type::kCounter, "clients that were closed at once because the relay ends"},
    {"messages_in", Type::kCounter, "messages of clients that were given to an upstream"},
    {"bytes_in", Type::kCounter, "bytes read from clients"},
    {"messages_out", Type::kCounter, "messages of upstreams that were given to a client"},
    {"bytes_out", Type::kCounter, "bytes written to clients"},
    {"broadcasts", Type::kCounter, "messages of upstreams for all, for active ones or for a group"},
    {"rehomed", Type::kCounter, "clients that another upstream got because theirs had gone"},
    {"redelivered", Type::kCounter, "messages that were given to an upstream once more"},
    {"lost_messages", Type::kCounter, "messages of clients that were read and reached no upstream"},
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
    {"tls_handshakes", Type::kCounter, "TLS handshakes that went well, on both sides"},
    {"tls_handshake_failures", Type::kCounter, "TLS handshakes that failed, on both sides"},
}};

std::string authority_of(const Source& source) {
  const Endpoint& place = source.place;
  switch (place.kind) {
    case Endpoint::Kind::kAddr: return place.addr.text();
    case Endpoint::Kind::kName: return place.host + ":" + std::to_string(place.port);
    case Endpoint::Kind::kService: return place.host;
    case Endpoint::Kind::kUnix: break;
  }
  return "localhost";
}

uint64_t mix(uint64_t z) {
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
  return z ^ (z >> 31);
}

// Of an address without its port, so that who comes again comes to the same upstream.
uint64_t hash_of(const Addr& peer) {
  auto hash = static_cast<uint64_t>(peer.family);
  for (const uint8_t byte : peer.ip) hash = mix(hash ^ byte);
  return hash;
}

}  // namespace

std::span<const StatRow> stat_rows() { return kRows; }

// A source whose place is a name: it is looked up again and again, and has an upstream for each address.
class PlexRelay::Names final : private LookupUser, private TimerUser {
 public:
  Names(PlexRelay& relay, Source from, TlsContext* tls)
      : source(std::move(from)), context(tls), relay_(relay), lookup_(relay.resolver(), *this), timer_(relay.loop(), *this) {}
  void begin() {
    timer_.arm(relay_.config().resolve_interval);
    if (!lookup_.active()) lookup_.start(source.place);
  }

  const Source source;
  TlsContext* context;

 private:
  void on_timer(Timer&) override { begin(); }
  void on_lookup(Result<std::vector<Addr>> addrs) override {
    if (addrs.ok()) return relay_.has_addrs(*this, *addrs);
    LogLine(Level::kWarn, "resolve-failed").text("relay", relay_.name()).text("name", source.place.text()).text("error", addrs.status().reason());
    relay_.failed(addrs.status().reason());
  }

  PlexRelay& relay_;
  Lookup lookup_;
  Timer timer_;
};

struct PlexRelay::Next {
  PlexConfig config;
  std::vector<std::unique_ptr<TlsContext>> contexts;  // nullptr: no TLS
};

PlexRelay::PlexRelay(const Env& env)
    : env_(env), doors_(env.loop, env.sockets, *this), crowd_(*this, env.loop), serve_(env.loop, *this), sweep_(env.loop, *this), drain_(env.loop, *this) {}

PlexRelay::~PlexRelay() { stop("terminated"); }

// ---- configuration

Doors::Plan PlexRelay::doors_of(const PlexConfig& config) {
  Doors::Plan plan{config.name, {}, config.dial.options, config.tls.get()};
  for (const Endpoint& where : config.listen) plan.places.push_back({where, kClient});
  return plan;
}

void PlexRelay::prepare(const Section& section, Faults& faults) {
  next_ = std::make_unique<Next>(Next{plex_config(section), {}});
  for (const Source& source : next_->config.sources) {
    next_->contexts.push_back(source.place.tls ? std::make_unique<TlsContext>() : nullptr);
    if (!source.place.tls) continue;
    if (const std::optional<TlsFault> fault = next_->contexts.back()->load(source.tls)) faults.push_back({next_->config.name, std::string(fault->key) + ": " + fault->what});
  }
  doors_.prepare(doors_of(next_->config), faults);
}

void PlexRelay::rollback() {
  doors_.rollback();
  next_.reset();
}

void PlexRelay::commit() {
  config_ = std::move(next_->config);
  doors_.commit(doors_of(config_));
  settle_sources();
  next_.reset();
  for (const std::unique_ptr<Upstream>& upstream : upstreams_) upstream->reconfigured();
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

// The name stands for these now.
void PlexRelay::has_addrs(Names& names, const std::vector<Addr>& addrs) {
  const auto name_for = [&](const Addr& addr) { return names.source.text + " (" + addr.text() + ")"; };
  std::vector<Upstream*> goes;
  for (const std::unique_ptr<Upstream>& upstream : upstreams_) {
    if (upstream->retired() || upstream->source() != names.source.text) continue;
    if (std::none_of(addrs.begin(), addrs.end(), [&](const Addr& addr) { return upstream->name() == name_for(addr); })) goes.push_back(upstream.get());
  }
  for (const Addr& addr : addrs) {
    if (std::any_of(upstreams_.begin(), upstreams_.end(), [&](const auto& upstream) { return !upstream->retired() && upstream->name() == name_for(addr); })) continue;
    Endpoint place;
    place.addr = addr;
    place.port = addr.port;
    place.has_port = true;
    place.tls = names.source.place.tls;
    add_upstream(names.source, place, names.context);
  }
  for (Upstream* upstream : goes) upstream->retire();
}

void PlexRelay::add_upstream(const Source& source, const Endpoint& place, TlsContext* tls) {
  if (stopping_ || drained_) return;
  DialPlan plan = config_.dial;
  plan.target = place;
  plan.tls = tls;
  const std::string name = place.text() == source.place.text() ? source.text : source.text + " (" + place.addr.text() + ")";
  upstreams_.push_back(std::make_unique<Upstream>(*this, next_upstream_++, name, source.text, plan, authority_of(source)));
  upstreams_.back()->start();
}

Upstream* PlexRelay::find(uint32_t id) {
  for (const std::unique_ptr<Upstream>& upstream : upstreams_)
    if (upstream->id() == id) return upstream.get();
  return nullptr;
}

// ---- clients come

bool PlexRelay::refuse(const Addr& peer, Stat stat, std::string_view reason) {
  stats_.add(stat);
  doors_.refused(kClient, peer, reason);
  return false;
}

bool PlexRelay::admits(const Addr& peer) {
  if (draining_) return refuse(peer, Stat::kRefusedDraining, "draining");
  if (clients_.size() >= config_.clients) return refuse(peer, Stat::kRefusedBusy, "too-many-clients");
  const auto of_address = addresses_.find(peer.ip);
  if (config_.clients_per_address > 0 && of_address != addresses_.end() && of_address->second >= config_.clients_per_address && !is_proxy(peer))
    return refuse(peer, Stat::kRefusedAddress, "too-many-of-its-address");
  return !config_.refuse_alone || has_usable() || refuse(peer, Stat::kRefusedNoUpstream, "no-upstream");
}

TlsContext* PlexRelay::on_knock(std::string_view, const Addr& peer) { return admits(peer) ? &doors_.tls().client : nullptr; }

void PlexRelay::on_handshake_failed(std::string_view, const Addr& peer, const std::string& why) {
  stats_.add(Stat::kTlsHandshakeFailures);
  doors_.handshake_failed(kClient, peer, why);
}

void PlexRelay::on_come(std::string_view, Socket socket, const Addr& peer) {
  if (socket.tls != nullptr) stats_.add(Stat::kTlsHandshakes);
  if (!admits(peer)) return;
  auto owned = std::make_unique<Client>(*this, new_uuid(), peer);
  if (!owned->begin(std::move(socket))) return;
  Client& client = *owned.release();  // the table's until ended()
  client.heard = crowd_.newest();
  clients_.add(client);
  stats_.add(Stat::kAccepted);
  stats_.add(Stat::kClients);
  if (log_enabled(Level::kDebug)) LogLine(Level::kDebug, "accepted").text("relay", config_.name).text("client", client.uuid().text()).text("peer", peer.text());
  stats_.add(Stat::kWaiting);
  if (!is_proxy(peer)) return introduced(client);
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
  if (!counts(client)) return client.end(CloseReason::kError, "too many clients of its address", true);
  waiting_.push_back(client);
  if (has_usable()) home(client);
}

// Whether there may be one more of its address; if so it is one.
bool PlexRelay::counts(Client& client) {
  const Addr& peer = client.peer();
  if (config_.clients_per_address == 0 || peer.family == Addr::Family::kUnix) return true;
  uint32_t& count = addresses_[peer.ip];
  if (count >= config_.clients_per_address) return refuse(peer, Stat::kRefusedAddress, "too-many-of-its-address");
  ++count;
  client.is_counted = true;
  return true;
}

std::string_view PlexRelay::listener_of(const Addr& local) const {
  for (size_t i = 0; i < config_.listen.size(); ++i) {
    const Endpoint& place = config_.listen[i];
    const bool is_unix = local.family == Addr::Family::kUnix;
    if ((place.kind == Endpoint::Kind::kUnix) != is_unix) continue;
    if (is_unix || ((place.port == local.port || place.port == 0) && (place.addr.is_any() || place.addr.same_host(local)))) return config_.listen_texts[i];
  }
  return {};
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
  } while (clients_.find(uuid) != nullptr);
  return uuid;
}

// ---- which upstream

bool PlexRelay::has_usable() const {
  return std::any_of(upstreams_.begin(), upstreams_.end(), [](const auto& upstream) { return upstream->is_usable() && upstream->has_place(); });
}

// By weight: each gains its weight, and the one with most pays for all (smooth weighted round robin).
// `for_message`: of a client that has its home already.
Upstream* PlexRelay::choose_by_turn(bool for_message) {
  Upstream* best = nullptr;
  int64_t sum = 0;
  for (const std::unique_ptr<Upstream>& upstream : upstreams_) {
    if (for_message ? !upstream->has_room() : !upstream->is_usable() || !upstream->has_place()) continue;
    upstream->credit += upstream->weight();
    sum += upstream->weight();
    if (best == nullptr || upstream->credit > best->credit) best = upstream.get();
  }
  if (best != nullptr) best->credit -= sum;
  return best;
}

Upstream* PlexRelay::choose(const Client& client) {
  if (config_.balance == Balance::kSticky || config_.balance == Balance::kRoundRobin) return choose_by_turn(false);
  Upstream* best = nullptr;
  double best_score = 0;
  const uint64_t hash = hash_of(client.peer());
  for (const std::unique_ptr<Upstream>& upstream : upstreams_) {
    if (!upstream->is_usable() || !upstream->has_place()) continue;
    double score = 0;
    if (config_.balance == Balance::kLeastClients) {
      score = -static_cast<double>(upstream->client_count + 1) / upstream->weight();
    } else {  // rendezvous hashing with weights: who goes takes only his own with him
      const uint64_t both = mix(hash ^ mix(std::hash<std::string>{}(upstream->name())));
      score = -static_cast<double>(upstream->weight()) / std::log((static_cast<double>(both >> 11) + 0.5) / static_cast<double>(uint64_t{1} << 53));
    }
    if (best != nullptr && score <= best_score) continue;
    best = upstream.get();
    best_score = score;
  }
  return best;
}

// Finds an upstream for one that waits. It may be that it has to wait on.
void PlexRelay::home(Client& client) {
  Upstream* upstream = choose(client);
  if (upstream == nullptr) return;
  stats_.sub(Stat::kWaiting, client.is_gone() ? 0 : 1);
  upstream->clients.push_back(client);
  ++upstream->client_count;
  const bool is_new = client.is_new();
  client.met();
  client.move_to(upstream, upstream->has(upstream::kAuth) && !client.is_gone());
  if (client.is_gone()) return client.pump();
  if (!is_new) stats_.add(Stat::kRehomed);
  tell(client, is_new ? upstream::Event::kConnected : upstream::Event::kRehomed);
}

void PlexRelay::upstream_up(Upstream&) {
  stats_.add(Stat::kUpstreams);
  serve_.arm(Delay{0});
}

void PlexRelay::upstream_has_room(Upstream&) { serve_.arm(Delay{0}); }

void PlexRelay::upstream_gone(Upstream& upstream) {
  for (List<Client>* list : {&upstream.clients, &upstream.roomless, &roomless_})
    for (Client* client = list->front(); client != nullptr;) {
      Client* next = list->next(*client);
      if (client->home() == &upstream) {
        waiting_.push_back(*client);
        stats_.add(Stat::kWaiting, client->is_gone() ? 0 : 1);
        client->move_to(nullptr, false);
      }
      client = next;
    }
  upstream.client_count = 0;
  for (uint32_t place = 0; place < clients_.places(); ++place)
    if (Client* client = clients_.at(place); client != nullptr) {
      client->take_back(upstream.id());
      if (client->home() != nullptr && client->unsent() > 0) client->go_on();
    }
  if (!waiting_.empty()) serve_.arm(Delay{0});
}

void PlexRelay::upstream_closed(Upstream& upstream) {
  const auto at = std::find_if(upstreams_.begin(), upstreams_.end(), [&](const auto& one) { return one.get() == &upstream; });
  if (at == upstreams_.end()) return;
  env_.loop.bury(std::move(*at));
  upstreams_.erase(at);
}

// Those that waited for an upstream, and those that waited for room, some in a turn.
void PlexRelay::serve() {
  if (turn_ == env_.loop.turns()) return serve_.arm(Delay{0});  // a timer that is armed for now may fire again in the same turn
  turn_ = env_.loop.turns();
  uint32_t left = kServed;
  while (left > 0 && !waiting_.empty() && has_usable()) {
    --left;
    Client& client = *waiting_.front();
    home(client);
    if (&client == waiting_.front()) break;
  }
  const auto serve_list = [&](List<Client>& list, auto has_room) {
    while (left > 0 && !list.empty() && has_room()) {
      --left;
      Client& client = *list.front();
      client.home()->clients.push_back(client);
      client.pump();
    }
    return !list.empty() && has_room();
  };
  bool more = !waiting_.empty() && has_usable();
  for (const std::unique_ptr<Upstream>& upstream : upstreams_)
    if (serve_list(upstream->roomless, [&] { return upstream->has_room(); })) more = true;
  if (serve_list(roomless_, [&] { return std::any_of(upstreams_.begin(), upstreams_.end(), [](const auto& one) { return one->has_room(); }); })) more = true;
  if (more && !serve_.armed()) serve_.arm(Delay{0});
}

Upstream* PlexRelay::give(Client& client, std::span<const std::byte> payload, uint64_t seq, bool again) {
  char uuid[Uuid::kText];
  client.uuid().write(uuid);
  upstream::Input input;
  input.time = time_text();
  input.client_uuid = {uuid, sizeof uuid};
  input.payload = payload;
  input.seq = seq;
  input.redelivered = again;
  if (config_.balance != Balance::kRoundRobin) {
    if (client.home()->give(input)) return client.home();
    client.home()->roomless.push_back(client);
    return nullptr;
  }
  // Each in its turn; who has no room is passed over.
  while (Upstream* upstream = choose_by_turn(true))
    if (upstream->give(input)) return upstream;
  roomless_.push_back(client);
  return nullptr;
}

// ---- and go

void PlexRelay::left(Client& client) {
  stats_.sub(Stat::kClients);
  if (client.is_counted)
    if (const auto at = addresses_.find(client.peer().ip); at != addresses_.end() && --at->second == 0) addresses_.erase(at);
  if (client.home() == nullptr) stats_.sub(Stat::kWaiting);
}

void PlexRelay::ended(Client& client) {
  clients_.remove(client);
  if (client.home() != nullptr) --client.home()->client_count;
  stats_.add(Stat::kLostMessages, client.unsent());
  client.unlink();
  if (!waiting_.empty() && !serve_.armed()) serve_.arm(Delay{0});  // it may have been in the way of one
  env_.loop.bury(std::unique_ptr<Mortal>(&client));
  if (drained_ || (draining_ && clients_.size() == 0)) drain_.arm(Delay{0});
}

void PlexRelay::on_timer(Timer& timer) {
  if (&timer == &serve_) return serve();
  if (&timer == &sweep_) return sweep();
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
  if (drain_turn_ == env_.loop.turns()) return drain_.arm(Delay{0});
  drain_turn_ = env_.loop.turns();
  drained_ = true;
  for (uint32_t left = kServed; left > 0 && drained_to_ < clients_.places(); --left)
    if (Client* client = clients_.at(drained_to_++); client != nullptr) client->drain();
  if (drained_to_ < clients_.places()) drain_.arm(Delay{0});
  if (clients_.size() > 0) return;
  names_.clear();
  std::vector<Upstream*> all;
  for (const std::unique_ptr<Upstream>& upstream : upstreams_)
    if (!upstream->retired()) all.push_back(upstream.get());
  for (Upstream* upstream : all) upstream->retire();
}

bool PlexRelay::idle() const { return clients_.size() == 0 && (upstreams_.empty() || !draining_); }

void PlexRelay::stop(std::string_view why) {
  draining_ = stopping_ = true;
  doors_.close();
  crowd_.clear();
  names_.clear();
  for (uint32_t place = 0; place < clients_.places(); ++place)
    if (Client* client = clients_.at(place); client != nullptr) client->give_up(why);
  std::vector<Upstream*> all;
  for (const std::unique_ptr<Upstream>& upstream : upstreams_) all.push_back(upstream.get());
  for (Upstream* upstream : all) upstream->close();
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
  json.text("target", targets).text("balance", name_of(config_.balance)).flag("draining", draining_);
  doors_.status(json);
  if (last_error_.empty()) json.null("last_error");
  else json.begin('{', "last_error").text("error", last_error_).number("ago_ms", (env_.loop.now() - last_error_at_).count()).end('}');
  show_upstreams(json);
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

const Kind kKind = {
    .name = "plex",
    .command = "plex",
    .summary = "name long-lived TCP clients, and pass what they say to gRPC servers",
    .help = "Gives each client that connects a UUID, and passes what it sends to a gRPC server (an upstream) over one stream for all\n"
            "clients; the upstream answers by UUID, or to all. proto/upstream.proto is the protocol, relay-plex(7) the manual.\n"
            "\n"
            "  relay plex --listen tcp://0.0.0.0:7999 --upstream grpc://127.0.0.1:45888 --upstream grpcs://app2.example:443\n"
            "  relay plex --listen :7999 --upstream grpc://_grpc._tcp.app.example --balance least-clients --framing line\n",
    .keys = plex_keys,
    .stats = stat_rows,
    .check = plex_check,
    .descriptors = [](const Section& section) { return 16 + static_cast<uint64_t>(section.integer("clients")); },
    .title = plex_title,
    .places = [](const Section& section) { return section.endpoints("listen"); },
    .make = [](const Env& env) -> std::unique_ptr<Relay> { return std::make_unique<PlexRelay>(env); },
};

}  // namespace relay::plex

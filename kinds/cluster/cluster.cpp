// SPDX-License-Identifier: Apache-2.0
// ClusterRelay: doors, roles, introductions, refusals, drain.
#include "kinds/cluster/cluster.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "lib/log.h"

namespace relay::cluster {
namespace {

constexpr unsigned kRefusalsASecond = 10;
constexpr Delay kTargetLookupMost{2000};  // accepting waits no longer for the first look-up of the target
constexpr Delay kTargetLookupAgain{5000};  // strangers make us look the target up again, but no more often

using Type = StatRow::Type;
constexpr std::array<StatRow, Stats<Stat>::kCount> kRows = {{
    {"clients", Type::kGauge, "clients there now"},
    {"gateways", Type::kGauge, "gateways there now, those included that have gone and left bytes for a client"},
    {"waiting", Type::kGauge, "of both, those that wait for their other side"},
    {"pairs", Type::kGauge, "clients and gateways that have met"},
    {"queued_bytes", Type::kGauge, "bytes taken from one side and not yet given to the other"},
    {"clients_accepted", Type::kCounter, "clients that were let in"},
    {"gateways_accepted", Type::kCounter, "gateways that came by themselves and were let in"},
    {"dials", Type::kCounter, "clients for which the target was dialled"},
    {"dial_failures", Type::kCounter, "addresses of the target that could not be reached, and failed look-ups"},
    {"sessions", Type::kCounter, "sessions begun"},
    {"refused_client_busy", Type::kCounter, "clients closed at once: the limit of pairs was reached"},
    {"refused_gateway_busy", Type::kCounter, "gateways closed at once: the limit of pairs was reached"},
    {"refused_client_not_allowed", Type::kCounter, "clients closed at once: not in client"},
    {"refused_gateway_not_allowed", Type::kCounter, "closed at once at the gateways' own port: not in gateway"},
    {"refused_draining", Type::kCounter, "closed at once: the relay is draining"},
    {"to_client_bytes", Type::kCounter, "bytes delivered to clients"},
    {"to_gateway_bytes", Type::kCounter, "bytes delivered to gateways"},
    {"lost_to_client_bytes", Type::kCounter, "bytes of gateways that were accepted and never reached a client"},
    {"lost_to_gateway_bytes", Type::kCounter, "bytes of clients that were accepted and never reached a gateway"},
    {"queue_full", Type::kCounter, "times that a queue was full and the reading of its side stopped"},
    {"idle_timeouts", Type::kCounter, "pairs ended by idle-timeout"},
    {"half_close_timeouts", Type::kCounter, "sessions ended by half-close-timeout"},
    {"wait_timeouts", Type::kCounter, "sessions ended by wait-timeout"},
    {"resets", Type::kCounter, "sessions that a side ended with a reset"},
    {"truncations", Type::kCounter, "sessions that ended because a side's TLS was cut off"},
    {"accept_pauses", Type::kCounter, "times that accepting paused for want of descriptors or memory"},
    {"spliced_flows", Type::kCounter, "directions that went over to splice"},
    {"tls_handshakes", Type::kCounter, "TLS handshakes that went well, on both sides"},
    {"tls_resumed", Type::kCounter, "of these, resumed by a ticket"},
    {"tls_handshake_failures", Type::kCounter, "TLS handshakes that failed, on both sides"},
}};

std::string bind_remedy(const Endpoint& where, int error) {
  const std::string place = where.text();
  const std::string port = std::to_string(where.port);
  switch (error) {
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
    default: return "cannot listen on " + place + ": " + std::strerror(error);
  }
}

std::string api_host(const ClusterConfig& config) { return config.import != nullptr ? config.import->api.host.text() : std::string(); }

}  // namespace

std::span<const StatRow> stat_rows() { return kRows; }

ClusterRelay::ClusterRelay(const Env& env) : env_(env), lookup_(env.resolver, *this), timer_(env.loop, *this), rate_since_(env.loop.now()) {}

ClusterRelay::~ClusterRelay() { stop("terminated"); }

// ---- doors

std::string_view ClusterRelay::name_of_role(Role role) { return role == Role::kBoth ? "both" : role == Role::kClient ? "client" : "gateway"; }

void ClusterRelay::prepare(const Section& section, Faults& faults) {
  next_ = std::make_unique<Next>(Next{cluster_config(section), {}, nullptr, {}});
  const ClusterConfig& config = next_->config;
  prepare_certificates(faults);
  const bool own = !config.gateway_listen.empty();
  for (const Endpoint& where : config.listen) open_door(where, config.listen_anywhere, own ? Role::kClient : Role::kBoth, faults);
  for (const Endpoint& where : config.gateway_listen) open_door(where, config.gateway_listen_anywhere, Role::kGateway, faults);
}

void ClusterRelay::commit() {
  const bool elsewhere = config_.target != next_->config.target || api_host(config_) != api_host(next_->config);
  config_ = std::move(next_->config);
  use_certificates();
  take_doors();
  next_.reset();
  if (elsewhere) target_addrs_.clear();
  if (elsewhere && import_ != nullptr) import_->cancel();
  if (config_.import != nullptr && import_ == nullptr) import_ = std::make_unique<Import>(env_.loop, env_.resolver);
  if (target_names_gateways() && target_addrs_.empty()) hold_off_until_target_is_known();
  else accept_now();
  each([elsewhere](Session& session) { session.reconfigured(elsewhere); });
}

// What has to be the same for a door to stay as it is.
std::string ClusterRelay::place_of(const Endpoint& where, const ClusterConfig& config) {
  if (!where.tls) return where.text();
  return where.text() + " " + std::to_string(config.tls->handshake_limit) + " " + std::to_string(config.tls->handshake_timeout.count());
}

// Doors that the new configuration has too stay as they are, with those who wait in front of them.
void ClusterRelay::take_doors() {
  std::vector<std::unique_ptr<Door>> before = std::exchange(doors_, std::move(next_->doors));
  for (const auto& door : doors_) {
    LogLine(Level::kInfo, "listening").text("relay", config_.name).text("role", name_of_role(door->role)).text("addr", door->listener.text()).count("tls", door->where.starts_with("tls://") ? 1 : 0);
    door->listener.go_on();
  }
  const bool own = !config_.gateway_listen.empty();
  const auto keep = [&](const std::vector<Endpoint>& places, Role role) {
    for (const Endpoint& where : places)
      for (auto& door : before) {
        if (door == nullptr || door->where != place_of(where, config_) || !door->listener.is_open()) continue;
        door->role = role;
        static_cast<void>(door->listener.change(config_.dial.options));  // for those who come from now on; the kernel took the like before
        doors_.push_back(std::move(door));
      }
  };
  keep(config_.listen, own ? Role::kClient : Role::kBoth);
  keep(config_.gateway_listen, Role::kGateway);
  for (const auto& door : before)
    if (door != nullptr && door->listener.is_open())
      LogLine(Level::kInfo, "not-listening").text("relay", config_.name).text("addr", door->listener.text());
}

void ClusterRelay::lend() {
  for (const auto& door : doors_)
    if (door->listener.is_open()) env_.sockets.lend(door->listener);
}

// `anywhere`: nobody asked for this address; where there is no IPv6, all of IPv4 will do.
void ClusterRelay::open_door(const Endpoint& where, bool anywhere, Role role, Faults& faults) {
  const ClusterConfig& config = next_->config;
  const std::string place = place_of(where, config);
  if (std::any_of(doors_.begin(), doors_.end(), [&](const auto& door) { return door->where == place && door->listener.is_open(); })) return;
  Result<Listening> listening = env_.sockets.open(where, config.dial.options);
  if (!listening.ok() && anywhere && (listening.status().error() == EAFNOSUPPORT || listening.status().error() == EADDRNOTAVAIL)) {
    Endpoint v4 = where;
    v4.addr.family = Addr::Family::kV4;
    listening = env_.sockets.open(v4, config.dial.options);
  }
  if (!listening.ok()) {
    faults.push_back({config.name, bind_remedy(where, listening.status().error())});
    return;
  }
  next_->doors.push_back(std::make_unique<Door>(env_.loop, static_cast<ListenerUser&>(*this), role, place));
  Listener& listener = next_->doors.back()->listener;
  listener.hold_off();
  if (where.tls) listener.use_tls(config.tls->handshake_limit, config.tls->handshake_timeout);
  if (const Status status = listener.open(std::move(*listening)); !status.ok())
    faults.push_back({config.name, "cannot watch " + where.text() + ": " + std::strerror(status.error())});
}

// A gateway that is known by the target's name alone would be taken for a client until the name has been looked up.
bool ClusterRelay::target_names_gateways() const {
  const Endpoint::Kind kind = config_.dial.target.kind;
  return !config_.gateways_given && config_.gateway_listen.empty() && (kind == Endpoint::Kind::kName || kind == Endpoint::Kind::kService);
}

void ClusterRelay::hold_off_until_target_is_known() {
  held_off_ = true;
  for (const auto& door : doors_) door->listener.hold_off();
  timer_.arm(kTargetLookupMost);
  look_up_target();
}

void ClusterRelay::look_up_target() {
  if (lookup_.active()) return;
  looked_up_ = env_.loop.now();
  lookup_.start(config_.dial.target);
}

void ClusterRelay::on_lookup(Result<std::vector<Addr>> addrs) {
  if (addrs.ok()) {
    target_addrs_ = std::move(*addrs);
  } else {
    LogLine(Level::kWarn, "resolve-failed").text("relay", config_.name).text("name", config_.dial.target.text()).text("error", addrs.status().reason());
    failed(addrs.status().reason());
  }
  accept_now();
}

void ClusterRelay::on_timer(Timer&) { accept_now(); }

void ClusterRelay::accept_now() {
  timer_.disarm();
  if (!held_off_) return;
  held_off_ = false;
  for (const auto& door : doors_) door->listener.go_on();
}

void ClusterRelay::on_accept_paused(Listener& listener, const Status& why) {
  stats_.add(Stat::kAcceptPauses);
  LogLine(Level::kWarn, "accept-paused").text("relay", config_.name).text("addr", listener.text()).text("error", std::strerror(why.error()));
}

void ClusterRelay::on_accept_resumed(Listener& listener) {
  LogLine(Level::kInfo, "accept-resumed").text("relay", config_.name).text("addr", listener.text());
}

// ---- roles

bool ClusterRelay::is_gateway(const Addr& peer) const {
  const auto holds = [&](const Network& network) { return network.contains(peer); };
  if (config_.gateways_given) return std::any_of(config_.gateways.begin(), config_.gateways.end(), holds);
  if (peer.family == Addr::Family::kUnix) return false;
  const Endpoint& target = config_.dial.target;
  if (peer.is_loopback() || (target.kind == Endpoint::Kind::kAddr && peer.same_host(target.addr))) return true;
  return std::any_of(target_addrs_.begin(), target_addrs_.end(), [&](const Addr& addr) { return peer.same_host(addr); });
}

Side ClusterRelay::side_of(const Listener& listener, const Addr& peer) const {
  const auto door = std::find_if(doors_.begin(), doors_.end(), [&](const auto& d) { return &d->listener == &listener; });
  switch ((*door)->role) {
    case Role::kClient: return Side::kClient;
    case Role::kGateway: return Side::kGateway;
    case Role::kBoth: break;
  }
  return is_gateway(peer) ? Side::kGateway : Side::kClient;
}

// Whether `peer` may come in. `knocks`: it has not shown its certificate yet, so nobody gives way to it.
bool ClusterRelay::admits(Side side, const Addr& peer, bool knocks) {
  if (side == Side::kGateway) {
    if (config_.gateways_given && !is_gateway(peer)) return refuse(side, peer, Stat::kRefusedGatewayNotAllowed, "gateway-not-allowed");
    if (draining_) return refuse(side, peer, Stat::kRefusedDraining, "draining");
    return make_room(side, knocks) || refuse(side, peer, Stat::kRefusedGatewayBusy, "gateway-busy");
  }
  const auto holds = [&](const Network& network) { return network.contains(peer); };
  if (!config_.clients.empty() && std::none_of(config_.clients.begin(), config_.clients.end(), holds))
    return refuse(side, peer, Stat::kRefusedClientNotAllowed, "client-not-allowed");
  if (draining_ && waiting_[static_cast<size_t>(Side::kGateway)].empty()) return refuse(side, peer, Stat::kRefusedDraining, "draining");
  return make_room(side, knocks) || refuse(side, peer, Stat::kRefusedClientBusy, "client-busy");
}

void ClusterRelay::on_accept(Listener& listener, Socket socket, const Addr& peer) {
  if (socket.tls != nullptr) greeted(peer, *socket.tls);
  const Side side = side_of(listener, peer);
  if (!admits(side, peer, false)) return;
  if (side == Side::kClient && target_names_gateways() && env_.loop.now() - looked_up_ >= kTargetLookupAgain) look_up_target();
  welcome(side, std::move(socket), peer);
}

// ---- TLS

// Who would be refused need not show anything: a handshake is dear.
TlsContext* ClusterRelay::on_knock(Listener& listener, const Addr& peer) {
  const Side side = side_of(listener, peer);
  if (!admits(side, peer, true)) return nullptr;
  return side == Side::kClient ? &tls_->client : &tls_->gateway;
}

void ClusterRelay::on_handshake_failed(Listener& listener, const Addr& peer, const std::string& why) {
  stats_.add(Stat::kTlsHandshakeFailures);
  if (!handshake_failures_.tell(env_.loop.now())) return;
  LogLine(Level::kWarn, "handshake-failed").text("relay", config_.name).text("role", name_of(side_of(listener, peer))).text("peer", peer.text())
      .text("error", why).count("suppressed", handshake_failures_.untold);
  handshake_failures_.untold = 0;
}

void ClusterRelay::greeted(const Addr& peer, const Tls& tls) {
  stats_.add(Stat::kTlsHandshakes);
  if (tls.resumed()) stats_.add(Stat::kTlsResumed);
  if (!log_enabled(Level::kDebug)) return;
  LogLine(Level::kDebug, "handshake").text("relay", config_.name).text("peer", peer.text()).text("version", tls.version()).text("cipher", tls.cipher())
      .text("name", tls.peer_name()).number("resumed", tls.resumed() ? 1 : 0);
}

void ClusterRelay::prepare_certificates(Faults& faults) {
  const ClusterConfig& config = next_->config;
  if (config.tls == nullptr) return;
  next_->tls = std::make_unique<TlsContexts>();
  std::vector<TlsFault> found;
  next_->tls->load(*config.tls, found);
  if (config.asks_by_tls())
    if (const std::optional<TlsFault> fault = next_->api_tls.load(config.import->tls)) found.push_back(*fault);
  for (const TlsFault& fault : found) faults.push_back({config.name, std::string(fault.key) + ": " + fault.what});
}

// For connections that come from now on.
void ClusterRelay::use_certificates() {
  if (next_->tls == nullptr) return;
  if (tls_ == nullptr) tls_ = std::make_unique<TlsContexts>();  // its address is the dial's, and lasts
  *tls_ = std::move(*next_->tls);
  api_tls_ = std::move(next_->api_tls);
  if (config_.asks_by_tls()) config_.import->dial.tls = &api_tls_;
  if (config_.tls->dials) config_.dial.tls = &tls_->target;
  const TlsContext& shown = config_.tls->listens ? tls_->gateway : tls_->target;
  for (const TlsFault& warning : shown.warnings(config_.tls->gateway))
    LogLine(Level::kWarn, "certificate").text("relay", config_.name).text("problem", warning.what);
}

// Whether there is a place for one more. One who waits, has finished and has said nothing (a health check that connects and
// closes, a function that gave up) gives way to one who lives.
bool ClusterRelay::make_room(Side side, bool knocks) {
  if (stats_.get(side == Side::kClient ? Stat::kClients : Stat::kGateways) < config_.pairs) return true;
  List<Session>& waiting = waiting_[static_cast<size_t>(side)];
  int looks = 64;  // a flood must not make us search
  for (Session* session = waiting.front(); session != nullptr && looks > 0; session = waiting.next(*session), --looks)
    if (session->has_left_nothing()) {
      if (!knocks) session->end("replaced");
      return true;
    }
  return false;
}

void ClusterRelay::welcome(Side side, Socket socket, const Addr& peer) {
  stats_.add(side == Side::kClient ? Stat::kClientsAccepted : Stat::kGatewaysAccepted);
  Session* oldest = waiting_[static_cast<size_t>(other(side))].front();
  if (log_enabled(Level::kDebug))
    LogLine(Level::kDebug, "accepted").text("relay", config_.name).number("session", oldest != nullptr ? oldest->id() : next_id_)
        .text("role", name_of(side)).text("peer", peer.text());
  if (oldest != nullptr) return oldest->join(side, std::move(socket), peer);
  stats_.add(Stat::kSessions);
  Session::make(*this, next_id_++).begin(side, std::move(socket), peer);
}

bool ClusterRelay::Sparing::tell(Time now) {
  if (now - since >= Delay{1000}) {
    since = now;
    told = 0;
  }
  if (++told <= kRefusalsASecond) return true;
  ++untold;
  return false;
}

// False. The connection is closed by its Fd as the caller returns.
bool ClusterRelay::refuse(Side side, const Addr& peer, Stat stat, std::string_view reason) {
  stats_.add(stat);
  if (!refusals_.tell(env_.loop.now())) return false;
  LogLine(Level::kWarn, "refused").text("relay", config_.name).text("role", name_of(side)).text("peer", peer.text()).text("reason", reason)
      .count("suppressed", refusals_.untold);
  refusals_.untold = 0;
  return false;
}

// ---- sessions

void ClusterRelay::waits(Session& session) {
  waiting_[static_cast<size_t>(session.waiting_side())].push_back(session);
  stats_.add(Stat::kWaiting);
  stats_.add(session.waiting_side() == Side::kClient ? Stat::kClients : Stat::kGateways);
}

void ClusterRelay::paired(Session& session) {
  others_.push_back(session);
  stats_.sub(Stat::kWaiting);
  stats_.add(Stat::kPairs);
  stats_.add(session.waiting_side() == Side::kClient ? Stat::kGateways : Stat::kClients);
}

void ClusterRelay::ended(Session& session) {
  if (session.was_paired()) {
    stats_.sub(Stat::kPairs);
    stats_.sub(Stat::kClients);
    stats_.sub(Stat::kGateways);
  } else {
    stats_.sub(Stat::kWaiting);
    stats_.sub(session.waiting_side() == Side::kClient ? Stat::kClients : Stat::kGateways);
  }
  ++sessions_ended_;
  session.unlink();
  env_.loop.bury(session.release());
  if (draining_) close_doors_if_done();
}

template <typename Visit>
void ClusterRelay::each(Visit visit) {
  for (List<Session>* list : {&waiting_[0], &waiting_[1], &others_})
    for (Session* session = list->front(); session != nullptr;) {
      Session* next = list->next(*session);
      visit(*session);  // may end it
      session = next;
    }
}

void ClusterRelay::drain() {
  if (draining_) return;
  draining_ = true;
  each([](Session& session) { session.drain(); });
  close_doors_if_done();
}

// While draining a door stays open only for the client that a gateway's bytes wait for.
void ClusterRelay::close_doors_if_done() {
  if (!waiting_[static_cast<size_t>(Side::kGateway)].empty()) return;
  for (const auto& door : doors_) door->listener.close();
}

void ClusterRelay::stop(std::string_view why) {
  for (const auto& door : doors_) door->listener.close();
  each([why](Session& session) { session.end(why); });
}

// ---- showing

// Bytes a second since the last time that anybody looked, if that was at least a second ago.
uint64_t ClusterRelay::rate() {
  const Delay since = env_.loop.now() - rate_since_;
  if (since < Delay{1000}) return rate_;
  const uint64_t bytes = stats_.get(Stat::kToClientBytes) + stats_.get(Stat::kToGatewayBytes);
  rate_ = bytes < bytes_seen_ ? 0 : (bytes - bytes_seen_) * 1000 / static_cast<uint64_t>(since.count());
  bytes_seen_ = bytes;
  rate_since_ = env_.loop.now();
  return rate_;
}

void ClusterRelay::status(Json& json, size_t most) {
  json.text("target", config_.target).flag("draining", draining_).number("bytes_a_second", rate());
  json.begin('[', "listening");
  for (const auto& door : doors_) {
    if (!door->listener.is_open()) continue;
    json.begin('{').text("addr", door->listener.text()).text("role", name_of_role(door->role)).end('}');
  }
  json.end(']');
  if (last_error_.empty()) json.null("last_error");
  else json.begin('{', "last_error").text("error", last_error_).number("ago_ms", (env_.loop.now() - last_error_at_).count()).end('}');
  json.begin('[', "connections");
  uint64_t hidden = stats_.get(Stat::kSessions) - sessions_ended_;
  for (List<Session>* list : {&waiting_[0], &waiting_[1], &others_})
    for (Session* session = list->front(); session != nullptr && most > 0; session = list->next(*session), --most, --hidden) {
      json.begin('{');
      session->status(json);
      json.end('}');
    }
  json.end(']').number("connections_not_shown", hidden);
}

// ---- the kind

const Kind kKind = {
    .name = "cluster",
    .command = "start",
    .summary = "pair a function with its gateway, and hold the gateway's bytes until the function comes",
    .help = "Listens on a port. A connection from --gateway (default: loopback and the target) is the gateway's: its bytes are\n"
            "queued until a client comes. Any other is a client's: it gets the queue, or, if no gateway waits, the relay dials\n"
            "--target for it and queues what it sends meanwhile.\n"
            "\n"
            "  relay start --port 9000 --target 10.0.0.5:9999\n"
            "  relay start --port 9000 --target crelay-func2:9999\n"
            "  relay start --listen ::1 --port 9000 --target 10.0.0.5:9999 --gateway 10.0.0.0/24 --client 192.0.2.0/24\n",
    .keys = cluster_keys,
    .stats = stat_rows,
    .check = cluster_check,
    .descriptors = [](const Section& section) { return 2 + 2 * static_cast<uint64_t>(section.integer("pairs")); },  // two a pair
    .title = cluster_title,
    .places =
        [](const Section& section) {
          ClusterConfig config = cluster_config(section);
          config.listen.insert(config.listen.end(), config.gateway_listen.begin(), config.gateway_listen.end());
          return config.listen;
        },
    .make = [](const Env& env) -> std::unique_ptr<Relay> { return std::make_unique<ClusterRelay>(env); },
};

}  // namespace relay::cluster

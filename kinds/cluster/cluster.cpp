// SPDX-License-Identifier: Apache-2.0
// ClusterRelay: doors, roles, introductions, refusals, drain.
#include "kinds/cluster/cluster.h"

#include <algorithm>
#include <utility>

#include "lib/log.h"

namespace relay::cluster {
namespace {

// Roles of doors.
constexpr std::string_view kBoth = "both";
constexpr std::string_view kClient = "client";
constexpr std::string_view kGateway = "gateway";

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

std::string api_host(const ClusterConfig& config) { return config.import != nullptr ? config.import->api.host.text() : std::string(); }

}  // namespace

std::span<const StatRow> stat_rows() { return kRows; }

ClusterRelay::ClusterRelay(const Env& env) : env_(env), doors_(env.loop, env.sockets, *this), lookup_(env.resolver, *this), timer_(env.loop, *this), rate_since_(env.loop.now()) {}

ClusterRelay::~ClusterRelay() { stop("terminated"); }

// ---- doors

Doors::Plan ClusterRelay::doors_of(const ClusterConfig& config) {
  Doors::Plan plan{config.name, {}, config.dial.options, config.tls.get()};
  for (const Endpoint& where : config.listen) plan.places.push_back({where, config.gateway_listen.empty() ? kBoth : kClient});
  for (const Endpoint& where : config.gateway_listen) plan.places.push_back({where, kGateway});
  return plan;
}

void ClusterRelay::prepare(const Section& section, Faults& faults) {
  next_ = std::make_unique<Next>(Next{cluster_config(section), {}});
  const ClusterConfig& config = next_->config;
  if (config.asks_by_tls())
    if (const std::optional<TlsFault> fault = next_->api_tls.load(config.import->tls)) faults.push_back({config.name, std::string(fault->key) + ": " + fault->what});
  doors_.prepare(doors_of(config), faults);
}

void ClusterRelay::rollback() {
  doors_.rollback();
  next_.reset();
}

void ClusterRelay::commit() {
  const bool elsewhere = config_.target != next_->config.target || api_host(config_) != api_host(next_->config);
  config_ = std::move(next_->config);
  doors_.commit(doors_of(config_));
  use_certificates();
  next_.reset();
  if (elsewhere) target_addrs_.clear();
  if (elsewhere && import_ != nullptr) import_->cancel();
  if (config_.import != nullptr && import_ == nullptr) import_ = std::make_unique<Import>(env_.loop, env_.resolver);
  if (target_names_gateways() && target_addrs_.empty()) hold_off_until_target_is_known();
  else accept_now();
  each([elsewhere](Session& session) { session.reconfigured(elsewhere); });
}

// A gateway that is known by the target's name alone would be taken for a client until the name has been looked up.
bool ClusterRelay::target_names_gateways() const {
  const Endpoint::Kind kind = config_.dial.target.kind;
  return !config_.gateways_given && config_.gateway_listen.empty() && (kind == Endpoint::Kind::kName || kind == Endpoint::Kind::kService);
}

void ClusterRelay::hold_off_until_target_is_known() {
  held_off_ = true;
  doors_.hold_off();
  timer_.arm(kTargetLookupMost);
  look_up_target();
}

void ClusterRelay::look_up_target() {
  if (lookup_.active()) return;
  looked_up_ = env_.loop.now();
  lookup_.start(config_.dial.target);
}

void ClusterRelay::on_lookup(Result<Found> found) {
  if (found.ok()) {
    target_addrs_ = std::move(found->addrs);
  } else {
    LogLine(Level::kWarn, "resolve-failed").text("relay", config_.name).text("name", config_.dial.target.text()).text("error", found.status().reason());
    failed(found.status().reason());
  }
  accept_now();
}

void ClusterRelay::on_timer(Timer&) { accept_now(); }

void ClusterRelay::accept_now() {
  timer_.disarm();
  if (!held_off_) return;
  held_off_ = false;
  doors_.go_on();
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

Side ClusterRelay::side_of(std::string_view role, const Addr& peer) const {
  if (role == kBoth) return is_gateway(peer) ? Side::kGateway : Side::kClient;
  return role == kGateway ? Side::kGateway : Side::kClient;
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

void ClusterRelay::on_come(const DoorSign& door, Socket socket, const Addr& peer) {
  if (socket.tls != nullptr) greeted(peer, *socket.tls);
  const Side side = side_of(door.role, peer);
  if (!admits(side, peer, false)) return;
  if (side == Side::kClient && target_names_gateways() && env_.loop.now() - looked_up_ >= kTargetLookupAgain) look_up_target();
  welcome(side, std::move(socket), peer);
}

// ---- TLS

// Who would be refused need not show anything: a handshake is dear.
TlsContext* ClusterRelay::on_knock(const DoorSign& door, const Addr& peer) {
  const Side side = side_of(door.role, peer);
  if (!admits(side, peer, true)) return nullptr;
  return side == Side::kClient ? &doors_.tls().client : &doors_.tls().gateway;
}

void ClusterRelay::on_handshake_failed(const DoorSign& door, const Addr& peer, const std::string& why) {
  stats_.add(Stat::kTlsHandshakeFailures);
  doors_.handshake_failed(name_of(side_of(door.role, peer)), peer, why);
}

void ClusterRelay::greeted(const Addr& peer, const Tls& tls) {
  stats_.add(Stat::kTlsHandshakes);
  if (tls.resumed()) stats_.add(Stat::kTlsResumed);
  if (!log_enabled(Level::kDebug)) return;
  LogLine(Level::kDebug, "handshake").text("relay", config_.name).text("peer", peer.text()).text("version", tls.version()).text("cipher", tls.cipher())
      .text("name", tls.peer_name()).number("resumed", tls.resumed() ? 1 : 0);
}

// For connections that come from now on.
void ClusterRelay::use_certificates() {
  if (config_.tls == nullptr) return;
  api_tls_ = std::move(next_->api_tls);
  if (config_.asks_by_tls()) config_.import->dial.tls = &api_tls_;
  if (config_.tls->dials) config_.dial.tls = &doors_.tls().target;
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

// False. The connection is closed by its Fd as the caller returns.
bool ClusterRelay::refuse(Side side, const Addr& peer, Stat stat, std::string_view reason) {
  stats_.add(stat);
  doors_.refused(name_of(side), peer, reason);
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
  doors_.close();
}

void ClusterRelay::stop(std::string_view why) {
  doors_.close();
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
  doors_.status(json);
  last_error_.status(json, env_.loop.now());
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

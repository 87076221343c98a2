// SPDX-License-Identifier: Apache-2.0
// RedisRelay: doors, connections to the server and who has them, refusals, drain.
#include "kinds/redis/redis.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "lib/log.h"

namespace relay::redis {
namespace {

constexpr unsigned kRefusalsASecond = 10;

using Type = StatRow::Type;
constexpr std::array<StatRow, Stats<Stat>::kCount> kRows = {{
    {"clients", Type::kGauge, "clients there now"},
    {"pinned", Type::kGauge, "of these, those that have a connection to the server of their own, or wait for one"},
    {"upstreams", Type::kGauge, "connections to the server, those included that are being made"},
    {"under_way", Type::kGauge, "commands whose reply the server owes"},
    {"accepted", Type::kCounter, "clients that were let in"},
    {"refused_busy", Type::kCounter, "clients closed at once: the limit of clients was reached"},
    {"refused_draining", Type::kCounter, "clients closed at once: the relay is draining"},
    {"commands", Type::kCounter, "commands passed on, as far as they were told apart"},
    {"shared_commands", Type::kCounter, "of these, those that went over a connection that clients share"},
    {"pins", Type::kCounter, "times that a client needed a connection of its own"},
    {"errors", Type::kCounter, "errors that the relay has answered with itself"},
    {"protocol_errors", Type::kCounter, "clients ended because what they said was no command"},
    {"repeated", Type::kCounter, "commands sent again after a connection to the server was lost"},
    {"lost_commands", Type::kCounter, "commands of which it is not known whether they were executed, because a connection was lost"},
    {"dials", Type::kCounter, "times that the server was dialled"},
    {"dial_failures", Type::kCounter, "addresses of the server that could not be reached, and failed look-ups"},
    {"upstreams_lost", Type::kCounter, "connections that the server has ended"},
    {"stalled", Type::kCounter, "clients ended by stall-timeout"},
    {"accept_pauses", Type::kCounter, "times that accepting paused for want of descriptors or memory"},
    {"tls_handshakes", Type::kCounter, "TLS handshakes that went well, on both sides"},
    {"tls_handshake_failures", Type::kCounter, "TLS handshakes that failed, on both sides"},
}};

std::string bind_remedy(const Endpoint& where, int error) {
  const std::string place = where.text();
  if (error == EADDRINUSE) return place + " is in use; stop the program that listens there, or choose another";
  if (error == EACCES || error == EPERM) return "no permission to listen on " + place + "; choose another place";
  return "cannot listen on " + place + ": " + std::strerror(error);
}

}  // namespace

std::span<const StatRow> stat_rows() { return kRows; }

RedisRelay::~RedisRelay() { stop("terminated"); }

// ---- doors

void RedisRelay::prepare(const Section& section, Faults& faults) {
  next_ = std::make_unique<Next>(Next{redis_config(section), {}, nullptr});
  if (const std::string what = read_password(next_->config); !what.empty()) faults.push_back({next_->config.name, "password-file: " + what});
  if (next_->config.tls != nullptr) {
    next_->tls = std::make_unique<TlsContexts>();
    std::vector<TlsFault> found;
    next_->tls->load(*next_->config.tls, found);
    for (const TlsFault& fault : found) faults.push_back({next_->config.name, std::string(fault.key) + ": " + fault.what});
  }
  for (const Endpoint& where : next_->config.listen) open_door(where, faults);
}

void RedisRelay::open_door(const Endpoint& where, Faults& faults) {
  const std::string place = where.text();
  if (std::any_of(doors_.begin(), doors_.end(), [&](const auto& door) { return door->where == place && door->listener.is_open(); })) return;
  Result<Listening> listening = env_.sockets.open(where, next_->config.dial.options);
  if (!listening.ok()) {
    faults.push_back({next_->config.name, bind_remedy(where, listening.status().error())});
    return;
  }
  next_->doors.push_back(std::make_unique<Door>(env_.loop, static_cast<ListenerUser&>(*this), place));
  Listener& listener = next_->doors.back()->listener;
  listener.hold_off();
  if (where.tls) listener.use_tls(next_->config.tls->handshake_limit, next_->config.tls->handshake_timeout);
  if (const Status status = listener.open(std::move(*listening)); !status.ok())
    faults.push_back({next_->config.name, "cannot watch " + place + ": " + std::strerror(status.error())});
}

void RedisRelay::commit() {
  const bool elsewhere = !(config_.server == next_->config.server);
  config_ = std::move(next_->config);
  use_certificates();
  take_doors();
  next_.reset();
  if (!elsewhere) return;
  commands_ = {};
  shared_.clear();
  idle_.clear();
  const std::vector<std::unique_ptr<Upstream>>& all = upstreams_;
  for (size_t i = all.size(); i-- > 0;) all[i]->retire();  // may take itself out, and none before it
}

void RedisRelay::take_doors() {
  std::vector<std::unique_ptr<Door>> before = std::exchange(doors_, std::move(next_->doors));
  for (const auto& door : doors_) {
    LogLine(Level::kInfo, "listening").text("relay", config_.name).text("role", "client").text("addr", door->listener.text()).count("tls", door->where.starts_with("tls://") ? 1 : 0);
    door->listener.go_on();
  }
  for (auto& door : before) {
    const bool stays = door->listener.is_open() && std::any_of(config_.listen.begin(), config_.listen.end(), [&](const Endpoint& where) { return where.text() == door->where; });
    if (stays) doors_.push_back(std::move(door));
    else if (door->listener.is_open()) LogLine(Level::kInfo, "not-listening").text("relay", config_.name).text("addr", door->listener.text());
  }
}

void RedisRelay::use_certificates() {
  if (next_->tls == nullptr) return;
  if (tls_ == nullptr) tls_ = std::make_unique<TlsContexts>();  // its address is the dial's, and lasts
  *tls_ = std::move(*next_->tls);
  if (config_.tls->dials) config_.dial.tls = &tls_->target;
}

void RedisRelay::lend() {
  for (const auto& door : doors_)
    if (door->listener.is_open()) env_.sockets.lend(door->listener);
}

// ---- clients

bool RedisRelay::admits(const Addr& peer) {
  if (draining_) return refuse(peer, Stat::kRefusedDraining, "draining");
  return stats_.get(Stat::kClients) < config_.clients || refuse(peer, Stat::kRefusedBusy, "client-busy");
}

bool RedisRelay::refuse(const Addr& peer, Stat stat, std::string_view reason) {
  stats_.add(stat);
  if (env_.loop.now() - refusals_since_ >= Delay{1000}) {
    refusals_since_ = env_.loop.now();
    refusals_told_ = 0;
  }
  if (++refusals_told_ > kRefusalsASecond) {
    ++refusals_untold_;
    return false;
  }
  LogLine(Level::kWarn, "refused").text("relay", config_.name).text("role", "client").text("peer", peer.text()).text("reason", reason)
      .count("suppressed", std::exchange(refusals_untold_, 0));
  return false;
}

void RedisRelay::on_accept(Listener&, Socket socket, const Addr& peer) {
  if (socket.tls != nullptr) stats_.add(Stat::kTlsHandshakes);
  if (!admits(peer)) return;
  stats_.add(Stat::kAccepted);
  stats_.add(Stat::kClients);
  const uint32_t id = next_id_++;
  if (log_enabled(Level::kDebug))
    LogLine(Level::kDebug, "accepted").text("relay", config_.name).number("session", id).text("role", "client").text("peer", peer.text());
  Session& session = Session::make(*this, id);
  sessions_.push_back(session);
  session.begin(std::move(socket), peer);
}

TlsContext* RedisRelay::on_knock(Listener&, const Addr& peer) { return admits(peer) ? &tls_->client : nullptr; }

void RedisRelay::on_handshake_failed(Listener&, const Addr& peer, const std::string& why) {
  stats_.add(Stat::kTlsHandshakeFailures);
  LogLine(Level::kWarn, "handshake-failed").text("relay", config_.name).text("role", "client").text("peer", peer.text()).text("error", why);
}

void RedisRelay::on_accept_paused(Listener& listener, const Status& why) {
  stats_.add(Stat::kAcceptPauses);
  LogLine(Level::kWarn, "accept-paused").text("relay", config_.name).text("addr", listener.text()).text("error", std::strerror(why.error()));
}

void RedisRelay::on_accept_resumed(Listener& listener) {
  LogLine(Level::kInfo, "accept-resumed").text("relay", config_.name).text("addr", listener.text());
}

void RedisRelay::ended(Session& session) {
  stats_.sub(Stat::kClients);
  session.unlink();
  std::erase(waiting_for_room_, &session);
  std::erase(touched_, &session);
  env_.loop.bury(session.release());
}

void RedisRelay::touch(Session& session) {
  if (session.ended()) return;
  if (!batching_) return session.poke();
  if (!std::exchange(session.touched, true)) touched_.push_back(&session);
}

void RedisRelay::flush_touched() {
  batching_ = false;
  // One that ends takes itself out; what a flush touches goes by poke().
  while (!touched_.empty()) {
    Session& session = *touched_.back();
    touched_.pop_back();
    session.touched = false;
    session.flush();
  }
}

void RedisRelay::room() {
  std::vector<Session*> now = std::exchange(waiting_for_room_, {});
  for (Session* session : now)
    if (!session->ended()) session->resume();  // none is destroyed within a turn
}

// ---- connections to the server

Upstream& RedisRelay::add(Session* owner) {
  upstreams_.push_back(std::make_unique<Upstream>(*this, owner));
  stats_.add(Stat::kUpstreams);
  return *upstreams_.back();
}

// The first that is not held up by a client that does not read: so commands of many go together.
Upstream& RedisRelay::shared() {
  for (Upstream* upstream : shared_)
    if (!upstream->stuck()) return *upstream;
  if (shared_.size() < config_.shared_connections) shared_.push_back(&add(nullptr));
  return shared_.back()->stuck() ? *shared_.front() : *shared_.back();
}

Upstream* RedisRelay::acquire(Session& session) {
  if (!idle_.empty()) {
    Upstream* upstream = idle_.back();
    idle_.pop_back();
    upstream->lend(session);
    return upstream;
  }
  if (privates() + config_.shared_connections >= config_.max_connections) {
    waiting_.push_back(&session);
    return nullptr;
  }
  Upstream& upstream = add(&session);
  upstream.start();
  return &upstream;
}

void RedisRelay::cancel(Session& session) { std::erase(waiting_, &session); }

void RedisRelay::became_idle(Upstream& upstream) {
  if (!waiting_.empty()) {
    Session& session = *waiting_.front();
    waiting_.erase(waiting_.begin());
    upstream.lend(session);
    return session.private_ready(upstream);
  }
  if (idle_.size() >= config_.max_idle) return upstream.end("surplus");
  idle_.push_back(&upstream);
}

void RedisRelay::ended(Upstream& upstream) {
  stats_.sub(Stat::kUpstreams);
  std::erase(shared_, &upstream);
  std::erase(idle_, &upstream);
  const auto at = std::find_if(upstreams_.begin(), upstreams_.end(), [&](const auto& one) { return one.get() == &upstream; });
  env_.loop.bury(std::move(*at));
  upstreams_.erase(at);
  serve_waiting();
}

void RedisRelay::serve_waiting() {
  while (!waiting_.empty() && privates() + config_.shared_connections < config_.max_connections) {
    Session& session = *waiting_.front();
    waiting_.erase(waiting_.begin());
    add(&session).start();
  }
}

// ---- the end

void RedisRelay::drain() {
  if (draining_) return;
  draining_ = true;
  for (const auto& door : doors_) door->listener.close();
  for (Session* session = sessions_.front(); session != nullptr;) {
    Session* next = sessions_.next(*session);
    session->drain();
    session = next;
  }
}

void RedisRelay::stop(std::string_view why) {
  for (const auto& door : doors_) door->listener.close();
  waiting_.clear();
  while (Session* session = sessions_.front()) session->end(why);
  while (!upstreams_.empty()) upstreams_.back()->end(why);
}

// ---- showing

void RedisRelay::status(Json& json, size_t most) {
  json.text("target", config_.server.place.text()).text("mode", "sync").flag("draining", draining_);
  json.begin('[', "listening");
  for (const auto& door : doors_)
    if (door->listener.is_open()) json.begin('{').text("addr", door->listener.text()).text("role", "client").end('}');
  json.end(']');
  if (last_error_.empty()) json.null("last_error");
  else json.begin('{', "last_error").text("error", last_error_).number("ago_ms", (env_.loop.now() - last_error_at_).count()).end('}');
  json.begin('[', "upstreams");
  for (const auto& upstream : upstreams_) {
    json.begin('{');
    upstream->status(json);
    json.end('}');
  }
  json.end(']').begin('[', "connections");
  uint64_t hidden = stats_.get(Stat::kClients);
  for (Session* session = sessions_.front(); session != nullptr && most > 0; session = sessions_.next(*session), --most, --hidden) {
    json.begin('{');
    session->status(json);
    json.end('}');
  }
  json.end(']').number("connections_not_shown", hidden);
}

// ---- the kind

const Kind kKind = {
    .name = "redis",
    .command = "redis",
    .summary = "speak Redis to clients here, and share a few lasting connections to a server among them",
    .help = "Listens for Redis clients, and sends the commands of all of them over a few connections to the server that last. Commands that\n"
            "change the state of a connection, or wait, get one of their own.\n"
            "\n"
            "  relay redis --listen 127.0.0.1:6389 --url redis://10.0.0.9:6379\n"
            "  relay redis --listen unix:/run/redis.sock --url rediss://user:password@cache.example:6380/2\n",
    .keys = redis_keys,
    .stats = stat_rows,
    .check = redis_check,
    .descriptors = [](const Section& section) { return static_cast<uint64_t>(section.integer("clients") + section.integer("maxConnections")); },
    .title = redis_title,
    .places = [](const Section& section) { return section.endpoints("listen"); },
    .make = [](const Env& env) -> std::unique_ptr<Relay> { return std::make_unique<RedisRelay>(env); },
};

}  // namespace relay::redis

// SPDX-License-Identifier: Apache-2.0
// RedisRelay: doors, connections to the server and who has them, refusals, drain.
#include "kinds/redis/redis.h"

#include <algorithm>
#include <utility>

#include "lib/log.h"
#include "lib/text.h"
#include "ops/spool_keys.h"

namespace relay::redis {
namespace {

constexpr std::string_view kClient = "client";  // the role of all doors
constexpr unsigned kDifferencesASecond = 10;
constexpr Delay kTidy{10'000};
constexpr Delay kUnused{60'000};
constexpr size_t kGathered = 64 * 1024 * 1024;  // of all that are gathered; in smart mode it is queue-size
constexpr size_t kMostNodes = 8192;
constexpr size_t kMostDatabases = 1024;
constexpr Delay kRefused{60'000};       // for so long it is remembered which databases there are not
constexpr size_t kMostDifferences = 64;  // commands that are counted apart
constexpr size_t kLongestShown = 128;    // of a key, in the log

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
    {"held", Type::kCounter, "times that a command was kept, to be sent again, because the server could not do it yet (LOADING and the like)"},
    {"moved", Type::kCounter, "commands that a node of the cluster has sent on to another (MOVED)"},
    {"asked", Type::kCounter, "the same, for a slot that is on its way (ASK)"},
    {"early", Type::kCounter, "commands that were answered before the server had done them"},
    {"early_queued", Type::kGauge, "of these, those that the server has not done yet"},
    {"early_bytes", Type::kGauge, "bytes of these; queue-size bounds them"},
    {"early_different", Type::kCounter, "early answers that the server's own differed from"},
    {"early_refused", Type::kCounter, "of these, those where the server's was an error: it was not done"},
    {"early_lost", Type::kCounter, "commands answered early of which it is not known whether they were done, or known that they were not"},
    {"read_queued", Type::kCounter, "GETs that were answered from what waited for the server (readQueued)"},
    {"queue_full", Type::kCounter, "times that a client had to wait because the queue was full"},
    {"spool_bytes", Type::kGauge, "bytes in the spool that the server has not done yet"},
    {"spooled", Type::kCounter, "commands that were written to the spool"},
    {"spool_full", Type::kCounter, "times that a client had to wait because the spool was full"},
    {"spool_passed", Type::kCounter, "commands that the spool did not take, for want of space or for a fault, and that waited for the server"},
    {"spool_failures", Type::kCounter, "times that the spool could not be written, or not be synced"},
    {"spool_damaged", Type::kCounter, "damaged places that were passed over in the spool: what was there is lost"},
    {"dials", Type::kCounter, "times that the server was dialled"},
    {"dial_failures", Type::kCounter, "addresses of the server that could not be reached, and failed look-ups"},
    {"upstreams_lost", Type::kCounter, "connections that the server has ended"},
    {"stalled", Type::kCounter, "clients ended by stall-timeout"},
    {"accept_pauses", Type::kCounter, "times that accepting paused for want of descriptors or memory"},
    {"tls_handshakes", Type::kCounter, "TLS handshakes that went well, on both sides"},
    {"tls_handshake_failures", Type::kCounter, "TLS handshakes that failed, on both sides"},
}};

}  // namespace

std::span<const StatRow> stat_rows() { return kRows; }

RedisRelay::~RedisRelay() { stop("terminated"); }

// ---- doors

Doors::Plan RedisRelay::doors_of(const RedisConfig& config) {
  Doors::Plan plan{config.name, {}, config.dial.options, config.tls.get()};
  for (const Endpoint& where : config.listen) plan.places.push_back({where, kClient});
  return plan;
}

void RedisRelay::prepare(const Section& section, Faults& faults) {
  next_ = std::make_unique<RedisConfig>(redis_config(section));
  if (const std::string what = read_password(*next_); !what.empty()) faults.push_back({next_->name, "password-file: " + what});
  if (next_->spool && nodes_.empty()) {
    next_backlog_ = std::make_unique<Backlog>(*this);
    if (std::optional<std::string> what = next_backlog_->open(*next_->spool); what) faults.push_back({next_->name, "spool: " + *what});
  }
  doors_.prepare(doors_of(*next_), faults);
}

void RedisRelay::rollback() {
  doors_.rollback();
  next_.reset();
  next_backlog_.reset();
}

void RedisRelay::commit() {
  const bool first = nodes_.empty();
  const bool elsewhere = first || !(config_.server == next_->server);
  config_ = std::move(*next_);
  next_.reset();
  if (first) backlog_ = std::move(next_backlog_);
  else settle_spool();
  doors_.commit(doors_of(config_));
  if (config_.tls != nullptr && config_.tls->dials) config_.dial.tls = &doors_.tls().target;
  CHECK(early_table_.configure(config_.asyn_commands, config_.early_exact).empty());  // redis_check has seen to it
  setting_ = Setting{{config_.server.user, config_.server.password}, static_cast<uint32_t>(*parse_integer(config_.server.db))};
  if (first) nodes_.resize(1);
  for (Server& server : nodes_) server.left = server.left || elsewhere;
  nodes_[0] = {config_.dial, config_.server.place.text()};
  for (Server& server : nodes_) server.plan = plan_for(server.plan.target);
  if (elsewhere && !first) forget_server();
  std::unique_ptr<Cluster> before = elsewhere ? settle_cluster() : nullptr;
  if (elsewhere && !first) leave_server();
  if (before != nullptr) before->hand_over();
  if (before != nullptr) env_.loop.bury(std::move(before));
  forget_queued();
  for (Session* session = sessions_.front(); session != nullptr; session = sessions_.next(*session)) session->follow(setting_.db);
  tidy_.arm(kTidy);
  keep_ready();
  if (backlog_ != nullptr) backlog_->start();
}

// Its files are opened at the start, and no others later.
void RedisRelay::settle_spool() {
  if ((backlog_ == nullptr ? std::string() : backlog_->dir()) != (config_.spool ? config_.spool->dir : std::string()))
    LogLine(Level::kWarn, "needs-restart").text("relay", config_.name).text("key", "spool").text("remedy", "the old value stays in force until the process is started again");
  if (backlog_ != nullptr && config_.spool) backlog_->change(*config_.spool);
}

// Its URL has changed: nothing is known of the new one.
void RedisRelay::forget_server() {
  commands_ = {};
  databases_.clear();
  least_refused_ = UINT32_MAX;
  types_.clear();
  ++lanes_epoch_;
}

// What is under way there is brought to an end there, if it can be; what waits goes to the new one.
void RedisRelay::leave_server() {
  for (Session* session = sessions_.front(); session != nullptr;) {
    Session* next = sessions_.next(*session);
    session->start_over();
    session = next;
  }
  std::vector<uint32_t> old;
  for (const auto& lane : lanes_) old.push_back(lane->id());
  for (const uint32_t id : old) desert(id);  // what it owes may end others, and makes new ones
  for (size_t i = leases_.size(); i-- > 0;) leases_[i]->retire();
  idle_.clear();
}

// ---- clients

bool RedisRelay::admits(const Addr& peer) {
  if (draining_) return refuse(peer, Stat::kRefusedDraining, "draining");
  return stats_.get(Stat::kClients) < config_.clients || refuse(peer, Stat::kRefusedBusy, "client-busy");
}

bool RedisRelay::refuse(const Addr& peer, Stat stat, std::string_view reason) {
  stats_.add(stat);
  doors_.refused(kClient, peer, reason);
  return false;
}

void RedisRelay::on_come(const DoorSign&, Socket socket, const Addr& peer) {
  if (socket.tls != nullptr) stats_.add(Stat::kTlsHandshakes);
  if (!admits(peer)) return;
  stats_.add(Stat::kAccepted);
  stats_.add(Stat::kClients);
  if (free_places_.empty()) {
    free_places_.push_back(static_cast<uint32_t>(places_.size()));
    places_.emplace_back();
  }
  const uint32_t place = free_places_.back();
  free_places_.pop_back();
  const uint32_t id = next_id_++;
  if (log_enabled(Level::kDebug))
    LogLine(Level::kDebug, "accepted").text("relay", config_.name).number("session", id).text("role", "client").text("peer", peer.text());
  Session& session = Session::make(*this, id, {place, places_[place].generation});
  places_[place].session = &session;
  sessions_.push_back(session);
  session.begin(std::move(socket), peer);
}

TlsContext* RedisRelay::on_knock(const DoorSign&, const Addr& peer) { return admits(peer) ? &doors_.tls().client : nullptr; }

void RedisRelay::on_handshake_failed(const DoorSign& door, const Addr& peer, const std::string& why) {
  stats_.add(Stat::kTlsHandshakeFailures);
  doors_.handshake_failed(door.role, peer, why);
}

void RedisRelay::ended(Session& session) {
  stats_.sub(Stat::kClients);
  session.unlink();
  Place& place = places_[session.handle().place];
  place.session = nullptr;
  ++place.generation;
  free_places_.push_back(session.handle().place);
  if (session.queued) std::erase(waiting_for_room_, &session);
  if (session.touched) std::erase(touched_, &session);
  if (backlog_ != nullptr) backlog_->look();
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

void RedisRelay::wait_for_room(Session& session) {
  if (!std::exchange(session.queued, true)) waiting_for_room_.push_back(&session);
}

void RedisRelay::room() {
  if (!waiting_.empty()) serve_waiting();
  if (waiting_for_room_.empty()) return;
  std::vector<Session*> now = std::exchange(waiting_for_room_, {});
  for (Session* session : now) session->queued = false;
  for (Session* session : now)
    if (!session->ended()) session->resume();  // none is destroyed within a turn
}

bool RedisRelay::may_gather(size_t have, size_t more) {
  if (have + more > kLongestGathered || gathered_ + more > (smart() ? config_.queue_size : kGathered)) return false;
  gathered_ += more;
  return true;
}

// ---- lanes

void RedisRelay::dial_failed(const Addr& to, const std::string& why, unsigned round, Delay retry) {
  LogLine(Level::kWarn, "dial-failed").text("relay", config_.name).text("target", config_.server.place.text()).text("addr", to.text()).text("error", why)
      .number("attempt", round).count("retry_ms", retry.count());
  failed(why);
  lane_troubled();
}

// What a connection must be for a client of that setting: without a login of its own it has the relay's; its name stays with it.
Setting RedisRelay::effective(const Setting& setting) const {
  Setting out = setting;
  if (out.login.password.empty()) out.login = setting_.login;
  out.name.clear();
  return out;
}

Lane* RedisRelay::find_lane(const Lane::Key& key, uint8_t ordinal) {
  for (const auto& lane : lanes_)
    if (!lane->retired() && lane->key() == key && ordinal-- == 0) return lane.get();
  return nullptr;
}

// There may be one connection more; if need be one goes that nobody uses.
bool RedisRelay::has_place_for_one() {
  const auto has_room = [this] { return lanes_.size() + leases_.size() < config_.max_connections; };
  if (has_room()) return true;
  if (!idle_.empty()) {
    idle_.front()->end("surplus");
    return has_room();  // unless somebody has waited for it
  }
  Lane* oldest = nullptr;
  for (const auto& lane : lanes_)
    if (lane->owed() == 0 && is_for_clients(*lane) && (oldest == nullptr || lane->used() < oldest->used())) oldest = lane.get();
  if (oldest != nullptr) oldest->end("surplus");
  return has_room();
}

Lane* RedisRelay::lane(const Setting& setting, uint8_t ordinal, uint32_t node) {
  for (const auto& lane : lanes_) {  // no copies, for each command
    const Setting& has = lane->key().setting;
    if (lane->retired() || lane->key().node != node || has.db != setting.db || has.protocol != setting.protocol || has.replica != setting.replica || !(has.login == (setting.login.password.empty() ? setting_.login : setting.login))) continue;
    if (ordinal-- == 0) return lane.get();
  }
  if (!has_place_for_one()) return nullptr;
  lanes_.push_back(std::make_unique<Lane>(*this, next_lane_++, Lane::Key{node, effective(setting)}));
  stats_.add(Stat::kUpstreams);
  return lanes_.back().get();
}

uint8_t RedisRelay::free_ordinal(const Setting& setting) {
  if (smart() || cluster_ != nullptr || config_.shared_connections == 1) return 0;
  uint8_t ordinal = 0;
  for (const auto& lane : lanes_) {
    if (lane->retired() || lane->key().setting.db != setting.db || !(lane->key().setting == effective(setting))) continue;
    if (!lane->stuck()) return ordinal;
    ++ordinal;
  }
  return ordinal < config_.shared_connections ? ordinal : 0;
}

bool RedisRelay::may_select(const Setting& setting) {
  if (setting.login.password.empty() && std::find(databases_.begin(), databases_.end(), setting.db) != databases_.end()) return true;
  const Lane* lane = find_lane({0, effective(setting)}, 0);
  return lane != nullptr && lane->ready();
}

void RedisRelay::selected(const Setting& setting) {
  if (!setting.login.password.empty() || databases_.size() >= kMostDatabases) return;
  if (std::find(databases_.begin(), databases_.end(), setting.db) == databases_.end()) databases_.push_back(setting.db);
}

// They are numbered without gaps, so one number is enough.
void RedisRelay::refused(const Setting& setting, std::string_view refusal) {
  if (!refusal.starts_with("-ERR DB index is out of range")) return;
  if (!lacks_databases() || setting.db < least_refused_) least_refused_ = setting.db;
  refusal_ = refusal;
  refused_until_ = env_.loop.now() + kRefused;
}

std::string_view RedisRelay::no_database(uint32_t db) const { return lacks_databases() && db >= least_refused_ ? std::string_view(refusal_) : std::string_view(); }

void RedisRelay::lane_ready(Lane& lane) {
  if (lane.key().setting.login == setting_.login) selected({{}, lane.key().setting.db});
}

Lane* RedisRelay::find_lane(uint32_t id) {
  const auto at = std::find_if(lanes_.begin(), lanes_.end(), [id](const auto& lane) { return lane->id() == id; });
  return at == lanes_.end() ? nullptr : at->get();
}

void RedisRelay::resume(uint32_t id) {
  if (Lane* lane = find_lane(id); lane != nullptr) lane->resume();
}

void RedisRelay::ended(Lane& lane) {
  stats_.sub(Stat::kUpstreams);
  ++lanes_epoch_;
  const auto at = std::find_if(lanes_.begin(), lanes_.end(), [&](const auto& one) { return one.get() == &lane; });
  env_.loop.bury(std::move(*at));
  lanes_.erase(at);
  serve_waiting();
  for (Session* session : waiting_for_room_) session->poke();  // it may be what they wait for that has gone
}

void RedisRelay::reroute(const Lane::Entry& entry, const std::string& command, const Setting& setting) {
  forget_queued();
  if (cluster_ != nullptr) return cluster_->place_again(entry, command, setting);
  Lane* to = lane(setting, 0, 0);
  if (to != nullptr && (entry.early || !to->hopeless()) && to->put(entry, command)) return;
  if (entry.early) return early_stays(entry) ? void() : early_lost(1, "no-room");
  if (Session* session = find(entry.session); session != nullptr) session->deliver_error(entry, "the server has changed; the command was not executed");
}

bool RedisRelay::redirect(Lane& lane, const Lane::Entry& entry, std::string_view error) {
  if (cluster_ == nullptr || !cluster_->redirect(lane, entry, error)) return false;
  forget_queued();
  return true;
}

// ---- the cluster

DialPlan RedisRelay::plan_for(const Endpoint& target) const {
  DialPlan plan = config_.dial;
  plan.target = target;
  return plan;
}

// Returns the one that was.
std::unique_ptr<Cluster> RedisRelay::settle_cluster() {
  std::unique_ptr<Cluster> before = std::move(cluster_);
  if (config_.server.cluster) {
    cluster_ = std::make_unique<Cluster>(*this);
    cluster_->start();
  }
  return before;
}

std::vector<std::string> RedisRelay::seeds() const {
  std::vector<std::string> out = {config_.server.place.text()};
  for (const Endpoint& place : config_.server.others) out.push_back(place.text());
  return out;
}

uint32_t RedisRelay::node(const std::string& address) {
  const std::string tls = "tls://";
  const std::string all = config_.server.place.tls && !address.starts_with(tls) ? tls + address : address;
  for (size_t i = 0; i < nodes_.size(); ++i)
    if (nodes_[i].place == all && !nodes_[i].left) return static_cast<uint32_t>(i);
  const Result<Endpoint> endpoint = Endpoint::parse_target(all);
  if (!endpoint.ok()) return 0;
  size_t free = 0;
  while (free < nodes_.size() && !(nodes_[free].left && is_unknown(static_cast<uint32_t>(free)))) ++free;
  if (free >= kMostNodes) return 0;
  if (free == nodes_.size()) nodes_.emplace_back();
  nodes_[free] = {plan_for(*endpoint), all};
  return static_cast<uint32_t>(free);
}

// Nobody has that number of a node any more.
bool RedisRelay::is_unknown(uint32_t node) const {
  return std::none_of(lanes_.begin(), lanes_.end(), [node](const auto& lane) { return lane->key().node == node; }) &&
         std::none_of(leases_.begin(), leases_.end(), [node](const auto& lease) { return lease->node() == node; }) &&
         std::none_of(waiting_.begin(), waiting_.end(), [node](const Waiter& waiter) { return waiter.node == node; });
}

void RedisRelay::cluster_known() {
  keep_ready();
  room();
}

void RedisRelay::lane_troubled() {
  if (cluster_ != nullptr) cluster_->doubt();
}

bool RedisRelay::is_ready(uint32_t node) const {
  return std::any_of(lanes_.begin(), lanes_.end(), [node](const auto& lane) { return lane->key().node == node && lane->ready(); });
}

bool RedisRelay::is_usable(uint32_t node) {
  return std::none_of(lanes_.begin(), lanes_.end(), [node](const auto& lane) { return lane->key().node == node && (lane->hopeless() || (lane->owed() > 0 && !lane->ready())); });
}

bool RedisRelay::is_answered(uint32_t id, uint64_t put) const {
  for (const auto& lane : lanes_)
    if (lane->id() == id) return lane->done_total() >= put;
  return true;
}

// Its node is no master any more, or it is another server's.
void RedisRelay::desert(uint32_t id) {
  if (Lane* lane = find_lane(id); lane != nullptr) lane->retire();
}

// ---- leases

Lease& RedisRelay::add_lease(uint32_t node) {
  leases_.push_back(std::make_unique<Lease>(*this, node));
  stats_.add(Stat::kUpstreams);
  return *leases_.back();
}

bool RedisRelay::has_lease_for(uint32_t node) const {
  return lanes_.size() + leases_.size() < config_.max_connections || std::any_of(idle_.begin(), idle_.end(), [node](const Lease* lease) { return lease->node() == node; });
}

Lease* RedisRelay::acquire(Session& session, const Setting& want, uint32_t node) {
  Setting all = effective(want);
  all.name = want.name;
  for (size_t i = idle_.size(); i-- > 0;) {
    Lease* lease = idle_[i];
    if (lease->node() != node) continue;
    idle_.erase(idle_.begin() + static_cast<std::ptrdiff_t>(i));
    lease->lend(session, all);
    return lease;
  }
  if (!has_place_for_one()) {
    waiting_.push_back({&session, std::move(all), node});
    return nullptr;
  }
  Lease& lease = add_lease(node);
  lease.dial(&session, all);
  return &lease;
}

void RedisRelay::cancel(Session& session) {
  std::erase_if(waiting_, [&](const Waiter& waiter) { return waiter.session == &session; });
}

void RedisRelay::became_idle(Lease& lease) {
  const auto first = std::find_if(waiting_.begin(), waiting_.end(), [&](const Waiter& waiter) { return waiter.node == lease.node(); });
  if (first != waiting_.end()) {
    const Waiter waiter = std::move(*first);
    waiting_.erase(first);
    waiter.session->lease_comes(lease);
    lease.lend(*waiter.session, waiter.want);
    if (lease.ready()) waiter.session->lease_ready(lease);
    return;
  }
  if (idle_.size() >= config_.max_idle || !waiting_.empty()) return lease.end("surplus");
  idle_.push_back(&lease);
}

void RedisRelay::ended(Lease& lease) {
  stats_.sub(Stat::kUpstreams);
  std::erase(idle_, &lease);
  const auto at = std::find_if(leases_.begin(), leases_.end(), [&](const auto& one) { return one.get() == &lease; });
  env_.loop.bury(std::move(*at));
  leases_.erase(at);
  serve_waiting();
}

void RedisRelay::serve_waiting() {
  while (!waiting_.empty() && has_place_for_one()) {
    if (waiting_.empty()) return;  // those whose turn it was have been served already
    const Waiter waiter = std::move(waiting_.front());
    waiting_.erase(waiting_.begin());
    Lease& lease = add_lease(waiter.node);
    waiter.session->lease_comes(lease);
    lease.dial(waiter.session, waiter.want);
  }
}

// The lane of the URL's own setting, so that the first client does not wait for it; and leases in hand.
void RedisRelay::keep_ready() {
  if (draining_) return;
  if (cluster_ != nullptr) {
    if (!cluster_->known()) return;
    for (const uint32_t node : cluster_->masters())
      if (Lane* own = lane(setting_, 0, node); own != nullptr) own->start();
    return;
  }
  if (Lane* own = lane(setting_, 0, 0); own != nullptr) own->start();
  if (!leases_.empty() && idle_.empty()) return;  // the server is not there, or all are in use
  while (idle_.size() < config_.min_idle && leases_.size() < config_.min_idle && lanes_.size() + leases_.size() < config_.max_connections) add_lease(0).dial(nullptr, setting_);
}

// What nobody has used for a while goes, and what is old.
void RedisRelay::on_timer(Timer&) {
  const Time now = env_.loop.now();
  const auto is_old = [&](Time since) { return config_.max_connected.count() > 0 && now - since >= config_.max_connected; };
  for (size_t i = lanes_.size(); i-- > 0;) {
    Lane& lane = *lanes_[i];
    if (lane.owed() > 0) continue;
    lane.tidy();
    if (is_for_clients(lane) ? now - lane.used() >= kUnused || is_old(lane.since()) : lane.ready() && is_old(lane.since())) lane.end("unused");
  }
  for (size_t i = idle_.size(); i-- > 0;)
    if (is_old(idle_[i]->since())) idle_[i]->end("old");
  spare_ring_.reset();
  keep_ready();
  tidy_.arm(kTidy);
}

// ---- what is answered early

bool RedisRelay::ignores(std::string_view name) const {
  return !config_.ignore_commands.empty() && std::any_of(config_.ignore_commands.begin(), config_.ignore_commands.end(), [name](const std::string& other) { return same_word(other, name); });
}

bool RedisRelay::early_beside(const Lane& lane) const {
  if (!has_early() || (lanes_.size() == 1 && lanes_[0].get() == &lane)) return false;
  return std::any_of(lanes_.begin(), lanes_.end(), [&](const auto& other) {
    return other.get() != &lane && other->has_early() && other->key().node == lane.key().node && other->key().setting.db == lane.key().setting.db;
  });
}

bool RedisRelay::early_has_room(uint64_t size) const {
  const uint64_t all = stats_.get(Stat::kEarlyBytes) + stats_.get(Stat::kEarlyQueued) * sizeof(Lane::Entry);
  return all == 0 || all + size + sizeof(Lane::Entry) <= config_.queue_size;
}

bool RedisRelay::early_fits(uint64_t size) {
  if (early_has_room(size)) return true;
  stats_.add(Stat::kQueueFull);
  return false;
}

void RedisRelay::early_queued(int64_t count, int64_t bytes) {
  stats_.add(Stat::kEarlyQueued, static_cast<uint64_t>(count));
  stats_.add(Stat::kEarlyBytes, static_cast<uint64_t>(bytes));
}

bool RedisRelay::is_past(uint32_t id, uint64_t put) const {
  for (const auto& lane : lanes_)
    if (lane->id() == id) return lane->early_done() >= put;
  return true;
}

void RedisRelay::early_done(const Lane::Entry& entry) {
  if (entry.spooled > 0) backlog_->done_with(entry.spooled);
}

bool RedisRelay::early_stays(const Lane::Entry& entry) {
  if (entry.spooled == 0) return false;
  if (!stopping_) backlog_->done_with(entry.spooled);
  return stopping_;
}

Lane* RedisRelay::lane_for_early(uint32_t db, std::string_view command) {
  const std::optional<uint32_t> node = cluster_ == nullptr ? std::optional<uint32_t>(0) : cluster_->node_for(command);
  return node ? lane(Setting{.login = {}, .db = db}, 0, *node) : nullptr;
}

const Lane* RedisRelay::hopeless_lane() const {
  const auto at = std::find_if(lanes_.begin(), lanes_.end(), [this](const auto& lane) { return lane->hopeless() && lane->key().setting.login == setting_.login; });
  return at == lanes_.end() ? nullptr : at->get();
}

// `command` may be cut off behind its first arguments.
void RedisRelay::early_differs(std::string_view command, std::string_view error, Holds needs, uint32_t db) {
  stats_.add(Stat::kEarlyDifferent);
  std::vector<std::string_view> words;
  split_command(command, words);
  const std::string name = lower(words.empty() ? "" : words[0]);
  if (differences_.size() < kMostDifferences || differences_.contains(name)) ++differences_[name];
  if (error.empty()) return;
  stats_.add(Stat::kEarlyRefused);
  const std::string_view key = words.size() > 1 ? words[1] : std::string_view();
  if (error.starts_with("-WRONGTYPE")) types_.refused(db, key, needs);
  tell_early("early-refused", name, key, error.substr(1, error.find('\r') - 1));
}

// `command` has been done, though one of its keys was thought to be of another type. It may be cut off behind its first arguments.
void RedisRelay::told_type(std::string_view command, Holds leaves, uint32_t db) {
  std::vector<std::string_view> words;
  split_command(command, words);
  for (size_t i = 1; i < words.size(); ++i) {
    types_.forget(db, words[i]);
    if (leaves != Holds::kAny) return types_.wrote(db, words[i], leaves);
  }
}

void RedisRelay::early_uncertain(std::string_view command, std::string_view why) {
  stats_.add(Stat::kEarlyLost);
  std::vector<std::string_view> words;
  split_command(command, words);
  tell_early("early-uncertain", words.empty() ? "" : words[0], words.size() > 1 ? words[1] : "", why);
}

void RedisRelay::early_stuck(std::string_view command, uint64_t size) {
  std::vector<std::string_view> words;
  split_command(command, words);
  tell_early("early-stuck", words.empty() ? "" : words[0], words.size() > 1 ? words[1] : "", "each time that the server had these " + std::to_string(size) + " bytes the connection was lost");
}

void RedisRelay::early_lost(uint64_t count, std::string_view why) {
  stats_.add(Stat::kEarlyLost, count);
  LogLine(Level::kError, "early-lost").text("relay", config_.name).number("commands", count).text("reason", why);
}

// One line for each, but not more than some a second.
void RedisRelay::tell_early(std::string_view event, std::string_view command, std::string_view key, std::string_view error) {
  if (env_.loop.now() - differences_since_ >= Delay{1000}) {
    differences_since_ = env_.loop.now();
    differences_told_ = 0;
  }
  if (++differences_told_ > kDifferencesASecond) return;
  LogLine(Level::kWarn, event).text("relay", config_.name).text("command", command).text("key", config_.log_keys ? key.substr(0, kLongestShown) : "(not shown)").text("error", error)
      .count("last_of_this_second", differences_told_ == kDifferencesASecond ? 1 : 0);
}

// ---- the end

void RedisRelay::drain() {
  if (draining_) return;
  draining_ = true;
  doors_.close();
  for (Session* session = sessions_.front(); session != nullptr;) {
    Session* next = sessions_.next(*session);
    session->drain();
    session = next;
  }
  if (backlog_ != nullptr) backlog_->look();
}

void RedisRelay::stop(std::string_view why) {
  doors_.close();
  draining_ = stopping_ = true;
  if (cluster_ != nullptr) cluster_->stop();
  tidy_.disarm();
  waiting_.clear();
  while (Session* session = sessions_.front()) session->end(why);
  while (!leases_.empty()) leases_.back()->end(why);
  while (!lanes_.empty()) lanes_.back()->end(why);
  if (backlog_ != nullptr) backlog_->close();
}

// ---- showing

void RedisRelay::status(Json& json, size_t most) {
  json.text("target", config_.server.place.text()).text("mode", smart() ? "smart" : "sync").flag("draining", draining_);
  doors_.status(json);
  last_error_.status(json, env_.loop.now());
  if (cluster_ != nullptr) json.begin('{', "cluster").flag("known", cluster_->known()).number("masters", cluster_->known() ? cluster_->masters().size() : 0).end('}');
  if (backlog_ != nullptr) {
    json.begin('{', "spool");
    backlog_->status(json);
    json.end('}');
  }
  json.begin('[', "upstreams");
  for (const auto& lane : lanes_) {
    json.begin('{');
    lane->status(json);
    json.end('}');
  }
  for (const auto& lease : leases_) {
    json.begin('{');
    lease->status(json);
    json.end('}');
  }
  json.end(']').begin('{', "early_differences");
  for (const auto& [command, count] : differences_) json.number(command, count);
  json.end('}').begin('[', "connections");
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
    .descriptors = [](const Section& section) {
      return static_cast<uint64_t>(section.integer("clients") + section.integer("maxConnections")) + (has_spool(section) ? Spool::kDescriptors : 0);
    },
    .title = redis_title,
    .places = [](const Section& section) { return section.endpoints("listen"); },
    .make = [](const Env& env) -> std::unique_ptr<Relay> { return std::make_unique<RedisRelay>(env); },
};

}  // namespace relay::redis

// SPDX-License-Identifier: Apache-2.0
// Session: see the picture in session.h. Everything that happens to a pair ends in run_flows(), which lets both directions
// move and then looks at what has become of the two sides.
#include "kinds/cluster/session.h"

#include <algorithm>
#include <cstring>
#include <optional>

#include "kinds/cluster/cluster.h"
#include "kinds/cluster/import.h"
#include "lib/log.h"

namespace relay::cluster {
namespace {

// Dying: a side that takes none of the bytes it is owed for so long is not waited for any more.
constexpr Delay kStuck{700};
constexpr uint16_t kFirstLookMs = 2;
constexpr uint16_t kLongestLookMs = 100;
// Draining: a pair in which nothing has moved for so long is not in the middle of anything.
constexpr Delay kQuietDrain{1000};
constexpr Delay kLookAgain{100};
constexpr Delay kNever = Delay::max();

}  // namespace

// What a session has only while it dials, so that the many that do not need not carry it. A service that is known to a gateway
// alone (gateway-api) is looked up there before each round.
class Session::Dialing final : public Mortal, private DialUser, private ImportUser, private TimerUser {
 public:
  explicit Dialing(Session& session)
      : session_(session), config_(session.relay_.config()), timer_(session.relay_.loop(), *this), pause_(config_.dial.retry_min) {}

  void start() {
    if (config_.import != nullptr) return session_.relay_.import().ask(*config_.import, *this);
    begin(config_.dial);
  }
  void stop() {
    timer_.disarm();
    if (ImportUser::linked()) session_.relay_.import().leave(*this);
    if (dial_) dial_->stop();
  }
  void take(Conn& conn) { dial_->take(conn); }
  // What has been tried so far.
  void status(Json& json) const {
    json.begin('{', "dial").number("failed", failures_).text("error", error_);
    if (retry_at_ > session_.relay_.loop().now()) json.number("retry_in_ms", (retry_at_ - session_.relay_.loop().now()).count());
    json.end('}');
  }

 private:
  void begin(const DialPlan& plan) {
    dial_.emplace(session_.relay_.loop(), session_.relay_.resolver(), plan, static_cast<DialUser&>(*this));
    dial_->start();
  }

  void on_dialed(const Addr& to) override { session_.dialed(to); }
  void on_dial_addrs(const std::vector<Addr>& addrs) override { session_.relay_.target_addrs(addrs); }
  void on_dial_try(const Addr& to) override {
    if (!log_enabled(Level::kDebug)) return;
    LogLine(Level::kDebug, "dialing").text("relay", config_.name).number("session", session_.id_).text("target", config_.target)
        .text("addr", to.text());
  }
  void on_dial_failed(const Addr& to, const Status& why, unsigned round, Delay retry) override {
    const bool lookup = to.family == Addr::Family::kNone;
    const std::string& details = dial_->details();
    if (!details.empty()) session_.relay_.stats().add(Stat::kTlsHandshakeFailures);
    const bool asks = config_.import != nullptr;
    if (asks && retry.count() > 0) {
      dial_->stop();
      retry = pause();
    }
    failed(lookup ? "resolve-failed" : "dial-failed", lookup ? "name" : "target", "addr", lookup ? "" : to.text(),
           !details.empty() ? details : why.error() != 0 ? std::strerror(why.error()) : why.reason(), asks ? rounds_ : round, retry);
  }

  // ---- at the gateway's API

  void on_import(uint16_t port) override {
    DialPlan plan = config_.dial;
    plan.target.port = plan.target.addr.port = port;
    begin(plan);
  }
  void on_import_failed(const std::string& why) override {
    const Delay retry = pause();
    failed("import-failed", "service", "api", config_.import->api.host.text(), why, rounds_, retry);
  }
  void on_timer(Timer&) override { start(); }

  // Until the API is asked again: doubles each time, shortened at random by up to half.
  Delay pause() {
    const auto jitter = static_cast<int64_t>(session_.relay_.loop().random().below(static_cast<uint64_t>(pause_.count() / 2 + 1)));
    const Delay now = std::max(Delay{1}, pause_ - Delay{jitter});
    pause_ = std::min(pause_ * 2, config_.dial.retry_max);
    ++rounds_;
    timer_.arm(now);
    return now;
  }

  void failed(std::string_view event, std::string_view what, std::string_view where, const std::string& addr, const std::string& why, unsigned round,
              Delay retry) {
    session_.relay_.stats().add(Stat::kDialFailures);
    error_ = why;
    LogLine line(Level::kWarn, event);
    line.text("relay", config_.name).number("session", session_.id_).text(what, config_.target);
    if (!addr.empty()) line.text(where, addr);
    line.text("error", why).number("attempt", round).count("retry_ms", retry.count());
    ++failures_;
    retry_at_ = session_.relay_.loop().now() + retry;
    session_.relay_.failed((addr.empty() ? "" : addr + ": ") + why);
  }

  Session& session_;
  const ClusterConfig& config_;  // of the relay; with another target another Dialing begins
  std::optional<Dial> dial_;
  Timer timer_;
  Delay pause_;
  unsigned rounds_ = 0;
  std::string error_;  // the last one
  Time retry_at_{};
  uint64_t failures_ = 0;
};

// Counts for the relay what moves, waits and gets lost while it lives. One within another's life leaves it to that.
class Session::Count {
 public:
  explicit Count(Session& session) : session_(session), outermost_(!session.counting_) {
    session.counting_ = true;
    if (outermost_) before_ = now();
  }
  ~Count() {
    if (!outermost_) return;
    session_.counting_ = false;
    const Amounts after = now();
    Stats<Stat>& stats = session_.relay_.stats();
    constexpr Stat kStats[] = {Stat::kQueuedBytes, Stat::kToClientBytes, Stat::kToGatewayBytes, Stat::kLostToClientBytes, Stat::kLostToGatewayBytes};
    // Some may be less than before: what has gone to a kernel may turn out to be lost. Unsigned, the difference still adds up.
    for (size_t i = 0; i < after.size(); ++i) stats.add(kStats[i], after[i] - before_[i]);
  }
  Count(const Count&) = delete;
  Count& operator=(const Count&) = delete;

 private:
  using Amounts = std::array<uint64_t, 5>;
  Amounts now() const {
    return {session_.held(), session_.delivered_from(Side::kGateway), session_.delivered_from(Side::kClient),
            session_.lost_from(Side::kGateway), session_.lost_from(Side::kClient)};
  }

  Session& session_;
  bool outermost_;
  Amounts before_{};
};

Session::~Session() = default;

Session::Session(ClusterRelay& relay, uint32_t id)
    : relay_(relay), client_(relay.loop(), *this), gateway_(relay.loop(), *this), timer_(relay.loop(), *this),
      since_(relay.loop().now()), last_moved_(since_), id_(id) {}

Session& Session::make(ClusterRelay& relay, uint32_t id) {
  auto session = std::make_unique<Session>(relay, id);
  Session& self = *session;
  self.self_ = std::move(session);
  return self;
}

// ---- coming together

void Session::begin(Side side, Socket socket, const Addr& peer) {
  const Count count(*this);
  waiting_side_ = side;
  addrs_[index(side)] = peer;
  relay_.waits(*this);
  if (const Status status = conn(side).open(std::move(socket)); !status.ok()) {
    blame(side, status);
    return end(blame_);
  }
  if (log_enabled(Level::kDebug))
    LogLine(Level::kDebug, "waiting").text("relay", relay_.config().name).number("session", id_).text("role", name_of(side)).text("peer", peer.text());
  if (side == Side::kClient) dial();
  if (state_ == State::kEnded) return;
  schedule();
  // Who speaks first has often done so by now.
  conn(side).try_reading();
  on_ready(conn(side));
}

void Session::dial() {
  dialing_ = std::make_unique<Dialing>(*this);
  relay_.stats().add(Stat::kDials);
  dialing_->start();
}

void Session::reconfigured(bool elsewhere) {
  if (elsewhere && dialing_ != nullptr) {
    stop_dialing();
    dial();
  }
  if (state_ == State::kWaiting || state_ == State::kPaired || left_early_) schedule();
}

void Session::join(Side side, Socket socket, const Addr& peer) {
  CHECK(state_ == State::kWaiting && side != waiting_side_);
  const Count count(*this);
  stop_dialing();
  addrs_[index(side)] = peer;
  if (const Status status = conn(side).open(std::move(socket)); !status.ok()) {
    blame(side, status);
    return end(blame_);
  }
  pair();
}

void Session::dialed(const Addr& to) {
  const Count count(*this);
  addrs_[index(Side::kGateway)] = to;
  dialing_->take(gateway_);
  if (gateway_.tls() != nullptr) relay_.greeted(to, *gateway_.tls());
  stop_dialing();
  if (log_enabled(Level::kDebug))
    LogLine(Level::kDebug, "dialed").text("relay", relay_.config().name).number("session", id_).text("addr", to.text());
  pair();
}

void Session::stop_dialing() {
  if (dialing_ == nullptr) return;
  dialing_->stop();
  relay_.loop().bury(std::move(dialing_));
}

void Session::pair() {
  state_ = State::kPaired;
  paired_ = true;
  last_moved_ = relay_.loop().now();
  relay_.paired(*this);
  if (log_enabled(Level::kDebug))
    LogLine(Level::kDebug, "paired").text("relay", relay_.config().name).number("session", id_).text("client", addrs_[0].text())
        .text("gateway", addrs_[1].text()).number("queued", held());
  half_closed_ = left_early_;
  schedule();
  run_flows();
}

// ---- moving bytes

void Session::on_ready(Conn&) {
  const Count count(*this);
  switch (state_) {
    case State::kWaiting: return wait();
    case State::kPaired:
    case State::kDying: return run_flows();
    case State::kEnded: return;
  }
}

void Session::wait() {
  Conn& from = conn(waiting_side_);
  if (!from.is_open()) return;
  Flow& flow = flow_from(waiting_side_);
  const ClusterConfig& config = relay_.config();
  const uint64_t bound = waiting_side_ == Side::kGateway ? config.queue_size : config.egress_queue_size;
  const uint64_t before = flow.taken();
  const Flow::State state = flow.hold(from, bound);
  if (flow.taken() != before) last_moved_ = relay_.loop().now();
  queued_max_ = flow.held();  // it only grows while nobody takes
  if (flow.held_full() && !full_told_) {
    full_told_ = true;
    relay_.stats().add(Stat::kQueueFull);
    LogLine(Level::kInfo, "queue-full").text("relay", config.name).number("session", id_).text("role", name_of(waiting_side_)).number("size", bound);
  }
  if (state == Flow::State::kBusy) from.again();
  if (state == Flow::State::kFromFailed) return failed(waiting_side_, flow.failure());
  // After the end nothing is read that could tell of a reset, nor behind a full queue, where a gateway may have left more.
  if (from.broken() && (flow.ended() || waiting_side_ == Side::kClient)) return failed(waiting_side_, {Code::kReset, "failed"});
  if (flow.ended() && !half_closed_) {
    half_closed_ = true;
    first_ended_ = waiting_side_;
    schedule();
  }
}

void Session::run_flows() {
  const uint64_t before = flows_[0].taken() + flows_[0].given() + flows_[1].taken() + flows_[1].given();
  run_flow(Side::kClient);
  if (state_ != State::kEnded) run_flow(Side::kGateway);
  if (state_ == State::kEnded) return;
  if (flows_[0].taken() + flows_[0].given() + flows_[1].taken() + flows_[1].given() != before) last_moved_ = relay_.loop().now();

  if (flows_[0].done() && flows_[1].done()) return end(first_ended_ == Side::kClient ? "client-closed" : "gateway-closed");
  if (dead(Side::kClient) || dead(Side::kGateway)) {
    if (state_ != State::kDying) {
      state_ = State::kDying;
      look_ms_ = kFirstLookMs;
      last_moved_ = relay_.loop().now();
    }
    return look_at_dying();
  }
  if (!half_closed_ && (flows_[0].ended() || flows_[1].ended())) {
    half_closed_ = true;
    first_ended_ = flows_[0].ended() ? Side::kClient : Side::kGateway;
    schedule();
  }
}

void Session::run_flow(Side from) {
  Flow& flow = flow_from(from);
  Conn& to = conn(other(from));
  if (flow.done() || flow.cut() || !to.is_open()) return;
  const bool spliced = flow.spliced();
  const Flow::State state = flow.pump(relay_.loop(), conn(from).is_open() ? &conn(from) : nullptr, to, flow_from(other(from)).done());
  if (!spliced && flow.spliced()) relay_.stats().add(Stat::kSpliced);
  switch (state) {
    case Flow::State::kWaiting:
    case Flow::State::kDone: return;
    case Flow::State::kBusy: return to.again();
    case Flow::State::kFromFailed: return failed(from, flow.failure());
    case Flow::State::kToFailed:
      // What `to` sent before it failed may still be there to be read: only this direction is over.
      blame(other(from), flow.failure());
      return cut(from);
  }
}

// ---- falling apart

// A side can give and take nothing more; what it has given is another matter.
bool Session::dead(Side side) { return !conn(side).is_open() || conn(side).broken(); }

// `side` cannot be read any more.
void Session::failed(Side side, const Status& why) {
  blame(side, why);
  if (state_ == State::kWaiting) {
    // A gateway's bytes wait for the client without it. A client that aborts leaves its place to the next at once: a target
    // that cannot be reached would keep it for ever.
    const bool cut_off = why.code() == Code::kTruncated;
    const bool peer_went = why.code() == Code::kReset || why.code() == Code::kTimeout || cut_off;
    if (side == Side::kClient || flow_from(side).held() == 0 || !peer_went) return end(blame_);
    left_early_ = half_closed_ = true;
    // With TLS who cuts a connection off may be neither of its ends: the client must not take what came for all there is.
    if (!cut_off) flow_from(side).finish();
    return close(side);
  }
  cut(other(side));
  close(side);
}

// Gives up the direction that begins at `from`.
void Session::cut(Side from) {
  if (!flow_from(from).cut()) lost_[index(from)] += flow_from(from).abandon(relay_.loop());
}

// Whether closing `side` must tell it more than that this is the end.
bool Session::to_be_reset(Side side) {
  Conn& conn = this->conn(side);
  if (conn.broken()) return true;
  if (!flow_from(other(side)).done()) return blame_ != nullptr || lost_[0] > 0 || lost_[1] > 0 || cut_short_;
  // It has had all that was meant for it, and the end. If it has not finished itself, it believes that somebody listens;
  // but bytes under way to it come first: then its next byte is answered with a reset, by the kernel.
  return (!flow_from(side).ended() || lost_from(side) > 0) && conn.unsent() <= 0;
}

void Session::close(Side side) {
  Conn& conn = this->conn(side);
  if (!conn.is_open()) return;
  // The kernel resets a connection that is closed with bytes unread, and drops what is under way to it.
  const bool kernel_resets = !flow_from(side).ended() && conn.unsent() > 0 && conn.unread();
  if (!to_be_reset(side) && !kernel_resets && !conn.holds_bytes()) return conn.close();
  const Side sender = other(side);
  const int unsent = conn.unsent() - conn.unsent_end();
  if (unsent > 0 && conn.broken()) {
    unconfirmed_[index(sender)] += static_cast<uint32_t>(unsent);  // it may have had them: nobody will tell
  } else if (unsent > 0) {
    lost_[index(sender)] += std::min(static_cast<uint64_t>(unsent), delivered_from(sender));
  }
  conn.reset();
}

// One side is dead. The other gets what there is of the dead one's bytes for as long as it takes them, then the reset.
void Session::look_at_dying() {
  if (dead(Side::kClient) && dead(Side::kGateway)) return end(blame_ != nullptr ? blame_ : "client-reset");
  const Side gone = dead(Side::kClient) ? Side::kClient : Side::kGateway;
  const Side left = other(gone);
  Flow& flow = flow_from(gone);
  if (!left_early_) cut(left);
  if (blame_ == nullptr) blame(gone, {Code::kReset, "failed"});

  const bool drained = flow.done() || flow.cut() || (flow.held() == 0 && !conn(gone).is_open());
  const int unsent = conn(left).unsent();
  const uint64_t undelivered = flow.held() + static_cast<uint64_t>(std::max(unsent, 0));
  if (drained && undelivered == 0) return left_early_ && flow.done() ? linger(left) : end(blame_);

  const Time now = relay_.loop().now();
  if (undelivered != left_) {
    left_ = undelivered;
    last_moved_ = now;
    look_ms_ = kFirstLookMs;
  } else if (!left_early_ && now - last_moved_ >= kStuck) {
    return end(blame_);
  } else {
    look_ms_ = std::min<uint16_t>(look_ms_ * 2, kLongestLookMs);
  }
  timer_.arm(Delay{look_ms_});
}

// `side` has had all that a gateway left, and the end. It may take its time to read that; a reset would take it away.
void Session::linger(Side side) {
  Flow& flow = flow_from(side);
  const Flow::State state = flow.hold(conn(side), relay_.config().egress_queue_size);
  if (state == Flow::State::kFromFailed || flow.ended() || flow.held() > 0) return end(blame_);
  schedule();
}

void Session::blame(Side side, const Status& why) {
  if (blame_ != nullptr) return;
  const bool client = side == Side::kClient;
  error_ = why.error();
  if (why.code() == Code::kReset) blame_ = client ? "client-reset" : "gateway-reset";
  else if (why.code() == Code::kTimeout) blame_ = client ? "client-timeout" : "gateway-timeout";
  else if (why.code() == Code::kTruncated) blame_ = client ? "client-truncated" : "gateway-truncated";
  else blame_ = client ? "client-error" : "gateway-error";
}

// ---- limits

Delay Session::quiet() const { return relay_.loop().now() - last_moved_; }

// Bytes that were accepted and have not arrived: nobody is idle then, only slow.
bool Session::owes() const {
  return held() > 0 || (client_.is_open() && client_.unsent() > 0) || (gateway_.is_open() && gateway_.unsent() > 0);
}

// The limits that apply now, each with the time that counts towards it: `visit(name, most, spent, only_if_nothing_is_owed)`.
template <typename Visit>
void Session::each_limit(Visit visit) const {
  const ClusterConfig& config = relay_.config();
  if (state_ == State::kWaiting) {
    visit("wait-timeout", config.wait_timeout, relay_.loop().now() - since_, false);
    if (half_closed_ && held() == 0) visit("half-close-timeout", config.half_close_timeout, quiet(), false);
    return;
  }
  visit("idle-timeout", config.idle_timeout, quiet(), false);
  if (half_closed_) visit("half-close-timeout", config.half_close_timeout, quiet(), true);
  if (relay_.draining()) visit("drained", kQuietDrain, quiet(), true);
}

const char* Session::limit_reached() const {
  const char* reached = nullptr;
  each_limit([&](const char* name, Delay most, Delay spent, bool unless_owed) {
    if (reached == nullptr && most.count() > 0 && spent >= most && !(unless_owed && owes())) reached = name;
  });
  return reached;
}

// Arms the timer for the next limit. One that has passed already, but for what is owed, is looked at again after kLookAgain.
void Session::schedule() {
  if (state_ == State::kEnded) return;
  Delay next = kNever;
  each_limit([&](const char*, Delay most, Delay spent, bool) {
    if (most.count() > 0) next = std::min(next, spent < most ? most - spent : kLookAgain);
  });
  if (next == kNever) timer_.disarm();
  else timer_.arm(next);
}

void Session::on_timer(Timer&) {
  if (state_ == State::kEnded) return;
  const Count count(*this);
  if (state_ == State::kDying && !left_early_) return run_flows();
  const char* why = limit_reached();
  if (why == nullptr) return state_ == State::kDying ? run_flows() : schedule();
  const std::string_view name = why;
  if (name == "wait-timeout") relay_.stats().add(Stat::kWaitTimeouts);
  if (name == "idle-timeout") relay_.stats().add(Stat::kIdleTimeouts);
  cut_short_ = name == "half-close-timeout";  // an answer may be half said: that must not look like its end
  if (name == "half-close-timeout") relay_.stats().add(Stat::kHalfCloseTimeouts);
  end(name);
}

void Session::drain() {
  const Count count(*this);
  if (state_ == State::kWaiting && held() == 0) {
    conn(waiting_side_).try_reading();  // what came in this very turn was accepted too
    wait();
    if (state_ == State::kWaiting && held() == 0) return end("drained");
  }
  if (state_ == State::kPaired || left_early_) schedule();
}

// ---- the end

void Session::end(std::string_view why) {
  if (state_ == State::kEnded) return;
  const Count count(*this);
  state_ = State::kEnded;
  timer_.disarm();
  stop_dialing();
  if (!flow_from(Side::kClient).done()) cut(Side::kClient);
  if (!flow_from(Side::kGateway).done()) cut(Side::kGateway);
  close(Side::kClient);
  close(Side::kGateway);
  log_end(why);
  relay_.ended(*this);
}

void Session::log_end(std::string_view why) {
  const bool lossy = lost_[0] > 0 || lost_[1] > 0;
  const Level level = lossy ? Level::kWarn : Level::kInfo;
  if (why.ends_with("-reset")) relay_.stats().add(Stat::kResets);
  if (why.ends_with("-truncated")) relay_.stats().add(Stat::kTruncations);
  if (!log_enabled(level)) return;
  LogLine line(level, "session-end");
  line.text("relay", relay_.config().name).number("session", id_).text("client", addrs_[0].text()).text("gateway", addrs_[1].text());
  line.text("reason", why);
  if (why.ends_with("-error") && error_ != 0) line.text("error", std::strerror(error_));
  line.number("to_client", delivered_from(Side::kGateway)).number("to_gateway", delivered_from(Side::kClient));
  line.count("lost_to_client", lost_from(Side::kGateway)).count("lost_to_gateway", lost_from(Side::kClient));
  line.count("unconfirmed_to_client", unconfirmed_[1]).count("unconfirmed_to_gateway", unconfirmed_[0]);
  line.count("queued_max", queued_max_).number("duration_ms", (relay_.loop().now() - since_).count());
}

// ---- showing

std::string_view Session::name_of_state() const {
  switch (state_) {
    case State::kWaiting: return "waiting";
    case State::kPaired: return "paired";
    case State::kDying: return "ending";
    case State::kEnded: break;
  }
  return "ended";
}

void Session::status(Json& json) const {
  const Time now = relay_.loop().now();
  json.number("session", id_).text("state", name_of_state()).text("client", addrs_[0].text()).text("gateway", addrs_[1].text());
  json.number("age_ms", (now - since_).count()).number("quiet_ms", quiet().count());
  json.number("to_client_bytes", delivered_from(Side::kGateway)).number("to_gateway_bytes", delivered_from(Side::kClient));
  json.number("queued_bytes", held()).number("queued_max_bytes", std::max(queued_max_, held())).flag("half_closed", half_closed_);
  if (dialing_ != nullptr) dialing_->status(json);
}

}  // namespace relay::cluster

// SPDX-License-Identifier: Apache-2.0
// The cluster relay: pairs functions (clients) with their gateways. It listens, tells who comes which of the two they are,
// introduces them to each other (Session), dials a gateway for a client that finds none, and counts.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "kinds/cluster/keys.h"
#include "kinds/cluster/session.h"
#include "lib/list.h"
#include "ops/doors.h"
#include "ops/stats.h"
#include "relay.h"

namespace relay::cluster {

enum class Stat : uint8_t {
  kClients, kGateways, kWaiting, kPairs, kQueuedBytes,
  kClientsAccepted, kGatewaysAccepted, kDials, kDialFailures, kSessions,
  kRefusedClientBusy, kRefusedGatewayBusy, kRefusedClientNotAllowed, kRefusedGatewayNotAllowed, kRefusedDraining,
  kToClientBytes, kToGatewayBytes, kLostToClientBytes, kLostToGatewayBytes,
  kQueueFull, kIdleTimeouts, kHalfCloseTimeouts, kWaitTimeouts, kResets, kTruncations, kAcceptPauses, kSpliced,
  kTlsHandshakes, kTlsResumed, kTlsHandshakeFailures,
  kCount,
};
std::span<const StatRow> stat_rows();

class ClusterRelay final : public Relay, private DoorsUser, private LookupUser, private TimerUser {
 public:
  explicit ClusterRelay(const Env& env);
  ~ClusterRelay() override;

  void prepare(const Section& section, Faults& faults) override;
  void commit() override;
  void rollback() override;
  void lend() override { doors_.lend(); }
  bool reads_files() const override { return config_.tls != nullptr; }
  void drain() override;
  void stop(std::string_view why) override;
  bool idle() const override { return stats_.get(Stat::kSessions) == sessions_ended_; }
  const std::string& name() const override { return config_.name; }
  std::span<const uint64_t> values() const override { return stats_.values(); }
  const LastError& last_error() const override { return last_error_; }
  void status(Json& json, size_t most) override;

  // For its Sessions.
  const ClusterConfig& config() const { return config_; }
  Loop& loop() { return env_.loop; }
  Resolver& resolver() { return env_.resolver; }
  Stats<Stat>& stats() { return stats_; }
  // REQUIRES: there is one in the configuration.
  Import& import() { return *import_; }
  bool draining() const { return draining_; }
  // A handshake is done.
  void greeted(const Addr& peer, const Tls& tls);
  void target_addrs(const std::vector<Addr>& addrs) { target_addrs_ = addrs; }
  void failed(std::string_view what) { last_error_.set(what, env_.loop.now()); }
  // `session` waits for its other side, has found it, or has ended (and is buried by the relay).
  void waits(Session& session);
  void paired(Session& session);
  void ended(Session& session);

 private:
  // A configuration that is prepared and not yet in use.
  struct Next {
    ClusterConfig config;
    TlsContext api_tls;  // its files read anew
  };

  void on_come(const DoorSign& door, Socket socket, const Addr& peer) override;
  TlsContext* on_knock(const DoorSign& door, const Addr& peer) override;
  void on_handshake_failed(const DoorSign& door, const Addr& peer, const std::string& why) override;
  void on_accept_paused() override { stats_.add(Stat::kAcceptPauses); }
  void on_lookup(Result<Found> found) override;
  void on_timer(Timer& timer) override;

  static Doors::Plan doors_of(const ClusterConfig& config);
  void use_certificates();
  uint64_t rate();
  void hold_off_until_target_is_known();
  void look_up_target();
  void accept_now();
  Side side_of(std::string_view role, const Addr& peer) const;
  bool target_names_gateways() const;
  bool is_gateway(const Addr& peer) const;
  bool admits(Side side, const Addr& peer, bool knocks);
  bool make_room(Side side, bool knocks);
  void welcome(Side side, Socket socket, const Addr& peer);
  bool refuse(Side side, const Addr& peer, Stat stat, std::string_view reason);
  void close_doors_if_done();
  template <typename Visit>
  void each(Visit visit);

  Env env_;
  ClusterConfig config_;
  std::unique_ptr<Next> next_;
  Stats<Stat> stats_;
  Doors doors_;
  std::vector<Addr> target_addrs_;  // where a target that is a name was seen last
  Lookup lookup_;
  Timer timer_;  // the most that accepting waits for the first look-up
  Time looked_up_{};
  List<Session> waiting_[2];  // by Side, oldest first
  List<Session> others_;
  LastError last_error_;  // of a dial or a look-up
  uint64_t bytes_seen_ = 0;  // for the rate: what had been delivered at rate_since_
  Time rate_since_{};
  uint64_t rate_ = 0;        // bytes a second, both ways
  uint32_t next_id_ = 1;  // in the log; it may wrap
  uint64_t sessions_ended_ = 0;
  bool draining_ = false;
  bool held_off_ = false;
  TlsContext api_tls_;              // towards the gateway's API
  std::unique_ptr<Import> import_;  // where the target is looked up there, or was
};

extern const Kind kKind;

}  // namespace relay::cluster

// SPDX-License-Identifier: Apache-2.0
// The Redis relay: clients on this side, a few lasting connections to one server on the other. It listens, chooses over which connection
// a client's commands go, lends connections to those who need one of their own, and counts.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "kinds/redis/commands.h"
#include "kinds/redis/keys.h"
#include "kinds/redis/session.h"
#include "kinds/redis/upstream.h"
#include "lib/list.h"
#include "net/listener.h"
#include "ops/stats.h"
#include "relay.h"

namespace relay::redis {

enum class Stat : uint8_t {
  kClients, kPinned, kUpstreams, kUnderWay,
  kAccepted, kRefusedBusy, kRefusedDraining, kCommands, kSharedCommands, kPins, kErrors, kProtocolErrors, kRepeated, kLostCommands,
  kDials, kDialFailures, kUpstreamsLost, kStalled, kAcceptPauses, kTlsHandshakes, kTlsHandshakeFailures,
  kCount,
};
std::span<const StatRow> stat_rows();

class RedisRelay final : public Relay, private ListenerUser {
 public:
  explicit RedisRelay(const Env& env) : env_(env) {}
  ~RedisRelay() override;

  void prepare(const Section& section, Faults& faults) override;
  void commit() override;
  void rollback() override { next_.reset(); }
  void lend() override;
  bool reads_files() const override { return config_.reads_files(); }
  void drain() override;
  void stop(std::string_view why) override;
  bool idle() const override { return stats_.get(Stat::kClients) == 0; }
  const std::string& name() const override { return config_.name; }
  std::span<const uint64_t> values() const override { return stats_.values(); }
  void status(Json& json, size_t most) override;

  // For its Sessions and Upstreams.
  const RedisConfig& config() const { return config_; }
  Loop& loop() { return env_.loop; }
  Resolver& resolver() { return env_.resolver; }
  Stats<Stat>& stats() { return stats_; }
  Commands& commands() { return commands_; }
  bool draining() const { return draining_; }
  void failed(std::string_view what) { last_error_ = what; last_error_at_ = env_.loop.now(); }
  // Where the commands of one who has none under way go now.
  Upstream& shared();
  // A connection for `session` alone, which may be ready(). If not, or nullptr, private_ready() is called once one is.
  Upstream* acquire(Session& session);
  void cancel(Session& session);  // does not want one any more
  void became_idle(Upstream& upstream);
  void ended(Upstream& upstream);
  void ended(Session& session);
  // Replies have come for `session`: it is flushed when the block that they were in is done with.
  void batch() { batching_ = true; }
  void touch(Session& session);
  void flush_touched();
  // `session` waits for room in a shared connection; all are called when there is some.
  void wait_for_room(Session& session) { waiting_for_room_.push_back(&session); }
  void room();

 private:
  struct Door {
    Door(Loop& loop, ListenerUser& user, std::string place) : listener(loop, user), where(std::move(place)) {}
    Listener listener;
    std::string where;
  };
  struct Next {
    RedisConfig config;
    std::vector<std::unique_ptr<Door>> doors;
    std::unique_ptr<TlsContexts> tls;
  };

  void on_accept(Listener& listener, Socket socket, const Addr& peer) override;
  TlsContext* on_knock(Listener& listener, const Addr& peer) override;
  void on_handshake_failed(Listener& listener, const Addr& peer, const std::string& why) override;
  void on_accept_paused(Listener& listener, const Status& why) override;
  void on_accept_resumed(Listener& listener) override;

  void open_door(const Endpoint& where, Faults& faults);
  void take_doors();
  void use_certificates();
  bool admits(const Addr& peer);
  bool refuse(const Addr& peer, Stat stat, std::string_view reason);
  Upstream& add(Session* owner);
  void serve_waiting();
  uint64_t privates() const { return upstreams_.size() - shared_.size(); }

  Env env_;
  RedisConfig config_;
  std::unique_ptr<Next> next_;
  Stats<Stat> stats_;
  Commands commands_;
  std::vector<std::unique_ptr<Door>> doors_;
  std::vector<std::unique_ptr<Upstream>> upstreams_;  // all
  std::vector<Upstream*> shared_;    // those of the server that is configured now
  std::vector<Upstream*> idle_;
  std::vector<Session*> waiting_;  // for a connection of their own
  std::vector<Session*> waiting_for_room_;
  std::vector<Session*> touched_;
  List<Session> sessions_;
  std::unique_ptr<TlsContexts> tls_;
  std::string last_error_;
  Time last_error_at_{};
  uint32_t next_id_ = 1;
  bool draining_ = false;
  bool batching_ = false;
  Time refusals_since_{};
  unsigned refusals_told_ = 0;
  uint64_t refusals_untold_ = 0;
};

extern const Kind kKind;

}  // namespace relay::redis

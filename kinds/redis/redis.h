// SPDX-License-Identifier: Apache-2.0
// The Redis relay: clients on this side, a few lasting connections to one server on the other. It listens, chooses over which connection
// a client's commands go, lends connections to those who need one of their own, and counts.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "kinds/redis/cluster.h"
#include "kinds/redis/backlog.h"
#include "kinds/redis/commands.h"
#include "kinds/redis/early.h"
#include "kinds/redis/keys.h"
#include "kinds/redis/lane.h"
#include "kinds/redis/lease.h"
#include "kinds/redis/session.h"
#include "kinds/redis/types.h"
#include "lib/list.h"
#include "ops/doors.h"
#include "ops/stats.h"
#include "relay.h"

namespace relay::redis {

enum class Stat : uint8_t {
  kClients, kPinned, kUpstreams, kUnderWay,
  kAccepted, kRefusedBusy, kRefusedDraining, kCommands, kSharedCommands, kPins, kErrors, kProtocolErrors, kRepeated, kLostCommands,
  kHeld, kMoved, kAsked, kEarly, kEarlyQueued, kEarlyBytes, kEarlyDifferent, kEarlyRefused, kEarlyLost, kReadQueued, kQueueFull,
  kSpoolBytes, kSpooled, kSpoolFull, kSpoolPassed, kSpoolFailures, kSpoolDamaged,
  kDials, kDialFailures, kUpstreamsLost, kStalled, kAcceptPauses, kTlsHandshakes, kTlsHandshakeFailures,
  kCount,
};
std::span<const StatRow> stat_rows();

class RedisRelay final : public Relay, private DoorsUser, private TimerUser {
 public:
  explicit RedisRelay(const Env& env) : env_(env), doors_(env.loop, env.sockets, *this), tidy_(env.loop, *this) {}
  ~RedisRelay() override;

  void prepare(const Section& section, Faults& faults) override;
  void commit() override;
  void rollback() override;
  void lend() override { doors_.lend(); }
  bool reads_files() const override { return config_.reads_files(); }
  void drain() override;
  void stop(std::string_view why) override;
  bool idle() const override { return stats_.get(Stat::kClients) == 0 && (backlog_ != nullptr ? backlog_->closed() : !has_early()); }
  const std::string& name() const override { return config_.name; }
  std::span<const uint64_t> values() const override { return stats_.values(); }
  const LastError& last_error() const override { return last_error_; }
  void status(Json& json, size_t most) override;

  // For its Sessions, Lanes and Leases.
  const RedisConfig& config() const { return config_; }
  Loop& loop() { return env_.loop; }
  Resolver& resolver() { return env_.resolver; }
  Stats<Stat>& stats() { return stats_; }
  Commands& commands() { return commands_; }
  bool draining() const { return draining_; }
  std::vector<std::string_view>& scratch() { return scratch_; }
  // What went wrong last, for the status.
  void failed(std::string_view what) { last_error_.set(what, env_.loop.now()); }
  void dial_failed(const Addr& to, const std::string& why, unsigned round, Delay retry);

  // Servers.
  const DialPlan& plan(uint32_t node) const { return nodes_[node].plan; }
  const std::string& place(uint32_t node) const { return nodes_[node].place; }
  // What a connection is that nobody has asked anything of: the URL's.
  const Setting& setting() const { return setting_; }

  // Lanes. The one for clients of that setting, made if there is none; nullptr: there are as many connections as there may be.
  Lane* lane(const Setting& setting, uint8_t ordinal, uint32_t node);
  // Of the lanes of a kind, one that is not held up by a client that does not read.
  uint8_t free_ordinal(const Setting& setting);
  uint64_t lanes_epoch() const { return lanes_epoch_; }  // changes when one is no more to be used
  template <typename F>
  void each_lane(F f) const {
    for (const auto& lane : lanes_) f(*lane);
  }
  // Whether the server is known to have that database, for that login.
  bool may_select(const Setting& setting);
  void selected(const Setting& setting);
  // The server does not let anybody be that.
  void refused(const Setting& setting, std::string_view refusal);
  // What it would say to SELECT of that database, as far as that is known; or nothing. Whether there are some that it has not.
  std::string_view no_database(uint32_t db) const;
  bool lacks_databases() const { return least_refused_ != UINT32_MAX && env_.loop.now() < refused_until_; }
  void lane_ready(Lane& lane);
  bool is_for_clients(const Lane& lane) const { return !(effective(lane.key().setting) == setting_); }
  void gave_up(Lane&) {}
  void lane_troubled();
  bool is_ready(uint32_t node) const;  // some lane to it
  bool is_usable(uint32_t node);       // nothing is known against it
  bool is_answered(uint32_t id, uint64_t put) const;
  void desert(uint32_t id);
  // The cluster, if the server is one.
  Cluster* cluster() { return cluster_.get(); }
  void cluster_known();
  uint32_t node(const std::string& address);
  std::vector<std::string> seeds() const;
  std::vector<uint32_t>& indexes() { return indexes_; }
  void resume(uint32_t id);
  void ended(Lane& lane);
  // Finds another lane for what one had.
  void reroute(const Lane::Entry& entry, const std::string& command, const Setting& setting);
  // Whether `error` says that the command belongs elsewhere, and it was sent there.
  bool redirect(Lane& lane, const Lane::Entry& entry, std::string_view error);

  // Leases. One for `session` alone, which may be ready(). If not, or nullptr, lease_ready() is called once one is.
  Lease* acquire(Session& session, const Setting& want, uint32_t node);
  // Whether it would not have to wait for others.
  bool has_lease_for(uint32_t node) const;
  void cancel(Session& session);  // does not want one any more
  void became_idle(Lease& lease);
  void ended(Lease& lease);

  // Sessions.
  Session* find(Handle handle) {
    const Place& place = places_[handle.place < places_.size() ? handle.place : 0];
    return place.generation == handle.generation ? place.session : nullptr;
  }
  void ended(Session& session);
  // Replies have come for `session`: it is flushed when the block that they were in is done with.
  void batch() { batching_ = true; }
  bool batching() const { return batching_; }
  void touch(Session& session);
  void flush_touched();
  // From one client's replies to another's.
  Queue::Ring& spare_ring() { return spare_ring_; }
  // `session` waits for room in a lane, or for what was answered early; all are called when there is some.
  void wait_for_room(Session& session);
  // Whether there would be none for any command.
  bool crowded() const { return lanes_.size() == 1 && lanes_[0]->full() && !lanes_[0]->stuck(); }
  void room();

  // What is answered early. In memory, or in a spool and in memory as far as it fits (nullptr: there is no spool).
  static constexpr size_t kLongestGathered = 32 * 1024 * 1024;
  Backlog* backlog() { return backlog_.get(); }
  bool smart() const { return config_.smart; }
  bool ignores(std::string_view name) const;
  const EarlyTable& early_table() const { return early_table_; }
  KeyTypes& types() { return types_; }
  bool has_early() const { return stats_.get(Stat::kEarlyQueued) > 0; }
  // Whether lanes beside `lane` for the same data have some.
  bool early_beside(const Lane& lane) const;
  bool early_has_room(uint64_t size) const;
  bool early_fits(uint64_t size);  // the same; if not, a client waits
  // What may be in one lane.
  // The lane for a command of the relay's own login; nullptr: none yet.
  Lane* lane_for_early(uint32_t db, std::string_view command);
  const Lane* hopeless_lane() const;  // one of those that are; nullptr: none is
  void early_queued(int64_t count, int64_t bytes);
  bool is_past(uint32_t id, uint64_t put) const;
  Lane* find_lane(uint32_t id);  // nullptr: it is gone
  uint64_t moves_epoch() const { return moves_epoch_; }  // changes when early commands change their lane
  void early_moved() { ++moves_epoch_; }
  void early_done(const Lane::Entry& entry);
  // Its lane ends. Whether it is kept, in the spool, for the next start; else it is lost.
  bool early_stays(const Lane::Entry& entry);
  void early_differs(std::string_view command, std::string_view error, Holds needs, uint32_t db);
  void told_type(std::string_view command, Holds leaves, uint32_t db);
  void early_uncertain(std::string_view command, std::string_view why);
  void early_lost(uint64_t count, std::string_view why);
  // Again and again the server has gone when it had this one.
  void early_stuck(std::string_view command, uint64_t size);
  // Reads from what waits for the server (read_queued.cpp). A command of a client who waits is about to go to database `db`: true if there is no
  // telling what it writes. One that was answered has just been put on `lane`. A connection of a client's own, over which something may be written.
  bool will_write(const Command& command, const std::vector<std::string_view>& words, uint32_t db);
  void wrote_early(Lane& lane, const Early& early, const std::vector<std::string_view>& words);
  void begin_aside();
  void end_aside() { --asides_; }
  void forget_queued();
  // The lane over which early commands of such a client go; nullptr: there is none.
  Lane* queue_of(const Setting& setting, uint32_t node);
  // Commands that are longer than a block.
  bool gathers(std::string_view name) const { return (smart() && early_table_.knows(name)) || packs(name); }
  bool may_gather(size_t have, size_t more);
  void gathered(size_t size) { gathered_ -= size; }
  void gathered_is(size_t size, size_t now) { gathered_ = gathered_ - size + now; }
  // Whether values of such a command are packed.
  bool packs(std::string_view name) const { return config_.pack.any_packing() && relay::packs(name); }

 private:
  void on_come(const DoorSign& door, Socket socket, const Addr& peer) override;
  TlsContext* on_knock(const DoorSign& door, const Addr& peer) override;
  void on_handshake_failed(const DoorSign& door, const Addr& peer, const std::string& why) override;
  void on_accept_paused() override { stats_.add(Stat::kAcceptPauses); }

  void on_timer(Timer& timer) override;

  static Doors::Plan doors_of(const RedisConfig& config);
  void forget_server();
  void leave_server();
  void settle_spool();
  std::unique_ptr<Cluster> settle_cluster();
  bool is_unknown(uint32_t node) const;
  DialPlan plan_for(const Endpoint& target) const;
  bool admits(const Addr& peer);
  bool refuse(const Addr& peer, Stat stat, std::string_view reason);
  Setting effective(const Setting& setting) const;
  Lane* find_lane(const Lane::Key& key, uint8_t ordinal);
  bool has_place_for_one();
  void serve_waiting();
  Lease& add_lease(uint32_t node);
  void keep_ready();
  void tell_early(std::string_view event, std::string_view command, std::string_view key, std::string_view error);

  bool written_beside(const Lane& lane) const;
  void forget_queued(std::string_view key, uint32_t db);

  struct Place {
    Session* session = nullptr;
    uint32_t generation = 0;
  };
  struct Server {
    DialPlan plan;
    std::string place;
    bool left = false;  // of a URL before this one: only its connections, as long as they are there, know it by its number
  };
  struct Waiter {
    Session* session;
    Setting want;
    uint32_t node;
  };

  Env env_;
  RedisConfig config_;
  std::unique_ptr<RedisConfig> next_;  // what is prepared
  Stats<Stat> stats_;
  Commands commands_;
  EarlyTable early_table_;
  KeyTypes types_;
  Setting setting_;
  std::vector<Server> nodes_;
  Doors doors_;
  std::vector<std::unique_ptr<Lane>> lanes_;
  std::vector<std::unique_ptr<Lease>> leases_;
  std::vector<Lease*> idle_;
  std::vector<Waiter> waiting_;  // for a lease
  std::vector<Session*> waiting_for_room_;
  std::vector<Session*> touched_;
  Queue::Ring spare_ring_;
  std::vector<Place> places_;
  std::vector<uint32_t> free_places_;
  List<Session> sessions_;
  Timer tidy_;
  std::unique_ptr<Cluster> cluster_;
  std::unique_ptr<Backlog> backlog_;
  std::unique_ptr<Backlog> next_backlog_;  // what is prepared
  std::vector<uint32_t> indexes_;
  std::vector<uint32_t> databases_;  // that the server is known to have
  uint32_t least_refused_ = UINT32_MAX;  // of databases that it has not
  std::string refusal_;
  Time refused_until_{};
  std::map<std::string, uint64_t, std::less<>> differences_;  // by command
  std::vector<std::string_view> scratch_;
  uint64_t gathered_ = 0;
  uint64_t asides_ = 0;
  uint64_t lanes_epoch_ = 0;
  uint64_t moves_epoch_ = 0;
  LastError last_error_;
  uint32_t next_id_ = 1;
  uint32_t next_lane_ = 0;
  bool draining_ = false;
  bool stopping_ = false;
  bool batching_ = false;
  Time differences_since_{};
  unsigned differences_told_ = 0;
};

extern const Kind kKind;

}  // namespace relay::redis

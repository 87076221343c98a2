// SPDX-License-Identifier: Apache-2.0
// The plex: long-lived TCP clients, each with a name for life (UUID), and gRPC servers (upstreams) that talk with them by that name.
//
//   clients ─► Client ─ messages ─► Upstream ═ one stream ═► gRPC server
//              Client ◄─ by UUID, group, broadcast ─ deliver()   ◄═╛
//
// The relay says which upstream a client gets (balance), keeps those that have none yet, and takes what upstreams say to whom it is for. What goes to
// many is done in pieces (Crowd), so that nobody waits long; whoever is spoken to meanwhile has first what was said to all before that.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "kinds/plex/client.h"
#include "kinds/plex/crowd.h"
#include "kinds/plex/entrances.h"
#include "kinds/plex/keys.h"
#include "kinds/plex/orphans.h"
#include "kinds/plex/router.h"
#include "kinds/plex/table.h"
#include "kinds/plex/upstream.h"
#include "kinds/plex/watch.h"
#include "lib/list.h"
#include "ops/doors.h"
#include "ops/stats.h"
#include "relay.h"

namespace relay::plex {

enum class Stat : uint8_t {
  kClients, kWorkers, kWaiting, kUpstreams, kGroups, kRoutes, kWatchers,
  kAccepted, kRefusedBusy, kRefusedAddress, kRefusedRate, kRefusedNoUpstream, kRefusedDraining, kMessagesIn, kBytesIn, kMessagesOut, kBytesOut, kBroadcasts, kRehomed, kRedelivered, kLostMessages,
  kGivenUp, kAcked, kUnknownClients, kDroppedMessages, kSlowClients, kIdleTimeouts, kHalfCloseTimeouts, kWaitTimeouts, kAuthRejected, kAuthTimeouts, kFramingErrors, kProxyErrors,
  kUpstreamQueueFull, kClientQueueFull, kAckQueueFull, kUpstreamsLost, kNotReady, kNotLive, kBadMessages, kResets, kDials, kDialFailures, kAcceptPauses,
  kAcceptRateHolds, kClientRateHolds, kMessageRateHolds,
  kTlsHandshakes, kTlsHandshakeFailures,
  kRouted, kRouteReceived, kRouteLost, kRefusedWatchers, kMissedEvents,
  kCount,
};
std::span<const StatRow> stat_rows();

constexpr uint64_t kShownMost = 1000;  // clients in an answer,
constexpr uint64_t kShownUsually = 100;  // and if nothing is said
constexpr unsigned kWorkerShift = 32;  // a page of them begins at a worker's number, and a place in its table

// Clients that are spoken to together, by a name that upstreams give.
class Group {
 public:
  explicit Group(std::string name) : name_(std::move(name)) {}
  const std::string& name() const { return name_; }
  std::set<Client*> members;

 private:
  const std::string name_;
};

class PlexRelay final : public Relay, private DoorsUser, private TimerUser {
 public:
  static constexpr size_t kLabelsMost = 64;
  static constexpr size_t kLabelMost = 256;    // bytes of a name, or a value
  static constexpr size_t kGroupMost = 255;    // bytes of a name
  static constexpr size_t kGroupsMost = 256;  // of one client

  explicit PlexRelay(const Env& env);
  ~PlexRelay() override;

  void prepare(const Section& section, Faults& faults) override;
  void commit() override;
  void rollback() override;
  void lend() override { doors_.lend(); }
  bool reads_files() const override;
  void drain() override;
  void stop(std::string_view why) override;
  bool idle() const override;
  const std::string& name() const override { return config_.name; }
  std::span<const uint64_t> values() const override { return stats_.values(); }
  int control(std::string_view what, const ControlQuery& query, std::string& answer) override;
  bool on_mail(unsigned, std::span<const std::byte> letter) override { return router_.mail(letter); }
  void on_mail_returned(unsigned to, std::span<const std::byte> letter) override { router_.mail_returned(to, letter); }
  void hung_up(Ticket ticket) override;
  const LastError& last_error() const override { return last_error_; }
  void status(Json& json, size_t most) override;

  // For its Clients and Upstreams.
  const PlexConfig& config() const { return config_; }
  Loop& loop() { return env_.loop; }
  Resolver& resolver() { return env_.resolver; }
  Stats<Stat>& stats() { return stats_; }
  void failed(std::string_view what) { last_error_.set(what, env_.loop.now()); }
  // Hundredths of a second, for what is remembered of each client; they wrap after 497 days.
  uint32_t tick() const { return static_cast<uint32_t>(env_.loop.now().count() / 10); }
  std::string_view time_text();  // now, in RFC 3339
  const Entrances& entrances() const { return entrances_; }
  // REQUIRES: one of its rates is limited.
  Pace& pace(const Client& client);
  uint32_t now_ms() const { return static_cast<uint32_t>(env_.loop.now().count()); }
  Client* find(const Uuid& uuid) { return clients_.find(uuid); }
  Upstream* find(uint32_t id);
  const std::vector<std::unique_ptr<Upstream>>& upstreams() const { return upstreams_; }

  uint64_t written() const { return stats_.get(Stat::kMessagesOut) + stats_.get(Stat::kDroppedMessages); }  // to clients, or not
  // Clients. Gives a message of `client` to an upstream: that one, or nullptr: no room, or no more in this turn, and it will be called again.
  void begin_turn() { taken_ = 0; }
  Upstream* give(Client& client, std::span<const std::byte> payload, uint64_t seq, bool again);
  void lost(uint64_t count, std::string_view reason);  // messages of clients, which reach nobody
  // A message of it has had its delivery-limit, and is given to nobody any more.
  void given_up(const Client& client, uint64_t seq, size_t size);
  // Tells its home of it.
  void tell(Client& client, upstream::Event event, CloseReason why = CloseReason::kNone, std::string_view details = {});
  // Tells those who watch.
  void noted(Client& client, control::WatchKind what, CloseReason why = CloseReason::kNone, std::string_view details = {});
  void report(uint32_t id, uint64_t request, const Uuid& uuid, upstream::Delivery what);
  void introduced(Client& client);  // it is known for whom it connects
  void left(Client& client);   // its connection is gone
  void ended(Client& client);  // and nothing of it is to be remembered any more: buries it
  // What was said to all before now, it has before what is said to it now.
  void catch_up(Client& client) { crowd_.catch_up(client); }
  bool is_behind(uint32_t speaker) const { return crowd_.is_behind(speaker); }
  void leave(Client& client, Group& group);
  // With a label that says which upstream it is to have: gives it to that one, now or as soon as may be.
  void settle_home(Client& client);
  const Table<Client>& clients() const { return clients_; }
  // What an upstream wants done with it, or an operator.
  void command(Client& client, upstream::Command command, std::string_view given, uint32_t speaker);

  // Upstreams.
  DialPlan plan_to(const Endpoint& place, TlsContext* tls) const;
  void upstream_up(Upstream& upstream);
  void upstream_has_room(Upstream& upstream);
  // `upstream` is over: its clients are to find another.
  void upstream_gone(Upstream& upstream);
  void upstream_closed(Upstream& upstream);  // it was retired, and may be buried
  // A message of its stream.
  Status heard(Upstream& upstream, std::span<const std::byte> message);
  // Who says something to clients.
  struct Speaker {
    uint32_t id;  // of the upstream; 0: an operator; or Router::is_elsewhere()
    std::string_view name;
    uint32_t acks_for = id;     // whose messages it acknowledges: those of an upstream of the same name
    bool is_elsewhere = false;
  };
  // Does it, as far as it is about clients that are here.
  void deliver(const Speaker& from, const upstream::Output& output);
  void bad_parcel(const Status& why) { bad_message({.id = 0, .name = "elsewhere"}, why.reason()); }
  uint32_t id_of(uint64_t name_number) const;  // of an upstream of that name; 0: there is none
  // What was on its way to it, and it has not had.
  void take_back(Upstream& from, const upstream::Input& input);

 private:
  class Names;

  void on_come(const DoorSign& door, Socket socket, const Addr& peer) override;
  TlsContext* on_knock(const DoorSign& door, const Addr& peer) override;
  Delay proxy_time(const Addr& peer) override { return is_proxy(peer) ? config_.proxy_timeout : Delay{}; }
  void on_proxy_failed(const DoorSign& door, const Addr& peer, const std::string& why) override;
  void on_accept_held(const DoorSign& door) override;
  void on_handshake_failed(const DoorSign& door, const Addr& peer, const std::string& why) override;
  void on_accept_paused() override { stats_.add(Stat::kAcceptPauses); }
  void on_timer(Timer& timer) override;

  static Doors::Plan doors_of(const PlexConfig& config);
  uint64_t all_clients() const;
  bool admits(uint16_t slot, const Addr& peer, bool is_known);
  bool is_slow_enough(uint16_t slot, const Addr& peer);
  bool refuse(const Addr& peer, Stat stat, std::string_view reason);
  void count_addresses();
  bool counts(Client& client);
  bool is_proxy(const Addr& peer) const;
  Uuid new_uuid();

  // What control() may be asked, in JSON and by gRPC (call()). Each returns a status; `why` is what is wrong.
  control::Sent say(const upstream::Output& output);
  void catch_up_all(const upstream::Output& output);
  // Says where to go on; nothing: those were the last.
  template <typename Show>
  std::optional<uint64_t> list(uint64_t after, uint64_t most, Show show) const {
    const unsigned worker = env_.mate == nullptr ? 0 : env_.mate->number;
    for (uint64_t place = after >> kWorkerShift == worker ? after & UINT32_MAX : 0; place < clients_.places(); ++place) {
      const Client* client = clients_.at(static_cast<uint32_t>(place));
      if (client == nullptr || client->is_gone()) continue;
      if (most-- == 0) return uint64_t{worker} << kWorkerShift | place;
      show(*client);
    }
    if (env_.mate == nullptr || worker + 1 == env_.mate->count) return std::nullopt;
    return uint64_t{worker + 1} << kWorkerShift;
  }
  const Client* find_here(std::string_view text) const;
  int change_upstreams(const std::string& given, bool add, std::string& why);
  int watch(const ControlQuery& query, std::vector<Uuid> only, std::string& why);
  void count_watches();
  void end_watches();
  int control_clients(const ControlQuery& query, std::string& answer);
  int control_send(const ControlQuery& query, std::string& answer);
  int control_upstream(const ControlQuery& query, bool add, std::string& answer);
  int control_watch(const ControlQuery& query, std::string& answer);
  int call(std::string_view method, const ControlQuery& query, std::string& answer);
  int call_list(const control::Request& request, std::string& answer);
  int call_send(upstream::Output& output, std::string& answer);
  void show_upstreams(Json& json) const;

  void settle_sources();
  bool has_source(std::string_view text) const;
  // Whether there is one of that place; then `text` is how it was written.
  bool find_source(const Endpoint& place, std::string& text) const;
  void add_source(const Source& source, TlsContext* tls);
  void remove_source(std::string_view text);
  void has_addrs(Names& names, const Found& found);
  void add_upstream(const Source& source, const Endpoint& place, TlsContext* tls, std::shared_ptr<Tier> tier = nullptr, uint16_t priority = 0);

  bool hashes_labels() const { return config_.balance == Balance::kHash && !config_.hash_label.empty(); }
  void settle_homes();
  void settle_all_homes();
  bool has_usable() const;
  bool has_room();
  template <typename Is>
  void find_best(Is is_there);
  Upstream* choose(const Client& client);
  Upstream* choose_by_turn(bool for_message);
  void home(Client& client);
  void serve();
  void sweep();
  void go_on_draining();
  void retire_upstreams();
  void close_upstreams();

  void deliver_to(const Speaker& from, Client& client, const upstream::Output& output);
  bool is_for_others(const Speaker& from, const std::optional<Uuid>& uuid) const;
  // `acked`: what it acknowledges of that client, 0: nothing.
  std::set<Uuid> deliver_to_each(const Speaker& from, std::span<const std::string_view> names, std::string_view first, const upstream::Output& output);
  void deliver_by_name(const Speaker& from, std::string_view text, const upstream::Output& output, uint64_t acked);
  void pause(Client& client, uint32_t speaker);
  static bool is_small(const Group& group, const upstream::Output& output);
  void deliver_to_many(const Speaker& from, const upstream::Output& output, std::set<Uuid> had);
  void change_group(const Speaker& from, const upstream::Output& output);
  void bad_message(const Speaker& from, std::string_view why);
  void tell_losses(std::string_view reason);

  Env env_;
  PlexConfig config_;
  struct Next;
  std::unique_ptr<Next> next_;  // what is prepared
  Stats<Stat> stats_;
  Doors doors_;
  Table<Client> clients_;
  List<Client> waiting_;     // for an upstream
  List<Client> unknown_;     // that have not said for whom they connect
  Entrances entrances_;
  std::map<std::pair<uint32_t, std::array<uint8_t, 16>>, uint32_t> addresses_;  // with clients-per-address: how many of each, by scope_of()
  Arrivals arrivals_;
  std::vector<Pace> paces_;  // by the clients' places, as far as they are limited
  List<Client> roomless_;    // with round-robin: for room in any
  std::vector<std::unique_ptr<Upstream>> upstreams_;
  Orphans orphans_;
  std::vector<std::unique_ptr<Names>> names_;
  std::map<std::string, std::unique_ptr<TlsContext>, std::less<>> contexts_;  // by the source's text; nullptr: it has no TLS
  std::map<std::string, std::unique_ptr<Group>, std::less<>> groups_;
  Crowd crowd_;
  Router router_;
  Watches watches_;
  Timer serve_;   // those who wait for something that is there now
  Timer sweep_;   // those who are silent
  Timer drain_, farewell_;  // farewell: to upstreams, after stop()
  Timer move_;    // those who are to have another home
  std::set<Client*> leaving_;  // they wait until nothing of them is under way
  Client* left_to_ = nullptr;  // the last of them that was looked at; only a number
  uint32_t settled_ = UINT32_MAX;  // the next place whose client's home is to be looked at; UINT32_MAX: all have been
  uint32_t swept_ = 0, drained_to_ = 0;  // the next places whose clients are to be looked at, and to be ended
  uint32_t next_upstream_ = 1;
  uint64_t taken_ = 0;       // bytes of upstreams' queues, by the client whose turn it is
  std::array<uint8_t, 1024> random_{};
  size_t random_left_ = 0;
  std::string time_text_;
  Time time_of_text_{-1};
  Sparing bad_messages_, losses_, given_ups_;
  uint64_t untold_losses_ = 0;
  LastError last_error_;
  upstream::Output output_;  // what is being delivered; its memory is kept
  bool by_hand_ = false;  // upstreams are not those of the file
  bool draining_ = false, drained_ = false, stopping_ = false;  // drained: the grace is over
};

// With workers, who is asked: Kind::asked, and of it the part that is gRPC's; for a client, and for a page of them.
Asked plex_asked(std::string_view what, const ControlQuery& query, unsigned workers);
Asked plex_called(std::string_view method, const ControlQuery& query, unsigned workers);
Asked asked_for(std::string_view client, unsigned workers);
Asked asked_after(uint64_t after, unsigned workers);
Asked asked_of_upstream(std::string_view url);  // that it be added, or removed

// What is wrong with a message of an operator's; empty: nothing.
std::string_view fault_of(const upstream::Output& output);

extern const Kind kKind;

}  // namespace relay::plex

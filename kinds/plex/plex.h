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
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "kinds/plex/client.h"
#include "kinds/plex/crowd.h"
#include "kinds/plex/keys.h"
#include "kinds/plex/table.h"
#include "kinds/plex/upstream.h"
#include "lib/list.h"
#include "ops/doors.h"
#include "ops/stats.h"
#include "relay.h"

namespace relay::plex {

enum class Stat : uint8_t {
  kClients, kWaiting, kUpstreams, kGroups,
  kAccepted, kRefusedBusy, kRefusedAddress, kRefusedNoUpstream, kRefusedDraining, kMessagesIn, kBytesIn, kMessagesOut, kBytesOut, kBroadcasts, kRehomed, kRedelivered, kLostMessages,
  kAcked, kUnknownClients, kDroppedMessages, kSlowClients, kIdleTimeouts, kHalfCloseTimeouts, kWaitTimeouts, kAuthRejected, kAuthTimeouts, kFramingErrors, kProxyErrors,
  kUpstreamQueueFull, kClientQueueFull, kAckQueueFull, kUpstreamsLost, kNotReady, kNotLive, kBadMessages, kResets, kDials, kDialFailures, kAcceptPauses,
  kTlsHandshakes, kTlsHandshakeFailures,
  kCount,
};
std::span<const StatRow> stat_rows();

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
  static constexpr size_t kGroupsMost = 256;  // of one client

  explicit PlexRelay(const Env& env);
  ~PlexRelay() override;

  void prepare(const Section& section, Faults& faults) override;
  void commit() override;
  void rollback() override;
  void lend() override { doors_.lend(); }
  bool reads_files() const override { return config_.tls != nullptr; }
  void drain() override;
  void stop(std::string_view why) override;
  bool idle() const override;
  const std::string& name() const override { return config_.name; }
  std::span<const uint64_t> values() const override { return stats_.values(); }
  int control(std::string_view what, const ControlQuery& query, std::string& answer) override;
  void status(Json& json, size_t most) override;

  // For its Clients and Upstreams.
  const PlexConfig& config() const { return config_; }
  Loop& loop() { return env_.loop; }
  Resolver& resolver() { return env_.resolver; }
  Stats<Stat>& stats() { return stats_; }
  void failed(std::string_view what) { last_error_ = what; last_error_at_ = env_.loop.now(); }
  // Hundredths of a second, for what is remembered of each client; they wrap after 497 days.
  uint32_t tick() const { return static_cast<uint32_t>(env_.loop.now().count() / 10); }
  std::string_view time_text();  // now, in RFC 3339
  // As configured, the place to listen that a client came to; its address says which.
  std::string_view listener_of(const Addr& local) const;
  Client* find(const Uuid& uuid) { return clients_.find(uuid); }
  Upstream* find(uint32_t id);

  // Clients. Gives a message of `client` to an upstream: that one, or nullptr: there was no room, and it has been put where it is called when there is.
  Upstream* give(Client& client, std::span<const std::byte> payload, uint64_t seq, bool again);
  // Tells its home of it.
  void tell(Client& client, upstream::Event event, CloseReason why = CloseReason::kNone, std::string_view details = {});
  void report(uint32_t id, uint64_t request, const Uuid& uuid, upstream::Delivery what);
  void introduced(Client& client);  // it is known for whom it connects
  void left(Client& client);   // its connection is gone
  void ended(Client& client);  // and nothing of it is to be remembered any more: buries it
  // What was said to all before now, it has before what is said to it now.
  void catch_up(Client& client) { crowd_.catch_up(client); }
  void leave(Client& client, Group& group);
  const Table<Client>& clients() const { return clients_; }
  // What an upstream wants done with it, or an operator.
  void command(Client& client, upstream::Command command, std::string_view given, bool by_admin);

  // Upstreams.
  void upstream_up(Upstream& upstream);
  void upstream_has_room(Upstream& upstream);
  // `upstream` is over: its clients are to find another.
  void upstream_gone(Upstream& upstream);
  void upstream_closed(Upstream& upstream);  // it was retired, and may be buried
  // A message of its stream.
  Status heard(Upstream& upstream, std::span<const std::byte> message);
  // What was on its way to it, and it has not had.
  void take_back(Upstream& from, const upstream::Input& input);

 private:
  class Names;

  void on_come(std::string_view role, Socket socket, const Addr& peer) override;
  TlsContext* on_knock(std::string_view role, const Addr& peer) override;
  void on_handshake_failed(std::string_view role, const Addr& peer, const std::string& why) override;
  void on_accept_paused() override { stats_.add(Stat::kAcceptPauses); }
  void on_timer(Timer& timer) override;

  static Doors::Plan doors_of(const PlexConfig& config);
  bool admits(const Addr& peer);
  bool refuse(const Addr& peer, Stat stat, std::string_view reason);
  bool counts(Client& client);
  bool is_proxy(const Addr& peer) const;
  Uuid new_uuid();

  // Who says something to clients.
  struct Speaker {
    uint32_t id;  // of the upstream; 0: an operator
    std::string_view name;
  };
  int control_clients(const ControlQuery& query, std::string& answer);
  int control_send(const ControlQuery& query, std::string& answer);
  int control_upstream(const ControlQuery& query, bool add, std::string& answer);
  void show_upstreams(Json& json) const;

  void settle_sources();
  bool has_source(std::string_view text) const;
  // Whether there is one of that place; then `text` is how it was written.
  bool find_source(const Endpoint& place, std::string& text) const;
  void add_source(const Source& source, TlsContext* tls);
  void remove_source(std::string_view text);
  void has_addrs(Names& names, const std::vector<Addr>& addrs);
  void add_upstream(const Source& source, const Endpoint& place, TlsContext* tls);

  bool has_usable() const;
  Upstream* choose(const Client& client);
  Upstream* choose_by_turn(bool for_message);
  void home(Client& client);
  void serve();
  void sweep();
  void go_on_draining();

  void deliver(const Speaker& from, const upstream::Output& output);
  void deliver_to(const Speaker& from, Client& client, const upstream::Output& output);
  void deliver_by_name(const Speaker& from, std::string_view text, const upstream::Output& output);
  void deliver_to_many(const Speaker& from, const upstream::Output& output);
  void fill(Client& client, upstream::Input& input, upstream::Event event);
  void change_group(const Speaker& from, const upstream::Output& output);
  void bad_message(const Speaker& from, std::string_view why);

  Env env_;
  PlexConfig config_;
  struct Next;
  std::unique_ptr<Next> next_;  // what is prepared
  Stats<Stat> stats_;
  Doors doors_;
  Table<Client> clients_;
  List<Client> waiting_;     // for an upstream
  List<Client> unknown_;     // that have not said for whom they connect
  std::map<std::array<uint8_t, 16>, uint32_t> addresses_;  // with clients-per-address: how many of each
  List<Client> roomless_;    // with round-robin: for room in any
  std::vector<std::unique_ptr<Upstream>> upstreams_;
  std::vector<std::unique_ptr<Names>> names_;
  std::map<std::string, std::unique_ptr<TlsContext>, std::less<>> contexts_;  // by the source's text; nullptr: it has no TLS
  std::map<std::string, std::unique_ptr<Group>, std::less<>> groups_;
  Crowd crowd_;
  Timer serve_;   // those who wait for something that is there now
  Timer sweep_;   // those who are silent
  Timer drain_;
  uint64_t turn_ = 0;        // of the loop, in which those who waited were served
  uint64_t drain_turn_ = 0;
  uint32_t swept_ = 0;       // the next place to be looked at
  uint32_t drained_to_ = 0;  // the next place whose client is to be ended
  uint32_t next_upstream_ = 1;
  std::array<uint8_t, 1024> random_{};
  size_t random_left_ = 0;
  std::string time_text_;
  Time time_of_text_{-1};
  Sparing bad_messages_;
  std::string last_error_;
  Time last_error_at_{};
  upstream::Output output_;  // what is being delivered; its memory is kept
  bool draining_ = false;
  bool drained_ = false;  // the grace is over
  bool stopping_ = false;
};

extern const Kind kKind;

}  // namespace relay::plex

// SPDX-License-Identifier: Apache-2.0
// The plex's keys, and its configuration once they are read.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "kinds/plex/route_keys.h"
#include "lib/status.h"
#include "net/addr.h"
#include "net/dial.h"
#include "ops/config.h"
#include "ops/tls_keys.h"
#include "wire/framing.h"

namespace relay::plex {

enum class Balance : uint8_t { kSticky, kRoundRobin, kLeastClients, kHash };
std::string_view name_of(Balance balance);

// One `upstream`: a place, or a name that stands for as many as the DNS says.
struct Source {
  Endpoint place;
  std::string text;  // "grpc://127.0.0.1:45888"
  TlsConfig tls;     // with grpcs://
};

// One `listen`: a place, and what holds for those who come there. Its parameters have that, or else the relay's keys.
struct Entrance {
  std::string text;  // without parameters, as written; UTF-8: upstreams are told, and a message with anything else ends their streams
  Endpoint place;
  Framing framing;
  uint64_t clients = 0;  // 0: no limit of its own
  uint64_t clients_per_address = 0;  // as the rates, 0: no limit
  bool own_addresses = false;        // that is of this one alone
  uint32_t accept_rate = 0;
  uint32_t address_rate = 0;  // of one address, of those who come
  bool own_address_rate = false;  // that is of this place alone
  uint32_t byte_rate = 0;     // of one client
  uint32_t message_rate = 0;
};

// What stands around a message in an upstream's queue, at most: bytes.
constexpr uint64_t kBesideMessage = 1024;

struct PlexConfig {
  std::string name;
  std::vector<Entrance> entrances;
  std::vector<Source> sources;
  DialPlan dial;  // but for the target
  Balance balance = Balance::kSticky;
  std::string hash_label;  // with kHash: what says where a client goes; empty: its address
  uint64_t clients = 0;
  unsigned workers = 1;
  std::vector<Network> proxies;  // who says for whom it connects
  uint64_t upstream_queue = 0;
  uint64_t client_queue = 0;
  uint64_t broadcast_queue = 0;
  uint64_t ack_queue = 0;
  uint32_t delivery_limit = 0;  // 0: none
  uint64_t watch_queue = 0;
  uint64_t watchers = 0;
  uint32_t upstream_message = 0;
  bool pause_slow = true;
  bool refuse_alone = false;  // clients that find no upstream
  Delay wait_timeout{};
  Delay ready_timeout{};
  Delay ready_interval{};
  Delay live_timeout{};
  Delay live_interval{};
  Delay resolve_interval{};
  Delay idle_timeout{};
  Delay half_close_timeout{};
  Delay auth_timeout{};
  Delay proxy_timeout{};
  Delay active_time{};
  Delay drain_grace{};
  std::optional<Route> route;    // nothing: its clients are its own
  std::unique_ptr<TlsKeys> tls;  // nullptr: there is none on either side
};

// grpc://HOST:PORT, grpcs:// for TLS, HOST:PORT, unix:PATH. The Status goes on where the text stops.
Result<Source> parse_source(std::string_view text);
// What is wrong with an upstream that is where the relay itself listens, of which it would become a client; empty: it is somewhere else.
std::string fault_of_itself(const Endpoint& listens, const Source& source);
std::span<const Key> plex_keys();
std::span<const Key> entrance_keys();  // of these, what a place to listen may have as parameters
void plex_check(const Section& section, Faults& faults);
// REQUIRES, of these: no faults
std::string plex_title(const Section& section);
PlexConfig plex_config(const Section& section);

}  // namespace relay::plex

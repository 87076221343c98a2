// SPDX-License-Identifier: Apache-2.0
// The plex's keys, and its configuration once they are read.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

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

struct PlexConfig {
  std::string name;
  std::vector<Endpoint> listen;
  std::vector<std::string> listen_texts;  // the same as written
  std::vector<Source> sources;
  DialPlan dial;  // but for the target
  Balance balance = Balance::kSticky;
  Framing framing;
  uint64_t clients = 0;
  uint64_t clients_per_address = 0;  // 0: no limit
  std::vector<Network> proxies;      // who says for whom it connects
  uint64_t upstream_queue = 0;
  uint64_t client_queue = 0;
  uint64_t broadcast_queue = 0;
  uint64_t ack_queue = 0;
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
  std::unique_ptr<TlsKeys> tls;  // nullptr: there is none on either side
};

// grpc://HOST:PORT, grpcs:// for TLS, HOST:PORT, unix:PATH. The Status goes on where the text stops.
Result<Source> parse_source(std::string_view text);
std::span<const Key> plex_keys();
void plex_check(const Section& section, Faults& faults);
// REQUIRES, of these: no faults
std::string plex_title(const Section& section);
PlexConfig plex_config(const Section& section);

}  // namespace relay::plex

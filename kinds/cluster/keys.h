// SPDX-License-Identifier: Apache-2.0
// The cluster relay's keys, and its configuration once they are read.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "kinds/cluster/import.h"
#include "net/addr.h"
#include "net/dial.h"
#include "ops/config.h"
#include "ops/tls_keys.h"

namespace relay::cluster {

struct ClusterConfig {
  std::string name;
  std::vector<Endpoint> listen;          // ports filled in
  std::vector<Endpoint> gateway_listen;  // empty: gateways come to `listen` too
  std::vector<Network> gateways;
  bool gateways_given = false;  // else: loopback and wherever the target is
  std::vector<Network> clients;  // empty: anyone
  uint64_t pairs = 1;
  uint64_t queue_size = 0;
  uint64_t egress_queue_size = 0;
  std::string target;   // as the log calls it
  DialPlan dial;        // with import: the gateway's host, the port to be asked for
  // What most relays do not have is not in each of thousands.
  std::unique_ptr<ImportPlan> import;  // of a service that the gateway's API is asked for; nullptr: the target is dialled as it is
  std::unique_ptr<TlsKeys> tls;        // nullptr: there is none on either side, nor at the API
  Delay idle_timeout{};
  Delay half_close_timeout{};
  Delay wait_timeout{};

  bool asks_by_tls() const { return import != nullptr && import->api.host.tls; }
};

std::span<const Key> cluster_keys();
void cluster_check(const Section& section, Faults& faults);
// REQUIRES, of both: no faults
std::string cluster_title(const Section& section);
ClusterConfig cluster_config(const Section& section);

}  // namespace relay::cluster

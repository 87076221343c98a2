// SPDX-License-Identifier: Apache-2.0
// The Redis relay's keys, and its configuration once they are read. Where the smart-relayer of old had a key, it has its name.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "lib/status.h"
#include "net/addr.h"
#include "net/dial.h"
#include "ops/config.h"
#include "ops/server_url.h"
#include "ops/spool.h"
#include "ops/tls_keys.h"
#include "wire/pack.h"

namespace relay::redis {

struct RedisConfig {
  std::string name;
  std::vector<Endpoint> listen;
  ServerUrl server;
  std::string password_file;  // empty: the URL has the password, or there is none
  DialPlan dial;
  uint64_t clients = 0;
  uint64_t shared_connections = 0;
  uint64_t max_connections = 0;
  uint64_t max_idle = 0;
  uint64_t pipeline = 0;
  uint64_t min_idle = 0;
  Delay max_connected{};  // 0: for ever
  bool replicas = false;  // reads may go to them
  bool smart = false;
  bool early_exact = false;
  bool log_keys = true;
  std::vector<std::string> asyn_commands;
  std::vector<std::string> ignore_commands;
  PackRules pack;
  bool read_queued = false;
  uint64_t queue_size = 0;  // of what was answered early; 0: sync
  std::optional<Spool::Plan> spool;  // in sync mode only for what is in it
  Delay timeout{};
  Delay stall_timeout{};
  std::unique_ptr<TlsKeys> tls;  // nullptr: there is none on either side

  bool reads_files() const { return tls != nullptr || !password_file.empty(); }
};

std::span<const Key> redis_keys();
void redis_check(const Section& section, Faults& faults);
// REQUIRES, of both: no faults
std::string redis_title(const Section& section);
RedisConfig redis_config(const Section& section);
// Reads the password from its file, if it is in one, into `config.server`; blocks as that does. What is wrong, or nothing.
std::string read_password(RedisConfig& config);

}  // namespace relay::redis

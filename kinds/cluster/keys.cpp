// SPDX-License-Identifier: Apache-2.0
// The cluster relay's table of keys, the checks that need several keys, and reading them into ClusterConfig.
#include "kinds/cluster/keys.h"

#include <array>

#include "lib/text.h"
#include "ops/dial_keys.h"

namespace relay::cluster {
namespace {

constexpr int64_t kDay = 24 * 3600 * 1000;
constexpr int64_t kTerabyte = int64_t{1} << 40;

constexpr std::array kOwnKeys = {
    Key{.name = "name", .type = KeyType::kText, .metavar = "NAME", .fallback = "", .help = "what the log calls this relay (default: cluster-PORT)"},
    Key{.name = "port", .type = KeyType::kPort, .metavar = "PORT", .fallback = "",
        .help = "the port to listen on; 0 lets the kernel choose, and the log says which"},
    Key{.name = "target", .type = KeyType::kTarget, .metavar = "HOST:PORT", .fallback = "",
        .help = "the gateway to dial when a client comes and no gateway waits: an address, a name, _svc._tcp.name or unix:PATH; with "
                "TLS if tls:// stands before it",
        .required = true},
    Key{.name = "gateway-api", .type = KeyType::kText, .metavar = "URL", .fallback = "",
        .help = "the control API of a ClusterLink gateway, http:// or https://, to be asked where a target that is a bare service name is reached"},
    Key{.name = "listen", .type = KeyType::kListen, .metavar = "ADDR", .fallback = "",
        .help = "where to listen: an address, with a port or without, or unix:PATH; tls:// before it asks for TLS (default: all "
                "addresses, IPv4 and IPv6)",
        .repeatable = true},
    Key{.name = "gateway", .type = KeyType::kNetwork, .metavar = "NET", .fallback = "",
        .help = "who is a gateway: an address, a CIDR block or unix (default: loopback and the target's addresses)", .repeatable = true},
    Key{.name = "client", .type = KeyType::kNetwork, .metavar = "NET", .fallback = "",
        .help = "who may be a client: an address, a CIDR block or unix (default: anyone)", .repeatable = true},
    Key{.name = "gateway-port", .type = KeyType::kPort, .metavar = "PORT", .fallback = "",
        .help = "a port of their own for gateways; all who come to --port are then clients"},
    Key{.name = "gateway-listen", .type = KeyType::kListen, .metavar = "ADDR", .fallback = "",
        .help = "where gateways have their own port: as --listen, or unix:PATH (default: as --listen)", .repeatable = true},
    Key{.name = "pairs", .type = KeyType::kInteger, .metavar = "N", .fallback = "1",
        .help = "how many clients, and how many gateways, at a time; more are closed at once", .min = 1, .max = 1'000'000},
    Key{.name = "queue-size", .type = KeyType::kSize, .metavar = "SIZE", .fallback = "6400KiB",
        .help = "ingress queue: how much a gateway may send before its client comes; then its reading stops", .min = 1, .max = kTerabyte},
    Key{.name = "egress-queue-size", .type = KeyType::kSize, .metavar = "SIZE", .fallback = "6400KiB",
        .help = "egress queue: how much a client may send before its gateway is there", .min = 1, .max = kTerabyte},
    Key{.name = "idle-timeout", .type = KeyType::kDuration, .metavar = "TIME", .fallback = "0",
        .help = "ends a pair when no byte has moved for so long; 0 is never", .max = 365 * kDay},
    Key{.name = "half-close-timeout", .type = KeyType::kDuration, .metavar = "TIME", .fallback = "1m",
        .help = "ends a pair of which one side has finished when no byte has moved for so long; 0 is never", .max = 365 * kDay},
    Key{.name = "wait-timeout", .type = KeyType::kDuration, .metavar = "TIME", .fallback = "0",
        .help = "ends a gateway or client whose other side has not come for so long, and loses its bytes; 0 is never",
        .max = 365 * kDay},
    Key{.name = "nodelay", .type = KeyType::kBool, .metavar = "BOOL", .fallback = "true", .help = "TCP_NODELAY: send small pieces at once"},
};
constexpr std::array kKeys = join(kOwnKeys, kDialKeys, kTcpKeys, kTlsKeys);

std::vector<Endpoint> all_places(const ClusterConfig& config) {
  std::vector<Endpoint> places = config.listen;
  places.insert(places.end(), config.gateway_listen.begin(), config.gateway_listen.end());
  return places;
}

bool needs_port(const Endpoint& endpoint) { return endpoint.kind != Endpoint::Kind::kUnix && !endpoint.has_port; }

// --port for those that have none of their own.
std::vector<Endpoint> with_port(std::vector<Endpoint> endpoints, uint16_t port) {
  for (Endpoint& endpoint : endpoints)
    if (needs_port(endpoint)) {
      endpoint.addr.port = endpoint.port = port;
      endpoint.has_port = true;
    }
  return endpoints;
}

Endpoint anywhere() {
  Endpoint endpoint;
  endpoint.addr.family = Addr::Family::kV6;
  endpoint.anywhere = true;
  return endpoint;
}


// The relay would dial itself, take its own connection for a gateway's, and pair the client with nobody.
bool dials_itself(const Endpoint& listen, const Endpoint& target) {
  if (listen.kind == Endpoint::Kind::kUnix || target.kind == Endpoint::Kind::kUnix)
    return listen.kind == target.kind && listen.host == target.host;
  if (target.kind != Endpoint::Kind::kAddr || listen.port == 0 || listen.port != target.port) return false;
  return listen.addr.same_host(target.addr) || (listen.addr.is_any() && (target.addr.is_loopback() || target.addr.is_any()));
}

// For the checks of TLS: what is dialled that needs it.
const Endpoint& dialled_by_tls(const ClusterConfig& config) {
  return config.dial.target.tls || !config.asks_by_tls() ? config.dial.target : config.import->api.host;
}

// A bare name: a service that the gateway knows, or else a host at which the port is the relay's own.
void find_service(const Section& section, uint16_t own_port, ClusterConfig& config) {
  Endpoint& target = config.dial.target;
  const bool tls = target.tls;
  if (!section.has("gateway-api")) {
    target.port = own_port;
    target.has_port = own_port != 0;
    if (target.has_port) config.target = target.text();
    return;
  }
  config.import = std::make_unique<ImportPlan>();
  ImportPlan& import = *config.import;
  import.service = target.host;
  import.api = *GatewayApi::parse(section.text("gateway-api"));
  import.dial = config.dial;
  import.dial.target = target = import.api.host;
  target.tls = tls;
  if (import.api.host.tls) import.tls = read_tls(section, {}, import.api.host).target;
}

// Whether the places to listen have their ports.
void check_ports(const Section& section, bool port_used, Faults& faults) {
  const bool port_missing = !section.has("port") && section.where("port") == section.origin();  // a bad one had its fault
  if (port_used && port_missing)
    faults.push_back({section.origin(), "no port to listen on; give one, for example port 9000, or listen ADDR:PORT or unix:PATH"});

  bool gateway_port_used = false;
  for (const Endpoint& endpoint : section.endpoints("gateway-listen")) gateway_port_used = gateway_port_used || needs_port(endpoint);
  if (gateway_port_used && !section.has("gateway-port"))
    faults.push_back({section.where("gateway-listen"), "no port for the gateways; give gateway-port, or write ADDR:PORT"});

  if (section.has("gateway-port") && section.integer("gateway-port") != 0 && section.has("port") &&
      section.integer("gateway-port") == section.integer("port") && !section.has("gateway-listen"))
    faults.push_back({section.where("gateway-port"), "the same as port; leave it out to tell gateways by their address, or choose another"});
}

}  // namespace

std::span<const Key> cluster_keys() { return kKeys; }

void cluster_check(const Section& section, Faults& faults) {
  const std::vector<Endpoint> listen = section.endpoints("listen");
  bool port_used = listen.empty();
  for (const Endpoint& endpoint : listen) port_used = port_used || needs_port(endpoint);
  check_ports(section, port_used, faults);
  check_dial(section, faults);

  if (section.has("gateway-api"))
    if (const Result<GatewayApi> api = GatewayApi::parse(section.text("gateway-api")); !api.ok()) {
      const std::string_view url = section.text("gateway-api");
      const bool secret = url.find('@') != std::string_view::npos;  // not for a log
      faults.push_back({section.where("gateway-api"), (secret ? "the URL" : quote(url)) + ' ' + api.status().reason() + "; write for example http://10.0.0.5:8080"});
      return;
    }
  if (!section.has("target") || (port_used && !section.has("port"))) return;
  const ClusterConfig config = cluster_config(section);
  if (config.dial.target.kind == Endpoint::Kind::kName && config.dial.target.port == 0) {
    faults.push_back({section.where("target"), quote(config.target) + " has no port; write " + config.target + ":PORT, or give gateway-api"});
    return;
  }
  for (const auto* places : {&config.listen, &config.gateway_listen})
    for (const Endpoint& endpoint : *places)
      if (config.import == nullptr && dials_itself(endpoint, config.dial.target))
        faults.push_back({section.where("target"), "the relay itself listens on " + config.dial.target.text() + "; give the gateway's own address"});
  check_tls(section, all_places(config), dialled_by_tls(config), faults);
}

std::string cluster_title(const Section& section) {
  if (section.has("name")) return std::string(section.text("name"));
  return "cluster-" + (section.has("port") ? std::to_string(section.integer("port")) : section.endpoints("listen").front().text());
}

ClusterConfig cluster_config(const Section& section) {
  ClusterConfig config;
  const auto port = section.has("port") ? static_cast<uint16_t>(section.integer("port")) : uint16_t{0};
  config.listen = section.endpoints("listen");
  if (config.listen.empty()) config.listen.push_back(anywhere());
  if (section.has("gateway-port") || section.has("gateway-listen")) {
    config.gateway_listen = section.endpoints("gateway-listen");
    if (config.gateway_listen.empty())
      for (const Endpoint& endpoint : config.listen)
        if (endpoint.kind == Endpoint::Kind::kAddr) {
          config.gateway_listen.push_back(endpoint);
          config.gateway_listen.back().has_port = false;
        }
    if (config.gateway_listen.empty()) config.gateway_listen.push_back(anywhere());
    const auto own = section.has("gateway-port") ? static_cast<uint16_t>(section.integer("gateway-port")) : uint16_t{0};
    config.gateway_listen = with_port(std::move(config.gateway_listen), own);
  }
  config.listen = with_port(std::move(config.listen), port);

  config.name = cluster_title(section);
  config.gateways = section.networks("gateway");
  config.gateways_given = section.has("gateway");
  config.clients = section.networks("client");
  config.pairs = static_cast<uint64_t>(section.integer("pairs"));
  config.queue_size = section.size("queue-size");
  config.egress_queue_size = section.size("egress-queue-size");
  config.idle_timeout = section.duration("idle-timeout");
  config.half_close_timeout = section.duration("half-close-timeout");
  config.wait_timeout = section.duration("wait-timeout");

  DialPlan& dial = config.dial;
  const std::vector<Endpoint> targets = section.endpoints("target");
  if (!targets.empty()) dial.target = targets.front();
  read_dial(section, dial);
  dial.options.nodelay = section.flag("nodelay");
  config.target = dial.target.text();
  if (dial.target.kind == Endpoint::Kind::kName && !dial.target.has_port) find_service(section, port, config);
  TlsKeys tls = read_tls(section, all_places(config), dial.target);
  if (tls.listens || tls.dials || config.asks_by_tls()) config.tls = std::make_unique<TlsKeys>(std::move(tls));
  return config;
}

}  // namespace relay::cluster

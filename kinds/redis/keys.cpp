// SPDX-License-Identifier: Apache-2.0
// The Redis relay's table of keys, and reading them into RedisConfig.
#include "kinds/redis/keys.h"

#include <array>
#include <cstring>
#include <utility>

#include "kinds/redis/early.h"
#include "lib/text.h"
#include "net/sys.h"
#include "ops/dial_keys.h"
#include "ops/spool_keys.h"

namespace relay::redis {
namespace {

constexpr int64_t kDay = 24 * 3600 * 1000;
constexpr size_t kPasswordMost = 4096;

constexpr std::array kOwnKeys = {
    Key{.name = "name", .type = KeyType::kText, .metavar = "NAME", .fallback = "", .help = "what the log calls this relay (default: redis-PORT)"},
    Key{.name = "protocol", .type = KeyType::kChoice, .metavar = "NAME", .fallback = "redis",
        .help = "what the server is, as files of old say it: redis-cluster is a cluster of which url names some nodes",
        .choices = "redis|redis2|redis-cluster|redis-plus"},
    Key{.name = "listen", .type = KeyType::kListen, .metavar = "ADDR", .fallback = "",
        .help = "where clients come: an address with a port, :PORT for all addresses, or unix:PATH; tls:// before it asks for TLS",
        .required = true, .repeatable = true, .anywhere = true},
    Key{.name = "url", .type = KeyType::kText, .metavar = "URL", .fallback = "",
        .help = "the server: redis://[[USER]:PASSWORD@]HOST[:PORT][/DB], rediss:// for TLS, or unix:PATH", .required = true, .secret = true},
    Key{.name = "password-file", .type = KeyType::kText, .metavar = "FILE", .fallback = "",
        .help = "a file with the password for the server, which then is not in the URL"},
    Key{.name = "mode", .type = KeyType::kChoice, .metavar = "MODE", .fallback = "sync",
        .help = "how commands are answered: with sync each waits for the server; with smart some are answered at once, and done in the background", .choices = "sync|smart"},
    Key{.name = "clients", .type = KeyType::kInteger, .metavar = "N", .fallback = "10000", .help = "how many clients at a time; more are closed at once",
        .min = 1, .max = 1'000'000},
    Key{.name = "pipeline", .type = KeyType::kInteger, .metavar = "N", .fallback = "1000",
        .help = "how many commands of one client are under way at a time; then its reading stops", .min = 1, .max = 1'000'000},
    Key{.name = "maxConnections", .type = KeyType::kInteger, .metavar = "N", .fallback = "64",
        .help = "how many connections to the server there are at most; who needs one of its own then waits", .min = 2, .max = 100'000},
    Key{.name = "maxIdleConnections", .type = KeyType::kInteger, .metavar = "N", .fallback = "8",
        .help = "how many connections that nobody needs are kept for the next who needs one of its own", .min = 0, .max = 100'000},
    Key{.name = "shared-connections", .type = KeyType::kInteger, .metavar = "N", .fallback = "2",
        .help = "over how many connections the commands of all clients go that need none of their own", .min = 1, .max = 64},
    Key{.name = "timeout", .type = KeyType::kDuration, .metavar = "TIME", .fallback = "5s",
        .help = "how long commands wait for a server that cannot be reached, or for a connection; then they get an error", .min = 1, .max = kDay,
        .seconds = true},
    Key{.name = "stall-timeout", .type = KeyType::kDuration, .metavar = "TIME", .fallback = "1s",
        .help = "ends a client that takes none of its replies for so long while others wait for theirs behind it", .min = 1, .max = kDay},
    Key{.name = "minIdleConnections", .type = KeyType::kInteger, .metavar = "N", .fallback = "0",
        .help = "how many connections are held ready for who needs one of its own", .min = 0, .max = 100'000},
    Key{.name = "maxConnectedSecs", .type = KeyType::kDuration, .metavar = "TIME", .fallback = "0",
        .help = "how old a connection to the server becomes, before another takes its place; 0: as old as it likes", .min = 0, .max = 365 * kDay,
        .seconds = true},
    Key{.name = "early", .type = KeyType::kChoice, .metavar = "WHAT", .fallback = "usual",
        .help = "smart: what is answered at once; exact: only what can have no other answer", .choices = "usual|exact"},
    Key{.name = "asynCommands", .type = KeyType::kText, .metavar = "NAMES", .fallback = "",
        .help = "smart: more commands that are answered at once, by name, with spaces between", .repeatable = true, .words = true},
    Key{.name = "ignoreCommands", .type = KeyType::kText, .metavar = "NAMES", .fallback = "",
        .help = "commands that are answered with OK and thrown away", .repeatable = true, .words = true},
    Key{.name = "replica-reads", .type = KeyType::kBool, .metavar = "BOOL", .fallback = "false",
        .help = "cluster: commands that only read go to replicas, which may be behind"},
    Key{.name = "compress", .type = KeyType::kBool, .metavar = "BOOL", .fallback = "false",
        .help = "pack values of at least 256 bytes with snappy on their way to the server"},
    Key{.name = "uncompress", .type = KeyType::kBool, .metavar = "BOOL", .fallback = "",
        .help = "unpack what is so packed on its way back (default: as compress says)"},
    Key{.name = "gzip", .type = KeyType::kChoice, .metavar = "LEVEL", .fallback = "0",
        .help = "pack them with gzip instead, at this level from 1, fast, to 9, small; true: 6; 0: not", .choices = "0|1|2|3|4|5|6|7|8|9|true|false"},
    Key{.name = "gunzip", .type = KeyType::kBool, .metavar = "BOOL", .fallback = "",
        .help = "unpack gzip on its way back (default: if gzip packs)"},
    Key{.name = "compress-limit", .type = KeyType::kSize, .metavar = "SIZE", .fallback = "4MiB",
        .help = "values that are longer than this are neither packed nor unpacked", .min = 1024, .max = 512 * 1024 * 1024},
    Key{.name = "readQueued", .type = KeyType::kBool, .metavar = "BOOL", .fallback = "false",
        .help = "smart: a GET of what was SET last and still waits for the server is answered from there"},
    Key{.name = "queue-size", .type = KeyType::kSize, .metavar = "SIZE", .fallback = "64MiB",
        .help = "smart: how much may wait for the server; when it is full, clients wait", .min = 64 * 1024, .max = int64_t{16} << 30},
    Key{.name = "log-keys", .type = KeyType::kBool, .metavar = "BOOL", .fallback = "true",
        .help = "smart: whether the log may show the keys of commands that the server has refused"},
};
constexpr std::array kKeys = join(kOwnKeys, kSpoolKeys, kDialKeys, kTcpKeys, kTlsKeys);

std::vector<std::string> words_of(const Section& section, std::string_view key) {
  const std::vector<std::string_view> words = section.items(*section.find(key));
  return {words.begin(), words.end()};
}

PackRules pack_rules(const Section& section) {
  PackRules rules;
  rules.snappy = section.flag("compress");
  rules.unsnappy = section.has("uncompress") ? section.flag("uncompress") : rules.snappy;
  const std::string_view level = section.text("gzip");
  rules.gzip = level == "true" ? 6 : level == "false" ? 0 : level[0] - '0';
  rules.gunzip = section.has("gunzip") ? section.flag("gunzip") : rules.gzip != 0;
  rules.most = section.size("compress-limit");
  return rules;
}

// How many connections clients share: of few there are, one is left for who needs one of its own.
uint64_t shared_connections(const Section& section) {
  const auto shared = static_cast<uint64_t>(section.integer("shared-connections"));
  const auto all = static_cast<uint64_t>(section.integer("maxConnections"));
  return section.has("shared-connections") ? shared : std::min(shared, all - 1);
}

bool is_cluster(const Section& section, const ServerUrl& url) {
  const std::string_view protocol = section.text("protocol");
  return url.cluster || protocol == "redis-cluster" || protocol == "redis-plus";
}

}  // namespace

std::span<const Key> redis_keys() { return kKeys; }

std::string read_password(RedisConfig& config) {
  if (config.password_file.empty()) return {};
  std::string text;
  const int error = sys::read_file(config.password_file.c_str(), kPasswordMost, text, false);
  while (text.ends_with('\n') || text.ends_with('\r')) text.pop_back();
  const std::string file = quote(config.password_file);
  if (error < 0) return "cannot read " + file + ": " + std::strerror(-error);
  if (text.empty()) return file + " is empty; put the password into it";
  if (text.find_first_of(std::string_view("\r\n\0", 3)) != std::string::npos) return file + " has more in it than a password on one line";
  config.server.password = std::move(text);
  return {};
}

namespace {

// Who we are to the server: of the URL and the file one has the password.
void check_login(const Section& section, const ServerUrl& url, Faults& faults) {
  if (!section.has("password-file")) {
    if (!url.user.empty() && url.password.empty())
      faults.push_back({section.where("url"), "the URL has a user and no password; write USER:PASSWORD@ or :PASSWORD@, or give password-file"});
    return;
  }
  if (!url.password.empty()) {
    faults.push_back({section.where("password-file"), "the URL has a password already; keep one of the two"});
    return;
  }
  RedisConfig config;
  config.password_file = section.text("password-file");
  if (std::string what = read_password(config); !what.empty()) faults.push_back({section.where("password-file"), std::move(what)});
}

// What the servers are to one another, and to the places where we listen.
void check_servers(const Section& section, const ServerUrl& url, const std::vector<Endpoint>& listen, Faults& faults) {
  const auto fault = [&](std::string what) { faults.push_back({section.where("url"), std::move(what)}); };
  if (is_cluster(section, url)) {
    if (url.place.kind == Endpoint::Kind::kUnix) fault("a cluster is not reached by a Unix socket; name some of its nodes, redis-cluster://HOST:PORT,HOST:PORT");
    if (url.db != "0") fault("a cluster has no other database than 0; take /" + url.db + " out of the URL");
  } else if (!url.others.empty()) {
    fault("the URL names several servers; if they are a cluster write redis-cluster://HOST:PORT,HOST:PORT");
  }
  std::vector<Endpoint> servers = url.others;
  servers.push_back(url.place);
  for (const Endpoint& place : listen)
    for (const Endpoint& server : servers) {
      const bool path = place.kind == Endpoint::Kind::kUnix && server.kind == place.kind && place.host == server.host;
      const bool port = place.kind == Endpoint::Kind::kAddr && server.kind == place.kind && place.port != 0 && place.port == server.port &&
                        (place.addr.same_host(server.addr) || (place.addr.is_any() && server.addr.is_loopback()));
      if (path || port) fault("the relay itself listens on " + server.text() + "; give the server's own address");
    }
}

}  // namespace

void redis_check(const Section& section, Faults& faults) {
  check_dial(section, faults);
  if (shared_connections(section) >= static_cast<uint64_t>(section.integer("maxConnections")))
    faults.push_back({section.where("shared-connections"), "leaves none of maxConnections for clients that need one of their own"});
  const std::vector<Endpoint> listen = section.endpoints("listen");
  for (const Endpoint& place : listen)
    if (place.kind != Endpoint::Kind::kUnix && !place.has_port) faults.push_back({section.where("listen"), place.text() + " has no port; write for example 127.0.0.1:6389"});
  if (section.has("spool") && section.flag("readQueued"))
    faults.push_back({section.where("readQueued"), "does not go together with spool: what is in the file is not looked through; take one of the two out"});
  EarlyTable table;
  if (const std::string why = table.configure(words_of(section, "asynCommands"), section.text("early") == "exact"); !why.empty())
    faults.push_back({section.where("asynCommands"), why});
  if (!section.has("url")) return;
  const Result<ServerUrl> url = ServerUrl::parse(section.text("url"));
  if (!url.ok()) {
    faults.push_back({section.where("url"), std::string("the URL ") + url.status().reason() + "; for example redis://10.0.0.9:6379"});
    return;
  }
  check_servers(section, *url, listen, faults);
  check_login(section, *url, faults);
  check_tls(section, listen, url->place, faults);
}

std::string redis_title(const Section& section) {
  if (section.has("name")) return std::string(section.text("name"));
  const Endpoint first = section.endpoints("listen").front();
  return "redis-" + (first.kind == Endpoint::Kind::kUnix ? first.text() : std::to_string(first.port));
}

RedisConfig redis_config(const Section& section) {
  RedisConfig config;
  config.name = redis_title(section);
  config.listen = section.endpoints("listen");
  config.server = *ServerUrl::parse(section.text("url"));
  config.server.cluster = is_cluster(section, config.server);
  config.password_file = section.text("password-file");
  config.clients = static_cast<uint64_t>(section.integer("clients"));
  config.pipeline = static_cast<uint64_t>(section.integer("pipeline"));
  config.max_connections = static_cast<uint64_t>(section.integer("maxConnections"));
  config.max_idle = static_cast<uint64_t>(section.integer("maxIdleConnections"));
  config.shared_connections = shared_connections(section);
  config.timeout = section.duration("timeout");
  config.stall_timeout = section.duration("stall-timeout");
  config.replicas = section.flag("replica-reads");
  config.smart = section.text("mode") == "smart";
  config.early_exact = section.text("early") == "exact";
  config.asyn_commands = words_of(section, "asynCommands");
  config.ignore_commands = words_of(section, "ignoreCommands");
  config.spool = read_spool(section, config.name);
  config.queue_size = config.smart || config.spool ? section.size("queue-size") : 0;
  config.log_keys = section.flag("log-keys");
  config.read_queued = config.smart && section.flag("readQueued");
  config.pack = pack_rules(section);
  config.min_idle = static_cast<uint64_t>(section.integer("minIdleConnections"));
  config.max_connected = section.duration("maxConnectedSecs");
  config.dial.target = config.server.place;
  read_dial(section, config.dial);
  TlsKeys tls = read_tls(section, config.listen, config.server.place);
  if (tls.listens || tls.dials) config.tls = std::make_unique<TlsKeys>(std::move(tls));
  return config;
}

}  // namespace relay::redis

// SPDX-License-Identifier: Apache-2.0
// The plex's table of keys, its URLs of upstreams, and reading them into PlexConfig.
#include "kinds/plex/keys.h"

#include <array>
#include <optional>
#include <utility>

#include "lib/text.h"

namespace relay::plex {
namespace {

constexpr int64_t kDay = 24 * 3600 * 1000;
constexpr int64_t kMegabyte = 1024 * 1024;

constexpr std::array kOwnKeys = {
    Key{.name = "name", .type = KeyType::kText, .metavar = "NAME", .fallback = "", .help = "what the log calls this relay (default: plex-PORT)"},
    Key{.name = "listen", .type = KeyType::kListen, .metavar = "ADDR", .fallback = "",
        .help = "where clients come: an address with a port, :PORT for all addresses, or unix:PATH; tls:// before it asks for TLS",
        .required = true, .repeatable = true, .anywhere = true},
    Key{.name = "upstream", .type = KeyType::kText, .metavar = "URL", .fallback = "",
        .help = "a gRPC server of proto/upstream.proto: grpc://HOST:PORT, grpcs:// for TLS, unix:PATH; a name stands for all its addresses",
        .required = true, .repeatable = true},
    Key{.name = "balance", .type = KeyType::kChoice, .metavar = "HOW", .fallback = "sticky",
        .help = "who gets what: with sticky, least-clients and hash (of its address) a client stays with its upstream; with round-robin each message goes to the next",
        .choices = "sticky|round-robin|least-clients|hash"},
    Key{.name = "framing", .type = KeyType::kChoice, .metavar = "HOW", .fallback = "raw",
        .help = "what a message of a client is: raw, what has come; line; up to a delimiter; or with its length before it",
        .choices = "raw|line|delimiter|length-prefix"},
    Key{.name = "delimiter", .type = KeyType::kText, .metavar = "TEXT", .fallback = "",
        .help = "framing delimiter: what a message ends with, written with \\r, \\n, \\t, \\0, \\\\ and \\xHH where need be"},
    Key{.name = "length-width", .type = KeyType::kInteger, .metavar = "N", .fallback = "4", .help = "framing length-prefix: how many bytes the length has", .min = 1,
        .max = 8},
    Key{.name = "length-order", .type = KeyType::kChoice, .metavar = "ORDER", .fallback = "big", .help = "framing length-prefix: which of them comes first",
        .choices = "big|little"},
    Key{.name = "length-inclusive", .type = KeyType::kBool, .metavar = "BOOL", .fallback = "false",
        .help = "framing length-prefix: whether the length counts its own bytes, too"},
    Key{.name = "max-message", .type = KeyType::kSize, .metavar = "SIZE", .fallback = "64KiB",
        .help = "the most bytes of one message of a client; raw is cut there, with any other framing the client is ended", .min = 1, .max = kMegabyte},
    Key{.name = "max-upstream-message", .type = KeyType::kSize, .metavar = "SIZE", .fallback = "4MiB",
        .help = "the most bytes of one message of an upstream; a longer one ends its stream", .min = 1024, .max = 256 * kMegabyte},
    Key{.name = "clients", .type = KeyType::kInteger, .metavar = "N", .fallback = "10000", .help = "how many clients at a time; more are closed at once", .min = 1,
        .max = 10'000'000},
    Key{.name = "clients-per-address", .type = KeyType::kInteger, .metavar = "N", .fallback = "0",
        .help = "how many clients of one address at a time; more are closed at once; 0: no limit", .max = 10'000'000},
    Key{.name = "proxy-protocol", .type = KeyType::kNetwork, .metavar = "NET", .fallback = "",
        .help = "who says first, by the PROXY protocol, for whom it connects: an address, a CIDR block or unix (default: nobody)", .repeatable = true},
    Key{.name = "proxy-timeout", .type = KeyType::kDuration, .metavar = "TIME", .fallback = "5s", .help = "how long such a one may take to say it", .min = 1, .max = kDay},
    Key{.name = "upstream-queue", .type = KeyType::kSize, .metavar = "SIZE", .fallback = "256KiB",
        .help = "how much may wait for one upstream; when it is full the reading of its clients stops", .min = 16 * 1024, .max = 1024 * kMegabyte},
    Key{.name = "client-queue", .type = KeyType::kSize, .metavar = "SIZE", .fallback = "1MiB",
        .help = "how much may wait for one client; when it is full the client is ended", .min = 1024, .max = 1024 * kMegabyte},
    Key{.name = "slow-client", .type = KeyType::kChoice, .metavar = "WHAT", .fallback = "pause",
        .help = "a client of whose queue more than a quarter is in use: pause, it is not read until the queue is empty; disconnect, it is read on", .choices = "pause|disconnect"},
    Key{.name = "broadcast-queue", .type = KeyType::kSize, .metavar = "SIZE", .fallback = "16MiB",
        .help = "how much may wait to be sent to many clients; what does not fit is dropped, and counted", .min = 1024, .max = 1024 * kMegabyte},
    Key{.name = "ack-queue", .type = KeyType::kSize, .metavar = "SIZE", .fallback = "64KiB",
        .help = "how much of one client may wait for an upstream's acknowledgement; then its reading stops", .min = 1, .max = 1024 * kMegabyte},
    Key{.name = "no-upstream", .type = KeyType::kChoice, .metavar = "WHAT", .fallback = "wait",
        .help = "clients that come while there is no upstream: they wait, unread, or are closed at once", .choices = "wait|refuse"},
    Key{.name = "wait-timeout", .type = KeyType::kDuration, .metavar = "TIME", .fallback = "0",
        .help = "ends a client that has waited so long for an upstream; 0 is never", .max = 365 * kDay},
    Key{.name = "ready-timeout", .type = KeyType::kDuration, .metavar = "TIME", .fallback = "5s", .help = "how long an upstream may take to say whether it is ready",
        .min = 1, .max = kDay},
    Key{.name = "ready-interval", .type = KeyType::kDuration, .metavar = "TIME", .fallback = "1s", .help = "how long until one that is not ready is asked again",
        .min = 1, .max = kDay},
    Key{.name = "live-interval", .type = KeyType::kDuration, .metavar = "TIME", .fallback = "10s", .help = "how often an upstream is asked whether it lives; 0 is never",
        .max = kDay},
    Key{.name = "live-timeout", .type = KeyType::kDuration, .metavar = "TIME", .fallback = "30s",
        .help = "one that has not said so for so long is lost, and dialled again", .min = 1, .max = kDay},
    Key{.name = "resolve-interval", .type = KeyType::kDuration, .metavar = "TIME", .fallback = "30s",
        .help = "how often the names of upstreams are looked up anew", .min = 100, .max = kDay},
    Key{.name = "connect-timeout", .type = KeyType::kDuration, .metavar = "TIME", .fallback = "5s", .help = "dialling: the most to wait for one address", .min = 1,
        .max = kDay},
    Key{.name = "retry-min", .type = KeyType::kDuration, .metavar = "TIME", .fallback = "100ms",
        .help = "dialling: the first pause after an upstream has failed; it doubles each time", .min = 1, .max = kDay},
    Key{.name = "retry-max", .type = KeyType::kDuration, .metavar = "TIME", .fallback = "5s",
        .help = "dialling: the longest pause; each is shortened at random by up to half", .min = 1, .max = kDay},
    Key{.name = "idle-timeout", .type = KeyType::kDuration, .metavar = "TIME", .fallback = "0",
        .help = "ends a client with which no byte has been exchanged for so long; 0 is never", .max = 365 * kDay},
    Key{.name = "half-close-timeout", .type = KeyType::kDuration, .metavar = "TIME", .fallback = "5s",
        .help = "ends a client that sends nothing more when nothing was sent to it for so long; 0 is never", .max = 365 * kDay},
    Key{.name = "auth-timeout", .type = KeyType::kDuration, .metavar = "TIME", .fallback = "10s",
        .help = "ends a client that an upstream with FEATURE_AUTH has neither accepted nor rejected for so long", .min = 1, .max = kDay},
    Key{.name = "active-time", .type = KeyType::kDuration, .metavar = "TIME", .fallback = "1m",
        .help = "who is active, for a broadcast: a client that has sent something within this time", .min = 1, .max = 200 * kDay},
    Key{.name = "drain-grace", .type = KeyType::kDuration, .metavar = "TIME", .fallback = "0",
        .help = "how long clients are served on when the relay is told to end, before they are ended", .max = kDay},
};
constexpr std::array kKeys = join(kOwnKeys, kTlsKeys);

Status bad(const char* why) { return {Code::kInvalid, why}; }

int hex(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  const char low = static_cast<char>(c | 0x20);
  return low >= 'a' && low <= 'f' ? low - 'a' + 10 : -1;
}

// "\r\n" as it is written in a configuration; nothing: a bad escape.
std::optional<std::string> unescape(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\\') {
      out += text[i];
      continue;
    }
    if (++i == text.size()) return std::nullopt;
    constexpr std::string_view kNames = "rnt0\\";
    constexpr std::string_view kMeant("\r\n\t\0\\", 5);
    if (const size_t at = kNames.find(text[i]); at != std::string_view::npos) {
      out += kMeant[at];
    } else if (text[i] == 'x' && i + 2 < text.size() && hex(text[i + 1]) >= 0 && hex(text[i + 2]) >= 0) {
      out += static_cast<char>(hex(text[i + 1]) * 16 + hex(text[i + 2]));
      i += 2;
    } else {
      return std::nullopt;
    }
  }
  return out;
}

Framing read_framing(const Section& section) {
  Framing framing;
  const std::string_view kind = section.text("framing");
  framing.kind = kind == "line" ? Framing::Kind::kLine : kind == "delimiter" ? Framing::Kind::kDelimiter : kind == "length-prefix" ? Framing::Kind::kLengthPrefix
                                                                                                                                 : Framing::Kind::kRaw;
  framing.most = section.size("max-message");
  framing.delimiter = unescape(section.text("delimiter")).value_or("");
  framing.width = static_cast<uint8_t>(section.integer("length-width"));
  framing.little = section.text("length-order") == "little";
  framing.inclusive = section.flag("length-inclusive");
  return framing;
}

void check_framing(const Section& section, Faults& faults) {
  const std::string_view kind = section.text("framing");
  const auto fault = [&](std::string_view key, std::string what) { faults.push_back({section.where(key), std::move(what)}); };
  if (section.has("delimiter")) {
    const std::optional<std::string> delimiter = unescape(section.text("delimiter"));
    if (kind != "delimiter") fault("delimiter", "is for framing = \"delimiter\"; take one of them out, or say so");
    else if (!delimiter) fault("delimiter", "has a bad escape; write for example \\r\\n or \\x00");
    else if (delimiter->size() > section.size("max-message")) fault("delimiter", "is longer than max-message");
  } else if (kind == "delimiter") {
    fault("framing", "needs a delimiter; give one, for example delimiter \"\\r\\n\"");
  }
  for (const std::string_view key : {"length-width", "length-order", "length-inclusive"})
    if (section.has(key) && kind != "length-prefix" && section.text(key) != section.find(key)->fallback) fault(key, "is for framing = \"length-prefix\"; take one of them out, or say so");
  if (kind == "length-prefix" && section.size("max-message") <= static_cast<uint64_t>(section.integer("length-width")))
    fault("max-message", "has no room for more than the length");
}

Balance parse_balance(std::string_view text) {
  for (const Balance balance : {Balance::kSticky, Balance::kRoundRobin, Balance::kLeastClients, Balance::kHash})
    if (name_of(balance) == text) return balance;
  return Balance::kSticky;
}

std::vector<Source> read_sources(const Section& section) {
  std::vector<Source> sources;
  for (const std::string_view text : section.items(*section.find("upstream"))) {
    Result<Source> source = parse_source(text);
    if (!source.ok()) continue;
    if (source->place.tls) {
      source->tls = read_tls(section, {}, source->place).target;
      source->tls.alpn = "h2";
    }
    sources.push_back(std::move(*source));
  }
  return sources;
}

// The one whose TLS is checked for all: the keys are the same for each.
Endpoint dialled_by_tls(const std::vector<Source>& sources) {
  for (const Source& source : sources)
    if (source.place.tls) return source.place;
  return sources.empty() ? Endpoint{} : sources.front().place;
}

void check_itself(const Section& section, const std::vector<Source>& sources, Faults& faults) {
  for (const Endpoint& place : section.endpoints("listen"))
    for (const Source& source : sources) {
      const bool path = place.kind == Endpoint::Kind::kUnix && source.place.kind == place.kind && place.host == source.place.host;
      const bool port = place.kind == Endpoint::Kind::kAddr && source.place.kind == place.kind && place.port != 0 && place.port == source.place.port &&
                        (place.addr.same_host(source.place.addr) || (place.addr.is_any() && source.place.addr.is_loopback()));
      if (path || port) faults.push_back({section.where("upstream"), "the relay itself listens on " + source.place.text() + "; give the upstream's own address"});
    }
}

}  // namespace

Result<Source> parse_source(std::string_view text) {
  Source source;
  source.text = text;
  bool tls = false;
  if (const size_t end = text.find("://"); end != std::string_view::npos) {
    const std::string_view scheme = text.substr(0, end);
    tls = scheme == "grpcs";
    if (!tls && scheme != "grpc") return bad("has a scheme that is neither grpc:// nor grpcs://");
    text.remove_prefix(end + 3);
    if (text.ends_with('/')) text.remove_suffix(1);
  }
  const Result<Endpoint> place = Endpoint::parse_target((tls ? "tls://" : "") + std::string(text));
  if (!place.ok()) return place.status();
  if (place->kind == Endpoint::Kind::kName && !place->has_port) return bad("has no port");
  source.place = *place;
  return source;
}

std::string_view name_of(Balance balance) {
  switch (balance) {
    case Balance::kSticky: return "sticky";
    case Balance::kRoundRobin: return "round-robin";
    case Balance::kLeastClients: return "least-clients";
    case Balance::kHash: return "hash";
  }
  return {};
}

std::span<const Key> plex_keys() { return kKeys; }

void plex_check(const Section& section, Faults& faults) {
  if (section.duration("retry-min") > section.duration("retry-max"))
    faults.push_back({section.where(section.has("retry-min") ? "retry-min" : "retry-max"), "retry-min is longer than retry-max"});
  if (section.duration("live-interval") >= section.duration("live-timeout"))
    faults.push_back({section.where(section.has("live-interval") ? "live-interval" : "live-timeout"), "live-interval is not shorter than live-timeout"});
  if (section.size("upstream-queue") < section.size("max-message") + 1024)
    faults.push_back({section.where(section.has("max-message") ? "max-message" : "upstream-queue"), "a message of max-message does not fit into upstream-queue"});
  for (const Endpoint& place : section.endpoints("listen"))
    if (place.kind != Endpoint::Kind::kUnix && !place.has_port) faults.push_back({section.where("listen"), place.text() + " has no port; write for example 127.0.0.1:7999"});
  check_framing(section, faults);
  for (const Endpoint& place : section.endpoints("listen"))
    if (place.tls && section.has("proxy-protocol")) faults.push_back({section.where("proxy-protocol"), "is not to be had in front of TLS; take tls:// out of " + place.text()});
  for (const std::string_view text : section.items(*section.find("upstream")))
    if (const Result<Source> source = parse_source(text); !source.ok())
      faults.push_back({section.where("upstream"), quote(text) + ' ' + source.status().reason() + "; write for example grpc://127.0.0.1:45888"});
  const std::vector<Source> sources = read_sources(section);
  for (size_t i = 0; i < sources.size(); ++i)
    for (size_t j = 0; j < i; ++j)
      if (sources[i].place.text() == sources[j].place.text()) faults.push_back({section.where("upstream"), quote(sources[i].text) + " stands there twice; take one of them out"});
  check_itself(section, sources, faults);
  check_tls(section, section.endpoints("listen"), dialled_by_tls(sources), faults);
}

std::string plex_title(const Section& section) {
  if (section.has("name")) return std::string(section.text("name"));
  const Endpoint first = section.endpoints("listen").front();
  return "plex-" + (first.kind == Endpoint::Kind::kUnix ? first.text() : std::to_string(first.port));
}

PlexConfig plex_config(const Section& section) {
  PlexConfig config;
  config.name = plex_title(section);
  config.listen = section.endpoints("listen");
  for (const std::string_view text : section.items(*section.find("listen"))) config.listen_texts.emplace_back(text);
  config.sources = read_sources(section);
  config.balance = parse_balance(section.text("balance"));
  config.framing = read_framing(section);
  config.clients = static_cast<uint64_t>(section.integer("clients"));
  config.clients_per_address = static_cast<uint64_t>(section.integer("clients-per-address"));
  config.proxies = section.networks("proxy-protocol");
  config.proxy_timeout = section.duration("proxy-timeout");
  config.upstream_queue = section.size("upstream-queue");
  config.client_queue = section.size("client-queue");
  config.broadcast_queue = section.size("broadcast-queue");
  config.ack_queue = section.size("ack-queue");
  config.upstream_message = static_cast<uint32_t>(section.size("max-upstream-message"));
  config.pause_slow = section.text("slow-client") == "pause";
  config.refuse_alone = section.text("no-upstream") == "refuse";
  config.wait_timeout = section.duration("wait-timeout");
  config.ready_timeout = section.duration("ready-timeout");
  config.ready_interval = section.duration("ready-interval");
  config.live_timeout = section.duration("live-timeout");
  config.live_interval = section.duration("live-interval");
  config.resolve_interval = section.duration("resolve-interval");
  config.idle_timeout = section.duration("idle-timeout");
  config.half_close_timeout = section.duration("half-close-timeout");
  config.auth_timeout = section.duration("auth-timeout");
  config.active_time = section.duration("active-time");
  config.drain_grace = section.duration("drain-grace");
  config.dial.connect_timeout = section.duration("connect-timeout");
  config.dial.retry_min = section.duration("retry-min");
  config.dial.retry_max = section.duration("retry-max");
  TlsKeys tls = read_tls(section, config.listen, dialled_by_tls(config.sources));
  if (tls.listens || tls.dials) config.tls = std::make_unique<TlsKeys>(std::move(tls));
  return config;
}

}  // namespace relay::plex

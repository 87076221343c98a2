// SPDX-License-Identifier: Apache-2.0
// The plex's table of keys, its URLs of upstreams, and reading them into PlexConfig.
#include "kinds/plex/keys.h"

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include "lib/bucket.h"
#include "lib/text.h"
#include "ops/dial_keys.h"
#include "ops/parameters.h"

namespace relay::plex {
namespace {

constexpr int64_t kDay = 24 * 3600 * 1000;
constexpr int64_t kMegabyte = 1024 * 1024;
constexpr int64_t kMostRate = 10'000'000;
constexpr size_t kEntrancesMost = 1000;
constexpr size_t kAlpnMost = 255;  // bytes of a name
constexpr std::string_view kLabel = "label:";

constexpr std::array kOwnKeys = {
    Key{.name = "name", .type = KeyType::kText, .metavar = "NAME", .fallback = "", .help = "what the log calls this relay (default: plex-PORT)"},
    Key{.name = "listen", .type = KeyType::kListen, .metavar = "ADDR", .fallback = "",
        .help = "where clients come: an address with a port, :PORT for all addresses, or unix:PATH; tls:// before it asks for TLS; "
                "?framing=line&clients=100 behind it is for those who come there",
        .required = true, .repeatable = true, .anywhere = true, .parameters = true},
    Key{.name = "upstream", .type = KeyType::kText, .metavar = "URL", .fallback = "",
        .help = "a gRPC server of proto/upstream.proto: grpc://HOST:PORT, grpcs:// for TLS, unix:PATH; a name stands for all its addresses",
        .required = true, .repeatable = true},
    Key{.name = "balance", .type = KeyType::kChoice, .metavar = "HOW", .fallback = "sticky",
        .help = "who gets what: with sticky, least-clients and hash (of its address) a client stays with its upstream; with round-robin each message goes to the next",
        .choices = "sticky|round-robin|least-clients|hash"},
    Key{.name = "hash-by", .type = KeyType::kText, .metavar = "WHAT", .fallback = "address",
        .help = "balance hash: what says where a client goes: its address, or with label:NAME a label that an upstream gives it"},
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
    Key{.name = "workers", .type = KeyType::kInteger, .metavar = "N", .fallback = "1",
        .help = "how many processes share the clients, each with descriptors of its own; 1: none but the main one", .min = 1, .max = 256, .restart = true},
    Key{.name = "clients-per-address", .type = KeyType::kInteger, .metavar = "N", .fallback = "0",
        .help = "how many clients of one address at a time; more are closed at once; 0: no limit", .max = 10'000'000},
    Key{.name = "accept-rate", .type = KeyType::kInteger, .metavar = "N", .fallback = "0",
        .help = "how many clients a second are accepted in one place; more wait in the kernel; 0: no limit", .max = kMostRate},
    Key{.name = "accept-rate-per-address", .type = KeyType::kInteger, .metavar = "N", .fallback = "0",
        .help = "how many clients a second of one address (IPv6: one /64); more are closed at once; 0: no limit", .max = kMostRate},
    Key{.name = "client-rate", .type = KeyType::kSize, .metavar = "SIZE", .fallback = "0",
        .help = "how many bytes a second are read of one client; 0: no limit", .max = Bucket::kMost},
    Key{.name = "client-messages", .type = KeyType::kInteger, .metavar = "N", .fallback = "0",
        .help = "how many messages a second of one client are passed on; 0: no limit", .max = kMostRate},
    Key{.name = "proxy-protocol", .type = KeyType::kNetwork, .metavar = "NET", .fallback = "",
        .help = "who says first, by the PROXY protocol, for whom it connects: an address, a CIDR block or unix (default: nobody)", .repeatable = true},
    Key{.name = "proxy-timeout", .type = KeyType::kDuration, .metavar = "TIME", .fallback = "5s", .help = "how long such a one may take to say it", .min = 1, .max = kDay},
    Key{.name = "alpn", .type = KeyType::kText, .metavar = "NAME", .fallback = "",
        .help = "TLS: what clients may speak inside, as ALPN names it, the best first; who offers others only is refused (default: it is not looked at)",
        .repeatable = true},
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
    Key{.name = "delivery-limit", .type = KeyType::kInteger, .metavar = "N", .fallback = "0",
        .help = "how many upstreams a message may be given to that are lost before they acknowledge it; then it is given up, and counted; 0: no limit", .max = 1'000'000},
    Key{.name = "watchers", .type = KeyType::kInteger, .metavar = "N", .fallback = "16",
        .help = "how many may watch clients come and go, through the admin address, at a time", .max = 1000},
    Key{.name = "watch-queue", .type = KeyType::kSize, .metavar = "SIZE", .fallback = "1MiB",
        .help = "how much may wait for one of them; when it is full it misses some, and is told how many", .min = 1024, .max = 256 * kMegabyte},
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
constexpr std::array kKeys = join(kOwnKeys, kRouteKeys, kDialKeys, kTcpKeys, kTlsKeys);

// What a message is, as long as its framing is that; and the rest of what a place to listen may have for itself.
constexpr std::array<std::string_view, 4> kFramingParts = {"delimiter", "length-width", "length-order", "length-inclusive"};
constexpr std::array<std::string_view, 12> kEntranceNames = {"framing", "delimiter", "length-width", "length-order", "length-inclusive", "max-message",
                                                             "clients", "clients-per-address", "accept-rate", "accept-rate-per-address", "client-rate", "client-messages"};
constexpr std::array<Key, kEntranceNames.size()> kEntranceKeys = [] {
  std::array<Key, kEntranceNames.size()> rows{};
  auto* row = rows.begin();
  for (const std::string_view name : kEntranceNames) *row++ = *std::find_if(kOwnKeys.begin(), kOwnKeys.end(), [name](const Key& key) { return key.name == name; });
  return rows;
}();

// The parameters of a place to listen, and what holds there.
struct EntranceKeys {
  EntranceKeys(const Section& section, std::string_view text, Faults& faults) {
    set_parameters(text, own, section.where("listen"), faults);
    const bool other_framing = own.has("framing") && own.text("framing") != section.text("framing");
    Faults none;  // of what has been checked
    for (const Key& key : kEntranceKeys) {
      const bool part = std::find(kFramingParts.begin(), kFramingParts.end(), key.name) != kFramingParts.end();
      if (own.has(key.name)) all.set(key.name, own.text(key.name), own.where(key.name), none);
      else if (section.has(key.name) && !(part && other_framing)) all.set(key.name, section.text(key.name), section.where(key.name), none);
    }
  }
  Section own{kEntranceKeys};
  Section all{kEntranceKeys};
};

// A path may be any bytes; what is told of it to others may not.
std::string as_utf8(std::string_view text) { return is_utf8(text) ? std::string(text) : printable(text); }

Status bad(const char* why) { return {Code::kInvalid, why}; }

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
    } else if (const int value = hex_byte(text.substr(i + 1)); text[i] == 'x' && value >= 0) {
      out += static_cast<char>(value);
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

// Calls fault(key, what).
template <typename Fault>
void check_framing(const Section& section, Fault fault) {
  const std::string_view kind = section.text("framing");
  if (section.has("delimiter")) {
    const std::optional<std::string> delimiter = unescape(section.text("delimiter"));
    if (kind != "delimiter") fault("delimiter", "is for framing = \"delimiter\"; take one of them out, or say so");
    else if (!delimiter) fault("delimiter", "has a bad escape; write for example \\r\\n or \\x00");
    else if (delimiter->size() > section.size("max-message")) fault("delimiter", "is longer than max-message; make that larger");
  } else if (kind == "delimiter") {
    fault("framing", "needs a delimiter; give one, for example delimiter '\\r\\n' (single quotes leave the backslashes)");
  }
  for (const std::string_view key : {"length-width", "length-order", "length-inclusive"})
    if (section.has(key) && kind != "length-prefix" && section.text(key) != section.find(key)->fallback) fault(key, "is for framing = \"length-prefix\"; take one of them out, or say so");
  if (kind == "length-prefix" && section.size("max-message") <= static_cast<uint64_t>(section.integer("length-width")))
    fault("max-message", "has no room for more than the length; make it larger");
}

// Faults that the parameters of a place have, alone and together with the relay's keys.
void check_entrance(const Section& section, std::string_view text, Faults& faults) {
  const size_t before = faults.size();
  const EntranceKeys keys(section, text, faults);
  if (faults.size() > before) return;
  const auto fault = [&](std::string_view key, const std::string& what) { faults.push_back({section.where("listen"), quote(text) + ": " + std::string(key) + ' ' + what}); };
  if (keys.own.has("max-message") || keys.own.has("framing") || std::any_of(kFramingParts.begin(), kFramingParts.end(), [&](std::string_view key) { return keys.own.has(key); }))
    check_framing(keys.all, fault);
  if (keys.own.has("max-message") && section.size("upstream-queue") < keys.own.size("max-message") + kBesideMessage) fault("max-message", "does not fit into upstream-queue; make that larger");
  if (keys.own.has("clients") && keys.own.integer("clients") > section.integer("clients")) fault("clients", "is more than the relay's; make that larger, or this one smaller");
}

Entrance read_entrance(const Section& section, std::string_view text) {
  Faults none;
  const EntranceKeys keys(section, text, none);
  const auto rate = [&](std::string_view key) { return static_cast<uint32_t>(keys.all.integer(key)); };
  Entrance entrance;
  const std::string_view place = without_parameters(text);
  entrance.text = as_utf8(place);
  entrance.place = *Endpoint::parse_listen_anywhere(place);
  entrance.framing = read_framing(keys.all);
  entrance.clients = keys.own.has("clients") ? static_cast<uint64_t>(keys.own.integer("clients")) : 0;
  entrance.clients_per_address = static_cast<uint64_t>(keys.all.integer("clients-per-address"));
  entrance.own_addresses = keys.own.has("clients-per-address");
  entrance.accept_rate = rate("accept-rate");
  entrance.address_rate = rate("accept-rate-per-address");
  entrance.own_address_rate = keys.own.has("accept-rate-per-address");
  entrance.byte_rate = static_cast<uint32_t>(keys.all.size("client-rate"));
  entrance.message_rate = rate("client-messages");
  return entrance;
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
      source->tls.alpn = {"h2"};
    }
    sources.push_back(std::move(*source));
  }
  return sources;
}

// The one whose TLS is checked for all: the keys are the same for each.
Endpoint dialled_by_tls(const Section& section, const std::vector<Source>& sources) {
  for (const Source& source : sources)
    if (source.place.tls) return source.place;
  if (const std::optional<Endpoint> place = route_place(section); place && place->tls) return *place;
  return sources.empty() ? Endpoint{} : sources.front().place;
}

void check_itself(const Section& section, const std::vector<Source>& sources, Faults& faults) {
  for (const Endpoint& place : section.endpoints("listen"))
    for (const Source& source : sources)
      if (std::string why = fault_of_itself(place, source); !why.empty()) faults.push_back({section.where("upstream"), std::move(why)});
}

void check_sources(const Section& section, const std::vector<Source>& sources, Faults& faults) {
  for (const std::string_view text : section.items(*section.find("upstream")))
    if (const Result<Source> source = parse_source(text); !source.ok())
      faults.push_back({section.where("upstream"), quote(text) + ' ' + source.status().reason() + "; write for example grpc://127.0.0.1:45888"});
  for (size_t i = 0; i < sources.size(); ++i)
    for (size_t j = 0; j < i; ++j)
      if (sources[i].place.text() == sources[j].place.text()) faults.push_back({section.where("upstream"), quote(sources[i].text) + " stands there twice; take one of them out"});
}

void check_alpn(const Section& section, Faults& faults) {
  if (!section.has("alpn")) return;
  const std::vector<Endpoint> places = section.endpoints("listen");
  if (std::none_of(places.begin(), places.end(), [](const Endpoint& place) { return place.tls; }))
    faults.push_back({section.where("alpn"), "alpn is for clients that come with TLS; write tls:// before the place to listen"});
  for (const std::string_view name : section.items(*section.find("alpn")))
    if (name.size() > kAlpnMost) faults.push_back({section.where("alpn"), quote(name) + " is longer than 255 bytes, as no name of a protocol is; write for example mqtt"});
}

void check_hash_by(const Section& section, Faults& faults) {
  const std::string_view hash_by = section.text("hash-by");
  if (hash_by == "address") return;
  if (!hash_by.starts_with(kLabel) || hash_by.size() == kLabel.size())
    faults.push_back({section.where("hash-by"), quote(hash_by) + " is neither address nor label:NAME; write for example label:room"});
  else if (section.text("balance") != "hash") faults.push_back({section.where("hash-by"), "hash-by is for balance = \"hash\"; take one of them out, or say so"});
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
    if (!text.starts_with("unix:") && text.find('/') != std::string_view::npos) return bad("has a path, and a stream of gRPC has its own");
  }
  const Result<Endpoint> place = Endpoint::parse_target((tls ? "tls://" : "") + std::string(text));
  if (!place.ok()) return place.status();
  if (place->kind == Endpoint::Kind::kName && !place->has_port) return bad("has no port");
  source.place = *place;
  return source;
}

std::string fault_of_itself(const Endpoint& listens, const Source& source) {
  const Endpoint& place = source.place;
  bool same = false;
  if (listens.kind == Endpoint::Kind::kUnix || place.kind == Endpoint::Kind::kUnix) {
    same = listens.kind == place.kind && listens.host == place.host;
  } else if (listens.port != 0 && listens.port == place.port) {
    if (place.kind == Endpoint::Kind::kAddr) same = listens.addr.same_host(place.addr) || (listens.addr.is_any() && place.addr.is_loopback());
    else same = place.host == "localhost" && (listens.addr.is_any() || listens.addr.is_loopback());
  }
  if (!same) return {};
  return "the relay itself listens on " + printable(place.text()) + "; give the upstream's own address";
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
std::span<const Key> entrance_keys() { return kEntranceKeys; }

void plex_check(const Section& section, Faults& faults) {
  check_dial(section, faults);
  if (section.duration("live-interval") >= section.duration("live-timeout"))
    faults.push_back({section.where(section.has("live-interval") ? "live-interval" : "live-timeout"), "live-interval is not shorter than live-timeout; make it shorter, or that longer"});
  if (section.size("upstream-queue") < section.size("max-message") + kBesideMessage)
    faults.push_back({section.where(section.has("max-message") ? "max-message" : "upstream-queue"), "a message of max-message does not fit into upstream-queue; make that larger than it by 1KiB at least"});
  for (const Endpoint& place : section.endpoints("listen"))
    if (place.kind != Endpoint::Kind::kUnix && !place.has_port) faults.push_back({section.where("listen"), place.text() + " has no port; write for example 127.0.0.1:7999"});
  check_framing(section, [&](std::string_view key, const std::string& what) { faults.push_back({section.where(key), std::string(key) + ' ' + what}); });
  const std::vector<std::string_view> places = section.items(*section.find("listen"));
  if (places.size() > kEntrancesMost) faults.push_back({section.where("listen"), "more than 1000 places; take the others to another relay"});
  for (const std::string_view text : places) check_entrance(section, text, faults);
  const std::vector<Source> sources = read_sources(section);
  check_sources(section, sources, faults);
  check_alpn(section, faults);
  check_hash_by(section, faults);
  check_itself(section, sources, faults);
  check_route(section, faults);
  check_tls(section, section.endpoints("listen"), dialled_by_tls(section, sources), faults);
  const bool upstreams_have_it = std::any_of(sources.begin(), sources.end(), [](const Source& source) { return source.place.tls; });
  if (section.has("server-name") && !upstreams_have_it && dialled_by_tls(section, sources).tls)
    faults.push_back({section.where("server-name"), "is for upstreams with grpcs://; route has its name in its URL"});
}

std::string plex_title(const Section& section) {
  if (section.has("name")) return std::string(section.text("name"));
  const Endpoint first = section.endpoints("listen").front();
  return "plex-" + (first.kind == Endpoint::Kind::kUnix ? as_utf8(first.text()) : std::to_string(first.port));
}

PlexConfig plex_config(const Section& section) {
  PlexConfig config;
  config.name = plex_title(section);
  for (const std::string_view text : section.items(*section.find("listen"))) config.entrances.push_back(read_entrance(section, text));
  config.sources = read_sources(section);
  config.balance = parse_balance(section.text("balance"));
  if (const std::string_view by = section.text("hash-by"); by.starts_with(kLabel)) config.hash_label = by.substr(kLabel.size());
  config.clients = static_cast<uint64_t>(section.integer("clients"));
  config.workers = static_cast<unsigned>(section.integer("workers"));
  config.proxies = section.networks("proxy-protocol");
  config.proxy_timeout = section.duration("proxy-timeout");
  config.upstream_queue = section.size("upstream-queue");
  config.client_queue = section.size("client-queue");
  config.broadcast_queue = section.size("broadcast-queue");
  config.ack_queue = section.size("ack-queue");
  config.delivery_limit = static_cast<uint32_t>(section.integer("delivery-limit"));
  config.watchers = static_cast<uint64_t>(section.integer("watchers"));
  config.watch_queue = section.size("watch-queue");
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
  read_dial(section, config.dial);
  config.route = read_route(section);
  if (config.route) {
    Endpoint where = std::move(config.route->plan.dial.target);
    config.route->plan.dial = config.dial;
    config.route->plan.dial.target = std::move(where);
    config.route->plan.relay = config.name;
  }
  TlsKeys tls = read_tls(section, section.endpoints("listen"), dialled_by_tls(section, config.sources));
  for (const std::string_view name : section.items(*section.find("alpn"))) tls.client.alpn.emplace_back(name);
  tls.client.alpn_only = true;
  if (tls.listens || tls.dials) config.tls = std::make_unique<TlsKeys>(std::move(tls));
  return config;
}

}  // namespace relay::plex

// SPDX-License-Identifier: Apache-2.0
// The keys' types and the values of one table: what each type accepts, what it says when it does not, and the process's own keys.
//
// A value is kept as it was written, and checked when it is set; a getter parses it again. That is one parser a type, used
// twice, and a CHECK that a default in a table of keys is as good as what a user may write.
#include "ops/config.h"

#include <algorithm>
#include <array>

#include "lib/text.h"
#include "ops/parameters.h"

namespace relay {
namespace {

constexpr std::string_view kSystem = "system";
constexpr std::string_view kAuto = "auto";
constexpr std::string_view kNone = "none";
constexpr uint16_t kDnsPort = 53;
constexpr size_t kMostItemFaults = 20;  // of one list: one that is nonsense throughout need not be shown in full

constexpr std::array<Key, 10> kGlobalKeys = {{
    {.name = "log-level",
     .type = KeyType::kChoice,
     .metavar = "LEVEL",
     .fallback = "info",
     .help = "the least urgent log lines that are written",
     .choices = "error|warn|info|debug"},
    {.name = "log-format",
     .type = KeyType::kChoice,
     .metavar = "FORMAT",
     .fallback = "text",
     .help = "how a log line is written: for eyes, or one JSON object a line",
     .choices = "text|json"},
    {.name = "drain-timeout",
     .type = KeyType::kDuration,
     .metavar = "TIME",
     .fallback = "10s",
     .help = "after SIGTERM, how long to go on delivering; then what is left is ended",
     .choices = {}},
    {.name = "dns",
     .type = KeyType::kServer,
     .metavar = "ADDR[:PORT]",
     .fallback = "system",
     .help = "the one DNS server to ask for names; system is those of /etc/resolv.conf",
     .choices = {},
     .restart = true},
    {.name = "admin",
     .type = KeyType::kAdmin,
     .metavar = "PLACE",
     .fallback = "auto",
     .help = "where to serve status and metrics over HTTP: unix:PATH, tcp:127.0.0.1:PORT, tls:ADDR:PORT or none; auto is a socket below "
             "$RUNTIME_DIRECTORY or $XDG_RUNTIME_DIR, where one of these is set",
     .choices = {},
     .restart = true},
    {.name = "admin-token-file",
     .type = KeyType::kText,
     .metavar = "FILE",
     .fallback = "",
     .help = "a file with the secret that each admin request has to bear; an address that is not loopback needs one",
     .choices = {},
     .restart = true},
    {.name = "admin-cert",
     .type = KeyType::kText,
     .metavar = "FILE",
     .fallback = "",
     .help = "admin at tls: the certificate and those between it and the root, as PEM",
     .choices = {},
     .restart = true},
    {.name = "admin-key",
     .type = KeyType::kText,
     .metavar = "FILE",
     .fallback = "",
     .help = "admin at tls: the key of the certificate, as PEM (default: it is in the certificate's file)",
     .choices = {},
     .restart = true},
    {.name = "admin-connections",
     .type = KeyType::kInteger,
     .metavar = "N",
     .fallback = "64",
     .help = "how many admin connections at a time; for one more an idle one is closed, or else it is",
     .min = 1,
     .max = 10'000,
     .choices = {},
     .restart = true},
    {.name = "no-seccomp",
     .type = KeyType::kBool,
     .metavar = "BOOL",
     .fallback = "false",
     .help = "do not give up the system calls that a relay does not need",
     .choices = {},
     .restart = true},
}};

// "a b  c" -> a b c.
std::vector<std::string_view> split_words(std::string_view list) {
  std::vector<std::string_view> words;
  for (size_t at = 0; (at = list.find_first_not_of(" ,", at)) != std::string_view::npos;) {
    const size_t end = std::min(list.size(), list.find_first_of(" ,", at));
    words.push_back(list.substr(at, end - at));
    at = end;
  }
  return words;
}

Result<Endpoint> parse_server(std::string_view text) {
  Result<Endpoint> server = Endpoint::parse_listen(text);
  if (!server.ok()) return server;
  if (server->tls) return Status(Code::kInvalid, "has tls://, but name servers are asked without TLS");
  if (server->kind != Endpoint::Kind::kAddr) return Status(Code::kInvalid, "is not an address");
  if (server->has_port && server->port == 0) return Status(Code::kInvalid, "has port 0, which cannot be asked");
  if (!server->has_port) server->port = server->addr.port = kDnsPort;
  server->has_port = true;
  return server;
}

// "from 1 to 64", or "of at least 1" where there is no upper end.
template <typename Format>
std::string bounds(const Key& key, Format format) {
  if (key.max == INT64_MAX) return "of at least " + format(key.min);
  return "from " + format(key.min) + " to " + format(key.max);
}
std::string as_number(int64_t value) { return std::to_string(value); }
std::string as_duration(int64_t value) { return format_duration(std::chrono::milliseconds(value)); }
std::string as_size(int64_t value) { return format_size(static_cast<uint64_t>(value)); }

template <typename Value>
bool within(const Key& key, Value value) {
  return std::cmp_greater_equal(value, key.min) && std::cmp_less_equal(value, key.max);
}

// The checks below return what is wrong with `value`, to be read behind its quotation, remedy included; empty if nothing is.
std::string check_text(std::string_view value) {
  const auto control = [](char c) { return static_cast<uint8_t>(c) < ' ' || c == '\x7f'; };
  return std::any_of(value.begin(), value.end(), control) ? "has a control character in it; leave that out" : "";
}

std::string check_number(const Key& key, std::string_view value) {
  const std::optional<uint64_t> number = parse_integer(value);
  if (number && within(key, *number)) return {};
  return (number ? "is out of range; give a number " : "is not a number; give one ") + bounds(key, as_number);
}

std::string check_port(std::string_view value) {
  const std::optional<uint64_t> port = parse_integer(value);
  return port && *port <= UINT16_MAX ? "" : "is not a port; give a number from 0 to 65535";
}

std::optional<std::chrono::milliseconds> duration_of(const Key& key, std::string_view value) {
  const bool bare = key.seconds && value.find_first_not_of("0123456789") == std::string_view::npos;
  return bare ? parse_duration(std::string(value).append("s")) : parse_duration(value);
}

std::string check_duration(const Key& key, std::string_view value) {
  const auto duration = duration_of(key, value);
  if (!duration) return "is not a duration; write it with a unit, for example 500ms, 5s, 2m";
  return within(key, duration->count()) ? "" : "is out of range; give a duration " + bounds(key, as_duration);
}

std::string check_size(const Key& key, std::string_view value) {
  const std::optional<uint64_t> size = parse_size(value);
  if (!size) return "is not a size; write it with a unit, for example 64KiB, 1MiB, or as a number of bytes";
  return within(key, *size) ? "" : "is out of range; give a size " + bounds(key, as_size);
}

std::string check_choice(const Key& key, std::string_view value) {
  const std::vector<std::string_view> choices = split(key.choices, '|');
  if (std::find(choices.begin(), choices.end(), value) != choices.end()) return {};
  std::string fault = "is none of";
  for (const std::string_view choice : choices) fault.append(choice == choices.front() ? " " : ", ").append(choice);
  const std::string_view near = nearest(value, choices);
  return near.empty() ? fault : fault.append("; did you mean \"").append(near).append("\"?");
}

std::string check_target(std::string_view value) {
  const Result<Endpoint> target = Endpoint::parse_target(value);
  if (target.ok()) return {};
  std::string fault = target.status().reason();
  // Some reasons bring their own remedy.
  if (fault.find(';') != std::string::npos) return fault;
  const std::string meant = Endpoint::meant_target(value);
  return fault + "; write " + (meant.empty() ? "IP:PORT, [IPV6]:PORT, NAME:PORT, _SERVICE._tcp.NAME or unix:PATH" : printable(meant));
}

std::string check_listen(const Key& key, std::string_view value) {
  if (key.parameters) value = without_parameters(value);
  const Result<Endpoint> listen = key.anywhere ? Endpoint::parse_listen_anywhere(value) : Endpoint::parse_listen(value);
  if (listen.ok()) return {};
  std::string fault = listen.status().reason();
  if (fault.find(';') != std::string::npos) return fault;
  const std::string meant = Endpoint::meant_listen(value);
  if (!meant.empty()) return fault + "; write " + printable(meant);
  return fault + (key.anywhere ? "; write IP:PORT, [IPV6]:PORT, :PORT or unix:PATH" : "; write IP, IP:PORT, [IPV6]:PORT or unix:PATH");
}

std::string check_network(std::string_view value) {
  const Result<Network> network = Network::parse(value);
  if (network.ok()) return {};
  const std::string meant = Network::meant(value);
  return std::string(network.status().reason()) +
         (meant.empty() ? "; write 10.0.0.5, 10.0.0.0/8, ::1 or unix" : "; write " + meant);
}

std::string check_server(std::string_view value) {
  if (value == kSystem) return {};
  const Result<Endpoint> server = parse_server(value);
  return server.ok() ? "" : std::string(server.status().reason()) + "; write IP, IP:PORT, [IPV6]:PORT or system";
}

Result<Endpoint> parse_admin(std::string_view text) {
  if (text.starts_with("unix:")) return Endpoint::parse_listen(text);
  const bool tls = text.starts_with("tls:");
  if (!tls && !text.starts_with("tcp:")) return Status{Code::kInvalid, "is no place for it"};
  text.remove_prefix(text.substr(4).starts_with("//") ? 6 : 4);
  Result<Endpoint> place = Endpoint::parse_listen(text);
  if (!place.ok()) return place;
  if (place->kind == Endpoint::Kind::kUnix) return Status{Code::kInvalid, "is no place for it"};
  if (!place->has_port) return Status{Code::kInvalid, "has no port"};
  place->tls = tls;
  return place;
}

std::string check_admin(std::string_view value) {
  if (value == kAuto || value == kNone) return {};
  const Result<Endpoint> place = parse_admin(value);
  return place.ok() ? "" : std::string(place.status().reason()) + "; write unix:PATH, tcp:127.0.0.1:PORT, tls:ADDR:PORT, auto or none";
}

std::string check_value(const Key& key, std::string_view value) {
  switch (key.type) {
    case KeyType::kText: return check_text(value);
    case KeyType::kBool: return parse_bool(value) ? "" : "is neither true nor false; write one of these";
    case KeyType::kInteger: return check_number(key, value);
    case KeyType::kPort: return check_port(value);
    case KeyType::kDuration: return check_duration(key, value);
    case KeyType::kSize: return check_size(key, value);
    case KeyType::kChoice: return check_choice(key, value);
    case KeyType::kListen: return check_listen(key, value);
    case KeyType::kTarget: return check_target(value);
    case KeyType::kNetwork: return check_network(value);
    case KeyType::kServer: return check_server(value);
    case KeyType::kAdmin: return check_admin(value);
  }
  return "has a type that nobody knows";
}

// A value to show where one is missing.
std::string_view example(const Key& key) {
  if (!key.fallback.empty()) return key.fallback;
  switch (key.type) {
    case KeyType::kText: return key.metavar;
    case KeyType::kBool: return "true";
    case KeyType::kInteger: return "1";
    case KeyType::kPort: return "9000";
    case KeyType::kDuration: return "5s";
    case KeyType::kSize: return "64KiB";
    case KeyType::kChoice: return key.choices.substr(0, key.choices.find('|'));
    case KeyType::kListen: return "127.0.0.1:9000";
    case KeyType::kTarget: return "10.0.0.5:9999";
    case KeyType::kNetwork: return "10.0.0.0/8";
    case KeyType::kAdmin: return kAuto;
    case KeyType::kServer: break;
  }
  return kSystem;
}

}  // namespace

std::span<const Key> global_keys() { return kGlobalKeys; }

std::string example_line(const Key& key) {
  const bool bare = key.type == KeyType::kPort || key.type == KeyType::kInteger || key.type == KeyType::kBool;
  const std::string value(example(key));
  return std::string(key.name) + " = " + (bare ? value : '"' + value + '"');
}

const Key* Section::find(std::string_view name) const {
  const auto at = std::find_if(keys_.begin(), keys_.end(), [name](const Key& key) { return key.name == name; });
  return at == keys_.end() ? nullptr : &*at;
}

const Key& Section::row(std::string_view name) const {
  const Key* const key = find(name);
  CHECK(key != nullptr);
  return *key;
}

bool Section::has(std::string_view key) const {
  const auto at = values_.find(key);
  return at != values_.end() && !at->second.items.empty();
}

std::string Section::where(std::string_view key) const {
  const auto at = values_.find(key);
  return at == values_.end() ? origin_ : at->second.where;
}

std::vector<std::pair<std::string_view, std::string_view>> Section::given() const {
  std::vector<std::pair<std::string_view, std::string_view>> all;
  for (const auto& [name, value] : values_)
    for (const std::string& item : value.items) all.emplace_back(name, item);
  return all;
}

std::vector<std::string_view> Section::items(const Key& key) const {
  const auto at = values_.find(key.name);
  if (at != values_.end() && !at->second.items.empty()) return {at->second.items.begin(), at->second.items.end()};
  if (key.fallback.empty()) return {};
  return key.repeatable ? split(key.fallback, ',') : std::vector{key.fallback};
}

std::string_view Section::text(std::string_view key) const {
  const std::vector<std::string_view> all = items(row(key));
  return all.empty() ? std::string_view() : all.front();
}

bool Section::flag(std::string_view key) const {
  CHECK(row(key).type == KeyType::kBool);
  const std::optional<bool> value = parse_bool(text(key));
  CHECK(value.has_value());
  return *value;
}

int64_t Section::integer(std::string_view key) const {
  CHECK(row(key).type == KeyType::kInteger || row(key).type == KeyType::kPort);
  const std::optional<uint64_t> value = parse_integer(text(key));
  CHECK(value && *value <= INT64_MAX);
  return static_cast<int64_t>(*value);
}

std::chrono::milliseconds Section::duration(std::string_view key) const {
  CHECK(row(key).type == KeyType::kDuration);
  const std::optional<std::chrono::milliseconds> value = duration_of(row(key), text(key));
  CHECK(value.has_value());
  return *value;
}

uint64_t Section::size(std::string_view key) const {
  CHECK(row(key).type == KeyType::kSize);
  const std::optional<uint64_t> value = parse_size(text(key));
  CHECK(value.has_value());
  return *value;
}

std::vector<Endpoint> Section::endpoints(std::string_view key) const {
  const KeyType type = row(key).type;
  CHECK(type == KeyType::kListen || type == KeyType::kTarget || type == KeyType::kServer || type == KeyType::kAdmin);
  std::vector<Endpoint> out;
  for (const std::string_view item : items(row(key))) {
    if (type == KeyType::kServer && item == kSystem) continue;
    if (type == KeyType::kAdmin && (item == kAuto || item == kNone)) continue;
    const auto parse = type == KeyType::kListen ? (row(key).anywhere ? Endpoint::parse_listen_anywhere : Endpoint::parse_listen)
                     : type == KeyType::kTarget ? Endpoint::parse_target
                     : type == KeyType::kAdmin  ? parse_admin
                                                : parse_server;
    out.push_back(*parse(row(key).parameters ? without_parameters(item) : item));
  }
  return out;
}

std::vector<Network> Section::networks(std::string_view key) const {
  CHECK(row(key).type == KeyType::kNetwork);
  std::vector<Network> out;
  for (const std::string_view item : items(row(key))) out.push_back(*Network::parse(item));
  return out;
}

bool Section::same(const Section& other, std::string_view key) const { return items(row(key)) == other.items(other.row(key)); }

bool Section::same(const Section& other) const {
  return std::equal(values_.begin(), values_.end(), other.values_.begin(), other.values_.end(),
                    [](const auto& a, const auto& b) { return a.first == b.first && a.second.items == b.second.items; });
}

void Section::set(std::string_view name, std::string_view text, std::string where, Faults& faults) {
  const Key& key = row(name);
  std::vector<std::string_view> given = key.words ? split_words(text) : key.repeatable ? split(text, ',') : std::vector{text};
  if (given.empty()) given.emplace_back();
  const size_t faults_before = faults.size();
  for (const std::string_view item : given) {
    if (faults.size() - faults_before >= kMostItemFaults) return;
    if (item.empty() && given.size() > 1) {
      refuse(name, where, "the list has an empty item; take out the comma too many", faults);
      return;
    }
    if (item.empty()) {
      refuse(name, where, "has no value; give one, for example " + std::string(example(key)), faults);
    } else if (const std::string fault = check_value(key, item); !fault.empty()) {
      refuse(name, where, quote(key.secret ? hide_password(item) : item) + ' ' + fault, faults);
    }
  }
  if (faults.size() != faults_before) return;
  Value& value = values_[std::string(name)];
  value.where = std::move(where);
  if (!key.repeatable) value.items.clear();
  value.items.insert(value.items.end(), given.begin(), given.end());
}

void Section::refuse(std::string_view name, std::string where, std::string_view what, Faults& faults) {
  CHECK(find(name) != nullptr);
  values_[std::string(name)].where = where;
  // A line of a file says nothing of the key; an option is its own place.
  const std::string subject = where == "--" + std::string(name) ? "" : std::string(name) + ": ";
  faults.push_back({std::move(where), subject + std::string(what)});
}

void Section::require(Faults& faults) const {
  const bool options = origin_ == "command line";
  for (const Key& key : keys_) {
    // Even a bad value has left its place behind, and its own fault.
    if (!key.required || values_.contains(key.name)) continue;
    const std::string name(key.name);
    if (options) {
      faults.push_back({"--" + name, "required; for example --" + name + ' ' + std::string(example(key))});
    } else {
      faults.push_back({origin_, name + ": required; for example " + example_line(key)});
    }
  }
}

}  // namespace relay

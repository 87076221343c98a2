// SPDX-License-Identifier: Apache-2.0
// PlexRelay: what an operator, or any program that reaches the admin socket, says to clients and of upstreams.
//
//   GET  clients?after=N&most=N     GET  clients/UUID           POST send        a message of an upstream's, as JSON
//   GET  upstreams                  POST upstreams              POST upstreams/remove
//   GET  watch?client=UUID          a line for each thing that becomes of clients
//
// The same by gRPC is in rpc.cpp.
#include <algorithm>

#include "kinds/plex/plex.h"
#include "lib/json.h"
#include "lib/text.h"
#include "wire/json_read.h"
#include "wire/parcel.h"

namespace relay::plex {
namespace {

using upstream::Output;

constexpr std::string_view kTooManyLabels = "labels: at most 64";
constexpr const char* kHalf = ": a text with half of a character, \\uDC00 to \\uDFFF, without its first half";  // the parser lets those through

int problem(int status, std::string_view what, std::string& answer) {
  Json(answer).begin('{').text("error", what).end('}');
  return status;
}

std::string unknown(std::string_view name) { return "unknown member " + quote(name); }

// Which one is meant nobody can tell.
std::string twice(std::string_view name) { return quote(name) + " stands there twice; take one of them out"; }

constexpr const char* kNoUrl = "the body is no JSON with a url; for example {\"url\": \"grpc://10.0.0.7:45888\"}";

// Empty, or which parameter is none of `known`: who has misspelt one is not to get what he did not ask for.
std::string strange(const ControlQuery& query, std::initializer_list<std::string_view> known) {
  std::string there;
  for (const std::string_view name : known) there += (there.empty() ? "" : " ") + std::string(name);
  for (const auto& [name, value] : query.parameters)
    if (std::find(known.begin(), known.end(), name) == known.end()) return "unknown parameter " + quote(name) + "; there are: " + there;
  return {};
}

// Empty, or what is wrong.
std::string read_url(JsonView root, std::string& url) {
  for (size_t i = 0; i < root.members(); ++i) {
    const auto [name, value] = root.member(i);
    if (name != "url") return unknown(name) + "; there is url";
    if (!url.empty()) return twice(name);
    url = value.text();
  }
  return url.empty() ? kNoUrl : "";
}

// The members of OutputStreamRequest, by their names in the proto; payload is base64 there, `text` is one of ours. Empty, or what is wrong.
class Message {
 public:
  std::string read(JsonView root) {
    std::vector<std::string_view> seen;  // no more than there are names: an unknown one ends it
    for (size_t i = 0; i < root.members(); ++i) {
      const auto [name, value] = root.member(i);
      if (std::find(seen.begin(), seen.end(), name) != seen.end()) return twice(name);
      seen.push_back(name);
      if (std::string why = read(name, value); !why.empty()) return why;
    }
    return std::string(fault_of(output));
  }

  Output output;

 private:
  std::string read(std::string_view name, JsonView value) {
    constexpr std::array<std::string_view, 7> kTexts = {"client_uuid", "group", "broadcast", "text", "payload", "command", "reason"};
    if (std::find(kTexts.begin(), kTexts.end(), name) != kTexts.end() && !value.is_text()) return quote(name) + ": a text is needed";
    if (!is_utf8(value.text())) return quote(name) + kHalf;
    if (name == "client_uuid") return aim(Output::Target::kClient, output.client_uuid, value.text());
    if (name == "group") return aim(Output::Target::kGroup, output.group, value.text());
    if (name == "broadcast") return read_broadcast(value.text());
    if (name == "client_uuids") return read_list(name, value, output.client_uuids);
    if (name == "except_uuids") return read_list(name, value, output.except_uuids);
    if (name == "text") return set_payload(std::string(value.text()));
    if (name == "payload") return read_payload(value.text());
    if (name == "command") return read_command(value.text());
    if (name == "labels") return read_labels(value);
    if (name == "reason") {
      output.reason = value.text();
      return {};
    }
    if (name == "idle_timeout_ms") {
      output.has_idle_timeout = value.number().has_value() && *value.number() <= UINT32_MAX;
      output.idle_timeout_ms = static_cast<uint32_t>(value.number().value_or(0));
      return output.has_idle_timeout ? "" : "idle_timeout_ms: a number is needed";
    }
    return unknown(name);
  }

  // Which of two is meant nobody can tell: a broadcast in the place of a client is not to be called back.
  std::string aim(Output::Target target) {
    if (output.target != Output::Target::kNone) return "more than one target: give one of client_uuid, broadcast and group; client_uuids may stand beside it";
    output.target = target;
    return {};
  }

  std::string aim(Output::Target target, std::string_view& into, std::string_view what) {
    into = what;
    return aim(target);
  }

  std::string read_broadcast(std::string_view word) {
    constexpr std::array<std::string_view, 3> kWords = {"ALL", "ACTIVE", "NOT_ACTIVE"};
    const auto* const at = std::find(kWords.begin(), kWords.end(), word);
    if (at == kWords.end()) return "broadcast: one of ALL ACTIVE NOT_ACTIVE";
    output.broadcast = static_cast<upstream::Broadcast>(at - kWords.begin());
    return aim(Output::Target::kBroadcast);
  }

  std::string read_command(std::string_view word) {
    constexpr std::array<std::string_view, 9> kWords = {"SEND", "CLOSE", "ABORT", "ACCEPT", "REJECT", "PAUSE", "RESUME", "JOIN", "LEAVE"};
    constexpr std::string_view kPrefix = "COMMAND_";
    if (word.starts_with(kPrefix)) word.remove_prefix(kPrefix.size());
    const auto* const at = std::find(kWords.begin(), kWords.end(), word);
    if (at == kWords.end()) return "command: one of SEND CLOSE ABORT ACCEPT REJECT PAUSE RESUME JOIN LEAVE";
    output.command = static_cast<upstream::Command>(at - kWords.begin());
    return {};
  }

  static std::string read_list(std::string_view name, JsonView list, std::vector<std::string_view>& into) {
    if (!list.is_array()) return std::string(name) + ": a list of UUIDs is needed";
    for (size_t i = 0; i < list.size(); ++i) {
      if (!list[i].is_text() || !is_utf8(list[i].text())) return std::string(name) + ": a list of UUIDs is needed";
      into.push_back(list[i].text());
    }
    return {};
  }

  std::string read_labels(JsonView labels) {
    if (!labels.is_object()) return "labels: an object of texts is needed";
    if (labels.members() > PlexRelay::kLabelsMost) return std::string(kTooManyLabels);
    for (size_t i = 0; i < labels.members(); ++i) {
      const auto [name, value] = labels.member(i);
      if (!value.is_text()) return "labels: an object of texts is needed";
      if (!is_utf8(name) || !is_utf8(value.text())) return std::string("labels") + kHalf;
      if (std::any_of(output.labels.begin(), output.labels.end(), [name = name](const auto& label) { return label.first == name; }))
        return "labels: " + twice(name);
      output.labels.emplace_back(name, value.text());
    }
    return {};
  }

  std::string read_payload(std::string_view text) {
    std::optional<std::string> bytes = decode_base64(text);
    return bytes ? set_payload(std::move(*bytes)) : "payload: base64 is needed; write text for a text";
  }

  std::string set_payload(std::string bytes) {
    if (has_payload_) return "text and payload: one of them is needed; take the other out";
    has_payload_ = true;
    payload_ = std::move(bytes);
    output.payload = std::as_bytes(std::span(payload_));
    return {};
  }

  std::string payload_;
  bool has_payload_ = false;  // it may be empty
};

}  // namespace

std::string_view fault_of(const Output& output) {
  const bool changes_group = output.command == upstream::Command::kJoin || output.command == upstream::Command::kLeave;
  if (changes_group && (output.target != Output::Target::kGroup || output.client_uuids.empty())) return "JOIN and LEAVE need group and client_uuids";
  if (output.target == Output::Target::kNone && output.client_uuids.empty()) return "no target: client_uuid, client_uuids, broadcast or group is needed";
  if (output.target == Output::Target::kClient && output.client_uuid.empty()) return "client_uuid: an empty target";
  if (output.target == Output::Target::kGroup && output.group.empty()) return "group: an empty target";
  if (output.client_uuids.size() > upstream::kMostUuids) return "client_uuids: at most 4096";
  if (output.except_uuids.size() > upstream::kMostUuids) return "except_uuids: at most 4096";
  if (output.group.size() > PlexRelay::kGroupMost) return "group: a name has at most 255 bytes";
  if (output.labels.size() > PlexRelay::kLabelsMost) return kTooManyLabels;
  const auto is_long = [](const auto& label) { return label.first.size() > PlexRelay::kLabelMost || label.second.size() > PlexRelay::kLabelMost; };
  if (std::any_of(output.labels.begin(), output.labels.end(), is_long)) return "labels: a name, and a value, has at most 256 bytes";
  const bool names_client = output.target == Output::Target::kClient || !output.client_uuids.empty();
  if (!output.labels.empty() && !names_client) return "labels: these are for clients that are named; give client_uuid or client_uuids";
  if (output.has_idle_timeout && !names_client) return "idle_timeout_ms: this is for clients that are named; give client_uuid or client_uuids";
  return {};
}

int PlexRelay::control(std::string_view what, const ControlQuery& query, std::string& answer) {
  constexpr std::string_view kClient = "clients/";
  if (query.rpc) return call(what, query, answer);
  if (query.post) {
    if (what == "send") return control_send(query, answer);
    if (what == "upstreams") return control_upstream(query, true, answer);
    if (what == "upstreams/remove") return control_upstream(query, false, answer);
    return what == "clients" || what == "watch" || what.starts_with(kClient) ? 405 : 404;
  }
  if (what == "send" || what == "upstreams/remove") return 405;
  if (what == "clients") return control_clients(query, answer);
  if (what == "watch") return control_watch(query, answer);
  if (what == "upstreams") {
    Json json(answer);
    json.begin('{');
    show_upstreams(json);
    json.end('}');
    return 200;
  }
  if (!what.starts_with(kClient)) return 404;
  const Client* client = find_here(what.substr(kClient.size()));
  if (client == nullptr) return problem(404, "no client of that name is here", answer);
  Json json(answer);
  json.begin('{');
  client->status(json);
  json.end('}');
  return 200;
}

const Client* PlexRelay::find_here(std::string_view text) const {
  const std::optional<Uuid> uuid = Uuid::parse(text);
  const Client* client = uuid ? clients_.find(*uuid) : nullptr;
  return client == nullptr || client->is_gone() ? nullptr : client;
}

// ---- with workers: which one has it

Asked asked_for(std::string_view client, unsigned workers) {
  const std::optional<Uuid> uuid = Uuid::parse(client);
  return {uuid ? Place::of(*uuid).worker % workers : 0};
}

Asked asked_after(uint64_t after, unsigned workers) { return {static_cast<unsigned>(std::min<uint64_t>(after >> kWorkerShift, workers - 1))}; }

// One is there or not: who is not refused turns it into the other.
Asked asked_of_upstream(std::string_view url) {
  const Result<Source> source = parse_source(url);
  return {kAsksAll, false, source.ok() ? source->place.text() : std::string()};
}

Asked plex_asked(std::string_view what, const ControlQuery& query, unsigned workers) {
  constexpr std::string_view kClient = "clients/";
  if (query.rpc) return plex_called(what, query, workers);
  if (what.starts_with(kClient)) return asked_for(what.substr(kClient.size()), workers);
  if (what == "clients") return asked_after(parse_integer(query.get("after")).value_or(0), workers);
  if (what == "watch") return {kAsksAll, true};
  if (what == "upstreams" && !query.post) return {kAsksAll};
  const std::unique_ptr<JsonDocument> document = JsonDocument::parse(query.body);
  if (what.starts_with("upstreams")) return asked_of_upstream(document == nullptr ? std::string_view() : document->root()["url"].text());
  if (what != "send") return {};
  return document == nullptr ? Asked{} : asked_for(document->root()["client_uuid"].text(), workers);
}

// Some of the clients; who has come to the end of what is shown asks on with `after` = `next`.
int PlexRelay::control_clients(const ControlQuery& query, std::string& answer) {
  if (const std::string why = strange(query, {"after", "most"}); !why.empty()) return problem(400, why, answer);
  const std::optional<uint64_t> after = query.get("after").empty() ? 0 : parse_integer(query.get("after"));
  const std::optional<uint64_t> most = query.get("most").empty() ? 0 : parse_integer(query.get("most"));
  if (!after || !most || *most > kShownMost) return problem(400, "after and most are numbers; most is up to 1000", answer);
  Json json(answer);
  json.begin('{').begin('[', "clients");
  const std::optional<uint64_t> next = list(*after, *most == 0 ? kShownUsually : *most, [&json](const Client& client) {
    json.begin('{');
    client.status(json);
    json.end('}');
  });
  json.end(']');
  if (next) json.number("next", *next);
  else json.null("next");
  json.end('}');
  return 200;
}

// What was said to all before is not counted as this.
void PlexRelay::catch_up_all(const Output& output) {
  if (crowd_.idle()) return;
  const auto catch_up_one = [this](std::string_view text) {
    const std::optional<Uuid> uuid = Uuid::parse(text);
    Client* client = uuid ? clients_.find(*uuid) : nullptr;
    if (client != nullptr && !client->is_gone()) catch_up(*client);
  };
  if (output.target == Output::Target::kClient) catch_up_one(output.client_uuid);
  for (const std::string_view text : output.client_uuids) catch_up_one(text);
  if (const auto at = groups_.find(output.group); output.target == Output::Target::kGroup && at != groups_.end() && is_small(*at->second, output))
    for (Client* client : std::vector<Client*>(at->second->members.begin(), at->second->members.end()))  // it may change
      if (!client->is_gone()) catch_up(*client);
}

control::Sent PlexRelay::say(const Output& output) {
  catch_up_all(output);
  const auto counted = [this](Stat stat, uint64_t before) { return stats_.get(stat) - before; };
  const control::Sent before = {stats_.get(Stat::kMessagesOut), stats_.get(Stat::kUnknownClients), stats_.get(Stat::kDroppedMessages), false,
                                stats_.get(Stat::kRouted), stats_.get(Stat::kRouteLost)};
  router_.pass_on(0, {}, {}, output);
  deliver({.id = 0, .name = "admin"}, output);
  // What is for many is on its way.
  return {counted(Stat::kMessagesOut, before.sent), counted(Stat::kUnknownClients, before.unknown), counted(Stat::kDroppedMessages, before.dropped),
          !crowd_.idle(), counted(Stat::kRouted, before.routed), counted(Stat::kRouteLost, before.route_lost)};
}

int PlexRelay::control_send(const ControlQuery& query, std::string& answer) {
  const std::unique_ptr<JsonDocument> document = JsonDocument::parse(query.body);
  if (document == nullptr) return problem(400, "the body is no JSON", answer);
  Message message;
  if (const std::string why = message.read(document->root()); !why.empty()) return problem(400, why, answer);
  const control::Sent sent = say(message.output);
  Json json(answer);
  json.begin('{').number("sent", sent.sent).number("unknown", sent.unknown).number("dropped", sent.dropped)
      .number("routed", sent.routed).number("route_lost", sent.route_lost).flag("under_way", sent.under_way).end('}');
  return sent.unknown > 0 && message.output.client_uuids.empty() ? 404 : 200;
}

// Until the next reload, which goes by the file.
int PlexRelay::change_upstreams(const std::string& given, bool add, std::string& why) {
  const auto fault = [&why](int status, std::string what) {
    why = std::move(what);
    return status;
  };
  std::string url = given;
  const Result<Source> source = parse_source(url);
  if (!source.ok()) return fault(400, "url: " + url + ' ' + source.status().reason());
  const bool there = find_source(source->place, url);
  if (add && there) return fault(409, "it is there already");
  if (!add && !there) return fault(404, "there is no such upstream");
  if (!add) {
    by_hand_ = true;
    remove_source(url);
    return 200;
  }
  if (source->place.tls) return fault(400, "url: upstreams with TLS come by the configuration, which has their certificates");
  for (const Entrance& entrance : config_.entrances)
    if (const std::string itself = fault_of_itself(entrance.place, *source); !itself.empty()) return fault(400, "url: " + itself);
  if (draining_) return fault(409, "the relay ends");
  by_hand_ = true;
  add_source(*source, nullptr);
  return 200;
}

int PlexRelay::control_upstream(const ControlQuery& query, bool add, std::string& answer) {
  const std::unique_ptr<JsonDocument> document = JsonDocument::parse(query.body);
  std::string url;
  std::string why = document == nullptr ? kNoUrl : read_url(document->root(), url);
  if (!why.empty()) return problem(400, why, answer);
  if (const int status = change_upstreams(url, add, why); status != 200) return problem(status, why, answer);
  Json json(answer);
  json.begin('{');
  show_upstreams(json);
  json.end('}');
  return 200;
}

// ---- watching

int PlexRelay::control_watch(const ControlQuery& query, std::string& answer) {
  if (const std::string why = strange(query, {"client"}); !why.empty()) return problem(400, why, answer);
  std::vector<Uuid> only;
  for (std::string_view rest = query.get("client"); !rest.empty();) {
    const std::string_view word = rest.substr(0, rest.find(','));
    const std::optional<Uuid> uuid = Uuid::parse(word);
    if (!uuid) return problem(400, "client: UUIDs with commas between them are needed", answer);
    only.push_back(*uuid);
    rest.remove_prefix(std::min(rest.size(), word.size() + 1));
  }
  std::string why;
  const int status = watch(query, std::move(only), why);
  return status == kAnswersOn ? status : problem(status, why, answer);
}

int PlexRelay::watch(const ControlQuery& query, std::vector<Uuid> only, std::string& why) {
  if (draining_) {
    why = "the relay ends";
    return 503;
  }
  if (watches_.size() >= config_.watchers) {
    stats_.add(Stat::kRefusedWatchers);
    why = "there are as many watchers as there may be (watchers)";
    return 429;
  }
  watches_.add(query.ticket, query.rpc, std::move(only));
  count_watches();
  return kAnswersOn;
}

void PlexRelay::count_watches() {
  stats_.sub(Stat::kWatchers, stats_.get(Stat::kWatchers));
  stats_.add(Stat::kWatchers, watches_.size());
}

void PlexRelay::hung_up(Ticket ticket) {
  watches_.remove(ticket);
  count_watches();
}

void PlexRelay::end_watches() {
  watches_.end(503, "the relay ends");
  count_watches();
}

void PlexRelay::noted(Client& client, control::WatchKind what, CloseReason why, std::string_view details) {
  if (watches_.empty() || !client.is_announced) return;
  const std::string uuid = client.uuid().text();
  control::WatchEvent event;
  event.time = time_text();
  event.client = uuid;
  event.kind = what;
  event.seq = client.seq();
  event.close = why;
  event.details = details;
  if (client.home() != nullptr) event.upstream = client.home()->name();
  Client::Texts texts;
  upstream::ClientInfo info;
  if (what == control::WatchKind::kConnected) {
    info = client.info(texts);
    event.info = &info;
  }
  stats_.add(Stat::kMissedEvents, watches_.tell(client.uuid(), event, config_.watch_queue));
  count_watches();
}

}  // namespace relay::plex

// SPDX-License-Identifier: Apache-2.0
// PlexRelay: what an operator, or any program that reaches the admin socket, says to clients and of upstreams.
//
//   GET  clients?after=N&most=N     GET  clients/UUID           POST send        a message of an upstream's, as JSON
//   GET  upstreams                  POST upstreams              POST upstreams/remove
#include <algorithm>

#include "kinds/plex/plex.h"
#include "lib/json.h"
#include "lib/text.h"
#include "wire/json_read.h"

namespace relay::plex {
namespace {

using upstream::Output;

constexpr uint64_t kShownMost = 1000;

int problem(int status, std::string_view what, std::string& answer) {
  Json(answer).begin('{').text("error", what).end('}');
  return status;
}

// The members of OutputStreamRequest, by their names in the proto; payload is base64 there, `text` is one of ours. Empty, or what is wrong.
class Message {
 public:
  std::string read(JsonView root) {
    for (size_t i = 0; i < root.members(); ++i) {
      const auto [name, value] = root.member(i);
      if (std::string why = read(name, value); !why.empty()) return why;
    }
    const bool changes_group = output.command == upstream::Command::kJoin || output.command == upstream::Command::kLeave;
    if (changes_group && (output.target != Output::Target::kGroup || output.client_uuids.empty())) return "JOIN and LEAVE need group and client_uuids";
    if (output.target == Output::Target::kNone && output.client_uuids.empty()) return "no target: client_uuid, client_uuids, broadcast or group is needed";
    return {};
  }

  Output output;

 private:
  std::string read(std::string_view name, JsonView value) {
    const bool wants_text = name != "client_uuids" && name != "except_uuids" && name != "labels" && name != "idle_timeout_ms";
    if (wants_text && !value.is_text()) return quote(name) + ": a text is needed";
    if (name == "client_uuid") return aim(Output::Target::kClient, output.client_uuid = value.text());
    if (name == "group") return aim(Output::Target::kGroup, output.group = value.text());
    if (name == "broadcast") return read_broadcast(value.text());
    if (name == "client_uuids") return read_list(value, output.client_uuids);
    if (name == "except_uuids") return read_list(value, output.except_uuids);
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
    return "unknown member " + quote(name);
  }

  std::string aim(Output::Target target, std::string_view what) {
    output.target = target;
    return what.empty() ? "an empty target" : "";
  }

  std::string read_broadcast(std::string_view word) {
    constexpr std::array<std::string_view, 3> kWords = {"ALL", "ACTIVE", "NOT_ACTIVE"};
    const auto* const at = std::find(kWords.begin(), kWords.end(), word);
    if (at == kWords.end()) return "broadcast: one of ALL ACTIVE NOT_ACTIVE";
    output.target = Output::Target::kBroadcast;
    output.broadcast = static_cast<upstream::Broadcast>(at - kWords.begin());
    return {};
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

  static std::string read_list(JsonView list, std::vector<std::string_view>& into) {
    if (!list.is_array()) return "a list of UUIDs is needed";
    for (size_t i = 0; i < list.size(); ++i) {
      if (!list[i].is_text()) return "a list of UUIDs is needed";
      into.push_back(list[i].text());
    }
    return {};
  }

  std::string read_labels(JsonView labels) {
    if (!labels.is_object()) return "labels: an object of texts is needed";
    for (size_t i = 0; i < labels.members(); ++i)
      if (!labels.member(i).second.is_text()) return "labels: an object of texts is needed";
    for (size_t i = 0; i < labels.members(); ++i) output.labels.emplace_back(labels.member(i).first, labels.member(i).second.text());
    return {};
  }

  std::string read_payload(std::string_view text) {
    std::optional<std::string> bytes = decode_base64(text);
    return bytes ? set_payload(std::move(*bytes)) : "payload: base64 is needed; write text for a text";
  }

  std::string set_payload(std::string bytes) {
    payload_ = std::move(bytes);
    output.payload = std::as_bytes(std::span(payload_));
    return {};
  }

  std::string payload_;
};

}  // namespace

int PlexRelay::control(std::string_view what, const ControlQuery& query, std::string& answer) {
  constexpr std::string_view kClient = "clients/";
  if (query.post) {
    if (what == "send") return control_send(query, answer);
    if (what == "upstreams") return control_upstream(query, true, answer);
    if (what == "upstreams/remove") return control_upstream(query, false, answer);
    return 404;
  }
  if (what == "clients") return control_clients(query, answer);
  if (what == "upstreams") {
    Json json(answer);
    json.begin('{');
    show_upstreams(json);
    json.end('}');
    return 200;
  }
  if (!what.starts_with(kClient)) return 404;
  const std::optional<Uuid> uuid = Uuid::parse(what.substr(kClient.size()));
  const Client* client = uuid ? clients_.find(*uuid) : nullptr;
  if (client == nullptr || client->is_gone()) return problem(404, "no client of that name is here", answer);
  Json json(answer);
  json.begin('{');
  client->status(json);
  json.end('}');
  return 200;
}

// Some of the clients; who has come to the end of what is shown asks on with `after` = `next`.
int PlexRelay::control_clients(const ControlQuery& query, std::string& answer) {
  const std::optional<uint64_t> after = query.get("after").empty() ? 0 : parse_integer(query.get("after"));
  const std::optional<uint64_t> most = query.get("most").empty() ? 100 : parse_integer(query.get("most"));
  if (!after || !most || *most > kShownMost) return problem(400, "after and most are numbers; most is up to 1000", answer);
  Json json(answer);
  json.begin('{').begin('[', "clients");
  uint64_t left = *most;
  uint64_t place = *after;
  for (; place < clients_.places() && left > 0; ++place) {
    const Client* client = clients_.at(static_cast<uint32_t>(place));
    if (client == nullptr || client->is_gone()) continue;
    json.begin('{');
    client->status(json);
    json.end('}');
    --left;
  }
  json.end(']');
  if (place < clients_.places()) json.number("next", place);
  else json.null("next");
  json.end('}');
  return 200;
}

int PlexRelay::control_send(const ControlQuery& query, std::string& answer) {
  const std::unique_ptr<JsonDocument> document = JsonDocument::parse(query.body);
  if (document == nullptr) return problem(400, "the body is no JSON", answer);
  Message message;
  if (const std::string why = message.read(document->root()); !why.empty()) return problem(400, why, answer);
  const uint64_t sent = stats_.get(Stat::kMessagesOut);
  const uint64_t unknown = stats_.get(Stat::kUnknownClients);
  const uint64_t dropped = stats_.get(Stat::kDroppedMessages);
  deliver({0, "admin"}, message.output);
  Json json(answer);
  // What is for many is on its way.
  json.begin('{').number("sent", stats_.get(Stat::kMessagesOut) - sent).number("unknown", stats_.get(Stat::kUnknownClients) - unknown)
      .number("dropped", stats_.get(Stat::kDroppedMessages) - dropped).flag("under_way", !crowd_.idle()).end('}');
  return stats_.get(Stat::kUnknownClients) > unknown && message.output.client_uuids.empty() ? 404 : 200;
}

// Until the next reload, which goes by the file.
int PlexRelay::control_upstream(const ControlQuery& query, bool add, std::string& answer) {
  const std::unique_ptr<JsonDocument> document = JsonDocument::parse(query.body);
  std::string url(document == nullptr ? std::string_view() : document->root()["url"].text());
  if (url.empty()) return problem(400, "the body is no JSON with a url; for example {\"url\": \"grpc://10.0.0.7:45888\"}", answer);
  const Result<Source> source = parse_source(url);
  if (!source.ok()) return problem(400, url + ' ' + source.status().reason(), answer);
  const bool there = find_source(source->place, url);
  if (add && there) return problem(409, "it is there already", answer);
  if (!add && !there) return problem(404, "there is no such upstream", answer);
  if (add) {
    if (source->place.tls) return problem(400, "upstreams with TLS come by the configuration, which has their certificates", answer);
    if (draining_) return problem(409, "the relay ends", answer);
    add_source(*source, nullptr);
  } else {
    remove_source(url);
  }
  Json json(answer);
  json.begin('{');
  show_upstreams(json);
  json.end('}');
  return 200;
}

}  // namespace relay::plex

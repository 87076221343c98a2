// SPDX-License-Identifier: Apache-2.0
// PlexRelay: the service PlexControl of proto/control.proto. What control.cpp does for JSON, asked for and answered in protobuf.
#include "kinds/plex/plex.h"

namespace relay::plex {
namespace {

using upstream::Output;

constexpr std::string_view kNoClient = "client_uuid: no client of that name is here";

int fault(int status, std::string_view why, std::string& answer) {
  answer = why;
  return status;
}

}  // namespace

Asked plex_called(std::string_view method, const ControlQuery& query, unsigned workers) {
  if (method == "Watch") return {kAsksAll, true};
  if (method == "Upstreams") return {kAsksAll};
  Output output;
  control::Request request;
  const bool is_read = control::decode(std::as_bytes(std::span(query.body)), output, request).ok();
  if (method.ends_with("Upstream")) return asked_of_upstream(is_read ? request.url : std::string_view());
  if (!is_read) return {};
  return method == "List" ? asked_after(request.after, workers) : asked_for(output.client_uuid, workers);
}

int PlexRelay::call(std::string_view method, const ControlQuery& query, std::string& answer) {
  Output output;
  control::Request request;
  if (const Status status = control::decode(std::as_bytes(std::span(query.body)), output, request); !status.ok()) return fault(400, status.reason(), answer);
  if (method == "Send") return call_send(output, answer);
  if (method == "Broadcast") {
    output.target = Output::Target::kBroadcast;  // 0 is to all, and is not written
    return call_send(output, answer);
  }
  if (method == "Close") {
    output.command = request.abort ? upstream::Command::kAbort : upstream::Command::kClose;
    return call_send(output, answer);
  }
  if (method == "List") return call_list(request, answer);
  if (method == "Get") {
    const Client* client = find_here(output.client_uuid);
    if (client == nullptr) return fault(404, kNoClient, answer);
    control::encode(client->shown(), answer);
    return 200;
  }
  const bool adds = method == "AddUpstream";
  if (adds || method == "RemoveUpstream") {
    if (request.url.empty()) return fault(400, "url: a text is needed; for example grpc://10.0.0.7:45888", answer);
    if (const int status = change_upstreams(std::string(request.url), adds, answer); status != 200) return status;
  }
  if (adds || method == "RemoveUpstream" || method == "Upstreams") {
    for (const std::unique_ptr<Upstream>& upstream : upstreams_) control::add_to_list(upstream->shown(), answer);
    return 200;
  }
  if (method == "Watch") {
    std::vector<Uuid> only;
    for (const std::string_view text : output.client_uuids) {
      const std::optional<Uuid> uuid = Uuid::parse(text);
      if (!uuid) return fault(400, "client_uuids: this is no UUID: " + std::string(text.substr(0, 100)), answer);
      only.push_back(*uuid);
    }
    return watch(query, std::move(only), answer);
  }
  return fault(501, "no such method", answer);
}

int PlexRelay::call_send(Output& output, std::string& answer) {
  output.time = {};
  output.ack_seq = output.request_id = 0;  // an upstream's
  if (const std::string_view why = fault_of(output); !why.empty()) return fault(400, why, answer);
  const control::Sent sent = say(output);
  if (sent.unknown > 0 && output.client_uuids.empty()) return fault(404, kNoClient, answer);
  control::encode(sent, answer);
  return 200;
}

int PlexRelay::call_list(const control::Request& request, std::string& answer) {
  if (request.most > kShownMost) return fault(400, "most: up to 1000", answer);
  const std::optional<uint64_t> next =
      list(request.after, request.most == 0 ? kShownUsually : request.most, [&answer](const Client& client) { control::add_to_list(client.shown(), answer); });
  if (next) control::add_next(*next, answer);
  return 200;
}

}  // namespace relay::plex

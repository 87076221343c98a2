// SPDX-License-Identifier: Apache-2.0
// The keys of a plex that shares its clients: checks and reading.
#include "kinds/plex/route_keys.h"

#include <algorithm>
#include <string>
#include <utility>

#include "ops/tls_keys.h"

namespace relay::plex {
namespace {

constexpr uint64_t kBeside = 64 * 1024;  // what stands around an upstream's message on its way, and room for a little more

uint64_t longest(const Section& section) { return section.size("max-upstream-message") + kBeside; }

}  // namespace

std::optional<Endpoint> route_place(const Section& section) {
  if (section.text("route").empty()) return std::nullopt;
  const Result<ServerUrl> url = ServerUrl::parse(section.text("route"));
  return url.ok() ? std::optional(url->place) : std::nullopt;
}

void check_route(const Section& section, Faults& faults) {
  const auto fault = [&](std::string_view key, std::string what) { faults.push_back({section.where(key), std::move(what)}); };
  if (section.text("route").empty()) {
    for (const std::string_view key : {"route-name", "route-queue", "route-timeout"})
      if (section.has(key) && section.text(key) != section.find(key)->fallback) fault(key, std::string(key) + " is for route; take it out, or give route");
    return;
  }
  constexpr std::array<std::string_view, 6> kSchemes = {"redis", "rediss", "tcp", "tls", "redis-cluster", "rediss-cluster"};  // of the last two more is said below
  const std::string_view text = section.text("route");
  if (const size_t end = text.find("://"); end != std::string_view::npos && std::find(kSchemes.begin(), kSchemes.end(), text.substr(0, end)) == kSchemes.end())
    return fault("route", "the URL has a scheme that is none of redis:// and rediss://; for example redis://10.0.0.9:6379");
  const Result<ServerUrl> url = ServerUrl::parse(text);
  if (!url.ok()) return fault("route", std::string("the URL ") + url.status().reason() + "; for example redis://10.0.0.9:6379");
  if (url->cluster || !url->others.empty()) fault("route", "route needs one server, and no cluster: there a server does not know who listens at the others");
  if (!url->user.empty() && url->password.empty()) fault("route", "the URL has a user and no password; write USER:PASSWORD@ or :PASSWORD@");
  const std::string_view name = section.text("route-name");
  if (name.empty() || name.size() > Exchange::kPrefixMost || std::any_of(name.begin(), name.end(), [](char c) { return c <= ' ' || c > '~'; }))
    fault("route-name", "is 1 to 128 letters, digits and signs without spaces between; write for example relay:plex");
  if (section.size("route-queue") <= longest(section) + Exchange::kEnvelope)
    fault(section.has("max-upstream-message") && !section.has("route-queue") ? "max-upstream-message" : "route-queue",
          "a message of max-upstream-message, with 64KiB around it, does not fit into route-queue");
}

std::optional<Route> read_route(const Section& section) {
  if (section.text("route").empty()) return std::nullopt;
  ServerUrl url = *ServerUrl::parse(section.text("route"));
  Route route;
  route.plan.prefix = section.text("route-name");
  route.plan.dial.target = url.place;
  route.plan.user = std::move(url.user);
  route.plan.password = std::move(url.password);
  route.plan.queue = section.size("route-queue");
  route.plan.message = longest(section);
  route.plan.timeout = section.duration("route-timeout");
  if (url.place.tls) {
    route.tls = read_tls(section, {}, url.place).target;
    route.tls.server_name = tls_name(url.place);  // server-name is the upstreams'
  }
  return route;
}

}  // namespace relay::plex

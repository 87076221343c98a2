// SPDX-License-Identifier: Apache-2.0
// The keys of a plex that shares its clients with other instances: their rows, their checks, and what they say.
#pragma once

#include <array>
#include <optional>

#include "kinds/plex/exchange.h"
#include "net/tls.h"
#include "ops/config.h"
#include "ops/server_url.h"

namespace relay::plex {

inline constexpr std::array kRouteKeys = {
    Key{.name = "route", .type = KeyType::kText, .metavar = "URL", .fallback = "",
        .help = "a Redis server by which the instances of one service reach one another's clients: redis://[[USER]:PASSWORD@]HOST[:PORT], rediss:// for TLS, or unix:PATH",
        .secret = true},
    Key{.name = "route-name", .type = KeyType::kText, .metavar = "NAME", .fallback = "relay:plex",
        .help = "what the service is called there: the same for all of its instances, and another for another service"},
    Key{.name = "route-queue", .type = KeyType::kSize, .metavar = "SIZE", .fallback = "8MiB",
        .help = "how much may wait for that server; what does not fit is not sent to other instances", .min = 64 * 1024, .max = int64_t{1} << 30},
    Key{.name = "route-timeout", .type = KeyType::kDuration, .metavar = "TIME", .fallback = "5s",
        .help = "how long that server may be silent before it is asked whether it lives, and how long it may take to answer", .min = 10, .max = 3600 * 1000},
};

struct Route {
  ExchangePlan plan;  // but for `about` and dial.tls
  TlsConfig tls;      // with rediss://
};

// REQUIRES: `section` has the rows above and those of TLS.
void check_route(const Section& section, Faults& faults);
// Where it is, if it can be read.
std::optional<Endpoint> route_place(const Section& section);
// REQUIRES: no faults. Nothing: there is no route.
std::optional<Route> read_route(const Section& section);

}  // namespace relay::plex

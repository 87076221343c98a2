// SPDX-License-Identifier: Apache-2.0
// The keys of dialling, and of what the kernel does for TCP connections, the same for every kind: the rows for its table, their checks, and what
// they say.
//
//   constexpr auto kKeys = join(kMyKeys, kDialKeys, kTcpKeys);   check_dial(section, faults);   read_dial(section, plan);
#pragma once

#include <array>

#include "net/dial.h"
#include "ops/config.h"

namespace relay {

inline constexpr std::array kDialKeys = {
    Key{.name = "connect-timeout", .type = KeyType::kDuration, .metavar = "TIME", .fallback = "5s",
        .help = "dialling: the most to wait for one address, or for the name", .min = 1, .max = 24 * 3600 * 1000},
    Key{.name = "retry-min", .type = KeyType::kDuration, .metavar = "TIME", .fallback = "100ms",
        .help = "dialling: the first pause after all addresses have failed; it doubles each time", .min = 1, .max = 24 * 3600 * 1000},
    Key{.name = "retry-max", .type = KeyType::kDuration, .metavar = "TIME", .fallback = "5s",
        .help = "dialling: the longest pause; each is shortened at random by up to half", .min = 1, .max = 24 * 3600 * 1000},
};
inline constexpr std::array kTcpKeys = {
    Key{.name = "keepalive", .type = KeyType::kDuration, .metavar = "TIME", .fallback = "60s",
        .help = "TCP keepalive: idle time before the first probe, in whole seconds; 0 turns it off", .max = 32'767'000},
    Key{.name = "keepalive-interval", .type = KeyType::kDuration, .metavar = "TIME", .fallback = "10s",
        .help = "TCP keepalive: time between probes, in whole seconds", .min = 1000, .max = 32'767'000},
    Key{.name = "keepalive-count", .type = KeyType::kInteger, .metavar = "N", .fallback = "6",
        .help = "TCP keepalive: probes without an answer that end a connection", .min = 1, .max = 127},
    Key{.name = "user-timeout", .type = KeyType::kDuration, .metavar = "TIME", .fallback = "0",
        .help = "TCP_USER_TIMEOUT: ends a connection whose peer has acknowledged nothing for so long; 0 leaves it to the kernel",
        .max = INT32_MAX},
};

// Faults that show when the keys are seen together. REQUIRES: `section` has both sets of rows.
void check_dial(const Section& section, Faults& faults);
// Fills in all but what is dialled, and with what of TLS. REQUIRES: the same, and no faults.
void read_dial(const Section& section, DialPlan& plan);

}  // namespace relay

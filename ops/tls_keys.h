// SPDX-License-Identifier: Apache-2.0
// The keys of TLS, the same for every kind that listens or dials: the rows for its table, their checks, and what they say.
//
//   constexpr auto kKeys = join(kMyKeys, kTlsKeys);   check_tls(section, places, target, faults);   TlsKeys keys = read_tls(…)
#pragma once

#include <array>
#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "net/addr.h"
#include "net/timer.h"
#include "net/tls.h"
#include "ops/config.h"

namespace relay {

inline constexpr std::array kTlsKeys = {
    Key{.name = "cert", .type = KeyType::kText, .metavar = "FILE", .fallback = "",
        .help = "TLS: this relay's certificate, and those between it and the root, in PEM form"},
    Key{.name = "key", .type = KeyType::kText, .metavar = "FILE", .fallback = "",
        .help = "TLS: the certificate's private key, in PEM form (default: it is in the file of --cert)"},
    Key{.name = "ca", .type = KeyType::kText, .metavar = "FILE", .fallback = "",
        .help = "TLS towards the target: the certificates that vouch for it (default: those that the system trusts)"},
    Key{.name = "client-ca", .type = KeyType::kText, .metavar = "FILE", .fallback = "",
        .help = "TLS: a client needs a certificate that one of these vouches for (default: it needs none)"},
    Key{.name = "client-name", .type = KeyType::kText, .metavar = "NAME", .fallback = "",
        .help = "TLS: a client's certificate bears this name: DNS, URI or CN (default: any that --client-ca vouches for)", .repeatable = true},
    Key{.name = "verify", .type = KeyType::kBool, .metavar = "BOOL", .fallback = "true",
        .help = "TLS towards the target: whether its certificate is verified"},
    Key{.name = "server-name", .type = KeyType::kText, .metavar = "NAME", .fallback = "",
        .help = "TLS towards the target: the name it is asked for and its certificate must bear (default: the target's own)"},
    Key{.name = "tls-min", .type = KeyType::kChoice, .metavar = "VERSION", .fallback = "1.2", .help = "TLS: the oldest version spoken",
        .choices = "1.2|1.3"},
    Key{.name = "handshake-timeout", .type = KeyType::kDuration, .metavar = "TIME", .fallback = "10s",
        .help = "TLS: the most that who has connected may take for the handshake", .min = 1, .max = 24 * 3600 * 1000},
    Key{.name = "handshake-limit", .type = KeyType::kInteger, .metavar = "N", .fallback = "256",
        .help = "TLS: how many handshakes a listener has under way; who comes then waits in the kernel's backlog", .min = 1, .max = 1'000'000},
};

struct TlsKeys {
  bool listens = false;  // some place to listen has tls://
  bool dials = false;    // the target has
  TlsConfig client;      // as a server, towards clients
  TlsConfig gateway;     // as a server, towards those who are known by their address: no certificate asked for
  TlsConfig target;      // as a client
  Delay handshake_timeout{};
  size_t handshake_limit = 0;
};

// The name that a target's certificate must bear, unless a key says another; empty for a Unix socket.
std::string tls_name(const Endpoint& target);
// REQUIRES: `section` has the rows above, and no faults.
TlsKeys read_tls(const Section& section, std::span<const Endpoint> places, const Endpoint& target);
// Faults that show when the keys are seen together, and in the files.
void check_tls(const Section& section, std::span<const Endpoint> places, const Endpoint& target, Faults& faults);

// The contexts of one relay, to be had new as a whole: load(), and, when all is well, use() of what was loaded.
struct TlsContexts {
  TlsContext client;
  TlsContext gateway;
  TlsContext target;

  // A fault of each that cannot be loaded. `where`: a fault's place for a key.
  void load(const TlsKeys& keys, std::vector<TlsFault>& faults);
};

}  // namespace relay

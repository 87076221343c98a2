// SPDX-License-Identifier: Apache-2.0
// The keys of TLS: checks and reading.
#include "ops/tls_keys.h"

#include <algorithm>

namespace relay {

// Of a service that is the domain that was asked for: who answers in the DNS decides where it is, not who it is
// (RFC 6125, section 6.2.1).
std::string tls_name(const Endpoint& target) {
  switch (target.kind) {
    case Endpoint::Kind::kAddr: return target.addr.host_text();
    case Endpoint::Kind::kUnix: return {};
    case Endpoint::Kind::kName:
    case Endpoint::Kind::kService: break;
  }
  std::string name = target.host;
  constexpr std::string_view kMiddle = "._tcp.";
  if (target.kind == Endpoint::Kind::kService) name.erase(0, name.find(kMiddle) + kMiddle.size());
  if (name.ends_with('.')) name.pop_back();
  return name;
}

namespace {

// One that says what is so anyway misleads nobody, and `relay check` prints those.
bool given(const Section& section, std::string_view key) { return section.has(key) && section.text(key) != section.find(key)->fallback; }

// Keys of one side that need one another.
void check_together(const Section& section, const TlsKeys& keys, Faults& faults) {
  const auto fault = [&](std::string_view key, std::string what) { faults.push_back({section.where(key), std::move(what)}); };
  if (keys.listens && !given(section, "cert")) fault("listen", "tls:// needs a certificate; give cert, and key if it is in another file");
  if (given(section, "key") && !given(section, "cert")) fault("key", "a key without its certificate; give cert");
  if (given(section, "client-name") && !given(section, "client-ca")) fault("client-name", "nobody vouches for that name; give client-ca");
  if (keys.dials && keys.target.verify && keys.target.server_name.empty())
    fault("target", "a Unix socket has no name that a certificate could bear; give server-name, or verify = false");
  if (given(section, "ca") && given(section, "verify") && !keys.target.verify) fault("ca", "it is not asked, because verify is false; take out one of them");
}

}  // namespace

TlsKeys read_tls(const Section& section, std::span<const Endpoint> places, const Endpoint& target) {
  TlsKeys keys;
  keys.listens = std::any_of(places.begin(), places.end(), [](const Endpoint& place) { return place.tls; });
  keys.dials = target.tls;
  keys.handshake_timeout = section.duration("handshake-timeout");
  keys.handshake_limit = static_cast<size_t>(section.integer("handshake-limit"));

  TlsConfig common;
  common.cert = section.text("cert");
  common.key = section.text("key");
  common.only_13 = section.text("tls-min") == "1.3";
  keys.client = keys.gateway = keys.target = common;

  keys.gateway.server = keys.client.server = true;
  keys.client.ca = section.text("client-ca");
  keys.client.ca_key = "client-ca";
  keys.client.verify = !keys.client.ca.empty();
  for (const std::string_view name : section.items(*section.find("client-name"))) keys.client.names.emplace_back(name);

  keys.target.ca = section.text("ca");
  keys.target.ca_key = "ca";
  keys.target.verify = section.flag("verify");
  keys.target.server_name = section.text("server-name");
  if (keys.target.server_name.empty()) keys.target.server_name = tls_name(target);
  return keys;
}

void check_tls(const Section& section, std::span<const Endpoint> places, const Endpoint& target, Faults& faults) {
  const TlsKeys keys = read_tls(section, places, target);
  const auto fault = [&](std::string_view key, std::string what) { faults.push_back({section.where(key), std::move(what)}); };
  if (!keys.listens && !keys.dials) {
    for (const Key& key : kTlsKeys)
      if (given(section, key.name)) return fault(key.name, std::string(key.name) + " is for TLS; write tls:// before the place to listen, or before the target");
    return;
  }
  if (!TlsContext::kBuilt)
    return fault(keys.dials ? "target" : "listen", "tls:// is not to be had: this relay was built without TLS (RELAY_TLS=OFF); use another build");
  const size_t before = faults.size();
  for (const std::string_view key : {"client-ca", "client-name", "handshake-timeout", "handshake-limit"})
    if (given(section, key) && !keys.listens) fault(key, std::string(key) + " is for clients that come with TLS; write tls:// before the place to listen");
  for (const std::string_view key : {"ca", "verify", "server-name"})
    if (given(section, key) && !keys.dials) fault(key, std::string(key) + " is for a target with TLS; write tls:// before it");
  check_together(section, keys, faults);
  if (faults.size() > before) return;

  std::vector<TlsFault> found;
  TlsContexts().load(keys, found);
  for (TlsFault& each : found) fault(each.key, std::move(each.what));
}

void TlsContexts::load(const TlsKeys& keys, std::vector<TlsFault>& faults) {
  const auto one = [&](bool wanted, TlsContext& context, const TlsConfig& config) {
    if (!wanted) return;
    const std::optional<TlsFault> fault = context.load(config);
    // A file that two of them read has one fault.
    if (fault && std::none_of(faults.begin(), faults.end(), [&](const TlsFault& other) { return other.what == fault->what; }))
      faults.push_back(*fault);
  };
  one(keys.listens, client, keys.client);
  one(keys.listens, gateway, keys.gateway);
  one(keys.dials, target, keys.target);
}

}  // namespace relay

// SPDX-License-Identifier: Apache-2.0
// Addresses, networks and places as users write them, and addresses as the kernel gives them: what is read is written so that
// it is read again as the same; what is meant is something that is taken.
// covers: net/addr.cpp
#include <cstring>

#include "net/addr.h"
#include "tests/fuzz/fuzz.h"

namespace relay {
namespace {

void check_addr(const Addr& addr) {
  const std::optional<Addr> again = Addr::parse(addr.host_text(), addr.port);
  CHECK(again && again->same_host(addr) && again->port == addr.port);
  sockaddr_storage storage{};
  const socklen_t length = addr.to_sockaddr(storage);
  const Addr back = Addr::from_sockaddr(storage, length);
  CHECK(back.same_host(addr) && back.port == addr.port && back.text() == addr.text());
  CHECK(Network::host(addr).contains(addr));
}

void check_endpoint(const Endpoint& place, Result<Endpoint> (*parse)(std::string_view)) {
  const std::string text = place.text();
  const Result<Endpoint> again = parse(text);
  CHECK(again.ok());
  CHECK(again->text() == text && again->kind == place.kind && again->port == place.port && again->host == place.host);
  if (place.kind == Endpoint::Kind::kAddr) CHECK(place.addr.port == place.port);
}

void from_text(uint8_t how, std::string_view text) {
  switch (how % 4) {
    case 0:
      if (const std::optional<Addr> addr = Addr::parse(text, 80)) check_addr(*addr);
      break;
    case 1:
      if (const Result<Network> network = Network::parse(text); network.ok()) {
        const Result<Network> again = Network::parse(network->text());
        CHECK(again.ok() && again->text() == network->text());
      } else if (const std::string meant = Network::meant(text); !meant.empty()) {
        CHECK(Network::parse(meant).ok());
      }
      break;
    case 2:
      if (const Result<Endpoint> target = Endpoint::parse_target(text); target.ok()) {
        check_endpoint(*target, Endpoint::parse_target);
      } else if (std::string meant = Endpoint::meant_target(text); !meant.empty()) {
        if (meant.ends_with(":PORT")) meant.replace(meant.size() - 4, 4, "9");
        CHECK(Endpoint::parse_target(meant).ok());
      }
      break;
    default:
      const Result<Endpoint> place = Endpoint::parse_listen(text);
      if (place.ok()) check_endpoint(*place, Endpoint::parse_listen);
      const Result<Endpoint> more = Endpoint::parse_listen_anywhere(text);
      if (more.ok()) check_endpoint(*more, Endpoint::parse_listen_anywhere);
      if (place.ok()) CHECK(more.ok() && more->text() == place->text() && !more->anywhere);
  }
}

void from_kernel(std::string_view bytes) {
  sockaddr_storage storage{};
  const size_t length = std::min(bytes.size(), sizeof storage);
  std::memcpy(&storage, bytes.data(), length);
  const Addr addr = Addr::from_sockaddr(storage, static_cast<socklen_t>(length));
  static_cast<void>(addr.text());
  if (addr.family != Addr::Family::kNone) CHECK(addr.family == Addr::Family::kUnix || Network::host(addr).contains(addr));
  if ((addr.family == Addr::Family::kV4 || addr.family == Addr::Family::kV6) && addr.scope == 0) check_addr(addr);
}

}  // namespace
}  // namespace relay

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  relay::fuzz::Input input(data, size);
  const uint8_t how = input.byte();
  if (how == 255) relay::from_kernel(input.all());
  else relay::from_text(how, input.all());
  return 0;
}

// SPDX-License-Identifier: Apache-2.0
// See proxied.h.
#include "net/proxied.h"

#include <algorithm>

namespace relay {

Addr announced_by(const ProxyHeader& header, const Addr& peer) {
  if (header.family == ProxyHeader::Family::kNone) return peer;
  Addr addr;
  addr.family = header.family == ProxyHeader::Family::kV4 ? Addr::Family::kV4 : Addr::Family::kV6;
  addr.ip = header.ip;
  addr.port = header.port;
  constexpr std::array<uint8_t, 12> kMapped = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
  if (addr.family == Addr::Family::kV6 && std::equal(kMapped.begin(), kMapped.end(), addr.ip.begin())) {  // an IPv4 one is one
    std::copy_n(addr.ip.begin() + 12, 4, addr.ip.begin());
    std::fill(addr.ip.begin() + 4, addr.ip.end(), uint8_t{0});
    addr.family = Addr::Family::kV4;
  }
  return addr;
}

}  // namespace relay

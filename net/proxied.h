// SPDX-License-Identifier: Apache-2.0
// Who a PROXY header says that a connection is for.
#pragma once

#include "net/addr.h"
#include "wire/proxy.h"

namespace relay {

// `peer` itself where it does not say.
Addr announced_by(const ProxyHeader& header, const Addr& peer);

}  // namespace relay

// SPDX-License-Identifier: Apache-2.0
// Socket: a connected stream socket, its TLS if it has one (handshake done), on its way from a Listener or a Dial to a Conn.
#pragma once

#include <cstdint>
#include <memory>

#include "net/addr.h"
#include "net/fd.h"
#include "net/tls.h"

namespace relay {

class Watcher;

struct Socket {
  Fd fd;
  Addr::Family family = Addr::Family::kNone;
  std::unique_ptr<Tls> tls = nullptr;
  // Who watches it by now, with Conn::kEvents, nullptr: nobody. Conn::open takes the watch over; a Socket that is thrown away
  // leaves it to its owner.
  Watcher* watcher = nullptr;
  uint32_t events = 0;  // that `watcher` was told and has not acted on
};

}  // namespace relay

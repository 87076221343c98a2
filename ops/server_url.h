// SPDX-License-Identifier: Apache-2.0
// ServerUrl: how a Redis server is named in a configuration, by whichever kind that talks to one.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "lib/status.h"
#include "net/addr.h"

namespace relay {

// Where the server is and who we are to it: redis://[USER][:PASSWORD]@HOST[:PORT][/DB], rediss:// for TLS, unix:PATH, HOST:PORT. A cluster
// is redis-cluster://HOST:PORT,HOST:PORT or rediss-cluster://…; several URLs with spaces between are several of its nodes, too.
struct ServerUrl {
  Endpoint place;
  std::vector<Endpoint> others;  // further nodes of a cluster, to begin with
  bool cluster = false;          // the URL says so; the key protocol may, too
  std::string user;      // empty: the default one
  std::string password;  // empty: none is given, or it is in a file
  std::string db = "0";

  // The Status goes on where the text stops, which is never shown: there may be a password in it.
  static Result<ServerUrl> parse(std::string_view text);
  bool operator==(const ServerUrl& other) const;
};

}  // namespace relay

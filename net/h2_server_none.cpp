// SPDX-License-Identifier: Apache-2.0
// H2Server where nghttp2 is not built in: nobody is served.
#include "net/h2_server.h"

namespace relay {

const bool H2Server::kBuilt = false;

// NOLINTBEGIN(readability-convert-member-functions-to-static): they are what they are in h2_server.cpp

H2Server::H2Server(H2ServerUser& user, const Limits& limits) : user_(user), limits_(limits) {}
H2Server::~H2Server() = default;
Status H2Server::feed(std::span<const std::byte>) { return {Code::kInvalid, "HTTP/2 is not built in"}; }
Status H2Server::pull(std::string&, size_t) { return {}; }
bool H2Server::has_output() const { return false; }
bool H2Server::is_over() const { return true; }
void H2Server::say_goodbye() {}
void H2Server::respond(int32_t, std::span<const H2Header>, bool) {}
void H2Server::write(int32_t, std::string_view) {}
void H2Server::finish(int32_t, std::span<const H2Header>) {}
void H2Server::reset(int32_t, uint32_t) {}
size_t H2Server::unsent(int32_t) const { return 0; }
uint64_t H2Server::taken(int32_t) const { return 0; }
// NOLINTEND(readability-convert-member-functions-to-static)

}  // namespace relay

// SPDX-License-Identifier: Apache-2.0
// Addresses: who a peer is (Addr), who may come (Network), where to listen or to dial (Endpoint).
//
//   Addr      24 bytes, IPv4, IPv6 or "a Unix socket"; an IPv4-mapped IPv6 address is always its IPv4 self
//   Network   10.0.0.0/8, ::1, fe80::/10, or the word `unix`
//   Endpoint  10.0.0.5:9999, [::1]:9999, name:9999, _svc._tcp.name, unix:/path; with tls:// before any of them it is TLS
//
// Where a parse fails, the Status' reason goes on where the text stops: `"10.0.0.5" has no port`. What the user probably meant
// is computed apart (`meant`), because a reason is static. Nothing here calls the kernel or the DNS.
#pragma once

#include <sys/socket.h>

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "lib/status.h"

namespace relay {

struct Addr {
  enum class Family : uint16_t { kNone, kV4, kV6, kUnix };

  std::array<uint8_t, 16> ip{};  // IPv4 in the first four bytes, the others zero
  uint32_t scope = 0;            // IPv6 link-local zone
  uint16_t port = 0;             // host order
  Family family = Family::kNone;

  // An address in numbers ("10.0.0.5", "::1", "fe80::1%eth0" is refused: zones are for the kernel's answers only).
  static std::optional<Addr> parse(std::string_view ip, uint16_t port);
  // kNone for a family that is none of ours, or if `length` is too short for the one it claims.
  static Addr from_sockaddr(const sockaddr_storage& from, socklen_t length);
  // Fills `to` and returns its length. REQUIRES: family is kV4 or kV6.
  socklen_t to_sockaddr(sockaddr_storage& to) const;

  bool is_loopback() const;             // 127.0.0.0/8, ::1
  bool is_any() const { return ip == std::array<uint8_t, 16>{}; }  // 0.0.0.0, ::
  bool same_host(const Addr& o) const;  // the same address (and zone), whatever the ports; kNone is nobody's
  std::string host_text() const;        // "10.0.0.5", "::1", "fe80::1%2", "unix", "-"
  std::string text() const;             // "10.0.0.5:9999", "[::1]:9999", "unix", "-"
};
static_assert(sizeof(Addr) == 24);

class Network {
 public:
  // An address, a CIDR block or the word `unix`. Bits behind the prefix must be zero. ::/0 is every IPv6 address and no IPv4
  // one, 0.0.0.0/0 the other way round.
  static Result<Network> parse(std::string_view text);
  // What was probably meant by a text that parse refuses: "10.0.0.0/24" for "10.0.0.5/24"; empty if there is no telling.
  static std::string meant(std::string_view text);
  // That address alone, in any zone. REQUIRES: family is not kNone.
  static Network host(const Addr& addr);

  bool contains(const Addr& addr) const;
  std::string text() const;

 private:
  Network(const Addr& base, uint8_t prefix) : base_(base), prefix_(prefix) {}
  static Result<Network> parse_block(std::string_view text);  // whatever the bits behind the prefix
  bool exact() const;                                         // no bits are set there
  Network masked() const;                                     // with those bits cleared

  Addr base_;
  uint8_t prefix_ = 0;
};

struct Endpoint {
  enum class Kind : uint8_t { kAddr, kName, kService, kUnix };

  Kind kind = Kind::kAddr;
  Addr addr;              // kAddr; its port always equals `port`
  std::string host;       // kName: host name; kService: "_svc._tcp.name"; kUnix: path
  uint16_t port = 0;      // 0 for kService and kUnix
  bool has_port = false;  // the text had one: "127.0.0.1:0" (the kernel chooses) is not "127.0.0.1" (another key says)
  bool tls = false;       // the text began with tls:// (tcp:// says that there is none, as no scheme does)
  bool anywhere = false;  // to listen: nobody asked for the address, which is "::"; where there is no IPv6, all of IPv4 will do

  // A place to dial: a port is required but for kService and kUnix, and it is not 0.
  static Result<Endpoint> parse_target(std::string_view text);
  // "10.0.0.5:PORT" for "10.0.0.5", "[::1]:9999" for "::1:9999", "tls://a:443" for "https://a/"; empty if there is no telling.
  static std::string meant_target(std::string_view text);
  // A place to listen: address with an optional port ("::1", "127.0.0.1:9000", "[::1]:9000"), or unix:PATH. Names are refused.
  static Result<Endpoint> parse_listen(std::string_view text);
  // The same, and ":9000" or "9000" for that port of all addresses, "localhost:9000" for 127.0.0.1:9000.
  static Result<Endpoint> parse_listen_anywhere(std::string_view text);
  // "tls://10.0.0.5:9999" for "ssl://10.0.0.5:9999"; empty if there is no telling.
  static std::string meant_listen(std::string_view text);
  std::string text() const;  // as the parsers read it

 private:
  static Result<Endpoint> parse_plain_target(std::string_view text);  // without a scheme
  static Result<Endpoint> parse_plain_listen(std::string_view text);
  static Result<Endpoint> parse_plain_anywhere(std::string_view text);
  static std::string meant_plain_target(std::string_view text);
};

}  // namespace relay

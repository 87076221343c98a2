// SPDX-License-Identifier: Apache-2.0
// Addresses: text and sockaddr in, Addr, Network and Endpoint out, and back.
//
// inet_pton and inet_ntop do the numbers (pure functions of libc; no kernel, no DNS, and no "010.1" or "127.1" readings).
// A host text is looked at in this order: unix:PATH, _service._tcp.name, [V6], an address, a name. A name whose last label is
// all digits is a mistyped IPv4 address and never a name, so that 10.0.0.256 is not looked up.
#include "net/addr.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/un.h>

#include <algorithm>
#include <cstring>

#include "lib/text.h"

namespace relay {
namespace {

constexpr std::string_view kUnixPrefix = "unix:";
constexpr std::string_view kTlsPrefix = "tls://";
constexpr std::string_view kTcpPrefix = "tcp://";
constexpr size_t kLongestName = 253;  // RFC 1035, section 2.3.4, in text form
constexpr size_t kLongestLabel = 63;
constexpr size_t kLongestPath = sizeof(sockaddr_un::sun_path) - 1;

Status invalid(const char* reason) { return {Code::kInvalid, reason}; }

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

// "host", "host:port", "[host]:port", "v6 without brackets".
struct HostPort {
  std::string_view host;
  std::optional<std::string_view> port;
  bool brackets = false;
};

Result<HostPort> split(std::string_view text) {
  if (text.starts_with('[')) {
    const size_t close = text.find(']');
    if (close == std::string_view::npos) return invalid("has a [ without its ]");
    const std::string_view host = text.substr(1, close - 1);
    const std::string_view rest = text.substr(close + 1);
    if (rest.empty()) return HostPort{host, std::nullopt, true};
    if (!rest.starts_with(':')) return invalid("has something other than :PORT behind its ]");
    return HostPort{host, rest.substr(1), true};
  }
  const size_t colon = text.find(':');
  // Two colons without brackets: IPv6, and where its port would start cannot be told.
  if (colon == std::string_view::npos || text.find(':', colon + 1) != std::string_view::npos)
    return HostPort{text, std::nullopt, false};
  return HostPort{text.substr(0, colon), text.substr(colon + 1), false};
}

std::optional<uint16_t> parse_port(std::string_view text) {
  const std::optional<uint64_t> port = parse_integer(text);
  if (!port || *port > UINT16_MAX) return std::nullopt;
  return static_cast<uint16_t>(*port);
}

bool valid_label(std::string_view label) {
  if (label.empty() || label.size() > kLongestLabel || label.front() == '-' || label.back() == '-') return false;
  // The underscore is no letter of a host name (RFC 952), but container platforms give such names.
  return std::all_of(label.begin(), label.end(), [](char c) { return is_digit(c) || is_letter(c) || c == '-' || c == '_'; });
}

// Dot-separated labels; one dot at the end makes a name absolute.
bool valid_name(std::string_view name) {
  if (name.ends_with('.')) name.remove_suffix(1);
  if (name.size() > kLongestName) return false;
  for (;;) {
    const size_t dot = name.find('.');
    if (!valid_label(name.substr(0, dot))) return false;
    if (dot == std::string_view::npos) return true;
    name.remove_prefix(dot + 1);
  }
}

bool ends_in_digits(std::string_view name) {
  if (name.ends_with('.')) name.remove_suffix(1);
  const std::string_view last = name.substr(name.rfind('.') + 1);  // npos + 1 is 0
  return !last.empty() && std::all_of(last.begin(), last.end(), is_digit);
}

Result<Endpoint> parse_unix(std::string_view path) {
  if (path.empty()) return invalid("has no path; write unix:/PATH");
  if (path.size() > kLongestPath) return invalid("has a path of more than the 107 bytes that a Unix socket can have");
  const auto control = [](char c) { return static_cast<uint8_t>(c) < ' ' || c == '\x7f'; };
  if (std::any_of(path.begin(), path.end(), control)) return invalid("has a control character in its path");
  Endpoint endpoint;
  endpoint.kind = Endpoint::Kind::kUnix;
  endpoint.host = path;
  return endpoint;
}

Result<Endpoint> parse_service(std::string_view text) {
  if (text.find(':') != std::string_view::npos)
    return invalid("has a port, but a service's port comes from the DNS; leave it out");
  constexpr std::string_view kMiddle = "._tcp.";
  const size_t dot = std::min(text.size(), text.find('.'));
  const bool complete = dot > 1 && text.substr(dot).starts_with(kMiddle) && valid_name(text.substr(dot + kMiddle.size()));
  if (!complete || !valid_name(text)) return invalid("is not a service; write _SERVICE._tcp.NAME");
  Endpoint endpoint;
  endpoint.kind = Endpoint::Kind::kService;
  endpoint.host = text;
  return endpoint;
}

Endpoint addr_endpoint(const Addr& addr, bool has_port) {
  Endpoint endpoint;
  endpoint.addr = addr;
  endpoint.port = addr.port;
  endpoint.has_port = has_port;
  return endpoint;
}

// "tls://10.0.0.5" is {tls://, 10.0.0.5}; what has no scheme has an empty one. A Unix socket's path may have "://" in it.
struct Schemed {
  std::string_view scheme;
  std::string_view rest;
};
Schemed take_scheme(std::string_view text) {
  const size_t end = text.find("://");
  if (end == std::string_view::npos || text.starts_with(kUnixPrefix)) return {{}, text};
  return {text.substr(0, end + 3), text.substr(end + 3)};
}

using Parse = Result<Endpoint> (*)(std::string_view text);
Result<Endpoint> with_scheme(std::string_view text, Parse parse) {
  const Schemed parts = take_scheme(text);
  if (parts.scheme.empty()) return parse(text);
  if (parts.scheme != kTlsPrefix && parts.scheme != kTcpPrefix) return invalid("has a scheme that is neither tls:// nor tcp://");
  Result<Endpoint> endpoint = parse(parts.rest);
  if (endpoint.ok()) endpoint->tls = parts.scheme == kTlsPrefix;
  return endpoint;
}

// A scheme that means TLS elsewhere, or a slip of the finger; empty if it means nothing.
std::string_view meant_scheme(std::string_view scheme) {
  for (const std::string_view tls : {"tls://", "TLS://", "ssl://", "https://", "tcps://", "tcp+tls://", "tls+tcp://", "wss://"})
    if (scheme == tls) return kTlsPrefix;
  for (const std::string_view plain : {"tcp://", "TCP://", "http://", "plain://", "tcp4://", "tcp6://", "ws://"})
    if (scheme == plain) return kTcpPrefix;
  return {};
}

// "a:443" for what follows https:// in "https://a/"; as it is where there is no more to tell.
std::string without_url(std::string_view scheme, std::string_view rest) {
  std::string place(rest.substr(0, rest.find('/')));
  const bool has_port = place.find(':') != std::string::npos && !place.ends_with(']');
  if (!place.empty() && !has_port && (scheme == "https://" || scheme == "wss://")) place += ":443";
  if (!place.empty() && !has_port && (scheme == "http://" || scheme == "ws://")) place += ":80";
  return place;
}

// Why `host` is not an address, or nothing if it is one (or, outside of brackets, may be a name).
std::optional<Status> host_fault(const HostPort& parts) {
  const std::string_view host = parts.host;
  const bool colons = host.find(':') != std::string_view::npos;
  if (colons && host.find('%') != std::string_view::npos) return invalid("has an IPv6 zone; zones cannot be given");
  if (parts.brackets && !colons) return invalid("has brackets around something that is not an IPv6 address");
  if (host.empty()) return invalid("has no host");
  if (Addr::parse(host, 0)) return std::nullopt;
  if (colons && host.find_first_not_of("0123456789abcdefABCDEF:.") == std::string_view::npos)
    return invalid("is not an IPv6 address");
  if (ends_in_digits(host)) return invalid("is not an IPv4 address");
  return std::nullopt;
}

}  // namespace

std::optional<Addr> Addr::parse(std::string_view ip, uint16_t port) {
  std::array<char, INET6_ADDRSTRLEN> text{};  // filled with zeros: what is copied stays terminated
  if (ip.size() >= text.size() || ip.find('\0') != std::string_view::npos) return std::nullopt;
  std::copy(ip.begin(), ip.end(), text.begin());
  Addr addr;
  addr.port = port;
  if (inet_pton(AF_INET, text.data(), addr.ip.data()) == 1) {
    addr.family = Family::kV4;
    return addr;
  }
  in6_addr six{};
  if (inet_pton(AF_INET6, text.data(), &six) != 1) return std::nullopt;
  if (IN6_IS_ADDR_V4MAPPED(&six)) {
    addr.family = Family::kV4;
    std::memcpy(addr.ip.data(), &six.s6_addr[12], 4);
  } else {
    addr.family = Family::kV6;
    std::memcpy(addr.ip.data(), &six, 16);
  }
  return addr;
}

Addr Addr::from_sockaddr(const sockaddr_storage& from, socklen_t length) {
  Addr addr;
  if (from.ss_family == AF_INET && length >= sizeof(sockaddr_in)) {
    sockaddr_in in{};
    std::memcpy(&in, &from, sizeof in);
    addr.family = Family::kV4;
    addr.port = ntohs(in.sin_port);
    std::memcpy(addr.ip.data(), &in.sin_addr, 4);
  } else if (from.ss_family == AF_INET6 && length >= sizeof(sockaddr_in6)) {
    sockaddr_in6 in{};
    std::memcpy(&in, &from, sizeof in);
    addr.port = ntohs(in.sin6_port);
    const bool mapped = IN6_IS_ADDR_V4MAPPED(&in.sin6_addr);
    addr.family = mapped ? Family::kV4 : Family::kV6;
    addr.scope = mapped ? 0 : in.sin6_scope_id;
    std::memcpy(addr.ip.data(), &in.sin6_addr.s6_addr[mapped ? 12 : 0], mapped ? 4 : 16);
  } else if (from.ss_family == AF_UNIX && length >= sizeof(sa_family_t)) {
    addr.family = Family::kUnix;
  }
  return addr;
}

socklen_t Addr::to_sockaddr(sockaddr_storage& to) const {
  CHECK(family == Family::kV4 || family == Family::kV6);
  to = {};
  if (family == Family::kV4) {
    sockaddr_in in{};
    in.sin_family = AF_INET;
    in.sin_port = htons(port);
    std::memcpy(&in.sin_addr, ip.data(), 4);
    std::memcpy(&to, &in, sizeof in);
    return sizeof in;
  }
  sockaddr_in6 in{};
  in.sin6_family = AF_INET6;
  in.sin6_port = htons(port);
  in.sin6_scope_id = scope;
  std::memcpy(&in.sin6_addr, ip.data(), 16);
  std::memcpy(&to, &in, sizeof in);
  return sizeof in;
}

bool Addr::is_loopback() const {
  if (family == Family::kV4) return ip[0] == 127;
  return family == Family::kV6 && ip.back() == 1 && std::all_of(ip.begin(), ip.end() - 1, [](uint8_t b) { return b == 0; });
}

bool Addr::same_host(const Addr& o) const {
  return family != Family::kNone && family == o.family && ip == o.ip && scope == o.scope;
}

std::string Addr::host_text() const {
  std::array<char, INET6_ADDRSTRLEN> text{};
  switch (family) {
    case Family::kNone: return "-";
    case Family::kUnix: return "unix";
    case Family::kV4: return inet_ntop(AF_INET, ip.data(), text.data(), text.size());
    case Family::kV6: break;
  }
  const std::string out = inet_ntop(AF_INET6, ip.data(), text.data(), text.size());
  return scope == 0 ? out : out + '%' + std::to_string(scope);
}

std::string Addr::text() const {
  std::string host = host_text();  // not const: it is moved out
  switch (family) {
    case Family::kNone:
    case Family::kUnix: return host;
    case Family::kV4: return host + ':' + std::to_string(port);
    case Family::kV6: break;
  }
  return '[' + host + "]:" + std::to_string(port);
}

Result<Network> Network::parse_block(std::string_view text) {
  if (text == "unix") {
    Addr addr;
    addr.family = Addr::Family::kUnix;
    return host(addr);
  }
  const size_t slash = text.find('/');
  const std::string_view ip = text.substr(0, slash);
  const std::optional<Addr> addr = Addr::parse(ip, 0);
  if (!addr) return invalid("is not an address, a CIDR block or the word unix");
  if (slash == std::string_view::npos) return host(*addr);
  const std::optional<uint64_t> prefix = parse_integer(text.substr(slash + 1));
  const bool six = ip.find(':') != std::string_view::npos;
  if (six && (!prefix || *prefix > 128)) return invalid("has a prefix that is not a number from 0 to 128");
  if (!six && (!prefix || *prefix > 32)) return invalid("has a prefix that is not a number from 0 to 32");
  // ::ffff:10.0.0.0/104 is 10.0.0.0/8. A shorter prefix than 96 would cut into the mark of the mapping itself.
  const bool mapped = six && addr->family == Addr::Family::kV4;
  if (mapped && *prefix < 96) return invalid("has bits set behind its prefix");
  return Network(*addr, static_cast<uint8_t>(*prefix - (mapped ? 96U : 0U)));
}

Result<Network> Network::parse(std::string_view text) {
  Result<Network> block = parse_block(text);
  if (block.ok() && !block->exact()) return invalid("has bits set behind its prefix");
  return block;
}

std::string Network::meant(std::string_view text) {
  if (const Result<Network> block = parse_block(text); block.ok()) return block->masked().text();
  // "[::1]", "10.0.0.5:9999": an address in a dress.
  const Result<Endpoint> place = Endpoint::parse_listen(text);
  return place.ok() && place->kind == Endpoint::Kind::kAddr ? place->addr.host_text() : std::string();
}

Network Network::host(const Addr& addr) {
  Addr base = addr;
  base.scope = 0;
  base.port = 0;
  switch (addr.family) {
    case Addr::Family::kV4: return {base, 32};
    case Addr::Family::kV6: return {base, 128};
    case Addr::Family::kUnix: return {base, 0};
    case Addr::Family::kNone: break;
  }
  CHECK(addr.family != Addr::Family::kNone);
  return {base, 0};
}

Network Network::masked() const {
  Network block = *this;
  for (size_t i = 0; i < block.base_.ip.size(); ++i) {
    const size_t kept = std::clamp<size_t>(prefix_, i * 8, i * 8 + 8) - i * 8;  // bits of this byte before the prefix's end
    block.base_.ip[i] = static_cast<uint8_t>(block.base_.ip[i] & (0xff00U >> kept));
  }
  return block;
}

bool Network::exact() const { return masked().base_.ip == base_.ip; }

bool Network::contains(const Addr& addr) const {
  return addr.family == base_.family && addr.family != Addr::Family::kNone &&
         Network(addr, prefix_).masked().base_.ip == base_.ip;
}

std::string Network::text() const {
  const bool alone = base_.family == Addr::Family::kUnix || prefix_ == (base_.family == Addr::Family::kV4 ? 32 : 128);
  return alone ? base_.host_text() : base_.host_text() + '/' + std::to_string(prefix_);
}

Result<Endpoint> Endpoint::parse_target(std::string_view text) { return with_scheme(text, parse_plain_target); }

Result<Endpoint> Endpoint::parse_plain_target(std::string_view text) {
  if (text.empty()) return invalid("is empty");
  if (text.starts_with(kUnixPrefix)) return parse_unix(text.substr(kUnixPrefix.size()));
  if (text.starts_with('_')) return parse_service(text);
  const Result<HostPort> parts = split(text);
  if (!parts.ok()) return parts.status();
  if (const std::optional<Status> fault = host_fault(*parts)) {
    return meant_plain_target(text).empty() ? *fault : invalid("is an IPv6 address without brackets");
  }
  const std::optional<Addr> addr = Addr::parse(parts->host, 0);
  if (!addr && !valid_name(parts->host)) return invalid("is neither an address nor a host name");
  if (!parts->port || parts->port->empty()) {
    const bool bare_six = !parts->brackets && parts->host.find(':') != std::string_view::npos;
    if (addr || parts->port) return invalid(bare_six ? "is an IPv6 address without brackets" : "has no port");
    Endpoint bare;
    bare.kind = Kind::kName;
    bare.host = parts->host;
    return bare;
  }
  const std::optional<uint16_t> port = parse_port(*parts->port);
  if (!port || *port == 0) return invalid("has a port that is not a number from 1 to 65535");
  if (addr) {
    Addr full = *addr;
    full.port = *port;
    return addr_endpoint(full, true);
  }
  Endpoint endpoint;
  endpoint.kind = Kind::kName;
  endpoint.host = parts->host;
  endpoint.port = *port;
  endpoint.has_port = true;
  return endpoint;
}

std::string Endpoint::meant_target(std::string_view text) {
  const Schemed parts = take_scheme(text);
  if (parts.scheme.empty()) return meant_plain_target(text);
  const std::string scheme(meant_scheme(parts.scheme));
  if (scheme.empty() || parts.rest.find("://") != std::string_view::npos) return {};
  const std::string rest = without_url(parts.scheme, parts.rest);
  if (scheme != parts.scheme && parse_plain_target(rest).ok()) return scheme + rest;
  const std::string meant = meant_plain_target(rest);
  return meant.empty() ? meant : scheme + meant;
}

std::string Endpoint::meant_plain_target(std::string_view text) {
  // An IPv6 address with a port but without brackets. With one or two digits the last group is more likely the address's own.
  const size_t colon = text.rfind(':');
  if (colon != std::string_view::npos && !text.starts_with('[')) {
    const std::string_view head = text.substr(0, colon);
    const std::string_view tail = text.substr(colon + 1);
    const bool six = head.find(':') != std::string_view::npos && Addr::parse(head, 0);
    if (six && tail.size() > 2 && parse_port(tail).value_or(0) != 0) return std::string("[").append(head).append("]:").append(tail);
  }
  if (text.starts_with('_')) return {};  // a service's name, and those have no port
  const Result<HostPort> parts = split(text);
  if (!parts.ok() || (parts->port && !parts->port->empty()) || host_fault(*parts)) return {};
  const std::string host(parts->host);
  const std::optional<Addr> addr = Addr::parse(host, 0);
  if (addr && host.find(':') != std::string::npos) return '[' + host + "]:PORT";
  return addr || valid_name(host) ? host + ":PORT" : std::string();
}

Result<Endpoint> Endpoint::parse_listen(std::string_view text) { return with_scheme(text, parse_plain_listen); }

std::string Endpoint::meant_listen(std::string_view text) {
  const Schemed parts = take_scheme(text);
  const std::string scheme(meant_scheme(parts.scheme));
  const std::string rest = without_url(parts.scheme, parts.rest);
  return !scheme.empty() && scheme != parts.scheme && parse_plain_listen(rest).ok() ? scheme + rest : std::string();
}

Result<Endpoint> Endpoint::parse_plain_listen(std::string_view text) {
  if (text.empty()) return invalid("is empty");
  if (text.starts_with(kUnixPrefix)) return parse_unix(text.substr(kUnixPrefix.size()));
  const Result<HostPort> parts = split(text);
  if (!parts.ok()) return parts.status();
  if (const std::optional<Status> fault = host_fault(*parts)) return *fault;
  std::optional<Addr> addr = Addr::parse(parts->host, 0);
  if (!addr) return invalid("is not an address");
  if (!parts->port) return addr_endpoint(*addr, false);
  const std::optional<uint16_t> port = parse_port(*parts->port);
  if (!port) return invalid("has a port that is not a number from 0 to 65535");
  addr->port = *port;
  return addr_endpoint(*addr, true);
}

Result<Endpoint> Endpoint::parse_listen_anywhere(std::string_view text) { return with_scheme(text, parse_plain_anywhere); }

Result<Endpoint> Endpoint::parse_plain_anywhere(std::string_view text) {
  constexpr std::string_view kLocal = "localhost:";
  if (text.starts_with(kLocal)) return parse_plain_listen(std::string("127.0.0.1:").append(text.substr(kLocal.size())));
  const bool colon = text.starts_with(':') && text.find(':', 1) == std::string_view::npos;  // "::1" is an address
  const std::string_view digits = text.substr(colon ? 1 : 0);
  const bool number = !digits.empty() && std::all_of(digits.begin(), digits.end(), is_digit);
  if (!colon && !number) return parse_plain_listen(text);
  const std::optional<uint16_t> port = parse_port(digits);
  if (!port) return invalid("has a port that is not a number from 0 to 65535");
  Addr addr;
  addr.family = Addr::Family::kV6;
  addr.port = *port;
  Endpoint endpoint = addr_endpoint(addr, true);
  endpoint.anywhere = true;
  return endpoint;
}

std::string Endpoint::text() const {
  const std::string scheme(tls ? kTlsPrefix : "");
  switch (kind) {
    case Kind::kAddr: return scheme + (has_port || port != 0 ? addr.text() : addr.host_text());
    case Kind::kName: return scheme + host + (has_port || port != 0 ? ':' + std::to_string(port) : "");
    case Kind::kService: return scheme + host;
    case Kind::kUnix: break;
  }
  return scheme + std::string(kUnixPrefix) + host;
}

}  // namespace relay

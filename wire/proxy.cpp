// SPDX-License-Identifier: Apache-2.0
// The PROXY protocol, read.
#include "wire/proxy.h"

#include <arpa/inet.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "lib/text.h"

namespace relay {
namespace {

constexpr std::string_view kSignature1 = "PROXY ";
constexpr std::string_view kSignature2("\r\n\r\n\0\r\nQUIT\n", 12);
constexpr size_t kLine1Most = 107;  // with its end
constexpr size_t kHead2 = 16;       // signature, version, family, length
constexpr Status kNone{Code::kInvalid, "no PROXY header"};

bool take_ip(const std::string& text, ProxyHeader& header) {
  const int family = header.family == ProxyHeader::Family::kV4 ? AF_INET : AF_INET6;
  return inet_pton(family, text.c_str(), header.ip.data()) == 1;
}

std::optional<uint16_t> port_of(std::string_view text) {
  const std::optional<uint64_t> number = parse_integer(text);
  if (!number || *number > UINT16_MAX || std::to_string(*number) != text) return std::nullopt;
  return static_cast<uint16_t>(*number);
}

Result<size_t> parse1(std::string_view text, ProxyHeader& header) {
  const size_t end = text.substr(0, kLine1Most).find("\r\n");
  if (end == std::string_view::npos) return text.size() < kLine1Most ? Result<size_t>(size_t{0}) : Result<size_t>(kNone);
  const std::vector<std::string_view> words = split(text.substr(0, end), ' ');
  if (words.size() >= 2 && words[1] == "UNKNOWN") return end + 2;
  if (words.size() != 6 || (words[1] != "TCP4" && words[1] != "TCP6")) return kNone;
  header.family = words[1] == "TCP4" ? ProxyHeader::Family::kV4 : ProxyHeader::Family::kV6;
  ProxyHeader to = header;
  const std::optional<uint16_t> port = port_of(words[4]);
  if (!take_ip(std::string(words[2]), header) || !take_ip(std::string(words[3]), to) || !port || !port_of(words[5])) return kNone;
  header.port = *port;
  return end + 2;
}

Result<size_t> parse2(std::string_view text, ProxyHeader& header) {
  if (text.size() < kHead2) return size_t{0};
  const auto byte = [&](size_t at) { return static_cast<uint8_t>(text[at]); };
  const size_t length = size_t{byte(14)} << 8 | byte(15);
  const unsigned version = byte(12) >> 4;
  const unsigned command = byte(12) & 0xfU;
  if (version != 2 || command > 1) return kNone;
  if (kHead2 + length > ProxyHeader::kMost) return Status{Code::kLimit, "a PROXY header that is too long"};
  if (text.size() < kHead2 + length) return size_t{0};
  const unsigned family = byte(13) >> 4;
  const size_t ip = family == 1 ? 4 : 16;
  if (command == 0 || (family != 1 && family != 2)) return kHead2 + length;  // for itself, or from a Unix socket
  if (length < 2 * ip + 4) return kNone;
  header.family = family == 1 ? ProxyHeader::Family::kV4 : ProxyHeader::Family::kV6;
  std::memcpy(header.ip.data(), text.data() + kHead2, ip);
  const size_t port = kHead2 + 2 * ip;
  header.port = static_cast<uint16_t>(byte(port) << 8 | byte(port + 1));
  return kHead2 + length;
}

}  // namespace

Result<size_t> ProxyHeader::parse(std::span<const std::byte> bytes, ProxyHeader& header) {
  header = {};
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  for (const std::string_view signature : {kSignature1, kSignature2}) {
    const size_t both = std::min(text.size(), signature.size());
    if (text.substr(0, both) != signature.substr(0, both)) continue;
    if (text.size() < signature.size()) return size_t{0};
    ProxyHeader read;
    const Result<size_t> size = signature == kSignature1 ? parse1(text, read) : parse2(text, read);
    if (size.ok()) header = read;
    return size;
  }
  return kNone;
}

}  // namespace relay

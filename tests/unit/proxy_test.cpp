// SPDX-License-Identifier: Apache-2.0
// wire/proxy: PROXY headers, whole, in pieces, and what is none.
#include "wire/proxy.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>

namespace relay {
namespace {

using Family = ProxyHeader::Family;

// The size, or minus the code of the fault.
int parse(std::string_view text, ProxyHeader& header) {
  const Result<size_t> size = ProxyHeader::parse(std::as_bytes(std::span(text)), header);
  return size.ok() ? static_cast<int>(*size) : -static_cast<int>(size.status().code());
}
int parse(std::string_view text) {
  ProxyHeader header;
  return parse(text, header);
}
constexpr int kBad = -static_cast<int>(Code::kInvalid);
constexpr int kLong = -static_cast<int>(Code::kLimit);

std::string version2(int version_command, int family, std::string_view rest) {
  std::string text("\r\n\r\n\0\r\nQUIT\n", 12);
  text += static_cast<char>(version_command);
  text += static_cast<char>(family);
  text += static_cast<char>(rest.size() >> 8);
  text += static_cast<char>(rest.size() & 0xff);
  return text + std::string(rest);
}
const std::string kV4("\xc0\x00\x02\x01\xc6\x33\x64\x01\x12\x67\x1f\x3f", 12);  // 192.0.2.1:4711 to 198.51.100.1:7999

TEST(Proxy, Version1) {
  ProxyHeader header;
  EXPECT_EQ(parse("PROXY TCP4 192.0.2.1 198.51.100.1 4711 7999\r\nhello", header), 45);
  EXPECT_EQ(header.family, Family::kV4);
  EXPECT_EQ(header.port, 4711);
  EXPECT_EQ(header.ip[0], 192);
  EXPECT_EQ(header.ip[3], 1);
  EXPECT_EQ(parse("PROXY TCP6 2001:db8::1 2001:db8::2 4711 7999\r\n", header), 46);
  EXPECT_EQ(header.family, Family::kV6);
  EXPECT_EQ(header.ip[15], 1);
  EXPECT_EQ(parse("PROXY UNKNOWN\r\n", header), 15);
  EXPECT_EQ(header.family, Family::kNone);
  EXPECT_EQ(parse("PROXY UNKNOWN ffff:f...f:ffff whatever 65535 65535\r\n"), 52);
}

TEST(Proxy, Version2) {
  ProxyHeader header;
  EXPECT_EQ(parse(version2(0x21, 0x11, kV4) + "hello", header), 28);
  EXPECT_EQ(header.family, Family::kV4);
  EXPECT_EQ(header.port, 4711);
  EXPECT_EQ(header.ip[3], 1);
  const std::string v6 = std::string("\x20\x01\x0d\xb8", 4) + std::string(11, '\0') + "\x07" + std::string(16, '\0') + std::string("\x00\x50\x00\x51", 4);
  EXPECT_EQ(parse(version2(0x21, 0x21, v6 + "more of it"), header), 62);
  EXPECT_EQ(header.family, Family::kV6);
  EXPECT_EQ(header.ip[15], 7);
  EXPECT_EQ(header.port, 80);
  EXPECT_EQ(parse(version2(0x20, 0x11, kV4), header), 28);  // LOCAL: a health check of the balancer's own
  EXPECT_EQ(header.family, Family::kNone);
  EXPECT_EQ(parse(version2(0x21, 0x31, std::string(216, 'x'))), 232);  // from a Unix socket
}

TEST(Proxy, InPieces) {
  for (const std::string& text : {std::string("PROXY TCP4 192.0.2.1 198.51.100.1 4711 7999\r\n"), version2(0x21, 0x11, kV4)}) {
    for (size_t n = 0; n < text.size(); ++n) EXPECT_EQ(parse(std::string_view(text).substr(0, n)), 0) << n;
    EXPECT_EQ(parse(text), static_cast<int>(text.size()));
  }
}

TEST(Proxy, WhatIsNone) {
  for (const std::string_view text : {"hello", "PROXX", "\r\nhello", "PROXY TCP4 192.0.2.1 198.51.100.1 4711\r\n", "PROXY TCP4 192.0.2.1 198.51.100.1 4711 70000\r\n",
                                      "PROXY TCP4 192.0.2.1 198.51.100.1 04711 7999\r\n", "PROXY TCP4 2001:db8::1 2001:db8::2 1 2\r\n", "PROXY TCP4 192.0.2.1 x 1 2\r\n",
                                      "PROXY UDP4 192.0.2.1 198.51.100.1 4711 7999\r\n", "PROXY  TCP4 192.0.2.1 198.51.100.1 4711 7999\r\n", "PROXY\r\n"})
    EXPECT_EQ(parse(text), kBad) << text;
  EXPECT_EQ(parse("PROXY " + std::string(200, 'x')), kBad);
  EXPECT_EQ(parse(version2(0x11, 0x11, kV4)), kBad);
  EXPECT_EQ(parse(version2(0x22, 0x11, kV4)), kBad);
  EXPECT_EQ(parse(version2(0x21, 0x11, "short")), kBad);
  EXPECT_EQ(parse(version2(0x21, 0x11, std::string(5000, 'x'))), kLong);
}

}  // namespace
}  // namespace relay

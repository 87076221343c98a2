// SPDX-License-Identifier: Apache-2.0
// net/addr: every form of address, block and endpoint that is read, every reason for which one is refused, what is proposed
// instead, and the way to sockaddr and back.
#include "net/addr.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/un.h>

#include <cstring>
#include <vector>

namespace relay {
namespace {

using Family = Addr::Family;
using Kind = Endpoint::Kind;

Addr addr(std::string_view ip, uint16_t port = 0) {
  const std::optional<Addr> parsed = Addr::parse(ip, port);
  EXPECT_TRUE(parsed) << ip;
  return parsed.value_or(Addr());
}

Addr unix_addr() {
  Addr out;
  out.family = Family::kUnix;
  return out;
}

TEST(Addr, ReadsNumbersOnly) {
  struct Row {
    const char* text;
    Family family;
    const char* out;
  };
  const std::vector<Row> rows = {
      {"10.0.0.5", Family::kV4, "10.0.0.5:9"},
      {"0.0.0.0", Family::kV4, "0.0.0.0:9"},
      {"255.255.255.255", Family::kV4, "255.255.255.255:9"},
      {"::", Family::kV6, "[::]:9"},
      {"::1", Family::kV6, "[::1]:9"},
      {"2001:DB8:0:0::5", Family::kV6, "[2001:db8::5]:9"},
      {"::ffff:10.0.0.5", Family::kV4, "10.0.0.5:9"},
      {"::ffff:a00:5", Family::kV4, "10.0.0.5:9"},
      {"64:ff9b::10.0.0.5", Family::kV6, "[64:ff9b::a00:5]:9"},
  };
  for (const Row& row : rows) {
    const Addr parsed = addr(row.text, 9);
    EXPECT_EQ(parsed.family, row.family) << row.text;
    EXPECT_EQ(parsed.text(), row.out);
  }
  for (const char* bad : {"",           "localhost", "10.0.0",     "10.0.0.256",        "10.0.0.5.6",
                          "010.0.0.1",  "1",         "0x7f.0.0.1", " 10.0.0.5",         "10.0.0.5 ",
                          "10.0.0.5:9", "[::1]",     ":::",        "1::2::3",           "fe80::1%eth0",
                          "fe80::1%1",  "::g",       "12345::",    "1:2:3:4:5:6:7:8:9", "10.0.0.0/8",
                          "unix"}) {
    EXPECT_FALSE(Addr::parse(bad, 0)) << bad;
  }
  EXPECT_FALSE(Addr::parse(std::string_view("10.0.0.5\0", 9), 0));
  EXPECT_FALSE(Addr::parse(std::string(100'000, '1'), 0));
}

TEST(Addr, SaysWhatItIs) {
  EXPECT_EQ(Addr().text(), "-");
  EXPECT_EQ(Addr().host_text(), "-");
  EXPECT_EQ(unix_addr().text(), "unix");
  EXPECT_EQ(addr("::1", 1).host_text(), "::1");
  Addr local = addr("fe80::1", 22);
  local.scope = 3;
  EXPECT_EQ(local.text(), "[fe80::1%3]:22");
}

TEST(Addr, GoesToTheKernelAndBack) {
  for (const char* ip : {"10.0.0.5", "::1", "2001:db8::5"}) {
    const Addr before = addr(ip, 9999);
    sockaddr_storage storage{};
    const socklen_t length = before.to_sockaddr(storage);
    const Addr after = Addr::from_sockaddr(storage, length);
    EXPECT_EQ(after.text(), before.text());
    EXPECT_TRUE(after.same_host(before));
    EXPECT_EQ(Addr::from_sockaddr(storage, length - 1).family, Family::kNone) << "too short";
  }
}

TEST(Addr, KeepsTheZoneAndUnmapsMappedPeers) {
  Addr local = addr("fe80::1", 22);
  local.scope = 7;
  sockaddr_storage storage{};
  EXPECT_EQ(Addr::from_sockaddr(storage, local.to_sockaddr(storage)).scope, 7U);

  sockaddr_in6 in{};
  in.sin6_family = AF_INET6;
  in.sin6_port = htons(80);
  in.sin6_scope_id = 7;
  inet_pton(AF_INET6, "::ffff:127.0.0.9", &in.sin6_addr);
  std::memcpy(&storage, &in, sizeof in);
  const Addr mapped = Addr::from_sockaddr(storage, sizeof in);
  EXPECT_EQ(mapped.text(), "127.0.0.9:80");
  EXPECT_EQ(mapped.scope, 0U);
  EXPECT_TRUE(mapped.same_host(addr("127.0.0.9")));
}

TEST(Addr, KnowsUnixPeersAndStrangers) {
  sockaddr_storage storage{};
  storage.ss_family = AF_UNIX;
  EXPECT_EQ(Addr::from_sockaddr(storage, sizeof(sa_family_t)).family, Family::kUnix);
  EXPECT_EQ(Addr::from_sockaddr(storage, 0).family, Family::kNone);
  storage.ss_family = AF_PACKET;
  EXPECT_EQ(Addr::from_sockaddr(storage, sizeof storage).family, Family::kNone);
}

TEST(AddrDeathTest, OnlyInternetAddressesBecomeSockaddrs) {
  sockaddr_storage storage{};
  EXPECT_DEATH((void)Addr().to_sockaddr(storage), "addr.cpp");
  EXPECT_DEATH((void)unix_addr().to_sockaddr(storage), "addr.cpp");
  EXPECT_DEATH((void)Network::host(Addr()), "addr.cpp");
}

TEST(Addr, Loopback) {
  for (const char* yes : {"127.0.0.1", "127.255.255.255", "::1", "::ffff:127.0.0.1"}) EXPECT_TRUE(addr(yes).is_loopback()) << yes;
  for (const char* no : {"126.0.0.1", "128.0.0.1", "::", "::2", "1::1", "0.0.0.0"}) EXPECT_FALSE(addr(no).is_loopback()) << no;
  EXPECT_FALSE(unix_addr().is_loopback());
  EXPECT_FALSE(Addr().is_loopback());
}

TEST(Addr, SameHostWhateverThePorts) {
  EXPECT_TRUE(addr("10.0.0.5", 1).same_host(addr("10.0.0.5", 2)));
  EXPECT_TRUE(addr("10.0.0.5").same_host(addr("::ffff:10.0.0.5")));
  EXPECT_TRUE(unix_addr().same_host(unix_addr()));
  EXPECT_FALSE(addr("10.0.0.5").same_host(addr("10.0.0.6")));
  EXPECT_FALSE(addr("0.0.0.0").same_host(addr("::")));
  EXPECT_FALSE(Addr().same_host(Addr()));
  Addr zone = addr("fe80::1");
  zone.scope = 1;
  EXPECT_FALSE(zone.same_host(addr("fe80::1")));
}

TEST(Network, ReadsAndWrites) {
  struct Row {
    const char* text;
    const char* out;
  };
  const std::vector<Row> rows = {
      {"10.0.0.0/8", "10.0.0.0/8"},
      {"10.0.0.5", "10.0.0.5"},
      {"10.0.0.5/32", "10.0.0.5"},
      {"0.0.0.0/0", "0.0.0.0/0"},
      {"::/0", "::/0"},
      {"::1", "::1"},
      {"::1/128", "::1"},
      {"fe80::/10", "fe80::/10"},
      {"unix", "unix"},
      {"172.16.0.0/12", "172.16.0.0/12"},
      {"::ffff:10.0.0.0/104", "10.0.0.0/8"},
      {"::ffff:10.0.0.5", "10.0.0.5"},
      {"::ffff:0.0.0.0/96", "0.0.0.0/0"},
      {"10.0.0.4/31", "10.0.0.4/31"},
  };
  for (const Row& row : rows) {
    const Result<Network> network = Network::parse(row.text);
    ASSERT_TRUE(network.ok()) << row.text << ' ' << network.status().reason();
    EXPECT_EQ(network->text(), row.out);
  }
}

TEST(Network, RefusesWithAReasonAndAProposal) {
  struct Row {
    const char* text;
    const char* reason;
    const char* meant;
  };
  constexpr const char* kNone = "is not an address, a CIDR block or the word unix";
  constexpr const char* kBits = "has bits set behind its prefix";
  constexpr const char* kPrefix4 = "has a prefix that is not a number from 0 to 32";
  constexpr const char* kPrefix6 = "has a prefix that is not a number from 0 to 128";
  const std::vector<Row> rows = {
      {"", kNone, ""},
      {"localhost", kNone, ""},
      {"/8", kNone, ""},
      {"10.0.0/8", kNone, ""},
      {"Unix", kNone, ""},
      {"unix/0", kNone, ""},
      {"unix:/run/x", kNone, ""},
      {"fe80::1%eth0", kNone, ""},
      {"[::1]", kNone, "::1"},
      {"10.0.0.5:9999", kNone, "10.0.0.5"},
      {"10.0.0.5/24", kBits, "10.0.0.0/24"},
      {"10.1.2.3/12", kBits, "10.0.0.0/12"},
      {"10.0.0.5/0", kBits, "0.0.0.0/0"},
      {"10.0.0.5/31", kBits, "10.0.0.4/31"},
      {"2001:db8::1/64", kBits, "2001:db8::/64"},
      {"::1/127", kBits, "::/127"},
      {"::ffff:10.0.0.5/120", kBits, "10.0.0.0/24"},
      {"::ffff:10.0.0.0/95", kBits, ""},
      {"10.0.0.0/33", kPrefix4, ""},
      {"10.0.0.0/", kPrefix4, ""},
      {"10.0.0.0/-1", kPrefix4, ""},
      {"10.0.0.0/8/8", kPrefix4, ""},
      {"10.0.0.0/255.0.0.0", kPrefix4, ""},
      {"::/129", kPrefix6, ""},
      {"::/a", kPrefix6, ""},
      {"::ffff:10.0.0.0/129", kPrefix6, ""},
  };
  for (const Row& row : rows) {
    const Result<Network> network = Network::parse(row.text);
    ASSERT_FALSE(network.ok()) << row.text;
    EXPECT_EQ(network.status().code(), Code::kInvalid);
    EXPECT_STREQ(network.status().reason(), row.reason) << row.text;
    EXPECT_EQ(Network::meant(row.text), row.meant) << row.text;
  }
}

TEST(Network, Contains) {
  struct Row {
    const char* network;
    const char* in;
    const char* out;
  };
  const std::vector<Row> rows = {
      {"10.0.0.0/8", "10.255.255.255", "11.0.0.0"},
      {"10.0.0.0/9", "10.127.255.255", "10.128.0.0"},
      {"10.0.0.4/31", "10.0.0.5", "10.0.0.6"},
      {"10.0.0.5", "10.0.0.5", "10.0.0.4"},
      {"0.0.0.0/0", "255.1.2.3", "::1"},
      {"::/0", "2001:db8::1", "10.0.0.5"},
      {"fe80::/10", "febf::1", "fec0::1"},
      {"2001:db8::/33", "2001:db8:7fff::1", "2001:db8:8000::"},
      {"::1", "::1", "::"},
      {"127.0.0.0/8", "::ffff:127.1.2.3", "128.0.0.1"},
      {"::ffff:10.0.0.0/104", "10.9.9.9", "11.0.0.0"},
  };
  for (const Row& row : rows) {
    const Result<Network> network = Network::parse(row.network);
    ASSERT_TRUE(network.ok()) << row.network;
    EXPECT_TRUE(network->contains(addr(row.in, 80))) << row.network << ' ' << row.in;
    EXPECT_FALSE(network->contains(addr(row.out, 80))) << row.network << ' ' << row.out;
    EXPECT_FALSE(network->contains(unix_addr())) << row.network;
    EXPECT_FALSE(network->contains(Addr())) << row.network;
  }
}

TEST(Network, UnixHoldsUnixPeersAlone) {
  const Result<Network> network = Network::parse("unix");
  ASSERT_TRUE(network.ok());
  EXPECT_TRUE(network->contains(unix_addr()));
  EXPECT_FALSE(network->contains(addr("127.0.0.1")));
  EXPECT_FALSE(network->contains(addr("::")));
}

TEST(Network, AHostIsItselfInAnyZone) {
  const Network four = Network::host(addr("10.0.0.5", 80));
  EXPECT_EQ(four.text(), "10.0.0.5");
  EXPECT_TRUE(four.contains(addr("10.0.0.5", 81)));
  EXPECT_FALSE(four.contains(addr("10.0.0.4")));
  Addr zoned = addr("fe80::1");
  zoned.scope = 4;
  EXPECT_TRUE(Network::host(addr("fe80::1")).contains(zoned));
  EXPECT_TRUE(Network::host(zoned).contains(addr("fe80::1")));
  EXPECT_TRUE(Network::host(unix_addr()).contains(unix_addr()));
}

TEST(Endpoint, ReadsTargets) {
  struct Row {
    std::string text;
    Kind kind;
    std::string host;
    uint16_t port;
    std::string out;
  };
  const std::string label(63, 'a');
  const std::vector<Row> rows = {
      {"10.0.0.5:9999", Kind::kAddr, "", 9999, "10.0.0.5:9999"},
      {"[::1]:9999", Kind::kAddr, "", 9999, "[::1]:9999"},
      {"[::ffff:10.0.0.5]:1", Kind::kAddr, "", 1, "10.0.0.5:1"},
      {"10.0.0.5:65535", Kind::kAddr, "", 65535, "10.0.0.5:65535"},
      {"localhost:80", Kind::kName, "localhost", 80, "localhost:80"},
      {"crelay-func2:9999", Kind::kName, "crelay-func2", 9999, "crelay-func2:9999"},
      {"crelay-func2", Kind::kName, "crelay-func2", 0, "crelay-func2"},  // a service, or a host at the port of who asks
      {"my_service:80", Kind::kName, "my_service", 80, "my_service:80"},
      {"a.b.example.:80", Kind::kName, "a.b.example.", 80, "a.b.example.:80"},
      {"3com:80", Kind::kName, "3com", 80, "3com:80"},
      {"1.2.3.a:80", Kind::kName, "1.2.3.a", 80, "1.2.3.a:80"},
      {label + ":1", Kind::kName, label, 1, label + ":1"},
      {"_relay._tcp.example.org", Kind::kService, "_relay._tcp.example.org", 0, "_relay._tcp.example.org"},
      {"unix:/run/x.sock", Kind::kUnix, "/run/x.sock", 0, "unix:/run/x.sock"},
      {"unix:relative:80", Kind::kUnix, "relative:80", 0, "unix:relative:80"},
      {"unix:" + std::string(107, 'p'), Kind::kUnix, std::string(107, 'p'), 0, "unix:" + std::string(107, 'p')},
  };
  for (const Row& row : rows) {
    const Result<Endpoint> target = Endpoint::parse_target(row.text);
    ASSERT_TRUE(target.ok()) << row.text << ' ' << target.status().reason();
    EXPECT_EQ(target->kind, row.kind) << row.text;
    EXPECT_EQ(target->host, row.host) << row.text;
    EXPECT_EQ(target->port, row.port) << row.text;
    EXPECT_EQ(target->addr.port, row.kind == Kind::kAddr ? row.port : 0) << row.text;
    EXPECT_EQ(target->text(), row.out);
  }
}

struct Refused {
  std::string text;
  const char* reason;
  const char* meant;
};

TEST(Endpoint, RefusesTargetsWithAReasonAndAProposal) {
  constexpr const char* kPort = "has a port that is not a number from 1 to 65535";
  constexpr const char* kBrackets = "is an IPv6 address without brackets";
  constexpr const char* kNeither = "is neither an address nor a host name";
  constexpr const char* kScheme = "has a scheme that is neither tls:// nor tcp://";
  constexpr const char* kService = "is not a service; write _SERVICE._tcp.NAME";
  const std::vector<Refused> rows = {
      {"", "is empty", ""},
      {"10.0.0.5", "has no port", "10.0.0.5:PORT"},
      {"10.0.0.5:", "has no port", "10.0.0.5:PORT"},
      {"[::1]", "has no port", "[::1]:PORT"},
      {"[::1]:", "has no port", "[::1]:PORT"},
      {"::1", kBrackets, "[::1]:PORT"},
      {"fe80::5", kBrackets, "[fe80::5]:PORT"},
      {"::1:9999", kBrackets, "[::1]:9999"},
      {"::1:65535", kBrackets, "[::1]:65535"},
      {"2001:db8::1:22", kBrackets, "[2001:db8::1:22]:PORT"},
      {"2001:db8::1:000", kBrackets, "[2001:db8::1:000]:PORT"},  // no port, though it reads as one: nobody can dial 0
      {"::1:99999", "is not an IPv6 address", ""},
      {"10.0.0.5:0", kPort, ""},
      {"10.0.0.5:65536", kPort, ""},
      {"10.0.0.5:http", kPort, ""},
      {"10.0.0.5:-1", kPort, ""},
      {"10.0.0.5: 80", kPort, ""},
      {"name:99999999999999999999", kPort, ""},
      {"[::1]:x", kPort, ""},
      {":9999", "has no host", ""},
      {"[]:9999", "has brackets around something that is not an IPv6 address", ""},
      {"[10.0.0.5]:80", "has brackets around something that is not an IPv6 address", ""},
      {"[name]:80", "has brackets around something that is not an IPv6 address", ""},
      {"[::1", "has a [ without its ]", ""},
      {"[::1]80", "has something other than :PORT behind its ]", ""},
      {"[::g]:80", kNeither, ""},
      {"[fe80::1%eth0]:80", "has an IPv6 zone; zones cannot be given", ""},
      {"fe80::1%eth0", "has an IPv6 zone; zones cannot be given", ""},
      {"10.0.0.256:80", "is not an IPv4 address", ""},
      {"10.0.0:80", "is not an IPv4 address", ""},
      {"9999", "is not an IPv4 address", ""},
      {"example.1.:80", "is not an IPv4 address", ""},
      {"http://x:80", kScheme, "tcp://x:80"},
      {"https://x/", kScheme, "tls://x:443"},
      {"https://x:99/y", kScheme, "tls://x:99"},
      {"ssl://10.0.0.5:80", kScheme, "tls://10.0.0.5:80"},
      {"ssl://10.0.0.5", kScheme, "tls://10.0.0.5:PORT"},
      {"quic://x:80", kScheme, ""},
      {"://x:80", kScheme, ""},
      {"tls://", "is empty", ""},
      {"tcp://::1:9999", kBrackets, "tcp://[::1]:9999"},
      {"tls://tls://x:80", kNeither, ""},
      {"tls://x:80/path", kPort, ""},
      {"a b:80", kNeither, ""},
      {"-a:80", kNeither, ""},
      {"a-:80", kNeither, ""},
      {"a..b:80", kNeither, ""},
      {".a:80", kNeither, ""},
      {".:80", kNeither, ""},
      {"b\xc3\xbcro:80", kNeither, ""},
      {"a\x1b[0m:80", kNeither, ""},
      {std::string(64, 'a') + ":80", kNeither, ""},
      {std::string("a\0b:80", 6), kNeither, ""},
      {"_relay._tcp.example:80", "has a port, but a service's port comes from the DNS; leave it out", ""},
      {"_relay._udp.example", kService, ""},
      {"_relay._tcp", kService, ""},
      {"_relay._tcp.", kService, ""},
      {"_._tcp.example", kService, ""},
      {"_relay", kService, ""},
      {"_relay._tcp.a b", kService, ""},
      {"unix:", "has no path; write unix:/PATH", "unix:PORT"},
      {"unix:" + std::string(108, 'p'), "has a path of more than the 107 bytes that a Unix socket can have", ""},
      {"unix:/a\nb", "has a control character in its path", ""},
      {std::string("unix:/a\0b", 9), "has a control character in its path", ""},
  };
  for (const Refused& row : rows) {
    const Result<Endpoint> target = Endpoint::parse_target(row.text);
    ASSERT_FALSE(target.ok()) << row.text;
    EXPECT_STREQ(target.status().reason(), row.reason) << row.text;
    // A reason with a remedy of its own needs no proposal, and config asks for none.
    if (std::string_view(row.reason).find(';') == std::string_view::npos) {
      EXPECT_EQ(Endpoint::meant_target(row.text), row.meant) << row.text;
    }
  }
}

TEST(Endpoint, ASchemeSaysWhetherItIsTls) {
  for (const std::string place : {"10.0.0.5:99", "[::1]:99", "name:99", "_relay._tcp.example", "unix:/a://b"}) {
    for (const std::string scheme : {"", "tcp://", "tls://"}) {
      const Result<Endpoint> target = Endpoint::parse_target(scheme + place);
      ASSERT_TRUE(target.ok()) << scheme << place << ' ' << target.status().reason();
      EXPECT_EQ(target->tls, scheme == "tls://");
      EXPECT_EQ(target->text(), (target->tls ? scheme : "") + place);
    }
  }
  for (const std::string place : {"10.0.0.5", "10.0.0.5:0", "[::1]:99", "unix:/a"}) {
    const Result<Endpoint> listen = Endpoint::parse_listen("tls://" + place);
    ASSERT_TRUE(listen.ok()) << place;
    EXPECT_TRUE(listen->tls);
    EXPECT_EQ(listen->text(), "tls://" + place);
  }
  EXPECT_FALSE(Endpoint::parse_listen("ssl://::1").ok());
  EXPECT_EQ(Endpoint::meant_listen("ssl://[::1]:99"), "tls://[::1]:99");
  EXPECT_EQ(Endpoint::meant_listen("quic://[::1]:99"), "");
  EXPECT_EQ(Endpoint::meant_listen("10.0.0.256"), "");
}

TEST(Endpoint, ALongNameIsRefused) {
  std::string name;
  for (int i = 0; i < 127; ++i) name += "a.";
  EXPECT_TRUE(Endpoint::parse_target(name.substr(0, 253) + ":1").ok());
  EXPECT_FALSE(Endpoint::parse_target(name + "b:1").ok());
  EXPECT_FALSE(Endpoint::parse_target(std::string(1'000'000, 'a')).ok());
  EXPECT_FALSE(Endpoint::parse_target(std::string(1'000'000, ':')).ok());
}

TEST(Endpoint, ReadsPlacesToListen) {
  struct Row {
    const char* text;
    Kind kind;
    bool has_port;
    uint16_t port;
    const char* out;
  };
  const std::vector<Row> rows = {
      {"::1", Kind::kAddr, false, 0, "::1"},
      {"::", Kind::kAddr, false, 0, "::"},
      {"[::1]", Kind::kAddr, false, 0, "::1"},
      {"127.0.0.1", Kind::kAddr, false, 0, "127.0.0.1"},
      {"127.0.0.1:9000", Kind::kAddr, true, 9000, "127.0.0.1:9000"},
      {"127.0.0.1:0", Kind::kAddr, true, 0, "127.0.0.1:0"},
      {"[::1]:9000", Kind::kAddr, true, 9000, "[::1]:9000"},
      {"[::]:0", Kind::kAddr, true, 0, "[::]:0"},
      {"unix:/run/relay.sock", Kind::kUnix, false, 0, "unix:/run/relay.sock"},
  };
  for (const Row& row : rows) {
    const Result<Endpoint> listen = Endpoint::parse_listen(row.text);
    ASSERT_TRUE(listen.ok()) << row.text << ' ' << listen.status().reason();
    EXPECT_EQ(listen->kind, row.kind) << row.text;
    EXPECT_EQ(listen->has_port, row.has_port) << row.text;
    EXPECT_EQ(listen->port, row.port) << row.text;
    EXPECT_EQ(listen->addr.port, row.port) << row.text;
    EXPECT_EQ(listen->text(), row.out);
  }
}

TEST(Endpoint, RefusesPlacesToListen) {
  constexpr const char* kPort = "has a port that is not a number from 0 to 65535";
  const std::vector<Refused> rows = {
      {"", "is empty", ""},
      {"localhost", "is not an address", ""},
      {"localhost:9000", "is not an address", ""},
      {"_a._tcp.b", "is not an address", ""},
      {"*", "is not an address", ""},
      {"9000", "is not an IPv4 address", ""},
      {":9000", "has no host", ""},
      {"10.0.0.300", "is not an IPv4 address", ""},
      {"::1:65535", "is not an IPv6 address", ""},
      {"[::1]:", kPort, ""},
      {"127.0.0.1:", kPort, ""},
      {"127.0.0.1:65536", kPort, ""},
      {"[127.0.0.1]:80", "has brackets around something that is not an IPv6 address", ""},
      {"[::1", "has a [ without its ]", ""},
      {"fe80::1%lo", "has an IPv6 zone; zones cannot be given", ""},
      {"unix:", "has no path; write unix:/PATH", ""},
  };
  for (const Refused& row : rows) {
    const Result<Endpoint> listen = Endpoint::parse_listen(row.text);
    ASSERT_FALSE(listen.ok()) << row.text;
    EXPECT_STREQ(listen.status().reason(), row.reason) << row.text;
  }
}

TEST(Endpoint, ReadsPlacesAnywhere) {
  struct Row {
    std::string_view text;
    bool anywhere;
    bool tls;
    const char* out;
  };
  for (const Row& row : {
           Row{":6389", true, false, "[::]:6389"},
           Row{"6390", true, false, "[::]:6390"},
           Row{":0", true, false, "[::]:0"},
           Row{"tcp://:6389", true, false, "[::]:6389"},
           Row{"tls://:6389", true, true, "tls://[::]:6389"},
           Row{"localhost:6389", false, false, "127.0.0.1:6389"},
           Row{"tcp://localhost:1", false, false, "127.0.0.1:1"},
           Row{"::1", false, false, "::1"},
           Row{"0.0.0.0:6389", false, false, "0.0.0.0:6389"},
           Row{"[::]:6389", false, false, "[::]:6389"},
           Row{"unix:/tmp/redis.sock", false, false, "unix:/tmp/redis.sock"},
       }) {
    const Result<Endpoint> place = Endpoint::parse_listen_anywhere(row.text);
    ASSERT_TRUE(place.ok()) << row.text << ' ' << place.status().reason();
    EXPECT_EQ(place->anywhere, row.anywhere) << row.text;
    EXPECT_EQ(place->tls, row.tls) << row.text;
    EXPECT_EQ(place->text(), row.out);
  }
  for (const char* bad : {"", ":", "65536", ":65536", ":x", "tcp://", "http://:1", "localhost", "localhost:", "localhost:x", "host:1", "*:6389", "6389 "})
    EXPECT_FALSE(Endpoint::parse_listen_anywhere(bad).ok()) << bad;
}

}  // namespace
}  // namespace relay

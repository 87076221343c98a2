// SPDX-License-Identifier: Apache-2.0
// The form that files of the smart-relayer of old have: [[relayer]] and protocol, bare ports and seconds, and passwords that stay
// unseen wherever a configuration is shown.
#include <gtest/gtest.h>

#include <array>

#include "lib/text.h"
#include "ops/config.h"

namespace relay {
namespace {

constexpr std::array kOtherKeys = {
    Key{.name = "target", .type = KeyType::kTarget, .metavar = "HOST:PORT", .fallback = "", .help = "where to dial", .required = true},
    Key{.name = "listen", .type = KeyType::kListen, .metavar = "ADDR", .fallback = "", .help = "where to listen"},
    Key{.name = "timeout", .type = KeyType::kDuration, .metavar = "TIME", .fallback = "5s", .help = "how long"},
};
constexpr std::array kKeys = {
    Key{.name = "protocol", .type = KeyType::kChoice, .metavar = "NAME", .fallback = "redis", .help = "what", .choices = "redis|redis2|redis-cluster"},
    Key{.name = "listen", .type = KeyType::kListen, .metavar = "ADDR", .fallback = "", .help = "where", .required = true, .repeatable = true, .anywhere = true},
    Key{.name = "url", .type = KeyType::kText, .metavar = "URL", .fallback = "", .help = "the server", .secret = true},
    Key{.name = "timeout", .type = KeyType::kDuration, .metavar = "TIME", .fallback = "5s", .help = "how long", .min = 1, .max = 3'600'000, .seconds = true},
    Key{.name = "words", .type = KeyType::kText, .metavar = "WORDS", .fallback = "", .help = "some", .repeatable = true, .words = true},
    Key{.name = "compress", .type = KeyType::kBool, .metavar = "BOOL", .fallback = "false", .help = "whether"},
};
constexpr std::array<KindKeys, 2> kKinds = {{{"cluster", kOtherKeys}, {"redis", kKeys}}};

struct Read {
  explicit Read(std::string_view text) : config(read_toml("relayer.conf", text, kKinds, faults)) {}
  std::string said() const {
    std::string out;
    for (const Fault& fault : faults) out += fault.where + ": " + fault.what + '\n';
    return out;
  }
  Faults faults;
  Config config;
};

TEST(RelayerConf, IsReadBesideOurOwnForm) {
  const Read read(
      "# An example\n"
      "comment = \"Smart-relayer configuration\"\n"
      "[[relayer]]\n"
      "protocol = \"redis\"\n"
      "listen = \"tcp://:6389\"\n"
      "url = \"tcp://192.168.0.149:6379\"\n"
      "timeout = 5\n"
      "compress = true\n"
      "[[relay]]\n"
      "target = \"10.0.0.5:9999\"\n"
      " [[ \"relayer\" ]] # quoted\n"
      "protocol = \"redis-cluster\"\n"
      "listen = 6390\n"
      "words = \"SET  GET,DEL\"\n"
      "[[relayer]]\n"
      "kind = \"redis\"\n"
      "listen = [\"unix:/tmp/redis.sock\", \":6391\"]\n"
      "[[relay]]\n"
      "protocol = \"redis2\"\n"
      "listen = \"localhost:6392\"\n");
  ASSERT_EQ(read.said(), "");
  ASSERT_EQ(read.config.relays.size(), 5U);
  std::string kinds;
  for (const Config::Item& item : read.config.relays) kinds.append(item.kind).append(" ").append(item.section.origin()).append("; ");
  EXPECT_EQ(kinds, "redis relayer.conf:3; cluster relayer.conf:9; redis relayer.conf:11; redis relayer.conf:15; redis relayer.conf:18; ");
  const Section& first = read.config.relays[0].section;
  EXPECT_EQ(first.endpoints("listen").front().text(), "[::]:6389");
  EXPECT_TRUE(first.endpoints("listen").front().anywhere);
  EXPECT_EQ(first.duration("timeout"), std::chrono::seconds(5));
  EXPECT_TRUE(first.flag("compress"));
  const Section& cluster = read.config.relays[2].section;
  EXPECT_EQ(cluster.text("protocol"), "redis-cluster");
  EXPECT_EQ(cluster.endpoints("listen").front().text(), "[::]:6390");
  EXPECT_EQ(cluster.items(*cluster.find("words")), (std::vector<std::string_view>{"SET", "GET", "DEL"}));
  EXPECT_EQ(read.config.relays[3].section.endpoints("listen").size(), 2U);
  EXPECT_EQ(read.config.relays[4].section.endpoints("listen").front().text(), "127.0.0.1:6392");
}

TEST(RelayerConf, SaysWhatIsNotThereAndWhere) {
  struct Row {
    std::string_view text;
    std::string_view said;
  };
  for (const Row& row : {
           Row{"[[relayer]]\nprotocol = \"firehose\"\nstreamName = \"testing\"\n",
               "relayer.conf:2: protocol: \"firehose\" is not built in; take this [[relayer]] out of the file; there is redis, redis2, redis-cluster\n"},
           Row{"[[relayer]]\nprotocol = \"redis3\"\n", "relayer.conf:2: protocol: \"redis3\" is not built in; did you mean \"redis\"?\n"},
           Row{"[[relayer]]\nprotocol = 1\n",
               "relayer.conf:2: protocol: a number is no protocol; write one of redis, redis2, redis-cluster, in double quotes\n"},
           Row{"\n[[relayer]]\nlisten = 6389\n", "relayer.conf:2: protocol: required in [[relayer]]; there is redis, redis2, redis-cluster\n"},
           Row{"[[relayer]]\nprotocol = \"redis\"\nlisten = 6389\nmaxRecords = 100\n", "relayer.conf:4: unknown key \"maxRecords\" in [[relayer]]\n"},
           Row{"[[relayer]]\nprotocol = \"redis\"\nlisten = 70000\n",
               "relayer.conf:3: listen: \"70000\" has a port that is not a number from 0 to 65535; write IP:PORT, [IPV6]:PORT, :PORT or unix:PATH\n"},
           Row{"[[relayer]]\nprotocol = \"redis\"\nlisten = 1\ntimeout = 0\n",
               "relayer.conf:4: timeout: \"0\" is out of range; give a duration from 1ms to 1h\n"},
           Row{"[[relayer]]\nprotocol = \"redis\"\nlisten = 1\ntimeout = 99999999999\n",
               "relayer.conf:4: timeout: \"99999999999\" is not a duration; write it with a unit, for example 500ms, 5s, 2m\n"},
           Row{"[relayer]\nprotocol = \"redis\"\nlisten = 1\n",
               "relayer.conf:1: [relayer] is one table; write [[relayer]], in double brackets, once for each relay\n"},
           Row{"relayer = []\n", "relayer.conf:1: \"relayer\" is an empty list; write a [[relayer]] table for each relay\n"},
           Row{"comment = 5\n[[relayer]]\nprotocol = \"redis\"\nlisten = 1\n", "relayer.conf:1: unknown key \"comment\" at the top level\n"},
           Row{"[[relay]]\ntarget = \"a:1\"\ntimeout = 5\n",
               "relayer.conf:3: timeout: \"5\" is not a duration; write it with a unit, for example 500ms, 5s, 2m\n"},
           Row{"[[relay]]\ntarget = \"a:1\"\nlisten = 5\n", "relayer.conf:3: listen: \"5\" is not an IPv4 address; write IP, IP:PORT, [IPV6]:PORT or unix:PATH\n"},
           Row{"[[relayer]]\nprotocol = \"redis\"\nlisten = 1\nlog-level = \"info\"\n",
               "relayer.conf:4: \"log-level\" is for the whole process; put it at the top, before the first [[relayer]]\n"},
       }) {
    const Read read(row.text);
    EXPECT_EQ(read.said(), row.said) << row.text;
  }
}

TEST(RelayerConf, WhatItWouldRunIsAFileOfOurOwnForm) {
  const Read read("[[relayer]]\nprotocol = \"redis\"\nlisten = 6389\nurl = \"redis://u:hush@h\"\ntimeout = 5\nwords = \"a b\"\n");
  const std::string text = describe(read.config);
  EXPECT_NE(text.find("\n[[relay]]  # relayer.conf:1\nkind = \"redis\"\nprotocol = \"redis\"\nlisten = [\"6389\"]\n"), std::string::npos) << text;
  EXPECT_NE(text.find("\nurl = \"redis://u:***@h\"  # the password is not shown\ntimeout = \"5s\"\nwords = [\"a\", \"b\"]\n"), std::string::npos) << text;
  const Read again(text);
  EXPECT_EQ(again.said(), "");
}

TEST(RelayerConf, APasswordIsInNoFault) {
  for (const std::string_view text : {"[[relayer]]\nprotocol = \"redis\"\nlisten = 1\nurl = redis://u:hush@h\n",
                                      "[[relayer]]\nprotocol = \"redis\"\nlisten = 1\nurl = \"redis://u:hush@h\\u0007\"\n"}) {
    const Read read(text);
    EXPECT_EQ(read.faults.size(), 1U);
    EXPECT_EQ(read.said().find("hush"), std::string::npos) << read.said();
  }
  Faults faults;
  Section global{global_keys()};
  Section section{kKeys};
  const std::array<const char*, 4> words = {"--listen", "1", "redis://u:hush@h", "--url=redis://u:hush@h\n"};
  read_args(words, global, section, faults);
  ASSERT_EQ(faults.size(), 2U);
  for (const Fault& fault : faults) EXPECT_EQ(fault.what.find("hush"), std::string::npos) << fault.what;
}

TEST(HidePassword, ShowsTheRestOfTheUrl) {
  struct Row {
    std::string_view url;
    std::string_view shown;
  };
  for (const Row& row : {
           Row{"redis://user:hush@host:6379/2", "redis://user:***@host:6379/2"},
           Row{"redis://:hush@host", "redis://:***@host"},
           Row{"redis://hush@host", "redis://***@host"},
           Row{"user:hush@host", "user:***@host"},
           Row{"redis://host:6379", "redis://host:6379"},
           Row{"", ""},
           Row{"@", "***@"},
           Row{"unix:/run/a@b", "unix:/run/a@b"},
           Row{"redis://user:hu@sh@host", "redis://user:***@host"},
           Row{"redis://user:hu:sh/x@[::1]:7", "redis://user:***@[::1]:7"},
           Row{"redis-cluster://u:hush@a:1,b:2", "redis-cluster://u:***@a:1,b:2"},
           Row{"redis://u:hush@a:1 redis://v:hush@b:2, tcp://c:3", "redis://u:***@a:1 redis://v:***@b:2, tcp://c:3"},
           Row{"tcp://a:1 tcp://[::1]:2", "tcp://a:1 tcp://[::1]:2"},
           Row{"redis://u:hu sh://x@h", "redis://u:***@h"},
           Row{"redis://u:h@hu, sh://x@h", "redis://u:***@h"},
           Row{"u:hu://sh@h", "u:***@h"},
       })
    EXPECT_EQ(hide_password(row.url), row.shown) << row.url;
  EXPECT_EQ(hide_password(std::string(1 << 20, '@')), "***");
}

}  // namespace
}  // namespace relay

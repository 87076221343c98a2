// SPDX-License-Identifier: Apache-2.0
// ops/config: what the command line and a file give, the place and the words of every fault, and that no text of any size or
// shape brings the reader down.
//
// A fault is compared as a user sees it, "WHERE: WHAT". The keys here are the test's own, one of each type at least.
#include "ops/config.h"

#include <gtest/gtest.h>

#include <array>

namespace relay {
namespace {

using std::chrono::milliseconds;
using Lines = std::vector<std::string>;

constexpr std::array kKeys = {
    Key{.name = "name", .type = KeyType::kText, .metavar = "NAME", .fallback = "", .help = "its name"},
    Key{.name = "port", .type = KeyType::kPort, .metavar = "PORT", .fallback = "", .help = "where to listen"},
    Key{.name = "target",
        .type = KeyType::kTarget,
        .metavar = "HOST:PORT",
        .fallback = "",
        .help = "where to dial",
        .required = true},
    Key{.name = "listen",
        .type = KeyType::kListen,
        .metavar = "ADDR",
        .fallback = "127.0.0.1,::1",
        .help = "where to listen",
        .repeatable = true},
    Key{.name = "client",
        .type = KeyType::kNetwork,
        .metavar = "NET",
        .fallback = "",
        .help = "who may come",
        .repeatable = true},
    Key{.name = "pairs", .type = KeyType::kInteger, .metavar = "N", .fallback = "1", .help = "how many", .min = 1, .max = 64},
    Key{.name = "count", .type = KeyType::kInteger, .metavar = "N", .fallback = "6", .help = "how often", .min = 2},
    Key{.name = "queue-size",
        .type = KeyType::kSize,
        .metavar = "SIZE",
        .fallback = "6400KiB",
        .help = "how much",
        .min = 1024,
        .max = 1 << 30},
    Key{.name = "idle-timeout",
        .type = KeyType::kDuration,
        .metavar = "TIME",
        .fallback = "0",
        .help = "how long",
        .max = 3'600'000},
    Key{.name = "mode",
        .type = KeyType::kChoice,
        .metavar = "MODE",
        .fallback = "fast",
        .help = "which",
        .choices = "fast|slow|off"},
    Key{.name = "nodelay", .type = KeyType::kBool, .metavar = "BOOL", .fallback = "true", .help = "whether"},
};
constexpr std::array kOtherKeys = {
    Key{.name = "secret",
        .type = KeyType::kText,
        .metavar = "TEXT",
        .fallback = "",
        .help = "another kind's key",
        .required = true},
};
constexpr std::array<KindKeys, 2> kKinds = {{{"cluster", kKeys}, {"redis", kOtherKeys}}};
constexpr std::string_view kTarget = "target = \"10.0.0.5:9999\"\n";

Lines lines(const Faults& faults) {
  Lines out;
  for (const Fault& fault : faults) out.push_back(fault.where + ": " + fault.what);
  return out;
}

struct Args {
  Section global{global_keys()};
  Section section{kKeys};
  Lines faults;
};

// With a target that nobody has to care for, unless `bare`.
Args args(std::vector<const char*> words, bool bare = false) {
  if (!bare) words.insert(words.begin(), "--target=10.0.0.5:9999");
  Args out;
  Faults faults;
  read_args(words, out.global, out.section, faults);
  out.faults = lines(faults);
  return out;
}

struct File {
  Config config;
  Lines faults;
};

File file(std::string_view text, size_t kinds = 1) {
  File out;
  Faults faults;
  out.config = read_toml("relay.toml", text, std::span(kKinds).first(kinds), faults);
  out.faults = lines(faults);
  return out;
}

// One [[relay]] with a target in lines 1 and 2; `text` begins in line 3.
File relay(std::string_view text) { return file("[[relay]]\n" + std::string(kTarget) + std::string(text)); }

// ---- values ----

TEST(Section, GivesDefaults) {
  const Section section(kKeys);
  EXPECT_EQ(section.text("name"), "");
  EXPECT_EQ(section.integer("pairs"), 1);
  EXPECT_EQ(section.size("queue-size"), 6400U * 1024);
  EXPECT_EQ(section.duration("idle-timeout"), milliseconds(0));
  EXPECT_EQ(section.text("mode"), "fast");
  EXPECT_TRUE(section.flag("nodelay"));
  EXPECT_TRUE(section.networks("client").empty());
  EXPECT_TRUE(section.endpoints("target").empty());
  ASSERT_EQ(section.endpoints("listen").size(), 2U);
  EXPECT_EQ(section.endpoints("listen")[1].text(), "::1");
  EXPECT_FALSE(section.has("pairs"));
  EXPECT_EQ(section.where("pairs"), "command line");
}

TEST(Section, IsTheSameWhateverItsPlace) {
  Faults none;
  const auto made = [&none](std::vector<std::pair<std::string_view, std::string_view>> values) {
    Section section(kKeys);
    for (const auto& [key, value] : values) section.set(key, value, "relay.toml:" + std::to_string(none.size()), none);
    return section;
  };
  const Section one = made({{"port", "9000"}, {"client", "10.0.0.1"}, {"client", "10.0.0.2"}});
  EXPECT_TRUE(one.same(made({{"client", "10.0.0.1,10.0.0.2"}, {"port", "9000"}})));
  EXPECT_FALSE(one.same(made({{"client", "10.0.0.2,10.0.0.1"}, {"port", "9000"}})));
  EXPECT_FALSE(one.same(made({{"port", "9000"}})));
  EXPECT_FALSE(one.same(made({{"port", "9001"}, {"client", "10.0.0.1,10.0.0.2"}})));
  EXPECT_FALSE(made({}).same(made({{"pairs", "1"}})));  // given and a default are two things
  EXPECT_TRUE(made({}).same(made({{"pairs", "1"}}), "pairs"));  // but not for what is in force
  EXPECT_FALSE(made({}).same(made({{"pairs", "2"}}), "pairs"));
  EXPECT_TRUE(none.empty());
}

TEST(TomlReader, ReadsARelayAStep) {
  // Headers of relays that are none, in all places where TOML may have them.
  const std::string tricky =
      "log-level = 'info' # [[relay]]\n"
      "[[relay]]\nname = \"[[relay]]\"\ntarget = '10.0.0.5:1'\n# [[relay]]\n"
      "  [[ relay ]] # odd\nname = 'a\"b'\ntarget = \"10.0.0.5:2\"\nclient = [\n'10.0.0.1', # ]\n\"10.0.0.2\",\n]\n"
      "[[\"relay\"]]\ntarget = \"\"\"10.0.0.5:3\"\"\"\nname = 'third'\n"
      "[['relay']]\r\ntarget = '10.0.0.5:4'\r\n[[relay]]\npairs = 0\ntarget = '10.0.0.5:5'";
  Config config;
  Faults faults;
  TomlReader reader("relay.toml", tricky, std::span(kKinds).first(1), config, faults);
  std::vector<size_t> after;
  bool more = true;
  while (more) {
    more = reader.step();
    after.push_back(config.relays.size());
  }
  EXPECT_EQ(after, (std::vector<size_t>{0, 1, 2, 3, 4, 5}));
  EXPECT_FALSE(reader.step());
  EXPECT_EQ(config.relays[0].section.text("name"), "[[relay]]");
  EXPECT_EQ(config.relays[1].section.items(*config.relays[1].section.find("client")).size(), 2U);
  EXPECT_EQ(config.relays[1].section.origin(), "relay.toml:6");
  EXPECT_EQ(config.relays[3].section.origin(), "relay.toml:16");
  EXPECT_EQ(lines(faults), (Lines{"relay.toml:19: pairs: \"0\" is out of range; give a number from 1 to 64"}));
}

// Wherever a line is broken into two, or a file ends, reading in pieces finds what is wrong, and does not fall.
TEST(TomlReader, IsNotLedAstrayByAnyEnd) {
  const std::string text = "dns = 'system'\n[[relay]]\ntarget = \"10.0.0.5:1\"\nclient = ['10.0.0.1',\n'10.0.0.2']\n\n[[relay]]\nname = \"\"\"x\"\"\"\ntarget='10.0.0.5:2'\n";
  for (size_t end = 0; end <= text.size(); ++end) {
    for (const std::string_view tail : {"", "\n[[relay]]\ntarget = '10.0.0.5:3'\n"}) {
      const File read = file(text.substr(0, end) + std::string(tail));
      EXPECT_TRUE(!read.faults.empty() || !read.config.relays.empty()) << end;
      EXPECT_LE(read.config.relays.size(), 3U) << end;
    }
  }
  EXPECT_EQ(file(text + "[[relay]]\ntarget = '10.0.0.5:3'\n").config.relays.size(), 3U);
}

TEST(SectionDeathTest, AWrongQuestionIsABug) {
  const Section section(kKeys);
  EXPECT_DEATH((void)section.integer("nonesuch"), "config.cpp");
  EXPECT_DEATH((void)section.integer("queue-size"), "config.cpp");
  EXPECT_DEATH((void)section.integer("port"), "config.cpp") << "neither given nor with a default";
}

TEST(Section, KeepsTheGoodValueWhenABadOneComes) {
  Section section(kKeys);
  Faults faults;
  section.set("port", "9000", "--port", faults);
  section.set("client", "10.0.0.1", "--client", faults);
  ASSERT_TRUE(faults.empty());
  section.set("port", "x", "--port", faults);
  section.set("client", "10.0.0.2,bad,10.0.0.3", "--client", faults);
  EXPECT_EQ(faults.size(), 2U);
  EXPECT_EQ(section.integer("port"), 9000);
  EXPECT_EQ(section.networks("client").size(), 1U) << "all of a list or nothing";
}

TEST(Section, ABadValueLeavesItsPlaceButIsNotThere) {
  Section section(kKeys);
  Faults faults;
  section.set_origin("relay.toml:7");
  section.set("target", "10.0.0.5", "relay.toml:8", faults);
  EXPECT_FALSE(section.has("target"));
  EXPECT_EQ(section.where("target"), "relay.toml:8");
  EXPECT_EQ(section.where("port"), "relay.toml:7");
  section.require(faults);
  EXPECT_EQ(faults.size(), 1U) << "a second fault, that it is required, would mislead";
}

TEST(GlobalKeys, HaveTheirDefaults) {
  const Section global(global_keys());
  EXPECT_EQ(global.text("log-level"), "info");
  EXPECT_EQ(global.text("log-format"), "text");
  EXPECT_EQ(global.duration("drain-timeout"), milliseconds(10'000));
  EXPECT_TRUE(global.endpoints("dns").empty());
}

TEST(GlobalKeys, DnsIsAnAddressWithPort53IfNoneIsSaid) {
  struct Row {
    const char* text;
    const char* out;
  };
  constexpr std::array<Row, 5> kRows = {{{"127.0.0.1", "127.0.0.1:53"},
                                         {"127.0.0.1:5353", "127.0.0.1:5353"},
                                         {"::1", "[::1]:53"},
                                         {"[::1]", "[::1]:53"},
                                         {"[::1]:5353", "[::1]:5353"}}};
  for (const Row& row : kRows) {
    const Args got = args({"--dns", row.text});
    ASSERT_TRUE(got.faults.empty()) << row.text;
    ASSERT_EQ(got.global.endpoints("dns").size(), 1U);
    EXPECT_EQ(got.global.endpoints("dns")[0].text(), row.out);
    EXPECT_EQ(got.global.endpoints("dns")[0].addr.text(), row.out);
  }
  EXPECT_TRUE(args({"--dns", "system"}).global.endpoints("dns").empty());
  EXPECT_EQ(args({"--dns", "ns.example"}).faults,
            Lines{"--dns: \"ns.example\" is not an address; write IP, IP:PORT, [IPV6]:PORT or system"});
  EXPECT_EQ(args({"--dns", "unix:/x"}).faults,
            Lines{"--dns: \"unix:/x\" is not an address; write IP, IP:PORT, [IPV6]:PORT or system"});
  EXPECT_EQ(args({"--dns", "127.0.0.1:0"}).faults,
            Lines{"--dns: \"127.0.0.1:0\" has port 0, which cannot be asked; write IP, IP:PORT, [IPV6]:PORT or system"});
}

// ---- command line ----

TEST(Args, ReadsBothFormsIntoBothSections) {
  const Args got = args(
      {"--port", "9000", "--log-level=debug", "--idle-timeout=5m", "--queue-size", "64KiB", "--name", "a=b", "--mode", "slow"});
  EXPECT_EQ(got.faults, Lines{});
  EXPECT_EQ(got.section.integer("port"), 9000);
  EXPECT_EQ(got.section.where("port"), "--port");
  EXPECT_EQ(got.global.text("log-level"), "debug");
  EXPECT_EQ(got.section.duration("idle-timeout"), std::chrono::minutes(5));
  EXPECT_EQ(got.section.size("queue-size"), 65536U);
  EXPECT_EQ(got.section.text("name"), "a=b");
  EXPECT_EQ(got.section.text("mode"), "slow");
  ASSERT_EQ(got.section.endpoints("target").size(), 1U);
  EXPECT_EQ(got.section.endpoints("target")[0].text(), "10.0.0.5:9999");
}

TEST(Args, TheLastOneWins) {
  const Args got = args({"--port", "1", "--port", "2"});
  EXPECT_EQ(got.faults, Lines{});
  EXPECT_EQ(got.section.integer("port"), 2);
}

TEST(Args, RepeatablesAddUpAndMayBeLists) {
  const Args got = args({"--client", "10.0.0.0/8,unix", "--client=::1", "--client", "10.0.0.1, 10.0.0.2"});
  EXPECT_EQ(got.faults, Lines{});
  Lines out;
  for (const Network& network : got.section.networks("client")) out.push_back(network.text());
  EXPECT_EQ(out, (Lines{"10.0.0.0/8", "unix", "::1", "10.0.0.1", "10.0.0.2"}));
  EXPECT_EQ(got.section.text("client"), "10.0.0.0/8");
}

TEST(Args, AGivenListReplacesTheDefault) {
  const Args got = args({"--listen", "unix:/run/x"});
  ASSERT_EQ(got.section.endpoints("listen").size(), 1U);
  EXPECT_EQ(got.section.endpoints("listen")[0].text(), "unix:/run/x");
}

TEST(Args, AFlagTakesAWordOnlyIfItIsOne) {
  EXPECT_TRUE(args({"--nodelay"}).section.flag("nodelay"));
  EXPECT_FALSE(args({"--nodelay", "no"}).section.flag("nodelay"));
  EXPECT_FALSE(args({"--nodelay=off"}).section.flag("nodelay"));
  const Args got = args({"--nodelay", "--port", "5"});
  EXPECT_EQ(got.faults, Lines{});
  EXPECT_EQ(got.section.integer("port"), 5);
  EXPECT_EQ(args({"--nodelay", "maybe"}).faults,
            Lines{"command line: unexpected word \"maybe\"; options are written --KEY VALUE"});
  EXPECT_EQ(args({"--nodelay=1"}).faults, Lines{"--nodelay: \"1\" is neither true nor false; write one of these"});
}

TEST(Args, EachBadValueSaysWhatIsWrongAndWhatToDo) {
  struct Row {
    const char* option;
    const char* value;
    const char* fault;
  };
  const std::vector<Row> rows = {
      {"--port", "99999", R"("99999" is not a port; give a number from 0 to 65535)"},
      {"--port", "-1", R"("-1" is not a port; give a number from 0 to 65535)"},
      {"--port", "http", R"("http" is not a port; give a number from 0 to 65535)"},
      {"--idle-timeout", "5", R"("5" is not a duration; write it with a unit, for example 500ms, 5s, 2m)"},
      {"--idle-timeout", "2h", R"("2h" is out of range; give a duration from 0 to 1h)"},
      {"--queue-size", "64K", R"("64K" is not a size; write it with a unit, for example 64KiB, 1MiB, or as a number of bytes)"},
      {"--queue-size", "0", R"("0" is out of range; give a size from 1KiB to 1GiB)"},
      {"--queue-size", "18446744073709551615", R"("18446744073709551615" is out of range; give a size from 1KiB to 1GiB)"},
      {"--pairs", "0", R"("0" is out of range; give a number from 1 to 64)"},
      {"--pairs", "65", R"("65" is out of range; give a number from 1 to 64)"},
      {"--pairs", "many", R"("many" is not a number; give one from 1 to 64)"},
      {"--count", "1", R"("1" is out of range; give a number of at least 2)"},
      {"--count", "18446744073709551615", R"("18446744073709551615" is out of range; give a number of at least 2)"},
      {"--mode", "fats", R"("fats" is none of fast, slow, off; did you mean "fast"?)"},
      {"--mode", "quick", R"("quick" is none of fast, slow, off)"},
      {"--mode", "fast|slow", R"("fast|slow" is none of fast, slow, off)"},
      {"--target", "10.0.0.5", R"("10.0.0.5" has no port; write 10.0.0.5:PORT)"},
      {"--target", "::1:9999", R"("::1:9999" is an IPv6 address without brackets; write [::1]:9999)"},
      {"--target", "a b",
       R"("a b" is neither an address nor a host name; write IP:PORT, [IPV6]:PORT, NAME:PORT, _SERVICE._tcp.NAME or unix:PATH)"},
      {"--target", "_x._udp.y", R"("_x._udp.y" is not a service; write _SERVICE._tcp.NAME)"},
      {"--listen", "localhost", R"("localhost" is not an address; write IP, IP:PORT, [IPV6]:PORT or unix:PATH)"},
      {"--listen", "unix:", R"("unix:" has no path; write unix:/PATH)"},
      {"--client", "10.0.0.5/24", R"("10.0.0.5/24" has bits set behind its prefix; write 10.0.0.0/24)"},
      {"--client", "nobody",
       R"("nobody" is not an address, a CIDR block or the word unix; write 10.0.0.5, 10.0.0.0/8, ::1 or unix)"},
      {"--client", "::1,,::2", "the list has an empty item; take out the comma too many"},
      {"--client", "::1,", "the list has an empty item; take out the comma too many"},
      {"--name", "a\tb", R"("a\x09b" has a control character in it; leave that out)"},
      {"--port", "", "has no value; give one, for example 9000"},
      {"--name", "", "has no value; give one, for example NAME"},
      {"--client", "", "has no value; give one, for example 10.0.0.0/8"},
      {"--listen", "", "has no value; give one, for example 127.0.0.1,::1"},
      {"--mode", "", "has no value; give one, for example fast"},
      {"--nodelay", "", "has no value; give one, for example true"},
  };
  for (const Row& row : rows) {
    const std::string attached = std::string(row.option) + '=' + row.value;
    EXPECT_EQ(args({attached.c_str()}).faults, Lines{std::string(row.option) + ": " + row.fault}) << attached;
  }
}

TEST(Args, EachBadItemOfAListHasItsFault) {
  EXPECT_EQ(args({"--client", "a,::1,b"}).faults.size(), 2U);
  std::string nonsense = "x";
  for (int i = 0; i < 100'000; ++i) nonsense += ",x";
  EXPECT_EQ(args({"--client", nonsense.c_str()}).faults.size(), 20U);
}

TEST(Args, AMissingValueIsSeenBeforeTheNextOption) {
  const Args got = args({"--port", "--name", "x", "--idle-timeout"});
  EXPECT_EQ(got.faults,
            (Lines{"--port: has no value; give one, for example 9000", "--idle-timeout: has no value; give one, for example 0"}));
  EXPECT_EQ(got.section.text("name"), "x");
  EXPECT_EQ(args({"--name", "-x"}).section.text("name"), "-x") << "one dash begins no option's name";
}

TEST(Args, UnknownOptionsNameTheNearest) {
  struct Row {
    std::vector<const char*> words;
    const char* fault;
  };
  const std::vector<Row> rows = {
      {{"--que-size", "5"}, R"(unknown option "--que-size"; did you mean --queue-size?)"},
      {{"--que-size=5"}, R"(unknown option "--que-size"; did you mean --queue-size?)"},
      {{"--log-levle", "debug"}, R"(unknown option "--log-levle"; did you mean --log-level?)"},
      {{"-port", "5"}, R"(unknown option "-port"; did you mean --port?)"},
      {{"-p"}, R"(unknown option "-p"; --help lists the options)"},
      {{"--frobnicate"}, R"(unknown option "--frobnicate"; --help lists the options)"},
      {{"--=5"}, R"(unknown option "--"; --help lists the options)"},
      {{"---port", "5"}, R"(unknown option "---port"; did you mean --port?)"},
      {{"--kind", "cluster"}, R"(unknown option "--kind"; --help lists the options)"},
      {{"--\x1b[31m"}, R"(unknown option "--\x1b[31m"; --help lists the options)"},
  };
  for (const Row& row : rows) EXPECT_EQ(args(row.words).faults, Lines{std::string("command line: ") + row.fault});
}

TEST(Args, StrayWordsAreFaults) {
  EXPECT_EQ(args({"9000"}).faults, Lines{"command line: unexpected word \"9000\"; options are written --KEY VALUE"});
  EXPECT_EQ(args({"-"}).faults, Lines{"command line: unexpected word \"-\"; options are written --KEY VALUE"});
  EXPECT_EQ(args({""}).faults, Lines{"command line: unexpected word \"\"; options are written --KEY VALUE"});
  EXPECT_EQ(args({"--"}).faults, Lines{});
  EXPECT_EQ(args({"--", "--port", "x"}).faults.size(), 2U);
}

TEST(Args, WhatIsRequiredIsAskedForOnce) {
  EXPECT_EQ(args({}, true).faults, Lines{"--target: required; for example --target 10.0.0.5:9999"});
  EXPECT_EQ(args({"--target", "10.0.0.5"}, true).faults, Lines{"--target: \"10.0.0.5\" has no port; write 10.0.0.5:PORT"});
}

// ---- file ----

TEST(Toml, ReadsGlobalsAndRelays) {
  const File got = file(R"(# two relays
log-level = "debug"
drain-timeout = "3s"

[[relay]]
port = 9000
target = "crelay-func2:9999"
client = ["10.0.0.0/8", "::1,unix"]
listen = "127.0.0.1"
nodelay = false
queue-size = 65536
idle-timeout = "5m"

[[relay]]
kind = "cluster"
port = "9001"     # quoted is fine
target = "[::1]:9999"
nodelay = "yes"
name = 'second'
)");
  EXPECT_EQ(got.faults, Lines{});
  EXPECT_EQ(got.config.global.text("log-level"), "debug");
  EXPECT_EQ(got.config.global.where("log-level"), "relay.toml:2");
  EXPECT_EQ(got.config.global.origin(), "relay.toml");
  EXPECT_EQ(got.config.global.duration("drain-timeout"), milliseconds(3000));
  ASSERT_EQ(got.config.relays.size(), 2U);
  const Section& first = got.config.relays[0].section;
  EXPECT_EQ(got.config.relays[0].kind, "cluster");
  EXPECT_EQ(first.origin(), "relay.toml:5");
  EXPECT_EQ(first.where("port"), "relay.toml:6");
  EXPECT_EQ(first.where("name"), "relay.toml:5") << "not given: the relay's own place";
  EXPECT_EQ(first.integer("port"), 9000);
  EXPECT_EQ(first.networks("client").size(), 3U);
  EXPECT_EQ(first.endpoints("listen").size(), 1U);
  EXPECT_FALSE(first.flag("nodelay"));
  EXPECT_EQ(first.size("queue-size"), 65536U);
  EXPECT_EQ(first.duration("idle-timeout"), std::chrono::minutes(5));
  const Section& second = got.config.relays[1].section;
  EXPECT_EQ(second.origin(), "relay.toml:14");
  EXPECT_EQ(second.integer("port"), 9001);
  EXPECT_TRUE(second.flag("nodelay"));
  EXPECT_EQ(second.text("name"), "second");
}

TEST(Toml, TakesTomlsOtherForms) {
  const File got = file("\xEF\xBB\xBFrelay = [{port = 0x10, target = \"a:1\"}, {target = '''b:2''', \"port\" = 1_000}]\r\n");
  EXPECT_EQ(got.faults, Lines{});
  ASSERT_EQ(got.config.relays.size(), 2U);
  EXPECT_EQ(got.config.relays[0].section.integer("port"), 16);
  EXPECT_EQ(got.config.relays[1].section.integer("port"), 1000);
  EXPECT_EQ(relay("name = 9000\n").config.relays.at(0).section.text("name"), "9000") << "as --name 9000 is";
  EXPECT_EQ(relay("name = true\n").config.relays.at(0).section.text("name"), "true");
}

TEST(Toml, AFileWithoutARelayIsAFault) {
  for (const char* text : {"", "\n\n", "# nothing\n", "log-level = \"info\"\n"}) {
    EXPECT_EQ(file(text).faults, Lines{"relay.toml: no relay in this file; add a [[relay]] table"}) << text;
  }
}

TEST(Toml, UnknownKeysNameTheNearestAndTheirPlace) {
  EXPECT_EQ(relay("\nque-size = 5\n").faults,
            Lines{R"(relay.toml:4: unknown key "que-size" in [[relay]]; did you mean "queue-size"?)"});
  EXPECT_EQ(relay("zzz = 5\n").faults, Lines{R"(relay.toml:3: unknown key "zzz" in [[relay]])"});
  EXPECT_EQ(relay("kidn = \"cluster\"\n").faults,
            Lines{R"(relay.toml:3: unknown key "kidn" in [[relay]]; did you mean "kind"?)"});
  EXPECT_EQ(relay("\"\\u001b[31m\" = 5\n").faults, Lines{R"(relay.toml:3: unknown key "\x1b[31m" in [[relay]])"});
  EXPECT_EQ(relay("log-level = \"info\"\n").faults,
            Lines{R"(relay.toml:3: "log-level" is for the whole process; put it at the top, before the first [[relay]])"});
  const std::string good = "[[relay]]\n" + std::string(kTarget);
  EXPECT_EQ(file("\nlog-levl = \"info\"\n" + good).faults,
            Lines{R"(relay.toml:2: unknown key "log-levl" at the top level; did you mean "log-level"?)"});
  EXPECT_EQ(file("zzz = 1\n" + good).faults, Lines{R"(relay.toml:1: unknown key "zzz" at the top level)"});
  EXPECT_EQ(file("port = 1\n" + good).faults, Lines{R"(relay.toml:1: "port" belongs to a relay; put it below a line [[relay]])"});
  EXPECT_EQ(file("kind = 'cluster'\n" + good).faults,
            Lines{R"(relay.toml:1: "kind" belongs to a relay; put it below a line [[relay]])"});
  EXPECT_EQ(file(good + "[[rely]]\n").faults,
            Lines{R"(relay.toml:3: unknown table "rely" at the top level; did you mean [[relay]]?)"});
  EXPECT_EQ(file(good + "[global]\n").faults, Lines{R"(relay.toml:3: unknown table "global" at the top level)"});
  EXPECT_EQ(file(good + "[[cluster]]\n").faults,
            Lines{R"(relay.toml:3: unknown table "cluster"; write [[relay]] with kind = "cluster")"});
}

TEST(Toml, WrongTypesAreNamedWithAnExample) {
  struct Row {
    const char* line;
    const char* fault;
  };
  const std::vector<Row> rows = {
      {"port = 1.5", "port: a number with a fraction does not fit here; for example port = 9000"},
      {"idle-timeout = 12:30:00", "idle-timeout: a date or time does not fit here; for example idle-timeout = \"0\""},
      {"idle-timeout = 1979-05-27", "idle-timeout: a date or time does not fit here; for example idle-timeout = \"0\""},
      {"idle-timeout = 5", "idle-timeout: \"5\" is not a duration; write it with a unit, for example 500ms, 5s, 2m"},
      {"port = {x = 1}", "port: a table does not fit here; for example port = 9000"},
      {"port = [9000]", "port: takes one value, not a list"},
      {"port = 65536", "port: \"65536\" is not a port; give a number from 0 to 65535"},
      {"port = -1", "port: \"-1\" is not a port; give a number from 0 to 65535"},
      {"port = true", "port: \"true\" is not a port; give a number from 0 to 65535"},
      {"name = \"\"", "name: has no value; give one, for example NAME"},
      {"pairs = 65", "pairs: \"65\" is out of range; give a number from 1 to 64"},
      {"pairs = nan", "pairs: a number with a fraction does not fit here; for example pairs = 1"},
      {"nodelay = 1", "nodelay: \"1\" is neither true nor false; write one of these"},
      {"client = []", "client: the list is empty; put something in it or leave the key out"},
      {"client = [[\"::1\"]]", "client: a list does not fit here; for example client = \"10.0.0.0/8\""},
      {"client = 5", "client: \"5\" is not an address, a CIDR block or the word unix; write 10.0.0.5, 10.0.0.0/8, ::1 or unix"},
      {"client = \"10.0.0.5/24\"", "client: \"10.0.0.5/24\" has bits set behind its prefix; write 10.0.0.0/24"},
      {"[relay.port]", "port: a table does not fit here; for example port = 9000"},
      {"port.x = 1", "port: a table does not fit here; for example port = 9000"},
      {"kind = 5", "kind: a number is no kind; write one of cluster, in double quotes"},
      {"kind = [\"cluster\"]", "kind: a list is no kind; write one of cluster, in double quotes"},
      {"kind = \"clustr\"", "kind: \"clustr\" is not built in; did you mean \"cluster\"?"},
      {"kind = \"ftp\"", "kind: \"ftp\" is not built in; there is cluster"},
  };
  for (const Row& row : rows) EXPECT_EQ(relay(row.line).faults, Lines{std::string("relay.toml:3: ") + row.fault}) << row.line;
  EXPECT_EQ(file("[[relay]]\ntarget = [\"a:1\"]\n").faults, Lines{"relay.toml:2: target: takes one value, not a list"})
      << "and no word of it being required";
}

TEST(Toml, AnItemsFaultHasTheItemsLine) {
  EXPECT_EQ(relay("client = [\n  \"::1\",\n  \"bad\",\n  {},\n]\n").faults,
            (Lines{"relay.toml:5: client: \"bad\" is not an address, a CIDR block or the word unix; write 10.0.0.5, 10.0.0.0/8, "
                   "::1 or unix",
                   "relay.toml:6: client: a table does not fit here; for example client = \"10.0.0.0/8\""}));
}

TEST(Toml, OneBracketTooFewIsUnderstood) {
  const File got = file("[relay]\nque-size = 5\n" + std::string(kTarget));
  EXPECT_EQ(got.faults, (Lines{"relay.toml:1: [relay] is one table; write [[relay]], in double brackets, once for each relay",
                               "relay.toml:2: unknown key \"que-size\" in [[relay]]; did you mean \"queue-size\"?"}));
  EXPECT_EQ(file("relay = 5\n").faults, Lines{"relay.toml:1: \"relay\" is a number; write a [[relay]] table for each relay"});
  EXPECT_EQ(file("relay = []\n").faults,
            Lines{"relay.toml:1: \"relay\" is an empty list; write a [[relay]] table for each relay"});
  EXPECT_EQ(file("relay = [1]\n").faults,
            Lines{"relay.toml:1: \"relay\" has a number in it; write a [[relay]] table for each relay"});
}

TEST(Toml, RequiredKeysAreAskedForAtTheirRelay) {
  EXPECT_EQ(file("\n[[relay]]\nport = 1\n\n[[relay]]\nport = 2\n").faults,
            (Lines{"relay.toml:2: target: required; for example target = \"10.0.0.5:9999\"",
                   "relay.toml:5: target: required; for example target = \"10.0.0.5:9999\""}));
}

TEST(Toml, WithSeveralKindsEachTableNamesItsOwn) {
  const File got = file("[[relay]]\nkind = \"redis\"\nsecret = \"x\"\n[[relay]]\nkind = \"cluster\"\n" + std::string(kTarget), 2);
  EXPECT_EQ(got.faults, Lines{});
  ASSERT_EQ(got.config.relays.size(), 2U);
  EXPECT_EQ(got.config.relays[0].kind, "redis");
  EXPECT_EQ(got.config.relays[0].section.text("secret"), "x");
  EXPECT_EQ(file("[[relay]]\n" + std::string(kTarget), 2).config.relays.front().kind, "cluster");  // the first, if none is named
  EXPECT_EQ(file("[[relay]]\nkind = \"redis\"\nsecret = \"x\"\nport = 5\n", 2).faults,
            Lines{"relay.toml:4: unknown key \"port\" in [[relay]] of this kind; it is for kind = \"cluster\""});
}

TEST(Toml, AllFaultsComeInTheOrderOfTheLines) {
  const File got =
      file("zzz = 1\nlog-level = \"loud\"\n[[relay]]\ntarget = \"x:\"\npairs = 0\naaa = 1\n[[relay]]\nport = 70000\n" +
           std::string(kTarget));
  ASSERT_EQ(got.faults.size(), 6U);
  const std::array<std::string, 6> places = {
      "relay.toml:1:", "relay.toml:2:", "relay.toml:4:", "relay.toml:5:", "relay.toml:6:", "relay.toml:8:"};
  for (size_t i = 0; i < places.size(); ++i) EXPECT_TRUE(got.faults[i].starts_with(places[i])) << got.faults[i];
}

TEST(Toml, SyntaxErrorsHaveALineAndARemedy) {
  struct Row {
    const char* text;
    const char* place;
    const char* remedy;
  };
  const std::vector<Row> rows = {
      {"\n\ntarget = 10.0.0.5:9999\n", "relay.toml:3: syntax error in column ",
       "; a text needs double quotes: target = \"10.0.0.5:9999\""},
      {"idle-timeout = 5s # five\n", "relay.toml:1: ", "; a text needs double quotes: idle-timeout = \"5s\""},
      {"log-format = text\n", "relay.toml:1: ", "; a text needs double quotes: log-format = \"text\""},
      {"nodelay = yes\r\n", "relay.toml:1: ", "; a text needs double quotes: nodelay = \"yes\""},
      {"client = [10.0.0.1]\n", "relay.toml:1: ", "; in a list each text needs double quotes of its own"},
      {"[[relay]]\nport = 1\nport = 2\n", "relay.toml:3: ", "cannot redefine existing integer 'port'); keep one of the two"},
      {"[relay]\na = 1\n[relay]\nb = 2\n", "relay.toml:3: ", "; write [[relay]], in double brackets, once for each relay"},
      {"[[relay]]\n[relay]\n", "relay.toml:2: ", "; write [[relay]], in double brackets, once for each relay"},
      {"port: 9000\n", "relay.toml:1: ", "; lines are KEY = VALUE"},
      {"port =\n", "relay.toml:1: ", "; give a value, a text in double quotes"},
      {"port = 99999999999999999999\n", "relay.toml:1: ", "is not representable in 64 bits)"},
      {"[[relay]\n", "relay.toml:1: ", ")"},
      {"[=\n", "relay.toml:1: ", ")"},
      {"a = \"open\n", "relay.toml:1: ", ")"},
      {"a = \"\\q\"\n", "relay.toml:1: ", "unknown escape sequence '\\q')"},
      {"a = \"\xff\"\n", "relay.toml:1: ", "invalid utf-8 sequence)"},
  };
  for (const Row& row : rows) {
    const File got = file(row.text);
    ASSERT_EQ(got.faults.size(), 1U) << row.text;
    EXPECT_TRUE(got.faults[0].starts_with(row.place)) << got.faults[0];
    EXPECT_TRUE(got.faults[0].ends_with(row.remedy)) << got.faults[0];
    EXPECT_TRUE(got.config.relays.empty());
  }
}

TEST(Toml, ThePathIsSafeToPrint) {
  Faults faults;
  (void)read_toml("a\x1b[31m.toml", "x = ", std::span(kKinds).first(1), faults);
  ASSERT_EQ(faults.size(), 1U);
  EXPECT_EQ(faults[0].where, "a\\x1b[31m.toml:1");
}

// ---- hostile ----

std::string times(std::string_view piece, size_t count) {
  std::string out;
  out.reserve(piece.size() * count);
  for (size_t i = 0; i < count; ++i) out += piece;
  return out;
}

TEST(Hostile, DeepNestingIsAFaultAndNoCrash) {
  constexpr size_t kDeep = 500'000;
  const std::string dots = times("a.", kDeep);
  const std::vector<std::string> texts = {
      dots + "a = 1",
      "[" + dots + "a]",
      "[[" + dots + "a]]",
      times("\"a\" . ", kDeep) + "a = 1",
      "x = {" + dots + "a = 1}",
      "x = {y = \"\"\"\n' \"\"\", " + dots + "a = 1 # '}",  // a quote within a long string hides nothing
      "x = {y = \"\"\"a\"\"\"\"\", " + dots + "a = 1 }",    // nor do the quotes at its end
      "x = {y = \"\\\"\", " + dots + "a = 1 }",
      "x = {y = '\\', " + dots + "a = 1 }",
      "# \"\n" + dots + "a = 1",
      "x = " + times("[", kDeep),
      "x = " + times("{a = ", kDeep),
      "x = " + times("[{a = ", kDeep),
      "[[relay]]\nx = " + times("{a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p = ", 31) + "1" + times("}", 31),
  };
  for (const std::string& text : texts) EXPECT_FALSE(file(text).faults.empty()) << text.substr(0, 40);
}

TEST(Hostile, DotsInTextsAreNoDepth) {
  const std::string path(100, '.');
  EXPECT_EQ(relay("name = \"" + path + "\"\n").faults, Lines{});
  EXPECT_EQ(relay("name = '" + path + "' # " + path + "\n").faults, Lines{});
  EXPECT_EQ(relay("client = [\"10.0.0.1\", \"10.0.0.2\", \"10.0.0.3\", \"10.0.0.4\", \"10.0.0.5\", \"10.0.0.6\"]\n").faults,
            Lines{});
  EXPECT_EQ(file("a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p.q = 1").faults,
            Lines{"relay.toml:1: a key of more than 16 parts; no key has a dot in it"});
}

TEST(Hostile, UnicodeOutsideOfQuotesIsASyntaxError) {
  for (const char* text :
       {"\n\xc3\xa4 = 1\n", "\nport = \xc3\xa4\n", "\nport = 1\xc2\xa0\n", "\nport = 1\xd2\x98\n", "\nx = 1'\xc3\x95'\n",
        "\n\xe3\x80\x80", "\nname = \"\"\"\\\xc3\xa4\"\"\"\n", "\na.\xc3\xa4 = 1", "\n[\xc3\xa4]", "\nx = [\xf0\x9f\x98\x80]"}) {
    const File got = file(text);
    ASSERT_EQ(got.faults.size(), 1U) << text;
    EXPECT_TRUE(got.faults[0].starts_with("relay.toml:2: syntax error in column ")) << got.faults[0];
  }
  EXPECT_EQ(file("\xff\xfe[").faults.size(), 1U);
}

TEST(Toml, TextsAndCommentsMayHaveAnyCharacter) {
  const auto name = [](std::string_view line) { return std::string(relay(line).config.relays.at(0).section.text("name")); };
  EXPECT_EQ(name("name = \"b\xc3\xbcro\" # \xe2\x82\xac\n"), "b\xc3\xbcro");
  EXPECT_EQ(name("name = \"\"\"\nb\xc3\xbcro\"\"\"\n"), "b\xc3\xbcro");
  EXPECT_EQ(name("name = \"\"\"b\\\n  \xc3\xbcro\"\"\"\n"), "b\xc3\xbcro");
  EXPECT_EQ(name("name = '\xd2\x98'\n"), "\xd2\x98");
}

TEST(Hostile, FaultsAreBoundedInNumberAndLength) {
  EXPECT_EQ(file(times("[[relay]]\n", 5000)).faults.size(), 101U);
  const File keys = relay(times("", 0) + std::string(1'000'000, 'k') + " = 1\n");
  ASSERT_EQ(keys.faults.size(), 1U);
  EXPECT_LT(keys.faults[0].size(), 1000U);
  const File value = relay("name = \"" + times("\\u001b", 100'000) + "\"\n");
  ASSERT_EQ(value.faults.size(), 1U);
  EXPECT_LT(value.faults[0].size(), 1000U);
  const File syntax = file(std::string(1'000'000, 'k') + " = @\n");
  ASSERT_EQ(syntax.faults.size(), 1U);
  EXPECT_LT(syntax.faults[0].size(), 1000U);
}

TEST(Hostile, SixteenMebibytesAreRead) {
  const std::string comment = "#" + std::string((16U << 20U) - 64, 'x') + "\n";
  EXPECT_EQ(file(comment + "[[relay]]\n" + std::string(kTarget)).faults, Lines{});
}

TEST(Hostile, EveryPrefixOfAFileIsReadOrRefused) {
  const std::string text =
      "log-level = \"info\"\n[[relay]]\ntarget = '''a:1'''\nclient = [\"::1\", # c\n \"unix\"]\nname = "
      "\"\\u00fc\"\n[relay.x]\ny.z = {a = [1.5, 12:30:00]}\n";
  for (size_t size = 0; size <= text.size(); ++size) {
    for (const std::string& tail :
         {std::string(), std::string("\0", 1), std::string("\xff"), std::string("["), std::string("\"")}) {
      for (const std::string& fault : file(text.substr(0, size) + tail).faults) {
        EXPECT_TRUE(fault.starts_with("relay.toml")) << fault;
        for (const char c : fault) EXPECT_GE(static_cast<unsigned char>(c), 0x20) << fault;
      }
    }
  }
}

// ---- help ----

TEST(Describe, WritesValuesAsTomlWantsThem) {
  // A user may write a number or a flag as a text; TOML has no 09000 and no yes.
  const File as_text = file("[[relay]]\ntarget = \"10.0.0.5:9999\"\nport = \"09000\"\nnodelay = \"no\"\n");
  ASSERT_EQ(as_text.faults, Lines{});
  const std::string text = describe(as_text.config);
  EXPECT_NE(text.find("port = 9000\n"), std::string::npos) << text;
  EXPECT_NE(text.find("nodelay = false\n"), std::string::npos) << text;
  EXPECT_EQ(file(text).faults, Lines{}) << text;
}

TEST(Describe, WritesWhatATerminalObeysByNumber) {
  // C1 controls and marks that turn the direction of writing are letters to TOML. Other than ASCII's controls they pass its checks.
  const File turned = file("[[relay]]\ntarget = \"10.0.0.5:9999\"\nname = \"\\u0085\\u009b2J\\u202e\\u2066\\u00fc\\\\ \"\n");
  ASSERT_EQ(turned.faults, Lines{});
  const std::string text = describe(turned.config);
  EXPECT_NE(text.find("name = \"\\u0085\\u009b2J\\u202e\\u2066\u00fc\\\\ \"\n"), std::string::npos) << text;
  const File again = file(text);
  ASSERT_EQ(again.faults, Lines{});
  EXPECT_EQ(again.config.relays.front().section.text("name"), turned.config.relays.front().section.text("name"));
}

TEST(Help, ShowsEachOptionInItsColumn) {
  const std::string help = help_table(kKeys);
  EXPECT_TRUE(help.starts_with("  --name NAME          its name\n")) << help;
  for (const char* line :
       {"  --target HOST:PORT   where to dial (required)\n",
        "  --listen ADDR        where to listen (repeatable; default: 127.0.0.1,::1)\n",
        "  --mode MODE          which (fast|slow|off; default: fast)\n", "  --nodelay [BOOL]     whether (default: true)\n"}) {
    EXPECT_NE(help.find(line), std::string::npos) << line << "in\n" << help;
  }
}

TEST(Help, IsWrappedBetweenWords) {
  const std::string sentence = times("word ", 60) + "end";
  const std::array keys = {
      Key{.name = "short", .type = KeyType::kText, .metavar = "X", .fallback = "", .help = sentence},
      Key{.name = "an-option-of-a-name-that-is-much-too-long",
          .type = KeyType::kText,
          .metavar = "X",
          .fallback = "",
          .help = "help"},
  };
  const std::string help = help_table(keys);
  size_t lines = 0;
  for (size_t at = 0; at < help.size();) {
    const size_t end = help.find('\n', at);
    ASSERT_NE(end, std::string::npos) << "the last line ends too";
    EXPECT_LE(end - at, 100U);
    EXPECT_NE(help[end - 1], ' ');
    at = end + 1;
    ++lines;
  }
  EXPECT_EQ(lines, 6U) << help;
  EXPECT_NE(help.find("too-long X\n             help\n"), std::string::npos) << help;
}

TEST(Help, NotesJoinTheBracketsOfTheSentence) {
  const std::array keys = {
      Key{.name = "a", .type = KeyType::kText, .metavar = "X", .fallback = "", .help = "b (default: c)", .repeatable = true},
      Key{.name = "d", .type = KeyType::kText, .metavar = "X", .fallback = "", .help = "e (f)"}};
  EXPECT_EQ(help_table(keys), "  --a X  b (default: c; repeatable)\n  --d X  e (f)\n");
}

TEST(Help, OfNothingIsNothing) { EXPECT_EQ(help_table({}), ""); }

}  // namespace
}  // namespace relay

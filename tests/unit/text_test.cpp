// SPDX-License-Identifier: Apache-2.0
// lib/text: tables of what is read and refused, that what is written is read back, and that nothing a stranger sends reaches a
// terminal as a command.
#include "lib/text.h"

#include <gtest/gtest.h>

#include <array>

namespace relay {
namespace {

using std::chrono::milliseconds;

TEST(Text, IntegersAreDigitsAndNothingElse) {
  EXPECT_EQ(parse_integer("0"), 0U);
  EXPECT_EQ(parse_integer("007"), 7U);
  EXPECT_EQ(parse_integer("18446744073709551615"), UINT64_MAX);
  for (const char* bad : {"", " ", "-1", "+1", " 1", "1 ", "1.0", "0x10", "1e3", "1_000", "18446744073709551616", "a", "1a",
                          "99999999999999999999999"}) {
    EXPECT_FALSE(parse_integer(bad)) << bad;
  }
  EXPECT_FALSE(parse_integer(std::string_view("1\0", 2)));
  EXPECT_FALSE(parse_integer(std::string_view()));
}

TEST(Text, DurationsNeedAUnit) {
  struct Row {
    const char* text;
    int64_t value;
  };
  constexpr std::array<Row, 9> kRows = {{{"0", 0},
                                         {"0s", 0},
                                         {"0ms", 0},
                                         {"1ms", 1},
                                         {"500ms", 500},
                                         {"5s", 5000},
                                         {"2m", 120'000},
                                         {"1h", 3'600'000},
                                         {"876000h", 876'000LL * 3'600'000}}};
  for (const Row& row : kRows) EXPECT_EQ(parse_duration(row.text), milliseconds(row.value)) << row.text;
  for (const char* bad : {"", "5", "00", "1", "s", "ms", "-1s", "+1s", "1.5s", "1S", "1 s", " 1s", "1s ", "1m30s", "1d", "1us",
                          "876001h", "18446744073709551615h", "99999999999999999999s"}) {
    EXPECT_FALSE(parse_duration(bad)) << bad;
  }
}

TEST(Text, TheLongestDurationFitsAnyClock) {
  EXPECT_EQ(parse_duration("876000h"), kLongestDuration);
  EXPECT_LT(std::chrono::duration_cast<std::chrono::nanoseconds>(kLongestDuration).count(), INT64_MAX / 2);
}

TEST(Text, SizesAreBytesOrBinaryUnits) {
  struct Row {
    const char* text;
    uint64_t value;
  };
  constexpr std::array<Row, 8> kRows = {{{"0", 0},
                                         {"1", 1},
                                         {"65536", 65536},
                                         {"64KiB", 65536},
                                         {"1MiB", 1U << 20U},
                                         {"2GiB", 2ULL << 30U},
                                         {"18446744073709551615", UINT64_MAX},
                                         {"17179869183GiB", 17179869183ULL << 30U}}};
  for (const Row& row : kRows) EXPECT_EQ(parse_size(row.text), row.value) << row.text;
  for (const char* bad :
       {"", "KiB", "1K", "1k", "1KB", "1kib", "1 KiB", "1B", "1.5MiB", "-1", "17179869184GiB", "18446744073709551616"}) {
    EXPECT_FALSE(parse_size(bad)) << bad;
  }
}

TEST(Text, BooleansHaveThreeWordsEach) {
  for (const char* yes : {"true", "yes", "on"}) EXPECT_EQ(parse_bool(yes), true) << yes;
  for (const char* no : {"false", "no", "off"}) EXPECT_EQ(parse_bool(no), false) << no;
  for (const char* bad : {"", "1", "0", "True", "YES", "t", "true "}) EXPECT_FALSE(parse_bool(bad)) << bad;
}

TEST(Text, WhatIsWrittenIsTheShortestAndIsReadBack) {
  struct Row {
    int64_t value;
    const char* text;
  };
  constexpr std::array<Row, 9> kRows = {{{0, "0"},
                                         {1, "1ms"},
                                         {999, "999ms"},
                                         {1000, "1s"},
                                         {1500, "1500ms"},
                                         {60'000, "1m"},
                                         {90'000, "90s"},
                                         {3'600'000, "1h"},
                                         {7'260'000, "121m"}}};
  for (const Row& row : kRows) {
    EXPECT_EQ(format_duration(milliseconds(row.value)), row.text);
    EXPECT_EQ(parse_duration(row.text), milliseconds(row.value));
  }
  struct SizeRow {
    uint64_t value;
    const char* text;
  };
  constexpr std::array<SizeRow, 7> kSizes = {{{0, "0"},
                                              {100, "100"},
                                              {1024, "1KiB"},
                                              {6400 * 1024, "6400KiB"},
                                              {1U << 20U, "1MiB"},
                                              {5ULL << 30U, "5GiB"},
                                              {UINT64_MAX, "18446744073709551615"}}};
  for (const SizeRow& row : kSizes) {
    EXPECT_EQ(format_size(row.value), row.text);
    EXPECT_EQ(parse_size(row.text), row.value);
  }
}

TEST(Text, NearestFindsTyposAndNothingFarther) {
  constexpr std::array<std::string_view, 6> kWords = {"port",         "queue-size", "egress-queue-size",
                                                      "idle-timeout", "listen",     "pairs"};
  const auto near = [&kWords](std::string_view word) { return nearest(word, kWords); };
  EXPECT_EQ(near("prot"), "port");   // swapped
  EXPECT_EQ(near("por"), "port");    // one less
  EXPECT_EQ(near("portt"), "port");  // one more
  EXPECT_EQ(near("Port"), "port");   // case
  EXPECT_EQ(near("QUEUE_SIZE"), "queue-size");
  EXPECT_EQ(near("que-size"), "queue-size");
  EXPECT_EQ(near("idel-timeout"), "idle-timeout");
  EXPECT_EQ(near("listne"), "listen");
  EXPECT_EQ(near("port"), "port");
  for (const char* far : {"", "x", "qq", "size", "verbose", "help", "timeout"}) EXPECT_EQ(near(far), "") << far;
  EXPECT_EQ(near(std::string(1'000'000, 'p')), "");
  EXPECT_EQ(nearest("port", {}), "");
}

TEST(Text, NearestPrefersTheNearer) {
  constexpr std::array<std::string_view, 3> kWords = {"gateway-listen", "gateway-port", "gateway"};
  EXPECT_EQ(nearest("gatway", kWords), "gateway");
  EXPECT_EQ(nearest("gatewayport", kWords), "gateway-port");
}

TEST(Text, PrintableKeepsTextAndEscapesCommands) {
  struct Row {
    std::string_view in;
    std::string_view out;
  };
  constexpr std::array<Row, 17> kRows = {{
      {"", ""},
      {"plain ~text!", "plain ~text!"},
      {"b\xc3\xbcro \xe2\x82\xac \xf0\x9f\x98\x80", "b\xc3\xbcro \xe2\x82\xac \xf0\x9f\x98\x80"},
      {"\x1b[31m", "\\x1b[31m"},
      {"a\nb\r\t", "a\\x0ab\\x0d\\x09"},
      {std::string_view("\0", 1), "\\x00"},
      {"\x7f", "\\x7f"},
      {"\x80\xff", "\\x80\\xff"},                    // no UTF-8
      {"\xc3", "\\xc3"},                             // cut off
      {"\xc3(", "\\xc3("},                           // broken off
      {"\xc0\x80", "\\xc0\\x80"},                    // overlong
      {"\xe0\x80\x80", "\\xe0\\x80\\x80"},           // overlong
      {"\xed\xa0\x80", "\\xed\\xa0\\x80"},           // surrogate
      {"\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80"},  // beyond Unicode
      {"\xc2\x9b", "\\xc2\\x9b"},                    // C1: CSI in one character
      {"\xe2\x80\xa8", "\\xe2\\x80\\xa8"},           // line separator
      {"\xe2\x80\xae", "\\xe2\\x80\\xae"},           // right to left override
  }};
  for (const Row& row : kRows) EXPECT_EQ(printable(row.in), row.out);
}

TEST(Text, Base64) {
  const auto read = [](std::string_view text) { return decode_base64(text); };
  EXPECT_EQ(read(""), "");  // RFC 4648, section 10
  EXPECT_EQ(read("Zg=="), "f");
  EXPECT_EQ(read("Zm8="), "fo");
  EXPECT_EQ(read("Zm9v"), "foo");
  EXPECT_EQ(read("Zm9vYmE"), "fooba");
  EXPECT_EQ(read("+/8A"), std::string("\xfb\xff\0", 3));
  for (const std::string_view bad : {"Z", "Zh==", "Zm9v Zg==", "-_8A", "Zg==="}) {
    EXPECT_EQ(read(bad), std::nullopt) << bad;
  }
}

TEST(Text, QuoteIsBounded) {
  EXPECT_EQ(quote(""), "\"\"");
  EXPECT_EQ(quote("a\x1b"), "\"a\\x1b\"");
  const std::string exact(120, 'x');
  EXPECT_EQ(quote(exact), '"' + exact + '"');
  EXPECT_EQ(quote(exact + 'y'), '"' + exact + "...\"");
  // The cut spares a character's middle.
  const std::string euros = std::string(119, 'x') + "\xe2\x82\xac\xe2\x82\xac";
  EXPECT_EQ(quote(euros), '"' + std::string(119, 'x') + "...\"");
  EXPECT_LT(quote(std::string(1'000'000, '\x1b')).size(), 500U);
  EXPECT_LT(quote(std::string(1'000'000, '\x80')).size(), 500U);
}

TEST(Utf8, IsWellFormedOrNot) {
  using namespace std::string_literals;
  for (const std::string& good : {""s, "a"s, "\0"s, "seven.."s, "eight..."s, "\x7f"s, "\xc2\x80"s, "\xdf\xbf"s, "\xe0\xa0\x80"s, "\xed\x9f\xbf"s,
                                  "\xee\x80\x80"s, "\xef\xbf\xbf"s, "\xf0\x90\x80\x80"s, "\xf4\x8f\xbf\xbf"s, "\xe2\x80\xae turns"s})
    for (const size_t before : {0U, 1U, 7U, 8U, 9U}) EXPECT_TRUE(is_utf8(std::string(before, 'x') + good + "xxxxxxxxxx")) << printable(good);
  for (const std::string& bad : {"\x80"s, "\xbf"s, "\xc0\x80"s, "\xc1\xbf"s, "\xc2"s, "\xc2\x41"s, "\xe0\x80\x80"s, "\xe0\x9f\xbf"s, "\xe2\x82"s,
                                 "\xed\xa0\x80"s, "\xed\xbf\xbf"s, "\xf0\x80\x80\x80"s, "\xf0\x8f\xbf\xbf"s, "\xf0\x90\x80"s,
                                 "\xf4\x90\x80\x80"s, "\xf5\x80\x80\x80"s, "\xff"s, "\xfe"s})
    for (const size_t before : {0U, 1U, 7U, 8U, 9U}) {
      EXPECT_FALSE(is_utf8(std::string(before, 'x') + bad)) << printable(bad);
      EXPECT_FALSE(is_utf8(std::string(before, 'x') + bad + "xxxxxxxxxx")) << printable(bad);
    }
}

}  // namespace
}  // namespace relay

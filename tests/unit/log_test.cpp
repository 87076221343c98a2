// SPDX-License-Identifier: Apache-2.0
// lib/log: the three formats, what is quoted and escaped, cutting that leaves a line well formed, dates, gathering of a turn's
// lines, and lines that the sink does not take. JSON is read back by a small strict reader, not compared by eye only.
#include "lib/log.h"

#include <ctime>
#include <map>
#include <optional>

#include "tests/unit/testing.h"

namespace relay {
namespace {

using test::Caught;
using test::log_to;

// ---- a strict reader of one flat JSON object with string and number values (RFC 8259)

class Json {
 public:
  explicit Json(std::string_view text) : text_(text) {}

  // Keys to values, strings decoded with a quote before them ("\"abc"), numbers as they stand; nothing if it is not well formed.
  std::optional<std::map<std::string, std::string>> object() {
    std::map<std::string, std::string> out;
    if (!eat('{')) return std::nullopt;
    do {
      const auto key = string();
      if (!key || !eat(':')) return std::nullopt;
      const auto value = at() == '"' ? string() : number();
      if (!value || !out.emplace(key->substr(1), *value).second) return std::nullopt;
    } while (eat(','));
    if (!eat('}') || !text_.empty()) return std::nullopt;
    return out;
  }

 private:
  char at() const { return text_.empty() ? '\0' : text_.front(); }
  bool eat(char c) {
    if (text_.empty() || text_.front() != c) return false;
    text_.remove_prefix(1);
    return true;
  }
  std::optional<std::string> number() {
    const size_t length = std::min(text_.size(), text_.find_first_not_of("-0123456789"));
    if (length == 0) return std::nullopt;
    const std::string out(text_.substr(0, length));
    text_.remove_prefix(length);
    return out;
  }
  std::optional<std::string> string() {
    if (!eat('"')) return std::nullopt;
    std::string out = "\"";
    for (;;) {
      if (text_.empty() || static_cast<unsigned char>(at()) < 0x20) return std::nullopt;
      if (eat('"')) return out;
      if (!eat('\\')) {
        out += at();
        text_.remove_prefix(1);
      } else if (at() == '"' || at() == '\\') {
        out += at();
        text_.remove_prefix(1);
      } else if (eat('u') && text_.size() >= 4) {
        out += static_cast<char>(std::stoi(std::string(text_.substr(0, 4)), nullptr, 16));  // only control bytes are written so
        text_.remove_prefix(4);
      } else {
        return std::nullopt;
      }
    }
  }

  std::string_view text_;
};

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> out;
  size_t from = 0;
  for (size_t end = text.find('\n'); end != std::string::npos; from = end + 1, end = text.find('\n', from))
    out.push_back(text.substr(from, end - from));
  EXPECT_EQ(from, text.size()) << "the last line has no end";
  return out;
}

// What one value looks like in a format of text.
std::string shown(std::string_view value) {
  Caught& caught = log_to(LogFormat::kJournal);
  LogLine(Level::kInfo, "e").text("k", value);
  log_flush();
  const std::string line = caught.text;
  EXPECT_TRUE(line.starts_with("<6>e k=") && line.ends_with("\n")) << line;
  return line.substr(7, line.size() - 8);
}

std::string json_value(std::string_view value) {
  Caught& caught = log_to(LogFormat::kJson);
  LogLine(Level::kInfo, "e").text("k", value);
  log_flush();
  const std::string line = caught.text.substr(0, caught.text.size() - 1);
  const auto object = Json(line).object();
  EXPECT_TRUE(object) << line;
  return object ? object->at("k").substr(1) : "";
}

std::string date(int64_t unix_ms) {
  Caught& caught = log_to(LogFormat::kText);
  caught.now = unix_ms;
  LogLine(Level::kInfo, "e");
  log_flush();
  return caught.text.substr(0, 24);
}

// ---- formats

TEST(Log, TextLine) {
  Caught& caught = log_to(LogFormat::kText);
  caught.now = 1'795'221'157'123;
  LogLine(Level::kInfo, "listening")
      .text("relay", "cluster-9000")
      .text("addr", "[::]:9000")
      .number("n", -5)
      .number("m", UINT64_MAX);
  log_flush();
  EXPECT_EQ(caught.text,
            "2026-11-21T00:32:37.123Z info listening relay=cluster-9000 addr=[::]:9000 n=-5 m=18446744073709551615\n");
}

TEST(Log, JsonLine) {
  Caught& caught = log_to(LogFormat::kJson);
  caught.now = 1'795'221'157'123;
  LogLine(Level::kWarn, "listening")
      .text("relay", "cluster-9000")
      .text("addr", "[::]:9000")
      .number("n", INT64_MIN)
      .number("m", UINT64_MAX);
  log_flush();
  EXPECT_EQ(caught.text,
            "{\"ts\":\"2026-11-21T00:32:37.123Z\",\"level\":\"warn\",\"event\":\"listening\",\"relay\":\"cluster-9000\",\"addr\":"
            "\"[::]:9000\","
            "\"n\":-9223372036854775808,\"m\":18446744073709551615}\n");
}

TEST(Log, JournalLineHasItsPriorityAndNoTime) {
  Caught& caught = log_to(LogFormat::kJournal);
  for (const Level level : {Level::kError, Level::kWarn, Level::kInfo, Level::kDebug}) LogLine(level, "event").number("n", 1);
  log_flush();
  EXPECT_EQ(caught.text, "<3>event n=1\n<4>event n=1\n<6>event n=1\n<7>event n=1\n");
}

TEST(Log, LevelsHaveNames) {
  Caught& caught = log_to(LogFormat::kText);
  for (const Level level : {Level::kError, Level::kWarn, Level::kInfo, Level::kDebug}) LogLine(level, "e");
  log_flush();
  const std::string time = "1970-01-01T00:00:00.000Z ";
  EXPECT_EQ(caught.text, time + "error e\n" + time + "warn e\n" + time + "info e\n" + time + "debug e\n");
}

TEST(Log, TooFineALevelLeavesNoTrace) {
  Caught& caught = log_to(LogFormat::kText, Level::kWarn);
  EXPECT_TRUE(log_enabled(Level::kError));
  EXPECT_TRUE(log_enabled(Level::kWarn));
  EXPECT_FALSE(log_enabled(Level::kInfo));
  LogLine(Level::kInfo, "no").text("k", "v").number("n", 1).count("c", 2);
  LogLine(Level::kDebug, "no");
  log_flush();
  EXPECT_EQ(caught.text, "");
  EXPECT_EQ(caught.writes, 0);
}

TEST(Log, CountsAreShownUnlessZero) {
  Caught& caught = log_to(LogFormat::kJournal);
  LogLine(Level::kInfo, "e").count("none", 0).count("lost", 7).count("below", -1).number("zero", 0);
  log_flush();
  EXPECT_EQ(caught.text, "<6>e lost=7 below=-1 zero=0\n");
}

// ---- values

TEST(Log, PlainValuesAreBare) {
  for (const char* plain : {"abc", "A-Z", "10.0.0.5:9999", "[::1]:9000", "unix:/run/x.sock", "a_b", "50%", "a,b", "x@y", "1+1"})
    EXPECT_EQ(shown(plain), plain);
}

TEST(Log, OtherValuesAreQuoted) {
  EXPECT_EQ(shown(""), "\"\"");
  EXPECT_EQ(shown("a b"), "\"a b\"");
  EXPECT_EQ(shown("a=b"), "\"a=b\"");
  EXPECT_EQ(shown("quoted \"value\""), "\"quoted \\\"value\\\"\"");
  EXPECT_EQ(shown("back\\slash"), "\"back\\\\slash\"");
  EXPECT_EQ(shown("é"), "\"é\"");
  EXPECT_EQ(shown("日本 🦀"), "\"日本 🦀\"");
}

TEST(Log, NoControlByteReachesTheOutput) {
  for (int byte = 0; byte < 0x20; ++byte) {
    const std::string value(1, static_cast<char>(byte));
    char escape[8];
    std::snprintf(escape, sizeof escape, "\\u%04x", static_cast<unsigned>(byte));
    EXPECT_EQ(shown(value), '"' + std::string(escape) + '"') << byte;
    EXPECT_EQ(shown("a" + value + "b"), "\"a" + std::string(escape) + "b\"") << byte;
    EXPECT_EQ(json_value("a" + value + "b"), "a" + value + "b") << byte;
  }
  EXPECT_EQ(shown("\x7f"), "\"\\u007f\"");
  EXPECT_EQ(shown("one\ntwo info forged"), "\"one\\u000atwo info forged\"");
}

TEST(Log, WhatIsNotUtf8BecomesTheReplacementCharacter) {
  const std::string bad = "\xEF\xBF\xBD";
  struct Row {
    std::string value;
    std::string out;
  };
  const std::vector<Row> rows = {
      {"\x80", bad},                              // a follower alone
      {"\xff", bad},                              // never a byte of UTF-8
      {"a\xc3", "a" + bad},                       // cut off
      {"\xc0\xaf", bad + bad},                    // overlong "/"
      {"\xe0\x80\xaf", bad + bad + bad},          // overlong, three bytes
      {"\xf0\x80\x80\xaf", bad + bad + bad + bad},  // and four
      {"\xed\xa0\x80", bad + bad + bad},          // a surrogate
      {"\xf4\x90\x80\x80", bad + bad + bad + bad},  // past U+10FFFF
      {"\xe2\x82", bad + bad},                    // two of three
      {"\xc3(", bad + "("},                       // what follows is kept
      {"\xed\x9f\xbf", "\xed\x9f\xbf"},           // the last before the surrogates
      {"\xf4\x8f\xbf\xbf", "\xf4\x8f\xbf\xbf"},   // U+10FFFF
      {"\xe0\xa0\x80", "\xe0\xa0\x80"},           // U+0800
      {"\xf0\x90\x80\x80", "\xf0\x90\x80\x80"},   // U+10000
      {"\xdf\xbf", "\xdf\xbf"},                   // U+07FF
  };
  for (const Row& row : rows) {
    EXPECT_EQ(shown(row.value), '"' + row.out + '"');
    EXPECT_EQ(json_value(row.value), row.out);
  }
}

TEST(Log, RandomBytesMakeWellFormedLines) {
  Random random(11);
  for (int round = 0; round < 500; ++round) {
    std::string value;
    for (uint64_t left = random.below(60); left > 0; --left) value += static_cast<char>(random.next());
    for (const char c : shown(value)) ASSERT_TRUE(static_cast<unsigned char>(c) >= 0x20 && c != 0x7f);
    json_value(value);
  }
}

// ---- cutting

// However long a value, and wherever the line is full: one line, not too long, with a closed quote and all of its prefix.
TEST(Log, WhatDoesNotFitIsCutAndTheLineIsWellFormed) {
  for (const std::string& unit : {std::string("a"), std::string("\""), std::string("\n"), std::string("é"), std::string("日"),
                                  std::string("🦀"), std::string("\xff"), std::string("a b")}) {
    std::string value;
    while (value.size() < kLogLineMax + 100) value += unit;
    for (size_t before = 0; before < 30; ++before) {
      const std::string key(before + 1, 'k');
      for (const LogFormat format : {LogFormat::kText, LogFormat::kJson, LogFormat::kJournal}) {
        Caught& caught = log_to(format);
        LogLine(Level::kInfo, "e").text(key, value).text("after", "x y").number("n", UINT64_MAX).text("last", "");
        log_flush();
        ASSERT_LE(caught.text.size(), kLogLineMax);
        ASSERT_GT(caught.text.size(), kLogLineMax - 32);
        const std::vector<std::string> lines = lines_of(caught.text);
        ASSERT_EQ(lines.size(), 1U);
        if (format == LogFormat::kJson) {
          const auto object = Json(lines[0]).object();
          ASSERT_TRUE(object) << lines[0];
          const std::string kept = object->at(key).substr(1);
          if (unit == "\xff") continue;
          ASSERT_EQ(kept, value.substr(0, kept.size()));
          ASSERT_TRUE(kept.size() % unit.size() == 0 || unit == "a b") << "cut inside a character";
        } else if (unit != "a") {
          ASSERT_EQ(lines[0].back(), '"');
        }
      }
    }
  }
}

TEST(Log, FieldsThatDoNotFitAreLeftOutWhole) {
  for (const LogFormat format : {LogFormat::kText, LogFormat::kJson, LogFormat::kJournal}) {
    for (size_t length = kLogLineMax - 120; length < kLogLineMax; ++length) {
      Caught& caught = log_to(format);
      LogLine(Level::kInfo, "e")
          .text("v", std::string(length, 'x'))
          .number("number", INT64_MIN)
          .number("n", 1)
          .text("t", "a \"b\"")
          .text("u", "");
      log_flush();
      ASSERT_LE(caught.text.size(), kLogLineMax);
      const std::vector<std::string> lines = lines_of(caught.text);
      ASSERT_EQ(lines.size(), 1U);
      if (format != LogFormat::kJson) continue;
      const auto object = Json(lines[0]).object();
      ASSERT_TRUE(object) << lines[0];
      ASSERT_TRUE(object->count("number") == 0 || object->at("number") == "-9223372036854775808");
      ASSERT_TRUE(object->count("n") == 0 || object->at("n") == "1");
    }
  }
}

// ---- dates

TEST(Log, DatesAndTimes) {
  EXPECT_EQ(date(0), "1970-01-01T00:00:00.000Z");
  EXPECT_EQ(date(999), "1970-01-01T00:00:00.999Z");
  EXPECT_EQ(date(86'399'999), "1970-01-01T23:59:59.999Z");
  EXPECT_EQ(date(86'400'000), "1970-01-02T00:00:00.000Z");
  EXPECT_EQ(date(951'782'400'000), "2000-02-29T00:00:00.000Z");   // a leap year, for 400 divides it
  EXPECT_EQ(date(951'868'800'000), "2000-03-01T00:00:00.000Z");
  EXPECT_EQ(date(1'709'164'800'000), "2024-02-29T00:00:00.000Z");
  EXPECT_EQ(date(1'709'251'199'999), "2024-02-29T23:59:59.999Z");
  EXPECT_EQ(date(1'735'689'599'999), "2024-12-31T23:59:59.999Z");
  EXPECT_EQ(date(4'107'542'400'000), "2100-03-01T00:00:00.000Z");  // not a leap year
  EXPECT_EQ(date(4'107'542'399'999), "2100-02-28T23:59:59.999Z");
  EXPECT_EQ(date(2'147'483'648'000), "2038-01-19T03:14:08.000Z");
  EXPECT_EQ(date(253'402'300'799'999), "9999-12-31T23:59:59.999Z");
}

TEST(Log, DatesBefore1970) {
  EXPECT_EQ(date(-1), "1969-12-31T23:59:59.999Z");
  EXPECT_EQ(date(-86'400'000), "1969-12-31T00:00:00.000Z");
  EXPECT_EQ(date(-86'400'001), "1969-12-30T23:59:59.999Z");
  EXPECT_EQ(date(-2'203'891'200'001), "1900-02-28T23:59:59.999Z");  // 1900 was not a leap year
  EXPECT_EQ(date(-2'203'891'200'000), "1900-03-01T00:00:00.000Z");
  EXPECT_EQ(date(-11'644'473'600'000), "1601-01-01T00:00:00.000Z");
}

TEST(Log, DatesAsTheLibraryHasThem) {
  Random random(5);
  for (int i = 0; i < 3000; ++i) {
    const auto ms = static_cast<int64_t>(random.below(300'000'000'000'000)) - 60'000'000'000'000;  // the years 68 to 9576
    const time_t seconds = (ms - (ms % 1000 + 1000) % 1000) / 1000;
    tm parts{};
    ASSERT_NE(gmtime_r(&seconds, &parts), nullptr);
    char text[64];
    std::snprintf(text, sizeof text, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", parts.tm_year + 1900, parts.tm_mon + 1, parts.tm_mday,
                  parts.tm_hour, parts.tm_min, parts.tm_sec, static_cast<int>((ms % 1000 + 1000) % 1000));
    ASSERT_EQ(date(ms), text) << ms;
  }
}

// ---- gathering

TEST(Log, ATurnsLinesAreOneWrite) {
  Caught& caught = log_to(LogFormat::kText);
  for (int i = 0; i < 5; ++i) LogLine(Level::kInfo, "e").number("i", i);
  EXPECT_EQ(caught.writes, 0);
  log_flush();
  EXPECT_EQ(caught.writes, 1);
  EXPECT_EQ(lines_of(caught.text).size(), 5U);
  log_flush();
  EXPECT_EQ(caught.writes, 1);
}

TEST(Log, WhatIsDiscardedIsNotWritten) {
  Caught& caught = log_to(LogFormat::kJournal);
  LogLine(Level::kInfo, "forgotten");
  log_discard();
  log_flush();
  EXPECT_EQ(caught.writes, 0);
  LogLine(Level::kInfo, "kept");
  log_flush();
  EXPECT_EQ(caught.text, "<6>kept\n");
}

TEST(Log, TheLoopFlushesAtTheEndOfATurn) {
  Caught& caught = log_to(LogFormat::kText);
  Loop loop;
  LogLine(Level::kInfo, "e");
  loop.turn(Delay{0});
  EXPECT_EQ(caught.writes, 1);
}

TEST(Log, NoLineIsSplitBetweenTwoWrites) {
  class Whole final : public LogSink {
   public:
    int64_t unix_ms() override { return 0; }
    uint64_t write(std::string_view lines) override {
      EXPECT_TRUE(lines.starts_with("1970-01-01T00:00:00.000Z ") && lines.ends_with("\n"));
      EXPECT_LE(lines.size(), 4096U);  // PIPE_BUF: all or nothing, on a pipe
      count += std::count(lines.begin(), lines.end(), '\n');
      return 0;
    }
    std::ptrdiff_t count = 0;
  };
  static Whole whole;  // a sink lives as long as the process
  Random random(3);
  log_to(LogFormat::kText);  // writes what is left of others
  whole.count = 0;
  log_open(whole, Level::kInfo, LogFormat::kText);
  for (int i = 0; i < 300; ++i) LogLine(Level::kInfo, "e").text("v", std::string(random.below(2500), 'x'));
  log_flush();
  EXPECT_EQ(whole.count, 300);
  log_to(LogFormat::kText);
}

TEST(Log, LinesThatTheSinkDoesNotTakeAreCounted) {
  Caught& caught = log_to(LogFormat::kText);
  const uint64_t before = log_dropped();
  LogLine(Level::kInfo, "kept");
  log_flush();
  EXPECT_EQ(log_dropped(), before);
  caught.refuse = true;
  for (int i = 0; i < 3; ++i) LogLine(Level::kInfo, "lost");
  log_flush();
  EXPECT_EQ(log_dropped(), before + 3);
  caught.refuse = false;
  LogLine(Level::kInfo, "again");
  log_flush();
  EXPECT_EQ(log_dropped(), before + 3);
  EXPECT_EQ(lines_of(caught.text).size(), 2U);
}

}  // namespace
}  // namespace relay

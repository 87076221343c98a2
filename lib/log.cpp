// SPDX-License-Identifier: Apache-2.0
// Log: formatting of lines and the small buffer between a turn's lines and the sink.
//
// A turn's lines are gathered and written together: one write(2) a turn however many sessions end in it. The buffer is
// flushed early when the next line would not fit, so that no line is ever split between two writes.
#include "lib/log.h"

#include <charconv>
#include <cstring>

#include "lib/text.h"

namespace relay {
namespace {

constexpr size_t kGather = 2 * kLogLineMax;  // below PIPE_BUF (4096): a write to a pipe is then all or nothing

struct Log {
  LogSink* sink = nullptr;
  Level level = Level::kInfo;
  LogFormat format = LogFormat::kText;
  uint64_t dropped = 0;
  std::string_view sign;  // empty: lines have none
  uint64_t signed_by = 0;
  size_t used = 0;
  std::array<char, kGather> lines{};
};
Log g_log;

constexpr std::array<std::string_view, 4> kLevelNames = {"error", "warn", "info", "debug"};
constexpr std::array<std::string_view, 4> kJournalPrefix = {"<3>", "<4>", "<6>", "<7>"};  // sd-daemon(3)
constexpr size_t kTail = 4;  // room that is always left for `"}` and the line's end

bool plain(char c) {
  return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || std::string_view("_.:/@%+,[]-").find(c) != std::string_view::npos;
}

}  // namespace

void log_open(LogSink& sink, Level level, LogFormat format) {
  g_log.sink = &sink;
  g_log.level = level;
  g_log.format = format;
}

void log_sign(std::string_view key, uint64_t number) {
  g_log.sign = key;
  g_log.signed_by = number;
}

void log_flush() {
  if (g_log.used == 0 || g_log.sink == nullptr) return;
  g_log.dropped += g_log.sink->write({g_log.lines.data(), g_log.used});
  g_log.used = 0;
}

void log_discard() { g_log.used = 0; }

uint64_t log_dropped() { return g_log.dropped; }

bool log_enabled(Level level) { return g_log.sink != nullptr && level <= g_log.level; }

LogLine::LogLine(Level level, std::string_view event) : live_(log_enabled(level)) {
  if (!live_) return;
  const auto index = static_cast<size_t>(level);
  switch (g_log.format) {
    case LogFormat::kText:
      put_time(g_log.sink->unix_ms());
      put(" ");
      put(kLevelNames[index]);
      put(" ");
      put(event);
      break;
    case LogFormat::kJournal:
      put(kJournalPrefix[index]);
      put(event);
      break;
    case LogFormat::kJson:
      put("{\"ts\":\"");
      put_time(g_log.sink->unix_ms());
      put("\",\"level\":\"");
      put(kLevelNames[index]);
      put("\",\"event\":\"");
      put(event);
      put("\"");
      break;
  }
  if (!g_log.sign.empty()) number(g_log.sign, g_log.signed_by);
}

LogLine::~LogLine() {
  if (!live_) return;
  if (g_log.format == LogFormat::kJson) line_[used_++] = '}';
  line_[used_++] = '\n';
  if (g_log.used + used_ > g_log.lines.size()) log_flush();
  std::memcpy(g_log.lines.data() + g_log.used, line_.data(), used_);
  g_log.used += used_;
}

LogLine& LogLine::text(std::string_view key, std::string_view value) {
  if (!live_ || !begin_field(key, 2)) return *this;
  bool quote = g_log.format == LogFormat::kJson || value.empty();
  for (const char c : value) quote = quote || !plain(c);
  if (!quote) {
    put(value);
    return *this;
  }
  put("\"");
  put_escaped(value);
  line_[used_++] = '"';  // put_escaped leaves room for it
  return *this;
}

LogLine& LogLine::signed_number(std::string_view key, int64_t value) {
  if (!live_ || !begin_field(key, 20)) return *this;
  used_ = static_cast<size_t>(std::to_chars(line_.data() + used_, line_.data() + line_.size(), value).ptr - line_.data());
  return *this;
}

LogLine& LogLine::unsigned_number(std::string_view key, uint64_t value) {
  if (!live_ || !begin_field(key, 20)) return *this;
  used_ = static_cast<size_t>(std::to_chars(line_.data() + used_, line_.data() + line_.size(), value).ptr - line_.data());
  return *this;
}

// Writes ` key=` or `,"key":`; false, and nothing written, if that and `value_max` bytes would not fit.
bool LogLine::begin_field(std::string_view key, size_t value_max) {
  if (used_ + key.size() + 4 + value_max + kTail > line_.size()) return false;
  if (g_log.format == LogFormat::kJson) {
    put(",\"");
    put(key);
    put("\":");
  } else {
    put(" ");
    put(key);
    put("=");
  }
  return true;
}

void LogLine::put(std::string_view text) {
  const size_t room = line_.size() - kTail - used_;
  const size_t n = text.size() < room ? text.size() : room;
  std::memcpy(line_.data() + used_, text.data(), n);
  used_ += n;
}

// JSON's escapes (RFC 8259 section 7), which text shares. Bytes that are no harmless character become U+FFFD.
void LogLine::put_escaped(std::string_view text) {
  constexpr std::string_view kHex = "0123456789abcdef";
  while (!text.empty()) {
    std::array<char, 6> escape{'\\', 'u', '0', '0', '0', '0'};
    const auto c = static_cast<unsigned char>(text[0]);
    const size_t length = harmless(text);
    std::string_view piece = text.substr(0, length);
    if (c == '"' || c == '\\') {
      escape[1] = static_cast<char>(c);
      piece = {escape.data(), 2};
    } else if (c < 0x20 || c == 0x7F) {
      escape[4] = kHex[c >> 4];
      escape[5] = kHex[c & 15U];
      piece = {escape.data(), 6};
    } else if (length == 0) {
      piece = "\xEF\xBF\xBD";
    }
    if (used_ + piece.size() + kTail > line_.size()) return;
    put(piece);
    text.remove_prefix(length > 0 ? length : 1);
  }
}

// RFC 3339, UTC, milliseconds. Days to a date after Howard Hinnant's civil_from_days; no tz database, no locale.
void LogLine::put_time(int64_t unix_ms) {
  int64_t days = unix_ms / 86'400'000;
  int64_t ms = unix_ms % 86'400'000;
  if (ms < 0) {
    ms += 86'400'000;
    --days;
  }
  const int64_t z = days + 719'468;
  const int64_t era = (z >= 0 ? z : z - 146'096) / 146'097;
  const int64_t doe = z - era * 146'097;
  const int64_t yoe = (doe - doe / 1460 + doe / 36'524 - doe / 146'096) / 365;
  const int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
  const int64_t mp = (5 * doy + 2) / 153;
  const int64_t month = mp < 10 ? mp + 3 : mp - 9;
  const int64_t year = yoe + era * 400 + (month <= 2 ? 1 : 0);

  std::array<char, 24> text{};
  size_t at = 0;
  const auto digits = [&](int64_t value, int width, char after) {
    for (int i = width - 1; i >= 0; --i) {
      text[at + static_cast<size_t>(i)] = static_cast<char>('0' + value % 10);
      value /= 10;
    }
    at += static_cast<size_t>(width);
    text[at++] = after;
  };
  digits(year, 4, '-');
  digits(month, 2, '-');
  digits(doy - (153 * mp + 2) / 5 + 1, 2, 'T');
  digits(ms / 3'600'000, 2, ':');
  digits(ms / 60'000 % 60, 2, ':');
  digits(ms / 1000 % 60, 2, '.');
  digits(ms % 1000, 3, 'Z');
  put({text.data(), at});
}

}  // namespace relay

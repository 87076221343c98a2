// SPDX-License-Identifier: Apache-2.0
// Log: one event, one line, as `EVENT key=value …` or as JSON, built on the stack and written once a turn of the loop.
//
//   LogLine(Level::kInfo, "session-end").text("relay", name).number("to_client", n);   // emitted by the destructor
//
// A line is at most kLogLineMax bytes: what does not fit is cut, and the line stays well formed. Where lines go, and what
// time it is, are the caller's (LogSink): this room calls no kernel. Control bytes and invalid UTF-8 never reach the output.
#pragma once

#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace relay {

enum class Level : uint8_t { kError, kWarn, kInfo, kDebug };
enum class LogFormat : uint8_t { kText, kJson, kJournal };  // kJournal: text with <N> before it and no time

inline constexpr size_t kLogLineMax = 2048;

class LogSink {
 public:
  virtual int64_t unix_ms() = 0;
  // Whole lines. A sink that cannot take them now drops them and says how many lines it dropped.
  virtual uint64_t write(std::string_view lines) = 0;

 protected:
  ~LogSink() = default;
};

// Process-wide, as stderr is. `sink` is borrowed for the life of the process.
void log_open(LogSink& sink, Level level, LogFormat format);
// From now on each line says so: which of several processes that share a sink has written it. `key` is static.
void log_sign(std::string_view key, uint64_t number);
void log_flush();           // the loop calls it at the end of a turn; main, before it exits
void log_discard();         // forgets what has not been flushed
uint64_t log_dropped();     // lines that the sink did not take
bool log_enabled(Level level);

class LogLine {
 public:
  LogLine(Level level, std::string_view event);
  ~LogLine();
  LogLine(const LogLine&) = delete;
  LogLine& operator=(const LogLine&) = delete;

  LogLine& text(std::string_view key, std::string_view value);
  template <std::integral T>
  LogLine& number(std::string_view key, T value) {
    if constexpr (std::signed_integral<T>) return signed_number(key, static_cast<int64_t>(value));
    else return unsigned_number(key, static_cast<uint64_t>(value));
  }
  // As number(), but a zero leaves no trace.
  template <std::integral T>
  LogLine& count(std::string_view key, T value) { return value == 0 ? *this : number(key, value); }

 private:
  LogLine& signed_number(std::string_view key, int64_t value);
  LogLine& unsigned_number(std::string_view key, uint64_t value);
  bool begin_field(std::string_view key, size_t value_max);
  void put(std::string_view text);
  void put_escaped(std::string_view text);
  void put_time(int64_t unix_ms);

  bool live_;
  size_t used_ = 0;
  std::array<char, kLogLineMax> line_;
};

}  // namespace relay

// SPDX-License-Identifier: Apache-2.0
// Log lines of any fields: whatever a peer or a name server calls itself, a line is one line, of at most 2048 bytes, without
// control characters, in well-formed UTF-8, and, in JSON, an object.
// covers: lib/log.cpp
#include <algorithm>

#include "lib/log.h"
#include "lib/text.h"
#include "tests/fuzz/fuzz.h"

namespace relay {
namespace {

class Caught final : public LogSink {
 public:
  int64_t unix_ms() override { return now; }
  uint64_t write(std::string_view lines) override {
    text.append(lines);
    return 0;
  }
  int64_t now = 0;
  std::string text;
};

bool skip(std::string_view& text, std::string_view what) {
  if (!text.starts_with(what)) return false;
  text.remove_prefix(what.size());
  return true;
}

// RFC 8259, section 7.
bool skip_string(std::string_view& text) {
  if (!skip(text, "\"")) return false;
  while (!text.empty() && text.front() != '"') {
    if (skip(text, "\\u")) {
      if (text.size() < 4 || text.substr(0, 4).find_first_not_of("0123456789abcdef") != std::string_view::npos) return false;
      text.remove_prefix(4);
    } else if (skip(text, "\\")) {
      if (text.empty() || std::string_view("\"\\/bfnrt").find(text.front()) == std::string_view::npos) return false;
      text.remove_prefix(1);
    } else {
      const size_t length = harmless(text);
      if (length == 0) return false;
      text.remove_prefix(length);
    }
  }
  return skip(text, "\"");
}

bool skip_number(std::string_view& text) {
  static_cast<void>(skip(text, "-"));
  const size_t digits = std::min(text.find_first_not_of("0123456789"), text.size());
  text.remove_prefix(digits);
  return digits > 0;
}

void check_json(std::string_view text) {
  CHECK(skip(text, "{"));
  bool first = true;
  while (!text.starts_with('}')) {
    CHECK(first || skip(text, ","));
    CHECK(skip_string(text) && skip(text, ":"));
    CHECK(text.starts_with('"') ? skip_string(text) : skip_number(text));
    first = false;
  }
  CHECK(text == "}");
}

// ` key=value`, a value bare or in quotes, to the end.
void check_fields(std::string_view text) {
  while (!text.empty()) {
    CHECK(skip(text, " key="));
    if (text.starts_with('"')) {
      CHECK(skip_string(text));
      continue;
    }
    const size_t end = std::min(text.find(' '), text.size());
    CHECK(end > 0);
    for (const char c : text.substr(0, end)) CHECK(harmless({&c, 1}) == 1 && c != '"' && c != '=');
    text.remove_prefix(end);
  }
}

}  // namespace
}  // namespace relay

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace relay;
  static Caught caught;
  fuzz::Input input(data, size);
  const auto format = static_cast<LogFormat>(input.byte() % 3);
  caught.text.clear();
  caught.now = static_cast<int64_t>(input.number(6)) - (int64_t{1} << 40);
  log_open(caught, Level::kInfo, format);
  {
    LogLine line(Level::kWarn, "event");
    while (!input.empty()) {
      const uint8_t what = input.byte();
      if (what % 4 == 0) line.number("key", static_cast<int64_t>(input.number(8)));
      else if (what % 4 == 1) line.count("key", input.number(8));
      else line.text("key", input.text(what % 4 == 2 ? input.byte() : input.number(2)));
    }
  }
  log_flush();
  std::string_view line = caught.text;
  CHECK(line.size() <= kLogLineMax && line.ends_with('\n'));
  line.remove_suffix(1);
  CHECK(printable(line) == line);
  if (format == LogFormat::kJson) {
    check_json(line);
  } else {
    CHECK(skip(line, "<4>event") || line.find(" warn event") != std::string_view::npos);
    if (const size_t at = line.find(" warn event"); format == LogFormat::kText) line.remove_prefix(at + 11);
    check_fields(line);
  }
  return 0;
}

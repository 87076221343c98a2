// SPDX-License-Identifier: Apache-2.0
// Durations, sizes and numbers, and strangers' text made safe to show.
// covers: lib/text.cpp
#include <array>

#include "lib/text.h"
#include "tests/fuzz/fuzz.h"

namespace relay {
namespace {

void numbers(std::string_view text) {
  if (const auto duration = parse_duration(text)) {
    CHECK(duration->count() >= 0 && *duration <= kLongestDuration);
    CHECK(parse_duration(format_duration(*duration)) == duration);
    CHECK(format_duration(*duration).size() <= text.size() + 2 || text.size() > 20);
  }
  if (const auto size = parse_size(text)) CHECK(parse_size(format_size(*size)) == size);
  if (const auto number = parse_integer(text)) CHECK(parse_integer(std::to_string(*number)) == number);
  static_cast<void>(parse_bool(text));
}

void shown(std::string_view text) {
  const std::string safe = printable(text);
  for (std::string_view rest = safe; !rest.empty();) {
    const size_t length = harmless(rest);
    CHECK(length > 0 && length <= rest.size());
    rest.remove_prefix(length);
  }
  CHECK(printable(safe) == safe && safe.size() <= 4 * text.size());
  const std::string quoted = quote(text);
  CHECK(quoted.front() == '"' && quoted.back() == '"' && quoted.size() <= 4 * 120 + 5);
  CHECK(printable(quoted) == quoted);
}

// Whatever stands between : and @ is not shown, and nothing else is lost.
void hidden(std::string_view text) {
  const std::string once = hide_password(text);
  CHECK(hide_password(once) == once);
  if (text.find_first_of(" ,\t") != std::string_view::npos || text.size() > 1000) return;
  CHECK(hide_password("redis://user:" + std::string(text) + "@host:6379/2") == "redis://user:***@host:6379/2");
  if (text.find('@') == std::string_view::npos) CHECK(once == text);
}

}  // namespace
}  // namespace relay

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace relay;
  fuzz::Input input(data, size);
  const std::string_view word = input.until('\n');
  numbers(word);
  shown(word);
  hidden(word);
  const std::array candidates = {input.until('\n'), input.until('\n'), std::string_view("queue-size")};
  const std::string_view near = nearest(word, candidates);
  if (!near.empty()) CHECK(near == candidates[0] || near == candidates[1] || near == candidates[2]);
  for (const std::string_view candidate : candidates)
    if (candidate == word && !word.empty()) CHECK(near == word || !nearest(word, candidates).empty());
  return 0;
}

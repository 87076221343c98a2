// SPDX-License-Identifier: Apache-2.0
// Human text: numbers with units in, numbers with units out, "did you mean", and strangers' text made harmless.
//
// Numbers go through std::from_chars: no locale, no sign, no white space. A unit is a row of a table, biggest last, read by the
// parser and the formatter alike, so that what one writes the other reads back.
#include "lib/text.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <limits>

#include "lib/check.h"

namespace relay {
namespace {

struct Unit {
  std::string_view name;
  uint64_t factor;
};
constexpr std::array<Unit, 4> kTimes = {{{"ms", 1}, {"s", 1000}, {"m", 60'000}, {"h", 3'600'000}}};
constexpr std::array<Unit, 4> kSizes = {{{"", 1}, {"KiB", 1ULL << 10}, {"MiB", 1ULL << 20}, {"GiB", 1ULL << 30}}};

// How much of a stranger's text a fault shows: enough to be known again, little enough to keep the fault on a line or two.
constexpr size_t kQuoteLimit = 120;
constexpr size_t kLongestUrls = 16'384;

char small(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

std::optional<uint64_t> parse_with_unit(std::string_view text, std::span<const Unit> units) {
  const char* const end = text.data() + text.size();
  uint64_t number = 0;
  const auto [rest, error] = std::from_chars(text.data(), end, number);
  if (error != std::errc()) return std::nullopt;
  const std::string_view name(rest, static_cast<size_t>(end - rest));
  for (const Unit& unit : units) {
    if (name != unit.name) continue;
    if (number > std::numeric_limits<uint64_t>::max() / unit.factor) return std::nullopt;
    return number * unit.factor;
  }
  return std::nullopt;
}

std::string format_with_unit(uint64_t value, std::span<const Unit> units) {
  size_t biggest = units.size() - 1;
  while (value % units[biggest].factor != 0) --biggest;  // ends: the first factor is 1
  return std::to_string(value / units[biggest].factor).append(units[biggest].name);
}

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c; }

// Edits that lead from `a` to `b`: a letter more, less or other, or two neighbours swapped. Three rows of the usual table.
size_t distance(std::string_view a, std::string_view b) {
  std::vector<size_t> before(b.size() + 1);
  std::vector<size_t> last(b.size() + 1);
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    before.swap(last);
    last.swap(row);
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const bool same = lower(a[i - 1]) == lower(b[j - 1]);
      row[j] = std::min({last[j] + 1, row[j - 1] + 1, last[j - 1] + (same ? 0U : 1U)});
      const bool swapped = i > 1 && j > 1 && lower(a[i - 1]) == lower(b[j - 2]) && lower(a[i - 2]) == lower(b[j - 1]);
      if (swapped) row[j] = std::min(row[j], before[j - 2] + 1);
    }
  }
  return row[b.size()];
}

bool in_scheme(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '+' || c == '-' || c == '.'; }

// Where what follows "redis://" begins; 0 without a scheme.
size_t behind_scheme(std::string_view url) {
  const size_t end = url.find("://");
  const std::string_view scheme = url.substr(0, end);
  return end == std::string_view::npos || !std::all_of(scheme.begin(), scheme.end(), in_scheme) ? 0 : end + 3;
}

// Where the second URL of a list begins, or the end. A password may have any character in it that should have been escaped: so the
// next has the same scheme, and what is before it ends as a URL does, with a host, a port and a number.
size_t next_url(std::string_view urls) {
  constexpr std::string_view kBetween = " ,\t";
  const size_t begin = behind_scheme(urls);
  for (size_t at = begin; (at = urls.find_first_of(kBetween, at)) != std::string_view::npos; ++at) {
    const size_t next = urls.find_first_not_of(kBetween, at);
    if (begin == 0 || next == std::string_view::npos || !urls.substr(next).starts_with(urls.substr(0, begin))) continue;
    const std::string_view first = urls.substr(begin, at - begin);
    const std::string_view place = first.substr(first.rfind('@') + 1);  // npos + 1 is 0
    const std::string_view host = place.substr(0, place.starts_with('[') ? place.find(']') : place.find_first_of(":/"));
    const std::string_view rest = place.substr(host.size());
    if (rest.find_first_not_of("]:/0123456789") == std::string_view::npos) return next;
  }
  return urls.size();
}

struct Character {
  size_t length = 0;  // 0: it is none
  uint32_t point = 0;
};

// The first character of `text`, of two to four bytes. REQUIRES: not empty, and no ASCII there.
Character long_character(std::string_view text) {
  const auto byte = [text](size_t i) { return static_cast<uint8_t>(text[i]); };
  const uint32_t lead = byte(0);
  const size_t length = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
  if (lead < 0xc2 || lead > 0xf4 || text.size() < length) return {};
  uint32_t point = lead & (0xffU >> (length + 1));
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0U) != 0x80U) return {};
    point = (point << 6U) | (byte(i) & 0x3fU);
  }
  constexpr std::array<uint32_t, 5> kLeast = {0, 0, 0x80, 0x800, 0x10000};
  if (point < kLeast[length] || point > 0x10ffff || (point >= 0xd800 && point <= 0xdfff)) return {};
  return {length, point};
}

}  // namespace

std::optional<uint64_t> parse_integer(std::string_view text) { return parse_with_unit(text, std::span(kSizes).first(1)); }

std::optional<std::chrono::milliseconds> parse_duration(std::string_view text) {
  if (text == "0") return std::chrono::milliseconds(0);
  const std::optional<uint64_t> value = parse_with_unit(text, kTimes);
  if (!value || *value > static_cast<uint64_t>(kLongestDuration.count())) return std::nullopt;
  return std::chrono::milliseconds(static_cast<int64_t>(*value));
}

std::optional<uint64_t> parse_size(std::string_view text) { return parse_with_unit(text, kSizes); }

std::optional<bool> parse_bool(std::string_view text) {
  if (text == "true" || text == "yes" || text == "on") return true;
  if (text == "false" || text == "no" || text == "off") return false;
  return std::nullopt;
}

std::vector<std::string_view> split(std::string_view list, char separator) {
  std::vector<std::string_view> items;
  for (;;) {
    const size_t at = list.find(separator);
    std::string_view item = list.substr(0, at);
    while (item.starts_with(' ')) item.remove_prefix(1);
    while (item.ends_with(' ')) item.remove_suffix(1);
    items.push_back(item);
    if (at == std::string_view::npos) return items;
    list.remove_prefix(at + 1);
  }
}

std::string format_duration(std::chrono::milliseconds value) {
  CHECK(value.count() >= 0);
  return value.count() == 0 ? "0" : format_with_unit(static_cast<uint64_t>(value.count()), kTimes);
}

std::string format_size(uint64_t bytes) { return bytes == 0 ? "0" : format_with_unit(bytes, kSizes); }

bool is_utf8(std::string_view text) {
  constexpr uint64_t kHighBits = 0x8080808080808080U;
  while (!text.empty()) {
    uint64_t word = kHighBits;
    if (text.size() >= sizeof word) std::memcpy(&word, text.data(), sizeof word);
    // Most text is ASCII: eight at a time.
    const size_t length = (word & kHighBits) == 0 ? sizeof word : static_cast<uint8_t>(text.front()) < 0x80 ? 1 : long_character(text).length;
    if (length == 0) return false;
    text.remove_prefix(length);
  }
  return true;
}

size_t harmless(std::string_view text) {
  const auto lead = static_cast<uint8_t>(text.front());
  if (lead < 0x80) return lead >= 0x20 && lead != 0x7f ? 1 : 0;
  const auto [length, point] = long_character(text);
  if (point < 0xa0) return 0;  // the C1 controls go, too
  const bool turns = (point >= 0x2028 && point <= 0x202e) || (point >= 0x2066 && point <= 0x2069);
  return turns ? 0 : length;
}

std::optional<std::string> decode_base64(std::string_view text) {
  constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  for (int i = 0; i < 2 && text.ends_with('='); ++i) text.remove_suffix(1);
  if (text.size() % 4 == 1) return std::nullopt;
  std::string out;
  uint32_t bits = 0;
  unsigned count = 0;
  for (const char c : text) {
    const size_t digit = kDigits.find(c);
    if (digit == std::string_view::npos) return std::nullopt;
    bits = bits << 6 | static_cast<uint32_t>(digit);
    count += 6;
    if (count < 8) continue;
    count -= 8;
    out += static_cast<char>(bits >> count & 0xff);
  }
  if ((bits & ((1U << count) - 1)) != 0) return std::nullopt;  // bits of no byte: it was not written by an encoder
  return out;
}

std::string printable(std::string_view text) {
  constexpr std::string_view kHex = "0123456789abcdef";
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const size_t length = harmless(text);
    if (length == 0) {
      const auto byte = static_cast<uint8_t>(text.front());
      out.append("\\x").append(1, kHex[byte >> 4U]).append(1, kHex[byte & 15U]);
    } else {
      out.append(text.substr(0, length));
    }
    text.remove_prefix(std::max<size_t>(length, 1));
  }
  return out;
}

std::string quote(std::string_view text) {
  if (text.size() <= kQuoteLimit) return '"' + printable(text) + '"';
  size_t cut = kQuoteLimit;
  // Not through the middle of a character: at most three bytes of it lie before the cut.
  while (cut > kQuoteLimit - 3 && (static_cast<uint8_t>(text[cut]) & 0xc0U) == 0x80U) --cut;
  return '"' + printable(text.substr(0, cut)) + "...\"";
}

std::string hide_password(std::string_view url) {
  if (url.size() > kLongestUrls) return "***";
  std::string out;
  while (!url.empty()) {
    const std::string_view one = url.substr(0, next_url(url));
    url.remove_prefix(one.size());
    const size_t at = one.rfind('@');
    const size_t login = behind_scheme(one);
    if (at == std::string_view::npos || at < login || (login == 0 && one.starts_with("unix:"))) {
      out += one;
      continue;
    }
    const size_t colon = one.find(':', login);
    out.append(one.substr(0, colon < at ? colon + 1 : login)).append("***").append(one.substr(at));
  }
  return out;
}

int hex_byte(std::string_view text) {
  const auto digit = [](char c) {
    if (c >= '0' && c <= '9') return c - '0';
    c = small(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
  };
  if (text.size() < 2 || digit(text[0]) < 0 || digit(text[1]) < 0) return -1;
  return digit(text[0]) * 16 + digit(text[1]);
}

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = small(c);
  return out;
}

bool same_word(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](char x, char y) { return small(x) == small(y); });
}

std::string_view nearest(std::string_view word, std::span<const std::string_view> candidates) {
  std::string_view best;
  size_t least = std::numeric_limits<size_t>::max();
  for (const std::string_view candidate : candidates) {
    const size_t longer = std::max(word.size(), candidate.size());
    const size_t shorter = std::min(word.size(), candidate.size());
    // One letter in three may be wrong; more is another word. The lengths alone often tell, and keep a huge `word` cheap.
    const size_t limit = longer / 3;
    if (longer - shorter > limit) continue;
    const size_t edits = distance(word, candidate);
    if (edits > limit || edits >= least) continue;
    least = edits;
    best = candidate;
  }
  return best;
}

}  // namespace relay

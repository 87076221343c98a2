// SPDX-License-Identifier: Apache-2.0
// describe: a Config as the file that would make it, defaults included, so that nothing that runs is left to be guessed.
#include <array>
#include <cstdio>

#include "lib/text.h"
#include "ops/config.h"

namespace relay {
namespace {

// TOML's \uXXXX for the character that `text` begins with, and the length of it; 0 if there is none. REQUIRES: it is not harmless,
// hence one of ASCII's or C1's controls, or U+2028 to U+2069; or the bytes are no UTF-8.
size_t append_number(std::string& out, std::string_view text) {
  const auto byte = [text](size_t i) { return i < text.size() ? static_cast<uint8_t>(text[i]) : 0U; };
  const auto follows = [&byte](size_t i) { return (byte(i) & 0xc0U) == 0x80U; };
  const size_t length = byte(0) < 0x80 ? 1 : byte(0) == 0xc2 && follows(1) ? 2 : byte(0) == 0xe2 && follows(1) && follows(2) ? 3 : 0;
  if (length == 0) return 0;
  const unsigned point = length == 3 ? 0x2000U | (byte(1) & 0x3fU) << 6U | (byte(2) & 0x3fU) : byte(length - 1);
  std::array<char, 8> number{};
  std::snprintf(number.data(), number.size(), "\\u%04x", point);
  out += number.data();
  return length;
}

// Bare where TOML has the type, and as TOML writes it (true and not yes, 80 and not 080); in quotes otherwise. REQUIRES: `value`
// has passed its key's checks.
std::string toml_value(const Key& key, std::string_view value) {
  if (key.type == KeyType::kBool) return parse_bool(value) == true ? "true" : "false";
  if (key.type == KeyType::kInteger || key.type == KeyType::kPort) return std::to_string(parse_integer(value).value_or(0));
  std::string plain;
  if (key.secret) value = plain = hide_password(value);
  if (key.seconds && parse_integer(value)) value = plain = std::string(value).append("s");
  std::string out = "\"";
  while (!value.empty()) {
    size_t length = harmless(value);
    if (length > 0) {
      if (value.front() == '"' || value.front() == '\\') out += '\\';
      out += value.substr(0, length);
    } else if (length = append_number(out, value); length == 0) {
      out += printable(value.substr(0, length = 1));  // TOML has no way to write it
    }
    value.remove_prefix(length);
  }
  return out + "\"";
}

std::string section_lines(const Section& section) {
  std::string out;
  for (const Key& key : section.keys()) {
    const std::vector<std::string_view> items = section.items(key);
    if (items.empty()) continue;
    std::string value;
    for (const std::string_view item : items) value.append(value.empty() ? "" : ", ").append(toml_value(key, item));
    if (key.repeatable) value.insert(0, 1, '[').append("]");
    const bool hidden = key.secret && hide_password(items.front()) != items.front();
    out += std::string(key.name) + " = " + value + (hidden ? "  # the password is not shown\n" : section.has(key.name) ? "\n" : "  # default\n");
  }
  return out;
}

}  // namespace

std::string describe(const Config& config) {
  std::string out = section_lines(config.global);
  for (const Config::Item& item : config.relays)
    out += "\n[[relay]]  # " + printable(item.section.origin()) + "\nkind = \"" + std::string(item.kind) + "\"\n" + section_lines(item.section);
  return out;
}

}  // namespace relay

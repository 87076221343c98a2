// SPDX-License-Identifier: Apache-2.0
// describe: a Config as the file that would make it, defaults included, so that nothing that runs is left to be guessed.
#include "lib/text.h"
#include "ops/config.h"

namespace relay {
namespace {

// Bare where TOML has the type, and as TOML writes it (true and not yes, 80 and not 080); in quotes otherwise. REQUIRES: `value`
// has passed its key's checks.
std::string toml_value(const Key& key, std::string_view value) {
  if (key.type == KeyType::kBool) return parse_bool(value) == true ? "true" : "false";
  if (key.type == KeyType::kInteger || key.type == KeyType::kPort) return std::to_string(parse_integer(value).value_or(0));
  std::string out = "\"";
  for (const char c : value) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
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
    out += std::string(key.name) + " = " + value + (section.has(key.name) ? "\n" : "  # default\n");
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

// SPDX-License-Identifier: Apache-2.0
// Parameters of a place: cutting them up, and setting them as if they were keys.
#include "ops/parameters.h"

#include <algorithm>
#include <cstdio>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "lib/text.h"

namespace relay {
namespace {

// Nothing: a % without two digits behind it.
std::optional<std::string> decode(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out += text[i];
      continue;
    }
    const int byte = hex_byte(text.substr(i + 1));
    if (byte < 0) return std::nullopt;
    i += 2;
    if (byte >= ' ' && byte < 0x7f && byte != '\\') {  // which would begin an escape
      out += static_cast<char>(byte);
      continue;
    }
    char escaped[5];
    std::snprintf(escaped, sizeof escaped, "\\x%02x", static_cast<unsigned>(byte) & 0xffU);
    out += escaped;
  }
  return out;
}

}  // namespace

std::string_view without_parameters(std::string_view place) { return place.substr(0, place.find('?')); }

void set_parameters(std::string_view place, Section& section, const std::string& where, Faults& faults) {
  const size_t mark = place.find('?');
  if (mark == std::string_view::npos) return;
  const auto fault = [&](std::string_view what) { faults.push_back({where, quote(place) + ": " + std::string(what)}); };
  std::vector<std::string_view> names;
  for (const Key& key : section.keys()) names.push_back(key.name);
  std::vector<std::string_view> seen;
  for (const std::string_view item : split(place.substr(mark + 1), '&')) {
    const size_t sign = std::min(item.find('='), item.size());
    const std::string_view name = item.substr(0, sign);
    if (name.empty()) return fault("has an empty parameter; write ?NAME=VALUE, and & before the next one");
    const Key* const key = section.find(name);
    if (key == nullptr) {
      std::string said = "has no parameter " + quote(name);
      const std::string_view near = nearest(name, names);
      if (!near.empty()) said.append("; did you mean ").append(near).append("?");
      else for (const std::string_view one : names) said.append(one == names.front() ? "; it may have " : ", ").append(one);
      fault(said);
      continue;
    }
    if (std::find(seen.begin(), seen.end(), name) != seen.end()) {
      fault(std::string(name) + " stands there twice; take one of them out");
      continue;
    }
    seen.push_back(name);
    const std::optional<std::string> value = sign == item.size() && key->type == KeyType::kBool ? "true" : decode(item.substr(std::min(sign + 1, item.size())));
    if (!value) {
      fault(std::string(name) + " has a % without two hexadecimal digits behind it; write for example %0D%0A");
      continue;
    }
    Faults found;
    section.set(name, *value, where, found);
    for (const Fault& one : found) fault(one.what);
  }
}

}  // namespace relay

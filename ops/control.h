// SPDX-License-Identifier: Apache-2.0
// What an operator, or a program, asks of one relay by way of the admin socket: /relays/NAME/WHAT.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>

namespace relay {

struct ControlQuery {
  bool post = false;  // it may change something
  const std::map<std::string, std::string, std::less<>>& parameters;  // of the path, behind its "?"
  std::string_view body;

  // The value of a parameter, or nothing.
  std::string_view get(std::string_view name) const {
    const auto at = parameters.find(name);
    return at == parameters.end() ? std::string_view() : std::string_view(at->second);
  }
};

}  // namespace relay

// SPDX-License-Identifier: Apache-2.0
// LastError: what went wrong last with a relay, and when, for its status.
#pragma once

#include <string>
#include <string_view>

#include "lib/json.h"
#include "net/timer.h"

namespace relay {

class LastError {
 public:
  void set(std::string_view what, Time at) {
    what_ = what;
    at_ = at;
  }
  const std::string& what() const { return what_; }  // empty: nothing yet
  Time at() const { return at_; }
  // Adds the member "last_error", an object or null.
  void status(Json& json, Time now) const {
    if (what_.empty()) json.null("last_error");
    else json.begin('{', "last_error").text("error", what_).number("ago_ms", (now - at_).count()).end('}');
  }

 private:
  std::string what_;
  Time at_{};
};

}  // namespace relay

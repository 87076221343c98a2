// SPDX-License-Identifier: Apache-2.0
// Json: writes JSON (RFC 8259) at the end of a string, member by member. It does the commas and the escapes; that what is begun
// is ended is its caller's.
//
//   Json json(out);
//   json.begin('{').text("name", name).number("clients", n).begin('[', "sessions") … .end(']').end('}');
//
// Text that a terminal or a log could trip over is shown as printable() (text.h) does: so it is valid UTF-8 whatever came in.
#pragma once

#include <concepts>
#include <cstdint>
#include <string>
#include <string_view>

namespace relay {

class Json {
 public:
  // Borrows `out` for its life.
  explicit Json(std::string& out) : out_(out) {}

  // An object '{' or an array '[', as a member of that name, or without one in an array or at the top.
  Json& begin(char bracket, std::string_view key = {});
  Json& end(char bracket);
  Json& text(std::string_view key, std::string_view value);
  Json& flag(std::string_view key, bool value);
  Json& null(std::string_view key);
  template <std::integral T>
  Json& number(std::string_view key, T value) {
    put_key(key);
    out_ += std::to_string(value);
    return *this;
  }
  // What follows is not the first of its array or object, whose beginning another Json wrote.
  Json& go_on() {
    comma_ = true;
    return *this;
  }

 private:
  void put_key(std::string_view key);
  void put_text(std::string_view value);

  std::string& out_;
  bool comma_ = false;
};

}  // namespace relay

// SPDX-License-Identifier: Apache-2.0
// Json: commas and escapes.
#include "lib/json.h"

#include "lib/text.h"

namespace relay {

void Json::put_text(std::string_view value) {
  out_ += '"';
  for (const char c : printable(value)) {
    if (c == '"' || c == '\\') out_ += '\\';
    out_ += c;
  }
  out_ += '"';
}

void Json::put_key(std::string_view key) {
  if (comma_) out_ += ',';
  comma_ = true;
  if (key.empty()) return;
  put_text(key);
  out_ += ':';
}

Json& Json::begin(char bracket, std::string_view key) {
  put_key(key);
  out_ += bracket;
  comma_ = false;
  return *this;
}

Json& Json::end(char bracket) {
  out_ += bracket;
  comma_ = true;
  return *this;
}

Json& Json::text(std::string_view key, std::string_view value) {
  put_key(key);
  put_text(value);
  return *this;
}

Json& Json::flag(std::string_view key, bool value) {
  put_key(key);
  out_ += value ? "true" : "false";
  return *this;
}

Json& Json::null(std::string_view key) {
  put_key(key);
  out_ += "null";
  return *this;
}

}  // namespace relay

// SPDX-License-Identifier: Apache-2.0
// lib/json: commas, nesting, escapes, and that strange text stays valid JSON.
#include "lib/json.h"

#include <gtest/gtest.h>

#include <climits>
#include <cstdint>

namespace relay {
namespace {

TEST(Json, PutsCommasWhereTheyBelong) {
  std::string out;
  Json json(out);
  json.begin('{').text("a", "x").number("b", 5).flag("c", true).null("d").begin('[', "e");
  json.begin('{').end('}').begin('{').number("f", -1).number("g", UINT64_MAX).end('}').end(']').begin('{', "h").end('}').flag("i", false).end('}');
  EXPECT_EQ(out, R"({"a":"x","b":5,"c":true,"d":null,"e":[{},{"f":-1,"g":18446744073709551615}],"h":{},"i":false})");
}

TEST(Json, GoesOnWhereAnotherHasBegun) {
  std::string out;
  Json(out).begin('[').begin('{').end('}');
  Json(out).go_on().begin('{').number("n", 1).end('}').end(']');
  EXPECT_EQ(out, R"([{},{"n":1}])");
}

TEST(Json, EscapesText) {
  const auto written = [](std::string_view text) {
    std::string out;
    Json(out).begin('{').text("k", text).end('}');
    return out;
  };
  EXPECT_EQ(written("say \"hi\" \\ there"), R"({"k":"say \"hi\" \\ there"})");
  EXPECT_EQ(written("ä日"), "{\"k\":\"ä日\"}");
  EXPECT_EQ(written("a\nb\x01"), R"({"k":"a\\x0ab\\x01"})");  // as printable() shows it
  EXPECT_EQ(written("\xff"), R"({"k":"\\xff"})");
  EXPECT_EQ(written(std::string_view("\0", 1)), R"({"k":"\\x00"})");
  for (int c = 0; c < 256; ++c) {
    const std::string out = written(std::string(1, static_cast<char>(c)));
    for (const char byte : out) EXPECT_TRUE(static_cast<unsigned char>(byte) >= ' ' && static_cast<unsigned char>(byte) < 0x7f) << c;
  }
}

}  // namespace
}  // namespace relay

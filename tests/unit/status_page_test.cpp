// SPDX-License-Identifier: Apache-2.0
// The page of `relay status`: how wide a text is, where it is cut, and which columns stay when the window is narrow.
#include "run/status_page.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace relay {
namespace {

using Column = Table::Column;

TEST(StatusPage, WideLettersAndMarksAreCountedAsATerminalDoes) {
  EXPECT_EQ(columns_of(""), 0U);
  EXPECT_EQ(columns_of("func1"), 5U);
  EXPECT_EQ(columns_of("größe"), 5U);
  EXPECT_EQ(columns_of("日本"), 4U);
  EXPECT_EQ(columns_of("e\u0301"), 1U);
  EXPECT_EQ(columns_of("😀"), 2U);
}

TEST(StatusPage, ACutTextFitsAndNoCharacterIsCut) {
  EXPECT_EQ(cut_to("func1", 5), "func1");
  EXPECT_EQ(cut_to("func1", 4), "fun~");
  EXPECT_EQ(cut_to("func1", 1), "~");
  EXPECT_EQ(cut_to("func1", 0), "");
  EXPECT_EQ(cut_to("日本語", 4), "日~");
  EXPECT_EQ(cut_to("日本語", 5), "日本~");
  for (size_t most = 0; most < 12; ++most) EXPECT_LE(columns_of(cut_to("größe日本語", most)), most);
}

std::string laid_out(size_t width) {
  Table table({{"NAME", Column::kText}, {"LISTENING", Column::kText}, {"TARGET", Column::kText}, {"CLIENTS", Column::kNumber}, {"RATE", Column::kNumber}});
  table.row({"a", "192.0.2.1:9000", "gateway.of.the.other.cluster.example:9999", "7", "0B/s"}, "2s ago: gone");
  table.row({"7", "192.0.2.1:9001", "-", "12", "1.2MiB/s"});
  std::string out;
  table.put(out, width);
  return out;
}

TEST(StatusPage, NumbersAreOnTheRightAndTextsOnTheLeft) {
  EXPECT_EQ(laid_out(SIZE_MAX),
            "  NAME  LISTENING       TARGET                                     CLIENTS      RATE\n"
            "  a     192.0.2.1:9000  gateway.of.the.other.cluster.example:9999        7      0B/s\n"
            "      2s ago: gone\n"
            "  7     192.0.2.1:9001  -                                               12  1.2MiB/s\n");
}

TEST(StatusPage, WhereItIsNarrowTextsAreShortenedThenLeftOut) {
  EXPECT_EQ(laid_out(60),
            "  NAME LISTENING      TARGET                CLIENTS     RATE\n"
            "  a    192.0.2.1:9000 gateway.of.the.other~       7     0B/s\n"
            "      2s ago: gone\n"
            "  7    192.0.2.1:9001 -                          12 1.2MiB/s\n");
  EXPECT_EQ(laid_out(45),
            "  NAME LISTENING      CLIENTS     RATE\n"
            "  a    192.0.2.1:9000       7     0B/s\n"
            "      2s ago: gone\n"
            "  7    192.0.2.1:9001      12 1.2MiB/s\n");
  EXPECT_EQ(laid_out(30),
            "  NAME CLIENTS     RATE\n"
            "  a          7     0B/s\n"
            "      2s ago: gone\n"
            "  7         12 1.2MiB/s\n");
  EXPECT_EQ(laid_out(10),
            "  NAME CL~\n"
            "  a      ~\n"
            "      2s ago: gone\n"
            "  7      ~\n");
}

TEST(StatusPage, NoWidthMakesALineLonger) {
  for (size_t width = 1; width < 120; ++width) {
    const std::string text = laid_out(width);
    for (size_t begin = 0, end = 0; begin < text.size(); begin = end + 1) {
      end = text.find('\n', begin);
      const std::string_view line = std::string_view(text).substr(begin, end - begin);
      if (line.find(" ago: ") != std::string_view::npos) continue;
      EXPECT_LE(columns_of(line), width) << line;
    }
  }
}

}  // namespace
}  // namespace relay

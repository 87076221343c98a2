// SPDX-License-Identifier: Apache-2.0
// wire/framing: messages whole, split at every byte and byte by byte; a delimiter that begins like itself; lengths of every width; bounds; and that
// nothing is looked through twice.
#include "wire/framing.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <vector>

namespace relay {
namespace {

using namespace std::string_literals;
using Words = std::vector<std::string>;
using Kind = Framing::Kind;

std::span<const std::byte> bytes(std::string_view text) { return std::as_bytes(std::span(text)); }

// The messages in `text`, which comes in pieces of `first` and then `piece` bytes; at the end what is left of it, in brackets, or why there are
// no more.
Words cut(const Framing& framing, std::string_view text, size_t first, size_t piece) {
  Words out;
  std::string kept;
  size_t scanned = 0;
  size_t most = first;
  while (!text.empty()) {
    kept += text.substr(0, most);
    text.remove_prefix(std::min(most, text.size()));
    most = piece;
    while (!kept.empty()) {
      const Result<size_t> n = framing.next(bytes(kept), scanned);
      if (!n.ok()) {
        out.emplace_back(n.status().code() == Code::kLimit ? "too long" : "invalid");
        return out;
      }
      EXPECT_LE(*n, kept.size());
      if (*n == 0) break;
      EXPECT_EQ(scanned, 0U);
      out.push_back(kept.substr(0, *n));
      kept.erase(0, *n);
    }
  }
  if (!kept.empty()) out.push_back("[" + kept + "]");
  return out;
}

void expect_everywhere(const Framing& framing, std::string_view text, const Words& expected) {
  EXPECT_EQ(cut(framing, text, text.size(), text.size()), expected) << text;
  EXPECT_EQ(cut(framing, text, 1, 1), expected) << text;
  for (size_t split = 1; split < text.size(); ++split) EXPECT_EQ(cut(framing, text, split, text.size()), expected) << text << " at " << split;
}

TEST(Framing, RawIsWhatHasCome) {
  const Framing raw{.kind = Kind::kRaw, .most = 4};
  EXPECT_EQ(cut(raw, "abcdefghi", 9, 9), (Words{"abcd", "efgh", "i"}));
  EXPECT_EQ(cut(raw, "abcdefghi", 3, 6), (Words{"abc", "defg", "hi"}));
}

TEST(Framing, ALineEndsWithItsEnd) {
  const Framing line{.kind = Kind::kLine, .most = 5};
  expect_everywhere(line, "a\n\n\r\nbcd\r\nrest", {"a\n", "\n", "\r\n", "bcd\r\n", "[rest]"});
  expect_everywhere(line, "a\nabcd\n", {"a\n", "abcd\n"});
  expect_everywhere(line, "a\nabcde\n", {"a\n", "too long"});
  expect_everywhere(line, "abcde", {"too long"});
  expect_everywhere(line, "a\0b\n"s, {"a\0b\n"s});
}

TEST(Framing, ADelimiterMayBeCut) {
  const Framing crlf{.kind = Kind::kDelimiter, .most = 6, .delimiter = "\r\n"};
  expect_everywhere(crlf, "a\r\n\r\n\r\r\n\n\r\nb\n\r", {"a\r\n", "\r\n", "\r\r\n", "\n\r\n", "[b\n\r]"});
  expect_everywhere(crlf, "abcd\r\nabcde\r\n", {"abcd\r\n", "too long"});
  const Framing aab{.kind = Kind::kDelimiter, .most = 100, .delimiter = "aab"};
  expect_everywhere(aab, "aaabaabxaaaaaabaa", {"aaab", "aab", "xaaaaaab", "[aa]"});
  const Framing nul{.kind = Kind::kDelimiter, .most = 3, .delimiter = "\0"s};
  expect_everywhere(nul, "a\0\0bc\0bcd\0"s, {"a\0"s, "\0"s, "bc\0"s, "too long"});
  const Framing longer{.kind = Kind::kDelimiter, .most = 2, .delimiter = "abc"};
  expect_everywhere(longer, "abc", {"too long"});
}

TEST(Framing, NothingIsLookedThroughTwice) {
  const Framing line{.kind = Kind::kLine, .most = 1000};
  size_t scanned = 0;
  EXPECT_EQ(*line.next(bytes("abcdef"), scanned), 0U);
  EXPECT_EQ(scanned, 6U);
  EXPECT_EQ(*line.next(bytes("\n\n\n\n\n\ng"), scanned), 0U);  // as if something had been overlooked
  EXPECT_EQ(scanned, 7U);
  EXPECT_EQ(*line.next(bytes("abcdefgh\n"), scanned), 9U);
  EXPECT_EQ(scanned, 0U);
  const Framing end{.kind = Kind::kDelimiter, .most = 1000, .delimiter = "END"};
  EXPECT_EQ(*end.next(bytes("E"), scanned), 0U);
  EXPECT_EQ(scanned, 0U);
  EXPECT_EQ(*end.next(bytes("EN"), scanned), 0U);
  EXPECT_EQ(scanned, 0U);
  EXPECT_EQ(*end.next(bytes("abcdEN"), scanned), 0U);
  EXPECT_EQ(scanned, 4U);
  EXPECT_EQ(*end.next(bytes("ENDdEN."), scanned), 0U);
  EXPECT_EQ(scanned, 5U);
  EXPECT_EQ(*end.next(bytes("abcdEN.END"), scanned), 10U);
  EXPECT_EQ(scanned, 0U);
}

TEST(Framing, ALengthStandsBefore) {
  expect_everywhere({.kind = Kind::kLengthPrefix, .most = 7}, "\0\0\0\1a\0\0\0\0\0\0\0\3abc\0\0"s,
                    {"\0\0\0\1a"s, "\0\0\0\0"s, "\0\0\0\3abc"s, "[\0\0]"s});
  expect_everywhere({.kind = Kind::kLengthPrefix, .most = 300, .width = 2, .little = true}, "\2\0ab\1\1"s + std::string(257, 'x'),
                    {"\2\0ab"s, "\1\1"s + std::string(257, 'x')});
  expect_everywhere({.kind = Kind::kLengthPrefix, .most = 9, .width = 1, .inclusive = true}, "\1\3ab\2c"s, {"\1", "\3ab", "\2c"});
  expect_everywhere({.kind = Kind::kLengthPrefix, .most = 9, .width = 3, .inclusive = true}, "\0\0\5ab\0\0\3"s, {"\0\0\5ab"s, "\0\0\3"s});
  expect_everywhere({.kind = Kind::kLengthPrefix, .most = 9, .width = 8}, "\0\0\0\0\0\0\0\1a"s, {"\0\0\0\0\0\0\0\1a"s});
  expect_everywhere({.kind = Kind::kLengthPrefix, .most = 9, .width = 8, .little = true}, "\1\0\0\0\0\0\0\0a"s, {"\1\0\0\0\0\0\0\0a"s});
}

TEST(Framing, ALengthIsNotBelieved) {
  const Framing big{.kind = Kind::kLengthPrefix, .most = 7};
  expect_everywhere(big, "\0\0\0\4abcd"s, {"too long"});
  expect_everywhere(big, "\xff\xff\xff\xff", {"too long"});
  for (const bool little : {false, true})
    for (const bool inclusive : {false, true})
      for (uint8_t width = 1; width <= 8; ++width) {
        const Framing framing{.kind = Kind::kLengthPrefix, .most = 100, .width = width, .little = little, .inclusive = inclusive};
        expect_everywhere(framing, std::string(width, '\xff'), {"too long"});
        expect_everywhere(framing, std::string(width, '\0'), {inclusive ? "invalid"s : std::string(width, '\0')});
        expect_everywhere(framing, std::string(size_t{width} - 1, '\0'), width == 1 ? Words{} : Words{"[" + std::string(size_t{width} - 1, '\0') + "]"});
      }
  expect_everywhere({.kind = Kind::kLengthPrefix, .most = 100, .width = 4, .inclusive = true}, "\0\0\0\3"s, {"invalid"});
  expect_everywhere({.kind = Kind::kLengthPrefix, .most = 3, .width = 4}, "\0\0\0\0"s, {"too long"});
}

}  // namespace
}  // namespace relay

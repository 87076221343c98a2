// SPDX-License-Identifier: Apache-2.0
// wire/resp: commands and replies whole, split at every byte and byte by byte; the server's limits in the server's words; words of a line.
#include "wire/resp.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace relay {
namespace {

std::span<const std::byte> bytes(std::string_view text) { return std::as_bytes(std::span(text)); }

// The sizes of the values in `text`, fed in pieces of `first` and then `piece` bytes, and at the end the reason of a failure.
template <typename Reader>
std::vector<std::string> sizes(std::string_view text, size_t first, size_t piece) {
  std::vector<std::string> out;
  Reader reader;
  size_t most = first;
  for (size_t at = 0; at < text.size();) {
    std::string_view part = text.substr(at, most);
    most = piece;
    at += part.size();
    while (!part.empty()) {
      const Result<size_t> n = reader.feed(bytes(part));
      if (!n.ok()) {
        out.emplace_back(n.status().reason());
        return out;
      }
      part.remove_prefix(*n);
      if (!reader.done()) break;
      out.push_back(std::to_string(reader.size()));
      reader.next();
    }
  }
  if (reader.begun()) out.emplace_back("more");
  return out;
}

template <typename Reader>
void expect_everywhere(std::string_view text, const std::vector<std::string>& expected) {
  EXPECT_EQ(sizes<Reader>(text, text.size(), text.size()), expected) << text;
  EXPECT_EQ(sizes<Reader>(text, 1, 1), expected) << text;
  for (size_t split = 1; split < text.size(); ++split) EXPECT_EQ(sizes<Reader>(text, split, text.size()), expected) << text << " at " << split;
}

using Words = std::vector<std::string>;

TEST(RespRequest, FindsTheEndOfEachCommandHoweverItIsSplit) {
  expect_everywhere<RespRequest>("*1\r\n$4\r\nPING\r\n*2\r\n$3\r\nGET\r\n$0\r\n\r\nPING\r\n\r\nset a 'b c'\n*0\r\n*-1\r\n*3\r\n$3\r\nSET\r\n$1\r\n\n\r\n$2\r\n\r\n\r\n",
                                 {"14", "19", "6", "2", "12", "4", "5", "28"});
  expect_everywhere<RespRequest>("*2\r\n$3\r\nGET\r\n$5\r\nab", {"more"});
}

TEST(RespRequest, SaysWhereTheFirstArgumentsAre) {
  std::string text;
  const Words words{"a", "", "ccc", "4", "5", "6", "7", "8", "9", "10"};
  append_command(text, words);
  RespRequest reader;
  EXPECT_EQ(*reader.feed(bytes(text)), text.size());
  ASSERT_TRUE(reader.done());
  EXPECT_EQ(reader.argc(), words.size());
  ASSERT_EQ(reader.args().size(), RespRequest::kArgs);
  for (size_t i = 0; i < RespRequest::kArgs; ++i) EXPECT_EQ(text.substr(reader.args()[i].at, reader.args()[i].size), words[i]);
}

TEST(RespRequest, RefusesInTheWordsOfTheServer) {
  for (const auto& [text, why] : std::vector<std::pair<std::string, std::string>>{
           {"*x\r\n", "Protocol error: invalid multibulk length"},
           {"*\r\n", "Protocol error: invalid multibulk length"},
           {"*01\r\n", "Protocol error: invalid multibulk length"},
           {"*+1\r\n", "Protocol error: invalid multibulk length"},
           {"*-0\r\n", "Protocol error: invalid multibulk length"},
           {"*2147483648\r\n", "Protocol error: invalid multibulk length"},
           {"*99999999999999999999\r\n", "Protocol error: invalid multibulk length"},
           {"*1\r\nPING\r\n", "Protocol error: expected '$'"},
           {"*1\r\n$x\r\n", "Protocol error: invalid bulk length"},
           {"*1\r\n$-1\r\n", "Protocol error: invalid bulk length"},
           {"*1\r\n$536870913\r\n", "Protocol error: invalid bulk length"},
           {"*1\r\n$999999999999\r\n", "Protocol error: invalid bulk length"},
           {"*1\r\n$4\nPING\r\n", "Protocol error: invalid bulk length"},
           {"*1\r\n$4\r\nPINGxx", "Protocol error: expected CR LF behind an argument"},
           {"*1\r\n$4\r\nPING\rx", "Protocol error: expected CR LF behind an argument"},
       })
    expect_everywhere<RespRequest>(text, {why});
  EXPECT_EQ(sizes<RespRequest>(std::string(65537, 'a'), 1000, 1000), Words{"Protocol error: too big inline request"});
  EXPECT_EQ(sizes<RespRequest>(std::string(65535, 'a') + "\n", 1000, 1000), Words{"65536"});
}

TEST(RespRequest, QuotesTheByteThatItMet) {
  RespRequest reader;
  const Result<size_t> n = reader.feed(bytes("*1\r\nPING\r\n"));
  ASSERT_FALSE(n.ok());
  EXPECT_EQ(reader.complaint(n.status()), "Protocol error: expected '$', got 'P'");
}

TEST(RespRequest, StaysFailed) {
  RespRequest reader;
  EXPECT_FALSE(reader.feed(bytes("*x")).ok());
  EXPECT_FALSE(reader.feed(bytes("PING\r\n")).ok());
}

TEST(RespRequest, SplitsALineAsTheServerDoes) {
  const auto split = [](std::string_view line) { return RespRequest::split_words(line).value_or(Words{"?"}); };
  EXPECT_EQ(split("SET a b\r\n"), (Words{"SET", "a", "b"}));
  EXPECT_EQ(split("  set\t\"a b\"  'c \"d'\n"), (Words{"set", "a b", "c \"d"}));
  EXPECT_EQ(split(R"(x "\x41\n\t\\\"\q" 'it\'s \n')"), (Words{"x", "A\n\t\\\"q", "it's \\n"}));
  EXPECT_EQ(split("x \"\" ''"), (Words{"x", "", ""}));
  EXPECT_EQ(split("\r\n"), Words{});
  EXPECT_EQ(split("a\"b\" c"), (Words{"ab", "c"}));
  for (const std::string_view bad : {"\"a", "'a", "\"a\"b", "'a'b", "\"a\\\"", "a\"b\"c"}) EXPECT_EQ(split(bad), Words{"?"}) << bad;
}

TEST(RespReply, FindsTheEndOfEachReplyHoweverItIsSplit) {
  expect_everywhere<RespReply>("+OK\r\n-ERR no\r\n:12\r\n$3\r\na\r\n\r\n$-1\r\n*-1\r\n$0\r\n\r\n*0\r\n", {"5", "9", "5", "9", "5", "5", "6", "4"});
  expect_everywhere<RespReply>("*3\r\n*1\r\n:1\r\n$1\r\nx\r\n*0\r\n+OK\r\n", {"23", "5"});
  expect_everywhere<RespReply>("%2\r\n+a\r\n:1\r\n+b\r\n*2\r\n#t\r\n,1.5\r\n_\r\n", {"30", "3"});
  expect_everywhere<RespReply>("|1\r\n+k\r\n*1\r\n:5\r\n$1\r\nx\r\n>2\r\n+message\r\n(12345\r\n=5\r\ntxt:a\r\n!3\r\nERR\r\n~1\r\n:1\r\n",
                               {"23", "22", "11", "9", "8"});
  expect_everywhere<RespReply>("*2\r\n:1\r\n", {"more"});
}

TEST(RespReply, KnowsItsType) {
  for (const auto& [text, type] : std::vector<std::pair<std::string, char>>{
           {"+OK\r\n", '+'}, {"-ERR\r\n", '-'}, {"*1\r\n-x\r\n", '*'}, {"|1\r\n+a\r\n-b\r\n:1\r\n", ':'}, {"|0\r\n>0\r\n", '>'}}) {
    RespReply reply;
    EXPECT_EQ(*reply.feed(bytes(text)), text.size());
    EXPECT_TRUE(reply.done());
    EXPECT_EQ(reply.type(), type) << text;
    EXPECT_EQ(reply.is_error(), type == '-');
    EXPECT_EQ(reply.is_push(), type == '>');
  }
}

TEST(RespReply, RefusesWhatIsNone) {
  for (const std::string_view text : {"HTTP/1.1 200 OK\r\n", "$?\r\n", "$-2\r\n", "|-1\r\n", "$3\r\nabcd\r\n", "*9999999999999\r\n", "$1\r\nab", "$1\r\na\rb"})
    EXPECT_TRUE(sizes<RespReply>(text, text.size(), 1).back().starts_with("a ")) << text;
}

TEST(RespToken, TakesAWholeReplyApart) {
  std::string_view rest = "*3\r\n$3\r\nget\r\n:-2\r\n*1\r\n+readonly\r\n$-1\r\n$2\r\nx";
  EXPECT_EQ(take_token(rest)->number, 3);
  EXPECT_EQ(take_token(rest)->text, "get");
  EXPECT_EQ(take_token(rest)->number, -2);
  EXPECT_EQ(take_token(rest)->number, 1);
  EXPECT_EQ(take_token(rest)->text, "readonly");
  EXPECT_EQ(take_token(rest)->number, -1);
  EXPECT_FALSE(take_token(rest).has_value());
}

}  // namespace
}  // namespace relay

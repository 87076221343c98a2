// SPDX-License-Identifier: Apache-2.0
// wire/grpc: messages whole, split at every byte and byte by byte; what is not copied and what is kept; bounds; status codes and their texts.
#include "wire/grpc.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <vector>

namespace relay {
namespace {

using namespace std::string_literals;
using Words = std::vector<std::string>;

std::span<const std::byte> bytes(std::string_view text) { return std::as_bytes(std::span(text)); }
std::string text(std::span<const std::byte> bytes) { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }

std::string framed(std::string_view message) {
  const auto prefix = grpc_prefix(static_cast<uint32_t>(message.size()));
  return text(prefix).append(message);
}

// The messages in `body`, which comes in pieces of `first` and then `piece` bytes; at the end why there are no more, or that one is cut off.
Words cut(std::string_view body, size_t first, size_t piece, uint32_t most = 1000) {
  Words out;
  GrpcReader reader(most);
  size_t size = first;
  while (!body.empty()) {
    const std::string part(body.substr(0, size));  // memory of its own
    body.remove_prefix(part.size());
    size = piece;
    const Status status = reader.feed(bytes(part), [&](std::span<const std::byte> message) {
      out.push_back(text(message));
      return true;
    });
    if (!status.ok()) {
      out.emplace_back(status.reason());
      return out;
    }
  }
  if (reader.has_part()) out.emplace_back("more");
  return out;
}

void expect_everywhere(std::string_view body, const Words& expected, uint32_t most = 1000) {
  EXPECT_EQ(cut(body, body.size(), body.size(), most), expected);
  EXPECT_EQ(cut(body, 1, 1, most), expected);
  EXPECT_EQ(cut(body, 7, 7, most), expected);
  for (size_t split = 1; split < body.size(); ++split) EXPECT_EQ(cut(body, split, body.size(), most), expected) << split;
}

TEST(GrpcPrefix, SaysTheLength) {
  EXPECT_EQ(text(grpc_prefix(0)), "\0\0\0\0\0"s);
  EXPECT_EQ(text(grpc_prefix(0x01020304)), "\0\1\2\3\4"s);
  EXPECT_EQ(text(grpc_prefix(UINT32_MAX)), "\0\xff\xff\xff\xff"s);
}

TEST(GrpcReader, FindsMessagesHoweverTheyAreSplit) {
  const std::string longer(300, 'x');
  expect_everywhere(framed("hello") + framed("") + framed("") + framed(longer) + framed("!"), {"hello", "", "", longer, "!"});
  expect_everywhere("\0\0\0\0\3abc\0\0\0\1\0"s + longer.substr(0, 256), {"abc", longer.substr(0, 256)});
  expect_everywhere(framed("a") + "\0"s, {"a", "more"});
  expect_everywhere(framed("a") + "\0\0\0\0\1"s, {"a", "more"});
  expect_everywhere(framed("a") + "\0\0\0\0\3ab"s, {"a", "more"});
  expect_everywhere(framed(""), {""});
}

TEST(GrpcReader, RefusesWhatIsNoneOrTooLong) {
  expect_everywhere(framed("a") + "\1\0\0\0\1b"s, {"a", "a compressed message, which was not asked for"});
  expect_everywhere(framed("a") + "\2\0\0\0\1b"s, {"a", "no gRPC message"});
  expect_everywhere("HTTP/1.1 400 Bad Request", {"no gRPC message"});
  expect_everywhere(framed("12345") + framed("123456"), {"12345", "a message that is too long"}, 5);
  expect_everywhere("\0\xff\xff\xff\xff"s, {"a message that is too long"});
  expect_everywhere(framed("") + framed("1"), {"", "a message that is too long"}, 0);
  GrpcReader reader(1000);
  EXPECT_EQ(reader.feed(bytes("\1\0\0\0\1"s), [](auto) { return true; }).code(), Code::kInvalid);
  EXPECT_EQ(reader.feed(bytes("\0\0\0\x4\1"s), [](auto) { return true; }).code(), Code::kLimit);
}

TEST(GrpcReader, DoesNotCopyWhatIsWholeInAPiece) {
  GrpcReader reader(1000);
  const std::string body = framed("one") + framed("two") + framed("three");
  for (const size_t split : {size_t{0}, size_t{3}, size_t{8}, size_t{10}}) {  // within a prefix, too
    std::vector<const std::byte*> places;
    const auto take = [&](std::span<const std::byte> message) {
      places.push_back(message.data());
      return true;
    };
    EXPECT_TRUE(reader.feed(bytes(body).first(split), take).ok());
    EXPECT_TRUE(reader.feed(bytes(body).subspan(split), take).ok());
    const std::byte* begin = bytes(body).data();
    EXPECT_EQ(places, (std::vector<const std::byte*>{begin + 5, begin + 13, begin + 21})) << split;
    EXPECT_FALSE(reader.has_part());
  }
}

TEST(GrpcReader, StopsWhereItIsTold) {
  GrpcReader reader(1000);
  Words seen;
  const auto first = [&](std::span<const std::byte> message) {
    seen.push_back(text(message));
    return false;
  };
  const std::string body = framed("one") + framed("two") + "\2 rubbish";
  EXPECT_TRUE(reader.feed(bytes(body), first).ok());
  EXPECT_FALSE(reader.has_part());
  EXPECT_TRUE(reader.feed(bytes(body).first(6), first).ok());
  EXPECT_TRUE(reader.has_part());
  EXPECT_TRUE(reader.feed(bytes(body).subspan(6), first).ok());
  EXPECT_FALSE(reader.has_part());
  EXPECT_EQ(seen, (Words{"one", "one"}));
}

TEST(GrpcReader, MayBeClearedOrEndWithinTheCall) {
  auto reader = std::make_unique<GrpcReader>(1000);
  const std::string body = framed("a message that is longer than a short one") + framed("two");
  std::string seen;
  EXPECT_TRUE(reader->feed(bytes(body).first(20), [](auto) { return false; }).ok());
  EXPECT_TRUE(reader->feed(bytes(body).subspan(20), [&](std::span<const std::byte> message) {
    reader->clear();
    reader.reset();
    seen = text(message);
    return false;
  }).ok());
  EXPECT_EQ(seen, "a message that is longer than a short one");
}

TEST(GrpcReader, ForgetsAPart) {
  GrpcReader reader(1000);
  for (const size_t part : {size_t{2}, size_t{7}}) {
    EXPECT_TRUE(reader.feed(bytes(framed("one")).first(part), [](auto) { return true; }).ok());
    EXPECT_TRUE(reader.has_part());
    reader.clear();
    EXPECT_FALSE(reader.has_part());
    Words seen;
    EXPECT_TRUE(reader.feed(bytes(framed("two")), [&](std::span<const std::byte> message) {
      seen.push_back(text(message));
      return true;
    }).ok());
    EXPECT_EQ(seen, Words{"two"});
  }
}

TEST(GrpcStatus, HasNames) {
  EXPECT_EQ(grpc_code_name(0), "OK");
  EXPECT_EQ(grpc_code_name(2), "UNKNOWN");
  EXPECT_EQ(grpc_code_name(8), "RESOURCE_EXHAUSTED");
  EXPECT_EQ(grpc_code_name(12), "UNIMPLEMENTED");
  EXPECT_EQ(grpc_code_name(14), "UNAVAILABLE");
  EXPECT_EQ(grpc_code_name(16), "UNAUTHENTICATED");
  EXPECT_EQ(grpc_code_name(17), "");
  EXPECT_EQ(grpc_code_name(UINT32_MAX), "");
}

TEST(GrpcStatus, IsRead) {
  for (const auto& [text, code] : std::vector<std::pair<std::string, uint32_t>>{
           {"0", 0}, {"14", 14}, {"16", 16}, {"99", 99}, {"", 2}, {"x", 2}, {"-1", 2}, {"1 ", 2}, {"4294967296", 2}, {"99999999999999999999", 2}})
    EXPECT_EQ(parse_grpc_status(text), code) << text;
  for (const auto& [http, code] : std::vector<std::pair<unsigned, uint32_t>>{
           {400, 13}, {401, 16}, {403, 7}, {404, 12}, {429, 14}, {502, 14}, {503, 14}, {504, 14}, {200, 2}, {302, 2}, {500, 2}, {0, 2}})
    EXPECT_EQ(grpc_code_of_http(http), code) << http;
}

TEST(GrpcMessage, IsEncodedByTheBook) {
  EXPECT_EQ(encode_grpc_message("all ~fine!"), "all ~fine!");
  EXPECT_EQ(encode_grpc_message("100%\t\xc3\xa4\x7f\0"s), "100%25%09%C3%A4%7F%00");
  std::string all;
  for (int i = 0; i < 256; ++i) all += static_cast<char>(i);
  EXPECT_EQ(decode_grpc_message(encode_grpc_message(all)), all);
}

TEST(GrpcMessage, IsDecodedAsFarAsItCanBe) {
  for (const auto& [in, out] : std::vector<std::pair<std::string, std::string>>{
           {"a%20b", "a b"}, {"%c3%A4", "\xc3\xa4"}, {"%", "%"}, {"%4", "%4"}, {"%4g%41", "%4gA"}, {"%%41", "%A"}, {"100%", "100%"}, {"", ""}})
    EXPECT_EQ(decode_grpc_message(in), out) << in;
}

}  // namespace
}  // namespace relay

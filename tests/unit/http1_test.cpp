// SPDX-License-Identifier: Apache-2.0
// wire/http1: messages whole, split at every byte and byte by byte; one behind the other; caps; what is no HTTP.
#include "wire/http1.h"

#include <gtest/gtest.h>

#include <array>
#include <vector>

namespace relay {
namespace {

std::span<const std::byte> bytes(std::string_view text) { return std::as_bytes(std::span(text)); }

// Feeds until the message is whole or nothing is left; how much was taken.
size_t feed_all(HttpReader& reader, std::string_view text, size_t piece) {
  size_t done = 0;
  while (done < text.size() && !reader.done()) {
    const Result<size_t> n = reader.feed(bytes(text.substr(done, piece)));
    if (!n.ok()) {
      ADD_FAILURE() << n.status().reason();
      return done;
    }
    done += *n;
    if (*n == 0) break;
  }
  return done;
}

constexpr std::string_view kRequest =
    "POST /log-level?level=debug HTTP/1.1\r\nHost: localhost\r\nX-Two: a\r\nx-two:  b \r\nContent-Length: 5\r\n\r\nhello";
constexpr std::string_view kChunked = "PUT /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n";

TEST(HttpReader, ReadsARequestHoweverItIsSplit) {
  for (size_t split = 0; split <= kRequest.size(); ++split) {
    HttpReader reader(HttpReader::Side::kRequests);
    size_t done = feed_all(reader, kRequest.substr(0, split), 1000);
    EXPECT_EQ(done, split);
    EXPECT_EQ(reader.begun(), split > 0 && split < kRequest.size());
    done += feed_all(reader, kRequest.substr(split), 1000);
    ASSERT_TRUE(reader.done()) << split;
    EXPECT_EQ(done, kRequest.size());
    const HttpMessage& message = reader.message();
    EXPECT_EQ(message.method, "POST");
    EXPECT_EQ(message.target, "/log-level?level=debug");
    EXPECT_EQ(message.body, "hello");
    EXPECT_EQ(message.header("host"), "localhost");
    EXPECT_EQ(message.header("x-two").value_or("").substr(0, 4), "a, b");
    EXPECT_FALSE(message.header("nothing"));
    EXPECT_TRUE(message.keep_alive);
  }
}

TEST(HttpReader, ReadsChunksByteByByte) {
  HttpReader reader(HttpReader::Side::kRequests);
  EXPECT_EQ(feed_all(reader, kChunked, 1), kChunked.size());
  ASSERT_TRUE(reader.done());
  EXPECT_EQ(reader.message().body, "hello");
}

TEST(HttpReader, LeavesWhatFollowsForTheNext) {
  const std::string both = std::string(kRequest) + std::string(kChunked) + "GET / HTTP/1.0\r\n\r\nrest";
  for (const size_t piece : {size_t{1}, size_t{7}, size_t{1000}}) {
    HttpReader reader(HttpReader::Side::kRequests);
    size_t at = 0;
    std::vector<std::string> methods;
    for (int i = 0; i < 3; ++i) {
      at += feed_all(reader, std::string_view(both).substr(at), piece);
      ASSERT_TRUE(reader.done());
      EXPECT_EQ(reader.feed(bytes("more")).ok() ? *reader.feed(bytes("more")) : 1, 0U);  // nothing until next()
      methods.push_back(reader.message().method);
      EXPECT_EQ(reader.message().keep_alive, i < 2);
      reader.next();
    }
    EXPECT_EQ(methods, (std::vector<std::string>{"POST", "PUT", "GET"}));
    EXPECT_EQ(both.substr(at), "rest");
  }
}

TEST(HttpReader, ReadsAResponseThatEndsWithItsConnection) {
  HttpReader reader(HttpReader::Side::kResponses);
  feed_all(reader, "HTTP/1.1 200 OK\r\n\r\nall there", 3);
  EXPECT_FALSE(reader.done());
  EXPECT_TRUE(reader.finish().ok());
  ASSERT_TRUE(reader.done());
  EXPECT_EQ(reader.message().status, 200);
  EXPECT_EQ(reader.message().body, "all there" + std::string());
  HttpReader cut(HttpReader::Side::kResponses);
  feed_all(cut, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", 100);
  EXPECT_EQ(cut.finish().code(), Code::kInvalid);
  HttpReader none(HttpReader::Side::kResponses);
  EXPECT_TRUE(none.finish().ok());
}

Code fate(std::string_view text, bool& in_body, HttpLimits limits = {}) {
  HttpReader reader(HttpReader::Side::kRequests, limits);
  for (size_t at = 0; at < text.size() && !reader.done();) {
    const Result<size_t> n = reader.feed(bytes(text.substr(at, 100)));
    in_body = reader.in_body();
    if (!n.ok()) return n.status().code();
    at += *n;
  }
  return Code::kOk;
}

TEST(HttpReader, HasACapOnEveryLength) {
  const HttpLimits limits{.head = 100, .body = 50};
  bool in_body = false;
  const std::string line = "GET / HTTP/1.1\r\n";
  EXPECT_EQ(fate("GET /" + std::string(99, 'x') + " HTTP/1.1\r\n\r\n", in_body, limits), Code::kOk);
  EXPECT_EQ(fate("GET /" + std::string(100, 'x') + " HTTP/1.1\r\n\r\n", in_body, limits), Code::kLimit);
  EXPECT_FALSE(in_body);
  EXPECT_EQ(fate(line + std::string(101, 'n') + ": v\r\n\r\n", in_body, limits), Code::kLimit);
  EXPECT_EQ(fate(line + "n: " + std::string(100, 'v') + "\r\n\r\n", in_body, limits), Code::kLimit);
  std::string many = line;
  for (int i = 0; i < 60; ++i) many += "a: b\r\n";
  EXPECT_EQ(fate(many + "\r\n", in_body, limits), Code::kLimit);
  const std::string post = "POST / HTTP/1.1\r\nContent-Length: ";
  EXPECT_EQ(fate(post + "50\r\n\r\n" + std::string(50, 'b'), in_body, limits), Code::kOk);
  EXPECT_EQ(fate(post + "51\r\n\r\n" + std::string(51, 'b'), in_body, limits), Code::kLimit);
  EXPECT_TRUE(in_body);
}

TEST(HttpReader, RefusesWhatIsNoHttp) {
  bool in_body = false;
  for (const std::string_view text :
       {"\x16\x03\x01\x02", "*1\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "GET / HTTP/9.9\r\n\r\n", "GET / HTTP/1.1\r\nHo st: x\r\n\r\n",
        "GET / HTTP/1.1\r\nX: a\x01\r\n\r\n", "POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", "POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"})
    EXPECT_EQ(fate(text, in_body), Code::kInvalid) << text;
  HttpReader reader(HttpReader::Side::kRequests);
  EXPECT_EQ(feed_all(reader, "GET / HTTP/1.1\r\n", 100), 16U);
  EXPECT_EQ(reader.finish().code(), Code::kInvalid);
}

TEST(HttpTarget, TakesItsPartsApart) {
  HttpTarget target = HttpTarget::parse("/wait?stat=clients&op=%3E%3D&value=1&name=a+b%20c&flag&=x&bad=%zz%4&dup=1&dup=2");
  EXPECT_EQ(target.path, "/wait");
  EXPECT_EQ(target.query["stat"], "clients");
  EXPECT_EQ(target.query["op"], ">=");
  EXPECT_EQ(target.query["name"], "a b c");
  EXPECT_EQ(target.query["flag"], "");
  EXPECT_EQ(target.query["bad"], "%zz%4");
  EXPECT_EQ(target.query["dup"], "2");
  EXPECT_EQ(HttpTarget::parse("").path, "");
  EXPECT_EQ(HttpTarget::parse("/a%2Fb?").path, "/a/b");
  EXPECT_TRUE(HttpTarget::parse("/?&&&").query.empty());
}

TEST(HttpResponse, IsWhatAReaderReads) {
  std::string chunks = http_response_head(200, "text/plain", std::nullopt, true);
  http_append_chunk(chunks, "hello ");
  http_append_chunk(chunks, std::string(300, 'x'));
  http_append_chunk(chunks, {});
  const std::string plain = http_response_head(404, "text/plain", 4, false, "X-Extra: 1\r\n") + "none";
  HttpReader reader(HttpReader::Side::kResponses);
  EXPECT_EQ(feed_all(reader, chunks, 5), chunks.size());
  ASSERT_TRUE(reader.done());
  EXPECT_EQ(reader.message().body, "hello " + std::string(300, 'x'));
  EXPECT_TRUE(reader.message().keep_alive);
  reader.next();
  EXPECT_EQ(feed_all(reader, plain, 1000), plain.size());
  ASSERT_TRUE(reader.done());
  EXPECT_EQ(reader.message().status, 404);
  EXPECT_EQ(reader.message().header("x-extra"), "1");
  EXPECT_FALSE(reader.message().keep_alive);
}

}  // namespace
}  // namespace relay

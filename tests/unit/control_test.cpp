// SPDX-License-Identifier: Apache-2.0
// wire/control: what a request is read as, and what is refused; what answers look like on the wire.
#include "wire/control.h"

#include <gtest/gtest.h>

#include "wire/grpc.h"

namespace relay {
namespace {

using namespace std::string_literals;

std::span<const std::byte> bytes(std::string_view text) { return std::as_bytes(std::span(text)); }

TEST(ControlWire, ARequestIsAnOutputAndMore) {
  upstream::Output output;
  control::Request request;
  const std::string message = "\x0a\2me\x12\3you\x22\2hi\x52\3why\x80\x01\1\x88\x01\x2a\x90\x01\x07\x9a\x01\4grpc"s;
  ASSERT_TRUE(control::decode(bytes(message), output, request).ok());
  EXPECT_EQ(output.time, "me");
  EXPECT_EQ(output.client_uuid, "you");
  EXPECT_EQ(output.payload.size(), 2U);
  EXPECT_EQ(output.reason, "why");
  EXPECT_TRUE(request.abort);
  EXPECT_EQ(request.after, 42U);
  EXPECT_EQ(request.most, 7U);
  EXPECT_EQ(request.url, "grpc");
  EXPECT_EQ(proto_text(message, 1), "me");
  EXPECT_EQ(proto_text(message, 19), "grpc");
  EXPECT_EQ(proto_text(message, 3), "");
  for (size_t cut = 1; cut < message.size(); ++cut) {
    const bool read = control::decode(bytes(message.substr(0, cut)), output, request).ok();
    EXPECT_EQ(read, proto_text(message.substr(0, cut), 1).has_value()) << cut;
  }
}

TEST(ControlWire, WhatIsOfAnotherTypeIsRefused) {
  upstream::Output output;
  control::Request request;
  for (const std::string& message : {"\x82\x01\1x"s, "\x8a\x01\1x"s, "\x92\x01\1x"s, "\x98\x01\1"s, "\x9a\x01\1\xff"s, "\xff"s, "\x12\5x"s}) {
    const Status status = control::decode(bytes(message), output, request);
    EXPECT_EQ(status.code(), Code::kInvalid) << message;
    EXPECT_FALSE(std::string_view(status.reason()).empty());
  }
}

TEST(ControlWire, Answers) {
  std::string to;
  control::encode(control::Sent{1, 0, 300, true}, to);
  EXPECT_EQ(to, "\x08\1\x18\xac\2\x20\1"s);
  to.clear();
  control::add_to_list(control::ClientState{"u", "p", {}, "open", 5, 0, 0}, to);
  control::add_next(9, to);
  EXPECT_EQ(to, "\x0a\x0e\x0a\1u\x12\1p\x22\4open\x28\5\x10\x09"s);
  to.clear();
  control::WatchEvent event;
  event.client = "u";
  event.kind = control::WatchKind::kDisconnected;
  event.close = upstream::CloseReason::kIdle;
  event.details = "d";
  event.missed = 1;
  control::encode(event, to);
  EXPECT_EQ(to, "\x12\1u\x20\2\x3a\5\x08\4\x12\1d\x88\x01\1"s);
}

TEST(GrpcTimeout, IsReadInMilliseconds) {
  EXPECT_EQ(parse_grpc_timeout("250m"), 250);
  EXPECT_EQ(parse_grpc_timeout("2S"), 2000);
  EXPECT_EQ(parse_grpc_timeout("1M"), 60'000);
  EXPECT_EQ(parse_grpc_timeout("99999999H"), 99'999'999 * int64_t{3'600'000});
  EXPECT_EQ(parse_grpc_timeout("1u"), 1);
  EXPECT_EQ(parse_grpc_timeout("1500u"), 2);
  EXPECT_EQ(parse_grpc_timeout("99999999n"), 100);
  for (const char* text : {"", "m", "1", "1s", "-1m", "1.5S", "123456789m", "1 m"}) EXPECT_FALSE(parse_grpc_timeout(text).has_value()) << text;
}

TEST(ProtoText, FindsTheLastOneAndSeesWhatIsNoMessage) {
  EXPECT_EQ(proto_text("", 1), "");
  EXPECT_EQ(proto_text("\x0a\1a\x0a\1b", 1), "b");
  EXPECT_EQ(proto_text("\x09"s + "12345678" + "\x0d" + "1234" + "\x0a\1a", 1), "a");
  for (const std::string& message : {"\x0a"s, "\x0a\2a"s, "\x09" "1234567"s, "\x0b"s, "\x08"s, "\x08\xff"s, std::string(11, '\xff'), "\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7f"s})
    EXPECT_FALSE(proto_text(message, 1).has_value()) << message;
}

}  // namespace
}  // namespace relay

// SPDX-License-Identifier: Apache-2.0
// wire/upstream: the bytes are those that Google's library writes, both ways; what is not known, what comes twice, what is no message; bounds.
#include "wire/upstream.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <vector>

#include "wire/grpc.h"

namespace relay::upstream {
namespace {

using namespace std::string_literals;

std::string from_hex(std::string_view hex) {
  std::string out;
  for (; hex.size() >= 2; hex.remove_prefix(2)) out += static_cast<char>(std::stoi(std::string(hex.substr(0, 2)), nullptr, 16));
  return out;
}

std::span<const std::byte> bytes(std::string_view text) { return std::as_bytes(std::span(text)); }
std::string text(std::span<const std::byte> bytes) { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }

// In memory that ends where the message ends, so that a sanitizer sees whoever reads on.
template <typename Message>
Status decode_exactly(std::string_view message, Message& to) {
  const std::vector<char> exact(message.begin(), message.end());
  return decode(std::as_bytes(std::span(exact)), to);
}

std::string framed(std::string_view message) { return text(grpc_prefix(static_cast<uint32_t>(message.size()))).append(message); }

std::string encoded(const Input& input) {
  std::string out = "before";
  encode(input, out);
  return out.substr(6) + text(input.payload);
}
std::string encoded(const Output& output) {
  std::string out = "before";
  encode(output, out);
  return out.substr(6);
}

// ---- Google's bytes, by Python's protobuf 3.21 from the text format in the comment; the payload serialized behind the rest

// time: "2026-01-02T03:04:05.678Z" client_uuid: "0f8fad5b-d9cb-469f-a165-70867728950e" payload: "hello\n"
const std::string kData = from_hex(
    "0a18323032362d30312d30325430333a30343a30352e3637385a122430663866616435622d643963622d343639662d613136352d3730383637373238393530651a0668656c6c6f0a");
// time: "t" client_uuid: "u" event: EVENT_CONNECTED client { peer: "192.0.2.1:4711" local: "[::1]:7" listener: "7" tls_version: "TLSv1.3"
// sni: "a.example" alpn: "x" subject: "CN=\303\244" }
const std::string kConnected = from_hex(
    "0a01741201752001323a0a0e3139322e302e322e313a3437313112075b3a3a315d3a371a01372207544c5376312e332a09612e6578616d706c653201783a05434e3dc3a4");
// client_uuid: "u" event: EVENT_DISCONNECTED seq: 300 close { reason: CLOSE_TRUNCATED details: "cut" }
const std::string kDisconnected = from_hex("120175200228ac023a0708031203637574");
// client_uuid: "u" seq: 18446744073709551615 event: EVENT_DELIVERY redelivered: true request_id: 128 delivery: DELIVERY_NO_GROUP
const std::string kDelivery = from_hex("120175200528ffffffffffffffffff0140014880015005");
// client_uuid: "u" event: EVENT_REHOMED client { } labels { key: "a" value: "1" } labels { key: "b" value: "" }
const std::string kRehomed = from_hex("120175200432005a060a01611201315a050a01621200");
// time: "t" client_uuid: "u" command: COMMAND_CLOSE ack_seq: 7 request_id: 300 reason: "bye" idle_timeout_ms: 5000 payload: "hi"
const std::string kClose = from_hex("0a01741201753001400748ac02520362796558882722026869");
// broadcast: ALL except_uuids: "a" except_uuids: "b" payload: "\000\377"
const std::string kToAll = from_hex("18006a01616a0162220200ff");
// group: "g" command: COMMAND_JOIN client_uuids: "a" client_uuids: "" labels { key: "k" value: "v" }
const std::string kJoin = from_hex("2a016730073a01613a0062060a016b120176");
// time: "t" ready: true features: FEATURE_EVENTS features: FEATURE_ACK features: FEATURE_DELIVERY_REPORT weight: 300 max_clients: 4294967296
const std::string kReady = from_hex("0a017410011a0301030520ac02288080808010");
// time: "t" live: true
const std::string kLive = from_hex("0a01741001");

// ---- from clients

TEST(UpstreamInput, IsWrittenAsGoogleDoes) {
  const std::string payload = "hello\n";
  EXPECT_EQ(encoded(Input{.time = "2026-01-02T03:04:05.678Z", .client_uuid = "0f8fad5b-d9cb-469f-a165-70867728950e", .payload = bytes(payload)}),
            framed(kData));
  const ClientInfo client{.peer = "192.0.2.1:4711", .local = "[::1]:7", .listener = "7", .tls_version = "TLSv1.3", .sni = "a.example", .alpn = "x",
                          .subject = "CN=\xc3\xa4"};
  EXPECT_EQ(encoded(Input{.time = "t", .client_uuid = "u", .event = Event::kConnected, .client = &client}), framed(kConnected));
  EXPECT_EQ(encoded(Input{.client_uuid = "u", .event = Event::kDisconnected, .seq = 300, .close = CloseReason::kTruncated, .close_details = "cut"}),
            framed(kDisconnected));
  EXPECT_EQ(encoded(Input{.client_uuid = "u", .event = Event::kDelivery, .seq = UINT64_MAX, .redelivered = true, .request_id = 128,
                          .delivery = Delivery::kNoGroup}),
            framed(kDelivery));
  const ClientInfo nobody;
  EXPECT_EQ(encoded(Input{.client_uuid = "u", .event = Event::kRehomed, .client = &nobody, .labels = {{"a", "1"}, {"b", ""}}}), framed(kRehomed));
  EXPECT_EQ(encoded(Input()), framed(""));
}

TEST(UpstreamInput, IsReadAsGoogleWroteIt) {
  Input input;
  ASSERT_TRUE(decode_exactly(kDisconnected, input).ok());
  EXPECT_EQ(input.event, Event::kDisconnected);
  EXPECT_EQ(input.seq, 300U);
  EXPECT_EQ(input.close, CloseReason::kTruncated);
  ASSERT_TRUE(decode(bytes(kDelivery), input).ok());
  EXPECT_EQ(input.client_uuid, "u");
  EXPECT_EQ(input.seq, UINT64_MAX);
  EXPECT_TRUE(input.redelivered);
  EXPECT_EQ(input.request_id, 128U);
  EXPECT_EQ(input.delivery, Delivery::kNoGroup);
  EXPECT_EQ(input.close, CloseReason::kNone);
  ASSERT_TRUE(decode(bytes(kData), input).ok());
  EXPECT_EQ(input.time, "2026-01-02T03:04:05.678Z");
  EXPECT_EQ(input.client_uuid, "0f8fad5b-d9cb-469f-a165-70867728950e");
  EXPECT_EQ(text(input.payload), "hello\n");
  EXPECT_EQ(input.event, Event::kData);
  for (const std::string& message : {kConnected, kRehomed}) {
    ASSERT_TRUE(decode(bytes(message), input).ok());
    EXPECT_EQ(input.client, nullptr);
    EXPECT_TRUE(input.labels.empty());
  }
}

TEST(UpstreamInput, LengthsMayTakeMoreThanAByte) {
  for (const size_t size : {size_t{127}, size_t{128}, size_t{16383}, size_t{16384}, size_t{70000}}) {
    const std::string long_text(size, 'x');
    const ClientInfo client{.peer = long_text, .local = long_text};
    const std::string out = encoded(Input{.client_uuid = long_text, .payload = bytes(long_text), .client = &client, .close_details = long_text,
                                          .labels = {{long_text, long_text}}});
    EXPECT_EQ(out.substr(0, kGrpcPrefix), text(grpc_prefix(static_cast<uint32_t>(out.size() - kGrpcPrefix))));
    Input input;
    ASSERT_TRUE(decode(bytes(out).subspan(kGrpcPrefix), input).ok()) << size;
    EXPECT_EQ(input.client_uuid, long_text);
    EXPECT_EQ(input.close_details, long_text);
    EXPECT_EQ(text(input.payload), long_text);
  }
}

TEST(UpstreamInput, TakesNoMemoryOnceThereIsSome) {
  std::string out;
  out.reserve(1000);
  const char* const place = out.data();
  const std::string payload(5000, 'x');
  for (int i = 0; i < 3; ++i) encode({.time = "now", .client_uuid = "u", .payload = bytes(payload), .seq = 1}, out);
  EXPECT_EQ(out.data(), place);
  EXPECT_LT(out.size(), 100U);
}

// ---- to clients

void expect_equal(const Output& a, const Output& b) {
  EXPECT_EQ(a.time, b.time);
  EXPECT_EQ(a.target, b.target);
  EXPECT_EQ(a.client_uuid, b.client_uuid);
  EXPECT_EQ(a.broadcast, b.broadcast);
  EXPECT_EQ(a.group, b.group);
  EXPECT_EQ(text(a.payload), text(b.payload));
  EXPECT_EQ(a.command, b.command);
  EXPECT_EQ(a.client_uuids, b.client_uuids);
  EXPECT_EQ(a.ack_seq, b.ack_seq);
  EXPECT_EQ(a.request_id, b.request_id);
  EXPECT_EQ(a.reason, b.reason);
  EXPECT_EQ(a.has_idle_timeout, b.has_idle_timeout);
  EXPECT_EQ(a.idle_timeout_ms, b.idle_timeout_ms);
  EXPECT_EQ(a.labels, b.labels);
  EXPECT_EQ(a.except_uuids, b.except_uuids);
}

// Google's bytes say this, and this is written as those.
void expect_both_ways(const std::string& message, const Output& expected) {
  Output output;
  ASSERT_TRUE(decode(bytes(message), output).ok());
  expect_equal(output, expected);
  EXPECT_EQ(encoded(expected), framed(message));
}

TEST(UpstreamOutput, IsWhatGoogleWrites) {
  const std::string hi = "hi";
  const std::string binary = "\0\xff"s;
  Output close;
  close.time = "t";
  close.target = Output::Target::kClient;
  close.client_uuid = "u";
  close.payload = bytes(hi);
  close.command = Command::kClose;
  close.ack_seq = 7;
  close.request_id = 300;
  close.reason = "bye";
  close.has_idle_timeout = true;
  close.idle_timeout_ms = 5000;
  expect_both_ways(kClose, close);
  Output to_all;
  to_all.target = Output::Target::kBroadcast;
  to_all.payload = bytes(binary);
  to_all.except_uuids = {"a", "b"};
  expect_both_ways(kToAll, to_all);
  Output join;
  join.target = Output::Target::kGroup;
  join.group = "g";
  join.command = Command::kJoin;
  join.client_uuids = {"a", ""};
  join.labels = {{"k", "v"}};
  expect_both_ways(kJoin, join);
  expect_both_ways("", Output());
}

TEST(UpstreamOutput, ATargetIsThereEvenIfItIsEmpty) {
  Output output;
  for (const auto& [message, target] : std::vector<std::pair<std::string, Output::Target>>{{"", Output::Target::kNone},
                                                                                          {"\x12\0"s, Output::Target::kClient},
                                                                                          {"\x18\0"s, Output::Target::kBroadcast},
                                                                                          {"\x2a\0"s, Output::Target::kGroup}}) {
    ASSERT_TRUE(decode(bytes(message), output).ok());
    EXPECT_EQ(output.target, target);
    EXPECT_EQ(encoded(output), framed(message));
  }
}

TEST(UpstreamOutput, TheLastTargetCounts) {
  Output output;
  const std::string client = "\x12\1u"s;
  const std::string some = "\x18\2"s;
  const std::string group = "\x2a\1g"s;
  std::string message = client + some + group;
  ASSERT_TRUE(decode(bytes(message), output).ok());
  Output expected;
  expected.target = Output::Target::kGroup;
  expected.group = "g";
  expect_equal(output, expected);
  message = group + client + some;
  ASSERT_TRUE(decode(bytes(message), output).ok());
  expected = Output();
  expected.target = Output::Target::kBroadcast;
  expected.broadcast = Broadcast::kNotActive;
  expect_equal(output, expected);
  message = some + group + client;
  ASSERT_TRUE(decode(bytes(message), output).ok());
  expected = Output();
  expected.target = Output::Target::kClient;
  expected.client_uuid = "u";
  expect_equal(output, expected);
}

TEST(UpstreamOutput, WhatComesTwiceCountsAsItsLast) {
  Output output;
  const std::string twice = "\x22\1a\x30\1\x40\1\x52\1x\x22\1b\x30\2\x40\2\x52\1y";
  ASSERT_TRUE(decode(bytes(twice), output).ok());
  EXPECT_EQ(text(output.payload), "b");
  EXPECT_EQ(output.command, Command::kAbort);
  EXPECT_EQ(output.ack_seq, 2U);
  EXPECT_EQ(output.reason, "y");
  // Labels: a=1, b=2, a=3; and an entry's own fields.
  const std::string labels = "\x62\6\n\1a\x12\1" "1\x62\6\n\1b\x12\1" "2\x62\6\n\1a\x12\1" "3\x62\6\n\1z\n\1c\x62\0"s;
  ASSERT_TRUE(decode(bytes(labels), output).ok());
  EXPECT_EQ(output.labels, (Labels{{"a", "3"}, {"b", "2"}, {"c", ""}, {"", ""}}));
  Input input;
  const std::string closes = "\x3a\5\x08\3\x12\1x\x3a\2\x08\4";
  ASSERT_TRUE(decode(bytes(closes), input).ok());
  EXPECT_EQ(input.close, CloseReason::kIdle);
  EXPECT_EQ(input.close_details, "");
}

TEST(UpstreamOutput, WhatIsNotKnownIsPassedOver) {
  const std::string unknown = "\x70\x96\1"s              // 14, a number
                              "\x7a\3abc"s               // 15, bytes
                              "\x85\1" "1234"s           // 16, 32 bits
                              "\x81\1" "12345678"s       // 16, 64 bits
                              "\xc0\xff\xff\xff\xf\0"s;  // 2^29 - 8: as many as there may be, but a few
  Output output;
  const std::string around = unknown + kJoin + unknown;
  ASSERT_TRUE(decode(bytes(around), output).ok());
  EXPECT_EQ(output.group, "g");
  EXPECT_EQ(output.labels, (Labels{{"k", "v"}}));
  const std::string entry = "\x62\x08\n\1a\x18\1\x12\1z";
  ASSERT_TRUE(decode(bytes(entry), output).ok());
  EXPECT_EQ(output.labels, (Labels{{"a", "z"}}));
}

TEST(UpstreamOutput, RefusesWhatIsNone) {
  for (const auto& [message, why] : std::vector<std::pair<std::string, std::string>>{
           {"\n", "a message that is cut off"},                       // nothing behind a field's number
           {"\n\2a", "a message that is cut off"},
           {"\x22\xff\xff\xff\xff\x7", "a message that is cut off"},  // a payload of 2 GiB
           {"\x30", "a message that is cut off"},
           {"\x30\x80", "a message that is cut off"},
           {"\x30\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\1", "no protobuf message"},  // a number of 11 bytes
           {"\x85\1" "123", "a message that is cut off"},
           {"\0\0"s, "no protobuf message"},                          // a field without a number
           {"\x33", "no protobuf message"},                           // a group, which proto3 has not
           {"\x36", "no protobuf message"},
           {"\x08\1", "a field of another type"},
           {"\x10\1", "a field of another type"},
           {"\x1a\1" "0", "a field of another type"},
           {"\x20\1", "a field of another type"},
           {"\x32\1" "0", "a field of another type"},
           {"\x3d" "1234", "a field of another type"},
           {"\x41" "12345678", "a field of another type"},
           {"\x60\1", "a field of another type"},
           {"\x30\x9", "command: a number that stands for nothing"},
           {"\x30\x80\x80\x80\x80\x10", "command: a number that stands for nothing"},  // 2^32, which is not 0
           {"\x30\xff\xff\xff\xff\xff\xff\xff\xff\xff\1", "command: a number that stands for nothing"},
           {"\x18\3", "broadcast: a number that stands for nothing"},
           {"\n\1\x80", "a text that is not UTF-8"},
           {"\x12\1\xff", "a text that is not UTF-8"},
           {"\x2a\2\xc0\x80", "a text that is not UTF-8"},
           {"\x3a\1\xff", "a text that is not UTF-8"},
           {"\x52\1\xff", "a text that is not UTF-8"},
           {"\x6a\1\xff", "a text that is not UTF-8"},
           {"\x62\3\n\1\xff", "a text that is not UTF-8"},
           {"\x62\3\x12\1\xff", "a text that is not UTF-8"},
           {"\x62\2\n\1x", "a message that is cut off"},               // beyond its entry
           {"\x62\2\x08\1", "a field of another type"},
       }) {
    Output output;
    const Status status = decode_exactly(message, output);
    // A number may be of a later protocol; all else is none.
    EXPECT_EQ(status.code(), why.ends_with("nothing") ? Code::kNotFound : Code::kInvalid) << testing::PrintToString(message);
    EXPECT_EQ(status.reason(), why) << testing::PrintToString(message);
  }
}

TEST(UpstreamOutput, IsRefusedWhereverItIsCut) {
  for (const std::string& message : {kClose, kToAll, kJoin}) {
    size_t refused = 0;
    for (size_t size = 0; size < message.size(); ++size) {
      Output output;
      const Status status = decode_exactly(std::string_view(message).substr(0, size), output);
      if (status.ok()) continue;
      ++refused;
      EXPECT_STREQ(status.reason(), "a message that is cut off") << size;
    }
    EXPECT_GT(refused, message.size() / 3);
  }
}

TEST(UpstreamOutput, HasBounds) {
  Output output;
  output.client_uuids.assign(4096, "x");
  output.except_uuids.assign(4096, "y");
  std::vector<std::string> names;
  for (int i = 0; i < 64; ++i) names.push_back(std::to_string(i));
  for (const std::string& name : names) output.labels.emplace_back(name, "z");
  const std::string message = encoded(output).substr(kGrpcPrefix);
  Output again;
  ASSERT_TRUE(decode(bytes(message), again).ok());
  expect_equal(again, output);
  const std::string relabelled = message + "\x62\6\n\1" "7\x12\1q";
  EXPECT_TRUE(decode(bytes(relabelled), again).ok());
  EXPECT_EQ(again.labels[7].second, "q");
  for (const std::string& more : {"\x3a\1x"s, "\x6a\1x"s, "\x62\3\n\1x"s}) {
    const Status status = decode(bytes(message + more), again);
    EXPECT_EQ(status.code(), Code::kLimit);
    EXPECT_TRUE(std::string_view(status.reason()).starts_with("more than ")) << status.reason();
  }
}

TEST(UpstreamOutput, ClearKeepsMemory) {
  Output output;
  ASSERT_TRUE(decode(bytes(kJoin), output).ok());
  output.client_uuids.reserve(100);
  const void* const place = output.client_uuids.data();
  ASSERT_TRUE(decode(bytes(kJoin), output).ok());
  EXPECT_EQ(output.client_uuids.data(), place);
  output.clear();
  expect_equal(output, Output());
  EXPECT_GE(output.client_uuids.capacity(), 100U);
}

// ---- ready, live

TEST(UpstreamReady, IsReadAsGoogleWroteIt) {
  Ready ready;
  ASSERT_TRUE(decode(bytes(kReady), ready).ok());
  EXPECT_TRUE(ready.ready);
  EXPECT_EQ(ready.features, kEvents | kAck | kDeliveryReport);
  EXPECT_EQ(ready.weight, 300U);
  EXPECT_EQ(ready.max_clients, uint64_t{1} << 32U);
  ASSERT_TRUE(decode({}, ready).ok());
  EXPECT_FALSE(ready.ready);
  EXPECT_EQ(ready.features, 0U);
  EXPECT_EQ(ready.weight, 0U);
  EXPECT_EQ(ready.max_clients, 0U);
}

TEST(UpstreamReady, FeaturesArePackedOrNotKnownOrNot) {
  for (const auto& [message, features] : std::vector<std::pair<std::string, Features>>{
           {"\x18\1\x18\4", kEvents | kAuth},
           {"\x18\6\x1a\2\2\3", kGroups | kSeq | kAck},
           {"\x1a\0"s, 0},
           {"\x1a\1\0\x18\0"s, 0},
           {"\x1a\3\x7\x20\5", kDeliveryReport},
           {"\x1a\2\xe4\1", 0},  // 228
           {"\x18\x81\x80\x80\x80\x80\x80\x80\x80\x80\1\x18\1", kEvents},
       }) {
    Ready ready;
    EXPECT_TRUE(decode_exactly(message, ready).ok()) << testing::PrintToString(message);
    EXPECT_EQ(ready.features, features) << testing::PrintToString(message);
  }
  for (const std::string& message : {"\x1d" "1234"s, "\x1a\1\x80"s, "\x1a\2\1"s, "\x10"s, "\x10\x80"s, "\n\1\xff"s, "\x12\0"s, "\x22\0"s, "\x2a\0"s}) {
    Ready ready;
    EXPECT_EQ(decode_exactly(message, ready).code(), Code::kInvalid) << testing::PrintToString(message);
  }
}

TEST(UpstreamLive, IsReadAsGoogleWroteIt) {
  Live live;
  ASSERT_TRUE(decode_exactly(kLive, live).ok());
  EXPECT_TRUE(live.live);
  ASSERT_TRUE(decode_exactly("\x10\x80\2", live).ok());  // 256: not 0
  EXPECT_TRUE(live.live);
  ASSERT_TRUE(decode_exactly("\x10\0"s, live).ok());
  EXPECT_FALSE(live.live);
  ASSERT_TRUE(decode_exactly("", live).ok());
  EXPECT_FALSE(live.live);
  for (const std::string& message : {"\x10"s, "\x12\0"s, "\n\1\xff"s, "\x08\0"s}) EXPECT_EQ(decode_exactly(message, live).code(), Code::kInvalid);
}

}  // namespace
}  // namespace relay::upstream

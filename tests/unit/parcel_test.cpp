// SPDX-License-Identifier: Apache-2.0
// wire/parcel: places in names, parcels there and back, and what is none.
#include "wire/parcel.h"

#include <gtest/gtest.h>

#include <string>

namespace relay {
namespace {

std::span<const std::byte> bytes_of(const std::string& text) { return std::as_bytes(std::span(text)); }

TEST(Place, IsTheLastTwelveDigitsOfAName) {
  const Place place{0x3f0a91c2, 0x0107};
  Uuid uuid = Uuid::random({});
  place.stamp(uuid);
  EXPECT_EQ(uuid.text(), "00000000-0000-4000-8000-3f0a91c20107");
  EXPECT_EQ(Place::of(uuid), place);
  EXPECT_EQ(place.number(), 0x3f0a91c20107U);
}

TEST(Place, LeavesTheRestOfTheName) {
  std::array<uint8_t, 16> ones{};
  ones.fill(0xff);
  Uuid uuid = Uuid::random(ones);
  Place{}.stamp(uuid);
  EXPECT_EQ(uuid.text(), "ffffffff-ffff-4fff-bfff-000000000000");
}

TEST(Parcel, AnOutputThereAndBack) {
  std::string text;
  encode(Parcel{.from = {0xdeadbeef, 513}, .speaker = 0x01020304, .name = name_number("grpc://a:1")}, text);
  EXPECT_EQ(text.size(), 22U);
  text += "message";
  Parcel parcel;
  ASSERT_TRUE(decode(bytes_of(text), parcel).ok());
  EXPECT_EQ(parcel.what, Parcel::What::kOutput);
  EXPECT_EQ(parcel.from, (Place{0xdeadbeef, 513}));
  EXPECT_EQ(parcel.speaker, 0x01020304U);
  EXPECT_EQ(parcel.name, name_number("grpc://a:1"));
  EXPECT_EQ(parcel.message.size(), 7U);
  EXPECT_EQ(parcel.message.data(), bytes_of(text).data() + 22);
}

TEST(Parcel, AReportThereAndBack) {
  const Uuid uuid = *Uuid::parse("8dccf074-38a0-48f9-9151-1a6f83c50000");
  std::string text;
  encode(Parcel{.what = Parcel::What::kReport, .from = {1, 2}, .speaker = 3, .request = UINT64_MAX, .uuid = uuid, .delivery = upstream::Delivery::kUnreachable}, text);
  Parcel parcel;
  ASSERT_TRUE(decode(bytes_of(text), parcel).ok());
  EXPECT_EQ(parcel.what, Parcel::What::kReport);
  EXPECT_EQ(parcel.request, UINT64_MAX);
  EXPECT_EQ(parcel.uuid, uuid);
  EXPECT_EQ(parcel.delivery, upstream::Delivery::kUnreachable);
}

// Cut off anywhere, and longer than it is, a report is none; an output is one as soon as it has its head.
TEST(Parcel, Whole) {
  std::string report;
  encode(Parcel{.what = Parcel::What::kReport, .from = {}}, report);
  std::string output;
  encode(Parcel{}, output);
  Parcel parcel;
  for (size_t n = 0; n < report.size(); ++n) EXPECT_FALSE(decode(bytes_of(report.substr(0, n)), parcel).ok()) << n;
  EXPECT_FALSE(decode(bytes_of(report + "x"), parcel).ok());
  for (size_t n = 0; n < output.size(); ++n) EXPECT_FALSE(decode(bytes_of(output.substr(0, n)), parcel).ok()) << n;
  EXPECT_TRUE(decode(bytes_of(output), parcel).ok());
}

TEST(Parcel, WhatIsNone) {
  std::string report;
  encode(Parcel{.what = Parcel::What::kReport, .from = {}}, report);
  const auto with = [&](size_t at, char byte) {
    std::string changed = report;
    changed[at] = byte;
    Parcel parcel;
    return decode(bytes_of(changed), parcel);
  };
  EXPECT_STREQ(with(0, 'Q').reason(), "it is no parcel");
  EXPECT_STREQ(with(2, 2).reason(), "it is a parcel of another version of relay");
  EXPECT_STREQ(with(3, 2).reason(), "it is a parcel of an unknown kind");
  EXPECT_STREQ(with(report.size() - 1, 7).reason(), "it is a report of an unknown outcome");
}

// The reference values of FNV-1a.
TEST(Parcel, NamesHaveNumbers) {
  EXPECT_EQ(name_number(""), 0xcbf29ce484222325U);
  EXPECT_EQ(name_number("a"), 0xaf63dc4c8601ec8cU);
  EXPECT_EQ(name_number("foobar"), 0x85944171f73967e8U);
}

}  // namespace
}  // namespace relay

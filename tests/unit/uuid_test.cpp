// SPDX-License-Identifier: Apache-2.0
// lib/uuid: what is written is read again; either case, and nothing that is not just that; a random one says that it is.
#include "lib/uuid.h"

#include <gtest/gtest.h>

#include <string>

#include "lib/random.h"

namespace relay {
namespace {

constexpr std::string_view kText = "0f8fad5b-d9cb-469f-a165-70867728950e";
constexpr std::array<uint8_t, 16> kBytes = {0x0f, 0x8f, 0xad, 0x5b, 0xd9, 0xcb, 0x46, 0x9f, 0xa1, 0x65, 0x70, 0x86, 0x77, 0x28, 0x95, 0x0e};

TEST(Uuid, IsReadAndWritten) {
  const std::optional<Uuid> uuid = Uuid::parse(kText);
  ASSERT_TRUE(uuid.has_value());
  EXPECT_EQ(uuid->bytes, kBytes);
  EXPECT_EQ(uuid->text(), kText);
  std::string around(Uuid::kText + 2, '.');
  uuid->write(around.data() + 1);
  EXPECT_EQ(around, "." + std::string(kText) + ".");
  EXPECT_EQ(Uuid::parse("0F8FAD5B-D9cb-469F-A165-70867728950E"), uuid);
  EXPECT_EQ(Uuid().text(), "00000000-0000-0000-0000-000000000000");
  EXPECT_EQ(Uuid::parse(Uuid().text()), Uuid());
}

TEST(Uuid, IsNothingElse) {
  for (const std::string_view text :
       {"", "0", "0f8fad5b-d9cb-469f-a165-70867728950", "0f8fad5b-d9cb-469f-a165-70867728950e0", "0f8fad5bd9cb469fa16570867728950e",
        "{0f8fad5b-d9cb-469f-a165-70867728950e}", "urn:uuid:0f8fad5b-d9cb-469f-a165-70867728950e", " 0f8fad5b-d9cb-469f-a165-70867728950",
        "0f8fad5-bd9cb-469f-a165-70867728950e", "0f8fad5b_d9cb_469f_a165_70867728950e", "0f8fad5b-d9cb-469f-a165-7086772895--"})
    EXPECT_FALSE(Uuid::parse(text).has_value()) << text;
  for (size_t at = 0; at < kText.size(); ++at)
    for (const char c : {'g', 'G', '/', ':', '@', '`', '\0', '\xff', ' '}) {
      std::string text(kText);
      text[at] = c;
      EXPECT_FALSE(Uuid::parse(text).has_value()) << text;
    }
}

TEST(Uuid, OfRandomBytesSaysSo) {
  std::array<uint8_t, 16> from;
  from.fill(0xff);
  EXPECT_EQ(Uuid::random(from).text(), "ffffffff-ffff-4fff-bfff-ffffffffffff");
  from.fill(0);
  EXPECT_EQ(Uuid::random(from).text(), "00000000-0000-4000-8000-000000000000");
}

TEST(Uuid, CanBeComparedAndLookedUp) {
  Random random(1);
  std::array<uint64_t, 64> ones{};  // how often each bit of the hash is set
  for (int i = 0; i < 1000; ++i) {
    std::array<uint8_t, 16> from;
    for (uint8_t& byte : from) byte = static_cast<uint8_t>(random.next());
    const Uuid uuid = Uuid::random(from);
    EXPECT_EQ(Uuid::parse(uuid.text()), uuid);
    EXPECT_EQ(Uuid::parse(uuid.text())->hash(), uuid.hash());
    EXPECT_NE(uuid, Uuid());
    EXPECT_LT(Uuid(), uuid);
    for (unsigned bit = 0; bit < ones.size(); ++bit) ones[bit] += uuid.hash() >> bit & 1U;
  }
  for (const uint64_t count : ones) EXPECT_TRUE(count > 400 && count < 600) << count;
}

}  // namespace
}  // namespace relay

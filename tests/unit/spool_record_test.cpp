// SPDX-License-Identifier: Apache-2.0
// The format of a spool: checksums by their published values, heads written and read, and any one bit of them turned.
#include "wire/spool_record.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace relay {
namespace {

constexpr uint64_t kStamp = 0x1122334455667788;

template <size_t N>
std::string_view view(const std::array<char, N>& bytes) { return {bytes.data(), N}; }

std::string record(uint64_t at, std::string_view body, uint8_t flags = 0, uint32_t tag = 7) {
  return std::string(view(write_spool_record(kStamp, {at, tag, flags, body}))).append(body);
}

std::string turned(std::string bytes, size_t bit) {
  bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ (1 << (bit % 8)));
  return bytes;
}

// All records in `text`, read through a window of `most` bytes that grows when it must.
std::vector<SpoolRecord> walk(std::string_view text, uint64_t base, size_t most) {
  std::vector<SpoolRecord> found;
  size_t window = most;
  for (size_t at = 0; at < text.size();) {
    const SpoolStep step = read_spool(kStamp, base + at, text.substr(at, window), text.size() - at);
    if (step.what == SpoolStep::What::kMore) {
      EXPECT_GT(step.size, std::min(window, text.size() - at));
      EXPECT_LE(step.size, text.size() - at);
      window = step.size;
      continue;
    }
    EXPECT_GT(step.size, 0U);
    EXPECT_LE(step.size, text.size() - at);
    if (step.what == SpoolStep::What::kRecord) found.push_back(step.record);
    at += step.size;
    window = most;
  }
  return found;
}

TEST(Crc32c, PublishedValues) {
  // RFC 3720, appendix B.4, and the usual check value.
  EXPECT_EQ(crc32c("123456789"), 0xe3069283U);
  EXPECT_EQ(crc32c(std::string(32, '\0')), 0x8a9136aaU);
  EXPECT_EQ(crc32c(std::string(32, '\xff')), 0x62a8ab43U);
  EXPECT_EQ(crc32c(""), 0U);
}

TEST(Crc32c, InPiecesAndWithoutTheProcessorsHelp) {
  std::string text;
  for (int i = 0; i < 300; ++i) text += static_cast<char>(i * 37);
  for (size_t size = 0; size <= text.size(); ++size) {
    const std::string_view whole = std::string_view(text).substr(0, size);
    EXPECT_EQ(crc32c(whole), crc32c_portable(whole)) << size;
    EXPECT_EQ(crc32c(whole, 99), crc32c_portable(whole, 99)) << size;
    EXPECT_EQ(crc32c(whole.substr(size / 3), crc32c(whole.substr(0, size / 3))), crc32c(whole)) << size;
  }
}

TEST(SpoolRecord, HeadsAreReadAsWritten) {
  const auto segment = write_spool_segment({kStamp, 123456789012, 5});
  const Result<SpoolSegment> back = read_spool_segment(view(segment));
  ASSERT_TRUE(back.ok());
  EXPECT_EQ(back->stamp, kStamp);
  EXPECT_EQ(back->base, 123456789012U);
  EXPECT_EQ(back->turn, 5U);
  const auto mark = write_spool_mark({kStamp, 9, 100, 200});
  const Result<SpoolMark> again = read_spool_mark(view(mark));
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(again->serial, 9U);
  EXPECT_EQ(again->done, 100U);
  EXPECT_EQ(again->sent, 200U);
  EXPECT_TRUE(resembles_spool(view(segment)));
  EXPECT_TRUE(resembles_spool(view(mark)));
  EXPECT_TRUE(resembles_spool(std::string(100, '\0')));
  EXPECT_TRUE(resembles_spool(""));
  EXPECT_FALSE(resembles_spool("root:x:0:0:root:/root:/bin/bash"));
}

TEST(SpoolRecord, NoBitOfAHeadIsWithoutAChecksum) {
  const std::string segment(view(write_spool_segment({kStamp, 77, 1})));
  const std::string mark(view(write_spool_mark({kStamp, 9, 100, 200})));
  for (size_t bit = 0; bit < 36 * 8; ++bit) {
    EXPECT_FALSE(read_spool_segment(turned(segment, bit)).ok()) << bit;
    EXPECT_TRUE(resembles_spool(turned(segment, bit))) << bit;
  }
  for (size_t bit = 0; bit < 52 * 8; ++bit) EXPECT_FALSE(read_spool_mark(turned(mark, bit)).ok()) << bit;
  for (size_t size = 0; size < 36; ++size) EXPECT_FALSE(read_spool_segment(segment.substr(0, size)).ok());
}

TEST(SpoolRecord, AWalkThroughAnyWindow) {
  const std::string text = record(1000, "one") + record(1035, "", kSpoolRepeatable) + record(1067, std::string(500, 'x'));
  for (size_t most = 1; most < 700; ++most) {
    const std::vector<SpoolRecord> found = walk(text, 1000, most);
    ASSERT_EQ(found.size(), 3U) << most;
    EXPECT_EQ(found[0].body, "one");
    EXPECT_EQ(found[0].tag, 7U);
    EXPECT_FALSE(found[0].repeatable());
    EXPECT_TRUE(found[1].repeatable());
    EXPECT_EQ(found[2].body.size(), 500U);
    EXPECT_EQ(found[2].end(), 1000 + text.size());
  }
}

TEST(SpoolRecord, ATurnedBitCostsOneRecord) {
  const std::string first = record(0, "one");
  const std::string second = record(first.size(), "two, of some length");
  const std::string third = record(first.size() + second.size(), "three");
  for (size_t bit = 0; bit < second.size() * 8; ++bit) {
    const std::string text = first + turned(second, bit) + third;
    for (const size_t most : {size_t{32}, size_t{50}, text.size()}) {
      const std::vector<SpoolRecord> found = walk(text, 0, most);
      ASSERT_EQ(found.size(), 2U) << bit;
      EXPECT_EQ(found[0].body, "one");
      EXPECT_EQ(found[1].body, "three");
    }
  }
}

TEST(SpoolRecord, ACutEndIsNone) {
  const std::string text = record(0, "one") + record(35, "the last one");
  for (size_t size = 36; size < text.size(); ++size) {
    const std::vector<SpoolRecord> found = walk(std::string_view(text).substr(0, size), 0, 64);
    ASSERT_EQ(found.size(), 1U) << size;
    EXPECT_EQ(found[0].body, "one");
  }
}

TEST(SpoolRecord, AnOldOneAndOneInABodyAreNone) {
  // A record that stands where it does not say; and a whole record in the body of one whose head is damaged, by somebody who knows the
  // format and the position, but not the stamp.
  EXPECT_TRUE(walk(record(5000, "stale"), 0, 100).empty());
  const std::string forged = std::string(view(write_spool_record(kStamp + 1, {132, 0, 1, "FLUSHALL"}))) + "FLUSHALL";
  const std::string text = turned(record(0, std::string(100, 'x') + forged), 3);
  EXPECT_TRUE(walk(text, 0, 64).empty());
  EXPECT_TRUE(walk(text, 0, text.size()).empty());
}

TEST(SpoolRecord, TheFirstHeadIsFound) {
  const std::string text = "garbage" + record(700, "one") + record(735, "two");
  const auto found = find_spool_record(kStamp, text);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->offset, 7U);
  EXPECT_EQ(found->at, 700U);
  EXPECT_FALSE(find_spool_record(kStamp, std::string(1000, 'x')));
  EXPECT_FALSE(find_spool_record(kStamp, ""));
}

}  // namespace
}  // namespace relay

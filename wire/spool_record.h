// SPDX-License-Identifier: Apache-2.0
// The format of a spool's files (doc/spool-format.md): heads, records and the mark, from and to bytes. No file is touched here.
//
//   NAME.0 … NAME.7   a segment:  head │ record │ record │ …        NAME.mark   two copies of: what is done, what was sent
//   a record:         mark, checksum, position, length, tag, flags, checksum of the body │ body
//
// A record says where it stands, and its checksums begin with a number that only this spool's files know (the stamp). So after a
// damaged place the next true record is found by looking for it, and neither an old one nor one that somebody has put into the body
// of his own can be taken for it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "lib/status.h"

namespace relay {

inline constexpr size_t kSpoolSegmentHead = 40;
inline constexpr size_t kSpoolRecordHead = 32;
inline constexpr size_t kSpoolMark = 64;         // of one copy
inline constexpr size_t kSpoolMarkStride = 512;  // the second copy's place: another sector
inline constexpr uint64_t kSpoolMostBody = uint64_t{1} << 30;
inline constexpr uint64_t kSpoolLastPosition = uint64_t{1} << 62;  // what is beyond is no position
inline constexpr uint8_t kSpoolRepeatable = 1;   // a flag: sent again it does no harm. The others are the user's.

// CRC-32C (Castagnoli, RFC 3720 appendix B.4) of `bytes`, behind those whose checksum is `before`. The second has no use for what
// the processor may have for it, and is the same.
uint32_t crc32c(std::string_view bytes, uint32_t before = 0);
uint32_t crc32c_portable(std::string_view bytes, uint32_t before = 0);

// A segment begins at position `base`, its first record's. `turn` counts segments: of two that begin alike the later holds.
struct SpoolSegment {
  uint64_t stamp = 0;
  uint64_t base = 0;
  uint32_t turn = 0;
};
std::array<char, kSpoolSegmentHead> write_spool_segment(const SpoolSegment& segment);
// kInvalid: there is none, or it is damaged. kNotFound: it is of another version.
Result<SpoolSegment> read_spool_segment(std::string_view bytes);

// All records before `done` are done with; all before `sent` may have been sent. Of two copies the one with the higher serial holds.
struct SpoolMark {
  uint64_t stamp = 0;
  uint64_t serial = 0;
  uint64_t done = 0;
  uint64_t sent = 0;
};
std::array<char, kSpoolMark> write_spool_mark(const SpoolMark& mark);
Result<SpoolMark> read_spool_mark(std::string_view bytes);  // as above

// Whether a file that begins so may have been one of the above once: its first words are half there, or nothing is. A file for which
// it is false is somebody else's.
bool resembles_spool(std::string_view bytes);

struct SpoolRecord {
  uint64_t at = 0;     // its position
  uint32_t tag = 0;    // its user's
  uint8_t flags = 0;
  std::string_view body;

  bool repeatable() const { return (flags & kSpoolRepeatable) != 0; }
  uint64_t end() const { return at + kSpoolRecordHead + body.size(); }
};
// The head of it, which goes in front of its body. REQUIRES: the body is at most kSpoolMostBody.
std::array<char, kSpoolRecordHead> write_spool_record(uint64_t stamp, const SpoolRecord& record);

struct SpoolStep {
  enum class What : uint8_t {
    kRecord,   // `record` stands here, and `size` bytes further something else; its body is in the window
    kMore,     // so many bytes are needed to tell
    kDamaged,  // so many bytes are none, at least one
  };
  What what;
  uint64_t size;
  SpoolRecord record{};
};
// What stands at position `at`: `window` has the bytes from there on, `rest` of them there are in all.
// REQUIRES: 0 < rest, window.size() <= rest.
SpoolStep read_spool(uint64_t stamp, uint64_t at, std::string_view window, uint64_t rest);
// Where `window` has the first head of a record, whatever its position: for a segment whose own head is damaged.
struct SpoolFound {
  size_t offset;
  uint64_t at;
};
std::optional<SpoolFound> find_spool_record(uint64_t stamp, std::string_view window);

}  // namespace relay

// SPDX-License-Identifier: Apache-2.0
// The format of a spool's files: little-endian, a checksum in every head. What a reader relies on to get past a damaged place is that a
// head with the right checksum is true in all it says, its length included.
#include "wire/spool_record.h"

#include <algorithm>
#include <concepts>
#include <cstring>

#include "lib/check.h"

namespace relay {
namespace {

constexpr std::string_view kSegmentWord = "RELAYSPL";
constexpr std::string_view kMarkWord = "RELAYMRK";
constexpr size_t kWord = 8;
constexpr uint32_t kVersion = 1;

template <std::unsigned_integral T>
void put(char* to, T value) {
  for (size_t i = 0; i < sizeof value; ++i) to[i] = static_cast<char>(value >> (8 * i));
}

template <std::unsigned_integral T>
T get(const char* from) {
  T value = 0;
  for (size_t i = 0; i < sizeof value; ++i) value = static_cast<T>(value | static_cast<T>(T{static_cast<uint8_t>(from[i])} << (8 * i)));
  return value;
}

constexpr std::array<uint32_t, 256> make_table() {
  constexpr uint32_t kPolynomial = 0x82f63b78;  // reflected
  std::array<uint32_t, 256> table{};
  for (uint32_t i = 0; i < table.size(); ++i) {
    uint32_t crc = i;
    for (int bit = 0; bit < 8; ++bit) crc = (crc & 1U) != 0 ? crc >> 1U ^ kPolynomial : crc >> 1U;
    table[i] = crc;
  }
  return table;
}
constexpr std::array<uint32_t, 256> kTable = make_table();

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) uint32_t crc32c_fast(std::string_view bytes, uint32_t before) {
  uint64_t crc = ~before;
  for (; bytes.size() >= sizeof(uint64_t); bytes.remove_prefix(sizeof(uint64_t))) {
    uint64_t word = 0;
    std::memcpy(&word, bytes.data(), sizeof word);
    crc = __builtin_ia32_crc32di(crc, word);
  }
  auto low = static_cast<uint32_t>(crc);
  for (const char c : bytes) low = __builtin_ia32_crc32qi(low, static_cast<uint8_t>(c));
  return ~low;
}
#endif

// ---- the two heads that files begin with: word, version, 4 bytes, body, checksum of all that

template <size_t N>
void seal(std::array<char, N>& head, std::string_view word, size_t size) {
  std::copy(word.begin(), word.end(), head.begin());
  put(head.data() + kWord, kVersion);
  put(head.data() + size, crc32c({head.data(), size}));
}

Status unseal(std::string_view bytes, std::string_view word, size_t size) {
  constexpr Status kNone{Code::kInvalid, "no spool file, or damaged"};
  if (bytes.size() < size + sizeof(uint32_t) || bytes.substr(0, kWord) != word) return kNone;
  if (get<uint32_t>(bytes.data() + size) != crc32c(bytes.substr(0, size))) return kNone;
  if (get<uint32_t>(bytes.data() + kWord) != kVersion) return {Code::kNotFound, "a spool file of another version"};
  return {};
}

constexpr size_t kSegmentSealed = kSpoolSegmentHead - 8;  // 4 bytes of checksum, 4 to spare
constexpr size_t kMarkSealed = kSpoolMark - 16;

// ---- records

constexpr size_t kHeadSum = 4;      // where the head's checksum is; it covers what is behind it
constexpr size_t kHeadSummed = 8;

uint32_t low_half(uint64_t stamp) { return static_cast<uint32_t>(stamp); }
uint32_t high_half(uint64_t stamp) { return static_cast<uint32_t>(stamp >> 32U); }

uint32_t head_sum(uint64_t stamp, const char* head) {
  return crc32c({head + kHeadSummed, kSpoolRecordHead - kHeadSummed}, high_half(stamp));
}

bool is_head(uint64_t stamp, const char* head) {
  return get<uint32_t>(head) == low_half(stamp) && get<uint32_t>(head + kHeadSum) == head_sum(stamp, head);
}

// The next place at or behind `from` that has all of a head; the window's size if there is none.
size_t find_head(uint64_t stamp, std::string_view window, size_t from) {
  std::array<char, sizeof(uint32_t)> mark{};
  put(mark.data(), low_half(stamp));
  const std::string_view needle(mark.data(), mark.size());
  for (size_t i = window.find(needle, from); i != std::string_view::npos; i = window.find(needle, i + 1)) {
    if (window.size() - i < kSpoolRecordHead) break;
    if (is_head(stamp, window.data() + i)) return i;
  }
  return window.size();
}

SpoolStep damaged(uint64_t stamp, uint64_t at, std::string_view window, uint64_t rest) {
  for (size_t i = find_head(stamp, window, 1); i < window.size(); i = find_head(stamp, window, i + 1))
    if (get<uint64_t>(window.data() + i + 8) == at + i) return {SpoolStep::What::kDamaged, i};
  // A head may begin in the last bytes of the window.
  return {SpoolStep::What::kDamaged, window.size() == rest ? rest : window.size() - kSpoolRecordHead + 1};
}

}  // namespace

uint32_t crc32c_portable(std::string_view bytes, uint32_t before) {
  uint32_t crc = ~before;
  for (const char c : bytes) crc = crc >> 8U ^ kTable[(crc ^ static_cast<uint8_t>(c)) & 0xffU];
  return ~crc;
}

uint32_t crc32c(std::string_view bytes, uint32_t before) {
#if defined(__x86_64__)
  static const bool fast = static_cast<bool>(__builtin_cpu_supports("sse4.2"));  // an int to gcc, a bool to clang
  if (fast) return crc32c_fast(bytes, before);
#endif
  return crc32c_portable(bytes, before);
}

std::array<char, kSpoolSegmentHead> write_spool_segment(const SpoolSegment& segment) {
  std::array<char, kSpoolSegmentHead> head{};
  put(head.data() + 12, segment.turn);
  put(head.data() + 16, segment.stamp);
  put(head.data() + 24, segment.base);
  seal(head, kSegmentWord, kSegmentSealed);
  return head;
}

Result<SpoolSegment> read_spool_segment(std::string_view bytes) {
  if (const Status status = unseal(bytes, kSegmentWord, kSegmentSealed); !status.ok()) return status;
  const SpoolSegment segment{get<uint64_t>(bytes.data() + 16), get<uint64_t>(bytes.data() + 24), get<uint32_t>(bytes.data() + 12)};
  if (segment.base > kSpoolLastPosition) return Status{Code::kInvalid, "a position that cannot be"};
  return segment;
}

std::array<char, kSpoolMark> write_spool_mark(const SpoolMark& mark) {
  std::array<char, kSpoolMark> bytes{};
  put(bytes.data() + 16, mark.stamp);
  put(bytes.data() + 24, mark.serial);
  put(bytes.data() + 32, mark.done);
  put(bytes.data() + 40, mark.sent);
  seal(bytes, kMarkWord, kMarkSealed);
  return bytes;
}

Result<SpoolMark> read_spool_mark(std::string_view bytes) {
  if (const Status status = unseal(bytes, kMarkWord, kMarkSealed); !status.ok()) return status;
  const char* from = bytes.data();
  const SpoolMark mark{get<uint64_t>(from + 16), get<uint64_t>(from + 24), get<uint64_t>(from + 32), get<uint64_t>(from + 40)};
  if (mark.done > kSpoolLastPosition || mark.sent > kSpoolLastPosition) return Status{Code::kInvalid, "a position that cannot be"};
  return mark;
}

bool resembles_spool(std::string_view bytes) {
  const std::string_view first = bytes.substr(0, kWord);
  if (std::all_of(first.begin(), first.end(), [](char c) { return c == '\0'; })) return true;  // a crash came before they were written
  for (const std::string_view word : {kSegmentWord, kMarkWord}) {
    size_t same = 0;
    for (size_t i = 0; i < first.size(); ++i) same += first[i] == word[i] ? 1U : 0U;
    if (same * 2 >= kWord) return true;
  }
  return false;
}

std::array<char, kSpoolRecordHead> write_spool_record(uint64_t stamp, const SpoolRecord& record) {
  CHECK(record.body.size() <= kSpoolMostBody);
  std::array<char, kSpoolRecordHead> head{};
  put(head.data(), low_half(stamp));
  put(head.data() + 8, record.at);
  put(head.data() + 16, static_cast<uint32_t>(record.body.size()));
  put(head.data() + 20, record.tag);
  put(head.data() + 24, record.flags);
  put(head.data() + 28, crc32c(record.body, high_half(stamp)));
  put(head.data() + kHeadSum, head_sum(stamp, head.data()));
  return head;
}

SpoolStep read_spool(uint64_t stamp, uint64_t at, std::string_view window, uint64_t rest) {
  CHECK(rest > 0 && window.size() <= rest);
  if (rest < kSpoolRecordHead) return {SpoolStep::What::kDamaged, rest};
  if (window.size() < kSpoolRecordHead) return {SpoolStep::What::kMore, kSpoolRecordHead};
  const char* head = window.data();
  if (!is_head(stamp, head) || get<uint64_t>(head + 8) != at) return damaged(stamp, at, window, rest);
  const uint64_t length = get<uint32_t>(head + 16);
  // Its own head says that it goes on beyond the end: it is cut off, and what there is of it is body.
  if (length > kSpoolMostBody || length > rest - kSpoolRecordHead) return {SpoolStep::What::kDamaged, rest};
  const uint64_t size = kSpoolRecordHead + length;
  if (window.size() < size) return {SpoolStep::What::kMore, size};
  const std::string_view body = window.substr(kSpoolRecordHead, length);
  if (get<uint32_t>(head + 28) != crc32c(body, high_half(stamp))) return {SpoolStep::What::kDamaged, size};
  return {SpoolStep::What::kRecord, size, {at, get<uint32_t>(head + 20), static_cast<uint8_t>(head[24]), body}};
}

std::optional<SpoolFound> find_spool_record(uint64_t stamp, std::string_view window) {
  const size_t offset = find_head(stamp, window, 0);
  if (offset == window.size()) return std::nullopt;
  return SpoolFound{offset, get<uint64_t>(window.data() + offset + 8)};
}

}  // namespace relay

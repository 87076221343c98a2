// SPDX-License-Identifier: Apache-2.0
// Spool: the start. What is found is believed as far as its checksums go: heads say where segments begin, the last segment is read to
// its end, and the mark says what need not be read.
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <tuple>

#include "lib/log.h"
#include "lib/text.h"
#include "ops/spool.h"

namespace relay {
namespace {

constexpr size_t kLongestName = 200;  // of a file, less what comes behind it
constexpr size_t kPiece = 64 * 1024;

// Any name of a relay as that of a file: what might be more than a letter to somebody is %XX.
std::string file_name(std::string_view name) {
  constexpr std::string_view kDigits = "0123456789ABCDEF";
  std::string file;
  for (const char c : name) {
    const auto byte = static_cast<uint8_t>(c);
    const bool plain = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '-' || c == '_' || (c == '.' && !file.empty());
    if (plain) file += c;
    else file.append(1, '%').append(1, kDigits[byte >> 4U]).append(1, kDigits[byte & 15U]);
  }
  return file;
}

std::string remedy(int error, const std::string& dir) {
  switch (error) {
    case ENOENT: return "; make the folder, for the user that the relay runs as: install -d -m 700 -o USER " + dir + " (with systemd: StateDirectory=)";
    case ENOTDIR: return "; name a folder";
    case EACCES: return "; it must belong to the user that the relay runs as: chown USER " + dir;
    case EPERM: return "; a relay that is confined makes no files: start the process again";
    case EROFS: return "; choose another folder, or let the relay write there (with systemd: ReadWritePaths=, StateDirectory=)";
    case ENOSPC:
    case EDQUOT: return "; make room, or choose another folder";
    case EINVAL:
    case ELOOP: return "; it is no plain file: move it away";
    case EAGAIN: return "; another relay has it: give each its own folder, or its own name";
    default: return {};
  }
}

bool all_zero(std::string_view bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](char c) { return c == '\0'; });
}

// The first bytes of a file, as many as there are.
template <size_t N>
std::string_view first_bytes(int fd, std::array<char, N>& room) {
  size_t size = 0;
  while (size < N) {
    const ssize_t n = sys::read_at(fd, room.data() + size, N - size, size);
    if (n <= 0) break;
    size += static_cast<size_t>(n);
  }
  return {room.data(), size};
}

}  // namespace

std::string Spool::complaint(std::string_view file, int error) const {
  const std::string path = file.empty() ? plan_.dir : plan_.dir + "/" + std::string(file);
  const std::string why = error == EAGAIN ? "it is in use" : std::strerror(error);
  return "cannot open " + quote(path) + ": " + why + remedy(error, printable(plan_.dir));
}

std::string Spool::stranger(std::string_view file, std::string_view what) const {
  return quote(plan_.dir + "/" + std::string(file)) + " " + std::string(what) + "; move it away, or choose another folder";
}

std::optional<std::string> Spool::open(const Plan& plan) {
  CHECK(!opened_ && !mark_.open());
  plan_ = plan;
  bound_ = std::max(plan.bound, kLeastBound);
  name_ = file_name(plan.name);
  if (name_.empty() || name_.size() > kLongestName) return quote(plan.name) + " makes no name of a file: give the relay a shorter one";
  const Fd folder{sys::open_folder(plan.dir.c_str())};
  if (!folder.open()) return complaint({}, -folder.get());
  if (std::optional<std::string> fault = open_files(folder)) return fault;
  if (std::optional<std::string> fault = read_mark()) return fault;
  if (std::optional<std::string> fault = read_segments()) return fault;
  settle_positions();
  while (static_cast<uint32_t>(stamp_) == 0) stamp_ = sys::random_seed();
  if (const Status status = write_mark(); !status.ok()) return complaint(mark_name(), status.error());
  if (std::optional<std::string> fault = sync_at_start(folder)) return fault;
  opened_ = true;
  tell_opened();
  return std::nullopt;
}

std::optional<std::string> Spool::open_files(const Fd& folder) {
  const int mark = sys::open_file(folder.get(), mark_name().c_str());
  if (mark < 0) return complaint(mark_name(), -mark);
  mark_ = Fd{mark};
  if (const int error = sys::lock_file(mark); error < 0) return complaint(mark_name(), -error);
  for (size_t i = 0; i < kSegments; ++i) {
    const int fd = sys::open_file(folder.get(), segment_name(i).c_str());
    if (fd < 0) return complaint(segment_name(i), -fd);
    segments_[i].fd = Fd{fd};
  }
  return std::nullopt;
}

// The first copy ever is the second in the file (its serial is odd): so a file that is shorter than both has lost something.
std::optional<std::string> Spool::read_mark() {
  std::array<char, kSpoolMarkStride + kSpoolMark> room{};
  const std::string_view bytes = first_bytes(mark_.get(), room);
  const std::string_view first = bytes.substr(0, kSpoolMark);
  const std::string_view second = bytes.size() > kSpoolMarkStride ? bytes.substr(kSpoolMarkStride) : std::string_view();
  const Result<SpoolMark> a = read_spool_mark(first);
  const Result<SpoolMark> b = read_spool_mark(second);
  if (!a.ok() && !b.ok()) {
    if (a.status().code() == Code::kNotFound || b.status().code() == Code::kNotFound)
      return stranger(mark_name(), "was written by another version of relay");
    if (!resembles_spool(first)) return stranger(mark_name(), "is not a spool's");
    return std::nullopt;
  }
  const SpoolMark& mark = !b.ok() || (a.ok() && a->serial > b->serial) ? *a : *b;
  stamp_ = mark.stamp;
  serial_ = mark.serial;
  done_ = mark.done;
  sent_ = mark.sent;
  mark_is_certain_ = bytes.size() == room.size() && b.ok() && (a.ok() || (all_zero(first) && mark.serial == 1));
  return std::nullopt;
}

std::optional<std::string> Spool::read_segments() {
  std::vector<SpoolSegment> heads(kSegments);
  std::array<char, kSpoolSegmentHead> room{};
  for (size_t i = 0; i < kSegments && stamp_ == 0; ++i)  // there is no mark
    if (const Result<SpoolSegment> head = read_spool_segment(first_bytes(segments_[i].fd.get(), room)); head.ok()) stamp_ = head->stamp;
  for (size_t i = 0; i < kSegments; ++i)
    if (std::optional<std::string> fault = read_segment(i, heads[i])) return fault;
  std::sort(live_.begin(), live_.end(), [&](size_t x, size_t y) { return std::tie(heads[x].base, heads[x].turn) < std::tie(heads[y].base, heads[y].turn); });
  if (!live_.empty()) find_end();
  return std::nullopt;
}

std::optional<std::string> Spool::read_segment(size_t index, SpoolSegment& head) {
  Segment& segment = segments_[index];
  const int64_t size = sys::file_size(segment.fd.get());
  if (size < 0) return complaint(segment_name(index), static_cast<int>(-size));
  if (size == 0) return std::nullopt;
  std::array<char, kSpoolSegmentHead> room{};
  const std::string_view bytes = first_bytes(segment.fd.get(), room);
  Result<SpoolSegment> found = read_spool_segment(bytes);
  if (!found.ok() && found.status().code() == Code::kNotFound) return stranger(segment_name(index), "was written by another version of relay");
  if (found.ok() && found->stamp != stamp_) return stranger(segment_name(index), "is another spool's");
  if (!found.ok()) {
    const std::optional<SpoolSegment> rescued = rescue(segment);
    if (!rescued && !resembles_spool(bytes)) return stranger(segment_name(index), "is not a spool's");
    LogLine(Level::kError, "spool-damaged").text("relay", plan_.name).text("dir", plan_.dir).text("file", segment_name(index))
        .text("what", rescued ? "its head" : "all of it").number("bytes", rescued ? uint64_t{kSpoolSegmentHead} : static_cast<uint64_t>(size));
    ++counts_.damaged;
    counts_.damaged_bytes += rescued ? kSpoolSegmentHead : static_cast<uint64_t>(size);
    if (!rescued) {
      segment.file_size = static_cast<uint64_t>(size);
      return std::nullopt;
    }
    found = *rescued;
  }
  head = *found;
  turn_ = std::max(turn_, head.turn);
  segment.base = head.base;
  segment.length = static_cast<uint64_t>(size) > kSpoolSegmentHead ? static_cast<uint64_t>(size) - kSpoolSegmentHead : 0;
  segment.dirty = true;
  live_.push_back(index);
  return std::nullopt;
}

// A segment whose head is damaged begins where its records say.
std::optional<SpoolSegment> Spool::rescue(const Segment& segment) const {
  if (stamp_ == 0) return std::nullopt;
  std::vector<char> bytes(kPiece);
  for (uint64_t offset = kSpoolSegmentHead;;) {
    const ssize_t n = sys::read_at(segment.fd.get(), bytes.data(), bytes.size(), offset);
    if (n < static_cast<ssize_t>(kSpoolRecordHead)) return std::nullopt;
    const std::string_view window(bytes.data(), static_cast<size_t>(n));
    for (size_t from = 0; from < window.size();) {
      const std::optional<SpoolFound> found = find_spool_record(stamp_, window.substr(from));
      if (!found) break;
      const uint64_t behind_head = offset - kSpoolSegmentHead + from + found->offset;
      if (found->at >= behind_head && found->at <= kSpoolLastPosition) return SpoolSegment{stamp_, found->at - behind_head, 0};
      from += found->offset + 1;
    }
    offset += static_cast<uint64_t>(n) - kSpoolRecordHead + 1;
  }
}

// Behind the last record that is whole nothing is left; so the next one will stand there.
void Spool::find_end() {
  Segment& segment = current();
  const uint64_t end = segment.base + segment.length;
  uint64_t at = done_ > segment.base && done_ <= end ? done_ : segment.base;
  uint64_t whole = at;
  while (at < end) {
    const SpoolStep step = look(segment, at, end - at);
    at += step.size;
    if (step.what == SpoolStep::What::kRecord) whole = at;
  }
  window_ = {};
  segment.length = whole - segment.base;
  if (whole == end) return;
  counts_.torn_bytes = end - whole;
  LogLine(Level::kWarn, "spool-torn").text("relay", plan_.name).text("dir", plan_.dir).number("at", whole).number("bytes", end - whole);
  if (sys::set_file_size(segment.fd.get(), kSpoolSegmentHead + segment.length) < 0) segment.closed = true;
}

// A mark that is ahead of all records: the machine failed, and of the two it was the mark that had come to the disk.
void Spool::settle_positions() {
  const uint64_t end = live_.empty() ? 0 : current().base + current().length;
  written_ = std::max({end, done_, sent_});
  if (!live_.empty() && written_ > end) current().closed = true;
  done_ = live_.empty() ? written_ : std::max(done_, segments_[live_.front()].base);
  if (!mark_is_certain_) sent_ = written_;
  uncertain_ = sent_;
  synced_ = written_;
  sent_synced_ = sent_;
  read_ = given_ = done_;
  free_done();
}

// What another process had written may not be on the disk yet, nor the files themselves.
std::optional<std::string> Spool::sync_at_start(const Fd& folder) {
  const bool fresh = serial_ == 1;
  if (plan_.fsync == Fsync::kNo && !fresh) return std::nullopt;
  for (const size_t index : live_) {
    if (const int error = sys::sync_file(segments_[index].fd.get()); error < 0) return complaint(segment_name(index), -error);
    segments_[index].dirty = false;
  }
  if (const int error = sys::sync_file(mark_.get()); error < 0) return complaint(mark_name(), -error);
  mark_dirty_ = false;
  if (const int error = sys::sync_folder(folder.get()); error < 0) return complaint({}, -error);
  return std::nullopt;
}

void Spool::tell_opened() {
  LogLine(Level::kInfo, "spool").text("relay", plan_.name).text("dir", plan_.dir).number("backlog", backlog()).number("bound", bound_);
  const int64_t space = sys::free_space(mark_.get());
  if (space >= 0 && static_cast<uint64_t>(space) + size() < bound_)
    LogLine(Level::kWarn, "spool-space").text("relay", plan_.name).text("dir", plan_.dir).number("free", space).number("bound", bound_)
        .text("remedy", "when the file system is full, clients wait: make room, or lower spool-size");
}

}  // namespace relay

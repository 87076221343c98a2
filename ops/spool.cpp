// SPDX-License-Identifier: Apache-2.0
// Spool: at work. How its files are found and read at the start is in spool_open.cpp.
#include "ops/spool.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "lib/log.h"

namespace relay {
namespace {

constexpr size_t kDirect = 64 * 1024;        // a body of this size is not copied
constexpr size_t kMostBuffered = 256 * 1024;
constexpr size_t kWindow = 64 * 1024;        // read at once
constexpr size_t kPage = 4096;
constexpr uint64_t kTidy = 1024 * 1024;      // a segment in which so much is done, and nothing is left, is left for another
constexpr uint64_t kShorten = 8 * 1024 * 1024;  // a turn: the kernel needs half a millisecond for it, and 30 for 128 MiB
constexpr uint64_t kPassed = 1024 * 1024;    // a turn, of what is passed over
constexpr uint64_t kDamageTold = 10;
constexpr Delay kSyncEvery{1000};
constexpr Delay kFailureTold{1000};

}  // namespace

Spool::Spool(Loop& loop, SpoolUser& user)
    : loop_(loop), user_(user), file_sync_(loop, static_cast<FileSyncUser&>(*this)), sync_timer_(loop, static_cast<TimerUser&>(*this)),
      shorten_timer_(loop, static_cast<TimerUser&>(*this)) {}

// Of a spool in which all is done nothing is left but the mark.
Spool::~Spool() {
  if (!opened_) return;
  if (!live_.empty()) static_cast<void>(write_out(nullptr));
  const Status marked = write_mark();
  if (marked.ok() && empty())
    for (const size_t index : live_) static_cast<void>(sys::set_file_size(segments_[index].fd.get(), 0));
  for (const Segment& segment : segments_)
    if (segment.file_size > 0) static_cast<void>(sys::set_file_size(segment.fd.get(), 0));
}

void Spool::change(uint64_t bound, Fsync fsync) {
  bound_ = std::max(bound, kLeastBound);
  plan_.fsync = fsync;
  schedule();
}

// ---- room

uint64_t Spool::size() const {
  uint64_t size = buffer_.size();
  for (const size_t index : live_) size += kSpoolSegmentHead + segments_[index].length;
  return size;
}

bool Spool::can_fit(uint64_t size) const { return size <= kSpoolMostBody && kSpoolSegmentHead + kSpoolRecordHead + size <= bound_; }

bool Spool::fits(uint64_t size) const {
  if (!can_fit(size)) return false;
  return empty() || this->size() + kSpoolSegmentHead + kSpoolRecordHead + size <= bound_;
}

uint64_t Spool::target() const { return bound_ / kSegments; }

bool Spool::roll_is_due(uint64_t size) const {
  if (live_.empty()) return true;
  const Segment& segment = segments_[live_.back()];
  const uint64_t length = segment.length + buffer_.size();
  return segment.closed || (length > 0 && length + size > target()) || (empty() && length >= kTidy);
}

std::optional<size_t> Spool::free_segment() const {
  std::optional<size_t> found;
  for (size_t i = 0; i < kSegments; ++i) {
    if (std::find(live_.begin(), live_.end(), i) != live_.end()) continue;
    if (!found || segments_[i].file_size < segments_[*found].file_size) found = i;  // rather one that is empty by now
  }
  return found;
}

// Goes on in another segment. Where none is free the current one grows, unless it takes no more.
Status Spool::roll() {
  if (const Status status = live_.empty() ? Status{} : write_out(nullptr); !status.ok()) return status;
  const std::optional<size_t> index = free_segment();
  if (!index) return live_.empty() || current().closed ? Status{Code::kLimit, "no segment is free"} : Status{};
  Segment& segment = segments_[*index];
  if (segment.file_size > 0)
    if (const int error = sys::set_file_size(segment.fd.get(), 0); error < 0) return write_failed(-error, "ftruncate");
  segment.file_size = 0;
  const auto head = write_spool_segment({stamp_, written_, turn_ + 1});
  const Status status = write_all(segment.fd.get(), 0, {std::string_view(head.data(), head.size()), {}, {}});
  if (!status.ok()) {
    segment.file_size = head.size();
    return status;
  }
  ++turn_;
  segment.base = written_;
  segment.length = 0;
  segment.closed = false;
  segment.dirty = true;
  live_.push_back(*index);
  free_done();
  return {};
}

void Spool::free_done() {
  while (live_.size() > 1 && segments_[live_[1]].base <= done_) release(0);
}

void Spool::release(size_t place) {
  Segment& segment = segments_[live_[place]];
  segment.file_size = static_cast<uint64_t>(std::max<int64_t>(sys::file_size(segment.fd.get()), 1));
  segment.length = 0;
  segment.dirty = false;
  live_.erase(live_.begin() + static_cast<std::ptrdiff_t>(place));
  shorten_timer_.arm(Delay{0});
}

// A piece a turn. If it fails, who wants the segment tries again.
void Spool::shorten_one() {
  for (size_t i = 0; i < kSegments; ++i) {
    Segment& segment = segments_[i];
    if (segment.file_size == 0 || std::find(live_.begin(), live_.end(), i) != live_.end()) continue;
    const uint64_t rest = segment.file_size > kShorten ? segment.file_size - kShorten : 0;
    if (sys::set_file_size(segment.fd.get(), rest) < 0) continue;
    segment.file_size = rest;
    return shorten_timer_.arm(Delay{0});
  }
}

// ---- writing

Result<uint64_t> Spool::append(uint32_t tag, uint8_t flags, std::string_view body) {
  CHECK(opened_ && fits(body.size()));
  if (roll_is_due(kSpoolRecordHead + body.size()))
    if (const Status status = roll(); !status.ok()) return status;
  const SpoolRecord record{written_ + buffer_.size(), tag, flags, body};
  if (body.size() >= kDirect) {
    const Status status = write_out(&record);
    return status.ok() ? Result<uint64_t>(written_) : Result<uint64_t>(status);
  }
  const auto head = write_spool_record(stamp_, record);
  buffer_.append(head.data(), head.size()).append(body);
  ++buffered_;
  if (buffer_.size() >= kMostBuffered)
    if (const Status status = write_out(nullptr); !status.ok()) return status;
  return record.end();
}

// What is in the buffer, and behind it a record that is not.
Status Spool::write_out(const SpoolRecord* behind) {
  if (buffer_.empty() && behind == nullptr) return {};
  Segment& segment = current();
  std::array<char, kSpoolRecordHead> head{};
  std::array<std::string_view, 3> parts{buffer_, {}, {}};
  if (behind != nullptr) {
    head = write_spool_record(stamp_, *behind);
    parts[1] = {head.data(), head.size()};
    parts[2] = behind->body;
  }
  const uint64_t size = parts[0].size() + parts[1].size() + parts[2].size();
  const uint64_t end = kSpoolSegmentHead + segment.length;
  const Status status = write_all(segment.fd.get(), end, parts);
  const uint64_t records = std::exchange(buffered_, 0) + (behind != nullptr ? 1 : 0);
  buffer_.clear();
  if (buffer_.capacity() > kDirect) buffer_.shrink_to_fit();
  if (!status.ok()) {
    if (sys::set_file_size(segment.fd.get(), end) < 0) segment.closed = true;
    return status;
  }
  segment.length += size;
  segment.dirty = true;
  written_ += size;
  counts_.records += records;
  counts_.bytes += size;
  // On a disk that is nearly full small ones fit and large ones do not: one pair of lines a second will do.
  if (failing_ && loop_.now() - failed_at_ >= kFailureTold) {
    failing_ = false;
    LogLine(Level::kInfo, "spool-writes-again").text("relay", plan_.name);
  }
  return {};
}

Status Spool::write_all(int fd, uint64_t offset, std::array<std::string_view, 3> parts) {
  for (size_t first = 0; first < parts.size();) {
    std::array<iovec, 3> vectors{};
    int count = 0;
    for (size_t i = first; i < parts.size(); ++i)
      if (!parts[i].empty()) vectors[static_cast<size_t>(count++)] = {const_cast<char*>(parts[i].data()), parts[i].size()};  // it is only read
    if (count == 0) break;
    const ssize_t n = sys::write_at(fd, vectors.data(), count, offset);
    if (n <= 0) return write_failed(n == 0 ? EIO : static_cast<int>(-n), "pwritev");
    offset += static_cast<uint64_t>(n);
    for (auto left = static_cast<size_t>(n); left > 0;) {
      const size_t taken = std::min(left, parts[first].size());
      parts[first].remove_prefix(taken);
      left -= taken;
      if (parts[first].empty()) ++first;
    }
  }
  return {};
}

Status Spool::write_failed(int error, const char* call) {
  ++counts_.write_failures;
  failed_at_ = loop_.now();
  if (!std::exchange(failing_, true))
    LogLine(Level::kError, "spool-write-failed").text("relay", plan_.name).text("dir", plan_.dir).text("call", call).text("error", std::strerror(error));
  return from_errno(error, call);
}

Status Spool::flush() {
  const Status status = live_.empty() ? Status{} : write_out(nullptr);
  if (empty() && !live_.empty() && current().length >= std::min(kTidy, target())) static_cast<void>(roll());
  if (mark_old_) static_cast<void>(write_mark());  // if it fails, more is sent again after a restart
  schedule();
  return status;
}

Status Spool::write_mark() {
  const uint64_t serial = serial_ + 1;
  const auto bytes = write_spool_mark({stamp_, serial, done_, sent_});
  const Status status = write_all(mark_.get(), serial % 2 * kSpoolMarkStride, {std::string_view(bytes.data(), bytes.size()), {}, {}});
  if (!status.ok()) return status;
  serial_ = serial;
  mark_old_ = false;
  mark_dirty_ = true;
  return {};
}

// ---- to the disk

void Spool::schedule() {
  if (!opened_ || plan_.fsync == Fsync::kNo || sync_timer_.armed()) return;
  const bool unsynced = std::any_of(live_.begin(), live_.end(), [this](size_t index) { return segments_[index].dirty; });
  if (unsynced && plan_.fsync == Fsync::kAlways) return sync();
  if (unsynced || mark_dirty_) sync_timer_.arm(kSyncEvery);
}

void Spool::sync() {
  if (file_sync_.busy()) return;
  std::array<int, kSegments + 1> files{};
  size_t count = 0;
  for (const size_t index : live_)
    if (std::exchange(segments_[index].dirty, false)) files[count++] = segments_[index].fd.get();
  if (std::exchange(mark_dirty_, false)) files[count++] = mark_.get();
  if (count == 0) return;
  sync_to_ = written_;
  sync_sent_ = sent_;
  file_sync_.begin({files.data(), count});
}

void Spool::on_file_sync(const Status& status) {
  ++counts_.syncs;
  if (status.ok()) {
    synced_ = sync_to_;
    sent_synced_ = sync_sent_;
    schedule();
  } else {
    if (counts_.sync_failures++ == 0)
      LogLine(Level::kError, "spool-sync-failed").text("relay", plan_.name).text("dir", plan_.dir).text("error", std::strerror(status.error()));
    for (const size_t index : live_) segments_[index].dirty = true;
    mark_dirty_ = true;
    sync_timer_.arm(kSyncEvery);
  }
  user_.on_synced(status);
}

void Spool::on_timer(Timer& timer) {
  if (&timer == &shorten_timer_) return shorten_one();
  sync();
}

// ---- reading

uint64_t Spool::end_of(size_t place) const { return place + 1 < live_.size() ? segments_[live_[place + 1]].base : written_; }

// At least `need` bytes from position `at`, unless the file has fewer, or they cannot be read. REQUIRES: need <= rest.
std::string_view Spool::load(const Segment& segment, uint64_t at, uint64_t need, uint64_t rest) {
  if (at >= window_.at && at - window_.at <= window_.size && window_.size - (at - window_.at) >= need)
    return std::string_view(window_.bytes.data(), window_.size).substr(at - window_.at).substr(0, rest);
  const auto want = static_cast<size_t>(std::min<uint64_t>(rest, std::max<uint64_t>(need, kWindow)));
  if (window_.bytes.size() < want || window_.bytes.size() > std::max(want, kWindow)) window_.bytes = std::vector<char>(want);
  window_.at = at;
  window_.size = 0;
  while (window_.size < need) {
    const uint64_t offset = kSpoolSegmentHead + (at - segment.base) + window_.size;
    const ssize_t n = sys::read_at(segment.fd.get(), window_.bytes.data() + window_.size, want - window_.size, offset);
    if (n <= 0) break;
    window_.size += static_cast<size_t>(n);
  }
  return {window_.bytes.data(), window_.size};
}

// What stands at `at`, where `rest` bytes should be. What cannot be read is damaged, a page at a time, and what is not there all at once.
SpoolStep Spool::look(const Segment& segment, uint64_t at, uint64_t rest) {
  SpoolStep step{SpoolStep::What::kMore, std::min<uint64_t>(rest, kSpoolRecordHead)};
  while (step.what == SpoolStep::What::kMore) {
    const std::string_view window = load(segment, at, step.size, rest);
    if (window.size() < step.size) {
      const int64_t size = sys::file_size(segment.fd.get());
      const bool there = size > 0 && static_cast<uint64_t>(size) > kSpoolSegmentHead + (at - segment.base) + window.size();
      return {SpoolStep::What::kDamaged, there ? std::min<uint64_t>(rest, kPage - at % kPage) : rest};
    }
    step = read_spool(stamp_, at, window, rest);
  }
  return step;
}

std::optional<SpoolRecord> Spool::next() {
  for (uint64_t passed = 0; read_ < written_ && passed < kPassed;) {
    size_t place = 0;
    while (end_of(place) <= read_) ++place;
    const SpoolStep step = look(segments_[live_[place]], read_, end_of(place) - read_);
    if (step.what == SpoolStep::What::kRecord) {
      const bool uncertain = !step.record.repeatable() && read_ < uncertain_;
      tell_damage();
      read_ += step.size;
      if (!uncertain) {
        given_ = read_;
        return step.record;
      }
      ++counts_.uncertain;
      user_.on_uncertain(step.record);
    } else {
      if (!damage_) damage_ = read_;
      read_ += step.size;
    }
    passed += step.size;
    settle();
  }
  if (all_read()) {
    tell_damage();
    window_ = {};
  }
  return std::nullopt;
}

void Spool::tell_damage() {
  if (!damage_) return;
  const uint64_t bytes = read_ - *damage_;
  counts_.damaged_bytes += bytes;
  if (++counts_.damaged <= kDamageTold)
    LogLine(Level::kError, "spool-damaged").text("relay", plan_.name).text("dir", plan_.dir).number("at", *damage_).number("bytes", bytes);
  damage_.reset();
}

// All that its user has been given is done: so is what was passed over behind it.
void Spool::settle() {
  if (done_ < given_ || done_ >= read_) return;
  done_ = read_;
  mark_old_ = true;
  free_done();
}

void Spool::pass(uint64_t at) {
  CHECK(read_ <= at && at <= written_);
  tell_damage();
  read_ = given_ = at;
}

void Spool::done(uint64_t at) {
  CHECK(at <= written_);
  if (at <= done_) return;
  done_ = at;
  mark_old_ = true;
  given_ = std::max(given_, done_);
  if (read_ < done_) {
    tell_damage();
    read_ = done_;
  }
  settle();
  free_done();
}

Status Spool::sent(uint64_t at) {
  CHECK(at <= written_);
  if (at <= sent_) return {};
  const uint64_t before = std::exchange(sent_, at);
  const Status status = write_mark();
  if (!status.ok()) sent_ = before;
  return status;
}

}  // namespace relay

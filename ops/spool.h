// SPDX-License-Identifier: Apache-2.0
// Spool: records that outlive the process, in a few files of one folder, up to a bound (doc/spool-format.md).
//
//      done ──────► sent ──────► read ──────► written ──────► appended       positions: they only grow, over restarts, too
//   ┌─────────┬─────────────────────────────────┬──────────────┐
//   │ freed   │ on disk                         │ in memory    │             append() until flush(), once a turn
//   └─────────┴─────────────────────────────────┴──────────────┘             synced: behind written; on the disk for certain
//
// What was written survives the end of the process, however it comes; what was synced, that of the machine. The files are made by open()
// and no others later: a confined process opens nothing for writing. They are used in turn, and shortened when all in them is done. A
// spool does not know what its records mean; whoever appends to it counts.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lib/status.h"
#include "net/fd.h"
#include "net/file_sync.h"
#include "net/loop.h"
#include "wire/spool_record.h"

namespace relay {

class SpoolUser {
 public:
  // synced() has moved; or, if not ok, what was written and not synced may never be: whoever waits for that must not be told that it
  // is safe, also when synced() gets past it later. From the loop.
  virtual void on_synced(const Status& status) = 0;
  // next() has passed over a record that must not be repeated and may have been sent before the process was started. Its body is valid
  // for the call, in which the spool must not be called.
  virtual void on_uncertain(const SpoolRecord& record) = 0;

 protected:
  ~SpoolUser() = default;
};

class Spool final : private FileSyncUser, private TimerUser {
 public:
  enum class Fsync : uint8_t { kAlways, kEverySecond, kNo };
  static constexpr uint64_t kLeastBound = 64 * 1024;
  static constexpr size_t kSegments = 8;
  static constexpr uint64_t kDescriptors = kSegments + 2;  // for Kind::descriptors

  struct Plan {
    std::string dir;
    std::string name;   // of the relay: two in one folder differ in it
    uint64_t bound = uint64_t{1} << 30;  // bytes on disk; at least kLeastBound
    Fsync fsync = Fsync::kEverySecond;
  };
  struct Counts {
    uint64_t records = 0;         // appended, by this process
    uint64_t bytes = 0;           // the same, as they are on disk
    uint64_t syncs = 0;
    uint64_t sync_failures = 0;
    uint64_t write_failures = 0;
    uint64_t torn_bytes = 0;      // cut off the end by open()
    uint64_t damaged = 0;         // places that were passed over, and their bytes
    uint64_t damaged_bytes = 0;
    uint64_t uncertain = 0;       // records
  };

  // Borrows both for its life.
  Spool(Loop& loop, SpoolUser& user);
  ~Spool();  // writes what it has; waits for a sync that is under way
  Spool(const Spool&) = delete;
  Spool& operator=(const Spool&) = delete;

  // Opens or makes its files, finds the end, and sets reading to the first record that is not known to be done. What is wrong, in words
  // with a remedy, or nothing. It waits for the disk, and fails in a process that is confined. Once.
  std::optional<std::string> open(const Plan& plan);
  // From now on: a bound below what is there takes nothing away, and fits() is false until enough is done.
  void change(uint64_t bound, Fsync fsync);

  // A record whose body is `size` bytes has room now. One for which can_fit() is false never has.
  bool fits(uint64_t size) const;
  bool can_fit(uint64_t size) const;
  // Adds a record and returns the position behind it; it is in the spool once written() has got there, by flush() at the latest. If this
  // or flush() fails (no space, a disk that fails), what is beyond written() is not in the spool, and its positions will be others'.
  // REQUIRES: fits().
  Result<uint64_t> append(uint32_t tag, uint8_t flags, std::string_view body);
  // Once a turn, also when nothing was appended but done() was called; begins a sync if that is due.
  Status flush();

  uint64_t written() const { return written_; }
  uint64_t synced() const { return synced_; }
  // Begins a sync if there is something to sync and none is under way. flush() does so by itself, unless kNo.
  void sync();

  // The next record, in order. Nothing: all that was written has been read; or, if all_read() is false, call again in the next turn.
  // Its body is valid until the next call of anything.
  std::optional<SpoolRecord> next();
  bool all_read() const { return read_ == written_; }
  uint64_t read() const { return read_; }
  // Reading goes on at `at`: its user has what is before from memory. REQUIRES: read() <= at <= written(), the end of a record.
  void pass(uint64_t at);

  // All before `at` is done with. REQUIRES: at <= written(), the end of a record.
  void done(uint64_t at);
  uint64_t done() const { return done_; }
  // All before `at` may have been sent from now on. For a record without kSpoolRepeatable, before it is sent: if the process is killed
  // then, it is not sent again. That this also holds if the machine fails, sent_synced() says, some time after the next sync().
  // If it fails, the record must not be sent. REQUIRES: at <= written().
  Status sent(uint64_t at);
  uint64_t sent_synced() const { return sent_synced_; }

  bool empty() const { return done_ == written_ && buffer_.empty(); }
  uint64_t backlog() const { return written_ - done_ + buffer_.size(); }  // bytes that are not done
  uint64_t size() const;                                                  // bytes on disk; those being shortened not counted
  uint64_t bound() const { return bound_; }
  const Counts& counts() const { return counts_; }

 private:
  struct Segment {
    Fd fd;
    uint64_t base = 0;
    uint64_t length = 0;    // of its records; the head is not in it
    uint64_t file_size = 0;  // of one that is free: there is something to cut off
    bool dirty = false;     // something is not synced
    bool closed = false;    // takes no more: what is behind its records could not be cut off
  };
  struct Window {
    std::vector<char> bytes;
    uint64_t at = 0;
    size_t size = 0;
  };

  // spool_open.cpp
  std::string mark_name() const { return name_ + ".mark"; }
  std::string segment_name(size_t index) const { return name_ + "." + static_cast<char>('0' + index); }
  std::string complaint(std::string_view file, int error) const;
  std::string stranger(std::string_view file, std::string_view what) const;
  std::optional<std::string> open_files(const Fd& folder);
  std::optional<std::string> read_mark();
  std::optional<std::string> read_segments();
  std::optional<std::string> read_segment(size_t index, SpoolSegment& head);
  std::optional<SpoolSegment> rescue(const Segment& segment) const;
  void find_end();
  void settle_positions();
  std::optional<std::string> sync_at_start(const Fd& folder);
  void tell_opened();

  void on_file_sync(const Status& status) override;
  void on_timer(Timer& timer) override;

  Segment& current() { return segments_[live_.back()]; }
  uint64_t target() const;
  bool roll_is_due(uint64_t size) const;
  Status roll();
  std::optional<size_t> free_segment() const;
  void free_done();
  void release(size_t place);
  void shorten_one();
  Status write_out(const SpoolRecord* behind);
  Status write_all(int fd, uint64_t offset, std::array<std::string_view, 3> parts);
  Status write_failed(int error, const char* call);
  Status write_mark();
  void schedule();
  std::string_view load(const Segment& segment, uint64_t at, uint64_t need, uint64_t rest);
  SpoolStep look(const Segment& segment, uint64_t at, uint64_t rest);
  uint64_t end_of(size_t place) const;  // where what is in live_[place] ends
  void tell_damage();
  void settle();

  Loop& loop_;
  SpoolUser& user_;
  Plan plan_;
  std::string name_;  // that its files have in common
  uint64_t bound_ = 0;
  bool opened_ = false;
  FileSync file_sync_;
  Timer sync_timer_;
  Timer shorten_timer_;

  std::array<Segment, kSegments> segments_;
  std::vector<size_t> live_;  // those in use, the oldest first; the last one is written to
  Fd mark_;
  uint64_t stamp_ = 0;
  uint64_t serial_ = 0;       // of the mark
  uint32_t turn_ = 0;         // of the last segment that was begun

  std::string buffer_;        // appended, not written
  uint64_t buffered_ = 0;     // records in it
  uint64_t written_ = 0;
  uint64_t synced_ = 0;
  uint64_t read_ = 0;
  uint64_t given_ = 0;        // the end of the last record that next() gave, or pass() passed
  uint64_t done_ = 0;
  uint64_t sent_ = 0;
  uint64_t sent_synced_ = 0;
  uint64_t uncertain_ = 0;    // records before it may have been sent by another process
  uint64_t sync_to_ = 0;      // what the sync under way is for
  uint64_t sync_sent_ = 0;
  bool mark_is_certain_ = false;  // that the process before wrote no later one
  bool mark_old_ = false;     // the file is behind done_
  bool mark_dirty_ = false;   // written, not synced
  bool failing_ = false;      // writing; said in the log
  Time failed_at_{};
  std::optional<uint64_t> damage_;  // where the damaged place begins that is being passed over
  Window window_;
  Counts counts_;
};

}  // namespace relay

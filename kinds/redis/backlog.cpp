// SPDX-License-Identifier: Apache-2.0
// Backlog: see the picture in backlog.h. A record's tag is the database; its body is the answer that was given, in one byte, and the
// command as it goes to the server.
#include "kinds/redis/backlog.h"

#include <algorithm>
#include <utility>

#include "kinds/redis/redis.h"
#include "lib/check.h"
#include "lib/log.h"
#include "wire/resp.h"

namespace relay::redis {
namespace {

constexpr size_t kMostATurn = 1024 * 1024;   // of what is taken
constexpr size_t kMostLoaded = 4 * 1024 * 1024;  // a turn
constexpr size_t kKeep = 64 * 1024;          // of memory, from turn to turn
constexpr Delay kPause{1000};                // before a spool that fails is tried again
constexpr Delay kLook{100};

bool is_made(char byte) { return byte == static_cast<char>(Made::kOk) || byte == static_cast<char>(Made::kOne); }

// One command and nothing else: what is sent over a lane must be.
bool is_command(std::string_view text) {
  RespRequest reader;
  const Result<size_t> n = reader.feed(std::as_bytes(std::span(text)));
  return n.ok() && *n == text.size() && reader.done() && !reader.is_inline() && reader.argc() > 0;
}

// What is wrong with a record that is as it was written: then it was another relay that wrote it, or for another server. Empty: nothing.
std::string_view fault(const SpoolRecord& record, const RedisRelay& relay) {
  if (record.body.empty() || !is_made(record.body.front()) || record.body.size() > RedisRelay::kLongestGathered + 1 || !is_command(record.body.substr(1))) return "no-command";
  if (record.tag > uint32_t{INT32_MAX} || !relay.no_database(record.tag).empty()) return "no-database";
  return {};
}

}  // namespace

Backlog::Backlog(RedisRelay& relay)
    : relay_(relay), spool_(relay.loop(), static_cast<SpoolUser&>(*this)), turn_(relay.loop(), static_cast<TimerUser&>(*this)),
      later_(relay.loop(), static_cast<TimerUser&>(*this)) {}

std::optional<std::string> Backlog::open(const Spool::Plan& plan) {
  dir_ = plan.dir;
  fsync_ = plan.fsync;
  std::optional<std::string> fault = spool_.open(plan);
  old_end_ = last_ = spool_.written();
  done_ = spool_.done();
  return fault;
}

void Backlog::change(const Spool::Plan& plan) {
  fsync_ = plan.fsync;
  spool_.change(plan.bound, plan.fsync);
  ask();
}

// ---- what comes

// Whether nothing is taken, because it could not be kept. A disk that does not sync does not keep things either, but for who has asked
// for nothing else.
bool Backlog::fails() const { return relay_.loop().now() < failed_until_ || (sync_failed_ && fsync_ != Spool::Fsync::kNo); }

Backlog::Taken Backlog::take(const Lane::Entry& entry, uint32_t db, std::string_view command) {
  const size_t size = command.size() + 1;
  if (closed_ || fails() || !spool_.can_fit(size)) return Taken::kNever;
  if (!stranded_.empty() || (!fresh_.empty() && bytes_.size() + size > kMostATurn)) return Taken::kNotNow;
  if (!spool_.fits(size)) free_done();
  if (!spool_.fits(size)) {
    relay_.stats().add(Stat::kSpoolFull);
    return Taken::kNotNow;
  }
  if (fresh_.empty()) in_memory_ = spool_.all_read() && !front_;
  const size_t at = bytes_.size();
  bytes_.append(1, static_cast<char>(entry.expected)).append(command);
  const Result<uint64_t> end = spool_.append(db, entry.repeatable ? kSpoolRepeatable : 0, std::string_view(bytes_).substr(at));
  ask();
  if (!end.ok()) {
    bytes_.resize(at);
    strand();  // now: the next one may get the position of one that was lost
    return Taken::kNotNow;
  }
  fresh_.push_back({entry, db, at, size});
  fresh_.back().entry.spooled = *end;
  ++unread_;
  taken_[db] = last_ = *end;
  return Taken::kYes;
}

uint64_t Backlog::mark(std::optional<uint32_t> db) const {
  if (all_loaded()) return 0;
  const auto at = db ? taken_.find(*db) : taken_.end();
  const uint64_t taken = !db ? last_ : at == taken_.end() ? 0 : at->second;
  const uint64_t old = loaded() < old_end_ ? old_end_ : 0;  // whose they are is not known
  return std::max(taken > loaded() ? taken : 0, old);
}

// What the file has not taken of this turn's: nobody has been told that it was done, so it goes the way of commands that wait for the server.
void Backlog::strand() {
  failed_until_ = relay_.loop().now() + kPause;
  const auto from = std::find_if(fresh_.begin(), fresh_.end(), [this](const Fresh& one) { return one.entry.spooled > spool_.written(); });
  for (auto one = from; one != fresh_.end(); ++one) {
    Lane::Entry entry;
    entry.session = one->entry.session;
    entry.seq = one->entry.seq;
    stranded_.push_back({entry, one->db, bytes_.substr(one->at + 1, one->size - 1)});
    --unread_;
  }
  fresh_.erase(from, fresh_.end());
}

// ---- a turn

void Backlog::on_timer(Timer&) { turn(); }

void Backlog::turn() {
  if (closed_) return;
  relay_.batch();
  free_done();
  static_cast<void>(spool_.flush());  // what it could not write shows in written()
  settle();
  answer();
  load();
  put_stranded();
  if (std::exchange(lanes_wait_, false)) relay_.each_lane([](Lane& lane) { lane.turn(); });
  count();
  relay_.flush_touched();
  relay_.room();
  if (may_end()) return close();
  if (waits_for_time()) later_.arm(kLook);
}

void Backlog::free_done() {
  if (done_ > spool_.done()) spool_.done(done_);
}

void Backlog::settle() {
  if (fresh_.empty()) return;
  if (fresh_.back().entry.spooled > spool_.written()) strand();
  bool goes_on = in_memory_;
  for (Fresh& one : fresh_) {
    owed_.push_back({one.entry.session, one.entry.seq, one.entry.expected, one.entry.spooled});
    one.entry.session = {};
    goes_on = goes_on && give(one.entry, one.db, std::string_view(bytes_).substr(one.at + 1, one.size - 1));
    if (!goes_on) continue;
    spool_.pass(one.entry.spooled);
    --unread_;
  }
  fresh_.clear();
  bytes_.clear();
  if (bytes_.capacity() > kKeep) bytes_ = {};
}

// Those that are safe; or done, which is better still.
void Backlog::answer() {
  const bool always = fsync_ == Spool::Fsync::kAlways;
  while (!owed_.empty()) {
    const Owed one = owed_.front();
    const bool doubtful = one.end <= unsafe_until_;
    const bool safe = one.end <= spool_.done() || !always || (one.end <= spool_.synced() && !doubtful);
    const bool overdue = doubtful && relay_.loop().now() >= unsafe_deadline_;
    if (!safe && !overdue) return;
    owed_.pop_front();
    Session* session = relay_.find(one.session);
    if (session == nullptr) continue;
    if (safe) session->spool_answer(one.seq, made_up(one.made));
    else session->spool_answer(one.seq, "-ERR relay: the disk of the spool has failed; the command will be executed, unless the machine fails, too\r\n");
  }
}

// ---- over lanes

bool Backlog::give(const Lane::Entry& entry, uint32_t db, std::string_view command) {
  if (!relay_.early_has_room(command.size())) return false;
  Lane* lane = relay_.lane_for_early(db, command);
  if (lane == nullptr || !lane->put(entry, command)) return false;
  loaded_.push_back({entry.spooled, false});
  return true;
}

// Once clients have gone that may wait for it, the rest is for the next start.
void Backlog::load() {
  if (relay_.draining() && relay_.stats().get(Stat::kClients) == 0) return;
  if (front_) {
    if (!give(front_->entry, front_->db, front_->command)) return;
    read_one(front_->entry.spooled);
    front_.reset();
  }
  std::map<std::string_view, uint64_t> lost;
  for (size_t loaded = 0; loaded < kMostLoaded;) {
    const std::optional<SpoolRecord> record = spool_.next();
    if (!record) break;
    loaded += record->body.size();
    if (const std::string_view why = fault(*record, relay_); !why.empty()) {
      ++lost[why];
      loaded_.push_back({record->end(), false});
      read_one(record->end());
      done_with(record->end());
    } else if (!load_one(*record)) {
      break;
    }
  }
  for (const auto& [why, count] : lost) relay_.early_lost(count, why);
  if (!front_ && !spool_.all_read()) ask();
}

bool Backlog::load_one(const SpoolRecord& record) {
  Lane::Entry entry;
  entry.early = true;
  entry.expected = static_cast<Made>(record.body.front());
  entry.repeatable = record.repeatable();
  entry.spooled = record.end();
  const bool given = give(entry, record.tag, record.body.substr(1));
  if (given) read_one(record.end());
  else front_.emplace(Front{record.at, entry, record.tag, std::string(record.body.substr(1))});
  return given;
}

void Backlog::read_one(uint64_t end) {
  if (end > old_end_ && unread_ > 0) --unread_;
}

// In the order in which they came, behind all that is in the file.
void Backlog::put_stranded() {
  while (!stranded_.empty()) {
    Stranded& one = stranded_.front();
    Session* session = relay_.find(one.entry.session);
    Lane* lane = all_loaded() ? relay_.lane_for_early(one.db, one.command) : nullptr;
    const Lane* away = lane == nullptr ? relay_.hopeless_lane() : lane->hopeless() ? lane : nullptr;
    if (away == nullptr && (lane == nullptr || !lane->put(one.entry, one.command))) return;
    if (away == nullptr) relay_.stats().add(Stat::kSpoolPassed);
    if (away == nullptr && session != nullptr) session->spool_left();
    if (away != nullptr && session != nullptr) session->spool_answer(one.entry.seq, "-ERR relay: " + away->complaint() + "\r\n");
    stranded_.pop_front();
  }
}

void Backlog::done_with(uint64_t end) {
  const auto at = std::lower_bound(loaded_.begin(), loaded_.end(), end, [](const Loaded& one, uint64_t wanted) { return one.end < wanted; });
  if (at == loaded_.end() || at->end != end) return;
  at->done = true;
  while (!loaded_.empty() && loaded_.front().done) {
    done_ = loaded_.front().end;
    loaded_.pop_front();
  }
  if (closed_) free_done();
  else ask();
}

// A disk that fails does not hold up the lanes for ever, and with them all who wait for replies: then the note is in the kernel's memory
// alone, or nowhere.
bool Backlog::may_send(uint64_t end) {
  if (!spool_.sent(end).ok()) {
    const Time now = relay_.loop().now();
    if (not_noted_since_ == Time{}) not_noted_since_ = now;
    if (now - not_noted_since_ >= relay_.config().timeout) {
      if (!std::exchange(not_noted_said_, true)) LogLine(Level::kError, "spool-not-noted").text("relay", relay_.config().name).text("dir", dir_);
      return true;
    }
    lanes_wait_ = true;
    later_.arm(kLook);
    return false;
  }
  not_noted_since_ = {};
  not_noted_said_ = false;
  if (fsync_ != Spool::Fsync::kAlways || sync_failed_ || spool_.sent_synced() >= end) return true;
  lanes_wait_ = true;
  spool_.sync();
  return false;
}

// ---- from the spool

void Backlog::on_synced(const Status& status) {
  sync_failed_ = !status.ok();
  if (sync_failed_) {
    const bool told = !owed_.empty() && owed_.front().end <= unsafe_until_;  // it fails again and again: that must not put off their end
    if (!told) unsafe_deadline_ = relay_.loop().now() + relay_.config().timeout;
    unsafe_until_ = spool_.written();
  }
  ask();
}

void Backlog::on_uncertain(const SpoolRecord& record) {
  relay_.early_uncertain(record.body.substr(std::min<size_t>(1, record.body.size())), "the relay ended while it was under way");
}

// ---- the end

bool Backlog::waits_for_time() const {
  return !stranded_.empty() || front_ || lanes_wait_ || relay_.draining() || (!owed_.empty() && owed_.front().end <= unsafe_until_);
}

void Backlog::look() {
  if (!closed_ && relay_.draining()) ask();
}

// What is under way to a server that answers is waited for: of what must not be repeated nobody would know, else.
bool Backlog::may_end() const {
  if (!relay_.draining() || relay_.stats().get(Stat::kClients) > 0) return false;
  bool moves = false;
  relay_.each_lane([&moves](const Lane& lane) { moves = moves || (lane.has_early() && lane.ready() && !lane.hopeless()); });
  return !moves;
}

void Backlog::close() {
  if (std::exchange(closed_, true)) return;
  turn_.disarm();
  later_.disarm();
  free_done();
  static_cast<void>(spool_.flush());
  count();
  if (spool_.empty()) return;
  const uint64_t known = unread_ + static_cast<uint64_t>(std::count_if(loaded_.begin(), loaded_.end(), [](const Loaded& one) { return !one.done; }));
  LogLine(Level::kWarn, "spool-kept").text("relay", relay_.config().name).text("dir", dir_).number("bytes", spool_.backlog())
      .count("commands", loaded() >= old_end_ ? static_cast<int64_t>(known) : 0);
}

// ---- showing

void Backlog::count() {
  Stats<Stat>& stats = relay_.stats();
  const auto set = [&stats](Stat stat, uint64_t value) { stats.add(stat, value - stats.get(stat)); };
  const Spool::Counts& counts = spool_.counts();
  set(Stat::kSpoolBytes, spool_.backlog());
  set(Stat::kSpooled, counts.records);
  set(Stat::kSpoolFailures, counts.write_failures + counts.sync_failures);
  set(Stat::kSpoolDamaged, counts.damaged);
}

void Backlog::status(Json& json) const {
  const Spool::Counts& counts = spool_.counts();
  json.text("dir", dir_).flag("failing", fails()).number("bytes", spool_.size()).number("bound", spool_.bound()).number("backlog", spool_.backlog())
      .number("not_loaded", spool_.written() - loaded()).number("not_synced", spool_.written() - spool_.synced()).number("records", counts.records)
      .number("syncs", counts.syncs).number("write_failures", counts.write_failures).number("sync_failures", counts.sync_failures)
      .number("damaged", counts.damaged).number("damaged_bytes", counts.damaged_bytes).number("torn_bytes", counts.torn_bytes).number("uncertain", counts.uncertain);
}

}  // namespace relay::redis

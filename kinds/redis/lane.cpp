// SPDX-License-Identifier: Apache-2.0
// Lane: see the picture in lane.h.
#include "kinds/redis/lane.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "kinds/redis/redis.h"
#include "lib/check.h"
#include "lib/log.h"

namespace relay::redis {
namespace {

constexpr uint64_t kSyncBytes = 1024 * 1024;   // commands of clients who wait; one that is longer goes alone
constexpr uint64_t kNoBound = uint64_t{1} << 40;  // other than that, and queue-size, which is for what all lanes owe
constexpr size_t kLongestError = 16 * 1024;    // longer ones go through unread
constexpr size_t kLongestHead = 512;           // of a reply that only is compared
constexpr Delay kSuspicion{1000};              // so long without a word, and a cluster may have changed
constexpr Delay kLastPatience{1000};           // with a server that is no more to be used
constexpr uint8_t kMostRepeats = 8;
constexpr uint64_t kPiece = 64 * 1024;         // of what must not be repeated
constexpr uint64_t kGathered = 256 * 1024;     // of what nobody waits for, before it goes out behind what is under way
constexpr uint64_t kLongestShown = 4096;       // of a command, for the log and for what is known of its key
constexpr std::string_view kLost = "connection to the server was lost; the command may have been executed";
constexpr std::string_view kSilent = "no answer from the server";

void cut(Queue::Spans& spans, uint64_t size) {
  for (auto& span : spans) {
    span = span.first(std::min<uint64_t>(size, span.size()));
    size -= span.size();
  }
}

bool is_no_database(std::string_view refusal) { return refusal.starts_with("-ERR DB index is out of range") || refusal.starts_with("-ERR SELECT is not allowed"); }

}  // namespace

std::string_view made_up(Made made) {
  switch (made) {
    case Made::kOk: return "+OK\r\n";
    case Made::kOne: return ":1\r\n";
    case Made::kPong: return "+PONG\r\n";
    case Made::kNone: break;
  }
  return {};
}

Lane::Lane(RedisRelay& relay, uint32_t id, Key key)
    : relay_(relay), id_(id), key_(std::move(key)), own_login_(key_.setting.login == relay.setting().login), link_(relay, *this),
      retry_(relay.loop(), *this), patience_(relay.loop(), *this), pause_(relay.config().dial.retry_min), queue_(kNoBound), used_(relay.loop().now()) {}

Lane::~Lane() = default;

// ---- coming and going

void Lane::start() {
  if (link_.state() == Link::State::kClosed && !retry_.armed() && !ended_) dial();
}

void Lane::dial() {
  wait_for_server();
  link_.dial(relay_.plan(key_.node), key_.setting, !relay_.commands().learned());
}

std::string Lane::complaint() const {
  if (link_.ready() && !for_now_.empty()) return "what was answered before waits, for the server says: " + for_now_;
  return "cannot reach the server: " + (link_.trouble().empty() ? std::string("it does not answer") : link_.trouble());
}

void Lane::on_link_ready() {
  hopeless_ = false;
  away_since_ = {};
  patience_.disarm();
  progress_ = relay_.loop().now();
  relay_.lane_ready(*this);
  write();
  relay_.room();
}

void Lane::on_timer(Timer& timer) {
  if (&timer == &retry_) {
    if (link_.state() == Link::State::kClosed) return dial();
    return try_again();
  }
  if (!link_.ready()) {
    if (link_.state() == Link::State::kGreeting) link_.fail("it does not answer");
    if (!ended_) give_up();
    return;
  }
  if (sent_ == queue_.read() || stuck_) return;
  const Delay silence = relay_.loop().now() - progress_;
  const Delay most = retired_ ? std::min(relay_.config().timeout, kLastPatience) : relay_.config().timeout;
  if (silence >= kSuspicion && relay_.cluster() != nullptr) {
    suspicious_ = true;
    relay_.lane_troubled();
  }
  if (silence < most) return patience_.arm(std::min(most - silence, kSuspicion));
  silent_ = true;
  link_.fail(kSilent);
}

// Sees to it that silence is noticed. Not re-armed by each reply: when it fires it looks.
void Lane::watch() {
  if (!patience_.armed()) patience_.arm(std::min(relay_.config().timeout, kSuspicion));
}

void Lane::retire() {
  retired_ = true;
  if (owed() == 0) return end("retired");
  patience_.arm(kLastPatience);
  if (!link_.sends()) scatter();
  else if (!link_.ready()) link_.fail("it is not used any more");  // something may have been sent behind the greeting
}

void Lane::end(std::string_view why) {
  if (std::exchange(ended_, true)) return;
  retry_.disarm();
  patience_.disarm();
  link_.close();
  put_back();
  uint64_t early = 0;
  uint64_t lost = 0;
  relay_.stats().sub(Stat::kUnderWay, entries_.size());
  for (const Entry& entry : std::exchange(entries_, {})) {
    early += entry.early ? 1 : 0;
    if (entry.early && !relay_.early_stays(entry)) ++lost;
    if (Session* session = entry.early ? nullptr : relay_.find(entry.session); session != nullptr) session->deliver_error(entry, kLost);
  }
  if (lost > 0) relay_.early_lost(lost, why);
  relay_.early_queued(-static_cast<int64_t>(early), -static_cast<int64_t>(queue_.size() - sync_bytes_));
  queue_.consume(queue_.size());
  early_done_ = early_put_;
  done_aside_ = late_ = writes_ = wide_writes_ = 0;
  relay_.ended(*this);
}

void Lane::on_link_lost(const std::string& why) {
  if (ended_) return;
  const bool refused = !link_.refusal().empty();
  // There is nobody who could be told of a refusal for what is in a spool; so it is tried again, unless there is no such database.
  const bool for_clients = relay_.is_for_clients(*this) && (!has_spooled() || is_no_database(link_.refusal()));
  // A server that closes what nobody uses is within its rights; and what a client may not be is the client's business.
  const Level level = refused && for_clients ? Level::kDebug : owed() > 0 || refused ? Level::kWarn : Level::kInfo;
  if (log_enabled(level))
    LogLine(level, "server-lost").text("relay", relay_.config().name).text("target", relay_.place(key_.node)).text("error", why).number("owed", owed());
  if (!refused || !for_clients) {
    relay_.stats().add(Stat::kUpstreamsLost);
    relay_.failed(why);
  }
  relay_.lane_troubled();
  stuck_ = suspicious_ = false;
  drop_lost();
  reader_.next();
  reply_ = Reply::kUnknown;
  kept_.clear();
  passed_ = false;
  put_back();
  until_ = kAll;
  if (owed() == 0) held_since_ = {};
  if (retired_) return owed() > 0 ? scatter() : end("lost");
  if (refused && for_clients) {
    relay_.refused(key_.setting, link_.refusal());
    return refuse_all();
  }
  if (owed() == 0 && for_clients) return end("lost");
  const auto jitter = static_cast<int64_t>(relay_.loop().random().below(static_cast<uint64_t>(pause_.count() / 2 + 1)));
  retry_.arm(std::max(Delay{1}, pause_ - Delay{jitter}));
  pause_ = std::min(pause_ * 2, relay_.config().dial.retry_max);
  if (refused || std::exchange(silent_, false)) return give_up();
  wait_for_server();
}

// `timeout` from the loss on, however often it is tried.
void Lane::wait_for_server() {
  const Time now = relay_.loop().now();
  if (away_since_ == Time{}) away_since_ = now;
  patience_.arm(hopeless_ ? relay_.config().timeout : std::max(Delay{1}, relay_.config().timeout - (now - away_since_)));
}

// Whether a record is among what it owes.
bool Lane::has_spooled() const {
  const auto is_spooled = [](const Entry& entry) { return entry.spooled > 0; };
  return std::any_of(entries_.begin(), entries_.end(), is_spooled) || std::any_of(held_.begin(), held_.end(), is_spooled);
}

// ---- what is kept, and what is not

// Keeps those of entries_ that `keep(entry, end)` says to; `end` is where its bytes end in queue_. All go to be sent (again).
template <typename Keep>
void Lane::sift(Keep keep) {
  std::deque<Entry> before = std::exchange(entries_, {});
  uint64_t at = queue_.read();
  uint64_t dropped = 0;
  std::vector<std::pair<uint64_t, uint64_t>> pieces;
  for (Entry& entry : before) {
    const uint64_t begin = at;
    at += entry.size;
    if (keep(entry, at)) {
      entries_.push_back(entry);
      pieces.emplace_back(begin, entry.size);
      continue;
    }
    dropped += entry.size;
    relay_.stats().sub(Stat::kUnderWay);
    if (entry.early) early_is_done();
    if (entry.early) relay_.early_queued(-1, -static_cast<int64_t>(entry.size));
    else sync_is_done(entry);
  }
  if (dropped > 0) {
    forget_all();
    Queue all(queue_.bound());
    std::swap(all, queue_);
    CHECK(queue_.reserve(all.size() - dropped));
    for (const auto& [begin, size] : pieces) {
      uint64_t left = size;
      for (const auto& span : all.from(begin)) {
        const auto piece = span.first(std::min<uint64_t>(left, span.size()));
        append(text_of(piece));
        left -= piece.size();
      }
    }
  }
  sent_ = goal_ = queue_.read();
}

// The connection is gone. What the server cannot have executed, because it has not had it whole, and what may be done twice, is kept
// for the next connection; of the rest nobody knows.
void Lane::drop_lost() {
  bool first = true;
  const uint64_t sent = sent_;
  sift([&](Entry& entry, uint64_t end) {
    const bool front = std::exchange(first, false);
    entry.asking = entry.asked;
    return end > sent || outlives(entry, end, front);
  });
}

// One that was sent.
bool Lane::outlives(Entry& entry, uint64_t end, bool first) {
  if (entry.early) {
    if (entry.repeatable) {
      relay_.stats().add(Stat::kRepeated);
      if (first && ++entry.repeats % kMostRepeats == 0) relay_.early_stuck(copy(end - entry.size, std::min<uint64_t>(entry.size, kLongestShown)), entry.size);
      return true;
    }
    relay_.early_uncertain(copy(end - entry.size, entry.size), "connection to the server was lost");
    relay_.early_done(entry);
    return false;
  }
  Session* session = relay_.find(entry.session);
  if (session == nullptr) return false;
  if (first && passed_ && !session->retract(entry)) {
    session->end("server-lost");  // it has had a part of the reply
    return false;
  }
  // One that makes the server silent, or that it dies of, is not repeated for ever.
  if (entry.repeatable && entry.repeats < (silent_ && relay_.cluster() == nullptr ? 1 : kMostRepeats)) {
    ++entry.repeats;
    relay_.stats().add(Stat::kRepeated);
    return true;
  }
  relay_.stats().add(Stat::kLostCommands);
  session->deliver_error(entry, silent_ ? "no answer from the server within the timeout; the command may have been executed" : kLost);
  return false;
}

void Lane::give_up() {
  hopeless_ = true;
  refuse_waiting();
  relay_.gave_up(*this);
}

// To clients who wait; what was answered stays.
void Lane::refuse_waiting() {
  const std::string why = complaint();
  sift([&](Entry& entry, uint64_t) {
    if (entry.early) return true;
    if (Session* session = relay_.find(entry.session); session != nullptr) session->deliver_error(entry, why);
    return false;
  });
  relay_.flush_touched();
  relay_.room();
}

// The server does not let anybody be what this lane is for: that is the answer to all who want to be.
void Lane::refuse_all() {
  const std::string refusal = link_.refusal();
  retired_ = true;  // who hears of it may try again at once
  sift([&](Entry& entry, uint64_t) {
    if (entry.early) return true;
    if (Session* session = relay_.find(entry.session); session != nullptr) {
      session->deliver(entry, refusal);
      session->replied(entry);
    }
    return false;
  });
  relay_.flush_touched();
  end("refused");
}

std::string Lane::copy(uint64_t offset, uint64_t size) {
  std::string out;
  for (const auto& span : queue_.from(offset)) out.append(text_of(span.first(std::min<uint64_t>(size - out.size(), span.size()))));
  return out;
}

void Lane::scatter() {
  put_back();
  std::deque<Entry> all = std::exchange(entries_, {});
  uint64_t at = queue_.read();
  std::vector<std::pair<Entry, std::string>> out;
  for (const Entry& entry : all) {
    out.emplace_back(entry, copy(at, entry.size));
    at += entry.size;
  }
  relay_.stats().sub(Stat::kUnderWay, all.size());
  const auto early = std::count_if(all.begin(), all.end(), [](const Entry& entry) { return entry.early; });
  relay_.early_queued(-early, -static_cast<int64_t>(queue_.size() - sync_bytes_));
  queue_.consume(queue_.size());
  sync_bytes_ = 0;
  sent_ = goal_ = queue_.read();
  early_done_ = early_put_;
  done_aside_ = late_ = writes_ = wide_writes_ = 0;
  relay_.early_moved();
  end("scattered");
  Setting setting = key_.setting;
  if (own_login_) setting.login = {};  // which may be another by now
  for (auto& [entry, bytes] : out) relay_.reroute(entry, bytes, setting);
}

// ---- what goes to the server

// REQUIRES: reserved.
void Lane::append(std::string_view bytes) {
  for (const auto& span : queue_.room()) {
    const size_t n = std::min(bytes.size(), span.size());
    if (n > 0) std::memcpy(span.data(), bytes.data(), n);
    bytes.remove_prefix(n);
    queue_.commit(n);
  }
}

bool Lane::fits(uint64_t size) const {
  return !stuck_ && !full_ && (sync_bytes_ == 0 || sync_bytes_ + size <= kSyncBytes);
}

// Those who wait come when there is room for many: one at a time they would all be woken for each reply.
bool Lane::full() {
  full_ = full_ && sync_bytes_ > kSyncBytes / 2;
  return full_;
}

bool Lane::put(const Entry& entry, std::string_view command) {
  const std::string_view one[] = {command};
  return put(entry, one);
}

bool Lane::put(const Entry& entry, std::span<const std::string_view> pieces) {
  uint64_t size = 0;
  for (const std::string_view piece : pieces) size += piece.size();
  if (stuck_ && !entry.early) return false;
  if (!entry.early && sync_bytes_ + size > kSyncBytes && sync_bytes_ > 0) {
    full_ = true;
    return false;
  }
  start();
  if (!queue_.reserve(size)) return false;
  for (const std::string_view piece : pieces) append(piece);
  used_ = relay_.loop().now();
  if (entries_.empty()) progress_ = used_;
  noted_ = (noted_ && owed() > 0) || (entry.spooled > 0 && !entry.repeatable);
  ++put_;
  CHECK(!ended_);
  entries_.push_back(entry);
  entries_.back().size = static_cast<uint32_t>(size);
  if (entry.early) {
    ++early_put_;
    relay_.early_queued(1, static_cast<int64_t>(size));
  } else {
    sync_bytes_ += size;
    if (!entry.repeatable) ++writes_;
    if (entry.wide) ++wide_writes_;
  }
  relay_.stats().add(Stat::kUnderWay);
  turn();
  return true;
}

// What nobody waits for goes out together, when what went before is answered: each packet wakes who is on its way, and the server.
bool Lane::gathers() const { return sent_ >= goal_ && sync_bytes_ == 0 && sent_ > queue_.read() && queue_.written() - sent_ < kGathered; }

void Lane::hurry() {
  goal_ = queue_.written();
  if (sent_ < goal_) turn();
}

void Lane::turn() {
  if (writing_ || !link_.sends() || gathers()) return;
  writing_ = true;
  link_.again();
}

// So far. Of what must not be repeated the spool is told first, piece by piece: were the process killed then, all of the piece would be
// in doubt.
uint64_t Lane::may_write() {
  const uint64_t all = std::min(queue_.written(), until_);
  if (!noted_) return all;
  uint64_t begin = queue_.read();
  uint64_t first = all;  // where the first of them begins
  uint64_t record = 0;
  for (const Entry& entry : entries_) {
    if (begin >= sent_ + kPiece) break;
    if (begin + entry.size > sent_ && entry.spooled > 0 && !entry.repeatable) {
      first = std::min(first, std::max(begin, sent_));
      record = std::max(record, entry.spooled);
    }
    begin += entry.size;
  }
  return record == 0 || relay_.backlog()->may_send(record) ? std::min(all, begin) : first;
}

void Lane::write() {
  writing_ = false;
  if (!link_.sends() || suspicious_ || gathers()) return;
  goal_ = queue_.written();
  const uint64_t before = sent_;
  for (uint64_t end = may_write(); sent_ < end && link_.writable(); end = may_write()) {
    Queue::Spans spans = queue_.from(sent_);
    if (end < queue_.written()) cut(spans, end - sent_);
    const iovec parts[] = {{spans[0].data(), spans[0].size()}, {spans[1].data(), spans[1].size()}};
    const Result<size_t> n = link_.write(std::span(parts).first(spans[1].empty() ? 1 : 2));
    if (!n.ok()) break;
    sent_ += *n;
  }
  if (sent_ != before) watch();
}

// ---- what comes from it

Lane::Reply Lane::begin_reply(char first, const Entry& entry) const {
  if (first == '>' || entry.asking) return Reply::kDrop;
  if (first == '-' || entry.early) return Reply::kKeep;
  if (relay_.find(entry.session) == nullptr) return Reply::kDrop;
  return goes_again(entry) ? Reply::kAgain : Reply::kPass;
}

size_t Lane::on_link_bytes(std::span<const std::byte> bytes) {
  if (entries_.empty() || (sent_ == queue_.read() && !reader_.begun() && bytes.front() != std::byte{'>'})) {
    // A last word, such as that it is full.
    link_.fail(bytes.front() == std::byte{'-'} ? std::string(text_of(bytes).substr(1, text_of(bytes).find('\r') - 1)) : "a reply that nobody has asked for");
    return 0;
  }
  Entry& entry = entries_.front();
  if (reply_ == Reply::kUnknown) reply_ = begin_reply(static_cast<char>(bytes.front()), entry);
  Session* session = reply_ == Reply::kPass ? relay_.find(entry.session) : nullptr;
  if (session != nullptr) {
    const size_t room = session->room(entry);
    if (room == 0) {
      stuck_ = true;
      session->hold_up(*this);
      return 0;
    }
    bytes = bytes.first(std::min(room, bytes.size()));
  }
  const Result<size_t> n = reader_.feed(bytes);
  if (!n.ok()) {
    link_.fail(n.status().reason());
    return 0;
  }
  progress_ = relay_.loop().now();
  const std::string_view text = text_of(bytes.first(*n));
  if (session != nullptr) {
    session->pass(entry, text);
    passed_ = true;
  } else if (reply_ == Reply::kKeep) {
    kept_.append(entry.early && !reader_.is_error() ? text.substr(0, kLongestHead - std::min(kLongestHead, kept_.size())) : text);
    if (kept_.size() > kLongestError) outgrown(entry);
  }
  if (!reader_.done()) return *n;
  reply_ended(reader_.is_push());
  if (sent_ < queue_.read()) link_.fail("an answer to half a command");  // of which the other half is of no use to it
  return *n;
}

// A client may have written it (in a script), so it is nothing against the server: it goes through, unread. Of what was answered the
// beginning is enough.
void Lane::outgrown(const Entry& entry) {
  if (entry.early) return kept_.resize(kLongestError);
  if (Session* session = relay_.find(entry.session); session != nullptr) session->deliver(entry, kept_);
  kept_.clear();
  passed_ = true;
  reply_ = Reply::kPass;
}

void Lane::reply_ended(bool push) {
  progress_ = relay_.loop().now();
  if (std::exchange(suspicious_, false)) link_.again();
  pause_ = relay_.config().dial.retry_min;
  const Reply how = std::exchange(reply_, Reply::kUnknown);
  const bool error = reader_.is_error();
  reader_.next();
  if (push) return;
  passed_ = false;
  Entry& entry = entries_.front();
  if (entry.asking) {
    entry.asking = false;
    return;
  }
  Session* session = entry.early ? nullptr : relay_.find(entry.session);
  if (error && how == Reply::kKeep) {
    error_came(entry, session);
    kept_.clear();
    return;
  }
  if (entry.early) early_answered(entry);
  if (entry.early ? goes_again(entry) : how == Reply::kAgain) {
    kept_.clear();
    return keep_back();
  }
  wrote_ = wrote_ || !entry.repeatable;
  if (entry.tells_type && !error) told_type(entry);
  const Entry done = entry;
  if (session != nullptr && how == Reply::kKeep) session->deliver(done, kept_);
  kept_.clear();
  done_with_front();
  look_behind(true);
  if (session != nullptr) session->replied(done);
}

void Lane::done_with_front(bool answered) {
  const Entry& entry = entries_.front();
  relay_.stats().sub(Stat::kUnderWay);
  if (entry.early) {
    early_is_done();
    relay_.early_queued(-1, -static_cast<int64_t>(entry.size));
    if (answered) relay_.early_done(entry);
    else relay_.early_moved();
  } else {
    sync_is_done(entry);
  }
  queue_.advance(entry.size);
  entries_.pop_front();
  if (sent_ == queue_.read() && sent_ < queue_.written()) turn();
}

void Lane::error_came(Entry& entry, Session* session) {
  if (relay_.redirect(*this, entry, kept_)) {
    done_with_front(false);
    return look_behind(true);
  }
  if (hold(entry, kept_)) return;
  if (entry.early) early_answered(entry);
  const Entry done = entry;
  done_with_front();
  look_behind(done.scripted || !is_for_now(kept_));
  if (session == nullptr) return;
  session->deliver(done, kept_);
  session->replied(done);
}

// What was answered early has its real answer.
void Lane::early_answered(Entry& entry) {
  const Made expected = std::exchange(entry.expected, Made::kNone);
  const bool error = kept_.starts_with('-');
  if (expected == Made::kNone || kept_ == made_up(expected) || (expected == Made::kPong && !error)) return;
  relay_.early_differs(copy(queue_.read(), std::min<uint64_t>(entry.size, kLongestShown)), error ? kept_ : std::string(), entry.needs, key_.setting.db);
}

// Its key has not the type that it was thought to have.
void Lane::told_type(const Entry& entry) {
  relay_.told_type(copy(queue_.read(), std::min<uint64_t>(entry.size, kLongestShown)), entry.leaves, key_.setting.db);
}

void Lane::resume() {
  stuck_ = false;
  progress_ = relay_.loop().now();
  watch();
  link_.again();
}

void Lane::on_link_read() {
  if (ended_) return;
  if (!full()) relay_.room();
  if (retired_ && owed() == 0) end("retired");
}

void Lane::status(Json& json) const {
  const std::string_view names[] = {"idle", "dialing", "greeting", "ready"};
  json.text("state", retry_.armed() && link_.state() == Link::State::kClosed ? "pausing" : names[static_cast<size_t>(link_.state())]).flag("private", false)
      .text("target", relay_.place(key_.node)).number("db", key_.setting.db).number("protocol", key_.setting.protocol).number("owed", owed())
      .number("queued_bytes", queue_.size() + held_bytes_.size()).number("early", early_put_ - early_done_);
}

}  // namespace relay::redis

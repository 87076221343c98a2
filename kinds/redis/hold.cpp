// SPDX-License-Identifier: Apache-2.0
// Lane: what to do when the server is not able to do things for now (it loads its data, a script keeps it busy, …). The command that it has refused
// and those behind it wait; those that were sent behind it already, and were done, go again in their order, if they may.
//
//   refused ─► nothing more is sent ─► what was sent is answered ─► pause ─► the first goes alone ─► done: all go
//                                                                     ▲           │ refused
//                                                                     └───────────┘
#include <algorithm>
#include <utility>

#include "kinds/redis/lane.h"
#include "kinds/redis/redis.h"

namespace relay::redis {
namespace {

constexpr Delay kHold{50};  // before what was held is tried again

bool begins_with(std::string_view text, std::initializer_list<std::string_view> words) {
  return std::any_of(words.begin(), words.end(), [text](std::string_view word) { return text.starts_with(word); });
}

// Not done either, but that may last: a client who waits is told at once, and can do something about it (SCRIPT KILL). What was answered waits.
bool is_for_long(std::string_view error) { return begins_with(error, {"-BUSY ", "-MISCONF ", "-NOREPLICAS "}); }

}  // namespace

bool Lane::is_for_now(std::string_view error) {
  return begins_with(error, {"-LOADING ", "-MASTERDOWN ", "-CLUSTERDOWN ", "-TRYAGAIN ", "-ERR max number of clients reached"});
}

// Whether an error is one that goes by: then the command waits for that, and no more are sent.
bool Lane::hold(Entry& entry, std::string_view error) {
  if (!entry.early && relay_.find(entry.session) == nullptr) return false;
  const bool demoted = error.starts_with("-READONLY ") && (wrote_ || entry.early);
  const bool refused = !entry.scripted && (demoted || is_for_now(error) || (entry.early && is_for_long(error)));
  if (!refused) {
    if (!goes_again(entry)) return false;
    keep_back();
    return true;
  }
  const Time now = relay_.loop().now();
  if (held_since_ == Time{}) held_since_ = now;
  if (!entry.early && now - held_since_ >= relay_.config().timeout) return false;
  for_now_ = error.substr(1, error.find('\r') - 1);
  relay_.failed(for_now_);
  relay_.stats().add(Stat::kHeld);
  demoted_ = demoted_ || demoted;
  if (held_.empty() && sent_ == queue_.read() + entry.size) {
    sent_ = until_ = queue_.read();  // the only one that was sent: it stays where it is
    entry.asking = entry.asked;
  } else {
    if (held_.empty()) until_ = end_of_command(sent_);
    keep_back();
  }
  if (!retry_.armed()) retry_.arm(kHold);
  return true;
}

// What was done behind a command that is held: once that has been done it must be done again, or would be undone; and what was read then did not
// see that. Of what may not be done twice, nothing can be mended.
bool Lane::goes_again(const Entry& entry) const { return !held_.empty() && entry.repeatable; }

// The command at the front is to be sent again.
void Lane::keep_back() {
  const Entry& entry = entries_.front();
  uint64_t left = entry.size;
  for (const auto& span : queue_.front()) {
    const auto piece = span.first(std::min<uint64_t>(left, span.size()));
    held_bytes_.append(text_of(piece));
    left -= piece.size();
  }
  if (!entry.early) sync_bytes_ -= entry.size;
  held_.push_back(entry);
  held_.back().asking = entry.asked;
  queue_.advance(entry.size);
  entries_.pop_front();
}

// What is held goes to the front of the queue. All is to be sent (again).
void Lane::put_back() {
  if (held_.empty()) return;
  forget_all();
  std::deque<Entry> rest = std::exchange(entries_, {});
  Queue behind(queue_.bound());
  std::swap(behind, queue_);
  const std::string bytes = std::exchange(held_bytes_, {});
  entries_ = std::exchange(held_, {});
  for (const Entry& entry : entries_) {
    if (entry.early) ++late_;
    else sync_bytes_ += entry.size;
  }
  if (late_ == 0) early_done_ += std::exchange(done_aside_, 0);
  CHECK(queue_.reserve(bytes.size() + behind.size()));
  append(bytes);
  for (const auto& span : behind.front()) append(text_of(span));
  entries_.insert(entries_.end(), rest.begin(), rest.end());
  sent_ = goal_ = queue_.read();
}

// One command goes ahead, once those that were sent behind the first refusal are answered; the others when the server has done that one.
void Lane::try_again() {
  if (!link_.ready()) return;
  if (sent_ > queue_.read()) return retry_.arm(kHold);
  if (retired_) return scatter();  // others may take it
  // A server that is none to write to any more: its name may lead to another by now.
  if (std::exchange(demoted_, false)) return link_.fail("the server has become a replica");
  put_back();
  const bool long_ago = relay_.loop().now() - held_since_ >= relay_.config().timeout;
  if (long_ago && has_early() && !hopeless_) {
    hopeless_ = true;
    refuse_waiting();
  }
  // Without any that was answered all go: each client gets its own refusal.
  until_ = entries_.empty() || (long_ago && !has_early()) ? kAll : queue_.read() + entries_.front().size;
  write();
}

// A command that was sent is done with: does the server do things again? Else what is left is tried again, from its front on.
void Lane::look_behind(bool works) {
  if (!held_.empty() || held_since_ == Time{}) return;
  if (works) go_on();
  else if (!retry_.armed()) retry_.arm(kHold);
}

// The server does things again.
void Lane::go_on() {
  held_since_ = {};
  for_now_.clear();
  until_ = kAll;
  if (std::exchange(hopeless_, false)) relay_.room();
  turn();
}

void Lane::sync_is_done(const Entry& entry) {
  sync_bytes_ -= entry.size;
  if (!entry.repeatable) --writes_;
  if (entry.wide) --wide_writes_;
}

void Lane::early_is_done() {
  if (held_.empty()) {
    ++early_done_;
    if (late_ > 0 && --late_ == 0) early_done_ += std::exchange(done_aside_, 0);
  } else {
    ++done_aside_;
  }
  if (early_put_ - early_done_ != done_aside_) return;
  early_done_ = early_put_;
  done_aside_ = late_ = 0;
}

// Where the command ends of which `offset` is in the middle, or at the end.
uint64_t Lane::end_of_command(uint64_t offset) const {
  uint64_t end = queue_.read();
  for (size_t i = 0; i < entries_.size() && end < offset; ++i) end += entries_[i].size;
  return end;
}

}  // namespace relay::redis

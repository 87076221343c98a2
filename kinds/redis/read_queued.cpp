// SPDX-License-Identifier: Apache-2.0
// Lane, RedisRelay, Session: readQueued. A GET is answered from a lane's queue, if what was done last to its key is a SET there that the
// server has not answered. What a client may then see is what it would see if the server had done that SET already, so a SET is remembered
// only while nothing else that may write the same data is under way beside its lane, and forgotten when that begins:
//
//   a write behind it, on its lane        its keys are forgotten; a script's, or where they cannot be told, all
//   a write over another lane             the same; and while it is under way nothing new is remembered beside it
//   a connection of a client's own        for a transaction, or a command that may write strings: all, for as long as it lasts
//   a connection for a client's life      all, when it begins; what it writes later is as if another program wrote it
#include <algorithm>
#include <utility>

#include "kinds/redis/redis.h"
#include "kinds/redis/session.h"
#include "lib/text.h"
#include "wire/pack.h"

namespace relay::redis {
namespace {

constexpr uint32_t kLongestRead = 64 * 1024;   // of a command that is remembered, and of what GET answers
constexpr int64_t kLongestLife = int64_t{365} * 24 * 3600 * 1000;


bool is_one_of(std::string_view name, std::initializer_list<std::string_view> words) {
  return std::any_of(words.begin(), words.end(), [name](std::string_view word) { return same_word(name, word); });
}

// Has no keys that can be told, and writes none.
bool writes_nothing(std::string_view name) { return is_one_of(name, {"publish", "spublish", "ping", "echo", "info", "time"}); }

// May write other keys than it names, or those of other databases.
bool writes_anything(std::string_view name) {
  return is_one_of(name, {"eval", "evalsha", "fcall", "flushall", "flushdb", "swapdb", "move", "copy", "migrate", "sort", "replicaof", "slaveof"});
}

// Waits, or reads; what it takes is of a list, a sorted set or a stream, and where it puts it there is no string.
bool writes_no_string(std::string_view name, const Command& command) {
  return command.read_only || is_one_of(name, {"blpop", "brpop", "blmove", "brpoplpush", "blmpop", "bzpopmin", "bzpopmax", "bzmpop", "xread", "xreadgroup", "wait",
                                               "waitaof", "client", "select"});
}

}  // namespace

// ---- Lane

void Lane::remember(std::string_view key, Time until) {
  const uint32_t size = entries_.back().size;
  if (size > kLongestRead) return forget(key);
  if (queued_ == nullptr) queued_ = std::make_unique<Queued>();
  queued_->put(key, {queue_.written() - size, size, until});
}

bool Lane::read_queued(std::string_view key, std::string& value) {
  Queued::Place place;
  if (queued_ == nullptr || !queued_->find(key, place)) return false;
  if (place.at < queue_.read() || relay_.loop().now() >= place.until) return false;  // the server has answered, or it is over
  const std::string command = copy(place.at, place.size);
  std::vector<std::string_view>& words = relay_.scratch();
  split_command(command, words);
  if (words.size() < 3 || words[1] != key) return false;
  value = words[same_word(words[0], "set") ? 2 : 3];
  return true;
}

// ---- RedisRelay

// Whether there is something under way, beside `lane`, that may write its data.
bool RedisRelay::written_beside(const Lane& lane) const {
  if (asides_ > 0) return true;
  return std::any_of(lanes_.begin(), lanes_.end(), [&](const auto& other) {
    if (other.get() == &lane || other->key().node != lane.key().node) return false;
    return other->owes_wide_writes() || (other->key().setting.db == lane.key().setting.db && other->owes_writes());
  });
}

void RedisRelay::forget_queued() {
  for (const auto& lane : lanes_) lane->forget_all();
}

void RedisRelay::forget_queued(std::string_view key, uint32_t db) {
  for (const auto& lane : lanes_)
    if (lane->key().setting.db == db) lane->forget(key);
}

bool RedisRelay::will_write(const Command& command, const std::vector<std::string_view>& words, uint32_t db) {
  if (!config_.read_queued || words.empty() || command.repeatable || writes_nothing(words[0])) return false;
  if (command.keys == nullptr || !command.keys->has_keys() || writes_anything(words[0]) || !find_keys(*command.keys, words, indexes_)) {
    forget_queued();
    return true;
  }
  for (const uint32_t index : indexes_) forget_queued(words[index], db);
  return false;
}

void RedisRelay::wrote_early(Lane& lane, const Early& early, const std::vector<std::string_view>& words) {
  if (!config_.read_queued) return;
  const uint32_t db = lane.key().setting.db;
  if (early.first_key == 0 && !writes_nothing(words[0])) return forget_queued();
  each_key(early, words, [&](std::string_view key) { forget_queued(key, db); });
  if (!early.plain_set || written_beside(lane)) return;
  const int64_t life = early.ttl_ms == 0 ? kLongestLife : std::min(early.ttl_ms, kLongestLife);
  lane.remember(words[early.first_key], env_.loop.now() + Delay{life});
}

void RedisRelay::begin_aside() {
  ++asides_;
  forget_queued();
}

Lane* RedisRelay::queue_of(const Setting& setting, uint32_t node) {
  Setting plain = effective(setting);
  plain.protocol = 2;
  return find_lane({node, std::move(plain)}, 0);
}

// ---- Session

// Answers the command at the front, if it is a GET of what waits for the server. False: it must ask.
bool Session::read_queued() {
  if (!relay_.config().read_queued || !same_word(word(0), "get") || args().size() != 2) return false;
  const std::string key(word(1));
  Lane* lane = relay_.queue_of(setting_, node_);
  std::string value;
  if (lane == nullptr || !lane->read_queued(key, value)) return false;
  std::string reply;
  append_bulk(reply, value);
  if (const PackRules& rules = relay_.config().pack; rules.any_unpacking()) {
    std::string out;
    Unpacker(rules).feed(std::as_bytes(std::span(reply)), out);
    reply = std::move(out);
  }
  if (reply.size() > kLongestRead) return false;
  relay_.stats().add(Stat::kReadQueued);
  answer(reply);
  consumed();
  return true;
}

// What the command at the front does over the client's own connection, none of the lanes will know.
void Session::note_own(Pin pin) {
  if (!relay_.config().read_queued) return;
  if (pin == Pin::kLife) {
    end_aside();
    return relay_.forget_queued();
  }
  if (aside_ || (pin == Pin::kCommand && writes_no_string(word(0), relay_.commands().find(word(0))))) return;
  aside_ = true;
  relay_.begin_aside();
}

void Session::end_aside() {
  if (std::exchange(aside_, false)) relay_.end_aside();
}

}  // namespace relay::redis

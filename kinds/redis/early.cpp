// SPDX-License-Identifier: Apache-2.0
// EarlyTable: the table itself, and what the server would say of arguments. The server's parsers are read strictly: what only some versions of it
// take (a number with white space, a hexadecimal score, an option given twice) waits for it.
#include "kinds/redis/early.h"

#include <array>
#include <charconv>
#include <cmath>
#include <optional>

#include "lib/text.h"

namespace relay::redis {
namespace {

using Args = std::span<const std::string_view>;

constexpr int64_t kFarthest = int64_t{1} << 62;    // milliseconds; with any clock of our days added it is still an int64_t
constexpr int64_t kLongest = int64_t{512} << 20;   // of a string: proto-max-bulk-len as it comes

// How the arguments are looked at, beyond their number.
enum class Check : uint8_t {
  kNone,
  kFlush,        // [ASYNC | SYNC]
  kSet,
  kSetSeconds,   // SETEX
  kSetMillis,    // PSETEX
  kKeyPairs,     // MSET k v …
  kFieldPairs,   // HSET k f v …
  kScores,       // ZADD k score member …
  kPlaces,       // GEOADD k longitude latitude member …
  kSeconds,      // EXPIRE, EXPIREAT
  kMillis,
  kInteger2,     // argument 2 is one
  kInteger3,
  kIntegers23,
  kDecrement,
  kOffset,       // SETRANGE
  kBit,
  kInsert,       // LINSERT
  kBitop,
  kScoreRange,
  kLexRange,
  kIds2,         // stream IDs from argument 2 on
  kIds3,
};

struct Row {
  std::string_view name;  // lower case
  int8_t arity;           // as the server says it, with the name; negative: so many or more
  Check check;
  Made reply;
  bool repeatable;
  Holds needs;
  Holds leaves;
  uint8_t first_key;
  int8_t last_key;
  uint8_t key_step;
  bool seed = false;   // early without asynCommands
  bool exact = false;  // the answer is the same whatever the data are
};

constexpr bool kOnce = false;
constexpr bool kAgain = true;

// What may be added by asynCommands answers with a status or an integer, and with no other type; where the integer is the very question
// (SETNX, RENAMENX, MOVE, COPY …) it is not here.
constexpr auto kRows = std::to_array<Row>({
    {"append", 3, Check::kNone, Made::kOne, kOnce, Holds::kString, Holds::kString, 1, 1, 1},
    {"bitop", -4, Check::kBitop, Made::kOne, kOnce, Holds::kString, Holds::kAny, 2, -1, 1},
    {"decr", 2, Check::kNone, Made::kOne, kOnce, Holds::kString, Holds::kString, 1, 1, 1},
    {"decrby", 3, Check::kDecrement, Made::kOne, kOnce, Holds::kString, Holds::kString, 1, 1, 1},
    {"del", -2, Check::kNone, Made::kOne, kAgain, Holds::kAny, Holds::kNothing, 1, -1, 1, true},
    {"expire", 3, Check::kSeconds, Made::kOne, kAgain, Holds::kAny, Holds::kAny, 1, 1, 1, true},
    {"expireat", 3, Check::kSeconds, Made::kOne, kAgain, Holds::kAny, Holds::kAny, 1, 1, 1, true},
    {"flushall", -1, Check::kFlush, Made::kOk, kAgain, Holds::kAny, Holds::kAny, 0, 0, 0, false, true},
    {"flushdb", -1, Check::kFlush, Made::kOk, kAgain, Holds::kAny, Holds::kAny, 0, 0, 0, false, true},
    {"geoadd", -5, Check::kPlaces, Made::kOne, kAgain, Holds::kZset, Holds::kZset, 1, 1, 1},
    {"hdel", -3, Check::kNone, Made::kOne, kAgain, Holds::kHash, Holds::kAny, 1, 1, 1, true},
    {"hincrby", 4, Check::kInteger3, Made::kOne, kOnce, Holds::kHash, Holds::kHash, 1, 1, 1},
    {"hmset", -4, Check::kFieldPairs, Made::kOk, kAgain, Holds::kHash, Holds::kHash, 1, 1, 1, true},
    {"hset", -4, Check::kFieldPairs, Made::kOne, kAgain, Holds::kHash, Holds::kHash, 1, 1, 1, true},
    {"incr", 2, Check::kNone, Made::kOne, kOnce, Holds::kString, Holds::kString, 1, 1, 1},
    {"incrby", 3, Check::kInteger2, Made::kOne, kOnce, Holds::kString, Holds::kString, 1, 1, 1},
    {"linsert", 5, Check::kInsert, Made::kOne, kOnce, Holds::kList, Holds::kAny, 1, 1, 1},
    {"lpush", -3, Check::kNone, Made::kOne, kOnce, Holds::kList, Holds::kList, 1, 1, 1},
    {"lpushx", -3, Check::kNone, Made::kOne, kOnce, Holds::kList, Holds::kAny, 1, 1, 1},
    {"lrem", 4, Check::kInteger2, Made::kOne, kOnce, Holds::kList, Holds::kAny, 1, 1, 1},
    {"lset", 4, Check::kInteger2, Made::kOk, kAgain, Holds::kList, Holds::kAny, 1, 1, 1},
    {"ltrim", 4, Check::kIntegers23, Made::kOk, kOnce, Holds::kList, Holds::kAny, 1, 1, 1},
    {"mset", -3, Check::kKeyPairs, Made::kOk, kAgain, Holds::kAny, Holds::kString, 1, -1, 2, true, true},
    {"persist", 2, Check::kNone, Made::kOne, kAgain, Holds::kAny, Holds::kAny, 1, 1, 1},
    {"pexpire", 3, Check::kMillis, Made::kOne, kAgain, Holds::kAny, Holds::kAny, 1, 1, 1, true},
    {"pexpireat", 3, Check::kMillis, Made::kOne, kAgain, Holds::kAny, Holds::kAny, 1, 1, 1, true},
    {"pfadd", -2, Check::kNone, Made::kOne, kAgain, Holds::kString, Holds::kString, 1, 1, 1},
    {"pfmerge", -2, Check::kNone, Made::kOk, kOnce, Holds::kString, Holds::kAny, 1, -1, 1},
    {"ping", 1, Check::kNone, Made::kPong, kAgain, Holds::kAny, Holds::kAny, 0, 0, 0, true, true},
    {"psetex", 4, Check::kSetMillis, Made::kOk, kAgain, Holds::kAny, Holds::kString, 1, 1, 1, true, true},
    {"publish", 3, Check::kNone, Made::kOne, kOnce, Holds::kAny, Holds::kAny, 0, 0, 0},
    {"rename", 3, Check::kNone, Made::kOk, kOnce, Holds::kAny, Holds::kAny, 1, 2, 1},
    {"rpush", -3, Check::kNone, Made::kOne, kOnce, Holds::kList, Holds::kList, 1, 1, 1},
    {"rpushx", -3, Check::kNone, Made::kOne, kOnce, Holds::kList, Holds::kAny, 1, 1, 1},
    {"sadd", -3, Check::kNone, Made::kOne, kAgain, Holds::kSet, Holds::kSet, 1, 1, 1, true},
    {"sdiffstore", -3, Check::kNone, Made::kOne, kOnce, Holds::kSet, Holds::kAny, 1, -1, 1},
    {"set", -3, Check::kSet, Made::kOk, kAgain, Holds::kAny, Holds::kString, 1, 1, 1, true, true},
    {"setbit", 4, Check::kBit, Made::kOne, kAgain, Holds::kString, Holds::kString, 1, 1, 1},
    {"setex", 4, Check::kSetSeconds, Made::kOk, kAgain, Holds::kAny, Holds::kString, 1, 1, 1, true, true},
    {"setrange", 4, Check::kOffset, Made::kOne, kAgain, Holds::kString, Holds::kAny, 1, 1, 1},
    {"sinterstore", -3, Check::kNone, Made::kOne, kOnce, Holds::kSet, Holds::kAny, 1, -1, 1},
    {"smove", 4, Check::kNone, Made::kOne, kOnce, Holds::kSet, Holds::kAny, 1, 2, 1},
    {"srem", -3, Check::kNone, Made::kOne, kAgain, Holds::kSet, Holds::kAny, 1, 1, 1},
    {"sunionstore", -3, Check::kNone, Made::kOne, kOnce, Holds::kSet, Holds::kAny, 1, -1, 1},
    {"unlink", -2, Check::kNone, Made::kOne, kAgain, Holds::kAny, Holds::kNothing, 1, -1, 1},
    {"xack", -4, Check::kIds3, Made::kOne, kAgain, Holds::kStream, Holds::kAny, 1, 1, 1},
    {"xdel", -3, Check::kIds2, Made::kOne, kAgain, Holds::kStream, Holds::kAny, 1, 1, 1},
    {"zadd", -4, Check::kScores, Made::kOne, kAgain, Holds::kZset, Holds::kZset, 1, 1, 1, true},
    {"zrem", -3, Check::kNone, Made::kOne, kAgain, Holds::kZset, Holds::kAny, 1, 1, 1},
    {"zremrangebylex", 4, Check::kLexRange, Made::kOne, kAgain, Holds::kZset, Holds::kAny, 1, 1, 1},
    {"zremrangebyrank", 4, Check::kIntegers23, Made::kOne, kOnce, Holds::kZset, Holds::kAny, 1, 1, 1},
    {"zremrangebyscore", 4, Check::kScoreRange, Made::kOne, kAgain, Holds::kZset, Holds::kAny, 1, 1, 1},
});

// What else Redis 7 has, so that a slip of the pen is told from a command that cannot be early. With a space before and behind each.
constexpr std::string_view kOthers =
    " acl asking auth bgrewriteaof bgsave bitcount bitfield bitfield_ro bitpos blmove blmpop blpop brpop brpoplpush bzmpop bzpopmax bzpopmin client cluster"
    " command config copy dbsize debug discard dump echo eval eval_ro evalsha evalsha_ro exec exists expiretime failover fcall fcall_ro function geodist"
    " geohash geopos georadius georadius_ro georadiusbymember georadiusbymember_ro geosearch geosearchstore get getbit getdel getex getrange getset hello"
    " hexists hget hgetall hincrbyfloat hkeys hlen hmget hrandfield hscan hsetnx hstrlen hvals incrbyfloat info keys lastsave latency lcs lindex llen lmove"
    " lmpop lolwut lpop lpos lrange memory mget migrate module monitor move msetnx multi object pexpiretime pfcount pfdebug pfselftest psubscribe psync pttl"
    " pubsub punsubscribe quit randomkey readonly readwrite renamenx replconf replicaof reset restore restore-asking role rpop rpoplpush save scan scard"
    " script sdiff select setnx shutdown sinter sintercard sismember slaveof slowlog smembers smismember sort sort_ro spop spublish srandmember sscan"
    " ssubscribe strlen subscribe substr sunion sunsubscribe swapdb sync time touch ttl type unsubscribe unwatch wait waitaof watch xadd xautoclaim xclaim"
    " xgroup xinfo xlen xpending xrange xread xreadgroup xrevrange xsetid xtrim zcard zcount zdiff zdiffstore zincrby zinter zintercard zinterstore"
    " zlexcount zmpop zmscore zpopmax zpopmin zrandmember zrange zrangebylex zrangebyscore zrangestore zrank zrevrange zrevrangebylex zrevrangebyscore"
    " zrevrank zscan zscore zunion zunionstore ";

// A name folded to lower case in two words. Only letters fold to letters under | 0x20, and names of the table have nothing else.
constexpr size_t kLongestName = 16;
struct Folded {
  uint64_t low = 0;
  uint64_t high = 0;
  size_t size = 0;
  bool operator==(const Folded&) const = default;
};

// REQUIRES: at most kLongestName.
constexpr Folded fold(std::string_view name) {
  Folded out{0, 0, name.size()};
  for (size_t i = 0; i < name.size(); ++i) {
    const uint64_t c = static_cast<uint64_t>(static_cast<unsigned char>(name[i])) | 0x20;
    if (i < 8) out.low |= c << (8 * i);
    else out.high |= c << (8 * (i - 8));
  }
  return out;
}

// Open addressing; built by the compiler.
constexpr size_t kSlots = 256;
constexpr uint8_t kFree = 0xff;
static_assert(kRows.size() <= 64 && kRows.size() < kFree);

constexpr size_t slot_of(const Folded& name) { return ((name.low ^ (name.high * 31) ^ name.size) * 0x9e3779b97f4a7c15U) >> 56; }

struct Slots {
  std::array<Folded, kRows.size()> names{};
  std::array<uint8_t, kSlots> rows{};
};

constexpr Slots make_index() {
  Slots out;
  out.rows.fill(kFree);
  for (size_t i = 0; i < kRows.size(); ++i) {
    out.names[i] = fold(kRows[i].name);
    size_t at = slot_of(out.names[i]);
    while (out.rows[at] != kFree) at = (at + 1) % kSlots;
    out.rows[at] = static_cast<uint8_t>(i);
  }
  return out;
}
constexpr Slots kIndex = make_index();

// Of no such row: kRows.size().
size_t row_of(std::string_view text) {
  if (text.size() > kLongestName) return kRows.size();
  const Folded name = fold(text);
  for (size_t at = slot_of(name); kIndex.rows[at] != kFree; at = (at + 1) % kSlots)
    if (kIndex.names[kIndex.rows[at]] == name) return kIndex.rows[at];
  return kRows.size();
}

bool same_word(std::string_view text, std::string_view lower) {
  if (text.size() != lower.size()) return false;
  for (size_t i = 0; i < text.size(); ++i)
    if ((static_cast<unsigned char>(text[i]) | 0x20) != static_cast<unsigned char>(lower[i])) return false;
  return true;
}

// As the server's string2ll: no plus, no leading zero, no white space.
std::optional<int64_t> integer(std::string_view text) {
  const std::string_view digits = text.starts_with('-') ? text.substr(1) : text;
  if (digits.empty() || (digits[0] == '0' && text.size() > 1)) return std::nullopt;
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// A score. Of what strtod takes, the decimal numbers and infinities; one too near to zero or too far from it is refused by the server too.
std::optional<double> real(std::string_view text) {
  if (text.size() > 1 && text[0] == '+' && text[1] != '-') text.remove_prefix(1);
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || std::isnan(value)) return std::nullopt;
  return value;
}

// How long from now, or when: a time that stays an int64_t of milliseconds.
std::optional<int64_t> millis(std::string_view text, int64_t unit) {
  const auto value = integer(text);
  if (!value || *value > kFarthest / unit || *value < -kFarthest / unit) return std::nullopt;
  return *value * unit;
}

std::optional<int64_t> lifetime(std::string_view text, int64_t unit) {
  const auto value = millis(text, unit);
  return value && *value > 0 ? value : std::nullopt;
}

bool in_range(std::string_view text, double limit) {
  const auto value = real(text);
  return value && std::abs(*value) <= limit;
}

bool is_score_bound(std::string_view text) { return real(text.starts_with('(') ? text.substr(1) : text).has_value(); }

bool is_lex_bound(std::string_view text) { return text == "-" || text == "+" || text.starts_with('(') || text.starts_with('['); }

bool is_unsigned(std::string_view text) { return !text.starts_with('-') && (text.size() == 1 || !text.starts_with('0')) && parse_integer(text); }

// 1526985054069 or 1526985054069-0; a part above int64_t's is left to the server.
bool is_stream_id(std::string_view text) {
  const size_t dash = text.find('-');
  return is_unsigned(text.substr(0, dash)) && (dash == std::string_view::npos || is_unsigned(text.substr(dash + 1)));
}

bool set_for(Early& early, uint8_t value, std::optional<int64_t> ttl_ms) {
  if (!ttl_ms) return false;
  early.plain_set = true;
  early.value = value;
  early.ttl_ms = *ttl_ms;
  return true;
}

// SET key value [EX seconds | PX milliseconds | EXAT when | PXAT when | KEEPTTL]; anything more asks a question.
bool check_set(Args args, Early& early) {
  if (args.size() == 3) return set_for(early, 2, 0);
  if (args.size() == 4) return same_word(args[3], "keepttl");
  if (args.size() != 5) return false;
  if (same_word(args[3], "ex")) return set_for(early, 2, lifetime(args[4], 1000));
  if (same_word(args[3], "px")) return set_for(early, 2, lifetime(args[4], 1));
  // May be over already: then the key is gone.
  early.leaves = Holds::kAny;
  if (same_word(args[3], "exat")) return lifetime(args[4], 1000).has_value();
  return same_word(args[3], "pxat") && lifetime(args[4], 1);
}

bool check_scores(Args args) {
  if (args.size() % 2 != 0) return false;
  for (size_t i = 2; i < args.size(); i += 2)
    if (!real(args[i])) return false;
  return true;
}

bool check_places(Args args) {
  if (args.size() % 3 != 2) return false;
  for (size_t i = 2; i < args.size(); i += 3)
    if (!in_range(args[i], 180) || !in_range(args[i + 1], 85.05112878)) return false;
  return true;
}

bool check_offset(Args args, Early& early) {
  const auto offset = integer(args[2]);
  if (!offset || *offset < 0 || *offset > kLongest - static_cast<int64_t>(args[3].size())) return false;
  if (!args[3].empty()) early.leaves = Holds::kString;
  return true;
}

bool check_bitop(Args args) {
  if (same_word(args[1], "not")) return args.size() == 4;
  return same_word(args[1], "and") || same_word(args[1], "or") || same_word(args[1], "xor");
}

bool check_ids(Args args, size_t first) {
  for (size_t i = first; i < args.size(); ++i)
    if (!is_stream_id(args[i])) return false;
  return true;
}

bool check_bit(Args args) {
  const auto offset = integer(args[2]);
  return offset && *offset >= 0 && *offset < kLongest * 8 && (args[3] == "0" || args[3] == "1");
}

bool check_decrement(Args args) {
  const auto by = integer(args[2]);
  return by && *by != INT64_MIN;
}

// Whether the server will take the arguments, as far as that does not depend on the data. REQUIRES: their number is right.
bool takes(Check check, Args args, Early& early) {
  switch (check) {
    case Check::kNone: return true;
    case Check::kFlush: return args.size() == 1 || (args.size() == 2 && (same_word(args[1], "async") || same_word(args[1], "sync")));
    case Check::kSet: return check_set(args, early);
    case Check::kSetSeconds: return set_for(early, 3, lifetime(args[2], 1000));
    case Check::kSetMillis: return set_for(early, 3, lifetime(args[2], 1));
    case Check::kKeyPairs: return args.size() % 2 == 1;
    case Check::kFieldPairs: return args.size() % 2 == 0;
    case Check::kScores: return check_scores(args);
    case Check::kPlaces: return check_places(args);
    case Check::kSeconds: return millis(args[2], 1000).has_value();
    case Check::kMillis: return millis(args[2], 1).has_value();
    case Check::kInteger2: return integer(args[2]).has_value();
    case Check::kInteger3: return integer(args[3]).has_value();
    case Check::kIntegers23: return integer(args[2]) && integer(args[3]);
    case Check::kDecrement: return check_decrement(args);
    case Check::kOffset: return check_offset(args, early);
    case Check::kBit: return check_bit(args);
    case Check::kInsert: return same_word(args[2], "before") || same_word(args[2], "after");
    case Check::kBitop: return check_bitop(args);
    case Check::kScoreRange: return is_score_bound(args[2]) && is_score_bound(args[3]);
    case Check::kLexRange: return is_lex_bound(args[2]) && is_lex_bound(args[3]);
    case Check::kIds2: return check_ids(args, 2);
    case Check::kIds3: return check_ids(args, 3);
  }
  return false;
}

bool right_number(size_t count, int arity) {
  return arity >= 0 ? count == static_cast<size_t>(arity) : count >= static_cast<size_t>(-arity);
}

bool is_other(std::string_view name) {
  return name.find(' ') == std::string_view::npos && kOthers.find(' ' + lower(name) + ' ') != std::string_view::npos;
}

}  // namespace

EarlyTable::EarlyTable() { static_cast<void>(configure({}, false)); }

std::string EarlyTable::configure(std::span<const std::string> more, bool exact) {
  std::bitset<64> on;
  for (size_t i = 0; i < kRows.size(); ++i) on[i] = kRows[i].seed;
  for (const std::string& word : more) {
    const size_t row = row_of(word);
    if (row < kRows.size()) on[row] = true;
    else if (same_word(word, "select")) continue;  // is early anyhow, by the session
    else if (is_other(word)) return quote(word) + " cannot be answered at once: what the reply is, or whether it was done, only the server knows";
    else return quote(word) + " is no command that can be answered at once";
  }
  for (size_t i = 0; i < kRows.size(); ++i) on[i] = on[i] && (!exact || kRows[i].exact);
  on_ = on;
  return {};
}

Early EarlyTable::decide(Args args) const {
  if (args.empty()) return {};
  const size_t at = row_of(args[0]);
  if (at == kRows.size() || !on_[at]) return {};
  const Row& row = kRows[at];
  if (!right_number(args.size(), row.arity)) return {};
  Early early{.reply = row.reply, .repeatable = row.repeatable, .needs = row.needs, .leaves = row.leaves,
              .first_key = row.first_key, .last_key = row.last_key, .key_step = row.key_step};
  if (!takes(row.check, args, early)) return {};
  return early;
}

bool EarlyTable::knows(std::string_view name) const {
  const size_t at = row_of(name);
  return at < kRows.size() && on_[at];
}

}  // namespace relay::redis

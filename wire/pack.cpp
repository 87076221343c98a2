// SPDX-License-Identifier: Apache-2.0
// Packing: two formats, a table of where in a command values are, and a machine that finds strings in replies.
#include "wire/pack.h"

#define ZLIB_CONST  // zlib does not write to its input, and says so
#include <snappy-c.h>
#include <zlib.h>

#include <algorithm>
#include <array>
#include <bit>

namespace relay {
namespace {

constexpr std::string_view kSnappyMark = "$sy$";
constexpr std::string_view kGzipMark = "\x1f\x8b";
constexpr size_t kLeastPacked = 5;                     // shorter, nothing is a packed value
constexpr size_t kLeast = 256;                         // shorter values are not worth it
constexpr uint64_t kMost = uint64_t{1} << 30;          // the libraries count in 32 bits
constexpr uint64_t kMostPending = uint64_t{1} << 40;   // as RespReply has it
constexpr size_t kSnappyRatio = 22;                    // its shortest way to say 64 bytes takes three
constexpr int kGzipWrapper = 16;                       // what zlib adds to the window for a gzip member
constexpr int kLargestWindow = 15;

uint64_t most_of(const PackRules& rules) { return std::min(rules.most, kMost); }

const Bytef* zlib_bytes(const char* at) { return reinterpret_cast<const Bytef*>(at); }
Bytef* zlib_bytes(char* at) { return reinterpret_cast<Bytef*>(at); }

// ---- the formats. They append to `out`, or leave it alone and return false.

bool append_snappy(std::string_view value, std::string& out) {
  const size_t start = out.size() + kSnappyMark.size();
  size_t size = snappy_max_compressed_length(value.size());
  out.append(kSnappyMark).resize(start + size);
  const bool done = snappy_compress(value.data(), value.size(), out.data() + start, &size) == SNAPPY_OK;
  out.resize(done ? start + size : start - kSnappyMark.size());
  return done;
}

// What a block says of its size is believed only if so few bytes could be so many.
bool append_unsnappy(std::string_view packed, uint64_t most, std::string& out) {
  packed.remove_prefix(kSnappyMark.size());
  size_t size = 0;
  if (snappy_uncompressed_length(packed.data(), packed.size(), &size) != SNAPPY_OK) return false;
  if (size > most || size / kSnappyRatio > packed.size()) return false;
  const size_t start = out.size();
  out.resize(start + size);
  const bool done = snappy_uncompress(packed.data(), packed.size(), out.data() + start, &size) == SNAPPY_OK;
  if (!done) out.resize(start);
  return done;
}

// A window and tables no larger than the value can use: else deflate clears a quarter of a megabyte for 256 bytes.
bool append_gzip(std::string_view value, int level, std::string& out) {
  constexpr size_t kLookAhead = 262;  // of its window, deflate keeps so much for itself
  const int window = std::clamp(static_cast<int>(std::bit_width(value.size() + kLookAhead)), 10, kLargestWindow);
  z_stream stream{};
  const auto size = static_cast<int>(sizeof(stream));
  if (deflateInit2_(&stream, level, Z_DEFLATED, window + kGzipWrapper, std::min(window - 6, 8), Z_DEFAULT_STRATEGY, ZLIB_VERSION, size) != Z_OK)
    return false;
  const size_t start = out.size();
  const size_t room = deflateBound(&stream, value.size());
  out.resize(start + room);
  stream.next_in = zlib_bytes(value.data());
  stream.avail_in = static_cast<uInt>(value.size());
  stream.next_out = zlib_bytes(out.data() + start);
  stream.avail_out = static_cast<uInt>(room);
  const bool done = deflate(&stream, Z_FINISH) == Z_STREAM_END;
  out.resize(done ? out.size() - stream.avail_out : start);
  deflateEnd(&stream);
  return done;
}

// What of `out` behind `start` is full gets more room, up to `most` and the one byte that is too many. False: there is that byte.
bool grow(z_stream& stream, std::string& out, size_t start, uint64_t most) {
  constexpr size_t kFirst = 4096;
  const size_t made = out.size() - start;
  if (made > most) return false;
  const size_t more = static_cast<size_t>(std::min<uint64_t>(std::max({made, kFirst, size_t{4} * stream.avail_in}), most + 1 - made));
  out.resize(out.size() + more);
  stream.next_out = zlib_bytes(out.data() + start + made);
  stream.avail_out = static_cast<uInt>(more);
  return true;
}

// Members to the last byte, each with its checksum right. Their own word for how much they are is not asked: it may be wrong.
bool inflate_members(z_stream& stream, std::string& out, size_t start, uint64_t most) {
  for (;;) {
    if (stream.avail_out == 0 && !grow(stream, out, start, most)) return false;
    const int result = inflate(&stream, Z_NO_FLUSH);
    if (result == Z_STREAM_END) {
      if (stream.avail_in == 0) return out.size() - start - stream.avail_out <= most;
      if (inflateReset(&stream) != Z_OK) return false;
    } else if (result != Z_OK && !(result == Z_BUF_ERROR && stream.avail_out == 0)) {
      return false;
    }
  }
}

bool append_gunzip(std::string_view packed, uint64_t most, std::string& out) {
  z_stream stream{};
  if (inflateInit2_(&stream, kLargestWindow + kGzipWrapper, ZLIB_VERSION, static_cast<int>(sizeof(stream))) != Z_OK) return false;
  stream.next_in = zlib_bytes(packed.data());
  stream.avail_in = static_cast<uInt>(packed.size());
  const size_t start = out.size();
  const bool done = inflate_members(stream, out, start, most);
  out.resize(done ? out.size() - stream.avail_out : start);
  inflateEnd(&stream);
  return done;
}

bool append_unpacked(const PackRules& rules, std::string_view packed, std::string& out) {
  if (packed.starts_with(kSnappyMark)) return rules.unsnappy && append_unsnappy(packed, most_of(rules), out);
  return rules.gunzip && packed.starts_with(kGzipMark) && append_gunzip(packed, most_of(rules), out);
}

// ---- commands

constexpr size_t kLongestName = 12;

// A command's name in lower case; longer ones than are in the tables below are empty.
class Name {
 public:
  explicit Name(std::string_view name) : size_(name.size() > kLongestName ? 0 : name.size()) {
    for (size_t i = 0; i < size_; ++i) text_[i] = name[i] >= 'A' && name[i] <= 'Z' ? static_cast<char>(name[i] - 'A' + 'a') : name[i];
  }
  std::string_view view() const { return {text_.data(), size_}; }

 private:
  std::array<char, kLongestName> text_{};
  size_t size_;
};

// Which arguments are values: the first of them, and perhaps each second one from there on.
struct Values {
  std::string_view name;
  size_t first;
  bool pairs;
};

constexpr auto kValues = std::to_array<Values>({
    {"getset", 2, false}, {"hmset", 3, true}, {"hset", 3, true}, {"hsetnx", 3, false}, {"mset", 2, true},
    {"msetnx", 2, true}, {"psetex", 3, false}, {"set", 2, false}, {"setex", 3, false}, {"setnx", 2, false},
});

// Their replies are names (of keys and fields), pieces (GETRANGE), serialized values (DUMP), comparisons of bytes (LCS), the client's own words
// (ECHO), others' words (MONITOR, SUBSCRIBE), or about the server.
constexpr auto kNotUnpacked = std::to_array<std::string_view>({
    "acl", "auth", "client", "cluster", "command", "config", "debug", "dump", "echo", "failover", "function", "getrange", "hello", "hkeys",
    "info", "keys", "latency", "lcs", "lolwut", "memory", "migrate", "module", "monitor", "object", "ping", "psubscribe", "psync", "pubsub",
    "punsubscribe", "randomkey", "replconf", "role", "scan", "script", "slowlog", "ssubscribe", "subscribe", "substr", "sunsubscribe", "sync",
    "unsubscribe",
});
static_assert(std::is_sorted(kNotUnpacked.begin(), kNotUnpacked.end()));
static_assert(std::all_of(kNotUnpacked.begin(), kNotUnpacked.end(), [](std::string_view name) { return name.size() <= kLongestName; }));

const Values* values_of(std::string_view command_name) {
  const Name name(command_name);
  for (const Values& one : kValues)
    if (one.name == name.view()) return &one;
  return nullptr;
}

// Would somebody who reads it take it for packed, as far as we can know of readers? Of gzip we say so only where we take it off: users
// have gzip data of their own.
bool looks_packed(const PackRules& rules, std::string_view value) {
  if (value.starts_with(kSnappyMark)) return rules.snappy || rules.unsnappy;
  return rules.gunzip && value.starts_with(kGzipMark);
}

// Into `packed`. False: the value goes as it is.
bool pack_value(const PackRules& rules, std::string_view value, std::string& packed) {
  const bool must = looks_packed(rules, value);
  if ((!must && value.size() < kLeast) || value.size() > most_of(rules)) return false;
  if (rules.gzip != 0 && !must && value.starts_with(kGzipMark)) return false;  // the reader could not tell its own from ours
  packed.clear();
  if (!(rules.gzip != 0 ? append_gzip(value, rules.gzip, packed) : append_snappy(value, packed))) return false;
  return packed.size() <= (must ? most_of(rules) : value.size() - 1);
}

void append_head(char type, size_t n, std::string& out) {
  out += type;
  out.append(std::to_string(n)).append("\r\n");
}

void append_argument(std::string_view text, std::string& out) {
  append_head('$', text.size(), out);
  out.append(text).append("\r\n");
}

}  // namespace

bool packs(std::string_view command_name) { return values_of(command_name) != nullptr; }

bool unpacks(std::string_view command_name) {
  return !std::binary_search(kNotUnpacked.begin(), kNotUnpacked.end(), Name(command_name).view());
}

bool pack_command(const PackRules& rules, std::span<const std::string_view> args, std::string& out) {
  const Values* values = rules.any_packing() && !args.empty() ? values_of(args[0]) : nullptr;
  if (values == nullptr || args.size() <= values->first) return false;
  if (values->pairs && (args.size() - values->first) % 2 == 0) return false;
  const size_t end = values->pairs ? args.size() : values->first + 1;
  std::string packed;
  size_t written = 0;  // arguments
  for (size_t i = values->first; i < end; i += 2) {
    if (!pack_value(rules, args[i], packed)) continue;
    if (written == 0) append_head('*', args.size(), out);
    for (; written < i; ++written) append_argument(args[written], out);
    append_argument(packed, out);
    ++written;
  }
  if (written == 0) return false;
  for (; written < args.size(); ++written) append_argument(args[written], out);
  return true;
}

// ---- replies

// The head of a string is kept with it: it says how long it is, and changes with it.
bool Unpacker::withholds() const {
  return here_ == '$' && (state_ == State::kNumber || state_ == State::kMark || state_ == State::kHeld);
}

Unpacker::State Unpacker::value_ended() {
  --pending_;
  if (pending_ <= loud_at_) loud_at_ = UINT64_MAX;
  if (pending_ == 0) pending_ = 1;
  return State::kType;
}

Unpacker::State Unpacker::begin(char c) {
  here_ = c;
  number_ = {};
  switch (c) {
    case '+': case '-': case ':': case ',': case '#': case '(': case '_': return State::kLine;
    case '$': case '!': case '=': case '*': case '~': case '>': case '%': case '|': return State::kNumber;
    default: return State::kBroken;
  }
}

Unpacker::State Unpacker::aggregate(uint64_t n) {
  if (loud_at_ == UINT64_MAX && n > 0 && (here_ == '>' || here_ == '|')) loud_at_ = here_ == '>' ? pending_ - 1 : pending_;
  pending_ += here_ == '%' || here_ == '|' ? 2 * n : n;
  if (pending_ > kMostPending) return State::kBroken;
  return here_ == '|' ? State::kType : value_ended();  // attributes come before a value and are none
}

Unpacker::State Unpacker::counted(RespNumber::State state) {
  if (state == RespNumber::State::kMore) return State::kNumber;
  if (state == RespNumber::State::kBad || number_.value() < -1) return State::kBroken;
  if (number_.value() < 0) return here_ == '|' ? State::kBroken : value_ended();
  const auto n = static_cast<uint64_t>(number_.value());
  if (n > kMostPending) return State::kBroken;
  if (here_ != '$' && here_ != '!' && here_ != '=') return aggregate(n);
  left_ = n;
  if (n == 0) return State::kCr;
  const bool may_be_packed = here_ == '$' && loud_at_ == UINT64_MAX && n >= kLeastPacked && n <= most_of(rules_);
  mark_ = {};
  return may_be_packed ? State::kMark : State::kBulk;
}

// One of a string's first bytes.
Unpacker::State Unpacker::marked(char c) {
  if (mark_.empty() && rules_.unsnappy && c == kSnappyMark.front()) mark_ = kSnappyMark;
  else if (mark_.empty() && rules_.gunzip && c == kGzipMark.front()) mark_ = kGzipMark;
  --left_;
  if (mark_.empty() || c != mark_.front()) return State::kBulk;
  mark_.remove_prefix(1);
  return mark_.empty() ? State::kHeld : State::kMark;
}

// What can be taken at once.
size_t Unpacker::run(std::string_view text) {
  if (state_ == State::kBroken) return text.size();
  if (state_ == State::kLine) {
    const size_t end = text.find('\n');
    if (end == std::string_view::npos) return text.size();
    state_ = value_ended();
    return end + 1;
  }
  const auto n = static_cast<size_t>(std::min<uint64_t>(left_, text.size()));
  left_ -= n;
  if (left_ == 0) state_ = State::kCr;
  return n;
}

// Takes one byte or more off the front of `text`; returns how many.
size_t Unpacker::step(std::string_view text) {
  const char c = text.front();
  switch (state_) {
    case State::kType: state_ = begin(c); return 1;
    case State::kNumber: state_ = counted(number_.feed(c)); return 1;
    case State::kMark: state_ = marked(c); return 1;
    case State::kCr: state_ = c == '\r' ? State::kLf : State::kBroken; return 1;
    case State::kLf: state_ = c == '\n' ? value_ended() : State::kBroken; return 1;
    case State::kLine:
    case State::kHeld:
    case State::kBulk:
    case State::kBroken: break;
  }
  return run(text);
}

// A whole string with its head, but without its CR LF: unpacked if it can be.
void Unpacker::give(std::string_view string, std::string& out) const {
  const size_t start = out.size();
  if (!append_unpacked(rules_, string.substr(string.find('\n') + 1), out)) {
    out.append(string);
    return;
  }
  std::string head;
  append_head('$', out.size() - start, head);
  out.insert(start, head);
}

void Unpacker::feed(std::span<const std::byte> in, std::string& out) {
  const std::string_view text(reinterpret_cast<const char*>(in.data()), in.size());
  size_t given = 0;  // of this piece, what is out or was in held_
  size_t head = 0;   // where in this piece the string begins that is withheld, or goes on
  for (size_t at = 0; at < text.size();) {
    if (state_ == State::kType) head = at;
    const bool withheld = withholds();
    const bool whole = state_ == State::kHeld;
    at += step(text.substr(at));
    if (!withheld || withholds()) continue;
    if (whole) {
      out.append(text.substr(given, head - given));
      if (!held_.empty()) held_.append(text.substr(head, at - head));
      give(held_.empty() ? text.substr(head, at - head) : std::string_view(held_), out);
      given = at;
    } else {
      out.append(held_);  // it was none: its rest goes with what follows
    }
    if (!held_.empty()) held_ = std::string();
  }
  if (!withholds()) head = text.size();
  out.append(text.substr(given, head - given));
  if (state_ == State::kHeld) held_.reserve(held_.size() + (text.size() - head) + static_cast<size_t>(left_));
  held_.append(text.substr(head));
}

}  // namespace relay

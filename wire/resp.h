// SPDX-License-Identifier: Apache-2.0
// RESP, the Redis protocol, versions 2 and 3: where a command or a reply ends, however its bytes are cut. Nothing is copied and nothing is
// kept but a few numbers, so a value of 512 MB costs what one of a byte does.
//
//   bytes ─► RespRequest ─► a command: its size, its number of arguments, where the first of them are
//   bytes ─► RespReply   ─► a reply: its type and its size; what is nested in it is counted, not stacked
//
// What is refused is refused in the server's own words. In one thing this is stricter than the server, which does not look at the
// two bytes behind an argument: here they are CR LF, so that whoever reads the same bytes behind us finds the same commands in them.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "lib/status.h"
#include "lib/text.h"

namespace relay {

// The server's own: proto-max-bulk-len as it comes, PROTO_INLINE_MAX_SIZE, and what a count may be.
struct RespLimits {
  uint32_t args = INT32_MAX;
  uint32_t bulk = uint32_t{512} << 20;
  uint32_t line = 64 * 1024;  // an inline command
};

// A line that is a number, as the server reads it: no sign but a minus, no leading zeros, CR LF.
class RespNumber {
 public:
  enum class State : uint8_t { kMore, kDone, kBad };
  State feed(char c);
  int64_t value() const { return negative_ ? -value_ : value_; }

 private:
  int64_t value_ = 0;
  uint8_t digits_ = 0;
  bool negative_ = false;
  bool cr_ = false;
};

class RespRequest {
 public:
  static constexpr size_t kArgs = 8;  // so many are remembered
  struct Arg {
    uint32_t at;  // from the command's first byte; one that begins behind 4 GiB is not remembered
    uint32_t size;
  };

  explicit RespRequest(const RespLimits& limits = {}) : limits_(limits) {}

  // Takes bytes up to the end of a command and returns how many; done() then, until next(). kInvalid: it is none; the reason is
  // what the server would say, and nothing more can be read.
  Result<size_t> feed(std::span<const std::byte> bytes);
  bool done() const { return state_ == State::kDone; }
  bool begun() const { return size_ > 0; }
  void next();
  // What the server would say of a failure, with the byte that it met where the reason of the Status cannot have it.
  std::string complaint(const Status& why) const;

  uint64_t size() const { return size_; }    // what it has taken of the command
  bool is_inline() const { return inline_; }  // a line of words: split_words() has them
  uint64_t argc() const { return argc_; }    // announced; 0, when done: an empty command, which nobody answers
  // Those of the first kArgs that have begun; the last may not be there with all its bytes.
  std::span<const Arg> args() const { return {args_.data(), known_}; }

  // A whole inline command in its words, quotes resolved. Nothing: its quotes do not match.
  static std::optional<std::vector<std::string>> split_words(std::string_view line);

 private:
  enum class State : uint8_t { kStart, kInline, kCount, kDollar, kLength, kBulk, kCr, kLf, kDone, kFailed };
  Status take_line(std::string_view text, size_t& at);
  Status take_number(std::string_view text, size_t& at);
  Status take_char(std::string_view text, size_t& at);
  Status step(char c);
  Status counted(RespNumber::State state);
  Status sized(RespNumber::State state);
  Status fail(const char* why);

  RespLimits limits_;
  uint64_t size_ = 0;
  uint64_t argc_ = 0;
  uint64_t left_ = 0;  // arguments to come
  uint64_t bulk_ = 0;  // bytes to come of this one
  RespNumber number_;
  State state_ = State::kStart;
  bool inline_ = false;
  uint8_t known_ = 0;
  char met_ = 0;  // where a '$' should have been
  std::array<Arg, kArgs> args_{};
};

class RespReply {
 public:
  // As above. The reason of kInvalid is for the log.
  Result<size_t> feed(std::span<const std::byte> bytes);
  bool done() const { return state_ == State::kDone; }
  bool begun() const { return size_ > 0; }
  void next() { *this = RespReply(); }

  uint64_t size() const { return size_; }
  char type() const { return type_; }  // its first byte, that of the value behind its attributes; 0: not known yet
  bool is_error() const { return type_ == '-' || type_ == '!'; }
  bool is_push() const { return type_ == '>'; }  // belongs to no command

 private:
  enum class State : uint8_t { kType, kLine, kNumber, kBulk, kCr, kLf, kDone, kFailed };
  Status step(char c);
  Status begin(char c);
  Status counted(RespNumber::State state);
  void value_ended();
  Status fail(const char* why);

  uint64_t size_ = 0;
  uint64_t pending_ = 1;  // values to come, those included that are nested in others
  uint64_t bulk_ = 0;
  RespNumber number_;
  State state_ = State::kType;
  char type_ = 0;
  char here_ = 0;  // the type of the value that is being read
};

// A token of a reply that is all there: an aggregate's is its head, and what is in it follows.
struct RespToken {
  char type = 0;
  int64_t number = 0;      // a count, a length (-1: null) or an integer
  std::string_view text;   // of a string or a line
};
// Takes the next one off the front. Nothing: there is none, or it is cut off.
std::optional<RespToken> take_token(std::string_view& rest);
// Takes one value off the front, with all that is in it and the attributes before it. False: it is not all there; `rest` is anything then.
bool skip_value(std::string_view& rest);
// Takes what is only said about the value that follows: RESP3's attributes. False: as above.
bool skip_attributes(std::string_view& rest);

// What a push of a channel says: its kind ("message", "subscribe"), the channel, and the message; of other kinds the last is empty.
struct RespMessage {
  std::string_view kind;
  std::string_view channel;
  std::string_view text;
};
// Of a whole push. Nothing: it is not of a channel.
std::optional<RespMessage> read_message(std::string_view push);

// A command's bytes, of its words (anything that can be gone through as text).
void append_bulk(std::string& out, std::string_view text);
template <typename Words>
void append_command(std::string& out, const Words& words) {
  out.append("*").append(std::to_string(words.size())).append("\r\n");
  for (const auto& word : words) append_bulk(out, word);
}

// The arguments of a whole command that a RespRequest has seen, and that is not inline; they point into it.
void split_command(std::string_view command, std::vector<std::string_view>& args);

}  // namespace relay

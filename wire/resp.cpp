// SPDX-License-Identifier: Apache-2.0
// RESP: two small machines. Bytes that only have to be counted are stepped over at once; lengths are read byte by byte, in loops of their own
// where there is one for each argument.
#include "wire/resp.h"

#include <algorithm>
#include <cctype>
#include <cstring>

namespace relay {
namespace {

constexpr uint64_t kMostPending = uint64_t{1} << 40;  // values in one reply, bytes in one value
constexpr uint8_t kMostDigits = 13;

bool is_space(char c) { return std::isspace(static_cast<unsigned char>(c)) != 0; }

// Takes the escape behind a backslash off `text`.
char unescape(std::string_view& text) {
  const char c = text.front();
  if (const int value = hex_byte(text.substr(1)); c == 'x' && value >= 0) {
    text.remove_prefix(3);
    return static_cast<char>(value);
  }
  text.remove_prefix(1);
  switch (c) {
    case 'n': return '\n';
    case 'r': return '\r';
    case 't': return '\t';
    case 'b': return '\b';
    case 'a': return '\a';
    default: return c;
  }
}

// Takes a quoted part, its opening quote already gone. False: it does not end, or something clings to its end.
bool take_quoted(char quote, std::string_view& text, std::string& word) {
  while (!text.empty()) {
    const char c = text.front();
    text.remove_prefix(1);
    if (c == quote) return text.empty() || is_space(text.front());
    const bool escapes = c == '\\' && !text.empty();
    if (escapes && quote == '"') {
      word += unescape(text);
    } else if (escapes && text.front() == '\'') {
      word += '\'';
      text.remove_prefix(1);
    } else {
      word += c;
    }
  }
  return false;
}

}  // namespace

// ---- numbers

RespNumber::State RespNumber::feed(char c) {
  if (cr_) return c == '\n' ? State::kDone : State::kBad;
  if (c == '\r') {
    cr_ = true;
    return digits_ > 0 ? State::kMore : State::kBad;
  }
  if (c == '-' && digits_ == 0 && !negative_) {
    negative_ = true;
    return State::kMore;
  }
  if (c < '0' || c > '9' || digits_ == kMostDigits) return State::kBad;
  if (digits_ > 0 && value_ == 0) return State::kBad;  // 00, 01
  if (negative_ && c == '0' && digits_ == 0) return State::kBad;
  value_ = value_ * 10 + (c - '0');
  ++digits_;
  return State::kMore;
}

// ---- commands

Status RespRequest::fail(const char* why) {
  state_ = State::kFailed;
  return {Code::kInvalid, why};
}

Status RespRequest::counted(RespNumber::State state) {
  if (state == RespNumber::State::kMore) return {};
  if (state == RespNumber::State::kBad || number_.value() > static_cast<int64_t>(limits_.args)) return fail("Protocol error: invalid multibulk length");
  argc_ = left_ = static_cast<uint64_t>(std::max(number_.value(), int64_t{0}));
  state_ = argc_ == 0 ? State::kDone : State::kDollar;
  return {};
}

Status RespRequest::sized(RespNumber::State state) {
  if (state == RespNumber::State::kMore) return {};
  if (state == RespNumber::State::kBad || number_.value() < 0 || number_.value() > static_cast<int64_t>(limits_.bulk))
    return fail("Protocol error: invalid bulk length");
  bulk_ = static_cast<uint64_t>(number_.value());
  if (known_ < kArgs && size_ <= UINT32_MAX) args_[known_++] = {static_cast<uint32_t>(size_), static_cast<uint32_t>(bulk_)};
  state_ = bulk_ == 0 ? State::kCr : State::kBulk;
  return {};
}

// One byte, which size_ counts already.
Status RespRequest::step(char c) {
  switch (state_) {
    case State::kStart:
      inline_ = c != '*';
      state_ = inline_ ? State::kInline : State::kCount;
      if (c == '\n') state_ = State::kDone;
      return {};
    case State::kDollar:
      if (c != '$') {
        met_ = c;
        return fail("Protocol error: expected '$'");
      }
      number_ = {};
      state_ = State::kLength;
      return {};
    case State::kCr:
      if (c != '\r') return fail("Protocol error: expected CR LF behind an argument");
      state_ = State::kLf;
      return {};
    case State::kLf:
      if (c != '\n') return fail("Protocol error: expected CR LF behind an argument");
      state_ = --left_ == 0 ? State::kDone : State::kDollar;
      return {};
    case State::kCount:
    case State::kLength:
    case State::kInline:
    case State::kBulk:
    case State::kDone:
    case State::kFailed: break;
  }
  return fail("Protocol error");
}

void RespRequest::next() {
  size_ = argc_ = left_ = bulk_ = 0;
  number_ = {};
  state_ = State::kStart;
  inline_ = false;
  known_ = 0;
  met_ = 0;
}

std::string RespRequest::complaint(const Status& why) const {
  std::string text = why.reason();
  if (met_ == 0) return text;
  return text + ", got '" + (met_ == '\r' || met_ == '\n' ? ' ' : met_) + '\'';
}

Status RespRequest::take_line(std::string_view text, size_t& at) {
  const size_t end = text.find('\n', at);
  const size_t n = end == std::string_view::npos ? text.size() - at : end - at + 1;
  size_ += n;
  at += n;
  if (size_ > limits_.line) return fail("Protocol error: too big inline request");
  if (end != std::string_view::npos) state_ = State::kDone;
  return {};
}

Status RespRequest::take_number(std::string_view text, size_t& at) {
  auto number = RespNumber::State::kMore;
  for (; number == RespNumber::State::kMore && at < text.size(); ++size_) number = number_.feed(text[at++]);
  return state_ == State::kCount ? counted(number) : sized(number);
}

Status RespRequest::take_char(std::string_view text, size_t& at) {
  ++size_;
  return step(text[at++]);
}

Result<size_t> RespRequest::feed(std::span<const std::byte> bytes) {
  const std::string_view text = text_of(bytes);
  size_t at = 0;
  while (at < text.size() && state_ != State::kDone) {
    if (state_ == State::kBulk) {
      const uint64_t n = std::min<uint64_t>(bulk_, text.size() - at);
      bulk_ -= n;
      size_ += n;
      at += n;
      if (bulk_ == 0) state_ = State::kCr;
      continue;
    }
    const Status status = state_ == State::kInline                                  ? take_line(text, at)
                          : state_ == State::kCount || state_ == State::kLength ? take_number(text, at)
                                                                                : take_char(text, at);
    if (!status.ok()) return status;
  }
  if (state_ == State::kFailed) return Status{Code::kInvalid, "Protocol error"};
  return at;
}

std::optional<std::vector<std::string>> RespRequest::split_words(std::string_view line) {
  std::vector<std::string> words;
  if (line.ends_with('\n')) line.remove_suffix(1);
  if (line.ends_with('\r')) line.remove_suffix(1);
  line = line.substr(0, line.find('\0'));  // where the server, too, sees its end
  for (;;) {
    while (!line.empty() && is_space(line.front())) line.remove_prefix(1);
    if (line.empty()) return words;
    std::string word;
    while (!line.empty() && !is_space(line.front())) {
      const char c = line.front();
      line.remove_prefix(1);
      if (c != '"' && c != '\'') {
        word += c;
        continue;
      }
      if (!take_quoted(c, line, word)) return std::nullopt;
      break;
    }
    words.push_back(std::move(word));
  }
}

// ---- replies

Status RespReply::fail(const char* why) {
  state_ = State::kFailed;
  return {Code::kInvalid, why};
}

void RespReply::value_ended() { state_ = --pending_ == 0 ? State::kDone : State::kType; }

Status RespReply::begin(char c) {
  here_ = c;
  if (type_ == 0 && pending_ == 1 && c != '|') type_ = c;
  number_ = {};
  switch (c) {
    case '+': case '-': case ':': case ',': case '#': case '(': case '_': state_ = State::kLine; return {};
    case '$': case '!': case '=': case '*': case '~': case '>': case '%': case '|': state_ = State::kNumber; return {};
    default: return fail("a reply of unknown type");
  }
}

Status RespReply::counted(RespNumber::State state) {
  if (state == RespNumber::State::kMore) return {};
  if (state == RespNumber::State::kBad || number_.value() < -1) return fail("a bad length in a reply");
  if (number_.value() < 0) {
    if (here_ == '|') return fail("a bad length in a reply");
    value_ended();
    return {};
  }
  const auto n = static_cast<uint64_t>(number_.value());
  if (n > kMostPending) return fail("a reply that is too long");
  if (here_ == '$' || here_ == '!' || here_ == '=') {
    bulk_ = n;
    state_ = n == 0 ? State::kCr : State::kBulk;
    return {};
  }
  pending_ += here_ == '%' || here_ == '|' ? 2 * n : n;
  if (pending_ > kMostPending) return fail("a reply that is too long");
  state_ = State::kType;
  if (here_ != '|') value_ended();  // attributes come before a value and are none
  return {};
}

Status RespReply::step(char c) {
  switch (state_) {
    case State::kType: return begin(c);
    case State::kNumber: return counted(number_.feed(c));
    case State::kCr:
      if (c != '\r') return fail("a string in a reply that does not end");
      state_ = State::kLf;
      return {};
    case State::kLf:
      if (c != '\n') return fail("a string in a reply that does not end");
      value_ended();
      return {};
    case State::kLine:
    case State::kBulk:
    case State::kDone:
    case State::kFailed: break;
  }
  return fail("a broken reply");
}

Result<size_t> RespReply::feed(std::span<const std::byte> bytes) {
  const std::string_view text = text_of(bytes);
  size_t at = 0;
  while (at < text.size() && state_ != State::kDone) {
    size_t n = 1;
    if (state_ == State::kBulk) {
      n = static_cast<size_t>(std::min<uint64_t>(bulk_, text.size() - at));
      bulk_ -= n;
      if (bulk_ == 0) state_ = State::kCr;
    } else if (state_ == State::kLine) {
      const size_t end = text.find('\n', at);
      n = end == std::string_view::npos ? text.size() - at : end - at + 1;
      if (end != std::string_view::npos) value_ended();
    } else if (const Status status = step(text[at]); !status.ok()) {
      return status;
    }
    at += n;
    size_ += n;
  }
  if (state_ == State::kFailed) return Status{Code::kInvalid, "a broken reply"};
  return at;
}

// ---- whole replies

std::optional<RespToken> take_token(std::string_view& rest) {
  const size_t end = rest.find("\r\n");
  if (end == std::string_view::npos || end == 0) return std::nullopt;
  RespToken token;
  token.type = rest.front();
  token.text = rest.substr(1, end - 1);
  const bool counts = std::string_view("$!=*~>%|:").find(token.type) != std::string_view::npos;
  if (counts) {
    RespNumber number;
    const std::string_view line = rest.substr(1, end + 1);
    RespNumber::State state = RespNumber::State::kMore;
    for (const char c : line) {
      state = number.feed(c);
      if (state != RespNumber::State::kMore) break;
    }
    if (state == RespNumber::State::kDone) token.number = number.value();
    else if (token.type != ':') return std::nullopt;
  }
  const bool string = token.type == '$' || token.type == '!' || token.type == '=';
  std::string_view behind = rest.substr(end + 2);
  if (string && token.number < 0) token.text = {};
  if (string && token.number >= 0) {
    const auto size = static_cast<size_t>(token.number);
    if (behind.size() < size + 2) return std::nullopt;
    token.text = behind.substr(0, size);
    behind.remove_prefix(size + 2);
  }
  rest = behind;
  return token;
}

namespace {

// A value is at least "_\r\n": one that announces more than can be there is cut off, and the sum stays small.
bool skip_values(std::string_view& rest, uint64_t left) {
  while (left > 0) {
    if (left > rest.size()) return false;
    const auto token = take_token(rest);
    if (!token) return false;
    const auto n = static_cast<uint64_t>(std::max<int64_t>(token->number, 0));  // at most 13 digits
    if (token->type == '|') left += 2 * n;  // and then comes the value
    else if (token->type == '%') left += 2 * n - 1;
    else if (std::string_view("*~>").find(token->type) != std::string_view::npos) left += n - 1;
    else --left;
  }
  return true;
}

}  // namespace

bool skip_value(std::string_view& rest) { return skip_values(rest, 1); }

bool skip_attributes(std::string_view& rest) {
  while (rest.starts_with('|')) {
    const auto token = take_token(rest);
    if (!token || token->number < 0 || !skip_values(rest, 2 * static_cast<uint64_t>(token->number))) return false;
  }
  return true;
}

std::optional<RespMessage> read_message(std::string_view push) {
  if (!skip_attributes(push)) return std::nullopt;
  const auto head = take_token(push);
  if (!head || head->type != '>' || head->number < 3) return std::nullopt;
  const auto kind = take_token(push);
  const auto channel = take_token(push);
  const auto last = take_token(push);
  if (!kind || !channel || !last || kind->type != '$' || channel->type != '$') return std::nullopt;
  return RespMessage{kind->text, channel->text, last->type == '$' ? last->text : std::string_view()};
}

void append_bulk(std::string& out, std::string_view text) {
  out.append("$").append(std::to_string(text.size())).append("\r\n").append(text).append("\r\n");
}

void split_command(std::string_view command, std::vector<std::string_view>& args) {
  args.clear();
  const auto number = [&command] {
    uint64_t value = 0;
    size_t at = 1;
    for (; at < command.size() && command[at] != '\r'; ++at) value = value * 10 + static_cast<uint64_t>(command[at] - '0');
    command.remove_prefix(std::min(command.size(), at + 2));
    return value;
  };
  for (uint64_t left = number(); left > 0 && !command.empty(); --left) {
    const uint64_t size = std::min<uint64_t>(number(), command.size());
    args.push_back(command.substr(0, size));
    command.remove_prefix(std::min<uint64_t>(command.size(), size + 2));
  }
}

}  // namespace relay

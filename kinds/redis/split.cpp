// SPDX-License-Identifier: Apache-2.0
// Split: the cutting is a sort by slot; the joining reads replies by tokens and copies what is in them as it is, so that what RESP3 has
// besides is passed on.
#include "kinds/redis/split.h"

#include <algorithm>
#include <charconv>

#include "kinds/redis/slots.h"
#include "lib/text.h"
#include "wire/resp.h"

namespace relay::redis {
namespace {

constexpr std::string_view kUnlike = "-ERR relay: the servers' replies cannot be joined\r\n";
constexpr uint64_t kMostCursor = uint64_t{1} << 49U;  // times kSlots it is below 2^63: clients read it as they like

bool is_list(char type) { return type == '*' || type == '~' || type == '%'; }

bool is_error(std::string_view reply) { return skip_attributes(reply) && (reply.starts_with('-') || reply.starts_with('!')); }

void append_head(std::string& out, char type, uint64_t count) { out.append(1, type).append(std::to_string(count)).append("\r\n"); }

std::optional<int64_t> integer_of(const RespToken& token) {
  int64_t value = 0;
  const char* end = token.text.data() + token.text.size();
  const auto [stop, error] = std::from_chars(token.text.data(), end, value);
  if (token.type != ':' || error != std::errc() || stop != end) return std::nullopt;
  return value;
}

// A reply of numbers: one, or a list of them.
struct Numbers {
  bool list = false;
  std::vector<int64_t> values;
};

std::optional<Numbers> read_numbers(std::string_view reply) {
  if (!skip_attributes(reply)) return std::nullopt;
  auto token = take_token(reply);
  if (!token) return std::nullopt;
  Numbers found;
  found.list = token->type == '*' && token->number >= 0;
  const int64_t count = found.list ? token->number : 1;
  for (int64_t i = 0; i < count; ++i) {
    if (found.list) token = take_token(reply);
    const auto value = token ? integer_of(*token) : std::nullopt;
    if (!value) return std::nullopt;
    found.values.push_back(*value);
  }
  if (!reply.empty()) return std::nullopt;
  return found;
}

// Nothing: the sum is too large.
std::optional<int64_t> combine(Join how, int64_t a, int64_t b) {
  switch (how) {
    case Join::kMin: return std::min(a, b);
    case Join::kMax: return std::max(a, b);
    case Join::kAnd: return a != 0 && b != 0 ? 1 : 0;
    case Join::kOr: return a != 0 || b != 0 ? 1 : 0;
    case Join::kSum: {
      int64_t sum = 0;
      if (__builtin_add_overflow(a, b, &sum)) return std::nullopt;
      return sum;
    }
    case Join::kNone:
    case Join::kValues:
    case Join::kFirst:
    case Join::kAny:
    case Join::kConcat: break;
  }
  return std::nullopt;
}

std::string join_numbers(Join how, std::span<const std::string> replies) {
  std::optional<Numbers> all;
  for (const std::string& reply : replies) {
    const auto one = read_numbers(reply);
    if (!one || (all && (one->list != all->list || one->values.size() != all->values.size()))) return std::string(kUnlike);
    if (!all) {
      all = one;
      continue;
    }
    for (size_t i = 0; i < all->values.size(); ++i) {
      const auto value = combine(how, all->values[i], one->values[i]);
      if (!value) return std::string(kUnlike);
      all->values[i] = *value;
    }
  }
  std::string out;
  if (all->list) append_head(out, '*', all->values.size());
  for (const int64_t value : all->values) out.append(":").append(std::to_string(value)).append("\r\n");
  return out;
}

// Takes the head of a list that is whole. Nothing: it is none. A null is an empty one.
std::optional<RespToken> take_list(std::string_view& reply) {
  if (!skip_attributes(reply)) return std::nullopt;
  std::string_view all = reply;
  auto head = take_token(reply);
  if (!head || !(is_list(head->type) || head->type == '_') || !skip_value(all) || !all.empty()) return std::nullopt;
  if (head->type == '_') head->number = 0;
  head->number = std::max<int64_t>(head->number, 0);
  return head;
}

std::string join_lists(std::span<const std::string> replies) {
  uint64_t count = 0;
  size_t bytes = 0;
  char type = '_';
  for (const std::string& reply : replies) {
    std::string_view inner = reply;
    const auto head = take_list(inner);
    if (!head || (head->type != '_' && type != '_' && head->type != type)) return std::string(kUnlike);
    if (head->type != '_') type = head->type;
    count += static_cast<uint64_t>(head->number);
    bytes += inner.size();
  }
  std::string out;
  out.reserve(bytes + 24);
  append_head(out, type == '_' ? '*' : type, count);
  for (const std::string& reply : replies) {
    std::string_view inner = reply;
    if (const auto head = take_list(inner)) out.append(inner);
  }
  return out;
}

}  // namespace

Placed place(std::span<const std::string_view> args, std::span<const uint32_t> indexes) {
  Placed found;
  for (const uint32_t index : indexes) {
    const uint16_t slot = slot_of(args[index]);
    if (found.where == Placed::Where::kNowhere) found = {Placed::Where::kTogether, slot};
    else if (slot != found.slot) return {Placed::Where::kApart, found.slot};
  }
  return found;
}

Split::Split(std::span<const std::string_view> args, uint8_t stride, bool by_key) {
  if (stride == 0 || args.size() < 2 || (args.size() - 1) % stride != 0) return;
  struct Key {
    uint32_t number;
    uint16_t slot;
  };
  std::vector<Key> sorted((args.size() - 1) / stride);
  for (uint32_t i = 0; i < sorted.size(); ++i) {
    const std::string_view key = args[1 + size_t{i} * stride];
    sorted[i] = Key{i, slot_of(key)};
  }
  // By slot; those of one slot in the order of the command, which counts where a key comes twice.
  std::sort(sorted.begin(), sorted.end(), [](const Key& a, const Key& b) { return a.slot != b.slot ? a.slot < b.slot : a.number < b.number; });
  keys_.reserve(sorted.size());
  for (size_t begin = 0; begin < sorted.size();) {
    size_t end = begin + 1;
    while (!by_key && end < sorted.size() && sorted[end].slot == sorted[begin].slot) ++end;
    Part part{.slot = sorted[begin].slot, .first = static_cast<uint32_t>(begin), .count = static_cast<uint32_t>(end - begin), .at = text_.size(), .size = 0};
    append_head(text_, '*', 1 + (end - begin) * stride);
    append_bulk(text_, args[0]);
    for (; begin < end; ++begin) {
      keys_.push_back(sorted[begin].number);
      for (size_t i = 0; i < stride; ++i) append_bulk(text_, args[1 + size_t{sorted[begin].number} * stride + i]);
    }
    part.size = text_.size() - part.at;
    parts_.push_back(part);
  }
}

std::string join(Join how, std::span<const std::string> replies) {
  if (replies.empty()) return std::string(kUnlike);
  const auto failed = std::find_if(replies.begin(), replies.end(), is_error);
  if (how == Join::kAny) {
    const auto good = std::find_if_not(replies.begin(), replies.end(), is_error);
    return good != replies.end() ? *good : *failed;
  }
  if (failed != replies.end()) return *failed;
  switch (how) {
    case Join::kSum:
    case Join::kMin:
    case Join::kMax:
    case Join::kAnd:
    case Join::kOr: return join_numbers(how, replies);
    case Join::kConcat: return join_lists(replies);
    case Join::kFirst:
    case Join::kAny: return replies.front();
    case Join::kNone:
    case Join::kValues: break;
  }
  return std::string(kUnlike);
}

std::string join_values(const Split& split, std::span<const std::string> replies) {
  if (const auto failed = std::find_if(replies.begin(), replies.end(), is_error); failed != replies.end()) return *failed;
  if (replies.size() != split.parts().size()) return std::string(kUnlike);
  std::vector<std::string_view> values(split.size());
  size_t bytes = 0;
  for (size_t i = 0; i < replies.size(); ++i) {
    std::string_view rest = replies[i];
    const std::span<const uint32_t> keys = split.keys(split.parts()[i]);
    const auto head = take_list(rest);
    if (!head || head->type != '*' || static_cast<uint64_t>(head->number) != keys.size()) return std::string(kUnlike);
    for (const uint32_t key : keys) {
      const std::string_view here = rest;
      if (!skip_value(rest)) return std::string(kUnlike);
      values[key] = here.substr(0, here.size() - rest.size());
    }
    bytes += replies[i].size();
  }
  std::string out;
  out.reserve(bytes + 24);
  append_head(out, '*', values.size());
  for (const std::string_view value : values) out.append(value);
  return out;
}

std::string wrong_number(std::string_view name) {
  return "-ERR wrong number of arguments for '" + lower(name) + "' command\r\n";
}

Cursor Cursor::of(uint64_t joined) { return {joined / kSlots, static_cast<uint16_t>(joined % kSlots)}; }

std::optional<Cursor> Cursor::read(std::string_view text) {
  uint64_t joined = 0;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, joined);
  if (error != std::errc() || stop != end) return std::nullopt;
  return of(joined);
}

std::optional<uint64_t> Cursor::joined() const {
  if (own >= kMostCursor) return std::nullopt;
  return own * kSlots + slot;
}

std::string scan_command(std::span<const std::string_view> args, const Cursor& cursor) {
  std::string out;
  append_head(out, '*', args.size());
  for (size_t i = 0; i < args.size(); ++i) append_bulk(out, i == 1 ? std::string_view(std::to_string(cursor.own)) : args[i]);
  return out;
}

std::string join_scan(std::string_view reply, uint16_t slot, std::optional<uint16_t> next) {
  if (is_error(reply)) return std::string(reply);
  std::string_view rest = reply;
  std::string_view all = reply;
  if (!skip_attributes(rest) || !skip_value(all) || !all.empty()) return std::string(kUnlike);
  const auto head = take_token(rest);
  const auto text = take_token(rest);
  if (!head || head->type != '*' || head->number != 2 || !text || text->type != '$') return std::string(kUnlike);
  Cursor cursor{.own = 0, .slot = slot};
  const char* end = text->text.data() + text->text.size();
  const auto [stop, error] = std::from_chars(text->text.data(), end, cursor.own);
  if (error != std::errc() || stop != end || text->text.empty()) return std::string(kUnlike);
  if (cursor.own == 0) cursor.slot = next.value_or(0);
  const auto joined = cursor.joined();
  if (!joined) return "-ERR relay: a server's cursor is too large to go on with in a cluster\r\n";
  std::string out;
  out.reserve(reply.size() + 24);
  append_head(out, '*', 2);
  append_bulk(out, std::to_string(*joined));
  return out.append(rest);
}

}  // namespace relay::redis

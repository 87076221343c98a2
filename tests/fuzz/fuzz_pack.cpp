// SPDX-License-Identifier: Apache-2.0
// Packed values: what is packed comes back as it was; in a packed command the arguments that are no values are what they were; replies are the
// same however their bytes are cut, whatever is packed in them or only looks so, and none is made longer than it may be.
//
//   input: 0 a command, 1 replies; the rules; then
//     a command: which; its arguments, each a length, how many times, and bytes
//     replies: two bytes of where to cut; then the bytes, or pieces of which some are packed first
// covers: wire/pack.cpp
#include <array>
#include <string>
#include <vector>

#include "tests/fuzz/fuzz.h"
#include "wire/pack.h"

namespace relay {
namespace {

constexpr uint64_t kMost = 20'000;

std::string unpacked(const PackRules& rules, std::string_view text, size_t first, size_t piece) {
  Unpacker unpacker(rules);
  std::string out;
  size_t most = first;
  while (!text.empty()) {
    const std::string_view part = text.substr(0, most);
    const size_t before = out.size();
    unpacker.feed(std::as_bytes(std::span(part)), out);
    CHECK(out.size() >= before);
    text.remove_prefix(part.size());
    most = piece;
  }
  return out;
}

std::string reply_of(std::string_view value) { return "$" + std::to_string(value.size()) + "\r\n" + std::string(value) + "\r\n"; }

PackRules rules_of(fuzz::Input& input) {
  const uint8_t bits = input.byte();
  PackRules rules{.snappy = (bits & 1U) != 0, .unsnappy = (bits & 2U) != 0, .gunzip = (bits & 4U) != 0, .most = kMost};
  if ((bits & 8U) != 0) rules.gzip = (bits & 0x10U) != 0 ? -1 : 1 + (bits >> 5U);
  return rules;
}

std::string argument(fuzz::Input& input) {
  const size_t size = input.byte() % 2 == 0 ? input.byte() : input.number(2) % 1024;
  const size_t times = size_t{1} + input.byte() % 16;
  const std::string_view text = input.text(size);
  std::string out;
  for (size_t i = 0; i < times; ++i) out += text;
  return out;
}

// The words of a command as it is written.
std::vector<std::string_view> words_of(std::string_view text) {
  const auto head = take_token(text);
  CHECK(head && head->type == '*');
  std::vector<std::string_view> words;
  while (const auto token = take_token(text)) {
    CHECK(token->type == '$' && token->number == static_cast<int64_t>(token->text.size()));
    words.push_back(token->text);
  }
  CHECK(text.empty() && static_cast<int64_t>(words.size()) == head->number);
  return words;
}

bool may_be_value(std::string_view name, size_t i) { return i >= (name[0] == 'H' || name[0] == 'P' || name == "SETEX" ? 3 : 2); }

void check_command(fuzz::Input& input) {
  static constexpr std::array<std::string_view, 12> kNames{"SET",  "SETEX", "PSETEX", "SETNX",  "GETSET", "MSET",
                                                           "MSETNX", "HSET",  "HMSET",  "HSETNX", "SADD",   "EVAL"};
  const PackRules rules = rules_of(input);
  std::vector<std::string> kept{std::string(kNames[input.byte() % kNames.size()])};
  while (!input.empty() && kept.size() < 12) kept.push_back(argument(input));
  const std::vector<std::string_view> args(kept.begin(), kept.end());
  std::string out = "x";
  if (!pack_command(rules, args, out)) {
    CHECK(out == "x");
    return;
  }
  CHECK(rules.any_packing() && packs(args[0]) && unpacks(args[0]));
  const auto words = words_of(std::string_view(out).substr(1));
  CHECK(words.size() == args.size());
  const bool comes_back = rules.gzip != 0 ? rules.gunzip : rules.unsnappy;
  for (size_t i = 0; i < args.size(); ++i) {
    if (words[i] == args[i]) continue;
    CHECK(may_be_value(args[0], i) && words[i].size() <= kMost);
    if (comes_back) CHECK(unpacked(rules, reply_of(words[i]), 1 + args[i].size() / 2, SIZE_MAX) == reply_of(args[i]));
  }
}

// A value by itself, packed or left alone, is what it was when it is read. (Not so close below the bound that packing takes it beyond.)
void check_value(fuzz::Input& input) {
  const PackRules rules = rules_of(input);
  const std::string value = argument(input);
  if (!(rules.gzip != 0 ? rules.gunzip : rules.snappy && rules.unsnappy) || value.size() > kMost - kMost / 4) return;
  const std::array<std::string_view, 3> args{"SET", "k", value};
  std::string out;
  const bool changed = pack_command(rules, args, out);
  CHECK(unpacked(rules, reply_of(changed ? words_of(out)[2] : value), 1, 7) == reply_of(value));
}

// What is in `text` as far as it is whole replies.
std::vector<char> types_of(std::string_view text) {
  std::vector<char> types;
  RespReply reader;
  while (!text.empty()) {
    const auto n = reader.feed(std::as_bytes(std::span(text)));
    if (!n.ok() || !reader.done()) break;
    types.push_back(reader.type());
    text.remove_prefix(*n);
    reader.next();
  }
  return types;
}

void check_replies(fuzz::Input& input) {
  const PackRules rules = rules_of(input);
  const size_t first = size_t{1} + input.byte();
  const size_t piece = size_t{1} + input.byte();
  std::string text;
  if (input.byte() % 2 == 0) {
    text = input.all();
  } else {
    while (!input.empty()) {
      text += input.until('|');
      const std::string value = argument(input);
      const std::array<std::string_view, 3> args{"SET", "k", value};
      std::string command;
      const PackRules other{.snappy = true, .gzip = input.byte() % 2};
      text += reply_of(pack_command(other, args, command) ? words_of(command)[2] : value);
    }
  }
  const std::string whole = unpacked(rules, text, SIZE_MAX, SIZE_MAX);
  CHECK(whole == unpacked(rules, text, first, piece));
  CHECK(whole == unpacked(rules, text, 1, 1));
  CHECK(types_of(whole) == types_of(text));
  if (!rules.any_unpacking()) CHECK(text.starts_with(whole) && text.size() - whole.size() <= 16);  // the head of a string at the end
}

}  // namespace
}  // namespace relay

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace relay;
  fuzz::Input input(data, size);
  switch (input.byte() % 3) {
    case 0: check_command(input); break;
    case 1: check_value(input); break;
    default: check_replies(input);
  }
  return 0;
}

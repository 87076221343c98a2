// SPDX-License-Identifier: Apache-2.0
// What a client or a server says: however its bytes are cut, the same commands or replies are found in them, or it is refused; a command
// that was found and is written again is found again.
//
//   input: 0 commands, 1 replies; two bytes of where to cut; then the bytes
// covers: wire/resp.cpp
#include <vector>

#include "lib/text.h"
#include "tests/fuzz/fuzz.h"
#include "wire/resp.h"

namespace relay {
namespace {

constexpr RespLimits kLimits{.args = 1000, .bulk = 1000, .line = 200};

struct Story {
  std::vector<uint64_t> sizes;
  std::vector<char> types;
  std::string refused;
  bool operator==(const Story&) const = default;
};

void note(Story& story, const RespRequest& request) {
  story.sizes.push_back(request.size());
  story.types.push_back(request.is_inline() ? 'i' : '*');
  CHECK(request.args().size() <= request.argc());
  for (const RespRequest::Arg& arg : request.args()) CHECK(arg.at + arg.size < request.size());
}

void note(Story& story, const RespReply& reply) {
  CHECK(reply.type() != 0);
  story.sizes.push_back(reply.size());
  story.types.push_back(reply.type());
}

template <typename Reader>
Story read(Reader reader, std::string_view text, size_t first, size_t piece) {
  Story story;
  size_t most = first;
  for (size_t at = 0; at < text.size();) {
    std::string_view part = text.substr(at, most);
    most = piece;
    at += part.size();
    while (!part.empty()) {
      const Result<size_t> n = reader.feed(std::as_bytes(std::span(part)));
      if (!n.ok()) {
        CHECK(n.status().code() == Code::kInvalid && printable(n.status().reason()) == n.status().reason());
        CHECK(!reader.feed(std::as_bytes(std::span(text))).ok());
        story.refused = n.status().reason();
        return story;
      }
      CHECK(*n > 0);
      part.remove_prefix(*n);
      if (!reader.done()) break;
      note(story, reader);
      reader.next();
    }
  }
  return story;
}

// Each word, written as a command and read again, is what it was.
void check_words(std::string_view line) {
  const auto words = RespRequest::split_words(line);
  if (!words || words->empty()) return;
  std::string text;
  append_command(text, *words);
  RespRequest request;
  CHECK(*request.feed(std::as_bytes(std::span(text))) == text.size() && request.done() && request.argc() == words->size());
  for (size_t i = 0; i < request.args().size(); ++i) CHECK(text.substr(request.args()[i].at, request.args()[i].size) == (*words)[i]);
}

// A reply that has an end is one that can be taken apart.
void check_tokens(std::string_view text) {
  size_t left = text.size();
  while (take_token(text).has_value()) {
    CHECK(text.size() < left);
    left = text.size();
  }
}

// What a push is said to have in it is in it.
void check_message(std::string_view text) {
  const auto message = read_message(text);
  if (!message) return;
  for (const std::string_view part : {message->kind, message->channel, message->text})
    CHECK(part.empty() || (part.data() >= text.data() && part.data() + part.size() + 2 <= text.data() + text.size()));
}

}  // namespace
}  // namespace relay

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace relay;
  fuzz::Input input(data, size);
  const bool replies = input.byte() % 2 != 0;
  const size_t first = size_t{1} + input.byte();
  const size_t piece = size_t{1} + input.byte();
  const std::string_view text = input.all();
  const auto all = [&](auto reader) {
    const Story whole = read(reader, text, text.size(), text.size());
    CHECK(whole == read(reader, text, first, piece));
    CHECK(whole == read(reader, text, 1, 1));
  };
  if (replies) all(RespReply());
  else all(RespRequest(kLimits));
  check_words(text);
  check_tokens(text);
  check_message(text);
  return 0;
}

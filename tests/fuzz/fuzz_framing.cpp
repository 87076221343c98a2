// SPDX-License-Identifier: Apache-2.0
// Messages in a stream of bytes: however it is cut, the same ones are found in it, and they are the stream; what is looked for stands where they
// end and nowhere before; none is longer than it may be.
//
//   input: the kind and the sides of a length; its width; how much a message may be; two bytes of where to cut; for delimiters one and its length;
//   then the bytes
// covers: wire/framing.cpp
#include <algorithm>
#include <string>
#include <vector>

#include "tests/fuzz/fuzz.h"
#include "wire/framing.h"

namespace relay {
namespace {

using Kind = Framing::Kind;

struct Story {
  std::vector<std::string> messages;
  Code end = Code::kOk;
  std::string rest;
  bool operator==(const Story&) const = default;
};

Story read(const Framing& framing, std::string_view text, size_t first, size_t piece) {
  Story story;
  size_t scanned = 0;
  size_t most = first;
  while (!text.empty()) {
    story.rest += text.substr(0, most);
    text.remove_prefix(std::min(most, text.size()));
    most = piece;
    while (!story.rest.empty()) {
      const size_t before = scanned;
      const Result<size_t> n = framing.next(std::as_bytes(std::span(story.rest)), scanned);
      if (!n.ok()) {
        CHECK(n.status().code() == Code::kLimit || n.status().code() == Code::kInvalid);
        story.end = n.status().code();
        story.rest.clear();  // how much of it has come is another matter
        return story;
      }
      CHECK(*n <= story.rest.size() && *n <= framing.most);
      if (*n == 0) {
        CHECK(scanned >= before && scanned <= story.rest.size());
        break;
      }
      CHECK(scanned == 0);
      story.messages.push_back(story.rest.substr(0, *n));
      story.rest.erase(0, *n);
    }
  }
  return story;
}

void check_ends(const Framing& framing, const Story& story) {
  const std::string end = framing.kind == Kind::kLine ? "\n" : framing.delimiter;
  for (const std::string& message : story.messages) CHECK(message.size() >= end.size() && message.find(end) == message.size() - end.size());
  CHECK(story.rest.find(end) == std::string::npos);
}

}  // namespace
}  // namespace relay

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace relay;
  fuzz::Input input(data, size);
  const uint8_t bits = input.byte();
  Framing framing{.kind = static_cast<Kind>(bits % 4)};
  framing.little = (bits & 4U) != 0;
  framing.inclusive = (bits & 8U) != 0;
  framing.width = static_cast<uint8_t>(1 + input.byte() % 8);
  framing.most = size_t{1} + input.byte();
  const size_t first = size_t{1} + input.byte();
  const size_t piece = size_t{1} + input.byte();
  if (framing.kind == Kind::kDelimiter) framing.delimiter = input.text(1 + input.byte() % 5);
  if (framing.kind == Kind::kDelimiter && framing.delimiter.empty()) return 0;
  const std::string_view text = input.all();
  const Story whole = read(framing, text, text.size(), text.size());
  std::string joined;
  for (const std::string& message : whole.messages) joined += message;
  CHECK(whole.end == Code::kOk ? joined + whole.rest == text : text.starts_with(joined));
  if (framing.kind == Kind::kLine || framing.kind == Kind::kDelimiter) check_ends(framing, whole);
  if (framing.kind == Kind::kRaw) return 0;  // it is cut where its pieces are
  CHECK(whole == read(framing, text, first, piece));
  CHECK(whole == read(framing, text, 1, 1));
  return 0;
}

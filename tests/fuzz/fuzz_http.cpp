// SPDX-License-Identifier: Apache-2.0
// What an HTTP peer says, to either side: however its bytes are cut, they are the same messages, or refused, and what is kept of
// them has its caps. Targets of requests and JSON answers are taken apart, too.
//
//   input: 0 requests, 1 responses; two bytes of where to cut; then what the peer says, to its end
// covers: wire/http1.cpp wire/json_read.cpp lib/json.cpp
#include <vector>

#include "lib/json.h"
#include "lib/text.h"
#include "tests/fuzz/fuzz.h"
#include "wire/http1.h"
#include "wire/json_read.h"

namespace relay {
namespace {

constexpr HttpLimits kLimits{.head = 300, .body = 200};  // so that an input of a few hundred bytes meets them

// What a reader made of it all.
struct Story {
  std::vector<HttpMessage> messages;
  bool refused = false;  // which of two faults comes first may depend on the cuts
  size_t taken = 0;      // bytes of whole messages
};

void check_caps(const HttpMessage& message) {
  size_t head = message.target.size();
  for (const auto& [name, value] : message.headers) head += name.size() + value.size();
  CHECK(head <= 3 * kLimits.head);  // ", " between two values of a name of one letter
  CHECK(message.body.size() <= kLimits.body);
}

void check_names(const HttpMessage& message) {
  for (const auto& [name, value] : message.headers) {
    CHECK(!name.empty());
    for (const char c : name) CHECK(c > ' ' && c < 0x7f && !(c >= 'A' && c <= 'Z'));
  }
}

// Reads `text` in pieces: `first` bytes, then `piece` at a time.
Story read(HttpReader::Side side, std::string_view text, size_t first, size_t piece) {
  Story story;
  HttpReader reader(side, kLimits);
  size_t most = first;
  for (size_t at = 0; at < text.size();) {
    const Result<size_t> n = reader.feed(std::as_bytes(std::span(text.substr(at, most))));
    most = piece;
    check_caps(reader.message());
    if (!n.ok()) {
      CHECK(n.status().code() == Code::kLimit || n.status().code() == Code::kInvalid);
      CHECK(printable(n.status().reason()) == n.status().reason());
      story.refused = true;
      return story;
    }
    CHECK(*n > 0);  // or who feeds it would try for ever
    at += *n;
    if (!reader.done()) continue;
    CHECK(!reader.begun() && !reader.in_body());
    CHECK(*reader.feed(std::as_bytes(std::span(text))) == 0);  // nothing more until next()
    check_names(reader.message());
    story.messages.push_back(std::move(reader.message()));
    story.taken = at;
    reader.next();
  }
  story.refused = !reader.finish().ok();
  if (reader.done()) story.messages.push_back(std::move(reader.message()));
  return story;
}

void check_same(const Story& one, const Story& other) {
  CHECK(one.messages.size() == other.messages.size() && one.refused == other.refused && one.taken == other.taken);
  for (size_t i = 0; i < one.messages.size(); ++i) {
    const HttpMessage& a = one.messages[i];
    const HttpMessage& b = other.messages[i];
    CHECK(a.method == b.method && a.target == b.target && a.status == b.status && a.body == b.body);
    CHECK(a.headers == b.headers && a.keep_alive == b.keep_alive);
  }
}

void check_target(std::string_view text) {
  const HttpTarget target = HttpTarget::parse(text);
  size_t size = target.path.size();
  for (const auto& [name, value] : target.query) size += name.size() + value.size();
  CHECK(size <= text.size());
}

// Asks for all that is there, as deep as a reader of ours would.
void ask(JsonView value, int depth) {
  static_cast<void>(value.flag());
  CHECK(!value.exists() || value.text().empty() || !value.number());
  CHECK(value.is_array() || value.size() == 0);
  CHECK(!value[value.size()].exists());
  if (depth == 0) return;
  for (size_t i = 0; i < value.size(); ++i) ask(value[i], depth - 1);
  for (const std::string_view key : {"Status", "Listener", "Port", "a", ""}) ask(value[key], depth - 1);
}

void check_json(std::string_view text) {
  const std::unique_ptr<JsonDocument> document = JsonDocument::parse(text);
  if (document == nullptr) return;
  ask(document->root(), 3);
  // What we say of its words ourselves can be read again, and is the same where they were harmless.
  const std::string_view word = document->root()["a"].text();
  std::string ours;
  Json(ours).begin('{').text("a", word).end('}');
  const std::unique_ptr<JsonDocument> again = JsonDocument::parse(ours);
  CHECK(again != nullptr);
  if (printable(word) == word) CHECK(again->root()["a"].text() == word);
}

// An answer of ours, whatever is in it, is one.
void check_answer(std::string_view body, int status, bool in_chunks) {
  if (body.size() > kLimits.body || body.empty()) return;
  std::string text = http_response_head(status, "text/plain", in_chunks ? std::nullopt : std::optional(body.size()), true);
  if (!in_chunks) text += body;
  for (size_t at = 0; in_chunks && at < body.size(); at += 50) http_append_chunk(text, body.substr(at, 50));
  if (in_chunks) http_append_chunk(text, {});
  const Story story = read(HttpReader::Side::kResponses, text, text.size(), text.size());
  CHECK(!story.refused && story.messages.size() == 1 && story.taken == text.size());
  CHECK(story.messages[0].status == status && story.messages[0].body == body && story.messages[0].keep_alive);
}

}  // namespace
}  // namespace relay

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace relay;
  fuzz::Input input(data, size);
  const auto side = static_cast<HttpReader::Side>(input.byte() % 2);
  const uint8_t first = input.byte();
  const uint8_t piece = input.byte();
  const std::string_view text = input.all();
  const Story whole = read(side, text, text.size(), text.size());
  check_same(whole, read(side, text, size_t{1} + first, size_t{1} + piece));
  check_same(whole, read(side, text, 1, 1));
  for (const HttpMessage& message : whole.messages) {
    check_target(message.target);
    check_json(message.body);
  }
  check_target(text);
  check_json(text);
  check_answer(text, 400 + first % 32, piece % 2 == 0);
  return 0;
}

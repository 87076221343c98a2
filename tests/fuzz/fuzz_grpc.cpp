// SPDX-License-Identifier: Apache-2.0
// What stands in the body of a gRPC stream: however it is cut, the same messages are found in it, or it is refused; they are what was written. A
// status' text, encoded, is printable and comes back.
//
//   input: how much a message may be; two bytes of where to cut; then the bytes
// covers: wire/grpc.cpp
#include <string>
#include <vector>

#include "lib/text.h"
#include "tests/fuzz/fuzz.h"
#include "wire/grpc.h"

namespace relay {
namespace {

struct Story {
  std::vector<std::string> messages;
  std::string refused;
  bool part = false;
  bool operator==(const Story&) const = default;
};

Story read(uint32_t most, std::string_view text, size_t first, size_t piece) {
  Story story;
  GrpcReader reader(most);
  size_t size = first;
  while (!text.empty()) {
    const std::string part(text.substr(0, size));  // memory of its own, so that whoever looks beyond is seen
    text.remove_prefix(part.size());
    size = piece;
    const Status status = reader.feed(std::as_bytes(std::span(part)), [&](std::span<const std::byte> message) {
      CHECK(message.size() <= most);
      story.messages.emplace_back(reinterpret_cast<const char*>(message.data()), message.size());
      return true;
    });
    if (!status.ok()) {
      CHECK(status.code() == Code::kInvalid || status.code() == Code::kLimit);
      story.refused = status.reason();
      return story;
    }
  }
  story.part = reader.has_part();
  return story;
}

std::string written(const Story& story) {
  std::string out;
  for (const std::string& message : story.messages) {
    const auto prefix = grpc_prefix(static_cast<uint32_t>(message.size()));
    out.append(reinterpret_cast<const char*>(prefix.data()), prefix.size()).append(message);
  }
  return out;
}

}  // namespace
}  // namespace relay

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace relay;
  fuzz::Input input(data, size);
  const uint32_t most = input.byte() * uint32_t{8};
  const size_t first = size_t{1} + input.byte();
  const size_t piece = size_t{1} + input.byte();
  const std::string_view text = input.all();
  const Story whole = read(most, text, text.size(), text.size());
  CHECK(whole == read(most, text, first, piece));
  CHECK(whole == read(most, text, 1, 1));
  const std::string again = written(whole);
  CHECK(text.starts_with(again));
  CHECK(!whole.refused.empty() || whole.part == (again.size() < text.size()));
  const std::string encoded = encode_grpc_message(text);
  CHECK(decode_grpc_message(encoded) == text && printable(encoded) == encoded);
  CHECK(decode_grpc_message(text).size() <= text.size());
  const uint32_t code = parse_grpc_status(text);
  CHECK((code <= 16) == !grpc_code_name(code).empty());
  CHECK(!grpc_code_name(grpc_code_of_http(static_cast<unsigned>(300 + first))).empty());
  return 0;
}

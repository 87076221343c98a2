// SPDX-License-Identifier: Apache-2.0
// What an upstream says, and what is said to it: a message or none; its texts are UTF-8; written again it is the same message.
//
//   input: which; then the bytes
// covers: wire/upstream.cpp
#include <algorithm>
#include <string>
#include <type_traits>
#include <vector>

#include "lib/text.h"
#include "tests/fuzz/fuzz.h"
#include "wire/grpc.h"
#include "wire/upstream.h"

namespace relay::upstream {
namespace {

std::span<const std::byte> bytes_of(std::string_view text) { return std::as_bytes(std::span(text)); }

void check_refusal(const Status& status) {
  CHECK(status.code() == Code::kInvalid || status.code() == Code::kLimit || status.code() == Code::kNotFound);
  CHECK(printable(status.reason()) == status.reason());
}

bool same(std::span<const std::byte> a, std::span<const std::byte> b) { return std::equal(a.begin(), a.end(), b.begin(), b.end()); }

bool same(const Output& a, const Output& b) {
  return a.time == b.time && a.target == b.target && a.client_uuid == b.client_uuid && a.broadcast == b.broadcast && a.group == b.group &&
         same(a.payload, b.payload) && a.command == b.command && a.client_uuids == b.client_uuids && a.ack_seq == b.ack_seq &&
         a.request_id == b.request_id && a.reason == b.reason && a.has_idle_timeout == b.has_idle_timeout &&
         a.idle_timeout_ms == b.idle_timeout_ms && a.labels == b.labels && a.except_uuids == b.except_uuids;
}

bool same(const Input& a, const Input& b) {
  return a.time == b.time && a.client_uuid == b.client_uuid && same(a.payload, b.payload) && a.event == b.event && a.seq == b.seq && a.close == b.close &&
         a.close_details == b.close_details && a.redelivered == b.redelivered && a.request_id == b.request_id && a.delivery == b.delivery;
}

bool all_text(const std::vector<std::string_view>& texts) { return std::all_of(texts.begin(), texts.end(), is_utf8); }

// What was written, without its prefix, which is right.
std::string_view behind_prefix(std::string_view written) {
  const auto prefix = grpc_prefix(static_cast<uint32_t>(written.size() - kGrpcPrefix));
  CHECK(same(bytes_of(written).first(kGrpcPrefix), prefix));
  return written.substr(kGrpcPrefix);
}

void check_output(std::span<const std::byte> message) {
  static Output output;  // as it is used: over and over
  if (const Status status = decode(message, output); !status.ok()) {
    check_refusal(status);
    return;
  }
  CHECK(is_utf8(output.time) && is_utf8(output.client_uuid) && is_utf8(output.group) && is_utf8(output.reason));
  CHECK(all_text(output.client_uuids) && all_text(output.except_uuids) && output.client_uuids.size() <= 4096 && output.except_uuids.size() <= 4096);
  for (const auto& [name, value] : output.labels) CHECK(is_utf8(name) && is_utf8(value));
  CHECK(output.labels.size() <= 64 && output.command <= Command::kLeave && output.broadcast <= Broadcast::kNotActive);
  std::string written;
  encode(output, written);
  Output again;
  CHECK(decode(bytes_of(behind_prefix(written)), again).ok() && same(output, again));
}

void check_input(std::span<const std::byte> message) {
  Input input;
  if (const Status status = decode(message, input); !status.ok()) {
    check_refusal(status);
    return;
  }
  CHECK(is_utf8(input.time) && is_utf8(input.client_uuid) && is_utf8(input.close_details));
  CHECK(input.event <= Event::kWritable && input.close <= CloseReason::kRehomed && input.delivery <= Delivery::kUnreachable);
  CHECK(input.client == nullptr && input.labels.empty());
  // With what is not read, too, of the texts that there are.
  const ClientInfo client{.peer = input.time, .local = input.client_uuid, .subject = input.close_details};
  if (input.redelivered) input.client = &client;
  if (input.redelivered) input.labels = {{input.time, input.client_uuid}, {"", ""}};
  std::string written;
  encode(input, written);
  written.append(reinterpret_cast<const char*>(input.payload.data()), input.payload.size());
  Input again;
  CHECK(decode(bytes_of(behind_prefix(written)), again).ok() && same(input, again));
}

template <typename Message>
void check_answer(std::span<const std::byte> message) {
  Message answer;
  if (const Status status = decode(message, answer); !status.ok()) check_refusal(status);
  if constexpr (std::is_same_v<Message, Ready>) CHECK((answer.features & ~Features{0x7e}) == 0);
}

}  // namespace
}  // namespace relay::upstream

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace relay::upstream;
  relay::fuzz::Input input(data, size);
  const uint8_t which = input.byte();
  const std::string_view rest = input.all();
  const std::vector<char> exact(rest.begin(), rest.end());  // so that whoever reads beyond its end is seen
  const auto message = std::as_bytes(std::span(exact));
  switch (which % 4) {
    case 0: check_output(message); break;
    case 1: check_input(message); break;
    case 2: check_answer<Ready>(message); break;
    default: check_answer<Live>(message);
  }
  return 0;
}

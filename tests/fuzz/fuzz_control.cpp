// SPDX-License-Identifier: Apache-2.0
// What programs ask of a plex: a request, or none, and where it is one its relay can be found without knowing what it is; texts are UTF-8. Times.
//
//   input: the bytes
// covers: wire/control.cpp wire/grpc.cpp
#include <string>

#include "lib/text.h"
#include "tests/fuzz/fuzz.h"
#include "wire/control.h"
#include "wire/grpc.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace relay;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  upstream::Output output;
  control::Request request;
  const Status status = control::decode(std::as_bytes(std::span(text)), output, request);
  const std::optional<std::string_view> name = proto_text(text, 1);
  if (status.ok()) {
    CHECK(is_utf8(request.url) && is_utf8(output.client_uuid));
    CHECK(!name || *name == output.time);
  } else {
    CHECK(status.code() == Code::kInvalid || status.code() == Code::kLimit || status.code() == Code::kNotFound);
    CHECK(printable(status.reason()) == status.reason());
  }
  CHECK(!name || name->size() <= size);
  if (const std::optional<int64_t> timeout = parse_grpc_timeout(text); timeout) CHECK(size <= 9 && *timeout >= 0);
  control::WatchEvent event;
  event.kind = control::WatchKind::kDisconnected;
  event.close = upstream::CloseReason::kIdle;
  const std::string shown = printable(text);
  event.details = event.client = shown;
  event.missed = size;
  std::string written;
  control::encode(event, written);
  CHECK(proto_text(written, 2) == shown);
  return 0;
}

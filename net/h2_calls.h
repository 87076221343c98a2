// SPDX-License-Identifier: Apache-2.0
// What the sources of HTTP/2 share, and nobody else includes: nghttp2's own shapes.
#pragma once

#include <nghttp2/nghttp2.h>

#include <span>
#include <string_view>
#include <vector>

#include "net/h2.h"

namespace relay {

// Headers as nghttp2 wants them; they are read where they are.
inline std::vector<nghttp2_nv> raw(std::span<const H2Header> headers) {
  const auto letters = [](std::string_view text) { return const_cast<uint8_t*>(reinterpret_cast<const uint8_t*>(text.data())); };
  std::vector<nghttp2_nv> all;
  all.reserve(headers.size());
  for (const H2Header& header : headers)
    all.push_back({letters(header.name), letters(header.value), header.name.size(), header.value.size(), NGHTTP2_NV_FLAG_NONE});
  return all;
}

// What nghttp2 calls, from within feed() and pull(). Each asks first whether its session is still the one: a user may have closed the H2.
struct H2Calls {
  static constexpr size_t kFrameHead = 9;
  static constexpr size_t kFrameMost = kFrameHead + 16 * 1024 + 64;  // nghttp2 makes none that is longer, and so needs no more room at once

  // nullptr: no memory.
  static nghttp2_session* make_session(H2& h2);

  // Sending.
  static ssize_t on_read(nghttp2_session* session, int32_t id, uint8_t* to, size_t most, uint32_t* flags, nghttp2_data_source* source, void* user);
  static int on_send(nghttp2_session* session, nghttp2_frame* frame, const uint8_t* head, size_t size, nghttp2_data_source* source, void* user);
  static int on_sent(nghttp2_session* session, const nghttp2_frame* frame, void* user);

  // Receiving.
  static int on_headers_begin(nghttp2_session* session, const nghttp2_frame* frame, void* user);
  static int on_header(nghttp2_session* session, const nghttp2_frame* frame, const uint8_t* name, size_t name_size, const uint8_t* value,
                       size_t value_size, uint8_t flags, void* user);
  static int on_frame(nghttp2_session* session, const nghttp2_frame* frame, void* user);
  static int on_data(nghttp2_session* session, uint8_t flags, int32_t id, const uint8_t* bytes, size_t size, void* user);
  static int on_closed(nghttp2_session* session, int32_t id, uint32_t code, void* user);
  static int on_fault(nghttp2_session* session, int error, const char* text, size_t size, void* user);

 private:
  static void headers(H2& h2, H2Stream& stream);
  static void goaway(H2& h2, const nghttp2_goaway& frame);
};

}  // namespace relay

// SPDX-License-Identifier: Apache-2.0
// What nghttp2 calls: bytes from a stream's queue into the output, and what has come to the users.
#include "net/h2_calls.h"

#include <algorithm>
#include <cstring>
#include <memory>

#include "lib/text.h"

namespace relay {
namespace {

constexpr size_t kFaultMost = 300;

H2& of(void* user) { return *static_cast<H2*>(user); }

H2Stream* stream_of(nghttp2_session* session, int32_t id) { return static_cast<H2Stream*>(nghttp2_session_get_stream_user_data(session, id)); }

std::string words_of(uint32_t code, const uint8_t* text, size_t size) {
  std::string words = code == NGHTTP2_NO_ERROR ? "" : nghttp2_http2_strerror(code);
  if (size == 0) return words;
  if (!words.empty()) words += ": ";
  return words + printable({reinterpret_cast<const char*>(text), std::min(size, kFaultMost)});
}

}  // namespace

nghttp2_session* H2Calls::make_session(H2& h2) {
  nghttp2_session_callbacks* calls = nullptr;
  if (nghttp2_session_callbacks_new(&calls) != 0) return nullptr;
  nghttp2_session_callbacks_set_send_data_callback(calls, on_send);
  nghttp2_session_callbacks_set_on_frame_send_callback(calls, on_sent);
  nghttp2_session_callbacks_set_on_begin_headers_callback(calls, on_headers_begin);
  nghttp2_session_callbacks_set_on_header_callback(calls, on_header);
  nghttp2_session_callbacks_set_on_frame_recv_callback(calls, on_frame);
  nghttp2_session_callbacks_set_on_data_chunk_recv_callback(calls, on_data);
  nghttp2_session_callbacks_set_on_stream_close_callback(calls, on_closed);
  nghttp2_session_callbacks_set_error_callback2(calls, on_fault);
  nghttp2_session* session = nullptr;
  if (nghttp2_session_client_new(&session, calls, &h2) != 0) session = nullptr;
  nghttp2_session_callbacks_del(calls);
  return session;
}

// ---- sending

// How much of the stream goes into the next frame; on_send copies it. A stream that is nobody's any more, and was not reset, has ended.
ssize_t H2Calls::on_read(nghttp2_session* session, int32_t id, uint8_t*, size_t most, uint32_t* flags, nghttp2_data_source*, void*) {
  H2Stream* const stream = stream_of(session, id);
  *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
  if (stream == nullptr) {
    *flags |= NGHTTP2_DATA_FLAG_EOF;
    return 0;
  }
  const uint64_t n = std::min<uint64_t>(std::min(most, kFrameMost - kFrameHead), stream->out_.size());
  if (n == stream->out_.size() && stream->finished_) {
    *flags |= NGHTTP2_DATA_FLAG_EOF;
  } else if (n == 0) {
    stream->deferred_ = true;
    return NGHTTP2_ERR_DEFERRED;
  }
  return static_cast<ssize_t>(n);
}

int H2Calls::on_send(nghttp2_session* session, nghttp2_frame* frame, const uint8_t* head, size_t size, nghttp2_data_source*, void* user) {
  H2& h2 = of(user);
  std::span<std::byte> room = h2.out_.room();
  CHECK(room.size() >= kFrameHead + size);
  std::memcpy(room.data(), head, kFrameHead);
  room = room.subspan(kFrameHead);
  h2.out_.commit(kFrameHead + size);
  if (H2Stream* const stream = stream_of(session, frame->hd.stream_id); stream != nullptr && size > 0) {
    size_t left = size;
    for (const auto& span : stream->out_.front()) {
      const size_t n = std::min(left, span.size());
      if (n == 0) break;
      std::memcpy(room.data(), span.data(), n);
      room = room.subspan(n);
      left -= n;
    }
    stream->out_.advance(size);  // its memory is wanted again at once while there is traffic
    if (stream->asked_ && stream->out_.size() <= stream->out_.bound() / 2) h2.roomy_.push_back(*stream);
  }
  // The next frame might not fit.
  return h2.out_.room().size() < kFrameMost ? NGHTTP2_ERR_PAUSE : 0;
}

// What nghttp2 thinks of the peer, it says in GOAWAY.
int H2Calls::on_sent(nghttp2_session*, const nghttp2_frame* frame, void* user) {
  if (frame->hd.type != NGHTTP2_GOAWAY || frame->goaway.error_code == NGHTTP2_NO_ERROR) return 0;
  of(user).fault_ = words_of(frame->goaway.error_code, frame->goaway.opaque_data, frame->goaway.opaque_data_len);
  return 0;
}

// ---- receiving

int H2Calls::on_headers_begin(nghttp2_session*, const nghttp2_frame* frame, void* user) {
  H2& h2 = of(user);
  // A push may have been on its way before our settings were there: it is reset.
  if (frame->hd.type != NGHTTP2_HEADERS) return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
  h2.header_bytes_.clear();
  h2.header_sizes_.clear();
  return 0;
}

int H2Calls::on_header(nghttp2_session* session, const nghttp2_frame* frame, const uint8_t* name, size_t name_size, const uint8_t* value,
                       size_t value_size, uint8_t, void* user) {
  constexpr size_t kEntry = 32;  // what a header counts beside its text (RFC 9113, 6.5.2)
  H2& h2 = of(user);
  if (h2.session_ != session) return NGHTTP2_ERR_CALLBACK_FAILURE;
  H2Stream* const stream = stream_of(session, frame->hd.stream_id);
  if (stream == nullptr) return 0;
  h2.header_bytes_.append(reinterpret_cast<const char*>(name), name_size);
  h2.header_bytes_.append(reinterpret_cast<const char*>(value), value_size);
  h2.header_sizes_.emplace_back(name_size, value_size);
  if (h2.header_bytes_.size() + kEntry * h2.header_sizes_.size() <= h2.limits_.header_list) return 0;
  nghttp2_session_set_stream_user_data(session, frame->hd.stream_id, nullptr);
  h2.must(nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, frame->hd.stream_id, NGHTTP2_CANCEL));
  const std::string limit = std::to_string(h2.limits_.header_list);
  h2.end(*stream, {Code::kLimit, "the headers are too long"}, NGHTTP2_CANCEL, "the server's headers are longer than " + limit + " bytes");
  return h2.session_ == session ? NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE : NGHTTP2_ERR_CALLBACK_FAILURE;
}

void H2Calls::headers(H2& h2, H2Stream& stream) {
  // Not the members: they are the next one's, should the user close this and open another in the call.
  const std::string bytes = std::move(h2.header_bytes_);
  const auto sizes = std::move(h2.header_sizes_);
  h2.header_bytes_ = {};
  h2.header_sizes_ = {};
  std::vector<H2Header> all;
  all.reserve(sizes.size());
  std::string_view rest = bytes;
  const auto next = [&rest](size_t size) {
    const std::string_view part = rest.substr(0, size);
    rest.remove_prefix(size);
    return part;
  };
  for (const auto& [name, value] : sizes) {
    const std::string_view first = next(name);
    all.push_back({first, next(value)});
  }
  // Trailers have no status. (nghttp2 lets through nothing else that has none.)
  const bool trailers = all.empty() || all.front().name != ":status";
  if (!trailers && all.front().value.starts_with('1')) return;
  stream.user_.on_h2_headers(all, trailers);
}

// A frame has come whole.
int H2Calls::on_frame(nghttp2_session* session, const nghttp2_frame* frame, void* user) {
  H2& h2 = of(user);
  if (h2.session_ != session) return NGHTTP2_ERR_CALLBACK_FAILURE;
  const int32_t id = frame->hd.stream_id;
  if (frame->hd.type == NGHTTP2_GOAWAY) goaway(h2, frame->goaway);
  if (frame->hd.type == NGHTTP2_RST_STREAM) h2.reset_id_ = id;
  if (frame->hd.type == NGHTTP2_HEADERS)
    if (H2Stream* const stream = stream_of(session, id); stream != nullptr) headers(h2, *stream);
  const bool ends = (frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA) && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
  if (h2.session_ == session && ends)
    if (H2Stream* const stream = stream_of(session, id); stream != nullptr) h2.finished_by_peer(*stream);
  return h2.session_ == session ? 0 : NGHTTP2_ERR_CALLBACK_FAILURE;
}

void H2Calls::goaway(H2& h2, const nghttp2_goaway& frame) {
  // Those that it has seen and will not serve nghttp2 ends itself. Those that wait for others to end would wait on.
  for (List<H2Stream>* list : {&h2.open_, &h2.roomy_}) {
    for (H2Stream *stream = list->front(), *next = nullptr; stream != nullptr; stream = next) {
      next = list->next(*stream);
      if (nghttp2_session_find_stream(h2.session_, stream->id_) == nullptr) h2.fail(*stream, NGHTTP2_ERR_START_STREAM_NOT_ALLOWED);
    }
  }
  h2.leave(frame.error_code, words_of(frame.error_code, frame.opaque_data, frame.opaque_data_len));
}

int H2Calls::on_data(nghttp2_session* session, uint8_t, int32_t id, const uint8_t* bytes, size_t size, void* user) {
  H2& h2 = of(user);
  if (h2.session_ != session) return NGHTTP2_ERR_CALLBACK_FAILURE;
  if (H2Stream* const stream = stream_of(session, id); stream != nullptr) stream->user_.on_h2_data(std::as_bytes(std::span(bytes, size)));
  return h2.session_ == session ? 0 : NGHTTP2_ERR_CALLBACK_FAILURE;
}

// A stream is over that the peer has not ended in order.
int H2Calls::on_closed(nghttp2_session* session, int32_t id, uint32_t code, void* user) {
  H2& h2 = of(user);
  if (h2.session_ != session) return NGHTTP2_ERR_CALLBACK_FAILURE;
  H2Stream* const stream = stream_of(session, id);
  if (stream == nullptr) return 0;
  const std::string name = nghttp2_http2_strerror(code);
  const std::string fault = h2.fault_.empty() ? "" : ": " + h2.fault_;
  const std::string farewell = h2.farewell_;
  if (h2.reset_id_ == id) h2.end(*stream, {Code::kReset, "the server has reset the stream"}, code, name);
  else if (code != NGHTTP2_REFUSED_STREAM) h2.end(*stream, {Code::kReset, "the server broke the rules of HTTP/2"}, code, name + fault);
  else if (h2.leaving_) h2.end(*stream, {Code::kRefused, "the server takes no more requests"}, code, farewell);
  else h2.end(*stream, {Code::kLimit, "it could not be sent"}, code, "the request's headers are too long");
  return h2.session_ == session ? 0 : NGHTTP2_ERR_CALLBACK_FAILURE;
}

int H2Calls::on_fault(nghttp2_session*, int, const char* text, size_t size, void* user) {
  of(user).fault_ = printable({text, std::min(size, kFaultMost)});
  return 0;
}

}  // namespace relay

// SPDX-License-Identifier: Apache-2.0
// H2Server: what nghttp2 calls, and what it is told.
#include "net/h2_server.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "net/h2_calls.h"

namespace relay {
namespace {

constexpr size_t kSentMost = 64 * 1024;  // of a stream's bytes, kept though they have gone

Status status_of(int error) {
  if (error == NGHTTP2_ERR_NOMEM) return {Code::kLimit, "out of memory"};
  return {Code::kInvalid, nghttp2_strerror(error)};
}

}  // namespace

const bool H2Server::kBuilt = true;

// What nghttp2 calls, from within feed() and pull().
struct H2ServerCalls {
  static H2Server& of(void* user) { return *static_cast<H2Server*>(user); }

  static ssize_t on_read(nghttp2_session*, int32_t id, uint8_t* to, size_t most, uint32_t* flags, nghttp2_data_source*, void* user) {
    H2Server& server = of(user);
    H2Server::Stream* const stream = server.find(id);
    if (stream == nullptr) return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    const size_t n = std::min(most, stream->out.size() - stream->sent);
    std::copy_n(stream->out.data() + stream->sent, n, to);
    stream->sent += n;
    stream->taken += n;
    // What is left is moved no more often than as much has gone.
    if (stream->sent == stream->out.size() || (stream->sent >= kSentMost && stream->sent >= stream->out.size() / 2)) stream->out.erase(0, std::exchange(stream->sent, 0));
    if (!stream->out.empty()) return static_cast<ssize_t>(n);
    if (!stream->finished && n == 0) {
      stream->deferred = true;
      return NGHTTP2_ERR_DEFERRED;
    }
    if (!stream->finished) return static_cast<ssize_t>(n);
    *flags |= NGHTTP2_DATA_FLAG_EOF;
    if (stream->trailers.empty()) return static_cast<ssize_t>(n);
    *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
    std::vector<H2Header> trailers;
    for (const auto& [name, value] : stream->trailers) trailers.push_back({name, value});
    const std::vector<nghttp2_nv> all = raw(trailers);
    server.must(nghttp2_submit_trailer(server.session_, id, all.data(), all.size()));
    return static_cast<ssize_t>(n);
  }

  // All of ours has been said. What the client has not is of no use any more; a reset that was said before would have overtaken the answer.
  static int on_sent(nghttp2_session* session, const nghttp2_frame* frame, void* user) {
    const bool may_end = frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA;
    if (may_end && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0 && nghttp2_session_get_stream_remote_close(session, frame->hd.stream_id) == 0)
      of(user).must(nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, frame->hd.stream_id, NGHTTP2_NO_ERROR));
    return 0;
  }

  static int on_headers_begin(nghttp2_session*, const nghttp2_frame*, void* user) {
    H2Server& server = of(user);
    server.header_bytes_.clear();
    server.header_sizes_.clear();
    return 0;
  }

  static int on_header(nghttp2_session* session, const nghttp2_frame* frame, const uint8_t* name, size_t name_size, const uint8_t* value, size_t value_size, uint8_t,
                       void* user) {
    constexpr size_t kEntry = 32;  // what a header counts beside its text (RFC 9113, 6.5.2)
    H2Server& server = of(user);
    const size_t size = server.header_bytes_.size() + kEntry * server.header_sizes_.size() + name_size + value_size + kEntry;
    if (size > server.limits_.header_list) {
      // From here on nghttp2 only unpacks the rest, because later ones lean on it (HPACK): a byte may stand for kilobytes, and is not to cost as many.
      server.must(nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, frame->hd.stream_id, NGHTTP2_ENHANCE_YOUR_CALM));
      return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    }
    server.header_bytes_.append(reinterpret_cast<const char*>(name), name_size);
    server.header_bytes_.append(reinterpret_cast<const char*>(value), value_size);
    server.header_sizes_.emplace_back(name_size, value_size);
    return 0;
  }

  // A frame has come whole.
  static int on_frame(nghttp2_session*, const nghttp2_frame* frame, void* user) {
    H2Server& server = of(user);
    const int32_t id = frame->hd.stream_id;
    if (frame->hd.type == NGHTTP2_HEADERS && frame->headers.cat == NGHTTP2_HCAT_REQUEST) {
      server.streams_.try_emplace(id);
      request(server, id);
    }
    const bool ends = (frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA) && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
    if (ends && server.find(id) != nullptr) server.user_.on_h2_finished(id);
    return 0;
  }

  static void request(H2Server& server, int32_t id) {
    std::vector<H2Header> all;
    all.reserve(server.header_sizes_.size());
    std::string_view rest = server.header_bytes_;
    for (const auto& [name, value] : server.header_sizes_) {
      all.push_back({rest.substr(0, name), rest.substr(name, value)});
      rest.remove_prefix(name + value);
    }
    server.user_.on_h2_request(id, all);
  }

  static int on_data(nghttp2_session*, uint8_t, int32_t id, const uint8_t* bytes, size_t size, void* user) {
    H2Server& server = of(user);
    if (server.find(id) != nullptr) server.user_.on_h2_data(id, std::as_bytes(std::span(bytes, size)));
    return 0;
  }

  static int on_closed(nghttp2_session*, int32_t id, uint32_t, void* user) {
    H2Server& server = of(user);
    if (server.streams_.erase(id) > 0) server.user_.on_h2_closed(id);
    return 0;
  }
};

H2Server::H2Server(H2ServerUser& user, const Limits& limits) : user_(user), limits_(limits) {
  nghttp2_session_callbacks* calls = nullptr;
  nghttp2_option* option = nullptr;
  doomed_ = nghttp2_session_callbacks_new(&calls);
  if (doomed_ == 0) doomed_ = nghttp2_option_new(&option);
  if (doomed_ == 0) {
    nghttp2_session_callbacks_set_on_frame_send_callback(calls, H2ServerCalls::on_sent);
    nghttp2_session_callbacks_set_on_begin_headers_callback(calls, H2ServerCalls::on_headers_begin);
    nghttp2_session_callbacks_set_on_header_callback(calls, H2ServerCalls::on_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(calls, H2ServerCalls::on_frame);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(calls, H2ServerCalls::on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(calls, H2ServerCalls::on_closed);
    nghttp2_option_set_no_closed_streams(option, 1);
    doomed_ = nghttp2_session_server_new2(&session_, calls, this, option);
  }
  nghttp2_option_del(option);
  nghttp2_session_callbacks_del(calls);
  if (doomed_ != 0) {
    session_ = nullptr;
    return;
  }
  const std::array<nghttp2_settings_entry, 2> settings{
      {{NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, limits_.streams}, {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, limits_.header_list}}};
  must(nghttp2_submit_settings(session_, NGHTTP2_FLAG_NONE, settings.data(), settings.size()));
}

H2Server::~H2Server() {
  streams_.clear();
  if (session_ != nullptr) nghttp2_session_del(session_);
}

H2Server::Stream* H2Server::find(int32_t id) {
  const auto at = streams_.find(id);
  return at == streams_.end() ? nullptr : &at->second;
}

const H2Server::Stream* H2Server::find(int32_t id) const {
  const auto at = streams_.find(id);
  return at == streams_.end() ? nullptr : &at->second;
}

// What was said to nghttp2 where nobody could be told that there is no memory.
void H2Server::must(int result) {
  if (nghttp2_is_fatal(result) != 0) doomed_ = result;
}

Status H2Server::feed(std::span<const std::byte> bytes) {
  if (doomed_ != 0) return status_of(doomed_);
  const ssize_t n = nghttp2_session_mem_recv(session_, reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
  if (n < 0) doomed_ = static_cast<int>(n);
  return doomed_ == 0 ? Status() : status_of(doomed_);
}

Status H2Server::pull(std::string& out, size_t most) {
  while (session_ != nullptr && out.size() < most) {
    const uint8_t* bytes = nullptr;
    const ssize_t n = nghttp2_session_mem_send(session_, &bytes);
    if (n < 0) {
      doomed_ = static_cast<int>(n);
      break;
    }
    if (n == 0) break;
    out.append(reinterpret_cast<const char*>(bytes), static_cast<size_t>(n));
  }
  return doomed_ == 0 ? Status() : status_of(doomed_);
}

bool H2Server::has_output() const { return session_ != nullptr && nghttp2_session_want_write(session_) != 0; }

bool H2Server::is_over() const {
  return session_ == nullptr || (nghttp2_session_want_read(session_) == 0 && nghttp2_session_want_write(session_) == 0);
}

void H2Server::say_goodbye() {
  if (session_ == nullptr) return;
  must(nghttp2_submit_goaway(session_, NGHTTP2_FLAG_NONE, nghttp2_session_get_last_proc_stream_id(session_), NGHTTP2_NO_ERROR, nullptr, 0));
}

// ---- streams

void H2Server::respond(int32_t id, std::span<const H2Header> headers, bool end) {
  if (find(id) == nullptr) return;
  const std::vector<nghttp2_nv> all = raw(headers);
  nghttp2_data_provider body{};
  body.read_callback = H2ServerCalls::on_read;
  must(nghttp2_submit_response(session_, id, all.data(), all.size(), end ? nullptr : &body));
}

void H2Server::go_on(int32_t id, Stream& stream) {
  if (!std::exchange(stream.deferred, false)) return;
  must(nghttp2_session_resume_data(session_, id));
}

void H2Server::write(int32_t id, std::string_view bytes) {
  Stream* const stream = find(id);
  if (stream == nullptr || stream->finished) return;
  stream->out += bytes;
  go_on(id, *stream);
}

void H2Server::finish(int32_t id, std::span<const H2Header> trailers) {
  Stream* const stream = find(id);
  if (stream == nullptr || std::exchange(stream->finished, true)) return;
  for (const H2Header& trailer : trailers) stream->trailers.emplace_back(trailer.name, trailer.value);
  go_on(id, *stream);
}

void H2Server::reset(int32_t id, uint32_t code) {
  if (streams_.erase(id) > 0) must(nghttp2_submit_rst_stream(session_, NGHTTP2_FLAG_NONE, id, code));
}

size_t H2Server::unsent(int32_t id) const {
  const Stream* const stream = find(id);
  return stream == nullptr ? 0 : stream->out.size() - stream->sent;
}

uint64_t H2Server::taken(int32_t id) const {
  const Stream* const stream = find(id);
  return stream == nullptr ? 0 : stream->taken;
}

}  // namespace relay

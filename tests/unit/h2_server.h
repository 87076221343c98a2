// SPDX-License-Identifier: Apache-2.0
// A server of HTTP/2 for tests: nghttp2's own, over a plain socket (or TLS) that the test serves between turns of the loop.
#pragma once

#include <nghttp2/nghttp2.h>

#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "net/tls.h"
#include "tests/unit/testing.h"

namespace relay::test {

class H2Server {
 public:
  using Fields = std::vector<std::pair<std::string, std::string>>;
  struct Stream {
    Fields headers;
    std::string body;      // what has come
    std::string out;       // what is to be said, and how much of it was
    size_t said = 0;
    Fields trailers;       // said behind it
    size_t frames = 0;     // of DATA
    bool ended = false;    // by the client
    bool finishes = false;  // with `out`
    bool deferred = false;
    bool closed = false;
    uint32_t code = 0;     // with which it was closed
  };
  struct Plan {
    uint32_t window = 65535;
    uint32_t streams = 1000;
    bool echo = false;
    bool opens = true;     // windows, as bytes are read
    size_t bite = 65536;   // what is read at a time, and one a call of serve()
  };

  H2Server(Fd fd, const Plan& plan, std::unique_ptr<Tls> tls = nullptr) : fd_(std::move(fd)), tls_(std::move(tls)), plan_(plan) {
    nghttp2_session_callbacks* calls = nullptr;
    CHECK(nghttp2_session_callbacks_new(&calls) == 0);
    nghttp2_session_callbacks_set_on_begin_headers_callback(calls, [](nghttp2_session*, const nghttp2_frame* frame, void* self) {
      static_cast<H2Server*>(self)->streams[frame->hd.stream_id];
      return 0;
    });
    nghttp2_session_callbacks_set_on_header_callback(
        calls, [](nghttp2_session*, const nghttp2_frame* frame, const uint8_t* name, size_t n, const uint8_t* value, size_t v, uint8_t, void* self) {
          static_cast<H2Server*>(self)->streams[frame->hd.stream_id].headers.emplace_back(text(name, n), text(value, v));
          return 0;
        });
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(
        calls, [](nghttp2_session*, uint8_t, int32_t id, const uint8_t* bytes, size_t n, void* self) {
          static_cast<H2Server*>(self)->on_data(id, text(bytes, n));
          return 0;
        });
    nghttp2_session_callbacks_set_on_frame_recv_callback(calls, [](nghttp2_session*, const nghttp2_frame* frame, void* self) {
      static_cast<H2Server*>(self)->on_frame(*frame);
      return 0;
    });
    nghttp2_session_callbacks_set_on_stream_close_callback(calls, [](nghttp2_session*, int32_t id, uint32_t code, void* self) {
      Stream& stream = static_cast<H2Server*>(self)->streams[id];
      stream.closed = true;
      stream.code = code;
      return 0;
    });
    nghttp2_option* option = nullptr;
    CHECK(nghttp2_option_new(&option) == 0);
    nghttp2_option_set_no_auto_window_update(option, plan.opens ? 0 : 1);
    CHECK(nghttp2_session_server_new2(&session, calls, this, option) == 0);
    nghttp2_option_del(option);
    nghttp2_session_callbacks_del(calls);
    const nghttp2_settings_entry settings[] = {{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, plan.window}, {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, plan.streams}};
    CHECK(nghttp2_submit_settings(session, 0, settings, 2) == 0);
  }
  ~H2Server() { nghttp2_session_del(session); }
  H2Server(const H2Server&) = delete;
  H2Server& operator=(const H2Server&) = delete;

  // Reads once, and writes what there is to be said.
  void serve() {
    std::string in(plan_.bite, '\0');
    const ssize_t n = reads ? receive(in) : -EAGAIN;
    if (n == 0 || (n < 0 && n != -EAGAIN)) over = true;
    if (n > 0) ++received;
    if (n > 0 && nghttp2_session_mem_recv(session, reinterpret_cast<const uint8_t*>(in.data()), static_cast<size_t>(n)) < 0) over = true;
    for (;;) {
      while (!out_.empty()) {
        const ssize_t sent = send(out_);
        if (sent <= 0) return;
        out_.erase(0, static_cast<size_t>(sent));
      }
      const uint8_t* bytes = nullptr;
      ssize_t more = 0;
      while (out_.size() < 65536 && (more = nghttp2_session_mem_send(session, &bytes)) > 0) out_.append(text(bytes, static_cast<size_t>(more)));
      if (out_.empty()) return;
    }
  }

  // Answers: at once the headers; then what say() and finish() bring. `end`: there is no more.
  void answer(int32_t id, const Fields& fields = {{":status", "200"}}, bool end = false) {
    const std::vector<nghttp2_nv> nvs = nvs_of(fields);
    nghttp2_data_provider body{};
    body.source.ptr = this;
    body.read_callback = [](nghttp2_session* of, int32_t stream, uint8_t* to, size_t most, uint32_t* flags, nghttp2_data_source* source, void*) {
      return static_cast<H2Server*>(source->ptr)->on_read(of, stream, to, most, flags);
    };
    CHECK(nghttp2_submit_response(session, id, nvs.data(), nvs.size(), end ? nullptr : &body) == 0);
  }
  void early(int32_t id, const std::string& status) {
    const Fields fields{{":status", status}, {"x-early", "yes"}};
    const std::vector<nghttp2_nv> nvs = nvs_of(fields);
    CHECK(nghttp2_submit_headers(session, 0, id, nullptr, nvs.data(), nvs.size(), nullptr) == 0);
  }
  void say(int32_t id, const std::string& bytes) {
    streams[id].out += bytes;
    resume(id);
  }
  void finish(int32_t id, const Fields& trailers = {}) {
    streams[id].finishes = true;
    streams[id].trailers = trailers;
    resume(id);
  }
  void reset(int32_t id, uint32_t code) { CHECK(nghttp2_submit_rst_stream(session, 0, id, code) == 0); }
  void goaway(int32_t last, uint32_t code = 0, const std::string& why = {}) {
    CHECK(nghttp2_submit_goaway(session, 0, last, code, reinterpret_cast<const uint8_t*>(why.data()), why.size()) == 0);
  }
  void hang_up() { fd_.close(); }
  Fd& fd() { return fd_; }

  static std::vector<nghttp2_nv> nvs_of(const Fields& fields) {
    std::vector<nghttp2_nv> nvs;
    for (const auto& [name, value] : fields) {
      const auto bytes = [](const std::string& of) { return const_cast<uint8_t*>(reinterpret_cast<const uint8_t*>(of.data())); };
      nvs.push_back({bytes(name), bytes(value), name.size(), value.size(), NGHTTP2_NV_FLAG_NONE});
    }
    return nvs;
  }

  nghttp2_session* session = nullptr;
  std::map<int32_t, Stream> streams;
  std::function<void(int32_t id)> on_request;  // its headers are there
  bool reads = true;
  bool over = false;    // the client has gone, or spoke nonsense
  int received = 0;     // reads that brought something
  int pings = 0;
  int resets = 0;
  bool goodbye = false;  // GOAWAY has come

 private:
  static std::string text(const uint8_t* bytes, size_t n) { return {reinterpret_cast<const char*>(bytes), n}; }

  ssize_t receive(std::string& in) {
    if (tls_ != nullptr) {
      const Result<size_t> n = tls_->read(std::as_writable_bytes(std::span(in)));
      return n.ok() ? static_cast<ssize_t>(*n) : n.status().code() == Code::kAgain ? -EAGAIN : -EPROTO;
    }
    const ssize_t n = ::recv(fd_.get(), in.data(), in.size(), 0);
    return n < 0 ? -errno : n;
  }
  ssize_t send(const std::string& bytes) {
    if (tls_ == nullptr) return ::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    const Result<size_t> n = tls_->write(std::as_bytes(std::span(bytes)));
    return n.ok() ? static_cast<ssize_t>(*n) : -1;
  }
  void on_data(int32_t id, const std::string& bytes) {
    Stream& stream = streams[id];
    stream.body += bytes;
    if (plan_.echo) say(id, bytes);
  }
  void on_frame(const nghttp2_frame& frame) {
    if (frame.hd.type == NGHTTP2_PING && (frame.hd.flags & NGHTTP2_FLAG_ACK) == 0) ++pings;
    if (frame.hd.type == NGHTTP2_RST_STREAM) ++resets;
    if (frame.hd.type == NGHTTP2_GOAWAY) goodbye = true;
    if (frame.hd.type != NGHTTP2_HEADERS && frame.hd.type != NGHTTP2_DATA) return;
    const int32_t id = frame.hd.stream_id;
    if (frame.hd.type == NGHTTP2_DATA) ++streams[id].frames;
    const bool end = (frame.hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
    streams[id].ended = streams[id].ended || end;
    if (frame.hd.type == NGHTTP2_HEADERS && plan_.echo) answer(id);
    if (frame.hd.type == NGHTTP2_HEADERS && on_request) on_request(id);
    if (end && plan_.echo) finish(id, {{"x-end", "yes"}});
  }
  void resume(int32_t id) {
    if (std::exchange(streams[id].deferred, false)) nghttp2_session_resume_data(session, id);
  }
  ssize_t on_read(nghttp2_session* of, int32_t id, uint8_t* to, size_t most, uint32_t* flags) {
    Stream& stream = streams[id];
    const size_t n = std::min(most, stream.out.size() - stream.said);
    if (n == 0 && !stream.finishes) {
      stream.deferred = true;
      return NGHTTP2_ERR_DEFERRED;
    }
    std::memcpy(to, stream.out.data() + stream.said, n);
    stream.said += n;
    if (stream.said < stream.out.size() || !stream.finishes) return static_cast<ssize_t>(n);
    *flags |= NGHTTP2_DATA_FLAG_EOF;
    if (!stream.trailers.empty()) {
      *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
      const std::vector<nghttp2_nv> nvs = nvs_of(stream.trailers);
      CHECK(nghttp2_submit_trailer(of, id, nvs.data(), nvs.size()) == 0);
    }
    return static_cast<ssize_t>(n);
  }

  Fd fd_;
  std::unique_ptr<Tls> tls_;
  Plan plan_;
  std::string out_;
};

}  // namespace relay::test

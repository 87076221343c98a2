// SPDX-License-Identifier: Apache-2.0
// net/h2_server against nghttp2's own client, in memory: calls and their ends, bounds, what a client breaks off; and bytes that no client should send.
#include "net/h2_server.h"

#include <gtest/gtest.h>
#include <nghttp2/nghttp2.h>

#include <array>
#include <functional>
#include <list>
#include <map>

#include "net/h2.h"

namespace relay {
namespace {

struct Seen {
  std::string headers, data, trailers;
  bool closed = false;
  uint32_t code = 0;
};

class Client {
 public:
  Client() {
    nghttp2_session_callbacks* calls = nullptr;
    nghttp2_session_callbacks_new(&calls);
    nghttp2_session_callbacks_set_on_header_callback(
        calls, [](nghttp2_session*, const nghttp2_frame* frame, const uint8_t* name, size_t n, const uint8_t* value, size_t m, uint8_t, void* user) {
          Seen& seen = static_cast<Client*>(user)->streams[frame->hd.stream_id];
          std::string& to = frame->headers.cat == NGHTTP2_HCAT_RESPONSE ? seen.headers : seen.trailers;
          to.append(reinterpret_cast<const char*>(name), n).append("=").append(reinterpret_cast<const char*>(value), m).append(";");
          return 0;
        });
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(calls, [](nghttp2_session*, uint8_t, int32_t id, const uint8_t* bytes, size_t n, void* user) {
      static_cast<Client*>(user)->streams[id].data.append(reinterpret_cast<const char*>(bytes), n);
      return 0;
    });
    nghttp2_session_callbacks_set_on_stream_close_callback(calls, [](nghttp2_session*, int32_t id, uint32_t code, void* user) {
      Seen& seen = static_cast<Client*>(user)->streams[id];
      seen.closed = true;
      seen.code = code;
      return 0;
    });
    nghttp2_session_client_new(&session, calls, this);
    nghttp2_session_callbacks_del(calls);
    nghttp2_submit_settings(session, NGHTTP2_FLAG_NONE, nullptr, 0);
  }
  ~Client() { nghttp2_session_del(session); }

  // `body`: what is sent of it before the end; without `end` the stream stays open.
  int32_t ask(const std::string& path, std::string body = {}, bool end = true, const std::string& extra = "x") {
    const auto header = [](const std::string& name, const std::string& value) {
      const auto bytes = [](const std::string& text) { return const_cast<uint8_t*>(reinterpret_cast<const uint8_t*>(text.data())); };
      return nghttp2_nv{bytes(name), bytes(value), name.size(), value.size(), NGHTTP2_NV_FLAG_NONE};
    };
    const std::string texts[] = {":method", "POST", ":scheme", "http", ":path", path, ":authority", "localhost", "x", extra};
    std::array<nghttp2_nv, 5> headers{};
    for (size_t i = 0; i < headers.size(); ++i) headers[i] = header(texts[2 * i], texts[2 * i + 1]);
    bodies.push_back({std::move(body), end});
    nghttp2_data_provider provider{};
    provider.source.ptr = &bodies.back();
    provider.read_callback = [](nghttp2_session*, int32_t, uint8_t* to, size_t most, uint32_t* flags, nghttp2_data_source* source, void*) -> ssize_t {
      auto& [text, ends] = *static_cast<std::pair<std::string, bool>*>(source->ptr);
      const size_t n = text.copy(reinterpret_cast<char*>(to), most);
      text.erase(0, n);
      if (text.empty() && ends) *flags |= NGHTTP2_DATA_FLAG_EOF;
      else if (n == 0) return NGHTTP2_ERR_DEFERRED;
      return static_cast<ssize_t>(n);
    };
    return nghttp2_submit_request(session, nullptr, headers.data(), headers.size(), &provider, nullptr);
  }

  nghttp2_session* session = nullptr;
  std::list<std::pair<std::string, bool>> bodies;
  std::map<int32_t, Seen> streams;
};

class H2ServerTest : public ::testing::Test, public H2ServerUser {
 protected:
  void on_h2_request(int32_t id, std::span<const H2Header> headers) override {
    std::string text;
    for (const H2Header& header : headers) text += std::string(header.name) + "=" + std::string(header.value) + ";";
    requests[id] = text;
    if (at_request) at_request(id);
  }
  void on_h2_data(int32_t id, std::span<const std::byte> bytes) override { data[id].append(reinterpret_cast<const char*>(bytes.data()), bytes.size()); }
  void on_h2_finished(int32_t id) override {
    finished.push_back(id);
    if (at_finish) at_finish(id);
  }
  void on_h2_closed(int32_t id) override { closed.push_back(id); }

  // Both sides, until neither has more to say. Pieces of `piece` bytes.
  void run(size_t piece = SIZE_MAX) {
    for (bool more = true; more;) {
      more = false;
      const uint8_t* bytes = nullptr;
      for (ssize_t n; (n = nghttp2_session_mem_send(client.session, &bytes)) > 0; more = true) {
        std::span<const std::byte> rest = std::as_bytes(std::span(bytes, static_cast<size_t>(n)));
        while (!rest.empty() && status.ok()) {
          status = server.feed(rest.first(std::min(piece, rest.size())));
          rest = rest.subspan(std::min(piece, rest.size()));
        }
      }
      std::string out;
      static_cast<void>(server.pull(out, 100'000));
      if (out.empty()) continue;
      more = true;
      EXPECT_EQ(nghttp2_session_mem_recv(client.session, reinterpret_cast<const uint8_t*>(out.data()), out.size()), static_cast<ssize_t>(out.size()));
    }
  }
  void answer(int32_t id, const std::string& body) {
    const std::array<H2Header, 1> headers{{{":status", "200"}}};
    const std::array<H2Header, 1> trailers{{{"grpc-status", "0"}}};
    server.respond(id, headers, false);
    server.write(id, body);
    server.finish(id, trailers);
  }

  H2Server server{*this, {}};
  Client client;
  Status status;
  std::map<int32_t, std::string> requests, data;
  std::vector<int32_t> finished, closed;
  std::function<void(int32_t)> at_request, at_finish;
};

TEST_F(H2ServerTest, ACallThereAndBack) {
  for (const size_t piece : {SIZE_MAX, size_t{1}, size_t{7}}) {
    const int32_t id = client.ask("/a", std::string(50'000, 'q'));
    at_finish = [&](int32_t at) { answer(at, std::string(200'000, 'a')); };
    run(piece);
    EXPECT_TRUE(status.ok());
    EXPECT_EQ(requests[id], ":method=POST;:scheme=http;:path=/a;:authority=localhost;x=x;");
    EXPECT_EQ(data[id], std::string(50'000, 'q'));
    EXPECT_EQ(client.streams[id].headers, ":status=200;");
    EXPECT_EQ(client.streams[id].data, std::string(200'000, 'a'));
    EXPECT_EQ(client.streams[id].trailers, "grpc-status=0;");
    EXPECT_TRUE(client.streams[id].closed);
    EXPECT_EQ(closed.back(), id);
  }
}

TEST_F(H2ServerTest, AnAnswerBeforeTheEndOfTheRequestIsNotCutOff) {
  const int32_t id = client.ask("/a", std::string(10, 'q'), false);
  at_request = [&](int32_t at) { answer(at, "early"); };
  run();
  EXPECT_EQ(client.streams[id].data, "early");
  EXPECT_EQ(client.streams[id].trailers, "grpc-status=0;");
  EXPECT_TRUE(client.streams[id].closed);
  EXPECT_EQ(client.streams[id].code, uint32_t{NGHTTP2_NO_ERROR});
  EXPECT_EQ(closed, std::vector<int32_t>{id});
  EXPECT_TRUE(finished.empty());
}

TEST_F(H2ServerTest, TrailersAlone) {
  const int32_t id = client.ask("/a");
  at_finish = [&](int32_t at) {
    const std::array<H2Header, 2> headers{{{":status", "200"}, {"grpc-status", "5"}}};
    server.respond(at, headers, true);
  };
  run();
  EXPECT_EQ(client.streams[id].headers, ":status=200;grpc-status=5;");
  EXPECT_TRUE(client.streams[id].closed);
}

TEST_F(H2ServerTest, AStreamGoesOnWithPiecesAndWaitsForWindows) {
  const int32_t id = client.ask("/watch");
  run();
  const std::array<H2Header, 1> headers{{{":status", "200"}}};
  server.respond(id, headers, false);
  run();
  EXPECT_EQ(client.streams[id].headers, ":status=200;");
  server.write(id, "one");
  run();
  server.write(id, "two");
  run();
  EXPECT_EQ(client.streams[id].data, "onetwo");
  EXPECT_EQ(server.unsent(id), 0U);
  EXPECT_EQ(server.taken(id), 6U);
  nghttp2_session_set_local_window_size(client.session, NGHTTP2_FLAG_NONE, id, 0);
  run();
  server.write(id, std::string(200'000, 'x'));
  run();
  EXPECT_GT(server.unsent(id), 0U);
  nghttp2_session_set_local_window_size(client.session, NGHTTP2_FLAG_NONE, id, 1 << 20);
  run();
  EXPECT_EQ(server.unsent(id), 0U);
  EXPECT_EQ(client.streams[id].data.size(), 200'006U);
  EXPECT_FALSE(client.streams[id].closed);
  nghttp2_submit_rst_stream(client.session, NGHTTP2_FLAG_NONE, id, NGHTTP2_CANCEL);
  run();
  EXPECT_EQ(closed, std::vector<int32_t>{id});
  server.write(id, "to nobody");
  server.finish(id, {});
  run();
}

TEST_F(H2ServerTest, ResetIsSilent) {
  const int32_t id = client.ask("/a");
  run();
  server.reset(id, H2Server::kCancel);
  run();
  EXPECT_TRUE(closed.empty());
  EXPECT_TRUE(client.streams[id].closed);
  EXPECT_EQ(client.streams[id].code, H2Server::kCancel);
}

TEST_F(H2ServerTest, LongHeadersAreNotForItsUser) {
  run();
  const int32_t id = client.ask("/a", "", true, std::string(16 * 1024, 'x'));
  const int32_t next = client.ask("/b", "", true, std::string(10 * 1024, 'x'));
  at_finish = [&](int32_t at) { answer(at, "well"); };
  run();
  EXPECT_FALSE(requests.contains(id));
  EXPECT_EQ(client.streams[id].code, uint32_t{NGHTTP2_ENHANCE_YOUR_CALM});
  EXPECT_EQ(client.streams[next].data, "well");
}

TEST_F(H2ServerTest, StreamsAreBounded) {
  for (int i = 0; i < 200; ++i) client.ask("/a");
  run();
  EXPECT_EQ(requests.size(), 32U);
  at_finish = [&](int32_t at) { answer(at, "well"); };
  for (const int32_t id : std::vector<int32_t>(finished)) answer(id, "well");
  run();
  size_t well = 0;
  for (const auto& [id, seen] : client.streams) well += seen.data == "well" ? 1U : 0U;
  EXPECT_GE(well, 32U);
}

TEST_F(H2ServerTest, Goodbye) {
  const int32_t id = client.ask("/a");
  run();
  server.say_goodbye();
  run();
  EXPECT_FALSE(server.is_over());
  answer(id, "last");
  run();
  EXPECT_EQ(client.streams[id].data, "last");
  EXPECT_TRUE(server.is_over());
}

TEST_F(H2ServerTest, GarbageIsRefused) {
  const std::string preface(H2Server::kPreface);
  const std::string settings("\0\0\0\4\0\0\0\0\0", 9);
  const std::string all[] = {
      "GET / HTTP/1.1\r\n\r\n",
      preface + std::string(100, '\xff'),
      preface + std::string("\0\0\1\0\0\0\0\0\1x", 10),             // data before settings
      preface + settings + std::string("\0\0\1\1\4\0\0\0\2\x82", 10),  // an even stream
      preface + settings + std::string("\0\0\4\1\4\0\0\0\1\xff\xff\xff\xff", 13),
  };
  for (const std::string& bytes : all) {
    H2Server one(*this, {});
    std::string out;
    const bool ok = one.feed(std::as_bytes(std::span(bytes))).ok() && one.pull(out, 100'000).ok();
    EXPECT_TRUE(!ok || one.is_over()) << bytes;
  }
  EXPECT_TRUE(requests.empty());
}

}  // namespace
}  // namespace relay

// SPDX-License-Identifier: Apache-2.0
// H2Server: HTTP/2 (RFC 9113) as a server, by nghttp2: the session of one connection, bytes in, bytes out. It owns no socket and no clock: whoever
// has them feeds it what has come, and sends what it pulls. (H2 is the client's side: that one is for much traffic over few streams, this one
// for little over a few.)
//
//   bytes ─ feed() ─► on_h2_request, on_h2_data, on_h2_finished ─► respond(), write() …, finish() ─ pull() ─► bytes
//                                          on_h2_closed: once and last of each request ◄── both have said all, or one has given it up
//
// What waits to be sent of a stream is its user's to bound (unsent()). What a client may send ahead is bounded by windows, streams and headers by
// Limits; those that flood with resets, pings and settings nghttp2 ends itself. Callbacks come from within feed() and pull(), and may call all
// but these two.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lib/status.h"

struct nghttp2_session;

namespace relay {

struct H2Header;

class H2ServerUser {
 public:
  // A request, pseudo-headers first; the views live for the call.
  virtual void on_h2_request(int32_t id, std::span<const H2Header> headers) = 0;
  virtual void on_h2_data(int32_t id, std::span<const std::byte> bytes) = 0;
  virtual void on_h2_finished(int32_t id) = 0;  // the client has said all of it
  virtual void on_h2_closed(int32_t id) = 0;    // it is over; not after reset()

 protected:
  ~H2ServerUser() = default;
};

class H2Server final {
 public:
  struct Limits {
    uint32_t streams = 32;               // at a time
    uint32_t header_list = 16 * 1024;    // bytes of a request's headers
  };
  // What a client says first, which is no request of HTTP/1.
  static constexpr std::string_view kPreface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
  static constexpr uint32_t kCancel = 8;  // codes of RFC 9113, section 7
  static const bool kBuilt;               // else it takes nobody

  // Borrows `user` for its life.
  H2Server(H2ServerUser& user, const Limits& limits);
  ~H2Server();
  H2Server(const H2Server&) = delete;
  H2Server& operator=(const H2Server&) = delete;

  // A failure: the client is to be closed, once it has what pull() still gives.
  Status feed(std::span<const std::byte> bytes);
  // Appends what is to be sent, until `out` has `most` bytes and a frame, or that was all.
  Status pull(std::string& out, size_t most);
  bool has_output() const;
  // Nothing will be said by either side any more.
  bool is_over() const;
  // There are to be no new streams; those that are there go on.
  void say_goodbye();

  // Of a stream that is there: between on_h2_request and on_h2_closed.
  void respond(int32_t id, std::span<const H2Header> headers, bool end);
  // REQUIRES, these two: respond() without an end, and no finish().
  void write(int32_t id, std::string_view bytes);
  void finish(int32_t id, std::span<const H2Header> trailers);
  void reset(int32_t id, uint32_t code);
  size_t unsent(int32_t id) const;   // bytes that wait for windows and the socket
  uint64_t taken(int32_t id) const;  // that do not wait any more

 private:
  friend struct H2ServerCalls;
  struct Stream {
    std::string out;
    size_t sent = 0;  // of `out`
    uint64_t taken = 0;
    std::vector<std::pair<std::string, std::string>> trailers;
    bool finished = false;
    bool deferred = false;  // nghttp2 has been told that there is nothing
  };

  Stream* find(int32_t id);
  const Stream* find(int32_t id) const;
  void must(int result);
  void go_on(int32_t id, Stream& stream);

  H2ServerUser& user_;
  Limits limits_;
  nghttp2_session* session_ = nullptr;
  std::map<int32_t, Stream> streams_;
  std::string header_bytes_;  // of the headers that are coming: names and values, one after the other
  std::vector<std::pair<uint32_t, uint32_t>> header_sizes_;
  int doomed_ = 0;            // nghttp2 has failed, out of its own sight
};

}  // namespace relay

// SPDX-License-Identifier: Apache-2.0
// H2: HTTP/2 (RFC 9113) as a client, by nghttp2 over a Conn: one connection, and its streams.
//
//   Dial ─take()─► H2: Open ──── GOAWAY ───► Leaving: its streams go on, there are no new ones ─┐
//                       └── failed, ended by the peer ────────────────────────► Down ◄──────────┘ after the last
//
//   H2Stream:  Idle ─request()─► Open ─finish()─► (we have said all) ─► on_h2_end, once and last
//                                                  reset() ───────────► Idle, silently
//
// A stream has a Queue of its own, with a bound, for what is to be sent: HTTP/2's windows and the socket take from it, and on_h2_room says when
// there is room after it was full. What comes in is given to its user as it comes, and counts as taken: the windows are large, and
// a user that cannot take any more has to reset its stream. What is written in a turn leaves together in the next, behind what happens then.
// Callbacks may do anything to streams and to the H2 but destroy them: bury their owner.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lib/list.h"
#include "lib/status.h"
#include "net/buffer.h"
#include "net/conn.h"
#include "net/dial.h"
#include "net/loop.h"
#include "queue.h"

struct nghttp2_session;

namespace relay {

class H2;
class H2Stream;

struct H2Header {
  std::string_view name;  // lower case
  std::string_view value;
};

class H2User {
 public:
  // The peer takes no new streams (GOAWAY); those that are open go on. `error_code`: of RFC 9113, section 7; `details`: what it said with it.
  virtual void on_h2_leaving(uint32_t error_code, const std::string& details) = 0;
  // The connection is gone, for reasons in words. Its streams have been told before. Once, and last.
  virtual void on_h2_down(const std::string& why) = 0;

 protected:
  ~H2User() = default;
};

class H2StreamUser {
 public:
  // Headers have come (1xx ones are passed over), or trailers; the views live for the call.
  virtual void on_h2_headers(std::span<const H2Header> headers, bool trailers) = 0;
  virtual void on_h2_data(std::span<const std::byte> bytes) = 0;
  // write() was refused, and half of the queue is free now.
  virtual void on_h2_room() = 0;
  // Over. kOk or kEof: the peer has ended it in order. kReset: RST_STREAM, and the code of RFC 9113, section 7; the peer's, or ours where it broke
  // the rules. kLimit: longer headers than are read, or no memory. kRefused: the peer has not looked at it (GOAWAY). Any other: the connection is
  // gone (kTruncated: cut off). Not after reset(). Once, and last; the stream is idle again and its queue as it was (see unsent()).
  virtual void on_h2_end(const Status& why, uint32_t error_code, const std::string& details) = 0;

 protected:
  ~H2StreamUser() = default;
};

class H2Stream final : public ListNode {
 public:
  static constexpr uint32_t kNoError = 0, kCancel = 8;

  // Borrows `user` for its life. At most `bound` bytes wait to be sent.
  H2Stream(H2StreamUser& user, uint64_t bound) : user_(user), out_(bound) {}
  ~H2Stream() { reset(kCancel); }

  bool is_open() const { return h2_ != nullptr; }
  // Appends all of the parts, or, if there is no room, nothing: then on_h2_room will come. An open stream's bytes will leave; those of an idle one
  // wait for its request(). False after finish().
  // REQUIRES: together they are no more than the bound, or there will never be room.
  bool write(std::initializer_list<std::span<const std::byte>> parts);
  uint64_t room() const { return out_.bound() - out_.size(); }
  // Ends our side behind what was written.
  void finish();
  // Forgets it, and tells the peer; what has not left is thrown away. Nothing more is called.
  void reset(uint32_t code);
  // Gives the memory of the queue back, if nothing is in it: it keeps it from one message to the next.
  void tidy() { out_.trim(); }
  // What has not been given to HTTP/2; it may be read, and consumed while the stream is idle. Bytes that have been given may be lost with
  // the connection all the same.
  Queue& unsent() { return out_; }

 private:
  friend class H2;
  friend struct H2Calls;
  H2StreamUser& user_;
  Queue out_;
  H2* h2_ = nullptr;
  int32_t id_ = 0;         // negative: it failed with this error of nghttp2, and its user will be told
  bool finished_ = false;
  bool asked_ = false;     // write() was refused
  bool deferred_ = false;  // nghttp2 has been told that there is nothing
};

class H2 final : private ConnUser {
 public:
  struct Limits {
    uint32_t stream_window = 1024 * 1024;       // that the peer may send before we have taken it
    uint32_t connection_window = 4 * 1024 * 1024;
    uint32_t header_list = 64 * 1024;           // bytes of headers that are read
  };

  // Borrows both for its life.
  H2(Loop& loop, H2User& user, const Limits& limits);
  ~H2();

  // Takes the connection over and says the preface. REQUIRES: within on_dialed, not open. kLimit: no memory. With TLS the peer must
  // have chosen h2 by ALPN (kInvalid). Not from within on_h2_end of a connection that is gone: on_h2_down comes behind (kInvalid).
  Status take(Dial& dial);
  bool is_open() const { return conn_.is_open(); }
  bool takes_streams() const { return is_open() && !leaving_; }  // and no GOAWAY has come
  const Tls* tls() const { return conn_.tls(); }

  // Opens `stream` with these headers (pseudo-headers first); `end`: there is no body. Its user hears of a failure by on_h2_end, not from within
  // this. More streams than the peer allows at once wait. REQUIRES: stream is not open; takes_streams().
  void request(H2Stream& stream, std::span<const H2Header> headers, bool end);
  // While `yes` nothing is read of the connection; what a call of on_h2_data has brought already, it brings.
  void hold(bool yes);
  Time last_heard() const { return last_heard_; }  // bytes of any kind, by this connection
  bool owns_block() const { return out_.owns_block(); }  // an idle one does not

  // Closes it at once, silently: its streams' users are not called, and become idle; GOAWAY is said if there is room for it.
  void close();

 private:
  friend class H2Stream;
  friend struct H2Calls;

  void on_ready(Conn& conn) override;
  void start_session();
  bool read();
  bool send();
  bool pull();
  bool write_out();
  bool feed(std::span<const std::byte> bytes);
  bool check();
  void tell_failed();
  void tell_room();
  bool left(nghttp2_session* session, ssize_t result);
  void mark();
  void must(int result);
  void wrote(H2Stream& stream);
  void fail(H2Stream& stream, int error);
  void forget(H2Stream& stream, uint32_t code);
  void finished_by_peer(H2Stream& stream);
  void end(H2Stream& stream, const Status& why, uint32_t code, const std::string& details);
  void leave(uint32_t error_code, const std::string& details);
  void down(const Status& why, const std::string& details);
  void say_goodbye();
  void shut();

  Loop& loop_;
  H2User& user_;
  Limits limits_;
  Conn conn_;
  bool held_ = false;
  nghttp2_session* session_ = nullptr;
  nghttp2_session* busy_ = nullptr;  // is being called: it is deleted when it has returned
  // A stream is in one of these.
  List<H2Stream> open_;
  List<H2Stream> roomy_;   // its user is to be told that there is room
  List<H2Stream> failed_;  // its user is to be told that it never came to be
  List<H2Stream> ending_;  // the connection is gone, its users are being told
  Buffer out_;             // bytes that HTTP/2 counts as said
  Status deaf_;            // a write has failed: reading tells why
  std::string header_bytes_;  // of the headers that are coming: names and values, one after the other
  std::vector<std::pair<uint32_t, uint32_t>> header_sizes_;
  std::string fault_;      // what was wrong last
  std::string farewell_;   // what the peer said with GOAWAY
  int32_t reset_id_ = 0;   // of the last RST_STREAM
  int doomed_ = 0;         // nghttp2 has failed, out of its own sight
  bool dirty_ = false;     // there may be something to be sent
  bool blocked_ = false;   // there was, and the socket took no more
  bool whole_ = true;      // what is in out_ ends where a frame ends
  bool greeted_ = false;   // the preface has been said, or is in out_
  bool leaving_ = false;
  bool telling_ = false;   // within down()
  Time last_heard_{};
};

}  // namespace relay

// SPDX-License-Identifier: Apache-2.0
// H2: see the picture in h2.h. This half: streams, bytes, ends. The other (h2_calls.cpp) is what nghttp2 calls.
//
// nghttp2 is called in two places only, feed() and pull(), and calls users from within. They may close the H2 there: then its session is
// taken away (session_) and deleted when it has returned (left()). All else that is said to nghttp2 is a note for the next pull().
#include "net/h2.h"

#include <nghttp2/nghttp2.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "net/h2_calls.h"

namespace relay {
namespace {

constexpr int kReadRounds = 4;
constexpr int kWriteRounds = 8;
constexpr const char* kNoMore = "the server takes no more requests";

std::string words_of(const Status& why) {
  // The errno of TLS says less than its reason.
  return why.error() != 0 && why.error() != EPROTO ? std::strerror(why.error()) : why.reason();
}

// What is wrong with a peer, or with us, by nghttp2's number.
Status status_of(int error) {
  if (error == NGHTTP2_ERR_NOMEM) return {Code::kLimit, "out of memory"};
  if (error == NGHTTP2_ERR_STREAM_ID_NOT_AVAILABLE) return {Code::kRefused, "the numbers of streams are used up"};
  if (error == NGHTTP2_ERR_START_STREAM_NOT_ALLOWED) return {Code::kRefused, kNoMore};
  return {Code::kInvalid, nghttp2_strerror(error)};
}

}  // namespace

// ---- a stream

bool H2Stream::write(std::initializer_list<std::span<const std::byte>> parts) {
  if (finished_) return false;
  uint64_t size = 0;
  for (const auto& part : parts) size += part.size();
  if (size == 0) return true;
  if (size > room()) {
    asked_ = true;
    return false;
  }
  if (!out_.reserve(size)) {
    if (h2_ != nullptr) h2_->fail(*this, NGHTTP2_ERR_NOMEM);
    return false;
  }
  for (auto part : parts) {
    for (const auto& room : out_.room()) {
      const size_t n = std::min(room.size(), part.size());
      if (n == 0) continue;
      std::memcpy(room.data(), part.data(), n);
      out_.commit(n);
      part = part.subspan(n);
    }
  }
  if (h2_ != nullptr) h2_->wrote(*this);
  return true;
}

void H2Stream::finish() {
  if (finished_) return;
  finished_ = true;
  if (h2_ != nullptr) h2_->wrote(*this);
}

void H2Stream::reset(uint32_t code) {
  if (h2_ != nullptr) h2_->forget(*this, code);
  finished_ = asked_ = false;
  out_.consume(out_.size());
}

// ---- coming

H2::H2(Loop& loop, H2User& user, const Limits& limits) : loop_(loop), user_(user), limits_(limits), conn_(loop, *this) {}

H2::~H2() { close(); }

Status H2::take(Dial& dial) {
  CHECK(!is_open());
  if (telling_) return {Code::kInvalid, "the last connection has not been mourned"};
  dial.take(conn_);
  if (conn_.tls() != nullptr && conn_.tls()->alpn() != "h2") {
    conn_.close();
    return {Code::kInvalid, "the server does not speak HTTP/2: it has not chosen h2 (ALPN)"};
  }
  start_session();
  if (session_ == nullptr) {
    conn_.close();
    return {Code::kLimit, "no memory for HTTP/2"};
  }
  last_heard_ = {};
  held_ = false;
  mark();
  return {};
}

void H2::start_session() {
  session_ = H2Calls::make_session(*this);
  if (session_ == nullptr) return;
  const std::array<nghttp2_settings_entry, 3> settings{{{NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
                                                        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, limits_.stream_window},
                                                        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, limits_.header_list}}};
  const auto window = static_cast<int32_t>(std::min<uint32_t>(limits_.connection_window, INT32_MAX));
  if (nghttp2_submit_settings(session_, NGHTTP2_FLAG_NONE, settings.data(), settings.size()) == 0 &&
      nghttp2_session_set_local_window_size(session_, NGHTTP2_FLAG_NONE, 0, window) == 0)
    return;
  nghttp2_session_del(std::exchange(session_, nullptr));
}

void H2::request(H2Stream& stream, std::span<const H2Header> headers, bool end) {
  CHECK(takes_streams() && !stream.is_open());
  const std::vector<nghttp2_nv> all = raw(headers);
  nghttp2_data_provider body{};
  body.read_callback = H2Calls::on_read;
  stream.h2_ = this;
  stream.deferred_ = false;
  if (end) stream.finished_ = true;
  stream.id_ = nghttp2_submit_request(session_, nullptr, all.data(), all.size(), end ? nullptr : &body, &stream);
  (stream.id_ < 0 ? failed_ : open_).push_back(stream);
  mark();
}

// ---- turns

void H2::on_ready(Conn&) {
  // What was written in a turn leaves behind the next one's events, so that what belongs together goes together.
  const bool due = conn_.asked() || blocked_;
  if (!read()) return;
  tell_failed();
  if (session_ == nullptr || (due && !send())) return;
  tell_room();
  if (session_ != nullptr && check() && conn_.readable() && !held_) conn_.again();
}

void H2::hold(bool yes) {
  if (held_ && !yes && is_open()) conn_.again();
  held_ = yes;
}

// There may be something to be sent, or somebody to be told: in the next turn.
void H2::mark() {
  if (session_ == nullptr) return;
  dirty_ = true;
  conn_.again();
}

// What was said to nghttp2 where it could not be told that there is no memory.
void H2::must(int result) {
  if (nghttp2_is_fatal(result) == 0) return;
  doomed_ = result;
  mark();
}

// The end of a turn: whether it is over, for other reasons than a failure of the socket. False: it was.
bool H2::check() {
  const bool used_up = nghttp2_session_get_next_stream_id(session_) > INT32_MAX;
  if (doomed_ != 0) {
    down(status_of(doomed_), nghttp2_strerror(doomed_));
  } else if (leaving_ && open_.empty() && roomy_.empty() && failed_.empty()) {
    say_goodbye();
    down({Code::kRefused, kNoMore}, kNoMore + (farewell_.empty() ? "" : ": " + farewell_));
  } else if (leaving_ || used_up ? nghttp2_session_want_read(session_) == 0 && nghttp2_session_want_write(session_) == 0
                                 : nghttp2_session_check_request_allowed(session_) == 0) {
    // nghttp2 has found something wrong: it will do no more but say so, in GOAWAY.
    if (send()) down({Code::kInvalid, "the server broke the rules of HTTP/2"}, "the server broke the rules of HTTP/2" + (fault_.empty() ? "" : ": " + fault_));
  }
  return session_ != nullptr;
}

void H2::tell_failed() {
  size_t left = 0;  // those that fail meanwhile are for the next turn
  for (H2Stream* stream = failed_.front(); stream != nullptr; stream = failed_.next(*stream)) ++left;
  for (; left > 0 && !failed_.empty(); --left) {
    H2Stream& stream = *failed_.front();
    const int error = stream.id_;
    end(stream, status_of(error), 0, status_of(error).reason());
    if (error == NGHTTP2_ERR_STREAM_ID_NOT_AVAILABLE && session_ != nullptr) leave(NGHTTP2_NO_ERROR, status_of(error).reason());
  }
}

void H2::tell_room() {
  while (!roomy_.empty()) {
    H2Stream& stream = *roomy_.front();
    open_.push_back(stream);
    stream.asked_ = false;
    stream.user_.on_h2_room();
  }
}

// ---- reading

// False, here and below: this session is over.
bool H2::read() {
  Buffer in;
  bool more = true;
  for (int round = 0; more && !held_ && round < kReadRounds && conn_.readable(); ++round) {
    if (!in.borrow(loop_.buffers())) {
      down({Code::kLimit, "out of memory"}, "out of memory");
      return false;
    }
    const Result<size_t> n = conn_.read(in.room());
    if (n.ok()) {
      more = feed(in.room().first(*n));
      continue;
    }
    const Status& why = n.status();
    if (why.code() != Code::kAgain) {
      const bool eof = why.code() == Code::kEof;
      in.release(loop_.buffers());
      // To a stream this is no end in order, and no RST_STREAM.
      down({eof || why.code() == Code::kReset ? Code::kTruncated : why.code(), why.reason(), why.error()}, eof ? "closed by the server" : words_of(why));
      return false;
    }
    if (!deaf_.ok()) {
      const Status failed = deaf_;
      in.release(loop_.buffers());
      down({Code::kTruncated, failed.reason(), failed.error()}, words_of(failed));
      return false;
    }
    break;
  }
  in.release(loop_.buffers());
  return more;
}

bool H2::feed(std::span<const std::byte> bytes) {
  last_heard_ = loop_.now();
  nghttp2_session* const session = busy_ = session_;
  const ssize_t result = nghttp2_session_mem_recv(session, reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
  if (!left(session, result)) return false;
  if (nghttp2_session_want_write(session) != 0) mark();
  return true;
}

// nghttp2 has returned.
bool H2::left(nghttp2_session* session, ssize_t result) {
  busy_ = nullptr;
  if (session_ != session) {
    nghttp2_session_del(session);
    return false;
  }
  if (result >= 0) return true;
  const auto error = static_cast<int>(result);
  const bool memory = error == NGHTTP2_ERR_NOMEM;
  if (!memory) say_goodbye();
  down(status_of(error), memory ? "out of memory" : std::string("the server broke the rules of HTTP/2: ") + nghttp2_strerror(error));
  return false;
}

// ---- writing

bool H2::send() {
  blocked_ = false;
  for (int round = 0; round < kWriteRounds && deaf_.ok(); ++round) {
    if (!conn_.writable()) {
      blocked_ = dirty_ || !out_.empty();
      break;
    }
    if (out_.empty() && (!dirty_ || !pull())) break;
    if (session_ == nullptr || out_.empty() || !write_out()) break;
  }
  if (session_ == nullptr) return false;
  out_.release(loop_.buffers());
  if (!blocked_ && (dirty_ || !out_.empty() || !deaf_.ok())) conn_.again();
  return true;
}

// Fills the output with what HTTP/2 has to say. REQUIRES: it is empty.
bool H2::pull() {
  if (!out_.borrow(loop_.buffers())) {
    down({Code::kLimit, "out of memory"}, "out of memory");
    return false;
  }
  dirty_ = false;
  nghttp2_session* const session = busy_ = session_;
  ssize_t n = 1;
  while (n > 0 && out_.room().size() >= H2Calls::kFrameMost) {
    const uint8_t* bytes = nullptr;
    n = nghttp2_session_mem_send(session, &bytes);
    if (n <= 0 || session_ != session) break;
    const auto size = static_cast<size_t>(n);
    std::memcpy(out_.room().data(), bytes, size);
    out_.commit(size);
    // One at a time: a frame, or the preface.
    const bool opens = greeted_ && (bytes[3] == NGHTTP2_HEADERS || bytes[3] == NGHTTP2_CONTINUATION) && (bytes[4] & NGHTTP2_FLAG_END_HEADERS) == 0;
    whole_ = !opens;
    greeted_ = true;
  }
  if (!left(session, n)) return false;
  // Without room it was not asked whether that was all.
  if (out_.room().size() < H2Calls::kFrameMost) dirty_ = true;
  return true;
}

// False: enough for now.
bool H2::write_out() {
  const Result<size_t> n = conn_.write(out_.data());
  if (n.ok()) {
    out_.consume(*n);
    return true;
  }
  if (n.status().code() == Code::kAgain) return true;
  // What it is, the next read says; there may be bytes before it.
  deaf_ = n.status();
  out_.consume(out_.size());
  conn_.try_reading();
  return false;
}

void H2::wrote(H2Stream& stream) {
  if (!stream.deferred_ || session_ == nullptr || stream.id_ <= 0) return;
  stream.deferred_ = false;
  must(nghttp2_session_resume_data(session_, stream.id_));
  mark();
}

// ---- ends

// It never came to be, or cannot go on. Its user is told in the next turn.
void H2::fail(H2Stream& stream, int error) {
  if (session_ == nullptr) return;
  if (stream.id_ > 0) {
    nghttp2_session_set_stream_user_data(session_, stream.id_, nullptr);
    must(nghttp2_submit_rst_stream(session_, NGHTTP2_FLAG_NONE, stream.id_, NGHTTP2_CANCEL));
  }
  stream.id_ = error;
  failed_.push_back(stream);
  mark();
}

// Nothing more is called for it.
void H2::forget(H2Stream& stream, uint32_t code) {
  if (session_ != nullptr && stream.id_ > 0) {
    nghttp2_session_set_stream_user_data(session_, stream.id_, nullptr);
    must(nghttp2_submit_rst_stream(session_, NGHTTP2_FLAG_NONE, stream.id_, code));
  }
  mark();
  stream.unlink();
  stream.h2_ = nullptr;
  stream.id_ = 0;
}

// The peer has said all. What we have not is of no use to it any more.
void H2::finished_by_peer(H2Stream& stream) {
  const int32_t id = stream.id_;
  nghttp2_session_set_stream_user_data(session_, id, nullptr);
  if (nghttp2_session_get_stream_local_close(session_, id) == 0) {
    // An end that can be said is said; peers count resets.
    const bool can_end = stream.finished_ && stream.out_.empty() && nghttp2_session_get_stream_remote_window_size(session_, id) > 0;
    if (!can_end) must(nghttp2_submit_rst_stream(session_, NGHTTP2_FLAG_NONE, id, NGHTTP2_NO_ERROR));
    mark();
  }
  end(stream, {}, H2Stream::kNoError, {});
}

// `details` is not of what close() lets go of: the user may call it.
void H2::end(H2Stream& stream, const Status& why, uint32_t code, const std::string& details) {
  stream.unlink();
  stream.h2_ = nullptr;
  stream.id_ = 0;
  stream.finished_ = stream.asked_ = stream.deferred_ = false;
  if (leaving_) mark();  // it may have been the last
  stream.user_.on_h2_end(why, code, details);
}

void H2::leave(uint32_t error_code, const std::string& details) {
  if (leaving_) return;
  leaving_ = true;
  farewell_ = details;
  mark();
  user_.on_h2_leaving(error_code, details);
}

// The connection is gone. REQUIRES: nghttp2 is not being called; `details` as for end().
void H2::down(const Status& why, const std::string& details) {
  shut();
  for (List<H2Stream>* list : {&open_, &roomy_, &failed_})
    while (!list->empty()) ending_.push_back(*list->front());
  telling_ = true;
  while (!ending_.empty()) end(*ending_.front(), why, 0, details);
  if (!std::exchange(telling_, false)) return;  // close() was called
  user_.on_h2_down(details);
}

void H2::close() {
  telling_ = false;
  for (List<H2Stream>* list : {&open_, &roomy_, &failed_, &ending_}) {
    while (!list->empty()) {
      H2Stream& stream = *list->front();
      stream.unlink();
      stream.h2_ = nullptr;
      stream.id_ = 0;
      stream.finished_ = stream.asked_ = stream.deferred_ = false;
    }
  }
  say_goodbye();
  shut();
}

// GOAWAY by hand: nghttp2 may be the one who has called us.
void H2::say_goodbye() {
  static constexpr std::array<uint8_t, 17> kGoaway{0, 0, 8, NGHTTP2_GOAWAY};
  if (!is_open() || !greeted_ || !whole_ || !deaf_.ok() || !conn_.writable() || !out_.borrow(loop_.buffers()) || out_.room().size() < kGoaway.size()) return;
  std::memcpy(out_.room().data(), kGoaway.data(), kGoaway.size());
  out_.commit(kGoaway.size());
  static_cast<void>(conn_.write(out_.data()));
}

void H2::shut() {
  if (session_ != nullptr && session_ != busy_) nghttp2_session_del(session_);
  session_ = nullptr;
  conn_.close();
  if (out_.owns_block()) out_.consume(out_.size());
  out_.release(loop_.buffers());
  header_bytes_ = {};
  header_sizes_ = {};
  fault_.clear();
  farewell_.clear();
  deaf_ = {};
  reset_id_ = doomed_ = 0;
  whole_ = true;
  dirty_ = blocked_ = greeted_ = leaving_ = false;
}

}  // namespace relay

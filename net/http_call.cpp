// SPDX-License-Identifier: Apache-2.0
// HttpCall: see the picture in http_call.h.
#include "net/http_call.h"

#include <array>
#include <cerrno>
#include <utility>

namespace relay {

class HttpCall::Dialing final : public Mortal {
 public:
  Dialing(Loop& loop, Resolver& resolver, const DialPlan& plan, DialUser& user) : dial(loop, resolver, plan, user) {}
  Dial dial;
};

HttpCall::HttpCall(Loop& loop, Resolver& resolver, HttpCallUser& user)
    : loop_(loop), resolver_(resolver), user_(user), conn_(loop, *this), timer_(loop, *this) {}

HttpCall::~HttpCall() { cancel(); }

void HttpCall::start(const DialPlan& plan, std::string request, Delay timeout, HttpLimits limits) {
  CHECK(!active());
  request_ = std::move(request);
  sent_ = 0;
  details_.clear();
  reader_ = std::make_unique<HttpReader>(HttpReader::Side::kResponses, limits);
  timer_.arm(timeout);
  dial_ = std::make_unique<Dialing>(loop_, resolver_, plan, static_cast<DialUser&>(*this));
  dial_->dial.start();
}

void HttpCall::cancel() {
  timer_.disarm();
  if (dial_ != nullptr) {
    dial_->dial.stop();
    loop_.bury(std::move(dial_));
  }
  conn_.close();
}

void HttpCall::finish(Result<HttpMessage> answer) {
  cancel();
  user_.on_answer(std::move(answer));
}

void HttpCall::on_dialed(const Addr&) {
  dial_->dial.take(conn_);
  details_.clear();  // an address before this one may have failed
  loop_.bury(std::move(dial_));
  conn_.again();
}

void HttpCall::on_dial_failed(const Addr&, const Status& why, unsigned, Delay retry) {
  details_ = dial_->dial.details();
  if (retry.count() > 0) finish(why);
}

void HttpCall::on_timer(Timer&) {
  details_.clear();
  finish(Status{Code::kTimeout, "no answer in time"});
}

// What has come is no answer. The errno of TLS says less than its reason.
void HttpCall::refuse(const Status& why) {
  if (why.error() == EPROTO) details_ = why.reason();
  else if (why.code() == Code::kInvalid) details_ = std::string("the answer is no HTTP: ") + why.reason();
  finish(why);
}

void HttpCall::send_request() {
  while (sent_ < request_.size() && conn_.writable()) {
    const Result<size_t> n = conn_.write(std::as_bytes(std::span(request_)).subspan(sent_));
    if (n.ok()) sent_ += *n;
    else if (n.status().code() == Code::kAgain) return;
    else sent_ = request_.size();  // it may have answered all the same
  }
}

void HttpCall::on_ready(Conn&) {
  if (!conn_.is_open()) return;
  send_request();
  std::array<std::byte, 16 * 1024> bytes;  // NOLINT: the kernel fills what is read
  for (int left = 16; conn_.readable(); --left) {
    if (left == 0) return conn_.again();
    const Result<size_t> n = conn_.read(bytes);
    Status status = n.ok() ? Status{} : n.status();
    if (status.code() == Code::kAgain) return;
    if (n.ok()) {
      const Result<size_t> taken = reader_->feed(std::span(bytes).first(*n));
      if (!taken.ok()) return refuse(taken.status());
    } else if (status.code() == Code::kEof) {
      status = reader_->finish();
      if (status.code() == Code::kInvalid) status = {Code::kEof, "the server closed the connection in the middle of its answer"};
      if (status.ok() && !reader_->done()) status = {Code::kEof, "the server closed the connection without an answer"};
    }
    if (reader_->done()) return finish(std::move(reader_->message()));
    if (!status.ok()) return refuse(status);
  }
}

}  // namespace relay

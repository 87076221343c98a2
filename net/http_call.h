// SPDX-License-Identifier: Apache-2.0
// HttpCall: one HTTP/1.1 request to one server, and its answer.
//
//   start ─► Dial ─► the request is written ─► the answer is read ─► on_answer
//              └───────────────── whatever fails, or takes too long ───┘
#pragma once

#include <memory>
#include <string>

#include "net/conn.h"
#include "net/dial.h"
#include "net/loop.h"
#include "wire/http1.h"

namespace relay {

class HttpCallUser {
 public:
  // Once for each start(), from the loop or from start() itself. Any status of HTTP is an answer; what failed below it is a Status.
  virtual void on_answer(Result<HttpMessage> answer) = 0;

 protected:
  ~HttpCallUser() = default;
};

class HttpCall final : private DialUser, private ConnUser, private TimerUser {
 public:
  // Borrows all for its life.
  HttpCall(Loop& loop, Resolver& resolver, HttpCallUser& user);
  ~HttpCall();

  // Each address of the plan's target is tried once. `request` is a whole message that asks for
  // "Connection: close". REQUIRES: not active.
  void start(const DialPlan& plan, std::string request, Delay timeout, HttpLimits limits);
  void cancel();
  // Within on_answer: why it failed, in words; empty if the Status says it all.
  const std::string& details() const { return details_; }
  bool active() const { return dial_ != nullptr || conn_.is_open(); }

 private:
  void on_dialed(const Addr& to) override;
  void on_dial_addrs(const std::vector<Addr>&) override {}
  void on_dial_try(const Addr&) override {}
  void on_dial_failed(const Addr& to, const Status& why, unsigned round, Delay retry) override;
  void on_ready(Conn& conn) override;
  void on_timer(Timer& timer) override;
  void finish(Result<HttpMessage> answer);
  void send_request();
  void refuse(const Status& why);
  class Dialing;

  Loop& loop_;
  Resolver& resolver_;
  HttpCallUser& user_;
  std::unique_ptr<Dialing> dial_;
  Conn conn_;
  Timer timer_;
  std::unique_ptr<HttpReader> reader_;
  std::string request_;
  std::string details_;
  size_t sent_ = 0;
};

}  // namespace relay

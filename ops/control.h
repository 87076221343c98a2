// SPDX-License-Identifier: Apache-2.0
// What an operator, or a program, asks of one relay by way of the admin socket: /relays/NAME/WHAT, or a call of gRPC.
//
//   Admin ─ control(what, query) ─► a relay ─► a status: that is the answer
//                                     ├──► kAnswersLater … ControlDesk::answer(ticket, status, answer)
//                                     └──► kAnswersOn … say(ticket, piece) … say(ticket, piece) … answer(ticket, …): the end of it
//                                          (or kAnswersLater … begin(ticket) … say …)
//
// Desk is where the tickets are given out: it knows who waits for which answer.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>

#include "net/timer.h"

namespace relay {

using Ticket = uint64_t;  // of a question; 0: none, its answer cannot come later

// What control() may return instead of a status of HTTP's. Its `answer` is then not looked at.
inline constexpr int kAnswersLater = 0;  // ControlDesk::answer(), or begin(), comes; after some seconds the asker is told that it has not
inline constexpr int kAnswersOn = 1;     // pieces of it come, for as long as the asker likes to have them; status 200

struct ControlQuery {
  bool post = false;  // it may change something
  const std::map<std::string, std::string, std::less<>>& parameters;  // of the path, behind its "?"
  std::string_view body;
  Ticket ticket = 0;
  bool rpc = false;  // of gRPC: `body`, the answer and its pieces are messages of protobuf, and the text of an error is words
  bool may_change = true;  // who asks may do more than look

  // The value of a parameter, or nothing.
  std::string_view get(std::string_view name) const {
    const auto at = parameters.find(name);
    return at == parameters.end() ? std::string_view() : std::string_view(at->second);
  }
};

class ControlDesk {
 public:
  enum class Said : uint8_t { kTaken, kFull, kGone };
  // After kAnswersLater: as kAnswersOn from now on.
  virtual void begin(Ticket ticket) = 0;
  // A piece of an answer that goes on. kFull: it is not taken, or more than `most` bytes would wait for the asker to take them. kGone: the
  // asker has gone, or the answer is over.
  virtual Said say(Ticket ticket, std::string_view piece, size_t most) = 0;
  // The answer, or the end of one that goes on (then, if `status` is 200, `answer` is not looked at). To be called once for each ticket whose
  // control() has returned kAnswersLater or kAnswersOn, and not from within control(); it does nothing if the asker has gone meanwhile.
  virtual void answer(Ticket ticket, int status, std::string_view answer) = 0;

 protected:
  ~ControlDesk() = default;
};

// An answer that goes on, to somebody who may be too slow for it: what there is no room for is missed, and that is said before the next piece for
// which there is, or when whoever has this looks.
class Pieces {
 public:
  static constexpr Delay kTellEvery{1000};  // after which it is to be looked whether there is room to tell()
  using SayMissed = void (*)(uint64_t count, bool rpc, std::string& piece);  // appends the piece that says so; as ControlQuery::rpc

  Pieces(Ticket ticket, bool rpc, SayMissed say_missed) : ticket_(ticket), rpc_(rpc), say_missed_(say_missed) {}
  Ticket ticket() const { return ticket_; }
  bool rpc() const { return rpc_; }
  // `most`: what may wait for the asker. False: he has gone.
  bool say(ControlDesk& desk, std::string_view piece, size_t most);
  // Says what is missed and has not been said, if half of the room is free. REQUIRES: not from within control().
  void tell(ControlDesk& desk, size_t most);
  bool owes() const { return untold_ > 0; }
  uint64_t missed() const { return missed_; }  // pieces, from the start

 private:
  ControlDesk::Said tell_before(ControlDesk& desk, size_t following, size_t most);

  Ticket ticket_;
  bool rpc_;
  SayMissed say_missed_;
  uint64_t missed_ = 0;
  uint64_t untold_ = 0;  // of them
};

class DeskUser {
 public:
  virtual void on_begin() = 0;  // after kAnswersLater
  virtual ControlDesk::Said on_piece(std::string_view piece, size_t most) = 0;
  virtual void on_answer(int status, std::string_view answer) = 0;  // once, and last

 protected:
  ~DeskUser() = default;
};

class Desk final : public ControlDesk {
 public:
  // A number that no other question has, or will have. Borrows `user` until its on_answer, or close().
  Ticket open(DeskUser& user);
  void close(Ticket ticket) { users_.erase(ticket); }

  void begin(Ticket ticket) override;
  Said say(Ticket ticket, std::string_view piece, size_t most) override;
  void answer(Ticket ticket, int status, std::string_view answer) override;

 private:
  std::map<Ticket, DeskUser*> users_;
  Ticket last_ = 0;
};

}  // namespace relay

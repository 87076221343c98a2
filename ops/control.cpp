// SPDX-License-Identifier: Apache-2.0
// Desk: who waits for which answer.
#include "ops/control.h"

namespace relay {

Ticket Desk::open(DeskUser& user) {
  users_.emplace(++last_, &user);
  return last_;
}

void Desk::begin(Ticket ticket) {
  if (const auto at = users_.find(ticket); at != users_.end()) at->second->on_begin();
}

ControlDesk::Said Desk::say(Ticket ticket, std::string_view piece, size_t most) {
  const auto at = users_.find(ticket);
  return at == users_.end() ? Said::kGone : at->second->on_piece(piece, most);
}

void Desk::answer(Ticket ticket, int status, std::string_view answer) {
  const auto at = users_.find(ticket);
  if (at == users_.end()) return;
  DeskUser& user = *at->second;
  users_.erase(at);
  user.on_answer(status, answer);
}

// It has room only if the piece behind it has.
ControlDesk::Said Pieces::tell_before(ControlDesk& desk, size_t following, size_t most) {
  if (untold_ == 0) return ControlDesk::Said::kTaken;
  std::string text;
  say_missed_(untold_, rpc_, text);
  if (text.size() + following > most) return ControlDesk::Said::kFull;
  const ControlDesk::Said said = desk.say(ticket_, text, most - following);
  if (said == ControlDesk::Said::kTaken) untold_ = 0;
  return said;
}

// Not in the last corner that was too small for a piece.
void Pieces::tell(ControlDesk& desk, size_t most) { static_cast<void>(tell_before(desk, most / 2, most)); }

bool Pieces::say(ControlDesk& desk, std::string_view piece, size_t most) {
  ControlDesk::Said said = tell_before(desk, piece.size(), most);
  if (said == ControlDesk::Said::kTaken) said = desk.say(ticket_, piece, most);
  if (said != ControlDesk::Said::kFull) return said != ControlDesk::Said::kGone;
  ++missed_;
  ++untold_;
  return true;
}

}  // namespace relay

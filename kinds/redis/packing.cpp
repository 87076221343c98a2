// SPDX-License-Identifier: Apache-2.0
// Session: values that are packed on their way to the server, and unpacked on their way back. A command is packed before anything is done
// with it, so that what waits for the server, in memory or in a file, is packed already; a reply is unpacked when its turn has come.
#include <algorithm>
#include <utility>

#include "kinds/redis/redis.h"
#include "kinds/redis/session.h"

namespace relay::redis {

// The command at the front, with its values packed, if it has such. Once.
void Session::pack() {
  if (std::exchange(packed_, true)) return;
  std::string text;
  if (!pack_command(relay_.config().pack, args(), text)) return;
  if (gathering_) relay_.gathered_is(encoded_.size(), text.size());
  encoded_ = std::move(text);
  rewritten_ = true;
}

// The command at the front has been sent, and reply `seq` will be its.
void Session::expect_reply(uint32_t seq) {
  const PackRules& rules = relay_.config().pack;
  if (!rules.any_unpacking() || !unpacks(word(0))) return;
  if (unpacking_ == nullptr) unpacking_ = std::make_unique<Unpacking>();
  unpacking_->expect(seq, rules);
}

// A piece of the reply whose turn it is.
void Session::say_reply(std::string_view text) {
  if (unpacking_ == nullptr || !unpacking_->wants(head_)) return say(text);
  unpacking_->feed(text);
  static_cast<void>(say_ready());
}

// What is unpacked goes out as there is room. False: not all of it has.
bool Session::say_ready() {
  if (unpacking_ == nullptr) return true;
  const std::string_view text = unpacking_->ready();
  const size_t n = std::min(room_to_say(), text.size());
  say(text.substr(0, n));
  unpacking_->said(n);
  return n == text.size();
}

// How much of the reply whose turn it is can be taken.
size_t Session::room_of_head() {
  const size_t room = room_to_say();
  if (unpacking_ == nullptr) return room;
  if (!unpacking_->ready().empty()) return 0;
  return unpacking_->wants(head_) ? std::min(room, Unpacking::kPiece) : room;
}

// From now on bytes go through unread; replies that may have been taken in part come first.
bool Session::own_for_life() {
  if (unpacking_ != nullptr && !unpacking_->idle() && under_way() > 0) return false;
  return own(Pin::kLife);
}

}  // namespace relay::redis

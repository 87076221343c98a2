// SPDX-License-Identifier: Apache-2.0
// Watches: events on their way to those who watch.
#include "kinds/plex/watch.h"

#include <algorithm>
#include <array>
#include <utility>

#include "kinds/plex/client.h"
#include "lib/json.h"

namespace relay::plex {
namespace {

using control::WatchEvent;
using control::WatchKind;

constexpr std::array<std::string_view, 7> kKinds = {"none", "connected", "disconnected", "read-eof", "rehomed", "accepted", "missed"};

void write_json(const WatchEvent& event, std::string& to) {
  Json json(to);
  json.begin('{').text("event", kKinds[static_cast<size_t>(event.kind)]);
  if (event.kind == WatchKind::kMissed) {
    json.number("missed", event.missed).end('}');
    return;
  }
  json.text("time", event.time);
  json.text("client", event.client).text("upstream", event.upstream.empty() ? std::string_view("-") : event.upstream).number("messages", event.seq);
  if (event.info != nullptr) {
    json.text("peer", event.info->peer).text("local", event.info->local).text("listener", event.info->listener);
    if (!event.info->tls_version.empty())
      json.text("tls_version", event.info->tls_version).text("sni", event.info->sni).text("alpn", event.info->alpn).text("subject", event.info->subject);
  }
  if (event.close != upstream::CloseReason::kNone) json.text("reason", name_of(event.close)).text("details", event.details);
  json.end('}');
}

}  // namespace

void encode(const WatchEvent& event, bool rpc, std::string& to) {
  if (rpc) return control::encode(event, to);
  write_json(event, to);
  to += '\n';
}

void say_missed(uint64_t count, bool rpc, std::string& piece) {
  WatchEvent event;
  event.kind = WatchKind::kMissed;
  event.missed = count;
  encode(event, rpc, piece);
}

uint64_t Watches::tell(const Uuid& uuid, const WatchEvent& event, size_t most) {
  std::array<std::string, 2> texts;  // made when the first one wants it
  uint64_t missed = 0;
  most_ = most;
  std::erase_if(all_, [&](Watch& watch) {
    if (!watch.only.empty() && std::find(watch.only.begin(), watch.only.end(), uuid) == watch.only.end()) return false;
    const bool rpc = watch.pieces.rpc();
    std::string& text = texts[rpc ? 1 : 0];
    if (text.empty()) encode(event, rpc, text);
    missed -= watch.pieces.missed();
    const bool there = watch.pieces.say(desk_, text, most);
    missed += watch.pieces.missed();
    if (watch.pieces.owes() && !owed_.armed()) owed_.arm(Pieces::kTellEvery);
    return !there;
  });
  return missed;
}

void Watches::on_timer(Timer&) {
  for (Watch& watch : all_) {
    watch.pieces.tell(desk_, most_);
    if (watch.pieces.owes() && !owed_.armed()) owed_.arm(Pieces::kTellEvery);
  }
}

void Watches::remove(Ticket ticket) {
  std::erase_if(all_, [ticket](const Watch& watch) { return watch.pieces.ticket() == ticket; });
}

void Watches::end(int status, std::string_view why) {
  owed_.disarm();
  for (Watch& watch : std::exchange(all_, {})) {
    watch.pieces.tell(desk_, SIZE_MAX);
    desk_.answer(watch.pieces.ticket(), status, why);
  }
}

}  // namespace relay::plex

// SPDX-License-Identifier: Apache-2.0
// PlexRelay: which upstream a client gets, and its message; those who wait for one, or for room; those who move to another by their labels.
#include <algorithm>
#include <cmath>

#include "kinds/plex/plex.h"
#include "lib/random.h"
#include "lib/text.h"

namespace relay::plex {
namespace {

constexpr Delay kLookAgain{10};    // whether what is under way of a client that is to move has gone
constexpr uint32_t kServed = 256;  // clients that are served in a turn, of those who waited
constexpr uint64_t kShare = 8192;  // bytes of an upstream's queue, as written, that a client takes while others wait for room: one message more at most

// Of an address without its port, so that who comes again comes to the same upstream.
uint64_t hash_of(const Addr& peer) {
  auto hash = static_cast<uint64_t>(peer.family);
  for (const uint8_t byte : peer.ip) hash = mix(hash ^ byte);
  return hash;
}

uint64_t hash_of(std::string_view label) {
  uint64_t hash = label.size();
  for (const char c : label) hash = mix(hash ^ static_cast<uint8_t>(c)) + 1;
  return hash;
}

}  // namespace

// ---- which upstream

bool PlexRelay::has_usable() const {
  return std::any_of(upstreams_.begin(), upstreams_.end(), [](const auto& upstream) { return upstream->is_usable() && upstream->has_place(); });
}

// Says of all upstreams what is_best() is, among those for which `is_there` holds.
template <typename Is>
void PlexRelay::find_best(Is is_there) {
  for (const std::unique_ptr<Upstream>& upstream : upstreams_)
    if (upstream->tier != nullptr) upstream->tier->best = UINT32_MAX;
  for (const std::unique_ptr<Upstream>& upstream : upstreams_)
    if (upstream->tier != nullptr && upstream->priority < upstream->tier->best && is_there(*upstream)) upstream->tier->best = upstream->priority;
}

// With round-robin: whether a message may go somewhere. Those of a worse priority are no way out of a full queue.
bool PlexRelay::has_room() {
  find_best([](const Upstream& upstream) { return upstream.is_usable(); });
  return std::any_of(upstreams_.begin(), upstreams_.end(), [](const auto& upstream) { return upstream->has_room() && upstream->is_best(); });
}

// By weight: each gains its weight, and the one with most pays for all (smooth weighted round robin).
// `for_message`: of a client that has its home already.
Upstream* PlexRelay::choose_by_turn(bool for_message) {
  Upstream* best = nullptr;
  int64_t sum = 0;
  find_best([&](const Upstream& upstream) { return upstream.is_usable() && (for_message || upstream.has_place()); });
  for (const std::unique_ptr<Upstream>& upstream : upstreams_) {
    if (!upstream->is_best() || (for_message ? !upstream->has_room() : !upstream->is_usable() || !upstream->has_place())) continue;
    upstream->credit += upstream->weight();
    sum += upstream->weight();
    if (best == nullptr || upstream->credit > best->credit) best = upstream.get();
  }
  if (best != nullptr) best->credit -= sum;
  return best;
}

Upstream* PlexRelay::choose(const Client& client) {
  if (config_.balance == Balance::kSticky || config_.balance == Balance::kRoundRobin) return choose_by_turn(false);
  Upstream* best = nullptr;
  double best_score = 0;
  const std::string_view label = hashes_labels() ? client.label(config_.hash_label) : std::string_view();
  const uint64_t hash = label.empty() ? hash_of(client.peer()) : hash_of(label);
  const auto may_have_it = [&](const Upstream& upstream) { return upstream.is_usable() && (upstream.has_place() || &upstream == client.home()); };
  find_best(may_have_it);
  for (const std::unique_ptr<Upstream>& upstream : upstreams_) {
    if (!upstream->is_best() || !may_have_it(*upstream)) continue;
    double score = 0;
    if (config_.balance == Balance::kLeastClients) {
      score = -static_cast<double>(upstream->client_count + 1) / upstream->weight();
    } else {  // rendezvous hashing with weights: who goes takes only his own with him
      const uint64_t both = mix(hash ^ mix(std::hash<std::string>{}(upstream->name())));
      score = -static_cast<double>(upstream->weight()) / std::log((static_cast<double>(both >> 11) + 0.5) / static_cast<double>(uint64_t{1} << 53));
    }
    if (best != nullptr && score <= best_score) continue;
    best = upstream.get();
    best_score = score;
  }
  return best;
}

// Finds an upstream for one that waits. It may be that it has to wait on.
void PlexRelay::home(Client& client) {
  Upstream* upstream = choose(client);
  if (upstream == nullptr) return;
  stats_.sub(Stat::kWaiting, client.is_gone() ? 0 : 1);
  upstream->clients.push_back(client);
  ++upstream->client_count;
  const bool is_new = client.is_new();
  client.met();
  client.move_to(upstream, upstream->has(upstream::kAuth) && !client.is_gone());
  if (client.is_gone()) return client.pump();
  if (!is_new) stats_.add(Stat::kRehomed);
  noted(client, control::WatchKind::kRehomed);
  tell(client, is_new ? upstream::Event::kConnected : upstream::Event::kRehomed);
}

// ---- with labels

void PlexRelay::settle_home(Client& client) {
  Upstream* const from = client.home();
  if (!hashes_labels() || from == nullptr || !from->is_usable() || client.ending() || client.is_gated()) return;
  Upstream* const to = choose(client);
  if (to == nullptr || to == from) {
    leaving_.erase(&client);
    return client.leave(false);
  }
  client.leave(true);
  if (!client.may_leave()) {
    leaving_.insert(&client);
    if (!move_.armed()) move_.arm(kLookAgain);
    return;
  }
  leaving_.erase(&client);
  tell(client, upstream::Event::kDisconnected, CloseReason::kRehomed, "its label says another upstream");
  --from->client_count;
  client.move_to(nullptr, false);
  waiting_.push_back(client);
  stats_.add(Stat::kWaiting);
  home(client);
}

// Some of those who wait until they may go; and of all, if there is another upstream now.
void PlexRelay::settle_homes() {
  for (uint32_t left = kServed; left > 0 && settled_ < clients_.places(); --left)
    if (Client* client = clients_.at(settled_++); client != nullptr && !client->label(config_.hash_label).empty()) settle_home(*client);
  if (settled_ >= clients_.places()) settled_ = UINT32_MAX;
  for (size_t left = std::min<size_t>(leaving_.size(), kServed); left > 0 && !leaving_.empty(); --left) {
    auto at = leaving_.upper_bound(left_to_);
    if (at == leaving_.end()) at = leaving_.begin();
    left_to_ = *at;
    settle_home(*left_to_);
  }
  if (settled_ != UINT32_MAX) move_.arm(Delay{0});
  else if (!leaving_.empty()) move_.arm(kLookAgain);
}

// Upstreams have changed, or what says who gets whom.
void PlexRelay::settle_all_homes() {
  if (hashes_labels()) {
    settled_ = 0;
    return move_.arm(Delay{0});
  }
  settled_ = UINT32_MAX;
  for (Client* client : std::exchange(leaving_, {})) client->leave(false);
}

void PlexRelay::upstream_up(Upstream&) {
  stats_.add(Stat::kUpstreams);
  settle_all_homes();
  serve_.arm(Delay{0});
}

void PlexRelay::upstream_has_room(Upstream&) { serve_.arm(Delay{0}); }

void PlexRelay::upstream_gone(Upstream& upstream) {
  for (List<Client>* list : {&upstream.clients, &upstream.roomless, &roomless_})
    for (Client* client = list->front(); client != nullptr;) {
      Client* next = list->next(*client);
      if (client->home() == &upstream) {
        waiting_.push_back(*client);
        leaving_.erase(client);
        stats_.add(Stat::kWaiting, client->is_gone() ? 0 : 1);
        client->move_to(nullptr, false);
        client->take_back(upstream.id());
      }
      client = next;
    }
  upstream.client_count = 0;
  const bool others = std::exchange(upstream.serves_others, false);
  for (uint32_t place = 0; others && place < clients_.places(); ++place)  // who goes on may be the last one, and then there are none
    if (Client* client = clients_.at(place); client != nullptr) {
      client->take_back(upstream.id());
      client->resume_of(upstream.id());
      if (client->home() != nullptr && client->unsent() > 0) client->go_on();
    }
  serve_.arm(Delay{0});  // also for those who waited for room in this one: there may be some in another now
}

void PlexRelay::upstream_closed(Upstream& upstream) {
  const auto at = std::find_if(upstreams_.begin(), upstreams_.end(), [&](const auto& one) { return one.get() == &upstream; });
  if (at == upstreams_.end()) return;
  env_.loop.bury(std::move(*at));
  upstreams_.erase(at);
}

// Those that waited for an upstream, and those that waited for room, some in a turn.
void PlexRelay::serve() {
  if (orphans_.serve()) serve_.arm(Delay{0});
  if (drained_ && orphans_.is_empty() && clients_.size() == 0) drain_.arm(Delay{0});  // that was waited for
  uint32_t left = kServed;
  while (left > 0 && !waiting_.empty() && has_usable()) {
    --left;
    Client& client = *waiting_.front();
    home(client);
    if (&client == waiting_.front()) break;
  }
  const auto serve_list = [&](List<Client>& list, auto has_room) {
    while (left > 0 && !list.empty() && has_room()) {
      --left;
      Client& client = *list.front();
      client.home()->clients.push_back(client);
      client.pump();
    }
    return !list.empty() && has_room();
  };
  bool more = !waiting_.empty() && has_usable();
  for (const std::unique_ptr<Upstream>& upstream : upstreams_)
    if (serve_list(upstream->roomless, [&] { return upstream->has_room(); })) more = true;
  if (serve_list(roomless_, [&] { return has_room(); })) more = true;
  if (more && !serve_.armed()) serve_.arm(Delay{0});
}

Upstream* PlexRelay::give(Client& client, std::span<const std::byte> payload, uint64_t seq, bool again) {
  char uuid[Uuid::kText];
  client.uuid().write(uuid);
  upstream::Input input;
  input.time = time_text();
  input.client_uuid = {uuid, sizeof uuid};
  input.payload = payload;
  input.seq = seq;
  input.redelivered = again;
  const bool by_turn = config_.balance == Balance::kRoundRobin;
  List<Client>& others = by_turn ? roomless_ : client.home()->roomless;
  // Who has much to say, or much that was read, goes behind those who wait: they would wait for as many bytes as it has otherwise.
  const bool is_enough = taken_ >= kShare && !others.empty();
  bool had_room = false;
  while (Upstream* upstream = is_enough ? nullptr : by_turn ? choose_by_turn(true) : client.home()) {
    const uint64_t before = upstream->given();
    had_room |= upstream->has_room();
    if (upstream->give(input)) {
      taken_ += upstream->given() - before;
      upstream->serves_others |= upstream != client.home();
      return upstream;
    }
    if (!by_turn) break;  // else: who has no room is passed over
  }
  // Whose message is too long for the room that there is comes first when there is more: behind the others it would find the queue full again.
  if (had_room) others.push_front(client);
  else others.push_back(client);
  if (is_enough) serve_.arm(Delay{0});
  return nullptr;
}

void PlexRelay::lost(uint64_t count, std::string_view reason) {
  if (count == 0) return;
  stats_.add(Stat::kLostMessages, count);
  untold_losses_ += count;
  if (losses_.tell(env_.loop.now())) tell_losses(reason);
}

void PlexRelay::tell_losses(std::string_view reason) {
  LogLine(Level::kWarn, "messages-lost").text("relay", config_.name).number("count", std::exchange(untold_losses_, 0)).text("reason", reason);
}

void PlexRelay::given_up(const Client& client, uint64_t seq, size_t size) {
  stats_.add(Stat::kGivenUp);
  if (!given_ups_.tell(env_.loop.now())) return;
  LogLine(Level::kWarn, "message-given-up").text("relay", config_.name).text("client", client.uuid().text()).number("seq", seq).number("bytes", size)
      .count("untold", given_ups_.untold());
}

}  // namespace relay::plex

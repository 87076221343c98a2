// SPDX-License-Identifier: Apache-2.0
// PlexRelay: what upstreams say, and to whom it goes; and what they are told.
#include <algorithm>

#include "kinds/plex/plex.h"
#include "lib/log.h"
#include "lib/text.h"

namespace relay::plex {
namespace {

constexpr size_t kReasonMost = 256;  // bytes

using upstream::Command;
using upstream::Delivery;
using upstream::Event;
using upstream::Output;

bool is_excepted(const Output& output, const Uuid& uuid) {
  return std::any_of(output.except_uuids.begin(), output.except_uuids.end(), [&](std::string_view text) { return Uuid::parse(text) == uuid; });
}

constexpr size_t kAtOnce = 1024;    // members of a group that are spoken to in one turn,
constexpr size_t kExceptMost = 16;  // but for so many

}  // namespace

// ---- from an upstream

void PlexRelay::bad_message(const Speaker& from, std::string_view why) {
  stats_.add(Stat::kBadMessages);
  if (!bad_messages_.tell(env_.loop.now())) return;
  LogLine(Level::kWarn, "bad-message").text("relay", config_.name).text("upstream", from.name).text("error", why).count("untold", bad_messages_.untold());
}

Status PlexRelay::heard(Upstream& upstream, std::span<const std::byte> message) {
  const Speaker from{.id = upstream.id(), .name = upstream.name()};
  output_.clear();
  if (const Status status = decode(message, output_); !status.ok()) {
    bad_message(from, status.reason());
    return status.code() == Code::kNotFound ? Status{} : status;  // of a later protocol, perhaps: who knows it may say more that is known here
  }
  router_.pass_on(from.id, from.name, message, output_);
  deliver(from, output_);
  return {};
}

void PlexRelay::deliver(const Speaker& from, const Output& output) {
  if (output.command == Command::kJoin || output.command == Command::kLeave) return change_group(from, output);
  if (output.target == Output::Target::kBroadcast || output.target == Output::Target::kGroup) {
    return deliver_to_many(from, output, deliver_to_each(from, output.client_uuids, {}, output));
  }
  std::string_view first;
  if (output.target == Output::Target::kClient) deliver_by_name(from, first = output.client_uuid, output, output.ack_seq);
  else if (output.client_uuids.empty()) return bad_message(from, "it has no target");
  deliver_to_each(from, output.client_uuids, first, output);
}

// To each once, however often and however it is written; not to `first`, who has had it. Returns who that is.
std::set<Uuid> PlexRelay::deliver_to_each(const Speaker& from, std::span<const std::string_view> names, std::string_view first, const Output& output) {
  std::set<Uuid> had;
  if (names.empty()) return had;
  if (const std::optional<Uuid> uuid = Uuid::parse(first); uuid) had.insert(*uuid);
  for (const std::string_view name : names)
    if (const std::optional<Uuid> uuid = Uuid::parse(name); !uuid || had.insert(*uuid).second) deliver_by_name(from, name, output, 0);
  return had;
}

// Of one who is not here: it is told elsewhere, or was meant for somebody else.
bool PlexRelay::is_for_others(const Speaker& from, const std::optional<Uuid>& uuid) const {
  return from.is_elsewhere ? !uuid || !router_.is_ours(*uuid) : uuid && router_.is_elsewhere(*uuid);
}

void PlexRelay::deliver_by_name(const Speaker& from, std::string_view text, const Output& output, uint64_t acked) {
  const std::optional<Uuid> uuid = Uuid::parse(text);
  Client* client = uuid ? clients_.find(*uuid) : nullptr;
  if (client != nullptr && acked > 0) {
    client->acknowledged(acked, from.acks_for);
    if (output.payload.empty() && output.command == Command::kSend && !output.has_idle_timeout && output.labels.empty() && output.request_id == 0) return;
  }
  if (client != nullptr && !client->is_gone()) return deliver_to(from, *client, output);
  if (client == nullptr && is_for_others(from, uuid)) return;
  if (acked > 0 && output.payload.empty() && output.request_id == 0) return;  // of one whose last message that was
  stats_.add(Stat::kUnknownClients);
  if (output.request_id != 0) report(from.id, output.request_id, uuid.value_or(Uuid{}), Delivery::kUnknownClient);
}

void PlexRelay::deliver_to(const Speaker& from, Client& client, const Output& output) {
  catch_up(client);
  if (client.ending() && output.command == Command::kAbort) {
    if (!output.payload.empty()) stats_.add(Stat::kDroppedMessages);
    if (output.request_id != 0) report(from.id, output.request_id, client.uuid(), Delivery::kClosed);
    return client.end(CloseReason::kUpstream, printable(output.reason.substr(0, kReasonMost)), true);
  }
  for (const auto& [name, value] : output.labels)
    if (!client.ending() && !client.set_label(name, value)) bad_message(from, "too many labels, or too long ones, for client " + client.uuid().text());
  if (output.has_idle_timeout && !client.ending()) client.set_idle_timeout(Delay{output.idle_timeout_ms});
  if (client.ending() || (!output.payload.empty() && !client.write(output.payload))) {
    stats_.add(Stat::kDroppedMessages);
    if (output.request_id != 0) report(from.id, output.request_id, client.uuid(), client.was_slow() ? Delivery::kQueueFull : Delivery::kClosed);
    return;
  }
  if (output.request_id != 0) client.report(from.id, output.request_id);
  command(client, output.command, output.reason, from.id);
  if (!output.labels.empty()) settle_home(client);
}

void PlexRelay::command(Client& client, Command command, std::string_view given, uint32_t speaker) {
  const CloseReason why = speaker == 0 ? CloseReason::kAdmin : CloseReason::kUpstream;
  const std::string reason = printable(given.substr(0, kReasonMost));
  switch (command) {
    case Command::kSend:
    case Command::kJoin:
    case Command::kLeave: return;
    case Command::kClose: return client.finish(why, reason);
    case Command::kAbort: return client.end(why, reason, true);
    case Command::kAccept: client.accept(); return settle_home(client);
    case Command::kReject:
      stats_.add(Stat::kAuthRejected);
      return client.finish(CloseReason::kRejected, reason);
    case Command::kPause: return pause(client, speaker);
    case Command::kResume: return client.resume();
  }
}

// By an upstream it is for as long as that is there.
void PlexRelay::pause(Client& client, uint32_t speaker) {
  if (speaker != 0 && !Router::is_elsewhere(speaker)) {
    Upstream* const upstream = find(speaker);
    if (upstream == nullptr || (upstream->state() != Upstream::State::kUp && upstream->state() != Upstream::State::kLeaving)) return;  // it has said so, and gone
    upstream->serves_others |= upstream != client.home();
  }
  client.pause(speaker);
}

// Its members are spoken to at once; those of a large one as in a broadcast.
bool PlexRelay::is_small(const Group& group, const Output& output) { return group.members.size() <= kAtOnce && output.except_uuids.size() <= kExceptMost; }

// But to those who `had` it by their names, with all that is for these alone.
void PlexRelay::deliver_to_many(const Speaker& from, const Output& output, std::set<Uuid> had) {
  if (!from.is_elsewhere) stats_.add(Stat::kBroadcasts);
  if (output.target == Output::Target::kGroup) {
    const auto at = groups_.find(output.group);
    if (at == groups_.end()) {
      if (router_.is_on()) return;  // it may have members elsewhere
      stats_.add(Stat::kDroppedMessages);
      if (output.request_id != 0) report(from.id, output.request_id, {}, Delivery::kNoGroup);
      return;
    }
    if (is_small(*at->second, output)) {
      Output plain;  // the rest is for clients that are named: how many are in a group must make no difference
      plain.payload = output.payload;
      plain.command = output.command;
      plain.reason = output.reason;
      const std::vector<Client*> members(at->second->members.begin(), at->second->members.end());  // it may change
      for (Client* client : members)
        if (!client->is_gone() && !had.contains(client->uuid()) && !is_excepted(output, client->uuid())) deliver_to(from, *client, plain);
      return;
    }
  }
  if (crowd_.add(output, std::move(had), from.id)) return;
  stats_.add(Stat::kDroppedMessages);
  bad_message(from, "broadcast-queue is full");
}

void PlexRelay::change_group(const Speaker& from, const Output& output) {
  if (output.target != Output::Target::kGroup || output.group.empty() || output.group.size() > kGroupMost) return bad_message(from, "JOIN or LEAVE without a group");
  for (const std::string_view text : output.client_uuids) {
    const std::optional<Uuid> uuid = Uuid::parse(text);
    Client* client = uuid ? clients_.find(*uuid) : nullptr;
    if (client == nullptr || client->is_gone() || !client->is_known()) {
      if (client != nullptr || !is_for_others(from, uuid)) stats_.add(Stat::kUnknownClients);
      continue;
    }
    catch_up(*client);
    if (client->ending()) continue;
    auto at = groups_.find(output.group);
    if (output.command == Command::kLeave) {
      if (at != groups_.end()) leave(*client, *at->second);
      continue;
    }
    if (at == groups_.end()) {
      at = groups_.emplace(std::string(output.group), std::make_unique<Group>(std::string(output.group))).first;
      stats_.add(Stat::kGroups);
    }
    if (at->second->members.contains(client)) continue;
    if (!client->join(*at->second)) {
      bad_message(from, "a client is in too many groups");
      if (at->second->members.empty()) {
        stats_.sub(Stat::kGroups);
        groups_.erase(at);
      }
      continue;
    }
    at->second->members.insert(client);
  }
}

void PlexRelay::leave(Client& client, Group& group) {
  if (group.members.erase(&client) == 0) return;
  client.part(group);
  if (!group.members.empty()) return;
  stats_.sub(Stat::kGroups);
  groups_.erase(groups_.find(group.name()));
}

// ---- to an upstream

void PlexRelay::tell(Client& client, Event event, CloseReason why, std::string_view details) {
  Upstream* home = client.home();
  if (home == nullptr || !home->has(upstream::kEvents)) return;
  const std::string uuid = client.uuid().text();
  upstream::Input input;
  input.time = time_text();
  input.client_uuid = uuid;
  input.event = event;
  input.seq = client.seq();
  input.close = why;
  input.close_details = details;
  Client::Texts texts;
  upstream::ClientInfo info;
  if (event == Event::kConnected || event == Event::kRehomed) {
    info = client.info(texts);
    input.client = &info;
    if (const auto* labels = client.labels(); labels != nullptr)
      for (const auto& [name, value] : *labels) input.labels.emplace_back(name, value);
  }
  home->tell(input);
}

void PlexRelay::report(uint32_t id, uint64_t request, const Uuid& uuid, Delivery what) {
  if (Router::is_elsewhere(id)) return router_.report(id, request, uuid, what);
  if (Upstream* upstream = find(id); upstream != nullptr) upstream->report(request, uuid, what);
}

void PlexRelay::take_back(Upstream& from, const upstream::Input& input) {
  const std::optional<Uuid> uuid = Uuid::parse(input.client_uuid);
  if (!uuid) return;
  if (Client* client = clients_.find(*uuid); client != nullptr) {
    from.serves_others |= client->home() != &from;
    // The next upstream hears of the client anew, and what has become of its own messages does not concern it.
    if (input.event == Event::kData) client->take_back(input.seq, input.payload, input.redelivered);
    return;
  }
  if (input.event != Event::kData && input.event != Event::kDisconnected) return;
  if (input.event == Event::kDisconnected && input.close == upstream::CloseReason::kRehomed) return;  // its next one has heard of its end
  // Of a client that is gone.
  const bool is_last = from.retired() && drained_ && clients_.size() == 0;  // none will come any more
  orphans_.add(input, *uuid, from, !stopping_ && !is_last);
}

}  // namespace relay::plex

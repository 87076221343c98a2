// SPDX-License-Identifier: Apache-2.0
// Crowd: jobs, and who has had which.
#include "kinds/plex/crowd.h"

#include <algorithm>

#include "kinds/plex/plex.h"

namespace relay::plex {

bool Crowd::add(const upstream::Output& output, std::set<Uuid> had, uint32_t speaker) {
  for (const std::string_view text : output.except_uuids)
    if (const std::optional<Uuid> uuid = Uuid::parse(text); uuid) had.insert(*uuid);
  const uint64_t size = output.payload.size() + output.reason.size() + output.group.size() + sizeof(Job) + had.size() * kBesideUuid;
  if (bytes_ + size > relay_.config().broadcast_queue || jobs_.size() >= kJobsMost) return false;
  Job& job = jobs_.emplace_back();
  job.to = output.broadcast;
  job.is_group = output.target == upstream::Output::Target::kGroup;
  job.group = output.group;
  job.active_since = relay_.tick() - static_cast<uint32_t>(relay_.config().active_time.count() / 10);
  job.except = std::move(had);
  job.payload.assign(reinterpret_cast<const char*>(output.payload.data()), output.payload.size());
  job.command = output.command;
  job.reason = output.reason;
  job.speaker = speaker;
  job.size = size;
  bytes_ += size;
  ++jobs_of_[speaker];
  if (!timer_.armed()) timer_.arm(Delay{0});
  return true;
}

bool Crowd::is_behind(uint32_t speaker) const {
  const auto own = jobs_of_.find(speaker);
  return own != jobs_of_.end() && (own->second >= kJobsHeld || bytes_ >= relay_.config().broadcast_queue / 2);
}

void Crowd::clear() {
  jobs_.clear();
  jobs_of_.clear();
  bytes_ = 0;
}

bool Crowd::is_meant(const Job& job, Client& client) const {
  if (client.ending() || !client.is_known()) return false;
  if (job.is_group) {
    const std::vector<Group*>* groups = client.groups();
    if (groups == nullptr || std::none_of(groups->begin(), groups->end(), [&](const Group* group) { return group->name() == job.group; })) return false;
  } else if (job.to != upstream::Broadcast::kAll) {
    const uint32_t now = relay_.tick();  // ages, not times: those wrap
    const bool active = now - client.read_at() <= now - job.active_since && client.has_spoken();
    if (active != (job.to == upstream::Broadcast::kActive)) return false;
  }
  return job.except.empty() || !job.except.contains(client.uuid());
}

void Crowd::hear(const Job& job, Client& client) {
  if (!is_meant(job, client)) return;
  if (!job.payload.empty() && !client.write(std::as_bytes(std::span(job.payload)))) return;
  relay_.command(client, job.command, job.reason, job.speaker);
}

void Crowd::catch_up(Client& client) {
  while (!jobs_.empty() && static_cast<int32_t>(newest() - client.heard) > 0) {
    const uint32_t number = static_cast<int32_t>(client.heard + 1 - first_) < 0 ? first_ : client.heard + 1;
    client.heard = number;
    hear(jobs_[number - first_], client);
  }
}

void Crowd::on_timer(Timer&) {
  for (uint32_t left = kSlice; left > 0 && !jobs_.empty(); --left) {
    if (at_ >= relay_.clients().places()) {
      at_ = 0;
      bytes_ -= jobs_.front().size;
      if (const auto own = jobs_of_.find(jobs_.front().speaker); --own->second == 0) jobs_of_.erase(own);
      jobs_.pop_front();
      ++first_;
      continue;
    }
    Client* client = relay_.clients().at(at_++);
    if (client == nullptr || static_cast<int32_t>(first_ - client->heard) <= 0) continue;
    client->heard = first_;
    hear(jobs_.front(), *client);
  }
  if (!jobs_.empty()) timer_.arm(Delay{0});
}

}  // namespace relay::plex

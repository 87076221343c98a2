// SPDX-License-Identifier: Apache-2.0
// Cluster: see the picture in cluster.h.
#include "kinds/redis/cluster.h"

#include <algorithm>
#include <utility>

#include "kinds/redis/redis.h"
#include "kinds/redis/split.h"
#include "lib/log.h"

namespace relay::redis {
namespace {

constexpr Delay kSoonest{250};      // between two questions
constexpr Delay kInTrouble{500};    // while a node does not answer
constexpr Delay kTell{10'000};
constexpr Delay kNow{1};
constexpr Delay kEver{30'000};      // even if nothing seems wrong
constexpr Delay kLate{20};          // before room is looked for again
constexpr uint8_t kMostMoves = 16;  // redirections of one command, then it is told the truth
constexpr size_t kLongestMap = 4 * 1024 * 1024;
constexpr std::string_view kQuestion = "*2\r\n$7\r\nCLUSTER\r\n$5\r\nSLOTS\r\n";
constexpr std::string_view kAsking = "*1\r\n$6\r\nASKING\r\n";

std::string_view host_of(std::string_view address) {
  if (address.starts_with("tls://")) address.remove_prefix(6);
  address = address.substr(0, address.rfind(':'));
  if (address.starts_with('[') && address.ends_with(']')) address = address.substr(1, address.size() - 2);
  return address;
}

}  // namespace

Cluster::Cluster(RedisRelay& relay)
    : relay_(relay), link_(relay, *this), timer_(relay.loop(), *this), patience_(relay.loop(), *this), late_timer_(relay.loop(), *this), since_(relay.loop().now()) {}

void Cluster::stop() {
  stopped_ = true;
  link_.close();
  timer_.disarm();
  patience_.disarm();
  late_timer_.disarm();
  for (const Late& late : late_)
    if (late.entry.early && !relay_.early_stays(late.entry)) relay_.early_lost(1, "terminated");
  late_.clear();
  late_slots_.clear();
}

void Cluster::hand_over() {
  const std::deque<Late> late = std::exchange(late_, {});
  late_slots_.clear();
  stop();
  for (const Late& one : late) {
    if (one.entry.early) relay_.early_queued(-1, -static_cast<int64_t>(one.command.size()));
    relay_.reroute(one.entry, one.command, one.setting);
  }
}

// ---- asking

// The masters that are known, then those of the URL, in turn.
void Cluster::ask() {
  if (stopped_ || asking_) return;
  std::vector<std::string> candidates;
  if (map_)
    for (const Shard& shard : map_->shards()) {
      if (!shard.master.address.empty()) candidates.push_back(shard.master.address);
      for (const Node& replica : shard.replicas) candidates.push_back(replica.address);
    }
  for (const std::string& seed : relay_.seeds()) candidates.push_back(seed);
  asked_ = candidates[turn_++ % candidates.size()];
  asking_ = true;
  question_sent_ = false;
  asked_at_ = relay_.loop().now();
  reply_.clear();
  reader_.next();
  patience_.arm(std::min(relay_.config().timeout, Delay{1000}));
  link_.dial(relay_.plan(relay_.node(asked_)), relay_.setting(), !relay_.commands().learned());
}

void Cluster::doubt() {
  if (stopped_ || asking_) return;
  const Time now = relay_.loop().now();
  const Delay wait = asked_at_ + kSoonest > now ? asked_at_ + kSoonest - now : kNow;
  if (!timer_.armed() || timer_.when() > now + wait) timer_.arm(wait);
}

void Cluster::on_link_ready() { on_link_turn(); }

void Cluster::on_link_turn() {
  if (!link_.ready() || !reply_.empty() || reader_.begun()) return;
  const iovec part{const_cast<char*>(kQuestion.data()), kQuestion.size()};
  if (link_.writable() && !question_sent_) {
    const Result<size_t> n = link_.write(std::span(&part, 1));
    if (!n.ok() && n.status().code() == Code::kAgain) return;
    question_sent_ = true;
    if (!n.ok() || *n != kQuestion.size()) link_.fail("a connection too small for a question");
  }
}

size_t Cluster::on_link_bytes(std::span<const std::byte> bytes) {
  const Result<size_t> n = reader_.feed(bytes);
  if (!n.ok() || reply_.size() + *n > kLongestMap) {
    link_.fail("it does not speak RESP");
    return 0;
  }
  const size_t taken = *n;
  reply_.append(text_of(bytes.first(taken)));
  if (reader_.done()) answered(std::exchange(reply_, {}));
  return taken;
}

void Cluster::answered(std::string_view reply) {
  link_.close();
  if (reply.starts_with('-')) return failed(std::string(reply.substr(1, reply.find('\r') - 1)));
  std::optional<SlotMap> map = SlotMap::read_slots(reply, {host_of(asked_), relay_.config().server.place.tls});
  if (!map) return failed("what it says of the cluster makes no sense");
  if (map->shards().empty()) return failed("it belongs to no cluster that has slots");
  asking_ = false;
  patience_.disarm();
  asked_at_ = relay_.loop().now();
  hopeless_ = false;
  failures_ = 0;
  since_ = Time{};
  learn(std::move(*map));
  bool trouble = false;
  relay_.each_lane([&](const Lane& lane) { trouble = trouble || (!lane.ready() && lane.owed() > 0); });
  timer_.arm(trouble ? kInTrouble : kEver);
  relay_.cluster_known();
}

void Cluster::on_link_read() {
  if (!stopped_) relay_.flush_touched();
}

void Cluster::on_link_lost(const std::string& why) { failed(why); }

void Cluster::failed(const std::string& why) {
  link_.close();
  asking_ = false;
  patience_.disarm();
  const Time now = relay_.loop().now();
  asked_at_ = now;
  trouble_ = why;
  if (since_ == Time{}) since_ = now;
  // One node that does not answer is none of our troubles while others do.
  const bool worth = !map_ && ++failures_ >= relay_.seeds().size() && now - told_at_ >= kTell;
  if (worth) told_at_ = now;
  LogLine(worth ? Level::kWarn : Level::kDebug, "cluster-unknown").text("relay", relay_.config().name).text("addr", asked_).text("error", why);
  relay_.failed(why);
  if (!map_ && !hopeless_ && now - since_ >= relay_.config().timeout) {
    hopeless_ = true;
    relay_.room();
  }
  timer_.arm(kSoonest);
}

void Cluster::on_timer(Timer& timer) {
  if (&timer == &late_timer_) return try_late();
  if (&timer == &timer_) return ask();
  failed(link_.trouble().empty() ? "it does not answer" : link_.trouble());
}

// ---- the map

void Cluster::learn(SlotMap map) {
  if (map_ && map == *map_) return;
  const std::optional<SlotMap> before = std::exchange(map_, std::move(map));
  LogLine(Level::kInfo, "cluster").text("relay", relay_.config().name).number("masters", map_->shards().size()).number("slots", map_->covered()).text("by", asked_);
  for (auto at = marks_.begin(); at != marks_.end();) at = is_over(at->second) ? marks_.erase(at) : std::next(at);
  if (before) note_moves(*before);
  desert();
}

// Whether all of it is answered.
bool Cluster::is_over(std::vector<Mark>& marks) {
  std::erase_if(marks, [this](const Mark& mark) { return relay_.is_answered(mark.lane, mark.put); });
  return marks.empty();
}

// What comes for a slot waits for what went to the node that had it.
void Cluster::leave_behind(uint16_t slot, uint32_t node) {
  relay_.each_lane([&](const Lane& lane) {
    if (lane.key().node == node && lane.owed() > 0) marks_[slot].push_back({lane.id(), lane.put_total()});
  });
}

void Cluster::note_moves(const SlotMap& before) {
  for (uint32_t slot = 0; slot < kSlots; ++slot) {
    const Shard* was = before.of(static_cast<uint16_t>(slot));
    const Shard* is = map_->of(static_cast<uint16_t>(slot));
    if (was == nullptr || (is != nullptr && is->master.address == was->master.address)) continue;
    leave_behind(static_cast<uint16_t>(slot), relay_.node(was->master.address));
  }
}

// What waits for a node that has lost its slots while it did not answer goes to those who have them.
void Cluster::desert() {
  std::vector<uint32_t> masters = this->masters();
  std::vector<uint32_t> gone;
  relay_.each_lane([&](const Lane& lane) {
    if (std::find(masters.begin(), masters.end(), lane.key().node) == masters.end() && !lane.key().setting.replica) gone.push_back(lane.id());
  });
  for (const uint32_t id : gone) relay_.desert(id);
}

bool Cluster::waits(uint16_t slot) {
  if (late_slots_.contains(slot)) return true;
  const auto at = marks_.find(slot);
  if (at == marks_.end()) return false;
  if (!is_over(at->second)) return true;
  marks_.erase(at);
  return false;
}

std::optional<uint32_t> Cluster::node_of(uint16_t slot) {
  const Shard* shard = map_->of(slot);
  if (shard == nullptr || shard->master.address.empty()) return std::nullopt;
  return relay_.node(shard->master.address);
}

std::optional<uint32_t> Cluster::replica_of(uint16_t slot) {
  const Shard* shard = map_->of(slot);
  if (shard == nullptr) return std::nullopt;
  std::vector<const Node*> good;
  for (const Node& replica : shard->replicas)
    if (replica.online) good.push_back(&replica);
  if (good.empty()) return std::nullopt;
  return relay_.node(good[relay_.loop().random().below(good.size())]->address);
}

std::vector<uint32_t> Cluster::masters() {
  std::vector<uint32_t> out;
  for (const Shard& shard : map_->shards())
    if (!shard.master.address.empty()) out.push_back(relay_.node(shard.master.address));
  return out;
}

uint32_t Cluster::any() {
  const std::vector<uint32_t> all = masters();
  for (const uint32_t node : all)
    if (relay_.is_ready(node)) return node;
  return all.empty() ? 0 : all.front();
}

std::optional<uint16_t> Cluster::slot_behind(uint16_t slot) {
  const Shard* shard = map_->of(slot);
  const auto& all = map_->shards();
  for (size_t i = 0; i + 1 < all.size(); ++i)
    if (&all[i] == shard) return all[i + 1].ranges.front().first;
  return std::nullopt;
}

// ---- commands that were sent to the wrong one

std::optional<uint16_t> Cluster::slot_of_command(std::string_view command) {
  if (command.starts_with(kAsking)) command.remove_prefix(kAsking.size());
  std::vector<std::string_view> words;
  split_command(command, words);
  if (words.empty()) return std::nullopt;
  const Command found = relay_.commands().find(words[0], words.size() > 1 ? words[1] : std::string_view());
  if (found.keys == nullptr || !find_keys(*found.keys, words, indexes_)) return std::nullopt;
  const Placed placed = place(words, indexes_);
  return placed.where == Placed::Where::kNowhere ? std::nullopt : std::optional(placed.slot);
}

std::optional<uint32_t> Cluster::node_for(std::string_view command) {
  if (!map_) return std::nullopt;
  const std::optional<uint16_t> slot = slot_of_command(command);
  if (!slot) return any();
  return waits(*slot) ? std::nullopt : node_of(*slot);
}

bool Cluster::redirect(Lane& lane, const Lane::Entry& entry, std::string_view error) {
  if (error.starts_with("-CLUSTERDOWN")) doubt();
  if (error.starts_with("-TRYAGAIN") && !entry.early) {
    Session* session = relay_.find(entry.session);
    std::string command = lane.front();
    if (entry.asked) command.erase(0, kAsking.size());
    return session != nullptr && session->split_by_key(entry, lane.key().node, command);
  }
  const std::optional<Redirect> to = parse_redirect(error);
  if (!to || !map_ || entry.moves >= kMostMoves) return false;
  const std::string address = map_->address(*to, host_of(relay_.place(lane.key().node)));
  if (address.empty()) return false;
  relay_.stats().add(to->ask ? Stat::kAsked : Stat::kMoved);
  Lane::Entry moved = entry;
  ++moved.moves;
  moved.repeats = 0;
  moved.asked = moved.asking = to->ask;
  std::string command = lane.front();
  if (entry.asked) command.erase(0, kAsking.size());
  Setting setting = lane.key().setting;
  setting.replica = false;
  if (entry.scripted && !is_member(address)) {  // who is sent where a client says, says our password there
    doubt();
    moved.asked = moved.asking = false;
    put_off({moved, command, setting, std::nullopt, relay_.loop().now(), slot_of_command(command)});
    return true;
  }
  if (entry.scripted && !to->ask) {
    doubt();
  } else if (!to->ask) {
    const std::optional<uint32_t> before = node_of(to->slot);
    if (map_->moved(to->slot, address) && before) leave_behind(to->slot, *before);
    doubt();
  } else {
    command.insert(0, kAsking);
  }
  put(moved, command, setting, relay_.node(address));
  return true;
}

std::optional<uint32_t> Cluster::told(std::string_view error, uint32_t node, bool& ask) {
  const std::optional<Redirect> to = parse_redirect(error);
  if (!to || !map_) return std::nullopt;
  const std::string address = map_->address(*to, host_of(relay_.place(node)));
  if (address.empty()) return std::nullopt;
  ask = to->ask;
  relay_.stats().add(to->ask ? Stat::kAsked : Stat::kMoved);
  if (!to->ask) {
    const std::optional<uint32_t> before = node_of(to->slot);
    if (map_->moved(to->slot, address) && before) leave_behind(to->slot, *before);
    doubt();
  }
  return relay_.node(address);
}

void Cluster::place_again(const Lane::Entry& entry, const std::string& command, const Setting& setting) {
  Lane::Entry again = entry;
  std::string bytes = command;
  if (entry.asked) bytes.erase(0, kAsking.size());
  again.asked = again.asking = false;
  Setting plain = setting;
  plain.replica = false;
  put(again, bytes, plain, std::nullopt);
}

void Cluster::put(const Lane::Entry& entry, const std::string& command, const Setting& setting, std::optional<uint32_t> node) {
  Late late{entry, command, setting, node, relay_.loop().now(), slot_of_command(command)};
  if (!late_.empty() || !put_now(late)) put_off(std::move(late));
}

bool Cluster::put_now(const Late& late) {
  std::optional<uint32_t> to = late.node;
  if (!to && map_) to = late.slot ? node_of(*late.slot) : any();
  Lane* lane = to ? relay_.lane(late.setting, 0, *to) : nullptr;
  return lane != nullptr && lane->put(late.entry, late.command);
}

void Cluster::put_off(Late late) {
  if (late.slot) ++late_slots_[*late.slot];
  if (late.entry.early) relay_.early_queued(1, static_cast<int64_t>(late.command.size()));
  if (!late_timer_.armed()) late_timer_.arm(kLate);
  late_.push_back(std::move(late));
}

// Whether the map has a node of that address.
bool Cluster::is_member(std::string_view address) const {
  const auto is_it = [address](const Node& node) { return node.address == address; };
  return std::any_of(map_->shards().begin(), map_->shards().end(),
                     [&](const Shard& shard) { return is_it(shard.master) || std::any_of(shard.replicas.begin(), shard.replicas.end(), is_it); });
}

void Cluster::forget_slot(const Late& late) {
  if (!late.slot) return;
  const auto at = late_slots_.find(*late.slot);
  if (--at->second == 0) late_slots_.erase(at);
}

void Cluster::try_late() {
  std::deque<Late> now = std::exchange(late_, {});
  const size_t all = now.size();
  for (Late& late : now) {
    if (late.entry.early) relay_.early_queued(-1, -static_cast<int64_t>(late.command.size()));
    forget_slot(late);
    Session* session = late.entry.early ? nullptr : relay_.find(late.entry.session);
    if (!late.entry.early && session == nullptr) continue;
    if (session != nullptr && relay_.loop().now() - late.since >= relay_.config().timeout) {
      session->deliver_error(late.entry, "no node of the cluster takes the command; it was not executed");
      continue;
    }
    if (!late_.empty() || !put_now(late)) put_off(std::move(late));
  }
  if (!late_.empty()) late_timer_.arm(kLate);
  if (late_.size() < all) relay_.room();
}

}  // namespace relay::redis

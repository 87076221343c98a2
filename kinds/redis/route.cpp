// SPDX-License-Identifier: Apache-2.0
// Session, in a cluster: to which node a command goes, or to which nodes, and how their replies become one. A transaction goes to the
// node of the first key in it; until there is one, MULTI is only remembered.
#include <algorithm>
#include <utility>

#include "kinds/redis/redis.h"
#include "kinds/redis/session.h"

namespace relay::redis {
namespace {

constexpr std::string_view kAborted = "-EXECABORT Transaction discarded because of previous errors.\r\n";
constexpr std::string_view kNobody = "-CLUSTERDOWN Hash slot not served\r\n";

}  // namespace

// Where the keys of the command at the front are. Of one that is not all there, the first argument is taken for its key.
Placed Session::locate(const Command& command) {
  if (!reader_.done()) {
    const std::string_view first = word(1);
    if (command.keys == nullptr || !command.keys->has_keys() || first.empty()) return {};
    return {Placed::Where::kTogether, slot_of(first)};
  }
  const auto& words = args();
  if (command.keys == nullptr || !find_keys(*command.keys, words, relay_.indexes())) return {};
  return place(words, relay_.indexes());
}

bool Session::nobody_has_it() {
  relay_.cluster()->doubt();
  return wait_for_long(kNobody);
}

// No node has said yet what the cluster is.
bool Session::no_map() {
  const Cluster& cluster = *relay_.cluster();
  if (!cluster.hopeless()) return wait_for_room();
  return refuse_command("-ERR relay: cannot reach the server: " + cluster.trouble() + "\r\n");
}

bool Session::dispatch_cluster(Command command) {
  Cluster& cluster = *relay_.cluster();
  if (command.use == Use::kQuit || command.use == Use::kReset) {
    begun_ = spoiled_ = false;
    return dispatch_to(command);
  }
  if (!cluster.known()) return no_map();
  if (command.container && reader_.done()) {
    const Use use = command.use;
    command = relay_.commands().find(word(0), word(1));
    if (command.use == Use::kShared) command.use = use;
  }
  const Placed placed = locate(command);
  if (placed.where != Placed::Where::kNowhere) {
    if (cluster.waits(placed.slot)) return wait_for_long(kOnTheWay);
    const std::optional<uint32_t> node = cluster.node_of(placed.slot);
    if (!node) return nobody_has_it();
    node_ = *node;
  } else {
    node_ = cluster.any();
  }
  if (begun_) return begin_transaction(command);
  if (placed.where == Placed::Where::kApart) {
    if (command.scope == Scope::kBySlot) return share_split(command);
    answer(kCrossSlot);
    consumed();
    return true;
  }
  if (reader_.done() && (command.scope == Scope::kMasters || command.scope == Scope::kNodes)) return share_all(command);
  if (reader_.done() && command.scope == Scope::kScan) return share_scan(command);
  if (command.use == Use::kMulti && reader_.done() && args().size() == 1) {
    begun_ = true;
    answer("+OK\r\n");
    consumed();
    return true;
  }
  if (command.read_only && command.use == Use::kShared && relay_.config().replicas && placed.where == Placed::Where::kTogether) {
    return read_from_replica(command, placed.slot);
  }
  return dispatch_to(command);
}

// From the master if there is no replica to be had.
bool Session::read_from_replica(const Command& command, uint16_t slot) {
  const std::optional<uint32_t> replica = relay_.cluster()->replica_of(slot);
  setting_.replica = replica && relay_.is_usable(*replica);
  if (setting_.replica) node_ = *replica;
  const bool done = dispatch_to(command);
  setting_.replica = false;
  return done;
}

// Behind a MULTI that no server has heard of yet.
bool Session::begin_transaction(const Command& command) {
  switch (command.use) {
    case Use::kMulti: answer("-ERR MULTI calls can not be nested\r\n"); break;
    case Use::kWatch: answer("-ERR WATCH inside MULTI is not allowed\r\n"); break;
    case Use::kExec: {
      const bool spoiled = std::exchange(spoiled_, false);
      begun_ = false;
      const std::string_view name = word(0);
      answer(!name.empty() && (name[0] == 'd' || name[0] == 'D') ? "+OK\r\n" : spoiled ? kAborted : "*0\r\n");
      break;
    }
    case Use::kShared:
    case Use::kAlone:
    case Use::kUnwatch:
    case Use::kState:
    case Use::kWait:
    case Use::kSelect:
    case Use::kAuth:
    case Use::kHello:
    case Use::kClient:
    case Use::kReset:
    case Use::kQuit:
      if (!spoiled_) {
        blocking_ = false;
        return take_lease(Pin::kTransaction);
      }
      if (!reader_.done()) return refuse_command("-ERR relay: the transaction has failed already\r\n");
      answer("+QUEUED\r\n");
  }
  consumed();
  return true;
}

// ---- several nodes

// All of the parts are sent, or none is.
bool Session::share_parts(const Command& command, std::unique_ptr<Joint> joint, const std::vector<std::pair<uint32_t, std::string>>& parts) {
  std::vector<Lane*> lanes;
  std::map<Lane*, uint64_t> sizes;
  const uint64_t epoch = relay_.lanes_epoch();
  for (const auto& [node, text] : parts) {
    node_ = node;
    Lane* lane = lane_for(setting_);
    if (lane == nullptr) return no_lane();
    if (lane->hopeless()) return hopeless(*lane);
    if (!settled_beside(*lane)) return wait_for_early();
    if (lane->full() || !lane->fits(sizes[lane] += text.size())) return wait_for_room();
    lane->use(relay_.loop().now());
    lanes.push_back(lane);
  }
  if (relay_.lanes_epoch() != epoch) return no_lane();  // for the last of them the first had to go
  joint->replies.resize(parts.size());
  joint->left = parts.size();
  const bool wide = relay_.will_write(command, args(), setting_.db);
  const uint32_t seq = next_++;
  expect_reply(seq);
  begin_joint(seq, std::move(joint));
  for (size_t i = 0; i < parts.size(); ++i) {
    Lane::Entry entry;
    entry.session = handle_;
    entry.seq = seq;
    entry.part = static_cast<uint32_t>(i + 1);
    entry.repeatable = command.repeatable;
    entry.wide = wide;
    if (!lanes[i]->put(entry, parts[i].second)) deliver_error(entry, "out of memory");
  }
  relay_.stats().add(Stat::kCommands);
  relay_.stats().add(Stat::kSharedCommands);
  ++commands_;
  consumed();
  return true;
}

bool Session::share_split(const Command& command) {
  auto joint = std::make_unique<Joint>();
  joint->how = command.join;
  joint->split = std::make_unique<Split>(args(), command.stride);
  if (joint->split->parts().empty()) {  // in a cluster the server looks at the slots first; alone it says this
    answer(wrong_number(word(0)));
    consumed();
    return true;
  }
  std::vector<std::pair<uint32_t, std::string>> parts;
  for (const Split::Part& part : joint->split->parts()) {
    if (relay_.cluster()->waits(part.slot)) return wait_for_long(kOnTheWay);
    const std::optional<uint32_t> node = relay_.cluster()->node_of(part.slot);
    if (!node) return nobody_has_it();
    parts.emplace_back(*node, std::string(joint->split->command(part)));
  }
  return share_parts(command, std::move(joint), parts);
}

bool Session::share_all(const Command& command) {
  auto joint = std::make_unique<Joint>();
  joint->how = command.join;
  std::vector<std::pair<uint32_t, std::string>> parts;
  for (const uint32_t node : relay_.cluster()->masters()) parts.emplace_back(node, std::string(bytes()));
  if (parts.empty()) return nobody_has_it();
  return share_parts(command, std::move(joint), parts);
}

bool Session::share_scan(const Command& command) {
  const auto& words = args();
  const std::optional<Cursor> cursor = words.size() > 1 ? Cursor::read(words[1]) : std::nullopt;
  if (!cursor) return dispatch_to(command);  // an error
  const std::optional<uint32_t> node = relay_.cluster()->node_of(cursor->slot);
  if (!node) return nobody_has_it();
  auto joint = std::make_unique<Joint>();
  joint->scan = true;
  joint->slot = cursor->slot;
  joint->next = relay_.cluster()->slot_behind(cursor->slot);
  return share_parts(command, std::move(joint), {{*node, scan_command(words, *cursor)}});
}

// While their slot moves keys are at one node or at the other, and each node does only commands whose keys it has all: so each is asked for
// apart. False: it is no such command.
bool Session::split_by_key(const Lane::Entry& entry, uint32_t node, std::string_view text) {
  split_command(text, relay_.scratch());
  const auto& words = relay_.scratch();
  const Command command = words.empty() ? Command{} : relay_.commands().find(words[0]);
  if (entry.seq + 1 != next_) return false;  // its parts would come behind what the client has said since
  if (command.scope != Scope::kBySlot || entry.part != 0 || this->joint(entry.seq) != nullptr) return false;
  auto joint = std::make_unique<Joint>();
  joint->how = command.join;
  joint->split = std::make_unique<Split>(words, command.stride, true);
  const size_t count = joint->split->parts().size();
  if (count < 2) return false;
  joint->replies.resize(count);
  joint->left = count;
  std::vector<std::string> parts;
  for (const Split::Part& part : joint->split->parts()) parts.emplace_back(joint->split->command(part));
  begin_joint(entry.seq, std::move(joint));
  for (size_t i = 0; i < count; ++i) {
    Lane::Entry one = entry;
    one.part = static_cast<uint32_t>(i + 1);
    one.asked = one.asking = false;
    relay_.cluster()->put(one, parts[i], setting_, node);
  }
  return true;
}

Joint* Session::joint(uint32_t seq) const {
  if (joints_ == nullptr) return nullptr;
  const auto at = joints_->find(seq);
  return at == joints_->end() ? nullptr : at->second.get();
}

void Session::begin_joint(uint32_t seq, std::unique_ptr<Joint> joint) {
  if (joints_ == nullptr) joints_ = std::make_unique<std::map<uint32_t, std::unique_ptr<Joint>>>();
  (*joints_)[seq] = std::move(joint);
}

// All parts are there.
void Session::joined(uint32_t seq) {
  const auto at = joints_->find(seq);
  const std::unique_ptr<Joint> joint = std::move(at->second);
  joints_->erase(at);
  for (const std::string& reply : joint->replies) parked_bytes_ -= reply.size();
  std::string text;
  if (joint->scan) text = join_scan(joint->replies.front(), joint->slot, joint->next);
  else if (joint->how == Join::kValues) text = join_values(*joint->split, joint->replies);
  else if (joint->replies.size() == 1) text = joint->replies.front();
  else text = join(joint->how, joint->replies);
  if (state_ != State::kOpen) return;
  // It is all here already, so it is parked whatever its turn, and goes out as there is room.
  parked_[seq] = {std::move(text), true};
  parked_bytes_ += parked_[seq].text.size();
  relay_.touch(*this);
  if (seq != head_) return;
  flush_parked();
  if (under_way() == 0) all_answered();
}

}  // namespace relay::redis

// SPDX-License-Identifier: Apache-2.0
// Cluster: which node has which slot, and what to do when that was wrong. It asks one node after another (CLUSTER SLOTS), again when a
// node says that a slot is elsewhere (MOVED) or does not answer, but never more often than a few times a second, however many say so.
//
//   command ─► keys ─► slot ─► node ─► lane
//                                        │ MOVED: the map is mended, and the command goes on to the node that was named
//                                        │ ASK: only the command goes there
//                                        ▼ its node has died: what it was owed goes to whoever has the slots now
//
// A slot that changes its node keeps its order: what comes for it waits until all that went to the node before is answered, or has come
// back and gone on.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "kinds/redis/lane.h"
#include "kinds/redis/link.h"
#include "kinds/redis/slots.h"
#include "net/timer.h"

namespace relay::redis {

class RedisRelay;

class Cluster final : public Mortal, private LinkUser, private TimerUser {
 public:
  explicit Cluster(RedisRelay& relay);

  void start() { ask(); }
  // No more calls to the relay.
  void stop();
  // The same, for another server is the relay's now: what found no room is given to the relay again, to find a place for it there.
  void hand_over();
  bool known() const { return map_.has_value(); }
  // No node has said what the cluster is for longer than `timeout`.
  bool hopeless() const { return hopeless_; }
  const std::string& trouble() const { return trouble_; }
  // The map may be old: it is asked for soon.
  void doubt();

  // REQUIRES, of these: known().
  std::optional<uint32_t> node_of(uint16_t slot);          // nothing: nobody has it
  std::optional<uint32_t> replica_of(uint16_t slot);       // one of them, at random; nothing: there is none
  uint32_t any();                                          // a master
  std::vector<uint32_t> masters();
  std::optional<uint16_t> slot_behind(uint16_t slot);      // the first slot of the shard behind the one that has it
  // Whether a command for `slot` must wait for those that went to another node before.
  bool waits(uint16_t slot);
  // Whether something has not found its way yet.
  bool has_late() const { return !late_.empty(); }
  // Where a command that is all there goes; nothing: that is not known now, or it must wait.
  std::optional<uint32_t> node_for(std::string_view command);
  // Whether `error` says that the command at the front of `lane` belongs elsewhere; then it is on its way there.
  bool redirect(Lane& lane, const Lane::Entry& entry, std::string_view error);
  // Over a lane to `node`, or to where its keys are, as soon as there is room.
  void put(const Lane::Entry& entry, const std::string& command, const Setting& setting, std::optional<uint32_t> node);
  // Where `error`, of `node`, sends who has got it; the map is mended. Nothing: it is another error.
  std::optional<uint32_t> told(std::string_view error, uint32_t node, bool& ask);
  // Finds a lane for a command that has lost its own.
  void place_again(const Lane::Entry& entry, const std::string& command, const Setting& setting);

 private:
  struct Mark {
    uint32_t lane;
    uint64_t put;
  };
  struct Late {  // finds no room
    Lane::Entry entry;
    std::string command;
    Setting setting;
    std::optional<uint32_t> node;  // nothing: of its keys
    Time since;
    std::optional<uint16_t> slot;  // nothing: it has no keys
  };

  void on_link_ready() override;
  void on_link_turn() override;
  size_t on_link_bytes(std::span<const std::byte> bytes) override;
  void on_link_read() override;
  void on_link_lost(const std::string& why) override;
  void on_timer(Timer& timer) override;

  void ask();
  void answered(std::string_view reply);
  void failed(const std::string& why);
  void learn(SlotMap map);
  bool is_over(std::vector<Mark>& marks);
  void note_moves(const SlotMap& before);
  void leave_behind(uint16_t slot, uint32_t node);
  void desert();
  std::optional<uint16_t> slot_of_command(std::string_view command);
  bool is_member(std::string_view address) const;
  bool put_now(const Late& late);
  void put_off(Late late);
  void forget_slot(const Late& late);
  void try_late();

  RedisRelay& relay_;
  Link link_;
  Timer timer_;     // the next question
  Timer patience_;  // with the one that is asked
  Timer late_timer_;
  std::optional<SlotMap> map_;
  std::string asked_;       // HOST:PORT
  std::string reply_;
  RespReply reader_;
  size_t failures_ = 0;     // one behind the other
  size_t turn_ = 0;         // which of the candidates
  Time asked_at_{};
  Time told_at_ = -Delay{1'000'000};
  Time since_{};            // nobody has answered since
  std::map<uint16_t, std::vector<Mark>> marks_;
  std::deque<Late> late_;
  std::map<uint16_t, size_t> late_slots_;  // how many of them there are
  std::string trouble_ = "no node of the cluster has answered yet";
  std::vector<uint32_t> indexes_;
  bool asking_ = false;
  bool question_sent_ = false;
  bool hopeless_ = false;
  bool stopped_ = false;
};

}  // namespace relay::redis

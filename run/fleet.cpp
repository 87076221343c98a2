// SPDX-License-Identifier: Apache-2.0
// Fleet and Change: who stays, who comes, who goes.
#include "run/fleet.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "lib/check.h"
#include "run/config_file.h"
#include "run/crew.h"

namespace relay {

namespace {
constexpr size_t kSweptATurn = 100;
constexpr Delay kLastWords{1000};
}

// ---- Fleet

bool Fleet::sweep() {
  for (const auto& running : retired_) {
    if (running->relay->idle() || env_.loop.now() < running->until) continue;
    running->until = env_.loop.now() + kLastWords;  // then once more, and at once
    running->relay->stop("drain-timeout");
  }
  size_t left = kSweptATurn;
  std::erase_if(retired_, [&left](const auto& running) {
    if (left == 0 || !running->relay->idle()) return false;
    --left;
    relay::log_stats(running->relay->name(), running->kind->stats(), running->relay->values());
    return true;
  });
  return left == 0;
}

Delay Fleet::patience() const {
  Delay least = Delay::max();
  for (const auto& running : retired_) least = std::min(least, std::max(Delay{1}, running->until - env_.loop.now()));
  return least;
}

void Fleet::drain() {
  for (const auto& running : relays_) running->relay->drain();
}

void Fleet::stop(std::string_view why) {
  for (const auto* list : {&relays_, &retired_})
    for (const auto& running : *list) running->relay->stop(why);
}

bool Fleet::idle() const {
  const auto is_idle = [](const auto& running) { return running->relay->idle(); };
  return std::all_of(relays_.begin(), relays_.end(), is_idle) && std::all_of(retired_.begin(), retired_.end(), is_idle);
}

bool Fleet::settled() const {
  return std::all_of(relays_.begin(), relays_.end(), [](const auto& running) { return running->relay->settled(); });
}

void Fleet::log_stats() const {
  for (const auto* list : {&relays_, &retired_})
    for (const auto& running : *list) relay::log_stats(running->relay->name(), running->kind->stats(), running->relay->values());
}

void Fleet::log_level(Level level) {
  for (const auto* list : {&relays_, &retired_})
    for (const auto& running : *list) running->relay->log_level(level);
}

std::unique_ptr<Relay> Fleet::make(const Kind& kind, const Section& section) const {
  if (kind.workers == nullptr || kind.workers(section) < 2) return kind.make(env_);
  return make_crew(env_, kind, nursery_, global_);
}

std::string Fleet::summary() const {
  std::string out = std::to_string(relays_.size()) + (relays_.size() == 1 ? " relay" : " relays");
  std::string_view before = ": ";
  for (const Kind* kind : kinds_) {
    if (std::none_of(relays_.begin(), relays_.end(), [kind](const auto& running) { return running->kind == kind; })) continue;
    const std::span<const StatRow> rows = kind->stats();
    std::vector<uint64_t> sums(rows.size());
    for (const auto& running : relays_)
      for (size_t i = 0; i < rows.size() && running->kind == kind; ++i)
        if (rows[i].type == StatRow::Type::kGauge) sums[i] += running->relay->values()[i];
    for (size_t i = 0; i < rows.size(); ++i)
      if (rows[i].type == StatRow::Type::kGauge) out.append(std::exchange(before, ", ")).append(rows[i].name).append(" ").append(std::to_string(sums[i]));
    before = "; ";
  }
  return out;
}

// ---- Change

Change::Change(Fleet& fleet, Config::Items items, Delay drain)
    : fleet_(fleet), drain_(drain), items_(std::move(items)), found_(items_.size(), nullptr) {
  titles_.reserve(items_.size());
  steps_.reserve(items_.size());
}

Change::~Change() {
  if (done_) return;
  for (const Step& step : steps_)
    if (step.added == nullptr) step.running->relay->rollback();
  fleet_.env_.sockets.forget_lent();
}

bool Change::prepare(Faults& faults) {
  const auto step = [this](size_t count, Phase following, auto act) {
    if (next_ < count) act();
    if (++next_ < count) return;
    next_ = 0;
    phase_ = following;
  };
  switch (phase_) {
    case Phase::kIndex: step(fleet_.relays_.size(), Phase::kName, [this] { index_one(); }); return true;
    case Phase::kName: step(items_.size(), Phase::kMatchEqual, [this] { name_one(); }); return true;
    // Equal ones first: of two that share a name (both made from one port, at two addresses) each finds itself again.
    case Phase::kMatchEqual: step(items_.size(), Phase::kMatchName, [this] { match_one(true); }); return true;
    case Phase::kMatchName: step(items_.size(), Phase::kSort, [this] { match_one(false); }); return true;
    case Phase::kSort: step(items_.size(), Phase::kLend, [this] { sort_one(); }); return true;
    case Phase::kLend: step(steps_.size() + old_.size(), Phase::kPrepare, [this] { lend_one(); }); return true;
    case Phase::kPrepare: break;
  }
  if (next_ == steps_.size()) return false;
  Step& one = steps_[next_++];
  one.prepared = one.fate != Fate::kKept || one.running->relay->reads_files();
  if (one.prepared) one.running->relay->prepare(one.section, faults);
  return next_ < steps_.size();
}

void Change::index_one() {
  Running* running = fleet_.relays_[next_].get();
  old_.emplace(running->relay->name(), running);
}

// Two relays may be named after one port, at two addresses: the later ones get a number.
void Change::name_one() {
  Config::Item& item = items_[next_];
  const Kind* kind = find_kind(fleet_.kinds_, item.kind);
  titles_.push_back(kind->title(item.section));
  const size_t others = seen_[titles_.back()]++;
  if (others == 0) return;
  Faults none;
  item.section.set("name", titles_.back() + "-" + std::to_string(others + 1), item.section.origin(), none);
  titles_.back() = kind->title(item.section);
  ++seen_[titles_.back()];
}

void Change::match_one(bool equal) {
  if (found_[next_] != nullptr) return;
  const Kind* kind = find_kind(fleet_.kinds_, items_[next_].kind);
  const auto [first, last] = old_.equal_range(titles_[next_]);
  const auto at = std::find_if(first, last, [&](const auto& entry) {
    return entry.second->kind == kind && (!equal || entry.second->section.same(items_[next_].section));
  });
  if (at == last) return;
  found_[next_] = at->second;
  old_.erase(at);
}

void Change::sort_one() {
  Config::Item& item = items_[next_];
  Running* found = found_[next_];
  if (found == nullptr) {
    const Kind* kind = find_kind(fleet_.kinds_, item.kind);
    auto added = std::make_unique<Running>(Running{0, kind, Section(kind->keys()), fleet_.make(*kind, item.section), {}, {}});
    Running* running = added.get();
    steps_.push_back({Fate::kAdded, std::move(added), running, std::move(item.section)});
    ++counts_.added;
    return;
  }
  const bool same = found->section.same(item.section);
  ++(same ? counts_.kept : counts_.changed);
  steps_.push_back({same ? Fate::kKept : Fate::kChanged, nullptr, found, std::move(item.section)});
}

// Those that change, then those that go.
void Change::lend_one() {
  if (next_ < steps_.size()) {
    const Step& step = steps_[next_];
    if (step.fate == Fate::kChanged) step.running->relay->lend();
    return;
  }
  Running* gone = old_.begin()->second;
  old_.erase(old_.begin());
  removed_.push_back(gone);
  counts_.removed = removed_.size();
  gone->relay->lend();
  --next_;  // there is one less
}

bool Change::commit() {
  if (!done_) {
    CHECK(phase_ == Phase::kPrepare && next_ == steps_.size());
    done_ = true;
    fleet_.env_.sockets.settle();
    take_out_removed();
  }
  if (!leaving_.empty()) {
    std::unique_ptr<Running> running = std::move(leaving_.back());
    leaving_.pop_back();
    running->until = fleet_.env_.loop.now() + drain_;
    running->relay->drain();
    fleet_.retired_.push_back(std::move(running));
    return !leaving_.empty() || !steps_.empty();
  }
  if (committed_ == steps_.size()) return false;
  Step& step = steps_[committed_++];
  if (step.prepared) step.running->relay->commit();
  step.running->section = std::move(step.section);
  if (step.added != nullptr) {
    step.added->id = fleet_.next_id_++;
    fleet_.relays_.push_back(std::move(step.added));
  }
  return committed_ < steps_.size();
}

bool Change::forget() {
  if (!titles_.empty()) titles_.pop_back();
  if (!steps_.empty()) steps_.pop_back();
  if (!items_.empty()) items_.pop_back();
  if (!seen_.empty()) seen_.erase(seen_.begin());
  return !titles_.empty() || !steps_.empty() || !items_.empty() || !seen_.empty();
}

void Change::take_out_removed() {
  std::sort(removed_.begin(), removed_.end());
  const auto stays = [this](const auto& running) { return !std::binary_search(removed_.begin(), removed_.end(), running.get()); };
  auto& relays = fleet_.relays_;
  const auto gone = std::stable_partition(relays.begin(), relays.end(), stays);
  std::move(gone, relays.end(), std::back_inserter(leaving_));
  relays.erase(gone, relays.end());
  removed_.clear();
}

}  // namespace relay

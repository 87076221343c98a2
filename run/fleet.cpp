// SPDX-License-Identifier: Apache-2.0
// Fleet and Change: who stays, who comes, who goes.
#include "run/fleet.h"

#include <algorithm>
#include <iterator>
#include <map>

#include "lib/check.h"
#include "run/config_file.h"

namespace relay {

// ---- Fleet

void Fleet::sweep() {
  for (const auto& running : retired_)
    if (!running->relay->idle() && env_.loop.now() >= running->until) running->relay->stop("drain-timeout");
  std::erase_if(retired_, [](const auto& running) {
    if (!running->relay->idle()) return false;
    relay::log_stats(running->relay->name(), running->kind->stats(), running->relay->values());
    return true;
  });
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

void Fleet::log_stats() const {
  for (const auto* list : {&relays_, &retired_})
    for (const auto& running : *list) relay::log_stats(running->relay->name(), running->kind->stats(), running->relay->values());
}

std::string Fleet::summary() const {
  std::map<std::string_view, uint64_t> sums;
  std::vector<std::string_view> order;
  for (const auto& running : relays_) {
    const std::span<const StatRow> rows = running->kind->stats();
    const std::span<const uint64_t> values = running->relay->values();
    for (size_t i = 0; i < rows.size(); ++i) {
      if (rows[i].type != StatRow::Type::kGauge) continue;
      const auto [at, is_new] = sums.emplace(rows[i].name, 0);
      if (is_new) order.push_back(rows[i].name);
      at->second += values[i];
    }
  }
  std::string out = std::to_string(relays_.size()) + (relays_.size() == 1 ? " relay" : " relays");
  for (const std::string_view name : order)
    out.append(name == order.front() ? ": " : ", ").append(name).append(" ").append(std::to_string(sums[name]));
  return out;
}

// ---- Change

Change::Change(Fleet& fleet, std::vector<Config::Item> items, Delay drain) : fleet_(fleet), drain_(drain) { match(std::move(items)); }

Change::~Change() {
  if (done_) return;
  for (const Step& step : steps_)
    if (step.fate == Fate::kChanged) step.running->relay->rollback();
  fleet_.env_.sockets.forget_lent();
}

// Names as the log and the metrics know them. Two relays may be named after one port, at two addresses: the later ones get a number.
std::vector<std::string> Change::unique_titles(std::vector<Config::Item>& items) const {
  std::map<std::string, size_t, std::less<>> seen;
  std::vector<std::string> titles;
  titles.reserve(items.size());
  for (Config::Item& item : items) {
    const Kind* kind = find_kind(fleet_.kinds_, item.kind);
    titles.push_back(kind->title(item.section));
    if (const size_t others = seen[titles.back()]++; others > 0) {
      Faults none;
      item.section.set("name", titles.back() + "-" + std::to_string(others + 1), item.section.origin(), none);
      titles.back() = kind->title(item.section);
      ++seen[titles.back()];
    }
  }
  return titles;
}

// Equal ones first: of two that share a name (both made from one port, at two addresses) each finds itself again.
void Change::match(std::vector<Config::Item> items) {
  std::multimap<std::string, Running*, std::less<>> old;
  for (const auto& running : fleet_.relays_) old.emplace(running->kind->title(running->section), running.get());
  std::vector<Running*> found(items.size(), nullptr);
  const std::vector<std::string> titles = unique_titles(items);
  for (const bool exactly : {true, false})
    for (size_t i = 0; i < items.size(); ++i) {
      if (found[i] != nullptr) continue;
      const Kind* kind = find_kind(fleet_.kinds_, items[i].kind);
      const auto [first, last] = old.equal_range(titles[i]);
      const auto at = std::find_if(first, last, [&](const auto& entry) {
        return entry.second->kind == kind && (!exactly || entry.second->section.same(items[i].section));
      });
      if (at == last) continue;
      found[i] = at->second;
      old.erase(at);
    }
  for (const auto& [title, running] : old) removed_.push_back(running);
  counts_.removed = removed_.size();

  steps_.reserve(items.size());
  for (size_t i = 0; i < items.size(); ++i) {
    Config::Item& item = items[i];
    if (found[i] == nullptr) {
      const Kind* kind = find_kind(fleet_.kinds_, item.kind);
      auto added = std::make_unique<Running>(Running{0, kind, Section(kind->keys()), kind->make(fleet_.env_), {}, {}});
      Running* running = added.get();
      steps_.push_back({Fate::kAdded, std::move(added), running, std::move(item.section)});
      ++counts_.added;
    } else {
      const bool same = found[i]->section.same(item.section);
      ++(same ? counts_.kept : counts_.changed);
      steps_.push_back({same ? Fate::kKept : Fate::kChanged, nullptr, found[i], std::move(item.section)});
    }
  }
  for (const Step& step : steps_)
    if (step.fate == Fate::kChanged) step.running->relay->lend();
  for (Running* running : removed_) running->relay->lend();
}

bool Change::prepare(Faults& faults) {
  if (prepared_ == steps_.size()) return false;
  const Step& step = steps_[prepared_++];
  if (step.fate != Fate::kKept) step.running->relay->prepare(step.section, faults);
  return prepared_ < steps_.size();
}

bool Change::commit() {
  if (!done_) {
    CHECK(prepared_ == steps_.size());
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
  if (step.fate != Fate::kKept) step.running->relay->commit();
  step.running->section = std::move(step.section);
  if (step.added != nullptr) {
    step.added->id = fleet_.next_id_++;
    fleet_.relays_.push_back(std::move(step.added));
  }
  return committed_ < steps_.size();
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

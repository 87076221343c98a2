// SPDX-License-Identifier: Apache-2.0
// ConfigFile: reading, then the checks that need more than one key or more than one relay.
#include "run/config_file.h"

#include <algorithm>
#include <cstring>

#include "lib/text.h"
#include "net/sys.h"

namespace relay {
namespace {

// Two listeners for one place: the second would fail at the start.
bool collide(const Endpoint& a, const Endpoint& b) {
  if (a.kind == Endpoint::Kind::kUnix || b.kind == Endpoint::Kind::kUnix) return a.kind == b.kind && a.host == b.host;
  if (a.port != b.port || a.port == 0) return false;
  const auto covers = [](const Addr& all, const Addr& one) {
    return all.is_any() && (all.family == Addr::Family::kV6 || one.family == Addr::Family::kV4);  // "::" takes IPv4 too
  };
  return a.addr.same_host(b.addr) || covers(a.addr, b.addr) || covers(b.addr, a.addr);
}

}  // namespace

const Kind* find_kind(std::span<const Kind* const> kinds, std::string_view name) {
  const auto at = std::find_if(kinds.begin(), kinds.end(), [name](const Kind* kind) { return kind->name == name; });
  return at == kinds.end() ? nullptr : *at;
}

void Together::add(const Config::Item& item, Faults& faults) {
  const Section& section = item.section;
  for (const Endpoint& place : find_kind(kinds_, item.kind)->places(section)) {
    auto& rivals = taken_[place.kind == Endpoint::Kind::kUnix ? place.host : std::to_string(place.port)];
    for (const Place& rival : rivals)
      if (collide(place, rival.where) && rival.owner == section.origin())
        faults.push_back({section.where(section.has("listen") ? "listen" : "port"), place.text() + " and " + rival.where.text() + " are one place; take one out, or give it another port"});
      else if (collide(place, rival.where))
        faults.push_back({section.where("port"), "listens on " + place.text() + ", where the relay of " + rival.owner + " listens; give it a port of its own"});
    rivals.push_back({place, section.origin()});
  }
  if (!section.has("name")) return;
  const auto [at, is_new] = names_.emplace(section.text("name"), section.origin());
  if (!is_new)
    faults.push_back({section.where("name"), quote(section.text("name")) + " is the name of the relay of " + at->second + " too; the log could not tell them apart"});
}

void Together::add_admin(const Section& global, Faults& faults) const {
  for (const Endpoint& place : global.endpoints("admin")) {
    const auto rivals = taken_.find(place.kind == Endpoint::Kind::kUnix ? place.host : std::to_string(place.port));
    if (rivals == taken_.end()) continue;
    for (const Place& rival : rivals->second)
      if (collide(place, rival.where))
        faults.push_back({global.where("admin"), place.text() + " is where the relay of " + rival.owner + " listens; give it a place of its own"});
  }
}

bool Together::forget() {
  if (!taken_.empty()) taken_.erase(taken_.begin());
  if (!names_.empty()) names_.erase(names_.begin());
  return !taken_.empty() || !names_.empty();
}

void check_global(const Section& global, Faults& faults) {
  for (const Endpoint& place : global.endpoints("admin"))
    if (place.tls && !global.has("admin-cert"))
      faults.push_back({global.where("admin"), "TLS needs a certificate; give admin-cert (and admin-key)"});
  for (const Endpoint& place : global.endpoints("admin"))
    if (place.kind == Endpoint::Kind::kAddr && !place.addr.is_loopback() && !global.has("admin-token-file"))
      faults.push_back({global.where("admin"), place.text() + " is not loopback: whoever reaches it could stop the relays; give admin-token-file, or listen on unix:PATH or tcp:127.0.0.1:PORT"});
}

std::vector<KindKeys> ConfigFile::keys_of(std::span<const Kind* const> kinds) {
  std::vector<KindKeys> out;
  for (const Kind* kind : kinds) out.push_back({kind->name, kind->keys()});
  return out;
}

ConfigFile::ConfigFile(std::span<const Kind* const> kinds, const std::string& path, std::span<const char* const> args, When when)
    : kinds_(kinds), args_(args), kind_keys_(keys_of(kinds)), together_(kinds) {
  const std::string found = find_config_file(path, text_, when == When::kStart, faults_);
  if (found.empty()) return;
  if (is_env_file(found)) config_ = read_env(found, text_, kind_keys_, faults_);
  else reader_ = std::make_unique<TomlReader>(found, text_, kind_keys_, config_, faults_);
  read_ = true;
}

bool ConfigFile::step() {
  if (!read_) return false;
  const bool more = reader_ != nullptr && reader_->step();
  for (; checked_ < config_.relays.size(); ++checked_) {
    const Config::Item& item = config_.relays[checked_];
    find_kind(kinds_, item.kind)->check(item.section, faults_);
    if (faults_.empty()) together_.add(item, faults_);
  }
  if (more) return true;
  Section none{{}};
  read_args(args_, config_.global, none, faults_);
  check_global(config_.global, faults_);
  if (faults_.empty()) together_.add_admin(config_.global, faults_);
  reader_.reset();
  read_ = false;
  return false;
}

}  // namespace relay

// SPDX-License-Identifier: Apache-2.0
// The short file's way in: one relay, a line a key, as environment files are written.
//
//   # func1.env                          the key queue-size is RELAY_QUEUE_SIZE, for the process and for its one relay alike
//   RELAY_PORT=9000
//   RELAY_CLIENT="192.0.2.0/24,::1"      quotes may stand around the whole value; several values have commas
//
// A shell, systemd and docker read such a file, and each a little differently. What they disagree about (spaces around the "=",
// "export", a value that goes on in the next line) is a fault here, not a guess. Nothing is expanded.
#include <algorithm>
#include <optional>

#include "lib/text.h"
#include "ops/config.h"

namespace relay {
namespace {

constexpr size_t kMostFaults = 100;
constexpr std::string_view kPrefix = "RELAY_";
constexpr std::string_view kSpace = " \t\r";

// queue-size <-> RELAY_QUEUE_SIZE
std::string variable(std::string_view key) {
  std::string out(kPrefix);
  for (const char c : key) out += c == '-' ? '_' : c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
  return out;
}

// The key that `name` may have been meant for: RELAY_PAIR, Pairs, relay_pairs are all about pairs.
std::string as_key(std::string_view name) {
  std::string out;
  for (const char c : name) out += c == '_' ? '-' : c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return out.starts_with("relay-") ? out.substr(6) : out;
}

class Reader {
 public:
  Reader(std::string_view path, std::span<const KindKeys> kinds, Config& config, Faults& faults)
      : path_(printable(path)), kinds_(kinds), config_(config), faults_(faults), most_faults_(faults.size() + kMostFaults) {}

  void read(std::string_view text) {
    const KindKeys* const kind = find_kind(text);
    config_.global.set_origin(path_);
    if (kind == nullptr) return;  // without a kind no key can be judged
    Section section(kind->keys);
    section.set_origin(path_);
    each_line(text, [this, &section](std::string_view line) { read_line(section, line); });
    config_.global.require(faults_);
    section.require(faults_);
    config_.relays.push_back({kind->name, std::move(section)});
    if (full()) faults_.push_back({path_, "too many faults: the rest is not read; mend these first"});
  }

 private:
  bool full() const { return faults_.size() >= most_faults_; }
  std::string place() const { return path_ + ':' + std::to_string(line_); }
  void fault(std::string what) { faults_.push_back({place(), std::move(what)}); }

  // Those that say something, without what is white at their ends.
  template <typename Each>
  void each_line(std::string_view text, Each each) {
    line_ = 0;
    while (!text.empty() && !full()) {
      ++line_;
      const size_t end = text.find('\n');
      std::string_view line = text.substr(0, end);
      text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
      line.remove_prefix(std::min(line.size(), line.find_first_not_of(kSpace)));
      line = line.substr(0, line.find_last_not_of(kSpace) + 1);
      if (!line.empty() && line.front() != '#' && line.front() != ';') each(line);
    }
  }

  // The value of KEY=VALUE without its quotes; nothing, and said, if it has half of them.
  std::optional<std::string_view> value_of(std::string_view line) {
    std::string_view value = line.substr(line.find('=') + 1);
    if (value.empty() || (value.front() != '"' && value.front() != '\'')) return value;
    const size_t close = value.find(value.front(), 1);
    if (close == value.size() - 1) return value.substr(1, close - 1);
    fault("the quotes do not stand around the whole value; a comment needs a line of its own");
    return std::nullopt;
  }

  // RELAY_KIND is read before the others, wherever it stands: it says which keys there are.
  const KindKeys* find_kind(std::string_view text) {
    std::string built_in;
    for (const KindKeys& kind : kinds_) built_in += (built_in.empty() ? "" : ", ") + std::string(kind.name);
    const KindKeys* found = &kinds_.front();
    bool given = false;
    each_line(text, [this, &found, &given, &built_in](std::string_view line) {
      if (line.substr(0, line.find('=')) != variable("kind") || line.find('=') == std::string_view::npos) return;
      const std::optional<std::string_view> name = value_of(line);
      if (given) fault("RELAY_KIND is here a second time; keep one of the two");
      given = true;
      const auto at = std::find_if(kinds_.begin(), kinds_.end(), [&name](const KindKeys& kind) { return kind.name == name; });
      found = at == kinds_.end() ? nullptr : &*at;
      if (found == nullptr && name) fault("RELAY_KIND: " + quote(*name) + " is not built in; there is " + built_in);
    });
    return found;
  }

  void read_line(Section& section, std::string_view line) {
    const size_t equals = line.find('=');
    const std::string_view name = line.substr(0, equals);
    if (equals == std::string_view::npos) return fault("lines are RELAY_KEY=VALUE; this one has no =");
    if (name.starts_with("export ")) return fault("leave out the word export");
    const bool space_behind = equals + 1 < line.size() && kSpace.find(line[equals + 1]) != std::string_view::npos;
    if (space_behind || name.find_first_of(kSpace) != std::string_view::npos) return fault("no space may stand around the =");
    if (name == variable("kind")) return;
    const auto [home, key] = find(section, name);
    if (key == nullptr) return unknown(section, name);
    if (const std::string before = home->where(key->name); before != path_)
      return fault(printable(name) + " stands in " + before + " already; " +
                   (key->repeatable ? "put its values into one line, with commas between them" : "keep one of the two"));
    if (const std::optional<std::string_view> value = value_of(line)) home->set(key->name, *value, place(), faults_);
  }

  std::pair<Section*, const Key*> find(Section& section, std::string_view name) {
    for (Section* const home : {&config_.global, &section})
      for (const Key& key : home->keys())
        if (variable(key.name) == name) return {home, &key};
    return {&section, nullptr};
  }

  void unknown(const Section& section, std::string_view name) {
    std::vector<std::string_view> names = {"kind"};
    for (const Section* const home : std::initializer_list<const Section*>{&config_.global, &section})
      for (const Key& key : home->keys()) names.push_back(key.name);
    const std::string_view near = nearest(as_key(name), names);
    fault("unknown variable " + quote(name) + (near.empty() ? "; each begins with RELAY_ and a key, relay.toml(5) has them"
                                                            : "; did you mean " + variable(near) + '?'));
  }

  std::string path_;  // safe to print
  std::span<const KindKeys> kinds_;
  Config& config_;
  Faults& faults_;
  size_t most_faults_;
  size_t line_ = 0;
};

}  // namespace

Config read_env(std::string_view path, std::string_view text, std::span<const KindKeys> kinds, Faults& faults) {
  CHECK(!kinds.empty());
  Config config;
  Reader(path, kinds, config, faults).read(text);
  return config;
}

}  // namespace relay

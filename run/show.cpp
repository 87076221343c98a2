// SPDX-License-Identifier: Apache-2.0
// Process: what it shows of itself, as JSON and as Prometheus metrics, a piece at a time.
//
// A page is made over many turns, in which relays come and go: it remembers the id of the next relay, not its place, and leaves
// out those that have come since it was begun: one that was taken out and came back would be there twice.
#include <algorithm>
#include <array>

#include "lib/log.h"
#include "lib/text.h"
#include "net/sys.h"
#include "run/process.h"
#include "wire/grpc.h"

namespace relay {
namespace {

constexpr uint64_t kAtRelays = 1;                 // at least: 0 is the head
constexpr uint64_t kSomeShown = uint64_t{1} << 63;  // one relay is there already: a comma comes next
constexpr unsigned kFamilyShift = 40;             // metrics: the family above, the relay's id below
constexpr size_t kSamplesACall = 64;

// The relays of that id or a later one.
auto from_id(const std::vector<std::unique_ptr<Running>>& relays, uint64_t id) {
  return std::lower_bound(relays.begin(), relays.end(), id, [](const auto& running, uint64_t wanted) { return running->id < wanted; });
}

uint64_t next_id(const std::vector<std::unique_ptr<Running>>& relays) { return relays.empty() ? 0 : relays.back()->id + 1; }

std::string label_value(std::string_view text) {
  std::string out;
  for (const char c : printable(text)) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out;
}

struct Metric {
  std::string_view name;
  std::string_view type;
  std::string_view help;
  double value;
};

void append(std::string& out, const Metric& metric, std::string_view labels = {}) {
  std::array<char, 64> number{};
  std::snprintf(number.data(), number.size(), " %.15g\n", metric.value);
  const std::string name(metric.name);
  out.append("# HELP " + name + " ").append(metric.help).append("\n# TYPE " + name + " ").append(metric.type).append("\n" + name).append(labels).append(number.data());
}

std::string family_name(const Kind& kind, const StatRow& row) {
  return "relay_" + std::string(kind.name) + "_" + std::string(row.name) + (row.type == StatRow::Type::kCounter ? "_total" : "");
}

}  // namespace

// ---- /status

void Process::status_head(std::string& out) {
  Json json(out);
  json.begin('{').text("version", kVersion).number("pid", sys::process_id()).text("state", draining_ ? "draining" : "running");
  json.number("uptime_ms", (loop_.now() - started_).count()).text("file", reload_.path()).number("reloads", reloads_);
  json.number("reload_failures", reload_failures_).text("log_level", global_.text("log-level")).number("log_dropped", log_dropped());
  json.begin('[', "relays");
}

void Process::relay_status(Running& running, bool first, size_t most, std::string& out) {
  Json json(out);
  if (!first) json.go_on();
  json.begin('{').text("name", running.relay->name()).text("kind", running.kind->name).flag("removed", running.until.count() != 0);
  json.begin('{', "stats");
  const std::span<const StatRow> rows = running.kind->stats();
  const std::span<const uint64_t> values = running.relay->values();
  for (size_t i = 0; i < rows.size(); ++i) json.number(rows[i].name, values[i]);
  json.end('}');
  running.relay->status(json, most);
  json.end('}');
}

bool Process::status_page(AdminPlace& place, const AdminQuery& query, std::string& out) {
  uint64_t& at = place.at;
  if (at == 0) {
    status_head(out);
    at = kAtRelays;
    place.end = next_id(fleet_.relays());
    return true;
  }
  const auto wanted = [&query](const Running& running) { return query.relay.empty() || running.relay->name() == query.relay; };
  bool first = (at & kSomeShown) == 0;
  const uint64_t id = at & ~kSomeShown;
  if (const auto next = from_id(fleet_.relays(), id); next != from_id(fleet_.relays(), place.end)) {
    Running& running = **next;
    if (wanted(running)) {
      relay_status(running, first, query.connections, out);
      first = false;
    }
    at = (running.id + 1) | (first ? 0 : kSomeShown);
    return true;
  }
  for (const auto& running : fleet_.retired())
    if (wanted(*running)) {
      relay_status(*running, first, query.connections, out);
      first = false;
    }
  out += "]}\n";
  return false;
}

// ---- /metrics

bool Process::metrics_page(AdminPlace& place, std::string& out) {
  uint64_t& at = place.at;
  if (at == 0) {
    place.end = next_id(fleet_.relays());
    append(out, {"relay_build_info", "gauge", "the version that runs", 1}, "{version=\"" + std::string(kVersion) + "\"}");
    append(out, {"relay_draining", "gauge", "whether it takes nothing new and will end", draining_ ? 1.0 : 0.0});
    append(out, {"relay_relays", "gauge", "relays that run, without those taken out of the configuration", static_cast<double>(fleet_.relays().size())});
    append(out, {"relay_reloads_total", "counter", "configurations taken into use after the first", static_cast<double>(reloads_)});
    append(out, {"relay_reload_failures_total", "counter", "reloads that changed nothing because of a fault", static_cast<double>(reload_failures_)});
    append(out, {"relay_log_lines_dropped_total", "counter", "log lines that standard error did not take", static_cast<double>(log_dropped())});
    append(out, {"process_start_time_seconds", "gauge", "when it was started, in seconds of Unix time", static_cast<double>(sys::unix_ms() - (loop_.now() - started_).count()) / 1000});
    append(out, {"process_cpu_seconds_total", "counter", "processor time used, user and system", static_cast<double>(sys::cpu_us()) / 1e6});
    if (const int64_t bytes = sys::resident_bytes(); bytes > 0)
      append(out, {"process_resident_memory_bytes", "gauge", "memory that is resident", static_cast<double>(bytes)});
    at = uint64_t{1} << kFamilyShift;
    return true;
  }
  // Families are counted through all kinds, in the order of their tables, from 1.
  uint64_t family = at >> kFamilyShift;
  uint64_t index = family - 1;
  for (const Kind* kind : kinds_) {
    const std::span<const StatRow> rows = kind->stats();
    if (index >= rows.size()) {
      index -= rows.size();
      continue;
    }
    const StatRow& row = rows[index];
    const std::string name = family_name(*kind, row);
    uint64_t id = at & ((uint64_t{1} << kFamilyShift) - 1);
    if (id == 0) {
      out.append("# HELP " + name + " ").append(row.help).append("\n# TYPE " + name).append(row.type == StatRow::Type::kCounter ? " counter\n" : " gauge\n");
    }
    auto next = from_id(fleet_.relays(), id);
    const auto end = from_id(fleet_.relays(), place.end);
    for (size_t left = kSamplesACall; next != end && left > 0; ++next, --left) {
      Running& running = **next;
      if (running.kind != kind) continue;
      running.shown.resize(rows.size());
      uint64_t& shown = running.shown[index];
      const uint64_t now = running.relay->values()[index];
      // What has gone to a kernel may turn out to be lost; a counter that fell would look like a new process.
      shown = row.type == StatRow::Type::kCounter ? std::max(shown, now) : now;
      out.append(name).append("{relay=\"").append(label_value(running.relay->name())).append("\"} ").append(std::to_string(shown)).append("\n");
    }
    at = next != end ? (family << kFamilyShift | (*next)->id) : (family + 1) << kFamilyShift;
    return true;
  }
  return false;
}

// ---- /relays/NAME/WHAT

int Process::control(std::string_view path, const ControlQuery& query, std::string& answer) {
  if (query.rpc) return call(path, query, answer);
  Relay* relay = nullptr;
  for (const auto& running : fleet_.relays()) {
    const std::string& name = running->relay->name();  // in which there may be a slash: the longest that fits
    const bool fits = path.starts_with(name) && path.size() > name.size() && path[name.size()] == '/';
    if (fits && (relay == nullptr || name.size() > relay->name().size())) relay = running->relay.get();
  }
  return relay == nullptr ? 404 : relay->control(path.substr(relay->name().size() + 1), query, answer);
}

int Process::call(std::string_view path, const ControlQuery& query, std::string& answer) {
  const size_t slash = path.find('/');
  const std::string_view service = path.substr(0, slash);
  const std::string_view method = slash == std::string_view::npos ? std::string_view() : path.substr(slash + 1);
  const auto say = [&answer](int status, std::string_view what) {
    answer = what;
    return status;
  };
  if (service.empty() || std::none_of(kinds_.begin(), kinds_.end(), [&](const Kind* kind) { return kind->service == service; }))
    return say(501, "no such service");
  const auto only_looks = [&](const Kind* kind) { return kind->service == service && std::find(kind->looks.begin(), kind->looks.end(), method) != kind->looks.end(); };
  if (!query.may_change && std::none_of(kinds_.begin(), kinds_.end(), only_looks)) return say(403, kOnlyLooks);
  const std::optional<std::string_view> name = proto_text(query.body, 1);
  if (!name) return say(400, "the request is no message of protobuf");
  Relay* relay = nullptr;
  for (const auto& running : fleet_.relays()) {
    if (running->kind->service != service || (!name->empty() && running->relay->name() != *name)) continue;
    if (relay != nullptr) return say(400, "relay: there are several; say which");
    relay = running->relay.get();
  }
  return relay == nullptr ? say(404, "no such relay") : relay->control(method, query, answer);
}

// It is seldom, and cheap for those whom it does not concern.
void Process::hung_up(Ticket ticket) {
  for (const auto& running : fleet_.relays()) running->relay->hung_up(ticket);
  for (const auto& running : fleet_.retired()) running->relay->hung_up(ticket);
}

// ---- /wait

std::optional<uint64_t> Process::statistic(std::string_view relay, std::string_view name) {
  if (relay.empty()) {
    if (name == "relays") return fleet_.relays().size();
    if (name == "reloads") return reloads_;
    if (name == "reload_failures") return reload_failures_;
    if (name == "log_dropped") return log_dropped();
  }
  std::optional<uint64_t> sum;
  for (const auto& running : fleet_.relays()) {
    if (!relay.empty() && running->relay->name() != relay) continue;
    const std::span<const StatRow> rows = running->kind->stats();
    const auto at = std::find_if(rows.begin(), rows.end(), [name](const StatRow& row) { return row.name == name; });
    if (at != rows.end()) sum = sum.value_or(0) + running->relay->values()[static_cast<size_t>(at - rows.begin())];
  }
  return sum;
}

}  // namespace relay

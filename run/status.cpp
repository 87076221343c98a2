// SPDX-License-Identifier: Apache-2.0
// relay status: find the admin sockets, ask, lay out.
#include "run/status.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <optional>

#include "lib/text.h"
#include "net/http_call.h"
#include "net/sys.h"
#include "run/config_file.h"
#include "run/process.h"
#include "wire/json_read.h"

namespace relay {
namespace {

constexpr Delay kPatience{10'000};
constexpr HttpLimits kAnswerMost{.head = 8 * 1024, .body = size_t{256} << 20};
constexpr size_t kNarrowest = 40;

constexpr std::array kKeys = {
    Key{.name = "admin", .type = KeyType::kAdmin, .metavar = "PLACE", .fallback = "auto",
        .help = "whom to ask: unix:PATH or tcp:ADDR:PORT; auto finds the sockets of the relays on this machine"},
    Key{.name = "admin-token-file", .type = KeyType::kText, .metavar = "FILE", .fallback = "", .help = "a file with the secret that the admin address wants"},
    Key{.name = "relay", .type = KeyType::kText, .metavar = "NAME", .fallback = "", .help = "that relay only"},
    Key{.name = "connections", .type = KeyType::kInteger, .metavar = "N", .fallback = "0", .help = "show so many connections of each relay too", .max = 10'000},
    Key{.name = "json", .type = KeyType::kBool, .metavar = "", .fallback = "false", .help = "the answer as it comes, one JSON object a line and process"},
    Key{.name = "watch", .type = KeyType::kBool, .metavar = "", .fallback = "false", .help = "show it again and again, in place, until interrupted"},
    Key{.name = "interval", .type = KeyType::kDuration, .metavar = "TIME", .fallback = "1s", .help = "the pause of --watch", .min = 100, .max = 3'600'000},
};

// One question to one admin socket, waited for.
class Question final : private HttpCallUser {
 public:
  Question(Loop& loop, Resolver& resolver) : loop_(loop), call_(loop, resolver, *this) {}

  Result<HttpMessage> ask(const Endpoint& place, const std::string& request) {
    DialPlan plan;
    plan.target = place;
    done_ = false;
    call_.start(plan, request, kPatience, kAnswerMost);
    while (!done_) loop_.turn(Delay::max());
    return std::move(answer_);
  }

 private:
  void on_answer(Result<HttpMessage> answer) override {
    answer_ = std::move(answer);
    done_ = true;
  }

  Loop& loop_;
  HttpCall call_;
  Result<HttpMessage> answer_{Status{Code::kTimeout, "not asked"}};
  bool done_ = false;
};

// ---- whom to ask

Endpoint socket_at(std::string path) {
  Endpoint place;
  place.kind = Endpoint::Kind::kUnix;
  place.host = std::move(path);
  return place;
}

// Where a relay puts its socket by itself: its own units' run-time folders, and the user's.
std::vector<Endpoint> known_places() {
  std::vector<Endpoint> places;
  const auto look_at = [&places](const std::string& path) {
    if (sys::is_socket(path.c_str())) places.push_back(socket_at(path));
  };
  if (const char* own = std::getenv("RUNTIME_DIRECTORY"); own != nullptr) look_at(std::string(own) + "/admin.sock");
  if (const char* session = std::getenv("XDG_RUNTIME_DIR"); session != nullptr)
    for (const std::string& name : sys::list_folder((std::string(session) + "/relay").c_str()))
      if (name.ends_with(".sock")) look_at(std::string(session) + "/relay/" + name);
  for (const std::string& name : sys::list_folder("/run"))
    if (name == "relay" || name.starts_with("relay-")) look_at("/run/" + name + "/admin.sock");
  return places;
}

std::string request_for(const Section& options, const std::string& token) {
  std::string out = "GET /status?connections=" + std::string(options.text("connections"));
  if (options.has("relay")) {
    out += "&relay=";
    constexpr std::string_view kDigits = "0123456789ABCDEF";
    for (const char c : options.text("relay")) {
      const auto byte = static_cast<unsigned char>(c);
      out += '%';
      out += kDigits[byte >> 4];
      out += kDigits[byte & 15];
    }
  }
  out += " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n";
  if (!token.empty()) out += "Authorization: Bearer " + token + "\r\n";
  return out + "\r\n";
}

// ---- how to show it

std::string short_size(uint64_t bytes) {
  constexpr std::array kUnits = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  size_t unit = 0;
  auto value = static_cast<double>(bytes);
  for (; value >= 1024 && unit + 1 < kUnits.size(); ++unit) value /= 1024;
  std::array<char, 32> out{};
  std::snprintf(out.data(), out.size(), value < 10 && unit > 0 ? "%.1f%s" : "%.0f%s", value, kUnits[unit]);
  return out.data();
}

std::string short_time(uint64_t ms) {
  const uint64_t seconds = ms / 1000;
  if (seconds < 60) return std::to_string(seconds) + "s";
  if (seconds < 3600) return std::to_string(seconds / 60) + "m" + std::to_string(seconds % 60) + "s";
  if (seconds < 86400) return std::to_string(seconds / 3600) + "h" + std::to_string(seconds / 60 % 60) + "m";
  return std::to_string(seconds / 86400) + "d" + std::to_string(seconds / 3600 % 24) + "h";
}

// Rows of cells, laid out in columns: text to the left, numbers to the right.
class Table {
 public:
  void row(std::vector<std::string> cells) { rows_.push_back(std::move(cells)); }
  // Appends the lines, cut at `width` columns.
  void put(std::string& out, size_t width, std::string_view indent) const {
    std::vector<size_t> widths;
    for (const auto& cells : rows_)
      for (size_t i = 0; i < cells.size(); ++i) {
        if (i == widths.size()) widths.push_back(0);
        widths[i] = std::max(widths[i], cells[i].size());
      }
    for (const auto& cells : rows_) {
      std::string line(indent);
      for (size_t i = 0; i < cells.size(); ++i) {
        const std::string space(widths[i] - cells[i].size(), ' ');
        const bool number = &cells != &rows_.front() && !cells[i].empty() && cells[i].find_first_not_of("0123456789.BKMGTPEi/s") == std::string::npos;
        const bool right = number || right_header(i);
        line += (i > 0 ? "  " : "") + (right ? space + cells[i] : cells[i] + space);
      }
      line.resize(std::min(line.find_last_not_of(' ') + 1, width));
      out += line + "\n";
    }
  }

 private:
  // A header stands over its numbers.
  bool right_header(size_t column) const {
    return rows_.size() > 1 && column < rows_[1].size() && !rows_[1][column].empty() &&
           rows_[1][column].find_first_not_of("0123456789.BKMGTPEi/s") == std::string::npos;
  }

  std::vector<std::vector<std::string>> rows_;
};

std::string shown(std::string_view text) { return printable(text); }

std::string heading(std::string_view name) {
  std::string out;
  for (const char c : name) out += c == '_' ? ' ' : static_cast<char>(c >= 'a' && c <= 'z' ? c - 'a' + 'A' : c);
  if (out.ends_with(" BYTES")) out.resize(out.size() - 6);
  return out;
}

std::string stat_cell(std::string_view name, uint64_t value) { return name.ends_with("_bytes") ? short_size(value) : std::to_string(value); }

std::string places_of(JsonView relay) {
  std::string out;
  const JsonView listening = relay["listening"];
  for (size_t i = 0; i < listening.size(); ++i) {
    const std::string_view role = listening[i]["role"].text();
    out += (i > 0 ? "," : "") + shown(listening[i]["addr"].text()) + (role == "both" ? std::string() : "(" + shown(role) + ")");
  }
  return out.empty() ? "-" : out;
}

std::string error_of(JsonView relay) {
  const JsonView error = relay["last_error"];
  return error["error"].exists() ? shown(error["error"].text()) + " (" + short_time(error["ago_ms"].number().value_or(0)) + " ago)" : "-";
}

std::vector<std::string> connection_row(JsonView one) {
  const auto number = [&one](std::string_view key) { return one[key].number().value_or(0); };
  std::string dial = one["dial"].exists() ? "dialling, " + std::to_string(one["dial"]["failed"].number().value_or(0)) + " failed" : "";
  if (const auto retry = one["dial"]["retry_in_ms"].number()) dial += ", again in " + format_duration(Delay{static_cast<int64_t>(*retry)});
  return {std::to_string(number("session")), shown(one["state"].text()), shown(one["client"].text()), shown(one["gateway"].text()),
          short_time(number("age_ms")), short_time(number("quiet_ms")), short_size(number("to_client_bytes")),
          short_size(number("to_gateway_bytes")), short_size(number("queued_bytes")), short_size(number("queued_max_bytes")), dial};
}

void put_connections(JsonView relay, size_t width, std::string& out) {
  const JsonView all = relay["connections"];
  if (all.size() == 0) return;
  out += "\n" + shown(relay["name"].text()) + "\n";
  Table table;
  table.row({"ID", "STATE", "CLIENT", "GATEWAY", "AGE", "QUIET", "TO CLIENT", "TO GATEWAY", "QUEUED", "QUEUED MAX", ""});
  for (size_t i = 0; i < all.size(); ++i) table.row(connection_row(all[i]));
  table.put(out, width, "  ");
  if (const uint64_t hidden = relay["connections_not_shown"].number().value_or(0); hidden > 0) out += "  and " + std::to_string(hidden) + " more\n";
}

// The process in a line, then a table a kind.
void put_status(std::span<const Kind* const> kinds, JsonView status, const Endpoint& place, size_t width, std::string& out) {
  const JsonView relays = status["relays"];
  out += "relay " + shown(status["version"].text()) + "  pid " + std::to_string(status["pid"].number().value_or(0)) + "  " +
         shown(status["state"].text()) + "  up " + short_time(status["uptime_ms"].number().value_or(0)) + "  " +
         std::to_string(relays.size()) + (relays.size() == 1 ? " relay" : " relays") + "  " + shown(place.text()) + "\n";
  for (const Kind* kind : kinds) {
    Table table;
    std::vector<std::string> head = {"NAME", "LISTENING", "TARGET"};
    std::vector<std::string_view> stats;
    for (const StatRow& row : kind->stats())
      if (row.type == StatRow::Type::kGauge) {
        stats.push_back(row.name);
        head.push_back(heading(row.name));
      }
    head.insert(head.end(), {"RATE", "LAST ERROR"});
    table.row(std::move(head));
    size_t rows = 0;
    for (size_t i = 0; i < relays.size(); ++i) {
      const JsonView relay = relays[i];
      if (relay["kind"].text() != kind->name) continue;
      std::vector<std::string> cells = {shown(relay["name"].text()) + (relay["removed"].flag() ? " (removed)" : ""), places_of(relay), shown(relay["target"].text())};
      for (const std::string_view name : stats) cells.push_back(stat_cell(name, relay["stats"][name].number().value_or(0)));
      cells.push_back(short_size(relay["bytes_a_second"].number().value_or(0)) + "/s");
      cells.push_back(error_of(relay));
      table.row(std::move(cells));
      ++rows;
    }
    if (rows > 0) table.put(out, width, "  ");
  }
  for (size_t i = 0; i < relays.size(); ++i) put_connections(relays[i], width, out);
}

void print(FILE* to, std::string_view text) { static_cast<void>(std::fwrite(text.data(), 1, text.size(), to)); }

std::string why(const Status& status) { return status.error() != 0 ? std::strerror(status.error()) : status.reason(); }

class StatusView {
 public:
  StatusView(std::span<const Kind* const> kinds, const Section& options, std::string token)
      : kinds_(kinds), options_(options), request_(request_for(options, token)), resolver_(loop_, ""), question_(loop_, resolver_) {}

  int run() {
    const bool watch = options_.flag("watch");
    const bool in_place = watch && sys::is_terminal(1);
    for (;;) {
      const int code = look(in_place);
      if (!watch || (code != 0 && !in_place)) return code;
      loop_.turn(options_.duration("interval"));
    }
  }

 private:
  int look(bool in_place) {
    const std::vector<Endpoint> given = options_.endpoints("admin");
    const std::vector<Endpoint> places = given.empty() ? known_places() : given;
    std::string page;
    std::string trouble;
    size_t answered = 0;
    for (const Endpoint& place : places) {
      Result<HttpMessage> answer = question_.ask(place, request_);
      if (!answer.ok()) {
        const bool stale = given.empty() && answer.status().code() == Code::kRefused;  // its process has gone
        if (!stale) trouble += "relay: " + place.text() + ": " + why(answer.status()) + remedy(answer.status()) + "\n";
        continue;
      }
      if (answer->status != 200) {
        trouble += "relay: " + place.text() + ": " + std::to_string(answer->status) + " " + printable(answer->body.substr(0, answer->body.find('\n'))) +
                   (answer->status == 401 ? "; give --admin-token-file" : "") + "\n";
        continue;
      }
      show(*answer, place, page, trouble, answered);
    }
    if (places.empty()) trouble += "relay: no relay with an admin socket runs here for this user; give --admin PLACE (see --admin of relay start --help)\n";
    if (in_place) page = "\x1b[H" + cleared_lines(page + trouble) + "\x1b[J";
    else print(stderr, trouble);
    print(stdout, page);
    std::fflush(stdout);
    return answered > 0 ? 0 : 1;
  }

  void show(const HttpMessage& answer, const Endpoint& place, std::string& page, std::string& trouble, size_t& answered) {
    if (options_.flag("json")) {
      page += answer.body;
      ++answered;
      return;
    }
    const std::unique_ptr<JsonDocument> document = JsonDocument::parse(answer.body);
    if (document == nullptr) {
      trouble += "relay: " + place.text() + ": the answer is no JSON\n";
      return;
    }
    const size_t columns = sys::terminal_columns(1);
    if (answered++ > 0) page += "\n";
    put_status(kinds_, document->root(), place, columns == 0 ? SIZE_MAX : std::max(columns, kNarrowest), page);
  }

  static std::string remedy(const Status& status) {
    return status.error() == EACCES ? "; its owner or root may ask (sudo relay status)" : "";
  }

  // Each line wipes what stood there before.
  static std::string cleared_lines(const std::string& page) {
    std::string out;
    for (const char c : page) out += c == '\n' ? "\x1b[K\n" : std::string(1, c);
    return out;
  }

  std::span<const Kind* const> kinds_;
  const Section& options_;
  std::string request_;
  Loop loop_;
  Resolver resolver_;
  Question question_;
};

}  // namespace

std::span<const Key> status_keys() { return kKeys; }

int status_command(std::span<const Kind* const> kinds, std::span<const char* const> args) {
  Faults faults;
  Section options{kKeys};
  Section none{{}};
  read_args(args, options, none, faults);
  std::string token;
  if (faults.empty() && options.has("admin-token-file"))
    if (const int error = sys::read_file(std::string(options.text("admin-token-file")).c_str(), 4096, token); error < 0)
      faults.push_back({"--admin-token-file", "cannot read " + quote(options.text("admin-token-file")) + ": " + std::strerror(-error)});
  while (!token.empty() && std::strchr("\r\n ", token.back()) != nullptr) token.pop_back();
  if (!faults.empty()) {
    complain(faults);
    print(stderr, "Try: relay status --help\n");
    return kExitUsage;
  }
  return StatusView(kinds, options, std::move(token)).run();
}

}  // namespace relay

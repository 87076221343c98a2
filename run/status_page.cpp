// SPDX-License-Identifier: Apache-2.0
// The page of `relay status`: JSON in, lines of text out.
#include "run/status_page.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>

#include "lib/text.h"

namespace relay {
namespace {

constexpr std::string_view kIndent = "  ";
constexpr size_t kGap = 2;
constexpr size_t kShortest = 15;  // a text that has to be shorter than this is left out

// Of a well-formed character: 0 for one that is put on top of the last, 2 for the wide ones of East Asia and the emoji.
size_t columns_of_character(std::string_view character) {
  const auto byte = [character](size_t i) { return static_cast<uint32_t>(static_cast<uint8_t>(character[i])); };
  if (character.size() == 1) return 1;
  uint32_t point = byte(0) & (0xffU >> (character.size() + 1));
  for (size_t i = 1; i < character.size(); ++i) point = (point << 6U) | (byte(i) & 0x3fU);
  struct Range {
    uint32_t first, last;
  };
  constexpr std::array<Range, 6> kNone = {{{0x300, 0x36f}, {0x483, 0x489}, {0x591, 0x5bd}, {0x200b, 0x200f}, {0x20d0, 0x20ff}, {0xfe00, 0xfe0f}}};
  constexpr std::array<Range, 9> kWide = {{{0x1100, 0x115f}, {0x2e80, 0xa4cf}, {0xac00, 0xd7a3}, {0xf900, 0xfaff}, {0xfe30, 0xfe6f},
                                           {0xff00, 0xff60}, {0xffe0, 0xffe6}, {0x1f300, 0x1faff}, {0x20000, 0x3fffd}}};
  const auto holds = [point](const Range& range) { return point >= range.first && point <= range.last; };
  if (std::any_of(kNone.begin(), kNone.end(), holds)) return 0;
  return std::any_of(kWide.begin(), kWide.end(), holds) ? 2 : 1;
}

// Calls `visit(character, columns)` until it says false.
template <typename Visit>
void each_character(std::string_view text, Visit visit) {
  while (!text.empty()) {
    const std::string_view character = text.substr(0, std::max<size_t>(harmless(text), 1));
    if (!visit(character, columns_of_character(character))) return;
    text.remove_prefix(character.size());
  }
}

std::string short_size(uint64_t bytes) {
  constexpr std::array kUnits = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  size_t unit = 0;
  auto value = static_cast<double>(bytes);
  for (; value >= 1023.5 && unit + 1 < kUnits.size(); ++unit) value /= 1024;  // 1024KiB would be 1MiB
  std::array<char, 32> out{};
  std::snprintf(out.data(), out.size(), value < 9.95 && unit > 0 ? "%.1f%s" : "%.0f%s", value, kUnits[unit]);
  return out.data();
}

std::string short_time(uint64_t ms) {
  const uint64_t seconds = ms / 1000;
  if (seconds < 60) return std::to_string(seconds) + "s";
  if (seconds < 3600) return std::to_string(seconds / 60) + "m" + std::to_string(seconds % 60) + "s";
  if (seconds < 86400) return std::to_string(seconds / 3600) + "h" + std::to_string(seconds / 60 % 60) + "m";
  return std::to_string(seconds / 86400) + "d" + std::to_string(seconds / 3600 % 24) + "h";
}

uint64_t number_of(JsonView view) { return view.number().value_or(0); }

// "queued_bytes" is headed QUEUED.
std::string heading(std::string_view name) {
  std::string out;
  for (const char c : name) out += c == '_' ? ' ' : static_cast<char>(c >= 'a' && c <= 'z' ? c - 'a' + 'A' : c);
  if (out.ends_with(" BYTES")) out.resize(out.size() - 6);
  return out;
}

std::string places_of(JsonView relay) {
  std::string out;
  const JsonView listening = relay["listening"];
  for (size_t i = 0; i < listening.size(); ++i) {
    const std::string_view role = listening[i]["role"].text();
    out += (i > 0 ? "," : "") + printable(listening[i]["addr"].text()) + (role == "both" ? std::string() : "(" + printable(role) + ")");
  }
  return out.empty() ? "-" : out;
}

std::string trouble_of(JsonView relay) {
  const JsonView error = relay["last_error"];
  return error["error"].exists() ? short_time(number_of(error["ago_ms"])) + " ago: " + printable(error["error"].text()) : "";
}

std::string dialling(JsonView connection) {
  const JsonView dial = connection["dial"];
  if (!dial.exists()) return {};
  const uint64_t failed = number_of(dial["failed"]);
  std::string out = "dialling";
  if (failed > 0) out += ": failed " + std::to_string(failed) + (failed == 1 ? " time" : " times");
  if (const auto retry = dial["retry_in_ms"].number()) out += ", again in " + format_duration(Delay{static_cast<int64_t>(*retry)});
  if (!dial["error"].text().empty()) out += ": " + printable(dial["error"].text());
  return out;
}

// A connection's members that are shown, in this order, of whatever kind it is; what its kind does not say has no column.
struct Member {
  enum class Form : uint8_t { kText, kCount, kSize, kTime };
  std::string_view key;
  std::string_view title;
  Form form;
};
constexpr std::array<Member, 17> kMembers = {{{"session", "ID", Member::Form::kCount}, {"state", "STATE", Member::Form::kText}, {"client", "CLIENT", Member::Form::kText},
    {"gateway", "GATEWAY", Member::Form::kText}, {"peer", "PEER", Member::Form::kText}, {"upstream", "UPSTREAM", Member::Form::kText}, {"age_ms", "AGE", Member::Form::kTime},
    {"quiet_ms", "QUIET", Member::Form::kTime}, {"to_client_bytes", "TO CLIENT", Member::Form::kSize}, {"to_gateway_bytes", "TO GATEWAY", Member::Form::kSize},
    {"commands", "COMMANDS", Member::Form::kCount}, {"under_way", "UNDER WAY", Member::Form::kCount}, {"messages", "MESSAGES", Member::Form::kCount},
    {"kept", "KEPT", Member::Form::kCount}, {"queued_bytes", "QUEUED", Member::Form::kSize}, {"queued", "QUEUED", Member::Form::kSize},
    {"queued_max_bytes", "MOST QUEUED", Member::Form::kSize}}};

std::string member_text(JsonView value, Member::Form form) {
  switch (form) {
    case Member::Form::kText: return printable(value.text());
    case Member::Form::kCount: return std::to_string(number_of(value));
    case Member::Form::kSize: return short_size(number_of(value));
    case Member::Form::kTime: return short_time(number_of(value));
  }
  return {};
}

void put_connections(JsonView relay, size_t width, std::string& out) {
  const JsonView all = relay["connections"];
  if (all.size() == 0) return;
  out += "\n" + printable(relay["name"].text()) + "\n";
  std::vector<Member> members;
  for (const Member& member : kMembers)
    if (all[0][member.key].exists()) members.push_back(member);
  // What they are known by comes first: a number, or a name.
  if (const auto client = std::find_if(members.begin(), members.end(), [](const Member& one) { return one.key == "client"; });
      client != members.end() && !all[0]["session"].exists())
    std::rotate(members.begin(), client, client + 1);
  std::vector<Table::Title> titles;
  titles.reserve(members.size());
  for (const Member& member : members) titles.push_back({std::string(member.title), member.form == Member::Form::kText ? Table::Column::kText : Table::Column::kNumber});
  Table table(std::move(titles));
  for (size_t i = 0; i < all.size(); ++i) {
    const JsonView one = all[i];
    std::vector<std::string> cells;
    cells.reserve(members.size());
    for (const Member& member : members)
      cells.push_back(member_text(one[member.key], member.form) + (member.key == "state" && one["half_closed"].flag() ? ", half closed" : ""));
    table.row(std::move(cells), dialling(one));
  }
  table.put(out, width);
  if (const uint64_t hidden = number_of(relay["connections_not_shown"]); hidden > 0) out += "  and " + std::to_string(hidden) + " more\n";
}

// With workers: each of them, and where what it has is listed.
void put_workers(const Kind& kind, JsonView relay, size_t width, std::string& out) {
  const JsonView all = relay["workers"];
  if (all.size() == 0) return;
  const std::string name = printable(relay["name"].text());
  out += "\n" + name + "\n";
  std::vector<Table::Title> titles = {{"WORKER", Table::Column::kText}, {"PID", Table::Column::kNumber}, {"STATE", Table::Column::kText}};
  std::vector<std::string_view> gauges;
  for (const StatRow& row : kind.stats())
    if (row.type == StatRow::Type::kGauge && row.name != "workers") {
      gauges.push_back(row.name);
      titles.push_back({heading(row.name), Table::Column::kNumber});
    }
  Table table(std::move(titles));
  for (size_t i = 0; i < all.size(); ++i) {
    const JsonView one = all[i];
    std::vector<std::string> cells = {std::to_string(number_of(one["worker"])), std::to_string(number_of(one["pid"])), printable(one["state"].text())};
    for (const std::string_view gauge : gauges) cells.push_back(std::to_string(number_of(one[gauge])));
    table.row(std::move(cells));
  }
  table.put(out, width);
  if (const uint64_t hidden = number_of(relay["connections_not_shown"]); hidden > 0)
    out += "  and " + std::to_string(hidden) + (hidden == 1 ? " connection" : " connections") + ": see GET /relays/" + name + "/clients\n";
}

// The relays of one kind, in a table with its gauges.
void put_relays(const Kind& kind, JsonView relays, size_t width, std::string& out) {
  std::vector<Table::Title> titles = {{"NAME", Table::Column::kText}, {"LISTENING", Table::Column::kText}, {"TARGET", Table::Column::kText}};
  std::vector<std::string_view> gauges;
  for (const StatRow& row : kind.stats())
    if (row.type == StatRow::Type::kGauge) {
      gauges.push_back(row.name);
      titles.push_back({heading(row.name), Table::Column::kNumber});
    }
  bool has_rate = false;  // not every kind counts bytes both ways
  for (size_t i = 0; i < relays.size(); ++i) has_rate = has_rate || (relays[i]["kind"].text() == kind.name && relays[i]["bytes_a_second"].exists());
  if (has_rate) titles.push_back({"RATE", Table::Column::kNumber});
  Table table(std::move(titles));
  bool any = false;
  for (size_t i = 0; i < relays.size(); ++i) {
    const JsonView relay = relays[i];
    if (relay["kind"].text() != kind.name) continue;
    any = true;
    std::vector<std::string> cells = {printable(relay["name"].text()) + (relay["removed"].flag() ? " (removed)" : ""), places_of(relay),
                                      printable(relay["target"].text())};
    for (const std::string_view name : gauges) {
      const uint64_t value = number_of(relay["stats"][name]);
      cells.push_back(name.ends_with("_bytes") ? short_size(value) : std::to_string(value));
    }
    if (has_rate) cells.push_back(short_size(number_of(relay["bytes_a_second"])) + "/s");
    table.row(std::move(cells), trouble_of(relay));
  }
  if (any) table.put(out, width);
}

}  // namespace

size_t columns_of(std::string_view text) {
  size_t sum = 0;
  each_character(text, [&sum](std::string_view, size_t columns) {
    sum += columns;
    return true;
  });
  return sum;
}

std::string cut_to(std::string_view text, size_t most) {
  if (text.size() <= most || columns_of(text) <= most) return std::string(text);
  if (most == 0) return {};
  std::string out;
  size_t sum = 0;
  each_character(text, [&](std::string_view character, size_t columns) {
    if (sum + columns > most - 1) return false;
    sum += columns;
    out += character;
    return true;
  });
  return out + "~";
}

void Table::row(std::vector<std::string> cells, std::string note) { rows_.push_back({std::move(cells), std::move(note)}); }

// First the gaps narrow, then the longest texts; where one would get too short to be worth its place the last of them goes, but never
// the first, by which rows are known.
Table::Layout Table::layout_within(size_t width) const {
  std::vector<size_t> natural;
  for (size_t i = 0; i < titles_.size(); ++i) {
    size_t widest = columns_of(titles_[i].text);
    for (const Row& row : rows_) widest = std::max(widest, columns_of(row.cells[i]));
    natural.push_back(widest);
  }
  Layout layout{natural, kGap};
  const auto total = [&layout] {
    size_t sum = kIndent.size();
    for (const size_t each : layout.widths) sum += each > 0 ? each + layout.gap : 0;
    return sum - layout.gap;
  };
  if (total() > width) layout.gap = 1;
  const auto is_text = [this](size_t i) { return titles_[i].column == Column::kText; };
  while (total() > width) {
    size_t longest = 0;
    for (size_t i = 1; i < natural.size(); ++i)
      if (is_text(i) && (!is_text(longest) || layout.widths[i] >= layout.widths[longest])) longest = i;
    if (is_text(longest) && layout.widths[longest] > kShortest) {
      --layout.widths[longest];
      continue;
    }
    size_t last = natural.size() - 1;
    while (last > 0 && (layout.widths[last] == 0 || !is_text(last))) --last;
    if (last == 0) break;
    for (size_t i = 0; i < last; ++i) layout.widths[i] = natural[i];
    layout.widths[last] = 0;
  }
  return layout;
}

void Table::put(std::string& out, size_t width) const {
  const auto [widths, gap] = layout_within(width);
  const auto put_line = [&, &widths = widths, gap = gap](const auto& text_of) {
    std::string line(kIndent);
    for (size_t i = 0; i < widths.size(); ++i) {
      if (widths[i] == 0) continue;
      const std::string cell = cut_to(text_of(i), widths[i]);
      const std::string space(widths[i] - columns_of(cell), ' ');
      if (line.size() > kIndent.size()) line.append(gap, ' ');
      line += titles_[i].column == Column::kNumber ? space + cell : cell + space;
    }
    line.resize(line.find_last_not_of(' ') + 1);
    out += cut_to(line, width) + "\n";
  };
  put_line([this](size_t i) -> const std::string& { return titles_[i].text; });
  for (const Row& row : rows_) {
    put_line([&row](size_t i) -> const std::string& { return row.cells[i]; });
    if (!row.note.empty()) out.append(kIndent).append(4, ' ').append(row.note).append("\n");
  }
}

void put_status(std::span<const Kind* const> kinds, JsonView status, const std::string& place, size_t width, std::string& out) {
  const JsonView relays = status["relays"];
  out += "relay " + printable(status["version"].text()) + "  pid " + std::to_string(number_of(status["pid"])) + "  " +
         printable(status["state"].text()) + "  up " + short_time(number_of(status["uptime_ms"])) + "  " + std::to_string(relays.size()) +
         (relays.size() == 1 ? " relay" : " relays");
  if (!status["file"].text().empty()) out += "  " + printable(status["file"].text());
  out += "  " + printable(place) + "\n";
  if (const uint64_t failed = number_of(status["reload_failures"]); failed > 0)
    out += "  reloads: " + std::to_string(number_of(status["reloads"])) + " done, " + std::to_string(failed) + " refused for faults in the file (see the log)\n";
  if (const uint64_t dropped = number_of(status["log_dropped"]); dropped > 0)
    out += "  log: " + std::to_string(dropped) + " lines dropped, because standard error did not take them\n";
  for (const Kind* kind : kinds) put_relays(*kind, relays, width, out);
  for (size_t i = 0; i < relays.size(); ++i) {
    for (const Kind* kind : kinds)
      if (relays[i]["kind"].text() == kind->name) put_workers(*kind, relays[i], width, out);
    put_connections(relays[i], width, out);
  }
}

}  // namespace relay

// SPDX-License-Identifier: Apache-2.0
// The file's way in: a TOML text read into Sections. The only file that knows toml++.
//
//   log-level = "info"      global keys, at the top
//   [[relay]]               one table a relay
//   port = 9000             numbers and true/false bare, all else in quotes
//   client = ["A", "B"]     a repeatable key takes a list
//
// toml++ is built without exceptions and without its formatters, which would link iostream (twice the program's size). No text may
// bring the process down, so what its version 3.3 does not survive is found first and refused (find_trap), and its assertions are
// off, whatever the build: one is wrong (`[=` trips it, in front of code that reports the error well), and with NDEBUG they would
// become promises to the optimizer.
#include "ops/config.h"

#undef NDEBUG
#define TOML_ASSERT(expr) static_assert(true)
#define TOML_EXCEPTIONS 0
#define TOML_ENABLE_FORMATTERS 0
#define TOML_HEADER_ONLY 1
#define TOML_FLOAT_CHARCONV 1
#define TOML_INT_CHARCONV 1
#define TOML_MAX_NESTED_VALUES 32
#include <toml++/toml.h>

#include <algorithm>

#include "lib/text.h"

namespace relay {
namespace {

constexpr size_t kMostFaults = 100;
constexpr size_t kMostKeyParts = 16;
constexpr std::string_view kRelay = "relay";
constexpr std::string_view kKind = "kind";

// The position behind the quoted string that begins at `at`.
size_t skip_string(std::string_view text, size_t at) {
  const char quote = text[at];
  const std::string_view triple = quote == '"' ? R"(""")" : "'''";
  const bool long_form = text.substr(at).starts_with(triple);
  const std::string_view close = long_form ? triple : triple.substr(2);
  at += close.size();
  while (at < text.size() && !text.substr(at).starts_with(close)) {
    if (!long_form && text[at] == '\n') return at;
    at += text[at] == '\\' && quote == '"' ? 2U : 1U;
  }
  at += close.size();
  // Up to two more quotes are the end of the content: """a""""".
  for (int i = 0; long_form && i < 2 && at < text.size() && text[at] == quote; ++i) ++at;
  return at;
}

// Something that toml++ must not get to see.
struct Trap {
  size_t at;
  const char* what;
};

// In """long strings""": a backslash before white space continues the line, and toml++ then meets with undefined behaviour if the
// text goes on with a character of two bytes, as it does with such a one right behind the backslash.
bool continues_line(std::string_view string) {
  for (size_t at = string.find('\\'); at + 1 < string.size(); at = string.find('\\', at + 2)) {
    const auto next = static_cast<uint8_t>(string[at + 1]);
    if (next <= ' ' || next >= 0x80) return true;
  }
  return false;
}

// The first trap in `text`. Outside of strings and comments that is a character that is not ASCII (undefined behaviour, again) or a
// key of many parts: each dot makes a table, and these are destroyed by recursion. (How deep values nest toml++ does bound.)
std::optional<Trap> find_trap(std::string_view text) {
  constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";
  size_t parts = 1;
  for (size_t at = text.starts_with(kByteOrderMark) ? kByteOrderMark.size() : 0; at < text.size();) {
    const char c = text[at];
    if (c == '"' || c == '\'') {
      const size_t end = skip_string(text, at);
      const std::string_view string = text.substr(at, end - at);
      if (string.starts_with(R"(""")") && continues_line(string)) return Trap{at, "a long text with a backslash at the end of a line; join the lines"};
      at = end;
    } else if (c == '#') {
      at = std::min(text.size(), text.find('\n', at));
    } else {
      if (static_cast<uint8_t>(c) >= 0x80) return Trap{at, "a character that is not ASCII, and not in quotes; put the text in double quotes"};
      const bool ends_key = c == '\n' || c == ',' || c == '=' || c == '[' || c == '{';
      parts = ends_key ? 1 : parts + (c == '.' ? 1 : 0);
      if (parts > kMostKeyParts) return Trap{at, "a key of more than 16 parts; no key has a dot in it"};
      ++at;
    }
  }
  return std::nullopt;
}

std::string_view trim(std::string_view text) {
  constexpr std::string_view kSpace = " \t\r";
  const size_t begin = text.find_first_not_of(kSpace);
  return begin == std::string_view::npos ? std::string_view() : text.substr(begin, text.find_last_not_of(kSpace) + 1 - begin);
}

std::string_view line_of(std::string_view text, uint32_t number) {
  for (; number > 1; --number) {
    const size_t end = text.find('\n');
    if (end == std::string_view::npos) return {};
    text.remove_prefix(end + 1);
  }
  return text.substr(0, text.find('\n'));
}

// What a syntax error most likely is, by its line: a text without quotes, or a [relay] that should have been [[relay]].
std::string likely_remedy(std::string_view line, std::string_view error) {
  if (trim(line) == "[relay]" || error.find("array 'relay'") != std::string_view::npos) return "write [[relay]], in double brackets, once for each relay";
  if (error.find("redefine") != std::string_view::npos) return "keep one of the two";
  if (trim(line).starts_with('[')) return {};
  const size_t equals = line.find('=');
  if (equals == std::string_view::npos) return error.find("expected '='") != std::string_view::npos ? "lines are KEY = VALUE" : "";
  const std::string_view key = trim(line.substr(0, equals));
  const std::string_view value = trim(line.substr(equals + 1, line.find('#', equals) - equals - 1));
  if (value.empty()) return "give a value, a text in double quotes";
  if (line.size() > 200 || value.find_first_of("\"'{") != std::string_view::npos || printable(value) != value) return {};
  if (value.front() == '[') return "in a list each text needs double quotes of its own";
  if (value.find_first_not_of("+-_0123456789") == std::string_view::npos) return {};
  return "a text needs double quotes: " + printable(key) + " = " + quote(value);
}

std::string_view type_name(const toml::node& node) {
  switch (node.type()) {
    case toml::node_type::table: return "a table";
    case toml::node_type::array: return "a list";
    case toml::node_type::string: return "a text";
    case toml::node_type::integer: return "a number";
    case toml::node_type::floating_point: return "a number with a fraction";
    case toml::node_type::boolean: return "true or false";
    case toml::node_type::date:
    case toml::node_type::time:
    case toml::node_type::date_time: return "a date or time";
    case toml::node_type::none: break;
  }
  return "nothing";
}

// A value as the command line would have it; nothing if TOML's type has no place in a key table.
std::optional<std::string> scalar(const toml::node& node) {
  if (const auto* text = node.as_string()) return text->get();
  if (const auto* number = node.as_integer()) return std::to_string(number->get());
  if (const auto* flag = node.as_boolean()) return flag->get() ? "true" : "false";
  return std::nullopt;
}

class Reader {
 public:
  Reader(std::string_view path, std::span<const KindKeys> kinds, Config& config, Faults& faults)
      : path_(printable(path)), kinds_(kinds), config_(config), faults_(faults), most_faults_(faults.size() + kMostFaults) {}

  void read(std::string_view text) {
    config_.global.set_origin(path_);
    if (const std::optional<Trap> trap = find_trap(text)) {
      const auto newlines = std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(trap->at), '\n');
      faults_.push_back({path_ + ':' + std::to_string(newlines + 1), trap->what});
      return;
    }
    const toml::parse_result result = toml::parse(text);
    if (!result) {
      syntax_error(text, result.error());
      return;
    }
    read_root(result.table());
    if (full()) faults_.push_back({path_, "too many faults: the rest is not read; mend these first"});
  }

 private:
  struct Entry {
    std::string_view key;
    const toml::node* value;
    toml::source_position at;
  };

  // toml++ sorts by name; faults are to come in the order of the lines.
  static std::vector<Entry> in_order(const toml::table& table) {
    std::vector<Entry> entries;
    entries.reserve(table.size());
    for (auto&& [key, value] : table) entries.push_back({key.str(), &value, key.source().begin});
    std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) { return a.at < b.at; });
    return entries;
  }

  bool full() const { return faults_.size() >= most_faults_; }

  std::string place(toml::source_position at) const { return path_ + ':' + std::to_string(at.line); }
  std::string place(const toml::node& node) const { return place(node.source().begin); }

  void syntax_error(std::string_view text, const toml::parse_error& error) {
    constexpr std::string_view kPrefix = "Error while ";
    std::string_view what = error.description();
    if (what.starts_with(kPrefix)) what.remove_prefix(kPrefix.size());
    what = what.substr(0, what.find(" (TOML_"));  // the name of a macro of toml++ helps nobody
    const toml::source_position at = error.source().begin;
    const std::string remedy = likely_remedy(line_of(text, at.line), what);
    // The description may quote a key of any length.
    const std::string shown = quote(what);
    faults_.push_back({place(at), "syntax error in column " + std::to_string(at.column) + " (" + shown.substr(1, shown.size() - 2) + ')' +
                                      (remedy.empty() ? "" : "; ") + remedy});
  }

  void read_root(const toml::table& root) {
    bool relays = false;
    for (const Entry& entry : in_order(root)) {
      if (full()) return;
      if (entry.key == kRelay) {
        relays = read_relays(*entry.value);
      } else if (const Key* const key = config_.global.find(entry.key)) {
        read_value(config_.global, *key, entry);
      } else {
        unknown_at_top(entry);
      }
    }
    config_.global.require(faults_);
    if (!relays && !root.contains(kRelay)) faults_.push_back({path_, "no relay in this file; add a [[relay]] table"});
  }

  void unknown_at_top(const Entry& entry) {
    const std::string what = (entry.value->is_table() || entry.value->is_array_of_tables() ? "unknown table " : "unknown key ") + quote(entry.key);
    const bool misplaced = std::any_of(kinds_.begin(), kinds_.end(), [&entry](const KindKeys& kind) { return Section(kind.keys).find(entry.key); });
    const bool kind_name = std::any_of(kinds_.begin(), kinds_.end(), [&entry](const KindKeys& kind) { return kind.name == entry.key; });
    if (misplaced || entry.key == kKind) {
      faults_.push_back({place(entry.at), quote(entry.key) + " belongs to a relay; put it below a line [[relay]]"});
      return;
    }
    if (kind_name) {
      faults_.push_back({place(entry.at), what + "; write [[relay]] with kind = " + quote(entry.key)});
      return;
    }
    std::vector<std::string_view> names = {kRelay};
    for (const Key& key : config_.global.keys()) names.push_back(key.name);
    const std::string_view near = nearest(entry.key, names);
    const std::string remedy = near == kRelay ? "; did you mean [[relay]]?" : near.empty() ? "" : "; did you mean " + quote(near) + '?';
    faults_.push_back({place(entry.at), what + " at the top level" + remedy});
  }

  // Whether there was anything that may count as a relay; if not, that was the fault.
  bool read_relays(const toml::node& node) {
    if (const toml::table* const single = node.as_table()) {
      faults_.push_back({place(node), "[relay] is one table; write [[relay]], in double brackets, once for each relay"});
      read_relay(*single);
      return true;
    }
    const toml::array* const relays = node.as_array();
    if (relays == nullptr || relays->empty()) {
      faults_.push_back({place(node), "\"relay\" is " + std::string(relays == nullptr ? type_name(node) : "an empty list") + "; write a [[relay]] table for each relay"});
      return false;
    }
    for (const toml::node& relay : *relays) {
      if (full()) break;
      if (const toml::table* const table = relay.as_table()) {
        read_relay(*table);
      } else {
        faults_.push_back({place(relay), "\"relay\" has " + std::string(type_name(relay)) + " in it; write a [[relay]] table for each relay"});
      }
    }
    return true;
  }

  void read_relay(const toml::table& table) {
    const KindKeys* const kind = read_kind(table);
    if (kind == nullptr) return;  // without a kind no key can be judged
    Section section(kind->keys);
    section.set_origin(place(table));
    for (const Entry& entry : in_order(table)) {
      if (full()) return;
      if (entry.key == kKind) continue;
      if (const Key* const key = section.find(entry.key)) {
        read_value(section, *key, entry);
      } else {
        unknown_in_relay(section, entry);
      }
    }
    section.require(faults_);
    config_.relays.push_back({kind->name, std::move(section)});
  }

  const KindKeys* read_kind(const toml::table& table) {
    const toml::node* const node = table.get(kKind);
    std::string built_in;
    std::vector<std::string_view> names;
    for (const KindKeys& kind : kinds_) {
      built_in += (built_in.empty() ? "" : ", ") + std::string(kind.name);
      names.push_back(kind.name);
    }
    if (node == nullptr) {
      if (kinds_.size() == 1) return &kinds_.front();
      faults_.push_back({place(table), "kind: required; one of " + built_in});
      return nullptr;
    }
    const auto* const text = node->as_string();
    if (text == nullptr) {
      faults_.push_back({place(*node), "kind: " + std::string(type_name(*node)) + " is no kind; write one of " + built_in + ", in double quotes"});
      return nullptr;
    }
    const auto at = std::find(names.begin(), names.end(), text->get());
    if (at != names.end()) return &kinds_[static_cast<size_t>(at - names.begin())];
    const std::string_view near = nearest(text->get(), names);
    faults_.push_back({place(*node), "kind: " + quote(text->get()) + " is not built in; " +
                                         (near.empty() ? "there is " + built_in : "did you mean " + quote(near) + '?')});
    return nullptr;
  }

  void unknown_in_relay(const Section& section, const Entry& entry) {
    if (config_.global.find(entry.key) != nullptr) {
      faults_.push_back({place(entry.at), quote(entry.key) + " is for the whole process; put it at the top, before the first [[relay]]"});
      return;
    }
    std::vector<std::string_view> names = {kKind};
    for (const Key& key : section.keys()) names.push_back(key.name);
    const std::string_view near = nearest(entry.key, names);
    faults_.push_back({place(entry.at), "unknown key " + quote(entry.key) + " in [[relay]]" +
                                            (near.empty() ? "" : "; did you mean " + quote(near) + '?')});
  }

  void read_value(Section& section, const Key& key, const Entry& entry) {
    const toml::array* const list = entry.value->as_array();
    if (list == nullptr) {
      set(section, key, *entry.value);
      return;
    }
    if (!key.repeatable) {
      section.refuse(key.name, place(entry.at), "takes one value, not a list", faults_);
    } else if (list->empty()) {
      // It would read as the default, which for a list of who may come is the contrary of an empty list.
      section.refuse(key.name, place(entry.at), "the list is empty; put something in it or leave the key out", faults_);
    }
    for (const toml::node& item : *list) {
      if (!key.repeatable || full()) return;
      set(section, key, item);
    }
  }

  void set(Section& section, const Key& key, const toml::node& node) {
    const std::optional<std::string> value = scalar(node);
    if (value) {
      section.set(key.name, *value, place(node), faults_);
    } else {
      section.refuse(key.name, place(node), std::string(type_name(node)) + " does not fit here; for example " + example_line(key), faults_);
    }
  }

  std::string path_;  // safe to print
  std::span<const KindKeys> kinds_;
  Config& config_;
  Faults& faults_;
  size_t most_faults_;
};

}  // namespace

Config read_toml(std::string_view path, std::string_view text, std::span<const KindKeys> kinds, Faults& faults) {
  CHECK(!kinds.empty());
  Config config;
  Reader(path, kinds, config, faults).read(text);
  return config;
}

}  // namespace relay

// SPDX-License-Identifier: Apache-2.0
// The command line's way in: options read into Sections, and the table of options that --help shows.
//
// Every option has a name of the key table and begins with two dashes. There are no short ones and no abbreviations: what works
// today means the same in a script tomorrow.
#include <algorithm>

#include "lib/text.h"
#include "ops/config.h"

namespace relay {
namespace {

constexpr size_t kColumns = 100;
constexpr size_t kWidestOption = 36;  // a longer one has its help on the next line

class Arguments {
 public:
  Arguments(std::span<const char* const> args, Section& global, Section& section, Faults& faults)
      : args_(args), global_(global), section_(section), faults_(faults) {}

  void read() {
    while (!args_.empty()) {
      const std::string_view word = args_.front();
      args_ = args_.subspan(1);
      if (word == "--") break;
      if (word.starts_with('-') && word.size() > 1) {
        read_option(word);
      } else {
        stray(word);
      }
    }
    for (const char* const word : args_) stray(word);
  }

 private:
  void stray(std::string_view word) {
    faults_.push_back({"command line", "unexpected word " + quote(hide_password(word)) + "; options are written --KEY VALUE"});
  }

  void read_option(std::string_view word) {
    const size_t equals = word.find('=');
    const bool attached = equals != std::string_view::npos;
    const std::string_view option = word.substr(0, equals);
    const std::string_view name = option.starts_with("--") ? option.substr(2) : std::string_view();
    Section* const home = global_.find(name) ? &global_ : section_.find(name) ? &section_ : nullptr;
    if (home == nullptr) {
      unknown(option);
      // The next word is most likely its value: no second fault for that.
      if (!attached && !args_.empty() && !std::string_view(args_.front()).starts_with('-')) args_ = args_.subspan(1);
      return;
    }
    const std::string where(option);
    if (attached) {
      home->set(name, word.substr(equals + 1), where, faults_);
      return;
    }
    const std::string_view next = args_.empty() ? std::string_view() : std::string_view(args_.front());
    if (home->find(name)->type == KeyType::kBool) {
      const bool explicitly = parse_bool(next).has_value();
      home->set(name, explicitly ? next : "true", where, faults_);
      if (explicitly) args_ = args_.subspan(1);
    } else if (args_.empty() || next.starts_with("--")) {
      home->set(name, "", where, faults_);  // which says that a value is missing
    } else {
      home->set(name, next, where, faults_);
      args_ = args_.subspan(1);
    }
  }

  void unknown(std::string_view option) {
    std::vector<std::string_view> names;
    for (const Key& key : section_.keys()) names.push_back(key.name);
    for (const Key& key : global_.keys()) names.push_back(key.name);
    const std::string_view near = nearest(option.substr(std::min(option.size(), option.find_first_not_of('-'))), names);
    const std::string remedy = near.empty() ? "; --help lists the options" : "; did you mean --" + std::string(near) + '?';
    faults_.push_back({"command line", "unknown option " + quote(option) + remedy});
  }

  std::span<const char* const> args_;  // what is still to be read
  Section& global_;
  Section& section_;
  Faults& faults_;
};

std::string left_column(const Key& key) {
  std::string left = "  --" + std::string(key.name);
  if (key.type == KeyType::kBool) return left + " [BOOL]";
  return key.metavar.empty() ? left : left + ' ' + std::string(key.metavar);
}

// A key's sentence and what else the table knows of it: "how it is written (text|json; default: text)". A sentence that ends in
// brackets of its own has the rest put into these.
std::string sentence(const Key& key) {
  std::string out(key.help);
  bool open = out.ends_with(')');
  if (open) out.pop_back();
  const auto add = [&out, &open](std::string_view note) {
    out.append(open ? "; " : " (").append(note);
    open = true;
  };
  if (key.type == KeyType::kChoice) add(key.choices);
  if (key.required) add("required");
  if (key.repeatable) add("repeatable");
  if (!key.fallback.empty()) add("default: " + std::string(key.fallback));
  if (key.restart) add("needs a restart");
  return open ? out + ')' : out;
}

// Appends `text` to `out`, whose last line has `column` columns, broken between words and indented by `indent`.
void append_wrapped(std::string& out, std::string_view text, size_t column, size_t indent) {
  bool first = true;
  while (!text.empty()) {
    const size_t space = text.find(' ');
    const std::string_view word = text.substr(0, space);
    text.remove_prefix(space == std::string_view::npos ? text.size() : space + 1);
    if (!first && column + 1 + word.size() > kColumns) {
      out.append("\n").append(indent, ' ');
      column = indent;
    } else if (!first) {
      out += ' ';
      ++column;
    }
    out += word;
    column += word.size();
    first = false;
  }
  out += '\n';
}

}  // namespace

void read_args(std::span<const char* const> args, Section& global, Section& section, Faults& faults) {
  Arguments(args, global, section, faults).read();
  global.require(faults);
  section.require(faults);
}

std::string help_table(std::span<const Key> keys) {
  size_t widest = 0;
  for (const Key& key : keys) {
    const size_t width = left_column(key).size();
    if (width <= kWidestOption) widest = std::max(widest, width);
  }
  const size_t indent = widest + 2;
  std::string out;
  for (const Key& key : keys) {
    std::string line = left_column(key);
    if (line.size() > widest) {
      out += line + '\n';
      line.clear();
    }
    out += line.append(indent - line.size(), ' ');
    append_wrapped(out, sentence(key), indent, indent);
  }
  return out;
}

}  // namespace relay

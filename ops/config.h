// SPDX-License-Identifier: Apache-2.0
// Configuration: one table of keys, read alike from a command line and from a file, with every fault named by its place.
//
//   Key       one row of a table: name, type, default, help. --queue-size on the command line is queue-size in the file.
//   Section   the validated values of one table: one command line, or one [[relay]] of a file
//   Fault     where (relay.toml:12, --queue-size) and what, remedy included
//
// A file has global keys at the top level and one [[relay]] table per relay. [[relayer]] is another name of that table, for files of the
// program that this one takes over from: `protocol` stands there for `kind`. Reading goes on after a fault, so that one run
// shows all of them (but a syntax error of TOML itself ends it). What a fault quotes is safe to print. Nothing here starts
// anything. config.cpp holds the keys and values, toml.cpp, env.cpp and args.cpp the ways in, the last one also the help.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lib/status.h"
#include "net/addr.h"

namespace relay {

enum class KeyType : uint8_t {
  kText,      // anything but the empty string and control characters
  kBool,      // true, false, yes, no, on, off; a bare option means true
  kInteger,   // min..max
  kPort,      // 0..65535; 0 lets the kernel choose
  kDuration,  // 500ms, 5s, 2m, 1h, 0; min..max in milliseconds
  kSize,      // 64KiB, 1MiB or bytes; min..max in bytes
  kChoice,    // one of `choices`
  kListen,    // Endpoint::parse_listen
  kTarget,    // Endpoint::parse_target
  kNetwork,   // Network::parse
  kServer,    // the word `system`, or IP, IP:PORT of a DNS server; without a port it is 53
  kAdmin,     // the words `auto` and `none`, unix:PATH, tcp:IP:PORT or tls:IP:PORT
};

struct Key {
  std::string_view name;
  KeyType type;
  std::string_view metavar;   // in the help: PORT, ADDR, DURATION
  std::string_view fallback;  // the default, written as a user would; empty: none
  std::string_view help;      // one sentence, no full stop at the end
  bool required = false;
  bool repeatable = false;    // --client A --client B, --client A,B; client = ["A", "B"] or "A,B". No item has a comma in it.
  int64_t min = 0;
  int64_t max = INT64_MAX;
  std::string_view choices = {};  // "text|json"
  bool restart = false;       // a change of it in the file takes effect when the process is started again, not by a reload
  bool seconds = false;       // kDuration: a bare number is one of seconds
  bool anywhere = false;      // kListen: Endpoint::parse_listen_anywhere
  bool secret = false;        // kText: a URL that may have a password, which is never shown
  bool words = false;         // repeatable: spaces stand between items, too
  bool parameters = false;    // kListen: ?NAME=VALUE&... may stand behind the place (ops/parameters); what there may be is the kind's
};

// Several tables as one.
template <size_t... N>
constexpr auto join(const std::array<Key, N>&... tables) {
  std::array<Key, (N + ...)> all{};
  size_t at = 0;
  const auto append = [&](const auto& table) {
    for (const Key& key : table) all[at++] = key;
  };
  (append(tables), ...);
  return all;
}

struct Fault {
  std::string where;
  std::string what;
};
using Faults = std::vector<Fault>;

class Section {
 public:
  explicit Section(std::span<const Key> keys) : keys_(keys) {}

  std::span<const Key> keys() const { return keys_; }
  const Key* find(std::string_view name) const;    // its row, nullptr if the table has none
  bool has(std::string_view key) const;           // given by the user, and good (a default is not)
  bool same(const Section& other) const;          // the same keys were given, with the same values
  bool same(const Section& other, std::string_view key) const;
  std::string where(std::string_view key) const;  // its place, good or bad; the section's own if not given
  const std::string& origin() const { return origin_; }  // "command line", or "relay.toml:7" (the line of [[relay]])

  // Values, the default where the user gave none. REQUIRES: the key is in the table with that type, and where one value is
  // returned there is one: has(key), or a default.
  std::string_view text(std::string_view key) const;  // kText, kChoice; any type as written, the first if repeatable; "" if none
  bool flag(std::string_view key) const;
  int64_t integer(std::string_view key) const;  // kInteger, kPort
  std::chrono::milliseconds duration(std::string_view key) const;
  uint64_t size(std::string_view key) const;
  std::vector<Endpoint> endpoints(std::string_view key) const;  // kListen, kTarget, kServer, kAdmin; empty if none, or a word
  std::vector<Network> networks(std::string_view key) const;

  // All that was given, key by key and item by item, as written: set() with each of them makes the same Section.
  std::vector<std::pair<std::string_view, std::string_view>> given() const;
  // As written, or the default; empty if there is neither. REQUIRES: `key` is a row of the table.
  std::vector<std::string_view> items(const Key& key) const;

  // Sets one value (again: the last wins unless repeatable). A bad one becomes a Fault and leaves the values as they were.
  // `where` is "--KEY" or "FILE:LINE". REQUIRES: find(name).
  void set(std::string_view name, std::string_view text, std::string where, Faults& faults);
  // What set does with a bad one, for a caller that finds the fault itself: `what` goes on behind the key's name.
  void refuse(std::string_view name, std::string where, std::string_view what, Faults& faults);
  void set_origin(std::string origin) { origin_ = std::move(origin); }
  // Adds a Fault for each required key that is missing; one that was given but bad has had its own.
  void require(Faults& faults) const;

 private:
  struct Value {
    std::vector<std::string> items;  // as written, each one checked; empty if only bad ones were given
    std::string where;
  };
  const Key& row(std::string_view name) const;  // REQUIRES: there is one

  std::span<const Key> keys_;
  std::map<std::string, Value, std::less<>> values_;
  std::string origin_ = "command line";
};

// What to show where a value is missing or unfit, as a line of a file: `port = 9000`, `target = "10.0.0.5:9999"`.
std::string example_line(const Key& key);

// The keys of the whole process: log-level, log-format, drain-timeout, dns, no-seccomp, admin and what belongs to it.
std::span<const Key> global_keys();

// What config knows of a kind: its name in `kind = "cluster"` and its keys. If these have a `protocol` (kChoice), each of its choices is
// a name of the kind, too.
struct KindKeys {
  std::string_view name;
  std::span<const Key> keys;
};

struct Config {
  Section global{global_keys()};
  struct Item {
    std::string_view kind;  // the name in KindKeys
    Section section;
  };
  using Items = std::vector<Item>;
  Items relays;
};

// Reads `text`, which came from the file `path` (for the faults' places), and requires what is required. A [[relay]] with neither a
// `kind` nor a `protocol` is of the first one. After 100 faults the rest is not read. REQUIRES: kinds is not empty.
Config read_toml(std::string_view path, std::string_view text, std::span<const KindKeys> kinds, Faults& faults);
// The same a piece at a time, so that a file of thousands of relays holds up nobody: a step reads the global keys, or one
// [[relay]]. Borrows all it is given for its life.
class TomlReader {
 public:
  TomlReader(std::string_view path, std::string_view text, std::span<const KindKeys> kinds, Config& config, Faults& faults);
  ~TomlReader();
  // False: that was all.
  bool step();

 private:
  class Pieces;
  std::unique_ptr<Pieces> pieces_;
};
// The same for a text in lines RELAY_KEY=VALUE, which has one relay and no tables.
Config read_env(std::string_view path, std::string_view text, std::span<const KindKeys> kinds, Faults& faults);

// Reads the file `path` into `text` and returns its name. If there is no such file, it is sought with .toml and with .env behind
// its name, so that a service unit needs to know no more than the name of its job. Empty, and a Fault, if there is none or both.
// `wait`: a pipe is waited for, as cat(1) does.
std::string find_config_file(const std::string& path, std::string& text, bool wait, Faults& faults);
bool is_env_file(std::string_view path);  // by its ending; any other file is TOML

// Reads --key value, --key=value and --flag into `global` or `section`, whichever has the key, and requires what is required.
// A flag takes the next word only if that is a kBool's. Words that are no options become faults. `--` ends the options.
void read_args(std::span<const char* const> args, Section& global, Section& section, Faults& faults);

// The options' part of a --help: "  --port PORT   what it does (default: 5s)", a line an option, wrapped at 100 columns.
std::string help_table(std::span<const Key> keys);

// What `config` would run, as a file that would run it: every key with its value, and which of them are defaults. Passwords of URLs are
// not in it.
std::string describe(const Config& config);

}  // namespace relay

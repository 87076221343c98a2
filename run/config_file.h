// SPDX-License-Identifier: Apache-2.0
// ConfigFile: a file read into a Config and checked, a relay at a time: at a start all at once, at a reload in between other work.
//
//   ConfigFile file(kinds, path, args);   while (file.step()) …   file.faults().empty() ? take file.config() : tell them
#pragma once

#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "relay.h"

namespace relay {

// What only shows when relays are seen together: two that listen at one place (the admin address is one), two of one name.
class Together {
 public:
  explicit Together(std::span<const Kind* const> kinds) : kinds_(kinds) {}
  // REQUIRES: no faults in `item`'s own section.
  void add(const Config::Item& item, Faults& faults);
  // Where the process itself listens; after its relays.
  void add_admin(const Section& global, Faults& faults) const;
  // Frees a piece of what it remembers. False: that was all.
  bool forget();

 private:
  struct Place {
    Endpoint where;
    std::string owner;
  };
  std::span<const Kind* const> kinds_;
  std::map<std::string, std::vector<Place>, std::less<>> taken_;  // by port or path
  std::map<std::string, std::string, std::less<>> names_;         // with their owners
};

class ConfigFile {
 public:
  enum class When : uint8_t { kStart, kReload };  // a pipe is waited for at the start only

  // Reads the file (not its contents yet). `args` are options of the command line that win over the file's global keys. Borrows
  // `kinds` and `args`.
  ConfigFile(std::span<const Kind* const> kinds, const std::string& path, std::span<const char* const> args, When when);
  ConfigFile(const ConfigFile&) = delete;
  ConfigFile& operator=(const ConfigFile&) = delete;

  // Reads one relay further. False: that was all.
  bool step();
  // Frees a piece of what was needed to check, which of a long file takes its time. False: that was all.
  bool forget() { return together_.forget(); }
  const Faults& faults() const { return faults_; }
  Config& config() { return config_; }

 private:
  static std::vector<KindKeys> keys_of(std::span<const Kind* const> kinds);

  std::span<const Kind* const> kinds_;
  std::span<const char* const> args_;
  std::vector<KindKeys> kind_keys_;
  std::string text_;
  Config config_;
  Faults faults_;
  Together together_;
  std::unique_ptr<TomlReader> reader_;  // of TOML, until it is read
  bool read_ = false;                   // there is something that is not checked yet
  size_t checked_ = 0;                  // relays of config_
};

// What the process's own keys say together.
void check_global(const Section& global, Faults& faults);

const Kind* find_kind(std::span<const Kind* const> kinds, std::string_view name);

}  // namespace relay

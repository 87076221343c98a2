// SPDX-License-Identifier: Apache-2.0
// relay: the command line, the table of kinds, and the life of the process:
//
//   arguments ─► Config ─► faults? say all of them, exit 2
//                   └────► Relays ─► start ─► READY ─► turns of the loop ─► SIGTERM: drain ─► idle or drain-timeout ─► exit 0
//
// This is the only file that names kinds.
#include "relay.h"

#include <malloc.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "lib/log.h"
#include "lib/text.h"
#include "net/sys.h"
#include "ops/config.h"
#include "ops/confine.h"
#include "ops/console.h"
#include "ops/notify.h"
#ifdef RELAY_KIND_CLUSTER
#include "kinds/cluster/cluster.h"
#endif

namespace relay {
namespace {

constexpr int kExitUsage = 2;
constexpr size_t kConfigMost = size_t{16} << 20;

// Adding a kind is a folder and a line here.
constexpr const Kind* kKinds[] = {
#ifdef RELAY_KIND_CLUSTER
    &cluster::kKind,
#endif
};

const Kind* find_kind(std::string_view name) {
  for (const Kind* kind : kKinds)
    if (kind->name == name) return kind;
  return nullptr;
}

const Kind* kind_of_command(std::string_view command) {
  for (const Kind* kind : kKinds)
    if (kind->command == command) return kind;
  return nullptr;
}

// ---- saying things to whoever typed the command

void print(FILE* to, std::string_view text) { static_cast<void>(std::fwrite(text.data(), 1, text.size(), to)); }

int complain(const Faults& faults) {
  for (const Fault& fault : faults) print(stderr, "relay: " + fault.where + ": " + fault.what + "\n");
  return kExitUsage;
}

int usage_error(const std::string& what) {
  print(stderr, "relay: " + what + "\nTry: relay --help\n");
  return kExitUsage;
}

std::string padded(std::string_view word, size_t width) {
  std::string out(word);
  out.resize(std::max(width, out.size() + 2), ' ');
  return out;
}

std::string main_help() {
  std::string text =
      "relay keeps connections alive for those who cannot.\n"
      "\n"
      "Usage: relay COMMAND [--OPTION VALUE ...]\n"
      "\n"
      "Commands:\n";
  for (const Kind* kind : kKinds) text += "  " + padded(kind->command, 9) + std::string(kind->summary) + "\n";
  text +=
      "  run      run the relays of a file, all in one process:    relay run -c relay.toml\n"
      "  check    say what a file would run, or all its faults:    relay check -c relay.toml\n"
      "  help     teach a command:                                 relay help start\n"
      "\n"
      "  relay --version\n"
      "\n"
      "A first relay:  relay start --port 9000 --target 10.0.0.5:9999\n"
      "Manual:         man relay, man relay-cluster, man relay.toml\n";
  return text;
}

constexpr std::string_view kSignalsHelp =
    "\nSignals: TERM, INT, HUP drain (deliver what was accepted, then exit 0), a second one ends at once; USR1 logs statistics\n"
    "Exit status: 0 ended as asked, 2 a fault in the arguments, in the file or at the start.\n";

std::string kind_help(const Kind& kind) {
  return "Usage: relay " + std::string(kind.command) + " [--OPTION VALUE ...]\n\n" + std::string(kind.help) + "\nOptions:\n" +
         help_table(kind.keys()) + "\nFor the whole process:\n" + help_table(global_keys()) +
         "\nTimes are written 500ms, 5s, 2m, 1h; sizes 64KiB, 1MiB or bytes. In a file the keys have the same names.\n" +
         std::string(kSignalsHelp);
}

std::string file_help(std::string_view command) {
  std::string text = "Usage: relay " + std::string(command) + " -c FILE";
  text += " [--OPTION VALUE ...]\n\n";
  text += command == "run" ? "Runs all relays of FILE in one process. Options here win over the file's.\n"
                           : "Reads FILE and prints what would run, or each of its faults with file and line. Starts nothing.\n";
  text +=
      "\nA file has the keys of the process first, then one [[relay]] table for each relay:\n"
      "\n"
      "  log-level = \"info\"\n"
      "\n"
      "  [[relay]]\n"
      "  port = 9000\n"
      "  target = \"10.0.0.5:9999\"\n"
      "  gateway = [\"10.0.0.0/24\"]\n"
      "\n"
      "The keys of a [[relay]] are the options of: relay start --help\n"
      "\nFor the whole process:\n" +
      help_table(global_keys());
  if (command == "run") text += kSignalsHelp;
  return text;
}

// The help of `topic`, empty if there is none.
std::string help_on(std::string_view topic) {
  if (const Kind* kind = kind_of_command(topic); kind != nullptr) return kind_help(*kind);
  if (topic == "run" || topic == "check") return file_help(topic);
  if (topic == "help" || topic == "relay") return main_help();
  return {};
}

int unknown_command(std::string_view word) {
  std::vector<std::string_view> known = {"run", "check", "help"};
  for (const Kind* kind : kKinds) known.push_back(kind->command);
  const std::string_view meant = nearest(word, known);
  return usage_error("\"" + printable(word) + "\" is no command" +
                     (meant.empty() ? std::string() : "; did you mean \"" + std::string(meant) + "\"?"));
}

// ---- the life of the process

class Process final : private Watcher, private TimerUser {
 public:
  explicit Process(const Config& config)
      : config_(config), resolver_(loop_, dns_server(config.global)), drain_timer_(loop_, *this) {}
  ~Process() { loop_.forget(*this); }

  int run() {
    Faults faults;
    open_log();
    if (!open_signals()) return 1;
    check_descriptors();
    LogLine(Level::kInfo, "started").text("version", kVersion).number("pid", sys::process_id());
    const Env env{loop_, resolver_};
    for (const Config::Item& item : config_.relays) {
      relays_.push_back(find_kind(item.kind)->make(env, item.section));
      relays_.back()->start(faults);
    }
    if (!faults.empty()) {
      log_discard();  // the faults alone
      return complain(faults);
    }
    confine(config_.global);
    LogLine(Level::kInfo, "ready").number("relays", relays_.size());
    log_flush();
    notify("READY=1");
    sys::forget_code();
    while (!(draining_ && idle())) loop_.turn(Delay::max());
    for (const auto& relay : relays_) relay->report();
    relays_.clear();
    LogLine(Level::kInfo, "stopped");
    log_flush();
    return 0;
  }

 private:
  static std::string dns_server(const Section& global) {
    const std::vector<Endpoint> servers = global.endpoints("dns");
    return servers.empty() ? std::string() : servers.front().addr.text();
  }

  void open_log() {
    const std::string_view name = config_.global.text("log-level");
    const Level level = name == "error" ? Level::kError : name == "warn" ? Level::kWarn : name == "debug" ? Level::kDebug : Level::kInfo;
    const bool json = config_.global.text("log-format") == "json";
    log_open(console_, level, json ? LogFormat::kJson : stderr_is_journal() ? LogFormat::kJournal : LogFormat::kText);
  }

  bool open_signals() {
    constexpr int kSignals[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1, 0};
    signals_ = Fd{sys::signal_open(kSignals)};
    if (signals_.open() && loop_.watch(*this, signals_.get(), EPOLLIN).ok()) return true;
    print(stderr, "relay: the kernel gives no descriptor for signals; raise the limit of open files (ulimit -n)\n");
    return false;
  }

  // Two a pair, and a few: better said at the start than found out at the limit.
  void check_descriptors() {
    const int limit = sys::raise_descriptor_limit();
    uint64_t needed = 32;
    for (const Config::Item& item : config_.relays) needed += 2 + 2 * static_cast<uint64_t>(item.section.integer("pairs"));
    if (limit > 0 && needed > static_cast<uint64_t>(limit))
      LogLine(Level::kWarn, "few-descriptors").number("limit", limit).number("wanted", needed).text("remedy", "raise ulimit -n or LimitNOFILE=, or lower pairs");
  }

  void on_event(uint32_t) override {
    while (const int signal = sys::signal_take(signals_.get())) {
      if (signal == SIGUSR1) {
        for (const auto& relay : relays_) relay->report();
      } else if (draining_) {
        stop("terminated");
      } else {
        drain();
      }
    }
  }

  void drain() {
    draining_ = true;
    const auto timeout = config_.global.duration("drain-timeout");
    LogLine(Level::kInfo, "draining").number("timeout_ms", timeout.count());
    notify("STOPPING=1\nSTATUS=draining");
    drain_timer_.arm(timeout);
    for (const auto& relay : relays_) relay->drain();
  }

  void on_timer(Timer&) override { stop("drain-timeout"); }

  void stop(std::string_view why) {
    for (const auto& relay : relays_) relay->stop(why);
  }

  bool idle() const {
    for (const auto& relay : relays_)
      if (!relay->idle()) return false;
    return true;
  }

  const Config& config_;
  Console console_;
  Loop loop_;
  Resolver resolver_;
  std::vector<std::unique_ptr<Relay>> relays_;
  Fd signals_;
  Timer drain_timer_;
  bool draining_ = false;
};

// ---- commands

int run_config(const Config& config) {
  // Big blocks (rings, buffers) come from the kernel and go back to it, or an idle relay would keep what it once needed.
  mallopt(M_MMAP_THRESHOLD, 32 * 1024);
  mallopt(M_TRIM_THRESHOLD, 64 * 1024);
  Process process(config);
  return process.run();
}

// Two listeners for one place: the second would fail at the start.
bool collide(const Endpoint& a, const Endpoint& b) {
  if (a.kind == Endpoint::Kind::kUnix || b.kind == Endpoint::Kind::kUnix) return a.kind == b.kind && a.host == b.host;
  if (a.port != b.port || a.port == 0) return false;
  const auto covers = [](const Addr& all, const Addr& one) {
    return all.is_any() && (all.family == Addr::Family::kV6 || one.family == Addr::Family::kV4);  // "::" takes IPv4 too
  };
  return a.addr.same_host(b.addr) || covers(a.addr, b.addr) || covers(b.addr, a.addr);
}

// What only shows when relays are seen together.
void check_together(const Config& config, Faults& faults) {
  std::map<std::string, std::vector<std::pair<Endpoint, const Section*>>, std::less<>> taken;  // by port or path
  std::map<std::string, const Section*, std::less<>> names;
  for (const Config::Item& item : config.relays) {
    const Section& section = item.section;
    for (const Endpoint& place : find_kind(item.kind)->places(section)) {
      auto& rivals = taken[place.kind == Endpoint::Kind::kUnix ? place.host : std::to_string(place.port)];
      for (const auto& [rival, owner] : rivals)
        if (collide(place, rival))
          faults.push_back({section.where("port"), "listens on " + place.text() + ", where the relay of " + owner->origin() + " listens; give it a port of its own"});
      rivals.emplace_back(place, &section);
    }
    if (!section.has("name")) continue;
    const auto [at, is_new] = names.emplace(section.text("name"), &section);
    if (!is_new)
      faults.push_back({section.where("name"), quote(section.text("name")) + " is the name of the relay of " + at->second->origin() + " too; the log could not tell them apart"});
  }
}

void check_sections(const Config& config, Faults& faults) {
  for (const Config::Item& item : config.relays) find_kind(item.kind)->check(item.section, faults);
  if (faults.empty()) check_together(config, faults);
}

int start_command(const Kind& kind, std::span<const char* const> args) {
  Faults faults;
  Config config;
  config.relays.push_back({kind.name, Section(kind.keys())});
  read_args(args, config.global, config.relays.front().section, faults);
  check_sections(config, faults);
  if (!faults.empty()) {
    complain(faults);
    print(stderr, "Try: relay " + std::string(kind.command) + " --help\n");
    return kExitUsage;
  }
  return run_config(config);
}

// Takes -c FILE, --config FILE and --config=FILE out of `args`; the last wins. False, and said, if the file is missing.
bool take_file(std::vector<const char*>& args, std::string& path) {
  for (auto at = args.begin(); at != args.end();) {
    const std::string_view word = *at;
    if (word == "-c" || word == "--config") {
      if (at + 1 == args.end()) {
        usage_error(std::string(word) + ": the file's name is missing");
        return false;
      }
      path = *(at + 1);
      at = args.erase(at, at + 2);
    } else if (word.starts_with("--config=")) {
      path = word.substr(9);
      at = args.erase(at);
    } else {
      ++at;
    }
  }
  if (path.empty()) usage_error("no file given; write for example: -c relay.toml");
  return !path.empty();
}

// The relays of the file, with the options of the command line over its global keys.
Config read_config(const std::string& path, std::span<const char* const> args, Faults& faults) {
  std::string text;
  if (const int error = sys::read_file(path.c_str(), kConfigMost, text); error < 0) {
    faults.push_back({path, std::string("cannot read it: ") + std::strerror(-error)});
    return {};
  }
  std::vector<KindKeys> kinds;
  for (const Kind* kind : kKinds) kinds.push_back({kind->name, kind->keys()});
  Config config = read_toml(path, text, kinds, faults);
  Section none{{}};
  read_args(args, config.global, none, faults);
  check_sections(config, faults);
  return config;
}

int file_command(std::string_view command, std::vector<const char*> args) {
  std::string path;
  if (!take_file(args, path)) return kExitUsage;
  Faults faults;
  const Config config = read_config(path, args, faults);
  if (!faults.empty()) return complain(faults);
  if (command == "run") return run_config(config);
  print(stdout, describe(config));
  return 0;
}

int main_command(std::vector<const char*> args) {
  if (args.empty()) {
    print(stderr, main_help());
    return kExitUsage;
  }
  const std::string_view command = args.front();
  args.erase(args.begin());
  if (command == "--version" || command == "-V") {
    print(stdout, "relay " + std::string(kVersion) + "\n");
    return 0;
  }
  if (command == "--help" || command == "-h" || (command == "help" && args.empty())) {
    print(stdout, main_help());
    return 0;
  }
  const std::string_view topic = command == "help" ? args.front() : command;
  bool asks_help = command == "help";
  for (const std::string_view word : args) asks_help = asks_help || word == "--help" || word == "-h";
  const std::string help = help_on(topic);
  if (help.empty()) return unknown_command(topic);
  if (asks_help) {
    print(stdout, help);
    return 0;
  }
  if (const Kind* kind = kind_of_command(command); kind != nullptr) return start_command(*kind, args);
  return file_command(command, std::move(args));
}

}  // namespace
}  // namespace relay

int main(int argc, char** argv) {
  relay::sys::fill_standard_descriptors();
  const int status = relay::main_command({argv + (argc > 0 ? 1 : 0), argv + argc});
  if (std::fflush(stdout) == 0) return status;
  std::fprintf(stderr, "relay: standard output: %s\n", std::strerror(errno));
  return status == 0 ? 1 : status;
}

// SPDX-License-Identifier: Apache-2.0
// relay: the command line and the table of kinds.
//
//   arguments ─► Config ─► faults? say all of them, exit 2
//                   └────► Process (run/process.h)
//
// This is the only file that names kinds.
#include "relay.h"

#include <malloc.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "lib/text.h"
#include "net/sys.h"
#include "ops/config.h"
#include "run/config_file.h"
#include "run/process.h"
#include "run/status.h"
#include "run/worker.h"
#ifdef RELAY_KIND_CLUSTER
#include "kinds/cluster/cluster.h"
#endif
#ifdef RELAY_KIND_REDIS
#include "kinds/redis/redis.h"
#endif
#ifdef RELAY_KIND_PLEX
#include "kinds/plex/plex.h"
#endif

namespace relay {
namespace {

// Adding a kind is a folder and a line here.
constexpr const Kind* kKinds[] = {
#ifdef RELAY_KIND_CLUSTER
    &cluster::kKind,
#endif
#ifdef RELAY_KIND_REDIS
    &redis::kKind,
#endif
#ifdef RELAY_KIND_PLEX
    &plex::kKind,
#endif
};

const Kind* kind_of_command(std::string_view command) {
  for (const Kind* kind : kKinds)
    if (kind->command == command) return kind;
  return nullptr;
}

// ---- saying things to whoever typed the command

void print(FILE* to, std::string_view text) { static_cast<void>(std::fwrite(text.data(), 1, text.size(), to)); }

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
      "  status   show how running relays are:                     relay status --watch\n"
      "  help     teach a command:                                 relay help start\n"
      "\n"
      "  relay --version\n"
      "\n"
      "A first relay:  relay start --port 9000 --target 10.0.0.5:9999\n"
      "Manual:         man relay, man relay-cluster, man relay-redis, man relay-plex, man relay.toml\n";
  return text;
}

constexpr std::string_view kSignalsHelp =
    "\nSignals: TERM, INT drain (deliver what was accepted, then exit 0), a second one ends at once; HUP reads the file again;\n"
    "USR1 logs statistics\n"
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
      "If there is no FILE, FILE.toml or FILE.env is meant. An .env file has one relay, in lines as RELAY_PORT=9000.\n"
      "A relayer.conf of the smart-relayer is run as it is.\n"
      "\nFor the whole process:\n" +
      help_table(global_keys());
  if (command == "run") text += kSignalsHelp;
  return text;
}

std::string status_help() {
  return "Usage: relay status [--OPTION VALUE ...]\n\n"
         "Asks the relays that run on this machine how they are, through their admin sockets.\n"
         "\n"
         "  relay status\n"
         "  relay status --watch\n"
         "  relay status --admin unix:/run/relay/admin.sock --connections 20\n"
         "  relay status --json | jq '.relays[].stats'\n"
         "\nOptions:\n" +
         help_table(status_keys()) + "\nExit status: 0 somebody answered, 1 nobody did, 2 a fault in the arguments.\n";
}

// The help of `topic`, empty if there is none.
std::string help_on(std::string_view topic) {
  if (const Kind* kind = kind_of_command(topic); kind != nullptr) return kind_help(*kind);
  if (topic == "status") return status_help();
  if (topic == "run" || topic == "check") return file_help(topic);
  if (topic == "help" || topic == "relay") return main_help();
  return {};
}

int unknown_command(std::string_view word) {
  std::vector<std::string_view> known = {"run", "check", "status", "help"};
  for (const Kind* kind : kKinds) known.push_back(kind->command);
  const std::string_view meant = nearest(word, known);
  return usage_error("\"" + printable(word) + "\" is no command" +
                     (meant.empty() ? std::string() : "; did you mean \"" + std::string(meant) + "\"?"));
}

// ---- commands

bool has_workers(const Config& config) {
  return std::any_of(config.relays.begin(), config.relays.end(), [](const Config::Item& item) {
    const Kind* kind = find_kind(kKinds, item.kind);
    return kind->workers != nullptr && kind->workers(item.section) > 1;
  });
}

int run_config(Launch launch) {
  // Big blocks (rings, buffers) come from the kernel and go back to it, or an idle relay would keep what it once needed.
  mallopt(M_MMAP_THRESHOLD, 32 * 1024);
  mallopt(M_TRIM_THRESHOLD, 64 * 1024);
  if (has_workers(launch.config) && (launch.nursery = Nursery::open(kKinds, worker_life)) == nullptr) {
    print(stderr, "relay: the kernel makes no process for the workers; raise the limit of processes (ulimit -u, TasksMax=)\n");
    return kExitFailed;
  }
  Process process(std::move(launch));
  return process.run();
}

int start_command(const Kind& kind, std::span<const char* const> args) {
  Faults faults;
  Config config;
  config.relays.push_back({kind.name, Section(kind.keys())});
  read_args(args, config.global, config.relays.front().section, faults);
  kind.check(config.relays.front().section, faults);
  check_global(config.global, faults);
  if (faults.empty()) {
    Together together(kKinds);
    together.add(config.relays.front(), faults);
    together.add_admin(config.global, faults);
  }
  if (!faults.empty()) {
    complain(faults);
    print(stderr, "Try: relay " + std::string(kind.command) + " --help\n");
    return kExitUsage;
  }
  return run_config({kKinds, std::move(config), {}, {}, nullptr});
}

// `relay -c FILE` is `relay run -c FILE`.
bool names_file(std::string_view word) { return word == "-c" || word == "--config" || word.starts_with("--config="); }

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

int file_command(std::string_view command, std::vector<const char*> args) {
  std::string path;
  if (!take_file(args, path)) return kExitUsage;
  ConfigFile file(kKinds, path, args, ConfigFile::When::kStart);
  while (file.step()) {
  }
  if (!file.faults().empty()) {
    complain(file.faults());
    return kExitUsage;
  }
  if (command == "run") return run_config({kKinds, std::move(file.config()), path, args, nullptr});
  print(stdout, describe(file.config()));
  return 0;
}

int main_command(std::vector<const char*> args) {
  if (args.empty()) {
    print(stderr, main_help());
    return kExitUsage;
  }
  if (names_file(args.front())) args.insert(args.begin(), "run");
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
  if (command == "status") return status_command(kKinds, args);
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

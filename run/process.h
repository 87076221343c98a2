// SPDX-License-Identifier: Apache-2.0
// Process: the life of the running program.
//
//   Config ─► relays prepared ─► committed ─► READY ─► turns of the loop ─► SIGTERM: drain ─► idle or drain-timeout ─► exit 0
//                  └─ faults: say all of them, exit 2       └─ SIGHUP: reload
//
// It owns what all relays share, and answers the service manager, the signals and the admin socket.
#pragma once

#include <memory>
#include <span>
#include <string>

#include "ops/admin.h"
#include "ops/console.h"
#include "run/fleet.h"
#include "run/nursery.h"
#include "run/reload.h"

namespace relay {

inline constexpr int kExitFailed = 1;  // something is not to be had now: trying again may help
inline constexpr int kExitUsage = 2;   // a fault in the arguments or the file: it would not

// Says all of `faults` on stderr.
void complain(const Faults& faults);

struct Launch {
  std::span<const Kind* const> kinds;
  Config config;
  std::string path;                    // of the file, if there is one
  std::span<const char* const> args;   // the options of the command line beside it
  std::unique_ptr<Nursery> nursery;    // if a relay has workers
};

class Process final : private Watcher, private TimerUser, private ReloadUser, private AdminUser {
 public:
  explicit Process(Launch&& launch);
  ~Process() { loop_.forget(*this); }
  // Returns the exit code.
  int run();

 private:
  void open_log();
  bool open_signals();
  void check_descriptors();
  void take_passed_sockets();
  void open_admin(Faults& faults);
  bool start_relays(Faults& faults);
  void settle_with_manager();
  void tell_manager(std::string_view state);
  void send_to_manager();

  void on_event(uint32_t events) override;
  void on_timer(Timer& timer) override;
  void on_reload_ready(Faults& faults) override;
  void on_reloaded(const Change::Counts& counts, const Section* global) override;
  void on_reload_failed(const Faults& faults) override;
  void drain();
  uint64_t reload();
  void take_global(const Section& global);

  bool status_page(AdminPlace& place, const AdminQuery& query, std::string& out) override;
  bool metrics_page(AdminPlace& place, std::string& out) override;
  std::optional<uint64_t> statistic(std::string_view relay, std::string_view name) override;
  int control(std::string_view path, const ControlQuery& query, std::string& answer) override;
  int call(std::string_view path, const ControlQuery& query, std::string& answer);
  void hung_up(Ticket ticket) override;
  bool accepts() const override { return !draining_; }
  void begin_drain() override;
  uint64_t begin_reload() override;
  void set_log_level(Level level) override;
  void status_head(std::string& out);
  static void relay_status(Running& running, bool first, size_t most, std::string& out);

  std::vector<Fd> passed_;  // what LISTEN_FDS speaks of, as it was before we had descriptors of our own; until they are in the pool
  std::span<const Kind* const> kinds_;
  Section global_;
  Section at_start_;  // of which some keys stay in force
  Config::Items first_;  // until they run
  Console console_;
  Loop loop_;
  Resolver resolver_;
  ListenPool sockets_;
  Desk desk_;
  std::unique_ptr<Nursery> nursery_;
  Fleet fleet_;
  Reload reload_;
  std::unique_ptr<Admin> admin_;
  Fd signals_;
  Timer drain_timer_;
  Timer watchdog_timer_;
  Timer status_timer_;  // of the service manager's one line
  Delay watchdog_{};
  std::string told_;    // that line
  std::string unsent_;  // what the manager could not take yet
  Time started_;
  uint64_t reloads_ = 0;
  uint64_t reload_failures_ = 0;
  bool draining_ = false;
  bool drain_asked_ = false;  // through the admin socket: begun between turns
};

}  // namespace relay

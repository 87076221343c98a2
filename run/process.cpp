// SPDX-License-Identifier: Apache-2.0
// Process: start, turns, signals, end. What it shows of itself is in show.cpp.
#include "run/process.h"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "lib/log.h"
#include "lib/text.h"
#include "net/h2_server.h"
#include "net/sys.h"
#include "net/tls_data.h"
#include "ops/confine.h"
#include "ops/notify.h"
#include "ops/spool_keys.h"

namespace relay {
namespace {

constexpr Delay kStatusEvery{10'000};
constexpr Delay kNotifyAgain{100};
constexpr Delay kLook{20};  // at what workers have counted, while somebody waits for it
constexpr Delay kAdminEnd{1000};  // for the last answers to be taken
constexpr Delay kLogEnd{1000};    // for the last lines
constexpr Delay kDrainEnd{10'000};  // what the manager may wait beyond the drain-timeout
constexpr size_t kTokenMost = 4096;
constexpr size_t kFaultsTold = 20;  // at the start, and in the log
constexpr int kFirstPassed = 3;     // sd_listen_fds(3)

void print(std::string_view text) { static_cast<void>(std::fwrite(text.data(), 1, text.size(), stderr)); }

std::string dns_server(const Section& global) {
  const std::vector<Endpoint> servers = global.endpoints("dns");
  return servers.empty() ? std::string() : servers.front().addr.text();
}

// Where `auto` puts the admin socket: nothing if neither variable is set.
std::optional<Endpoint> automatic_place() {
  Endpoint place;
  place.kind = Endpoint::Kind::kUnix;
  if (const char* runtime = std::getenv("RUNTIME_DIRECTORY"); runtime != nullptr && *runtime == '/') {
    const std::string_view all = runtime;
    place.host = std::string(all.substr(0, all.find(':'))) + "/admin.sock";
    return place;
  }
  if (const char* session = std::getenv("XDG_RUNTIME_DIR"); session != nullptr && *session == '/') {
    const std::string folder = std::string(session) + "/relay";
    static_cast<void>(sys::make_folder(folder.c_str()));
    place.host = folder + "/" + std::to_string(sys::process_id()) + ".sock";
    return place;
  }
  return std::nullopt;
}

// Nothing for one that is not open: a descriptor that gets its number later is ours.
std::vector<Fd> take_passed() {
  std::vector<Fd> passed(static_cast<size_t>(passed_sockets()));
  for (size_t i = 0; i < passed.size(); ++i)
    if (const int fd = kFirstPassed + static_cast<int>(i); sys::is_open(fd)) passed[i] = Fd{fd};
  return passed;
}

}  // namespace

void complain(const Faults& faults) {
  for (const Fault& fault : faults) print("relay: " + printable(fault.where + ": " + fault.what) + "\n");
}

Process::Process(Launch&& launch)
    : passed_(take_passed()), kinds_(launch.kinds), global_(std::move(launch.config.global)), at_start_(global_), first_(std::move(launch.config.relays)),
      resolver_(loop_, dns_server(global_)), nursery_(std::move(launch.nursery)), fleet_(launch.kinds, Env{loop_, resolver_, sockets_, desk_}, global_, nursery_.get()),
      reload_(loop_, fleet_, launch.kinds, std::move(launch.path), launch.args, *this), drain_timer_(loop_, *this),
      watchdog_timer_(loop_, *this), status_timer_(loop_, *this), started_(loop_.now()) {}

int Process::run() {
  Faults faults;
  const Rights rights{.files = std::any_of(first_.begin(), first_.end(), [](const Config::Item& item) { return has_spool(item.section); }),
                      .workers = nursery_ != nullptr};
  open_log();
  if (!open_signals()) return kExitFailed;
  if (nursery_ != nullptr && !nursery_->watch(loop_).ok()) return kExitFailed;
  check_descriptors();
  LogLine(Level::kInfo, "started").text("version", kVersion).number("pid", sys::process_id());
  take_passed_sockets();
  open_admin(faults);
  if (!start_relays(faults)) {
    log_discard();  // the faults alone
    complain(faults);
    return kExitFailed;
  }
  for (const std::string& place : sockets_.unused())
    LogLine(Level::kWarn, "socket-unused").text("addr", place).text("remedy", "let a relay listen there, or take it out of the socket unit");
  confine(global_, rights);
  LogLine(Level::kInfo, "ready").number("relays", fleet_.relays().size());
  log_flush();
  settle_with_manager();
  tls_data::forget();
  sys::forget_code();  // what only the start needed
  for (bool sweeping = false; !(draining_ && fleet_.idle());) {
    // What workers count is in memory that they share with us: nothing wakes us when it changes.
    const bool looks = nursery_ != nullptr && admin_ != nullptr && admin_->waited_for();
    loop_.turn(sweeping ? Delay{0} : std::min(fleet_.patience(), looks ? kLook : Delay::max()));
    if (std::exchange(drain_asked_, false)) drain();
    sweeping = !fleet_.retired().empty() && fleet_.sweep();
    log_flush();  // of what was done here: the next turn may wait for long
    if (admin_ != nullptr && admin_->waited_for()) admin_->look();
  }
  reload_.cancel();
  console_.may_wait(kLogEnd.count());
  fleet_.log_stats();
  if (admin_ != nullptr) {
    admin_->finish();
    const Time enough = loop_.now() + kAdminEnd;
    while (!admin_->idle() && loop_.now() < enough) loop_.turn(enough - loop_.now());
    admin_.reset();
  }
  LogLine(Level::kInfo, "stopped");
  log_flush();
  return 0;
}

// ---- the start

void Process::open_log() {
  const bool json = global_.text("log-format") == "json";
  log_open(console_, *level_of(global_.text("log-level")), json ? LogFormat::kJson : stderr_is_journal() ? LogFormat::kJournal : LogFormat::kText);
}

bool Process::open_signals() {
  constexpr int kSignals[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1, 0};
  signals_ = Fd{sys::signal_open(kSignals)};
  if (signals_.open() && loop_.watch(*this, signals_.get(), EPOLLIN).ok()) return true;
  print("relay: the kernel gives no descriptor for signals; raise the limit of open files (ulimit -n)\n");
  return false;
}

// What the relays may need, and a few: better said at the start than found out at the limit.
void Process::check_descriptors() {
  const int limit = sys::raise_descriptor_limit();
  uint64_t needed = 32;
  for (const Config::Item& item : first_)
    for (const Kind* kind : kinds_)
      if (kind->name == item.kind) needed += kind->descriptors(item.section);
  if (limit > 0 && needed > static_cast<uint64_t>(limit))
    LogLine(Level::kWarn, "few-descriptors").number("limit", limit).number("wanted", needed).text("remedy", "raise ulimit -n or LimitNOFILE=, or lower pairs or clients");
}

void Process::take_passed_sockets() {
  for (size_t i = 0; i < passed_.size(); ++i)
    if (const Status status = sockets_.add(std::move(passed_[i])); !status.ok())
      LogLine(Level::kWarn, "socket-refused").number("fd", kFirstPassed + static_cast<int>(i)).text("error", status.reason());
  passed_.clear();
}

void Process::open_admin(Faults& faults) {
  AdminPlan plan;
  const bool automatic = global_.text("admin") == "auto";
  if (automatic) {
    const std::optional<Endpoint> place = automatic_place();
    if (!place) return;
    plan.where = *place;
  } else {
    const std::vector<Endpoint> places = global_.endpoints("admin");
    if (places.empty()) return;
    plan.where = places.front();
  }
  plan.connections = static_cast<size_t>(global_.integer("admin-connections"));
  if (global_.has("admin-token-file")) {
    const std::string path(global_.text("admin-token-file"));
    const int error = sys::read_file(path.c_str(), kTokenMost, plan.token);
    while (!plan.token.empty() && (plan.token.back() == '\n' || plan.token.back() == '\r' || plan.token.back() == ' ')) plan.token.pop_back();
    if (error < 0) faults.push_back({global_.where("admin-token-file"), "cannot read " + quote(path) + ": " + std::strerror(-error)});
    else if (plan.token.empty()) faults.push_back({global_.where("admin-token-file"), quote(path) + " is empty; put a long random secret into it"});
    if (!faults.empty()) return;
  }
  plan.tls.server = true;
  plan.tls.cert = global_.text("admin-cert");
  plan.tls.key = global_.text("admin-key");
  if (H2Server::kBuilt) plan.tls.alpn = {"http/1.1", "h2"};  // who knows both has the pages; of gRPC's clients none does
  admin_ = std::make_unique<Admin>(loop_, static_cast<AdminUser&>(*this), desk_, plan);
  if (const std::optional<TlsFault> fault = admin_->load_certificate()) {
    faults.push_back({global_.where("admin-" + std::string(fault->key)), fault->what});
    return;
  }
  const int before = sys::umask(0177);
  Result<Listening> listening = sockets_.open(plan.where, SockOptions{});
  sys::umask(before);
  const Status status = listening.ok() ? admin_->open(std::move(*listening)) : listening.status();
  if (status.ok()) {
    LogLine(Level::kInfo, "admin").text("addr", admin_->text());
    return;
  }
  admin_.reset();
  const std::string place = automatic ? automatic_place()->text() : global_.endpoints("admin").front().text();
  if (automatic) LogLine(Level::kWarn, "admin-failed").text("addr", place).text("error", std::strerror(status.error()));
  else faults.push_back({global_.where("admin"), "cannot listen on " + place + ": " + std::strerror(status.error()) + "; choose another place, or none"});
}

bool Process::start_relays(Faults& faults) {
  Change change(fleet_, std::move(first_), Delay{0});
  while (change.prepare(faults) && faults.size() < kFaultsTold) {
  }
  if (!faults.empty()) return false;
  while (change.commit()) {
  }
  return true;
}

// ---- the service manager

void Process::settle_with_manager() {
  tell_manager("READY=1");
  watchdog_ = watchdog_patience();
  if (watchdog_.count() > 0) watchdog_timer_.arm(Delay{0});
}

void Process::tell_manager(std::string_view state) {
  if (!notify_wanted()) return;
  told_ = draining_ ? "draining: " + fleet_.summary() : fleet_.summary();
  unsent_ = std::string(state) + "\nSTATUS=" + told_;
  send_to_manager();
}

// What it could not take is sent again, unless there is something newer by then.
void Process::send_to_manager() {
  if (notify(unsent_)) unsent_.clear();
  status_timer_.arm(unsent_.empty() ? kStatusEvery : kNotifyAgain);
}

void Process::on_timer(Timer& timer) {
  if (&timer == &drain_timer_) return fleet_.stop("drain-timeout");
  if (&timer == &watchdog_timer_) {
    const Delay next = notify("WATCHDOG=1") ? watchdog_ / 2 : std::min(kNotifyAgain, watchdog_ / 2);
    return timer.arm(std::max(Delay{1}, next));
  }
  if (!unsent_.empty()) return send_to_manager();
  if (told_ != fleet_.summary() && !draining_) return tell_manager("");
  timer.arm(kStatusEvery);
}

// ---- signals

void Process::on_event(uint32_t) {
  while (const int signal = sys::signal_take(signals_.get())) {
    if (signal == SIGUSR1) fleet_.log_stats();
    else if (signal == SIGHUP) reload();
    else if (draining_) fleet_.stop("terminated");
    else drain();
  }
}

void Process::drain() {
  if (draining_) return;
  reload_.cancel();
  draining_ = true;
  const auto timeout = global_.duration("drain-timeout");
  LogLine(Level::kInfo, "draining").number("timeout_ms", timeout.count());
  tell_manager("STOPPING=1\nEXTEND_TIMEOUT_USEC=" + std::to_string((timeout + kDrainEnd).count() * 1000));
  drain_timer_.arm(timeout);
  fleet_.drain();
}

void Process::begin_drain() { drain_asked_ = true; }

// ---- reload

uint64_t Process::reload() {
  if (draining_) {
    on_reload_failed({{"relay", "it is draining and takes no new configuration"}});
    return 0;
  }
  LogLine(Level::kInfo, "reloading").text("file", reload_.path().empty() ? "-" : reload_.path());
  tell_manager(reloading_state());
  return reload_.begin(global_.duration("drain-timeout"));
}

uint64_t Process::begin_reload() { return reload(); }

void Process::on_reload_ready(Faults& faults) {
  if (admin_ == nullptr) return;
  if (const std::optional<TlsFault> fault = admin_->load_certificate()) faults.push_back({at_start_.where("admin-" + std::string(fault->key)), fault->what});
}

void Process::on_reloaded(const Change::Counts& counts, const Section* global) {
  if (global != nullptr) take_global(*global);
  ++reloads_;
  LogLine(Level::kInfo, "reloaded").number("relays", fleet_.relays().size()).number("kept", counts.kept).number("changed", counts.changed)
      .number("added", counts.added).number("removed", counts.removed);
  tell_manager("READY=1");
  if (admin_ != nullptr) admin_->reloaded(reload_.number(), {});
}

void Process::take_global(const Section& global) {
  for (const Key& key : global.keys())
    if (key.restart && !global.same(at_start_, key.name))
      LogLine(Level::kWarn, "needs-restart").text("key", key.name).text("remedy", "the old value stays in force until the process is started again");
  global_ = global;
  for (const Key& key : global.keys()) {  // a worker that comes later is as the others
    Faults none;
    if (key.restart)
      for (const std::string_view item : at_start_.items(key)) global_.set(key.name, item, at_start_.where(key.name), none);
  }
  open_log();
  fleet_.log_level(*level_of(global_.text("log-level")));
}

void Process::on_reload_failed(const Faults& faults) {
  ++reload_failures_;
  for (size_t i = 0; i < std::min(faults.size(), kFaultsTold); ++i)
    LogLine(Level::kError, "config-fault").text("where", faults[i].where).text("what", faults[i].what);
  LogLine(Level::kError, "reload-failed").number("faults", faults.size()).text("remedy", "the old configuration stays in force; mend the file and reload again");
  if (!draining_) tell_manager("READY=1");
  if (admin_ != nullptr) admin_->reloaded(reload_.number(), faults);
}

void Process::set_log_level(Level level) {
  Faults none;
  global_.set("log-level", level_name(level), "admin", none);
  open_log();
  fleet_.log_level(level);
  LogLine(Level::kInfo, "log-level").text("level", level_name(level));
}

}  // namespace relay

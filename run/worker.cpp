// SPDX-License-Identifier: Apache-2.0
// Worker: what the main process says, and doing it. See worker.h.
#include "run/worker.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "lib/check.h"
#include "lib/log.h"
#include "net/sys.h"
#include "net/tls_data.h"
#include "ops/confine.h"
#include "ops/console.h"
#include "relay.h"
#include "run/config_file.h"
#include "run/process.h"
#include "run/trunk.h"

namespace relay {
namespace {

constexpr Delay kEnd{1000};            // for the last letters to be taken
constexpr size_t kPassedMost = 8;      // listening sockets that come together
constexpr size_t kPlacesMost = 4096;   // bytes of their names

class Worker final : private TrunkUser, private TimerUser, private Mail, private ControlDesk {
 public:
  explicit Worker(Nursery::Cradle&& cradle) : cradle_(std::move(cradle)), trunk_(loop_, *this), pulse_(loop_, *this) {}

  int run() {
    static_cast<void>(sys::raise_descriptor_limit());
    if (!trunk_.open(std::move(cradle_.trunk)).ok()) return kExitFailed;
    pulse();  // before anything that may hang
    while (!over_) {
      loop_.turn(Delay::max());
      if (draining_ && relay_ != nullptr && relay_->idle()) over_ = true;
      log_flush();
    }
    const Time enough = loop_.now() + kEnd;
    while (trunk_.is_open() && trunk_.waiting() > 0 && loop_.now() < enough) loop_.turn(enough - loop_.now());
    log_flush();
    return status_;
  }

 private:
  void on_letter(Trunk&, Letter what, LetterReader letter) override {
    if (over_) return;
    switch (what) {
      case Letter::kSetUp: return set_up(letter);
      case Letter::kConfigure: return configure(letter);
      case Letter::kDrain:
        draining_ = true;
        return relay_->drain();
      case Letter::kStop:
        draining_ = true;
        if (relay_ == nullptr) over_ = true;
        else relay_->stop(letter.text());
        return;
      case Letter::kLogLevel: {
        Faults none;
        global_.set("log-level", letter.text(), "admin", none);
        return open_log(*level_of(global_.text("log-level")));
      }
      case Letter::kAsk: return asked(letter);
      case Letter::kForget: return relay_->hung_up(letter.number());
      case Letter::kMail: {
        const auto from = static_cast<unsigned>(letter.number());
        if (!relay_->on_mail(from, letter.rest())) trunk_.rest();
        return;
      }
      case Letter::kReturned: {
        const auto to = static_cast<unsigned>(letter.number());
        return relay_->on_mail_returned(to, letter.rest());
      }
      case Letter::kPulse:
      case Letter::kConfigured:
      case Letter::kSay:
      case Letter::kAnswer: return;
    }
  }
  void on_timer(Timer&) override { pulse(); }
  void pulse() {
    LetterWriter letter;
    letter.number(static_cast<uint64_t>(sys::process_id()));
    if (relay_ != nullptr) letter.text(relay_->last_error().what()).number(static_cast<uint64_t>((loop_.now() - relay_->last_error().at()).count()));
    static_cast<void>(trunk_.send(Letter::kPulse, letter.bytes()));
    pulse_.arm(kPulseEvery);
  }
  void on_trunk_down(Trunk&) override {
    if (draining_ || over_) return;
    status_ = kExitFailed;
    LogLine(Level::kError, "main-process-lost").text("remedy", "none: its workers end with it");
    stop("the main process is lost");
  }

  void set_up(LetterReader& letter) {
    number_ = static_cast<unsigned>(letter.number());
    count_ = static_cast<unsigned>(letter.number());
    const auto tag = static_cast<uint32_t>(letter.number());
    const size_t offset = letter.number();
    const size_t size = letter.number();
    kind_ = find_kind(cradle_.kinds, letter.text());
    CHECK(kind_ != nullptr && number_ < count_ && offset + size <= cradle_.shared.size());
    read_section(letter, global_);
    std::array<char, 16> name{};
    std::snprintf(name.data(), name.size(), "relay-%u", number_);
    sys::name_process(name.data());
    log_sign("worker", number_);
    open_log(std::min(Level::kWarn, *level_of(global_.text("log-level"))));  // what it says of its start, the main process says
    mate_.emplace(Crewmate{number_, count_, tag, cradle_.shared.subspan(offset, size), *this});
    // Who had this number may have counted down after the main process had seen it go.
    for (size_t i = 0; i < kind_->stats().size(); ++i)
      if (kind_->stats()[i].type == StatRow::Type::kGauge) mate_->own()[i] = 0;
    const std::vector<Endpoint> servers = global_.endpoints("dns");
    resolver_.emplace(loop_, servers.empty() ? std::string() : servers.front().addr.text());
    relay_ = kind_->make(Env{loop_, *resolver_, sockets_, *this, &*mate_});
  }

  void open_log(Level level) {
    const bool json = global_.text("log-format") == "json";
    log_open(console_, level, json ? LogFormat::kJson : stderr_is_journal() ? LogFormat::kJournal : LogFormat::kText);
  }

  static void read_section(LetterReader& letter, Section& section) {
    Faults none;
    for (uint64_t left = letter.number(); left > 0; --left) {
      const std::string_view key = letter.text();
      const std::string_view value = letter.text();
      section.set(key, value, std::string(letter.text()), none);
    }
  }

  void configure(LetterReader& letter) {
    Faults faults;
    for (uint64_t left = letter.number(); left > 0; --left) take_listening(faults);
    Section section(kind_->keys());
    read_section(letter, section);
    if (configured_) relay_->lend();
    if (faults.empty()) relay_->prepare(section, faults);
    if (faults.empty()) {
      sockets_.settle();
      relay_->commit();
      if (!configured_) settle();
      open_log(*level_of(global_.text("log-level")));
      configured_ = true;
    } else {
      relay_->rollback();
      sockets_.forget_lent();
    }
    sockets_.forget_passed();
    LetterWriter answer;
    answer.number(static_cast<uint64_t>(sys::process_id())).number(faults.size());
    for (const Fault& fault : faults) {
      LogLine(Level::kError, "config-fault").text("where", fault.where).text("what", fault.what);
      answer.text(fault.where).text(fault.what);
    }
    static_cast<void>(trunk_.send(Letter::kConfigured, answer.bytes()));
    if (configured_) return;
    over_ = true;
    status_ = kExitUsage;
  }

  // A packet of them. Those that are in use already are thrown away again; where there was no descriptor for one, who needs it will say so.
  void take_listening(Faults& faults) {
    std::array<char, kPlacesMost> places{};
    std::array<int, kPassedMost> fds{};
    size_t count = fds.size();
    const ssize_t n = sys::receive_fds(cradle_.hatch.get(), places.data(), places.size(), fds.data(), &count);
    if (n <= 0) return;
    std::string_view names(places.data(), static_cast<size_t>(n));
    for (size_t i = 0; i < count; ++i) {
      const size_t end = std::min(names.size(), names.find('\0'));
      if (const Status status = sockets_.add(Fd{fds[i]}, std::string(names.substr(0, end))); !status.ok()) faults.push_back({"listen", status.reason()});
      names.remove_prefix(std::min(names.size(), end + 1));
    }
  }

  void settle() {
    confine(global_, {});
    tls_data::forget();
    sys::forget_code();
  }

  void stop(std::string_view why) {
    if (relay_ != nullptr) relay_->stop(why);
    over_ = true;
  }

  // ---- the admin socket, which is the main process's

  void asked(LetterReader& letter) {
    const Ticket ticket = letter.number();
    const bool post = letter.number() != 0;
    const bool rpc = letter.number() != 0;
    const std::string_view what = letter.text();
    std::map<std::string, std::string, std::less<>> parameters;
    for (uint64_t left = letter.number(); left > 0; --left) {
      const std::string_view name = letter.text();
      parameters.emplace(name, letter.text());
    }
    std::string said;
    const ControlQuery query{.post = post, .parameters = parameters, .body = letter.text(), .ticket = ticket, .rpc = rpc};
    const int status = relay_->control(what, query, said);
    if (status != kAnswersLater) answer(ticket, status, said);
  }
  void begin(Ticket ticket) override { answer(ticket, kAnswersOn, {}); }
  void answer(Ticket ticket, int status, std::string_view text) override {
    static_cast<void>(trunk_.send(Letter::kAnswer, LetterWriter().number(ticket).number(static_cast<uint64_t>(status)).text(text).bytes()));
  }
  Said say(Ticket ticket, std::string_view piece, size_t most) override {
    if (trunk_.waiting() > Trunk::kMailMost) return Said::kFull;
    return trunk_.send(Letter::kSay, LetterWriter().number(ticket).number(most).text(piece).bytes()) ? Said::kTaken : Said::kGone;
  }

  // ---- mail

  bool send(unsigned to, std::span<const std::byte> letter) override { return trunk_.post(to, letter); }

  Nursery::Cradle cradle_;
  Console console_;
  Loop loop_;
  Trunk trunk_;
  Timer pulse_;
  Section global_{global_keys()};
  ListenPool sockets_;
  std::optional<Resolver> resolver_;
  std::optional<Crewmate> mate_;
  const Kind* kind_ = nullptr;
  std::unique_ptr<Relay> relay_;
  unsigned number_ = 0;
  unsigned count_ = 0;
  int status_ = 0;
  bool configured_ = false;
  bool draining_ = false;
  bool over_ = false;
};

}  // namespace

int worker_life(Nursery::Cradle&& cradle) { return Worker(std::move(cradle)).run(); }

}  // namespace relay

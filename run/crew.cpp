// SPDX-License-Identifier: Apache-2.0
// Crew: workers made, configured, asked, replaced. See crew.h.
#include "run/crew.h"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "lib/json.h"
#include "lib/log.h"
#include "net/sys.h"
#include "ops/admin.h"
#include "ops/doors.h"

namespace relay {
namespace {

constexpr Delay kPauseMin{100};     // before one that has died is replaced
constexpr Delay kPauseMax{10'000};
constexpr Delay kSettled{10'000};   // who has lived for so long is replaced at once
constexpr Delay kLook{20};          // whether mail that is held has been taken
constexpr unsigned kMissedMost = 5; // pulses of a worker, before it is ended. They are counted: a machine that has slept has not waited
constexpr int kUnavailable = 503;
constexpr size_t kPassedAtOnce = 8;   // descriptors

void put_section(LetterWriter& letter, const Section& section) {
  const auto given = section.given();
  letter.number(given.size());
  for (const auto& [key, value] : given) letter.text(key).text(value).text(section.where(key));
}

}  // namespace

// One worker, as long as there is to be one.
class Crew::Hand final : private TrunkUser, private TimerUser {
 public:
  Hand(Crew& crew, unsigned its_number) : number(its_number), crew_(crew), timer_(crew.env_.loop, *this) {}
  ~Hand() { let_go(); }

  void start() {
    int trunk[2] = {-1, -1};
    int hatch[2] = {-1, -1};
    const bool made = sys::socket_pair(SOCK_STREAM, trunk) == 0 && sys::socket_pair(SOCK_SEQPACKET, hatch) == 0;
    Fd ours{trunk[0]};
    Fd theirs{trunk[1]};
    hatch_ = Fd{hatch[0]};
    Fd their_hatch{hatch[1]};
    started_ = crew_.env_.loop.now();
    if (const int pid = std::exchange(before_, 0); pid != 0) crew_.nursery_->kill(pid);  // if it lives, it has lost us
    if (trunk_ != nullptr) crew_.env_.loop.bury(std::move(trunk_));
    trunk_ = std::make_unique<Trunk>(crew_.env_.loop, static_cast<TrunkUser&>(*this));
    if (!crew_.nursery_->is_open()) return give_up();
    if (!made || !crew_.nursery_->make(std::move(theirs), std::move(their_hatch)) || !trunk_->open(std::move(ours)).ok()) {
      LogLine(Level::kError, "worker-failed").text("relay", crew_.name_).number("worker", number).text("error", "no descriptors, or no nursery");
      return pause();
    }
    LetterWriter letter;
    letter.number(number).number(crew_.hands_.size()).number(crew_.tag_).number(crew_.offset_).number(crew_.shared_.size()).text(crew_.kind_.name);
    put_section(letter, crew_.global_);
    static_cast<void>(trunk_->send(Letter::kSetUp, letter.bytes()));
    configure();
    for (const auto& [what, told] : crew_.lasting_) static_cast<void>(say(Letter::kAsk, told));
  }

  // It gets all sockets each time: it may have thrown them away because it could not do something else. Some go together, or there would be no room.
  void configure() {
    if (!is_there()) {
      if (given_up_) close_places();
      return;
    }
    uint64_t packets = 0;
    std::string names;
    std::vector<int> fds;
    const auto pass = [&] {
      if (!fds.empty() && sys::send_fds(hatch_.get(), names.data(), names.size(), fds.data(), fds.size()) >= 0) ++packets;
      else if (!fds.empty()) LogLine(Level::kError, "worker-failed").text("relay", crew_.name_).number("worker", number).text("error", "a listening socket cannot be passed on");
      names.clear();
      fds.clear();
    };
    for (const Place& place : crew_.places_) {
      names.append(place.asked).push_back('\0');
      fds.push_back(place.sockets[number].fd.get());
      if (fds.size() == kPassedAtOnce) pass();
    }
    pass();
    LetterWriter letter;
    letter.number(packets);
    put_section(letter, crew_.section_);
    if (trunk_->send(Letter::kConfigure, letter.bytes())) ++unconfirmed_;
  }

  bool say(Letter what, const LetterWriter& letter) { return is_there() && trunk_->send(what, letter.bytes()); }
  // It has not done yet what a reload says.
  bool is_behind() const { return is_there() && begun_ && unconfirmed_ > 0; }
  bool is_given_up() const { return given_up_; }
  bool is_there() const { return trunk_ != nullptr && trunk_->is_open(); }
  Trunk& trunk() { return *trunk_; }
  void let_go() {
    timer_.disarm();
    if (trunk_ == nullptr) return;
    trunk_->close();
    crew_.env_.loop.bury(std::move(trunk_));
  }
  void end() {
    if (!is_there()) return;
    kill();
    trunk_->close();
    on_trunk_down(*trunk_);
  }
  void kill() {
    if (pid_ != 0) crew_.nursery_->kill(pid_);
  }
  // To be called each kPulseEvery. False: it has not said for long that it lives, also before it has begun. (While it is held nobody would hear it.)
  bool feel() { return !is_there() || trunk_->is_held() || ++missed_ <= kMissedMost; }
  // Does not wait for its end.
  void end_stuck() {
    LogLine(Level::kError, "worker-stuck").text("relay", crew_.name_).number("worker", number).text("remedy", "it is ended and replaced");
    end();
  }
  void status(Json& json) const {
    const std::string_view state = !is_there() ? "down" : !begun_ ? "starting" : missed_ > 2 ? "silent" : refused_ ? "refused" : "up";
    json.number("worker", number).number("pid", pid_).text("state", state).number("starts", starts_);
  }

  const unsigned number;

 private:
  void on_letter(Trunk&, Letter what, LetterReader letter) override {
    switch (what) {
      case Letter::kConfigured: return configured(letter);
      case Letter::kMail: {
        const auto to = static_cast<unsigned>(letter.number());
        return crew_.deliver(*this, to, letter.rest());
      }
      case Letter::kAnswer: {
        const Ticket ticket = letter.number();
        const int status = static_cast<int>(letter.number());
        return crew_.answered(*this, ticket, status, letter.text());
      }
      case Letter::kSay: {
        const Ticket ticket = letter.number();
        const size_t most = letter.number();
        return crew_.said(*this, ticket, most, letter.text());
      }
      case Letter::kPulse:
        pid_ = static_cast<int>(letter.number());
        missed_ = 0;
        return crew_.heard_error(letter);
      case Letter::kSetUp:
      case Letter::kConfigure:
      case Letter::kDrain:
      case Letter::kStop:
      case Letter::kLogLevel:
      case Letter::kAsk:
      case Letter::kForget:
      case Letter::kReturned: return;
    }
  }
  void on_trunk_down(Trunk&) override {
    before_ = pid_;
    if (!crew_.draining_)
      trunk_->each_unsent([this](Letter what, std::span<const std::byte> letter) {
        if (what != Letter::kMail) return;
        LetterReader mail(letter);
        const auto from = static_cast<unsigned>(mail.number());
        crew_.give_back(from, number, mail.rest());
      });
    crew_.lost(*this);
    pid_ = 0;
    begun_ = false;
    unconfirmed_ = 0;
    missed_ = 0;
    refused_ = false;
    hatch_ = Fd{};
    if (!crew_.draining_) pause();
  }
  void on_timer(Timer&) override { start(); }

  void configured(LetterReader& letter) {
    const auto pid = static_cast<int>(letter.number());
    const uint64_t faults = letter.number();
    --unconfirmed_;
    refused_ = faults > 0;
    if (refused_) crew_.by_hand_ = true;  // another reload of the same file is to try again
    if (std::exchange(begun_, true)) return;
    pid_ = pid;
    ++starts_;
    if (faults == 0) LogLine(Level::kInfo, "worker-started").text("relay", crew_.name_).number("worker", number).number("pid", pid);
  }

  // Nobody can take its place. Its listening sockets go, or the kernel would go on giving them clients.
  void give_up() {
    given_up_ = true;
    LogLine(Level::kError, "worker-failed").text("relay", crew_.name_).number("worker", number).text("error", "there is nobody to make it; see nursery-lost");
    close_places();
  }
  void close_places() {
    for (Place& place : crew_.places_) place.sockets[number].fd.close();
  }

  void pause() {
    const bool settled = crew_.env_.loop.now() - started_ >= kSettled;
    pause_ = settled || pause_.count() == 0 ? kPauseMin : std::min(kPauseMax, pause_ * 2);
    timer_.arm(pause_);
  }

  Crew& crew_;
  std::unique_ptr<Trunk> trunk_;
  Fd hatch_;
  Timer timer_;
  Time started_{};
  Delay pause_{};
  int pid_ = 0;     // 0: not known yet
  bool begun_ = false;
  int before_ = 0;  // of the one whose place it takes
  uint64_t starts_ = 0;
  unsigned unconfirmed_ = 0;  // configurations that it has been sent
  unsigned missed_ = 0;       // pulses
  bool refused_ = false;      // the last of them: it has what it had
  bool given_up_ = false;
};

Crew::Crew(const Env& env, const Kind& kind, Nursery* nursery, const Section& global)
    : env_(env), kind_(kind), nursery_(nursery), global_(global), section_(kind.keys()), tag_(static_cast<uint32_t>(sys::random_seed())), owed_(env.loop, *this), stuck_(env.loop, *this), pulse_(env.loop, *this) {}

Crew::~Crew() {
  Crew::rollback();
  for (auto& [ticket, question] : std::exchange(questions_, {})) {
    question.pieces.tell(env_.desk, SIZE_MAX);
    env_.desk.answer(ticket, kUnavailable, question.pieces.rpc() ? "the relay ends" : R"({"error":"the relay ends"})");
  }
  if (nursery_ != nullptr && !shared_.empty()) nursery_->give_back(offset_, shared_.size());
}

// ---- configuration

Crew::Place* Crew::find_place(std::string_view asked) {
  const auto at = std::find_if(places_.begin(), places_.end(), [&](const Place& place) { return place.asked == asked; });
  return at == places_.end() ? nullptr : &*at;
}

// The same place, written otherwise: with TLS by now, or without.
bool Crew::copy_place(const Endpoint& where, Place& place) const {
  for (const Place& old : places_) {
    if (!listens_on(old.sockets.front(), where)) continue;
    bool whole = true;
    for (const Listening& one : old.sockets) {
      place.sockets.push_back({one.fd.open() ? Fd{sys::duplicate(one.fd.get())} : Fd{}, one.addr, one.path});
      if (one.fd.open() && !place.sockets.back().fd.open()) whole = false;
    }
    if (!whole) place.sockets.clear();
    return whole;
  }
  return false;
}

// Sockets for all. With SO_REUSEPORT nobody is told that a stranger of the same user listens there already: so one without it goes first.
Status Crew::open_place(const Endpoint& where, size_t count, Place& place) const {
  const bool passed = env_.sockets.has(where);
  Result<Listening> first = env_.sockets.open(where, SockOptions{});
  if (!first.ok()) return first.status();
  if (passed || !first->path.empty()) {
    while (place.sockets.size() + 1 < count) {
      Listening copy{Fd{sys::duplicate(first->fd.get())}, first->addr, first->path};
      if (!copy.fd.open()) return Status{Code::kLimit, "dup", EMFILE};
      place.sockets.push_back(std::move(copy));
    }
    place.sockets.push_back(std::move(*first));
    return {};
  }
  Endpoint same = where;
  same.addr = first->addr;
  same.port = first->addr.port;
  first->fd.close();
  SockOptions options;
  options.shared = true;
  while (place.sockets.size() < count) {
    Result<Listening> one = listen_on(same, options);
    if (!one.ok()) return one.status();
    place.sockets.push_back(std::move(*one));
  }
  return {};
}

void Crew::prepare(const Section& section, Faults& faults) {
  const unsigned count = hands_.empty() ? kind_.workers(section) : static_cast<unsigned>(hands_.size());
  if (count != kind_.workers(section)) LogLine(Level::kWarn, "needs-restart").text("relay", name_).text("key", "workers").text("remedy", "the old value stays in force until the process is started again");
  if (shared_.empty() && nursery_ != nullptr) shared_ = nursery_->share(count * kind_.stats().size(), offset_);
  if (shared_.empty()) return faults.push_back({section.where("workers"), "more processes can be had only when relay is started with them; start it again"});
  next_ = std::make_unique<Next>(Next{section, {}, {}});
  // A relay that never runs finds whatever else is wrong; it listens on duplicates.
  ListenPool pool;
  for (const Endpoint& where : kind_.places(section)) {
    const std::string asked = where.text();
    const Place* place = find_place(asked);
    if (place == nullptr) {
      next_->fresh.push_back({asked, {}});
      if (const Status status = copy_place(where, next_->fresh.back()) ? Status{} : open_place(where, count, next_->fresh.back()); !status.ok()) {
        faults.push_back({section.where("listen"), bind_remedy(where, status)});
        continue;
      }
      place = &next_->fresh.back();
    }
    next_->asked.push_back(asked);
    const auto open = std::find_if(place->sockets.begin(), place->sockets.end(), [](const Listening& one) { return one.fd.open(); });
    if (open != place->sockets.end()) static_cast<void>(pool.add(Fd{sys::duplicate(open->fd.get())}, asked));
  }
  if (!faults.empty()) return;
  const std::unique_ptr<Relay> probe = kind_.make(Env{env_.loop, env_.resolver, pool, env_.desk, nullptr});
  probe->prepare(section, faults);
  next_->reads_files = probe->reads_files();
  probe->rollback();
}

void Crew::rollback() {
  if (next_ == nullptr) return;
  std::set<std::string> paths;
  for (const Place& place : next_->fresh)
    for (const Listening& one : place.sockets) paths.insert(one.path);
  next_.reset();
  for (const std::string& path : paths)
    if (!path.empty()) static_cast<void>(remove_stale(path));  // where one of the workers listens, it stays
}

void Crew::commit() {
  section_ = std::move(next_->section);
  reads_files_ = next_->reads_files;
  by_hand_ = false;
  lasting_.clear();
  for (auto& [ticket, question] : questions_) question.lasts.clear();  // what is under way is undone by what follows
  name_ = kind_.title(section_);
  std::erase_if(places_, [&](const Place& place) { return std::find(next_->asked.begin(), next_->asked.end(), place.asked) == next_->asked.end(); });
  for (Place& place : next_->fresh) {
    LogLine(Level::kInfo, "listening").text("relay", name_).text("role", "both").text("addr", place.sockets.front().text());
    places_.push_back(std::move(place));
  }
  next_.reset();
  if (!hands_.empty()) {
    for (const auto& hand : hands_) hand->configure();
    return;
  }
  const unsigned count = kind_.workers(section_);
  while (hands_.size() < count) hands_.push_back(std::make_unique<Hand>(*this, static_cast<unsigned>(hands_.size())));
  for (const auto& hand : hands_) hand->start();
  pulse_.arm(kPulseEvery);
}

void Crew::log_level(Level level) {
  for (const auto& hand : hands_) static_cast<void>(hand->say(Letter::kLogLevel, LetterWriter().text(level_name(level))));
}

// ---- the end

void Crew::drain() {
  if (draining_) return;
  draining_ = true;
  places_.clear();
  for (const auto& hand : hands_)
    if (!hand->say(Letter::kDrain, {})) hand->let_go();
}

void Crew::stop(std::string_view why) {
  if (std::exchange(stopping_, true)) return;
  draining_ = true;
  places_.clear();
  for (const auto& hand : hands_)
    if (!hand->say(Letter::kStop, LetterWriter().text(why))) hand->let_go();
  held_ = false;
  choose_held();
  if (!idle()) stuck_.arm(kStopMost);
}

bool Crew::idle() const {
  return std::none_of(hands_.begin(), hands_.end(), [](const auto& hand) { return hand->is_there(); });
}

// Who is being replaced will begin with the new configuration.
bool Crew::settled() const {
  return std::none_of(hands_.begin(), hands_.end(), [](const auto& hand) { return hand->is_behind(); });
}

// Its numbers that are of now are of nobody any more.
void Crew::lost(Hand& hand) {
  const std::span<const StatRow> rows = kind_.stats();
  const std::span<uint64_t> values = values_of(hand.number);
  if (!draining_) {
    LogLine line(Level::kError, "worker-lost");
    line.text("relay", name_).number("worker", hand.number);
    for (size_t i = 0; i < rows.size(); ++i)
      if (rows[i].type == StatRow::Type::kGauge) line.count(rows[i].name, values[i]);
  }
  for (size_t i = 0; i < rows.size(); ++i)
    if (rows[i].type == StatRow::Type::kGauge) values[i] = 0;
  std::vector<Ticket> asked;
  for (auto& [ticket, question] : questions_) question.did.erase(hand.number);  // the next one has not
  for (const auto& [ticket, question] : questions_)
    if (question.waits_for.contains(hand.number)) asked.push_back(ticket);
  for (const Ticket ticket : asked) {
    Question& question = questions_.find(ticket)->second;
    // Who takes its place does it, too.
    if (!question.lasts.empty() && question.waits_for.size() + question.did.size() > 1) {
      question.waits_for.erase(hand.number);
      if (question.waits_for.empty()) finish(ticket);
      continue;
    }
    const bool rpc = question.pieces.rpc();
    answered(hand, ticket, kUnavailable, rpc ? "that worker has just ended" : R"({"error":"that worker has just ended"})");
  }
}

// ---- statistics

std::span<uint64_t> Crew::values_of(unsigned number) const {
  const size_t rows = kind_.stats().size();
  return shared_.subspan(number * rows, rows);
}

std::span<const uint64_t> Crew::values() const {
  const size_t rows = kind_.stats().size();
  sums_.assign(rows, 0);
  for (size_t i = 0; i < shared_.size(); ++i) sums_[i % rows] += shared_[i];
  for (size_t i = 0; i < rows; ++i) {
    if (kind_.stats()[i].name == kind_.missed_key) sums_[i] += missed_;
    if (kind_.stats()[i].name == kind_.mail_lost_key) sums_[i] += unreturned_;
  }
  return sums_;
}

// The youngest is shown, whosever it is.
void Crew::heard_error(LetterReader& letter) {
  const std::string_view what = letter.text();
  const Time at = env_.loop.now() - Delay{static_cast<int64_t>(letter.number())};
  if (!what.empty() && at > last_error_.at()) last_error_.set(what, at);
}

void Crew::status(Json& json, size_t) {
  std::string targets;
  for (const std::string_view target : section_.items(*section_.find(kind_.target_key))) targets += (targets.empty() ? "" : " ") + std::string(target);
  json.text("target", targets).flag("draining", draining_).begin('[', "listening");
  for (const Place& place : places_) json.begin('{').text("addr", place.sockets.front().text()).text("role", "both").end('}');
  json.end(']');
  last_error_.status(json, env_.loop.now());
  json.begin('[', "workers");
  const std::span<const StatRow> rows = kind_.stats();
  uint64_t hidden = 0;
  for (const auto& hand : hands_) {
    json.begin('{');
    hand->status(json);
    for (size_t i = 0; i < rows.size(); ++i)
      if (rows[i].type == StatRow::Type::kGauge) json.number(rows[i].name, values_of(hand->number)[i]);
    hidden += values_of(hand->number)[0];
    json.end('}');
  }
  json.end(']').begin('[', "connections").end(']').number("connections_not_shown", hidden);
}

// ---- mail

void Crew::deliver(Hand& from, unsigned to, std::span<const std::byte> mail) {
  LetterWriter letter;
  letter.number(from.number).raw(mail);
  if (to >= hands_.size() && to != Mail::kEverybody) give_back(from.number, to, mail);
  for (const auto& hand : hands_) {
    const bool meant = to == Mail::kEverybody ? hand.get() != &from : hand->number == to;
    // Who is not there has no clients: what is for all has nobody to reach with him.
    if (meant && !hand->say(Letter::kMail, letter) && (to != Mail::kEverybody || hand->is_there())) give_back(from.number, hand->number, mail);
    if (hand->is_there() && hand->trunk().waiting() > Trunk::kMailMost) hold();
  }
}

void Crew::give_back(unsigned from, unsigned to, std::span<const std::byte> mail) {
  if (from < hands_.size() && !hands_[from]->say(Letter::kReturned, LetterWriter().number(to).raw(mail))) ++unreturned_;
}

// Nobody's letters are read until all have taken theirs, but for a half.
void Crew::hold() {
  if (held_ || stopping_) return;
  held_ = true;
  choose_held();
  stuck_.arm(kLook);
}

// Of those who are to take them it must be seen when they go, or hang. Whoever is none of them may be one by and by.
void Crew::choose_held() {
  for (const auto& hand : hands_)
    if (hand->is_there()) hand->trunk().hold(held_ && hand->trunk().waiting() <= Trunk::kMailMost / 2);
}

void Crew::feel() {
  if (draining_) return;
  for (const auto& hand : hands_)
    if (!hand->feel()) hand->end_stuck();
  pulse_.arm(kPulseEvery);
}

void Crew::on_timer(Timer& timer) {
  if (&timer == &owed_) return tell_owed();
  if (&timer == &pulse_) return feel();
  if (stopping_) {
    for (const auto& hand : hands_) hand->end();
    return;
  }
  const auto is_full = [](const auto& hand) { return hand->is_there() && hand->trunk().waiting() > Trunk::kMailMost / 2; };
  const bool full = std::any_of(hands_.begin(), hands_.end(), is_full);
  held_ = full;
  choose_held();
  if (full) stuck_.arm(kLook);
}

// ---- the admin socket

int Crew::control(std::string_view what, const ControlQuery& query, std::string& answer) {
  const Asked asked = kind_.asked(what, query, static_cast<unsigned>(hands_.size()));
  const auto refuse = [&](std::string_view why) {
    answer = query.rpc ? std::string(why) : R"({"error":")" + std::string(why) + R"("})";
    return kUnavailable;
  };
  // Without one of them it would hear of some things only, and not be told of which.
  if (asked.goes_on && std::any_of(hands_.begin(), hands_.end(), [](const auto& hand) { return !hand->is_there() && !hand->is_given_up(); }))
    return refuse(draining_ ? "the relay ends" : "a worker is being replaced; ask again");
  Question question{{}, {}, 200, asked.worker == kAsksAll, asked.goes_on, Pieces(query.ticket, query.rpc, kind_.say_missed), 0};
  const auto write = [&](Ticket ticket) {
    LetterWriter letter;
    letter.number(ticket).number(query.post ? 1 : 0).number(query.rpc ? 1 : 0).text(what).number(query.parameters.size());
    for (const auto& [name, value] : query.parameters) letter.text(name).text(value);
    letter.text(query.body);
    return letter;
  };
  const LetterWriter letter = write(query.ticket);
  if (!asked.lasts.empty()) {
    question.lasts = asked.lasts;
    question.letter = write(0);
  }
  for (const auto& hand : hands_)
    if ((asked.worker == kAsksAll || asked.worker == hand->number) && hand->say(Letter::kAsk, letter)) question.waits_for.insert(hand->number);
  if (question.waits_for.empty()) return refuse(draining_ ? "the relay ends" : "the worker that has it is down");
  if (asked.worker == kAsksAll && !asked.goes_on && (query.post || query.rpc)) by_hand_ = true;
  question.starting = question.waits_for.size();
  questions_.emplace(query.ticket, std::move(question));
  return kAnswersLater;
}

void Crew::hung_up(Ticket ticket) {
  const auto at = questions_.find(ticket);
  if (at == questions_.end() || !at->second.lasts.empty()) return;  // what lasts is done to its end, and remembered
  questions_.erase(at);
  for (const auto& hand : hands_) static_cast<void>(hand->say(Letter::kForget, LetterWriter().number(ticket)));
}

void Crew::said(Hand&, Ticket ticket, size_t most, std::string_view piece) {
  const auto at = questions_.find(ticket);
  if (at == questions_.end() || at->second.starting > 0) return;
  Pieces& pieces = at->second.pieces;
  at->second.most = most;
  missed_ -= pieces.missed();
  const bool there = pieces.say(env_.desk, piece, most);
  missed_ += pieces.missed();
  if (pieces.owes() && !owed_.armed()) owed_.arm(Pieces::kTellEvery);
  if (!there) hung_up(ticket);
}

void Crew::tell_owed() {
  for (auto& [ticket, question] : questions_) {
    question.pieces.tell(env_.desk, question.most);
    if (question.pieces.owes() && !owed_.armed()) owed_.arm(Pieces::kTellEvery);
  }
}

// What all were asked is a list of what they say; of gRPC one message after the other, which is a message.
void Crew::answered(Hand& hand, Ticket ticket, int status, std::string_view text) {
  const auto at = questions_.find(ticket);
  if (at == questions_.end() || !at->second.waits_for.contains(hand.number)) return;
  Question& question = at->second;
  if (status == kAnswersOn) {
    if (--question.starting == 0) env_.desk.begin(ticket);
    return;
  }
  question.waits_for.erase(hand.number);
  if (question.goes_on) {
    // What one of them does not tell any more would be missed: who asks again has all. At the end each of them ends it, and the last one counts.
    if (draining_ && question.starting == 0 && !question.waits_for.empty()) return;
    question.pieces.tell(env_.desk, SIZE_MAX);
    env_.desk.answer(ticket, status, text);
    return hung_up(ticket);
  }
  const bool rpc = question.pieces.rpc();
  if (status != 200) question.status = status;
  if (question.status == 200 || status != 200) {
    if (status != 200) question.text = text;
    else question.text.append(question.text.empty() || rpc ? "" : ",").append(text);
  }
  if (status == 200) question.did.insert(hand.number);
  if (question.waits_for.empty()) finish(ticket);
}

// All have answered.
void Crew::finish(Ticket ticket) {
  const auto at = questions_.find(ticket);
  Question& question = at->second;
  std::string whole = std::move(question.text);
  if (question.of_all && !question.pieces.rpc() && question.status == 200) whole = R"({"workers":[)" + whole + "]}";
  const int result = question.status;
  if (!question.lasts.empty() && result == 200) {
    for (const auto& other : hands_)
      if (!question.did.contains(other->number)) static_cast<void>(other->say(Letter::kAsk, question.letter));
    if (lasting_.erase(question.lasts) == 0) lasting_.emplace(std::move(question.lasts), std::move(question.letter));
  }
  questions_.erase(at);
  env_.desk.answer(ticket, result, whole);
}

std::unique_ptr<Relay> make_crew(const Env& env, const Kind& kind, Nursery* nursery, const Section& global) {
  return std::make_unique<Crew>(env, kind, nursery, global);
}

}  // namespace relay

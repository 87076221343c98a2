// SPDX-License-Identifier: Apache-2.0
// Session: where each command goes. Most go over a lane, which is shared; some are answered here; some need a connection of the
// client's own (a Lease); a few change what the client is to the server, and so which lane is its.
#include <algorithm>
#include <utility>

#include "kinds/redis/redis.h"
#include "kinds/redis/session.h"
#include "lib/text.h"

namespace relay::redis {
namespace {

constexpr std::string_view kOk = "+OK\r\n";
constexpr uint8_t kMostMoves = 16;  // of a command over a lease

// As the server has it: what can be printed, and no spaces.
bool is_name(std::string_view name) {
  return std::all_of(name.begin(), name.end(), [](char c) { return c >= '!' && c <= '~'; });
}

// Of a database, or all, or what is in it is another's now.
bool empties(std::string_view name) {
  if (name.empty() || (name.front() | 0x20) < 'f' || (name.size() != 7 && name.size() != 8 && name.size() != 6)) return false;
  const std::string text = lower(name);
  return text == "flushall" || text == "flushdb" || text == "swapdb";
}

// Runs what a client has written: its errors may be anything.
bool is_script(std::string_view name) {
  if (name.size() < 4 || ((name.front() | 0x20) != 'e' && (name.front() | 0x20) != 'f')) return false;
  const std::string begin = lower(name.substr(0, 5));
  return begin.starts_with("eval") || begin == "fcall";
}

// What is another client to the server from then on, or may be.
bool is_for_life(Use use) {
  return use == Use::kState || use == Use::kSelect || use == Use::kAuth || use == Use::kHello || use == Use::kClient || use == Use::kReset;
}

// A number as the server reads it; nothing: it is none, or none that a database could have.
std::optional<uint32_t> database(std::string_view text) {
  const auto number = parse_integer(text);
  if (!number || *number > INT32_MAX || std::to_string(*number) != text) return std::nullopt;
  return static_cast<uint32_t>(*number);
}

}  // namespace

bool Session::wait() {
  waits_ = true;
  return false;
}

bool Session::wait_for_room() {
  relay_.wait_for_room(*this);
  return false;
}

// Sends the command at the front where it belongs. False: not now.
bool Session::dispatch() {
  const bool whole = reader_.done();
  if (reader_.is_inline() && encoded_.empty()) {
    const auto words = RespRequest::split_words(bytes());
    if (!words && under_way() > 0) return false;
    if (!words) {
      refuse("Protocol error: unbalanced quotes in request");
      return true;
    }
    if (words->empty()) {
      consumed();
      return true;
    }
    append_command(encoded_, *words);
  }
  if (whole && pin_ != Pin::kLife && relay_.ignores(word(0))) {
    if (pin_ != Pin::kNone && under_way() > 0) return false;
    answer(kOk);
    consumed();
    return true;
  }
  if (whole && relay_.packs(word(0))) pack();
  Command command = relay_.commands().find(word(0));
  if (pin_ == Pin::kTransaction) return dispatch_own(command);
  if (pin_ == Pin::kCommand) return dispatch_behind(command);
  if (!whole && command.use != Use::kMulti && command.use != Use::kWatch && command.use != Use::kState) command.use = Use::kAlone;
  after_ping_ = command.use == Use::kWait;
  if (relay_.cluster() != nullptr) return dispatch_cluster(command);
  node_ = 0;
  return begun_ ? begin_transaction(command) : dispatch_to(command);
}

bool Session::dispatch_to(const Command& command) {
  const bool whole = reader_.done();
  switch (command.use) {
    case Use::kShared:
    case Use::kExec:     // outside a transaction, an error
    case Use::kUnwatch:  // of nothing
      return share(command);
    case Use::kAlone:
    case Use::kWait:
      blocking_ = whole;
      return take_lease(Pin::kCommand);
    case Use::kMulti:
    case Use::kWatch:
      if (under_way() == 0) multi_ = command.use == Use::kMulti;
      blocking_ = false;
      return take_lease(Pin::kTransaction);
    case Use::kSelect: return select();
    case Use::kAuth: return auth();
    case Use::kHello: return hello();
    case Use::kClient: return client_command();
    case Use::kReset: return reset_command();
    case Use::kQuit: return quit();
    case Use::kState: break;
  }
  return take_lease(Pin::kLife);
}

// Behind a command that may wait for ever: to the same connection, so that the server sees all that comes, and the client's end in its
// turn.
bool Session::dispatch_behind(const Command& command) {
  if (is_for_life(command.use)) return own_for_life();
  if (command.use == Use::kQuit) return quit();
  const bool begins = command.use == Use::kMulti || command.use == Use::kWatch;
  if (begins) multi_ = command.use == Use::kMulti;
  return own(begins ? Pin::kTransaction : Pin::kCommand);
}

// In a transaction, or between WATCH and what ends it.
bool Session::dispatch_own(const Command& command) {
  if (is_for_life(command.use)) return own_for_life();
  if (command.use == Use::kQuit) return quit();
  const uint64_t argc = reader_.is_inline() ? args().size() : reader_.argc();
  if (command.use == Use::kMulti) multi_ = true;
  if (command.use == Use::kExec) ending_ = argc == 1;
  if (command.use == Use::kUnwatch) ending_ = argc == 1 && !multi_;
  if (command.use == Use::kAlone || command.use == Use::kWait) blocking_ = blocking_ || !multi_;
  return own(Pin::kTransaction);
}

bool Session::quit() {
  if (under_way() > 0) return false;
  say(kOk);
  close_when_said("quit");
  return true;
}

// ---- what changes the client

// Without a round trip if it is known that there is such a database.
bool Session::select() {
  const auto& words = args();
  const auto db = words.size() == 2 ? database(words[1]) : std::nullopt;
  if (!db) {  // an error; but whatever the server makes of it must not stay with a connection that others use
    blocking_ = false;
    return take_lease(Pin::kCommand);
  }
  Setting want = setting_;
  want.db = *db;
  selecting_.reset();
  if (*db != setting_.db && !relay_.may_select(want)) {
    if (const std::string_view refusal = relay_.no_database(*db); !refusal.empty()) {
      answer(refusal);
      consumed();
      return true;
    }
    if (!relay_.lacks_databases()) return adopt(std::move(want), bytes());
    // Now it is worth a second thought whether a lane is dialled for it.
    selecting_ = *db;
    blocking_ = false;
    return take_lease(Pin::kCommand);
  }
  setting_.db = *db;
  chose_db_ = true;
  answer(kOk);
  consumed();
  return true;
}

// The password is the server's to judge, each time; only what it has accepted is a lane's.
bool Session::auth() {
  const auto& words = args();
  if (words.size() != 2 && words.size() != 3) return share({});  // an error
  Setting want = setting_;
  want.login = words.size() == 2 ? Login{"", std::string(words[1])} : Login{std::string(words[1]), std::string(words[2])};
  if (want.login.password.empty()) return take_lease(Pin::kLife);
  return adopt(std::move(want), bytes());
}

bool Session::hello() {
  const auto& words = args();
  if (words.size() == 1) return share({});
  Setting want = setting_;
  bool plain = words[1] == "2" || words[1] == "3";
  want.protocol = words[1] == "3" ? 3 : 2;
  std::vector<std::string> command = {"HELLO", std::string(words[1])};
  for (size_t i = 2; i < words.size() && plain;) {
    const std::string option = lower(words[i]);
    if (option == "auth" && i + 2 < words.size() && !words[i + 2].empty()) {
      want.login = {std::string(words[i + 1]), std::string(words[i + 2])};
      command.insert(command.end(), {"AUTH", want.login.user, want.login.password});
      i += 3;
    } else if (option == "setname" && i + 1 < words.size() && is_name(words[i + 1])) {
      want.name = words[i + 1];
      i += 2;
    } else {
      plain = false;
    }
  }
  if (!plain) return take_lease(Pin::kLife);  // the server knows what of it has come to pass
  std::string text;
  append_command(text, command);
  return adopt(std::move(want), text);
}

// A name is the client's, and goes with it to a connection of its own; on a shared one nobody could tell whose it is.
bool Session::client_command() {
  const auto& words = args();
  const std::string what = words.size() > 1 ? lower(words[1]) : "";
  if (what == "setname" && words.size() == 3) {
    if (!is_name(words[2])) {
      answer("-ERR Client names cannot contain spaces, newlines or special characters.\r\n");
    } else {
      setting_.name = words[2];
      answer(kOk);
    }
    consumed();
    return true;
  }
  if (what == "getname" && words.size() == 2) {
    std::string text;
    if (!setting_.name.empty()) append_bulk(text, setting_.name);
    else text = setting_.protocol == 3 ? "_\r\n" : "$-1\r\n";
    answer(text);
    consumed();
    return true;
  }
  if (what == "setinfo" || words.size() == 1) return share({});
  for (const std::string_view passing : {"list", "kill", "pause", "unpause", "unblock", "help"}) {
    if (what != passing) continue;
    blocking_ = false;
    return take_lease(Pin::kCommand);
  }
  return take_lease(Pin::kLife);
}

bool Session::reset_command() {
  if (under_way() > 0) return false;
  setting_ = relay_.setting();
  chose_db_ = false;
  setting_.login = {};
  say("+RESET\r\n");
  consumed();
  return true;
}

// Has the server say to `command`, on a lane that is of that setting, whether the client may be that.
bool Session::adopt(Setting want, std::string_view command) {
  if (under_way() > 0) return false;
  Lane* lane = lane_for(want);
  if (lane == nullptr) return no_lane();
  if (lane->hopeless()) return hopeless(*lane);
  Lane::Entry entry;
  entry.session = handle_;
  entry.seq = next_;
  entry.repeatable = true;
  if (!lane->put(entry, command)) return wait_for_room();
  ++next_;
  adopting_ = std::make_unique<Adoption>(Adoption{std::move(want), entry.seq});
  relay_.stats().add(Stat::kCommands);
  relay_.stats().add(Stat::kSharedCommands);
  ++commands_;
  consumed();
  return true;
}

void Session::adopted() {
  const std::unique_ptr<Adoption> adoption = std::move(adopting_);
  if (adoption->first == '-' || adoption->first == '!' || adoption->first == 0) return;
  chose_db_ = chose_db_ || setting_.db != adoption->setting.db;
  setting_ = adoption->setting;
  relay_.selected(setting_);
}

// ---- over a lane

// nullptr: not before what is under way is answered, if something is; else there can be none.
Lane* Session::lane_for(const Setting& setting) {
  if (under_way() == 0) {
    ordinal_ = relay_.free_ordinal(setting);
    lanes_epoch_ = relay_.lanes_epoch();
  } else if (lanes_epoch_ != relay_.lanes_epoch()) {
    return nullptr;
  }
  return relay_.lane(setting, ordinal_, node_);
}

bool Session::share(const Command& command) {
  Lane::Entry entry;
  if (relay_.smart() && reader_.done()) {
    if (read_queued()) return true;
    const Outcome outcome = early(entry);
    if (outcome != Outcome::kNo) return outcome == Outcome::kDone;
  }
  Lane* lane = lane_for(setting_);
  return lane == nullptr ? no_lane() : send_shared(*lane, command, entry);
}

// There are as many connections as there may be, or what is under way must be answered first.
bool Session::no_lane() {
  if (under_way() > 0) return false;
  return wait_for_long("-ERR relay: all connections to the server are in use (maxConnections)\r\n");
}

// For `timeout` at most, for what may come without anybody saying so; then that is the answer.
bool Session::wait_for_long(std::string_view error) {
  const Time now = relay_.loop().now();
  if (since_waiting_ == Time{}) since_waiting_ = now;
  if (now - since_waiting_ < relay_.config().timeout) {
    timer_.arm(kLook);
    return wait_for_room();
  }
  return refuse_command(error);
}

// The command at the front is done by nobody. Of one that is not all there the rest would follow, and be taken for commands.
bool Session::refuse_command(std::string_view error) {
  if (!reader_.done() && under_way() > 0) return false;
  relay_.stats().add(Stat::kErrors);
  spoiled_ = spoiled_ || begun_;
  since_waiting_ = {};
  selecting_.reset();
  answer(error);
  if (reader_.done()) consumed();
  else close_when_said("server-lost");
  return true;
}

bool Session::hopeless(Lane& lane) {
  lane.start();
  return refuse_command("-ERR relay: " + lane.complaint() + "\r\n");
}

// `entry` may say something of the types of its keys already.
bool Session::send_shared(Lane& lane, const Command& command, Lane::Entry& entry) {
  if (!settled_beside(lane)) return wait_for_early();
  if (lane.hopeless()) return hopeless(lane);
  const bool too_long = gathering_ && bytes().size() > BufferPool::kBlock;  // to go between those of others
  // Somebody else does not read, and there is a way round him.
  const bool round = lane.stuck() && under_way() == 0 && relay_.has_lease_for(node_);
  if (too_long || round) {
    blocking_ = false;
    return take_lease(Pin::kCommand);
  }
  entry.session = handle_;
  entry.seq = next_;
  entry.repeatable = command.repeatable;
  entry.scripted = is_script(word(0));
  if (lane.full()) return wait_for_room();
  if (relay_.config().read_queued && !command.repeatable) entry.wide = relay_.will_write(command, args(), setting_.db);
  if (!lane.put(entry, bytes())) return wait_for_room();
  expect_reply(next_++);
  if (relay_.smart() && !command.repeatable) written(entry);
  relay_.stats().add(Stat::kCommands);
  relay_.stats().add(Stat::kSharedCommands);
  ++commands_;
  consumed();
  return true;
}

// What the command at the front, which has gone to the server, may have changed.
void Session::written(const Lane::Entry& entry) {
  if (empties(word(0))) relay_.types().clear();
  else if (!entry.tells_type) relay_.types().forget(setting_.db, word(1));
}

// Answers the command at the front before the server has it, if its answer is known. If it is not for a key's type, `entry` says so.
Session::Outcome Session::early(Lane::Entry& entry) {
  if (!relay_.early_table().knows(word(0))) return Outcome::kNo;
  const auto& words = args();
  const Early verdict = relay_.early_table().decide(words);
  if (verdict.reply == Made::kNone) return Outcome::kNo;
  if (verdict.reply == Made::kPong) {  // nothing that anybody has to do
    answer(made_up(verdict.reply));
    consumed();
    return Outcome::kDone;
  }
  bool known_better = false;
  each_key(verdict, words, [&](std::string_view key) { known_better = known_better || !relay_.types().may_be(setting_.db, key, verdict.needs); });
  entry.tells_type = known_better;
  if (verdict.first_key == 1 && verdict.last_key == 1) {
    entry.needs = verdict.needs;
    entry.leaves = verdict.leaves;
  }
  // Replies are the same in both protocols, so all go over one lane, in their order; but there it must not overtake what is on the other.
  // What the spool owes goes over that one, too.
  if (known_better || (setting_.protocol != 2 && under_way() > spool_owes_)) return Outcome::kNo;
  entry.expected = verdict.reply;
  entry.repeatable = verdict.repeatable;
  if (const auto outcome = relay_.backlog() != nullptr ? into_spool(entry) : into_lane(entry, verdict, words); outcome) return *outcome;
  if (empties(word(0))) relay_.types().clear();
  each_key(verdict, words, [&](std::string_view key) { relay_.types().wrote(setting_.db, key, verdict.leaves); });
  relay_.stats().add(Stat::kCommands);
  relay_.stats().add(Stat::kSharedCommands);
  relay_.stats().add(Stat::kEarly);
  ++commands_;
  consumed();
  return Outcome::kDone;
}

// Nothing: it is taken, and answered.
std::optional<Session::Outcome> Session::into_lane(Lane::Entry& entry, const Early& verdict, const std::vector<std::string_view>& words) {
  Setting plain = setting_;
  plain.protocol = 2;
  Lane* lane = lane_for(plain);
  if (lane == nullptr) return no_lane() ? Outcome::kDone : Outcome::kNotNow;
  entry.early = true;
  if (!settled_beside(*lane)) return wait_for_early() ? Outcome::kDone : Outcome::kNotNow;
  if (!relay_.early_fits(bytes().size()) || !lane->put(entry, bytes())) {
    relay_.wait_for_room(*this);
    return Outcome::kNotNow;
  }
  relay_.wrote_early(*lane, verdict, words);
  answer(made_up(entry.expected));
  return std::nullopt;
}

// Nothing: it is taken, and will be answered. Of who has a login of his own the password would have to be in the file, too.
std::optional<Session::Outcome> Session::into_spool(Lane::Entry& entry) {
  if (!setting_.login.password.empty()) return Outcome::kNo;
  entry.early = true;
  entry.session = handle_;
  entry.seq = next_;
  switch (relay_.backlog()->take(entry, setting_.db, bytes())) {
    case Backlog::Taken::kYes: break;
    case Backlog::Taken::kNotNow: relay_.wait_for_room(*this); return Outcome::kNotNow;
    case Backlog::Taken::kNever: entry.early = false; return Outcome::kNo;
  }
  ++next_;
  ++spool_owes_;
  return std::nullopt;
}

// ---- over a connection of its own

bool Session::take_lease(Pin pin) {
  if (under_way() > 0) return false;
  if (!stops_something() && !settled()) return wait_for_early();
  wanted_ = pin;
  pin_ = Pin::kWaiting;
  relay_.stats().add(Stat::kPins);
  relay_.stats().add(Stat::kPinned);
  since_waiting_ = relay_.loop().now();
  acquiring_ = true;
  lease_ = relay_.acquire(*this, setting_, node_);
  acquiring_ = false;
  if (lease_ != nullptr && lease_->ready()) return own(pin);
  schedule();
  return false;
}

void Session::lease_ready(Lease& lease) {
  if (acquiring_ || pin_ != Pin::kWaiting) return;  // it will see; or it has it already
  lease_ = &lease;
  if (resending_) return resend();
  load();
  if (state_ != State::kOpen) return;
  own(wanted_);
  process_loaded();
  store();
  if (state_ == State::kOpen && client_.readable()) client_.again();
}

// The command at the front begins its way there.
bool Session::own(Pin pin) {
  pin_ = pin;
  moves_ = 0;
  alone_.clear();
  if (relay_.cluster() != nullptr && pin == Pin::kCommand && under_way() == 0 && reader_.done() && bytes().size() <= BufferPool::kBlock) alone_.assign(bytes());
  since_waiting_ = {};
  if (pin != Pin::kLife) expect_reply(next_);
  note_own(pin);
  if (relay_.smart() && empties(word(0))) relay_.types().clear();
  marked_ = packed_ = rewritten_ = false;
  spool_mark_.reset();
  relay_.stats().add(Stat::kCommands);
  ++commands_;
  if (reader_.done() && !encoded_.empty()) {
    in_.consume(std::exchange(fed_, 0));
    reader_.next();
  }
  if (pin == Pin::kLife) {
    lease_->make_opaque();
    head_ = next_;
    reader_.next();
    fed_ = 0;
    ending_ = false;
  } else {
    if (std::exchange(after_ping_, false)) {  // WAIT is for what this connection saw last; and by this, that is all there was
      lease_->begin_unheard();
      static_cast<void>(lease_->send("*1\r\n$4\r\nPING\r\n"));
    }
    if (selecting_) {
      Setting want = setting_;
      want.db = *std::exchange(selecting_, std::nullopt);
      adopting_ = std::make_unique<Adoption>(Adoption{std::move(want), next_});
    }
    if (std::exchange(begun_, false)) {
      lease_->begin_unheard();
      static_cast<void>(lease_->send("*1\r\n$5\r\nMULTI\r\n"));
      multi_ = true;
    }
    lease_->begin(next_++);
  }
  streaming_ = pin != Pin::kLife || !encoded_.empty();
  if (!timer_.armed()) schedule();
  return true;
}

bool Session::lease_moved(uint32_t seq, uint32_t node, bool ask) {
  if (pin_ != Pin::kCommand || streaming_ || under_way() != 1 || seq != head_ || alone_.empty() || ended_in_ || ++moves_ > kMostMoves) return false;
  asks_ = ask;
  resending_ = true;
  pin_ = Pin::kWaiting;
  since_waiting_ = relay_.loop().now();
  Lease* before = std::exchange(lease_, nullptr);
  before->give_back();
  acquiring_ = true;
  lease_ = relay_.acquire(*this, setting_, node);
  acquiring_ = false;
  if (lease_ != nullptr && lease_->ready()) resend();
  else schedule();
  return true;
}

void Session::resend() {
  resending_ = false;
  pin_ = Pin::kCommand;
  since_waiting_ = {};
  if (std::exchange(asks_, false)) {
    lease_->begin_unheard();
    static_cast<void>(lease_->send("*1\r\n$6\r\nASKING\r\n"));
  }
  lease_->begin(head_);
  static_cast<void>(lease_->send(alone_));  // there is room: nothing else is in it
  if (ended_in_) lease_->finish();          // while it waited for this connection
}

// Gives the connection what there is of the command that is on its way. False: there is no more, or no room.
bool Session::stream() {
  if (!encoded_.empty()) {
    encoded_sent_ += lease_->send(std::string_view(encoded_).substr(encoded_sent_));
    if (encoded_sent_ < encoded_.size()) return wait();
    const bool more = too_long_ && pin_ != Pin::kLife;
    stop_gathering();
    if (more) return true;
    streaming_ = false;
    if (pin_ == Pin::kCommand && under_way() == 0) unpin();
    return true;
  }
  const size_t n = fed_ == 0 ? 0 : lease_->send(bytes());
  in_.consume(n);
  fed_ -= n;
  if (fed_ > 0) return wait();
  if (reader_.done()) {
    reader_.next();
    streaming_ = false;
    if (pin_ == Pin::kCommand && under_way() == 0) unpin();
    return true;
  }
  if (in_.empty()) return false;
  const Result<size_t> more = reader_.feed(in_.data());
  if (!more.ok()) {
    refuse(reader_.complaint(more.status()));
    return false;
  }
  fed_ = *more;
  return true;
}

// For the rest of its life: bytes.
bool Session::pass_on() {
  if (in_.empty()) return false;
  const auto data = in_.data();
  in_.consume(lease_->send({reinterpret_cast<const char*>(data.data()), data.size()}));
  waits_ = !in_.empty();
  return !waits_;
}

void Session::unpin() {
  relay_.stats().sub(Stat::kPinned);
  Lease* lease = std::exchange(lease_, nullptr);
  pin_ = Pin::kNone;
  multi_ = ending_ = holds_up_lease_ = false;
  end_aside();
  head_text_.clear();
  lease->give_back();
}

void Session::lease_lost(const std::string& why, const std::string& refusal, bool in_a_reply) {
  const Pin pin = pin_;
  const bool whole = !streaming_ && !in_a_reply;
  lease_ = nullptr;
  holds_up_lease_ = false;
  end_aside();
  if (state_ != State::kOpen) return;
  if (unpacking_ != nullptr && !unpacking_->ready().empty()) return end("server-lost");  // in the middle of a reply, for the client
  if (ended_in_) return close_when_said("client-closed");
  if (pin == Pin::kWaiting) return gave_up(refusal.empty() ? "cannot reach the server: " + why : refusal);
  if (pin == Pin::kLife || !whole) return close_when_said("server-lost");
  const std::string what = "-ERR relay: " + (why == Lease::kSilent ? why : "connection to the server was lost");
  if (under_way() == 0) say(what + "; the transaction is discarded\r\n");
  relay_.stats().add(Stat::kLostCommands, under_way());
  for (; under_way() > 0; ++head_) say(what + "; the command may have been executed\r\n");
  if (pin == Pin::kTransaction) return close_when_said("server-lost");
  adopting_.reset();
  relay_.stats().sub(Stat::kPinned);
  pin_ = Pin::kNone;
  relay_.touch(*this);
  waits_ = true;
}

// There is no connection for the command at the front. `why` may be an error as the server says it.
void Session::gave_up(const std::string& why) {
  Lease* lease = std::exchange(lease_, nullptr);
  relay_.cancel(*this);
  if (lease != nullptr) lease->end("unused");
  relay_.stats().sub(Stat::kPinned);
  relay_.stats().add(Stat::kErrors);
  spoiled_ = spoiled_ || begun_;
  pin_ = Pin::kNone;
  since_waiting_ = {};
  multi_ = false;
  selecting_.reset();
  if (std::exchange(resending_, false)) {
    end_aside();
    return deliver_error(head_, why);
  }
  say(why.starts_with('-') ? why : "-ERR relay: " + why + "\r\n");
  if (!reader_.done()) return close_when_said("server-lost");  // a big one, of which the rest would follow
  load();
  if (state_ != State::kOpen) return;
  consumed();
  store();
  waits_ = true;
  relay_.touch(*this);
}

void Session::start_over() {
  if (pin_ != Pin::kWaiting) return;
  if (resending_) return gave_up("the server has changed; the command was not executed");
  relay_.cancel(*this);
  if (Lease* lease = std::exchange(lease_, nullptr); lease != nullptr) lease->end("unused");
  relay_.stats().sub(Stat::kPinned);
  pin_ = Pin::kNone;
  multi_ = false;
  selecting_.reset();
  waits_ = true;
  relay_.touch(*this);
}

// ---- what was answered early

// Whether all that was answered early before this command is done, wherever: it goes another way, and must not overtake that.
bool Session::settled() {
  if (!loaded(std::nullopt)) return false;
  if (!relay_.has_early()) return true;
  if (relay_.cluster() != nullptr && relay_.cluster()->has_late()) return false;
  if (!marked_ || moves_epoch_ != relay_.moves_epoch()) take_marks(nullptr);
  std::erase_if(marks_, [this](const Mark& mark) { return relay_.is_past(mark.lane, mark.put); });
  return marks_.empty();
}

// The same, for what may be the same keys over other lanes than `lane`.
bool Session::settled_beside(const Lane& lane) {
  if (!loaded(lane.key().setting.db)) return false;
  if (!relay_.early_beside(lane)) return true;
  if (!marked_ || moves_epoch_ != relay_.moves_epoch()) take_marks(&lane);
  std::erase_if(marks_, [this](const Mark& mark) { return relay_.is_past(mark.lane, mark.put); });
  return marks_.empty();
}

// Whether all that was taken into the spool before this command, for that database or any, is in lanes.
bool Session::loaded(std::optional<uint32_t> db) {
  const Backlog* backlog = relay_.backlog();
  if (backlog == nullptr) return true;
  if (!spool_mark_) spool_mark_ = backlog->mark(db);
  return backlog->is_past(*spool_mark_);
}

// There is no waiting for what a server does not do that is away, or refuses it.
bool Session::wait_for_early() {
  const Lane* away = spool_mark_ && !relay_.backlog()->is_past(*spool_mark_) ? relay_.hopeless_lane() : nullptr;
  for (const Mark& mark : marks_) {
    Lane* lane = relay_.find_lane(mark.lane);
    if (lane != nullptr) lane->hurry();
    if (lane != nullptr && lane->hopeless()) away = lane;
  }
  if (away != nullptr) return refuse_command("-ERR relay: " + away->complaint() + "\r\n");
  return marks_.empty() && relay_.cluster() != nullptr && relay_.cluster()->has_late() ? wait_for_long(kOnTheWay) : wait_for_room();
}

// A script that makes the server refuse what it was answered for would be waited for, else.
bool Session::stops_something() const {
  const std::string name = lower(word(0));
  return (name == "script" || name == "function") && lower(word(1)) == "kill";
}

void Session::take_marks(const Lane* but) {
  marks_.clear();
  marked_ = true;
  moves_epoch_ = relay_.moves_epoch();
  relay_.each_lane([&](const Lane& lane) {
    if (lane.has_early() && (but == nullptr || (&lane != but && lane.key().node == but->key().node && lane.key().setting.db == but->key().setting.db))) marks_.push_back({lane.id(), lane.early_put()});
  });
}

}  // namespace relay::redis

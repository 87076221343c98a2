// SPDX-License-Identifier: Apache-2.0
// Commands: the built-in part, and reading COMMAND's reply. An entry of it is a list; servers have made it longer over the years:
//
//   name  arity  flags  first  last  step │ categories (6) │ tips  key rules  subcommands (7), which are such entries themselves
#include "kinds/redis/commands.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

#include "lib/text.h"
#include "wire/resp.h"

namespace relay::redis {
namespace {

constexpr size_t kLongestName = 64;
constexpr size_t kMostCommands = 8192;

struct BuiltIn {
  std::string_view name;
  Use use = Use::kShared;
  Scope scope = Scope::kOne;
  Join join = Join::kNone;
  uint8_t stride = 0;
};

// Those that block are here too, for a server that does not say so. What has a scope here has it whatever the server says: others it may
// name as belonging to several servers would no longer be done as a whole (MSETNX), or be answered by all where one will do (PING).
// At words of HTTP a server closes the connection, which therefore must be the client's own.
constexpr std::array kBuiltIn = std::to_array<BuiltIn>({
    {"asking", Use::kState}, {"auth", Use::kAuth}, {"blmove", Use::kAlone}, {"blmpop", Use::kAlone}, {"blpop", Use::kAlone}, {"brpop", Use::kAlone},
    {"brpoplpush", Use::kAlone}, {"bzmpop", Use::kAlone}, {"bzpopmax", Use::kAlone}, {"bzpopmin", Use::kAlone}, {"client", Use::kClient},
    {"copy", Use::kAlone}, {"debug", Use::kAlone}, {"discard", Use::kExec}, {"exec", Use::kExec}, {"failover", Use::kAlone}, {"function", Use::kAlone},
    {"hello", Use::kHello}, {"host:", Use::kState}, {"migrate", Use::kAlone}, {"monitor", Use::kState}, {"move", Use::kAlone}, {"multi", Use::kMulti},
    {"post", Use::kState}, {"psubscribe", Use::kState},
    {"psync", Use::kState}, {"punsubscribe", Use::kState}, {"quit", Use::kQuit}, {"readonly", Use::kState}, {"readwrite", Use::kState}, {"replconf", Use::kState},
    {"reset", Use::kReset}, {"save", Use::kAlone}, {"script", Use::kAlone}, {"select", Use::kSelect}, {"shutdown", Use::kAlone}, {"ssubscribe", Use::kState},
    {"subscribe", Use::kState}, {"sunsubscribe", Use::kState}, {"swapdb", Use::kAlone}, {"sync", Use::kState}, {"unsubscribe", Use::kState},
    {"unwatch", Use::kUnwatch}, {"wait", Use::kWait}, {"waitaof", Use::kWait}, {"watch", Use::kWatch}, {"xread", Use::kAlone}, {"xreadgroup", Use::kAlone},
    // In a cluster.
    {"mget", Use::kShared, Scope::kBySlot, Join::kValues, 1}, {"mset", Use::kShared, Scope::kBySlot, Join::kFirst, 2},
    {"del", Use::kShared, Scope::kBySlot, Join::kSum, 1}, {"unlink", Use::kShared, Scope::kBySlot, Join::kSum, 1},
    {"exists", Use::kShared, Scope::kBySlot, Join::kSum, 1}, {"touch", Use::kShared, Scope::kBySlot, Join::kSum, 1},
    {"dbsize", Use::kShared, Scope::kMasters, Join::kSum}, {"keys", Use::kShared, Scope::kMasters, Join::kConcat},
    {"flushall", Use::kAlone, Scope::kMasters, Join::kFirst}, {"flushdb", Use::kShared, Scope::kMasters, Join::kFirst},
    {"scan", Use::kShared, Scope::kScan}, {"ping"}, {"randomkey"}, {"msetnx"},
    {"script|load", Use::kAlone, Scope::kNodes, Join::kFirst}, {"script|flush", Use::kAlone, Scope::kNodes, Join::kFirst},
    {"script|exists", Use::kAlone, Scope::kMasters, Join::kAnd},
});

// Eight bytes at a time, with the bit set that makes letters small: other characters that become alike by that are told apart when names
// are compared. Who makes a name that meets many commands gains nothing: at most half the table is used.
uint64_t hash(std::string_view name, uint64_t from = 0) {
  constexpr uint64_t kSmall = 0x2020202020202020U;
  constexpr uint64_t kOdd = 0x9e3779b97f4a7c15U;
  while (name.size() > 8) {
    uint64_t word = 0;
    std::memcpy(&word, name.data(), 8);
    from = (from ^ (word | kSmall)) * kOdd;
    from ^= from >> 29U;
    name.remove_prefix(8);
  }
  uint64_t word = name.size();
  for (const char c : name) word = word << 8U | static_cast<uint8_t>(c);
  from = (from ^ (word | kSmall)) * kOdd;
  return from ^ (from >> 32U);
}

bool is_list(const std::optional<RespToken>& token) { return token && (token->type == '*' || token->type == '~') && token->number >= 0; }

const BuiltIn* built_in(std::string_view name) {
  const auto* at = std::find_if(kBuiltIn.begin(), kBuiltIn.end(), [&](const BuiltIn& one) { return one.name == name; });
  return at == kBuiltIn.end() ? nullptr : &*at;
}

Command own_command(const BuiltIn& own) {
  Command command;
  command.use = own.use;
  command.scope = own.scope;
  command.join = own.join;
  command.stride = own.stride;
  return command;
}

struct Flags {
  bool blocking = false;
  bool read_only = false;
  bool write = false;
  bool pubsub = false;
  bool no_script = false;
  bool movable = false;
};

bool take_flags(std::string_view& rest, Flags& flags) {
  const auto head = take_token(rest);
  if (!is_list(head)) return false;
  for (int64_t i = 0; i < head->number; ++i) {
    const auto flag = take_token(rest);
    if (!flag) return false;
    flags.blocking = flags.blocking || flag->text == "blocking";
    flags.read_only = flags.read_only || flag->text == "readonly";
    flags.write = flags.write || flag->text == "write";
    flags.pubsub = flags.pubsub || flag->text == "pubsub";
    flags.no_script = flags.no_script || flag->text == "noscript";
    flags.movable = flags.movable || flag->text == "movablekeys";
  }
  return true;
}

// Anything else is stepped over.
bool take_integer(std::string_view& rest, int64_t& value) {
  std::string_view here = rest;
  const auto token = take_token(here);
  if (token && token->type == ':') value = token->number;
  return skip_value(rest);
}

// How the replies of all servers become one; nothing: the server says that there is no general way.
std::optional<Join> join_of(std::string_view policy) {
  struct Row {
    std::string_view name;
    Join join;
  };
  for (const Row& row : {Row{"all_succeeded", Join::kFirst}, Row{"one_succeeded", Join::kAny}, Row{"agg_sum", Join::kSum}, Row{"agg_min", Join::kMin},
                         Row{"agg_max", Join::kMax}, Row{"agg_logical_and", Join::kAnd}, Row{"agg_logical_or", Join::kOr}, Row{"", Join::kConcat}})
    if (row.name == policy) return row.join;
  return std::nullopt;
}

struct Tips {
  std::string_view request;
  std::string_view response;
};

bool take_tips(std::string_view& rest, Tips& tips) {
  constexpr std::string_view kRequest = "request_policy:";
  constexpr std::string_view kResponse = "response_policy:";
  const auto head = take_token(rest);
  if (!is_list(head)) return false;
  for (int64_t i = 0; i < head->number; ++i) {
    const auto tip = take_token(rest);
    if (!tip) return false;
    if (tip->text.starts_with(kRequest)) tips.request = tip->text.substr(kRequest.size());
    if (tip->text.starts_with(kResponse)) tips.response = tip->text.substr(kResponse.size());
  }
  return true;
}

}  // namespace

// What an entry says.
struct Commands::Seen {
  Flags flags;
  Tips tips;
  KeyEntry keys;
  bool container = false;
};

Commands::Commands() {
  add_built_in();
  index();
}

const Commands::Entry* Commands::look(std::string_view name, std::string_view argument) const {
  if (name.size() > kLongestName || argument.size() > kLongestName) return nullptr;
  const bool sub = !argument.empty();
  for (uint64_t at = sub ? hash(argument, hash(name)) : hash(name);; ++at) {
    const uint16_t found = table_[at & (table_.size() - 1)];
    if (found == kNone) return nullptr;
    const Entry& entry = entries_[found];
    if (entry.container != (sub ? name.size() : 0)) continue;
    const std::string_view text = std::string_view(names_).substr(entry.name, entry.size);
    if (!sub && same_word(name, text)) return &entry;
    if (sub && same_word(name, text.substr(0, name.size())) && same_word(argument, text.substr(name.size() + 1))) return &entry;
  }
}

Command Commands::told(const Entry* entry) const {
  if (entry == nullptr) return {};
  Command command = entry->command;
  if (entry->keys != kNone) command.keys = &specs_[entry->keys];
  return command;
}

Command Commands::find(std::string_view name) const { return told(look(name, {})); }

Command Commands::find(std::string_view name, std::string_view argument) const {
  const Entry* entry = look(name, {});
  if (entry == nullptr || !entry->command.container || argument.empty()) return told(entry);
  const Entry* sub = look(name, argument);
  return told(sub != nullptr ? sub : entry);
}

// REQUIRES: `name` is in lower case, of at most 2 * kLongestName + 1. Valid until the next one.
Commands::Entry* Commands::add(std::string_view name) {
  const size_t bar = name.find('|');
  Entry entry;
  entry.name = static_cast<uint32_t>(names_.size());
  entry.size = static_cast<uint8_t>(name.size());
  entry.container = static_cast<uint8_t>(bar == std::string_view::npos ? 0 : bar);
  names_ += name;
  entries_.push_back(entry);
  return &entries_.back();
}

void Commands::add_built_in() {
  for (const BuiltIn& own : kBuiltIn) add(own.name)->command = own_command(own);
  for (Entry& entry : entries_)
    if (std::string_view(names_).substr(entry.name, entry.size) == "script") entry.command.container = true;
}

void Commands::note(const Seen& seen, std::string_view container) {
  Entry* entry = add(seen.keys.name);
  const BuiltIn* own = built_in(seen.keys.name);
  const BuiltIn* above = own != nullptr || container.empty() ? nullptr : built_in(container);
  Command& command = entry->command;
  if (own != nullptr) command = own_command(*own);
  else if (above != nullptr) command.use = above->use;
  else if (seen.flags.pubsub && seen.flags.no_script) command.use = Use::kState;
  else if (seen.flags.blocking) command.use = Use::kAlone;
  command.repeatable = command.read_only = seen.flags.read_only;
  command.write = seen.flags.write;
  command.container = seen.container || (own != nullptr && own->name == "script");
  const bool all = seen.tips.request == "all_shards" || seen.tips.request == "all_nodes";
  const auto join = join_of(seen.tips.response);
  if (own == nullptr && all && join) {
    command.scope = seen.tips.request == "all_nodes" ? Scope::kNodes : Scope::kMasters;
    command.join = *join;
  }
  entry->keys = static_cast<uint16_t>(specs_.size());
  specs_.push_back(key_spec(seen.keys));
}

bool Commands::take_entry(std::string_view& rest, std::string_view container) {
  const auto head = take_token(rest);
  if (!is_list(head) || head->number < 3) return false;
  const auto name_token = take_token(rest);
  if (!name_token || (name_token->type != '$' && name_token->type != '+') || !skip_value(rest)) return false;  // and its arity
  const std::string name = lower(name_token->text.substr(0, kLongestName * 2 + 1));
  Seen seen;
  seen.keys.name = name;
  if (!take_flags(rest, seen.flags)) return false;
  seen.keys.movable = seen.flags.movable;
  std::string_view subcommands;
  for (int64_t i = 3; i < head->number; ++i) {
    const std::string_view here = rest;
    bool good = false;
    if (i == 3) good = take_integer(rest, seen.keys.first);
    else if (i == 4) good = take_integer(rest, seen.keys.last);
    else if (i == 5) good = take_integer(rest, seen.keys.step);
    else if (i == 7) good = take_tips(rest, seen.tips);
    else if (i == 8) good = take_key_rules(rest, seen.keys);
    else good = skip_value(rest);
    if (!good) return false;
    if (i == 9) subcommands = here.substr(0, here.size() - rest.size());
  }
  const RespToken inner = take_token(subcommands).value_or(RespToken{});
  seen.container = (inner.type == '*' || inner.type == '~') && inner.number > 0;
  const size_t bar = name.find('|');
  const bool fits = container.empty() ? bar == std::string::npos && !name.empty() && name.size() <= kLongestName
                                      : bar == container.size() && name.starts_with(container) && name.size() > bar + 1 && name.size() <= kLongestName * 2;
  if (!fits) return true;  // nobody can call it by that name
  if (entries_.size() >= kMostCommands) return false;
  note(seen, container);
  if (!seen.container || !container.empty()) return true;
  for (int64_t i = 0; i < inner.number; ++i)
    if (!take_entry(subcommands, name)) return false;
  return true;
}

bool Commands::learn(std::string_view reply) {
  Commands found;
  found.names_.clear();
  found.entries_.clear();
  if (!skip_attributes(reply)) return false;
  const auto head = take_token(reply);
  if (!is_list(head) || head->number == 0) return false;
  for (int64_t i = 0; i < head->number; ++i)
    if (!found.take_entry(reply, {})) return false;
  found.add_built_in();  // behind those of the server: only where it has none are they found
  found.index();
  found.learned_ = true;
  *this = std::move(found);
  return true;
}

void Commands::index() {
  table_.assign(std::bit_ceil(2 * entries_.size()), kNone);
  for (size_t i = 0; i < entries_.size(); ++i) {
    const std::string_view name = std::string_view(names_).substr(entries_[i].name, entries_[i].size);
    const size_t bar = entries_[i].container;
    uint64_t at = bar == 0 ? hash(name) : hash(name.substr(bar + 1), hash(name.substr(0, bar)));
    while (table_[at & (table_.size() - 1)] != kNone) ++at;
    table_[at & (table_.size() - 1)] = static_cast<uint16_t>(i);
  }
}

}  // namespace relay::redis

// SPDX-License-Identifier: Apache-2.0
// Commands: the built-in part, and reading COMMAND's reply, of which only each command's name and flags are looked at.
#include "kinds/redis/commands.h"

#include <algorithm>
#include <array>

#include "wire/resp.h"

namespace relay::redis {
namespace {

struct BuiltIn {
  std::string_view name;
  Use use;
};

// Sorted by name. Those that block are here too, for a server that does not say so.
constexpr std::array kBuiltIn = std::to_array<BuiltIn>({
    {"asking", Use::kState}, {"auth", Use::kAuth}, {"blmove", Use::kAlone}, {"blmpop", Use::kAlone}, {"blpop", Use::kAlone}, {"brpop", Use::kAlone},
    {"brpoplpush", Use::kAlone}, {"bzmpop", Use::kAlone}, {"bzpopmax", Use::kAlone}, {"bzpopmin", Use::kAlone}, {"client", Use::kClient},
    {"copy", Use::kAlone}, {"debug", Use::kAlone}, {"discard", Use::kExec}, {"exec", Use::kExec}, {"failover", Use::kAlone}, {"flushall", Use::kAlone}, {"function", Use::kAlone}, {"hello", Use::kHello},
    {"migrate", Use::kAlone}, {"monitor", Use::kState}, {"move", Use::kAlone}, {"multi", Use::kMulti}, {"psubscribe", Use::kState}, {"psync", Use::kState},
    {"punsubscribe", Use::kState}, {"quit", Use::kQuit}, {"readonly", Use::kState}, {"readwrite", Use::kState}, {"replconf", Use::kState},
    {"reset", Use::kReset}, {"save", Use::kAlone}, {"script", Use::kAlone}, {"select", Use::kSelect}, {"shutdown", Use::kAlone}, {"ssubscribe", Use::kState},
    {"subscribe", Use::kState}, {"sunsubscribe", Use::kState}, {"swapdb", Use::kAlone}, {"sync", Use::kState}, {"unsubscribe", Use::kState}, {"unwatch", Use::kUnwatch},
    {"wait", Use::kWait}, {"waitaof", Use::kWait}, {"watch", Use::kWatch}, {"xread", Use::kAlone}, {"xreadgroup", Use::kAlone},
});
static_assert(std::is_sorted(kBuiltIn.begin(), kBuiltIn.end(), [](const BuiltIn& a, const BuiltIn& b) { return a.name < b.name; }));
constexpr size_t kLongestName = 64;

std::string lower(std::string_view name) {
  std::string out(name);
  for (char& c : out)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return out;
}

const BuiltIn* built_in(std::string_view name) {
  const auto at = std::lower_bound(kBuiltIn.begin(), kBuiltIn.end(), name, [](const BuiltIn& one, std::string_view text) { return one.name < text; });
  return at != kBuiltIn.end() && at->name == name ? &*at : nullptr;
}

bool is_aggregate(char type) { return type == '*' || type == '~' || type == '%'; }

// Takes one value, with all that is in it. False: the reply ends in it.
bool skip(std::string_view& rest) {
  for (uint64_t left = 1; left > 0; --left) {
    const auto token = take_token(rest);
    if (!token) return false;
    if (is_aggregate(token->type) && token->number > 0) left += static_cast<uint64_t>(token->number) * (token->type == '%' ? 2 : 1);
  }
  return true;
}

struct Flags {
  bool blocking = false;
  bool read_only = false;
  bool pubsub = false;
  bool no_script = false;
};

bool take_flags(std::string_view& rest, Flags& flags) {
  const auto head = take_token(rest);
  if (!head || !is_aggregate(head->type)) return false;
  for (int64_t i = 0; i < head->number; ++i) {
    const auto flag = take_token(rest);
    if (!flag) return false;
    flags.blocking = flags.blocking || flag->text == "blocking";
    flags.read_only = flags.read_only || flag->text == "readonly";
    flags.pubsub = flags.pubsub || flag->text == "pubsub";
    flags.no_script = flags.no_script || flag->text == "noscript";
  }
  return true;
}

}  // namespace

Command Commands::find(std::string_view name) const {
  if (name.size() > kLongestName) return {};
  const std::string key = lower(name);
  if (const auto at = known_.find(key); at != known_.end()) return at->second;
  if (const BuiltIn* found = built_in(key); found != nullptr) return {found->use, false};
  return {};
}

bool Commands::learn(std::string_view reply) {
  std::map<std::string, Command, std::less<>> found;
  const auto head = take_token(reply);
  if (!head || head->type != '*' || head->number <= 0) return false;
  for (int64_t i = 0; i < head->number; ++i) {
    const auto entry = take_token(reply);
    if (!entry || entry->type != '*' || entry->number < 3) return false;
    const auto name = take_token(reply);
    if (!name || !skip(reply)) return false;  // its arity
    Flags flags;
    if (!take_flags(reply, flags)) return false;
    for (int64_t rest = 3; rest < entry->number; ++rest)
      if (!skip(reply)) return false;
    Command command{Use::kShared, flags.read_only};
    const std::string key = lower(name->text);
    if (const BuiltIn* own = built_in(key); own != nullptr) command.use = own->use;
    else if (flags.pubsub && flags.no_script) command.use = Use::kState;
    else if (flags.blocking) command.use = Use::kAlone;
    found.emplace(key, command);
  }
  known_ = std::move(found);
  return true;
}

}  // namespace relay::redis

// SPDX-License-Identifier: Apache-2.0
// KeySpec: reading the server's rules, the built-in ones, and following them. All numbers are the server's or a client's, so what is
// computed with them is 64 bits wide and compared with the number of arguments before it is believed.
#include "kinds/redis/key_spec.h"

#include <algorithm>
#include <array>

#include "lib/text.h"
#include "wire/resp.h"

namespace relay::redis {
namespace {

constexpr int64_t kMostIndex = 1'000'000;  // no rule means more
constexpr size_t kMostRules = 32;
constexpr int64_t kMostFields = 64;

// ---- what is built in

KeyRule range(int32_t from, int32_t last = 0, int32_t step = 1) {
  return {.from = from, .keyword = {}, .last = last, .step = step};
}
KeyRule keynum(int32_t from) { return {.find = KeyRule::Find::kKeynum, .from = from, .keyword = {}}; }
KeyRule keyword(std::string_view word, int32_t from, int32_t last, int32_t limit = 0) {
  return {.begin = KeyRule::Begin::kKeyword, .from = from, .keyword = std::string(word), .last = last, .limit = limit};
}

enum class Form : uint8_t { kOneNumber, kTwoNumber, kStoreNumber, kStreams, kGroupStreams, kOne, kUsage, kLcs, kRadius, kMemberRadius, kSort, kMigrate };
struct BuiltIn {
  std::string_view name;
  Form form;
};

// Those with keys in places that first, last and step cannot tell. Sorted by name.
constexpr std::array kBuiltIn = std::to_array<BuiltIn>({
    {"blmpop", Form::kTwoNumber}, {"bzmpop", Form::kTwoNumber}, {"eval", Form::kTwoNumber}, {"eval_ro", Form::kTwoNumber}, {"evalsha", Form::kTwoNumber},
    {"evalsha_ro", Form::kTwoNumber}, {"fcall", Form::kTwoNumber}, {"fcall_ro", Form::kTwoNumber}, {"georadius", Form::kRadius},
    {"georadiusbymember", Form::kMemberRadius}, {"lmpop", Form::kOneNumber}, {"memory", Form::kUsage}, {"migrate", Form::kMigrate},
    {"sintercard", Form::kOneNumber}, {"sort", Form::kSort}, {"sort_ro", Form::kOne}, {"stralgo", Form::kLcs}, {"xread", Form::kStreams},
    {"xreadgroup", Form::kGroupStreams}, {"zdiff", Form::kOneNumber}, {"zdiffstore", Form::kStoreNumber}, {"zinter", Form::kOneNumber},
    {"zintercard", Form::kOneNumber}, {"zinterstore", Form::kStoreNumber}, {"zmpop", Form::kOneNumber}, {"zunion", Form::kOneNumber},
    {"zunionstore", Form::kStoreNumber},
});
static_assert(std::is_sorted(kBuiltIn.begin(), kBuiltIn.end(), [](const BuiltIn& a, const BuiltIn& b) { return a.name < b.name; }));

KeySpec spec_of(Form form) {
  using Way = KeySpec::Way;
  switch (form) {
    case Form::kOneNumber: return {Way::kRules, {keynum(1)}};
    case Form::kTwoNumber: return {Way::kRules, {keynum(2)}};
    case Form::kStoreNumber: return {Way::kRules, {range(1), keynum(2)}};
    case Form::kStreams: return {Way::kRules, {keyword("streams", 1, -1, 2)}};
    case Form::kGroupStreams: return {Way::kRules, {keyword("streams", 4, -1, 2)}};
    case Form::kOne: return {Way::kRules, {range(1)}};
    case Form::kUsage: return {Way::kRules, {keyword("usage", 1, 0)}};
    case Form::kLcs: return {Way::kRules, {keyword("keys", 2, 1)}};
    case Form::kSort: return {Way::kSort, {}};
    case Form::kMigrate: return {Way::kMigrate, {}};
    case Form::kRadius: return {Way::kRules, {range(1), keyword("store", 6, 0), keyword("storedist", 6, 0)}};
    case Form::kMemberRadius: return {Way::kRules, {range(1), keyword("store", 5, 0), keyword("storedist", 5, 0)}};
  }
  return {Way::kUnknown, {}};
}

const BuiltIn* built_in(std::string_view name) {
  const auto* at = std::lower_bound(kBuiltIn.begin(), kBuiltIn.end(), name, [](const BuiltIn& one, std::string_view text) { return one.name < text; });
  return at != kBuiltIn.end() && at->name == name ? &*at : nullptr;
}

// ---- reading rules

// A field of a rule's inner part.
struct Field {
  std::string_view name;
  std::string_view text;
  int64_t number = 0;
};

// How many fields follow: a map, or a list of names and values.
std::optional<int64_t> take_fields(std::string_view& rest) {
  const auto head = take_token(rest);
  if (!head || head->number < 0 || head->number > 2 * kMostFields) return std::nullopt;
  if (head->type == '%') return head->number;
  if (head->type != '*' || head->number % 2 != 0) return std::nullopt;
  return head->number / 2;
}

bool take_name(std::string_view& rest, std::string_view& name) {
  const auto token = take_token(rest);
  if (!token || (token->type != '$' && token->type != '+')) return false;
  name = token->text;
  return true;
}

bool take_inner(std::string_view& rest, std::vector<Field>& fields) {
  const auto count = take_fields(rest);
  if (!count) return false;
  for (int64_t n = 0; n < *count; ++n) {
    Field field;
    if (!take_name(rest, field.name)) return false;
    std::string_view value = rest;
    const auto token = take_token(value);
    if (!token || !skip_value(rest)) return false;
    field.text = token->type == '$' || token->type == '+' ? token->text : std::string_view();
    field.number = token->type == ':' ? token->number : 0;
    fields.push_back(field);
  }
  return true;
}

// Takes {type: T, spec: {fields}}.
bool take_part(std::string_view& rest, std::string_view& type, std::vector<Field>& fields) {
  const auto outer = take_fields(rest);
  if (!outer) return false;
  for (int64_t i = 0; i < *outer; ++i) {
    std::string_view name;
    if (!take_name(rest, name)) return false;
    const bool good = name == "type" ? take_name(rest, type) : name == "spec" ? take_inner(rest, fields) : skip_value(rest);
    if (!good) return false;
  }
  return true;
}

// A number of a rule; out of all bounds: not understood.
int32_t number(const std::vector<Field>& fields, std::string_view name, int64_t least, bool& understood) {
  for (const Field& field : fields) {
    if (field.name != name) continue;
    if (field.number < least || field.number > kMostIndex) understood = false;
    else return static_cast<int32_t>(field.number);
  }
  return static_cast<int32_t>(std::max<int64_t>(least, 0));
}

bool set_begin(std::string_view type, const std::vector<Field>& fields, KeyRule& rule) {
  bool understood = true;
  if (type == "index") {
    rule.begin = KeyRule::Begin::kIndex;
    rule.from = number(fields, "index", 1, understood);
    return understood;
  }
  if (type != "keyword") return false;
  rule.begin = KeyRule::Begin::kKeyword;
  rule.from = number(fields, "startfrom", -kMostIndex, understood);
  for (const Field& field : fields)
    if (field.name == "keyword") rule.keyword = lower(field.text.substr(0, 64));
  return understood && !rule.keyword.empty() && rule.from != 0;
}

bool set_find(std::string_view type, const std::vector<Field>& fields, KeyRule& rule) {
  bool understood = true;
  rule.step = number(fields, "keystep", 1, understood);
  if (type == "range") {
    rule.find = KeyRule::Find::kRange;
    rule.last = number(fields, "lastkey", -kMostIndex, understood);
    rule.limit = number(fields, "limit", 0, understood);
    return understood;
  }
  if (type != "keynum") return false;
  rule.find = KeyRule::Find::kKeynum;
  rule.keynum = number(fields, "keynumidx", 0, understood);
  rule.first = number(fields, "firstkey", 0, understood);
  return understood;
}

bool take_rule(std::string_view& rest, KeyEntry& entry) {
  const auto fields = take_fields(rest);
  if (!fields) return false;
  KeyRule rule;
  bool begins = false;
  bool finds = false;
  for (int64_t i = 0; i < *fields; ++i) {
    std::string_view name;
    if (!take_name(rest, name)) return false;
    if (name != "begin_search" && name != "find_keys") {
      if (!skip_value(rest)) return false;
      continue;
    }
    std::string_view type;
    std::vector<Field> inner;
    if (!take_part(rest, type, inner)) return false;
    if (name == "begin_search") begins = set_begin(type, inner, rule);
    else finds = set_find(type, inner, rule);
  }
  if (begins && finds && entry.rules.size() < kMostRules) entry.rules.push_back(std::move(rule));
  else entry.rules_understood = false;
  return true;
}

// ---- following them

using Args = std::span<const std::string_view>;

// Where a rule begins; 0: its keyword is not there.
int64_t begin_of(const KeyRule& rule, Args args) {
  if (rule.begin == KeyRule::Begin::kIndex) return rule.from;
  const auto argc = static_cast<int64_t>(args.size());
  const bool back = rule.from < 0;
  for (int64_t i = back ? argc + rule.from : rule.from; i > 0 && i < argc - (back ? 0 : 1); i += back ? -1 : 1)
    if (same_word(args[static_cast<size_t>(i)], rule.keyword)) return i + 1;
  return 0;
}

// As the server reads it: no sign, no zeros in front.
std::optional<int64_t> count_of(std::string_view text) {
  const auto value = parse_integer(text);
  if (!value || *value > INT32_MAX || (text.size() > 1 && text.front() == '0')) return std::nullopt;
  return static_cast<int64_t>(*value);
}

// Not "keys": those of the rule, behind those that are there.
bool follow(const KeyRule& rule, Args args, std::vector<uint32_t>& indexes) {
  const auto argc = static_cast<int64_t>(args.size());
  int64_t first = begin_of(rule, args);
  if (first == 0) return true;
  int64_t last = first + rule.last;
  if (rule.find == KeyRule::Find::kKeynum) {
    if (first + rule.keynum >= argc) return false;
    const auto count = count_of(args[static_cast<size_t>(first + rule.keynum)]);
    if (!count) return false;
    if (*count == 0) return true;
    first += rule.first;
    last = first + (*count - 1) * rule.step;
  } else if (rule.last < 0) {
    last = rule.limit <= 1 ? argc + rule.last : first + (argc - first) / rule.limit + rule.last;
  }
  if (first >= argc || last >= argc || last < first) return false;
  for (int64_t i = first; i <= last; i += rule.step) indexes.push_back(static_cast<uint32_t>(i));
  return true;
}

// SORT key …: a pattern may be called "store", and of several STOREs the last one counts, be it the name of a key.
bool sort_keys(Args args, std::vector<uint32_t>& indexes) {
  if (args.size() < 2) return false;
  size_t store = 0;
  for (size_t i = 2; i < args.size(); ++i) {
    if (same_word(args[i], "limit")) i += 2;
    else if (same_word(args[i], "get") || same_word(args[i], "by")) i += 1;
    else if (same_word(args[i], "store") && i + 1 < args.size()) store = i + 1;
  }
  indexes.push_back(1);
  if (store != 0) indexes.push_back(static_cast<uint32_t>(store));
  return true;
}

bool keys_behind(size_t word, Args args, std::vector<uint32_t>& indexes) {
  if (!args[3].empty()) return false;
  for (size_t key = word + 1; key < args.size(); ++key) indexes.push_back(static_cast<uint32_t>(key));
  return true;
}

// MIGRATE host port key|"" db timeout [COPY] [REPLACE] [AUTH password | AUTH2 user password] [KEYS key …]
bool migrate_keys(Args args, std::vector<uint32_t>& indexes) {
  if (args.size() < 6) return false;
  for (size_t i = 6; i < args.size(); ++i) {
    if (same_word(args[i], "auth")) i += 1;
    else if (same_word(args[i], "auth2")) i += 2;
    else if (same_word(args[i], "keys")) return keys_behind(i, args, indexes);
  }
  indexes.push_back(3);
  return true;
}

bool find(const KeySpec& spec, Args args, std::vector<uint32_t>& indexes) {
  switch (spec.way) {
    case KeySpec::Way::kRules: return std::all_of(spec.rules.begin(), spec.rules.end(), [&](const KeyRule& rule) { return follow(rule, args, indexes); });
    case KeySpec::Way::kSort: return sort_keys(args, indexes);
    case KeySpec::Way::kMigrate: return migrate_keys(args, indexes);
    case KeySpec::Way::kUnknown: return false;
  }
  return false;
}

}  // namespace

bool take_key_rules(std::string_view& rest, KeyEntry& entry) {
  const auto head = take_token(rest);
  if (!head || (head->type != '*' && head->type != '~')) return false;
  for (int64_t i = 0; i < head->number; ++i)
    if (!take_rule(rest, entry)) return false;
  return true;
}

KeySpec key_spec(const KeyEntry& entry) {
  const BuiltIn* own = built_in(entry.name);
  // For a few the server's rules are less than what it goes by itself. Of a module's command that moves its keys and has rules that do not, the same is true.
  if (own != nullptr) {
    KeySpec spec = spec_of(own->form);
    if (spec.way != KeySpec::Way::kRules || !entry.rules_understood || (entry.movable && entry.rules.empty())) return spec;
  }
  const bool moves = std::any_of(entry.rules.begin(), entry.rules.end(), [](const KeyRule& rule) {
    return rule.begin == KeyRule::Begin::kKeyword || rule.find == KeyRule::Find::kKeynum;
  });
  if (!entry.rules_understood || (entry.movable && !moves)) return {KeySpec::Way::kUnknown, {}};
  if (!entry.rules.empty()) return {KeySpec::Way::kRules, entry.rules};
  const auto within = [](int64_t value, int64_t least) { return value >= least && value <= kMostIndex; };
  if (!within(entry.first, 1) || !within(entry.step, 1) || !within(entry.last, -kMostIndex)) return {};
  const auto first = static_cast<int32_t>(entry.first);
  const auto last = static_cast<int32_t>(entry.last);
  return {KeySpec::Way::kRules, {range(first, last < 0 ? last : last - first, static_cast<int32_t>(entry.step))}};
}

bool find_keys(const KeySpec& spec, std::span<const std::string_view> args, std::vector<uint32_t>& indexes) {
  indexes.clear();
  if (find(spec, args, indexes)) return true;
  indexes.clear();
  return false;
}

}  // namespace relay::redis

// SPDX-License-Identifier: Apache-2.0
// Commands that concern several servers of a cluster: cut into one for each slot or each server, and their replies joined into the one
// that a single server would give. No I/O.
//
//   MGET a b c ─► Split ─► MGET a c   (slot 15495) ─► *2 …  ─┐
//                          MGET b     (slot 3300)  ─► *1 …  ─┴─► join_values ─► *3 …
//   DBSIZE ──────────────► to each master                   ───► join        ─► :12
//   SCAN n ──────────────► to the master that n names       ───► join_scan   ─► n'
//
// A part is done as a whole, the parts together are not: others may see an MSET half done. A server takes keys of one slot only, even if
// it has several of them, so there are as many parts as there are slots.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "kinds/redis/commands.h"

namespace relay::redis {

// What a server says to keys in several slots.
inline constexpr std::string_view kCrossSlot = "-CROSSSLOT Keys in request don't hash to the same slot\r\n";

// Whether keys, of which find_keys() has the indexes, lie together.
struct Placed {
  enum class Where : uint8_t { kNowhere, kTogether, kApart };
  Where where = Where::kNowhere;
  uint16_t slot = 0;  // of the first
};
Placed place(std::span<const std::string_view> args, std::span<const uint32_t> indexes);

class Split {
 public:
  struct Part {
    uint16_t slot;
    uint32_t first;  // of its keys, in keys()
    uint32_t count;
    size_t at;       // of its command, in what command() cuts it from
    size_t size;
  };

  // `args` belong to a command of Scope::kBySlot with that stride. If it has the wrong number of arguments there are no parts: see wrong_number().
  // `by_key`: one part a key, for the time in which a slot moves: its server then does only what concerns one key (TRYAGAIN).
  Split(std::span<const std::string_view> args, uint8_t stride, bool by_key = false);

  const std::vector<Part>& parts() const { return parts_; }
  std::string_view command(const Part& part) const { return std::string_view(text_).substr(part.at, part.size); }
  // 0 is the command's first key. They come in the order of the command.
  std::span<const uint32_t> keys(const Part& part) const { return std::span(keys_).subspan(part.first, part.count); }
  size_t size() const { return keys_.size(); }

 private:
  std::vector<Part> parts_;
  std::vector<uint32_t> keys_;
  std::string text_;
};

// The one reply. Each of `replies` is a whole one, in RESP2 or RESP3. An error among them is it; replies that are not what the command gives are an error, too.
// REQUIRES: how is neither kNone nor kValues.
std::string join(Join how, std::span<const std::string> replies);
// Of MGET: replies[i] is that to split.parts()[i].
std::string join_values(const Split& split, std::span<const std::string> replies);

// What a server says to a command without parts. (One of a cluster would look at its keys first, and say CROSSSLOT.)
std::string wrong_number(std::string_view name);

// Where a SCAN is: a server's own cursor, and that server, by a slot that it has, so that it is found again in another map.
struct Cursor {
  uint64_t own = 0;
  uint16_t slot = 0;

  static Cursor of(uint64_t joined);
  // Of SCAN's argument. Nothing: it is no number; a server should say so.
  static std::optional<Cursor> read(std::string_view text);
  // Nothing: the server's own leaves no room for the slot. Those of Redis do: they have as many bits as its table has, at most.
  std::optional<uint64_t> joined() const;
};
// The command for the server where the cursor is.
std::string scan_command(std::span<const std::string_view> args, const Cursor& cursor);
// The reply of that server, with a cursor that leads on: there, or to `next`, a slot of the next server; without one, to the end.
std::string join_scan(std::string_view reply, uint16_t slot, std::optional<uint16_t> next);

// A command that several servers do, and what there is of their replies.
struct Joint {
  Join how = Join::kNone;
  bool scan = false;
  uint16_t slot = 0;                       // scan: where
  std::optional<uint16_t> next;            // and where then
  std::unique_ptr<Split> split;            // MGET and its like
  std::vector<std::string> replies;
  size_t left = 0;
};

}  // namespace relay::redis

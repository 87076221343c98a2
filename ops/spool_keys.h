// SPDX-License-Identifier: Apache-2.0
// The keys of a spool, the same for every kind that has one: the rows for its table, and what they say.
#pragma once

#include <array>
#include <optional>
#include <string>

#include "ops/config.h"
#include "ops/spool.h"

namespace relay {

inline constexpr std::array kSpoolKeys = {
    Key{.name = "spool", .type = KeyType::kText, .metavar = "DIR", .fallback = "",
        .help = "a folder in which files hold what was acknowledged until the server has it, also over a restart (default: memory alone)",
        .restart = true},
    Key{.name = "spool-size", .type = KeyType::kSize, .metavar = "SIZE", .fallback = "1GiB",
        .help = "with --spool: the most that the files may hold; when they are full, clients wait",
        .min = int64_t{Spool::kLeastBound}, .max = int64_t{1} << 50},
    Key{.name = "fsync", .type = KeyType::kChoice, .metavar = "WHEN", .fallback = "everysec",
        .help = "with --spool: when the disk is waited for, so that it holds also if the machine fails: always, before anything is acknowledged",
        .choices = "always|everysec|no"},
};

// Of any section, with these rows or without.
bool has_spool(const Section& section);
// REQUIRES: `section` has the rows above, and no faults. `name`: the relay's.
std::optional<Spool::Plan> read_spool(const Section& section, const std::string& name);

}  // namespace relay

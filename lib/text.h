// SPDX-License-Identifier: Apache-2.0
// Human text: numbers with units in, numbers with units out, and "did you mean".
//
//   durations   500ms, 5s, 2m, 1h; a bare 0. No fractions, no bare numbers but 0.
//   sizes       64KiB, 1MiB, 2GiB, or bytes as a bare number.
//   quote       a stranger's text, made safe to show on a terminal.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace relay {

inline std::string_view text_of(std::span<const std::byte> bytes) { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }
inline std::span<const std::byte> bytes_of(std::string_view text) { return std::as_bytes(std::span(text)); }

// The whole of `text` or nothing: no sign, no white space, no overflow. A duration ends at 100 years, so that in nanoseconds,
// added to any clock, it still fits an int64_t.
std::optional<uint64_t> parse_integer(std::string_view text);
std::optional<std::chrono::milliseconds> parse_duration(std::string_view text);
std::optional<uint64_t> parse_size(std::string_view text);
std::optional<bool> parse_bool(std::string_view text);  // true, false, yes, no, on, off

inline constexpr std::chrono::milliseconds kLongestDuration = std::chrono::hours(24 * 365 * 100);

// "a, b,c" is a, b and c. An empty item stays, to be refused as such.
std::vector<std::string_view> split(std::string_view list, char separator);

// The shortest exact form that the parsers above read back: "1m", "1500ms", "6400KiB", "100".
std::string format_duration(std::chrono::milliseconds value);
std::string format_size(uint64_t bytes);

// Whether all of it is well-formed UTF-8 (RFC 3629).
bool is_utf8(std::string_view text);
// The bytes of the first character of `text` if it is well-formed UTF-8 (RFC 3629) and neither a control nor one of those that
// turn lines or the direction of writing; else 0. REQUIRES: not empty.
size_t harmless(std::string_view text);
// `text` with what a terminal or a log line could take for more than text written as \xNN: control bytes, bytes that are not
// UTF-8, and the characters that turn lines or the direction of writing.
std::string printable(std::string_view text);
// The same in double quotes, cut off with "..." where it is longer than a fault has room for.
std::string quote(std::string_view text);

// `url` without what may be a password: "redis://user:***@host" for "redis://user:secret@host", "***@host" where it cannot be told from
// a user. Several URLs may stand there, with spaces or commas between them. One in doubt hides more, not less.
std::string hide_password(std::string_view url);

// The byte that the first two characters of `text` are in hexadecimal digits; -1: they are none, or missing.
int hex_byte(std::string_view text);

// Base64 (RFC 4648, section 4), with its padding or without; nothing: it is none.
std::optional<std::string> decode_base64(std::string_view text);

// ASCII's capitals as small letters, as names of commands and hosts are compared; and whether two are the same but for that.
std::string lower(std::string_view text);
bool same_word(std::string_view a, std::string_view b);

// The candidate nearest to `word` (Damerau-Levenshtein, upper and lower case alike), or an empty view if none is near enough to be
// what was meant.
std::string_view nearest(std::string_view word, std::span<const std::string_view> candidates);

}  // namespace relay

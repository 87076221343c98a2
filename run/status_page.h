// SPDX-License-Identifier: Apache-2.0
// What `relay status` shows of one process: a line about it, a table of its relays, one of the connections of each.
//
//   relay 0.1.0  pid 4711  running  up 3h12m  1 relay  relay.toml  unix:/run/relay/admin.sock
//     NAME   LISTENING     TARGET         CLIENTS  GATEWAYS  WAITING  PAIRS  QUEUED    RATE
//     func1  0.0.0.0:9000  10.0.0.5:9999        1         0        1      0  1.2KiB    0B/s
//            2s ago: 10.0.0.5:9999: Connection refused
//
// Where the window is narrow the texts are shortened, then left out, and the numbers stay. What a stranger may have chosen is
// made harmless for a terminal.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "relay.h"
#include "wire/json_read.h"

namespace relay {

// How many columns of a terminal the text takes; and as much of it as fits into `most`, "~" at its end where it was cut.
// REQUIRES, of both: the text is printable().
size_t columns_of(std::string_view text);
std::string cut_to(std::string_view text, size_t most);

class Table {
 public:
  enum class Column : uint8_t {
    kText,    // on the left; may be shortened
    kNumber,  // on the right
  };
  struct Title {
    std::string text;
    Column column;
  };

  explicit Table(std::vector<Title> titles) : titles_(std::move(titles)) {}
  // As many cells as titles. `note`: a line of its own below, if there is one.
  void row(std::vector<std::string> cells, std::string note = {});
  // Appends the lines, the titles first. `width`: of the window, SIZE_MAX for none.
  void put(std::string& out, size_t width) const;

 private:
  struct Row {
    std::vector<std::string> cells;
    std::string note;
  };
  struct Layout {
    std::vector<size_t> widths;  // 0: the column is left out
    size_t gap;
  };
  Layout layout_within(size_t width) const;

  std::vector<Title> titles_;
  std::vector<Row> rows_;
};

// Appends the page of one process, from its answer to /status. `place` is where it was asked.
void put_status(std::span<const Kind* const> kinds, JsonView status, const std::string& place, size_t width, std::string& out);

}  // namespace relay

// SPDX-License-Identifier: Apache-2.0
// What leg.cpp and grpc_leg.cpp have in common: who they say they are, the clock, the line that they print.
#pragma once

#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <string>
#include <vector>

namespace bench {

struct Leg {
  uint64_t port = 0, window = 64;
  double seconds = 1, warmup = 0.2;

  static Leg parse(int argc, char** argv) {
    if (argc != 5) {
      std::fprintf(stderr, "usage: %s PORT WINDOW SECONDS WARMUP\n", argv[0]);
      std::exit(2);
    }
    return {std::strtoull(argv[1], nullptr, 10), std::strtoull(argv[2], nullptr, 10), std::strtod(argv[3], nullptr), std::strtod(argv[4], nullptr)};
  }
};

inline double clock_s(clockid_t clock) {
  timespec t{};
  clock_gettime(clock, &t);
  return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) / 1e9;
}

// A thousand clients' names.
inline std::vector<std::string> names() {
  std::vector<std::string> all;
  for (unsigned i = 0; i < 1000; ++i) {
    char text[40];
    std::snprintf(text, sizeof text, "%08x-1f2e-4d3c-8b5a-%012x", i * 2654435761U, i * 40503U + 7);
    all.emplace_back(text);
  }
  return all;
}

// Counts answers between two moments; looks at the clock at every 256th.
class Count {
 public:
  explicit Count(const Leg& leg) : leg_(leg) {}
  // False: it is over, and the result has been printed.
  bool one() {
    if (++seen_ % 256 != 0) return true;
    const double now = clock_s(CLOCK_MONOTONIC);
    if (from_ == 0) {
      if (now - begun_ < leg_.warmup) return true;
      from_ = now;
      cpu_ = clock_s(CLOCK_PROCESS_CPUTIME_ID);
      first_ = seen_;
      return true;
    }
    if (now - from_ < leg_.seconds) return true;
    const double cpu = clock_s(CLOCK_PROCESS_CPUTIME_ID) - cpu_;
    const auto trips = static_cast<double>(seen_ - first_);
    std::printf("{\"run\":\"leg\",\"window\":%" PRIu64 ",\"trips\":%.0f,", leg_.window, trips);
    std::printf("\"per_s\":%.1f,\"per_cpu_s\":%.1f}\n", trips / (now - from_), trips / cpu);
    return false;
  }

 private:
  const Leg leg_;
  const double begun_ = clock_s(CLOCK_MONOTONIC);
  double from_ = 0, cpu_ = 0;
  uint64_t seen_ = 0, first_ = 0;
};

}  // namespace bench

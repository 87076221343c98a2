// SPDX-License-Identifier: Apache-2.0
// ops/stats: counting, and the one line that shows it.
#include "ops/stats.h"

#include "tests/unit/testing.h"

namespace relay {
namespace {

enum class Stat : uint8_t { kPairs, kBytes, kFailures, kCount };
constexpr std::array<StatRow, 3> kRows = {{{"pairs", StatRow::Type::kGauge, "Pairs now"},
                                           {"bytes", StatRow::Type::kCounter, "Bytes so far"},
                                           {"failures", StatRow::Type::kCounter, "Failures so far"}}};

TEST(Stats, BeginAtZero) {
  const Stats<Stat> stats;
  EXPECT_EQ(stats.values().size(), 3U);
  for (const uint64_t value : stats.values()) EXPECT_EQ(value, 0U);
}

TEST(Stats, CountUpAndDown) {
  Stats<Stat> stats;
  stats.add(Stat::kPairs);
  stats.add(Stat::kPairs);
  stats.sub(Stat::kPairs);
  stats.add(Stat::kBytes, uint64_t{1} << 40);
  stats.add(Stat::kBytes, 5);
  stats.add(Stat::kFailures, 3);
  stats.sub(Stat::kFailures, 3);
  EXPECT_EQ(stats.get(Stat::kPairs), 1U);
  EXPECT_EQ(stats.get(Stat::kBytes), (uint64_t{1} << 40) + 5);
  EXPECT_EQ(stats.get(Stat::kFailures), 0U);
  EXPECT_EQ(stats.values()[1], stats.get(Stat::kBytes));
}

TEST(Stats, AreOneLineOfTheLog) {
  Stats<Stat> stats;
  stats.add(Stat::kPairs, 2);
  stats.add(Stat::kBytes, UINT64_MAX);
  const std::string dropped = std::to_string(log_dropped());
  test::Caught& caught = test::log_to(LogFormat::kText);
  log_stats("a relay", kRows, stats.values());
  log_flush();
  EXPECT_EQ(caught.text,
            "1970-01-01T00:00:00.000Z info stats relay=\"a relay\" pairs=2 bytes=18446744073709551615 failures=0 log_dropped=" +
                dropped + "\n");
  test::log_to(LogFormat::kJson);
  log_stats("r", kRows, stats.values());
  log_flush();
  EXPECT_EQ(caught.text,
            "{\"ts\":\"1970-01-01T00:00:00.000Z\",\"level\":\"info\",\"event\":\"stats\",\"relay\":\"r\",\"pairs\":2,\"bytes\":"
            "18446744073709551615,"
            "\"failures\":0,\"log_dropped\":" +
                dropped + "}\n");
}

TEST(StatsDeathTest, AsManyRowsAsValues) {
  const Stats<Stat> stats;
  EXPECT_DEATH(log_stats("r", std::span(kRows).first(2), stats.values()), "bug");
}

}  // namespace
}  // namespace relay

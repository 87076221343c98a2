// SPDX-License-Identifier: Apache-2.0
// The keys of dialling and of TCP: what they say. See dial_keys.h.
#include "ops/dial_keys.h"

#include <chrono>
#include <string_view>

namespace relay {
namespace {

std::chrono::seconds in_seconds(Delay value) { return std::chrono::duration_cast<std::chrono::seconds>(value); }

}  // namespace

void check_dial(const Section& section, Faults& faults) {
  if (section.duration("retry-min") > section.duration("retry-max"))
    faults.push_back({section.where(section.has("retry-min") ? "retry-min" : "retry-max"), "retry-min is longer than retry-max; make it shorter, or that longer"});
  for (const std::string_view key : {"keepalive", "keepalive-interval"})
    if (section.duration(key).count() % 1000 != 0)
      faults.push_back({section.where(key), "the kernel counts whole seconds here; write for example 30s"});
}

void read_dial(const Section& section, DialPlan& plan) {
  plan.connect_timeout = section.duration("connect-timeout");
  plan.retry_min = section.duration("retry-min");
  plan.retry_max = section.duration("retry-max");
  plan.options.keepalive = in_seconds(section.duration("keepalive"));
  plan.options.keepalive_interval = in_seconds(section.duration("keepalive-interval"));
  plan.options.keepalive_count = static_cast<uint32_t>(section.integer("keepalive-count"));
  plan.options.user_timeout = section.duration("user-timeout");
}

}  // namespace relay

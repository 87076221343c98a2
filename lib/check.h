// SPDX-License-Identifier: Apache-2.0
// CHECK: our own mistakes. It says where and aborts, in every build: a relay that has lost count of its bytes must not go on.
#pragma once

namespace relay {
[[noreturn]] void check_failed(const char* file, int line, const char* what);
}  // namespace relay

#define CHECK(condition) \
  (__builtin_expect(static_cast<bool>(condition), 1) ? static_cast<void>(0) : ::relay::check_failed(__FILE__, __LINE__, #condition))

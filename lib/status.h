// SPDX-License-Identifier: Apache-2.0
// How a function says that it could not do its work.
//
//   Status   a code, an errno (0 if the kernel was not asked) and a reason that is a string literal. Never allocates.
//   Result   a value, or the Status that explains why there is none.
//
// The peer's fault ends a Session and is counted; the environment's rests and retries; our own is CHECK (check.h).
#pragma once

#include <cstdint>
#include <optional>
#include <utility>

#include "lib/check.h"

namespace relay {

enum class Code : uint8_t {
  kOk,
  kAgain,     // nothing to be had now: wait for the event
  kEof,       // the peer has finished, in order
  kReset,     // the peer has aborted (ECONNRESET, EPIPE)
  kTruncated,  // the peer's connection was cut off: TLS without its own end
  kTimeout,   // a limit of ours or of TCP has passed
  kRefused,   // nobody listens there
  kNotFound,  // no such name, file or address
  kLimit,     // descriptors, memory or a key's bound are used up
  kInvalid,   // what was given makes no sense
  kSystem,    // any other answer of the kernel: see the errno
};

class [[nodiscard]] Status {
 public:
  constexpr Status() = default;
  constexpr Status(Code code, const char* reason, int error = 0) : reason_(reason), error_(error), code_(code) {}

  constexpr bool ok() const { return code_ == Code::kOk; }
  constexpr Code code() const { return code_; }
  constexpr int error() const { return error_; }           // an errno, or 0
  constexpr const char* reason() const { return reason_; }  // static storage

 private:
  const char* reason_ = "ok";
  int error_ = 0;
  Code code_ = Code::kOk;
};

// The kernel's errno as a Status; REQUIRES: error != 0. `reason` names the call and is static.
Status from_errno(int error, const char* reason);

template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : value_(std::move(value)) {}  // NOLINT: implicit, so that `return value;` reads well
  Result(Status status) : status_(status) { CHECK(!status.ok()); }  // NOLINT

  bool ok() const { return value_.has_value(); }
  const Status& status() const { return status_; }
  // REQUIRES: ok()
  T& operator*() { CHECK(ok()); return *value_; }
  const T& operator*() const { CHECK(ok()); return *value_; }
  T* operator->() { CHECK(ok()); return &*value_; }
  const T* operator->() const { CHECK(ok()); return &*value_; }

 private:
  std::optional<T> value_;
  Status status_;
};

}  // namespace relay

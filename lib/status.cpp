// SPDX-License-Identifier: Apache-2.0
// Status: the one place that sorts errno values into what a caller can do about them. CHECK's last words.
#include "lib/status.h"

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <exception>

namespace relay {

Status from_errno(int error, const char* reason) {
  switch (error) {
    case EAGAIN:
    case EINPROGRESS:
    case EINTR: return {Code::kAgain, reason, error};
    case ECONNRESET:
    case EPIPE:
    case ECONNABORTED: return {Code::kReset, reason, error};
    case ETIMEDOUT: return {Code::kTimeout, reason, error};
    case ECONNREFUSED: return {Code::kRefused, reason, error};
    case ENOENT: return {Code::kNotFound, reason, error};
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
    case ENOMEM: return {Code::kLimit, reason, error};
    case EINVAL: return {Code::kInvalid, reason, error};
    default: return {Code::kSystem, reason, error};
  }
}

void check_failed(const char* file, int line, const char* what) {
  std::fprintf(stderr, "relay: bug: %s:%d: %s. Please report this line.\n", file, line, what);
  std::abort();
}

}  // namespace relay

// What the process does on an exception that nobody catches: ours are not thrown, and those of the library (no memory) end it
// here. libstdc++'s own handler would print a demangled name; replacing its object leaves 40 KB of demangler out.
namespace __cxxabiv1 {
extern std::terminate_handler __terminate_handler;
std::terminate_handler __terminate_handler = std::abort;
}  // namespace __cxxabiv1

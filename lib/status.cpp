// SPDX-License-Identifier: Apache-2.0
// Status: the one place that sorts errno values into what a caller can do about them. CHECK's last words.
#include "lib/status.h"

#include <cxxabi.h>

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

namespace {

// What the process does on an exception that nobody catches. We throw none, and the library one alone: there is no memory, not
// even for something small. That is nobody's bug, so no core is left. Without an exception it is one.
[[noreturn]] void last_words() {
  if (__cxxabiv1::__cxa_current_exception_type() == nullptr) std::abort();
  std::fputs("relay: out of memory: raise MemoryMax= or ulimit -v, or lower pairs and queue-size\n", stderr);
  std::_Exit(1);
}

}  // namespace

// libstdc++'s own handler would print a demangled name; replacing its object leaves 40 KB of demangler out.
namespace __cxxabiv1 {
extern std::terminate_handler __terminate_handler;
std::terminate_handler __terminate_handler = last_words;
}  // namespace __cxxabiv1

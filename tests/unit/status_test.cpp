// SPDX-License-Identifier: Apache-2.0
// lib/status: what each errno means to a caller, Result's two faces, CHECK's last words.
#include "lib/status.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>

namespace relay {
namespace {

TEST(Status, IsFineByDefault) {
  const Status status;
  EXPECT_TRUE(status.ok());
  EXPECT_EQ(status.code(), Code::kOk);
  EXPECT_EQ(status.error(), 0);
  EXPECT_STREQ(status.reason(), "ok");
}

TEST(Status, SortsErrnoValues) {
  struct Row {
    int error;
    Code code;
  };
  const Row rows[] = {
      {EAGAIN, Code::kAgain},       {EWOULDBLOCK, Code::kAgain},   {EINPROGRESS, Code::kAgain},      {EINTR, Code::kAgain},
      {ECONNRESET, Code::kReset},   {EPIPE, Code::kReset},         {ECONNABORTED, Code::kReset},     {ETIMEDOUT, Code::kTimeout},
      {ECONNREFUSED, Code::kRefused}, {ENOENT, Code::kNotFound},   {EMFILE, Code::kLimit},           {ENFILE, Code::kLimit},
      {ENOBUFS, Code::kLimit},      {ENOMEM, Code::kLimit},        {EINVAL, Code::kInvalid},         {EACCES, Code::kSystem},
      {EADDRINUSE, Code::kSystem},  {EHOSTUNREACH, Code::kSystem}, {ENETUNREACH, Code::kSystem},     {EBADF, Code::kSystem},
  };
  for (const Row& row : rows) {
    const Status status = from_errno(row.error, "call");
    EXPECT_EQ(status.code(), row.code) << row.error;
    EXPECT_FALSE(status.ok());
    EXPECT_EQ(status.error(), row.error);
    EXPECT_STREQ(status.reason(), "call");
  }
}

TEST(Result, HasAValue) {
  Result<std::string> result = std::string("abc");
  EXPECT_TRUE(result.ok());
  EXPECT_TRUE(result.status().ok());
  EXPECT_EQ(*result, "abc");
  EXPECT_EQ(result->size(), 3U);
  const Result<std::string>& fixed = result;
  EXPECT_EQ(*fixed, "abc");
  EXPECT_EQ(fixed->size(), 3U);
}

TEST(Result, OrTheReasonWhyNot) {
  const Result<int> result = Status{Code::kRefused, "no", ECONNREFUSED};
  EXPECT_FALSE(result.ok());
  EXPECT_EQ(result.status().code(), Code::kRefused);
  EXPECT_EQ(result.status().error(), ECONNREFUSED);
  EXPECT_STREQ(result.status().reason(), "no");
}

TEST(Result, CarriesWhatCanOnlyBeMoved) {
  static_assert(!std::is_copy_constructible_v<std::unique_ptr<int>>);
  Result<std::unique_ptr<int>> result = std::make_unique<int>(7);
  const std::unique_ptr<int> taken = std::move(*result);
  EXPECT_EQ(*taken, 7);
}

TEST(ResultDeathTest, OurOwnMistakesAbort) {
  Result<int> result = Status{Code::kEof, "end"};
  EXPECT_DEATH(static_cast<void>(*result), "bug");
  EXPECT_DEATH(static_cast<void>(Result<int>(Status{})), "bug");
}

TEST(CheckDeathTest, SaysWhereAndWhat) {
  CHECK(1 + 1 == 2);
  EXPECT_DEATH(CHECK(1 + 1 == 3), "relay: bug: .*status_test.cpp:[0-9]+: 1 \\+ 1 == 3\\. Please report this line\\.");
}

}  // namespace
}  // namespace relay

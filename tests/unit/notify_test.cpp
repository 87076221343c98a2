// SPDX-License-Identifier: Apache-2.0
// ops/notify: what is told to the service manager, and what its variables mean, good or strange.
#include "ops/notify.h"

#include <sys/un.h>

#include <cstdlib>
#include <cstring>

#include "tests/unit/testing.h"

namespace relay {
namespace {

class NotifyTest : public ::testing::Test {
 protected:
  ~NotifyTest() override {
    for (const char* name : {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID"}) ::unsetenv(name);
  }
  static void set(const char* name, const std::string& value) { ::setenv(name, value.c_str(), 1); }
  static std::string own() { return std::to_string(sys::process_id()); }

  // Hears at `name`, which may begin with '@'.
  Fd listen(const std::string& name) {
    Fd fd{::socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)};
    sockaddr_un at{};
    at.sun_family = AF_UNIX;
    std::memcpy(at.sun_path, name.data(), name.size());
    if (at.sun_path[0] == '@') at.sun_path[0] = '\0';
    CHECK(::bind(fd.get(), reinterpret_cast<const sockaddr*>(&at), static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name.size())) == 0);
    set("NOTIFY_SOCKET", name);
    return fd;
  }
  static std::string heard(const Fd& fd) {
    std::array<char, 512> text;  // NOLINT: the kernel fills what is read
    const ssize_t n = ::recv(fd.get(), text.data(), text.size(), 0);
    return n < 0 ? std::string() : std::string(text.data(), static_cast<size_t>(n));
  }
  test::Folder folder;
};

TEST_F(NotifyTest, TellsAtAPathAndInTheAbstractNameSpace) {
  for (const std::string& name : {folder.file("n"), "@relay-unit-" + own()}) {
    const Fd fd = listen(name);
    EXPECT_TRUE(notify_wanted());
    notify("READY=1\nSTATUS=well");
    EXPECT_EQ(heard(fd), "READY=1\nSTATUS=well") << name;
  }
}

TEST_F(NotifyTest, NobodyWhoHearsIsNoHarm) {
  EXPECT_FALSE(notify_wanted());
  notify("READY=1");
  for (const std::string& name : {std::string(), folder.file("nobody"), std::string(200, 'x')}) {
    set("NOTIFY_SOCKET", name);
    notify("READY=1");
  }
  EXPECT_TRUE(notify_wanted());
}

TEST_F(NotifyTest, AManagerWithTooMuchToReadIsToBeToldAgain) {
  const Fd fd = listen(folder.file("n"));
  int taken = 0;
  for (; taken < 10'000 && notify("WATCHDOG=1"); ++taken) {
  }
  EXPECT_GT(taken, 0);
  EXPECT_LT(taken, 10'000);
  EXPECT_EQ(heard(fd), "WATCHDOG=1");
  EXPECT_TRUE(notify("READY=1"));
}

TEST_F(NotifyTest, SaysWhenAReloadBegan) {
  const int64_t before = sys::monotonic_us();
  const std::string state = reloading_state();
  constexpr std::string_view kHead = "RELOADING=1\nMONOTONIC_USEC=";
  ASSERT_TRUE(state.starts_with(kHead)) << state;
  const int64_t when = std::atoll(state.c_str() + kHead.size());
  EXPECT_LE(before, when);
  EXPECT_LE(when, sys::monotonic_us());
}

TEST_F(NotifyTest, KnowsTheWatchdog) {
  EXPECT_EQ(watchdog_patience(), Delay{0});
  set("WATCHDOG_USEC", "2500000");
  EXPECT_EQ(watchdog_patience(), Delay{2500});
  set("WATCHDOG_PID", own());
  EXPECT_EQ(watchdog_patience(), Delay{2500});
  set("WATCHDOG_PID", "1");
  EXPECT_EQ(watchdog_patience(), Delay{0});
  set("WATCHDOG_PID", "");
  for (const char* odd : {"", "x", "-5", "99999999999999999999999"}) {
    set("WATCHDOG_USEC", odd);
    EXPECT_EQ(watchdog_patience(), Delay{0}) << odd;
  }
  set("WATCHDOG_USEC", "18446744073709551615");
  EXPECT_LE(watchdog_patience(), Delay{24 * 3600 * 1000});
}

TEST_F(NotifyTest, KnowsPassedSockets) {
  EXPECT_EQ(passed_sockets(), 0);
  set("LISTEN_FDS", "3");
  EXPECT_EQ(passed_sockets(), 0);
  set("LISTEN_PID", "1");
  EXPECT_EQ(passed_sockets(), 0);
  set("LISTEN_PID", own());
  EXPECT_EQ(passed_sockets(), 3);
  set("LISTEN_FDS", "x");
  EXPECT_EQ(passed_sockets(), 0);
  set("LISTEN_FDS", "4000000000");
  EXPECT_LE(passed_sockets(), 4096);
}

}  // namespace
}  // namespace relay

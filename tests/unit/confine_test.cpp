// SPDX-License-Identifier: Apache-2.0
// The filter, twice: as a program, run here on every call there could be; and installed, in a process that then does what
// a relay does, and what it must not.
#include "net/confine.h"

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <cstring>
#include <functional>
#include <optional>
#include <set>

#include "net/sys.h"
#include "tests/unit/testing.h"

namespace relay {
namespace {

constexpr uint32_t kErrno = SECCOMP_RET_ERRNO;
constexpr int kPid = 4711;

class Confine : public testing::Test {
 protected:
  void SetUp() override {
    if (!can_confine()) GTEST_SKIP() << "this program has no filter";
  }
};

seccomp_data call(int number, std::initializer_list<uint64_t> arguments = {}) {
  seccomp_data data{};
#ifdef __x86_64__
  data.arch = AUDIT_ARCH_X86_64;
#else
  data.arch = AUDIT_ARCH_AARCH64;
#endif
  data.nr = number;
  std::copy(arguments.begin(), arguments.end(), data.args);
  return data;
}

// What the kernel does with the program; nothing if it would not take it.
std::optional<uint32_t> verdict(const std::vector<sock_filter>& code, const seccomp_data& data) {
  uint32_t a = 0;
  for (size_t at = 0; at < code.size(); ++at) {
    const sock_filter& op = code[at];
    const auto jump = [&](bool yes) { at += yes ? op.jt : op.jf; };
    switch (op.code) {
      case BPF_LD | BPF_W | BPF_ABS:
        if (op.k % 4 != 0 || op.k + 4 > sizeof data) return std::nullopt;
        std::memcpy(&a, reinterpret_cast<const char*>(&data) + op.k, 4);
        break;
      case BPF_ALU | BPF_AND | BPF_K: a &= op.k; break;
      case BPF_JMP | BPF_JEQ | BPF_K: jump(a == op.k); break;
      case BPF_JMP | BPF_JGE | BPF_K: jump(a >= op.k); break;
      case BPF_JMP | BPF_JSET | BPF_K: jump((a & op.k) != 0); break;
      case BPF_RET | BPF_K: return op.k;
      default: return std::nullopt;
    }
  }
  return std::nullopt;
}

// ---- the program

TEST_F(Confine, EveryCallHasAVerdict) {
  const std::vector<sock_filter> code = confinement(kPid);
  ASSERT_LE(code.size(), size_t{BPF_MAXINSNS});
  int allowed = 0;
  for (int number = 0; number < 1024; ++number) {
    const std::optional<uint32_t> with = verdict(code, call(number));
    ASSERT_TRUE(with) << number;
    allowed += *with == SECCOMP_RET_ALLOW;
  }
  EXPECT_GT(allowed, 50);
  EXPECT_LT(allowed, 100) << "a list of what a relay needs is not that long";
  EXPECT_EQ(verdict(code, call(100'000)), kErrno | ENOSYS);
}

TEST_F(Confine, NoCallIsListedTwice) {
  // Whatever stands second is dead: somebody believes in a verdict that is none.
  std::multiset<uint32_t> seen;
  const std::vector<sock_filter> code = confinement(kPid);
  bool argument = false;  // an argument is in the accumulator, not a call
  for (const sock_filter& op : code) {
    if (op.code == (BPF_LD | BPF_W | BPF_ABS)) argument = op.k != offsetof(seccomp_data, nr);
    if (op.code == (BPF_RET | BPF_K)) argument = false;
    if (op.code == (BPF_JMP | BPF_JEQ | BPF_K) && !argument && op.jt == 0) seen.insert(op.k);
  }
  EXPECT_GT(seen.size(), 100U);
  for (const uint32_t number : seen) EXPECT_EQ(seen.count(number), 1U) << number;
}

TEST_F(Confine, OtherArchitecturesAreKilled) {
  const std::vector<sock_filter> code = confinement(kPid);
  seccomp_data data = call(SYS_read);
  EXPECT_EQ(verdict(code, data), SECCOMP_RET_ALLOW);
  for (const uint32_t arch : {uint32_t{AUDIT_ARCH_I386}, uint32_t{AUDIT_ARCH_ARM}, uint32_t{AUDIT_ARCH_RISCV64}, 0U}) {
    data.arch = arch;
    EXPECT_EQ(verdict(code, data), SECCOMP_RET_KILL_PROCESS) << arch;
  }
#ifdef __x86_64__
  EXPECT_EQ(verdict(code, call(0x40000000 | SYS_read)), SECCOMP_RET_KILL_PROCESS);
  EXPECT_EQ(verdict(code, call(-1)), SECCOMP_RET_KILL_PROCESS);
#endif
}

TEST_F(Confine, ArgumentsCount) {
  const std::vector<sock_filter> code = confinement(kPid);
  const auto is = [&code](uint32_t want, const seccomp_data& data) { return verdict(code, data) == want; };
  constexpr uint64_t kHigh = uint64_t{0xdeadbeef} << 32;  // the kernel takes an int: what is above does not count
  EXPECT_TRUE(is(SECCOMP_RET_ALLOW, call(SYS_socket, {AF_INET6 | kHigh, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC})));
  EXPECT_TRUE(is(SECCOMP_RET_ALLOW, call(SYS_socket, {AF_UNIX, SOCK_DGRAM})));
  for (const int family : {AF_NETLINK, AF_PACKET, AF_VSOCK, AF_ALG, AF_BLUETOOTH, 0})
    EXPECT_TRUE(is(kErrno | EPERM, call(SYS_socket, {static_cast<uint64_t>(family), SOCK_STREAM}))) << family;
  for (const int type : {int{SOCK_RAW}, int{SOCK_SEQPACKET}, int{SOCK_RDM}, SOCK_RAW | SOCK_NONBLOCK})
    EXPECT_TRUE(is(kErrno | EPERM, call(SYS_socket, {AF_INET, static_cast<uint64_t>(type)}))) << type;

  EXPECT_TRUE(is(SECCOMP_RET_ALLOW, call(SYS_openat, {0, 0, O_RDONLY | O_CLOEXEC | O_DIRECTORY})));
  for (const int flags : {O_WRONLY, O_RDWR, O_RDONLY | O_CREAT, O_RDONLY | O_TRUNC, O_ACCMODE, O_TMPFILE | O_RDWR})
    EXPECT_TRUE(is(kErrno | EPERM, call(SYS_openat, {0, 0, static_cast<uint64_t>(flags)}))) << flags;

  EXPECT_TRUE(is(SECCOMP_RET_ALLOW, call(SYS_mmap, {0, 0, PROT_READ | PROT_WRITE})));
  EXPECT_TRUE(is(SECCOMP_RET_KILL_PROCESS, call(SYS_mmap, {0, 0, PROT_READ | PROT_EXEC})));
  EXPECT_TRUE(is(SECCOMP_RET_ALLOW, call(SYS_mprotect, {0, 0, PROT_NONE})));
  EXPECT_TRUE(is(SECCOMP_RET_KILL_PROCESS, call(SYS_mprotect, {0, 0, PROT_EXEC})));

  EXPECT_TRUE(is(SECCOMP_RET_ALLOW, call(SYS_tgkill, {kPid, kPid, SIGABRT})));
  EXPECT_TRUE(is(kErrno | EPERM, call(SYS_tgkill, {1, 1, SIGKILL})));
  EXPECT_TRUE(is(SECCOMP_RET_ALLOW, call(SYS_prlimit64, {0, RLIMIT_NOFILE})));
  EXPECT_TRUE(is(kErrno | EPERM, call(SYS_prlimit64, {1, RLIMIT_NOFILE})));
  EXPECT_TRUE(is(SECCOMP_RET_ALLOW, call(SYS_ioctl, {0, FIONREAD})));
  EXPECT_TRUE(is(kErrno | EPERM, call(SYS_ioctl, {0, TIOCSTI})));  // types at a terminal as if its user had
  EXPECT_TRUE(is(kErrno | EPERM, call(SYS_fcntl, {0, F_SETOWN})));
}

TEST_F(Confine, WhatIsNotListedIsNotThere) {
  const std::vector<sock_filter> code = confinement(kPid);
  for (const int number : {SYS_kill, SYS_prctl, SYS_seccomp, SYS_renameat, SYS_symlinkat, SYS_truncate, SYS_ftruncate, SYS_mkdirat, SYS_shmget, SYS_timer_create,
                           SYS_landlock_create_ruleset})
    EXPECT_EQ(verdict(code, call(number)), kErrno | ENOSYS) << number;
}

TEST_F(Confine, FilesThatAreOpenAreWrittenByWhoHasASpool) {
  const std::vector<sock_filter> without = confinement(kPid);
  const std::vector<sock_filter> with = confinement(kPid, {.files = true});
  for (const int number : {SYS_pwritev, SYS_ftruncate, SYS_fdatasync, SYS_io_setup, SYS_io_submit, SYS_io_getevents, SYS_io_destroy, SYS_eventfd2}) {
    EXPECT_EQ(verdict(without, call(number)), kErrno | ENOSYS) << number;
    EXPECT_EQ(verdict(with, call(number)), SECCOMP_RET_ALLOW) << number;
  }
  EXPECT_EQ(verdict(with, call(SYS_openat, {0, 0, O_RDWR | O_CREAT})), kErrno | EPERM);
}

// ---- installed

struct Fate {
  int signal;  // that killed it, or 0
  int error;   // the errno of the call, 0 if it was done
};

// What becomes of a confined process that does this.
Fate confined(const std::function<long()>& act) {
  const pid_t child = ::fork();
  if (child == 0) {
    if (!install_confinement().ok()) ::_exit(201);
    errno = 0;
    ::_exit(act() < 0 ? errno : 0);
  }
  int status = 0;
  CHECK(child > 0 && ::waitpid(child, &status, 0) == child);
  return {WIFSIGNALED(status) ? WTERMSIG(status) : 0, WIFEXITED(status) ? WEXITSTATUS(status) : -1};
}

TEST_F(Confine, NoOtherProgramAndNoOtherProcess) {
  EXPECT_EQ(confined([] { return ::execl("/bin/true", "true", nullptr); }).signal, SIGSYS);
  EXPECT_EQ(confined([]() -> long { return ::fork(); }).signal, SIGSYS);
  EXPECT_EQ(confined([] { return ::syscall(SYS_clone3, nullptr, 0); }).signal, SIGSYS);
  EXPECT_EQ(confined([] { return ::syscall(SYS_execveat, -1, "", nullptr, nullptr, 0); }).signal, SIGSYS);
  EXPECT_EQ(confined([] { return ::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr); }).signal, SIGSYS);
}

TEST_F(Confine, NoNewCode) {
  const auto map = [](int protection) {
    return ::mmap(nullptr, 4096, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  };
  EXPECT_EQ(confined([&] { return map(PROT_READ | PROT_WRITE) == MAP_FAILED ? -1L : 0L; }).error, 0);
  EXPECT_EQ(confined([&] { return map(PROT_READ | PROT_EXEC) == MAP_FAILED ? -1L : 0L; }).signal, SIGSYS);
  EXPECT_EQ(confined([&] { return ::mprotect(map(PROT_READ), 4096, PROT_READ | PROT_EXEC); }).signal, SIGSYS);
}

TEST_F(Confine, FilesAreRead) {
  const test::Folder folder;
  const std::string path = folder.file("new");
  EXPECT_EQ(confined([] { return ::open("/dev/null", O_RDONLY); }).error, 0);
  EXPECT_EQ(confined([] { return ::open("/dev/null", O_WRONLY); }).error, EPERM);
  EXPECT_EQ(confined([&] { return ::open(path.c_str(), O_RDWR | O_CREAT, 0600); }).error, EPERM);
  EXPECT_EQ(confined([&] { return ::mkdir(path.c_str(), 0700); }).error, ENOSYS);
  EXPECT_FALSE(std::filesystem::exists(path));
}

TEST_F(Confine, SocketsAreOurs) {
  for (const int family : {AF_INET, AF_UNIX}) EXPECT_EQ(confined([&] { return sys::socket(family, SOCK_STREAM) < 0 ? -1 : 0; }).error, 0);
  EXPECT_EQ(confined([] { return ::socket(AF_PACKET, SOCK_RAW, 0); }).error, EPERM);
  EXPECT_EQ(confined([] { return ::socket(AF_INET, SOCK_RAW, IPPROTO_ICMP); }).error, EPERM);
}

TEST_F(Confine, OtherProcessesAndRightsAreOutOfReach) {
  EXPECT_EQ(confined([] { return ::kill(::getppid(), SIGTERM); }).error, ENOSYS);
  EXPECT_EQ(confined([] { return ::syscall(SYS_setuid, 0); }).signal, SIGSYS);
  EXPECT_EQ(confined([] { return ::syscall(SYS_io_uring_setup, 1, nullptr); }).signal, SIGSYS);
  EXPECT_EQ(confined([] { return ::syscall(SYS_bpf, 0, nullptr, 0); }).signal, SIGSYS);
  EXPECT_EQ(confined([] { return ::unshare(CLONE_NEWUSER); }).signal, SIGSYS);
}

TEST_F(Confine, ItCannotBeUndone) {
  EXPECT_EQ(confined([] { return ::prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0); }).error, ENOSYS);
  EXPECT_EQ(confined([] { return ::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, nullptr); }).error, ENOSYS);
}

TEST_F(Confine, ABugStillAborts) {
  EXPECT_EQ(confined([]() -> long { std::abort(); }).signal, SIGABRT);
}

// A relay's own work, in little: listen, connect, accept, splice, a file, the queue's memory.
TEST_F(Confine, ARelayWorks) {
  const test::Folder folder;
  const std::string path = folder.file("socket");
  const Fate fate = confined([&]() -> long {
    Loop loop;
    Fd local = std::move(listen_on(test::listen_place("unix:" + path), SockOptions{})->fd);
    test::Ends ends = test::tcp_ends();
    int pipe[2];
    int slots = 0;
    std::string text;
    if (sys::pipe(pipe, 1 << 16, &slots) < 0 || sys::send(ends.theirs.get(), "hello", 5) != 5) return -1;
    if (sys::splice(ends.ours.get(), pipe[1], 100) != 5 || sys::splice(pipe[0], ends.ours.get(), 100) != 5) return -1;
    if (sys::unsent(ends.ours.get()) < 0 || sys::unread(ends.theirs.get()) < 0) return -1;
    loop.turn(Delay{0});
    if (sys::read_file("/etc/passwd", 1 << 20, text) < 0 || sys::unlink(path.c_str()) < 0) return -1;
    const auto ring = std::make_unique<std::byte[]>(8 << 20);
    return ring[0] == ring[1] && sys::random_seed() != 0 && sys::unix_ms() != 0 ? 0 : -1;
  });
  EXPECT_EQ(fate.signal, 0);
  EXPECT_EQ(fate.error, 0);
}

}  // namespace
}  // namespace relay

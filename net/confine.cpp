// SPDX-License-Identifier: Apache-2.0
// Confine: the lists. A call that the loop makes for each message stands first, for the kernel goes through them in order
// (those allowed whatever their arguments it remembers, since Linux 5.11).
#include "net/confine.h"

#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include <cstddef>

#include "net/sys.h"

#if defined(__SANITIZE_ADDRESS__)
#define RELAY_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define RELAY_SANITIZED 1
#endif
#endif

namespace relay {

#if (defined(__x86_64__) && !defined(__ILP32__)) || defined(__aarch64__)

namespace {

#ifdef __x86_64__
constexpr uint32_t kArchitecture = AUDIT_ARCH_X86_64;
#else
constexpr uint32_t kArchitecture = AUDIT_ARCH_AARCH64;
#endif

// Whatever the arguments. Bytes and events first.
constexpr int kFree[] = {
    SYS_recvfrom, SYS_sendmsg, SYS_sendto, SYS_readv, SYS_writev, SYS_splice, SYS_epoll_pwait, SYS_epoll_ctl, SYS_accept4, SYS_close,
    SYS_connect, SYS_shutdown, SYS_setsockopt, SYS_getsockopt, SYS_getsockname, SYS_read, SYS_write,
#ifdef SYS_epoll_wait
    SYS_epoll_wait,
#endif
    // Listening, the admin socket, watching, the console.
    SYS_bind, SYS_listen, SYS_accept, SYS_getpeername, SYS_recvmsg, SYS_epoll_create1, SYS_signalfd4, SYS_pipe2, SYS_unlinkat, SYS_fchmod,
    SYS_fchmodat, SYS_ppoll,
#ifdef SYS_poll
    SYS_poll, SYS_unlink, SYS_chmod,
#endif
    // Files that are read: configuration, certificates, /etc/hosts, /etc/resolv.conf. Opening them is below.
    SYS_fstat, SYS_newfstatat, SYS_statx, SYS_lseek, SYS_pread64, SYS_getdents64, SYS_faccessat, SYS_readlinkat, SYS_getcwd,
#ifdef SYS_stat
    SYS_stat, SYS_lstat, SYS_access, SYS_readlink,
#endif
    // Memory, but for mmap and mprotect, which are below.
    SYS_brk, SYS_munmap, SYS_mremap, SYS_madvise,
    // What libc, c-ares and a TLS library ask for along the way.
    SYS_clock_gettime, SYS_clock_getres, SYS_gettimeofday, SYS_getrandom, SYS_futex, SYS_getpid, SYS_gettid, SYS_getuid, SYS_geteuid,
    SYS_getgid, SYS_getegid, SYS_getrusage, SYS_uname, SYS_sysinfo, SYS_sched_yield, SYS_sched_getaffinity, SYS_restart_syscall, SYS_rt_sigaction,
    SYS_rt_sigprocmask, SYS_rt_sigreturn, SYS_exit, SYS_exit_group,
#ifdef SYS_time
    SYS_time,
#endif
};

// Of Rights::files. What is behind io_submit is no more than these calls, on descriptors that are open.
constexpr int kFiles[] = {SYS_pwritev, SYS_ftruncate, SYS_fdatasync, SYS_io_setup, SYS_io_submit, SYS_io_getevents, SYS_io_destroy, SYS_eventfd2};

// Nothing in a relay asks for these, whatever the future brings.
constexpr int kDeadly[] = {
    // another program, another process
    SYS_execve, SYS_execveat, SYS_clone, SYS_clone3,
#ifdef SYS_fork
    SYS_fork, SYS_vfork,
#endif
    // other processes' memory and descriptors, signals to them
    SYS_ptrace, SYS_process_vm_readv, SYS_process_vm_writev, SYS_kcmp, SYS_pidfd_open, SYS_pidfd_getfd, SYS_pidfd_send_signal,
    SYS_process_madvise,
    // memory that is code
    SYS_pkey_mprotect, SYS_shmat, SYS_personality, SYS_remap_file_pages, SYS_userfaultfd, SYS_memfd_create,
    // other rights
    SYS_setuid, SYS_setgid, SYS_setreuid, SYS_setregid, SYS_setresuid, SYS_setresgid, SYS_setfsuid, SYS_setfsgid, SYS_setgroups,
    SYS_capset, SYS_keyctl, SYS_add_key, SYS_request_key,
    // another view of the machine
    SYS_mount, SYS_umount2, SYS_pivot_root, SYS_chroot, SYS_unshare, SYS_setns, SYS_fsopen, SYS_fsmount, SYS_move_mount, SYS_open_tree,
    SYS_mknodat, SYS_name_to_handle_at, SYS_open_by_handle_at,
#ifdef SYS_mknod
    SYS_mknod,
#endif
    // the kernel itself, and ways past a filter
    SYS_bpf, SYS_perf_event_open, SYS_io_uring_setup, SYS_io_uring_enter, SYS_io_uring_register, SYS_init_module, SYS_finit_module,
    SYS_delete_module, SYS_kexec_load, SYS_kexec_file_load, SYS_reboot, SYS_swapon, SYS_swapoff, SYS_acct, SYS_quotactl, SYS_settimeofday,
    SYS_clock_settime, SYS_clock_adjtime, SYS_adjtimex, SYS_sethostname, SYS_setdomainname, SYS_vhangup, SYS_syslog, SYS_lookup_dcookie,
#ifdef __x86_64__
    SYS_iopl, SYS_ioperm, SYS_modify_ldt, SYS_uselib,
#endif
};

constexpr uint32_t kAllow = SECCOMP_RET_ALLOW;
constexpr uint32_t kKill = SECCOMP_RET_KILL_PROCESS;
constexpr uint32_t kForbidden = SECCOMP_RET_ERRNO | EPERM;
constexpr uint32_t kUnknown = SECCOMP_RET_ERRNO | ENOSYS;

constexpr uint32_t kWrites = O_ACCMODE | O_CREAT | O_TRUNC | O_APPEND;  // O_TMPFILE wants one of O_ACCMODE
constexpr uint32_t kSocketFlags = SOCK_NONBLOCK | SOCK_CLOEXEC;

class Filter {
 public:
  Filter() {
    put(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, arch));
    put(BPF_JMP | BPF_JEQ | BPF_K, kArchitecture, 1, 0);
    verdict(kKill);  // int 0x80 on x86_64: other numbers for the same calls
    put(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr));
#ifdef __x86_64__
    constexpr uint32_t kX32 = 0x40000000;
    put(BPF_JMP | BPF_JGE | BPF_K, kX32, 0, 1);
    verdict(kKill);
#endif
  }

  void answer(int call, uint32_t with) {
    put(BPF_JMP | BPF_JEQ | BPF_K, static_cast<uint32_t>(call), 0, 1);
    verdict(with);
  }
  // Allowed if the argument has none of the bits of `mask`.
  void without(int call, unsigned argument, uint32_t mask, uint32_t otherwise) {
    put(BPF_JMP | BPF_JEQ | BPF_K, static_cast<uint32_t>(call), 0, 4);
    load(argument);
    put(BPF_JMP | BPF_JSET | BPF_K, mask, 0, 1);
    verdict(otherwise);
    verdict(kAllow);
  }
  // Allowed if the argument, but for the bits of `ignored`, is one of `values`; with `and_then`, if that holds too.
  void one_of(int call, unsigned argument, uint32_t ignored, std::span<const uint32_t> values) {
    put(BPF_JMP | BPF_JEQ | BPF_K, static_cast<uint32_t>(call), 0, static_cast<uint8_t>(match_size(values) + 1));
    match(argument, ignored, values);
    verdict(kAllow);
  }
  void both(int call, unsigned first, std::span<const uint32_t> firsts, unsigned second, uint32_t ignored,
            std::span<const uint32_t> seconds) {
    const size_t size = match_size(firsts) + match_size(seconds) + 1;
    put(BPF_JMP | BPF_JEQ | BPF_K, static_cast<uint32_t>(call), 0, static_cast<uint8_t>(size));
    match(first, 0, firsts);
    match(second, ignored, seconds);
    verdict(kAllow);
  }
  std::vector<sock_filter> finish() && {
    verdict(kUnknown);
    return std::move(code_);
  }

 private:
  static size_t match_size(std::span<const uint32_t> values) { return values.size() + 3; }

  // Goes on behind itself if it matches, or answers EPERM.
  void match(unsigned argument, uint32_t ignored, std::span<const uint32_t> values) {
    load(argument);
    put(BPF_ALU | BPF_AND | BPF_K, ~ignored);
    for (size_t left = values.size(); left > 0; --left)
      put(BPF_JMP | BPF_JEQ | BPF_K, values[values.size() - left], static_cast<uint8_t>(left), 0);
    verdict(kForbidden);
  }
  // The lower half of it: these arguments are ints, and both architectures are little-endian.
  void load(unsigned argument) {
    put(BPF_LD | BPF_W | BPF_ABS, static_cast<uint32_t>(offsetof(seccomp_data, args) + argument * sizeof(uint64_t)));
  }
  void verdict(uint32_t with) { put(BPF_RET | BPF_K, with); }
  void put(unsigned code, size_t k, uint8_t yes = 0, uint8_t no = 0) {
    code_.push_back({static_cast<uint16_t>(code), yes, no, static_cast<uint32_t>(k)});
  }

  std::vector<sock_filter> code_;
};

}  // namespace

bool can_confine() {
#ifdef RELAY_SANITIZED
  return false;
#else
  return true;
#endif
}

std::vector<sock_filter> confinement(int pid, const Rights& rights) {
  if (!can_confine()) return {};
  constexpr uint32_t kFamilies[] = {AF_INET, AF_INET6, AF_UNIX};
  constexpr uint32_t kTypes[] = {SOCK_STREAM, SOCK_DGRAM};  // none that sees or makes other people's packets
  constexpr uint32_t kIoctls[] = {SIOCOUTQ, FIONREAD, FIONBIO, TCGETS, SIOCGIFINDEX, SIOCGIFNAME};
  constexpr uint32_t kFcntls[] = {F_GETFD, F_SETFD, F_GETFL, F_SETFL, F_DUPFD_CLOEXEC, F_SETPIPE_SZ, F_GETPIPE_SZ};
  const uint32_t self[] = {static_cast<uint32_t>(pid)};
  constexpr uint32_t kMyself[] = {0};  // as prlimit(2) says it

  Filter filter;
  for (const int call : kFree) filter.answer(call, kAllow);
  for (const int call : kFiles)
    if (rights.files) filter.answer(call, kAllow);
  if (rights.workers) filter.answer(SYS_socketpair, kAllow);
  filter.one_of(SYS_ioctl, 1, 0, kIoctls);
  filter.one_of(SYS_fcntl, 1, 0, kFcntls);
  filter.without(SYS_mmap, 2, PROT_EXEC, kKill);
  filter.without(SYS_mprotect, 2, PROT_EXEC, kKill);
  filter.both(SYS_socket, 0, kFamilies, 1, kSocketFlags, kTypes);
  filter.without(SYS_openat, 2, kWrites, kForbidden);
#ifdef SYS_open
  filter.without(SYS_open, 1, kWrites, kForbidden);
#endif
  filter.one_of(SYS_prlimit64, 0, 0, kMyself);
#ifdef SYS_getrlimit
  filter.answer(SYS_getrlimit, kAllow);
#endif
  filter.one_of(SYS_tgkill, 0, 0, self);  // abort(3)
  for (const int call : kDeadly) filter.answer(call, kKill);
  return std::move(filter).finish();
}

Status install_confinement(const Rights& rights) {
  CHECK(can_confine());
  const std::vector<sock_filter> filter = confinement(sys::process_id(), rights);
  const int error = sys::set_filter(filter.data(), filter.size());
  return error < 0 ? from_errno(-error, "seccomp") : Status{};
}

#else

bool can_confine() { return false; }
std::vector<sock_filter> confinement(int, const Rights&) { return {}; }
Status install_confinement(const Rights&) { return {Code::kSystem, "no filter for this architecture"}; }

#endif

}  // namespace relay

// SPDX-License-Identifier: Apache-2.0
// Sys on Linux: each function is one system call, or the few that belong together.
#include "net/sys.h"

#include <dirent.h>
#include <fcntl.h>
#include <link.h>
#include <linux/aio_abi.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <linux/sockios.h>
#include <poll.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <span>

#include "lib/check.h"

extern "C" const ElfW(Ehdr) __ehdr_start;  // the linker's: our file's first bytes

namespace relay::sys {
namespace {

template <typename T>
T checked(T result) {
  return result < 0 ? static_cast<T>(-errno) : result;
}

// Our descriptors never block, so EINTR comes only from a debugger or a stopped job: simply again.
template <typename Call>
auto again(Call call) {
  for (;;) {
    const auto result = call();
    if (result >= 0 || errno != EINTR) return checked(result);
  }
}

int64_t clock_ms(clockid_t clock) {
  timespec now{};
  ::clock_gettime(clock, &now);
  return int64_t{now.tv_sec} * 1000 + now.tv_nsec / 1'000'000;
}

}  // namespace

int socket(int family, int type) { return checked(::socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)); }
int bind(int fd, const sockaddr* addr, socklen_t length) { return checked(::bind(fd, addr, length)); }
int listen(int fd, int backlog) { return checked(::listen(fd, backlog)); }
int accept(int fd, sockaddr* addr, socklen_t* length) {
  return again([&] { return ::accept4(fd, addr, length, SOCK_NONBLOCK | SOCK_CLOEXEC); });
}
int connect(int fd, const sockaddr* addr, socklen_t length) { return checked(::connect(fd, addr, length)); }

int socket_error(int fd) {
  int error = 0;
  socklen_t length = sizeof error;
  return ::getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) < 0 ? errno : error;
}

int set_option(int fd, int level, int name, const void* value, socklen_t length) {
  return checked(::setsockopt(fd, level, name, value, length));
}
int sockname(int fd, sockaddr* addr, socklen_t* length) { return checked(::getsockname(fd, addr, length)); }

int adopt_listener(int fd) {
  int type = 0;
  int listens = 0;
  socklen_t length = sizeof type;
  if (::getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &length) < 0) return -errno;
  length = sizeof listens;
  if (::getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &length) < 0) return -errno;
  if (type != SOCK_STREAM || listens == 0) return -EINVAL;
  if (::fcntl(fd, F_SETFD, FD_CLOEXEC) < 0) return -errno;
  const int flags = ::fcntl(fd, F_GETFL);
  return flags < 0 ? -errno : checked(::fcntl(fd, F_SETFL, flags | O_NONBLOCK));
}
int duplicate(int fd) { return checked(::fcntl(fd, F_DUPFD_CLOEXEC, 3)); }
int shutdown_write(int fd) { return checked(::shutdown(fd, SHUT_WR)); }

int unsent(int fd) {
  int bytes = 0;
  return ::ioctl(fd, SIOCOUTQ, &bytes) < 0 ? -errno : bytes;
}

int unread(int fd) {
  int bytes = 0;
  return ::ioctl(fd, FIONREAD, &bytes) < 0 ? -errno : bytes;
}

ssize_t recv(int fd, void* data, size_t length) {
  return again([&] { return ::recv(fd, data, length, 0); });
}
ssize_t peek(int fd, void* data, size_t length) {
  return again([&] { return ::recv(fd, data, length, MSG_PEEK); });
}
ssize_t send(int fd, const void* data, size_t length) {
  return again([&] { return ::send(fd, data, length, MSG_NOSIGNAL); });
}
ssize_t readv(int fd, const iovec* parts, int count) {
  return again([&] { return ::readv(fd, parts, count); });
}
ssize_t sendv(int fd, const iovec* parts, int count) {
  msghdr message{};
  message.msg_iov = const_cast<iovec*>(parts);  // the kernel only reads it
  message.msg_iovlen = static_cast<size_t>(count);
  return again([&] { return ::sendmsg(fd, &message, MSG_NOSIGNAL); });
}
ssize_t splice(int from, int to, size_t length) {
  return again([&] { return ::splice(from, nullptr, to, nullptr, length, SPLICE_F_MOVE | SPLICE_F_NONBLOCK); });
}
int close(int fd) { return checked(::close(fd)); }  // EINTR: Linux has closed it all the same

ssize_t recvfrom(int fd, void* data, size_t length, sockaddr* from, socklen_t* from_length) {
  return again([&] { return ::recvfrom(fd, data, length, 0, from, from_length); });
}

int pipe(int ends[2], size_t bytes, int* slots) {
  if (::pipe2(ends, O_NONBLOCK | O_CLOEXEC) < 0) return -errno;
  // Over the user's soft limit (pipe-user-pages-soft) this fails; the pipe then keeps the size it has.
  static_cast<void>(::fcntl(ends[1], F_SETPIPE_SZ, static_cast<int>(bytes)));
  *slots = ::fcntl(ends[1], F_GETPIPE_SZ) / 4096;
  return 0;
}

int epoll_create() { return checked(::epoll_create1(EPOLL_CLOEXEC)); }
int epoll_add(int epoll, int fd, uint32_t events, uint64_t data) {
  epoll_event event{events, {.u64 = data}};
  return checked(::epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event));
}
int epoll_modify(int epoll, int fd, uint32_t events, uint64_t data) {
  epoll_event event{events, {.u64 = data}};
  return checked(::epoll_ctl(epoll, EPOLL_CTL_MOD, fd, &event));
}
int epoll_remove(int epoll, int fd) { return checked(::epoll_ctl(epoll, EPOLL_CTL_DEL, fd, nullptr)); }
int epoll_wait(int epoll, epoll_event* events, int count, int timeout_ms) {
  return checked(::epoll_wait(epoll, events, count, timeout_ms));
}

int signal_open(const int* signals) {
  sigset_t set;
  sigemptyset(&set);
  for (; *signals != 0; ++signals) {
    struct sigaction now {};
    if (::sigaction(*signals, nullptr, &now) == 0 && now.sa_handler == SIG_IGN) continue;  // nohup(1) wants it ignored
    sigaddset(&set, *signals);
  }
  if (::sigprocmask(SIG_BLOCK, &set, nullptr) < 0) return -errno;
  std::signal(SIGPIPE, SIG_IGN);  // splice(2) has no MSG_NOSIGNAL
  std::signal(SIGXFSZ, SIG_IGN);  // a log file as large as it may be: its lines are dropped
  return checked(::signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC));
}
int signal_take(int fd) {
  signalfd_siginfo info{};
  const auto n = again([&] { return ::read(fd, &info, sizeof info); });
  return n == static_cast<ssize_t>(sizeof info) ? static_cast<int>(info.ssi_signo) : 0;
}

int64_t monotonic_ms() { return clock_ms(CLOCK_MONOTONIC); }
int64_t monotonic_us() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return int64_t{now.tv_sec} * 1'000'000 + now.tv_nsec / 1000;
}
int64_t unix_ms() { return clock_ms(CLOCK_REALTIME); }
unsigned processors() {
  cpu_set_t set;
  return ::sched_getaffinity(0, sizeof set, &set) == 0 ? static_cast<unsigned>(CPU_COUNT(&set)) : 1;
}
bool random_bytes(void* to, size_t length) { return ::getrandom(to, length, 0) == static_cast<ssize_t>(length); }
uint64_t random_seed() {
  uint64_t seed = 0;
  if (::getrandom(&seed, sizeof seed, GRND_NONBLOCK) != static_cast<ssize_t>(sizeof seed))
    seed = static_cast<uint64_t>(clock_ms(CLOCK_MONOTONIC)) ^ static_cast<uint64_t>(::getpid()) << 32;
  return seed;
}

int open_folder(const char* path) { return checked(::open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)); }

int open_file(int folder, const char* name) {
  const int fd = ::openat(folder, name, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);  // a pipe is not waited for
  if (fd < 0) return -errno;
  struct stat info {};
  if (::fstat(fd, &info) == 0 && S_ISREG(info.st_mode)) return fd;
  ::close(fd);
  return -EINVAL;
}

int lock_file(int fd) { return checked(::flock(fd, LOCK_EX | LOCK_NB)); }

int64_t file_size(int fd) {
  struct stat info {};
  return ::fstat(fd, &info) < 0 ? -errno : info.st_size;
}

int64_t free_space(int fd) {
  struct statvfs info {};
  return ::fstatvfs(fd, &info) < 0 ? -errno : static_cast<int64_t>(info.f_bavail * info.f_frsize);
}

ssize_t read_at(int fd, void* data, size_t length, uint64_t offset) {
  return again([&] { return ::pread(fd, data, length, static_cast<off_t>(offset)); });
}
ssize_t write_at(int fd, const iovec* parts, int count, uint64_t offset) {
  return again([&] { return ::pwritev(fd, parts, count, static_cast<off_t>(offset)); });
}
int set_file_size(int fd, uint64_t size) {
  return again([&] { return ::ftruncate(fd, static_cast<off_t>(size)); });
}
int sync_file(int fd) { return checked(::fdatasync(fd)); }
int sync_folder(int fd) { return checked(::fsync(fd)); }

int sync_open(unsigned most, SyncQueue* queue) {
  *queue = 0;
  return checked(static_cast<int>(::syscall(SYS_io_setup, most, queue)));
}

int sync_begin(SyncQueue queue, int fd, int event) {
  iocb call{};  // the kernel takes a copy
  call.aio_lio_opcode = IOCB_CMD_FDSYNC;
  call.aio_fildes = static_cast<uint32_t>(fd);
  call.aio_flags = IOCB_FLAG_RESFD;
  call.aio_resfd = static_cast<uint32_t>(event);
  iocb* calls[] = {&call};
  return checked(static_cast<int>(::syscall(SYS_io_submit, queue, 1, calls)));
}

int sync_take(SyncQueue queue, int* results, int most) {
  std::array<io_event, 16> events{};
  timespec at_once{};
  const auto room = std::min(most, static_cast<int>(events.size()));
  const auto n = again([&] { return static_cast<int>(::syscall(SYS_io_getevents, queue, 0, room, events.data(), &at_once)); });
  for (int i = 0; i < n; ++i) results[i] = static_cast<int>(events[static_cast<size_t>(i)].res);
  return n;
}

void sync_close(SyncQueue queue) { static_cast<void>(::syscall(SYS_io_destroy, queue)); }
int event_open() { return checked(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)); }
void event_clear(int fd) {
  uint64_t count = 0;
  static_cast<void>(again([&] { return ::read(fd, &count, sizeof count); }));
}

int read_file(const char* path, size_t max, std::string& out, bool wait) {
  const int fd = ::open(path, O_RDONLY | O_CLOEXEC | (wait ? 0 : O_NONBLOCK));  // a pipe may be waited for, as cat(1) does
  if (fd < 0) return -errno;
  out.clear();
  struct stat info {};
  constexpr size_t kPiece = 65536;
  if (::fstat(fd, &info) == 0 && info.st_size > 0) out.reserve(std::min(static_cast<size_t>(info.st_size), max) + kPiece);
  int result = 0;
  for (;;) {
    const size_t had = out.size();
    out.resize(had + kPiece);
    const auto n = again([&] { return ::read(fd, out.data() + had, kPiece); });
    out.resize(had + static_cast<size_t>(std::max<ssize_t>(n, 0)));
    if (n < 0) result = static_cast<int>(n);
    if (n <= 0) break;
    if (out.size() > max) {
      result = -EFBIG;
      break;
    }
  }
  ::close(fd);
  return result;
}

int umask(int mask) { return static_cast<int>(::umask(static_cast<mode_t>(mask))); }
int unlink(const char* path) { return checked(::unlink(path)); }
bool is_socket(const char* path) {
  struct stat info {};
  return ::lstat(path, &info) == 0 && S_ISSOCK(info.st_mode);
}

int raise_descriptor_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) < 0) return -errno;
  if (limit.rlim_cur < limit.rlim_max) {
    const rlim_t before = limit.rlim_cur;
    limit.rlim_cur = limit.rlim_max;
    if (::setrlimit(RLIMIT_NOFILE, &limit) < 0) limit.rlim_cur = before;
  }
  return static_cast<int>(std::min<rlim_t>(limit.rlim_cur, 1 << 30));
}

bool is_open(int fd) { return ::fcntl(fd, F_GETFD) >= 0; }
bool is_readable(int fd) {
  pollfd look{fd, POLLIN, 0};
  return ::poll(&look, 1, 0) == 1;
}

void fill_standard_descriptors() {
  for (int fd = 0; fd <= 2; ++fd)
    if (!is_open(fd)) static_cast<void>(::open("/dev/null", O_RDWR));  // the lowest free number, which is fd
}

// A terminal that polls writable may have room for one byte and block at the second; O_NONBLOCK on stderr itself would be set
// for everybody who shares it. So it is opened again, which makes a description of our own.
int log_open() {
  struct stat info {};
  if (::fstat(2, &info) < 0 || (!S_ISCHR(info.st_mode) && !S_ISFIFO(info.st_mode))) return 2;
  const int fd = ::open("/proc/self/fd/2", O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC | O_APPEND);
  return fd < 0 ? 2 : fd;
}

void wait_writable(int fd, int milliseconds) {
  pollfd ready{fd, POLLOUT, 0};
  static_cast<void>(::poll(&ready, 1, milliseconds));
}

// poll first, for a stderr that could not be opened again. A pipe that polls writable takes PIPE_BUF bytes.
ssize_t log_write(int fd, const char* data, size_t length) {
  pollfd ready{fd, POLLOUT, 0};
  if (::poll(&ready, 1, 0) == 0) return -EAGAIN;
  return again([&] { return ::write(fd, data, length); });
}

bool same_file(int fd, const char* device_inode) {
  struct stat info {};
  if (::fstat(fd, &info) < 0) return false;
  return std::to_string(info.st_dev) + ":" + std::to_string(info.st_ino) == device_inode;
}

int send_datagram(const char* unix_path, const char* data, size_t length) {
  sockaddr_un to{};
  to.sun_family = AF_UNIX;
  const size_t size = std::strlen(unix_path);
  if (size == 0 || size >= sizeof to.sun_path) return -EINVAL;
  std::memcpy(to.sun_path, unix_path, size);
  if (to.sun_path[0] == '@') to.sun_path[0] = '\0';  // the abstract name space
  const int fd = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return -errno;
  const auto whole = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + size);
  const auto n = ::sendto(fd, data, length, MSG_NOSIGNAL, reinterpret_cast<const sockaddr*>(&to), whole);
  const int result = n < 0 ? -errno : 0;
  ::close(fd);
  return result;
}

// Text and constants are pages of our file. Where they have been looked at they count as ours, and most of it was for the start:
// reading a configuration takes more code than relaying.
void forget_code() {
  const auto page = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE));
  const auto base = reinterpret_cast<uintptr_t>(&__ehdr_start);
  const auto* const segments = reinterpret_cast<const ElfW(Phdr)*>(base + __ehdr_start.e_phoff);
  const uintptr_t bias = __ehdr_start.e_type == ET_DYN ? base : 0;
  for (const auto& segment : std::span{segments, __ehdr_start.e_phnum}) {
    if (segment.p_type != PT_LOAD || (segment.p_flags & PF_W) != 0) continue;
    const uintptr_t begin = (bias + segment.p_vaddr) / page * page;
    static_cast<void>(::madvise(reinterpret_cast<void*>(begin), bias + segment.p_vaddr + segment.p_memsz - begin, MADV_DONTNEED));
  }
}

int process_id() { return ::getpid(); }
int make_folder(const char* path) { return checked(::mkdir(path, 0700)); }

std::vector<std::string> list_folder(const char* path) {
  std::vector<std::string> names;
  DIR* folder = ::opendir(path);
  if (folder == nullptr) return names;
  while (const dirent* entry = ::readdir(folder)) names.emplace_back(entry->d_name);
  ::closedir(folder);
  std::sort(names.begin(), names.end());
  return names;
}

bool is_terminal(int fd) { return ::isatty(fd) == 1; }
TerminalSize terminal_size(int fd) {
  winsize size{};
  return ::ioctl(fd, TIOCGWINSZ, &size) == 0 ? TerminalSize{size.ws_col, size.ws_row} : TerminalSize{};
}

int64_t cpu_us() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  const auto us = [](const timeval& t) { return int64_t{t.tv_sec} * 1'000'000 + t.tv_usec; };
  return us(usage.ru_utime) + us(usage.ru_stime);
}

// The second number of /proc/self/statm, in pages (proc(5)).
int64_t resident_bytes() {
  std::string text;
  if (const int error = read_file("/proc/self/statm", 4096, text); error < 0) return error;
  const size_t space = text.find(' ');
  return space == std::string::npos ? -EINVAL : std::strtoll(text.c_str() + space, nullptr, 10) * ::sysconf(_SC_PAGESIZE);
}

// What it refuses goes into the kernel's log (audit) by this flag, what it kills always.
int set_filter(const sock_filter* code, size_t length) {
  const sock_fprog program{static_cast<uint16_t>(length), const_cast<sock_filter*>(code)};  // the kernel only reads it
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) return -errno;
  return checked(static_cast<int>(::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_LOG, &program)));
}

int socket_pair(int type, int ends[2]) { return checked(::socketpair(AF_UNIX, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends)); }

namespace {
constexpr size_t kFdsMost = 8;  // with one datagram
union FdSpace {
  cmsghdr head;
  char bytes[CMSG_SPACE(kFdsMost * sizeof(int))];
};
}  // namespace

ssize_t send_fds(int fd, const void* data, size_t length, const int* fds, size_t count) {
  if (count > kFdsMost) return -EINVAL;
  iovec part{const_cast<void*>(data), length};  // the kernel only reads it
  FdSpace space{};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  if (count > 0) {
    message.msg_control = space.bytes;
    message.msg_controllen = CMSG_SPACE(count * sizeof(int));
    cmsghdr* head = CMSG_FIRSTHDR(&message);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(count * sizeof(int));
    std::memcpy(CMSG_DATA(head), fds, count * sizeof(int));
  }
  return again([&] { return ::sendmsg(fd, &message, MSG_NOSIGNAL); });
}

ssize_t receive_fds(int fd, void* data, size_t length, int* fds, size_t* count) {
  iovec part{data, length};
  FdSpace space{};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = space.bytes;
  message.msg_controllen = sizeof space.bytes;
  const auto n = again([&] { return ::recvmsg(fd, &message, MSG_CMSG_CLOEXEC); });
  const size_t most = *count;
  *count = 0;
  if (n < 0) return n;
  for (cmsghdr* head = CMSG_FIRSTHDR(&message); head != nullptr; head = CMSG_NXTHDR(&message, head)) {
    if (head->cmsg_level != SOL_SOCKET || head->cmsg_type != SCM_RIGHTS) continue;
    const size_t came = (head->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < came; ++i) {
      int one = -1;
      std::memcpy(&one, CMSG_DATA(head) + i * sizeof(int), sizeof one);
      if (*count < most) fds[(*count)++] = one;
      else ::close(one);
    }
  }
  return n;
}

int fork() { return checked(static_cast<int>(::fork())); }
int reap(int* status) { return static_cast<int>(std::max<pid_t>(0, ::waitpid(-1, status, WNOHANG))); }
void kill(int pid) { static_cast<void>(::kill(pid, SIGKILL)); }
void exit_at_once(int status) { ::_exit(status); }

void close_others(const int* kept, size_t count) {
  std::array<int, kFdsMost> stay{};
  CHECK(count <= stay.size());
  std::copy_n(kept, count, stay.begin());
  auto* const last = stay.begin() + static_cast<std::ptrdiff_t>(count);
  std::sort(stay.begin(), last);
  unsigned from = 3;
  bool done = true;
  for (auto* at = stay.begin(); at != last; from = static_cast<unsigned>(*at++) + 1)
    if (static_cast<unsigned>(*at) > from) done = ::close_range(from, static_cast<unsigned>(*at) - 1, 0) == 0 && done;
  if (::close_range(from, ~0U, 0) == 0 && done) return;
  for (const std::string& name : list_folder("/proc/self/fd"))  // a kernel before 5.9
    if (const auto fd = static_cast<int>(std::strtol(name.c_str(), nullptr, 10)); fd > 2 && !std::binary_search(stay.begin(), last, fd)) ::close(fd);
}

void name_process(const char* name) { static_cast<void>(::prctl(PR_SET_NAME, name)); }

void ignore_signals() {
  for (const int signal : {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGQUIT, SIGPIPE}) std::signal(signal, SIG_IGN);
  std::signal(SIGCHLD, SIG_DFL);  // who started us may have ignored it
}

void wait_readable(const int* fds, size_t count) {
  std::array<pollfd, kFdsMost> all{};
  for (size_t i = 0; i < count; ++i) all[i] = {fds[i], POLLIN, 0};
  static_cast<void>(again([&] { return ::poll(all.data(), count, -1); }));
}

void* share_memory(size_t bytes) {
  void* at = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  return at == MAP_FAILED ? nullptr : at;
}

}  // namespace relay::sys

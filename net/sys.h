// SPDX-License-Identifier: Apache-2.0
// Sys: the seam between relay and the kernel. Every call about sockets, pipes, clocks, signals and files goes through one of
// these functions, and nothing else in the program includes the kernel's headers for them: another set of definitions of
// the same names (a simulated kernel) can be linked in place of sys.cpp under unchanged code.
//
// They are thin: one call each, the kernel's own shapes. What differs: they return -errno, never set errno, restart after
// EINTR, and every descriptor is close-on-exec and non-blocking.
#pragma once

#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

struct sock_filter;

namespace relay::sys {

// Sockets. Each returns what the kernel returned (>= 0) or -errno.
int socket(int family, int type);
int bind(int fd, const sockaddr* addr, socklen_t length);
int listen(int fd, int backlog);
int accept(int fd, sockaddr* addr, socklen_t* length);
int connect(int fd, const sockaddr* addr, socklen_t length);
int socket_error(int fd);  // SO_ERROR: takes the pending error; 0 or a positive errno
int set_option(int fd, int level, int name, const void* value, socklen_t length);
int sockname(int fd, sockaddr* addr, socklen_t* length);
int adopt_listener(int fd);  // one from outside: non-blocking and close-on-exec from now on; -EINVAL if it is no listening stream socket
int duplicate(int fd);
int shutdown_write(int fd);
int unsent(int fd);        // SIOCOUTQ: bytes, and a FIN, that the peer has not acknowledged
int unread(int fd);        // FIONREAD: bytes that have come and were not read
ssize_t recv(int fd, void* data, size_t length);
ssize_t peek(int fd, void* data, size_t length);               // MSG_PEEK
ssize_t send(int fd, const void* data, size_t length);         // MSG_NOSIGNAL
ssize_t readv(int fd, const iovec* parts, int count);
ssize_t sendv(int fd, const iovec* parts, int count);          // MSG_NOSIGNAL
ssize_t splice(int from, int to, size_t length);               // one end is a pipe
int close(int fd);
ssize_t recvfrom(int fd, void* data, size_t length, sockaddr* from, socklen_t* from_length);

// A pipe of about `bytes`: fills both ends and the number of its slots; fewer slots than asked for if the kernel says so.
int pipe(int ends[2], size_t bytes, int* slots);

// Events.
int epoll_create();
int epoll_add(int epoll, int fd, uint32_t events, uint64_t data);
int epoll_modify(int epoll, int fd, uint32_t events, uint64_t data);
int epoll_remove(int epoll, int fd);
int epoll_wait(int epoll, epoll_event* events, int count, int timeout_ms);

// Signals: blocks those in `signals` (ended by 0) that are not ignored and returns a descriptor that reports them; takes one, 0 if none waits.
int signal_open(const int* signals);
int signal_take(int fd);

// Clocks, in milliseconds, and a seed from the kernel's random source.
int64_t monotonic_ms();
int64_t monotonic_us();
int64_t unix_ms();
uint64_t random_seed();
bool random_bytes(void* to, size_t length);  // the kernel's, fit for secrets
// That this process may run on.
unsigned processors();

// Files that are open for reading and writing: a spool's. Made before the loop runs; then read, written and shortened, which the kernel does in
// its own memory. Waiting for the disk is sync_begin's, or who calls sync_file waits.
int open_folder(const char* path);
int open_file(int folder, const char* name);  // makes it if it is not there, mode 0600; -EINVAL if it is no plain file, follows no link
int lock_file(int fd);                        // for as long as it is open; -EAGAIN: another has it
int64_t file_size(int fd);
int64_t free_space(int fd);                   // of the file system, in bytes
ssize_t read_at(int fd, void* data, size_t length, uint64_t offset);
ssize_t write_at(int fd, const iovec* parts, int count, uint64_t offset);
int set_file_size(int fd, uint64_t size);
int sync_file(int fd);                        // fdatasync(2)
int sync_folder(int fd);
// The same without waiting (io_submit(2)): when it has finished, `event` becomes readable, and sync_take says what came of it.
using SyncQueue = unsigned long;
int sync_open(unsigned most, SyncQueue* queue);
int sync_begin(SyncQueue queue, int fd, int event);
int sync_take(SyncQueue queue, int* results, int most);  // how many have finished; each result is 0 or -errno
void sync_close(SyncQueue queue);                        // waits for those under way
int event_open();                                        // an eventfd(2)
void event_clear(int fd);

// Files and processes; all but log_write only before the loop runs or after it.
int read_file(const char* path, size_t max, std::string& out, bool wait = true);  // 0, or -errno; -EFBIG past `max`; !wait: no pipe is waited for
int unlink(const char* path);
int umask(int mask);                     // of files made from now on; returns the one before
bool is_socket(const char* path);
int raise_descriptor_limit();            // soft to hard; returns the limit now in force
bool is_open(int fd);
bool is_readable(int fd);                // of a listening socket: somebody waits
void fill_standard_descriptors();        // 0, 1 and 2, where closed, become /dev/null: no socket may be taken for the log
int log_open();                          // a descriptor for stderr that does not block, as far as it can be had
void wait_writable(int fd, int milliseconds);
ssize_t log_write(int fd, const char* data, size_t length);  // -EAGAIN instead of blocking
bool same_file(int fd, const char* device_inode);  // "DEV:INO" as in $JOURNAL_STREAM
int send_datagram(const char* unix_path, const char* data, size_t length);  // for sd_notify(3)
void forget_code();                      // unmaps from memory what ran at the start; what is needed again is found in the file
int process_id();
int make_folder(const char* path);       // mode 0700
std::vector<std::string> list_folder(const char* path);  // the names in it, sorted; none if it cannot be read
bool is_terminal(int fd);
struct TerminalSize {
  size_t columns = 0;
  size_t rows = 0;
};
TerminalSize terminal_size(int fd);      // 0 and 0: it is none, or does not know
int64_t cpu_us();                        // processor time used so far
int64_t resident_bytes();                // or -errno
int set_filter(const sock_filter* code, size_t length);  // seccomp(2): for good, and no new privileges from then on

// Processes of our own, and what is shared with them.
int socket_pair(int type, int ends[2]);  // of Unix sockets
// One datagram, and descriptors with it. `count`: how many there may be, then how many have come.
ssize_t send_fds(int fd, const void* data, size_t length, const int* fds, size_t count);
ssize_t receive_fds(int fd, void* data, size_t length, int* fds, size_t* count);
int fork();                   // 0 in the child
int reap(int* status);        // the number of a child that has ended, 0 if none has; `status` as wait(2) has it
void kill(int pid);           // SIGKILL
[[noreturn]] void exit_at_once(int status);  // nothing is flushed or destroyed
void close_others(const int* kept, size_t count);  // all descriptors but 0, 1, 2 and these
void name_process(const char* name);  // as top(1) shows it, 15 characters
void ignore_signals();        // those that a terminal or a service manager sends to all processes of a group
void wait_readable(const int* fds, size_t count);  // blocks until one of them is
void* share_memory(size_t bytes);     // zeroed, and the same for all that are forked from now on; nullptr: there is none

}  // namespace relay::sys

// SPDX-License-Identifier: Apache-2.0
// Sockets before they are connections: options, and making one that listens or dials.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include "lib/status.h"
#include "net/addr.h"
#include "net/fd.h"

namespace relay {

// What a TCP socket is told (tcp(7)). A listening socket hands all of it down to those it accepts, so that accepting costs
// no further calls. Zero durations: the kernel's own behaviour.
struct SockOptions {
  bool nodelay = true;
  std::chrono::seconds keepalive{60};  // idle time before the first probe; 0 turns keepalive off
  std::chrono::seconds keepalive_interval{10};
  uint32_t keepalive_count = 6;
  std::chrono::milliseconds user_timeout{0};  // unacknowledged for that long: dead
  uint32_t unsent_most = 0;            // bytes that the kernel takes before it has sent what it has (TCP_NOTSENT_LOWAT); 0: as many as its buffer holds
  bool shared = false;                 // to listen: other sockets of the same user may listen there, too (SO_REUSEPORT)
};

// For a socket that will be bound or connected to `addr`. Urgent bytes (RFC 6093) are kept in line, as ordinary bytes: so none
// is lost. Within this machine there is no congestion, and a system-wide algorithm that paces (bbr) would only cost timers:
// a loopback address gets reno, which every kernel has and allows to everybody.
Status apply_options(int fd, const Addr& addr, const SockOptions& options);
// The same for a socket that may have been told otherwise before.
Status change_options(int fd, const Addr& addr, const SockOptions& options);

struct Listening {
  Fd fd;
  Addr addr;         // with the port that the kernel chose, if it was asked to
  std::string path;  // of a Unix socket

  std::string text() const { return path.empty() ? addr.text() : "unix:" + path; }  // "127.0.0.1:9000", "unix:/run/x.sock"
};
// Binds and listens. A Unix socket that nobody listens on any more is replaced; one in use, and any other file, is not.
// The Status tells "in use", "no permission" and "no such address" apart by its errno.
Result<Listening> listen_on(const Endpoint& where, const SockOptions& options);
// What `fd`, which listens already, is bound to.
Result<Listening> listening_at(Fd fd);
// Removes the file of a Unix socket that nobody listens on. Whether it did.
bool remove_stale(const std::string& path);

struct Connecting {
  Fd fd;
  bool done = false;  // connected already, as it is within a machine more often than not
};
// Begins to connect. If not done, the connection is there, or has failed, when the descriptor turns writable. `path` for a Unix
// socket.
Result<Connecting> begin_connect(const Addr& to, const std::string& path, const SockOptions& options);

// Urgent bytes stay in their place among the others. For a Unix socket, which does not inherit it.
void keep_urgent_in_line(int fd);

// Whether the connection's two ends are one and the same: TCP connects a socket to itself if it is given the port that it dials
// and nobody listens there (simultaneous open, RFC 9293 section 3.5).
bool connected_to_itself(int fd, const Addr& peer);

// Closing will send a reset instead of an orderly end (SO_LINGER with 0).
void reset_on_close(int fd);

}  // namespace relay

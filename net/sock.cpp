// SPDX-License-Identifier: Apache-2.0
// Sockets before they are connections.
#include "net/sock.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/un.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string_view>

namespace relay {
namespace {

constexpr int kBacklog = 4096;  // the kernel lowers it to net.core.somaxconn

Status set(int fd, int level, int name, int value, const char* reason) {
  const int error = sys::set_option(fd, level, name, &value, sizeof value);
  return error < 0 ? from_errno(-error, reason) : Status{};
}

int as_int(int64_t value) { return static_cast<int>(std::clamp<int64_t>(value, 1, INT32_MAX)); }

// The length that bind and connect want, 0 if the path is too long.
socklen_t unix_addr(const std::string& path, sockaddr_storage& storage) {
  auto& addr = reinterpret_cast<sockaddr_un&>(storage);
  if (path.empty() || path.size() >= sizeof addr.sun_path) return 0;
  addr.sun_family = AF_UNIX;
  std::memcpy(addr.sun_path, path.c_str(), path.size() + 1);
  return static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size() + 1);
}

const sockaddr* generic(const sockaddr_storage& storage) { return reinterpret_cast<const sockaddr*>(&storage); }

int family_of(const sockaddr_storage& storage) { return storage.ss_family; }

}  // namespace

// A socket file outlives the process that made it. Nobody answers: it may go.
bool remove_stale(const std::string& path) {
  sockaddr_storage storage{};
  const socklen_t length = unix_addr(path, storage);
  if (length == 0 || !sys::is_socket(path.c_str())) return false;
  // Of another type, so that whoever listens there notices nothing: EPROTOTYPE if somebody does.
  const Fd probe{sys::socket(AF_UNIX, SOCK_DGRAM)};
  if (!probe.open() || sys::connect(probe.get(), generic(storage), length) != -ECONNREFUSED) return false;
  return sys::unlink(path.c_str()) == 0;
}

Status apply_options(int fd, const Addr& addr, const SockOptions& options) {
  if (addr.family == Addr::Family::kUnix) return {};
  constexpr std::string_view kReno = "reno";
  if (addr.is_loopback()) static_cast<void>(sys::set_option(fd, IPPROTO_TCP, TCP_CONGESTION, kReno.data(), kReno.size()));
  Status status = set(fd, SOL_SOCKET, SO_OOBINLINE, 1, "setsockopt SO_OOBINLINE");
  if (status.ok() && options.nodelay) status = set(fd, IPPROTO_TCP, TCP_NODELAY, 1, "setsockopt TCP_NODELAY");
  if (status.ok() && options.user_timeout.count() > 0)
    status = set(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, as_int(options.user_timeout.count()), "setsockopt TCP_USER_TIMEOUT");
  if (status.ok() && options.unsent_most > 0) status = set(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, as_int(options.unsent_most), "setsockopt TCP_NOTSENT_LOWAT");
  if (options.keepalive.count() == 0) return status;
  if (status.ok()) status = set(fd, SOL_SOCKET, SO_KEEPALIVE, 1, "setsockopt SO_KEEPALIVE");
  if (status.ok()) status = set(fd, IPPROTO_TCP, TCP_KEEPIDLE, as_int(options.keepalive.count()), "setsockopt TCP_KEEPIDLE");
  if (status.ok())
    status = set(fd, IPPROTO_TCP, TCP_KEEPINTVL, as_int(options.keepalive_interval.count()), "setsockopt TCP_KEEPINTVL");
  if (status.ok()) status = set(fd, IPPROTO_TCP, TCP_KEEPCNT, as_int(options.keepalive_count), "setsockopt TCP_KEEPCNT");
  return status;
}

Status change_options(int fd, const Addr& addr, const SockOptions& options) {
  if (addr.family == Addr::Family::kUnix) return {};
  Status status = set(fd, IPPROTO_TCP, TCP_NODELAY, 0, "setsockopt TCP_NODELAY");
  if (status.ok()) status = set(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, 0, "setsockopt TCP_USER_TIMEOUT");
  if (status.ok()) status = set(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, 0, "setsockopt TCP_NOTSENT_LOWAT");
  if (status.ok()) status = set(fd, SOL_SOCKET, SO_KEEPALIVE, 0, "setsockopt SO_KEEPALIVE");
  return status.ok() ? apply_options(fd, addr, options) : status;
}

Result<Listening> listen_on(const Endpoint& where, const SockOptions& options) {
  sockaddr_storage storage{};
  const bool local = where.kind == Endpoint::Kind::kUnix;
  socklen_t length = local ? unix_addr(where.host, storage) : where.addr.to_sockaddr(storage);
  if (length == 0) return Status{Code::kInvalid, "bind", ENAMETOOLONG};

  const int made = sys::socket(family_of(storage), SOCK_STREAM);
  if (made < 0) return from_errno(-made, "socket");
  Fd owner{made};
  const int fd = made;
  if (!local) {
    Status status = set(fd, SOL_SOCKET, SO_REUSEADDR, 1, "setsockopt SO_REUSEADDR");
    if (status.ok() && options.shared) status = set(fd, SOL_SOCKET, SO_REUSEPORT, 1, "setsockopt SO_REUSEPORT");
    // "::" means both families; the machine's own default for this may be otherwise.
    if (status.ok() && family_of(storage) == AF_INET6) status = set(fd, IPPROTO_IPV6, IPV6_V6ONLY, 0, "setsockopt IPV6_V6ONLY");
    if (status.ok()) status = apply_options(fd, where.addr, options);
    if (!status.ok()) return status;
  }
  int error = sys::bind(fd, generic(storage), length);
  if (error == -EADDRINUSE && local && remove_stale(where.host)) error = sys::bind(fd, generic(storage), length);
  if (error < 0) return from_errno(-error, "bind");
  error = sys::listen(fd, kBacklog);
  if (error < 0) return from_errno(-error, "listen");

  return listening_at(std::move(owner));
}

Result<Listening> listening_at(Fd fd) {
  sockaddr_storage storage{};
  socklen_t length = sizeof storage;
  const int error = sys::sockname(fd.get(), reinterpret_cast<sockaddr*>(&storage), &length);
  if (error < 0) return from_errno(-error, "getsockname");
  Listening result{std::move(fd), Addr::from_sockaddr(storage, length), {}};
  if (result.addr.family == Addr::Family::kNone) return Status{Code::kInvalid, "getsockname", EAFNOSUPPORT};
  if (result.addr.family != Addr::Family::kUnix) return result;
  const auto& local = reinterpret_cast<const sockaddr_un&>(storage);
  constexpr size_t kHead = offsetof(sockaddr_un, sun_path);
  result.path = std::string(local.sun_path, strnlen(local.sun_path, length > kHead ? length - kHead : 0));
  if (result.path.empty()) return Status{Code::kInvalid, "a Unix socket without a path", EINVAL};
  return result;
}

Result<Connecting> begin_connect(const Addr& to, const std::string& path, const SockOptions& options) {
  sockaddr_storage storage{};
  const socklen_t length = to.family == Addr::Family::kUnix ? unix_addr(path, storage) : to.to_sockaddr(storage);
  if (length == 0) return Status{Code::kInvalid, "connect", ENAMETOOLONG};
  const int made = sys::socket(family_of(storage), SOCK_STREAM);
  if (made < 0) return from_errno(-made, "socket");
  Fd fd{made};
  const Status status = apply_options(fd.get(), to, options);
  if (!status.ok()) return status;
  int error = sys::connect(fd.get(), generic(storage), length);
  // On loopback the handshake is over by the time that the call returns, which says so only if it is asked again: that costs
  // less than another turn.
  if (error == -EINPROGRESS && to.is_loopback()) error = sys::connect(fd.get(), generic(storage), length);
  if (error < 0 && error != -EINPROGRESS && error != -EALREADY) return from_errno(-error, "connect");
  return Connecting{std::move(fd), error == 0};
}

void keep_urgent_in_line(int fd) { static_cast<void>(set(fd, SOL_SOCKET, SO_OOBINLINE, 1, "setsockopt SO_OOBINLINE")); }

bool connected_to_itself(int fd, const Addr& peer) {
  sockaddr_storage storage{};
  socklen_t length = sizeof storage;
  if (sys::sockname(fd, reinterpret_cast<sockaddr*>(&storage), &length) < 0) return false;
  const Addr own = Addr::from_sockaddr(storage, length);
  return own.family != Addr::Family::kUnix && own.port == peer.port && own.same_host(peer);
}

void reset_on_close(int fd) {
  const linger now{1, 0};
  static_cast<void>(sys::set_option(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now));
}

}  // namespace relay

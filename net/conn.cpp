// SPDX-License-Identifier: Apache-2.0
// Conn: what the kernel's answers mean.
#include "net/conn.h"

#include <cerrno>

#include "net/sock.h"

namespace relay {

Status Conn::open(Socket socket) {
  CHECK(!fd_.open());
  const bool quiet = socket.watcher == nullptr && socket.family == Addr::Family::kUnix && socket.tls == nullptr;
  if (socket.watcher != nullptr) {
    loop_.hand_over(*socket.watcher, *this);
  } else if (const Status status = loop_.watch(*this, socket.fd.get(), quiet ? kWithoutRoom : kEvents); !status.ok()) {
    return status;
  }
  const uint32_t events = socket.events;
  opened(std::move(socket));
  asks_ = !quiet;
  ask_for_room(false);
  learn(events);
  return {};
}

// A TCP socket says that there is room when there was none. A Unix socket says it each time that its peer has read something, which would
// wake us for each reply: so it is asked only while there is none. (An end of TLS speaks when it likes: it is always asked.)
void Conn::ask_for_room(bool yes) {
  if (!unix_ || tls_ != nullptr || (yes ? asks_ : !asks_)) return;
  asks_ = yes;
  const Status status = loop_.rewatch(*this, fd_.get(), yes ? kEvents : kWithoutRoom);
  if (!status.ok()) broken_ = true;  // nobody would tell
}

void Conn::opened(Socket socket) {
  fd_ = std::move(socket.fd);
  tls_ = std::move(socket.tls);
  unix_ = socket.family == Addr::Family::kUnix;
  if (unix_) keep_urgent_in_line(fd_.get());  // TCP sockets have it from their listener, or from before connect
  // Bytes that are there already are an event in the next turn; but not those that came with the end of a handshake.
  readable_ = tls_ != nullptr;
  writable_ = !holds_bytes();  // a new socket has room
  broken_ = urgent_ = shut_ = fin_seen_ = false;
  failed_ = Code::kOk;
}

void Conn::on_event(uint32_t events) {
  asked_ = events == 0;
  learn(events);
  if (writable_ && holds_bytes() && flush_tls().ok() && tls_->held_up()) readable_ = true;
  user_.on_ready(*this);
}

void Conn::learn(uint32_t events) {
  if ((events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR | EPOLLPRI)) != 0) readable_ = true;
  if ((events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) != 0) {
    writable_ = true;
    ask_for_room(false);
  }
  if ((events & EPOLLERR) != 0) broken_ = true;
  // A reset shows as RDHUP too, but with ERR, unless a write has taken the error already.
  if ((events & EPOLLRDHUP) != 0 && !broken_) fin_seen_ = true;
  if ((events & EPOLLPRI) != 0) urgent_ = true;
}

// After a read that was not full a TCP socket is empty, and news will come as an event (epoll(7)), unless it stopped before
// urgent bytes or the end has come already: then one more read is due. A Unix socket stops where descriptors were passed.
Result<size_t> Conn::took(ssize_t n, size_t asked, const char* call) {
  if (n > 0) {
    if (static_cast<size_t>(n) < asked && !unix_ && !urgent_ && !broken_ && !fin_seen_) readable_ = false;
    return static_cast<size_t>(n);
  }
  if (n == 0) {
    readable_ = false;
    if (failed_ != Code::kOk && !fin_seen_) return Status{failed_, call};
    return Status{Code::kEof, call};
  }
  const Status status = from_errno(static_cast<int>(-n), call);
  readable_ = false;
  if (status.code() != Code::kAgain) broken_ = true;
  return status;
}

Result<size_t> Conn::gave(ssize_t n, size_t asked, const char* call) {
  if (n >= 0) {
    if (static_cast<size_t>(n) < asked) {
      writable_ = false;
      ask_for_room(true);
    }
    return static_cast<size_t>(n);
  }
  const Status status = from_errno(static_cast<int>(-n), call);
  writable_ = false;
  if (status.code() != Code::kAgain) {
    broken_ = true;
    failed_ = status.code();
  } else {
    ask_for_room(true);
  }
  return status;
}

// The kernel and the layer above it may both have more. Bytes that the kernel has are an event, those of the layer are not.
Result<size_t> Conn::read_tls(std::span<std::byte> into) {
  Result<size_t> got = tls_->read(into);
  if (tls_->unsent() > 0) writable_ = false;  // it had to say something itself
  if (got.ok()) {
    if (tls_->drained() && !unix_ && !urgent_ && !broken_ && !fin_seen_) readable_ = false;
    return got;
  }
  readable_ = false;
  const Code code = got.status().code();
  // It goes on in the next turn, after others, or else when the socket has room.
  if (code == Code::kAgain && tls_->held_up() && tls_->unsent() == 0) try_reading(), again();
  if (code == Code::kAgain || code == Code::kEof) return got;
  broken_ = true;
  if (code == Code::kTruncated && failed_ != Code::kOk && !fin_seen_) return Status{failed_, "read"};
  return got;
}

Result<size_t> Conn::write_tls_parts(std::span<const iovec> from) {
  size_t given = 0;
  for (const iovec& part : from) {
    const Result<size_t> n = write_tls({static_cast<const std::byte*>(part.iov_base), part.iov_len});
    if (!n.ok()) return given > 0 ? Result<size_t>(given) : n;
    given += *n;
    if (*n < part.iov_len || !writable_) break;
  }
  return given;
}

Result<size_t> Conn::write_tls(std::span<const std::byte> from) {
  Result<size_t> given = tls_->write(from);
  if (tls_->unsent() > 0) writable_ = false;
  if (given.ok() || given.status().code() == Code::kAgain) return given;
  writable_ = false;
  broken_ = true;
  failed_ = given.status().code();
  return given;
}

Status Conn::flush_tls() {
  const Status status = tls_->flush();
  if (status.ok()) return status;
  writable_ = false;
  if (status.code() != Code::kAgain) {
    broken_ = true;
    failed_ = status.code();
  }
  return status;
}

Result<size_t> Conn::read(std::span<std::byte> into) {
  if (tls_ != nullptr) return read_tls(into);
  return took(sys::recv(fd_.get(), into.data(), into.size()), into.size(), "read");
}

Result<size_t> Conn::read(std::span<const iovec> into) {
  if (tls_ != nullptr) return read_tls({static_cast<std::byte*>(into.front().iov_base), into.front().iov_len});
  size_t asked = 0;
  for (const iovec& part : into) asked += part.iov_len;
  return took(sys::readv(fd_.get(), into.data(), static_cast<int>(into.size())), asked, "read");
}

Result<size_t> Conn::write(std::span<const std::byte> from) {
  if (tls_ != nullptr) return write_tls(from);
  return gave(sys::send(fd_.get(), from.data(), from.size()), from.size(), "write");
}

Result<size_t> Conn::write(std::span<const iovec> from) {
  if (tls_ != nullptr) return write_tls_parts(from);
  if (from.size() == 1) return write({static_cast<const std::byte*>(from.front().iov_base), from.front().iov_len});  // has less to look at
  size_t asked = 0;
  for (const iovec& part : from) asked += part.iov_len;
  return gave(sys::sendv(fd_.get(), from.data(), static_cast<int>(from.size())), asked, "write");
}

Result<size_t> Conn::splice_in(Pipe& pipe, size_t most) {
  CHECK(can_splice() && pipe.filled == 0);  // or EAGAIN would not tell whose it is
  const ssize_t n = sys::splice(fd_.get(), pipe.in.get(), most);
  if (n > 0) {
    // Not full is not empty here: the pipe may have run out of slots. readable_ stays until EAGAIN.
    pipe.filled = static_cast<size_t>(n);
    return pipe.filled;
  }
  if (n == -EAGAIN) return took(n, most, "splice");
  // The kernel's splice stops before urgent bytes, and then says "end" or the pending error though there is more to be read:
  // only a read can be believed. If it has taken the error, the read that finds the end must know.
  if (n < 0 && n != -EINVAL) {
    broken_ = true;
    failed_ = from_errno(static_cast<int>(-n), "splice").code();
  }
  return Status{Code::kInvalid, "splice", EINVAL};
}

Result<size_t> Conn::splice_out(Pipe& pipe) {
  const ssize_t n = sys::splice(pipe.out.get(), fd_.get(), pipe.filled);
  if (n == -EINVAL) return Status{Code::kInvalid, "splice", EINVAL};
  Result<size_t> result = gave(n, pipe.filled, "splice");
  if (result.ok()) pipe.filled -= *result;
  return result;
}

Status Conn::shutdown_write() {
  if (tls_ != nullptr) {
    const Status status = tls_->finish();
    if (status.code() == Code::kAgain) writable_ = false;
    if (!status.ok() && status.code() != Code::kAgain) {
      broken_ = true;
      failed_ = status.code();
    }
    if (!status.ok()) return status;
  }
  shut_ = true;
  const int error = sys::shutdown_write(fd_.get());
  if (error == 0) return {};
  // The peer has reset the connection a moment ago (ENOTCONN): reading will tell.
  const Status status = error == -ENOTCONN ? Status{Code::kReset, "shutdown", ENOTCONN} : from_errno(-error, "shutdown");
  broken_ = true;
  failed_ = status.code();
  return status;
}

void Conn::close() {
  if (!fd_.open()) return;
  if (tls_ != nullptr && !shut_ && !broken_ && !holds_bytes()) static_cast<void>(tls_->finish());
  loop_.forget(*this);
  tls_.reset();
  fd_.close();
  readable_ = writable_ = false;
}

void Conn::reset() {
  if (!fd_.open()) return;
  reset_on_close(fd_.get());
  tls_.reset();  // and no goodbye
  close();
}

int Conn::unsent() const {
  const int held = tls_ == nullptr ? 0 : static_cast<int>(tls_->unsent());
  return held + (unix_ ? 0 : sys::unsent(fd_.get()));
}

Addr Conn::local() const {
  sockaddr_storage storage{};
  socklen_t length = sizeof storage;
  if (sys::sockname(fd_.get(), reinterpret_cast<sockaddr*>(&storage), &length) < 0) return {};
  return Addr::from_sockaddr(storage, length);
}

bool Conn::unread() const { return sys::unread(fd_.get()) > 0; }

}  // namespace relay

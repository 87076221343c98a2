// SPDX-License-Identifier: Apache-2.0
// Conn: one connected, non-blocking stream socket and what is known of it without asking: whether reading and writing are
// worth a try, which halves have ended, how it failed.
//
//               shutdown_write()          close() / reset()
//   Closed ─open()─► Open ─────────► (write half ended) ─────────► Closed
//
// Its user pulls: on_ready says that something has changed, and the user then reads and writes until it is told kAgain. That
// (and not a push of bytes) is what lets the user splice, hold bytes back, or serve the other side first. A Conn owns no
// buffer. It reads before it believes an error: bytes that came before a reset are had first.
//
// With TLS beneath (Socket::tls) it is the same to its user but for two things: it cannot splice, and an end is a message of its
// own (close_notify), which shutdown_write() may have to wait with, and without which an end is none (Code::kTruncated).
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <span>

#include "lib/status.h"
#include "net/addr.h"
#include "net/fd.h"
#include "net/loop.h"
#include "net/pipe.h"
#include "net/socket.h"

namespace relay {

class Conn;

class ConnUser {
 public:
  // The connection can be read, written or has failed; or its user asked for another turn (again). The user may do anything
  // to the Conn in it but destroy it.
  virtual void on_ready(Conn& conn) = 0;

 protected:
  ~ConnUser() = default;
};

class Conn final : private Watcher {
 public:
  // Borrows both for its life.
  Conn(Loop& loop, ConnUser& user) : loop_(loop), user_(user) {}
  ~Conn() { close(); }

  static constexpr uint32_t kEvents = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLPRI;
  static constexpr uint32_t kWithoutRoom = kEvents & ~static_cast<uint32_t>(EPOLLOUT);

  // Takes over a connected socket, and its watch if somebody has it. On failure it is closed; where somebody watched there is
  // none. REQUIRES: closed.
  Status open(Socket socket);
  bool is_open() const { return fd_.open(); }

  // Each does what the system call of that name would, and remembers EAGAIN. kAgain: wait for on_ready. kEof: the peer has
  // finished. kTruncated: its TLS was cut off. Any other failure ends the half in question; the other may still work. Short reads and writes are normal.
  // REQUIRES: open, and for the spans: not empty.
  Result<size_t> read(std::span<std::byte> into);
  Result<size_t> read(std::span<const iovec> into);
  Result<size_t> write(std::span<const std::byte> from);
  Result<size_t> write(std::span<const iovec> from);
  bool can_splice() const { return tls_ == nullptr; }
  // From the socket into an empty pipe, and from a pipe into the socket; the pipe's `filled` follows. kInvalid: splice cannot
  // tell, or cannot do it; read() will. REQUIRES: can_splice().
  Result<size_t> splice_in(Pipe& pipe, size_t most);
  Result<size_t> splice_out(Pipe& pipe);

  // kAgain, with TLS only: what is on its way goes first; again when on_ready says so.
  Status shutdown_write();
  // Whether the end must be written, because closing does not say it. (close() then tries, and does not wait.)
  bool end_is_written() const { return tls_ != nullptr; }
  void close();  // orderly, as far as the peer has not sent what was not read (the kernel then resets)
  void reset();  // at once, with a reset; what the peer has not acknowledged is lost

  bool readable() const { return readable_; }  // a read is worth a try
  bool writable() const { return writable_; }
  bool broken() const { return broken_; }      // the connection has failed; bytes that came before may still be read
  bool finished() const { return fin_seen_; }  // the peer's orderly end has come; bytes before it may not have been read yet
  bool urgent() const { return urgent_; }      // urgent bytes have come: the kernel's splice stops before them for ever
  bool shut() const { return shut_; }          // shutdown_write() has been called
  // Bytes that the peer's kernel has not acknowledged yet, and 1 for an end. 0 for a Unix socket, whose peer has them at once.
  // With TLS: encrypted bytes, those included that the kernel has not taken.
  int unsent() const;
  int unsent_end() const { return !shut_ ? 0 : tls_ == nullptr ? 1 : 1 + tls_->end_size(); }  // how much of that is the end
  // Closing would throw bytes away that were written, because the kernel has not taken them.
  bool holds_bytes() const { return tls_ != nullptr && tls_->unsent() > 0; }
  const Tls* tls() const { return tls_.get(); }  // nullptr: none
  Addr local() const;   // its own end; kNone if the kernel does not say
  bool unread() const;  // the peer has sent what was not read: closing would be a reset
  bool asked() const { return asked_; }  // this on_ready is for again(), behind the turn's events; not for an event
  // A read is worth a try although no event has said so.
  void try_reading() { readable_ = true; }
  void again() { loop_.again(*this); }         // another on_ready in the next turn

 private:
  void on_event(uint32_t events) override;
  void opened(Socket socket);
  void learn(uint32_t events);
  void ask_for_room(bool yes);
  Result<size_t> took(ssize_t n, size_t asked, const char* call);
  Result<size_t> gave(ssize_t n, size_t asked, const char* call);
  Result<size_t> read_tls(std::span<std::byte> into);
  Result<size_t> write_tls(std::span<const std::byte> from);
  Result<size_t> write_tls_parts(std::span<const iovec> from);
  Status flush_tls();

  Loop& loop_;
  ConnUser& user_;
  std::unique_ptr<Tls> tls_;
  Fd fd_;  // behind what is wider: an idle pair is many times in memory
  bool readable_ : 1 = false;
  bool writable_ : 1 = false;
  bool broken_ : 1 = false;
  bool urgent_ : 1 = false;
  bool shut_ : 1 = false;
  bool unix_ : 1 = false;
  bool asks_ : 1 = true;  // for room, in its registration
  bool asked_ : 1 = false;
  bool fin_seen_ : 1 = false;  // the peer's orderly end was reported, though perhaps not read yet
  Code failed_ = Code::kOk;    // a failure that a write was told of: a later read must not take it for an orderly end
};

}  // namespace relay

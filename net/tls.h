// SPDX-License-Identifier: Apache-2.0
// TLS as a transport below Conn: what both sides are to each other (TlsContext), and one connection's state (Tls).
//
//   socket ◄─ sys::recv, sys::send ─► Tls (OpenSSL 3) ◄─ bytes ─► Conn         who uses a Conn need not know
//
// TLS 1.2 and 1.3, session tickets, no renegotiation, no compression, no early data. An end is close_notify; a connection that
// ends without one was cut off (Code::kTruncated). Nothing here is touched, and OpenSSL is not initialised, unless a tls:// is
// configured. Built without TLS (RELAY_TLS=OFF) kBuilt is false, load() says so, and no Tls is ever made.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "lib/status.h"
#include "net/buffer.h"
#include "net/timer.h"

struct ssl_st;
struct ssl_ctx_st;
struct bio_st;

namespace relay {

// What an operator may be told: `key` is the one that names the file.
struct TlsFault {
  std::string_view key;
  std::string what;
};

struct TlsConfig {
  bool server = false;
  std::string cert;          // PEM files. The certificate, and those between it and the root; a server needs one.
  std::string key;           // empty: it is in `cert`'s file
  std::string ca;            // who vouches for the peer; empty: for a client, whom the system trusts
  std::string_view ca_key;   // the name of the key that gave `ca`, for faults
  bool verify = false;       // the peer needs a certificate that `ca` vouches for
  std::vector<std::string> names;  // server, with verify: the certificate bears one of these (DNS, URI or CN); empty: any
  std::string server_name;   // client: what it asks for (SNI), and, with verify, the name or address the certificate must bear
  bool only_13 = false;
  // What may be spoken inside, as ALPN names it ("http/1.1"), each of 1 to 255 bytes: a client offers it, a server takes the first that is offered.
  std::vector<std::string> alpn;
  bool alpn_only = false;    // server: who offers others, and none of these, is refused (RFC 7301); who offers none is let in
};

// Certificates, trust and tickets of one side. Assigning a freshly loaded one is the rotation: new connections use that, those
// that are there go on as they are. Tickets of the old one are then worth a full handshake.
class TlsContext {
 public:
  static const bool kBuilt;

  TlsContext() = default;
  TlsContext(TlsContext&& o) noexcept : context_(std::exchange(o.context_, nullptr)), keyed_(o.keyed_) {}
  TlsContext& operator=(TlsContext&& o) noexcept {
    std::swap(context_, o.context_);
    std::swap(keyed_, o.keyed_);
    return *this;
  }
  ~TlsContext();  // NOLINT(performance-trivially-destructible): it is where TLS is built in

  // Reads the files; blocks as reading them does. Nothing: it is ready. A fault leaves it as it was.
  std::optional<TlsFault> load(const TlsConfig& config);
  bool loaded() const { return context_ != nullptr; }
  // What works but should not be left so: a certificate that has expired, or is not valid yet.
  std::vector<TlsFault> warnings(const TlsConfig& config) const;

 private:
  friend class Tls;
  ssl_ctx_st* context_ = nullptr;
  Time keyed_{};  // when the key of the tickets was made
};

class Tls {
 public:
  // For the socket `fd`, which the caller keeps open for as long. nullptr: no memory. REQUIRES: context.loaded().
  static std::unique_ptr<Tls> make(TlsContext& context, int fd, BufferPool& buffers, Time now);
  ~Tls();
  Tls(const Tls&) = delete;
  Tls& operator=(const Tls&) = delete;

  // Goes on with the handshake. kAgain: call again at the socket's next event. Any other failure is final, and in `why`.
  Status handshake(std::string& why);

  // REQUIRES, these three: the handshake is done. As Conn's. A write takes all or, while the socket is full, none or a part: what
  // it took is encrypted and cannot be taken back. It may be repeated with any bytes.
  Result<size_t> read(std::span<std::byte> into);
  Result<size_t> write(std::span<const std::byte> from);
  // Says close_notify. Again after kAgain.
  Status finish();
  int end_size() const { return end_size_; }  // of close_notify, in bytes, once it was said

  // Gives the socket what it did not take before. Ok: it has all.
  Status flush();
  size_t unsent() const { return out_.size(); }  // encrypted bytes that the socket has not taken
  // The last read has emptied both this and the socket, as far as the socket told: its next event will tell of more.
  bool drained() const;
  // The last read stopped though there may be more to be had: the peer does nothing but change keys, say, or the answers to that
  // have no room. It is to be called again in another turn, once unsent() is 0: no event may tell.
  bool held_up() const { return held_up_; }

  bool is_server() const;
  std::string_view version() const;  // "TLSv1.3"
  std::string_view cipher() const;   // "TLS_AES_128_GCM_SHA256"
  bool resumed() const;
  std::string_view sni() const;      // the name that a client has asked for; empty: none
  std::string_view alpn() const;     // what both have agreed to speak; empty: nothing was said about it
  std::string peer_name() const;     // the first name of the peer's certificate, or its subject's CN; empty without one

 private:
  friend struct TlsBio;
  Tls(ssl_st* ssl, int fd, BufferPool& buffers) : ssl_(ssl), buffers_(buffers), fd_(fd) {}
  // A peer needs 27 bytes for a new key, we some 20 µs. Who is found to do little else gets small bites.
  static constexpr size_t kBite = 28 * 1024;
  static constexpr size_t kSmallBite = 1024;

  Status answer(int result, const char* call);
  std::string explain() const;

  ssl_st* ssl_;
  BufferPool& buffers_;
  Buffer out_;
  Status failed_;      // reading is over, and why
  int fd_;
  int error_ = 0;      // the socket's last, an errno
  int end_size_ = 0;
  size_t bite_ = kBite;  // what a read may take from the socket before it has bytes to show for it
  size_t left_ = 0;      // of that
  bool short_ = true;  // the last recv was not full
  bool held_up_ = false;
  bool ended_ = false;    // the socket has said its end
  bool mute_ = false;     // within a call that met it
  bool finished_ = false;  // close_notify has been said: nothing more may be
  bool dead_ = false;    // the socket takes nothing any more
};

}  // namespace relay

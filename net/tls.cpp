// SPDX-License-Identifier: Apache-2.0
// Tls: one connection. OpenSSL reads straight from the socket, as much at a time as its buffer holds; what it writes is gathered
// in a lent block and given to the socket in one piece when the call is over. So OpenSSL never meets a full socket: no write
// is half done inside of it, and what must be said in answer to a read (alerts, KeyUpdate) needs no care of its own.
#include "net/tls.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "net/sys.h"
#include "net/tls_openssl.h"

namespace relay {
namespace {

// Records of 16 KiB and what TLS adds to each; three of them, and some small talk, fit a block.
constexpr size_t kPieceMost = 3 * size_t{16384};

}  // namespace

// What OpenSSL calls a BIO: its way to the socket.
struct TlsBio {
  static Tls& of(BIO* bio) { return *static_cast<Tls*>(BIO_get_data(bio)); }

  static int read(BIO* bio, char* data, int length) {
    Tls& tls = of(bio);
    BIO_clear_retry_flags(bio);
    if (tls.left_ == 0) {
      tls.held_up_ = true;
      BIO_set_retry_read(bio);
      return -1;
    }
    const size_t most = std::min(tls.left_, static_cast<size_t>(length));
    const ssize_t n = sys::recv(tls.fd_, data, most);
    tls.short_ = n < static_cast<ssize_t>(most);
    if (n > 0) {
      tls.left_ -= static_cast<size_t>(n);
      return static_cast<int>(n);
    }
    if (n == 0) {
      tls.ended_ = tls.mute_ = true;
      return 0;
    }
    tls.error_ = static_cast<int>(-n);
    if (n == -EAGAIN) BIO_set_retry_read(bio);
    return -1;
  }

  static int write(BIO* bio, const char* data, int length) {
    Tls& tls = of(bio);
    BIO_clear_retry_flags(bio);
    // Nobody hears it; reading tells why. Nor is there a point in an alert about an end that came too early.
    if (tls.dead_ || tls.mute_) return length;
    if (!tls.out_.borrow(tls.buffers_)) {
      tls.error_ = ENOMEM;
      return -1;
    }
    const std::span<std::byte> room = tls.out_.room();
    const size_t n = std::min(room.size(), static_cast<size_t>(length));
    if (n == 0) {
      BIO_set_retry_write(bio);
      return -1;
    }
    std::memcpy(room.data(), data, n);
    tls.out_.commit(n);
    return static_cast<int>(n);
  }

  static long control(BIO* bio, int what, long, void*) {
    if (what == BIO_CTRL_FLUSH) return 1;
    if (what == BIO_CTRL_EOF) return of(bio).ended_ ? 1 : 0;
    return 0;
  }

  static BIO* make(Tls& tls) {
    static BIO_METHOD* const method = [] {
      BIO_METHOD* made = BIO_meth_new(BIO_TYPE_SOURCE_SINK | BIO_get_new_index(), "relay");
      if (made == nullptr) return made;
      BIO_meth_set_read(made, read);
      BIO_meth_set_write(made, write);
      BIO_meth_set_ctrl(made, control);
      return made;
    }();
    BIO* const bio = method == nullptr ? nullptr : BIO_new(method);
    if (bio == nullptr) return nullptr;
    BIO_set_data(bio, &tls);
    BIO_set_init(bio, 1);
    return bio;
  }
};

std::unique_ptr<Tls> Tls::make(TlsContext& context, int fd, BufferPool& buffers, Time now) {
  CHECK(context.loaded());
  TlsShared& shared = TlsShared::of(context.context_);
  if (shared.server && now - context.keyed_ >= kTicketKeyAge) {
    renew_ticket_key(context.context_);
    context.keyed_ = now;
  }
  SSL* const ssl = SSL_new(context.context_);
  if (ssl == nullptr) return nullptr;
  std::unique_ptr<Tls> tls(new (std::nothrow) Tls(ssl, fd, buffers));
  if (tls == nullptr) {
    SSL_free(ssl);
    return nullptr;
  }
  BIO* const bio = TlsBio::make(*tls);
  if (bio == nullptr) return nullptr;
  SSL_set_bio(ssl, bio, bio);
  if (shared.server) {
    SSL_set_accept_state(ssl);
    return tls;
  }
  SSL_set_connect_state(ssl);
  if (!shared.sni.empty() && SSL_set_tlsext_host_name(ssl, shared.sni.c_str()) != 1) return nullptr;
  shared.resume(ssl);
  return tls;
}

Tls::~Tls() {
  // OpenSSL takes a session out of use whose connection was not shut down in order; for tickets that is not so (RFC 8446, 6.1).
  SSL_set_quiet_shutdown(ssl_, 1);
  SSL_set_shutdown(ssl_, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
  SSL_free(ssl_);
}

// What a call that did not succeed means. REQUIRES: OpenSSL's queue of errors was empty before it.
Status Tls::answer(int result, const char* call) {
  const int error = SSL_get_error(ssl_, result);
  if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) return {Code::kAgain, call, EAGAIN};
  if (error == SSL_ERROR_ZERO_RETURN) return {Code::kEof, call};
  if (error == SSL_ERROR_SYSCALL && error_ != 0) return from_errno(error_, call);
  if (ended_) return {Code::kTruncated, "the connection ended without close_notify", EPROTO};
  // With TLS 1.3 a server looks at our certificate when we believe that all is done: what it thinks of it comes to who reads.
  const unsigned long what = ERR_peek_last_error();
  const bool alert = ERR_GET_LIB(what) == ERR_LIB_SSL && ERR_GET_REASON(what) > SSL_AD_REASON_OFFSET;
  const char* const said = alert ? ERR_reason_error_string(what) : nullptr;
  return {Code::kInvalid, said != nullptr ? said : "the peer broke the rules of TLS", EPROTO};
}

Status Tls::handshake(std::string& why) {
  ERR_clear_error();
  error_ = 0;
  left_ = SIZE_MAX;  // OpenSSL has limits of its own for a handshake
  int result = SSL_do_handshake(ssl_);
  // A certificate that is longer than our block goes in several: the socket that takes all of one has no more to tell us.
  while (result != 1 && SSL_get_error(ssl_, result) == SSL_ERROR_WANT_WRITE && flush().ok()) result = SSL_do_handshake(ssl_);
  if (result == 1) {
    // A peer that has gone by now may have left something to be read first.
    static_cast<void>(flush());
    ERR_clear_error();
    return {};
  }
  const Status status = answer(result, "handshake");
  if (status.code() != Code::kAgain) why = explain();
  ERR_clear_error();
  const Status sent = flush();
  if (status.code() == Code::kAgain && !sent.ok() && sent.code() != Code::kAgain) {
    why = std::strerror(sent.error());
    return sent;
  }
  return status;
}

// REQUIRES: a handshake has just failed.
std::string Tls::explain() const {
  if (const long verified = SSL_get_verify_result(ssl_); verified != X509_V_OK) {
    const TlsShared& shared = TlsShared::of(SSL_get_SSL_CTX(ssl_));
    std::string text = std::string("certificate verify failed: ") + X509_verify_cert_error_string(verified);
    if (verified != X509_V_ERR_HOSTNAME_MISMATCH && verified != X509_V_ERR_IP_ADDRESS_MISMATCH) return text;
    text += ": wanted " + shared.wanted();
    const std::string has = shared.refused_names;
    return has.empty() ? text : text + ", has " + has;
  }
  const unsigned long error = ERR_peek_last_error();
  const int reason = ERR_GET_REASON(error);
  if (error == 0) return error_ != 0 ? std::strerror(error_) : "the peer closed the connection in the middle of the handshake";
  if (ERR_GET_LIB(error) == ERR_LIB_SSL) {
    if (reason == SSL_R_UNEXPECTED_EOF_WHILE_READING) return "the peer closed the connection in the middle of the handshake";
    if (reason == SSL_R_HTTP_REQUEST || reason == SSL_R_WRONG_VERSION_NUMBER) return "the peer does not speak TLS";
    if (reason == SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE) return "the peer has no certificate";
  }
  const char* text = ERR_reason_error_string(error);
  return text != nullptr ? text : "no reason given";
}

// One record a call is what OpenSSL gives; as many as there are is what is asked for.
Result<size_t> Tls::read(std::span<std::byte> into) {
  if (!failed_.ok()) return failed_;
  size_t got = 0;
  Status status;
  held_up_ = false;
  left_ = bite_;
  ERR_clear_error();
  while (got < into.size()) {
    size_t n = 0;
    error_ = 0;
    const int result = SSL_read_ex(ssl_, into.data() + got, into.size() - got, &n);
    if (result != 1) {
      status = answer(result, "read");
      held_up_ = held_up_ || (status.code() == Code::kAgain && SSL_want_write(ssl_));
      ERR_clear_error();
      break;
    }
    got += n;
    left_ += 2 * n;
    if (short_ && SSL_has_pending(ssl_) == 0) break;
  }
  if (got >= bite_) bite_ = kBite;
  else if (held_up_) bite_ = kSmallBite;
  if (!status.ok() && status.code() != Code::kAgain) failed_ = status;
  mute_ = false;
  if (!out_.empty()) static_cast<void>(flush());
  if (got > 0) return got;
  return status;
}

bool Tls::drained() const { return failed_.ok() && !held_up_ && short_ && SSL_has_pending(ssl_) == 0; }

Result<size_t> Tls::write(std::span<const std::byte> from) {
  size_t given = 0;
  mute_ = false;
  Status status = flush();
  while (status.ok() && given < from.size()) {
    size_t n = 0;
    ERR_clear_error();
    error_ = 0;
    const int result = SSL_write_ex(ssl_, from.data() + given, std::min(from.size() - given, kPieceMost), &n);
    if (result != 1) {
      status = answer(result, "write");
      ERR_clear_error();
      break;
    }
    given += n;
    status = flush();
  }
  // What the last flush has met shows at the next call.
  if (given > 0) return given;
  return status;
}

Status Tls::finish() {
  if (!finished_) {
    // What is under way goes first; then there is room for the little that this is.
    const Status before = flush();
    if (!before.ok()) return before;
    ERR_clear_error();
    static_cast<void>(SSL_shutdown(ssl_));  // 0: the peer has not said its own
    ERR_clear_error();
    end_size_ = static_cast<int>(out_.size());
    finished_ = true;
  }
  return flush();
}

Status Tls::flush() {
  if (dead_) return {Code::kReset, "write", EPIPE};
  while (!out_.empty()) {
    const std::span<const std::byte> data = out_.data();
    const ssize_t n = sys::send(fd_, data.data(), data.size());
    if (n == -EAGAIN) return {Code::kAgain, "write", EAGAIN};
    if (n < 0) {
      dead_ = true;
      out_.consume(out_.size());
      out_.release(buffers_);
      return from_errno(static_cast<int>(-n), "write");
    }
    out_.consume(static_cast<size_t>(n));
  }
  out_.release(buffers_);
  return {};
}

bool Tls::is_server() const { return SSL_is_server(ssl_) == 1; }
std::string_view Tls::version() const { return SSL_get_version(ssl_); }
std::string_view Tls::cipher() const { return SSL_get_cipher_name(ssl_); }
bool Tls::resumed() const { return SSL_session_reused(ssl_) == 1; }

std::string_view Tls::sni() const {
  const char* name = SSL_get_servername(ssl_, TLSEXT_NAMETYPE_host_name);
  return name == nullptr ? std::string_view() : std::string_view(name);
}

std::string_view Tls::alpn() const {
  const unsigned char* name = nullptr;
  unsigned length = 0;
  SSL_get0_alpn_selected(ssl_, &name, &length);
  return {reinterpret_cast<const char*>(name), length};
}

std::string Tls::peer_name() const {
  X509* const cert = SSL_get0_peer_certificate(ssl_);
  if (cert == nullptr) return {};
  const std::vector<std::string> names = names_of(*cert);
  return names.empty() ? std::string() : names.front();
}

}  // namespace relay

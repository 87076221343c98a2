// SPDX-License-Identifier: Apache-2.0
// What tls.cpp and tls_context.cpp share, and nobody else includes: OpenSSL's own shapes.
#pragma once

#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <string>
#include <vector>

#include "net/timer.h"

namespace relay {

// A key that has encrypted tickets for so long is thrown away: who gets hold of it later can read no connection that was
// resumed with TLS 1.2 before.
inline constexpr Delay kTicketKeyAge{12 * 3600 * 1000};
void renew_ticket_key(SSL_CTX* context);

// DNS names, URIs, addresses of the subject's alternative names, then the CN.
std::vector<std::string> names_of(X509& cert);

// What belongs to an SSL_CTX and dies with it: with the last connection that was made by it.
struct TlsShared {
  static constexpr size_t kSessionsMost = 16;

  static TlsShared& of(const SSL_CTX* context);
  ~TlsShared();

  void resume(SSL* ssl);            // a client: with a session of before, if there is one
  void keep(SSL_SESSION* session);  // takes it over
  std::string wanted() const;       // the names that the peer may have

  bool server = false;
  std::string sni;
  std::string expected;            // client: a name or an address
  std::vector<std::string> names;  // server
  std::string alpn;                // as ALPN writes it: a byte of length, then the name
  bool alpn_only = false;          // server: nothing else
  std::string refused_names;       // what the last certificate with a wrong name had instead
  std::vector<SSL_SESSION*> sessions;
};

}  // namespace relay

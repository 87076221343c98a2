// SPDX-License-Identifier: Apache-2.0
// TlsContext: files to an SSL_CTX, and who is let through.
//
// Files are read by sys::read_file and parsed from memory. OpenSSL's own configuration file is not read: what is in force is
// what the keys say. What OpenSSL asks the kernel by itself is random numbers and the time of day.
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>


#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <vector>

#include "lib/text.h"
#include "net/addr.h"
#include "net/sys.h"
#include "net/tls_data.h"
#include "net/tls.h"
#include "net/tls_openssl.h"

namespace relay {
namespace {

constexpr size_t kFileMost = size_t{16} << 20;
// What one recv asks for, at most: below the size from which memory comes from the kernel each time.
constexpr size_t kReadAhead = 28 * 1024;
constexpr long kTicketSeconds = 2 * 3600;
constexpr const char* kSuites13 = "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256";
constexpr const char* kSuites12 = "ECDHE+AESGCM:ECDHE+CHACHA20";  // forward secrecy and authenticated encryption, nothing else
constexpr std::array<const char*, 4> kSystemTrust = {"/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt",
                                                     "/etc/ssl/ca-bundle.pem", "/etc/ssl/cert.pem"};

// OpenSSL's objects, freed as they go out of scope.
template <typename T, void (*Free)(T*)>
struct Freer {
  void operator()(T* object) const { Free(object); }
};
void free_bio(BIO* bio) { BIO_free(bio); }
using BioPtr = std::unique_ptr<BIO, Freer<BIO, free_bio>>;
using CertPtr = std::unique_ptr<X509, Freer<X509, X509_free>>;
using KeyPtr = std::unique_ptr<EVP_PKEY, Freer<EVP_PKEY, EVP_PKEY_free>>;
using ContextPtr = std::unique_ptr<SSL_CTX, Freer<SSL_CTX, SSL_CTX_free>>;

std::string last_error() {
  const unsigned long error = ERR_peek_last_error();
  const char* text = error == 0 ? nullptr : ERR_reason_error_string(error);
  ERR_clear_error();
  return text == nullptr ? "no reason given" : text;
}

void free_shared(void*, void* shared, CRYPTO_EX_DATA*, int, long, void*) {
  delete static_cast<TlsShared*>(shared);  // NOLINT(cppcoreguidelines-owning-memory): it was OpenSSL that kept it
}

int shared_index() {
  static const int index = SSL_CTX_get_ex_new_index(0, nullptr, nullptr, nullptr, free_shared);
  return index;
}

std::string text_of(const ASN1_STRING* string) {
  return {reinterpret_cast<const char*>(ASN1_STRING_get0_data(string)), static_cast<size_t>(ASN1_STRING_length(string))};
}

std::string address_text(const ASN1_OCTET_STRING* ip) {
  const unsigned char* bytes = ASN1_STRING_get0_data(ip);
  Addr addr;
  if (ASN1_STRING_length(ip) == 4) addr.family = Addr::Family::kV4;
  else if (ASN1_STRING_length(ip) == 16) addr.family = Addr::Family::kV6;
  else return {};
  std::copy(bytes, bytes + ASN1_STRING_length(ip), addr.ip.begin());
  return addr.host_text();
}

// OpenSSL has its own opinion (`good`); for a server ours comes on top: the names.
int on_verify(int good, X509_STORE_CTX* store) {
  SSL* const ssl = static_cast<SSL*>(X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx()));
  TlsShared& shared = TlsShared::of(SSL_get_SSL_CTX(ssl));
  const int error = X509_STORE_CTX_get_error(store);
  X509* const cert = X509_STORE_CTX_get_current_cert(store);
  const bool wrong_name = good == 0 && (error == X509_V_ERR_HOSTNAME_MISMATCH || error == X509_V_ERR_IP_ADDRESS_MISMATCH);
  const bool ask = good != 0 && X509_STORE_CTX_get_error_depth(store) == 0 && !shared.names.empty();
  if (cert == nullptr || (!wrong_name && !ask)) return good;
  const std::vector<std::string> names = names_of(*cert);
  if (ask)
    for (const std::string& name : names)
      for (const std::string& wanted : shared.names)
        if (same_word(name, wanted)) return 1;
  shared.refused_names.clear();
  for (const std::string& name : names) shared.refused_names += (shared.refused_names.empty() ? "" : ", ") + printable(name.substr(0, 100));
  if (shared.refused_names.size() > 300) shared.refused_names.resize(300);
  if (ask) X509_STORE_CTX_set_error(store, X509_V_ERR_HOSTNAME_MISMATCH);
  return 0;
}

int on_new_session(SSL* ssl, SSL_SESSION* session) {
  TlsShared::of(SSL_get_SSL_CTX(ssl)).keep(session);
  return 1;
}

// Who offers something else only is not refused, unless it is asked for: he may find out by what is said.
int on_alpn(SSL* ssl, const unsigned char** chosen, unsigned char* length, const unsigned char* offered, unsigned offered_length, void*) {
  const TlsShared& shared = TlsShared::of(SSL_get_SSL_CTX(ssl));
  const std::string& ours = shared.alpn;
  unsigned char* found = nullptr;
  const int result = SSL_select_next_proto(&found, length, reinterpret_cast<const unsigned char*>(ours.data()), static_cast<unsigned>(ours.size()), offered, offered_length);
  if (result != OPENSSL_NPN_NEGOTIATED) return shared.alpn_only ? SSL_TLSEXT_ERR_ALERT_FATAL : SSL_TLSEXT_ERR_NOACK;
  *chosen = found;
  return SSL_TLSEXT_ERR_OK;
}

bool has_expired(const X509& cert) { return X509_cmp_current_time(X509_get0_notAfter(&cert)) < 0; }

// OpenSSL does not look at the certificate in a ticket again, and each connection brings a new ticket: who came once could come for
// as long as the key of the tickets lives. Without the ticket it is asked for its certificate, and hears what is wrong with it.
SSL_TICKET_RETURN on_ticket(SSL*, SSL_SESSION* session, const unsigned char*, size_t, SSL_TICKET_STATUS status, void*) {
  if (status != SSL_TICKET_SUCCESS && status != SSL_TICKET_SUCCESS_RENEW) return SSL_TICKET_RETURN_IGNORE_RENEW;
  const X509* const cert = SSL_SESSION_get0_peer(session);
  if (cert != nullptr && has_expired(*cert)) return SSL_TICKET_RETURN_IGNORE_RENEW;
  return status == SSL_TICKET_SUCCESS ? SSL_TICKET_RETURN_USE : SSL_TICKET_RETURN_USE_RENEW;
}

// Nobody is there to be asked.
int no_password(char*, int, int, void* asked) {
  *static_cast<bool*>(asked) = true;
  return -1;
}

class Loader {
 public:
  explicit Loader(const TlsConfig& config) : config_(config) {}

  std::optional<TlsFault> run() {
    if (!start() || (!config_.cert.empty() && !certificate()) || (config_.verify && !trust()) || (config_.verify && !names())) {
      ERR_clear_error();
      return fault_;
    }
    return std::nullopt;
  }
  SSL_CTX* release() { return context_.release(); }

 private:
  bool fail(std::string_view key, std::string what) {
    fault_ = {key, std::move(what)};
    return false;
  }

  BioPtr read(std::string_view key, const std::string& path) {
    if (const int error = sys::read_file(path.c_str(), kFileMost, text_); error < 0) {
      fail(key, path + ": cannot read it: " + std::strerror(-error));
      return nullptr;
    }
    return BioPtr(BIO_new_mem_buf(text_.data(), static_cast<int>(text_.size())));
  }

  bool start() {
    OPENSSL_init_ssl(OPENSSL_INIT_NO_LOAD_CONFIG, nullptr);
    ERR_clear_error();
    context_.reset(SSL_CTX_new(config_.server ? TLS_server_method() : TLS_client_method()));
    if (context_ == nullptr) return fail("cert", "OpenSSL gives no context: " + last_error());
    SSL_CTX* const context = context_.get();
    auto shared = std::make_unique<TlsShared>();
    shared->server = config_.server;
    shared->names = config_.names;
    std::string alpn;
    for (const std::string& name : config_.alpn) {
      CHECK(!name.empty() && name.size() < 256);
      alpn.append(1, static_cast<char>(name.size())).append(name);
    }
    shared->alpn = alpn;
    shared->alpn_only = config_.alpn_only;
    if (SSL_CTX_set_ex_data(context, shared_index(), shared.get()) != 1) return fail("cert", "no memory");
    static_cast<void>(shared.release());  // the context's, now
    SSL_CTX_set_min_proto_version(context, config_.only_13 ? TLS1_3_VERSION : TLS1_2_VERSION);
    SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
    SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_read_ahead(context, 1);
    SSL_CTX_set_default_read_buffer_len(context, kReadAhead);
    SSL_CTX_set_ciphersuites(context, kSuites13);
    SSL_CTX_set_cipher_list(context, kSuites12);
    if (!alpn.empty() && config_.server) SSL_CTX_set_alpn_select_cb(context, on_alpn, nullptr);
    // Unlike its siblings it says 0 when it is done.
    if (!alpn.empty() && !config_.server && SSL_CTX_set_alpn_protos(context, reinterpret_cast<const unsigned char*>(alpn.data()), static_cast<unsigned>(alpn.size())) != 0)
      return fail("cert", "no memory");
    if (config_.server) {
      SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);  // tickets: the client keeps them, not we
      SSL_CTX_set_num_tickets(context, 1);
      SSL_CTX_set_timeout(context, kTicketSeconds);
      SSL_CTX_set_session_ticket_cb(context, nullptr, on_ticket, nullptr);
      constexpr std::string_view kId = "relay";
      SSL_CTX_set_session_id_context(context, reinterpret_cast<const unsigned char*>(kId.data()), static_cast<unsigned>(kId.size()));
    } else {
      SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
      SSL_CTX_sess_set_new_cb(context, on_new_session);
    }
    return true;
  }

  bool certificate() {
    BioPtr file = read("cert", config_.cert);
    if (file == nullptr) return false;
    const CertPtr cert(PEM_read_bio_X509(file.get(), nullptr, nullptr, nullptr));
    if (cert == nullptr) return fail("cert", config_.cert + ": has no certificate in PEM form (-----BEGIN CERTIFICATE-----)");
    if (SSL_CTX_use_certificate(context_.get(), cert.get()) != 1) return fail("cert", config_.cert + ": OpenSSL refuses it: " + last_error());
    for (;;) {
      X509* const next = PEM_read_bio_X509(file.get(), nullptr, nullptr, nullptr);
      if (next == nullptr) break;
      if (SSL_CTX_add0_chain_cert(context_.get(), next) == 1) continue;
      X509_free(next);
      return fail("cert", config_.cert + ": OpenSSL refuses a further certificate: " + last_error());
    }
    ERR_clear_error();  // the end of the file is one
    return private_key(*cert);
  }

  bool private_key(X509& cert) {
    const std::string& path = config_.key.empty() ? config_.cert : config_.key;
    const std::string_view name = config_.key.empty() ? "cert" : "key";
    BioPtr file = read(name, path);
    if (file == nullptr) return false;
    bool asked = false;
    const KeyPtr key(PEM_read_bio_PrivateKey(file.get(), nullptr, no_password, &asked));
    OPENSSL_cleanse(text_.data(), text_.size());
    if (asked) return fail(name, path + ": the key has a passphrase, and nobody is there to give it; take it off: openssl pkey -in " + path + " -out NEW");
    if (key == nullptr)
      return fail(name, path + (config_.key.empty() ? ": has no private key; give key, or put it into this file" : ": has no private key in PEM form (-----BEGIN PRIVATE KEY-----)"));
    if (X509_check_private_key(&cert, key.get()) != 1)
      return fail(name, path + ": is not the key of the certificate in " + config_.cert + "; give the one that it was made with");
    if (SSL_CTX_use_PrivateKey(context_.get(), key.get()) != 1) return fail(name, path + ": OpenSSL refuses it: " + last_error());
    return true;
  }

  bool trust() {
    SSL_CTX_set_verify(context_.get(), SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, on_verify);
    if (!config_.ca.empty()) {
      // Whom the operator names is trusted, be it a root or not.
      X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(context_.get()), X509_V_FLAG_PARTIAL_CHAIN);
      return trust_file(config_.ca);
    }
    for (const char* path : kSystemTrust)
      if (trust_file(path)) return true;
    return fail(config_.ca_key, "the system has no file of trusted certificates (" + std::string(kSystemTrust.front()) + "); install ca-certificates, or give " + std::string(config_.ca_key));
  }

  bool trust_file(const std::string& path) {
    BioPtr file = read(config_.ca_key, path);
    if (file == nullptr) return false;
    X509_STORE* const store = SSL_CTX_get_cert_store(context_.get());
    int count = 0;
    for (;; ++count) {
      const CertPtr cert(PEM_read_bio_X509(file.get(), nullptr, nullptr, nullptr));
      if (cert == nullptr) break;
      if (X509_STORE_add_cert(store, cert.get()) != 1) return fail(config_.ca_key, path + ": OpenSSL refuses a certificate: " + last_error());
      if (config_.server) SSL_CTX_add_client_CA(context_.get(), cert.get());
    }
    ERR_clear_error();
    return count > 0 || fail(config_.ca_key, path + ": has no certificate in PEM form (-----BEGIN CERTIFICATE-----)");
  }

  // Whom a client wants to speak to.
  bool names() {
    if (config_.server) return true;
    TlsShared& shared = TlsShared::of(context_.get());
    X509_VERIFY_PARAM* const param = SSL_CTX_get0_param(context_.get());
    shared.expected = config_.server_name;
    const bool ok = Addr::parse(config_.server_name, 0) ? X509_VERIFY_PARAM_set1_ip_asc(param, config_.server_name.c_str()) == 1
                                                        : X509_VERIFY_PARAM_set1_host(param, config_.server_name.data(), config_.server_name.size()) == 1;
    X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    return ok || fail("server-name", quote(config_.server_name) + " is no name that a certificate could bear");
  }

  const TlsConfig& config_;
  ContextPtr context_;
  std::string text_;  // of the file that is being read
  TlsFault fault_;
};

}  // namespace

void renew_ticket_key(SSL_CTX* context) {
  std::array<unsigned char, 80> keys;
  if (SSL_CTX_get_tlsext_ticket_keys(context, nullptr, 0) != static_cast<long>(keys.size())) return;
  if (RAND_bytes(keys.data(), static_cast<int>(keys.size())) == 1)
    SSL_CTX_set_tlsext_ticket_keys(context, keys.data(), static_cast<long>(keys.size()));
  OPENSSL_cleanse(keys.data(), keys.size());
}

std::vector<std::string> names_of(X509& cert) {
  std::vector<std::string> names;
  auto* const found = static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(&cert, NID_subject_alt_name, nullptr, nullptr));
  for (int i = 0; found != nullptr && i < sk_GENERAL_NAME_num(found); ++i) {
    const GENERAL_NAME* const name = sk_GENERAL_NAME_value(found, i);
    if (name->type == GEN_DNS) names.push_back(text_of(name->d.dNSName));
    else if (name->type == GEN_URI) names.push_back(text_of(name->d.uniformResourceIdentifier));
    else if (name->type == GEN_IPADD) names.push_back(address_text(name->d.iPAddress));
  }
  GENERAL_NAMES_free(found);
  const X509_NAME* const subject = X509_get_subject_name(&cert);
  const int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
  if (at < 0) return names;
  unsigned char* utf8 = nullptr;
  const int length = ASN1_STRING_to_UTF8(&utf8, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));
  if (length >= 0) names.emplace_back(reinterpret_cast<const char*>(utf8), static_cast<size_t>(length));
  OPENSSL_free(utf8);
  return names;
}

TlsShared& TlsShared::of(const SSL_CTX* context) { return *static_cast<TlsShared*>(SSL_CTX_get_ex_data(context, shared_index())); }

TlsShared::~TlsShared() {
  for (SSL_SESSION* session : sessions) SSL_SESSION_free(session);
}

// A ticket of TLS 1.3 is used once, so that no onlooker can tell that two connections are of the same relay (RFC 8446, C.4).
void TlsShared::resume(SSL* ssl) {
  while (!sessions.empty()) {
    SSL_SESSION* const session = sessions.back();
    const bool good = SSL_SESSION_is_resumable(session) == 1;
    if (good) SSL_set_session(ssl, session);
    if (good && SSL_SESSION_get_protocol_version(session) < TLS1_3_VERSION) return;
    sessions.pop_back();
    SSL_SESSION_free(session);
    if (good) return;
  }
}

void TlsShared::keep(SSL_SESSION* session) {
  if (sessions.size() >= kSessionsMost) {
    SSL_SESSION_free(sessions.front());
    sessions.erase(sessions.begin());
  }
  sessions.push_back(session);
}

std::string TlsShared::wanted() const {
  if (!server) return expected;
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : " or ") + name;
  return text;
}

const bool TlsContext::kBuilt = true;

TlsContext::~TlsContext() { SSL_CTX_free(context_); }

std::optional<TlsFault> TlsContext::load(const TlsConfig& config) {
  if (!tls_data::need()) return TlsFault{config.server ? "cert" : "ca", "no memory for TLS"};
  Loader loader(config);
  if (std::optional<TlsFault> fault = loader.run()) return fault;
  SSL_CTX_free(context_);
  context_ = loader.release();
  keyed_ = Time{};
  if (!config.server && !Addr::parse(config.server_name, 0)) TlsShared::of(context_).sni = config.server_name;
  return std::nullopt;
}

std::vector<TlsFault> TlsContext::warnings(const TlsConfig& config) const {
  std::vector<TlsFault> found;
  const X509* const cert = context_ == nullptr ? nullptr : SSL_CTX_get0_certificate(context_);
  if (cert == nullptr) return found;
  if (has_expired(*cert)) found.push_back({"cert", config.cert + ": has expired"});
  if (X509_cmp_current_time(X509_get0_notBefore(cert)) > 0) found.push_back({"cert", config.cert + ": is not valid yet"});
  return found;
}

}  // namespace relay

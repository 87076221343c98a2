// SPDX-License-Identifier: Apache-2.0
// A peer that speaks TLS, until the fuzzer lays hands on what it says: pieces late, bytes turned, left out, said twice or made up,
// ends of every kind, before and after the handshake; with either side the server. Whatever it is, what comes out of our Conn is
// the beginning of what the peer has put in, the end is only believed if it was said, a failure has a text; and where nothing was
// laid hands on, all arrives, on both sides, and nobody waits for an event that does not come.
//
//   input: a byte of kFlags; with kNamed a line of names; then steps, each a byte and what it needs
// covers: net/tls.cpp net/tls_context.cpp
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <functional>

#include "net/conn.h"
#include "net/sys.h"
#include "net/tls.h"
#include "tests/fuzz/fuzz.h"

namespace relay {
namespace {

// kFlags.
constexpr unsigned kServer = 1;     // we are it
constexpr unsigned kOld = 2;        // TLS 1.2
constexpr unsigned kVerify = 4;     // both have certificates, and look at the other's
constexpr unsigned kAgain = 8;      // they have met before
constexpr unsigned kUnix = 16;      // our socket is taken for a Unix socket, not for TCP
constexpr unsigned kSmall = 32;     // it takes little at a time
constexpr unsigned kGreeted = 64;   // the handshake is not disturbed
constexpr unsigned kNamed = 128;    // the peer's certificate bears other names

constexpr size_t kRecord = 16384;

// libFuzzer counts these as it counts our code, and so learns what happens within OpenSSL, which is not built for it.
__attribute__((section("__libfuzzer_extra_counters"))) std::array<uint8_t, 512> g_outcomes;
void count_outcome(std::string_view what) { g_outcomes[std::hash<std::string_view>()(what) % g_outcomes.size()] = 1; }

// The same numbers for the same input.
uint64_t g_random = 0;
int random_bytes(unsigned char* into, int length) {
  for (int i = 0; i < length; ++i) {
    g_random = g_random * 6364136223846793005U + 1442695040888963407U;
    into[i] = static_cast<unsigned char>(g_random >> 56U);
  }
  return 1;
}
int random_is_there() { return 1; }
constexpr RAND_METHOD kRandom = {nullptr, random_bytes, nullptr, nullptr, random_bytes, random_is_there};

// One key for all: its certificate is ours, the authority, and, where it has no other, the peer's.
class Identity {
 public:
  static Identity& get() {
    static Identity identity;
    return identity;
  }
  EVP_PKEY* key() const { return key_; }
  X509* own() const { return own_; }
  const std::string& path() const { return path_; }

  // A certificate for these names, a byte of kind before each, as `own_` would vouch for it.
  X509* make(std::string_view names) const {
    GENERAL_NAMES* const list = sk_GENERAL_NAME_new_null();
    X509* const cert = X509_new();
    X509_set_version(cert, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(cert), 1);
    ASN1_TIME_set_string(X509_getm_notBefore(cert), "20200101000000Z");
    ASN1_TIME_set_string(X509_getm_notAfter(cert), "99991231235959Z");
    X509_set_pubkey(cert, key_);
    fuzz::Input rest(reinterpret_cast<const uint8_t*>(names.data()), names.size());
    while (!rest.empty()) {
      const int kind = std::array{GEN_DNS, GEN_URI, GEN_IPADD, GEN_DIRNAME}[rest.byte() % 4];
      const std::string_view text = rest.until(',');
      if (kind == GEN_DIRNAME) {
        X509_NAME_add_entry_by_NID(X509_get_subject_name(cert), NID_commonName, V_ASN1_T61STRING, reinterpret_cast<const unsigned char*>(text.data()),
                                   static_cast<int>(text.size()), -1, 0);
        continue;
      }
      ASN1_STRING* const value = ASN1_STRING_type_new(kind == GEN_IPADD ? V_ASN1_OCTET_STRING : V_ASN1_IA5STRING);
      ASN1_STRING_set(value, text.data(), static_cast<int>(text.size()));
      GENERAL_NAME* const name = GENERAL_NAME_new();
      GENERAL_NAME_set0_value(name, kind, value);
      sk_GENERAL_NAME_push(list, name);
    }
    X509_set_issuer_name(cert, X509_get_subject_name(own_ == nullptr ? cert : own_));
    if (sk_GENERAL_NAME_num(list) > 0) X509_add1_ext_i2d(cert, NID_subject_alt_name, list, 0, X509V3_ADD_DEFAULT);
    GENERAL_NAMES_free(list);
    if (own_ == nullptr) {
      X509_EXTENSION* const authority = X509V3_EXT_conf_nid(nullptr, nullptr, NID_basic_constraints, "critical,CA:TRUE");
      X509_add_ext(cert, authority, -1);
      X509_EXTENSION_free(authority);
    }
    CHECK(X509_sign(cert, key_, EVP_sha256()) > 0);
    ERR_clear_error();
    return cert;
  }

 private:
  Identity() {
    CHECK(RAND_set_rand_method(&kRandom) == 1);
    key_ = EVP_EC_gen("P-256");
    own_ = make({"\3relay.test,\0relay.test", 23});
    const int fd = ::memfd_create("certificate", 0);
    path_ = "/proc/self/fd/" + std::to_string(fd);
    FILE* const file = ::fdopen(fd, "w");  // stays open: the path is its
    CHECK(PEM_write_X509(file, own_) == 1 && PEM_write_PrivateKey(file, key_, nullptr, nullptr, 0, nullptr, nullptr) == 1 && std::fflush(file) == 0);
  }

  EVP_PKEY* key_ = nullptr;
  X509* own_ = nullptr;
  std::string path_;
};

// OpenSSL as it comes, over memory.
class Peer {
 public:
  Peer(unsigned flags, SSL_SESSION* session, X509* cert) : ssl_(SSL_new(context())), in_(BIO_new(BIO_s_mem())), out_(BIO_new(BIO_s_mem())) {
    SSL_set_bio(ssl_, in_, out_);
    if ((flags & kOld) != 0) SSL_set_max_proto_version(ssl_, TLS1_2_VERSION);
    if ((flags & (kVerify | kServer)) != kServer) CHECK(SSL_use_certificate(ssl_, cert) == 1 && SSL_use_PrivateKey(ssl_, Identity::get().key()) == 1);
    if ((flags & kVerify) != 0) SSL_set_verify(ssl_, SSL_VERIFY_PEER, [](int, X509_STORE_CTX*) { return 1; });
    if ((flags & kServer) == 0) SSL_set_accept_state(ssl_);
    else SSL_set_connect_state(ssl_);
    if (session != nullptr) CHECK(SSL_set_session(ssl_, session) == 1);
  }
  Peer(const Peer&) = delete;
  Peer& operator=(const Peer&) = delete;
  ~Peer() { SSL_free(ssl_); }

  bool greeted() const { return SSL_is_init_finished(ssl_) == 1; }
  bool failed() const { return failed_; }
  bool may_write() const { return greeted() && !failed_ && !finished_; }
  bool heard_end() const { return (SSL_get_shutdown(ssl_) & SSL_RECEIVED_SHUTDOWN) != 0; }
  SSL_SESSION* session() const { return SSL_get1_session(ssl_); }

  void hear(std::string_view bytes) { BIO_write(in_, bytes.data(), static_cast<int>(bytes.size())); }
  // Goes on with what it has heard; what it says is in `said`.
  void step() {
    if (failed_) return;
    int result = SSL_do_handshake(ssl_);
    std::array<char, kRecord> bytes;  // NOLINT: filled below
    while (result > 0) {
      result = SSL_read(ssl_, bytes.data(), static_cast<int>(bytes.size()));
      if (result > 0) heard.append(bytes.data(), static_cast<size_t>(result));
    }
    after(result);
  }
  // Each of these is one record at most. REQUIRES: may_write()
  void write(std::string_view text) { after(SSL_write(ssl_, text.data(), static_cast<int>(text.size()))); }
  void renew_key() {
    if (SSL_version(ssl_) == TLS1_3_VERSION && SSL_key_update(ssl_, SSL_KEY_UPDATE_REQUESTED) == 1) after(SSL_do_handshake(ssl_));
  }
  void renegotiate() {
    if (SSL_version(ssl_) == TLS1_2_VERSION && SSL_renegotiate(ssl_) == 1) after(SSL_do_handshake(ssl_));
  }
  void finish() {
    static_cast<void>(SSL_shutdown(ssl_));
    finished_ = true;
    after(1);
  }

  std::string heard;
  std::string said;

 private:
  SSL_CTX* context() {
    static SSL_CTX* const made = [] {
      SSL_CTX* const fresh = SSL_CTX_new(TLS_method());
      SSL_CTX_set_session_cache_mode(fresh, SSL_SESS_CACHE_OFF);  // no input hangs on the one before
      SSL_CTX_set_session_id_context(fresh, reinterpret_cast<const unsigned char*>("peer"), 4);
      return fresh;
    }();
    return made;
  }
  void after(int result) {
    if (result <= 0) {
      const int error = SSL_get_error(ssl_, result);
      failed_ = error == SSL_ERROR_SSL || error == SSL_ERROR_SYSCALL;
    }
    ERR_clear_error();
    char* bytes = nullptr;
    const long length = BIO_get_mem_data(out_, &bytes);
    if (length > 0) said.append(bytes, static_cast<size_t>(length));
    BIO_reset(out_);
  }

  SSL* ssl_;
  BIO* in_;
  BIO* out_;
  bool failed_ = false;
  bool finished_ = false;
};

// The peer, our Conn, and the sockets between them.
class Meeting final : private ConnUser {
 public:
  Meeting(Loop& loop, TlsContext& context, unsigned flags, SSL_SESSION* session, X509* cert)
      : loop_(loop), conn_(loop, *this), peer_(flags, session, cert), family_((flags & kUnix) != 0 ? Addr::Family::kUnix : Addr::Family::kV4) {
    int fds[2];
    CHECK(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) == 0);
    ours_ = Fd{fds[0]};
    theirs_ = Fd{fds[1]};
    const int least = 1;
    if ((flags & kSmall) != 0) CHECK(::setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &least, sizeof least) == 0);
    tls_ = Tls::make(context, fds[0], loop.buffers(), loop.now());
    CHECK(tls_ != nullptr);
  }

  // All goes on for a while.
  void settle() {
    deaf_ = false;
    for (int rounds = 0, quiet = 0; rounds < 2000 && quiet < 3; ++rounds) {
      const size_t before = steps_ + peer_.said.size() + moved_;
      deliver(peer_.said.size());
      go_on();
      quiet = before == steps_ + peer_.said.size() + moved_ ? quiet + 1 : 0;
    }
  }
  bool greeted() const { return conn_.is_open() && peer_.greeted(); }
  SSL_SESSION* session() const { return peer_.session(); }

  void step(fuzz::Input& input) {
    const uint8_t what = input.byte();
    switch (what % 16) {
      case 0: deliver(peer_.said.size()); break;
      case 1: deliver(input.byte()); break;
      case 2: turn(input.number(2), input.byte()); break;
      case 3: leave_out(input.number(2), input.byte()); break;
      case 4: make_up(input.text(input.byte())); break;
      case 5: give(size_t{64} * input.byte()); break;
      case 6:
        for (int left = input.byte() % 16; left >= 0 && peer_.may_write(); --left) peer_.renew_key();
        break;
      case 7:
        if (peer_.may_write()) peer_.finish();
        break;
      case 8: end(); break;
      case 9: want(size_t{64} * input.byte()); break;
      case 10: finish(); break;
      case 11: deaf_ = !deaf_; break;
      case 12:
        if (peer_.may_write()) peer_.renegotiate();
        disturb();  // it may take the refusal for an end
        break;
      case 13: make_up(peer_.said.substr(0, kRecord)); break;  // said twice
      case 14:
        theirs_.close();
        disturb();
        break;
      default: break;
    }
    go_on();
  }

  // `welcome`: there is no reason to refuse the peer.
  void end_well(bool welcome) {
    settle();
    if (disturbed_ || !welcome) return;
    CHECK(greeted());
    CHECK(got_ == given_);  // by now, not when something else happens to come
    give(100);
    if (peer_.may_write()) peer_.finish();
    settle();
    CHECK(got_ == given_ && end_.code() == Code::kEof && !conn_.broken());
    CHECK(wanted_ == 0 && !conn_.holds_bytes() && peer_.heard == said_);
    finish();
    settle();
    CHECK(conn_.shut() && peer_.heard_end());
  }

 private:
  static char pattern(size_t at) { return static_cast<char>(at * 7 + at / 256); }
  static void append(std::string& to, size_t count) {
    while (count-- > 0) to += pattern(to.size());
  }

  // ---- what the fuzzer does

  void deliver(size_t most) {
    if (!theirs_.open() || peer_.said.empty() || most == 0) return;
    const ssize_t n = sys::send(theirs_.get(), peer_.said.data(), std::min(most, peer_.said.size()));
    if (n > 0) peer_.said.erase(0, static_cast<size_t>(n));
    if (n > 0) moved_ += static_cast<size_t>(n);
  }
  void turn(size_t at, uint8_t by) {
    if (peer_.said.empty() || by == 0) return;
    char& byte = peer_.said[at % peer_.said.size()];
    byte = static_cast<char>(static_cast<uint8_t>(byte) ^ by);
    disturb();
  }
  void leave_out(size_t at, size_t count) {
    if (peer_.said.empty() || count == 0) return;
    peer_.said.erase(at % peer_.said.size(), count);
    disturb();
  }
  void make_up(std::string_view bytes) {
    if (bytes.empty()) return;
    peer_.said += bytes;
    disturb();
  }
  void give(size_t count) {
    if (!peer_.may_write() || count == 0) return;
    std::string text;
    for (size_t i = 0; i < std::min(count, kRecord); ++i) text += pattern(given_.size() + i);
    peer_.write(text);
    given_ += text;
  }
  void end() {
    if (theirs_.open()) CHECK(sys::shutdown_write(theirs_.get()) == 0);
    disturb();
  }
  void disturb() { disturbed_ = true; }
  void want(size_t count) {
    if (!finishing_) wanted_ += count;
    if (conn_.is_open()) conn_.again();
  }
  void finish() {
    if (!conn_.is_open() || conn_.shut()) return;
    finishing_ = true;
    conn_.again();
  }

  // ---- what follows

  void go_on() {
    if (tls_ != nullptr) greet();
    loop_.turn(Delay{0});
    if (theirs_.open() && !deaf_) {
      std::array<char, 65536> bytes;  // NOLINT: the kernel fills what is read
      const ssize_t n = sys::recv(theirs_.get(), bytes.data(), bytes.size());
      if (n > 0) peer_.hear({bytes.data(), static_cast<size_t>(n)});
      if (n > 0) moved_ += static_cast<size_t>(n);
    }
    peer_.step();
  }

  void greet() {
    std::string why;
    const Status status = tls_->handshake(why);
    if (status.code() == Code::kAgain) return;
    count_outcome(status.ok() ? tls_->version() : why);
    if (!status.ok()) {
      CHECK(!why.empty() && why.size() < 1000);
      tls_.reset();
      ours_.close();
      return;
    }
    static_cast<void>(tls_->peer_name());
    count_outcome(tls_->cipher());
    count_outcome(tls_->resumed() ? "resumed" : "not resumed");
    CHECK(conn_.open({std::move(ours_), family_, std::move(tls_)}).ok());
  }

  void on_ready(Conn&) override {
    CHECK(++steps_ < 100'000);
    std::array<std::byte, 3000> bytes;  // NOLINT: filled by what is read
    while (conn_.readable()) {
      const Result<size_t> n = conn_.read(bytes);
      ++steps_;
      if (n.ok()) {
        CHECK(*n > 0 && end_.ok());
        got_.append(reinterpret_cast<const char*>(bytes.data()), *n);
        CHECK(std::string_view(given_).starts_with(got_));  // nothing that was not authenticated
        continue;
      }
      const Code code = n.status().code();
      if (code == Code::kAgain) {
        CHECK(!conn_.unread() || conn_.holds_bytes() || conn_.readable());  // or who will tell us
        break;
      }
      CHECK(end_.ok() || end_.code() == code);
      CHECK(*n.status().reason() != '\0');
      if (code == Code::kEof) CHECK(!peer_.may_write());
      end_ = n.status();
      count_outcome(n.status().reason());
      break;
    }
    while (wanted_ > 0 && conn_.writable() && !conn_.shut()) {
      std::string text = said_;
      append(text, std::min(wanted_, size_t{50'000}));
      const Result<size_t> n = conn_.write(std::as_bytes(std::span(text).subspan(said_.size())));
      ++steps_;
      if (!n.ok()) {
        if (n.status().code() != Code::kAgain) wanted_ = 0;
        break;
      }
      said_ = text.substr(0, said_.size() + *n);
      wanted_ -= *n;
    }
    if (finishing_ && wanted_ == 0 && !conn_.shut() && conn_.writable()) {
      static_cast<void>(conn_.shutdown_write());
      ++steps_;
    }
    if (conn_.shut()) wanted_ = 0;
  }

  Loop& loop_;
  Conn conn_;
  Peer peer_;
  Addr::Family family_;
  Fd ours_;  // until it is the Conn's
  Fd theirs_;
  std::unique_ptr<Tls> tls_;  // the same
  std::string given_;  // by the peer
  std::string got_;    // by us
  std::string said_;   // by us
  size_t wanted_ = 0;  // to be said
  size_t moved_ = 0;
  size_t steps_ = 0;
  Status end_;
  bool finishing_ = false;
  bool deaf_ = false;       // the peer
  bool disturbed_ = false;  // what we hear is not what it said
};

TlsConfig config_of(unsigned flags) {
  TlsConfig config;
  config.server = (flags & kServer) != 0;
  config.verify = (flags & kVerify) != 0;
  config.cert = config.server || config.verify ? Identity::get().path() : "";
  config.ca = Identity::get().path();
  config.ca_key = "ca";
  if (config.server) config.names = {"relay.test"};
  else config.server_name = "relay.test";
  return config;
}

}  // namespace
}  // namespace relay

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace relay;
  static Loop loop;
  const Identity& identity = Identity::get();
  fuzz::Input input(data, size);
  const unsigned flags = input.byte();
  g_random = 1;
  X509* const named = (flags & kNamed) != 0 ? identity.make(input.until('\n')) : nullptr;
  X509* const cert = named != nullptr ? named : identity.own();
  TlsContext context;
  CHECK(!context.load(config_of(flags)));
  SSL_SESSION* session = nullptr;
  if ((flags & kAgain) != 0) {
    Meeting before(loop, context, flags, nullptr, cert);
    before.settle();
    if (before.greeted() && (flags & kServer) != 0) session = before.session();
  }
  {
    Meeting meeting(loop, context, flags, session, cert);
    if ((flags & kGreeted) != 0) meeting.settle();
    for (int steps = 0; !input.empty() && steps < 50; ++steps) meeting.step(input);
    meeting.end_well(named == nullptr);
  }
  SSL_SESSION_free(session);
  X509_free(named);
  loop.turn(Delay{0});
  return 0;
}

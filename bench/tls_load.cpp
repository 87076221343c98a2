// SPDX-License-Identifier: Apache-2.0
// The two ends of a measurement with TLS on one side of the program in the middle, as load.cpp is without.
//
//   bulk --side client   client end, TLS --> PORT [ middle ] --> TARGET-PORT, plain, server end
//   bulk --side target   client end, plain --> PORT [ middle ] --> TARGET-PORT, TLS, server end
//   rate                 --side client: connect, handshake, a byte each way, close; --resume 1: with the ticket of the last one
//
// Both directions of certificates are as the middle's configuration has them; the ends verify nothing. One call prints one JSON
// object. The cipher is --cipher of TLS 1.3.
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sys/epoll.h>

#include <charconv>
#include <cinttypes>
#include <string_view>

#include "ends.h"

namespace {

using namespace bench;

struct More {
  std::string side = "client", cipher = "TLS_AES_128_GCM_SHA256", cert, key;
  uint64_t resume = 0;
};
More more;

SSL_SESSION* ticket = nullptr;
int keep_ticket(SSL*, SSL_SESSION* session) {
  if (ticket != nullptr) SSL_SESSION_free(ticket);
  ticket = session;
  return 1;
}

SSL_CTX* make_context(bool server) {
  SSL_CTX* context = SSL_CTX_new(server ? TLS_server_method() : TLS_client_method());
  need(context != nullptr, "SSL_CTX_new");
  SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION);
  need(SSL_CTX_set_ciphersuites(context, more.cipher.c_str()) == 1, "--cipher");
  SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  if (server) {
    need(SSL_CTX_use_certificate_chain_file(context, more.cert.c_str()) == 1, "--cert");
    need(SSL_CTX_use_PrivateKey_file(context, more.key.c_str(), SSL_FILETYPE_PEM) == 1, "--key");
  } else if (more.resume != 0) {
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(context, keep_ticket);
  }
  return context;
}

// A byte each way, as ends.h has it, over TLS if there is any. Blocking.
struct End {
  int fd;
  SSL* ssl;
};
void put_byte(const End& end) {
  if (end.ssl == nullptr) return send_byte(end.fd);
  need(SSL_write(end.ssl, "x", 1) == 1, "SSL_write of one byte");
}
void get_byte(const End& end) {
  char byte = 0;
  if (end.ssl == nullptr) return recv_byte(end.fd);
  need(SSL_read(end.ssl, &byte, 1) == 1, "SSL_read: no byte came through the middle");
}

End open_end(SSL_CTX* context, int fd) {
  if (context == nullptr) return {fd, nullptr};
  SSL* ssl = SSL_new(context);
  SSL_set_fd(ssl, fd);
  if (!SSL_CTX_get0_certificate(context) && more.resume != 0 && ticket != nullptr) SSL_set_session(ssl, ticket);
  const bool server = SSL_CTX_get0_certificate(context) != nullptr;
  const int done = server ? SSL_accept(ssl) : SSL_connect(ssl);
  if (done != 1) ERR_print_errors_fp(stderr);
  need(done == 1, "handshake");
  return {fd, ssl};
}

// For ever: writes, or reads and counts.
void pump(const std::vector<End>& ends, bool writes, std::atomic<uint64_t>* received) {
  static std::array<char, kRecv> buffer;
  const int ep = epoll_create1(EPOLL_CLOEXEC);
  for (uint32_t i = 0; i < ends.size(); ++i) {
    set_nonblocking(ends[i].fd);
    if (!writes && ends[i].ssl == nullptr) set(ends[i].fd, SOL_SOCKET, SO_RCVLOWAT, 256 << 10);
    if (!writes && ends[i].ssl != nullptr) set(ends[i].fd, SOL_SOCKET, SO_RCVLOWAT, 64 << 10);
    epoll_event e{};
    e.events = writes ? EPOLLOUT : EPOLLIN;
    e.data.u32 = i;
    need(epoll_ctl(ep, EPOLL_CTL_ADD, ends[i].fd, &e) == 0, "epoll_ctl");
  }
  std::array<epoll_event, 64> ready{};
  for (;;) {
    const int n = epoll_wait(ep, ready.data(), static_cast<int>(ready.size()), kPatienceMs);
    need(n > 0, "bytes do not move");
    for (int k = 0; k < n; ++k) {
      const End& end = ends[ready[static_cast<size_t>(k)].data.u32];
      for (int round = 0; round < 16; ++round) {
        ssize_t moved = 0;
        ERR_clear_error();
        if (end.ssl == nullptr)
          moved = writes ? send(end.fd, buffer.data(), kSend, MSG_NOSIGNAL) : recv(end.fd, buffer.data(), kRecv, 0);
        else
          moved = writes ? SSL_write(end.ssl, buffer.data(), 16384) : SSL_read(end.ssl, buffer.data(), kRecv);
        if (moved <= 0) {
          need(end.ssl == nullptr ? moved < 0 && errno == EAGAIN : SSL_get_error(end.ssl, static_cast<int>(moved)) <= SSL_ERROR_WANT_WRITE, "bulk");
          break;
        }
        if (!writes) received->fetch_add(static_cast<uint64_t>(moved), std::memory_order_relaxed);
        if (end.ssl == nullptr) break;
      }
    }
  }
}

void run_bulk(const Options& o) {
  const bool client_tls = more.side == "client", up = o.way != "down";
  Ends ends(
      o,
      [&](Ends& e, int listener) {
        SSL_CTX* context = client_tls ? nullptr : make_context(true);
        std::vector<End> all;
        set_timeout(listener);
        while (all.size() < o.conns) {
          const int fd = accept_on(listener, 0);
          set_timeout(fd);
          all.push_back(open_end(context, fd));
          get_byte(all.back());
          put_byte(all.back());
        }
        e.report();
        pump(all, !up, &shared->up);
      },
      [&](Ends& e) {
        SSL_CTX* context = client_tls ? make_context(false) : nullptr;
        std::vector<End> all;
        for (uint64_t i = 0; i < o.conns; ++i) {
          const int fd = connect_to(o.port);
          set_timeout(fd);
          all.push_back(open_end(context, fd));
          put_byte(all.back());
          get_byte(all.back());
        }
        e.report();
        pump(all, up, &shared->down);
      });
  ends.await_reports(2);
  ends.run_for(o.warmup);
  const pid_t middle = static_cast<pid_t>(o.cpu_of);
  std::atomic<uint64_t>& counter = up ? shared->up : shared->down;
  const uint64_t bytes0 = counter, t0 = now_ns(), cpu0 = cpu_ns(middle);
  ends.run_for(o.seconds);
  const double took = to_s(now_ns() - t0), gb = static_cast<double>(counter - bytes0) / 1e9, cpu = to_s(cpu_ns(middle) - cpu0);
  std::printf("{\"run\":\"bulk\",\"side\":\"%s\",\"way\":\"%s\",\"conns\":%" PRIu64 ",\"gb_per_s\":%.4f,\"cpu_s_per_gb\":%.4f}\n",
              more.side.c_str(), o.way.c_str(), o.conns, gb / took, gb > 0 ? cpu / gb : 0);
}

void run_rate(const Options& o) {
  Ends ends(
      o,
      [&](Ends&, int listener) {
        for (;;) {
          const int fd = accept_on(listener, 0);
          recv_byte(fd);
          send_byte(fd);
          char byte = 0;
          static_cast<void>(recv(fd, &byte, 1, 0));
          close(fd);
        }
      },
      [&](Ends& e) {
        SSL_CTX* context = make_context(false);
        const uint64_t counts_from = now_ns() + to_ns(o.warmup);
        uint64_t count = 0, began = 0, cpu = 0, resumed = 0;
        for (uint64_t t = now_ns(); began == 0 || t < began + to_ns(o.seconds); t = now_ns()) {
          if (began == 0 && t >= counts_from) {
            began = t;
            cpu = cpu_ns(static_cast<pid_t>(o.cpu_of));
            count = resumed = 0;
          }
          const int fd = connect_to(o.port);
          set_timeout(fd);
          const End end = open_end(context, fd);
          put_byte(end);
          get_byte(end);
          resumed += SSL_session_reused(end.ssl) == 1 ? 1 : 0;
          SSL_shutdown(end.ssl);
          SSL_free(end.ssl);
          close(fd);
          ++count;
        }
        shared->count = count;
        shared->took_ns = now_ns() - began;
        shared->cpu_ns = cpu_ns(static_cast<pid_t>(o.cpu_of)) - cpu;
        shared->p50 = static_cast<uint32_t>(resumed);
        e.report();
      });
  ends.await_reports(1);
  const double count = static_cast<double>(shared->count);
  std::printf("{\"run\":\"rate\",\"resume\":%" PRIu64 ",\"resumed\":%u,\"per_s\":%.1f,\"per_cpu_s\":%.1f}\n", more.resume, shared->p50,
              count / to_s(shared->took_ns), count / to_s(shared->cpu_ns));
}

template <typename T>
void number(std::string_view text, T& value) {
  need(std::from_chars(text.data(), text.data() + text.size(), value).ec == std::errc{}, "not a number");
}

}  // namespace

int main(int argc, char** argv) {
  Options o;
  if (argc < 2) return 2;
  o.run = argv[1];
  for (int i = 2; i + 1 < argc; i += 2) {
    const std::string_view name = argv[i], value = argv[i + 1];
    if (name == "--port") number(value, o.port);
    else if (name == "--target-port") number(value, o.target_port);
    else if (name == "--conns") number(value, o.conns);
    else if (name == "--cpu-of") number(value, o.cpu_of);
    else if (name == "--seconds") number(value, o.seconds);
    else if (name == "--warmup") number(value, o.warmup);
    else if (name == "--way") o.way = value;
    else if (name == "--side") more.side = value;
    else if (name == "--cipher") more.cipher = value;
    else if (name == "--cert") more.cert = value;
    else if (name == "--key") more.key = value;
    else if (name == "--resume") number(value, more.resume);
    else die("usage: tls_load bulk|rate --port P --target-port T --side client|target --conns N --way up|down --resume 0|1 --cert F --key F");
  }
  signal(SIGPIPE, SIG_IGN);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (o.run == "bulk") run_bulk(o);
  else run_rate(o);
  return 0;
}

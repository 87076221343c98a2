// SPDX-License-Identifier: Apache-2.0
// An upstream that is faster than gRPC C++, so that the program before it is what is measured: nghttp2, one thread, the codec of the relay. What a
// client sends is sent back to it; a message that begins with B is sent to all. A message is read, turned round and written in one turn of the
// loop; all that came together leaves together.
//
// With a ledger it acknowledges instead (FEATURE_ACK), and first enters what it has heard there: a file that several of these share, and that
// outlives them. Clients say "C N", as crowd.cpp's `flood` does. The ledger has four numbers of 64 bits for each client: the greatest N so far; how
// many came again; how many came again without being marked; how many came out of order, or with something missing before them.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <fcntl.h>
#include <nghttp2/nghttp2.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>

#include "wire/grpc.h"
#include "wire/upstream.h"

namespace {

using namespace relay;

constexpr int32_t kWindow = 1 << 30;
constexpr size_t kBatch = size_t{256} << 10;  // bytes that are read, and written, at a time

[[noreturn]] void die(const char* what) {
  std::perror(what);
  std::_Exit(1);
}

class Ledger {
 public:
  void open(const char* path) {
    const int fd = ::open(path, O_RDWR | O_CLOEXEC);
    struct stat about {};
    if (fd < 0 || fstat(fd, &about) != 0) die(path);
    void* const at = mmap(nullptr, static_cast<size_t>(about.st_size), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (at == MAP_FAILED) die("mmap");
    clients_ = {static_cast<Client*>(at), static_cast<size_t>(about.st_size) / sizeof(Client)};
  }
  bool kept() const { return !clients_.empty(); }

  // `before` is what this stream has had last of each client.
  void enter(const upstream::Input& in, std::unordered_map<uint64_t, uint64_t>& before) {
    const char* const text = reinterpret_cast<const char*>(in.payload.data());
    const char* const end = text + in.payload.size();
    uint64_t client = 0, number = 0;
    const char* const blank = std::from_chars(text, end, client).ptr;
    if (blank == end || std::from_chars(blank + 1, end, number).ptr == end || client >= clients_.size()) die("no line of a flood");
    Client& one = clients_[client];
    uint64_t& last = before[client];
    if (number != in.seq || (last != 0 ? number != last + 1 : number > one.greatest + 1)) ++one.wrong;
    last = number;
    if (number > one.greatest) {
      one.greatest = number;
    } else {
      ++one.again;
      if (!in.redelivered) ++one.unmarked;
    }
  }

 private:
  struct Client {
    uint64_t greatest, again, unmarked, wrong;
  };
  std::span<Client> clients_;
};

Ledger ledger;

struct Stream {
  enum class Call { kReady, kLive, kTalk, kOther };
  Call call = Call::kOther;
  GrpcReader reader{4U << 20};
  std::unordered_map<uint64_t, uint64_t> before;  // of each client, for the ledger
  std::string out;
  size_t sent = 0;
  bool ended = false;     // by the client
  bool deferred = false;  // nghttp2 has been told that there is nothing
};

class Connection {
 public:
  explicit Connection(int fd) : fd_(fd) {
    nghttp2_session_callbacks* calls = nullptr;
    nghttp2_session_callbacks_new(&calls);
    nghttp2_session_callbacks_set_on_begin_headers_callback(calls, [](nghttp2_session* session, const nghttp2_frame* frame, void*) {
      if (frame->hd.type == NGHTTP2_HEADERS && frame->headers.cat == NGHTTP2_HCAT_REQUEST)
        nghttp2_session_set_stream_user_data(session, frame->hd.stream_id, new Stream);
      return 0;
    });
    nghttp2_session_callbacks_set_on_header_callback(
        calls, [](nghttp2_session* session, const nghttp2_frame* frame, const uint8_t* name, size_t name_size, const uint8_t* value, size_t value_size, uint8_t,
                  void*) {
          Stream* stream = of(session, frame->hd.stream_id);
          if (stream == nullptr || std::string_view(reinterpret_cast<const char*>(name), name_size) != ":path") return 0;
          const std::string_view path(reinterpret_cast<const char*>(value), value_size);
          stream->call = path.ends_with("/ready")                    ? Stream::Call::kReady
                         : path.ends_with("/live")                   ? Stream::Call::kLive
                         : path.ends_with("/bidirectionalStreaming") ? Stream::Call::kTalk
                                                                     : Stream::Call::kOther;
          return 0;
        });
    nghttp2_session_callbacks_set_on_frame_recv_callback(calls, [](nghttp2_session* session, const nghttp2_frame* frame, void* user) {
      Stream* stream = of(session, frame->hd.stream_id);
      if (stream == nullptr || (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA)) return 0;
      static_cast<Connection*>(user)->got(frame->hd.stream_id, *stream, frame->hd.type == NGHTTP2_HEADERS, (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0);
      return 0;
    });
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(
        calls, [](nghttp2_session* session, uint8_t, int32_t id, const uint8_t* bytes, size_t size, void* user) {
          if (Stream* stream = of(session, id); stream != nullptr) static_cast<Connection*>(user)->data(id, *stream, std::as_bytes(std::span(bytes, size)));
          return 0;
        });
    nghttp2_session_callbacks_set_on_stream_close_callback(calls, [](nghttp2_session* session, int32_t id, uint32_t, void*) {
      delete of(session, id);
      nghttp2_session_set_stream_user_data(session, id, nullptr);
      return 0;
    });
    nghttp2_session_server_new(&session_, calls, this);
    nghttp2_session_callbacks_del(calls);
    const std::array<nghttp2_settings_entry, 2> settings = {{{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, kWindow}, {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 100}}};
    nghttp2_submit_settings(session_, NGHTTP2_FLAG_NONE, settings.data(), settings.size());
    nghttp2_session_set_local_window_size(session_, NGHTTP2_FLAG_NONE, 0, kWindow);
  }
  ~Connection() {
    nghttp2_session_del(session_);
    close(fd_);
  }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // False: it is over.
  bool serve() {
    static std::array<uint8_t, kBatch> block;
    for (;;) {
      const ssize_t n = recv(fd_, block.data(), block.size(), 0);
      if (n < 0 && errno == EAGAIN) return write();
      if (n <= 0) return false;
      if (nghttp2_session_mem_recv(session_, block.data(), static_cast<size_t>(n)) < 0) return false;
      if (!write()) return false;
      if (static_cast<size_t>(n) < block.size()) return true;  // edge-triggered: there will be word of more
    }
  }

 private:
  static Stream* of(nghttp2_session* session, int32_t id) { return static_cast<Stream*>(nghttp2_session_get_stream_user_data(session, id)); }

  static void append_message(std::string& to, std::string_view body) {
    const auto prefix = grpc_prefix(static_cast<uint32_t>(body.size()));
    to.append(reinterpret_cast<const char*>(prefix.data()), prefix.size()).append(body);
  }

  void data(int32_t id, Stream& stream, std::span<const std::byte> bytes) {
    const Status status = stream.reader.feed(bytes, [&](std::span<const std::byte> message) {
      if (stream.call == Stream::Call::kTalk) {
        answer(message, stream);
      } else {  // field 2, true: it is ready, or lives; field 3: FEATURE_ACK
        const bool acknowledges = ledger.kept() && stream.call == Stream::Call::kReady;
        append_message(stream.out, acknowledges ? std::string_view("\x10\x01\x1a\x01\x03", 5) : std::string_view("\x10\x01", 2));
      }
      return true;
    });
    if (!status.ok()) die("a bad message");
    go_on(id, stream);
  }

  static void answer(std::span<const std::byte> message, Stream& stream) {
    static upstream::Input in;
    static upstream::Output out;
    in = {};
    if (!decode(message, in).ok()) die("no InputStreamRequest");
    if (in.event != upstream::Event::kData) return;
    if (ledger.kept()) {
      ledger.enter(in, stream.before);
      out = {};
      out.target = upstream::Output::Target::kClient;
      out.client_uuid = in.client_uuid;
      out.ack_seq = in.seq;
      encode(out, stream.out);
      return;
    }
    const bool to_all = !in.payload.empty() && in.payload[0] == std::byte{'B'};
    out.target = to_all ? upstream::Output::Target::kBroadcast : upstream::Output::Target::kClient;
    out.client_uuid = in.client_uuid;
    out.payload = in.payload;
    encode(out, stream.out);
  }

  void go_on(int32_t id, Stream& stream) {
    if (!stream.deferred) return;
    stream.deferred = false;
    nghttp2_session_resume_data(session_, id);
  }

  void got(int32_t id, Stream& stream, bool headers, bool ended) {
    if (headers) {
      nghttp2_data_provider provider{};
      provider.source.ptr = &stream;
      provider.read_callback = [](nghttp2_session* session, int32_t at, uint8_t* to, size_t most, uint32_t* flags, nghttp2_data_source* source,
                                  void*) -> ssize_t {
        return take(session, at, to, most, flags, *static_cast<Stream*>(source->ptr));
      };
      const std::array<nghttp2_nv, 2> fields = {nv(":status", "200"), nv("content-type", "application/grpc")};
      nghttp2_submit_response(session_, id, fields.data(), fields.size(), &provider);
    }
    if (!ended) return;
    stream.ended = true;
    go_on(id, stream);
  }

  static ssize_t take(nghttp2_session* session, int32_t id, uint8_t* to, size_t most, uint32_t* flags, Stream& stream) {
    const size_t n = std::min(most, stream.out.size() - stream.sent);
    std::memcpy(to, stream.out.data() + stream.sent, n);
    stream.sent += n;
    if (stream.sent == stream.out.size()) {
      stream.out.clear();
      stream.sent = 0;
      if (stream.ended) {
        *flags |= NGHTTP2_DATA_FLAG_EOF | NGHTTP2_DATA_FLAG_NO_END_STREAM;
        const std::array<nghttp2_nv, 1> trailers = {nv("grpc-status", "0")};
        nghttp2_submit_trailer(session, id, trailers.data(), trailers.size());
      } else if (n == 0) {
        stream.deferred = true;
        return NGHTTP2_ERR_DEFERRED;
      }
    }
    return static_cast<ssize_t>(n);
  }

  static nghttp2_nv nv(std::string_view name, std::string_view value) {
    return {reinterpret_cast<uint8_t*>(const_cast<char*>(name.data())), reinterpret_cast<uint8_t*>(const_cast<char*>(value.data())), name.size(), value.size(),
            NGHTTP2_NV_FLAG_NONE};
  }

  // All that nghttp2 has, by as few calls as may be; what the socket does not take waits.
  bool write() {
    for (;;) {
      while (out_.size() < kBatch) {
        const uint8_t* bytes = nullptr;
        const ssize_t n = nghttp2_session_mem_send(session_, &bytes);
        if (n < 0) return false;
        if (n == 0) break;
        out_.append(reinterpret_cast<const char*>(bytes), static_cast<size_t>(n));
      }
      if (out_.empty()) return true;
      const ssize_t n = send(fd_, out_.data(), out_.size(), MSG_NOSIGNAL);
      if (n < 0) return errno == EAGAIN;
      out_.erase(0, static_cast<size_t>(n));
    }
  }

  int fd_;
  nghttp2_session* session_ = nullptr;
  std::string out_;
};

int listen_on(uint16_t port) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  if (bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 || listen(fd, 64) != 0) die("listen");
  return fd;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: h2_echo PORT [LEDGER]\n");
    return 2;
  }
  if (argc > 2) ledger.open(argv[2]);
  const int listener = listen_on(static_cast<uint16_t>(std::atoi(argv[1])));
  const int epoll = epoll_create1(EPOLL_CLOEXEC);
  const auto watch = [&](int fd, uint32_t events) {
    epoll_event event{};
    event.events = events;
    event.data.fd = fd;
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) != 0) die("epoll_ctl");
  };
  watch(listener, EPOLLIN);
  std::map<int, std::unique_ptr<Connection>> connections;
  for (;;) {
    std::array<epoll_event, 16> events;
    const int n = epoll_wait(epoll, events.data(), events.size(), -1);
    for (int i = 0; i < n; ++i) {
      const int ready = events[static_cast<size_t>(i)].data.fd;
      if (ready != listener) {
        const auto at = connections.find(ready);
        if (at != connections.end() && !at->second->serve()) connections.erase(at);
        continue;
      }
      const int fd = accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC), one = 1;
      if (fd < 0) continue;
      setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
      connections.emplace(fd, std::make_unique<Connection>(fd));
      watch(fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET);
    }
  }
}

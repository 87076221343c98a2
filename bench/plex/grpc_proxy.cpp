// SPDX-License-Identifier: Apache-2.0
// The rival: a plex by gRPC C++. Clients by epoll in one thread; one stream to the upstream by the callback API, whose threads write answers to
// clients themselves, which saves a change of threads. Messages that came in one turn leave together: all but the last are hinted that more follow.
// As in a plex, a client has a UUID, a message has the time when it came, a slow upstream stops the reading of clients, and a slow client is not
// read until it has what is for it.
#include <arpa/inet.h>
#include <fcntl.h>
#include <grpcpp/grpcpp.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "upstream.grpc.pb.h"

namespace {

using upstream::grpc::service::Broadcast;
using upstream::grpc::service::InputStreamRequest;
using upstream::grpc::service::OutputStreamRequest;
using upstream::grpc::service::UpstreamPeerService;

constexpr size_t kBlock = 64 * 1024;
constexpr size_t kUpstreamQueue = 256 * 1024;  // bytes that wait for the upstream; more, and nobody is read
constexpr size_t kClientQueue = 256 * 1024;    // bytes that wait for a client; more, and it is not read

[[noreturn]] void die(const char* what) {
  std::perror(what);
  std::_Exit(1);
}

std::string new_uuid() {
  static std::array<uint8_t, 4096> random;
  static size_t left = 0;
  if (left < 16) {
    if (getrandom(random.data(), random.size(), 0) != static_cast<ssize_t>(random.size())) die("getrandom");
    left = random.size();
  }
  uint8_t* bytes = random.data() + (left -= 16);
  bytes[6] = static_cast<uint8_t>((bytes[6] & 0x0f) | 0x40);
  bytes[8] = static_cast<uint8_t>((bytes[8] & 0x3f) | 0x80);
  std::string text;
  for (int i = 0; i < 16; ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10) text += '-';
    text += "0123456789abcdef"[bytes[i] >> 4];
    text += "0123456789abcdef"[bytes[i] & 15];
  }
  return text;
}

// Made anew once a millisecond. For the thread of clients.
const std::string& time_text() {
  static std::string text;
  static int64_t last = -1;
  timespec now{};
  clock_gettime(CLOCK_REALTIME_COARSE, &now);
  const int64_t ms = now.tv_sec * 1000 + now.tv_nsec / 1'000'000;
  if (ms == last) return text;
  last = ms;
  tm parts{};
  gmtime_r(&now.tv_sec, &parts);
  char buffer[32];
  const size_t n = std::strftime(buffer, sizeof buffer, "%FT%T", &parts);
  std::snprintf(buffer + n, sizeof buffer - n, ".%03dZ", static_cast<int>(ms % 1000));
  return text = buffer;
}

struct Client {
  int fd;
  std::string uuid;
  std::mutex mutex;   // of what is below
  std::string out;    // what its kernel did not take
  bool gone = false;
  bool unread = false;  // something may be there, and was not read
  ~Client() { close(fd); }
};
using ClientPtr = std::shared_ptr<Client>;

// Threads of gRPC and the one of clients share it.
class Table {
 public:
  void add(const ClientPtr& client) {
    const std::lock_guard lock(mutex_);
    clients_.emplace(client->uuid, client);
  }
  void remove(const std::string& uuid) {
    const std::lock_guard lock(mutex_);
    clients_.erase(uuid);
  }
  ClientPtr find(const std::string& uuid) {
    const std::lock_guard lock(mutex_);
    const auto at = clients_.find(uuid);
    return at == clients_.end() ? nullptr : at->second;
  }
  std::vector<ClientPtr> all() {
    const std::lock_guard lock(mutex_);
    std::vector<ClientPtr> all;
    all.reserve(clients_.size());
    for (const auto& [uuid, client] : clients_) all.push_back(client);
    return all;
  }

 private:
  std::mutex mutex_;
  std::unordered_map<std::string, ClientPtr> clients_;
};

Table table;
int wake_fd = -1;  // the thread of clients is to look at those that were not read

void wake() {
  const uint64_t one = 1;
  if (write(wake_fd, &one, sizeof one) < 0 && errno != EAGAIN) die("eventfd");
}

// Called by a thread of gRPC.
void write_to(Client& client, const std::string& bytes) {
  const std::lock_guard lock(client.mutex);
  if (client.gone) return;
  size_t sent = 0;
  if (client.out.empty()) {
    const ssize_t n = send(client.fd, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0 && errno != EAGAIN) return;  // the reading side hears of it
    if (n > 0) sent = static_cast<size_t>(n);
  }
  client.out.append(bytes, sent);
}

class Stream final : public grpc::ClientBidiReactor<InputStreamRequest, OutputStreamRequest> {
 public:
  explicit Stream(UpstreamPeerService::Stub& stub) {
    stub.async()->bidirectionalStreaming(&context_, this);
    StartRead(&answer_);
    StartCall();
  }

  // For the thread of clients: what came in a turn, all at once.
  void give(std::deque<InputStreamRequest>& batch, size_t bytes) {
    const std::lock_guard lock(mutex_);
    if (waiting_.empty())
      waiting_.swap(batch);
    else
      for (InputStreamRequest& one : batch) waiting_.push_back(std::move(one));
    batch.clear();
    bytes_ += bytes;
    if (!writing_) write();
  }
  bool full() const { return bytes_ > kUpstreamQueue; }

  void OnWriteDone(bool ok) override {
    if (!ok) return;  // OnDone follows
    const std::lock_guard lock(mutex_);
    const size_t before = bytes_;
    bytes_ = before - waiting_.front().payload().size();
    if (before > kUpstreamQueue && bytes_ <= kUpstreamQueue) wake();
    waiting_.pop_front();
    writing_ = false;
    if (!waiting_.empty()) write();
  }
  void OnReadDone(bool ok) override {
    if (!ok) return;
    if (answer_.target_case() == OutputStreamRequest::kBroadcast) {
      for (const ClientPtr& client : table.all()) write_to(*client, answer_.payload());
    } else if (const ClientPtr client = table.find(answer_.client_uuid()); client != nullptr) {
      write_to(*client, answer_.payload());
    }
    StartRead(&answer_);
  }
  void OnDone(const grpc::Status& status) override {
    std::fprintf(stderr, "the stream is over: %s\n", status.error_message().c_str());
    std::_Exit(1);
  }

 private:
  void write() {
    writing_ = true;
    grpc::WriteOptions options;
    if (waiting_.size() > 1) options.set_buffer_hint();
    StartWrite(&waiting_.front(), options);
  }

  grpc::ClientContext context_;
  OutputStreamRequest answer_;
  std::mutex mutex_;
  std::deque<InputStreamRequest> waiting_;  // the first is being written
  std::atomic<size_t> bytes_{0};
  bool writing_ = false;
};

class Front {
 public:
  Front(uint16_t port, Stream& stream)
      : stream_(stream), epoll_(epoll_create1(EPOLL_CLOEXEC)), listener_(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)) {
    const int one = 1;
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(listener_, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener_, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 || listen(listener_, 4096) != 0) die("listen");
    wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    watch(listener_, EPOLLIN, listener_);
    watch(wake_fd, EPOLLIN, wake_fd);
  }

  void run() {
    std::array<epoll_event, 256> events;
    for (;;) {
      const int n = epoll_wait(epoll_, events.data(), events.size(), -1);
      for (int i = 0; i < n; ++i) {
        const int fd = events[static_cast<size_t>(i)].data.fd;
        if (fd == listener_)
          accept_all();
        else if (fd == wake_fd)
          look_again();
        else if (fd < static_cast<int>(clients_.size()) && clients_[static_cast<size_t>(fd)] != nullptr)
          serve(clients_[static_cast<size_t>(fd)], events[static_cast<size_t>(i)].events);
      }
      if (!batch_.empty()) stream_.give(batch_, std::exchange(batch_bytes_, 0));
    }
  }

 private:
  void watch(int fd, uint32_t events, int name) {
    epoll_event event{};
    event.events = events;
    event.data.fd = name;
    if (epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event) != 0) die("epoll_ctl");
  }
  void accept_all() {
    for (;;) {
      const int fd = accept4(listener_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
      if (fd < 0) return;
      const int one = 1;
      setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
      setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "reno", 4);  // as the relay does on loopback: no pacing
      const auto client = std::make_shared<Client>();
      client->fd = fd;
      client->uuid = new_uuid();
      if (clients_.size() <= static_cast<size_t>(fd)) clients_.resize(static_cast<size_t>(fd) + 1024);
      clients_[static_cast<size_t>(fd)] = client;
      table.add(client);
      watch(fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, fd);
    }
  }
  void look_again() {
    uint64_t count = 0;
    if (read(wake_fd, &count, sizeof count) < 0 && errno != EAGAIN) die("eventfd");
    std::vector<ClientPtr> unread;
    unread.swap(unread_);
    for (const ClientPtr& client : unread) read_from(client);
  }
  // False: it is not to be read now.
  bool flush(Client& client) {
    const std::lock_guard lock(client.mutex);
    if (client.out.empty()) return true;
    const ssize_t n = send(client.fd, client.out.data(), client.out.size(), MSG_NOSIGNAL);
    if (n > 0) client.out.erase(0, static_cast<size_t>(n));
    return client.out.size() <= kClientQueue;
  }
  void serve(const ClientPtr& client, uint32_t events) {
    const bool may = (events & EPOLLOUT) == 0 || flush(*client);
    if (may && ((events & ~static_cast<uint32_t>(EPOLLOUT)) != 0 || client->unread)) read_from(client);
  }
  void read_from(const ClientPtr& client) {
    static std::array<char, kBlock> block;
    client->unread = false;
    for (;;) {
      if (stream_.full() || batch_bytes_ > kUpstreamQueue) {
        client->unread = true;
        unread_.push_back(client);
        return wake_if_room();
      }
      {
        const std::lock_guard lock(client->mutex);
        if (client->gone) return;
        client->unread = client->out.size() > kClientQueue;
      }
      if (client->unread) return;  // flush() comes
      const ssize_t n = recv(client->fd, block.data(), block.size(), 0);
      if (n < 0 && errno == EAGAIN) return;
      if (n <= 0) return end(client);
      InputStreamRequest& message = batch_.emplace_back();
      message.set_time(time_text());
      message.set_client_uuid(client->uuid);
      message.set_payload(block.data(), static_cast<size_t>(n));
      batch_bytes_ += static_cast<size_t>(n);
      if (static_cast<size_t>(n) < block.size()) return;
    }
  }
  // Its wake() may have come before what was not read was noted.
  void wake_if_room() {
    if (!stream_.full()) wake();
  }
  void end(const ClientPtr& client) {
    table.remove(client->uuid);
    const std::lock_guard lock(client->mutex);
    client->gone = true;
    epoll_ctl(epoll_, EPOLL_CTL_DEL, client->fd, nullptr);
    clients_[static_cast<size_t>(client->fd)] = nullptr;
  }

  Stream& stream_;
  int epoll_;
  int listener_;
  std::vector<ClientPtr> clients_;  // by descriptor
  std::vector<ClientPtr> unread_;
  std::deque<InputStreamRequest> batch_;
  size_t batch_bytes_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: grpc_proxy PORT UPSTREAM-HOST:PORT\n");
    return 2;
  }
  std::signal(SIGPIPE, SIG_IGN);
  const auto channel = grpc::CreateChannel(argv[2], grpc::InsecureChannelCredentials());
  const auto stub = UpstreamPeerService::NewStub(channel);
  upstream::grpc::service::ReadyResult ready;
  grpc::ClientContext context;
  context.set_wait_for_ready(true);
  if (const grpc::Status status = stub->ready(&context, {}, &ready); !status.ok() || !ready.ready()) {
    std::fprintf(stderr, "the upstream is not ready: %s\n", status.error_message().c_str());
    return 1;
  }
  Stream stream(*stub);
  Front front(static_cast<uint16_t>(std::atoi(argv[1])), stream);
  front.run();
}

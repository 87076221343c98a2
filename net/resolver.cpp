// SPDX-License-Identifier: Apache-2.0
// Resolver: c-ares on our loop. It opens its sockets through sys, tells us which to watch (Socket), and is told of events and
// time; its callbacks end in Query. c-ares reads /etc/hosts and /etc/resolv.conf by itself.
#include "net/resolver.h"

#include <ares.h>
#include <sys/time.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <memory>
#include <tuple>
#include <utility>

#include "lib/random.h"
#include "net/sys.h"

namespace relay {
namespace {

constexpr int kTimeoutMs = 1000;  // of the first try; c-ares doubles it
constexpr int kTries = 3;
constexpr int kClassIn = 1;
constexpr int kTypeSrv = 33;
constexpr size_t kAtOnce = 64;  // hosts of a service that are asked for at the same time

struct Service {
  std::string host;
  uint16_t port;
  uint16_t priority;
  uint16_t weight;
};

Status ares_status(int code) {
  switch (code) {
    case ARES_SUCCESS: return {};
    case ARES_ENOTFOUND: return {Code::kNotFound, "no such name"};
    case ARES_ENODATA: return {Code::kNotFound, "the name has no address"};
    case ARES_ETIMEOUT: return {Code::kTimeout, "the name servers do not answer"};
    // c-ares tries the next server after a refusal or a failure of one, and says this when there is none left.
    case ARES_ECONNREFUSED: return {Code::kRefused, "no name server answers, or each has failed (SERVFAIL, REFUSED)"};
    case ARES_EBADRESP:
    case ARES_EFORMERR: return {Code::kSystem, "the name server's answer makes no sense"};
    case ARES_EBADNAME: return {Code::kInvalid, "not a domain name"};
    case ARES_ENOMEM: return {Code::kLimit, "no memory for the lookup"};
    default: return {Code::kSystem, "the name lookup has failed"};
  }
}

// RFC 2782: by priority; within one, each next at random by weight.
void order_services(std::vector<Service>& services, Random& random) {
  std::stable_sort(services.begin(), services.end(), [](const Service& a, const Service& b) { return a.priority < b.priority; });
  for (auto at = services.begin(); at != services.end(); ++at) {
    uint64_t sum = 0;
    auto end = at;
    for (; end != services.end() && end->priority == at->priority; ++end) sum += end->weight;
    uint64_t pick = random.below(sum + 1);
    auto chosen = at;
    while (chosen + 1 != end && pick > chosen->weight) pick -= (chosen++)->weight;
    std::rotate(at, chosen, chosen + 1);
  }
}

}  // namespace

// A host of a question for all: looked up, and then looked up for what c-ares does not say. Asked for both families at once it hides that one of the two
// has failed: of a host that has only the one it may be that the other one did, of a host that has neither that the first to fail did.
struct Host {
  Host(Query& asks, std::string what) : query(asks), name(std::move(what)) {}

  Query& query;
  const std::string name;
  std::vector<std::pair<uint16_t, uint16_t>> places{};  // priority and port
  std::vector<Addr> addrs{};
  std::vector<std::pair<std::string, int>> left{};  // that are still to be asked: a name and a family
  int trouble = ARES_SUCCESS;  // of c-ares: why there may be more addresses,
  int nothing = ARES_SUCCESS;  // and why there are none
  bool is_asked = false;
  bool is_asking = false;      // within the call
};

struct Query {
  Resolver& resolver;
  Endpoint what;
  Lookup::Want want;
  std::vector<Lookup*> lookups{};   // who waits for the answer; none: withdrawn
  uint16_t port = 0;                // of the host that is looked up now
  std::vector<Service> services{};  // still to be looked up, last first
  std::vector<Addr> addrs{};
  std::vector<std::unique_ptr<Host>> hosts{};  // kAll
  size_t next_host = 0;                        // of these, the first that has not been asked for
  size_t under_way = 0;
  bool is_asking = false;                      // within ask_all()
  size_t count = 0;                            // of their addresses
  bool is_cut = false;                         // there are more services than kAllMost
  std::vector<uint16_t> priorities{};          // as in Found
  std::string missing{};

  static void on_addrs(void* arg, int status, int, ares_addrinfo* info);
  static void on_host(void* arg, int status, int, ares_addrinfo* info);
  static void on_services(void* arg, int status, int, unsigned char* answer, int length);
};

struct Resolver::Channel {
  class Socket final : private Watcher {
   public:
    Socket(Channel& channel, int fd) : channel_(channel), fd_(fd) {}
    ~Socket() { channel_.resolver.loop_.forget(*this); }

    int fd() const { return fd_; }
    bool watch(uint32_t events) {
      Loop& loop = channel_.resolver.loop_;
      const Status status = watched_ ? loop.rewatch(*this, fd_, events) : loop.watch(*this, fd_, events);
      watched_ = watched_ || status.ok();
      events_ = events;
      return status.ok();
    }

   private:
    void on_event(uint32_t events) override {
      const bool failed = (events & (EPOLLERR | EPOLLHUP)) != 0;
      // c-ares reads a TCP answer piece by piece: registering again shows what is still there. Before the call, which may
      // end this object.
      static_cast<void>(watch(events_));
      Channel& channel = channel_;
      ares_process_fd(channel.ares, failed || (events & EPOLLIN) != 0 ? fd_ : ARES_SOCKET_BAD,
                      failed || (events & EPOLLOUT) != 0 ? fd_ : ARES_SOCKET_BAD);
      channel.resolver.rearm();
    }

    Channel& channel_;
    int fd_;
    uint32_t events_ = 0;
    bool watched_ = false;
  };

  explicit Channel(Resolver& owner) : resolver(owner) {}
  ~Channel() {
    if (ares != nullptr) ares_destroy(ares);  // calls on_state for each socket it still has
  }
  static void on_state(void* arg, ares_socket_t fd, int readable, int writable);
  static const ares_socket_functions kSockets;

  Resolver& resolver;
  ares_channel ares = nullptr;
  std::vector<std::unique_ptr<Socket>> sockets;
};

// c-ares has opened, closed or turned round a socket.
void Resolver::Channel::on_state(void* arg, ares_socket_t fd, int readable, int writable) {
  auto& self = *static_cast<Channel*>(arg);
  auto at = std::find_if(self.sockets.begin(), self.sockets.end(), [&](const auto& socket) { return socket->fd() == fd; });
  if (readable == 0 && writable == 0) {
    // Perhaps from inside its own on_event, which touches nothing of it afterwards.
    if (at != self.sockets.end()) self.sockets.erase(at);
    return;
  }
  const uint32_t events = (readable != 0 ? uint32_t{EPOLLIN} : 0U) | (writable != 0 ? uint32_t{EPOLLOUT} : 0U);
  if (at == self.sockets.end()) at = self.sockets.insert(at, std::make_unique<Socket>(self, fd));
  // Not watched (no memory): c-ares' own time-out ends the question.
  static_cast<void>((*at)->watch(events));
}

namespace {

// c-ares wants errno.
template <typename T>
T with_errno(T result) {
  if (result >= 0) return result;
  errno = static_cast<int>(-result);
  return -1;
}

}  // namespace

const ares_socket_functions Resolver::Channel::kSockets = {
    [](int family, int type, int, void*) -> ares_socket_t { return with_errno(sys::socket(family, type)); },
    [](ares_socket_t fd, void*) { return with_errno(sys::close(fd)); },
    [](ares_socket_t fd, const sockaddr* to, ares_socklen_t length, void*) { return with_errno(sys::connect(fd, to, length)); },
    [](ares_socket_t fd, void* data, size_t length, int, sockaddr* from, ares_socklen_t* from_length, void*) -> ares_ssize_t {
      return with_errno(sys::recvfrom(fd, data, length, from, from_length));
    },
    [](ares_socket_t fd, const iovec* parts, int count, void*) -> ares_ssize_t {
      return with_errno(sys::sendv(fd, parts, count));
    },
};

Resolver::Resolver(Loop& loop, std::string server) : loop_(loop), server_(std::move(server)), timer_(loop, *this) {}

Resolver::~Resolver() {
  for (const auto& query : queries_)
    for (Lookup* lookup : std::exchange(query->lookups, {})) lookup->query_ = nullptr;
  channel_.reset();  // c-ares calls back for what is under way: the queries are still there
}

Status Resolver::open() {
  if (channel_ != nullptr) return {};
  channel_ = std::make_unique<Channel>(*this);
  ares_options options{};
  options.timeout = kTimeoutMs;
  options.tries = kTries;
  options.sock_state_cb = Channel::on_state;
  options.sock_state_cb_data = channel_.get();
  int code = ares_init_options(&channel_->ares, &options, ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_SOCK_STATE_CB);
  if (code == ARES_SUCCESS) ares_set_socket_functions(channel_->ares, &Channel::kSockets, nullptr);
  if (code == ARES_SUCCESS && !server_.empty()) code = ares_set_servers_ports_csv(channel_->ares, server_.c_str());
  if (code == ARES_SUCCESS) return {};
  channel_.reset();
  return ares_status(code);
}

void Resolver::ask(Lookup& lookup, const Endpoint& what, Lookup::Want want) {
  for (const auto& query : queries_)
    if (query->want == want && query->what.kind == what.kind && query->what.host == what.host && query->what.port == what.port) {
      query->lookups.push_back(&lookup);
      lookup.query_ = query.get();
      return;
    }
  queries_.push_back(std::make_unique<Query>(Query{*this, what, want, {&lookup}}));
  Query& query = *queries_.back();
  lookup.query_ = &query;
  const Status status = open();
  if (!status.ok()) return finish(query, status);
  if (what.kind == Endpoint::Kind::kService) {
    ares_search(channel_->ares, what.host.c_str(), kClassIn, kTypeSrv, Query::on_services, &query);
  } else if (want == Lookup::Want::kAll) {
    query.hosts.push_back(std::make_unique<Host>(query, what.host));
    query.hosts.back()->places.emplace_back(0, what.port);
    ask_all(query);
  } else {
    ask_host(query, what.host, what.port);
  }
  rearm();
}

void Resolver::ask_host(Query& query, const std::string& host, uint16_t port) {
  query.port = port;
  ares_addrinfo_hints hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = ARES_AI_ENVHOSTS;  // $CARES_HOSTS instead of /etc/hosts
  ares_getaddrinfo(channel_->ares, host.c_str(), nullptr, &hints, Query::on_addrs, &query);
}

namespace {

// Puts what c-ares has found with the others, as far as there may be so many.
void add_addrs(const ares_addrinfo& info, uint16_t port, size_t most, std::vector<Addr>& addrs) {
  for (const ares_addrinfo_node* node = info.nodes; node != nullptr; node = node->ai_next) {
    if (addrs.size() == most) break;
    sockaddr_storage storage{};
    const size_t length = std::min<size_t>(node->ai_addrlen, sizeof storage);
    std::copy_n(reinterpret_cast<const char*>(node->ai_addr), length, reinterpret_cast<char*>(&storage));
    Addr addr = Addr::from_sockaddr(storage, static_cast<socklen_t>(length));
    addr.port = port;
    if (addr.family == Addr::Family::kV4 || addr.family == Addr::Family::kV6) addrs.push_back(addr);
  }
}

}  // namespace

void Query::on_addrs(void* arg, int status, int, ares_addrinfo* info) {
  auto& query = *static_cast<Query*>(arg);
  if (status == ARES_SUCCESS) {
    add_addrs(*info, query.port, Resolver::kAddrsMost, query.addrs);
    ares_freeaddrinfo(info);
  }
  if (query.lookups.empty() || status == ARES_EDESTRUCTION) return query.resolver.finish(query, ares_status(status));
  if (!query.services.empty()) return query.resolver.next_service(query);
  query.resolver.finish(query, ares_status(status));
}

void Query::on_services(void* arg, int status, int, unsigned char* answer, int length) {
  auto& query = *static_cast<Query*>(arg);
  ares_srv_reply* reply = nullptr;
  if (status == ARES_SUCCESS) status = ares_parse_srv_reply(answer, length, &reply);
  if (status != ARES_SUCCESS || query.lookups.empty()) {
    if (reply != nullptr) ares_free_data(reply);
    return query.resolver.finish(query, ares_status(status));
  }
  for (const ares_srv_reply* one = reply; one != nullptr; one = one->next)
    if (*one->host != '\0') query.services.push_back({one->host, one->port, one->priority, one->weight});  // "." is "not here"
  ares_free_data(reply);
  if (query.want == Lookup::Want::kAll && !query.services.empty()) {
    std::map<std::string, Host*> known;
    std::sort(query.services.begin(), query.services.end(), [](const Service& a, const Service& b) {
      return std::tie(a.priority, a.host, a.port) < std::tie(b.priority, b.host, b.port);
    });
    query.is_cut = query.services.size() > Resolver::kAllMost;
    if (query.is_cut) query.services.resize(Resolver::kAllMost);
    for (const Service& service : query.services) {
      Host*& host = known[service.host];
      if (host == nullptr) host = query.hosts.emplace_back(std::make_unique<Host>(query, service.host)).get();
      host->places.emplace_back(service.priority, service.port);
    }
    return query.resolver.ask_all(query);
  }
  order_services(query.services, query.resolver.loop_.random());
  if (query.services.size() > Resolver::kServicesMost) query.services.resize(Resolver::kServicesMost);
  std::reverse(query.services.begin(), query.services.end());
  if (query.services.empty()) return query.resolver.finish(query, {Code::kNotFound, "the name has no service (SRV)"});
  query.resolver.next_service(query);
}

void Resolver::next_service(Query& query) {
  const Service service = std::move(query.services.back());
  query.services.pop_back();
  ask_host(query, service.host, service.port);
}

// ---- all

namespace {

void ask_family(ares_channel ares, Host& host, const std::string& name, int family) {
  ares_addrinfo_hints hints{};
  hints.ai_family = family;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = ARES_AI_ENVHOSTS | ARES_AI_NOSORT;
  ares_getaddrinfo(ares, name.c_str(), nullptr, &hints, Query::on_host, &host);
}

}  // namespace

// Asks for hosts, as many as may be at the same time; the end of the last is the end of the question. c-ares may answer within the call.
void Resolver::ask_all(Query& query) {
  query.is_asking = true;
  while (query.next_host < query.hosts.size() && query.under_way < kAtOnce && !query.lookups.empty()) {
    Host& host = *query.hosts[query.next_host++];
    ++query.under_way;
    host.is_asking = true;
    ask_family(channel_->ares, host, host.name, AF_UNSPEC);
    host.is_asking = false;
  }
  query.is_asking = false;
  if (query.under_way == 0) conclude(query);
}

void Query::on_host(void* arg, int status, int, ares_addrinfo* info) {
  auto& host = *static_cast<Host*>(arg);
  Query& query = host.query;
  const bool is_first = !std::exchange(host.is_asked, true);
  if (status == ARES_SUCCESS) {
    const size_t before = host.addrs.size();
    add_addrs(*info, 0, before + Resolver::kAllMost + 1 - query.count, host.addrs);
    query.count += host.addrs.size() - before;
    const auto has = [&](Addr::Family family) { return std::any_of(host.addrs.begin(), host.addrs.end(), [&](const Addr& addr) { return addr.family == family; }); };
    // By the very name that was found, not by those that resolv.conf has for after it. What /etc/hosts says, which is at once, is all that there is.
    if (is_first && !host.is_asking && has(Addr::Family::kV4) != has(Addr::Family::kV6)) {
      const std::string name = info->name != nullptr ? info->name : host.name;
      host.left = {{name.ends_with('.') ? name : name + '.', has(Addr::Family::kV4) ? AF_INET6 : AF_INET}};
    }
    ares_freeaddrinfo(info);
  } else if (status == ARES_ENODATA) {
    if (is_first && query.what.kind == Endpoint::Kind::kService) host.left = {{host.name, AF_INET}, {host.name, AF_INET6}};
    host.nothing = status;
  } else if (status == ARES_ENOTFOUND || status == ARES_EBADNAME) {
    host.nothing = status;
  } else {
    host.trouble = status;
  }
  if (!host.left.empty() && !query.lookups.empty() && status != ARES_EDESTRUCTION) {
    const auto [name, family] = host.left.back();
    host.left.pop_back();
    return ask_family(query.resolver.channel_->ares, host, name, family);
  }
  --query.under_way;
  if (!query.is_asking) query.resolver.ask_all(query);
}

void Resolver::conclude(Query& query) {
  int status = ARES_ENODATA;
  std::vector<std::pair<uint16_t, Addr>> all;
  for (const std::unique_ptr<Host>& host : query.hosts) {
    if (host->trouble != ARES_SUCCESS) {
      status = host->trouble;
      query.missing = host->name + ": " + ares_status(status).reason();
    } else if (query.hosts.size() == 1 && host->nothing != ARES_SUCCESS) {
      status = host->nothing;
    }
    for (Addr addr : host->addrs)
      for (const auto& [priority, port] : host->places) {
        if (all.size() > kAllMost) break;
        addr.port = port;
        all.emplace_back(priority, addr);
      }
  }
  if (query.is_cut || all.size() > kAllMost) query.missing = "it has more addresses than are looked at";
  std::stable_sort(all.begin(), all.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  if (all.size() > kAllMost) all.resize(kAllMost);
  for (const auto& [priority, addr] : all) {
    query.addrs.push_back(addr);
    query.priorities.push_back(priority);
  }
  finish(query, ares_status(status));
}

void Resolver::finish(Query& query, const Status& status) {
  const auto at = std::find_if(queries_.begin(), queries_.end(), [&](const auto& q) { return q.get() == &query; });
  CHECK(at != queries_.end());
  const std::unique_ptr<Query> ours = std::move(*at);
  queries_.erase(at);
  timer_.arm(Delay{0});  // may close the channel, which c-ares does not bear inside its own callback
  // One who is told may withdraw the others.
  while (!ours->lookups.empty()) {
    Lookup* lookup = ours->lookups.front();
    ours->lookups.erase(ours->lookups.begin());
    lookup->query_ = nullptr;
    if (!ours->addrs.empty()) lookup->user_.on_lookup(Found{ours->addrs, ours->priorities, ours->missing});
    else lookup->user_.on_lookup(status.ok() ? Status{Code::kNotFound, "the name has no address"} : status);
  }
}

void Resolver::rearm() {
  if (channel_ == nullptr) return;
  timeval wait{};
  if (queries_.empty()) return timer_.arm(Delay{0});
  if (ares_timeout(channel_->ares, nullptr, &wait) != nullptr)
    timer_.arm(Delay{int64_t{wait.tv_sec} * 1000 + wait.tv_usec / 1000 + 1});
}

void Resolver::on_timer(Timer&) {
  if (channel_ == nullptr) return;
  if (queries_.empty()) {
    channel_.reset();
    return;
  }
  ares_process_fd(channel_->ares, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
  rearm();
}

void Lookup::start(const Endpoint& what, Want want) {
  CHECK(!active());
  resolver_.ask(*this, what, want);
}

void Lookup::cancel() {
  if (query_ == nullptr) return;
  std::erase(query_->lookups, this);  // c-ares goes on; perhaps nobody listens
  query_ = nullptr;
}

}  // namespace relay

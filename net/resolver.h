// SPDX-License-Identifier: Apache-2.0
// Resolver: names to addresses through c-ares, without blocking: DNS (A, AAAA, SRV) and /etc/hosts.
//
// Equal questions that are under way at the same time are one, and one that nobody waits for any more serves the next who asks
// (c-ares cannot withdraw a question): so there are never more than there are targets. The channel to the name servers is opened by the first question and closed after the last answer, so that an idle process
// owns none of it and a changed resolv.conf counts at the next question. Answers are not kept: each dial asks again.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "lib/status.h"
#include "net/addr.h"
#include "net/loop.h"

namespace relay {

class LookupUser {
 public:
  // The addresses in the order to be tried (SRV: by priority, weighted at random; RFC 2782), at least one, at most
  // Resolver::kAddrsMost; or why there are none.
  virtual void on_lookup(Result<std::vector<Addr>> addrs) = 0;

 protected:
  ~LookupUser() = default;
};

class Resolver;
struct Query;

// One question, held by who asks; its destructor withdraws it. on_lookup is called once for each start(), always from the
// loop or from start() itself (when the answer stands in /etc/hosts).
class Lookup {
 public:
  // Borrows both for its life.
  Lookup(Resolver& resolver, LookupUser& user) : resolver_(resolver), user_(user) {}
  ~Lookup() { cancel(); }
  Lookup(const Lookup&) = delete;
  Lookup& operator=(const Lookup&) = delete;

  void start(const Endpoint& what);  // REQUIRES: kName or kService, not active
  void cancel();
  bool active() const { return query_ != nullptr; }

 private:
  friend class Resolver;
  Resolver& resolver_;
  LookupUser& user_;
  Query* query_ = nullptr;
};

class Resolver final : private TimerUser {
 public:
  static constexpr size_t kAddrsMost = 64;    // of one answer: a name server that lies must not keep us dialling for ever
  static constexpr size_t kServicesMost = 16;

  // `server` ("127.0.0.1:53", "[::1]:53") is asked instead of the system's name servers; empty for those. Borrows `loop`.
  Resolver(Loop& loop, std::string server);
  ~Resolver();

 private:
  friend class Lookup;
  friend struct Query;
  struct Channel;

  void on_timer(Timer& timer) override;
  Status open();
  void ask(Lookup& lookup, const Endpoint& what);
  void ask_host(Query& query, const std::string& host, uint16_t port);
  void next_service(Query& query);
  void finish(Query& query, const Status& status);
  void rearm();

  Loop& loop_;
  std::string server_;
  Timer timer_;  // c-ares' next time-out, or the closing of the channel
  std::unique_ptr<Channel> channel_;
  std::vector<std::unique_ptr<Query>> queries_;
};

}  // namespace relay

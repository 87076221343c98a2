// SPDX-License-Identifier: Apache-2.0
// Resolver: names to addresses through c-ares, without blocking: DNS (A, AAAA, SRV) and /etc/hosts.
//
// A dial wants some addresses, in the order to be tried; who keeps one of each wants all, and to know whether those are all: for that, every host of a
// service is asked for at the same time, and a half of an answer (A or AAAA) that is missing is asked for once more.
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

// What a name stands for.
struct Found {
  std::vector<Addr> addrs;                 // at least one
  std::vector<uint16_t> priorities = {};   // kAll: of each, from its SRV record; the lowest is the best
  std::string missing = {};                // kAll: not empty: why there may be more than these, and of which host
};

class LookupUser {
 public:
  // kToDial: the addresses in the order to be tried (SRV: by priority, weighted at random; RFC 2782), at most Resolver::kAddrsMost. kAll: by priority and
  // then always in the same order, at most Resolver::kAllMost. Or why there are none.
  virtual void on_lookup(Result<Found> found) = 0;

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

  enum class Want : uint8_t { kToDial, kAll };
  void start(const Endpoint& what, Want want = Want::kToDial);  // REQUIRES: kName or kService, not active
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
  static constexpr size_t kAllMost = 4096;  // of either, for who wants all

  // `server` ("127.0.0.1:53", "[::1]:53") is asked instead of the system's name servers; empty for those. Borrows `loop`.
  Resolver(Loop& loop, std::string server);
  ~Resolver();

 private:
  friend class Lookup;
  friend struct Query;
  struct Channel;

  void on_timer(Timer& timer) override;
  Status open();
  void ask(Lookup& lookup, const Endpoint& what, Lookup::Want want);
  void ask_host(Query& query, const std::string& host, uint16_t port);
  void next_service(Query& query);
  void ask_all(Query& query);
  void conclude(Query& query);
  void finish(Query& query, const Status& status);
  void rearm();

  Loop& loop_;
  std::string server_;
  Timer timer_;  // c-ares' next time-out, or the closing of the channel
  std::unique_ptr<Channel> channel_;
  std::vector<std::unique_ptr<Query>> queries_;
};

}  // namespace relay

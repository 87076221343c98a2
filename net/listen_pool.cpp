// SPDX-License-Identifier: Apache-2.0
// ListenPool: a search by address among a few.
#include "net/listen_pool.h"

#include <algorithm>
#include <cerrno>

#include "net/sys.h"

namespace relay {

bool listens_on(const Listening& listening, const Endpoint& where) {
  if (where.kind == Endpoint::Kind::kUnix) return listening.path == where.host;
  return listening.path.empty() && where.port != 0 && listening.addr.port == where.port && listening.addr.same_host(where.addr);
}

Status ListenPool::add(Fd fd, std::string asked) {
  const int error = sys::adopt_listener(fd.get());
  if (error < 0) return from_errno(-error, "not a listening stream socket");
  Result<Listening> listening = listening_at(std::move(fd));
  if (!listening.ok()) return listening.status();
  passed_.push_back({std::move(*listening), std::move(asked)});
  return {};
}

bool ListenPool::has(const Endpoint& where) const {
  return std::any_of(passed_.begin(), passed_.end(), [&](const Passed& passed) { return is_for(passed, where); }) ||
         std::any_of(lent_.begin(), lent_.end(), [&](const Lent& lent) { return !lent.taken && listens_on(lent.lender->listening(), where); });
}

bool ListenPool::is_for(const Passed& passed, const Endpoint& where) {
  return passed.asked.empty() ? listens_on(passed.listening, where) : passed.asked == where.text();
}

void ListenPool::lend(Listener& lender) { lent_.push_back({&lender, false}); }

Result<Listening> ListenPool::take(const Endpoint& where) {
  for (auto at = passed_.begin(); at != passed_.end(); ++at) {
    if (!is_for(*at, where)) continue;
    Listening taken = std::move(at->listening);
    passed_.erase(at);
    return taken;
  }
  for (Lent& lent : lent_) {
    if (lent.taken || !listens_on(lent.lender->listening(), where)) continue;
    Listening taken;
    taken.fd = Fd{sys::duplicate(lent.lender->listening().fd.get())};
    if (!taken.fd.open()) return Status{Code::kLimit, "dup", EMFILE};
    taken.addr = lent.lender->listening().addr;
    taken.path = lent.lender->listening().path;
    lent.taken = true;
    return taken;
  }
  return Status{Code::kNotFound, "nobody listens there"};
}

Result<Listening> ListenPool::open(const Endpoint& where, const SockOptions& options) {
  Result<Listening> taken = take(where);
  if (!taken.ok() && taken.status().code() != Code::kNotFound) return taken;
  if (!taken.ok()) {
    taken = listen_on(where, options);
    if (taken.ok() || !where.anywhere || (taken.status().error() != EAFNOSUPPORT && taken.status().error() != EADDRNOTAVAIL)) return taken;
    Endpoint v4 = where;  // there is no IPv6
    v4.addr.family = Addr::Family::kV4;
    return listen_on(v4, options);
  }
  const Status status = change_options(taken->fd.get(), taken->addr, options);
  if (!status.ok()) return status;
  return taken;
}

void ListenPool::settle() {
  for (const Lent& lent : lent_)
    if (lent.taken) lent.lender->close();
  lent_.clear();
}

std::vector<std::string> ListenPool::unused() const {
  std::vector<std::string> out;
  for (const Passed& passed : passed_) out.push_back(passed.listening.text());
  return out;
}

}  // namespace relay

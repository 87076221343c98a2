// SPDX-License-Identifier: Apache-2.0
// Admin: what an operator sees of the process and does to it, over HTTP/1.1 on a Unix socket or an address of its own.
//
//   GET  /metrics     Prometheus text            POST /drain
//   GET  /status      JSON                       POST /reload            answers when it is done, or why not
//   GET  /healthz     200 while the loop turns   POST /log-level?level=debug
//   GET  /readyz      200 while it accepts
//   GET, POST  /relays/NAME/WHAT            what a relay can do by itself; its kind's manual says what
//   POST /PACKAGE.SERVICE/METHOD    the same by gRPC, over HTTP/2 (AdminRpc)
//   GET  /wait?stat=sessions&op=>=&value=1&relay=NAME&timeout=5s         answers when it is so, 504 after the time-out
//
// Long pages are made and sent a piece a turn, so that looking costs the traffic nothing. A client that sends nothing, reads
// nothing or keeps us waiting is closed after its time; at the limit of connections the one that has been idle longest makes
// room, and if none is idle the newcomer is refused. A browser is not a client: a request with an Origin is refused, so that no
// web page can reach through it to a loopback port.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "lib/list.h"
#include "lib/log.h"
#include "net/conn.h"
#include "net/listener.h"
#include "net/loop.h"
#include "net/tls.h"
#include "ops/config.h"
#include "ops/control.h"
#include "wire/http1.h"

namespace relay {

struct AdminQuery {
  size_t connections = 100;  // of each relay, at most
  std::string relay;         // that one only; empty: all
};

// Where a page goes on: 0 and 0 for its first piece, then whatever its maker has left.
struct AdminPlace {
  uint64_t at = 0;
  uint64_t end = 0;
};

// What the process has to say and to do.
class AdminUser {
 public:
  // Appends a piece of the page and moves `place` on. False: that was all.
  virtual bool status_page(AdminPlace& place, const AdminQuery& query, std::string& out) = 0;
  virtual bool metrics_page(AdminPlace& place, std::string& out) = 0;
  // The sum over the relays of that name (empty: all); nothing if no such relay or statistic is there.
  virtual std::optional<uint64_t> statistic(std::string_view relay, std::string_view name) = 0;
  // Of the path behind "/relays/": appends the answer, JSON, and returns HTTP's status; 404: there is no such relay, or it knows no such thing.
  // Or kAnswersLater, kAnswersOn: then the answer comes by the Desk. Of gRPC the path is "package.Service/Method".
  virtual int control(std::string_view path, const ControlQuery& query, std::string& answer) = 0;
  virtual void hung_up(Ticket ticket) = 0;  // whose answer is not waited for any more
  virtual bool accepts() const = 0;
  virtual void begin_drain() = 0;
  // Returns the number of the reload that will see what is in the file now; only grows. Ends with Admin::reloaded().
  virtual uint64_t begin_reload() = 0;
  virtual void set_log_level(Level level) = 0;

 protected:
  ~AdminUser() = default;
};

struct AdminPlan {
  Endpoint where;
  TlsConfig tls;  // where.tls
  std::string token;  // empty: none is asked for
  size_t connections = 64;
  Delay patience{10'000};     // the most for a request to come whole once it has begun, and for an answer to be taken a piece further
  Delay idle{60'000};         // between requests

  // A port without a token is open to every program of the machine: they may look, and send nothing to anybody in the relay's name.
  bool may_change() const { return where.kind != Endpoint::Kind::kAddr || !token.empty(); }
};
constexpr std::string_view kOnlyLooks = "over a port without a token nothing of a relay is changed and nothing sent: give admin-token-file, or use unix:PATH as admin";

// Why somebody is not served: a status of HTTP's, and words.
struct AdminRefusal {
  int status;
  std::string_view what;
};
// A browser, a name that may not be ours, a wrong token. `host`: what the client calls us; `authorization`: the header's value.
std::optional<AdminRefusal> admin_refusal(const AdminPlan& plan, bool browser, std::string_view host, std::string_view authorization);

class Admin final : private ListenerUser, private TimerUser {
 public:
  // Borrows all but the plan for its life.
  Admin(Loop& loop, AdminUser& user, Desk& desk, AdminPlan plan);
  ~Admin();
  Admin(const Admin&) = delete;
  Admin& operator=(const Admin&) = delete;

  // Reads the certificate, at first and again: REQUIRES, at first: before open(). Nothing to do without TLS.
  std::optional<TlsFault> load_certificate();
  Status open(Listening listening);
  std::string text() const { return listener_.text(); }
  bool waited_for() const { return waits_ > 0; }
  // Looks whether what /wait waits for has come about. To be called after each turn in which waited_for().
  void look();
  // The reload of that number is over; `faults` is what was wrong. Who waits for a later one waits on.
  void reloaded(uint64_t number, const Faults& faults);
  // Accepts nobody any more, and closes whoever has no answer under way.
  void finish();
  bool idle() const { return count_ == 0; }
  void close();

 private:
  class Client;
  friend class Client;

  void on_accept(Listener& listener, Socket socket, const Addr& peer) override;
  TlsContext* on_knock(Listener&, const Addr&) override { return &tls_; }
  void on_handshake_failed(Listener& listener, const Addr& peer, const std::string& why) override;
  void on_accept_paused(Listener& listener, const Status& why) override;
  void on_accept_resumed(Listener& listener) override;
  void on_timer(Timer& timer) override;
  bool make_room();
  void ended(Client& client);

  Loop& loop_;
  AdminUser& user_;
  Desk& desk_;
  AdminPlan plan_;
  TlsContext tls_;
  Listener listener_;
  List<Client> clients_;  // longest without news first
  size_t count_ = 0;
  size_t waits_ = 0;
  Timer timer_;
  // One line a second tells that there is no room, whoever floods us.
  Time busy_told_{Delay{-1000}};
  uint64_t busy_untold_ = 0;
};

// The word of a log level, and the level of a word.
std::string_view level_name(Level level);
std::optional<Level> level_of(std::string_view name);

}  // namespace relay

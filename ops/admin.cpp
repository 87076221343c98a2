// SPDX-License-Identifier: Apache-2.0
// Admin: connections, routes and answers.
#include "ops/admin.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "lib/json.h"
#include "lib/text.h"
#include "net/sys.h"
#include "ops/admin_rpc.h"

namespace relay {
namespace {

constexpr std::string_view kJson = "application/json";
constexpr std::string_view kText = "text/plain; charset=utf-8";
constexpr std::string_view kMetricsText = "text/plain; version=0.0.4; charset=utf-8";
constexpr Delay kLongestWait{3'600'000};
constexpr Delay kDefaultWait{30'000};
constexpr Delay kBusyEvery{1000};
constexpr size_t kReadMost = 16 * 1024;
constexpr size_t kPieceMost = 64 * 1024;  // what is made of a page before it is sent on

// Takes as long for a wrong token as for another wrong one of its length.
bool same_secret(std::string_view a, std::string_view b) {
  if (a.size() != b.size()) return false;
  unsigned difference = 0;
  for (size_t i = 0; i < a.size(); ++i) difference |= static_cast<unsigned>(static_cast<unsigned char>(a[i]) ^ static_cast<unsigned char>(b[i]));
  return difference == 0;
}

bool compare(uint64_t a, std::string_view op, uint64_t b) {
  if (op == ">=") return a >= b;
  if (op == "<=") return a <= b;
  if (op == ">") return a > b;
  if (op == "<") return a < b;
  if (op == "!=") return a != b;
  return a == b;
}

// A web page may have a name of its own resolve to a loopback address (DNS rebinding); it cannot make the browser say an address.
bool names_this_machine(std::string_view host) {
  if (host.empty()) return true;
  std::string_view name = host.front() == '[' ? host.substr(1, host.find(']') - 1) : host.substr(0, host.find(':'));
  return name == "localhost" || Addr::parse(name, 0).has_value();
}

bool is_operator(std::string_view op) {
  constexpr std::array<std::string_view, 6> kKnown = {"==", "!=", ">=", "<=", ">", "<"};
  return std::find(kKnown.begin(), kKnown.end(), op) != kKnown.end();
}

}  // namespace

std::optional<AdminRefusal> admin_refusal(const AdminPlan& plan, bool browser, std::string_view host, std::string_view authorization) {
  constexpr std::string_view kBearer = "Bearer ";
  if (browser) return AdminRefusal{403, "browsers are not served here"};
  if (plan.token.empty() && plan.where.kind == Endpoint::Kind::kAddr && !names_this_machine(host)) return AdminRefusal{403, "Host: an address or localhost is needed"};
  if (plan.token.empty()) return std::nullopt;
  if (authorization.starts_with(kBearer) && same_secret(authorization.substr(kBearer.size()), plan.token)) return std::nullopt;
  return AdminRefusal{401, "a token is needed: Authorization: Bearer TOKEN"};
}

std::string_view level_name(Level level) {
  switch (level) {
    case Level::kError: return "error";
    case Level::kWarn: return "warn";
    case Level::kInfo: return "info";
    case Level::kDebug: break;
  }
  return "debug";
}

std::optional<Level> level_of(std::string_view name) {
  for (const Level level : {Level::kError, Level::kWarn, Level::kInfo, Level::kDebug})
    if (level_name(level) == name) return level;
  return std::nullopt;
}

// One connection: reads a request, answers it, reads the next.
class Admin::Client final : public Mortal, public ListNode, private ConnUser, private DeskUser, private AdminRpcUser {
 public:
  Client(Admin& admin) : admin_(admin), conn_(admin.loop_, *this), reader_(HttpReader::Side::kRequests), news_(admin.loop_.now()) {}

  static Client& make(Admin& admin) {
    auto client = std::make_unique<Client>(admin);
    Client& self = *client;
    self.self_ = std::move(client);
    return self;
  }
  std::unique_ptr<Client> release() { return std::move(self_); }

  Status open(Socket socket) {
    const Status status = conn_.open(std::move(socket));
    if (status.ok()) conn_.try_reading(), conn_.again();
    return status;
  }

  // Whether nobody would miss it: it waits for a next request, or for the first.
  bool idle() const { return rpc_ != nullptr ? rpc_->idle() : answer_ == Answer::kNone && out_.empty() && pending_.empty() && !reader_.begun(); }
  // Nor whether it is somebody who may ask at all.
  bool stranger() const { return rpc_ == nullptr && !is_known_ && !admin_.plan_.token.empty(); }
  Time deadline() const {
    if (rpc_ != nullptr) {
      const Time stuck = out_.empty() ? Time::max() : news_ + rpc_patience();
      return std::min(stuck, rpc_->idle() ? rpc_->idle_since() + admin_.plan_.idle : rpc_->deadline());
    }
    if (answer_ == Answer::kWait) return wait_until_;
    if (answer_ == Answer::kLater) return wait_until_;
    if (answer_ == Answer::kReload) return Time::max();
    // Who takes a while for what goes on misses some of it, and is told so.
    if (answer_ == Answer::kOn) return out_.empty() ? Time::max() : news_ + admin_.plan_.idle;
    return news_ + (idle() ? admin_.plan_.idle : admin_.plan_.patience);
  }
  void overdue() {
    if (rpc_ != nullptr) return rpc_overdue();
    if (answer_ == Answer::kWait) {
      end_wait();
      reply(504, wait_body(admin_.user_.statistic(wait_relay_, wait_stat_).value_or(0)));
      return;
    }
    if (answer_ == Answer::kLater) {
      hang_up();
      return problem(504, "the relay has not answered in time");
    }
    if (reader_.begun() && answer_ == Answer::kNone && out_.empty()) {  // slow or stuck: it may like to know
      keep_alive_ = false;
      problem(408, "the request did not come whole in time");
      return;
    }
    end();
  }

  void look() {
    if (answer_ != Answer::kWait) return;
    const std::optional<uint64_t> value = admin_.user_.statistic(wait_relay_, wait_stat_);
    if (!value || !compare(*value, wait_op_, wait_value_)) return;
    end_wait();
    reply(200, wait_body(*value));
  }

  void reloaded(uint64_t number, const Faults& faults) {
    if (answer_ != Answer::kReload || reload_ > number) return;
    answer_ = Answer::kNone;
    std::string body;
    Json json(body);
    json.begin('{').flag("ok", faults.empty()).begin('[', "faults");
    for (const Fault& fault : faults) json.begin('{').text("where", fault.where).text("what", fault.what).end('}');
    json.end(']').end('}');
    reply(faults.empty() ? 200 : 409, body + "\n");
  }

  // The process ends: what is being answered is answered, what waits is told that it waits in vain.
  void finish() {
    keep_alive_ = false;
    if (rpc_ != nullptr) {
      rpc_->finish();
      return conn_.again();
    }
    if (answer_ == Answer::kWait) end_wait();
    else if (answer_ == Answer::kOn) return hang_up(), end_pieces();
    else if (answer_ == Answer::kLater) hang_up();
    else if (answer_ == Answer::kReload) answer_ = Answer::kNone;
    else if (idle()) return end();
    else return;
    problem(503, "the relay has ended");
  }

  void end() {
    if (ended_) return;
    ended_ = true;
    if (answer_ == Answer::kWait) end_wait();
    if (ticket_ != 0) hang_up();
    if (rpc_ != nullptr) rpc_->hang_up();
    conn_.close();
    admin_.ended(*this);
  }

 private:
  enum class Answer : uint8_t { kNone, kStatus, kMetrics, kWait, kReload, kLater, kOn };

  void on_ready(Conn&) override {
    if (ended_) return;
    if (rpc_ != nullptr) return rpc_turn();
    if (!send()) return;
    if (conn_.readable()) read();
  }

  // Reads until there is a request, then answers it; what comes behind it stays in the kernel until the answer has gone.
  void read() {
    size_t total = 0;
    while (!ended_ && answer_ == Answer::kNone && out_.empty() && total < kReadMost) {
      if (pending_.empty() && !fill(total)) return;
      const bool may_be_rpc = fresh_ && H2Server::kBuilt && is_preface();
      if (may_be_rpc ? !await_preface() : !feed()) return;
    }
    if (!ended_ && total >= kReadMost) conn_.again();
  }

  bool fill(size_t& total) {
    std::array<std::byte, 4096> bytes;  // NOLINT: the kernel fills what is read
    const Result<size_t> n = conn_.read(bytes);
    if (!n.ok()) {
      if (n.status().code() != Code::kAgain) end();
      return false;
    }
    pending_.assign(reinterpret_cast<const char*>(bytes.data()), *n);
    total += *n;
    if (fresh_) touch();
    return true;
  }

  bool feed() {
    fresh_ = false;
    const Result<size_t> n = reader_.feed(std::as_bytes(std::span(pending_)));
    if (!n.ok()) {
      keep_alive_ = false;
      problem(n.status().code() != Code::kLimit ? 400 : reader_.in_body() ? 413 : 431, n.status().reason());
      return false;
    }
    pending_.erase(0, *n);
    if (!was_begun_ && reader_.begun()) touch();  // the patience counts from the first byte, not from the last
    was_begun_ = reader_.begun();
    if (reader_.done()) answer();
    return true;
  }

  // ---- HTTP/2: who begins with its preface speaks gRPC

  bool is_preface() const { return H2Server::kPreface.starts_with(std::string_view(pending_).substr(0, H2Server::kPreface.size())); }

  // False: it is whole, and HTTP/2 has begun. (Nothing else is answered of a connection that begins so.)
  bool await_preface() {
    if (pending_.size() < H2Server::kPreface.size()) {
      std::array<std::byte, 64> bytes;  // NOLINT: the kernel fills what is read
      const Result<size_t> n = conn_.read(bytes);
      if (n.ok()) {
        pending_.append(reinterpret_cast<const char*>(bytes.data()), *n);
        return true;
      }
      if (n.status().code() != Code::kAgain) end();
      return false;
    }
    rpc_ = std::make_unique<AdminRpc>(admin_.loop_, admin_.user_, admin_.desk_, admin_.plan_, static_cast<AdminRpcUser&>(*this));
    touch();
    rpc_turn();
    return false;
  }

  void on_rpc_news() override {
    if (!ended_) conn_.again();
  }

  // Who only takes what goes on has as long for it as over HTTP/1.1.
  Delay rpc_patience() const { return rpc_->goes_on() ? admin_.plan_.idle : admin_.plan_.patience; }

  void rpc_overdue() {
    if (!out_.empty() && news_ + rpc_patience() <= admin_.loop_.now()) return end();
    if (!rpc_->idle()) {
      rpc_->overdue();
      return conn_.again();
    }
    rpc_->say_goodbye();  // its client finds out, and comes again when it has something to say
    static_cast<void>(rpc_->pull(out_, kPieceMost));
    static_cast<void>(rpc_send());
    end();
  }

  // Who does not take what is said to him is not read.
  void rpc_turn() {
    std::array<std::byte, 4096> bytes;  // NOLINT: the kernel fills what is read
    size_t total = 0;
    bool failed = false;
    while (!ended_ && rpc_send() && !failed && total < kReadMost) {
      if (pending_.empty()) {
        if (!conn_.readable()) break;
        const Result<size_t> n = conn_.read(bytes);
        if (!n.ok()) {
          if (n.status().code() != Code::kAgain) return end();
          break;  // also where it may be tried again: TLS has first to send something
        }
        pending_.assign(reinterpret_cast<const char*>(bytes.data()), *n);
        total += *n;
      }
      failed = !rpc_->feed(std::as_bytes(std::span(pending_))).ok();
      pending_.clear();
      if (!rpc_->idle()) admin_.clients_.push_back(*this);
    }
    if (ended_) return;
    if (failed || (rpc_->is_over() && out_.empty()) || conn_.broken()) return end();
    if (total >= kReadMost) conn_.again();
    if (rpc_->is_hurried()) admin_.on_timer(admin_.timer_);  // which looks at the deadlines again
  }

  // False: there is more than the socket takes, or it takes nothing any more.
  bool rpc_send() {
    while (true) {
      if (out_.empty() && !rpc_->pull(out_, kPieceMost).ok() && out_.empty()) {
        end();
        return false;
      }
      if (out_.empty()) return true;
      if (sent_ == 0) news_ = admin_.loop_.now();
      if (!conn_.writable()) return false;
      const Result<size_t> n = conn_.write(std::as_bytes(std::span(out_)).subspan(sent_));
      if (!n.ok()) {
        if (n.status().code() != Code::kAgain) end();
        return false;
      }
      news_ = admin_.loop_.now();
      sent_ += *n;
      if (sent_ < out_.size()) continue;
      out_.clear();
      sent_ = 0;
    }
  }

  void touch() {
    news_ = admin_.loop_.now();
    admin_.clients_.push_back(*this);
  }

  // ---- routes

  void answer() {
    const HttpMessage request = std::move(reader_.message());
    reader_.next();
    was_begun_ = false;
    touch();
    chunks_ = request.chunks;
    keep_alive_ = request.keep_alive && chunks_;
    head_only_ = request.method == "HEAD";
    if (const std::optional<AdminRefusal> why = admin_refusal(admin_.plan_, request.header("origin").has_value(), request.header("host").value_or(""),
                                                              request.header("authorization").value_or("")); why)
      return problem(why->status, why->what, why->status == 401 ? "WWW-Authenticate: Bearer\r\n" : "");
    is_known_ = true;
    const HttpTarget target = HttpTarget::parse(request.target);
    const bool get = request.method == "GET" || head_only_;
    if (constexpr std::string_view kRelays = "/relays/"; target.path.starts_with(kRelays)) return control(target, request, target.path.substr(kRelays.size()));
    for (const Route& route : kRoutes) {
      if (route.path != target.path) continue;
      if (route.post ? request.method != "POST" : !get)
        return problem(405, route.post ? "use POST" : "use GET", route.post ? "Allow: POST\r\n" : "Allow: GET, HEAD\r\n");
      return (this->*route.answer)(target);
    }
    problem(404, "no such page; there are /status /metrics /healthz /readyz /wait /relays/NAME/..., and by POST /drain /reload /log-level");
  }

  void control(const HttpTarget& target, const HttpMessage& request, std::string_view path) {
    if (request.method != "GET" && request.method != "POST") return problem(405, "use GET or POST", "Allow: GET, POST\r\n");
    if (request.method == "POST" && !admin_.plan_.may_change()) return problem(403, kOnlyLooks);
    std::string body;
    posts_ = request.method == "POST";
    ticket_ = admin_.desk_.open(*this);
    const int code = admin_.user_.control(path, {posts_, target.query, request.body, ticket_}, body);
    if (code == kAnswersOn) return on_begin();
    if (code == kAnswersLater) {
      answer_ = Answer::kLater;
      wait_until_ = admin_.loop_.now() + admin_.plan_.patience;
      return conn_.again();  // its end may have come with the request
    }
    admin_.desk_.close(std::exchange(ticket_, 0));
    controlled(code, body);
  }

  void controlled(int code, std::string_view body) {
    if (code == 404 && body.empty()) return problem(404, "no such relay, or it knows no such thing; /status lists the relays");
    if (code == 405) return problem(405, posts_ ? "use GET" : "use POST", posts_ ? "Allow: GET\r\n" : "Allow: POST\r\n");
    reply(code, std::string(body) + "\n");
  }

  ControlDesk::Said on_piece(std::string_view piece, size_t most) override {
    if (out_.size() - sent_ + piece.size() > most) return ControlDesk::Said::kFull;
    if (out_.empty()) touch();  // it is to be taken from now on
    if (sent_ >= kPieceMost && sent_ >= out_.size() / 2) out_.erase(0, std::exchange(sent_, 0));  // what is left is not moved more often
    if (chunks_) http_append_chunk(out_, piece);
    else out_ += piece;
    conn_.again();
    return ControlDesk::Said::kTaken;
  }

  void on_begin() override { begin_page(Answer::kOn, kJson); }

  void on_answer(int code, std::string_view body) override {
    ticket_ = 0;
    if (answer_ == Answer::kOn) return end_pieces();
    answer_ = Answer::kNone;
    controlled(code, body);
  }

  void end_pieces() {
    answer_ = Answer::kNone;
    has_news();
    if (chunks_) http_append_chunk(out_, {});
    else if (out_.empty()) return end();
    conn_.again();
  }

  // It waits no longer.
  void hang_up() {
    const Ticket ticket = std::exchange(ticket_, 0);
    admin_.desk_.close(ticket);
    admin_.user_.hung_up(ticket);
    answer_ = Answer::kNone;
  }

  void status(const HttpTarget& target) {
    query_ = {};
    if (const auto at = target.query.find("relay"); at != target.query.end()) query_.relay = at->second;
    if (const auto at = target.query.find("connections"); at != target.query.end()) {
      const std::optional<uint64_t> n = parse_integer(at->second);
      if (!n || *n > 10'000) return problem(400, "connections: a number from 0 to 10000");
      query_.connections = *n;
    }
    begin_page(Answer::kStatus, kJson);
  }

  void metrics(const HttpTarget&) { begin_page(Answer::kMetrics, kMetricsText); }
  void healthz(const HttpTarget&) { reply(200, "ok\n", kText); }
  void readyz(const HttpTarget&) {
    const bool ready = admin_.user_.accepts();
    reply(ready ? 200 : 503, ready ? "ready\n" : "draining\n", kText);
  }

  void wait(const HttpTarget& target) {
    const auto get = [&target](std::string_view name) {
      const auto at = target.query.find(name);
      return at == target.query.end() ? std::string() : at->second;
    };
    wait_relay_ = get("relay");
    wait_stat_ = get("stat");
    wait_op_ = get("op").empty() ? ">=" : get("op");
    const std::optional<uint64_t> value = parse_integer(get("value"));
    const std::optional<Delay> timeout = get("timeout").empty() ? kDefaultWait : parse_duration(get("timeout"));
    if (!is_operator(wait_op_)) return problem(400, "op: one of == != >= <= > <");
    if (!value) return problem(400, "value: a number is needed");
    if (!timeout || *timeout > kLongestWait) return problem(400, "timeout: for example 500ms, 5s, 2m, at most 1h");
    const std::optional<uint64_t> now = admin_.user_.statistic(wait_relay_, wait_stat_);
    if (!now) return problem(404, "no such relay or statistic; /status lists them");
    wait_value_ = *value;
    if (compare(*now, wait_op_, wait_value_)) return reply(200, wait_body(*now));
    wait_until_ = admin_.loop_.now() + *timeout;
    answer_ = Answer::kWait;
    ++admin_.waits_;
    admin_.on_timer(admin_.timer_);  // which looks at the deadlines again
    conn_.again();                   // its end may have come with the request
  }

  void end_wait() {
    answer_ = Answer::kNone;
    --admin_.waits_;
  }

  std::string wait_body(uint64_t value) const {
    std::string body;
    Json(body).begin('{').text("stat", wait_stat_).number("value", value).end('}');
    return body + "\n";
  }

  void drain(const HttpTarget&) {
    admin_.user_.begin_drain();
    reply(202, "{\"draining\":true}\n");
  }

  void reload(const HttpTarget&) {
    answer_ = Answer::kReload;
    conn_.again();
    reload_ = 0;
    reload_ = admin_.user_.begin_reload();  // may be over within the call
  }

  void log_level(const HttpTarget& target) {
    const auto at = target.query.find("level");
    const std::optional<Level> level = at == target.query.end() ? std::nullopt : level_of(at->second);
    if (!level) return problem(400, "level: one of error warn info debug");
    admin_.user_.set_log_level(*level);
    reply(200, "{\"log_level\":\"" + std::string(level_name(*level)) + "\"}\n");
  }

  struct Route {
    std::string_view path;
    bool post;
    void (Client::*answer)(const HttpTarget& target);
  };
  static constexpr Route kRoutes[] = {
      {"/status", false, &Client::status},   {"/metrics", false, &Client::metrics}, {"/healthz", false, &Client::healthz},
      {"/readyz", false, &Client::readyz},   {"/wait", false, &Client::wait},       {"/drain", true, &Client::drain},
      {"/reload", true, &Client::reload},    {"/log-level", true, &Client::log_level},
  };

  // ---- answers

  void problem(int status, std::string_view what, std::string_view extra = {}) {
    std::string body;
    Json(body).begin('{').text("error", what).end('}');
    reply(status, body + "\n", kJson, extra);
  }

  // It is to take something from now on; perhaps it has waited for it for long.
  void has_news() {
    if (out_.empty()) news_ = admin_.loop_.now();
  }

  void reply(int status, std::string_view body, std::string_view type = kJson, std::string_view extra = {}) {
    has_news();
    out_ += http_response_head(status, type, body.size(), keep_alive_, extra);
    if (!head_only_) out_ += body;
    conn_.again();  // sent, and the next request read, from on_ready
  }

  void begin_page(Answer page, std::string_view type) {
    has_news();
    out_ += http_response_head(200, type, std::nullopt, keep_alive_, {}, chunks_);
    if (!head_only_) answer_ = page;
    page_place_ = {};
    conn_.again();
  }

  void make_piece() {
    std::string piece;
    bool more = true;
    while (more && piece.size() < kPieceMost)
      more = answer_ == Answer::kStatus ? admin_.user_.status_page(page_place_, query_, piece) : admin_.user_.metrics_page(page_place_, piece);
    if (!chunks_) out_ += piece;
    else if (!piece.empty()) http_append_chunk(out_, piece);
    if (more) return;
    if (chunks_) http_append_chunk(out_, {});
    answer_ = Answer::kNone;
  }

  // Whether the next request may be read. A page is made a piece a turn.
  bool send() {
    if (out_.empty() && (answer_ == Answer::kStatus || answer_ == Answer::kMetrics)) {
      make_piece();
      if (out_.empty() && answer_ == Answer::kNone) {  // without chunks nothing need be left of a page at its end but that
        end();
        return false;
      }
    }
    while (sent_ < out_.size() && conn_.writable()) {
      const Result<size_t> n = conn_.write(std::as_bytes(std::span(out_)).subspan(sent_));
      if (!n.ok()) {
        if (n.status().code() == Code::kAgain) break;
        end();
        return false;
      }
      sent_ += *n;
      touch();
    }
    if (sent_ < out_.size()) {
      if (conn_.broken()) end();
      return false;
    }
    if (sent_ > 0) {
      out_.clear();
      out_.shrink_to_fit();
      sent_ = 0;
      if (answer_ == Answer::kNone && !keep_alive_) {
        end();
        return false;
      }
    }
    if (answer_ == Answer::kStatus || answer_ == Answer::kMetrics) {
      conn_.again();
      return false;
    }
    if (answer_ != Answer::kNone) {  // it waits: all that can come is its end
      watch_for_end();
      return false;
    }
    if (!pending_.empty()) conn_.try_reading();
    return true;
  }

  // Who has gone need not be answered. Bytes that come while it waits are a next request's.
  void watch_for_end() {
    if (!conn_.readable()) return;
    if (pending_.size() >= kReadMost) return end();  // nobody has that much to ask behind a question; and its end could not be seen
    std::array<std::byte, 1024> bytes;  // NOLINT: the kernel fills what is read
    const Result<size_t> n = conn_.read(bytes);
    if (n.ok()) {
      pending_.append(reinterpret_cast<const char*>(bytes.data()), *n);
      conn_.again();
    } else if (n.status().code() != Code::kAgain) {
      end();
    }
  }

  Admin& admin_;
  std::unique_ptr<Client> self_;
  Conn conn_;
  HttpReader reader_;
  std::unique_ptr<AdminRpc> rpc_;  // it speaks HTTP/2
  std::string pending_;  // read, not parsed yet
  std::string out_;
  size_t sent_ = 0;
  Time news_;
  Answer answer_ = Answer::kNone;
  bool was_begun_ = false;
  bool keep_alive_ = true;
  bool chunks_ = true;
  bool head_only_ = false;
  bool posts_ = false;
  bool ended_ = false;
  bool fresh_ = true;  // it may yet be HTTP/2
  bool is_known_ = false;  // it has shown the token
  AdminPlace page_place_;
  AdminQuery query_;
  std::string wait_relay_;
  std::string wait_stat_;
  std::string wait_op_;
  uint64_t wait_value_ = 0;
  uint64_t reload_ = 0;  // the number of the one that it waits for
  Time wait_until_{};
  Ticket ticket_ = 0;    // of what a relay was asked and has not answered
};

// ---- Admin

Admin::Admin(Loop& loop, AdminUser& user, Desk& desk, AdminPlan plan)
    : loop_(loop), user_(user), desk_(desk), plan_(std::move(plan)), listener_(loop, *this), timer_(loop, *this) {}

Admin::~Admin() { close(); }

std::optional<TlsFault> Admin::load_certificate() {
  if (!plan_.where.tls) return std::nullopt;
  TlsContext fresh;
  if (std::optional<TlsFault> fault = fresh.load(plan_.tls)) return fault;
  tls_ = std::move(fresh);
  return std::nullopt;
}

Status Admin::open(Listening listening) {
  if (plan_.where.tls) listener_.use_tls(plan_.connections, plan_.patience);
  return listener_.open(std::move(listening));
}

void Admin::close() {
  listener_.close();
  while (Client* client = clients_.front()) client->end();
}

void Admin::finish() {
  listener_.close();
  for (Client* client = clients_.front(); client != nullptr;) {
    Client* following = clients_.next(*client);
    client->finish();
    client = following;
  }
}

void Admin::on_accept(Listener&, Socket socket, const Addr&) {
  if (count_ >= plan_.connections && !make_room()) return;  // closed as its Fd dies
  Client& client = Client::make(*this);
  clients_.push_back(client);
  ++count_;
  if (!client.open(std::move(socket)).ok()) return client.end();
  if (!timer_.armed()) timer_.arm(plan_.patience);
}

// The longest idle first; then, with a token, who is in the middle of a first request: who has none must not keep out who has.
bool Admin::make_room() {
  for (const auto gives_way : {&Client::idle, &Client::stranger})
    for (Client* client = clients_.front(); client != nullptr; client = clients_.next(*client))
      if ((client->*gives_way)()) {
        client->end();
        return true;
      }
  ++busy_untold_;
  if (loop_.now() - busy_told_ < kBusyEvery) return false;
  busy_told_ = loop_.now();
  LogLine(Level::kWarn, "admin-busy").number("connections", count_).number("refused", std::exchange(busy_untold_, 0));
  return false;
}

void Admin::ended(Client& client) {
  client.unlink();
  --count_;
  loop_.bury(client.release());
}

void Admin::on_timer(Timer&) {
  Time next = Time::max();
  for (Client* client = clients_.front(); client != nullptr;) {
    Client* following = clients_.next(*client);
    if (client->deadline() <= loop_.now()) client->overdue();
    if (client->linked()) next = std::min(next, client->deadline());
    client = following;
  }
  if (count_ == 0) return timer_.disarm();
  // No later than patience: one who comes, or begins a request, after this has a deadline no earlier than that.
  const Time soon = loop_.now() + plan_.patience;
  timer_.arm(std::max(Delay{1}, std::min(next, soon) - loop_.now()));
}

void Admin::look() {
  for (Client* client = clients_.front(); client != nullptr;) {
    Client* following = clients_.next(*client);
    client->look();
    client = following;
  }
}

void Admin::reloaded(uint64_t number, const Faults& faults) {
  for (Client* client = clients_.front(); client != nullptr;) {
    Client* following = clients_.next(*client);
    client->reloaded(number, faults);
    client = following;
  }
}

void Admin::on_handshake_failed(Listener& listener, const Addr& peer, const std::string& why) {
  if (!log_enabled(Level::kDebug)) return;  // whoever floods us must not flood the log
  LogLine(Level::kDebug, "admin-tls-failed").text("addr", listener.text()).text("peer", peer.text()).text("error", why);
}

void Admin::on_accept_paused(Listener& listener, const Status& why) {
  LogLine(Level::kWarn, "accept-paused").text("relay", "admin").text("addr", listener.text()).text("error", std::strerror(why.error()));
}

void Admin::on_accept_resumed(Listener& listener) {
  LogLine(Level::kInfo, "accept-resumed").text("relay", "admin").text("addr", listener.text());
}

}  // namespace relay

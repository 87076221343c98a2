// SPDX-License-Identifier: Apache-2.0
// AdminRpc: calls, from their headers to their trailers.
#include "ops/admin_rpc.h"

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include "lib/text.h"
#include "net/h2.h"

namespace relay {
namespace {

constexpr uint32_t kOk = 0, kUnknown = 2, kInvalidArgument = 3, kDeadlineExceeded = 4, kNotFound = 5, kPermissionDenied = 7, kResourceExhausted = 8,
                   kFailedPrecondition = 9, kUnimplemented = 12, kInternal = 13, kUnavailable = 14, kUnauthenticated = 16;
constexpr uint32_t kMessageMost = 64 * 1024;  // as a request's body of HTTP/1.1
constexpr size_t kUntakenMost = 1024 * 1024;  // of a connection's answers: while more waits to be taken nothing is asked
constexpr size_t kWordsMost = 1024;           // of what is wrong
constexpr std::string_view kContentType = "application/grpc";

struct Asked {
  std::string_view method, path, host, type, authorization, encoding, timeout;
  bool browser = false;
};

Asked read_headers(std::span<const H2Header> headers) {
  Asked asked;
  for (const auto& [name, value] : headers) {
    if (name == ":method") asked.method = value;
    else if (name == ":path") asked.path = value;
    else if (name == ":authority" || (name == "host" && asked.host.empty())) asked.host = value;
    else if (name == "content-type") asked.type = value;
    else if (name == "authorization") asked.authorization = value;
    else if (name == "grpc-encoding") asked.encoding = value;
    else if (name == "grpc-timeout") asked.timeout = value;
    else if (name == "origin") asked.browser = true;
  }
  return asked;
}

std::string message_of(std::string_view what) { return encode_grpc_message(printable(what.substr(0, kWordsMost))); }

}  // namespace

// ---- a call

class AdminRpc::Call final : private DeskUser {
 public:
  Call(AdminRpc& rpc, int32_t id) : rpc_(rpc), id_(id), reader_(kMessageMost), until_(rpc.loop_.now() + rpc.plan_.patience) {}
  ~Call() { hang_up(); }

  void begin(const Asked& asked) {
    if (!asked.type.starts_with(kContentType)) return no_grpc();
    if (asked.method != "POST") return fail(kUnimplemented, "a call of gRPC is a POST");
    if (const std::optional<AdminRefusal> why = admin_refusal(rpc_.plan_, asked.browser, asked.host, asked.authorization); why)
      return fail(grpc_code_of(why->status), why->what);
    if (!asked.encoding.empty() && asked.encoding != "identity") return fail(kUnimplemented, "compressed messages are not read here");
    if (const std::optional<int64_t> timeout = parse_grpc_timeout(asked.timeout); timeout) {
      ends_ = rpc_.loop_.now() + Delay{*timeout};
      rpc_.hurried_ = true;
    } else if (!asked.timeout.empty()) {
      return fail(kInvalidArgument, "grpc-timeout: no such time");
    }
    path_ = asked.path.substr(asked.path.starts_with('/') ? 1 : 0);
  }

  void take(std::span<const std::byte> bytes) {
    if (state_ != State::kComing) return;
    const Status status = reader_.feed(bytes, [this](std::span<const std::byte> message) {
      if (std::exchange(has_message_, true)) fail(kUnimplemented, "one message is enough");
      else message_ = text_of(message);
      return state_ == State::kComing;
    });
    if (status.ok()) return;
    if (status.code() == Code::kLimit) fail(kResourceExhausted, "the message is longer than " + std::to_string(kMessageMost) + " bytes");
    else fail(kUnimplemented, status.reason());
  }

  // All of the request is here.
  void answer() {
    if (state_ != State::kComing) return;
    if (!has_message_) return fail(kInternal, "the call has no message");
    if (reader_.has_part()) return fail(kInternal, "a message has no end");
    if (rpc_.untaken() > kUntakenMost) return fail(kResourceExhausted, "answers to former calls have not been taken");
    state_ = State::kWaiting;
    static const std::map<std::string, std::string, std::less<>> kNoParameters;
    ticket_ = rpc_.desk_.open(*this);
    std::string body;
    const std::string message = std::move(message_);
    const int status = rpc_.user_.control(path_, {true, kNoParameters, message, ticket_, true, rpc_.plan_.may_change()}, body);
    until_ = rpc_.loop_.now() + rpc_.plan_.patience;
    if (status == kAnswersLater) return;
    if (status == kAnswersOn) return on_begin();
    rpc_.desk_.close(std::exchange(ticket_, 0));
    end(status, body);
  }

  bool goes_on() const { return state_ == State::kOn; }
  size_t untaken() const { return state_ == State::kEnding ? rpc_.server_.unsent(id_) : 0; }
  Time deadline() const { return std::min(until_, state_ == State::kEnding ? Time::max() : ends_); }

  // False: it is over, and to be forgotten.
  bool overdue() {
    if (state_ != State::kEnding && ends_ <= rpc_.loop_.now()) {
      fail(kDeadlineExceeded, "the time that the client gives is over");
      return true;
    }
    if (state_ == State::kComing) fail(kDeadlineExceeded, "the request did not come whole in time");
    else if (state_ == State::kWaiting) fail(kDeadlineExceeded, "the relay has not answered in time");
    else return !is_stuck();
    return true;
  }

  void finish() {
    if (state_ != State::kEnding) fail(kUnavailable, "the relay has ended");
  }

  // The answer is not waited for any more.
  void hang_up() {
    const Ticket ticket = std::exchange(ticket_, 0);
    if (ticket == 0) return;
    rpc_.desk_.close(ticket);
    rpc_.user_.hung_up(ticket);
  }

 private:
  // The answer is sent as it is taken. kEnding: all of it has been said, but for what waits.
  enum class State : uint8_t { kComing, kWaiting, kOn, kEnding };

  void on_begin() override {
    state_ = State::kOn;
    until_ = Time::max();
    respond();
  }

  ControlDesk::Said on_piece(std::string_view piece, size_t most) override {
    if (state_ != State::kOn) return ControlDesk::Said::kGone;
    const size_t unsent = rpc_.server_.unsent(id_);
    if (unsent + kGrpcPrefix + piece.size() > most) return ControlDesk::Said::kFull;
    if (until_ == Time::max()) watch();
    say(piece);
    rpc_.owner_.on_rpc_news();
    return ControlDesk::Said::kTaken;
  }

  void on_answer(int status, std::string_view body) override {
    ticket_ = 0;
    if (state_ == State::kOn && status == 200) close(kOk, {});
    else end(status, body);
  }

  // It is to take something from now on.
  void watch() {
    taken_ = rpc_.server_.taken(id_);
    until_ = rpc_.loop_.now() + (state_ == State::kOn ? rpc_.plan_.idle : rpc_.plan_.patience);
  }
  bool is_stuck() {
    if (state_ == State::kOn && rpc_.server_.unsent(id_) == 0) {
      until_ = Time::max();
      return false;
    }
    if (rpc_.server_.taken(id_) == taken_) return true;
    watch();
    return false;
  }

  void respond() {
    const std::array<H2Header, 3> headers{{{":status", "200"}, {"content-type", kContentType}, {"grpc-accept-encoding", "identity"}}};
    rpc_.server_.respond(id_, headers, false);
    responded_ = true;
    rpc_.owner_.on_rpc_news();
  }

  void say(std::string_view message) {
    const auto prefix = grpc_prefix(static_cast<uint32_t>(message.size()));
    rpc_.server_.write(id_, text_of(prefix));
    rpc_.server_.write(id_, message);
  }

  void end(int status, std::string_view body) {
    if (status != 200) return fail(grpc_code_of(status), body.empty() ? "no such thing" : body);
    respond();
    say(body);
    close(kOk, {});
  }

  void fail(uint32_t code, std::string_view what) {
    hang_up();
    if (responded_) return close(code, what);
    const std::string number = std::to_string(code);
    const std::string message = message_of(what);
    const std::array<H2Header, 5> headers{{{":status", "200"}, {"content-type", kContentType}, {"grpc-status", number}, {"grpc-message", message},
                                           {"grpc-accept-encoding", "identity"}}};
    rpc_.server_.respond(id_, headers, true);
    ending();
  }

  void no_grpc() {
    const std::array<H2Header, 2> headers{{{":status", "415"}, {"content-type", "text/plain; charset=utf-8"}}};
    rpc_.server_.respond(id_, headers, false);
    rpc_.server_.write(id_, "HTTP/2 is for gRPC here: content-type application/grpc. All else is had by HTTP/1.1.\n");
    rpc_.server_.finish(id_, {});
    ending();
  }

  void close(uint32_t code, std::string_view what) {
    const std::string number = std::to_string(code);
    const std::string message = message_of(what);
    const std::array<H2Header, 2> trailers{{{"grpc-status", number}, {"grpc-message", message}}};
    rpc_.server_.finish(id_, std::span(trailers).first(message.empty() ? 1 : 2));
    ending();
  }

  void ending() {
    state_ = State::kEnding;
    reader_.clear();
    message_ = {};
    watch();
    rpc_.owner_.on_rpc_news();
  }

  AdminRpc& rpc_;
  int32_t id_;
  GrpcReader reader_;
  std::string path_;
  std::string message_;
  Ticket ticket_ = 0;
  Time until_;              // ours
  Time ends_ = Time::max(); // the client's
  uint64_t taken_ = 0;      // when until_ was set
  State state_ = State::kComing;
  bool has_message_ = false;
  bool responded_ = false;
};

// ---- all of them

uint32_t AdminRpc::grpc_code_of(int status) {
  switch (status) {
    case 200: return kOk;
    case 400: return kInvalidArgument;
    case 401: return kUnauthenticated;
    case 403: return kPermissionDenied;
    case 404: return kNotFound;
    case 409: return kFailedPrecondition;
    case 413:
    case 429: return kResourceExhausted;
    case 500: return kInternal;
    case 501: return kUnimplemented;
    case 503: return kUnavailable;
    case 504: return kDeadlineExceeded;
    default: return kUnknown;
  }
}

AdminRpc::AdminRpc(Loop& loop, AdminUser& user, Desk& desk, const AdminPlan& plan, AdminRpcUser& owner)
    : loop_(loop), user_(user), desk_(desk), plan_(plan), owner_(owner), server_(*this, {}), idle_since_(loop.now()) {}

AdminRpc::~AdminRpc() = default;

Status AdminRpc::feed(std::span<const std::byte> bytes) { return server_.feed(bytes); }

AdminRpc::Call* AdminRpc::find(int32_t id) {
  const auto at = calls_.find(id);
  return at == calls_.end() ? nullptr : at->second.get();
}

void AdminRpc::forget(int32_t id) {
  calls_.erase(id);
  if (calls_.empty()) idle_since_ = loop_.now();
  owner_.on_rpc_news();
}

void AdminRpc::on_h2_request(int32_t id, std::span<const H2Header> headers) {
  Call& call = *calls_.emplace(id, std::make_unique<Call>(*this, id)).first->second;
  owner_.on_rpc_news();
  call.begin(read_headers(headers));
}

void AdminRpc::on_h2_data(int32_t id, std::span<const std::byte> bytes) {
  if (Call* const call = find(id); call != nullptr) call->take(bytes);
}

void AdminRpc::on_h2_finished(int32_t id) {
  if (Call* const call = find(id); call != nullptr) call->answer();
}

void AdminRpc::on_h2_closed(int32_t id) { forget(id); }

bool AdminRpc::goes_on() const {
  return !calls_.empty() && std::all_of(calls_.begin(), calls_.end(), [](const auto& one) { return one.second->goes_on(); });
}

size_t AdminRpc::untaken() const {
  size_t sum = 0;
  for (const auto& [id, call] : calls_) sum += call->untaken();
  return sum;
}

Time AdminRpc::deadline() const {
  Time next = Time::max();
  for (const auto& [id, call] : calls_) next = std::min(next, call->deadline());
  return next;
}

void AdminRpc::overdue() {
  std::vector<int32_t> stuck;
  for (const auto& [id, call] : calls_)
    if (call->deadline() <= loop_.now() && !call->overdue()) stuck.push_back(id);
  for (const int32_t id : stuck) {
    server_.reset(id, H2Server::kCancel);
    forget(id);
  }
}

void AdminRpc::hang_up() {
  for (const auto& [id, call] : calls_) call->hang_up();
}

void AdminRpc::finish() {
  say_goodbye();
  for (const auto& [id, call] : calls_) call->finish();
}

}  // namespace relay

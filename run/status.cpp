// SPDX-License-Identifier: Apache-2.0
// relay status: find the admin sockets, ask, lay out.
#include "run/status.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <optional>

#include "lib/text.h"
#include "net/http_call.h"
#include "net/sys.h"
#include "run/config_file.h"
#include "run/process.h"
#include "run/status_page.h"
#include "wire/json_read.h"

namespace relay {
namespace {

constexpr Delay kPatience{5'000};  // a process that works answers within a turn or two of its loop
constexpr HttpLimits kAnswerMost{.head = 8 * 1024, .body = size_t{256} << 20};
constexpr size_t kNarrowest = 40;
constexpr size_t kProblemMost = 300;  // of what a stranger says is wrong

constexpr std::array kKeys = {
    Key{.name = "admin", .type = KeyType::kAdmin, .metavar = "PLACE", .fallback = "auto",
        .help = "whom to ask: unix:PATH, tcp:ADDR:PORT or tls:ADDR:PORT; auto finds the sockets of the relays on this machine"},
    Key{.name = "admin-token-file", .type = KeyType::kText, .metavar = "FILE", .fallback = "", .help = "a file with the secret that the admin address wants"},
    Key{.name = "ca", .type = KeyType::kText, .metavar = "FILE", .fallback = "",
        .help = "admin at tls: the certificates that vouch for it (default: those that the system trusts)"},
    Key{.name = "server-name", .type = KeyType::kText, .metavar = "NAME", .fallback = "",
        .help = "admin at tls: the name that its certificate must bear (default: its address)"},
    Key{.name = "relay", .type = KeyType::kText, .metavar = "NAME", .fallback = "", .help = "that relay only"},
    Key{.name = "connections", .type = KeyType::kInteger, .metavar = "N", .fallback = "0", .help = "show so many connections of each relay too", .max = 10'000},
    Key{.name = "json", .type = KeyType::kBool, .metavar = "", .fallback = "false", .help = "the answer as it comes, one JSON object a line and process"},
    Key{.name = "watch", .type = KeyType::kBool, .metavar = "", .fallback = "false", .help = "show it again and again, in place, until interrupted"},
    Key{.name = "interval", .type = KeyType::kDuration, .metavar = "TIME", .fallback = "1s", .help = "the pause of --watch", .min = 100, .max = 3'600'000},
};

// One question to one admin socket, waited for.
class Question final : private HttpCallUser {
 public:
  Question(Loop& loop, Resolver& resolver) : loop_(loop), call_(loop, resolver, *this) {}

  // `tls` is for a place that has it.
  Result<HttpMessage> ask(const Endpoint& place, TlsContext& tls, const std::string& request) {
    DialPlan plan;
    plan.target = place;
    if (place.tls) plan.tls = &tls;
    done_ = false;
    call_.start(plan, request, kPatience, kAnswerMost);
    while (!done_) loop_.turn(Delay::max());
    return std::move(answer_);
  }
  // Of the last answer that failed, for an operator.
  const std::string& why() const { return why_; }

 private:
  void on_answer(Result<HttpMessage> answer) override {
    if (!answer.ok()) {
      const Status& status = answer.status();
      why_ = !call_.details().empty() ? printable(call_.details()) : status.error() != 0 ? std::strerror(status.error()) : status.reason();
    }
    answer_ = std::move(answer);
    done_ = true;
  }

  Loop& loop_;
  HttpCall call_;
  Result<HttpMessage> answer_{Status{Code::kTimeout, "not asked"}};
  std::string why_;
  bool done_ = false;
};

// ---- whom to ask

Endpoint socket_at(std::string path) {
  Endpoint place;
  place.kind = Endpoint::Kind::kUnix;
  place.host = std::move(path);
  return place;
}

// Where a relay puts its socket by itself: its own units' run-time folders, and the user's. Each once.
std::vector<Endpoint> known_places() {
  std::vector<Endpoint> places;
  const auto look_at = [&places](const std::string& path) {
    const auto same = [&path](const Endpoint& place) { return place.host == path; };
    if (sys::is_socket(path.c_str()) && std::none_of(places.begin(), places.end(), same)) places.push_back(socket_at(path));
  };
  if (const char* own = std::getenv("RUNTIME_DIRECTORY"); own != nullptr && *own == '/') {
    const std::string_view all = own;
    look_at(std::string(all.substr(0, all.find(':'))) + "/admin.sock");
  }
  if (const char* session = std::getenv("XDG_RUNTIME_DIR"); session != nullptr && *session == '/')
    for (const std::string& name : sys::list_folder((std::string(session) + "/relay").c_str()))
      if (name.ends_with(".sock")) look_at(std::string(session) + "/relay/" + name);
  for (const std::string& name : sys::list_folder("/run"))
    if (name == "relay" || name.starts_with("relay-")) look_at("/run/" + name + "/admin.sock");
  return places;
}

std::string request_for(const Section& options, const std::string& token) {
  std::string out = "GET /status?connections=" + std::string(options.text("connections"));
  if (options.has("relay")) {
    out += "&relay=";
    constexpr std::string_view kDigits = "0123456789ABCDEF";
    for (const char c : options.text("relay")) {
      const auto byte = static_cast<unsigned char>(c);
      out += '%';
      out += kDigits[byte >> 4];
      out += kDigits[byte & 15];
    }
  }
  out += " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n";
  if (!token.empty()) out += "Authorization: Bearer " + token + "\r\n";
  return out + "\r\n";
}

// ---- how to show it

void print(FILE* to, std::string_view text) { static_cast<void>(std::fwrite(text.data(), 1, text.size(), to)); }

// What an answer that is none of /status says is wrong: our own say it as {"error": …}.
std::string problem_in(const HttpMessage& answer) {
  const std::unique_ptr<JsonDocument> document = JsonDocument::parse(answer.body);
  const std::string_view said = document != nullptr ? document->root()["error"].text() : std::string_view();
  const std::string text = printable(said.empty() ? std::string_view(answer.body).substr(0, answer.body.find('\n')).substr(0, kProblemMost)
                                                  : said.substr(0, kProblemMost));
  return "answers " + std::to_string(answer.status) + (text.empty() ? "" : ": " + text);
}

// The first lines of a page that is longer than the window, each no longer than a line of it: else it would scroll.
std::string first_lines(std::string_view page, size_t lines, size_t columns) {
  std::string out;
  const auto all = static_cast<size_t>(std::count(page.begin(), page.end(), '\n'));
  const size_t shown = all <= lines ? all : lines - 1;
  for (size_t i = 0; i < shown; ++i) {
    out += cut_to(page.substr(0, page.find('\n')), columns) + "\x1b[K\n";
    page.remove_prefix(page.find('\n') + 1);
  }
  if (shown < all) out += cut_to("... " + std::to_string(all - shown) + " more lines; --relay NAME shows one relay", columns) + "\x1b[K\n";
  return out;
}

struct Asker {
  std::string token;
  TlsContext tls;
};

class StatusView {
 public:
  StatusView(std::span<const Kind* const> kinds, const Section& options, Asker asker)
      : kinds_(kinds), options_(options), asker_(std::move(asker)), request_(request_for(options, asker_.token)), resolver_(loop_, ""),
        question_(loop_, resolver_) {}

  int run() {
    const bool watch = options_.flag("watch");
    in_place_ = watch && sys::is_terminal(1) && !options_.flag("json");
    for (bool first = true;; first = false) {
      if (!first && !in_place_ && !options_.flag("json")) print(stdout, "\n");
      const bool answered = look();
      // Who watches in place sees who is not there yet; a script should learn at once that it asks in vain.
      if (!watch || (first && !answered && !in_place_)) return answered ? 0 : 1;
      if (std::ferror(stdout) != 0) {
        print(stderr, "relay: standard output does not take any more\n");
        return 1;
      }
      const Time next = loop_.now() + options_.duration("interval");
      while (loop_.now() < next) loop_.turn(next - loop_.now());
    }
  }

 private:
  // Whether anybody has answered.
  bool look() {
    page_.clear();
    trouble_.clear();
    answered_ = 0;
    const std::vector<Endpoint> given = options_.endpoints("admin");
    const std::vector<Endpoint> places = given.empty() ? known_places() : given;
    size_t stale = 0;
    size_t asked = 0;
    for (const Endpoint& place : places) {
      const Result<HttpMessage> answer = question_.ask(place, asker_.tls, request_);
      if (given.empty() && !answer.ok() && answer.status().code() == Code::kRefused) {
        ++stale;  // its process has gone
      } else {
        ++asked;
        if (!answer.ok()) complain_of(place, question_.why() + (answer.status().error() == EACCES ? "; its owner or root may ask (sudo relay status)" : ""));
        else if (answer->status != 200) complain_of(place, problem_in(*answer) + (answer->status == 401 ? "; give --admin-token-file" : ""));
        else take(*answer, place);
      }
    }
    if (asked == 0)
      trouble_ += "relay: no relay with an admin socket runs here for this user" +
                  std::string(stale > 0 ? " (sockets of some that have gone are left)" : "") + "; give --admin PLACE as the relay has it\n";
    else if (answered_ == 0 && trouble_.empty())
      trouble_ += "relay: no relay is called " + quote(options_.text("relay")) + " here; relay status lists all\n";
    show();
    return answered_ > 0;
  }

  void complain_of(const Endpoint& place, const std::string& what) { trouble_ += "relay: " + printable(place.text()) + ": " + what + "\n"; }

  void take(const HttpMessage& answer, const Endpoint& place) {
    const std::unique_ptr<JsonDocument> document = JsonDocument::parse(answer.body);
    if (document == nullptr || !document->root()["relays"].is_array()) return complain_of(place, "answers, but not as a relay does; is it one's admin address?");
    if (options_.has("relay") && document->root()["relays"].size() == 0) return;  // it is another's
    if (options_.flag("json")) {
      page_ += answer.body;
      if (!page_.ends_with('\n')) page_ += '\n';
    } else {
      const size_t columns = sys::terminal_size(1).columns;
      if (answered_ > 0) page_ += "\n";
      put_status(kinds_, document->root(), place.text(), columns == 0 ? SIZE_MAX : std::max(columns, kNarrowest), page_);
    }
    ++answered_;
  }

  void show() {
    const auto [columns, rows] = sys::terminal_size(1);
    if (in_place_ && columns > 0 && rows > 1) {
      print(stdout, "\x1b[H" + first_lines(trouble_ + page_, rows - 1, columns) + "\x1b[J");
    } else {
      std::fflush(stdout);
      print(stderr, trouble_);
      print(stdout, page_);
    }
    std::fflush(stdout);
  }

  std::span<const Kind* const> kinds_;
  const Section& options_;
  Asker asker_;
  std::string request_;
  Loop loop_;
  Resolver resolver_;
  Question question_;
  bool in_place_ = false;
  std::string page_;
  std::string trouble_;
  size_t answered_ = 0;
};

// What has to be read before anybody is asked.
Asker read_asker(const Section& options, Faults& faults) {
  Asker asker;
  if (options.has("admin-token-file")) {
    const std::string path(options.text("admin-token-file"));
    const int error = sys::read_file(path.c_str(), 4096, asker.token);
    while (!asker.token.empty() && std::strchr("\r\n ", asker.token.back()) != nullptr) asker.token.pop_back();
    if (error < 0) faults.push_back({"--admin-token-file", "cannot read " + quote(path) + ": " + std::strerror(-error)});
    else if (asker.token.empty()) faults.push_back({"--admin-token-file", quote(path) + " is empty"});
    else if (printable(asker.token) != asker.token) faults.push_back({"--admin-token-file", quote(path) + " has more in it than a token on one line"});
  }
  const std::vector<Endpoint> places = options.endpoints("admin");
  if (places.empty() || !places.front().tls) {
    for (const char* key : {"ca", "server-name"})
      if (options.has(key)) faults.push_back({"--" + std::string(key), "is for an admin address with TLS; write --admin tls:ADDR:PORT"});
    return asker;
  }
  TlsConfig config;
  config.ca = options.text("ca");
  config.ca_key = "ca";
  config.verify = true;
  config.server_name = options.has("server-name") ? std::string(options.text("server-name")) : places.front().addr.host_text();
  if (const std::optional<TlsFault> fault = asker.tls.load(config)) faults.push_back({"--" + std::string(fault->key), fault->what});
  return asker;
}

}  // namespace

std::span<const Key> status_keys() { return kKeys; }

int status_command(std::span<const Kind* const> kinds, std::span<const char* const> args) {
  Faults faults;
  Section options{kKeys};
  Section none{{}};
  read_args(args, options, none, faults);  // NOLINT(readability-suspicious-call-argument): its options are not a relay's
  if (options.text("admin") == "none") faults.push_back({"--admin", "none is nobody to ask; give a place, or auto"});
  Asker asker = faults.empty() ? read_asker(options, faults) : Asker{};
  if (!faults.empty()) {
    complain(faults);
    print(stderr, "Try: relay status --help\n");
    return kExitUsage;
  }
  return StatusView(kinds, options, std::move(asker)).run();
}

}  // namespace relay

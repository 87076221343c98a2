// SPDX-License-Identifier: Apache-2.0
// ServerUrl: reading it.
#include "ops/server_url.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "lib/text.h"

namespace relay {
namespace {

constexpr uint16_t kPort = 6379;

// %40 is @; nothing: a bad escape.
std::optional<std::string> unescape(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out += text[i];
      continue;
    }
    const int value = hex_byte(text.substr(i + 1));
    if (value < 0) return std::nullopt;
    out += static_cast<char>(value);
    i += 2;
  }
  return out;
}

Status bad(const char* why) { return {Code::kInvalid, why}; }

// Takes USER:PASSWORD@ off the front.
Status take_login(std::string_view& rest, ServerUrl& url) {
  const size_t end = rest.rfind('@');
  if (end == std::string_view::npos) return {};
  const std::string_view login = rest.substr(0, end);
  rest.remove_prefix(end + 1);
  const size_t colon = std::min(login.size(), login.find(':'));
  const auto user = unescape(login.substr(0, colon));
  const auto password = unescape(login.substr(std::min(login.size(), colon + 1)));
  if (!user || !password) return bad("has a bad %XX in its user or password");
  if (colon < login.size() && password->empty()) return bad("has an empty password");
  if (user->empty() && password->empty()) return bad("has nothing before its @");
  url.user = *user;
  url.password = *password;
  return {};
}

Status take_db(std::string_view& rest, ServerUrl& url) {
  const size_t slash = rest.find('/');
  if (slash == std::string_view::npos) return {};
  const std::string_view db = rest.substr(slash + 1);
  rest = rest.substr(0, slash);
  if (db.empty()) return {};
  const auto number = parse_integer(db);
  if (!number || *number > INT32_MAX || std::to_string(*number) != db) return bad("has a database that is no number; write for example /2");
  url.db = db;
  return {};
}

// HOST[:PORT] with the scheme before it.
Result<Endpoint> parse_place(std::string_view text, bool tls) {
  if (text.empty()) return bad("has no host");
  const bool has_port = text.ends_with(']') ? false : text.rfind(':') != std::string_view::npos;
  return Endpoint::parse_target((tls ? "tls://" : "") + std::string(text) + (has_port ? "" : ":" + std::to_string(kPort)));
}

Result<ServerUrl> parse_one(std::string_view text) {
  ServerUrl url;
  if (text.starts_with("unix:")) {
    const Result<Endpoint> endpoint = Endpoint::parse_target(text);
    if (!endpoint.ok()) return endpoint.status();
    url.place = *endpoint;
    return url;
  }
  bool tls = false;
  if (const size_t end = text.find("://"); end != std::string_view::npos) {
    const std::string_view scheme = text.substr(0, end);
    url.cluster = scheme == "redis-cluster" || scheme == "rediss-cluster";
    tls = scheme == "rediss" || scheme == "rediss-cluster" || scheme == "tls";
    if (!tls && !url.cluster && scheme != "redis" && scheme != "tcp") return bad("has a scheme that is none of redis://, rediss://, redis-cluster:// and rediss-cluster://");
    text.remove_prefix(end + 3);
  }
  if (const Status status = take_login(text, url); !status.ok()) return status;
  if (const Status status = take_db(text, url); !status.ok()) return status;
  std::vector<Endpoint> places;
  for (const std::string_view one : split(text, ',')) {
    const Result<Endpoint> endpoint = parse_place(one, tls);
    if (!endpoint.ok()) return endpoint.status();
    places.push_back(*endpoint);
  }
  url.place = places.front();
  url.others.assign(places.begin() + 1, places.end());
  return url;
}

}  // namespace

bool ServerUrl::operator==(const ServerUrl& other) const {
  const auto same = [](const Endpoint& a, const Endpoint& b) { return a.text() == b.text(); };
  return same(place, other.place) && std::equal(others.begin(), others.end(), other.others.begin(), other.others.end(), same) && cluster == other.cluster &&
         user == other.user && password == other.password && db == other.db;
}

Result<ServerUrl> ServerUrl::parse(std::string_view text) {
  if (text.starts_with("unix:")) return parse_one(text);  // whose path may have any character
  std::optional<ServerUrl> all;
  for (const std::string_view one : split(text, ' ')) {
    if (one.empty()) continue;
    Result<ServerUrl> url = parse_one(one);
    if (!url.ok()) return url;
    if (!all) {
      all = std::move(*url);
      continue;
    }
    if (url->place.kind == Endpoint::Kind::kUnix || url->place.tls != all->place.tls || url->db != all->db || url->cluster != all->cluster)
      return bad("names several servers, which are no nodes of one cluster: they differ in more than host and port");
    const bool no_login = url->user.empty() && url->password.empty();
    if (!no_login && (url->user != all->user || url->password != all->password)) return bad("has several logins; a cluster has one, before its first node");
    all->others.push_back(url->place);
    all->others.insert(all->others.end(), url->others.begin(), url->others.end());
  }
  if (!all) return bad("has no host");
  return std::move(*all);
}

}  // namespace relay

// SPDX-License-Identifier: Apache-2.0
// Import: a request, and three members of its answer.
#include "kinds/cluster/import.h"

#include <cstring>

#include "lib/text.h"
#include "wire/json_read.h"

namespace relay::cluster {

namespace {
constexpr HttpLimits kAnswerMost{.head = 8 * 1024, .body = 256 * 1024};
}

Result<GatewayApi> GatewayApi::parse(std::string_view url) {
  const bool tls = url.starts_with("https://");
  if (!tls && !url.starts_with("http://")) return Status{Code::kInvalid, "begins with neither http:// nor https://"};
  url.remove_prefix(tls ? 8 : 7);
  const size_t slash = std::min(url.size(), url.find('/'));
  const std::string_view authority = url.substr(0, slash);
  GatewayApi api;
  api.base = url.substr(slash);
  while (api.base.ends_with('/')) api.base.pop_back();
  if (api.base.find_first_of(" ?#") != std::string::npos || printable(api.base) != api.base) return Status{Code::kInvalid, "has a path that is not one"};
  if (authority.find('@') != std::string_view::npos) return Status{Code::kInvalid, "has a password in it, which nobody asks for"};
  Result<Endpoint> host = Endpoint::parse_target(authority);
  const bool service = host.ok() && host->kind == Endpoint::Kind::kService;
  if (!service && (!host.ok() || !host->has_port)) host = Endpoint::parse_target(std::string(authority) + (tls ? ":443" : ":80"));
  if (!host.ok()) return host.status();
  if (host->kind != Endpoint::Kind::kAddr && host->kind != Endpoint::Kind::kName) return Status{Code::kInvalid, "has no host"};
  api.host = *host;
  api.host.tls = tls;
  return api;
}

void Import::ask(const ImportPlan& plan, ImportUser& user) {
  users_.push_back(user);
  if (call_.active()) return;
  std::string host = plan.api.host.text();
  if (plan.api.host.tls) host.erase(0, std::strlen("tls://"));
  call_.start(plan.dial, "GET " + plan.api.base + "/imports/" + plan.service + " HTTP/1.1\r\nHost: " + host + "\r\nAccept: application/json\r\nConnection: close\r\n\r\n",
              plan.dial.connect_timeout * 2, kAnswerMost);
}

void Import::leave(ImportUser& user) {
  user.unlink();
  if (users_.empty()) call_.cancel();
}

void Import::cancel() {
  while (ImportUser* user = users_.front()) user->unlink();
  call_.cancel();
}

void Import::on_answer(Result<HttpMessage> answer) {
  std::string why;
  const uint16_t port = read(answer, why);
  while (ImportUser* user = users_.front()) {
    user->unlink();
    if (port != 0) user->on_import(port);
    else user->on_import_failed(why);
  }
}

uint16_t Import::read(const Result<HttpMessage>& answer, std::string& why) const {
  if (!answer.ok()) {
    const Status& status = answer.status();
    why = !call_.details().empty() ? call_.details() : status.error() != 0 ? std::strerror(status.error()) : status.reason();
    return 0;
  }
  const std::unique_ptr<JsonDocument> document = JsonDocument::parse(answer->body);
  if (answer->status == 404) why = "the gateway knows no import of that name";
  else if (answer->status != 200) why = "the gateway's API answered " + std::to_string(answer->status);
  else if (document == nullptr) why = "the gateway's API answered with no JSON";
  if (!why.empty()) return 0;
  const uint64_t port = document->root()["Status"]["Listener"]["Port"].number().value_or(0);
  if (port == 0 || port > UINT16_MAX) why = "the gateway has no listener for that import yet";
  return why.empty() ? static_cast<uint16_t>(port) : uint16_t{0};
}

}  // namespace relay::cluster

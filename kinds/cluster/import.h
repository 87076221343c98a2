// SPDX-License-Identifier: Apache-2.0
// Import: asks a ClusterLink gateway's control API where it lets a service of another cluster be reached.
//
//   GET URL/imports/NAME  ─►  {"Name": …, "Spec": {"Service": {"Host": …, "Port": …}}, "Status": {"Listener": {"Host": …, "Port": …}}}
//
// The service is reached at the listener's port on the gateway's own host, whatever host the listener is said to have.
#pragma once

#include <cstdint>
#include <string>

#include "net/dial.h"
#include "net/http_call.h"

namespace relay::cluster {

struct GatewayApi {
  Endpoint host;     // where it is; host.tls for https
  std::string base;  // the URL's path, without a slash at its end
  // "http://10.0.0.5:8080", "https://gateway.example/api". The Status goes on where the text stops.
  static Result<GatewayApi> parse(std::string_view url);
};

class ImportUser {
 public:
  // The listener's port on the gateway's host, or why there is none, in words.
  virtual void on_import(uint16_t port) = 0;
  virtual void on_import_failed(const std::string& why) = 0;

 protected:
  ~ImportUser() = default;
};

class Import final : private HttpCallUser {
 public:
  // Borrows all for its life; `plan` dials the API.
  Import(Loop& loop, Resolver& resolver, const GatewayApi& api, const DialPlan& plan, ImportUser& user)
      : api_(api), plan_(plan), user_(user), call_(loop, resolver, *this) {}

  void ask(const std::string& service);
  void cancel() { call_.cancel(); }

 private:
  void on_answer(Result<HttpMessage> answer) override;

  const GatewayApi& api_;
  const DialPlan& plan_;
  ImportUser& user_;
  HttpCall call_;
};

}  // namespace relay::cluster

// SPDX-License-Identifier: Apache-2.0
// Import: asks a ClusterLink gateway's control API where it lets a service of another cluster be reached.
//
//   GET URL/imports/NAME  ─►  {"Name": …, "Spec": {"Service": {"Host": …, "Port": …}}, "Status": {"Listener": {"Host": …, "Port": …}}}
//
// The service is reached at the listener's port on the gateway's own host, whatever host the listener is said to have.
#pragma once

#include <cstdint>
#include <string>

#include "lib/list.h"
#include "net/dial.h"
#include "net/http_call.h"
#include "net/tls.h"

namespace relay::cluster {

struct GatewayApi {
  Endpoint host;     // where it is; host.tls for https
  std::string base;  // the URL's path, without a slash at its end
  // "http://10.0.0.5:8080", "https://gateway.example/api". The Status goes on where the text stops.
  static Result<GatewayApi> parse(std::string_view url);
};

// What a relay has to know to ask for its target.
struct ImportPlan {
  std::string service;
  GatewayApi api;
  DialPlan dial;  // to the API
  TlsConfig tls;  // of the API, if it has
};

class ImportUser : public ListNode {
 public:
  // The listener's port on the gateway's host, or why there is none, in words.
  virtual void on_import(uint16_t port) = 0;
  virtual void on_import_failed(const std::string& why) = 0;

 protected:
  ~ImportUser() = default;
};

// One question at a time: who asks while it is under way hears the same answer, so that many clients are no flood for the gateway.
class Import final : private HttpCallUser {
 public:
  // Borrows all for its life.
  Import(Loop& loop, Resolver& resolver) : call_(loop, resolver, *this) {}

  // `user` hears once, from the loop or from here. A question that is under way is not asked again, though the plan be another by now.
  void ask(const ImportPlan& plan, ImportUser& user);
  // `user` does not want to hear any more.
  void leave(ImportUser& user);
  // Nobody hears.
  void cancel();

 private:
  void on_answer(Result<HttpMessage> answer) override;
  // The port; 0: there is none, `why` says why.
  uint16_t read(const Result<HttpMessage>& answer, std::string& why) const;

  List<ImportUser> users_;
  HttpCall call_;
};

}  // namespace relay::cluster

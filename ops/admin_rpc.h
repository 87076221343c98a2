// SPDX-License-Identifier: Apache-2.0
// AdminRpc: gRPC on an admin connection whose client speaks HTTP/2: the calls of that connection.
//
//   /package.Service/Method ─ headers: who is it? ─ one message ─► AdminUser::control("package.Service/Method", rpc) ─► a message, grpc-status
//                                                                      later, or on and on, by the Desk ◄──┘
//
// What HTTP/1.1 says with a status is said here with gRPC's: grpc_code_of(). Nothing is compressed. A call has as long to come as any request; one
// whose answers go on and who does not take them is reset after the time that a connection may be idle.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "net/h2_server.h"
#include "net/loop.h"
#include "ops/admin.h"
#include "ops/control.h"
#include "wire/grpc.h"

namespace relay {

class AdminRpcUser {
 public:
  // There is something to be sent, or its deadline has changed. Perhaps from within feed() and pull().
  virtual void on_rpc_news() = 0;

 protected:
  ~AdminRpcUser() = default;
};

class AdminRpc final : private H2ServerUser {
 public:
  // What a status of Relay::control() is called in gRPC.
  static uint32_t grpc_code_of(int status);

  // Borrows all for its life.
  AdminRpc(Loop& loop, AdminUser& user, Desk& desk, const AdminPlan& plan, AdminRpcUser& owner);
  ~AdminRpc();

  Status feed(std::span<const std::byte> bytes);
  Status pull(std::string& out, size_t most) { return server_.pull(out, most); }
  bool has_output() const { return server_.has_output(); }
  bool is_over() const { return server_.is_over(); }

  bool idle() const { return calls_.empty(); }
  Time idle_since() const { return idle_since_; }  // while idle()
  bool goes_on() const;                            // of each of its calls the answer goes on, and there is one
  Time deadline() const;                           // of its calls
  void overdue();                                  // some of them may be
  bool is_hurried() { return std::exchange(hurried_, false); }  // one has come whose client has a deadline of its own
  // Takes no more calls, and ends those that are there.
  void finish();
  void hang_up();  // nothing more is sent
  void say_goodbye() { server_.say_goodbye(); }

 private:
  class Call;
  friend class Call;

  void on_h2_request(int32_t id, std::span<const H2Header> headers) override;
  void on_h2_data(int32_t id, std::span<const std::byte> bytes) override;
  void on_h2_finished(int32_t id) override;
  void on_h2_closed(int32_t id) override;
  Call* find(int32_t id);
  void forget(int32_t id);
  size_t untaken() const;

  Loop& loop_;
  AdminUser& user_;
  Desk& desk_;
  const AdminPlan& plan_;
  AdminRpcUser& owner_;
  H2Server server_;
  std::map<int32_t, std::unique_ptr<Call>> calls_;
  Time idle_since_;
  bool hurried_ = false;
};

}  // namespace relay

// SPDX-License-Identifier: Apache-2.0
// The same as leg.cpp by gRPC C++: the callback API, one read and one write under way, all messages of a batch but the last with a hint that more
// follow.
#include <grpcpp/grpcpp.h>
#include <unistd.h>

#include <atomic>
#include <deque>
#include <mutex>
#include <string>

#include "bench/plex/leg.h"
#include "upstream.grpc.pb.h"

namespace {

using upstream::grpc::service::InputStreamRequest;
using upstream::grpc::service::OutputStreamRequest;
using upstream::grpc::service::UpstreamPeerService;

class Client final : public grpc::ClientBidiReactor<InputStreamRequest, OutputStreamRequest> {
 public:
  Client(UpstreamPeerService::Stub& stub, const bench::Leg& leg) : count_(leg) {
    stub.async()->bidirectionalStreaming(&context_, this);
    for (uint64_t i = 0; i < leg.window; ++i) next();
    write();
    StartRead(&answer_);
    StartCall();
  }

  void OnWriteDone(bool ok) override {
    if (!ok) return;
    const std::lock_guard lock(mutex_);
    waiting_.pop_front();
    writing_ = false;
    if (!waiting_.empty()) write();
  }
  void OnReadDone(bool ok) override {
    if (!ok) return;
    if (answer_.payload().size() != payload_.size()) std::_Exit(1);
    if (!count_.one()) {
      std::fflush(stdout);
      std::_Exit(0);
    }
    {
      const std::lock_guard lock(mutex_);
      next();
      if (!writing_) write();
    }
    StartRead(&answer_);
  }
  void OnDone(const grpc::Status& status) override {
    std::fprintf(stderr, "grpc_leg: the stream is over: %s\n", status.error_message().c_str());
    std::_Exit(1);
  }

 private:
  void next() {
    InputStreamRequest& message = waiting_.emplace_back();
    message.set_time("2026-01-01T00:00:00.000Z");
    message.set_client_uuid(names_[at_++ % names_.size()]);
    message.set_payload(payload_);
  }
  void write() {
    writing_ = true;
    grpc::WriteOptions options;
    if (waiting_.size() > 1) options.set_buffer_hint();
    StartWrite(&waiting_.front(), options);
  }

  bench::Count count_;
  grpc::ClientContext context_;
  OutputStreamRequest answer_;
  std::mutex mutex_;
  std::deque<InputStreamRequest> waiting_;  // the first is being written
  const std::vector<std::string> names_ = bench::names();
  const std::string payload_ = std::string(64, 'x');
  size_t at_ = 0;
  bool writing_ = false;
};

}  // namespace

int main(int argc, char** argv) {
  const bench::Leg leg = bench::Leg::parse(argc, argv);
  const auto stub = UpstreamPeerService::NewStub(grpc::CreateChannel("127.0.0.1:" + std::to_string(leg.port), grpc::InsecureChannelCredentials()));
  Client client(*stub, leg);
  for (;;) pause();
}

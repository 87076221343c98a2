// SPDX-License-Identifier: Apache-2.0
// An upstream by gRPC C++: what a client sends is sent back to it; a message that begins with B is sent to all. The callback API, as its
// authors recommend it: one read and one write under way, and all messages of a batch but the last with a hint that more follow, so that they
// leave together.
#include <grpcpp/grpcpp.h>

#include <cstdio>
#include <cstdlib>
#include <deque>
#include <memory>
#include <mutex>
#include <string>

#include "upstream.grpc.pb.h"

namespace {

using upstream::grpc::service::InputStreamRequest;
using upstream::grpc::service::LiveResult;
using upstream::grpc::service::OutputStreamRequest;
using upstream::grpc::service::ReadyResult;
using upstream::grpc::service::UpstreamPeerService;

// Answers each Question by answer(), in order.
template <typename Question, typename Answer>
class Talk final : public grpc::ServerBidiReactor<Question, Answer> {
 public:
  using Make = void (*)(Question&, Answer&);
  explicit Talk(Make make) : make_(make) { this->StartRead(&question_); }

  void OnReadDone(bool ok) override {
    const std::lock_guard lock(mutex_);
    if (!ok) {
      ended_ = true;
      if (waiting_.empty()) this->Finish(grpc::Status::OK);
      return;
    }
    make_(question_, waiting_.emplace_back());
    if (!writing_) write();
    this->StartRead(&question_);
  }
  void OnWriteDone(bool ok) override {
    const std::lock_guard lock(mutex_);
    writing_ = false;
    waiting_.pop_front();
    if (!ok) waiting_.clear();
    if (!waiting_.empty()) return write();
    if (ended_) this->Finish(grpc::Status::OK);
  }
  void OnDone() override { delete this; }

 private:
  void write() {
    writing_ = true;
    grpc::WriteOptions options;
    if (waiting_.size() > 1) options.set_buffer_hint();
    this->StartWrite(&waiting_.front(), options);
  }

  const Make make_;
  Question question_;
  std::mutex mutex_;
  std::deque<Answer> waiting_;  // the first is being written
  bool writing_ = false;
  bool ended_ = false;
};

void echo(InputStreamRequest& in, OutputStreamRequest& out) {
  if (in.payload().starts_with('B'))
    out.set_broadcast(upstream::grpc::service::ALL);
  else
    out.set_client_uuid(std::move(*in.mutable_client_uuid()));
  out.set_payload(std::move(*in.mutable_payload()));
}

class Service final : public UpstreamPeerService::CallbackService {
  grpc::ServerBidiReactor<InputStreamRequest, OutputStreamRequest>* bidirectionalStreaming(grpc::CallbackServerContext*) override {
    return new Talk<InputStreamRequest, OutputStreamRequest>(echo);
  }
  grpc::ServerUnaryReactor* ready(grpc::CallbackServerContext* context, const google::protobuf::Empty*, ReadyResult* result) override {
    result->set_ready(true);
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    reactor->Finish(grpc::Status::OK);
    return reactor;
  }
  grpc::ServerBidiReactor<google::protobuf::Empty, LiveResult>* live(grpc::CallbackServerContext*) override {
    return new Talk<google::protobuf::Empty, LiveResult>([](google::protobuf::Empty&, LiveResult& result) { result.set_live(true); });
  }
};

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: grpc_echo HOST:PORT\n");
    return 2;
  }
  Service service;
  grpc::ServerBuilder builder;
  builder.AddListeningPort(argv[1], grpc::InsecureServerCredentials());
  builder.RegisterService(&service);
  builder.SetResourceQuota(grpc::ResourceQuota("bench").SetMaxThreads(4));
  const std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  if (server == nullptr) return 1;
  server->Wait();
  return 0;
}

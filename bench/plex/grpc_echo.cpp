// SPDX-License-Identifier: Apache-2.0
// An upstream by gRPC C++: what a client sends is sent back to it; a message that begins with B is sent to all. The asynchronous API, one thread:
// all that can be read is read before the answers are written, all of these but the last with a hint that more follow, so that they leave
// together. (The callback API with the same hints was tried first. It writes the first answer before it has read the second message.)
#include <grpc/support/time.h>
#include <grpcpp/grpcpp.h>

#include <cstdio>
#include <cstdlib>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "upstream.grpc.pb.h"

namespace {

using upstream::grpc::service::InputStreamRequest;
using upstream::grpc::service::LiveResult;
using upstream::grpc::service::OutputStreamRequest;
using upstream::grpc::service::ReadyResult;
using upstream::grpc::service::UpstreamPeerService;
using Service = UpstreamPeerService::AsyncService;
using google::protobuf::Empty;

// What a tag stands for.
class Call {
 public:
  using Event = std::function<void(bool)>;
  virtual ~Call() = default;
  virtual void flush() = 0;
};

class Server {
 public:
  explicit Server(const std::string& address) {
    grpc::ServerBuilder builder;
    builder.AddListeningPort(address, grpc::InsecureServerCredentials());
    builder.RegisterService(&service);
    queue = builder.AddCompletionQueue();
    server_ = builder.BuildAndStart();
    if (server_ == nullptr) std::exit(1);
  }
  void flush_later(Call& call) { dirty_.push_back(&call); }

  void run() {
    for (;;) {
      void* tag = nullptr;
      bool ok = false;
      if (dirty_.empty()) {
        if (!queue->Next(&tag, &ok)) return;
      } else if (queue->AsyncNext(&tag, &ok, gpr_time_0(GPR_CLOCK_REALTIME)) != grpc::CompletionQueue::GOT_EVENT) {
        for (Call* call : std::exchange(dirty_, {})) call->flush();
        continue;
      }
      (*static_cast<Call::Event*>(tag))(ok);
    }
  }

  Service service;
  std::unique_ptr<grpc::ServerCompletionQueue> queue;

 private:
  std::vector<Call*> dirty_;  // they have answers that nobody has begun to write
  std::unique_ptr<grpc::Server> server_;
};

// Answers each Question by Make, in order. Makes its own successor when somebody calls.
template <typename Question, typename Answer>
class Talk final : public Call {
 public:
  using Stream = grpc::ServerAsyncReaderWriter<Answer, Question>;
  using Wait = void (Service::*)(grpc::ServerContext*, Stream*, grpc::CompletionQueue*, grpc::ServerCompletionQueue*, void*);
  using Make = void (*)(Question&, Answer&);

  Talk(Server& server, Wait wait, Make make) : server_(server), wait_(wait), make_(make) {
    (server_.service.*wait_)(&context_, &stream_, server_.queue.get(), server_.queue.get(), &called_);
  }
  void flush() override {
    dirty_ = false;
    write();
  }

 private:
  void on_called(bool ok) {
    if (!ok) return;
    new Talk(server_, wait_, make_);
    stream_.Read(&question_, &read_);
  }
  void on_read(bool ok) {
    if (!ok) {
      ended_ = true;
      return finish();
    }
    make_(question_, waiting_.emplace_back());
    stream_.Read(&question_, &read_);
    if (writing_ || dirty_) return;
    dirty_ = true;
    server_.flush_later(*this);
  }
  void on_written(bool ok) {
    writing_ = false;
    waiting_.pop_front();
    if (!ok) waiting_.clear();
    write();
  }
  void write() {
    if (waiting_.empty()) return finish();
    if (writing_) return;
    writing_ = true;
    grpc::WriteOptions options;
    if (begun_ && waiting_.size() > 1) options.set_buffer_hint();  // the first has the headers with it, which are not done until they have left
    begun_ = true;
    stream_.Write(waiting_.front(), options, &written_);
  }
  void finish() {
    if (!ended_ || writing_ || dirty_ || !waiting_.empty()) return;
    stream_.Finish(grpc::Status::OK, &finished_);
  }

  Server& server_;
  const Wait wait_;
  const Make make_;
  grpc::ServerContext context_;
  Stream stream_{&context_};
  Event called_ = [this](bool ok) { on_called(ok); };
  Event read_ = [this](bool ok) { on_read(ok); };
  Event written_ = [this](bool ok) { on_written(ok); };
  Event finished_ = [this](bool) { delete this; };
  Question question_;
  std::deque<Answer> waiting_;  // the first is being written
  bool begun_ = false;
  bool writing_ = false;
  bool dirty_ = false;
  bool ended_ = false;
};

class Ready final : public Call {
 public:
  explicit Ready(Server& server) : server_(server) {
    server_.service.Requestready(&context_, &question_, &answer_, server_.queue.get(), server_.queue.get(), &called_);
  }
  void flush() override {}

 private:
  void on_called(bool ok) {
    if (!ok) return;
    new Ready(server_);
    ReadyResult result;
    result.set_ready(true);
    answer_.Finish(result, grpc::Status::OK, &finished_);
  }

  Server& server_;
  grpc::ServerContext context_;
  Empty question_;
  grpc::ServerAsyncResponseWriter<ReadyResult> answer_{&context_};
  Event called_ = [this](bool ok) { on_called(ok); };
  Event finished_ = [this](bool) { delete this; };
};

void echo(InputStreamRequest& in, OutputStreamRequest& out) {
  if (in.payload().starts_with('B'))
    out.set_broadcast(upstream::grpc::service::ALL);
  else
    out.set_client_uuid(std::move(*in.mutable_client_uuid()));
  out.set_payload(std::move(*in.mutable_payload()));
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: grpc_echo HOST:PORT\n");
    return 2;
  }
  Server server(argv[1]);
  new Talk<InputStreamRequest, OutputStreamRequest>(server, &Service::RequestbidirectionalStreaming, echo);
  new Talk<Empty, LiveResult>(server, &Service::Requestlive, [](Empty&, LiveResult& result) { result.set_live(true); });
  new Ready(server);
  server.run();
}

// SPDX-License-Identifier: Apache-2.0
// An upstream for tests by gRPC C++, the synchronous API as its own examples use it: a thread for each stream. What it hears it writes to its
// standard output before it answers, so that all that it has answered is known when it is killed; what it is to do it reads from its standard
// input. py/harness/peers/native_upstream.py is at the other end, and describes both.
#include <grpcpp/grpcpp.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <memory>
#include <mutex>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "upstream.grpc.pb.h"

namespace {

using upstream::grpc::service::Feature;
using upstream::grpc::service::InputStreamRequest;
using upstream::grpc::service::LiveResult;
using upstream::grpc::service::OutputStreamRequest;
using upstream::grpc::service::ReadyResult;
using upstream::grpc::service::UpstreamPeerService;
using google::protobuf::Empty;

std::mutex output;

// Length in four bytes, a letter, the rest. Whole or not at all: a pipe takes more than PIPE_BUF in parts, but nobody else writes meanwhile.
void tell(char what, std::string_view rest) {
  const std::lock_guard lock(output);
  const auto size = static_cast<uint32_t>(rest.size() + 1);
  std::string text;
  for (int shift = 24; shift >= 0; shift -= 8) text += static_cast<char>(size >> shift);
  text += what;
  text += rest;
  for (size_t done = 0; done < text.size();) {
    const ssize_t n = write(STDOUT_FILENO, text.data() + done, text.size() - done);
    if (n <= 0) std::_Exit(1);  // the test is over
    done += static_cast<size_t>(n);
  }
}

std::string big_endian(uint64_t value) {
  std::string text;
  for (int shift = 56; shift >= 0; shift -= 8) text += static_cast<char>(value >> shift);
  return text;
}

// What is done, by words of standard input.
struct Manner {
  std::mutex mutex;
  std::condition_variable changed;
  std::string does = "echo", live = "yes";
  std::vector<int> features;
  bool stalled = false;
};
Manner manner;

class Service final : public UpstreamPeerService::Service {
 public:
  void send(const OutputStreamRequest& message) {
    const std::lock_guard lock(mutex_);
    if (newest_ != nullptr) newest_->Write(message);
  }

 private:
  using Talk = grpc::ServerReaderWriter<OutputStreamRequest, InputStreamRequest>;

  grpc::Status ready(grpc::ServerContext*, const Empty*, ReadyResult* answer) override {
    tell('C', "readies");
    answer->set_ready(true);
    const std::lock_guard lock(manner.mutex);
    for (const int feature : manner.features) answer->add_features(static_cast<Feature>(feature));
    return grpc::Status::OK;
  }

  grpc::Status live(grpc::ServerContext*, grpc::ServerReaderWriter<LiveResult, Empty>* stream) override {
    for (Empty question; stream->Read(&question);) {
      tell('C', "lives");
      LiveResult answer;
      {
        const std::lock_guard lock(manner.mutex);
        if (manner.live == "silent") continue;
        answer.set_live(manner.live == "yes");
      }
      stream->Write(answer);
    }
    return grpc::Status::OK;
  }

  grpc::Status bidirectionalStreaming(grpc::ServerContext*, Talk* stream) override {
    uint64_t number = 0;
    {
      const std::lock_guard lock(mutex_);
      number = streams_++;
      newest_ = stream;
    }
    tell('C', "streams");
    InputStreamRequest in;
    while (may_read() && stream->Read(&in)) {
      const auto now = std::chrono::system_clock::now().time_since_epoch();
      tell('H', big_endian(static_cast<uint64_t>(std::chrono::nanoseconds(now).count())) + big_endian(number) + in.SerializeAsString());
      answer(*stream, in);
    }
    {
      const std::lock_guard lock(mutex_);
      if (newest_ == stream) newest_ = nullptr;
    }
    tell('C', "over");
    return grpc::Status::OK;  // also behind what could not be read: gRPC C++ does not tell its user that
  }

  void answer(Talk& stream, InputStreamRequest& in) {
    std::string does;
    {
      const std::lock_guard lock(manner.mutex);
      does = manner.does;
    }
    if (in.event() != upstream::grpc::service::EVENT_DATA || does == "silent") return;
    OutputStreamRequest out;
    out.set_client_uuid(in.client_uuid());
    if (does != "ack") out.set_payload(std::move(*in.mutable_payload()));
    if (does != "echo") out.set_ack_seq(in.seq());
    const std::lock_guard lock(mutex_);
    stream.Write(out);
  }

  static bool may_read() {
    std::unique_lock lock(manner.mutex);
    manner.changed.wait(lock, [] { return !manner.stalled; });
    return true;
  }

  std::mutex mutex_;  // one writes at a time
  Talk* newest_ = nullptr;
  uint64_t streams_ = 0;
};

std::string file(const std::string& path) {
  std::ifstream in(path);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

std::string unhex(const std::string& text) {
  std::string bytes;
  for (size_t i = 0; i + 1 < text.size(); i += 2) bytes += static_cast<char>(std::stoi(text.substr(i, 2), nullptr, 16));
  return bytes;
}

bool next_word(std::string& what, std::string& rest) {
  std::string line;
  if (!std::getline(std::cin, line)) return false;
  std::istringstream words(line);
  what.clear();
  rest.clear();
  words >> what >> rest;
  return true;
}

void be(const std::string& what, const std::string& rest) {
  const std::lock_guard lock(manner.mutex);
  if (what == "does") manner.does = rest;
  if (what == "live") manner.live = rest;
  if (what == "feature") manner.features.push_back(std::stoi(rest));
  if (what == "stall" || what == "go_on") manner.stalled = what == "stall";
  manner.changed.notify_all();
}

// Until the server may begin: whoever asks it whether it is ready hears all that it was told.
bool prepare() {
  for (std::string what, rest; next_word(what, rest);) {
    if (what == "begin") return true;
    be(what, rest);
  }
  return false;
}

void obey(grpc::Server& server, Service& service) {
  for (std::string what, rest; next_word(what, rest);) {
    if (what == "send") {
      OutputStreamRequest message;
      if (message.ParseFromString(unhex(rest))) service.send(message);
    } else if (what == "leave") {  // GOAWAY; streams may go on for so many milliseconds
      server.Shutdown(std::chrono::system_clock::now() + std::chrono::milliseconds(std::stoi(rest)));
      tell('C', "left");
    } else {
      be(what, rest);
    }
  }
}

}  // namespace

// grpc_cpp HOST:PORT BYTES_OF_A_MESSAGE [KEY CERTIFICATE [CA]]
int main(int argc, char** argv) {
  if (argc < 3) {
    std::fprintf(stderr, "usage: grpc_cpp HOST:PORT BYTES_OF_A_MESSAGE [KEY CERTIFICATE [CA]]\n");
    return 2;
  }
  std::shared_ptr<grpc::ServerCredentials> credentials = grpc::InsecureServerCredentials();
  if (argc >= 5) {
    const bool mutual = argc >= 6;
    grpc::SslServerCredentialsOptions options(mutual ? GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY : GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE);
    options.pem_key_cert_pairs.push_back({file(argv[3]), file(argv[4])});
    if (mutual) options.pem_root_certs = file(argv[5]);
    credentials = grpc::SslServerCredentials(options);
  }
  if (!prepare()) return 0;
  Service service;
  grpc::ServerBuilder builder;
  builder.AddListeningPort(argv[1], credentials);
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  builder.SetMaxReceiveMessageSize(std::stoi(argv[2]));
  builder.RegisterService(&service);
  const auto server = builder.BuildAndStart();
  if (server == nullptr) return 1;
  tell('U', "");
  obey(*server, service);
  std::_Exit(0);  // the test has gone: nobody waits for streams
}

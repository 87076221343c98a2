// SPDX-License-Identifier: Apache-2.0
// A program that controls a plex, for tests, by gRPC C++ and the stubs of proto/control.proto. It asks what its standard input says, and writes what
// it hears to its standard output, a line each: class Native of py/harness/rpc.py is at the other end.
//   METHOD REQUEST   a request, in hexadecimal. Its answer: METHOD STATUS RESULT, where the status is a number and the result hexadecimal, or the error
//   Watch REQUEST    lines `headers`, then `event EVENT` for each, and at the end as above
//   cancel           that ends the watch
#include <grpcpp/grpcpp.h>

#include <iostream>
#include <memory>
#include <mutex>
#include <sstream>
#include <string>
#include <string_view>
#include <thread>

#include "control.grpc.pb.h"

namespace {

namespace rpc = relay::plex::control;
using Stub = rpc::PlexControl::Stub;

std::string hex(std::string_view bytes) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text;
  for (const char c : bytes) {
    const auto byte = static_cast<unsigned char>(c);
    text += kDigits[byte >> 4];
    text += kDigits[byte & 15];
  }
  return text;
}

std::string unhex(const std::string& text) {
  std::string bytes;
  for (size_t i = 0; i + 1 < text.size(); i += 2) bytes += static_cast<char>(std::stoi(text.substr(i, 2), nullptr, 16));
  return bytes;
}

void tell(const std::string& line) {
  static std::mutex mutex;
  const std::lock_guard lock(mutex);
  std::cout << line << std::endl;
}

std::string end_of(const grpc::Status& status) { return std::to_string(status.error_code()) + " " + hex(status.error_message()); }

template <class In, class Out>
std::string ask(Stub& stub, grpc::Status (Stub::*method)(grpc::ClientContext*, const In&, Out*), const std::string& request) {
  In in;
  if (!in.ParseFromString(request)) return "3 " + hex("no request");
  Out out;
  grpc::ClientContext context;
  const grpc::Status status = (stub.*method)(&context, in, &out);
  return status.ok() ? "0 " + hex(out.SerializeAsString()) : end_of(status);
}

std::string call(Stub& stub, const std::string& method, const std::string& request) {
  if (method == "Send") return ask(stub, &Stub::Send, request);
  if (method == "Broadcast") return ask(stub, &Stub::Broadcast, request);
  if (method == "Close") return ask(stub, &Stub::Close, request);
  if (method == "List") return ask(stub, &Stub::List, request);
  if (method == "Get") return ask(stub, &Stub::Get, request);
  if (method == "Upstreams") return ask(stub, &Stub::Upstreams, request);
  if (method == "AddUpstream") return ask(stub, &Stub::AddUpstream, request);
  if (method == "RemoveUpstream") return ask(stub, &Stub::RemoveUpstream, request);
  return "12 " + hex("no such method");
}

void watch(Stub& stub, grpc::ClientContext& context, const std::string& request) {
  rpc::WatchRequest in;
  in.ParseFromString(request);
  const auto stream = stub.Watch(&context, in);
  stream->WaitForInitialMetadata();
  tell("headers");
  for (rpc::WatchEvent event; stream->Read(&event);) tell("event " + hex(event.SerializeAsString()));
  tell("Watch " + end_of(stream->Finish()));
}

}  // namespace

// control_cpp ADDRESS
int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "usage: control_cpp ADDRESS\n";
    return 2;
  }
  const std::unique_ptr<Stub> stub = rpc::PlexControl::NewStub(grpc::CreateChannel(argv[1], grpc::InsecureChannelCredentials()));
  grpc::ClientContext watching;
  std::thread watcher;
  for (std::string line; std::getline(std::cin, line);) {
    std::istringstream words(line);
    std::string method, request;
    words >> method >> request;
    request = unhex(request);
    if (method == "Watch")
      watcher = std::thread([&stub, &watching, request] { watch(*stub, watching, request); });
    else if (method == "cancel")
      watching.TryCancel();
    else
      tell(method + " " + call(*stub, method, request));
  }
  watching.TryCancel();
  if (watcher.joinable()) watcher.join();
}

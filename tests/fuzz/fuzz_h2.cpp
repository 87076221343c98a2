// SPDX-License-Identifier: Apache-2.0
// What a client says in HTTP/2 to our server: each request is told of once, then its data, then its end, once; headers and streams are bounded, and
// so is what is answered; the same bytes are heard the same.
//
//   input: how it is cut; then the bytes behind the preface
// covers: net/h2_server.cpp
#include <array>
#include <set>
#include <string>

#include "net/h2.h"
#include "net/h2_server.h"
#include "tests/fuzz/fuzz.h"

namespace relay {
namespace {

class Server final : private H2ServerUser {
 public:
  // What it heard.
  std::string run(std::string_view bytes, size_t piece) {
    bool well = true;
    while (well && !bytes.empty() && !server_.is_over()) {
      const std::string part(bytes.substr(0, piece));  // memory of its own
      bytes.remove_prefix(part.size());
      well = server_.feed(std::as_bytes(std::span(part))).ok();
      std::string out;
      well = server_.pull(out, 1 << 20).ok() && well;
      CHECK(out.size() < (1 << 20) + (32 << 10));
    }
    CHECK(open_.size() <= 100);
    return told_;
  }

 private:
  void on_h2_request(int32_t id, std::span<const H2Header> headers) override {
    CHECK(id % 2 == 1 && open_.insert(id).second);
    size_t size = 0;
    for (const H2Header& header : headers) size += header.name.size() + header.value.size() + 32;
    CHECK(size <= 16 * 1024);
    told_ += "request " + std::to_string(id) + " " + std::to_string(headers.size()) + "\n";
  }
  void on_h2_data(int32_t id, std::span<const std::byte> bytes) override {
    CHECK(open_.contains(id));
    told_ += "data " + std::to_string(id) + " " + std::to_string(bytes.size()) + "\n";
  }
  void on_h2_finished(int32_t id) override {
    CHECK(open_.contains(id));
    told_ += "end " + std::to_string(id) + "\n";
    const std::array<H2Header, 1> headers{{{":status", "200"}}};
    const std::array<H2Header, 1> trailers{{{"grpc-status", "0"}}};
    server_.respond(id, headers, id % 4 == 1);
    if (id % 4 == 1) return;
    server_.write(id, std::string(300, 'x'));
    if (id % 8 == 3) server_.finish(id, trailers);
    if (id % 16 == 7) {
      server_.reset(id, H2Server::kCancel);
      open_.erase(id);
    }
  }
  void on_h2_closed(int32_t id) override { CHECK(open_.erase(id) == 1); }

  std::set<int32_t> open_;
  std::string told_;
  H2Server server_{*this, {}};
};

}  // namespace
}  // namespace relay

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace relay;
  fuzz::Input input(data, size);
  const size_t piece = size_t{1} + input.byte();
  const std::string bytes = std::string(H2Server::kPreface).append(input.all());
  static_cast<void>(Server().run(bytes, bytes.size()));
  const std::string first = Server().run(bytes, piece);
  CHECK(first == Server().run(bytes, piece));
  return 0;
}

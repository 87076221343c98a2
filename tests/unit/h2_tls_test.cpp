// SPDX-License-Identifier: Apache-2.0
// net/h2 over TLS: only where both have agreed on it.
#include "tests/unit/certificate.h"
#include "tests/unit/h2_fixture.h"

namespace relay {
namespace {

using test::bytes;
using test::Call;
using test::H2Server;
using test::H2Test;

class H2TlsTest : public H2Test {
 protected:
  H2TlsTest() {
    server_config.server = true;
    server_config.cert = test::make_certificate(folder.file("one.pem"), "one.example");
    client_config.server_name = "one.example";
    client_config.ca = server_config.cert;
    client_config.verify = true;
    client_config.alpn = {"h2"};
  }
  // Both ends, the handshake done.
  void connect_tls(const H2Server::Plan& server_plan = {}) {
    ASSERT_FALSE(server_context.load(server_config).has_value());
    ASSERT_FALSE(client_context.load(client_config).has_value());
    plan.tls = &client_context;
    taken = Status{Code::kAgain, ""};
    dial();
    auto tls = Tls::make(server_context, peer.get(), loop.buffers(), loop.now());
    std::string words;
    Status status{Code::kAgain, ""};
    ASSERT_TRUE(until([&] {
      if (!status.ok()) status = tls->handshake(words);
      return status.ok() && taken.code() != Code::kAgain;
    })) << words;
    server = std::make_unique<H2Server>(std::move(peer), server_plan, std::move(tls));
  }

  test::Folder folder;
  TlsConfig server_config, client_config;
  TlsContext server_context, client_context;
};

TEST_F(H2TlsTest, BothWays) {
  server_config.alpn = {"h2"};
  connect_tls({.window = 1'000'000, .echo = true});
  ASSERT_TRUE(taken.ok()) << taken.reason();
  EXPECT_NE(h2->tls(), nullptr);
  Call call(4'000'000);
  std::string all(3'000'000, '\0');
  for (size_t i = 0; i < all.size(); ++i) all[i] = static_cast<char>(test::pattern(i));
  request(call);
  ASSERT_TRUE(call.stream.write({bytes(all)}));
  call.stream.finish();
  ASSERT_TRUE(until([&] { return call.ends == 1; }));
  EXPECT_TRUE(call.status.ok());
  EXPECT_TRUE(call.data == all);
  quiet();
  EXPECT_FALSE(h2->owns_block());
  // Its end has to be said.
  request(call);
  quiet();
  server->hang_up();
  server.reset();
  ASSERT_TRUE(until([&] { return downs == 1; }));
  EXPECT_EQ(call.status.code(), Code::kTruncated);
  EXPECT_EQ(why, "the connection ended without close_notify");
}

TEST_F(H2TlsTest, WhoHasNotChosenItDoesNotSpeakIt) {
  connect_tls();
  EXPECT_EQ(taken.code(), Code::kInvalid);
  EXPECT_FALSE(h2->is_open());
  EXPECT_FALSE(h2->owns_block());
  EXPECT_EQ(downs, 0);
}

}  // namespace
}  // namespace relay

// SPDX-License-Identifier: Apache-2.0
// The URL of `gateway-api`: what is one, what host and path it has, and what is refused.
#include "kinds/cluster/import.h"

#include <gtest/gtest.h>

namespace relay::cluster {
namespace {

TEST(GatewayApi, HasAHostAPortAndAPath) {
  struct Row {
    const char* url;
    const char* host;
    const char* base;
  };
  for (const Row& row : {Row{"http://10.0.0.5:8080", "10.0.0.5:8080", ""}, Row{"http://10.0.0.5", "10.0.0.5:80", ""},
                         Row{"https://10.0.0.5", "tls://10.0.0.5:443", ""}, Row{"http://[::1]:8080/", "[::1]:8080", ""},
                         Row{"http://[::1]", "[::1]:80", ""}, Row{"https://gw.example/api//", "tls://gw.example:443", "/api"},
                         Row{"http://gw:1/a/b", "gw:1", "/a/b"}}) {
    const Result<GatewayApi> api = GatewayApi::parse(row.url);
    ASSERT_TRUE(api.ok()) << row.url;
    EXPECT_EQ(api->host.text(), row.host);
    EXPECT_EQ(api->base, row.base);
  }
}

TEST(GatewayApi, IsRefusedIfItIsNone) {
  for (const char* bad : {"", "http", "http:", "http:/", "http://", "https://", "http:///", "HTTP://a", "ftp://a", "10.0.0.5:8080", "http://:80",
                          "http://a:", "http://a:0", "http://a:65536", "http://a:b", "http://a:1:2", "http://[::1", "http://::1", "http://u@a",
                          "http://u:p@a:1", "http://_x._tcp.a", "http://unix:/x", "http://tls://a:1", "http://a/ b", "http://a/?b", "http://a/#b",
                          "http://a/\r\nX: y", "http://a b", "http://a\r\n"}) {
    EXPECT_FALSE(GatewayApi::parse(bad).ok()) << bad;
  }
}

}  // namespace
}  // namespace relay::cluster

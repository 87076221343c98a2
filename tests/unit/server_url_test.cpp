// SPDX-License-Identifier: Apache-2.0
// ops/server_url: the places, the login and the database that a URL has, and what is none.
#include "ops/server_url.h"

#include <gtest/gtest.h>

namespace relay {
namespace {

TEST(ServerUrl, HasAPlaceALoginAndADatabase) {
  struct Row {
    const char* url;
    const char* place;
    const char* user;
    const char* password;
    const char* db;
  };
  for (const Row& row : {Row{"redis://10.0.0.9", "10.0.0.9:6379", "", "", "0"}, Row{"redis://h:1/2", "h:1", "", "", "2"},
                         Row{"rediss://u:p@h/0", "tls://h:6379", "u", "p", "0"}, Row{"redis://:p%40%3A@h:1/", "h:1", "", "p@:", "0"},
                         Row{"tcp://h:1", "h:1", "", "", "0"}, Row{"h:1", "h:1", "", "", "0"}, Row{"redis://u:p@q@[::1]:7/15", "[::1]:7", "u", "p@q", "15"},
                         Row{"redis://[::1]", "[::1]:6379", "", "", "0"}, Row{"redis://u@h", "h:6379", "u", "", "0"}, Row{"unix:/run/x", "unix:/run/x", "", "", "0"}}) {
    const Result<ServerUrl> url = ServerUrl::parse(row.url);
    ASSERT_TRUE(url.ok()) << row.url << ' ' << url.status().reason();
    EXPECT_EQ(url->place.text(), row.place);
    EXPECT_EQ(url->user, row.user);
    EXPECT_EQ(url->password, row.password);
    EXPECT_EQ(url->db, row.db);
  }
}

TEST(ServerUrl, NamesNodesOfACluster) {
  struct Row {
    const char* url;
    const char* places;
    bool cluster;
    const char* password;
  };
  for (const Row& row : {Row{"redis-cluster://10.0.0.1:7000,10.0.0.2:7000", "10.0.0.1:7000 10.0.0.2:7000", true, ""}, Row{"redis-cluster://a", "a:6379", true, ""},
                         Row{"rediss-cluster://u:p@a,[::1]:7/0", "tls://a:6379 tls://[::1]:7", true, "p"},
                         Row{"tcp://10.0.0.1:7000 tcp://10.0.0.2:7000", "10.0.0.1:7000 10.0.0.2:7000", false, ""},
                         Row{" redis://:p@a:1  redis://b:2,c:3 redis://:p@d ", "a:1 b:2 c:3 d:6379", false, "p"}, Row{"a:1 b:2", "a:1 b:2", false, ""}}) {
    const Result<ServerUrl> url = ServerUrl::parse(row.url);
    ASSERT_TRUE(url.ok()) << row.url << ' ' << url.status().reason();
    std::string places = url->place.text();
    for (const Endpoint& other : url->others) places += ' ' + other.text();
    EXPECT_EQ(places, row.places);
    EXPECT_EQ(url->cluster, row.cluster);
    EXPECT_EQ(url->password, row.password);
    EXPECT_TRUE(*url == *ServerUrl::parse(row.url));
  }
  EXPECT_FALSE(*ServerUrl::parse("redis://a,b") == *ServerUrl::parse("redis://a,c"));
  EXPECT_FALSE(*ServerUrl::parse("redis://a") == *ServerUrl::parse("redis-cluster://a"));
}

TEST(ServerUrl, IsRefusedIfItIsNone) {
  for (const char* bad : {"redis-cluster://", "redis-cluster://a,,b", "redis-cluster://a,", "redis://a rediss://b", "redis://a/1 redis://b/2", "redis://a unix:/b",
                          "redis://a redis://:p@b", "redis://u:p@a redis://v:p@b", "redis://u:p q@a", " ", "", "redis://", "http://h", "redis://@h", "redis://:@h", "redis://u:@h", "redis://:%4@h",
                          "redis://h/x", "redis://h/-1", "redis://h/01", "redis://h:0", "redis://h:x",
                          "redis:///1", "unix:"})
    EXPECT_FALSE(ServerUrl::parse(bad).ok()) << bad;
}

}  // namespace
}  // namespace relay

// SPDX-License-Identifier: Apache-2.0
// The Redis relay's URL, and what it knows of commands, by itself and from the server.
#ifdef RELAY_KIND_REDIS
#include <gtest/gtest.h>

#include "kinds/redis/commands.h"
#include "kinds/redis/keys.h"

namespace relay::redis {
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

TEST(ServerUrl, IsRefusedIfItIsNone) {
  for (const char* bad : {"", "redis://", "http://h", "redis://@h", "redis://:@h", "redis://u:@h", "redis://:%4@h", "redis://h/x", "redis://h/-1", "redis://h/01", "redis://h:0", "redis://h:x",
                          "redis:///1", "unix:"})
    EXPECT_FALSE(ServerUrl::parse(bad).ok()) << bad;
}

TEST(Commands, KnowsByItselfWhatDecidesAboutState) {
  const Commands commands;
  EXPECT_EQ(commands.find("GET").use, Use::kShared);
  EXPECT_FALSE(commands.find("GET").repeatable);  // nobody has said so yet
  EXPECT_EQ(commands.find("blPOP").use, Use::kAlone);
  EXPECT_EQ(commands.find("Multi").use, Use::kMulti);
  EXPECT_EQ(commands.find("subscribe").use, Use::kState);
  EXPECT_EQ(commands.find("publish").use, Use::kShared);
  EXPECT_EQ(commands.find("").use, Use::kShared);
  EXPECT_EQ(commands.find(std::string(1000, 'x')).use, Use::kShared);
}

TEST(Commands, LearnsTheRestFromTheServer) {
  Commands commands;
  EXPECT_TRUE(commands.learn("*4\r\n"
                             "*3\r\n$3\r\nget\r\n:2\r\n*2\r\n+readonly\r\n+fast\r\n"
                             "*4\r\n$5\r\nmwait\r\n:-2\r\n*1\r\n+blocking\r\n*1\r\n*1\r\n$1\r\nx\r\n"
                             "*3\r\n$7\r\nmlisten\r\n:-2\r\n*2\r\n+pubsub\r\n+noscript\r\n"
                             "*3\r\n$5\r\nmulti\r\n:1\r\n*0\r\n"));
  EXPECT_TRUE(commands.find("GET").repeatable);
  EXPECT_EQ(commands.find("mwait").use, Use::kAlone);
  EXPECT_EQ(commands.find("MLISTEN").use, Use::kState);
  EXPECT_EQ(commands.find("multi").use, Use::kMulti);
  EXPECT_EQ(commands.find("exec").use, Use::kExec);
  for (const char* bad : {"", "-ERR no\r\n", "*0\r\n", "*1\r\n*2\r\n$3\r\nget\r\n:2\r\n", "*1\r\n*3\r\n$3\r\nget\r\n:2\r\n*2\r\n+x\r\n", "*2\r\n:1\r\n:2\r\n"}) {
    EXPECT_FALSE(commands.learn(bad)) << bad;
    EXPECT_TRUE(commands.find("GET").repeatable);
  }
}

}  // namespace
}  // namespace relay::redis
#endif

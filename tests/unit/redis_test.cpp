// SPDX-License-Identifier: Apache-2.0
// What the Redis relay knows of commands, by itself and from the server.
#ifdef RELAY_KIND_REDIS
#include <gtest/gtest.h>

#include "kinds/redis/commands.h"

namespace relay::redis {
namespace {

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

// SPDX-License-Identifier: Apache-2.0
// run/trunk and run/letter: letters whole and in order, the bound of mail, holding, and the end.
#include "run/trunk.h"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <cstring>
#include <string>
#include <vector>

#include "net/sys.h"

namespace relay {
namespace {

class End final : public TrunkUser {
 public:
  explicit End(Loop& loop) : trunk(loop, *this) {}
  void on_letter(Trunk&, Letter what, LetterReader letter) override {
    kinds.push_back(what);
    letters.emplace_back(reinterpret_cast<const char*>(letter.rest().data()), letter.rest().size());
    if (letters.size() == hold_after) trunk.hold(true);
    if (rests) trunk.rest();
  }
  void on_trunk_down(Trunk&) override { ++downs; }

  Trunk trunk;
  std::vector<Letter> kinds;
  std::vector<std::string> letters;
  size_t hold_after = 0;
  bool rests = false;
  int downs = 0;
};

class TrunkTest : public testing::Test {
 protected:
  TrunkTest() {
    int ends[2] = {-1, -1};
    EXPECT_EQ(sys::socket_pair(SOCK_STREAM, ends), 0);
    EXPECT_TRUE(a.trunk.open(Fd{ends[0]}).ok());
    EXPECT_TRUE(b.trunk.open(Fd{ends[1]}).ok());
  }
  void turns(int count = 50) {
    while (count-- > 0) loop.turn(Delay{0});
  }
  template <typename Condition>
  bool turn_until(Condition condition) {
    for (int i = 0; i < 100'000 && !condition(); ++i) loop.turn(Delay{0});
    return condition();
  }

  Loop loop;
  End a{loop};
  End b{loop};
};

TEST(LetterTest, ThereAndBack) {
  LetterWriter writer;
  writer.number(7).text("seven").number(UINT64_MAX).text("").raw(std::as_bytes(std::span("rest", 4)));
  LetterReader reader(writer.bytes());
  EXPECT_EQ(reader.number(), 7U);
  EXPECT_EQ(reader.text(), "seven");
  EXPECT_EQ(reader.number(), UINT64_MAX);
  EXPECT_EQ(reader.text(), "");
  EXPECT_EQ(reader.rest().size(), 4U);
}

TEST(LetterTest, PastItsEndThereIsNothing) {
  LetterWriter writer;
  writer.number(1000);  // of a text that is not there
  LetterReader reader(writer.bytes());
  EXPECT_EQ(reader.text(), "");
  EXPECT_EQ(reader.number(), 0U);
  EXPECT_TRUE(reader.rest().empty());
}

TEST_F(TrunkTest, WhoRestsHearsOneATurn) {
  b.rests = true;
  for (const char* text : {"one", "two", "three"}) ASSERT_TRUE(a.trunk.send(Letter::kMail, std::as_bytes(std::span(text, std::strlen(text)))));
  ASSERT_TRUE(turn_until([&] { return b.letters.size() == 1; }));
  loop.turn(Delay{0});
  EXPECT_EQ(b.letters.size(), 2U);
  loop.turn(Delay{0});
  EXPECT_EQ(b.letters, (std::vector<std::string>{"one", "two", "three"}));
}

TEST_F(TrunkTest, LettersOfAnySizeInOrder) {
  std::vector<std::string> sent;
  for (const size_t size : {0U, 1U, 100U, 65'536U, 3'000'000U, 5U, 0U, 70'000U}) {
    sent.emplace_back(size, static_cast<char>('a' + sent.size()));
    EXPECT_TRUE(a.trunk.send(Letter::kAnswer, std::as_bytes(std::span(sent.back()))));
  }
  EXPECT_TRUE(turn_until([&] { return b.letters.size() == sent.size(); }));
  EXPECT_EQ(b.letters, sent);
  EXPECT_EQ(a.trunk.waiting(), 0U);
}

TEST_F(TrunkTest, MailHasABound) {
  const std::string piece(1'000'000, 'x');
  b.trunk.hold(true);
  uint64_t posted = 0;
  while (a.trunk.post(3, std::as_bytes(std::span(piece)))) {
    ++posted;
    turns(5);
    ASSERT_LT(posted, 100U);
  }
  EXPECT_LE(a.trunk.waiting(), Trunk::kMailMost);
  EXPECT_TRUE(a.trunk.send(Letter::kDrain, {}));  // other letters have room
  b.trunk.hold(false);
  EXPECT_TRUE(turn_until([&] { return b.letters.size() == posted + 1; }));
  EXPECT_EQ(b.kinds.back(), Letter::kDrain);
  LetterReader first(std::as_bytes(std::span(b.letters.front())));
  EXPECT_EQ(first.number(), 3U);
  EXPECT_EQ(first.rest().size(), piece.size());
}

// One letter alone goes even if it is longer than what may wait.
TEST_F(TrunkTest, AVeryLongOne) {
  const std::string big(Trunk::kMailMost + 1000, 'y');
  EXPECT_TRUE(a.trunk.post(0, std::as_bytes(std::span(big))));
  EXPECT_TRUE(turn_until([&] { return b.letters.size() == 1; }));
  EXPECT_EQ(b.letters.front().size(), big.size() + 8);
}

TEST_F(TrunkTest, WhoHoldsInTheMiddleGetsTheRestLater) {
  b.hold_after = 2;
  for (int i = 0; i < 5; ++i) EXPECT_TRUE(a.trunk.send(Letter::kAsk, std::as_bytes(std::span("letter", 6))));
  turns();
  EXPECT_EQ(b.letters.size(), 2U);
  b.trunk.hold(false);
  EXPECT_TRUE(turn_until([&] { return b.letters.size() == 5; }));
}

TEST_F(TrunkTest, TheEndIsToldOnce) {
  EXPECT_TRUE(a.trunk.send(Letter::kAsk, std::as_bytes(std::span("last", 4))));
  turns(1);
  turns(1);
  a.trunk.close();
  EXPECT_TRUE(turn_until([&] { return b.downs == 1; }));
  turns();
  EXPECT_EQ(b.letters, std::vector<std::string>{"last"});
  EXPECT_EQ(b.downs, 1);
  EXPECT_EQ(a.downs, 0);
  EXPECT_FALSE(b.trunk.send(Letter::kAsk, {}));
  EXPECT_FALSE(b.trunk.post(0, {}));
}

}  // namespace
}  // namespace relay

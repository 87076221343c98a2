// SPDX-License-Identifier: Apache-2.0
// ops/doors: what stays and what goes when a configuration changes, or does not; who is told of those who come; how much is said.
#include "ops/doors.h"

#include <sys/un.h>

#include "tests/unit/testing.h"

namespace relay {
namespace {

using test::settle;
using test::until;

class House final : public DoorsUser {
 public:
  void on_come(const DoorSign& door, Socket socket, const Addr&) override {
    came.emplace_back(door.role);
    numbers.push_back(door.number);
    sockets.push_back(std::move(socket));
  }
  TlsContext* on_knock(const DoorSign&, const Addr&) override { return nullptr; }
  void on_accept_paused() override { ++paused; }
  void on_handshake_failed(const DoorSign&, const Addr&, const std::string&) override {}
  const std::string& name() const override { return name_; }

  std::vector<std::string> came;
  std::vector<size_t> numbers;
  std::vector<Socket> sockets;
  int paused = 0;

 private:
  std::string name_ = "r";
};

class DoorsTest : public ::testing::Test {
 protected:
  Doors::Plan plan(std::vector<Doors::Place> places) { return {relay, std::move(places), options, nullptr}; }
  Doors::Place place(const std::string& text, std::string_view role = "client") { return {*Endpoint::parse_listen_anywhere(text), role}; }
  std::string unix_place(const std::string& name) { return "unix:" + folder.file(name); }
  // Somebody comes to a Unix socket; whether somebody listens there.
  bool call(const std::string& name) {
    const std::string path = folder.file(name);
    Fd fd{::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)};
    sockaddr_un to{};
    to.sun_family = AF_UNIX;
    path.copy(to.sun_path, sizeof to.sun_path - 1);
    const bool there = ::connect(fd.get(), reinterpret_cast<const sockaddr*>(&to), sizeof to) == 0;
    callers.push_back(std::move(fd));
    settle(loop);
    return there;
  }
  void change(std::vector<Doors::Place> places) {
    const Doors::Plan next = plan(std::move(places));
    doors.prepare(next, faults);
    ASSERT_TRUE(faults.empty()) << faults.front().what;
    doors.commit(next);
  }
  std::string shown() {
    std::string out;
    Json json(out);
    json.begin('{');
    doors.status(json);
    json.end('}');
    return out;
  }

  const std::string relay = "r";
  const SockOptions options{};
  test::Folder folder;
  Loop loop;
  ListenPool pool;
  House house;
  Doors doors{loop, pool, house};
  Faults faults;
  std::vector<Fd> callers;
};

TEST_F(DoorsTest, AreClosedUntilTheCommit) {
  const Doors::Plan first = plan({place(unix_place("a"))});
  doors.prepare(first, faults);
  EXPECT_TRUE(call("a"));
  EXPECT_TRUE(house.came.empty());
  doors.commit(first);
  settle(loop);
  EXPECT_EQ(house.came, std::vector<std::string>{"client"});
  EXPECT_EQ(shown(), "{\"listening\":[{\"addr\":\"" + unix_place("a") + "\",\"role\":\"client\"}]}");
}

TEST_F(DoorsTest, ChangeAndThoseThatStayStay) {
  change({place(unix_place("a")), place(unix_place("b"))});
  change({place(unix_place("c")), place(unix_place("b"), "gateway")});
  EXPECT_FALSE(call("a"));
  EXPECT_TRUE(call("b"));
  EXPECT_TRUE(call("c"));
  EXPECT_EQ(house.came, (std::vector<std::string>{"gateway", "client"}));
  EXPECT_EQ(house.numbers, (std::vector<size_t>{1, 0}));
}

// The kernel chooses the ports of both: each is a door of its own, and one more or less of them is just that.
TEST_F(DoorsTest, MayHaveTheSamePlace) {
  const auto count = [&] {
    size_t found = 0;
    const std::string text = shown();
    for (size_t at = 0; (at = text.find("127.0.0.1:", at)) != std::string::npos; ++at) ++found;
    return found;
  };
  change({place("127.0.0.1:0"), place("127.0.0.1:0")});
  EXPECT_EQ(count(), 2U);
  change({place("127.0.0.1:0"), place("127.0.0.1:0"), place("127.0.0.1:0")});
  EXPECT_EQ(count(), 3U);
  change({place("127.0.0.1:0")});
  EXPECT_EQ(count(), 1U);
}

TEST_F(DoorsTest, AreAsTheyWereAfterARollback) {
  change({place(unix_place("a"))});
  doors.prepare(plan({place(unix_place("b"))}), faults);
  doors.rollback();
  EXPECT_FALSE(call("b"));
  EXPECT_TRUE(call("a"));
  EXPECT_EQ(house.came.size(), 1U);
}

TEST_F(DoorsTest, HoldOffCloseAndOpenAgain) {
  change({place(unix_place("a"))});
  doors.hold_off();
  EXPECT_TRUE(call("a"));
  EXPECT_TRUE(house.came.empty());
  doors.go_on();
  settle(loop);
  EXPECT_EQ(house.came.size(), 1U);
  doors.close();
  EXPECT_FALSE(call("a"));
  EXPECT_EQ(shown(), "{\"listening\":[]}");
  change({place(unix_place("a"))});
  EXPECT_TRUE(call("a"));
}

TEST_F(DoorsTest, SayWhatIsWrongWithAPlace) {
  change({place("127.0.0.1:0")});
  const std::string text = shown();
  const size_t at = text.find("127.0.0.1:");
  const std::string taken = text.substr(at, text.find('"', at) - at);
  const std::vector<std::string> places = {taken, "192.0.2.1:0", "unix:/nowhere/at/all/x"};
  House other;
  Doors second(loop, pool, other);
  for (const std::string& where : places) second.prepare(plan({place(where)}), faults);
  ASSERT_EQ(faults.size(), 3U);
  EXPECT_EQ(faults[0].where, "r");
  EXPECT_NE(faults[0].what.find(taken + " is in use; stop the program that has it"), std::string::npos);
  EXPECT_NE(faults[1].what.find("is no address of this machine"), std::string::npos);
  EXPECT_NE(faults[2].what.find("the folder does not exist"), std::string::npos);
}

TEST_F(DoorsTest, AnywhereIsAllAddresses) {
  change({place(":0")});
  const std::string text = shown();
  EXPECT_TRUE(text.find("\"[::]:") != std::string::npos || text.find("\"0.0.0.0:") != std::string::npos) << text;
}

TEST(Sparing, TellsTenASecondAndCountsTheRest) {
  Sparing sparing;
  const Time now{10'000};
  int told = 0;
  for (int i = 0; i < 25; ++i) told += sparing.tell(now + Delay{i}) ? 1 : 0;
  EXPECT_EQ(told, 10);
  EXPECT_TRUE(sparing.tell(now + Delay{1000}));
  EXPECT_EQ(sparing.untold(), 15U);
  EXPECT_EQ(sparing.untold(), 0U);
}

}  // namespace
}  // namespace relay

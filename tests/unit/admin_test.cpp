// SPDX-License-Identifier: Apache-2.0
// ops/admin: the deadlines, which end to end would take minutes: one who is slow, one who waits, one who is idle, side by side.
#include "ops/admin.h"

#include "tests/unit/testing.h"

namespace relay {
namespace {

using test::listen_place;
using test::until;

class Quiet final : public AdminUser {
 public:
  bool status_page(AdminPlace&, const AdminQuery&, std::string& out) override {
    out += "{}";
    return false;
  }
  bool metrics_page(AdminPlace&, std::string&) override { return false; }
  std::optional<uint64_t> statistic(std::string_view, std::string_view) override { return value; }
  int control(std::string_view path, const ControlQuery& query, std::string& answer) override {
    tickets.push_back(query.ticket);
    answer = "{}";
    return path == "x/later" ? kAnswersLater : path == "x/on" ? kAnswersOn : 200;
  }
  void hung_up(Ticket ticket) override { gone.push_back(ticket); }
  bool accepts() const override { return true; }
  void begin_drain() override {}
  uint64_t begin_reload() override { return ++reloads; }
  void set_log_level(Level) override {}
  uint64_t value = 0;
  uint64_t reloads = 0;
  std::vector<Ticket> tickets;
  std::vector<Ticket> gone;
};

class AdminTest : public ::testing::Test {
 protected:
  AdminTest() {
    Result<Listening> listening = listen_on(listen_place("127.0.0.1:0"), SockOptions{});
    CHECK(listening.ok());
    addr = listening->addr;
    CHECK(admin.open(std::move(*listening)).ok());
  }
  static AdminPlan plan() {
    AdminPlan plan;
    plan.where = listen_place("127.0.0.1:0");
    plan.connections = 8;
    plan.patience = Delay{150};
    plan.idle = Delay{600'000};
    return plan;
  }
  Fd say(std::string_view text) {
    Fd fd = test::connect_to(addr);
    CHECK(::send(fd.get(), text.data(), text.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(text.size()));
    return fd;
  }
  // What has come so far; `ended` once the end has.
  std::string hear(const Fd& fd, bool& ended) {
    std::array<char, 4096> text;  // NOLINT: the kernel fills what is read
    std::string all;
    for (ssize_t n; (n = ::recv(fd.get(), text.data(), text.size(), 0)) >= 0;) {
      if (n == 0) {
        ended = true;
        break;
      }
      all.append(text.data(), static_cast<size_t>(n));
    }
    return all;
  }
  std::string hear_all(const Fd& fd) {
    bool ended = false;
    std::string all;
    EXPECT_TRUE(until(loop, [&] {
      all += hear(fd, ended);
      return ended;
    }));
    return all;
  }
  static std::string get(const std::string& target) { return "GET " + target + " HTTP/1.1\r\nHost: localhost\r\n\r\n"; }

  Loop loop;
  Quiet quiet;
  Addr addr;
  Desk desk;
  Admin admin{loop, quiet, desk, plan()};
};

TEST_F(AdminTest, OneWhoIsSlowIsEndedBesideOneWhoIsIdleAndOneWhoWaits) {
  const Fd idle = test::connect_to(addr);
  const Fd waits = say(get("/wait?stat=x&value=1&timeout=1h"));
  ASSERT_TRUE(until(loop, [&] { return admin.waited_for(); }));
  const int64_t begin = sys::monotonic_ms();
  const Fd slow = say("GET /st");
  EXPECT_TRUE(hear_all(slow).starts_with("HTTP/1.1 408 "));
  const int64_t took = sys::monotonic_ms() - begin;
  EXPECT_GE(took, 140);
  EXPECT_LT(took, 5000);
  bool ended = false;
  EXPECT_EQ(hear(idle, ended) + hear(waits, ended), "");
  EXPECT_FALSE(ended);
}

TEST_F(AdminTest, PatienceCountsFromTheFirstByteOfEachRequest) {
  const Fd fd = say(get("/healthz") + "GET /st");
  const std::string all = hear_all(fd);
  EXPECT_TRUE(all.starts_with("HTTP/1.1 200 "));
  EXPECT_NE(all.find("HTTP/1.1 408 "), std::string::npos);
}

// Some clients send an empty line behind a body; it belongs to no request.
TEST_F(AdminTest, PatienceDoesNotCountFromAnEmptyLine) {
  const Fd fd = say(get("/healthz") + "\r\n");
  std::string all;
  bool ended = false;
  const int64_t begin = sys::monotonic_ms();
  EXPECT_TRUE(until(loop, [&] { return !(all += hear(fd, ended)).empty() && sys::monotonic_ms() - begin >= 200; }));
  const int64_t then = sys::monotonic_ms();
  EXPECT_EQ(::send(fd.get(), "GET /st", 7, MSG_NOSIGNAL), 7);
  all += hear_all(fd);
  EXPECT_GE(sys::monotonic_ms() - then, 140);
  EXPECT_NE(all.find("HTTP/1.1 408 "), std::string::npos) << all;
}

// Who speaks an older HTTP does not know chunks: there the end of the connection is the page's.
TEST_F(AdminTest, APageForAnOldClientIsNotInChunks) {
  for (const char* line : {"GET /status HTTP/1.0\r\n\r\n", "GET /status HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", "GET /status\r\n\r\n"}) {
    const std::string page = hear_all(say(line));
    EXPECT_TRUE(page.starts_with("HTTP/1.1 200 ")) << page;
    EXPECT_TRUE(page.ends_with("\r\nCache-Control: no-store\r\n\r\n{}")) << page;
    EXPECT_EQ(page.find("chunked"), std::string::npos) << page;
    EXPECT_NE(page.find("\r\nConnection: close\r\n"), std::string::npos) << page;
  }
  EXPECT_TRUE(hear_all(say("GET /metrics HTTP/1.0\r\n\r\n")).ends_with("\r\n\r\n"));  // of nothing
  EXPECT_TRUE(hear_all(say("GET /healthz HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")).ends_with("\r\n\r\nok\n"));
}

TEST_F(AdminTest, AWaitEndsByItsOwnTime) {
  const Fd fd = say("GET /wait?stat=x&value=1&timeout=400ms HTTP/1.0\r\n\r\n");
  const int64_t begin = sys::monotonic_ms();
  EXPECT_TRUE(hear_all(fd).starts_with("HTTP/1.1 504 "));
  EXPECT_GE(sys::monotonic_ms() - begin, 390);
}

TEST_F(AdminTest, AWaitIsAnsweredWhenItIsSo) {
  const Fd fd = say("GET /wait?stat=x&value=3&timeout=1h HTTP/1.0\r\n\r\n");
  ASSERT_TRUE(until(loop, [&] { return admin.waited_for(); }));
  quiet.value = 2;
  admin.look();
  EXPECT_TRUE(admin.waited_for());
  quiet.value = 3;
  admin.look();
  EXPECT_FALSE(admin.waited_for());
  EXPECT_NE(hear_all(fd).find("\"value\":3"), std::string::npos);
}

TEST_F(AdminTest, AnEndThatComesWithAWaitIsSeen) {
  Fd fd = say(get("/wait?stat=x&value=1&timeout=1h"));
  fd.close();
  EXPECT_TRUE(until(loop, [&] { return admin.waited_for() || admin.idle(); }));
  EXPECT_TRUE(until(loop, [&] { return admin.idle(); }));
  EXPECT_FALSE(admin.waited_for());
}

TEST_F(AdminTest, AReloadIsAnsweredByItsOwnNumber) {
  const std::string post = "POST /reload HTTP/1.0\r\n\r\n";
  const Fd first = say(post);
  ASSERT_TRUE(until(loop, [&] { return quiet.reloads == 1; }));
  const Fd second = say(post);
  ASSERT_TRUE(until(loop, [&] { return quiet.reloads == 2; }));
  admin.reloaded(1, {{"relay.toml:5", "wrong"}});
  EXPECT_TRUE(hear_all(first).starts_with("HTTP/1.1 409 "));
  bool ended = false;
  EXPECT_EQ(hear(second, ended), "");
  admin.reloaded(2, {});
  EXPECT_TRUE(hear_all(second).starts_with("HTTP/1.1 200 "));
}

TEST_F(AdminTest, ARelayMayAnswerLater) {
  const Fd fd = say(get("/relays/x/later") + get("/relays/x/now"));
  ASSERT_TRUE(until(loop, [&] { return quiet.tickets.size() == 1; }));
  bool ended = false;
  EXPECT_EQ(hear(fd, ended), "");
  desk.answer(quiet.tickets[0] + 1, 200, "nobody's");
  desk.answer(quiet.tickets[0], 409, "{\"later\":1}");
  desk.answer(quiet.tickets[0], 200, "twice");
  std::string all;
  EXPECT_TRUE(until(loop, [&] { return (all += hear(fd, ended)).ends_with("\r\n\r\n{}\n"); }));
  EXPECT_TRUE(all.starts_with("HTTP/1.1 409 ")) << all;
  EXPECT_NE(all.find("{\"later\":1}\n"), std::string::npos) << all;
  EXPECT_EQ(all.find("twice"), std::string::npos) << all;
  EXPECT_EQ(quiet.tickets.size(), 2U);
  EXPECT_TRUE(quiet.gone.empty());
}

TEST_F(AdminTest, ARelayThatDoesNotAnswerIsNotWaitedForForever) {
  const Fd fd = say("GET /relays/x/later HTTP/1.0\r\n\r\n");
  const int64_t begin = sys::monotonic_ms();
  EXPECT_TRUE(hear_all(fd).starts_with("HTTP/1.1 504 "));
  EXPECT_GE(sys::monotonic_ms() - begin, 140);
  EXPECT_EQ(quiet.gone, quiet.tickets);
  desk.answer(quiet.tickets[0], 200, "too late");
}

TEST_F(AdminTest, AnAskerThatHasGoneIsForgotten) {
  for (const char* path : {"/relays/x/later", "/relays/x/on"}) {
    Fd fd = say(get(path));
    quiet.tickets.clear();
    quiet.gone.clear();
    ASSERT_TRUE(until(loop, [&] { return quiet.tickets.size() == 1; }));
    fd.close();
    EXPECT_TRUE(until(loop, [&] { return admin.idle(); }));
    EXPECT_EQ(quiet.gone, quiet.tickets);
    EXPECT_EQ(desk.say(quiet.tickets[0], "{}\n", 1000), ControlDesk::Said::kGone);
    desk.answer(quiet.tickets[0], 200, "{}");
  }
}

TEST_F(AdminTest, AnAnswerMayGoOn) {
  const Fd fd = say(get("/relays/x/on") + get("/relays/x/now"));
  ASSERT_TRUE(until(loop, [&] { return quiet.tickets.size() == 1; }));
  std::string all;
  bool ended = false;
  EXPECT_TRUE(until(loop, [&] { return (all += hear(fd, ended)).ends_with("\r\n\r\n"); }));
  EXPECT_NE(all.find("chunked"), std::string::npos) << all;
  EXPECT_EQ(desk.say(quiet.tickets[0], "one\n", 1000), ControlDesk::Said::kTaken);
  EXPECT_EQ(desk.say(quiet.tickets[0], std::string(1001, 'x'), 1000), ControlDesk::Said::kFull);
  EXPECT_EQ(desk.say(quiet.tickets[0], "two\n", 1000), ControlDesk::Said::kTaken);
  all.clear();
  EXPECT_TRUE(until(loop, [&] { return (all += hear(fd, ended)).size() >= 18; }));
  EXPECT_EQ(all, "4\r\none\n\r\n4\r\ntwo\n\r\n");
  const int64_t begin = sys::monotonic_ms();  // and it is not hurried
  EXPECT_TRUE(until(loop, [&] { return sys::monotonic_ms() - begin > 200; }));
  desk.answer(quiet.tickets[0], 200, {});
  EXPECT_EQ(desk.say(quiet.tickets[0], "three\n", 1000), ControlDesk::Said::kGone);
  all.clear();
  EXPECT_TRUE(until(loop, [&] { return (all += hear(fd, ended)).ends_with("{}\n"); }));
  EXPECT_TRUE(all.starts_with("0\r\n\r\nHTTP/1.1 200 ")) << all;
}

TEST_F(AdminTest, AnAnswerThatGoesOnMayBeginLater) {
  const Fd fd = say(get("/relays/x/later"));
  ASSERT_TRUE(until(loop, [&] { return quiet.tickets.size() == 1; }));
  desk.begin(quiet.tickets[0] + 1);
  bool ended = false;
  EXPECT_EQ(hear(fd, ended), "");
  desk.begin(quiet.tickets[0]);
  EXPECT_EQ(desk.say(quiet.tickets[0], "one\n", 1000), ControlDesk::Said::kTaken);
  std::string all;
  EXPECT_TRUE(until(loop, [&] { return (all += hear(fd, ended)).ends_with("\r\n4\r\none\n\r\n"); }));
  EXPECT_TRUE(all.starts_with("HTTP/1.1 200 ")) << all;
  const int64_t begin = sys::monotonic_ms();  // its time is not that of an answer
  EXPECT_TRUE(until(loop, [&] { return sys::monotonic_ms() - begin > 200; }));
  desk.answer(quiet.tickets[0], 503, "{}");
  EXPECT_TRUE(until(loop, [&] { return (all += hear(fd, ended)).ends_with("\r\n0\r\n\r\n"); }));
}

TEST_F(AdminTest, AnAnswerThatWasWaitedForLongIsNotThrownAway) {
  const Fd fd = say("GET /wait?stat=x&value=3&timeout=1h HTTP/1.0\r\n\r\n");
  const int64_t begin = sys::monotonic_ms();
  EXPECT_TRUE(until(loop, [&] { return admin.waited_for() && sys::monotonic_ms() - begin > 200; }));
  quiet.value = 3;
  const Fd other = say(get("/wait?stat=x&value=9&timeout=1h"));  // who has the deadlines looked at
  admin.look();
  EXPECT_TRUE(hear_all(fd).starts_with("HTTP/1.1 200 "));
}

// What was missed is said when there is room for it: before a piece, or alone.
TEST(PiecesTest, WhatIsMissedIsSaid) {
  class Narrow final : public DeskUser {
   public:
    void on_begin() override {}
    ControlDesk::Said on_piece(std::string_view piece, size_t most) override {
      if (said.size() + piece.size() > most) return ControlDesk::Said::kFull;
      said += piece;
      return ControlDesk::Said::kTaken;
    }
    void on_answer(int, std::string_view) override {}
    std::string said;
  };
  Desk desk;
  Narrow user;
  Pieces pieces(desk.open(user), false, [](uint64_t count, bool, std::string& piece) { piece += "(" + std::to_string(count) + ")"; });
  for (const char* word : {"one", "two", "three"}) EXPECT_TRUE(pieces.say(desk, word, 4));
  EXPECT_EQ(user.said, "one");
  EXPECT_TRUE(pieces.owes());
  pieces.tell(desk, 4);
  EXPECT_TRUE(pieces.owes());
  user.said.clear();
  pieces.tell(desk, 8);
  EXPECT_FALSE(pieces.owes());
  pieces.tell(desk, 4);
  EXPECT_EQ(user.said, "(2)");
  EXPECT_TRUE(pieces.say(desk, "four", 4));
  user.said.clear();
  EXPECT_TRUE(pieces.say(desk, "five", 7));
  EXPECT_EQ(user.said, "(1)five");
  EXPECT_EQ(pieces.missed(), 3U);
}

TEST_F(AdminTest, TheEndIsToldToThoseWhoWaitForARelay) {
  const Fd later = say(get("/relays/x/later"));
  const Fd on = say(get("/relays/x/on"));
  ASSERT_TRUE(until(loop, [&] { return quiet.tickets.size() == 2; }));
  admin.finish();
  EXPECT_TRUE(hear_all(later).starts_with("HTTP/1.1 503 "));
  EXPECT_TRUE(hear_all(on).ends_with("\r\n\r\n0\r\n\r\n"));
}

}  // namespace
}  // namespace relay

// SPDX-License-Identifier: Apache-2.0
// net/h2 against a server that is not ours (nghttp2's): what comes and goes, who is told of what, and that a user may do anything from
// within a call.
#include "net/h2.h"

#include "tests/unit/h2_fixture.h"

namespace relay {
namespace {

using test::bytes;
using test::Call;
using test::H2Server;
using test::H2Test;
using test::text;

constexpr std::string_view kAnswer = "answer";

// ---- a call and its answer

TEST_F(H2Test, ARequestAndItsAnswer) {
  connect();
  Call call;
  request(call);
  EXPECT_TRUE(call.stream.is_open());
  ASSERT_TRUE(call.stream.write({bytes("hello "), bytes(""), bytes("world")}));
  call.stream.finish();
  EXPECT_FALSE(call.stream.write({bytes("more")}));
  ASSERT_TRUE(until([&] { return server->streams[1].ended; }));
  EXPECT_EQ(server->streams[1].body, "hello world");
  EXPECT_EQ(server->streams[1].headers[2], (std::pair<std::string, std::string>(":path", "/x")));
  EXPECT_EQ(server->streams[1].headers[4], (std::pair<std::string, std::string>("te", "trailers")));
  server->early(1, "103");
  server->answer(1, {{":status", "200"}, {"content-type", "text"}, {"empty", ""}});
  server->say(1, std::string(kAnswer));
  ASSERT_TRUE(until([&] { return call.data == kAnswer; }));
  EXPECT_EQ(call.header_blocks, 1);  // 103 was none
  EXPECT_EQ(call.headers, (H2Server::Fields{{":status", "200"}, {"content-type", "text"}, {"empty", ""}}));
  server->finish(1, {{"grpc-status", "0"}});
  ASSERT_TRUE(until([&] { return call.ends == 1; }));
  EXPECT_EQ(call.trailers, (H2Server::Fields{{"grpc-status", "0"}}));
  EXPECT_TRUE(call.status.ok());
  quiet();
  EXPECT_EQ(server->resets, 0);
  EXPECT_EQ(call.ends, 1);
  // The same stream again.
  request(call, true);
  ASSERT_TRUE(until([&] { return server->streams[3].ended; }));
  server->answer(3, {{":status", "404"}, {"grpc-status", "12"}}, true);  // all in one
  ASSERT_TRUE(until([&] { return call.ends == 2; }));
  EXPECT_EQ(call.trailer_blocks, 1);
  EXPECT_TRUE(call.status.ok());
  EXPECT_TRUE(h2->is_open());
  EXPECT_EQ(h2->last_heard(), loop.now());
  h2->close();
  ASSERT_TRUE(until([&] { return server->over; }));
  EXPECT_TRUE(server->goodbye);
  EXPECT_EQ(downs, 0);
}

TEST_F(H2Test, WhatIsWrittenInATurnLeavesTogetherInTheNext) {
  connect();
  Call one, two;
  request(one);
  request(two);
  quiet();
  const int before = server->received;
  for (int i = 0; i < 100; ++i) {
    ASSERT_TRUE(one.stream.write({bytes("123456789-")}));
    ASSERT_TRUE(two.stream.write({bytes("abcdefghi-")}));
  }
  EXPECT_EQ(one.stream.unsent().size(), 1000U);
  server->serve();
  EXPECT_EQ(server->received, before);
  loop.turn(Delay{0});
  EXPECT_TRUE(one.stream.unsent().empty());
  server->serve();
  EXPECT_EQ(server->received, before + 1);
  EXPECT_EQ(server->streams[1].body.size(), 1000U);
  EXPECT_EQ(server->streams[1].frames, 1U);
  EXPECT_EQ(server->streams[3].body.size(), 1000U);
}

TEST_F(H2Test, AnIdleConnectionOwnsNoBlock) {
  connect({.echo = true});
  Call call;
  request(call);
  ASSERT_TRUE(call.stream.write({bytes(std::string(50'000, 'x'))}));
  ASSERT_TRUE(until([&] { return call.data.size() == 50'000; }));
  quiet();
  EXPECT_TRUE(h2->is_open());
  EXPECT_FALSE(h2->owns_block());
  call.stream.tidy();
  EXPECT_FALSE(call.stream.unsent().owns_memory());
}

TEST_F(H2Test, AnIdleStreamsBytesWaitForItsRequest) {
  connect();
  Call call(16);
  ASSERT_TRUE(call.stream.write({bytes("0123456789")}));
  EXPECT_FALSE(call.stream.write({bytes("0123456789")}));
  EXPECT_EQ(call.stream.room(), 6U);
  call.stream.unsent().consume(4);
  request(call);
  ASSERT_TRUE(until([&] { return server->streams[1].body == "456789"; }));
  EXPECT_EQ(call.rooms, 1);
}

// ---- windows

TEST_F(H2Test, ManyStreamsBothWaysThroughTinyWindows) {
  make_h2({.stream_window = 3000, .connection_window = 70'000, .header_list = 4096});
  connect({.window = 2000, .echo = true});
  constexpr size_t kStreams = 64, kTotal = 1024 * 1024;
  struct Pump {
    Call call{20'000};
    size_t sent = 0, got = 0;
    bool right = true;
  };
  std::vector<std::unique_ptr<Pump>> pumps;
  std::string all(kTotal + kStreams, '\0');
  for (size_t i = 0; i < all.size(); ++i) all[i] = static_cast<char>(test::pattern(i));
  const auto fill = [&](Pump& pump, size_t from) {
    while (pump.sent < kTotal) {
      const size_t n = std::min<size_t>(1 + (pump.sent * 7 + from * 31) % 9000, kTotal - pump.sent);
      if (!pump.call.stream.write({bytes(std::string_view(all).substr(from + pump.sent, n))})) return;
      pump.sent += n;
    }
    pump.call.stream.finish();
  };
  size_t done = 0;
  for (size_t i = 0; i < kStreams; ++i) {
    pumps.push_back(std::make_unique<Pump>());
    Pump& pump = *pumps.back();
    pump.call.on_room = [&fill, &pump, i] { fill(pump, i); };
    pump.call.on_data = [&all, &pump, i] {
      pump.right = pump.right && pump.call.data == std::string_view(all).substr(i + pump.got, pump.call.data.size());
      pump.got += pump.call.data.size();
      pump.call.data.clear();
    };
    pump.call.on_end = [&done] { ++done; };
    request(pump.call);
    fill(pump, i);
  }
  ASSERT_TRUE(until([&] { return done == kStreams; }, Delay{120'000}));
  for (const auto& pump : pumps) {
    EXPECT_TRUE(pump->right);
    EXPECT_EQ(pump->got, kTotal);
    EXPECT_TRUE(pump->call.status.ok());
    EXPECT_GT(pump->call.rooms, 0);
    EXPECT_EQ(pump->call.trailers, (H2Server::Fields{{"x-end", "yes"}}));
  }
  EXPECT_EQ(downs, 0);
}

TEST_F(H2Test, AWindowOfZeroThatIsOpened) {
  connect({.window = 0, .opens = false});
  Call call(1000);
  request(call);
  ASSERT_TRUE(call.stream.write({bytes(std::string(800, 'x'))}));
  quiet();
  EXPECT_TRUE(server->streams[1].body.empty());
  EXPECT_EQ(call.stream.unsent().size(), 800U);
  EXPECT_FALSE(call.stream.write({bytes(std::string(201, 'y'))}));
  const auto open = [&](int32_t n) { CHECK(nghttp2_submit_window_update(server->session, 0, 1, n) == 0); };
  open(299);
  ASSERT_TRUE(until([&] { return server->streams[1].body.size() == 299; }));
  quiet();
  EXPECT_EQ(call.rooms, 0);
  open(1);
  ASSERT_TRUE(until([&] { return call.rooms == 1; }));
  EXPECT_EQ(call.stream.unsent().size(), 500U);
  ASSERT_TRUE(call.stream.write({bytes(std::string(201, 'y'))}));
  call.stream.finish();
  open(10'000);
  ASSERT_TRUE(until([&] { return server->streams[1].ended; }));
  EXPECT_EQ(server->streams[1].body, std::string(800, 'x') + std::string(201, 'y'));
  EXPECT_EQ(call.rooms, 1);
}

TEST_F(H2Test, ASocketThatTakesLittle) {
  connect({.window = 8'000'000, .bite = 1500}, 4608);
  ASSERT_EQ(nghttp2_session_set_local_window_size(server->session, 0, 0, 8'000'000), 0);
  quiet();
  server->reads = false;
  Call call(4'000'000);
  request(call);
  std::string all(1'000'000, '\0');
  for (size_t i = 0; i < all.size(); ++i) all[i] = static_cast<char>(test::pattern(i));
  for (size_t at = 0; at < all.size(); at += 10'000) ASSERT_TRUE(call.stream.write({bytes(std::string_view(all).substr(at, 10'000))}));
  quiet();
  EXPECT_TRUE(h2->owns_block());
  EXPECT_GT(call.stream.unsent().size(), 700'000U);  // no more was taken from it than a block and the socket hold
  server->reads = true;
  call.stream.finish();
  ASSERT_TRUE(until([&] { return server->streams[1].ended; }));
  EXPECT_TRUE(server->streams[1].body == all);
  EXPECT_FALSE(h2->owns_block());
}

TEST_F(H2Test, MoreStreamsThanThePeerAllowsWait) {
  connect({.streams = 2});
  quiet();
  std::array<Call, 5> calls;
  for (Call& call : calls) {
    request(call, true);
    EXPECT_TRUE(call.stream.is_open());
  }
  quiet();
  EXPECT_EQ(server->streams.size(), 2U);
  calls[2].stream.reset(H2Stream::kCancel);  // nobody has heard of it, and nobody will
  server->answer(1, {{":status", "200"}}, true);
  ASSERT_TRUE(until([&] { return server->streams.contains(7); }));
  EXPECT_FALSE(server->streams.contains(5));
  EXPECT_EQ(server->resets, 0);
  server->goaway(INT32_MAX);
  ASSERT_TRUE(until([&] { return calls[4].ends == 1; }));
  EXPECT_EQ(calls[4].status.code(), Code::kRefused);
  EXPECT_EQ(calls[2].ends, 0);
  EXPECT_EQ(downs, 0);
  server->answer(3, {{":status", "200"}}, true);
  server->answer(7, {{":status", "200"}}, true);
  ASSERT_TRUE(until([&] { return downs == 1; }));
  EXPECT_TRUE(calls[1].status.ok() && calls[3].status.ok());
  EXPECT_EQ(calls[1].ends + calls[3].ends, 2);
}

// ---- ends

TEST_F(H2Test, TheServersResetHasItsCode) {
  connect();
  Call call;
  int32_t id = -1;
  for (const uint32_t code : {0U, 2U, 7U, 8U, 11U, 4242U}) {
    id += 2;
    call.ends = 0;
    request(call);
    ASSERT_TRUE(call.stream.write({bytes("x")}));
    ASSERT_TRUE(until([&] { return server->streams[id].body == "x"; }));
    server->reset(id, code);
    ASSERT_TRUE(until([&] { return call.ends == 1; }));
    EXPECT_EQ(call.status.code(), Code::kReset);
    EXPECT_EQ(call.code, code);
  }
  EXPECT_TRUE(h2->takes_streams());
}

TEST_F(H2Test, AnAnswerBeforeAllWasSaidIsAnAnswer) {
  connect({.window = 10, .opens = false});
  quiet();
  server->on_request = [&](int32_t id) { server->answer(id, {{":status", "200"}}, true); };
  Call call;
  request(call);
  ASSERT_TRUE(call.stream.write({bytes("0123456789-left")}));
  ASSERT_TRUE(until([&] { return call.ends == 1; }));
  EXPECT_TRUE(call.status.ok());
  EXPECT_EQ(text(call.stream.unsent().front()[0]), "-left");
  quiet();
  EXPECT_EQ(server->resets, 1);  // the rest is of no use
  EXPECT_EQ(server->streams[1].code, 0U);
  EXPECT_EQ(call.ends, 1);
  EXPECT_TRUE(h2->is_open());
}

TEST_F(H2Test, ResetTellsThePeerAndNobodyElse) {
  connect({.window = 5});
  quiet();
  Call call;
  request(call);
  ASSERT_TRUE(call.stream.write({bytes("0123456789")}));
  ASSERT_TRUE(until([&] { return server->streams[1].body.size() == 5; }));
  server->answer(1);
  server->say(1, "unheard");
  call.stream.reset(11);
  EXPECT_FALSE(call.stream.is_open());
  EXPECT_TRUE(call.stream.unsent().empty());
  ASSERT_TRUE(until([&] { return server->streams[1].closed; }));
  EXPECT_EQ(server->streams[1].code, 11U);
  quiet();
  EXPECT_EQ(call.ends + call.header_blocks, 0);
  // A stream that goes is reset.
  auto other = std::make_unique<Call>();
  request(*other);
  ASSERT_TRUE(until([&] { return server->streams.contains(3); }));
  other.reset();
  ASSERT_TRUE(until([&] { return server->streams[3].closed; }));
  EXPECT_EQ(server->streams[3].code, H2Stream::kCancel);
}

TEST_F(H2Test, GoawayRefusesWhatItHasNotSeen) {
  connect();
  Call one, two;
  request(one);
  request(two);
  ASSERT_TRUE(until([&] { return server->streams.size() == 2; }));
  server->goaway(1, 11, "too\nmuch");
  ASSERT_TRUE(until([&] { return two.ends == 1; }));
  EXPECT_EQ(leavings, 1);
  EXPECT_EQ(goaway, 11U);
  EXPECT_EQ(said, "ENHANCE_YOUR_CALM: too\\x0amuch");
  EXPECT_EQ(two.status.code(), Code::kRefused);
  EXPECT_EQ(two.details, said);
  EXPECT_FALSE(h2->takes_streams());
  EXPECT_TRUE(h2->is_open());
  ASSERT_TRUE(one.stream.write({bytes("still here")}));
  ASSERT_TRUE(until([&] { return server->streams[1].body == "still here"; }));
  server->answer(1, {{":status", "200"}}, true);
  ASSERT_TRUE(until([&] { return downs == 1; }));
  EXPECT_TRUE(one.status.ok());
  EXPECT_EQ(leavings, 1);
  EXPECT_NE(why.find("too\\x0amuch"), std::string::npos) << why;
}

TEST_F(H2Test, GoawayWithoutStreamsIsTheEnd) {
  for (const bool asked : {false, true}) {
    leavings = downs = 0;
    connect();
    Call call;
    if (asked) {
      on_leaving = [&] { call.stream.reset(H2Stream::kCancel); };
      request(call);
    }
    quiet();
    server->goaway(0);
    ASSERT_TRUE(until([&] { return downs == 1; }));
    EXPECT_EQ(leavings, 1);
    EXPECT_EQ(call.ends, 0);
    ASSERT_TRUE(until([&] { return server->over; }));
  }
}

TEST_F(H2Test, TheConnectionsEndIsToldToAllAndAtLastToItsUser) {
  for (const bool reset : {false, true}) {
    downs = 0;
    connect();
    std::array<Call, 3> calls;
    int ended = 0;
    on_down = [&] { EXPECT_EQ(ended, 3); };
    for (Call& call : calls) {
      call.on_end = [&] {
        ++ended;
        EXPECT_EQ(downs, 0);
        EXPECT_FALSE(h2->takes_streams());
      };
      request(call);
      ASSERT_TRUE(call.stream.write({bytes("x")}));
    }
    quiet();
    server->answer(1);
    server->say(1, "last words");
    server->serve();
    if (reset) test::reset_peer(server->fd());
    else server->hang_up();
    server.reset();
    ASSERT_TRUE(until([&] { return downs == 1; }));
    for (const Call& call : calls) {
      EXPECT_EQ(call.ends, 1);
      EXPECT_EQ(call.status.code(), Code::kTruncated);
      EXPECT_EQ(call.details, why);
    }
    if (!reset) {
      EXPECT_EQ(calls[0].data, "last words");
    }
    EXPECT_EQ(why, reset ? "Connection reset by peer" : "closed by the server");
    quiet();
    EXPECT_EQ(downs, 1);
  }
}

TEST_F(H2Test, AUserMayDialAnewFromWithinDown) {
  on_down = [&] {
    if (downs > 3) return;
    connect({.echo = true});
  };
  connect();
  for (int i = 0; i < 3; ++i) {
    quiet();
    server->hang_up();
    server.reset();
    ASSERT_TRUE(until([&] { return downs == i + 1; }));
  }
  Call call;
  request(call);
  ASSERT_TRUE(call.stream.write({bytes("hello")}));
  ASSERT_TRUE(until([&] { return call.data == "hello"; }));
}

// ---- anything from within a call

// What each call may do; `act` is done in it, and the whole must hold.
class H2WithinTest : public H2Test {
 protected:
  enum class Within : uint8_t { kHeaders, kData, kTrailers, kRoom, kEnd, kReset, kLeaving, kDown };
  static constexpr std::array kAll{Within::kHeaders, Within::kData, Within::kTrailers, Within::kRoom, Within::kEnd, Within::kReset, Within::kLeaving, Within::kDown};

  // One call comes to `act`, `other` is open beside it.
  void run(Within within, const std::function<void(Call& call, std::unique_ptr<Call>& other)>& act) {
    SCOPED_TRACE(static_cast<int>(within));
    make_h2({});
    downs = leavings = 0;
    on_down = on_leaving = nullptr;
    connect({.window = 100});
    quiet();
    Call call(100);
    auto other = std::make_unique<Call>();
    bool done = false;
    const auto once = [&](bool right) {
      if (!right || std::exchange(done, true)) return;
      act(call, other);
    };
    call.on_headers = [&] { once(within == (call.trailer_blocks == 0 ? Within::kHeaders : Within::kTrailers)); };
    call.on_data = [&] { once(within == Within::kData); };
    call.on_room = [&] { once(within == Within::kRoom); };
    call.on_end = [&] { once(within == (call.status.ok() ? Within::kEnd : Within::kReset)); };
    on_leaving = [&] { once(within == Within::kLeaving); };
    on_down = [&] { once(within == Within::kDown); };
    request(*other);
    ASSERT_TRUE(other->stream.write({bytes("other")}));
    request(call);
    ASSERT_TRUE(call.stream.write({bytes(std::string(90, 'x'))}));
    EXPECT_FALSE(call.stream.write({bytes(std::string(90, 'x'))}));
    if (within == Within::kRoom) {
      ASSERT_TRUE(until([&] { return done; }));
    }
    quiet();
    if (!server->streams[3].closed && !server->over) {
      server->answer(3);
      server->say(3, "some");
      server->say(1, "other");
      if (within == Within::kReset) server->reset(3, 2);
      else server->finish(3, {{"x", "y"}});
      if (within == Within::kLeaving) server->goaway(3);
      quiet();
      if (within == Within::kDown) server->hang_up(), server.reset();
    }
    ASSERT_TRUE(until([&] { return done; }));
    quiet();
    if (other != nullptr) other->stream.reset(0);
    h2->close();
    quiet();
    EXPECT_LE(call.ends, 2);
  }
};

TEST_F(H2WithinTest, Reset) {
  for (const Within within : kAll) {
    run(within, [&](Call& call, std::unique_ptr<Call>&) {
      const int before = call.ends;
      call.stream.reset(11);
      call.on_end = [&, before] { EXPECT_EQ(call.ends, before); };
    });
    EXPECT_EQ(downs, within == Within::kDown ? 1 : 0);
  }
}

TEST_F(H2WithinTest, ResetOfItselfAndANewRequestAtOnce) {
  for (const Within within : kAll) {
    if (within == Within::kLeaving || within == Within::kDown) continue;
    run(within, [&](Call& call, std::unique_ptr<Call>&) {
      call.stream.reset(8);
      request(call);
      EXPECT_TRUE(call.stream.write({bytes("again")}));
      EXPECT_TRUE(call.stream.is_open());
    });
    EXPECT_EQ(server->streams[5].body, "again");
    EXPECT_EQ(downs, 0);
  }
}

TEST_F(H2WithinTest, Close) {
  for (const Within within : kAll) {
    run(within, [&](Call& call, std::unique_ptr<Call>& other) {
      const int ends = call.ends, others = other->ends, told = downs;
      h2->close();
      EXPECT_FALSE(h2->is_open());
      EXPECT_FALSE(call.stream.is_open());
      EXPECT_FALSE(other->stream.is_open());
      call.on_headers = call.on_data = call.on_room = [] { FAIL(); };
      call.on_end = [&, ends] { EXPECT_EQ(call.ends, ends); };
      other->on_end = [&, others] { EXPECT_EQ(other->ends, others); };
      on_down = [&, told] { EXPECT_EQ(downs, told); };
    });
    EXPECT_EQ(downs, within == Within::kDown ? 1 : 0);
  }
}

TEST_F(H2WithinTest, CloseAndAnotherConnection) {
  for (const Within within : kAll) {
    std::unique_ptr<H2Server> old;
    run(within, [&](Call& call, std::unique_ptr<Call>&) {
      h2->close();
      old = std::move(server);
      connect({.echo = true});
      call.on_headers = call.on_data = call.on_room = call.on_end = nullptr;
      call.data.clear();
      call.stream.reset(0);
      request(call);
      EXPECT_TRUE(call.stream.write({bytes("anew")}));
      ASSERT_TRUE(h2->is_open());
      // It is served in later turns, by run().
    });
    EXPECT_FALSE(h2->is_open());
    EXPECT_EQ(server->streams[1].body, "anew");
  }
}

TEST_F(H2WithinTest, DestroyingAnother) {
  for (const Within within : kAll) {
    run(within, [&](Call&, std::unique_ptr<Call>& other) { other.reset(); });
    if (server == nullptr || within == Within::kLeaving) continue;
    EXPECT_EQ(server->streams[1].code, H2Stream::kCancel);
  }
}

TEST_F(H2WithinTest, WritingAndFinishing) {
  for (const Within within : kAll) {
    run(within, [&](Call& call, std::unique_ptr<Call>& other) {
      static_cast<void>(call.stream.write({bytes("y")}));
      call.stream.finish();
      static_cast<void>(other->stream.write({bytes("-more")}));
      other->stream.finish();
    });
    if (server == nullptr || within == Within::kLeaving) continue;
    EXPECT_EQ(server->streams[1].body, "other-more");
    EXPECT_TRUE(server->streams[1].ended);
  }
}

TEST_F(H2Test, CloseWhileTheEndIsBeingTold) {
  connect();
  std::array<Call, 3> calls;
  for (Call& call : calls) {
    call.on_end = [&] { h2->close(); };
    request(call);
  }
  quiet();
  server.reset();
  quiet();
  EXPECT_EQ(calls[0].ends, 1);
  EXPECT_EQ(calls[1].ends + calls[2].ends + downs, 0);
  EXPECT_FALSE(calls[1].stream.is_open());
}

TEST_F(H2Test, OneThatIsGoneWhileTheEndIsBeingTold) {
  connect();
  auto one = std::make_unique<Call>(), two = std::make_unique<Call>();
  one->on_end = [&] {
    EXPECT_TRUE(two->stream.is_open());
    EXPECT_TRUE(two->stream.write({bytes("into the void")}));
    two->stream.finish();
    two.reset();
  };
  request(*one);
  request(*two);
  quiet();
  server.reset();
  quiet();
  EXPECT_EQ(one->ends, 1);
  EXPECT_EQ(downs, 1);
}

}  // namespace
}  // namespace relay

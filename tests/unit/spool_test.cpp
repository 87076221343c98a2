// SPDX-License-Identifier: Apache-2.0
// The spool, in a folder of its own: filled, read, ended, killed at any byte, damaged in every way that a disk can think of, full.
#include "ops/spool.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <fstream>
#include <functional>
#include <iterator>
#include <map>
#include <memory>

#include "net/confine.h"
#include "tests/unit/testing.h"

namespace relay {
namespace {

struct User final : SpoolUser {
  void on_synced(const Status& status) override { status.ok() ? ++synced : ++failed; }
  void on_uncertain(const SpoolRecord& record) override { uncertain.emplace_back(record.body); }
  int synced = 0;
  int failed = 0;
  std::vector<std::string> uncertain;
};

// A spool and who uses it: what a relay is to it. Ended without the destructor's help by kill().
struct One {
  explicit One(const std::string& dir, uint64_t bound = 1 << 20, Spool::Fsync fsync = Spool::Fsync::kNo, const std::string& name = "r")
      : spool(std::make_unique<Spool>(loop, user)), fault(spool->open({dir, name, bound, fsync})) {}

  Loop loop;
  User user;
  std::unique_ptr<Spool> spool;
  std::optional<std::string> fault;

  Spool* operator->() const { return spool.get(); }
  uint64_t put(std::string_view body, uint8_t flags = kSpoolRepeatable) {
    const Result<uint64_t> end = spool->append(3, flags, body);
    EXPECT_TRUE(end.ok());
    return end.ok() ? *end : 0;
  }
  std::vector<std::string> rest() {
    std::vector<std::string> bodies;
    for (int calls = 0; !spool->all_read(); ++calls) {
      while (const std::optional<SpoolRecord> record = spool->next()) bodies.emplace_back(record->body);
      EXPECT_LT(calls, 10'000);
    }
    return bodies;
  }
};

class SpoolTest : public testing::Test {
 protected:
  SpoolTest() : log(test::log_to(LogFormat::kText)) { CHECK(std::signal(SIGXFSZ, SIG_IGN) != SIG_ERR); }

  std::string path(const std::string& file) const { return folder.file(file); }
  std::string dir() const { return folder.file("."); }
  std::string read(const std::string& file) const {
    std::ifstream in(path(file), std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  // A new file: ext4 waits for the disk when one that was shortened to nothing is closed.
  void write(const std::string& file, const std::string& bytes) const {
    std::filesystem::remove(path(file));
    std::ofstream(path(file), std::ios::binary) << bytes;
  }
  std::map<std::string, std::string> all() const {
    std::map<std::string, std::string> files;
    for (const auto& entry : std::filesystem::directory_iterator(dir())) files[entry.path().filename()] = read(entry.path().filename());
    return files;
  }
  void restore(const std::map<std::string, std::string>& files) const {
    for (const auto& [name, bytes] : files) write(name, bytes);
  }
  uint64_t disk() const {
    uint64_t size = 0;
    for (const auto& [name, bytes] : all()) size += name == "r.mark" ? size_t{0} : bytes.size();
    return size;
  }
  bool logged(std::string_view what) const {
    log_flush();
    return log.text.find(what) != std::string::npos;
  }
  // The spool as a process leaves it that was killed: a copy of its files, taken while it is there.
  std::map<std::string, std::string> killed(const std::function<void(One&)>& act, uint64_t bound = 1 << 20) const {
    One one(dir(), bound);
    EXPECT_FALSE(one.fault);
    act(one);
    return all();
  }

  test::Folder folder;
  test::Caught& log;
};

std::string body(int i, size_t size = 0) {
  std::string text = "record " + std::to_string(i) + " ";
  if (text.size() < size) text.append(size - text.size(), 'x');
  return text;
}

std::vector<std::string> bodies(int from, int to, size_t size = 0) {
  std::vector<std::string> all;
  for (int i = from; i < to; ++i) all.push_back(body(i, size));
  return all;
}

// ---- the ordinary

TEST_F(SpoolTest, WhatGoesInComesOut) {
  One one(dir());
  ASSERT_FALSE(one.fault) << *one.fault;
  EXPECT_TRUE(one->empty());
  EXPECT_FALSE(one->next());
  const uint64_t first = one.put("hello", 5);
  EXPECT_FALSE(one->empty());
  EXPECT_FALSE(one->next()) << "it is not written yet";
  ASSERT_TRUE(one->flush().ok());
  EXPECT_EQ(one->written(), first);
  const std::optional<SpoolRecord> record = one->next();
  ASSERT_TRUE(record);
  EXPECT_EQ(record->body, "hello");
  EXPECT_EQ(record->tag, 3U);
  EXPECT_EQ(record->flags, 5);
  EXPECT_EQ(record->end(), first);
  EXPECT_FALSE(one->empty());
  one->done(first);
  EXPECT_TRUE(one->empty());
  EXPECT_EQ(one->counts().records, 1U);
}

TEST_F(SpoolTest, BodiesOfAllSizes) {
  One one(dir(), 16 << 20);
  std::vector<std::string> want;
  for (const size_t size : {0U, 1U, 31U, 4096U, 65535U, 65536U, 65537U, 300'000U, 2'000'000U}) {
    want.push_back(body(static_cast<int>(size), size));
    if (size == 0) want.back().clear();
    one.put(want.back());
  }
  ASSERT_TRUE(one->flush().ok());
  EXPECT_EQ(one.rest(), want);
}

TEST_F(SpoolTest, AfterARestartWhatIsNotDoneIsThere) {
  uint64_t written = 0;
  {
    One one(dir());
    for (int i = 0; i < 10; ++i) {
      const uint64_t end = one.put(body(i));
      ASSERT_TRUE(one->flush().ok());
      if (i == 3) one->done(end);
    }
    written = one->written();
  }
  One one(dir());
  ASSERT_FALSE(one.fault) << *one.fault;
  EXPECT_EQ(one->written(), written);
  EXPECT_EQ(one.rest(), bodies(4, 10));
  one->done(one->written());
  one.put("more");
  ASSERT_TRUE(one->flush().ok());
  EXPECT_GT(one->written(), written) << "positions only grow";
}

TEST_F(SpoolTest, OfOneInWhichAllIsDoneTheMarkIsLeft) {
  uint64_t written = 0;
  {
    One one(dir());
    one.put("a");
    ASSERT_TRUE(one->flush().ok());
    one->done(written = one->written());
  }
  EXPECT_EQ(disk(), 0U);
  One one(dir());
  EXPECT_TRUE(one->empty());
  EXPECT_EQ(one->written(), written);
}

TEST_F(SpoolTest, WhoHasItFromMemoryDoesNotReadIt) {
  One one(dir());
  one.put("a");
  const uint64_t second = one.put("b");
  one.put("c");
  ASSERT_TRUE(one->flush().ok());
  one->pass(second);
  EXPECT_EQ(one.rest(), std::vector<std::string>{"c"});
}

// ---- the bound, and segments

TEST_F(SpoolTest, ItIsFullAtItsBoundAndGoesOnBelow) {
  One one(dir(), 256 * 1024);
  std::vector<uint64_t> ends;
  while (one->fits(1000)) {
    ends.push_back(one.put(body(static_cast<int>(ends.size()), 1000)));
    ASSERT_TRUE(one->flush().ok());
  }
  EXPECT_GT(one->size(), 256U * 1024 - 2000);
  EXPECT_LE(disk(), 256U * 1024);
  EXPECT_FALSE(one->fits(1000));
  one->done(ends[ends.size() / 2]);
  EXPECT_TRUE(one->fits(1000));
  test::settle(one.loop);
  EXPECT_LT(disk(), 256U * 1024 * 3 / 4) << "the space of what is done is free";
  EXPECT_EQ(one.rest().size(), ends.size() - ends.size() / 2 - 1);
}

TEST_F(SpoolTest, RoundAndRoundWithinTheBound) {
  One one(dir(), 64 * 1024);
  uint64_t taken = 0;
  int in = 0;
  int out = 0;
  Random random(1);
  while (taken < 5'000'000) {
    const size_t size = random.below(6000);
    if (one->fits(size)) {
      one.put(body(in, size));
      taken += size;
      ++in;
    } else {
      ASSERT_TRUE(one->flush().ok());
      ASSERT_LE(disk(), 64U * 1024);
      for (uint64_t some = random.below(30); some > 0; --some) {
        const std::optional<SpoolRecord> record = one->next();
        if (!record) break;
        ASSERT_EQ(record->body.substr(0, body(out).size()), body(out));
        ++out;
        one->done(record->end());
      }
      test::settle(one.loop);
    }
  }
  ASSERT_TRUE(one->flush().ok());
  EXPECT_EQ(one.rest().size(), static_cast<size_t>(in - out));
  EXPECT_EQ(one->counts().damaged, 0U);
}

TEST_F(SpoolTest, AnEmptyOneStaysSmall) {
  One one(dir(), 64 << 20);
  for (int i = 0; i < 1000; ++i) {
    one.put(std::string(20'000, 'x'));
    ASSERT_TRUE(one->flush().ok());
    one->done(one->written());
    test::settle(one.loop);
  }
  ASSERT_TRUE(one->flush().ok());
  test::settle(one.loop);
  EXPECT_LT(disk(), 2U << 20);
}

TEST_F(SpoolTest, ARecordAsLargeAsTheBoundFitsWhenItIsEmpty) {
  One one(dir(), 64 * 1024);
  one.put(std::string(5000, 'x'));
  ASSERT_TRUE(one->flush().ok());
  one->done(one->written());
  const uint64_t most = 64 * 1024 - kSpoolSegmentHead - kSpoolRecordHead;
  EXPECT_TRUE(one->can_fit(most));
  EXPECT_FALSE(one->can_fit(most + 1));
  EXPECT_FALSE(one->can_fit(UINT64_MAX));
  ASSERT_TRUE(one->fits(most));
  one.put(std::string(most, 'y'));
  ASSERT_TRUE(one->flush().ok());
  test::settle(one.loop);
  EXPECT_LE(disk(), 64U * 1024);
  EXPECT_EQ(one.rest().back().size(), most);
}

TEST_F(SpoolTest, AnotherBound) {
  One one(dir(), 64 * 1024);
  while (one->fits(1000)) one.put(body(1, 1000));
  one->change(128 * 1024, Spool::Fsync::kNo);
  EXPECT_TRUE(one->fits(1000));
  while (one->fits(1000)) one.put(body(1, 1000));
  one->change(64 * 1024, Spool::Fsync::kNo);
  EXPECT_FALSE(one->fits(1000));
  ASSERT_TRUE(one->flush().ok());
  EXPECT_GT(one.rest().size(), 110U);
  one->done(one->written());
  EXPECT_TRUE(one->fits(1000));
}

// ---- killed

TEST_F(SpoolTest, WhatWasReportedIsThereAfterAKill) {
  // A child appends and says through a pipe what was written; it is killed at some time, again and again, into the same spool.
  int next = 0;
  Random random(2);
  for (int round = 0; round < 20; ++round) {
    int ends[2];
    ASSERT_EQ(::pipe(ends), 0);
    const pid_t child = ::fork();
    if (child == 0) {
      One one(dir(), 1 << 20);
      if (one.fault) ::_exit(3);
      for (int i = next;; ++i) {
        const size_t size = i % 10 == 9 ? 70'000 : static_cast<size_t>(i) * 37 % 3000;
        while (!one->fits(size)) {
          const std::optional<SpoolRecord> record = one->next();
          if (!record) ::_exit(4);
          one->done(record->end());
        }
        if (!one->append(0, kSpoolRepeatable, body(i, size)).ok()) ::_exit(5);
        if (i % 3 != 0) continue;
        if (!one->flush().ok()) ::_exit(6);
        one.loop.turn(Delay{0});
        if (::write(ends[1], &i, sizeof i) != sizeof i) ::_exit(7);
      }
    }
    ::close(ends[1]);
    const int enough = next + static_cast<int>(random.below(400));
    int reported = next - 1;
    for (int i = 0; reported < enough && ::read(ends[0], &i, sizeof i) == sizeof i;) reported = i;
    ::kill(child, SIGKILL);
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status)) << WEXITSTATUS(status);
    for (int i = 0; ::read(ends[0], &i, sizeof i) == sizeof i;) reported = i;
    ::close(ends[0]);

    One one(dir(), 1 << 20);
    ASSERT_FALSE(one.fault) << *one.fault;
    const std::vector<std::string> found = one.rest();
    ASSERT_FALSE(found.empty());
    const auto number = [](const std::string& text) { return std::atoi(text.c_str() + 7); };
    for (size_t i = 1; i < found.size(); ++i) ASSERT_EQ(number(found[i]), number(found[i - 1]) + 1);
    ASSERT_GE(number(found.back()), reported);
    ASSERT_EQ(one->counts().damaged, 0U);
    next = number(found.back()) + 1;
  }
}

TEST_F(SpoolTest, ATornEndIsCutOffAtAnyByte) {
  uint64_t second = 0;
  const auto files = killed([&](One& one) {
    one.put("one");
    second = one.put("two");
    ASSERT_TRUE(one->flush().ok());
    one.put("three, the last");
    ASSERT_TRUE(one->flush().ok());
  });
  const std::string whole = files.at("r.0");
  const size_t two = kSpoolSegmentHead + second;
  for (size_t size = two; size < whole.size(); ++size) {
    restore(files);
    write("r.0", whole.substr(0, size));
    {
      One one(dir());
      ASSERT_FALSE(one.fault) << *one.fault;
      ASSERT_EQ(one->written(), second);
      ASSERT_EQ(one->counts().torn_bytes, size - two);
      one.put("instead");
      ASSERT_TRUE(one->flush().ok());
    }
    One one(dir());
    ASSERT_EQ(one.rest(), (std::vector<std::string>{"one", "two", "instead"})) << size;
    ASSERT_EQ(one->counts().torn_bytes, 0U);
  }
  EXPECT_TRUE(logged("spool-torn relay=r"));
}

TEST_F(SpoolTest, TheMarkSurvivesAKill) {
  auto files = killed([](One& one) {
    for (int i = 0; i < 10; ++i) one.put(body(i));
    ASSERT_TRUE(one->flush().ok());
    for (int i = 0; i < 4; ++i) one->done(one->next()->end());
    ASSERT_TRUE(one->flush().ok());
  });
  restore(files);
  EXPECT_EQ(One(dir()).rest(), bodies(4, 10));
}

// ---- damage

TEST_F(SpoolTest, ATurnedBitAnywhere) {
  const auto files = killed([](One& one) {
    for (int i = 0; i < 4; ++i) one.put(body(i));
    ASSERT_TRUE(one->flush().ok());
    one->done(one->next()->end());
    ASSERT_TRUE(one->flush().ok());
  });
  for (const auto& [name, bytes] : files) {
    for (size_t bit = 0; bit < bytes.size() * 8; bit += bytes.size() > 300 ? size_t{3} : size_t{1}) {
      restore(files);
      std::string bad = bytes;
      bad[bit / 8] = static_cast<char>(bad[bit / 8] ^ (1 << (bit % 8)));
      write(name, bad);
      One one(dir());
      ASSERT_FALSE(one.fault) << name << " " << bit << *one.fault;
      const std::vector<std::string> found = one.rest();
      ASSERT_GE(found.size(), 2U) << name << " " << bit;
      for (const std::string& text : found) ASSERT_TRUE(text == body(0) || text == body(1) || text == body(2) || text == body(3));
      ASSERT_TRUE(std::is_sorted(found.begin(), found.end()));
      ASSERT_TRUE(name != "r.mark" || found.size() >= 3) << bit;
    }
  }
}

TEST_F(SpoolTest, DamageInTheMiddleIsCountedAndPassedOver) {
  const auto files = killed([](One& one) {
    for (int i = 0; i < 100; ++i) one.put(body(i, 1000));
    ASSERT_TRUE(one->flush().ok());
  });
  std::string bytes = files.at("r.0");
  bytes.replace(10'000, 5000, 5000, '\xee');
  restore(files);
  write("r.0", bytes);
  One one(dir());
  const std::vector<std::string> found = one.rest();
  EXPECT_GE(found.size(), 93U);
  EXPECT_LE(found.size(), 95U);
  EXPECT_EQ(found.front(), body(0, 1000));
  EXPECT_EQ(found.back(), body(99, 1000));
  EXPECT_EQ(one->counts().damaged, 1U);
  EXPECT_GT(one->counts().damaged_bytes, 5000U);
  EXPECT_TRUE(logged("spool-damaged relay=r"));
  one->done(one->written());
  EXPECT_TRUE(one->empty());
}

TEST_F(SpoolTest, DamageAtTheEndOfWhatWasReadIsDoneWithTheRest) {
  // Nobody is given what is damaged, so nobody can say that it is done.
  auto files = killed([](One& one) {
    one.put("one");
    one.put("two");
    ASSERT_TRUE(one->flush().ok());
    one.put(std::string(20'000, 'x'));  // another segment
    ASSERT_TRUE(one->flush().ok());
  }, 64 * 1024);
  files["r.0"][kSpoolSegmentHead + 40] ^= 1;  // of "two"
  restore(files);
  One one(dir(), 64 * 1024);
  const std::optional<SpoolRecord> first = one->next();
  ASSERT_TRUE(first);
  const uint64_t end = first->end();
  const std::optional<SpoolRecord> third = one->next();
  ASSERT_TRUE(third);
  EXPECT_EQ(third->body.size(), 20'000U);
  one->done(end);
  EXPECT_FALSE(one->empty());
  one->done(one->written());
  EXPECT_TRUE(one->empty());
}

TEST_F(SpoolTest, AFileThatIsGoneOrShortCostsWhatWasInIt) {
  const auto files = killed([](One& one) {
    for (int i = 0; i < 50; ++i) {
      one.put(body(i, 1000));
      ASSERT_TRUE(one->flush().ok());
    }
  }, 64 * 1024);
  ASSERT_GT(files.at("r.3").size(), 1000U);
  for (const std::string name : {"r.0", "r.1", "r.3"}) {
    restore(files);
    std::filesystem::remove(path(name));
    One one(dir(), 64 * 1024);
    ASSERT_FALSE(one.fault);
    EXPECT_GT(one.rest().size(), 40U) << name;
    EXPECT_EQ(one->counts().damaged, name == "r.0" ? 0U : 1U);
  }
  restore(files);
  write("r.2", files.at("r.2").substr(0, 3000));
  One one(dir(), 64 * 1024);
  EXPECT_GT(one.rest().size(), 40U);
  EXPECT_EQ(one->counts().damaged, 1U);
}

TEST_F(SpoolTest, AMarkThatIsGoneOrShort) {
  // All is repeated that can be; what must not be is uncertain.
  const auto files = killed([](One& one) {
    one.put("one");
    one.put("once", 0);
    one.put("three");
    ASSERT_TRUE(one->flush().ok());
    one->done(one->next()->end());
    ASSERT_TRUE(one->flush().ok());
  });
  for (size_t size = 0; size < files.at("r.mark").size(); size += 7) {
    restore(files);
    write("r.mark", files.at("r.mark").substr(0, size));
    One one(dir());
    ASSERT_FALSE(one.fault) << size << *one.fault;
    const std::vector<std::string> found = one.rest();
    ASSERT_EQ(found.back(), "three") << size;
    ASSERT_EQ(one.user.uncertain, std::vector<std::string>{"once"}) << size;
  }
  restore(files);
  EXPECT_EQ(One(dir()).rest(), (std::vector<std::string>{"once", "three"}));
}

TEST_F(SpoolTest, AMarkAheadOfAllRecords) {
  // The machine failed, and the records were not on the disk yet.
  const auto files = killed([](One& one) {
    one.put("one");
    ASSERT_TRUE(one->flush().ok());
    one->done(one->written());
    one.put("two");
    ASSERT_TRUE(one->flush().ok());
    one->done(one->written());
    ASSERT_TRUE(one->flush().ok());
  });
  restore(files);
  write("r.0", files.at("r.0").substr(0, kSpoolSegmentHead + 35));
  uint64_t written = 0;
  {
    One one(dir());
    ASSERT_FALSE(one.fault);
    EXPECT_TRUE(one->empty());
    written = one->written();
    EXPECT_EQ(written, 70U);
    one.put("three");
    ASSERT_TRUE(one->flush().ok());
    EXPECT_EQ(one.rest(), std::vector<std::string>{"three"});
  }
  One one(dir());
  EXPECT_EQ(one.rest(), std::vector<std::string>{"three"});
}

// ---- what must not be repeated

TEST_F(SpoolTest, WhatMayHaveBeenSentIsNotSentAgain) {
  const auto files = killed([](One& one) {
    one.put("again 1");
    const uint64_t second = one.put("once 1", 0);
    one.put("once 2", 0);
    one.put("again 2");
    ASSERT_TRUE(one->flush().ok());
    ASSERT_TRUE(one->sent(second).ok());
  });
  restore(files);
  One one(dir());
  EXPECT_EQ(one.rest(), (std::vector<std::string>{"again 1", "once 2", "again 2"}));
  EXPECT_EQ(one.user.uncertain, std::vector<std::string>{"once 1"});
  EXPECT_EQ(one->counts().uncertain, 1U);
}

TEST_F(SpoolTest, ASpoolOfUncertainOnesEmptiesItself) {
  const auto files = killed([](One& one) {
    for (int i = 0; i < 5; ++i) one.put(body(i), 0);
    ASSERT_TRUE(one->flush().ok());
    ASSERT_TRUE(one->sent(one->written()).ok());
  });
  restore(files);
  One one(dir());
  EXPECT_FALSE(one->empty());
  EXPECT_TRUE(one.rest().empty());
  EXPECT_EQ(one.user.uncertain, bodies(0, 5));
  EXPECT_TRUE(one->empty());
}

// ---- the disk, and the kernel

// From now on this process gets `error` for the call.
void refuse(int call, uint32_t error) {
  const sock_filter code[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<uint32_t>(call), 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  CHECK(sys::set_filter(code, std::size(code)) == 0);
}

// What a child ends with that does this.
template <typename Act>
int child(Act act) {
  const pid_t pid = ::fork();
  if (pid == 0) ::_exit(act());
  int status = 0;
  CHECK(::waitpid(pid, &status, 0) == pid);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

TEST_F(SpoolTest, ASyncIsReportedByTheLoop) {
  One one(dir(), 1 << 20, Spool::Fsync::kAlways);
  const uint64_t end = one.put("one");
  ASSERT_TRUE(one->flush().ok());
  EXPECT_LT(one->synced(), end);
  EXPECT_EQ(one.user.synced, 0);
  ASSERT_TRUE(test::until(one.loop, [&] { return one->synced() == end; }));
  EXPECT_GE(one.user.synced, 1);
  // One under way while more is written: there is another behind it.
  one.put("two");
  ASSERT_TRUE(one->flush().ok());
  one.put("three");
  ASSERT_TRUE(one->flush().ok());
  ASSERT_TRUE(test::until(one.loop, [&] { return one->synced() == one->written(); }));
  EXPECT_FALSE(logged("sync-waits"));
  ASSERT_TRUE(one->sent(one->written()).ok());
  EXPECT_LT(one->sent_synced(), one->written());
  one->sync();
  ASSERT_TRUE(test::until(one.loop, [&] { return one->sent_synced() == one->written(); }));
}

TEST_F(SpoolTest, EverySecond) {
  One one(dir(), 1 << 20, Spool::Fsync::kEverySecond);
  one.put("one");
  ASSERT_TRUE(one->flush().ok());
  test::settle(one.loop);
  EXPECT_EQ(one->counts().syncs, 0U);
  ASSERT_TRUE(test::until(one.loop, [&] { return one->synced() == one->written(); }));
  EXPECT_EQ(one->counts().syncs, 1U);
}

TEST_F(SpoolTest, AFullDiskTakesNothingByHalves) {
  One one(dir());
  one.put("one");
  ASSERT_TRUE(one->flush().ok());
  const uint64_t written = one->written();
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  rlimit little = before;
  for (rlim_t room = 0; room < 100; room += 9) {
    little.rlim_cur = kSpoolSegmentHead + written + room;
    ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &little), 0);
    ASSERT_TRUE(one->append(0, 1, std::string(100, 'x')).ok());
    const Status status = one->flush();
    ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
    ASSERT_FALSE(status.ok());
    EXPECT_EQ(status.error(), EFBIG);
    EXPECT_EQ(one->written(), written);
    EXPECT_EQ(disk(), kSpoolSegmentHead + written);
  }
  EXPECT_TRUE(logged("spool-write-failed"));
  one.put("two");
  ASSERT_TRUE(one->flush().ok());
  EXPECT_FALSE(logged("spool-writes-again")) << "not in the same second";
  EXPECT_EQ(one.rest(), (std::vector<std::string>{"one", "two"}));
  EXPECT_EQ(one->counts().records, 2U);
}

TEST_F(SpoolTest, AFileSystemWithoutSpace) {
  const std::string place = path("small");
  std::filesystem::create_directory(place);
  if (::mount("none", place.c_str(), "tmpfs", 0, "size=128k") != 0) GTEST_SKIP() << "no right to mount";
  {
    One one(place, 1 << 20);
    ASSERT_FALSE(one.fault);
    EXPECT_TRUE(logged("spool-space"));
    int in = 0;
    while (in < 1000) {
      ASSERT_TRUE(one->append(0, 1, body(in, 3000)).ok());
      const Status status = one->flush();
      if (!status.ok()) {
        EXPECT_EQ(status.error(), ENOSPC);
        break;
      }
      ++in;
    }
    EXPECT_LT(in, 50);
    EXPECT_EQ(one.rest(), bodies(0, in, 3000));
    one->done(one->written());
    static_cast<void>(one->flush());
    test::settle(one.loop);
    ASSERT_TRUE(one->append(0, 1, "room again").ok());
    EXPECT_TRUE(one->flush().ok());
  }
  {
    std::ofstream fill(place + "/fill");
    fill << std::string(200'000, 'x');
  }
  EXPECT_TRUE(One(place, 1 << 20, Spool::Fsync::kNo, "other").fault->find("make room") != std::string::npos);
  EXPECT_EQ(::umount(place.c_str()), 0);
}

TEST_F(SpoolTest, ItWorksConfined) {
  if (!can_confine()) GTEST_SKIP() << "this program has no filter";
  EXPECT_EQ(child([&] {
    One one(dir(), 64 * 1024, Spool::Fsync::kAlways);
    if (!install_confinement({.files = true}).ok()) return 1;
    for (int i = 0; i < 200; ++i) {
      if (!one->fits(2000) || !one->append(0, 1, body(i, 2000)).ok() || !one->flush().ok()) return 2;
      if (!test::until(one.loop, [&] { return one->synced() == one->written(); })) return 3;
      const std::optional<SpoolRecord> record = one->next();
      if (!record || record->body != body(i, 2000)) return 4;
      one->done(record->end());
    }
    if (!one->sent(one->written()).ok() || logged("sync-waits")) return 5;
    if (!One(dir(), 1 << 20, Spool::Fsync::kNo, "new").fault.value_or("").ends_with("start the process again")) return 6;
    one.spool.reset();
    return 0;
  }), 0);
}

TEST_F(SpoolTest, WhereTheKernelWillNotItIsWaitedFor) {
  if (!can_confine()) GTEST_SKIP() << "this program has no filter";
  EXPECT_EQ(child([&] {
    refuse(SYS_io_setup, ENOSYS);
    One one(dir(), 64 * 1024, Spool::Fsync::kAlways);
    for (int i = 0; i < 3; ++i) {
      if (!one->append(0, 1, "x").ok() || !one->flush().ok()) return 1;
      if (one->synced() == one->written()) return 2;  // it is the loop that says so
      if (!test::until(one.loop, [&] { return one->synced() == one->written(); })) return 3;
    }
    return logged("sync-waits") && log.text.find("sync-waits") == log.text.rfind("sync-waits") ? 0 : 4;
  }), 0);
}

TEST_F(SpoolTest, ASyncThatFailsIsSaidAndTriedAgain) {
  if (!can_confine()) GTEST_SKIP() << "this program has no filter";
  EXPECT_EQ(child([&] {
    One one(dir(), 64 * 1024, Spool::Fsync::kAlways);
    refuse(SYS_io_setup, ENOSYS);
    refuse(SYS_fdatasync, EIO);
    if (!one->append(0, 1, "x").ok() || !one->flush().ok()) return 1;
    if (!test::until(one.loop, [&] { return one.user.failed == 2; })) return 2;  // a second later
    if (one.user.synced != 0 || one->synced() != 0 || one->counts().sync_failures != 2) return 3;
    return logged("spool-sync-failed") && one.rest() == std::vector<std::string>{"x"} ? 0 : 4;
  }), 0);
}

// ---- what is wrong with a folder

TEST_F(SpoolTest, FaultsSayWhatToDo) {
  const auto fault = [](const std::string& where, const std::string& name = "r") {
    return One(where, 1 << 20, Spool::Fsync::kNo, name).fault.value_or("");
  };
  EXPECT_NE(fault(path("none")).find("make the folder"), std::string::npos);
  write("file", "x");
  EXPECT_NE(fault(path("file")).find("name a folder"), std::string::npos);
  EXPECT_NE(fault(dir(), "").find("shorter"), std::string::npos);
  EXPECT_NE(fault(dir(), std::string(300, 'x')).find("shorter"), std::string::npos);

  write("a.mark", "root:x:0:0:root:/root:/bin/bash");
  EXPECT_NE(fault(dir(), "a").find("is not a spool's"), std::string::npos);
  EXPECT_EQ(read("a.mark"), "root:x:0:0:root:/root:/bin/bash") << "a stranger's file is left alone";
  write("b.3", "root:x:0:0:root:/root:/bin/bash");
  EXPECT_NE(fault(dir(), "b").find("b.3"), std::string::npos);
  EXPECT_EQ(read("b.3"), "root:x:0:0:root:/root:/bin/bash");
  std::filesystem::create_directory(path("c.2"));
  EXPECT_NE(fault(dir(), "c").find("cannot open"), std::string::npos);
  std::filesystem::create_symlink("/etc/passwd", path("d.mark"));
  EXPECT_NE(fault(dir(), "d").find("no plain file"), std::string::npos);
  ASSERT_EQ(::mkfifo(path("e.mark").c_str(), 0600), 0);
  EXPECT_NE(fault(dir(), "e").find("no plain file"), std::string::npos);
  EXPECT_EQ(fault(dir(), "../x y"), "");
  EXPECT_TRUE(std::filesystem::exists(path("%2E.%2Fx%20y.mark")));
}

TEST_F(SpoolTest, OneAtATime) {
  const One one(dir());
  ASSERT_FALSE(one.fault);
  const One other(dir());
  ASSERT_TRUE(other.fault);
  EXPECT_NE(other.fault->find("it is in use"), std::string::npos) << *other.fault;
  EXPECT_FALSE(One(dir(), 1 << 20, Spool::Fsync::kNo, "another").fault);
}

TEST_F(SpoolTest, AnotherSpoolsSegmentIsNotTaken) {
  const auto mine = killed([](One& one) {
    one.put("mine");
    ASSERT_TRUE(one->flush().ok());
  });
  for (const auto& entry : std::filesystem::directory_iterator(dir())) std::filesystem::remove(entry.path());
  const auto files = killed([](One& one) {
    one.put("theirs");
    ASSERT_TRUE(one->flush().ok());
  });
  restore(files);
  write("r.5", mine.at("r.0"));
  const One one(dir());
  ASSERT_TRUE(one.fault);
  EXPECT_NE(one.fault->find("is another spool's"), std::string::npos);
}

TEST_F(SpoolTest, AnotherVersion) {
  auto files = killed([](One& one) {
    one.put("x");
    ASSERT_TRUE(one->flush().ok());
  });
  const auto later = [](std::string bytes, size_t sum) {
    bytes[8] = 2;
    const uint32_t crc = crc32c(std::string_view(bytes).substr(0, sum));
    for (size_t i = 0; i < 4; ++i) bytes[sum + i] = static_cast<char>(crc >> (8 * i));
    return bytes;
  };
  restore(files);
  write("r.0", later(files["r.0"], 32));
  EXPECT_NE(One(dir()).fault->find("another version"), std::string::npos);
  restore(files);
  std::string mark = files["r.mark"].substr(0, 512) + later(files["r.mark"].substr(512), 48);
  std::fill(mark.begin(), mark.begin() + 64, '\0');
  write("r.mark", mark);
  EXPECT_NE(One(dir()).fault->find("another version"), std::string::npos);
}

}  // namespace
}  // namespace relay

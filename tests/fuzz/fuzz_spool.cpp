// SPDX-License-Identifier: Apache-2.0
// A spool, whatever has become of its bytes. The format: however the window moves, the same records are found, and all that are whole.
// The folder: what is read was appended, in its order, and goes on being a spool; what was not damaged is all there.
//
//   input: 0 the format: two bytes of window; then records and rubbish     1 the folder: what is done to it, an 0xff, what is done to its files
// covers: wire/spool_record.cpp ops/spool.cpp ops/spool_open.cpp
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <memory>
#include <vector>

#include "lib/text.h"
#include "ops/spool.h"
#include "tests/fuzz/fuzz.h"

namespace relay {
namespace {

constexpr uint64_t kStamp = 0x9d3f6a2be1c05478;
constexpr uint64_t kBase = 5000;

// ---- the format

struct Whole {
  uint64_t at;
  std::string body;
  bool operator==(const Whole&) const = default;
};

std::vector<Whole> walk(std::string_view text, size_t most) {
  std::vector<Whole> found;
  size_t window = most;
  for (size_t at = 0; at < text.size();) {
    const uint64_t rest = text.size() - at;
    const SpoolStep step = read_spool(kStamp, kBase + at, text.substr(at, window), rest);
    CHECK(step.size > 0 && step.size <= rest);
    if (step.what == SpoolStep::What::kMore) {
      CHECK(step.size > std::min<uint64_t>(window, rest));
      window = step.size;
      continue;
    }
    if (step.what == SpoolStep::What::kRecord) found.push_back({step.record.at, std::string(step.record.body)});
    at += step.size;
    window = most;
  }
  return found;
}

void format(fuzz::Input& input) {
  const size_t first = size_t{1} + input.byte();
  const size_t second = size_t{1} + input.byte();
  const std::string_view raw = input.text(kSpoolMark);
  if (const Result<SpoolSegment> head = read_spool_segment(raw); head.ok()) CHECK(read_spool_segment({write_spool_segment(*head).data(), kSpoolSegmentHead}).ok());
  if (const Result<SpoolMark> mark = read_spool_mark(raw); mark.ok()) CHECK(read_spool_mark({write_spool_mark(*mark).data(), kSpoolMark}).ok());
  std::string text;
  std::vector<Whole> records;
  while (!input.empty()) {
    const uint8_t what = input.byte();
    if (what >= 128) {
      text += input.text(what - 128U);
      continue;
    }
    const SpoolRecord record{kBase + text.size(), what, static_cast<uint8_t>(what % 2), input.text(what)};
    const auto head = write_spool_record(kStamp, record);
    text.append(head.data(), head.size()).append(record.body);
    records.push_back({record.at, std::string(record.body)});
  }
  CHECK(walk(text, first) == records && walk(text, second) == records && walk(text, text.size()) == records);
  const std::optional<SpoolFound> found = find_spool_record(kStamp, text);
  CHECK(found.has_value() == !records.empty() && (!found || found->at == kBase + found->offset));
}

// ---- the folder

class Place {
 public:
  Place() {
    std::string name = std::filesystem::exists("/dev/shm") ? "/dev/shm/relay-fuzz-XXXXXX" : "/tmp/relay-fuzz-XXXXXX";
    CHECK(::mkdtemp(name.data()) != nullptr);
    path_ = name;
  }
  ~Place() { std::filesystem::remove_all(path_); }
  Place(const Place&) = delete;
  Place& operator=(const Place&) = delete;

  std::string path() const { return path_; }
  std::map<std::string, std::string> files() const {
    std::map<std::string, std::string> files;
    for (const auto& entry : std::filesystem::directory_iterator(path_)) {
      std::ifstream in(entry.path(), std::ios::binary);
      files[entry.path().filename()] = {std::istreambuf_iterator<char>(in), {}};
    }
    return files;
  }
  void replace(const std::map<std::string, std::string>& files) const {
    for (const auto& entry : std::filesystem::directory_iterator(path_)) std::filesystem::remove_all(entry.path());
    for (const auto& [name, bytes] : files) std::ofstream(path_ / name, std::ios::binary) << bytes;
  }

 private:
  std::filesystem::path path_;
};

struct User final : SpoolUser {
  void on_synced(const Status&) override {}
  void on_uncertain(const SpoolRecord& record) override { passed.push_back(record.at); }
  std::vector<uint64_t> passed;
};

struct Kept {
  std::string body;
  uint8_t flags;
};
using Model = std::map<uint64_t, Kept>;  // by position, what was appended

struct One {
  explicit One(const std::string& dir) : spool(std::make_unique<Spool>(loop, user)) {
    fault = spool->open({dir, "x", Spool::kLeastBound, Spool::Fsync::kNo});
  }
  Loop loop;
  User user;
  std::unique_ptr<Spool> spool;
  std::optional<std::string> fault;
};

// Steps up to an 0xff.
void play(Spool& spool, fuzz::Input& input, Model& model, bool& sent) {
  for (uint8_t what = input.byte(); what != 0xff && !input.empty(); what = input.byte()) {
    if (what % 4 == 0 || what % 4 == 1) {
      const size_t size = what % 4 == 0 ? size_t{input.byte()} : input.number(2);
      const auto flags = static_cast<uint8_t>(what >> 4U & 1U);
      if (!spool.fits(size)) continue;
      const std::string body(size, static_cast<char>(what));
      const Result<uint64_t> end = spool.append(what, flags, body);
      CHECK(end.ok());
      model[*end - size - kSpoolRecordHead] = {body, flags};
    } else if (what % 4 == 2) {
      CHECK(spool.flush().ok());
    } else if (const std::optional<SpoolRecord> record = spool.next()) {
      CHECK(model.at(record->at).body == record->body);
      if (what % 8 == 7 || what % 16 == 3) spool.done(record->end());
      else sent = spool.sent(record->end()).ok() || sent;
    }
  }
  CHECK(spool.flush().ok());
}

// True: something is other than it was.
bool damage(std::map<std::string, std::string>& files, fuzz::Input& input) {
  const auto before = files;
  while (!input.empty()) {
    const uint8_t which = input.byte();
    std::string& bytes = std::next(files.begin(), which % static_cast<uint8_t>(files.size()))->second;
    const size_t at = bytes.empty() ? 0 : input.number(2) % (bytes.size() + 1);
    const uint8_t what = input.byte();
    if (what % 4 == 0) bytes.resize(at);
    else if (what % 4 == 1 && at < bytes.size()) bytes[at] = static_cast<char>(bytes[at] ^ (1 << (what / 4 % 8)));
    else if (what % 4 == 2) bytes.replace(at, what, std::string(what, '\0'));
    else bytes.insert(at, input.text(what));
  }
  return files != before;
}

void check_after(One& one, const Model& model, bool damaged, uint64_t done, uint64_t written) {
  if (one.fault) {
    CHECK(damaged && printable(*one.fault) == *one.fault);
    return;
  }
  Spool& spool = *one.spool;
  CHECK(damaged || spool.written() == written);
  std::vector<uint64_t> seen;
  for (int calls = 0; !spool.all_read(); ++calls) {
    CHECK(calls < 1000);
    while (const std::optional<SpoolRecord> record = spool.next()) {
      const auto was = model.find(record->at);
      CHECK(was != model.end() && was->second.body == record->body && was->second.flags == record->flags);
      CHECK(seen.empty() || seen.back() < record->at);
      seen.push_back(record->at);
    }
  }
  for (const uint64_t at : one.user.passed) CHECK(model.at(at).flags == 0);
  if (!damaged) {
    seen.insert(seen.end(), one.user.passed.begin(), one.user.passed.end());
    std::sort(seen.begin(), seen.end());
    std::vector<uint64_t> due;
    for (auto it = model.lower_bound(done); it != model.end(); ++it) due.push_back(it->first);
    CHECK(seen == due && spool.counts().damaged == 0 && spool.counts().torn_bytes == 0);
  }
  spool.done(spool.written());
  CHECK(spool.empty() && spool.fits(1000));
  CHECK(spool.append(1, 1, std::string(1000, 'z')).ok() && spool.flush().ok());
  const std::optional<SpoolRecord> last = spool.next();
  CHECK(last && last->body == std::string(1000, 'z') && spool.all_read());
}

void folder(fuzz::Input& input) {
  static const Place place;
  place.replace({});
  Model model;
  bool sent = false;
  uint64_t done = 0;
  uint64_t written = 0;
  std::map<std::string, std::string> files;
  {
    One one(place.path());
    CHECK(!one.fault);
    play(*one.spool, input, model, sent);
    done = one.spool->done();
    written = one.spool->written();
    files = place.files();  // as it is left by a process that is killed
  }
  const bool damaged = damage(files, input);
  place.replace(files);
  {
    One one(place.path());
    check_after(one, model, damaged, done, written);
    if (one.fault) return;
  }
  One again(place.path());
  CHECK(!again.fault && again.spool->next()->body == std::string(1000, 'z'));
}

}  // namespace
}  // namespace relay

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  relay::fuzz::Input input(data, size);
  if (input.byte() % 2 == 0) relay::format(input);
  else relay::folder(input);
  return 0;
}

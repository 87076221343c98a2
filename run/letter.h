// SPDX-License-Identifier: Apache-2.0
// Letter: what the main process and a worker say to each other over their trunk (trunk.h), and how it is written: numbers of eight bytes as the
// machine has them, texts with their length before them. Both ends are the same program.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>

namespace relay {

enum class Letter : uint8_t {
  // to a worker
  kSetUp,      // number, count, tag, offset and size of the values, kind; then the global keys
  kConfigure,  // in how many packets the listening sockets have come through the hatch; the keys
  kDrain,
  kStop,       // why
  kLogLevel,   // the level
  kAsk,        // ticket, post, rpc, what, parameters, body: of the admin socket
  kForget,     // ticket: nobody waits for that answer any more
  kReturned,   // the number of whom it was for, who is not there; then the mail
  // to the main process
  kConfigured,  // its process, how many faults; where and what of each
  kSay,         // ticket, most, a piece of an answer that goes on
  kPulse,       // its process: it lives; what went wrong last, and how many ms ago. At once, and each kPulseEvery
  kAnswer,      // ticket, status, body; kAnswersOn: from now on it says
  // both: mail from one worker to another; the number of the other one, or of the sender
  kMail,
};

// How often a worker says that it lives. It says so by itself: a question would come to it behind all of its mail.
constexpr Delay kPulseEvery{2000};

class LetterWriter {
 public:
  LetterWriter& number(uint64_t value) {
    out_.append(reinterpret_cast<const char*>(&value), sizeof value);
    return *this;
  }
  LetterWriter& text(std::string_view value) {
    number(value.size());
    out_.append(value);
    return *this;
  }
  LetterWriter& raw(std::span<const std::byte> bytes) {
    out_.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    return *this;
  }
  std::span<const std::byte> bytes() const { return std::as_bytes(std::span(out_)); }

 private:
  std::string out_;
};

// Past its end everything is 0 and empty. Its texts are views of what it reads.
class LetterReader {
 public:
  explicit LetterReader(std::span<const std::byte> bytes) : left_(bytes) {}

  uint64_t number() {
    uint64_t value = 0;
    if (left_.size() < sizeof value) return fail();
    std::memcpy(&value, left_.data(), sizeof value);
    left_ = left_.subspan(sizeof value);
    return value;
  }
  std::string_view text() {
    const uint64_t size = number();
    if (left_.size() < size) return {reinterpret_cast<const char*>(left_.data()), fail()};
    const std::string_view value{reinterpret_cast<const char*>(left_.data()), size};
    left_ = left_.subspan(size);
    return value;
  }
  std::span<const std::byte> rest() const { return left_; }

 private:
  uint64_t fail() {
    left_ = {};
    return 0;
  }
  std::span<const std::byte> left_;
};

}  // namespace relay

// SPDX-License-Identifier: Apache-2.0
// Trunk: reading and writing. See trunk.h.
#include "run/trunk.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

namespace relay {
namespace {

constexpr size_t kHead = 5;    // length and Letter
constexpr unsigned kRounds = 5;  // reads in a turn

}  // namespace

Status Trunk::open(Fd fd) {
  return conn_.open(Socket{.fd = std::move(fd), .family = Addr::Family::kUnix});
}

bool Trunk::put(Letter what, std::span<const std::byte> head, std::span<const std::byte> body) {
  std::array<std::byte, kHead> start{};
  const auto length = static_cast<uint32_t>(head.size() + body.size());
  std::memcpy(start.data(), &length, sizeof length);
  start[4] = static_cast<std::byte>(what);
  const uint64_t size = kHead + length;
  if (!out_.reserve(size)) {  // no memory: its end is told in the next turn, not to somebody who is sending
    doomed_ = true;
    conn_.again();
    return false;
  }
  Queue::Spans room = out_.room();
  size_t in_first = 0;
  for (std::span<const std::byte> from : {std::span<const std::byte>(start), head, body})
    while (!from.empty()) {
      std::span<std::byte>& to = in_first < room[0].size() ? room[0] : room[1];
      const size_t at = &to == room.data() ? in_first : 0;
      const size_t n = std::min(from.size(), to.size() - at);
      std::copy_n(from.begin(), n, to.begin() + static_cast<std::ptrdiff_t>(at));
      if (&to == room.data()) in_first += n;
      else room[1] = room[1].subspan(n);
      from = from.subspan(n);
    }
  out_.commit(size);
  conn_.again();
  return true;
}

bool Trunk::send(Letter what, std::span<const std::byte> letter) {
  if (!is_open() || doomed_ || letter.size() > kLetterMost || out_.bound() - out_.size() < kHead + letter.size()) return false;
  return put(what, letter, {});
}

bool Trunk::post(uint64_t number, std::span<const std::byte> mail) {
  if (!is_open() || doomed_) return false;
  if (!out_.empty() && out_.size() + kHead + sizeof number + mail.size() > kMailMost) return false;
  if (out_.bound() - out_.size() < kHead + sizeof number + mail.size()) return false;  // it never fits
  return put(Letter::kMail, std::as_bytes(std::span(&number, 1)), mail);
}

void Trunk::hold(bool yes) {
  if (std::exchange(held_, yes) == yes) return;
  if (!yes && is_open()) conn_.again();
}

void Trunk::rest() {
  resting_ = true;
  conn_.again();
}

void Trunk::on_ready(Conn&) {
  resting_ = false;
  if (doomed_) return down();
  flush();
  read();
}

void Trunk::flush() {
  while (!out_.empty() && conn_.writable()) {
    const Queue::Spans parts = out_.front();
    const std::array<iovec, 2> from = {{{parts[0].data(), parts[0].size()}, {parts[1].data(), parts[1].size()}}};
    const Result<size_t> n = conn_.write(std::span(from).first(parts[1].empty() ? 1 : 2));
    if (n.ok()) {
      pass(*n);
      continue;
    }
    if (n.status().code() != Code::kAgain) conn_.try_reading();  // what it has said before it went is still to be had; then comes the end
    break;
  }
}

// `size` bytes have left: first_ is where the first letter begins of which nothing has.
void Trunk::pass(uint64_t size) {
  while (first_ < out_.read() + size) first_ += kHead + length_at(first_);
  out_.consume(size);
}

void Trunk::copy(uint64_t offset, std::span<std::byte> to) {
  for (std::span<std::byte> from : out_.from(offset)) {
    const size_t n = std::min(from.size(), to.size());
    std::copy_n(from.begin(), n, to.begin());
    to = to.subspan(n);
  }
}

uint32_t Trunk::length_at(uint64_t offset) {
  uint32_t length = 0;
  std::array<std::byte, sizeof length> bytes{};
  copy(offset, bytes);
  std::memcpy(&length, bytes.data(), sizeof length);
  return length;
}

void Trunk::each_unsent(const std::function<void(Letter, std::span<const std::byte>)>& visit) {
  std::vector<std::byte> letter;
  for (uint64_t at = first_; at < out_.written(); at += letter.size()) {
    letter.resize(kHead + length_at(at));
    copy(at, letter);
    visit(static_cast<Letter>(letter[4]), std::span(letter).subspan(kHead));
  }
}

void Trunk::read() {
  if (held_) return;
  if (!part_.empty()) take({});
  BufferPool::Lent block;
  for (unsigned round = 0; round < kRounds && is_open() && !held_ && !resting_ && conn_.readable(); ++round) {
    if (block == nullptr) block = loop_.buffers().lend();
    if (block == nullptr) break;
    const Result<size_t> n = conn_.read(std::span(block->bytes));
    if (n.ok()) {
      take(std::span<const std::byte>(block->bytes, *n));
      continue;
    }
    if (n.status().code() == Code::kAgain) break;
    loop_.buffers().give_back(std::move(block));
    return down();
  }
  if (block != nullptr) loop_.buffers().give_back(std::move(block));
  if (is_open() && !held_ && conn_.readable()) conn_.again();
}

void Trunk::take(std::span<const std::byte> bytes) {
  if (part_.empty()) {
    const size_t done = read_letters(bytes);
    if (is_open()) part_.assign(bytes.begin() + static_cast<std::ptrdiff_t>(done), bytes.end());
    return;
  }
  part_.insert(part_.end(), bytes.begin(), bytes.end());
  std::vector<std::byte> all = std::move(part_);
  part_.clear();
  const size_t done = read_letters(all);
  if (!is_open()) return;
  all.erase(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(done));
  part_ = std::move(all);
  if (part_.empty()) part_ = {};
}

// Returns how many bytes were letters.
size_t Trunk::read_letters(std::span<const std::byte> bytes) {
  size_t done = 0;
  while (is_open() && !held_ && !resting_ && bytes.size() - done >= kHead) {
    uint32_t length = 0;
    std::memcpy(&length, bytes.data() + done, sizeof length);
    if (length > kLetterMost) {
      down();
      break;
    }
    if (bytes.size() - done - kHead < length) break;
    const auto what = static_cast<Letter>(bytes[done + 4]);
    const std::span<const std::byte> letter = bytes.subspan(done + kHead, length);
    done += kHead + length;
    user_.on_letter(*this, what, LetterReader(letter));
  }
  return done;
}

void Trunk::down() {
  if (!is_open()) return;
  conn_.close();
  user_.on_trunk_down(*this);
}

}  // namespace relay

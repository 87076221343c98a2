// SPDX-License-Identifier: Apache-2.0
// Trunk: the connection between the main process and one of its workers: letters in order, both ways, until one of them ends.
//
//   u32 length, u8 Letter, the letter …
//
// What is sent in a turn leaves together in the next. Mail has a bound. Letters of the main process are few and small, and have room of
// their own behind that.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "lib/status.h"
#include "net/conn.h"
#include "net/loop.h"
#include "queue.h"
#include "run/letter.h"

namespace relay {

class Trunk;

class TrunkUser {
 public:
  // The bytes live for the call.
  virtual void on_letter(Trunk& trunk, Letter what, LetterReader letter) = 0;
  // The other end has gone. Once, and last.
  virtual void on_trunk_down(Trunk& trunk) = 0;

 protected:
  ~TrunkUser() = default;
};

class Trunk final : public Mortal, private ConnUser {
 public:
  static constexpr uint64_t kMailMost = 16 * 1024 * 1024;   // bytes that wait
  static constexpr uint64_t kLetterMost = 512 * 1024 * 1024;  // of one; more is a fault

  // Borrows both for its life.
  Trunk(Loop& loop, TrunkUser& user) : loop_(loop), user_(user), conn_(loop, *this), out_(kMailMost + kReserve) {}

  Status open(Fd fd);
  bool is_open() const { return conn_.is_open(); }
  void close() { conn_.close(); }  // silently
  // False: there is no room even for this; the other end has not read for very long.
  bool send(Letter what, std::span<const std::byte> letter);
  // The same for mail, with the number of a worker before it. False: there is no room now.
  bool post(uint64_t number, std::span<const std::byte> mail);
  // Letters are not read until `yes` is false again.
  void hold(bool yes);
  bool is_held() const { return held_; }
  // Within on_letter(): the next one comes in the next turn.
  void rest();
  // Letters of which nothing has left. Only once it is down.
  void each_unsent(const std::function<void(Letter, std::span<const std::byte>)>& visit);
  uint64_t waiting() const { return out_.size(); }  // bytes

 private:
  static constexpr uint64_t kReserve = 16 * 1024 * 1024;

  void on_ready(Conn& conn) override;
  bool put(Letter what, std::span<const std::byte> head, std::span<const std::byte> body);
  void flush();
  void pass(uint64_t size);
  void copy(uint64_t offset, std::span<std::byte> to);
  uint32_t length_at(uint64_t offset);
  void read();
  void take(std::span<const std::byte> bytes);
  size_t read_letters(std::span<const std::byte> bytes);
  void down();

  Loop& loop_;
  TrunkUser& user_;
  Conn conn_;
  Queue out_;
  uint64_t first_ = 0;  // in the offsets of out_: the first letter of which nothing has left
  std::vector<std::byte> part_;  // of a letter that has not come whole, or that nobody was to read yet
  bool held_ = false;
  bool resting_ = false;
  bool doomed_ = false;  // there was no memory for a letter
};

}  // namespace relay

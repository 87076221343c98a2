// SPDX-License-Identifier: Apache-2.0
// Fd: a descriptor that closes itself. The only owner of descriptors in the program.
#pragma once

#include <utility>

#include "net/sys.h"

namespace relay {

class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}  // takes it over; negative: none
  Fd(Fd&& o) noexcept : fd_(std::exchange(o.fd_, -1)) {}
  Fd& operator=(Fd&& o) noexcept {
    if (this != &o) {
      close();
      fd_ = std::exchange(o.fd_, -1);
    }
    return *this;
  }
  ~Fd() { close(); }

  int get() const { return fd_; }
  bool open() const { return fd_ >= 0; }
  void close() {
    if (fd_ >= 0) static_cast<void>(sys::close(std::exchange(fd_, -1)));
  }

 private:
  int fd_ = -1;
};

}  // namespace relay

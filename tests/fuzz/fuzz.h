// SPDX-License-Identifier: Apache-2.0
// What the fuzz targets share: a fuzzer's bytes read as numbers and texts, and a log that is caught.
//
// A target is one file, fuzz_NAME.cpp, with a corpus in corpus/NAME/ and perhaps a dictionary, NAME.dict. It feeds the bytes to
// one format and CHECKs what must hold whatever they are; the sanitizers and a time limit do the rest.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "lib/check.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace relay::fuzz {

// Past the end all is 0 and empty, so that a short input is a story that ends, not an error.
class Input {
 public:
  Input(const uint8_t* data, size_t size) : rest_(reinterpret_cast<const char*>(data), size) {}

  bool empty() const { return rest_.empty(); }
  uint8_t byte() {
    if (rest_.empty()) return 0;
    const auto value = static_cast<uint8_t>(rest_.front());
    rest_.remove_prefix(1);
    return value;
  }
  uint64_t number(int bytes) {
    uint64_t value = 0;
    while (bytes-- > 0) value = value << 8U | byte();
    return value;
  }
  std::string_view text(size_t most) {
    const std::string_view taken = rest_.substr(0, most);
    rest_.remove_prefix(taken.size());
    return taken;
  }
  // Up to the next `end`, which is taken too.
  std::string_view until(char end) {
    const std::string_view taken = rest_.substr(0, rest_.find(end));
    rest_.remove_prefix(taken.size() < rest_.size() ? taken.size() + 1 : taken.size());
    return taken;
  }
  std::string_view all() { return text(rest_.size()); }

 private:
  std::string_view rest_;
};

}  // namespace relay::fuzz

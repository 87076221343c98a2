// SPDX-License-Identifier: Apache-2.0
// A command line of any words, one a line of the input: options of `relay start`.
// covers: ops/args.cpp ops/config.cpp kinds/cluster/keys.cpp
#include <algorithm>
#include <vector>

#include "tests/fuzz/config.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace relay;
  fuzz::Input input(data, size);
  std::vector<std::string> words;
  while (!input.empty() && words.size() < 200) words.emplace_back(std::string(input.until('\n')).c_str());  // NUL ends a word
  std::vector<const char*> args;
  for (const std::string& word : words) args.push_back(word.c_str());

  Config config;
  config.relays.push_back({cluster::kKind.name, Section(cluster::kKind.keys())});
  Faults faults;
  read_args(args, config.global, config.relays.front().section, faults);
  fuzz::check_faults(faults);
  // A path may have bytes that no file of TOML can: then there is no description to read again.
  const bool is_text = std::all_of(words.begin(), words.end(), [](const std::string& word) { return printable(word) == word; });
  if (faults.empty() && is_text) fuzz::check_config(config);
  else if (faults.empty()) fuzz::ask_all(config.relays.front().section);
  return 0;
}

// SPDX-License-Identifier: Apache-2.0
// ops/parameters: what stands behind a place, how it is written, and what is said of it where it is wrong.
#include "ops/parameters.h"

#include <gtest/gtest.h>

#include <array>

namespace relay {
namespace {

constexpr std::array kKeys = {
    Key{.name = "mode", .type = KeyType::kChoice, .metavar = "MODE", .fallback = "fast", .help = "which", .choices = "fast|slow"},
    Key{.name = "end", .type = KeyType::kText, .metavar = "TEXT", .fallback = "", .help = "what it ends with"},
    Key{.name = "most", .type = KeyType::kSize, .metavar = "SIZE", .fallback = "1KiB", .help = "how much", .min = 1, .max = 4096},
    Key{.name = "all", .type = KeyType::kBool, .metavar = "BOOL", .fallback = "false", .help = "whether"},
};

// What is wrong, or the values.
std::string read(std::string_view place) {
  Section section(kKeys);
  Faults faults;
  set_parameters(place, section, "--listen", faults);
  std::string out;
  for (const Fault& fault : faults) out += fault.where + ": " + fault.what + "\n";
  for (const Key& key : kKeys)
    if (section.has(key.name)) out += std::string(key.name) + "=" + std::string(section.text(key.name)) + " ";
  return out;
}

TEST(Parameters, APlaceMayHaveNone) {
  EXPECT_EQ(read("127.0.0.1:80"), "");
  EXPECT_EQ(without_parameters("127.0.0.1:80"), "127.0.0.1:80");
  EXPECT_EQ(without_parameters("unix:/x?mode=slow?"), "unix:/x");
  EXPECT_EQ(without_parameters(""), "");
}

TEST(Parameters, AreKeys) {
  EXPECT_EQ(read(":80?mode=slow&most=2KiB&all"), "mode=slow most=2KiB all=true ");
  EXPECT_EQ(read(":80?all=no"), "all=no ");
  EXPECT_EQ(read(":80?end=a=b"), "end=a=b ");
}

TEST(Parameters, HaveBytesInHexadecimal) {
  EXPECT_EQ(read(":80?end=%0D%0a"), "end=\\x0d\\x0a ");
  EXPECT_EQ(read(":80?end=%2C%26%3f%ff\\0"), "end=,&?\\xff\\0 ");
  EXPECT_EQ(read(":80?m%6fde=slow"), "--listen: \":80?m%6fde=slow\": has no parameter \"m%6fde\"; it may have mode, end, most, all\n");
}

TEST(Parameters, SayWhatIsWrong) {
  const std::vector<std::pair<std::string, std::string>> rows = {
      {"?", "has an empty parameter; write ?NAME=VALUE, and & before the next one"},
      {"?mode=slow&", "has an empty parameter; write ?NAME=VALUE, and & before the next one"},
      {"?=1", "has an empty parameter; write ?NAME=VALUE, and & before the next one"},
      {"?mode=slw", "mode: \"slw\" is none of fast, slow; did you mean \"slow\"?"},
      {"?mode", "mode: has no value; give one, for example fast"},
      {"?most=9KiB", "most: \"9KiB\" is out of range; give a size from 1 to 4KiB"},
      {"?zzzzzzzz=1", "has no parameter \"zzzzzzzz\"; it may have mode, end, most, all"},
      {"?all&all", "all stands there twice; take one of them out"},
      {"?end=%4", "end has a % without two hexadecimal digits behind it; write for example %0D%0A"},
      {"?end=%", "end has a % without two hexadecimal digits behind it; write for example %0D%0A"},
      {"?end=%4g", "end has a % without two hexadecimal digits behind it; write for example %0D%0A"},
  };
  for (const auto& [text, said] : rows) {
    const std::string got = read(":80" + text);
    EXPECT_TRUE(got.starts_with("--listen: \":80" + text + "\": " + said + "\n")) << got;
  }
}

}  // namespace
}  // namespace relay

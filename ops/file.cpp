// SPDX-License-Identifier: Apache-2.0
// Which file holds a configuration.
#include <cerrno>
#include <cstring>

#include "net/sys.h"
#include "ops/config.h"

namespace relay {
namespace {

constexpr size_t kMost = size_t{16} << 20;
constexpr std::string_view kEnv = ".env";
constexpr std::string_view kToml = ".toml";

std::string cannot_read(int error) { return std::string("cannot read it: ") + std::strerror(-error); }

}  // namespace

bool is_env_file(std::string_view path) { return path.ends_with(kEnv); }

std::string find_config_file(const std::string& path, std::string& text, bool wait, Faults& faults) {
  const int error = sys::read_file(path.c_str(), kMost, text, wait);
  if (error == 0) return path;
  const bool whole_name = is_env_file(path) || path.ends_with(kToml);
  if (error != -ENOENT || whole_name) {
    faults.push_back({path, cannot_read(error)});
    return {};
  }
  std::string toml = path + std::string(kToml);
  std::string env = path + std::string(kEnv);
  std::string other;
  const int no_toml = sys::read_file(toml.c_str(), kMost, text, wait);
  const int no_env = sys::read_file(env.c_str(), kMost, other, wait);
  if (no_toml == -ENOENT && no_env == -ENOENT) {
    faults.push_back({path, cannot_read(error) + "; nor is there " + toml + " or " + env});
  } else if (no_toml != -ENOENT && no_env != -ENOENT) {
    faults.push_back({path, "there are both " + toml + " and " + env + "; keep one of the two"});
  } else if (no_toml == 0) {
    return toml;
  } else if (no_env == 0) {
    text = std::move(other);
    return env;
  } else {
    faults.push_back(no_env == -ENOENT ? Fault{toml, cannot_read(no_toml)} : Fault{env, cannot_read(no_env)});
  }
  return {};
}

}  // namespace relay

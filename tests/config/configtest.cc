// SPDX-License-Identifier: Apache-2.0
//
// varve_configtest DIR: loads every *.yml of a directory. Files named `*.bad.yml`,
// `*.incompatible.yml` and a few more by name have to be refused, the others have to load. Says for
// each file that does otherwise why, and ends with `N passed, M failed`.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "app/config.h"

namespace {

constexpr std::string_view kAgentPrefix = "agent_mode.";

bool MustBeRefused(std::string_view name) {
  return name.ends_with(".bad.yml") || name.ends_with(".incompatible.yml") ||
         name.starts_with("agent_mode.with") || name == "config_with_deprecated_am_api_config.yml";
}

// Returns what is wrong with how the file was taken, or "".
std::string Check(const std::filesystem::path& path, bool verbose) {
  const std::string name = path.filename().string();
  const varve::ConfigOptions options{.agent_mode = name.starts_with(kAgentPrefix)};
  const absl::StatusOr<varve::Config> config = varve::LoadConfig(path.string(), options);
  const std::string message(config.status().message());
  if (verbose) fmt::print("{}: {}\n", name, config.ok() ? "loaded" : message);
  if (MustBeRefused(name)) {
    if (config.ok()) return "loaded, but should have been refused";
    // A refusal has to say where: in which file, and on which line unless the whole is meant.
    return message.find(name) == std::string::npos ? "refused without naming the file: " + message
                                                   : "";
  }
  return config.ok() ? "" : "refused: " + message;
}

}  // namespace

int main(int argc, char** argv) {
  const bool verbose = argc == 3 && std::string_view(argv[2]) == "-v";
  if (argc != 2 && !verbose) {
    fmt::print(stderr, "usage: varve_configtest DIR [-v]\n");
    return 2;
  }
  std::error_code error;
  std::vector<std::filesystem::path> paths;
  for (const auto& entry : std::filesystem::directory_iterator(argv[1], error)) {
    if (entry.path().extension() == ".yml") paths.push_back(entry.path());
  }
  if (error || paths.empty()) {
    fmt::print(stderr, "no *.yml in {}\n", argv[1]);
    return 2;
  }
  std::sort(paths.begin(), paths.end());
  int failed = 0;
  for (const std::filesystem::path& path : paths) {
    const std::string problem = Check(path, verbose);
    if (problem.empty()) continue;
    ++failed;
    fmt::print("FAIL {}: {}\n", path.filename().string(), problem);
  }
  fmt::print("{} passed, {} failed\n", paths.size() - failed, failed);
  return failed == 0 ? 0 : 1;
}

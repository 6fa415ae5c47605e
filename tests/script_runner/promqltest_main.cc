// SPDX-License-Identifier: Apache-2.0
//
// varve_promqltest DIR|FILE...: runs PromQL test scripts, tells each failure, and how many evals
// passed.
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "tests/script_runner/script_runner.h"

namespace {

// The scripts under `path`, sorted; `path` itself if it is a file.
std::vector<std::string> ScriptsOf(const std::string& path) {
  std::vector<std::string> scripts;
  if (!std::filesystem::is_directory(path)) {
    scripts.push_back(path);
    return scripts;
  }
  for (const auto& entry : std::filesystem::directory_iterator(path)) {
    if (entry.path().extension() == ".test") scripts.push_back(entry.path().string());
  }
  std::sort(scripts.begin(), scripts.end());
  return scripts;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fputs("usage: varve_promqltest DIR|FILE...\n", stderr);
    return 2;
  }
  size_t passed = 0;
  size_t failed = 0;
  bool unreadable = false;
  for (int i = 1; i < argc; ++i) {
    for (const std::string& path : ScriptsOf(argv[i])) {
      std::ifstream file(path, std::ios::binary);
      if (!file) {
        fmt::print("{}: cannot be read\n", path);
        unreadable = true;
        continue;
      }
      const std::string text{std::istreambuf_iterator<char>(file), {}};
      const varve::script::Report report = varve::script::RunScript(text);
      for (const varve::script::Failure& failure : report.failures) {
        fmt::print("{}:{}: {}\n", path, failure.line, failure.message);
      }
      fmt::print("{}: {} passed, {} failed\n", path, report.passed, report.failed);
      passed += report.passed;
      failed += report.failed;
    }
  }
  fmt::print("{} passed, {} failed\n", passed, failed);
  return failed > 0 || unreadable ? 1 : 0;
}

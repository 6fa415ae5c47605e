// SPDX-License-Identifier: Apache-2.0
//
// Runs every script of tests/scripts.
#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "tests/script_runner/script_runner.h"

namespace varve {
namespace {

TEST_CASE("scripts: every eval of tests/scripts passes") {
  size_t scripts = 0;
  for (const auto& entry :
       std::filesystem::directory_iterator(std::string(VARVE_SOURCE_DIR) + "/tests/scripts")) {
    if (entry.path().extension() != ".test") continue;
    ++scripts;
    std::ifstream file(entry.path());
    REQUIRE(file);
    const script::Report report =
        script::RunScript(std::string(std::istreambuf_iterator<char>(file), {}));
    CHECK(report.passed > 0);
    for (const script::Failure& failure : report.failures) {
      FAIL_CHECK(entry.path().filename().string()
                 << ":" << failure.line << ": " << failure.message);
    }
  }
  CHECK(scripts >= 4);
}

}  // namespace
}  // namespace varve

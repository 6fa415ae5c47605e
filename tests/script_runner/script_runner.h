// SPDX-License-Identifier: Apache-2.0
//
// Runs PromQL test scripts: `load` fills a storage in memory, `eval` asks the engine and compares.
// An instant eval also runs with its selectors pinned by `@` at other evaluation times, and as the
// middle step of a range query.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace varve::script {

struct Failure {
  int line = 0;  // Of the eval, counted from 1.
  std::string message;
};

struct Report {
  size_t passed = 0;
  size_t failed = 0;  // Evals; those after a script that cannot go on included.
  std::vector<Failure> failures;
};

// Runs a script's text. passed + failed is the number of its `eval` lines.
Report RunScript(std::string_view text);

}  // namespace varve::script

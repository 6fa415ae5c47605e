// SPDX-License-Identifier: Apache-2.0
//
// What a check prints and how it ends.
#pragma once

#include <string>

namespace varve {

// promtool's exit codes.
inline constexpr int kCheckFailed = 1;
inline constexpr int kCheckLint = 3;  // Nothing is wrong, but something is not as it should be.

struct CheckResult {
  int code = 0;
  std::string out;  // For standard output.
  std::string err;  // For standard error.
};

}  // namespace varve

// SPDX-License-Identifier: Apache-2.0
//
// Checks of configuration files and of what they name: rule files, target files, certificates.
#pragma once

#include <string>
#include <vector>

#include "app/check_result.h"
#include "model/time.h"
#include "promql/parser.h"

namespace varve {

struct ConfigCheckOptions {
  bool agent_mode = false;
  bool syntax_only = false;  // Does not look at the files that are named.
  bool lint_duplicate_rules = true;
  bool lint_long_intervals = false;  // Intervals that lose samples to the lookback.
  bool lint_fatal = false;           // What lint finds is exit code 3, else 0.
  DurationMs lookback_delta = 5 * kMinute;
  promql::ParserOptions parser;
};

// Each of `files` in turn.
CheckResult CheckConfigFiles(const std::vector<std::string>& files,
                             const ConfigCheckOptions& options);

}  // namespace varve

// SPDX-License-Identifier: Apache-2.0
//
// Prometheus rule files: YAML text to checked groups. Keys are strict and every error names the
// file, the line and what is wrong there: `rules.yml: 4:9: group "a", rule 1, "up": ...`.
#pragma once

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "model/time.h"
#include "promql/parser.h"

namespace varve {

// The largest rule file, and what it may hold.
inline constexpr size_t kRuleFileBytesMax = 16 << 20;
inline constexpr size_t kRulesMax = 100'000;

struct RuleSpec {
  // Exactly one of the two is set.
  std::string record;
  std::string alert;
  std::string expr;  // As written.
  DurationMs for_ms = 0;
  DurationMs keep_firing_for_ms = 0;
  std::map<std::string, std::string> labels;       // Group labels merged in.
  std::map<std::string, std::string> annotations;  // Of alerts only.
  friend bool operator==(const RuleSpec&, const RuleSpec&) = default;
};

struct RuleGroupSpec {
  std::string name;
  std::string file;
  DurationMs interval = 0;                 // 0 = the configuration's evaluation_interval.
  std::optional<DurationMs> query_offset;  // Unset = the configuration's rule_query_offset.
  uint64_t limit = 0;                      // Series or alerts a rule may give; 0 = no limit.
  std::vector<RuleSpec> rules;
  friend bool operator==(const RuleGroupSpec&, const RuleGroupSpec&) = default;
};

// Parses and checks the text of one file. InvalidArgument naming `file`, the line and the field.
absl::StatusOr<std::vector<RuleGroupSpec>> ParseRuleFile(std::string_view text,
                                                         std::string_view file,
                                                         const promql::ParserOptions& options);

// Reads `path` first. NotFound or Unavailable if it cannot be read.
absl::StatusOr<std::vector<RuleGroupSpec>> LoadRuleFile(const std::string& path,
                                                        const promql::ParserOptions& options);

}  // namespace varve

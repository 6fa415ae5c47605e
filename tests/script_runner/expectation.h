// SPDX-License-Identifier: Apache-2.0
//
// What an eval expects, and the comparison of results with it.
#pragma once

#include <absl/status/status.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "model/time.h"
#include "promql/engine.h"
#include "tests/script_runner/notation.h"

namespace varve::script {

// One `expect warn|info|fail`: a text, an expression, or neither (anything will do).
struct ExpectedText {
  std::optional<std::string> exact;
  std::optional<std::string> regex;

  bool Matches(std::string_view text) const;
  std::string Describe() const;
};

struct RangeTimes {
  TimestampMs start = 0;
  TimestampMs end = 0;
  DurationMs step = 0;
};

struct Expectation {
  bool ordered = false;
  bool fail = false;
  ExpectedText failure;
  std::vector<ExpectedText> warnings;
  std::vector<ExpectedText> infos;
  bool no_warnings = false;
  bool no_infos = false;
  std::optional<RangeTimes> range_vector;  // An instant query that gives a range vector.
  std::optional<std::string> text;
  std::optional<double> scalar;
  std::vector<SeriesLine> series;
};

// |a - b| / (|a| + |b|) < 1e-6; NaN equals NaN, the staleness marker itself only.
bool AlmostEqual(double a, double b);

// An error names the first difference.
absl::Status CompareInstant(const Expectation& expected, const promql::QueryResult& result);
absl::Status CompareRange(const Expectation& expected, const RangeTimes& times,
                          const promql::QueryResult& result);
// With `exact_positions` false, the `(line:col)` of texts is not looked at: for queries whose text
// was changed.
absl::Status CompareAnnotations(const Expectation& expected, const Annotations& annotations,
                                bool exact_positions);

}  // namespace varve::script

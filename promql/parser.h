// SPDX-License-Identifier: Apache-2.0
//
// From query text to a checked tree.
#pragma once

#include <absl/status/statusor.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>
#include <vector>

#include "model/matcher.h"
#include "promql/ast.h"

namespace varve::promql {

// The longest query text, in bytes.
inline constexpr size_t kQueryBytesMax = 1 << 20;
// What all regular expressions of a query may take.
inline constexpr uint64_t kQueryRegexBytesMax = 64 << 20;
// How deep parentheses, calls and aggregations may nest (kTreeDepthMax of ast.h bounds the rest:
// chains of operators, of signs and of modifiers).
inline constexpr int kNestingMax = 200;

struct ParserOptions {
  bool experimental_functions = false;    // promql-experimental-functions
  bool fill_modifiers = false;            // promql-binop-fill-modifiers
  bool extended_range_selectors = false;  // promql-extended-range-selectors
  // Told what each regular expression takes; its error ends the parsing. May be empty.
  std::function<absl::Status(uint64_t bytes)> hold_regex;
};

// Parses and type-checks `query`. InvalidArgument with Prometheus' text,
// `LINE:COL: parse error: MESSAGE`, for the first error.
absl::StatusOr<ExprPtr> Parse(std::string_view query, const ParserOptions& options);

// Parses a `match[]` parameter: an instant selector without modifiers. Errors as Parse().
absl::StatusOr<std::vector<Matcher>> ParseMetricSelector(std::string_view selector);

}  // namespace varve::promql

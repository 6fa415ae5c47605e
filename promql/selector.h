// SPDX-License-Identifier: Apache-2.0
//
// Instant vector selectors: per step, the newest sample of the lookback window.
#pragma once

#include <memory>

#include "promql/ast.h"
#include "promql/context.h"
#include "promql/duration.h"
#include "promql/operator.h"

namespace varve::promql {

// What a selector tells about the sample it found.
enum class SelectedPart {
  kValue,
  kTimestamp,       // timestamp(v): the sample's time in seconds
  kStartTimestamp,  // start_timestamp(v): the sample's start time in seconds
};

// Values the AST leaves open until the query's times are known.
struct ResolvedTime {
  DurationMs offset = 0;
  bool fixed = false;
  TimestampMs fixed_time = 0;
};
absl::StatusOr<ResolvedTime> ResolveTime(const TimeModifiers& modifiers,
                                         const QueryContext& context);

// The value of a duration expression in this query; a failure is a bad_data error.
absl::StatusOr<DurationMs> ResolveDuration(const DurationExpr& expr, const QueryContext& context,
                                           DurationSign sign);

// What the enclosing call or aggregation does, for the storage's hints.
struct SelectorHints {
  std::string function;
  std::vector<std::string> grouping;
  bool grouping_by = false;
  bool presence_only = false;  // It does not look at values.
  bool grouping_only = false;  // Nor at labels but `grouping`, nor at the order of series.
};

// REQUIRES: `selector` outlives the operator.
absl::StatusOr<OperatorPtr> MakeSelector(QueryContext& context, const Grid& grid,
                                         const VectorSelector& selector, SelectedPart part,
                                         const SelectorHints& hints);

// A range selector: samples of [start - range - what anchored and smoothed need, end + ...].
absl::StatusOr<RangeSourcePtr> MakeRangeSelector(QueryContext& context, const Grid& grid,
                                                 const MatrixSelector& selector,
                                                 const SelectorHints& hints);

// Runs `matchers` against the context's querier; a failure is an execution error. The set, and one
// copy of its labels, are added to `memory`.
absl::StatusOr<std::unique_ptr<SeriesSet>> Select(QueryContext& context,
                                                  const std::vector<Matcher>& matchers,
                                                  SelectHints hints, HeldMemory& memory);

}  // namespace varve::promql

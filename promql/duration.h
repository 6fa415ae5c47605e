// SPDX-License-Identifier: Apache-2.0
//
// What a duration expression (`[step() * 2 + 1m]`) amounts to in a given query.
#pragma once

#include <absl/status/statusor.h>

#include "model/time.h"
#include "promql/ast.h"

namespace varve::promql {

// What step() and range() stand for.
struct DurationContext {
  DurationMs step_ms = 0;   // 0 in an instant query.
  DurationMs range_ms = 0;  // The query's end minus its start.
};

enum class DurationSign { kPositive, kAny };

// The expression's value, cut to whole milliseconds. InvalidArgument with Prometheus' texts:
// `START:END: ` and `division by zero`, `modulo by zero`, `duration is NaN or infinite`, `duration
// is out of range`, and for kPositive `duration must be greater than 0`.
absl::StatusOr<DurationMs> EvaluateDuration(const DurationExpr& expr,
                                            const DurationContext& context, DurationSign sign);

}  // namespace varve::promql

// SPDX-License-Identifier: Apache-2.0
//
// Subqueries: the steps of an expression as the samples of a range vector.
#pragma once

#include "promql/context.h"
#include "promql/operator.h"

namespace varve::promql {

// The steps a subquery evaluates: the multiples of `step` in (end - range, end] of the steps
// around it; without rewrites, those between them as well. Nothing fits: count 0. An execution
// error for more steps than samples are allowed.
absl::StatusOr<Grid> SubqueryGrid(QueryContext& context, const RangeSpec& spec, DurationMs step);

// REQUIRES: `input` was planned over SubqueryGrid(); null if that has no steps.
RangeSourcePtr MakeSubquery(QueryContext& context, const RangeSpec& spec, const Grid& inner,
                            OperatorPtr input);

}  // namespace varve::promql

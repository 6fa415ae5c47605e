// SPDX-License-Identifier: Apache-2.0
//
// From a checked tree to a tree of operators.
#pragma once

#include <absl/container/flat_hash_set.h>
#include <absl/status/statusor.h>

#include <string_view>

#include "promql/ast.h"
#include "promql/context.h"
#include "promql/operator.h"

namespace varve::promql {

// Plans `expr`, an instant vector or a scalar, over `grid`. The tree and the context outlive the
// operators. Tells the context which times will be read. Fails with what the query cannot be for
// (a bad duration, an invalid label name).
absl::StatusOr<OperatorPtr> Plan(QueryContext& context, const Grid& grid, const Expr& expr);

// Plans a range vector; with `presence_only` its values will not be looked at.
// REQUIRES: expr.type is kMatrix.
absl::StatusOr<RangeSourcePtr> PlanRange(QueryContext& context, const Grid& grid, const Expr& expr,
                                         bool presence_only);

// The parts of `expr` that give the same at every step: all their selectors are fixed by `@` and
// nothing in them looks at the evaluation time.
absl::flat_hash_set<const Expr*> StepInvariantParts(const Expr& expr);

// The selectors whose histograms are asked for nothing but count and sum. Their reset hints are
// worked out while reading.
absl::flat_hash_set<const VectorSelector*> HistogramStatsSelectors(const Expr& expr);

// The labels absent() gives for `expr`: what its equality matchers ask for.
Labels AbsentLabels(const Expr& expr);

}  // namespace varve::promql

// SPDX-License-Identifier: Apache-2.0
//
// Operators that note in an ExplainNode what passes through them.
#pragma once

#include <absl/status/statusor.h>

#include <functional>

#include "promql/ast.h"
#include "promql/context.h"
#include "promql/operator.h"

namespace varve::promql {

// Runs `plan`, which plans `expr`. If the query is to be explained, everything planned meanwhile
// lies below a node of its own, which the returned operator fills in.
absl::StatusOr<OperatorPtr> PlanTraced(QueryContext& context, const Expr& expr,
                                       const std::function<absl::StatusOr<OperatorPtr>()>& plan);

}  // namespace varve::promql

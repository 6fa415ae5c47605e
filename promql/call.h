// SPDX-License-Identifier: Apache-2.0
//
// From a call to its operator: which body a function has.
#pragma once

#include <absl/status/statusor.h>

#include "promql/ast.h"
#include "promql/context.h"
#include "promql/operator.h"

namespace varve::promql {

// Plans a call and its arguments.
absl::StatusOr<OperatorPtr> PlanCall(QueryContext& context, const Grid& grid, const Call& call);

}  // namespace varve::promql

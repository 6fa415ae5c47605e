// SPDX-License-Identifier: Apache-2.0
//
// info(v, {selector}?): adds to v's series the labels of info series that describe the same
// instance and job.
#pragma once

#include <absl/status/statusor.h>

#include "promql/ast.h"
#include "promql/context.h"
#include "promql/operator.h"

namespace varve::promql {

// REQUIRES: `call` is a call of info() and outlives the operator.
absl::StatusOr<OperatorPtr> MakeInfo(QueryContext& context, const Grid& grid, const Call& call);

}  // namespace varve::promql

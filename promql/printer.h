// SPDX-License-Identifier: Apache-2.0
//
// Trees back to text. Parsing either form again gives the same tree.
#pragma once

#include <string>

#include "promql/ast.h"

namespace varve::promql {

// One line, as Prometheus prints queries of rules: `sum by (job) (rate(x{a="b"}[5m]))`.
std::string ToString(const Expr& expr);

// The form of /format_query: nodes longer than 100 characters are split over lines, two spaces of
// indentation a level.
std::string ToPrettyString(const Expr& expr);

}  // namespace varve::promql

// SPDX-License-Identifier: Apache-2.0
//
// The rules a tree must obey beyond its grammar: operand and argument types, matchers, modifiers.
#pragma once

#include <optional>
#include <string>

#include "promql/ast.h"

namespace varve::promql {

// What is wrong with a query, and where. Shown as `LINE:COL: parse error: MESSAGE`.
struct ParseError {
  int position = 0;  // A byte of the query.
  std::string message;
};

// Sets every node's type, gives set operators their cardinality, drops vector matching from
// operations between scalars. Returns the first error, in the order Prometheus checks.
std::optional<ParseError> TypeCheck(Expr& expr, std::string_view query);

}  // namespace varve::promql

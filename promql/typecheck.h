// SPDX-License-Identifier: Apache-2.0
//
// The rules a tree must obey beyond its grammar: operand and argument types, matchers, modifiers.
#pragma once

#include <optional>
#include <string_view>

#include "promql/ast.h"
#include "promql/parse_error.h"

namespace varve::promql {

// Checks a tree whose nodes have their types already. Makes set operators many-to-many and drops
// vector matching where an operand is a scalar. Returns the first error, in Prometheus' order.
std::optional<ParseError> TypeCheck(Expr& expr, std::string_view query);

}  // namespace varve::promql

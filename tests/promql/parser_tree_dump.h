// SPDX-License-Identifier: Apache-2.0
//
// Trees as one line of text, for tables of tests: `(+ 1 (* 2 3))`. Unlike the printer it shows what
// belongs to what, and every field that is set. Matchers are sorted, as their order means nothing.
#pragma once

#include <string>

#include "promql/ast.h"
#include "promql/parser.h"

namespace varve::promql {

// Every experimental part of the grammar switched on.
inline const ParserOptions kEverything = {
    .experimental_functions = true, .fill_modifiers = true, .extended_range_selectors = true};

std::string DumpTree(const Expr& expr);

}  // namespace varve::promql

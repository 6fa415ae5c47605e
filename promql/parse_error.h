// SPDX-License-Identifier: Apache-2.0
//
// What to say about text the grammar refuses.
//
// The grammar only knows that it failed. FindSyntaxError() walks the tokens once more, by recursive
// descent, keeping a stack of what is being read (a label list, an aggregation, ...); where a token
// does not fit, the innermost entry words the error: `unexpected ITEM in CONTEXT, expected WHAT`.
#pragma once

#include <absl/status/status.h>

#include <string>
#include <string_view>

#include "promql/lexer.h"

namespace varve::promql {

// What is wrong with a query, and where.
struct ParseError {
  int position = 0;  // A byte of the query.
  std::string message;
};

// `LINE:COL: parse error: MESSAGE`, an InvalidArgument.
absl::Status ToStatus(const ParseError& error, std::string_view query);

enum class GrammarStart { kExpression, kMetricSelector };

// REQUIRES: the grammar does not accept `tokens`.
ParseError FindSyntaxError(const TokenList& tokens, GrammarStart start);

}  // namespace varve::promql

// SPDX-License-Identifier: Apache-2.0
//
// Which tokens may stand where: shared by the grammar and the search for its errors, which must
// agree token by token.
#pragma once

#include "promql/lexer.h"

namespace varve::promql {

// Words that are functions in front of a parenthesis and metric names elsewhere.
inline bool IsCallWord(TokenType type) {
  return type == TokenType::kIdentifier || type >= TokenType::kStart;
}

inline bool IsMetricName(TokenType type) {
  switch (type) {
    case TokenType::kMetricIdentifier:
    case TokenType::kAnd:
    case TokenType::kOr:
    case TokenType::kUnless:
    case TokenType::kOffset:
    case TokenType::kAnchored:
    case TokenType::kSmoothed:
    case TokenType::kBy:
    case TokenType::kWithout:
    case TokenType::kFill:
    case TokenType::kFillLeft:
    case TokenType::kFillRight:
      return true;
    default:
      return IsAggregator(type) || IsCallWord(type);
  }
}

// A name in a list of by(), on(), group_left() and the like; strings may stand there too.
inline bool IsGroupingLabel(TokenType type) {
  switch (type) {
    case TokenType::kIdentifier:
    case TokenType::kMetricIdentifier:
    case TokenType::kAnd:
    case TokenType::kOr:
    case TokenType::kUnless:
    case TokenType::kAtan2:
      return true;
    case TokenType::kWithout:
      return false;
    default:
      return IsAggregator(type) || IsKeyword(type) || type >= TokenType::kStart;
  }
}

inline bool IsBinaryOperator(TokenType type) {
  return type >= TokenType::kAdd && type <= TokenType::kUnless;
}

inline bool IsDurationOperator(TokenType type) {
  return type >= TokenType::kAdd && type <= TokenType::kPow;
}

inline bool IsSign(TokenType type) { return type == TokenType::kAdd || type == TokenType::kSub; }

inline bool IsMatchOperator(TokenType type) {
  return type == TokenType::kAssign || type == TokenType::kNotEqual ||
         type == TokenType::kRegexMatch || type == TokenType::kRegexNotMatch;
}

inline bool IsNumberOrDuration(TokenType type) {
  return type == TokenType::kNumber || type == TokenType::kDuration;
}

}  // namespace varve::promql

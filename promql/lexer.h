// SPDX-License-Identifier: Apache-2.0
//
// Query text to tokens. The grammar (parser.cc) and the wording of syntax errors (parse_error.cc)
// both work on them. What counts as a token depends on where it stands: inside `{}` every word is
// an identifier, inside `[]` only duration expressions are expected. Texts and positions of lexical
// errors are Prometheus'.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace varve::promql {

enum class TokenType : uint8_t {
  kEof,
  kError,  // Lexing stopped here; TokenList::error says why.
  kIdentifier,
  kMetricIdentifier,  // With a colon.
  kNumber,
  kDuration,
  kString,

  kComma,
  kColon,
  kLeftParen,
  kRightParen,
  kLeftBrace,
  kRightBrace,
  kLeftBracket,
  kRightBracket,
  kAssign,  // =

  // Operators.
  kAdd,
  kSub,
  kMul,
  kDiv,
  kMod,
  kPow,
  kAtan2,
  kEqual,  // ==
  kNotEqual,
  kGreater,
  kLess,
  kGreaterEqual,
  kLessEqual,
  kTrimUpper,
  kTrimLower,
  kAnd,
  kOr,
  kUnless,
  kRegexMatch,
  kRegexNotMatch,
  kAt,

  kAggregator,  // FindAggregateOp() of ast.h knows which.

  // Keywords.
  kOffset,
  kAnchored,
  kSmoothed,
  kBy,
  kWithout,
  kOn,
  kIgnoring,
  kGroupLeft,
  kGroupRight,
  kFill,
  kFillLeft,
  kFillRight,
  kBool,

  // Words that are calls only in front of a parenthesis.
  kStart,
  kEnd,
  kStep,
  kRange,
  kMinOf,
  kMaxOf,
};

inline bool IsOperator(TokenType type) { return type >= TokenType::kAdd && type <= TokenType::kAt; }
inline bool IsAggregator(TokenType type) { return type == TokenType::kAggregator; }
inline bool IsKeyword(TokenType type) {
  return type >= TokenType::kOffset && type <= TokenType::kBool;
}

struct Token {
  TokenType type = TokenType::kEof;
  int position = 0;       // In the query, in bytes.
  std::string_view text;  // As written. Lives as long as the query.

  int end() const { return position + static_cast<int>(text.size()); }
};

struct TokenList {
  std::vector<Token> tokens;  // The last one, and only it, is kEof or kError.
  std::string error;          // Empty unless it is kError.
};

// Comments are left out. `query` must outlive the tokens.
TokenList Lex(std::string_view query);

// How error texts name a token: `end of input`, `identifier "x"`, `<op:+>`, `"}"`.
std::string Describe(const Token& token);

// The text between the quotes of a kString token, escapes undone.
std::string Unquote(std::string_view quoted);

}  // namespace varve::promql

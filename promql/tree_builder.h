// SPDX-License-Identifier: Apache-2.0
//
// Builds the tree while the grammar recognises the text. The grammar's actions call one method for
// each thing seen, in the order of the text; operands wait on a stack until the operator, call or
// modifier they belong to is complete. Precedence is decided here, by a second stack of operators.
//
// The first thing that is grammatical but wrong (an unknown function, a second offset) is kept in
// error() and ends building: further calls do nothing.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "promql/ast.h"
#include "promql/lexer.h"
#include "promql/parse_error.h"
#include "promql/parser.h"

namespace varve::promql {

class TreeBuilder {
 public:
  TreeBuilder(std::string_view query, const ParserOptions& options)
      : query_(query), options_(options) {}

  const std::optional<ParseError>& error() const { return error_; }
  // REQUIRES: the grammar accepted the whole text and error() is empty. Call once.
  ExprPtr TakeTree();

  // Expressions, and duration expressions inside brackets: signs, operands and operators in
  // between. Operator() comes before its modifiers.
  void Begin();
  void End();
  void Sign(const Token& token);
  void DurationSign(const Token& token);
  void Operator(const Token& token);
  void DurationOperator(const Token& token);

  // Modifiers of the last operator.
  void Bool();
  void OnLabels();
  void IgnoringLabels();
  void GroupLeft();
  void GroupRight();
  void IncludedLabels();
  void FillBoth();
  void FillLeft();
  void FillRight();

  // Lists of names; whoever takes the list calls after it.
  void BeginLabels();
  void Label(const Token& token);
  void QuotedLabel(const Token& token);

  // A signed number for `@` or a fill.
  void Minus();
  void Scalar(const Token& token);

  // Operands.
  void Number(const Token& token);
  void String(const Token& token);
  void OpenParen(const Token& token);
  void CloseParen(const Token& token);
  void Name(const Token& token);
  void OpenBrace(const Token& token);
  void CloseBrace(const Token& token);
  void MatcherLabel(const Token& token);
  void MatcherQuotedLabel(const Token& token);
  void MatcherOperator(const Token& token);
  void MatcherValue(const Token& token);
  void EndMatcher();
  void EndSelector();

  // Calls and aggregations. Their arguments are the operands since BeginX().
  void BeginCall(const Token& token);
  void EndCall();
  void BeginAggregate(const Token& token);
  void ByLabels();
  void WithoutLabels();
  void EndAggregate();
  void Comma(const Token& token);
  void TrailingComma();
  void Closing(const Token& token);  // The parenthesis that ends arguments or labels.

  // Modifiers of the last operand.
  void OpenBracket(const Token& token);
  void EndMatrix(const Token& token);
  void EndSubquery(const Token& token);
  void EndSubqueryWithStep(const Token& token);
  void EndOffset();
  void AtTimestamp();
  void AtStart();
  void AtEnd();
  void Anchored();
  void Smoothed();

  // Operands of duration expressions.
  void DurationLiteral(const Token& token);
  void CloseDurationParen();
  void DurationWord(const Token& token);
  void BeginDurationCall(const Token& token);
  void EndDurationCall(const Token& token);

 private:
  // Adds a matcher's expression to those of the query, or fails.
  void HoldRegex(const Matcher& matcher);
  // An operator whose right-hand side is still being read, or the start of an expression.
  struct Pending {
    enum class Kind { kStart, kSign, kBinary, kDurationSign, kDurationBinary };
    Kind kind = Kind::kStart;
    TokenType type = TokenType::kEof;
    int position = 0;
    VectorMatching matching;
    bool return_bool = false;
  };
  // A call or aggregation whose arguments are being read.
  struct Frame {
    Token token;
    size_t operands_before = 0;
    std::vector<std::string> grouping;
    bool without = false;
  };

  void Fail(int position, std::string message);
  ExprPtr Pop();
  // Gives a finished node its depth and type, then pushes it.
  void Finish(ExprPtr node);

  void Reduce();
  void ReduceDownTo(int precedence, bool right_associative);
  void ReduceSign(const Pending& sign);
  void ReduceDurationSign(const Pending& sign);
  void ReduceDuration(const Pending& pending);

  void SetFill(bool left, bool right);
  std::vector<ExprPtr> TakeArguments(const Frame& frame);
  void SetAt(AtModifier at, TimestampMs time);
  void SetExtended(bool anchored);
  // The time modifiers of a selector or subquery and where its end is kept; null for the rest.
  static TimeModifiers* TimeOf(Expr& expr);
  // Null, with an error, if it is no selector or its range is not positive.
  std::unique_ptr<Subquery> MakeSubquery(int end, ExprPtr step);
  // A positive literal's milliseconds, or the expression.
  bool SetDuration(ExprPtr duration, DurationMs& ms, std::unique_ptr<DurationExpr>& expr);
  double ParseNumber(const Token& token);
  double ParseNumberOrDuration(const Token& token);

  const std::string_view query_;
  const ParserOptions options_;
  uint64_t regex_bytes_ = 0;
  std::optional<ParseError> error_;

  std::vector<ExprPtr> operands_;
  std::vector<Pending> pending_;
  std::vector<Frame> frames_;
  std::vector<Token> opened_;  // Parentheses, and min_of/max_of of durations.
  int nesting_ = 0;

  // Of the construct being read; none of these nests in itself.
  std::vector<std::string> labels_;
  std::unique_ptr<VectorSelector> selector_;
  Token matcher_label_;
  std::string matcher_name_;
  bool matcher_quoted_ = false;
  TokenType matcher_operator_ = TokenType::kEof;
  Token matcher_value_;
  Token bracket_;
  Token comma_;
  double scalar_ = 0;
  bool minus_ = false;
  int closing_end_ = 0;
};

}  // namespace varve::promql

// SPDX-License-Identifier: Apache-2.0
//
// The syntax tree of a PromQL query. Parse() (parser.h) builds it and checks its types; from then
// on it is immutable and may be read by several threads.
//
// Every node knows its `type` (scalar, instant vector, ...), set by the type check.
//
// Walking it: switch on `expr.kind` and take the node with As<VectorSelector>(expr), or ask
// TryAs<VectorSelector>(expr), which is null for another kind. Parentheses are nodes of their own
// (they matter to the printer and to a few rules); Unparen() looks through them.
//
// Times in selectors are as written: `offset`, `@` and ranges are resolved by whoever evaluates.
// Where a duration is an expression (`[step() + 1m]`), the tree holds the expression and the plain
// field is 0; EvaluateDuration() in duration.h gives its value once start, end and step are known.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "model/matcher.h"
#include "model/time.h"
#include "promql/function_signatures.h"

namespace varve::promql {

// How deep a tree may be: bounds every recursion over it. 2,000 terms joined by `or` fit.
inline constexpr int kTreeDepthMax = 2500;

// Bytes [start, end) of the query text.
struct PositionRange {
  int start = 0;
  int end = 0;
  friend bool operator==(const PositionRange&, const PositionRange&) = default;
};

// `LINE:COL` of a byte of `query`, both counted from 1, columns in bytes.
std::string LineColumn(std::string_view query, int position);

enum class ExprKind : uint8_t {
  kNumberLiteral,
  kStringLiteral,
  kVectorSelector,
  kMatrixSelector,
  kSubquery,
  kAggregate,
  kBinary,
  kCall,
  kUnary,
  kParen,
  kDuration,
};

struct Expr {
  virtual ~Expr() = default;
  Expr(const Expr&) = delete;
  Expr& operator=(const Expr&) = delete;

  const ExprKind kind;
  ValueType type = ValueType::kNone;  // kNone only in duration expressions.
  uint16_t depth = 1;                 // Levels of the tree from here down, at most kTreeDepthMax.
  PositionRange position;

 protected:
  explicit Expr(ExprKind kind_of_node) : kind(kind_of_node) {}
};

using ExprPtr = std::unique_ptr<Expr>;

// Gives every node its kind as a constant, for As() and TryAs().
template <ExprKind kKindOfNode>
struct ExprOf : Expr {
  static constexpr ExprKind kKind = kKindOfNode;
  ExprOf() : Expr(kKindOfNode) {}
};

// REQUIRES: expr is a Node.
template <typename Node>
const Node& As(const Expr& expr) {
  return static_cast<const Node&>(expr);
}
// Null if `expr` is another kind of node.
template <typename Node>
const Node* TryAs(const Expr& expr) {
  return expr.kind == Node::kKind ? static_cast<const Node*>(&expr) : nullptr;
}
template <typename Node>
Node* TryAs(Expr& expr) {
  return expr.kind == Node::kKind ? static_cast<Node*>(&expr) : nullptr;
}

struct NumberLiteral : ExprOf<ExprKind::kNumberLiteral> {
  double value = 0;
  bool is_duration = false;  // Written as `5m`; printed so too.
};

struct StringLiteral : ExprOf<ExprKind::kStringLiteral> {
  std::string value;
};

enum class DurationOp : uint8_t {
  kAdd,  // lhs + rhs; without lhs the unary sign
  kSub,
  kMul,
  kDiv,
  kMod,
  kPow,
  kStep,   // step(), no operands
  kRange,  // range(), no operands
  kMinOf,  // min_of(lhs, rhs)
  kMaxOf,
};

// Arithmetic on durations, in seconds. Operands are NumberLiteral or DurationExpr.
struct DurationExpr : ExprOf<ExprKind::kDuration> {
  DurationOp op = DurationOp::kAdd;
  ExprPtr lhs;           // Null for a unary sign, step() and range().
  ExprPtr rhs;           // Null for step() and range().
  bool wrapped = false;  // In parentheses.
};

enum class AtModifier : uint8_t { kNone, kTimestamp, kStart, kEnd };

// What `offset` and `@` say.
struct TimeModifiers {
  DurationMs offset_ms = 0;
  std::unique_ptr<DurationExpr> offset_expr;
  AtModifier at = AtModifier::kNone;
  TimestampMs at_ms = 0;  // With AtModifier::kTimestamp.
};

struct VectorSelector : ExprOf<ExprKind::kVectorSelector> {
  std::string name;               // The name outside the braces; "" if there is none.
  std::vector<Matcher> matchers;  // As written, then the one for `name`. Includes `__name__`.
  TimeModifiers time;
  bool anchored = false;
  bool smoothed = false;
  // `{...}` as second argument of info(): may match everything.
  bool bypass_empty_matcher_check = false;
};

struct MatrixSelector : ExprOf<ExprKind::kMatrixSelector> {
  std::unique_ptr<VectorSelector> selector;  // Holds offset, @, anchored and smoothed.
  DurationMs range_ms = 0;
  std::unique_ptr<DurationExpr> range_expr;
};

struct Subquery : ExprOf<ExprKind::kSubquery> {
  ExprPtr expr;
  DurationMs range_ms = 0;
  std::unique_ptr<DurationExpr> range_expr;
  DurationMs step_ms = 0;  // 0 without step_expr: the default evaluation interval.
  std::unique_ptr<DurationExpr> step_expr;
  TimeModifiers time;
};

enum class AggregateOp : uint8_t {
  kSum,
  kAvg,
  kCount,
  kMin,
  kMax,
  kGroup,
  kStddev,
  kStdvar,
  kTopk,
  kBottomk,
  kCountValues,
  kQuantile,
  kLimitk,
  kLimitRatio,
};
inline constexpr size_t kAggregateOpCount = static_cast<size_t>(AggregateOp::kLimitRatio) + 1;
// "sum", "count_values", ...
std::string_view AggregateOpText(AggregateOp op);
// The aggregation `text` names, in whatever case; null if none.
std::optional<AggregateOp> FindAggregateOp(std::string_view text);
bool HasParameter(AggregateOp op);

struct Aggregate : ExprOf<ExprKind::kAggregate> {
  AggregateOp op = AggregateOp::kSum;
  ExprPtr expr;
  ExprPtr param;  // Null unless HasParameter(op).
  std::vector<std::string> grouping;
  bool without = false;
};

enum class BinaryOp : uint8_t {
  kAdd,
  kSub,
  kMul,
  kDiv,
  kMod,
  kPow,
  kAtan2,
  kEqual,
  kNotEqual,
  kGreater,
  kLess,
  kGreaterEqual,
  kLessEqual,
  kTrimUpper,  // </ : keeps observations below
  kTrimLower,  // >/ : keeps observations above
  kAnd,
  kOr,
  kUnless,
};
// "+", "atan2", "</", "unless", ...
std::string_view BinaryOpText(BinaryOp op);
bool IsComparison(BinaryOp op);  // == != > < >= <=, not the trims.
bool IsSetOperator(BinaryOp op);

enum class Cardinality : uint8_t { kOneToOne, kManyToOne, kOneToMany, kManyToMany };
// "one-to-one", ...
std::string_view CardinalityText(Cardinality card);

struct VectorMatching {
  Cardinality card = Cardinality::kOneToOne;
  std::vector<std::string> labels;  // Of on() or ignoring().
  bool on = false;
  std::vector<std::string> include;  // Of group_left() or group_right().
  std::optional<double> fill_left;   // Stands in for a missing left-hand side.
  std::optional<double> fill_right;
};

struct Binary : ExprOf<ExprKind::kBinary> {
  BinaryOp op = BinaryOp::kAdd;
  ExprPtr lhs;
  ExprPtr rhs;
  std::optional<VectorMatching> matching;  // Only between two instant vectors.
  bool return_bool = false;
};

struct Call : ExprOf<ExprKind::kCall> {
  const FunctionSignature* function = nullptr;  // Never null in a parsed tree.
  std::vector<ExprPtr> args;
};

struct Unary : ExprOf<ExprKind::kUnary> {
  bool negative = false;
  ExprPtr expr;
};

struct Paren : ExprOf<ExprKind::kParen> {
  ExprPtr expr;
};

// `expr` without the parentheses around it.
const Expr& Unparen(const Expr& expr);

// Direct children in the order they are written. Selectors of matrix selectors are not expressions
// of their own; duration expressions are not visited.
std::vector<const Expr*> Children(const Expr& expr);

}  // namespace varve::promql

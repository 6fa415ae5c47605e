// SPDX-License-Identifier: Apache-2.0
//
// Names of operators, and small questions about trees.
#include "promql/ast.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "model/check.h"

namespace varve::promql {

std::string LineColumn(std::string_view query, int position) {
  const std::string_view before =
      query.substr(0, std::min(static_cast<size_t>(std::max(position, 0)), query.size()));
  const auto lines = std::count(before.begin(), before.end(), '\n');
  const size_t line_start = before.rfind('\n') + 1;  // npos + 1 is 0: the first line.
  return fmt::format("{}:{}", lines + 1, before.size() - line_start + 1);
}

std::string_view AggregateOpText(AggregateOp op) {
  static constexpr std::string_view kTexts[] = {
      "sum",    "avg",  "count",   "min",          "max",      "group",  "stddev",
      "stdvar", "topk", "bottomk", "count_values", "quantile", "limitk", "limit_ratio"};
  static_assert(std::size(kTexts) == kAggregateOpCount);
  return kTexts[static_cast<size_t>(op)];
}

std::optional<AggregateOp> FindAggregateOp(std::string_view text) {
  const auto same = [](char a, char b) { return (a >= 'A' && a <= 'Z' ? a - 'A' + 'a' : a) == b; };
  for (size_t i = 0; i < kAggregateOpCount; ++i) {
    const auto op = static_cast<AggregateOp>(i);
    const std::string_view name = AggregateOpText(op);
    if (std::equal(text.begin(), text.end(), name.begin(), name.end(), same)) return op;
  }
  return std::nullopt;
}

bool HasParameter(AggregateOp op) {
  switch (op) {
    case AggregateOp::kTopk:
    case AggregateOp::kBottomk:
    case AggregateOp::kCountValues:
    case AggregateOp::kQuantile:
    case AggregateOp::kLimitk:
    case AggregateOp::kLimitRatio:
      return true;
    default:
      return false;
  }
}

std::string_view BinaryOpText(BinaryOp op) {
  static constexpr std::string_view kTexts[] = {"+",     "-",  "*",  "/",   "%",  "^",
                                                "atan2", "==", "!=", ">",   "<",  ">=",
                                                "<=",    "</", ">/", "and", "or", "unless"};
  return kTexts[static_cast<size_t>(op)];
}

bool IsComparison(BinaryOp op) { return op >= BinaryOp::kEqual && op <= BinaryOp::kLessEqual; }

bool IsSetOperator(BinaryOp op) {
  return op == BinaryOp::kAnd || op == BinaryOp::kOr || op == BinaryOp::kUnless;
}

std::string_view CardinalityText(Cardinality card) {
  switch (card) {
    case Cardinality::kOneToOne:
      return "one-to-one";
    case Cardinality::kManyToOne:
      return "many-to-one";
    case Cardinality::kOneToMany:
      return "one-to-many";
    case Cardinality::kManyToMany:
      break;
  }
  return "many-to-many";
}

const Expr& Unparen(const Expr& expr) {
  const Expr* inner = &expr;
  while (const auto* paren = TryAs<Paren>(*inner)) inner = paren->expr.get();
  return *inner;
}

std::vector<const Expr*> Children(const Expr& expr) {
  std::vector<const Expr*> children;
  switch (expr.kind) {
    case ExprKind::kNumberLiteral:
    case ExprKind::kStringLiteral:
    case ExprKind::kVectorSelector:
    case ExprKind::kMatrixSelector:
    case ExprKind::kDuration:
      break;
    case ExprKind::kSubquery:
      children.push_back(As<Subquery>(expr).expr.get());
      break;
    case ExprKind::kAggregate:
      if (As<Aggregate>(expr).param) children.push_back(As<Aggregate>(expr).param.get());
      children.push_back(As<Aggregate>(expr).expr.get());
      break;
    case ExprKind::kBinary:
      children.push_back(As<Binary>(expr).lhs.get());
      children.push_back(As<Binary>(expr).rhs.get());
      break;
    case ExprKind::kCall:
      for (const ExprPtr& arg : As<Call>(expr).args) children.push_back(arg.get());
      break;
    case ExprKind::kUnary:
      children.push_back(As<Unary>(expr).expr.get());
      break;
    case ExprKind::kParen:
      children.push_back(As<Paren>(expr).expr.get());
      break;
  }
  return children;
}

}  // namespace varve::promql

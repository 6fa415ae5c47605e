// SPDX-License-Identifier: Apache-2.0
//
// One function a kind of node; optional parts appear only when set.
#include "tests/promql/parser_tree_dump.h"

#include <fmt/format.h>

#include <algorithm>

#include "model/labels.h"

namespace varve::promql {
namespace {

std::string DumpDuration(const DurationExpr& duration) {
  static constexpr const char* kNames[] = {"+", "-",    "*",     "/",      "%",
                                           "^", "step", "range", "min_of", "max_of"};
  std::string text = fmt::format("({}", kNames[static_cast<int>(duration.op)]);
  if (duration.lhs) text += " " + DumpTree(*duration.lhs);
  if (duration.rhs) text += " " + DumpTree(*duration.rhs);
  return text + (duration.wrapped ? " wrapped)" : ")");
}

std::string DumpTime(const TimeModifiers& time) {
  std::string text;
  if (time.at == AtModifier::kTimestamp) text += fmt::format(" @{}", time.at_ms);
  if (time.at == AtModifier::kStart) text += " @start";
  if (time.at == AtModifier::kEnd) text += " @end";
  if (time.offset_ms != 0) text += fmt::format(" offset:{}", time.offset_ms);
  if (time.offset_expr) text += " offset:" + DumpDuration(*time.offset_expr);
  return text;
}

std::string DumpSelector(const VectorSelector& selector) {
  std::string text = "[" + selector.name;
  std::vector<std::string> matchers;
  for (const Matcher& matcher : selector.matchers) matchers.push_back(matcher.ToString());
  std::sort(matchers.begin(), matchers.end());
  for (const std::string& matcher : matchers) text += " " + matcher;
  if (selector.anchored) text += " anchored";
  if (selector.smoothed) text += " smoothed";
  if (selector.bypass_empty_matcher_check) text += " bypass";
  return text + DumpTime(selector.time) + "]";
}

std::string DumpRange(DurationMs ms, const std::unique_ptr<DurationExpr>& expr) {
  return expr ? DumpDuration(*expr) : std::to_string(ms);
}

std::string DumpSubquery(const Subquery& subquery) {
  return fmt::format("(subquery {} {}:{}{})", DumpTree(*subquery.expr),
                     DumpRange(subquery.range_ms, subquery.range_expr),
                     DumpRange(subquery.step_ms, subquery.step_expr), DumpTime(subquery.time));
}

std::string DumpAggregate(const Aggregate& aggregate) {
  std::string text = fmt::format("({}", AggregateOpText(aggregate.op));
  if (aggregate.without || !aggregate.grouping.empty()) {
    text += fmt::format(" {}({})", aggregate.without ? "without" : "by",
                        fmt::join(aggregate.grouping, "|"));
  }
  if (aggregate.param) text += " " + DumpTree(*aggregate.param);
  return text + " " + DumpTree(*aggregate.expr) + ")";
}

std::string DumpBinary(const Binary& binary) {
  std::string text = fmt::format("({}", BinaryOpText(binary.op));
  if (binary.return_bool) text += " bool";
  if (binary.matching) {
    const VectorMatching& matching = *binary.matching;
    text += fmt::format(" {}", CardinalityText(matching.card));
    if (matching.on || !matching.labels.empty()) {
      text +=
          fmt::format(" {}({})", matching.on ? "on" : "ignoring", fmt::join(matching.labels, "|"));
    }
    if (!matching.include.empty()) {
      text += fmt::format(" include({})", fmt::join(matching.include, "|"));
    }
    if (matching.fill_left) text += fmt::format(" fill_left:{}", *matching.fill_left);
    if (matching.fill_right) text += fmt::format(" fill_right:{}", *matching.fill_right);
  }
  return text + fmt::format(" {} {})", DumpTree(*binary.lhs), DumpTree(*binary.rhs));
}

std::string DumpCall(const Call& call) {
  std::string text = fmt::format("(call {}", call.function->name);
  for (const ExprPtr& arg : call.args) text += " " + DumpTree(*arg);
  return text + ")";
}

}  // namespace

std::string DumpTree(const Expr& expr) {
  switch (expr.kind) {
    case ExprKind::kNumberLiteral: {
      const auto& number = As<NumberLiteral>(expr);
      return FormatFloat(number.value) + (number.is_duration ? "s" : "");
    }
    case ExprKind::kStringLiteral:
      return Quoted(As<StringLiteral>(expr).value);
    case ExprKind::kVectorSelector:
      return DumpSelector(As<VectorSelector>(expr));
    case ExprKind::kMatrixSelector: {
      const auto& matrix = As<MatrixSelector>(expr);
      return fmt::format("(range {} {})", DumpSelector(*matrix.selector),
                         DumpRange(matrix.range_ms, matrix.range_expr));
    }
    case ExprKind::kSubquery:
      return DumpSubquery(As<Subquery>(expr));
    case ExprKind::kAggregate:
      return DumpAggregate(As<Aggregate>(expr));
    case ExprKind::kBinary:
      return DumpBinary(As<Binary>(expr));
    case ExprKind::kCall:
      return DumpCall(As<Call>(expr));
    case ExprKind::kUnary:
      return fmt::format("({} {})", As<Unary>(expr).negative ? "neg" : "pos",
                         DumpTree(*As<Unary>(expr).expr));
    case ExprKind::kParen:
      return fmt::format("(paren {})", DumpTree(*As<Paren>(expr).expr));
    case ExprKind::kDuration:
      return DumpDuration(As<DurationExpr>(expr));
  }
  return "";
}

}  // namespace varve::promql

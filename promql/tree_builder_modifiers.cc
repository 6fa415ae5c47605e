// SPDX-License-Identifier: Apache-2.0
//
// TreeBuilder's second half: what follows an operand (ranges, `offset`, `@`, `anchored`,
// `smoothed`) and the duration expressions in it.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "model/check.h"
#include "promql/tree_builder.h"

namespace varve::promql {
namespace {

// Durations are nanoseconds in 63 bits where Prometheus keeps them.
constexpr double kDurationSecondsMax = 9223372036854775808.0 / 1e9;

bool OutOfRange(double seconds) {
  return seconds > kDurationSecondsMax || seconds < -kDurationSecondsMax;
}

// REQUIRES: !OutOfRange(seconds).
DurationMs ToMilliseconds(double seconds) {
  constexpr double kNanosMax = 9223372036854774784.0;  // The last double below 2^63.
  const double nanos = std::clamp(std::round(seconds * 1e9), -kNanosMax, kNanosMax);
  return static_cast<int64_t>(nanos) / 1000000;
}

DurationOp DurationOpOf(TokenType type) {
  switch (type) {
    case TokenType::kAdd:
      return DurationOp::kAdd;
    case TokenType::kSub:
      return DurationOp::kSub;
    case TokenType::kMul:
      return DurationOp::kMul;
    case TokenType::kDiv:
      return DurationOp::kDiv;
    case TokenType::kMod:
      return DurationOp::kMod;
    case TokenType::kPow:
      return DurationOp::kPow;
    case TokenType::kStep:
      return DurationOp::kStep;
    case TokenType::kRange:
      return DurationOp::kRange;
    case TokenType::kMinOf:
      return DurationOp::kMinOf;
    default:
      INVARIANT(type == TokenType::kMaxOf);
      return DurationOp::kMaxOf;
  }
}

// Of the literal there, or null.
NumberLiteral* LiteralOf(const ExprPtr& expr) { return TryAs<NumberLiteral>(*expr); }

std::unique_ptr<DurationExpr> TakeDuration(ExprPtr expr) {
  return std::unique_ptr<DurationExpr>(TryAs<DurationExpr>(*expr.release()));
}

// As Go's %f prints it.
std::string GoFixed(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0 ? "+Inf" : "-Inf";
  return fmt::format("{:f}", value);
}

TimestampMs SaturatingInt64(double value) {
  constexpr double kEdge = 9223372036854775808.0;  // 2^63
  if (value >= kEdge) return kMaxTimestamp;
  return value < -kEdge ? kMinTimestamp : static_cast<TimestampMs>(value);
}

}  // namespace

// ------------------------------------------------------------------------------------- durations

void TreeBuilder::DurationLiteral(const Token& token) {
  auto number = std::make_unique<NumberLiteral>();
  number->value = ParseNumberOrDuration(token);
  number->is_duration = token.type == TokenType::kDuration;
  number->position = {token.position, token.end()};
  closing_end_ = token.end();
  if (OutOfRange(number->value)) return Fail(token.position, "duration out of range");
  Finish(std::move(number));
}

void TreeBuilder::CloseDurationParen() {
  // Around a literal the parentheses leave no trace.
  if (auto* duration = TryAs<DurationExpr>(*operands_.back())) duration->wrapped = true;
}

void TreeBuilder::DurationWord(const Token& token) {
  auto duration = std::make_unique<DurationExpr>();
  duration->op = DurationOpOf(token.type);
  duration->position = {token.position, token.end()};
  Finish(std::move(duration));
}

void TreeBuilder::BeginDurationCall(const Token& token) { opened_.push_back(token); }

void TreeBuilder::EndDurationCall(const Token& token) {
  auto duration = std::make_unique<DurationExpr>();
  duration->op = DurationOpOf(opened_.back().type);
  duration->position = {opened_.back().position, token.end()};
  opened_.pop_back();
  duration->rhs = Pop();
  duration->lhs = Pop();
  closing_end_ = token.end();
  Finish(std::move(duration));
}

void TreeBuilder::ReduceDurationSign(const Pending& sign) {
  const bool negative = sign.type == TokenType::kSub;
  if (NumberLiteral* number = LiteralOf(operands_.back())) {
    if (negative) number->value = -number->value;
    number->position.start = sign.position;
    return;
  }
  if (!negative) return;
  auto duration = std::make_unique<DurationExpr>();
  duration->op = DurationOp::kSub;
  duration->rhs = Pop();
  duration->position = {sign.position, duration->rhs->position.end};
  Finish(std::move(duration));
}

void TreeBuilder::ReduceDuration(const Pending& pending) {
  auto duration = std::make_unique<DurationExpr>();
  duration->op = DurationOpOf(pending.type);
  duration->rhs = Pop();
  duration->lhs = Pop();
  duration->position = {duration->lhs->position.start, duration->rhs->position.end};
  const NumberLiteral* divisor = LiteralOf(duration->rhs);
  if (divisor && divisor->value == 0) {
    if (pending.type == TokenType::kDiv) return Fail(pending.position, "division by zero");
    if (pending.type == TokenType::kMod) return Fail(pending.position, "modulo by zero");
  }
  Finish(std::move(duration));
}

bool TreeBuilder::SetDuration(ExprPtr duration, DurationMs& ms,
                              std::unique_ptr<DurationExpr>& expr) {
  const NumberLiteral* number = LiteralOf(duration);
  if (!number) {
    expr = TakeDuration(std::move(duration));
    return true;
  }
  ms = ToMilliseconds(number->value);
  if (ms > 0) return true;
  Fail(number->position.start, "duration must be greater than 0");
  return false;
}

// --------------------------------------------------------------------------- ranges and subqueries

void TreeBuilder::OpenBracket(const Token& token) { bracket_ = token; }

void TreeBuilder::EndMatrix(const Token& token) {
  closing_end_ = token.end();
  auto matrix = std::make_unique<MatrixSelector>();
  if (!SetDuration(Pop(), matrix->range_ms, matrix->range_expr)) return;
  auto* selector = TryAs<VectorSelector>(*operands_.back());
  if (!selector) return Fail(bracket_.position, "ranges only allowed for vector selectors");
  if (selector->time.offset_ms != 0 || selector->time.offset_expr) {
    return Fail(bracket_.position, "no offset modifiers allowed before range");
  }
  if (selector->time.at == AtModifier::kTimestamp) {
    return Fail(bracket_.position, "no @ modifiers allowed before range");
  }
  Pop().release();  // `selector`, now owned by the matrix selector.
  matrix->selector.reset(selector);
  matrix->position = {selector->position.start, token.end()};
  Finish(std::move(matrix));
}

void TreeBuilder::EndSubquery(const Token& token) {
  if (auto subquery = MakeSubquery(token.end(), nullptr)) Finish(std::move(subquery));
}

void TreeBuilder::EndSubqueryWithStep(const Token& token) {
  ExprPtr step = Pop();
  if (auto subquery = MakeSubquery(token.end(), std::move(step))) Finish(std::move(subquery));
}

std::unique_ptr<Subquery> TreeBuilder::MakeSubquery(int end, ExprPtr step) {
  closing_end_ = end;
  auto subquery = std::make_unique<Subquery>();
  if (!SetDuration(Pop(), subquery->range_ms, subquery->range_expr)) return nullptr;
  if (step && !SetDuration(std::move(step), subquery->step_ms, subquery->step_expr)) {
    return nullptr;
  }
  subquery->expr = Pop();
  subquery->position = {subquery->expr->position.start, end};
  return subquery;
}

// --------------------------------------------------------------------------------- offset and @

TimeModifiers* TreeBuilder::TimeOf(Expr& expr) {
  if (auto* selector = TryAs<VectorSelector>(expr)) return &selector->time;
  if (auto* matrix = TryAs<MatrixSelector>(expr)) return &matrix->selector->time;
  if (auto* subquery = TryAs<Subquery>(expr)) return &subquery->time;
  return nullptr;
}

void TreeBuilder::EndOffset() {
  ExprPtr offset = Pop();
  Expr& expr = *operands_.back();
  TimeModifiers* time = TimeOf(expr);
  if (!time) {
    return Fail(expr.position.start,
                "offset modifier must be preceded by an instant vector selector or range vector "
                "selector or a subquery");
  }
  if (time->offset_ms != 0 || time->offset_expr) {
    return Fail(expr.position.start, "offset may not be set multiple times");
  }
  if (const NumberLiteral* number = LiteralOf(offset)) {
    time->offset_ms = ToMilliseconds(number->value);
  } else {
    time->offset_expr = TakeDuration(std::move(offset));
  }
  expr.position.end = closing_end_;
}

void TreeBuilder::AtTimestamp() {
  constexpr double kInt64Edge = 9223372036854775808.0;  // 2^63
  if (!(scalar_ > -kInt64Edge && scalar_ < kInt64Edge)) {
    return Fail(operands_.back()->position.start,
                fmt::format("timestamp out of bounds for @ modifier: {}", GoFixed(scalar_)));
  }
  const double ms = std::round(scalar_ * 1000);
  SetAt(AtModifier::kTimestamp, SaturatingInt64(ms));
}

void TreeBuilder::AtStart() { SetAt(AtModifier::kStart, 0); }

void TreeBuilder::AtEnd() { SetAt(AtModifier::kEnd, 0); }

void TreeBuilder::SetAt(AtModifier at, TimestampMs at_ms) {
  Expr& expr = *operands_.back();
  TimeModifiers* time = TimeOf(expr);
  if (!time) {
    return Fail(expr.position.start,
                "@ modifier must be preceded by an instant vector selector or range vector "
                "selector or a subquery");
  }
  if (time->at != AtModifier::kNone) {
    return Fail(expr.position.start, "@ <timestamp> may not be set multiple times");
  }
  time->at = at;
  time->at_ms = at_ms;
  expr.position.end = closing_end_;
}

void TreeBuilder::Anchored() { SetExtended(true); }

void TreeBuilder::Smoothed() { SetExtended(false); }

void TreeBuilder::SetExtended(bool anchored) {
  const std::string_view name = anchored ? "anchored" : "smoothed";
  Expr& expr = *operands_.back();
  const int start = expr.position.start;
  if (!options_.extended_range_selectors) {
    return Fail(start, fmt::format("{} modifier is experimental and not enabled", name));
  }
  if (expr.kind == ExprKind::kSubquery) {
    return Fail(start, fmt::format("{} modifier is not supported for subqueries", name));
  }
  auto* selector = TryAs<VectorSelector>(expr);
  if (auto* matrix = TryAs<MatrixSelector>(expr)) selector = matrix->selector.get();
  if (!selector) return Fail(start, fmt::format("{} modifier not implemented", name));
  (anchored ? selector->anchored : selector->smoothed) = true;
  if (selector->anchored && selector->smoothed) {
    Fail(start, "anchored and smoothed modifiers cannot be used together");
  }
}

}  // namespace varve::promql

// SPDX-License-Identifier: Apache-2.0
//
// Plain arithmetic on seconds.
#include "promql/duration.h"

#include <fmt/format.h>

#include <cmath>
#include <string_view>

#include "model/check.h"
#include "model/status_macros.h"

namespace varve::promql {
namespace {

// As Prometheus words it: with the bytes of the query it is about, counted from 0.
absl::Status Failure(const Expr& expr, std::string_view what) {
  return absl::InvalidArgumentError(
      fmt::format("{}:{}: {}", expr.position.start, expr.position.end, what));
}

absl::StatusOr<double> Evaluate(const Expr& expr, const DurationContext& context) {
  if (const auto* number = TryAs<NumberLiteral>(expr)) return number->value;
  INVARIANT(expr.kind == ExprKind::kDuration);
  const auto& duration = As<DurationExpr>(expr);
  double lhs = 0;
  double rhs = 0;
  if (duration.lhs) {
    ASSIGN_OR_RETURN(lhs, Evaluate(*duration.lhs, context));
  }
  if (duration.rhs) {
    ASSIGN_OR_RETURN(rhs, Evaluate(*duration.rhs, context));
  }
  switch (duration.op) {
    case DurationOp::kAdd:
      return lhs + rhs;
    case DurationOp::kSub:
      return lhs - rhs;
    case DurationOp::kMul:
      return lhs * rhs;
    case DurationOp::kDiv:
      if (rhs == 0) return Failure(expr, "division by zero");
      return lhs / rhs;
    case DurationOp::kMod:
      if (rhs == 0) return Failure(expr, "modulo by zero");
      return std::fmod(lhs, rhs);
    case DurationOp::kPow:
      return std::pow(lhs, rhs);
    case DurationOp::kStep:
      return static_cast<double>(context.step_ms) / kSecond;
    case DurationOp::kRange:
      return static_cast<double>(context.range_ms) / kSecond;
    case DurationOp::kMinOf:
      return std::isnan(lhs) ? lhs : std::isnan(rhs) ? rhs : std::fmin(lhs, rhs);
    case DurationOp::kMaxOf:
      return std::isnan(lhs) ? lhs : std::isnan(rhs) ? rhs : std::fmax(lhs, rhs);
  }
  INVARIANT(false);
  return 0.0;
}

}  // namespace

absl::StatusOr<DurationMs> EvaluateDuration(const DurationExpr& expr,
                                            const DurationContext& context, DurationSign sign) {
  ASSIGN_OR_RETURN(const double seconds, Evaluate(expr, context));
  if (!std::isfinite(seconds)) return Failure(expr, "duration is NaN or infinite");
  if (seconds <= 0 && sign == DurationSign::kPositive) {
    return Failure(expr, "duration must be greater than 0");
  }
  constexpr double kSecondsMax = 9223372036854775808.0 / 1e9;  // 2^63 ns
  if (seconds >= kSecondsMax || seconds <= -kSecondsMax) {
    return Failure(expr, "duration is out of range");
  }
  return static_cast<DurationMs>(seconds * kSecond);
}

}  // namespace varve::promql

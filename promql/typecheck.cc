// SPDX-License-Identifier: Apache-2.0
//
// One walk over the tree. Each check stands where Prometheus has it, because only the first error
// is shown.
#include "promql/typecheck.h"

#include <fmt/format.h>

#include <algorithm>

#include "model/labels.h"

namespace varve::promql {
namespace {

using MaybeError = std::optional<ParseError>;

class Checker {
 public:
  explicit Checker(std::string_view query) : query_(query) {}

  MaybeError Check(Expr& expr) {
    switch (expr.kind) {
      case ExprKind::kNumberLiteral:
      case ExprKind::kStringLiteral:
      case ExprKind::kDuration:
        return std::nullopt;
      case ExprKind::kVectorSelector:
        return CheckSelector(*TryAs<VectorSelector>(expr));
      case ExprKind::kMatrixSelector:
        return CheckSelector(*TryAs<MatrixSelector>(expr)->selector);
      case ExprKind::kSubquery:
        return CheckSubquery(*TryAs<Subquery>(expr));
      case ExprKind::kAggregate:
        return CheckAggregate(*TryAs<Aggregate>(expr));
      case ExprKind::kBinary:
        return CheckBinary(*TryAs<Binary>(expr));
      case ExprKind::kCall:
        return CheckCall(*TryAs<Call>(expr));
      case ExprKind::kUnary:
        return CheckUnary(*TryAs<Unary>(expr));
      case ExprKind::kParen:
        return Check(*TryAs<Paren>(expr)->expr);
    }
    return std::nullopt;
  }

 private:
  static MaybeError Error(const Expr& at, std::string message) {
    return ParseError{at.position.start, std::move(message)};
  }

  MaybeError Expect(Expr& expr, ValueType type, std::string_view context) {
    if (auto error = Check(expr)) return error;
    if (expr.type == type) return std::nullopt;
    return Error(expr, fmt::format("expected type {} in {}, got {}", ValueTypeDescription(type),
                                   context, ValueTypeDescription(expr.type)));
  }

  MaybeError CheckSelector(VectorSelector& selector);
  MaybeError CheckSubquery(Subquery& subquery);
  MaybeError CheckAggregate(Aggregate& aggregate);
  MaybeError CheckBinary(Binary& binary);
  MaybeError CheckOperator(const Binary& binary);
  MaybeError CheckMatching(Binary& binary);
  MaybeError CheckCall(Call& call);
  MaybeError CheckArgumentCount(const Call& call);
  MaybeError CheckInfoSelector(Call& call);
  MaybeError CheckUnary(Unary& unary);
  int OperatorPosition(const Binary& binary) const;

  const std::string_view query_;
};

MaybeError Checker::CheckSelector(VectorSelector& selector) {
  if (!selector.name.empty()) {
    // The last matcher is the one for the name outside the braces.
    for (size_t i = 0; i + 1 < selector.matchers.size(); ++i) {
      const Matcher& matcher = selector.matchers[i];
      if (matcher.name() != kMetricName) continue;
      return Error(selector, fmt::format("metric name must not be set twice: {} or {}",
                                         Quoted(selector.name), Quoted(matcher.value())));
    }
    return std::nullopt;
  }
  if (selector.bypass_empty_matcher_check) return std::nullopt;
  const bool selective = std::any_of(selector.matchers.begin(), selector.matchers.end(),
                                     [](const Matcher& m) { return !m.MatchesEmpty(); });
  if (selective) return std::nullopt;
  return Error(selector, "vector selector must contain at least one non-empty matcher");
}

MaybeError Checker::CheckSubquery(Subquery& subquery) {
  if (auto error = Check(*subquery.expr)) return error;
  if (subquery.expr->type == ValueType::kVector) return std::nullopt;
  return Error(subquery, fmt::format("subquery is only allowed on instant vector, got {} instead",
                                     ValueTypeText(subquery.expr->type)));
}

MaybeError Checker::CheckAggregate(Aggregate& aggregate) {
  if (auto error = Expect(*aggregate.expr, ValueType::kVector, "aggregation expression")) {
    return error;
  }
  if (!aggregate.param) return std::nullopt;
  const bool text = aggregate.op == AggregateOp::kCountValues;
  return Expect(*aggregate.param, text ? ValueType::kString : ValueType::kScalar,
                "aggregation parameter");
}

// Where the operator stands: behind the left-hand side and the blanks after it.
int Checker::OperatorPosition(const Binary& binary) const {
  auto position = static_cast<size_t>(binary.lhs->position.end);
  while (position < query_.size() &&
         std::string_view(" \t\r\n").find(query_[position]) != std::string_view::npos) {
    ++position;
  }
  return static_cast<int>(position);
}

MaybeError Checker::CheckBinary(Binary& binary) {
  if (auto error = Check(*binary.lhs)) return error;
  if (auto error = Check(*binary.rhs)) return error;
  if (auto error = CheckOperator(binary)) return error;
  for (const Expr* side : {binary.lhs.get(), binary.rhs.get()}) {
    if (side->type == ValueType::kScalar || side->type == ValueType::kVector) continue;
    return Error(*side, "binary expression must contain only scalar and instant vector types");
  }
  return CheckMatching(binary);
}

MaybeError Checker::CheckOperator(const Binary& binary) {
  const bool scalars =
      binary.lhs->type == ValueType::kScalar && binary.rhs->type == ValueType::kScalar;
  if (binary.return_bool && !IsComparison(binary.op)) {
    return ParseError{OperatorPosition(binary),
                      "bool modifier can only be used on comparison operators"};
  }
  if (IsComparison(binary.op) && !binary.return_bool && scalars) {
    return ParseError{OperatorPosition(binary),
                      "comparisons between scalars must use BOOL modifier"};
  }
  if (!binary.matching->on) return std::nullopt;
  const auto& include = binary.matching->include;
  for (const std::string& label : binary.matching->labels) {
    if (std::find(include.begin(), include.end(), label) == include.end()) continue;
    return ParseError{
        OperatorPosition(binary),
        fmt::format("label {} must not occur in ON and GROUP clause at once", Quoted(label))};
  }
  return std::nullopt;
}

MaybeError Checker::CheckMatching(Binary& binary) {
  VectorMatching& matching = *binary.matching;
  const bool fills = matching.fill_left || matching.fill_right;
  const bool set = IsSetOperator(binary.op);
  const std::string op = Quoted(BinaryOpText(binary.op));
  if (binary.lhs->type != ValueType::kVector || binary.rhs->type != ValueType::kVector) {
    if (!matching.labels.empty()) {
      return Error(binary, "vector matching only allowed between instant vectors");
    }
    if (fills) {
      return Error(binary, "filling in missing series only allowed between instant vectors");
    }
    if (set) {
      return Error(binary,
                   fmt::format("set operator {} not allowed in binary scalar expression", op));
    }
    binary.matching.reset();
    return std::nullopt;
  }
  if (!set) return std::nullopt;
  if (matching.card != Cardinality::kOneToOne) {
    return Error(binary, fmt::format("no grouping allowed for {} operation", op));
  }
  if (fills) return Error(binary, "filling in missing series not allowed for set operators");
  matching.card = Cardinality::kManyToMany;
  return std::nullopt;
}

MaybeError Checker::CheckArgumentCount(const Call& call) {
  const FunctionSignature& function = *call.function;
  const std::string name = Quoted(function.name);
  const int given = static_cast<int>(call.args.size());
  const int declared = static_cast<int>(function.args.size());
  const int given_min = function.variadic == 0 ? declared : declared - 1;
  const int given_max = given_min + function.variadic;
  if (function.variadic == 0 && given != declared) {
    return Error(
        call, fmt::format("expected {} argument(s) in call to {}, got {}", declared, name, given));
  }
  if (given < given_min) {
    return Error(call, fmt::format("expected at least {} argument(s) in call to {}, got {}",
                                   given_min, name, given));
  }
  if (function.variadic > 0 && given > given_max) {
    return Error(call, fmt::format("expected at most {} argument(s) in call to {}, got {}",
                                   given_max, name, given));
  }
  return std::nullopt;
}

// info()'s second argument is a list of matchers, not a selection.
MaybeError Checker::CheckInfoSelector(Call& call) {
  if (call.function->id != FunctionId::kInfo || call.args.size() < 2) return std::nullopt;
  Expr& argument = *call.args[1];
  if (argument.type != ValueType::kVector) {
    return Error(call, fmt::format("expected type {} in call to function \"info\", got {}",
                                   ValueTypeDescription(ValueType::kVector),
                                   ValueTypeDescription(argument.type)));
  }
  auto* selector = TryAs<VectorSelector>(argument);
  if (!selector) return Error(argument, "expected label selectors only");
  if (!selector->name.empty()) {
    return Error(argument, "expected label selectors only, got vector selector instead");
  }
  selector->bypass_empty_matcher_check = true;
  return std::nullopt;
}

MaybeError Checker::CheckCall(Call& call) {
  if (auto error = CheckArgumentCount(call)) return error;
  if (auto error = CheckInfoSelector(call)) return error;
  const auto& types = call.function->args;
  for (size_t i = 0; i < call.args.size(); ++i) {
    const ValueType type = types[std::min(i, types.size() - 1)];
    const std::string context = fmt::format("call to function {}", Quoted(call.function->name));
    if (auto error = Expect(*call.args[i], type, context)) return error;
  }
  return std::nullopt;
}

MaybeError Checker::CheckUnary(Unary& unary) {
  if (auto error = Check(*unary.expr)) return error;
  const ValueType type = unary.expr->type;
  if (type == ValueType::kScalar || type == ValueType::kVector) return std::nullopt;
  return Error(unary, fmt::format("unary expression only allowed on expressions of type scalar or "
                                  "instant vector, got {}",
                                  Quoted(ValueTypeDescription(type))));
}

}  // namespace

std::optional<ParseError> TypeCheck(Expr& expr, std::string_view query) {
  return Checker(query).Check(expr);
}

}  // namespace varve::promql

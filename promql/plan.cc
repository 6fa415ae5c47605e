// SPDX-License-Identifier: Apache-2.0
//
// One function per kind of node. Parts that `@` fixes are planned over a single step and given at
// all of them.
#include "promql/plan.h"

#include <fmt/format.h>

#include <utility>
#include <vector>

#include "model/check.h"
#include "model/status_macros.h"
#include "promql/aggregate.h"
#include "promql/binary.h"
#include "promql/call.h"
#include "promql/rewrite.h"
#include "promql/selector.h"
#include "promql/subquery.h"
#include "promql/traced.h"
#include "promql/vector_function.h"

namespace varve::promql {
namespace {

// Operators on top of one another: each costs stack when rows are read.
constexpr size_t kOperatorDepthMax = 1000;

absl::StatusOr<OperatorPtr> PlanAggregate(QueryContext& context, const Grid& grid,
                                          const Aggregate& aggregate) {
  OperatorPtr input;
  if (const auto* selector = TryAs<VectorSelector>(Unparen(*aggregate.expr))) {
    SelectorHints hints;
    hints.function = AggregateOpText(aggregate.op);
    hints.grouping = aggregate.grouping;
    hints.grouping_by = !aggregate.without;
    hints.presence_only =
        aggregate.op == AggregateOp::kCount || aggregate.op == AggregateOp::kGroup;
    hints.grouping_only = hints.presence_only && hints.grouping_by;
    ASSIGN_OR_RETURN(input, PlanTraced(context, *selector, [&] {
                       return MakeSelector(context, grid, *selector, SelectedPart::kValue, hints);
                     }));
  } else {
    ASSIGN_OR_RETURN(input, Plan(context, grid, *aggregate.expr));
  }
  if (aggregate.op == AggregateOp::kCountValues) {
    return MakeCountValues(context, grid, aggregate, std::move(input),
                           As<StringLiteral>(Unparen(*aggregate.param)).value);
  }
  OperatorPtr param;
  if (HasParameter(aggregate.op)) {
    ASSIGN_OR_RETURN(param, Plan(context, grid, *aggregate.param));
  }
  switch (aggregate.op) {
    case AggregateOp::kTopk:
    case AggregateOp::kBottomk:
    case AggregateOp::kLimitk:
    case AggregateOp::kLimitRatio:
      return MakePick(context, grid, aggregate, std::move(input), std::move(param));
    default:
      return MakeFold(context, grid, aggregate, std::move(input), std::move(param));
  }
}

// One operator of a chain, its left side planned already.
absl::StatusOr<OperatorPtr> PlanBinaryOver(QueryContext& context, const Grid& grid,
                                           const Binary& binary, OperatorPtr left) {
  ASSIGN_OR_RETURN(OperatorPtr right, Plan(context, grid, *binary.rhs));
  const bool left_scalar = binary.lhs->type == ValueType::kScalar;
  const bool right_scalar = binary.rhs->type == ValueType::kScalar;
  if (left_scalar && right_scalar) {
    return MakeScalarBinary(binary, std::move(left), std::move(right));
  }
  if (left_scalar || right_scalar) {
    return MakeMerge(context,
                     MakeVectorScalarBinary(context, binary, std::move(left_scalar ? right : left),
                                            std::move(left_scalar ? left : right), left_scalar));
  }
  if (IsSetOperator(binary.op)) {
    return MakeSetOperator(context, grid, binary, std::move(left), std::move(right));
  }
  return MakeVectorBinary(context, grid, binary, std::move(left), std::move(right));
}

bool SameUnion(const Binary& a, const Binary& b) {
  return a.op == BinaryOp::kOr && b.op == BinaryOp::kOr && a.matching->on == b.matching->on &&
         a.matching->labels == b.matching->labels;
}

// Chains are long to the left (`a + b + c ...`): they are walked, not recursed into, and a chain
// of `or` becomes one operator.
absl::StatusOr<OperatorPtr> PlanBinary(QueryContext& context, const Grid& grid,
                                       const Binary& binary) {
  std::vector<const Binary*> chain;  // From the outermost to the innermost.
  const Expr* start = &binary;
  while (const auto* link = TryAs<Binary>(*start)) {
    if (link != &binary && grid.count > 1 && context.IsStepInvariant(*link)) break;
    chain.push_back(link);
    start = &Unparen(*link->lhs);
  }
  ASSIGN_OR_RETURN(OperatorPtr left, Plan(context, grid, *start));
  size_t depth = 0;
  for (size_t i = chain.size(); i-- > 0;) {
    if (++depth > kOperatorDepthMax) {
      return ExecutionError(
          fmt::format("more than {} binary operators in one chain", kOperatorDepthMax));
    }
    if (chain[i]->op != BinaryOp::kOr) {
      ASSIGN_OR_RETURN(left, PlanBinaryOver(context, grid, *chain[i], std::move(left)));
      continue;
    }
    const Binary& first = *chain[i];
    std::vector<OperatorPtr> inputs;
    inputs.push_back(std::move(left));
    for (;; --i) {
      ASSIGN_OR_RETURN(OperatorPtr input, Plan(context, grid, *chain[i]->rhs));
      inputs.push_back(std::move(input));
      if (i == 0 || !SameUnion(first, *chain[i - 1])) break;
    }
    left = MakeUnion(context, grid, first, std::move(inputs));
  }
  return left;
}

absl::StatusOr<OperatorPtr> PlanNode(QueryContext& context, const Grid& grid, const Expr& expr) {
  switch (expr.kind) {
    case ExprKind::kNumberLiteral:
      return MakeConstant(grid, As<NumberLiteral>(expr).value);
    case ExprKind::kVectorSelector:
      return MakeSelector(context, grid, As<VectorSelector>(expr), SelectedPart::kValue, {});
    case ExprKind::kAggregate:
      return PlanAggregate(context, grid, As<Aggregate>(expr));
    case ExprKind::kBinary:
      return PlanBinary(context, grid, As<Binary>(expr));
    case ExprKind::kCall:
      return PlanCall(context, grid, As<Call>(expr));
    case ExprKind::kUnary: {
      const auto& unary = As<Unary>(expr);
      ASSIGN_OR_RETURN(OperatorPtr input, Plan(context, grid, *unary.expr));
      if (!unary.negative) return input;
      if (unary.expr->type == ValueType::kScalar) {
        return MakeNegate(context, std::move(input), true);
      }
      return MakeMerge(context, MakeNegate(context, std::move(input), false));
    }
    case ExprKind::kParen:
      return PlanNode(context, grid, *As<Paren>(expr).expr);
    case ExprKind::kStringLiteral:
    case ExprKind::kMatrixSelector:
    case ExprKind::kSubquery:
    case ExprKind::kDuration:
      break;
  }
  INVARIANT(false);
  return ExecutionError("unexpected expression");
}

// Whether a selector looks at the same time at every step.
bool IsFixed(const TimeModifiers& time) { return time.at != AtModifier::kNone; }

bool LooksAtTime(FunctionId id, size_t args) {
  switch (id) {
    case FunctionId::kTime:
    case FunctionId::kTimestamp:
    case FunctionId::kPredictLinear:
      return true;
    case FunctionId::kMinute:
    case FunctionId::kHour:
    case FunctionId::kDayOfMonth:
    case FunctionId::kDayOfWeek:
    case FunctionId::kDayOfYear:
    case FunctionId::kDaysInMonth:
    case FunctionId::kMonth:
    case FunctionId::kYear:
      return args == 0;
    default:
      return false;
  }
}

// What lies between a selector and the query's root (or the binary operator above it).
struct StatsPath {
  bool stats_function = false;  // histogram_count(), _sum() or _avg()
  bool needs_buckets = false;   // a quantile, or a subquery, which skips samples
};

void FindStatsSelectors(const Expr& expr, StatsPath path,
                        absl::flat_hash_set<const VectorSelector*>& found) {
  const auto* selector = TryAs<VectorSelector>(expr);
  if (const auto* matrix = TryAs<MatrixSelector>(expr)) selector = matrix->selector.get();
  if (selector != nullptr) {
    if (path.stats_function && !path.needs_buckets) found.insert(selector);
    return;
  }
  if (expr.kind == ExprKind::kBinary) path = StatsPath();
  if (expr.kind == ExprKind::kSubquery) path.needs_buckets = true;
  if (const auto* call = TryAs<Call>(expr)) {
    switch (call->function->id) {
      case FunctionId::kHistogramCount:
      case FunctionId::kHistogramSum:
      case FunctionId::kHistogramAvg:
        path.stats_function = true;
        break;
      case FunctionId::kHistogramQuantile:
      case FunctionId::kHistogramQuantiles:
      case FunctionId::kHistogramFraction:
        path.needs_buckets = true;
        break;
      default:
        break;
    }
  }
  for (const Expr* child : Children(expr)) FindStatsSelectors(*child, path, found);
}

}  // namespace

absl::flat_hash_set<const VectorSelector*> HistogramStatsSelectors(const Expr& expr) {
  absl::flat_hash_set<const VectorSelector*> found;
  FindStatsSelectors(expr, StatsPath(), found);
  return found;
}

namespace {

bool FindStepInvariant(const Expr& expr, absl::flat_hash_set<const Expr*>& found) {
  bool invariant = true;
  for (const Expr* child : Children(expr)) invariant &= FindStepInvariant(*child, found);
  if (const auto* selector = TryAs<VectorSelector>(expr)) {
    invariant = IsFixed(selector->time);
  } else if (const auto* matrix = TryAs<MatrixSelector>(expr)) {
    invariant = IsFixed(matrix->selector->time);
  } else if (const auto* subquery = TryAs<Subquery>(expr)) {
    // Its steps lie where `@` says, whatever happens inside them.
    invariant = IsFixed(subquery->time);
  } else if (const auto* call = TryAs<Call>(expr)) {
    invariant &= !LooksAtTime(call->function->id, call->args.size());
  }
  if (invariant) found.insert(&expr);
  return invariant;
}

}  // namespace

absl::flat_hash_set<const Expr*> StepInvariantParts(const Expr& expr) {
  absl::flat_hash_set<const Expr*> found;
  FindStepInvariant(expr, found);
  return found;
}

Labels AbsentLabels(const Expr& expr) {
  const Expr& inner = Unparen(expr);
  const VectorSelector* selector = TryAs<VectorSelector>(inner);
  if (const auto* matrix = TryAs<MatrixSelector>(inner)) selector = matrix->selector.get();
  if (selector == nullptr) return Labels();
  LabelsBuilder builder;
  std::vector<std::string_view> seen;
  for (const Matcher& matcher : selector->matchers) {
    if (matcher.name() == kMetricName) continue;
    bool repeated = false;
    for (std::string_view name : seen) repeated |= name == matcher.name();
    if (matcher.type() == MatchType::kEqual && !repeated) {
      builder.Set(matcher.name(), matcher.value());
      seen.push_back(matcher.name());
    } else {
      builder.Delete(matcher.name());
    }
  }
  return builder.Build();
}

namespace {

absl::StatusOr<OperatorPtr> PlanPart(QueryContext& context, const Grid& grid, const Expr& expr) {
  const auto plan = [&] { return PlanNode(context, grid, expr); };
  const size_t part = context.RepeatedPart(expr);
  if (part == 0) return PlanTraced(context, expr, plan);
  return PlanTraced(context, expr,
                    [&] { return context.shared_operators().Plan(context, part, grid, plan); });
}

}  // namespace

absl::StatusOr<OperatorPtr> Plan(QueryContext& context, const Grid& grid, const Expr& expr) {
  const Expr& inner = Unparen(expr);
  RETURN_IF_ERROR(context.HoldPlanned(grid, Row::kStepBytes));
  if (const std::optional<double> constant = ConstantValue(inner)) {
    return PlanTraced(context, inner, [&]() -> absl::StatusOr<OperatorPtr> {
      return MakeConstant(grid, *constant);
    });
  }
  if (grid.count > 1 && context.IsStepInvariant(inner)) {
    Grid one = grid;
    one.count = 1;
    ASSIGN_OR_RETURN(OperatorPtr input, PlanPart(context, one, inner));
    return MakeStepInvariant(context, grid, std::move(input));
  }
  return PlanPart(context, grid, inner);
}

absl::StatusOr<RangeSourcePtr> PlanRange(QueryContext& context, const Grid& grid, const Expr& expr,
                                         bool presence_only) {
  const Expr& inner = Unparen(expr);
  if (const auto* selector = TryAs<MatrixSelector>(inner)) {
    return MakeRangeSelector(context, grid, *selector, {.presence_only = presence_only});
  }
  const auto& subquery = As<Subquery>(inner);
  RangeSpec spec;
  spec.grid = grid;
  spec.range = subquery.range_ms;
  if (subquery.range_expr != nullptr) {
    ASSIGN_OR_RETURN(spec.range,
                     ResolveDuration(*subquery.range_expr, context, DurationSign::kPositive));
  }
  DurationMs step = subquery.step_ms;
  if (subquery.step_expr != nullptr) {
    ASSIGN_OR_RETURN(step, ResolveDuration(*subquery.step_expr, context, DurationSign::kPositive));
  }
  if (step == 0) step = context.setup().default_subquery_step;
  ASSIGN_OR_RETURN(const ResolvedTime time, ResolveTime(subquery.time, context));
  spec.offset = time.offset;
  spec.fixed = time.fixed;
  spec.fixed_time = time.fixed_time;
  ASSIGN_OR_RETURN(const Grid steps, SubqueryGrid(context, spec, step));
  // The samples of one series.
  RETURN_IF_ERROR(context.HoldPlanned(steps, sizeof(TimestampMs) + sizeof(double)));
  OperatorPtr input;
  if (steps.count > 0) {
    const bool counts = context.counts_queryable();
    context.set_counts_queryable(false);
    absl::StatusOr<OperatorPtr> planned = Plan(context, steps, *subquery.expr);
    context.set_counts_queryable(counts);
    ASSIGN_OR_RETURN(input, std::move(planned));
  }
  return MakeSubquery(context, spec, steps, std::move(input));
}

}  // namespace varve::promql

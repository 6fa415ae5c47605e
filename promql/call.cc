// SPDX-License-Identifier: Apache-2.0
//
// The functions' shapes: over a range vector, over each number of a vector, over native
// histograms; the rest is dispatched by name.
#include "promql/call.h"

#include <fmt/format.h>

#include <algorithm>
#include <numbers>
#include <string>
#include <utility>
#include <vector>

#include "model/check.h"
#include "model/status_macros.h"
#include "promql/histogram_call.h"
#include "promql/info.h"
#include "promql/plan.h"
#include "promql/range_function.h"
#include "promql/rewrite.h"
#include "promql/selector.h"
#include "promql/traced.h"
#include "promql/vector_function.h"

namespace varve::promql {
namespace {

class CallPlanner {
 public:
  CallPlanner(QueryContext& context, const Grid& grid, const Call& call)
      : context_(context), grid_(grid), call_(call), id_(call.function->id) {}

  absl::StatusOr<OperatorPtr> Run() const {
    if (const RangeFunctionEntry* function = FindRangeFunction(id_)) return RangeCall(*function);
    if (const ElementFunction function = FindElementFunction(id_)) return ElementCall(function);
    if (const HistogramNumber function = FindHistogramNumber(id_)) {
      ASSIGN_OR_RETURN(OperatorPtr input, Arg(0));
      return MakeMerge(context_, MakeHistogramNumber(context_, function, std::move(input)));
    }
    switch (id_) {
      case FunctionId::kPi:
      case FunctionId::kTime:
      case FunctionId::kStart:
      case FunctionId::kEnd:
      case FunctionId::kRange:
      case FunctionId::kStep:
        return TimeScalar();
      case FunctionId::kHistogramQuantile:
      case FunctionId::kHistogramQuantiles:
      case FunctionId::kHistogramFraction:
        return HistogramEstimateCall();
      case FunctionId::kSort:
      case FunctionId::kSortDesc:
      case FunctionId::kSortByLabel:
      case FunctionId::kSortByLabelDesc:
        return SortCall();
      case FunctionId::kLabelReplace:
      case FunctionId::kLabelJoin:
        return LabelCall();
      case FunctionId::kTimestamp:
      case FunctionId::kStartTimestamp:
        return TimestampCall();
      default:
        return Other();
    }
  }

 private:
  const Expr& ArgExpr(size_t index) const { return *call_.args[index]; }
  absl::StatusOr<OperatorPtr> Arg(size_t index) const {
    return Plan(context_, grid_, ArgExpr(index));
  }
  const std::string& Text(size_t index) const {
    return As<StringLiteral>(Unparen(ArgExpr(index))).value;
  }
  int Position(size_t index) const { return ArgExpr(index).position.start; }

  // Which functions know what to do with the samples these modifiers bring in.
  absl::Status CheckModifiers(const VectorSelector& selector) const {
    const bool rates =
        id_ == FunctionId::kDelta || id_ == FunctionId::kIncrease || id_ == FunctionId::kRate;
    const bool steps = id_ == FunctionId::kChanges || id_ == FunctionId::kResets;
    if (selector.anchored && !rates && !steps) {
      return ExecutionError(
          fmt::format("anchored modifier can only be used with: changes, delta, increase, rate, "
                      "resets - not with {}",
                      call_.function->name));
    }
    if (selector.smoothed && !rates) {
      return ExecutionError(fmt::format(
          "smoothed modifier can only be used with: delta, increase, rate - not with {}",
          call_.function->name));
    }
    return absl::OkStatus();
  }

  bool HasConstantScalars() const {
    return std::all_of(call_.args.begin(), call_.args.end(), [](const ExprPtr& arg) {
      return arg->type != ValueType::kScalar || ConstantValue(*arg).has_value();
    });
  }

  absl::StatusOr<OperatorPtr> RangeCall(const RangeFunctionEntry& function) const {
    RangeCallArguments arguments;
    bool first_scalar = true;
    const bool constant = HasConstantScalars();
    for (size_t i = 0; i < call_.args.size(); ++i) {
      if (ArgExpr(i).type == ValueType::kMatrix) {
        arguments.position = Position(i);
        const Expr& inner = Unparen(ArgExpr(i));
        if (const auto* selector = TryAs<MatrixSelector>(inner)) {
          RETURN_IF_ERROR(CheckModifiers(*selector->selector));
          SelectorHints hints;
          hints.function = call_.function->name;
          hints.presence_only =
              id_ == FunctionId::kCountOverTime || id_ == FunctionId::kPresentOverTime;
          ASSIGN_OR_RETURN(arguments.source, MakeRangeSelector(context_, grid_, *selector, hints));
        } else {
          ASSIGN_OR_RETURN(arguments.source,
                           PlanRange(context_, grid_, inner, /*presence_only=*/false));
        }
        continue;
      }
      if (first_scalar) arguments.scalar_position = Position(i);
      first_scalar = false;
      if (constant) {
        const double value = *ConstantValue(ArgExpr(i));
        Row& param = arguments.params.emplace_back();
        param.Reset(grid_.count);
        for (size_t step = 0; step < grid_.count; ++step) param.SetFloat(step, value);
        continue;
      }
      ASSIGN_OR_RETURN(OperatorPtr scalar, Arg(i));
      arguments.scalars.push_back(std::move(scalar));
    }
    return MakeMerge(context_, MakeRangeCall(context_, function, std::move(arguments)));
  }

  absl::StatusOr<OperatorPtr> ElementCall(ElementFunction function) const {
    OperatorPtr input;
    if (call_.args.empty()) {
      input = MakeTime(grid_);  // The date functions' default: vector(time()).
    } else {
      ASSIGN_OR_RETURN(input, Arg(0));
    }
    std::vector<OperatorPtr> scalars;
    for (size_t i = 1; i < call_.args.size(); ++i) {
      ASSIGN_OR_RETURN(OperatorPtr scalar, Arg(i));
      scalars.push_back(std::move(scalar));
    }
    if (id_ == FunctionId::kRound && scalars.empty()) scalars.push_back(MakeConstant(grid_, 1));
    return MakeMerge(context_,
                     MakeElementCall(context_, function, std::move(input), std::move(scalars)));
  }

  absl::StatusOr<OperatorPtr> TimeScalar() const {
    const QueryContext::Setup& setup = context_.setup();
    const auto seconds = [](int64_t ms) { return static_cast<double>(ms) / 1000; };
    switch (id_) {
      case FunctionId::kTime:
        return MakeTime(grid_);
      case FunctionId::kStart:
        return MakeConstant(grid_, seconds(setup.start));
      case FunctionId::kEnd:
        return MakeConstant(grid_, seconds(setup.end));
      case FunctionId::kRange:
        return MakeConstant(grid_, seconds(setup.end - setup.start));
      case FunctionId::kStep:
        return MakeConstant(grid_, setup.start == setup.end ? 0 : seconds(setup.step));
      default:
        return MakeConstant(grid_, std::numbers::pi);
    }
  }

  absl::StatusOr<OperatorPtr> HistogramEstimateCall() const {
    HistogramCallPositions positions;
    std::vector<OperatorPtr> scalars;
    OperatorPtr input;
    for (size_t i = 0; i < call_.args.size(); ++i) {
      const ValueType type = ArgExpr(i).type;
      if (type == ValueType::kString) continue;
      ASSIGN_OR_RETURN(OperatorPtr arg, Arg(i));
      if (type == ValueType::kScalar) {
        positions.scalars.push_back(Position(i));
        scalars.push_back(std::move(arg));
      } else {
        positions.vector = Position(i);
        input = std::move(arg);
      }
    }
    if (id_ == FunctionId::kHistogramQuantiles) {
      ASSIGN_OR_RETURN(OperatorPtr quantiles,
                       MakeHistogramQuantiles(context_, grid_, std::move(input), Text(1),
                                              std::move(scalars), std::move(positions)));
      return MakeMerge(context_, std::move(quantiles));
    }
    if (id_ == FunctionId::kHistogramFraction) {
      return MakeMerge(
          context_, MakeHistogramFraction(context_, grid_, std::move(input), std::move(scalars[0]),
                                          std::move(scalars[1]), std::move(positions)));
    }
    return MakeMerge(context_, MakeHistogramQuantile(context_, grid_, std::move(input),
                                                     std::move(scalars[0]), std::move(positions)));
  }

  absl::StatusOr<OperatorPtr> SortCall() const {
    ASSIGN_OR_RETURN(OperatorPtr input, Arg(0));
    if (grid_.count > 1) {
      context_.annotations().Warn(
          "sort is ineffective for range queries since results are always ordered by labels",
          call_.position.start);
      return input;
    }
    SortOrder order;
    order.descending = id_ == FunctionId::kSortDesc || id_ == FunctionId::kSortByLabelDesc;
    order.by_label = id_ == FunctionId::kSortByLabel || id_ == FunctionId::kSortByLabelDesc;
    for (size_t i = 1; i < call_.args.size(); ++i) order.names.push_back(Text(i));
    return MakeSort(context_, std::move(input), std::move(order));
  }

  absl::StatusOr<OperatorPtr> LabelCall() const {
    ASSIGN_OR_RETURN(OperatorPtr input, Arg(0));
    if (id_ == FunctionId::kLabelReplace) {
      return MakeLabelReplace(context_, std::move(input), {Text(1), Text(2), Text(3), Text(4)});
    }
    std::vector<std::string> sources;
    for (size_t i = 3; i < call_.args.size(); ++i) sources.push_back(Text(i));
    return MakeLabelJoin(context_, std::move(input), Text(1), Text(2), std::move(sources));
  }

  // Only a selector knows when its samples were taken.
  absl::StatusOr<OperatorPtr> TimestampCall() const {
    const bool start = id_ == FunctionId::kStartTimestamp;
    const Expr& inner = Unparen(ArgExpr(0));
    if (const auto* selector = TryAs<VectorSelector>(inner)) {
      ASSIGN_OR_RETURN(
          OperatorPtr input,
          MakeSelector(context_, grid_, *selector,
                       start ? SelectedPart::kStartTimestamp : SelectedPart::kTimestamp,
                       {.function = std::string(call_.function->name), .presence_only = true}));
      return MakeMerge(context_, MakeDropName(context_, std::move(input)));
    }
    ASSIGN_OR_RETURN(OperatorPtr input, Arg(0));
    if (start) return MakeMerge(context_, MakeNothing(context_, std::move(input)));
    return MakeMerge(context_, MakeEvalTimestamp(context_, grid_, std::move(input)));
  }

  absl::StatusOr<OperatorPtr> AbsentInput() const {
    const auto* selector = TryAs<VectorSelector>(Unparen(ArgExpr(0)));
    if (selector == nullptr) return Arg(0);
    return PlanTraced(context_, *selector, [&] {
      return MakeSelector(context_, grid_, *selector, SelectedPart::kValue,
                          {.function = std::string(call_.function->name), .presence_only = true});
    });
  }

  absl::StatusOr<OperatorPtr> Other() const {
    switch (id_) {
      case FunctionId::kAbsent: {
        ASSIGN_OR_RETURN(OperatorPtr input, AbsentInput());
        return MakeAbsent(grid_, std::move(input), AbsentLabels(ArgExpr(0)));
      }
      case FunctionId::kAbsentOverTime: {
        ASSIGN_OR_RETURN(RangeSourcePtr source,
                         PlanRange(context_, grid_, ArgExpr(0), /*presence_only=*/true));
        return MakeAbsentOverTime(context_, std::move(source), AbsentLabels(ArgExpr(0)));
      }
      case FunctionId::kClamp: {
        ASSIGN_OR_RETURN(OperatorPtr input, Arg(0));
        ASSIGN_OR_RETURN(OperatorPtr min, Arg(1));
        ASSIGN_OR_RETURN(OperatorPtr max, Arg(2));
        return MakeMerge(context_,
                         MakeClamp(context_, std::move(input), std::move(min), std::move(max)));
      }
      case FunctionId::kVector:
        return Arg(0);  // A scalar is a vector of one series without labels.
      case FunctionId::kScalar: {
        ASSIGN_OR_RETURN(OperatorPtr input, Arg(0));
        return MakeScalar(grid_, std::move(input));
      }
      case FunctionId::kMinOf:
      case FunctionId::kMaxOf: {
        ASSIGN_OR_RETURN(OperatorPtr a, Arg(0));
        ASSIGN_OR_RETURN(OperatorPtr b, Arg(1));
        return MakeScalarPick(std::move(a), std::move(b), id_ == FunctionId::kMaxOf);
      }
      case FunctionId::kInfo:
        return MakeInfo(context_, grid_, call_);
      default:
        INVARIANT(false);  // The parser and the engine know the same functions.
        return ExecutionError("unknown function");
    }
  }

  QueryContext& context_;
  const Grid grid_;
  const Call& call_;
  const FunctionId id_;
};

}  // namespace

absl::StatusOr<OperatorPtr> PlanCall(QueryContext& context, const Grid& grid, const Call& call) {
  return CallPlanner(context, grid, call).Run();
}

}  // namespace varve::promql

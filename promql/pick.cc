// SPDX-License-Identifier: Apache-2.0
//
// Aggregations that pick series and leave them as they are: topk and bottomk by value, limitk by
// order, limit_ratio by hash.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "model/status_macros.h"
#include "promql/aggregate.h"
#include "promql/vector_function.h"

namespace varve::promql {
namespace {

struct ParamRange {
  double min = std::numeric_limits<double>::infinity();
  double max = -std::numeric_limits<double>::infinity();
  bool nan = false;
};

ParamRange RangeOf(const Row& params) {
  ParamRange range;
  for (double value : params.values()) {
    range.min = std::min(range.min, value);
    range.max = std::max(range.max, value);
    range.nan |= std::isnan(value);
  }
  return range;
}

// The parameter of topk, bottomk and limitk.
absl::Status ReadCounts(Operator& param, Row& row) {
  RETURN_IF_ERROR(param.Open().status());
  RETURN_IF_ERROR(param.Next(row));
  const ParamRange range = RangeOf(row);
  constexpr double kInt64Limit = 9223372036854775808.0;
  if (range.nan) return ExecutionError("Parameter value is NaN");
  if (range.min <= -kInt64Limit) {
    return ExecutionError(
        fmt::format("Scalar value {} underflows int64", FormatGeneral(range.min)));
  }
  if (range.max >= kInt64Limit) {
    return ExecutionError(fmt::format("Scalar value {} overflows int64", FormatGeneral(range.max)));
  }
  return absl::OkStatus();
}

size_t CountAt(const Row& params, size_t step, size_t most) {
  const double wanted = params.value(step);
  if (!(wanted >= 1)) return 0;
  return wanted >= static_cast<double>(most) ? most : static_cast<size_t>(wanted);
}

class TopK : public Operator {
 public:
  TopK(QueryContext& context, const Grid& grid, const Aggregate& aggregate, OperatorPtr input,
       OperatorPtr param)
      : context_(context),
        grid_(grid),
        aggregate_(aggregate),
        input_(std::move(input)),
        param_(std::move(param)),
        rows_(context) {}

  absl::StatusOr<std::vector<Labels>> Open() override {
    RETURN_IF_ERROR(ReadCounts(*param_, params_));
    ASSIGN_OR_RETURN(const std::vector<Labels> inputs, input_->Open());
    const Grouping grouping = GroupSeries(inputs, aggregate_.grouping, aggregate_.without);
    RETURN_IF_ERROR(rows_.Read(*input_, inputs.size()));
    std::vector<std::vector<size_t>> members(grouping.labels.size());
    for (size_t i = 0; i < inputs.size(); ++i) members[grouping.group_of[i]].push_back(i);
    RETURN_IF_ERROR(context_.Hold(inputs.size() * (grid_.count / 2)));
    picked_.resize(inputs.size());
    for (Row& row : picked_) row.Reset(grid_.count);
    for (const std::vector<size_t>& group : members) {
      for (size_t step = 0; step < grid_.count; ++step) PickAt(step, group);
    }
    if (grid_.count > 1) {
      order_.resize(inputs.size());
      for (size_t i = 0; i < order_.size(); ++i) order_[i] = i;
    }
    std::vector<Labels> labels;
    labels.reserve(order_.size());
    for (size_t index : order_) labels.push_back(inputs[index]);
    return labels;
  }

  absl::Status Next(Row& row) override {
    const size_t index = order_[next_++];
    row = std::move(picked_[index]);
    row.drop_name = rows_.rows()[index].drop_name;
    return absl::OkStatus();
  }

 private:
  // Whether `a` is picked before `b`: NaN last, of equal values the one that came first.
  bool Before(size_t a, size_t b, size_t step) const {
    const double left = rows_.rows()[a].value(step);
    const double right = rows_.rows()[b].value(step);
    if (std::isnan(left) || std::isnan(right)) {
      return std::isnan(left) == std::isnan(right) ? a < b : std::isnan(right);
    }
    if (left == right) return a < b;
    return aggregate_.op == AggregateOp::kTopk ? left > right : left < right;
  }

  void PickAt(size_t step, const std::vector<size_t>& group) {
    candidates_.clear();
    for (size_t index : group) {
      const Row& row = rows_.rows()[index];
      if (!row.Has(step)) continue;
      if (row.HasHistogram(step)) {
        context_.annotations().Info(
            fmt::format("ignored histogram in {} aggregation", AggregateOpText(aggregate_.op)),
            aggregate_.expr->position.start);
        continue;
      }
      candidates_.push_back(index);
    }
    const size_t count = CountAt(params_, step, candidates_.size());
    std::partial_sort(candidates_.begin(), candidates_.begin() + static_cast<ptrdiff_t>(count),
                      candidates_.end(), [&](size_t a, size_t b) { return Before(a, b, step); });
    for (size_t i = 0; i < count; ++i) {
      const size_t index = candidates_[i];
      picked_[index].SetFloat(step, rows_.rows()[index].value(step));
      // An instant query shows each group in the order of its values.
      if (grid_.count == 1) order_.push_back(index);
    }
  }

  QueryContext& context_;
  const Grid grid_;
  const Aggregate& aggregate_;
  OperatorPtr input_;
  OperatorPtr param_;
  Row params_;
  BufferedRows rows_;
  std::vector<Row> picked_;
  std::vector<size_t> order_;
  std::vector<size_t> candidates_;
  size_t next_ = 0;
};

class LimitK : public Operator {
 public:
  LimitK(const Grid& grid, const Aggregate& aggregate, OperatorPtr input, OperatorPtr param)
      : grid_(grid), aggregate_(aggregate), input_(std::move(input)), param_(std::move(param)) {}

  absl::StatusOr<std::vector<Labels>> Open() override {
    RETURN_IF_ERROR(ReadCounts(*param_, params_));
    ASSIGN_OR_RETURN(std::vector<Labels> inputs, input_->Open());
    grouping_ = GroupSeries(inputs, aggregate_.grouping, aggregate_.without);
    seen_.assign(grouping_.labels.size(), std::vector<size_t>(grid_.count, 0));
    return inputs;
  }

  absl::Status Next(Row& row) override {
    RETURN_IF_ERROR(input_->Next(row));
    std::vector<size_t>& seen = seen_[grouping_.group_of[next_++]];
    for (size_t step = 0; step < grid_.count; ++step) {
      if (!row.Has(step)) continue;
      if (seen[step] >= CountAt(params_, step, std::numeric_limits<uint32_t>::max())) {
        row.Clear(step);
      } else {
        ++seen[step];
      }
    }
    return absl::OkStatus();
  }

 private:
  const Grid grid_;
  const Aggregate& aggregate_;
  OperatorPtr input_;
  OperatorPtr param_;
  Row params_;
  Grouping grouping_;
  std::vector<std::vector<size_t>> seen_;  // By group and step.
  size_t next_ = 0;
};

class LimitRatio : public Operator {
 public:
  LimitRatio(QueryContext& context, const Grid& grid, const Aggregate& aggregate, OperatorPtr input,
             OperatorPtr param)
      : context_(context),
        grid_(grid),
        aggregate_(aggregate),
        input_(std::move(input)),
        param_(std::move(param)) {}

  absl::StatusOr<std::vector<Labels>> Open() override {
    RETURN_IF_ERROR(param_->Open().status());
    RETURN_IF_ERROR(param_->Next(params_));
    const ParamRange range = RangeOf(params_);
    if (range.nan) return ExecutionError("Ratio value is NaN");
    if (range.max > 1) Warn(range.max, 1);
    if (range.min < -1) Warn(range.min, -1);
    ASSIGN_OR_RETURN(std::vector<Labels> inputs, input_->Open());
    positions_.reserve(inputs.size());
    for (const Labels& labels : inputs) {
      // The same scaling by 2^64 - 1, rounded to 2^64, that Prometheus divides by.
      positions_.push_back(static_cast<double>(labels.Hash()) / 18446744073709551616.0);
    }
    return inputs;
  }

  absl::Status Next(Row& row) override {
    RETURN_IF_ERROR(input_->Next(row));
    const double position = positions_[next_++];
    for (size_t step = 0; step < grid_.count; ++step) {
      if (row.Has(step) && !Keeps(params_.value(step), position)) row.Clear(step);
    }
    return absl::OkStatus();
  }

 private:
  // A negative ratio keeps exactly what the positive one beside it drops.
  static bool Keeps(double ratio, double position) {
    ratio = std::clamp(ratio, -1.0, 1.0);
    if (ratio >= 0) return position < ratio || ratio == 1;
    return position >= 1 + ratio;
  }

  void Warn(double value, double capped) {
    context_.annotations().Warn(
        fmt::format("ratio value should be between -1 and 1, got {}, capping to {}",
                    FormatGeneral(value), FormatGeneral(capped)),
        aggregate_.param->position.start);
  }

  QueryContext& context_;
  const Grid grid_;
  const Aggregate& aggregate_;
  OperatorPtr input_;
  OperatorPtr param_;
  Row params_;
  std::vector<double> positions_;
  size_t next_ = 0;
};

}  // namespace

OperatorPtr MakePick(QueryContext& context, const Grid& grid, const Aggregate& aggregate,
                     OperatorPtr input, OperatorPtr param) {
  switch (aggregate.op) {
    case AggregateOp::kLimitk:
      return std::make_unique<LimitK>(grid, aggregate, std::move(input), std::move(param));
    case AggregateOp::kLimitRatio:
      return std::make_unique<LimitRatio>(context, grid, aggregate, std::move(input),
                                          std::move(param));
    default:
      return std::make_unique<TopK>(context, grid, aggregate, std::move(input), std::move(param));
  }
}

}  // namespace varve::promql

// SPDX-License-Identifier: Apache-2.0
//
// Aggregations that pick series and leave them as they are: topk and bottomk by value, limitk by
// order, limit_ratio by hash.
#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <utility>

#include "model/status_macros.h"
#include "promql/aggregate.h"
#include "promql/float_pair.h"
#include "promql/pick_lanes.h"
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

size_t CountAt(double wanted, size_t most) {
  if (!(wanted >= 1)) return 0;
  return wanted >= static_cast<double>(most) ? most : static_cast<size_t>(wanted);
}

// Keeps the best of each group and step while the series pass by.
class TopK : public Operator {
 public:
  TopK(QueryContext& context, const Grid& grid, const Aggregate& aggregate, OperatorPtr input,
       OperatorPtr param)
      : context_(context),
        grid_(grid),
        aggregate_(aggregate),
        largest_(aggregate.op == AggregateOp::kTopk),
        input_(std::move(input)),
        param_(std::move(param)) {}
  ~TopK() override { context_.Release(held_); }

  absl::StatusOr<std::vector<Labels>> Open() override {
    RETURN_IF_ERROR(ReadCounts(*param_, params_));
    ASSIGN_OR_RETURN(const std::vector<Labels> inputs, input_->Open());
    const Grouping grouping = GroupSeries(inputs, aggregate_.grouping, aggregate_.without);
    RETURN_IF_ERROR(MakeGroups(grouping));
    drop_name_.resize(inputs.size());
    Row row;
    for (size_t i = 0; i < inputs.size(); ++i) {
      RETURN_IF_ERROR(context_.Check());
      RETURN_IF_ERROR(input_->Next(row));
      drop_name_[i] = row.drop_name;
      Offer(row, i, groups_[grouping.group_of[i]]);
    }
    picked_.resize(inputs.size());
    for (Group& group : groups_) RETURN_IF_ERROR(Deliver(group));
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
    if (picked_[index].steps() == 0) {
      row.Reset(grid_.count);
    } else {
      row = std::move(picked_[index]);
    }
    row.drop_name = drop_name_[index];
    return absl::OkStatus();
  }

 private:
  struct Pick {
    double value = 0;
    size_t series = 0;
  };
  struct Group {
    size_t most = 0;  // Picks of a step at most.
    // Few picks are kept sorted: all steps' best ones, then all steps' second ones, ...
    std::vector<double> values;
    std::vector<uint64_t> series;
    // Of many `most` places a step are a heap with the last one in front.
    std::vector<Pick> heaps;
    std::vector<size_t> count;  // By step.
    std::vector<bool> full;     // By block of steps, if sorted: nothing is missing.
    std::vector<double>
        bar;  // Of heaps by step: a value no better is not picked; NaN if any may be.

    bool is_sorted() const { return most <= kSortedMax; }
  };
  static constexpr size_t kSortedMax = 16;
  static constexpr size_t kBlockSteps = 64;  // A word of Row::present().

  absl::Status Hold(uint64_t samples) {
    held_ += samples;
    return context_.Hold(samples);
  }

  absl::Status MakeGroups(const Grouping& grouping) {
    std::vector<size_t> members(grouping.labels.size());
    for (size_t group : grouping.group_of) ++members[group];
    const std::vector<double>& wanted = params_.values();
    const double most_wanted = *std::max_element(wanted.begin(), wanted.end());
    groups_.resize(members.size());
    for (size_t i = 0; i < groups_.size(); ++i) {
      Group& group = groups_[i];
      group.most = CountAt(most_wanted, members[i]);
      RETURN_IF_ERROR(Hold((group.most + 1) * grid_.count));
      group.count.resize(grid_.count);
      if (group.is_sorted()) {
        group.values.resize(group.most * grid_.count);
        group.series.resize(group.most * grid_.count);
        group.full.resize((grid_.count + kBlockSteps - 1) / kBlockSteps);
      } else {
        group.heaps.resize(group.most * grid_.count);
        group.bar.assign(grid_.count, NormalNan());
      }
    }
    return absl::OkStatus();
  }

  // Whether `a` is picked before `b`: NaN last, of equal values the one that came first.
  bool Before(const Pick& a, const Pick& b) const {
    if (largest_ ? a.value > b.value : a.value < b.value) return true;
    if (largest_ ? a.value < b.value : a.value > b.value) return false;
    if (std::isnan(a.value) || std::isnan(b.value)) {
      return std::isnan(a.value) == std::isnan(b.value) ? a.series < b.series : std::isnan(b.value);
    }
    return a.series < b.series;
  }

  void Offer(const Row& row, size_t series, Group& group) {
    for (size_t first = 0; first < grid_.count; first += kBlockSteps) {
      uint64_t offered = row.present()[first / kBlockSteps];
      if (!row.has_histograms()) {
        offered &=
            ~(group.is_sorted() ? Settle(row, series, first, group) : Hopeless(row, group, first));
      }
      for (; offered != 0; offered &= offered - 1) {
        OfferAt(first + static_cast<size_t>(std::countr_zero(offered)), row, series, group);
      }
    }
  }

  // Offers the values of the block of steps from `first` on together, if all are there and all
  // places taken. Which steps need not be looked at any more.
  uint64_t Settle(const Row& row, size_t series, size_t first, Group& group) const {
    const size_t count = std::min(kBlockSteps, grid_.count - first);
    if (row.present()[first / kBlockSteps] != ~uint64_t{0} >> (kBlockSteps - count)) return 0;
    if (!IsFull(first, count, group)) return 0;
    const size_t together = count / kPickMultiple * kPickMultiple;
    if (together == 0) return 0;
    PickEach(row.values().data() + first, series, together, largest_,
             {.values = group.values.data() + first,
              .series = group.series.data() + first,
              .ranks = group.most,
              .stride = grid_.count});
    return ~uint64_t{0} >> (kBlockSteps - together);
  }

  // Whether each of the steps has as many picks as any may have, at least one.
  bool IsFull(size_t first, size_t count, Group& group) const {
    if (group.full[first / kBlockSteps]) return true;
    for (size_t step = first; step < first + count; ++step) {
      if (group.count[step] < std::max<size_t>(group.most, 1)) return false;
    }
    return group.full[first / kBlockSteps] = true;
  }

  // The steps of the block from `first` on whose values are no better than what a heap has.
  uint64_t Hopeless(const Row& row, const Group& group, size_t first) const {
    const size_t count = std::min(kBlockSteps, grid_.count - first);
    const double* const values = row.values().data() + first;
    const double* const bars = group.bar.data() + first;
    // With many series that is mostly all of them.
    PairTest all = {-1, -1};
    for (size_t i = 0; i + 2 <= count; i += 2) {
      const FloatPair value = LoadPack<FloatPair>(values + i);
      const FloatPair bar = LoadPack<FloatPair>(bars + i);
      all &= largest_ ? value <= bar : value >= bar;
    }
    if (count % 2 == 0 && (all[0] & all[1]) != 0) return ~uint64_t{0} >> (64 - count);
    uint64_t hopeless = 0;
    for (size_t i = 0; i < count; ++i) {
      const bool worse = largest_ ? values[i] <= bars[i] : values[i] >= bars[i];
      hopeless |= static_cast<uint64_t>(worse) << i;
    }
    return hopeless;
  }

  void OfferAt(size_t step, const Row& row, size_t series, Group& group) {
    if (row.HasHistogram(step)) {
      context_.annotations().Info(
          fmt::format("ignored histogram in {} aggregation", AggregateOpText(aggregate_.op)),
          aggregate_.expr->position.start);
      return;
    }
    const size_t places = CountAt(params_.value(step), group.most);
    if (places == 0) return;
    const Pick pick{row.value(step), series};
    if (group.is_sorted()) return AddSorted(pick, places, step, group);
    AddToHeap(pick, places, group.heaps.data() + step * group.most, group.count[step]);
    if (group.count[step] == places) group.bar[step] = group.heaps[step * group.most].value;
  }

  // Before() for a pick that comes after the other: of equal values it is the last one.
  bool IsBetter(double later, double earlier) const {
    if (largest_ ? later > earlier : later < earlier) return true;
    return earlier != earlier && later == later;
  }

  // `pick` comes after all that are there.
  void AddSorted(const Pick& pick, size_t places, size_t step, Group& group) const {
    const size_t steps = grid_.count;
    double* const values = group.values.data() + step;
    uint64_t* const series = group.series.data() + step;
    size_t& count = group.count[step];
    size_t place = count;
    if (count < places) {
      ++count;
    } else if (!IsBetter(pick.value, values[--place * steps])) {
      return;
    }
    for (; place > 0 && IsBetter(pick.value, values[(place - 1) * steps]); --place) {
      values[place * steps] = values[(place - 1) * steps];
      series[place * steps] = series[(place - 1) * steps];
    }
    values[place * steps] = pick.value;
    series[place * steps] = pick.series;
  }

  void AddToHeap(const Pick& pick, size_t places, Pick* first, size_t& count) const {
    const auto before = [this](const Pick& a, const Pick& b) { return Before(a, b); };
    if (count < places) {
      first[count++] = pick;
    } else if (Before(pick, first[0])) {
      std::pop_heap(first, first + count, before);
      first[count - 1] = pick;
    } else {
      return;
    }
    std::push_heap(first, first + count, before);
  }

  absl::Status Deliver(Group& group) {
    for (size_t step = 0; step < grid_.count; ++step) {
      if (group.is_sorted()) {
        for (size_t i = step; i < group.count[step] * grid_.count; i += grid_.count) {
          RETURN_IF_ERROR(Deliver({group.values[i], group.series[i]}, step));
        }
        continue;
      }
      Pick* const first = group.heaps.data() + step * group.most;
      Pick* const end = first + group.count[step];
      // An instant query shows each group in the order of its values.
      if (grid_.count == 1) {
        std::sort(first, end, [this](const Pick& a, const Pick& b) { return Before(a, b); });
      }
      for (const Pick* pick = first; pick != end; ++pick) {
        RETURN_IF_ERROR(Deliver(*pick, step));
      }
    }
    return absl::OkStatus();
  }

  absl::Status Deliver(const Pick& pick, size_t step) {
    Row& row = picked_[pick.series];
    if (row.steps() == 0) {
      RETURN_IF_ERROR(Hold(grid_.count / 2));
      row.Reset(grid_.count);
    }
    row.SetFloat(step, pick.value);
    if (grid_.count == 1) order_.push_back(pick.series);
    return absl::OkStatus();
  }

  QueryContext& context_;
  const Grid grid_;
  const Aggregate& aggregate_;
  const bool largest_;
  OperatorPtr input_;
  OperatorPtr param_;
  Row params_;
  std::vector<Group> groups_;
  std::vector<bool> drop_name_;  // By series, as picked_.
  std::vector<Row> picked_;      // Without steps where a series was picked at none.
  std::vector<size_t> order_;
  uint64_t held_ = 0;
  size_t next_ = 0;
};

class LimitK : public Operator {
 public:
  LimitK(const QueryContext& context, const Grid& grid, const Aggregate& aggregate,
         OperatorPtr input, OperatorPtr param)
      : grid_(grid),
        aggregate_(aggregate),
        input_(std::move(input)),
        param_(std::move(param)),
        memory_(context) {}

  absl::StatusOr<std::vector<Labels>> Open() override {
    RETURN_IF_ERROR(ReadCounts(*param_, params_));
    ASSIGN_OR_RETURN(std::vector<Labels> inputs, input_->Open());
    grouping_ = GroupSeries(inputs, aggregate_.grouping, aggregate_.without);
    RETURN_IF_ERROR(memory_.Add(grouping_.labels.size() * grid_.count * sizeof(size_t)));
    seen_.assign(grouping_.labels.size(), std::vector<size_t>(grid_.count, 0));
    return inputs;
  }

  absl::Status Next(Row& row) override {
    RETURN_IF_ERROR(input_->Next(row));
    std::vector<size_t>& seen = seen_[grouping_.group_of[next_++]];
    for (size_t step = 0; step < grid_.count; ++step) {
      if (!row.Has(step)) continue;
      if (seen[step] >= CountAt(params_.value(step), std::numeric_limits<uint32_t>::max())) {
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
  HeldMemory memory_;
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
      return std::make_unique<LimitK>(context, grid, aggregate, std::move(input), std::move(param));
    case AggregateOp::kLimitRatio:
      return std::make_unique<LimitRatio>(context, grid, aggregate, std::move(input),
                                          std::move(param));
    default:
      return std::make_unique<TopK>(context, grid, aggregate, std::move(input), std::move(param));
  }
}

}  // namespace varve::promql

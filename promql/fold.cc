// SPDX-License-Identifier: Apache-2.0
//
// What each aggregation keeps per group and step.
#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <utility>

#include "model/histogram_math.h"
#include "model/status_macros.h"
#include "promql/aggregate.h"
#include "promql/range_function.h"
#include "promql/sum_lanes.h"

namespace varve::promql {
namespace {

void InfoIgnoredHistogram(QueryContext& context, const Aggregate& aggregate) {
  context.annotations().Info(
      fmt::format("ignored histogram in {} aggregation", AggregateOpText(aggregate.op)),
      aggregate.expr->position.start);
}

// sum and avg.
class SumFold : public Fold {
 public:
  SumFold(QueryContext& context, const Grid& grid, const Aggregate& aggregate)
      : context_(context),
        aggregate_(aggregate),
        average_(aggregate.op == AggregateOp::kAvg),
        sums_(grid.count, 0),
        carries_(grid.count, 0),
        counts_(grid.count, 0),
        runs_((grid.count + kRunMax - 1) / kRunMax, 0) {}

  absl::Status Add(const Row& row) override {
    const size_t steps = sums_.size();
    if (!row.has_histograms()) {
      AddFloats(row);
      return absl::OkStatus();
    }
    if (histograms_.empty()) histograms_.resize(steps);
    for (size_t step = 0; step < steps; ++step) {
      if (!row.Has(step)) continue;
      if (!row.HasHistogram(step)) {
        AddFloat(step, row.value(step));
        continue;
      }
      HistogramState& state = histograms_[step];
      if (!state.incompatible && !state.sum.Add(*row.histogram(step))) state.incompatible = true;
      state.seen = true;
    }
    return absl::OkStatus();
  }

  absl::Status Finish(Row& row) override {
    for (size_t step = 0; step < sums_.size(); ++step) {
      const bool has_float = CountAt(step) > 0;
      const bool has_histogram = !histograms_.empty() && histograms_[step].seen;
      if (has_float && has_histogram) {
        context_.annotations().Warn("encountered a mix of histograms and floats for aggregation",
                                    aggregate_.expr->position.start);
      } else if (has_float) {
        row.SetFloat(step, Total(step));
      } else if (has_histogram) {
        FinishHistogram(histograms_[step], step, row);
      }
    }
    return absl::OkStatus();
  }

 private:
  static constexpr size_t kRunMax = kAddEachMax;
  static_assert(kRunMax == 64);  // A word of Row::present().

  struct HistogramState {
    HistogramSum sum;
    bool seen = false;
    bool incompatible = false;
  };

  // Steps are independent of one another: a run of present ones is a loop over arrays.
  void AddFloats(const Row& row) {
    const size_t steps = sums_.size();
    if (row.are_zeros() && incremental_.empty()) return CountZeros(row);
    for (size_t first = 0; first < steps; first += kRunMax) {
      const size_t count = std::min(kRunMax, steps - first);
      uint64_t present = row.present()[first / kRunMax];
      if (present == ~uint64_t{0} >> (kRunMax - count) &&
          AddRun(row.values().data() + first, first, count)) {
        continue;
      }
      for (; present != 0; present &= present - 1) {
        const size_t step = first + static_cast<size_t>(std::countr_zero(present));
        AddFloat(step, row.value(step));
      }
    }
  }

  // No sum and no carry changes by a 0.
  void CountZeros(const Row& row) {
    for (size_t first = 0; first < sums_.size(); first += kRunMax) {
      const size_t count = std::min(kRunMax, sums_.size() - first);
      uint64_t present = row.present()[first / kRunMax];
      if (present == ~uint64_t{0} >> (kRunMax - count)) {
        ++runs_[first / kRunMax];
        continue;
      }
      for (; present != 0; present &= present - 1) {
        ++counts_[first + static_cast<size_t>(std::countr_zero(present))];
      }
    }
  }

  // What AddFloat() does for `count` <= 64 steps. False, and nothing is changed, where a sum is
  // not finite or averages are incremental: those are looked at step by step.
  bool AddRun(const double* values, size_t first, size_t count) {
    if (!incremental_.empty()) return false;
    const size_t whole = count / kAddEachMultiple * kAddEachMultiple;
    if (!AddEach(values, whole, &sums_[first], &carries_[first])) return false;
    if (whole < count) {
      for (size_t i = first; i < first + whole; ++i) ++counts_[i];
      for (size_t i = whole; i < count; ++i) AddFloat(first + i, values[i]);
    } else {
      ++runs_[first / kRunMax];
    }
    return true;
  }

  uint64_t CountAt(size_t step) const { return counts_[step] + runs_[step / kRunMax]; }

  void AddFloat(size_t step, double value) {
    CompensatedSum sum{sums_[step], carries_[step]};
    ++counts_[step];
    const auto count = static_cast<double>(CountAt(step));
    if (!average_) {
      sum.Add(value);
    } else if (!AddToAverage(step, count, value, sum)) {
      return;
    }
    sums_[step] = sum.sum;
    carries_[step] = sum.carry;
  }

  // False if the average does not change.
  bool AddToAverage(size_t step, double count, double value, CompensatedSum& sum) {
    if (incremental_.empty() || !incremental_[step]) {
      CompensatedSum next = sum;
      next.Add(value);
      if (count == 1 || !std::isinf(next.sum)) {
        sum = next;
        return true;
      }
      // The sum would overflow: go on with a running mean.
      incremental_.resize(sums_.size(), false);
      incremental_[step] = true;
      sum.sum /= count - 1;
      sum.carry /= count - 1;
    }
    if (std::isinf(sum.sum)) {
      const bool same_infinity = std::isinf(value) && (sum.sum > 0) == (value > 0);
      if (same_infinity || std::isfinite(value)) {
        sums_[step] = sum.sum;
        carries_[step] = sum.carry;
        return false;
      }
    }
    const double weight = (count - 1) / count;
    sum.sum *= weight;
    sum.carry *= weight;
    sum.Add(value / count);
    return true;
  }

  double Total(size_t step) const {
    const bool incremental = !incremental_.empty() && incremental_[step];
    if (!average_ || incremental) return sums_[step] + carries_[step];
    const auto count = static_cast<double>(CountAt(step));
    return sums_[step] / count + carries_[step] / count;
  }

  void FinishHistogram(const HistogramState& state, size_t step, Row& row) const {
    const int position = aggregate_.expr->position.start;
    if (state.incompatible) {
      context_.annotations().Warn(
          "vector contains a mix of histograms with exponential and custom buckets schemas for "
          "metric name \"\"",
          position);
      return;
    }
    if (state.sum.notes().reset_hint_conflict) {
      context_.annotations().Warn("conflicting counter resets during histogram aggregation",
                                  position);
    }
    if (state.sum.notes().bounds_reconciled) {
      context_.annotations().Info("mismatched custom buckets were reconciled during aggregation",
                                  position);
    }
    row.SetHistogram(
        step, std::make_shared<const Histogram>(average_ ? state.sum.Average() : state.sum.Sum()));
  }

  QueryContext& context_;
  const Aggregate& aggregate_;
  const bool average_;
  // By step.
  std::vector<double> sums_;  // Means once incremental.
  std::vector<double> carries_;
  std::vector<uint64_t> counts_;            // Without those of whole runs.
  std::vector<uint64_t> runs_;              // By run of kRunMax steps: values that each step had.
  std::vector<bool> incremental_;           // Empty until a sum overflows.
  std::vector<HistogramState> histograms_;  // Empty until the first histogram.
};

// count and group.
class CountFold : public Fold {
 public:
  CountFold(const Grid& grid, bool group) : group_(group), counts_(grid.count, 0) {}

  absl::Status Add(const Row& row) override {
    for (size_t first = 0; first < counts_.size(); first += 64) {
      const size_t count = std::min<size_t>(64, counts_.size() - first);
      uint64_t present = row.present()[first / 64];
      if (present == ~uint64_t{0} >> (64 - count)) {
        for (size_t step = first; step < first + count; ++step) counts_[step] += row.series;
        continue;
      }
      for (; present != 0; present &= present - 1) {
        counts_[first + static_cast<size_t>(std::countr_zero(present))] += row.series;
      }
    }
    return absl::OkStatus();
  }

  absl::Status Finish(Row& row) override {
    for (size_t step = 0; step < counts_.size(); ++step) {
      if (counts_[step] == 0) continue;
      row.SetFloat(step, group_ ? 1 : static_cast<double>(counts_[step]));
    }
    return absl::OkStatus();
  }

 private:
  const bool group_;
  std::vector<uint64_t> counts_;
};

// min and max.
class ExtremeFold : public Fold {
 public:
  ExtremeFold(QueryContext& context, const Grid& grid, const Aggregate& aggregate)
      : context_(context), aggregate_(aggregate), max_(aggregate.op == AggregateOp::kMax) {
    best_.Reset(grid.count);
  }

  absl::Status Add(const Row& row) override {
    for (size_t step = 0; step < best_.steps(); ++step) {
      if (!row.Has(step)) continue;
      if (row.HasHistogram(step)) {
        InfoIgnoredHistogram(context_, aggregate_);
        continue;
      }
      const double value = row.value(step);
      if (!best_.Has(step) || std::isnan(best_.value(step)) ||
          (max_ ? best_.value(step) < value : best_.value(step) > value)) {
        best_.SetFloat(step, value);
      }
    }
    return absl::OkStatus();
  }

  absl::Status Finish(Row& row) override {
    const bool drop_name = row.drop_name;
    row = std::move(best_);
    row.drop_name = drop_name;
    return absl::OkStatus();
  }

 private:
  QueryContext& context_;
  const Aggregate& aggregate_;
  const bool max_;
  Row best_;
};

// stddev and stdvar, by Welford's method.
class DeviationFold : public Fold {
 public:
  DeviationFold(QueryContext& context, const Grid& grid, const Aggregate& aggregate)
      : context_(context), aggregate_(aggregate), states_(grid.count) {}

  absl::Status Add(const Row& row) override {
    for (size_t step = 0; step < states_.size(); ++step) {
      if (!row.Has(step)) continue;
      if (row.HasHistogram(step)) {
        InfoIgnoredHistogram(context_, aggregate_);
        continue;
      }
      State& state = states_[step];
      const double value = row.value(step);
      ++state.count;
      if (state.count == 1) {
        state.mean = value;
        if (!std::isfinite(value)) state.squares = NormalNan();
        continue;
      }
      const double delta = value - state.mean;
      state.mean += delta / static_cast<double>(state.count);
      state.squares += delta * (value - state.mean);
    }
    return absl::OkStatus();
  }

  absl::Status Finish(Row& row) override {
    for (size_t step = 0; step < states_.size(); ++step) {
      const State& state = states_[step];
      if (state.count == 0) continue;
      const double variance = state.squares / static_cast<double>(state.count);
      row.SetFloat(step, aggregate_.op == AggregateOp::kStddev ? std::sqrt(variance) : variance);
    }
    return absl::OkStatus();
  }

 private:
  struct State {
    uint64_t count = 0;
    double mean = 0;
    double squares = 0;
  };

  QueryContext& context_;
  const Aggregate& aggregate_;
  std::vector<State> states_;
};

// quantile: needs every value of the group.
class QuantileFold : public Fold {
 public:
  QuantileFold(QueryContext& context, const Grid& grid, const Aggregate& aggregate,
               const Row& quantiles)
      : context_(context), aggregate_(aggregate), quantiles_(quantiles), values_(grid.count) {}
  ~QuantileFold() override { context_.Release(held_); }

  absl::Status Add(const Row& row) override {
    uint64_t added = 0;
    for (size_t step = 0; step < values_.size(); ++step) {
      if (!row.Has(step)) continue;
      if (row.HasHistogram(step)) {
        InfoIgnoredHistogram(context_, aggregate_);
        continue;
      }
      values_[step].push_back(row.value(step));
      ++added;
    }
    held_ += added;
    return context_.Hold(added);
  }

  absl::Status Finish(Row& row) override {
    for (size_t step = 0; step < values_.size(); ++step) {
      if (values_[step].empty()) continue;
      row.SetFloat(step, Quantile(quantiles_.value(step), values_[step]));
    }
    return absl::OkStatus();
  }

 private:
  QueryContext& context_;
  const Aggregate& aggregate_;
  const Row& quantiles_;
  std::vector<std::vector<double>> values_;
  uint64_t held_ = 0;
};

}  // namespace

std::unique_ptr<Fold> NewFold(QueryContext& context, const Grid& grid, const Aggregate& aggregate,
                              const Row* param) {
  switch (aggregate.op) {
    case AggregateOp::kSum:
    case AggregateOp::kAvg:
      return std::make_unique<SumFold>(context, grid, aggregate);
    case AggregateOp::kMin:
    case AggregateOp::kMax:
      return std::make_unique<ExtremeFold>(context, grid, aggregate);
    case AggregateOp::kStddev:
    case AggregateOp::kStdvar:
      return std::make_unique<DeviationFold>(context, grid, aggregate);
    case AggregateOp::kQuantile:
      return std::make_unique<QuantileFold>(context, grid, aggregate, *param);
    default:
      return std::make_unique<CountFold>(grid, aggregate.op == AggregateOp::kGroup);
  }
}

}  // namespace varve::promql

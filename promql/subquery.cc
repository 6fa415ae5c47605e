// SPDX-License-Identifier: Apache-2.0
//
// The inner expression is evaluated once, over all steps any outer step looks at, and no others.
#include "promql/subquery.h"

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "model/status_macros.h"

namespace varve::promql {
namespace {

class SubquerySource : public RangeSource {
 public:
  SubquerySource(QueryContext& context, const RangeSpec& spec, const Grid& inner, OperatorPtr input)
      : context_(context), spec_(spec), inner_(inner), input_(std::move(input)) {}
  ~SubquerySource() override { context_.Release(held_); }

  const RangeSpec& spec() const override { return spec_; }

  absl::StatusOr<std::vector<Labels>> Open() override {
    if (input_ == nullptr) return std::vector<Labels>();
    return input_->Open();
  }

  absl::Status Next(RangeSeries& series) override {
    RETURN_IF_ERROR(context_.Check());
    RETURN_IF_ERROR(input_->Next(row_));
    series.samples.Clear();
    series.drop_name = row_.drop_name;
    for (size_t step = 0; step < inner_.count; ++step) {
      if (!row_.Has(step)) continue;
      if (row_.HasHistogram(step)) {
        series.samples.histograms.push_back({inner_.TimeAt(step), Unhinted(row_.histogram(step))});
      } else {
        series.samples.times.push_back(inner_.TimeAt(step));
        series.samples.values.push_back(row_.value(step));
      }
    }
    context_.Release(held_);
    held_ = row_.Weight();
    return context_.Hold(held_);
  }

 private:
  // What a sample knew about its predecessor says nothing about the previous step.
  static HistogramPtr Unhinted(const HistogramPtr& histogram) {
    if (histogram->reset_hint != ResetHint::kReset &&
        histogram->reset_hint != ResetHint::kNotReset) {
      return histogram;
    }
    Histogram copy = *histogram;
    copy.reset_hint = ResetHint::kUnknown;
    return std::make_shared<const Histogram>(std::move(copy));
  }

  QueryContext& context_;
  const RangeSpec spec_;
  const Grid inner_;
  OperatorPtr input_;
  Row row_;
  uint64_t held_ = 0;
};

TimestampMs FirstMultipleAfter(TimestampMs time, DurationMs step) {
  const TimestampMs multiple = time / step * step;  // Rounded towards 0.
  return multiple <= time ? multiple + step : multiple;
}

// Calls `add` with those multiples of `step` in each window that the windows before it lack.
template <typename Add>
void ForEachRun(const RangeSpec& spec, DurationMs step, Add add) {
  TimestampMs next = FirstMultipleAfter(spec.EndAt(0) - spec.range, step);
  for (size_t i = 0; i < (spec.fixed ? 1 : spec.grid.count); ++i) {
    const TimestampMs end = spec.EndAt(i);
    const TimestampMs first = std::max(next, FirstMultipleAfter(end - spec.range, step));
    if (first > end) continue;
    const auto count = static_cast<size_t>((end - first) / step) + 1;
    add(first, count);
    next = first + static_cast<DurationMs>(count) * step;
  }
}

}  // namespace

absl::StatusOr<Grid> SubqueryGrid(QueryContext& context, const RangeSpec& spec, DurationMs step) {
  Grid grid;
  grid.start = FirstMultipleAfter(spec.EndAt(0) - spec.range, step);
  grid.step = step;
  grid.count = 0;
  TimestampMs next = grid.start;
  bool even = true;
  ForEachRun(spec, step, [&](TimestampMs first, size_t count) {
    even &= first == next;
    grid.count += count;
    next = first + static_cast<DurationMs>(count) * step;
  });
  if (!even && !context.setup().engine.rewrites) {
    even = true;
    grid.count = static_cast<size_t>((next - grid.start) / step);
  }
  if (grid.count > context.setup().engine.max_samples) {
    return ExecutionError(
        "query processing would load too many samples into memory in query execution");
  }
  if (even) return grid;
  RETURN_IF_ERROR(context.HoldPlanned(grid, sizeof(TimestampMs)));
  auto times = std::make_shared<std::vector<TimestampMs>>();
  times->reserve(grid.count);
  ForEachRun(spec, step, [&](TimestampMs first, size_t count) {
    for (size_t i = 0; i < count; ++i) times->push_back(first + static_cast<DurationMs>(i) * step);
  });
  grid.start = times->front();
  grid.uneven = std::move(times);
  return grid;
}

RangeSourcePtr MakeSubquery(QueryContext& context, const RangeSpec& spec, const Grid& inner,
                            OperatorPtr input) {
  return std::make_unique<SubquerySource>(context, spec, inner, std::move(input));
}

}  // namespace varve::promql

// SPDX-License-Identifier: Apache-2.0
//
// Range vector selectors: all samples the windows of a series touch, read once.
#include <algorithm>
#include <utility>

#include "model/status_macros.h"
#include "promql/interpolate.h"
#include "promql/selector.h"

namespace varve::promql {
namespace {

class RangeSelector : public RangeSource {
 public:
  RangeSelector(QueryContext& context, const RangeSpec& spec, RangeSelection selection)
      : context_(context), spec_(spec), selection_(std::move(selection)) {}
  ~RangeSelector() override { context_.Release(held_); }

  const RangeSpec& spec() const override { return spec_; }
  const RangeSelection* selection() const override { return &selection_; }

  absl::StatusOr<std::vector<Labels>> Open() override {
    ASSIGN_OR_RETURN(series_,
                     Select(context_, selection_.selector.matchers, selection_.hints, memory_));
    std::vector<Labels> labels;
    labels.reserve(series_->size());
    for (size_t i = 0; i < series_->size(); ++i) labels.push_back(series_->labels(i));
    return labels;
  }

  absl::Status Next(RangeSeries& series) override {
    RETURN_IF_ERROR(context_.Check());
    series.drop_name = false;
    absl::Status read =
        series_->Read(next_++, selection_.hints.start_ms, selection_.hints.end_ms, series.samples);
    if (!read.ok()) return ExecutionError(MessageOf(read));
    if (context_.NeedsResetHints(selection_.selector)) DetectResetHints(series.samples);
    RemoveStale(series.samples);
    context_.Release(held_);
    held_ = SampleWeight(series.samples);
    context_.CountRead(series.samples.times.size() + series.samples.histograms.size(),
                       series.samples.cost);
    if (context_.counts_per_step()) {
      context_.CountReadPerStep(series.samples, spec_.offset, spec_.fixed);
    }
    return context_.Hold(held_);
  }

 private:
  QueryContext& context_;
  const RangeSpec spec_;
  const RangeSelection selection_;
  HeldMemory memory_{context_};
  std::unique_ptr<SeriesSet> series_;
  size_t next_ = 0;
  uint64_t held_ = 0;
};

}  // namespace

absl::StatusOr<RangeSourcePtr> MakeRangeSelector(QueryContext& context, const Grid& grid,
                                                 const MatrixSelector& selector,
                                                 const SelectorHints& hints) {
  RangeSpec spec;
  spec.grid = grid;
  spec.range = selector.range_ms;
  if (selector.range_expr != nullptr) {
    ASSIGN_OR_RETURN(spec.range,
                     ResolveDuration(*selector.range_expr, context, DurationSign::kPositive));
  }
  ASSIGN_OR_RETURN(const ResolvedTime time, ResolveTime(selector.selector->time, context));
  spec.offset = time.offset;
  spec.fixed = time.fixed;
  spec.fixed_time = time.fixed_time;
  spec.anchored = selector.selector->anchored;
  spec.smoothed = selector.selector->smoothed;
  spec.lookback = context.setup().lookback;

  SelectHints select;
  select.start_ms = spec.EndAt(0) - spec.range + 1;
  if (spec.anchored || spec.smoothed) select.start_ms -= spec.lookback;
  select.end_ms = spec.EndAt(grid.count - 1) + (spec.smoothed ? spec.lookback : 0);
  select.step_ms = grid.step;
  select.range_ms = spec.range;
  select.function = hints.function;
  select.grouping = hints.grouping;
  select.grouping_by = hints.grouping_by;
  select.presence_only = hints.presence_only && context.setup().engine.rewrites && !spec.smoothed;
  context.WillRead(select.start_ms, select.end_ms);
  return RangeSourcePtr(std::make_unique<RangeSelector>(
      context, spec, RangeSelection{*selector.selector, std::move(select)}));
}

}  // namespace varve::promql

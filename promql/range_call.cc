// SPDX-License-Identifier: Apache-2.0
//
// Calls of functions over range vectors: a window slides over the samples of each series.
#include <fmt/format.h>

#include <utility>

#include "model/status_macros.h"
#include "promql/interpolate.h"
#include "promql/leaf_rows.h"
#include "promql/range_function.h"
#include "promql/window_kernel.h"

namespace varve::promql {

void RangeCall::WarnMixedTypes() const {
  Warn("encountered a mix of histograms and floats for metric name " + Quoted(metric));
}

void RangeCall::WarnMixedSchemas() const {
  Warn(
      "vector contains a mix of histograms with exponential and custom buckets schemas for "
      "metric name " +
      Quoted(metric));
}

void RangeCall::InfoIgnoredHistograms() const {
  Info("ignored histograms in a range containing both floats and histograms for metric name " +
       Quoted(metric));
}

void RangeCall::NoteBounds(bool reconciled, std::string_view operation) const {
  if (reconciled) {
    Info(fmt::format("mismatched custom buckets were reconciled during {}", operation));
  }
}

RangeWindow WindowSlider::At(size_t step) {
  RangeWindow window;
  window.end = spec_.EndAt(step);
  window.start = window.end - spec_.range;
  window.eval_time = spec_.grid.TimeAt(step);
  const bool extended = spec_.anchored || spec_.smoothed;
  const TimestampMs after = window.start - (extended ? spec_.lookback : 0);
  const TimestampMs upto = window.end + (spec_.smoothed ? spec_.lookback : 0);

  const auto& times = samples_.times;
  while (float_end_ < times.size() && times[float_end_] <= upto) ++float_end_;
  while (float_begin_ < float_end_ && times[float_begin_] <= after) ++float_begin_;
  const auto& histograms = samples_.histograms;
  while (histogram_end_ < histograms.size() && histograms[histogram_end_].time <= upto) {
    ++histogram_end_;
  }
  while (histogram_begin_ < histogram_end_ && histograms[histogram_begin_].time <= after) {
    ++histogram_begin_;
  }
  const size_t floats = float_end_ - float_begin_;
  window.times = absl::MakeConstSpan(times).subspan(float_begin_, floats);
  window.values = absl::MakeConstSpan(samples_.values).subspan(float_begin_, floats);
  if (!samples_.start_times.empty()) {
    window.start_times = absl::MakeConstSpan(samples_.start_times).subspan(float_begin_, floats);
  }
  const size_t count = histogram_end_ - histogram_begin_;
  window.histograms = absl::MakeConstSpan(histograms).subspan(histogram_begin_, count);
  if (!samples_.histogram_start_times.empty()) {
    window.histogram_start_times =
        absl::MakeConstSpan(samples_.histogram_start_times).subspan(histogram_begin_, count);
  }
  return window;
}

namespace {

class RangeCallOperator : public Operator {
 public:
  RangeCallOperator(QueryContext& context, const RangeFunctionEntry& function,
                    RangeCallArguments arguments)
      : context_(context),
        function_(function),
        kernel_(FindFloatKernel(function.id)),
        source_(std::move(arguments.source)),
        scalars_(std::move(arguments.scalars)),
        params_(std::move(arguments.params)),
        position_(arguments.position),
        scalar_position_(arguments.scalar_position),
        counts_(context.counts_queryable()) {
    const RangeSelection* selection = source_->selection();
    if (selection == nullptr) return;
    const RangeSpec& spec = source_->spec();
    rows_ = std::make_unique<LeafRows>(
        context_,
        LeafPlan{.selector = selection->selector,
                 .hints = selection->hints,
                 .steps = spec.grid.count,
                 .offset = spec.offset,
                 .fixed = spec.fixed,
                 .stale_markers = false,
                 .shareable = context_.shares(selection->selector) && scalars_.empty() &&
                              !spec.anchored && !spec.smoothed,
                 .make = [this](const Labels& labels, LeafScratch& scratch, LeafRow& out) {
                   out.held = SampleWeight(scratch.samples);
                   return Apply(labels, scratch, out);
                 }});
  }

  absl::StatusOr<std::vector<Labels>> Open() override {
    for (OperatorPtr& scalar : scalars_) {
      RETURN_IF_ERROR(scalar->Open().status());
      RETURN_IF_ERROR(scalar->Next(params_.emplace_back()));
    }
    std::vector<Labels> labels;
    if (rows_ != nullptr) {
      ASSIGN_OR_RETURN(labels, rows_->Open());
    } else {
      ASSIGN_OR_RETURN(labels_, source_->Open());
      labels = labels_;
    }
    if (!function_.keeps_name && !context_.delayed_name_removal()) {
      for (Labels& set : labels) set = WithoutName(set);
    }
    return labels;
  }

  absl::Status Next(Row& row) override {
    bool drop_name = drops_name();
    if (rows_ != nullptr) {
      RETURN_IF_ERROR(rows_->Next(row));
    } else {
      RETURN_IF_ERROR(source_->Next(series_));
      drop_name |= series_.drop_name;
      std::swap(scratch_.samples, series_.samples);
      made_.queryable = 0;
      RETURN_IF_ERROR(Apply(labels_[next_++], scratch_, made_));
      context_.CountQueryable(made_.queryable);
      context_.annotations().Take(made_.annotations);
      std::swap(row, made_.row);
    }
    row.drop_name = drop_name;
    return absl::OkStatus();
  }

  bool GiveEarly(RowTaker taker) override {
    if (rows_ == nullptr) return false;
    return rows_->GiveEarly([this, taker = std::move(taker)](Row& row) {
      row.drop_name = drops_name();
      return taker(row);
    });
  }

 private:
  bool drops_name() const { return !function_.keeps_name && context_.delayed_name_removal(); }

  absl::Status Apply(const Labels& labels, LeafScratch& scratch, LeafRow& out) const {
    const RangeSpec& spec = source_->spec();
    RangeCall call{.context = context_,
                   .spec = spec,
                   .annotations = out.annotations,
                   .position = position_,
                   .metric = labels.Get(kMetricName),
                   .type_label = labels.Get(kTypeLabel),
                   .param_rows = params_,
                   .param_position = scalar_position_};
    out.row.Reset(spec.grid.count);
    const SeriesSamples& samples = scratch.samples;
    const bool starts_matter =
        context_.features().use_start_timestamps && !samples.start_times.empty();
    if (kernel_ == nullptr || !samples.histograms.empty() || starts_matter || spec.anchored ||
        spec.smoothed) {
      return ApplyByWindow(call, samples, out);
    }
    scratch.windows.Find(spec, samples);
    if (counts_) out.queryable = scratch.windows.samples;
    if (counts_ && context_.counts_per_step()) {
      for (size_t step = 0; step < spec.grid.count; ++step) {
        context_.CountQueryableAt(spec.grid.TimeAt(step), scratch.windows.Values(step).size());
      }
    }
    kernel_(scratch.windows, call, out.row);
    return absl::OkStatus();
  }

  absl::Status ApplyByWindow(RangeCall& call, const SeriesSamples& samples, LeafRow& out) const {
    WindowSlider slider(call.spec, samples);
    call.params.resize(params_.size());
    for (size_t step = 0; step < call.spec.grid.count; ++step) {
      const RangeWindow window = slider.At(step);
      if (window.empty()) continue;
      const size_t seen = window.times.size() + window.histograms.size();
      if (counts_) out.queryable += seen;
      if (counts_ && context_.counts_per_step()) context_.CountQueryableAt(window.eval_time, seen);
      for (size_t i = 0; i < params_.size(); ++i) call.params[i] = params_[i].value(step);
      RangeValue value = function_.body(window, call);
      if (!call.error.empty()) return ExecutionError(call.error);
      if (!value.present) continue;
      if (value.histogram != nullptr) {
        out.row.SetHistogram(step, std::move(value.histogram));
      } else {
        out.row.SetFloat(step, value.value);
      }
    }
    return absl::OkStatus();
  }

  QueryContext& context_;
  const RangeFunctionEntry& function_;
  const FloatKernel kernel_;  // May be null.
  RangeSourcePtr source_;
  std::vector<OperatorPtr> scalars_;
  std::vector<Row> params_;
  const int position_;
  const int scalar_position_;
  const bool counts_;
  // Of a source that gives one series after another.
  std::vector<Labels> labels_;
  size_t next_ = 0;
  RangeSeries series_;
  LeafScratch scratch_;
  LeafRow made_;
  // Of a source that is a selection, else null. Last: what it runs looks at the rest.
  std::unique_ptr<LeafRows> rows_;
};

class AbsentOverTimeOperator : public Operator {
 public:
  AbsentOverTimeOperator(QueryContext& context, RangeSourcePtr source, Labels labels)
      : context_(context),
        source_(std::move(source)),
        labels_(std::move(labels)),
        counts_(context.counts_queryable()) {}

  absl::StatusOr<std::vector<Labels>> Open() override {
    ASSIGN_OR_RETURN(const std::vector<Labels> inputs, source_->Open());
    inputs_ = inputs.size();
    return std::vector<Labels>{labels_};
  }

  absl::Status Next(Row& row) override {
    const size_t steps = source_->spec().grid.count;
    row.Reset(steps);
    for (size_t step = 0; step < steps; ++step) row.SetFloat(step, 1);
    RangeSeries series;
    for (size_t i = 0; i < inputs_; ++i) {
      RETURN_IF_ERROR(source_->Next(series));
      WindowSlider slider(source_->spec(), series.samples);
      uint64_t seen = 0;
      for (size_t step = 0; step < steps; ++step) {
        const RangeWindow window = slider.At(step);
        if (window.empty()) continue;
        row.Clear(step);
        const size_t here = window.times.size() + window.histograms.size();
        seen += here;
        if (counts_ && context_.counts_per_step()) {
          context_.CountQueryableAt(window.eval_time, here);
        }
      }
      if (counts_) context_.CountQueryable(seen);
    }
    return absl::OkStatus();
  }

 private:
  QueryContext& context_;
  RangeSourcePtr source_;
  const Labels labels_;
  const bool counts_;
  size_t inputs_ = 0;
};

}  // namespace

OperatorPtr MakeRangeCall(QueryContext& context, const RangeFunctionEntry& function,
                          RangeCallArguments arguments) {
  return std::make_unique<RangeCallOperator>(context, function, std::move(arguments));
}

OperatorPtr MakeAbsentOverTime(QueryContext& context, RangeSourcePtr source, Labels labels) {
  return std::make_unique<AbsentOverTimeOperator>(context, std::move(source), std::move(labels));
}

}  // namespace varve::promql

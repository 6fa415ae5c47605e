// SPDX-License-Identifier: Apache-2.0
//
// Calls of functions over range vectors: a window slides over the samples of each series.
#include <fmt/format.h>

#include <utility>

#include "model/status_macros.h"
#include "promql/range_function.h"

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
        source_(std::move(arguments.source)),
        scalars_(std::move(arguments.scalars)),
        call_{.context = context,
              .spec = source_->spec(),
              .position = arguments.position,
              .param_position = arguments.scalar_position} {}

  absl::StatusOr<std::vector<Labels>> Open() override {
    for (OperatorPtr& scalar : scalars_) {
      RETURN_IF_ERROR(scalar->Open().status());
      RETURN_IF_ERROR(scalar->Next(params_.emplace_back()));
    }
    call_.params.resize(params_.size());
    ASSIGN_OR_RETURN(labels_, source_->Open());
    std::vector<Labels> labels = labels_;
    if (!function_.keeps_name && !context_.delayed_name_removal()) {
      for (Labels& set : labels) set = WithoutName(set);
    }
    return labels;
  }

  absl::Status Next(Row& row) override {
    const Labels& labels = labels_[next_++];
    RETURN_IF_ERROR(source_->Next(series_));
    call_.metric = labels.Get(kMetricName);
    call_.type_label = labels.Get(kTypeLabel);
    call_.counter_name_checked = false;
    const size_t steps = source_->spec().grid.count;
    row.Reset(steps);
    row.drop_name = series_.drop_name || (!function_.keeps_name && context_.delayed_name_removal());
    WindowSlider slider(source_->spec(), series_.samples);
    uint64_t seen = 0;
    for (size_t step = 0; step < steps; ++step) {
      const RangeWindow window = slider.At(step);
      if (window.empty()) continue;
      const size_t samples = window.times.size() + window.histograms.size();
      seen += samples;
      if (context_.counts_per_step()) context_.CountQueryableAt(window.eval_time, samples);
      for (size_t i = 0; i < params_.size(); ++i) call_.params[i] = params_[i].value(step);
      RangeValue value = function_.body(window, call_);
      if (!call_.error.empty()) return ExecutionError(call_.error);
      if (!value.present) continue;
      if (value.histogram != nullptr) {
        row.SetHistogram(step, std::move(value.histogram));
      } else {
        row.SetFloat(step, value.value);
      }
    }
    context_.CountQueryable(seen);
    return absl::OkStatus();
  }

 private:
  QueryContext& context_;
  const RangeFunctionEntry& function_;
  RangeSourcePtr source_;
  std::vector<OperatorPtr> scalars_;
  RangeCall call_;
  std::vector<Row> params_;
  std::vector<Labels> labels_;
  RangeSeries series_;
  size_t next_ = 0;
};

class AbsentOverTimeOperator : public Operator {
 public:
  AbsentOverTimeOperator(QueryContext& context, RangeSourcePtr source, Labels labels)
      : context_(context), source_(std::move(source)), labels_(std::move(labels)) {}

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
        seen += window.times.size() + window.histograms.size();
        if (!window.empty()) row.Clear(step);
      }
      context_.CountQueryable(seen);
    }
    return absl::OkStatus();
  }

 private:
  QueryContext& context_;
  RangeSourcePtr source_;
  const Labels labels_;
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

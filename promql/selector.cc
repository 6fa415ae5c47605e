// SPDX-License-Identifier: Apache-2.0
//
// Instant vector selectors. A series is read once for all steps; two cursors, one over floats and
// one over histograms, advance with the steps.
#include "promql/selector.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "model/histogram_math.h"
#include "model/status_macros.h"
#include "promql/duration.h"
#include "promql/interpolate.h"
#include "promql/leaf_rows.h"

namespace varve::promql {
namespace {

// A series on its way to a series set, and there beside its labels, about.
constexpr uint64_t kSeriesBytes = 256;
constexpr uint64_t kSetBytes = 40;

struct InstantSpec {
  Grid grid;  // One step only when the time is fixed.
  size_t output_steps = 1;
  ResolvedTime time;
  DurationMs lookback = 0;
  SelectedPart part = SelectedPart::kValue;
  bool smoothed = false;

  TimestampMs At(size_t step) const {
    return (time.fixed ? time.fixed_time : grid.TimeAt(step)) - time.offset;
  }
};

class SelectorOperator : public Operator {
 public:
  SelectorOperator(QueryContext& context, const InstantSpec& spec, const VectorSelector& selector,
                   SelectHints hints)
      : context_(context),
        spec_(spec),
        selector_(selector),
        counts_(context.counts_queryable()),
        rows_(context, {.selector = selector,
                        .hints = std::move(hints),
                        .steps = spec.output_steps,
                        .offset = spec.time.offset,
                        .fixed = spec.time.fixed,
                        .stale_markers = !spec.smoothed,
                        .shareable = context.shares(selector) && !spec.smoothed,
                        .make = [this](const Labels& labels, LeafScratch& scratch, LeafRow& out) {
                          return MakeRow(labels, scratch, out);
                        }}) {}

  absl::StatusOr<std::vector<Labels>> Open() override { return rows_.Open(); }
  absl::Status Next(Row& row) override { return rows_.Next(row); }
  bool GiveEarly(RowTaker taker) override { return rows_.GiveEarly(std::move(taker)); }

 private:
  absl::Status MakeRow(const Labels& labels, LeafScratch& scratch, LeafRow& out) const {
    const SeriesSamples& samples = scratch.samples;
    Row& row = out.row;
    row.Reset(spec_.output_steps);
    if (spec_.smoothed) {
      FillSmoothed(labels, samples, out);
    } else if (samples.histograms.empty() && spec_.part == SelectedPart::kValue) {
      FillFloats(samples, scratch.windows, row);
    } else {
      Fill(samples, row);
    }
    if (spec_.time.fixed) Broadcast(row);
    if (!counts_) return absl::OkStatus();
    out.queryable = row.CountPresent();
    if (context_.counts_per_step()) {
      for (size_t step = 0; step < row.steps(); ++step) {
        if (row.Has(step)) context_.CountQueryableAt(spec_.grid.TimeAt(step), 1);
      }
    }
    return absl::OkStatus();
  }

  size_t StepsToFill() const { return spec_.time.fixed ? 1 : spec_.output_steps; }

  void Broadcast(Row& row) const {
    if (!row.Has(0)) return;
    for (size_t step = 1; step < spec_.output_steps; ++step) row.CopyFrom(step, row, 0);
  }

  void FillFloats(const SeriesSamples& samples, FloatWindows& windows, Row& row) const {
    if (samples.times.empty()) return;
    if (StepsToFill() == 1) {
      const auto next = std::upper_bound(samples.times.begin(), samples.times.end(), spec_.At(0));
      if (next == samples.times.begin() || next[-1] <= spec_.At(0) - spec_.lookback) return;
      const double value = samples.values[static_cast<size_t>(next - samples.times.begin()) - 1];
      if (!IsStaleNan(value)) row.SetFloat(0, value);
      return;
    }
    // The sample of a step is the last one of the window that looks back from it.
    windows.Find({.grid = spec_.grid, .range = spec_.lookback, .offset = spec_.time.offset},
                 samples);
    const double* const values = samples.values.data();
    const uint32_t* const end = windows.end.data();
    double* const out = row.values().data();
    for (size_t step = 0; step < row.steps(); ++step) {
      out[step] = values[std::max<uint32_t>(end[step], 1) - 1];
    }
    row.present() = windows.found->filled;
    if (samples.known.numbers == samples.values.size()) return;
    for (size_t step = 0; step < row.steps(); ++step) {
      if (out[step] != out[step] && IsStaleNan(out[step])) row.Clear(step);
    }
  }

  void Fill(const SeriesSamples& samples, Row& row) const {
    size_t floats = 0;  // Samples not newer than the step.
    size_t histograms = 0;
    for (size_t step = 0; step < StepsToFill(); ++step) {
      const TimestampMs at = spec_.At(step);
      while (floats < samples.times.size() && samples.times[floats] <= at) ++floats;
      while (histograms < samples.histograms.size() && samples.histograms[histograms].time <= at) {
        ++histograms;
      }
      const bool has_float = floats > 0 && samples.times[floats - 1] > at - spec_.lookback;
      const bool has_histogram =
          histograms > 0 && samples.histograms[histograms - 1].time > at - spec_.lookback;
      if (has_histogram &&
          (!has_float || samples.histograms[histograms - 1].time > samples.times[floats - 1])) {
        SetHistogram(samples, step, histograms - 1, row);
      } else if (has_float) {
        SetFloat(samples, step, floats - 1, row);
      }
    }
  }

  void SetFloat(const SeriesSamples& samples, size_t step, size_t index, Row& row) const {
    if (IsStaleNan(samples.values[index])) return;
    switch (spec_.part) {
      case SelectedPart::kValue:
        row.SetFloat(step, samples.values[index]);
        return;
      case SelectedPart::kTimestamp:
        row.SetFloat(step, static_cast<double>(samples.times[index]) / 1000);
        return;
      case SelectedPart::kStartTimestamp:
        if (!samples.start_times.empty() && samples.start_times[index] != 0) {
          row.SetFloat(step, static_cast<double>(samples.start_times[index]) / 1000);
        }
        return;
    }
  }

  void SetHistogram(const SeriesSamples& samples, size_t step, size_t index, Row& row) const {
    const HistogramSample& sample = samples.histograms[index];
    if (sample.histogram->IsStale()) return;
    switch (spec_.part) {
      case SelectedPart::kValue:
        row.SetHistogram(step, sample.histogram);
        return;
      case SelectedPart::kTimestamp:
        row.SetFloat(step, static_cast<double>(sample.time) / 1000);
        return;
      case SelectedPart::kStartTimestamp:
        if (!samples.histogram_start_times.empty() && samples.histogram_start_times[index] != 0) {
          row.SetFloat(step, static_cast<double>(samples.histogram_start_times[index]) / 1000);
        }
        return;
    }
  }

  void FillSmoothed(const Labels& labels, const SeriesSamples& samples, LeafRow& out) const {
    Row& row = out.row;
    const std::string metric(labels.Get(kMetricName));
    for (size_t step = 0; step < StepsToFill(); ++step) {
      const TimestampMs at = spec_.At(step);
      const InterpolatedSample sample =
          InterpolateAt(samples, at - spec_.lookback, at, at + spec_.lookback);
      switch (sample.kind) {
        case InterpolatedSample::Kind::kNone:
          break;
        case InterpolatedSample::Kind::kFloat:
          row.SetFloat(step, sample.value);
          break;
        case InterpolatedSample::Kind::kHistogram:
          row.SetHistogram(step, sample.histogram);
          break;
        case InterpolatedSample::Kind::kMixedTypes:
          out.annotations.Warn(
              "encountered a mix of histograms and floats for metric name " + Quoted(metric),
              selector_.position.start);
          break;
        case InterpolatedSample::Kind::kMixedSchemas:
          out.annotations.Warn(
              "vector contains a mix of histograms with exponential and custom buckets schemas "
              "for metric name " +
                  Quoted(metric),
              selector_.position.start);
          break;
      }
    }
  }

  QueryContext& context_;
  const InstantSpec spec_;
  const VectorSelector& selector_;
  const bool counts_;
  LeafRows rows_;  // Last: what it runs looks at the rest.
};

}  // namespace

absl::StatusOr<ResolvedTime> ResolveTime(const TimeModifiers& modifiers,
                                         const QueryContext& context) {
  ResolvedTime resolved;
  resolved.offset = modifiers.offset_ms;
  if (modifiers.offset_expr != nullptr) {
    ASSIGN_OR_RETURN(resolved.offset,
                     ResolveDuration(*modifiers.offset_expr, context, DurationSign::kAny));
  }
  resolved.fixed = modifiers.at != AtModifier::kNone;
  switch (modifiers.at) {
    case AtModifier::kNone:
      break;
    case AtModifier::kTimestamp:
      resolved.fixed_time = ClampTime(modifiers.at_ms);
      break;
    case AtModifier::kStart:
      resolved.fixed_time = context.setup().start;
      break;
    case AtModifier::kEnd:
      resolved.fixed_time = context.setup().end;
      break;
  }
  return resolved;
}

absl::StatusOr<DurationMs> ResolveDuration(const DurationExpr& expr, const QueryContext& context,
                                           DurationSign sign) {
  const QueryContext::Setup& setup = context.setup();
  DurationContext times;
  times.step_ms = setup.step;
  times.range_ms = setup.end - setup.start;
  auto duration = EvaluateDuration(expr, times, sign);
  if (duration.ok()) return *duration;
  return QueryError(QueryErrorType::kBadData, MessageOf(duration.status()));
}

absl::StatusOr<std::unique_ptr<SeriesSet>> Select(QueryContext& context,
                                                  const std::vector<Matcher>& matchers,
                                                  SelectHints hints, HeldMemory& memory) {
  RETURN_IF_ERROR(context.Check());
  absl::Status refused;
  absl::StatusOr<std::unique_ptr<SeriesSet>> series;
  {
    HeldMemory making(context);
    uint64_t expected = 0;
    hints.found = [&](uint64_t found) {
      refused = making.Add((found - std::exchange(expected, found)) * kSeriesBytes);
      return refused;
    };
    series = context.querier().Select(matchers, hints);
  }
  RETURN_IF_ERROR(refused);
  if (!series.ok()) {
    return ExecutionError(fmt::format("expanding series: {}", MessageOf(series.status())));
  }
  uint64_t bytes = 0;
  for (size_t i = 0; i < (*series)->size(); ++i) {
    bytes += kSetBytes + 2 * (sizeof(Labels) + (*series)->labels(i).bytes().size());
  }
  RETURN_IF_ERROR(memory.Add(bytes));
  return std::move(*series);
}

absl::StatusOr<OperatorPtr> MakeSelector(QueryContext& context, const Grid& grid,
                                         const VectorSelector& selector, SelectedPart part,
                                         const SelectorHints& hints) {
  InstantSpec spec;
  spec.grid = grid;
  spec.output_steps = grid.count;
  spec.lookback = context.setup().lookback;
  spec.part = part;
  spec.smoothed = selector.smoothed;
  ASSIGN_OR_RETURN(spec.time, ResolveTime(selector.time, context));
  SelectHints select;
  select.start_ms = spec.At(0) - spec.lookback + 1;
  select.end_ms = spec.At(grid.count - 1) + (selector.smoothed ? spec.lookback : 0);
  select.step_ms = grid.step;
  select.function = hints.function;
  select.grouping = hints.grouping;
  select.grouping_by = hints.grouping_by;
  select.grouping_only =
      hints.grouping_only && context.setup().engine.rewrites && !selector.smoothed;
  // What comes before a histogram tells whether it was reset.
  select.newest_only = context.setup().engine.rewrites && !context.counts_per_step() &&
                       !selector.smoothed && !context.NeedsResetHints(selector) &&
                       (spec.time.fixed || grid.count == 1);
  // The time of a newest sample of which only the presence counts may be another one.
  select.presence_only = hints.presence_only && context.setup().engine.rewrites &&
                         !selector.smoothed &&
                         (part == SelectedPart::kValue || !select.newest_only);
  return OperatorPtr(
      std::make_unique<SelectorOperator>(context, spec, selector, std::move(select)));
}

}  // namespace varve::promql

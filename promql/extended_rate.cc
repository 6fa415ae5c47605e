// SPDX-License-Identifier: Apache-2.0
//
// rate, increase, delta, changes and resets of `anchored` and `smoothed` range selectors: nothing
// is extrapolated; the values at the window's edges are samples near them (anchored) or lie on the
// line between the samples around them (smoothed).
#include <algorithm>
#include <optional>
#include <utility>

#include "model/histogram_math.h"
#include "promql/interpolate.h"
#include "promql/range_function.h"

namespace varve::promql {
namespace {

// Which samples take part: [first, last], inclusive.
struct Reach {
  size_t first = 0;
  size_t last = 0;
};

// `time_at(i)` rises with i. Nothing if no sample lies in the window (or, when smoothed, the
// window is not between samples).
template <typename TimeAt>
std::optional<Reach> FindReach(size_t count, TimeAt time_at, const RangeWindow& window,
                               bool smoothed) {
  if (count == 0) return std::nullopt;
  Reach reach;
  reach.last = count - 1;
  size_t after_start = 0;
  while (after_start < reach.last && time_at(after_start) <= window.start) ++after_start;
  reach.first = after_start > 0 ? after_start - 1 : 0;
  if (smoothed) {
    size_t at_end = 0;
    while (at_end < reach.last && time_at(at_end) < window.end) ++at_end;
    reach.last = at_end;
  }
  if (time_at(reach.last) <= window.start) return std::nullopt;
  if (smoothed && time_at(reach.first) > window.end) return std::nullopt;
  return reach;
}

RangeValue FloatRate(const RangeWindow& window, const RangeCall& call, const RateKind& kind) {
  const bool smoothed = call.spec.smoothed;
  const auto& times = window.times;
  const auto& values = window.values;
  const auto reach = FindReach(
      times.size(), [&](size_t i) { return times[i]; }, window, smoothed);
  if (!reach.has_value()) return RangeValue::None();
  const size_t first = reach->first;
  const size_t last = reach->last;

  double left = values[first];
  if (smoothed && times[first] < window.start) {
    left = InterpolateFloats(times[first], values[first], times[first + 1], values[first + 1],
                             window.start, kind.is_counter);
  }
  double right = values[last];
  if (smoothed && last > 0 && times[last] > window.end) {
    right = InterpolateFloats(times[last - 1], values[last - 1], times[last], values[last],
                              window.end, kind.is_counter);
  }
  double result = right - left;
  if (kind.is_counter) {
    double previous = left;
    for (size_t i = first; i <= last; ++i) {
      if (times[i] <= window.start || times[i] >= window.end) continue;
      if (values[i] < previous) result += previous;
      previous = values[i];
    }
    // Both edges on one falling segment: `left` has accounted for the reset already.
    if (right < previous) result += previous;
  }
  if (kind.per_second) result /= static_cast<double>(call.spec.range) / 1000;
  return RangeValue::Float(result);
}

// The samples a histogram rate is made of, checked for what cannot be combined.
bool CheckHistograms(const RangeWindow& window, const Reach& reach, const RangeCall& call,
                     bool is_counter) {
  bool any_gauge = false;
  bool all_gauge = true;
  for (size_t i = reach.first; i <= reach.last; ++i) {
    const Histogram& histogram = *window.histograms[i].histogram;
    const bool gauge = histogram.reset_hint == ResetHint::kGauge;
    any_gauge |= gauge;
    if (i == reach.first || i == reach.last) all_gauge &= gauge;
  }
  if (is_counter && any_gauge) {
    call.Warn("this native histogram metric is not a counter: " + Quoted(call.metric));
  }
  if (!is_counter && !all_gauge) {
    call.Warn("this native histogram metric is not a gauge: " + Quoted(call.metric));
  }
  for (size_t i = reach.first; i <= reach.last; ++i) {
    if (!Combinable(*window.histograms[reach.first].histogram, *window.histograms[i].histogram)) {
      call.WarnMixedSchemas();
      return false;
    }
  }
  return true;
}

RangeValue HistogramRate(const RangeWindow& window, const RangeCall& call, const RateKind& kind) {
  const bool smoothed = call.spec.smoothed;
  const auto& samples = window.histograms;
  const auto reach = FindReach(
      samples.size(), [&](size_t i) { return samples[i].time; }, window, smoothed);
  if (!reach.has_value()) return RangeValue::None();
  const size_t first = reach->first;
  const size_t last = reach->last;
  if (!CheckHistograms(window, *reach, call, kind.is_counter)) return RangeValue::None();

  const bool left_between = smoothed && samples[first].time < window.start;
  const bool right_between = smoothed && last > 0 && samples[last].time > window.end;
  const Histogram left = left_between ? InterpolateHistograms(samples[first], samples[first + 1],
                                                              window.start, kind.is_counter)
                                      : *samples[first].histogram;
  const Histogram right = right_between ? InterpolateHistograms(samples[last - 1], samples[last],
                                                                window.end, kind.is_counter)
                                        : *samples[last].histogram;
  HistogramMergeNotes subtracted;
  HistogramMergeNotes added;
  Histogram result = SubtractHistograms(right, left, subtracted);
  if (kind.is_counter) {
    for (size_t i = first + 1; i <= last; ++i) {
      // An interpolated left edge has accounted for a reset on its own segment.
      if (left_between && i == first + 1) continue;
      if (!DetectHistogramReset(*samples[i].histogram, *samples[i - 1].histogram)) continue;
      result = AddHistograms(result, *samples[i - 1].histogram, added);
    }
  }
  call.NoteBounds(subtracted.bounds_reconciled, "subtraction");
  call.NoteBounds(added.bounds_reconciled, "addition");
  result.reset_hint = ResetHint::kGauge;
  if (kind.per_second) {
    result = DivideHistogram(result, static_cast<double>(call.spec.range) / 1000);
  }
  return RangeValue::Of(CompactHistogram(result));
}

}  // namespace

RangeValue ExtendedRate(const RangeWindow& window, RangeCall& call, const RateKind& kind) {
  if (!window.times.empty() && !window.histograms.empty()) {
    call.WarnMixedTypes();
    return RangeValue::None();
  }
  return window.times.empty() ? HistogramRate(window, call, kind) : FloatRate(window, call, kind);
}

bool AnchorWindow(RangeWindow& window) {
  const auto after_start = [&](TimestampMs time) { return time > window.start; };
  size_t first_float = 0;
  while (first_float < window.times.size() && !after_start(window.times[first_float])) {
    ++first_float;
  }
  size_t first_histogram = 0;
  while (first_histogram < window.histograms.size() &&
         !after_start(window.histograms[first_histogram].time)) {
    ++first_histogram;
  }
  if (first_float == window.times.size() && first_histogram == window.histograms.size()) {
    return false;
  }
  // The anchor is the newest sample before the window, of whichever kind.
  const bool float_before = first_float > 0;
  const bool histogram_before = first_histogram > 0;
  if (float_before && (!histogram_before || window.times[first_float - 1] >
                                                window.histograms[first_histogram - 1].time)) {
    --first_float;
  } else if (histogram_before) {
    --first_histogram;
  }
  window.times = window.times.subspan(first_float);
  window.values = window.values.subspan(first_float);
  window.histograms = window.histograms.subspan(first_histogram);
  window.start_times = {};
  window.histogram_start_times = {};
  return true;
}

}  // namespace varve::promql

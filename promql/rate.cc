// SPDX-License-Identifier: Apache-2.0
//
// rate, increase, delta and their instant relatives; changes and resets. A counter's increase is
// the sum of its steps, the value before each reset added; it is then extrapolated to the edges of
// the window, as far as the samples' spacing makes plausible.
#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <string_view>
#include <utility>

#include "model/histogram_math.h"
#include "promql/range_function.h"

namespace varve::promql {
namespace {

bool EndsLikeCounter(std::string_view metric) {
  for (std::string_view suffix : {"_total", "_sum", "_count", "_bucket"}) {
    if (metric.size() >= suffix.size() && metric.substr(metric.size() - suffix.size()) == suffix) {
      return true;
    }
  }
  return false;
}

// Start timestamps of one kind of samples; all answers are "no" without them.
class StartTimes {
 public:
  template <typename TimeAt>
  StartTimes(const RangeCall& call, absl::Span<const TimestampMs> starts, TimeAt time_at) {
    if (!call.context.features().use_start_timestamps || starts.empty()) return;
    starts_ = starts;
    times_.reserve(starts.size());
    for (size_t i = 0; i < starts.size(); ++i) times_.push_back(time_at(i));
  }

  // Whether the start time says that the counter began anew between sample i - 1 and i.
  bool Reset(size_t i) const {
    if (starts_.empty() || !Valid(i)) return false;
    if (starts_[i] > times_[i - 1]) return true;
    // A delta begins where the one before it ended; a counter of unknown start does so once.
    return starts_[i] == times_[i - 1] && Valid(i - 1);
  }

  // The start of sample 0, if it lies inside the window.
  std::optional<TimestampMs> FirstInside(TimestampMs window_start) const {
    if (starts_.empty() || !Valid(0) || starts_[0] <= window_start) return std::nullopt;
    return starts_[0];
  }

  void WarnOverlap(const RangeCall& call) const {
    for (size_t i = 1; i < starts_.size(); ++i) {
      if (starts_[i] != 0 && starts_[i] < times_[i - 1] && starts_[i] != starts_[i - 1]) {
        call.annotations.AddStartTimeOverlap(call.metric, 1, call.position);
        return;
      }
    }
  }

 private:
  bool Valid(size_t i) const { return starts_[i] != 0 && starts_[i] < times_[i]; }

  absl::Span<const TimestampMs> starts_;
  std::vector<TimestampMs> times_;
};

StartTimes FloatStarts(const RangeWindow& window, const RangeCall& call) {
  return StartTimes(call, window.start_times, [&](size_t i) { return window.times[i]; });
}

StartTimes HistogramStarts(const RangeWindow& window, const RangeCall& call) {
  return StartTimes(call, window.histogram_start_times,
                    [&](size_t i) { return window.histograms[i].time; });
}

// last - first, resets taken into account. Nothing, with a warning, if the samples do not go
// together.
std::optional<Histogram> HistogramIncrease(const RangeWindow& window, const RangeCall& call,
                                           bool is_counter, const StartTimes& starts,
                                           bool from_zero) {
  const auto& samples = window.histograms;
  const size_t count = samples.size();
  const auto reset = [&](size_t i) {
    return starts.Reset(i) ||
           DetectHistogramReset(*samples[i].histogram, *samples[i - 1].histogram);
  };
  for (const HistogramSample& sample : samples) {
    if (is_counter && sample.histogram->reset_hint == ResetHint::kGauge) {
      call.Warn("this native histogram metric is not a counter: " + Quoted(call.metric));
    }
  }
  // With a reset right after it, the first sample does not matter at all, its layout included.
  const bool skip_first = is_counter && count > 1 && reset(1);
  const Histogram& last = *samples.back().histogram;
  for (size_t i = skip_first ? 1 : 0; i < count; ++i) {
    const bool edge = i == 0 || i + 1 == count;
    if (!edge && !is_counter) continue;
    if (!Combinable(*samples[i].histogram, last)) {
      call.WarnMixedSchemas();
      return std::nullopt;
    }
  }
  int32_t schema = last.schema;
  if (is_counter) {
    for (size_t i = skip_first ? 1 : 0; i < count; ++i) {
      schema = std::min(schema, samples[i].histogram->schema);
    }
  }
  Histogram result = last.HasCustomBuckets() ? last : ReduceResolution(last, schema);
  HistogramMergeNotes subtracted;
  HistogramMergeNotes added;
  if (!skip_first && !from_zero) {
    result = SubtractHistograms(result, *samples.front().histogram, subtracted);
  }
  if (is_counter) {
    for (size_t i = 1; i < count; ++i) {
      // A skipped first sample was never subtracted either, unless the sum starts at zero.
      if (!reset(i)) continue;
      if (i == 1 && skip_first && !from_zero) continue;
      if (!Combinable(*samples[i - 1].histogram, result)) continue;
      result = AddHistograms(result, *samples[i - 1].histogram, added);
    }
  } else if (samples.front().histogram->reset_hint != ResetHint::kGauge ||
             last.reset_hint != ResetHint::kGauge) {
    call.Warn("this native histogram metric is not a gauge: " + Quoted(call.metric));
  }
  call.NoteBounds(subtracted.bounds_reconciled, "subtraction");
  call.NoteBounds(added.bounds_reconciled, "addition");
  result.reset_hint = ResetHint::kGauge;
  return CompactHistogram(result);
}

struct Edges {
  TimestampMs first = 0;
  TimestampMs last = 0;
  size_t samples = 0;
  double first_value = 0;  // Count, for a histogram.
  double increase = 0;
  std::optional<TimestampMs> start_time;  // Replaces extrapolation to the left.
};

// By how much the increase between the samples grows when it is stretched to the window.
double ExtrapolationFactor(const RangeWindow& window, const Edges& edges, bool is_counter) {
  const auto seconds = [](TimestampMs from, TimestampMs to) {
    return static_cast<double>(to - from) / 1000;
  };
  double sampled = seconds(edges.first, edges.last);
  const double spacing = edges.samples > 1 ? sampled / static_cast<double>(edges.samples - 1) : 0;
  const double threshold = spacing * 1.1;
  double to_start = seconds(window.start, edges.first);
  double to_end = seconds(edges.last, window.end);
  if (to_end >= threshold) to_end = spacing / 2;
  if (edges.start_time.has_value()) {
    sampled = seconds(*edges.start_time, edges.last);
    to_start = 0;
  } else {
    if (to_start >= threshold) to_start = spacing / 2;
    // A counter cannot have been below zero: it does not reach further back than there.
    if (is_counter && edges.increase > 0 && edges.first_value >= 0) {
      to_start = std::min(to_start, sampled * (edges.first_value / edges.increase));
    }
  }
  return (sampled + to_start + to_end) / sampled;
}

RangeValue ExtrapolatedFloats(const RangeWindow& window, RangeCall& call, const RateKind& kind) {
  const StartTimes starts = FloatStarts(window, call);
  Edges edges;
  if (kind.is_counter) {
    edges.start_time = starts.FirstInside(window.start);
    starts.WarnOverlap(call);
  }
  if (window.times.size() < 2 && !edges.start_time.has_value()) return RangeValue::None();
  edges.first = window.times.front();
  edges.last = window.times.back();
  edges.samples = window.times.size();
  edges.first_value = window.values.front();
  edges.increase = window.values.back() - window.values.front();
  if (kind.is_counter) {
    for (size_t i = 1; i < window.values.size(); ++i) {
      if (window.values[i] < window.values[i - 1] || starts.Reset(i)) {
        edges.increase += window.values[i - 1];
      }
    }
    if (edges.start_time.has_value()) edges.increase += edges.first_value;
    NotePossibleNonCounter(call);
  }
  double factor = ExtrapolationFactor(window, edges, kind.is_counter);
  if (kind.per_second) factor /= static_cast<double>(call.spec.range) / 1000;
  return RangeValue::Float(edges.increase * factor);
}

RangeValue ExtrapolatedHistograms(const RangeWindow& window, const RangeCall& call,
                                  const RateKind& kind) {
  const StartTimes starts = HistogramStarts(window, call);
  Edges edges;
  if (kind.is_counter) {
    edges.start_time = starts.FirstInside(window.start);
    starts.WarnOverlap(call);
  }
  if (window.histograms.size() < 2 && !edges.start_time.has_value()) return RangeValue::None();
  const std::optional<Histogram> increase =
      HistogramIncrease(window, call, kind.is_counter, starts, edges.start_time.has_value());
  if (!increase.has_value()) return RangeValue::None();
  edges.first = window.histograms.front().time;
  edges.last = window.histograms.back().time;
  edges.samples = window.histograms.size();
  edges.first_value = window.histograms.front().histogram->count;
  edges.increase = increase->count;
  double factor = ExtrapolationFactor(window, edges, kind.is_counter);
  if (kind.per_second) factor /= static_cast<double>(call.spec.range) / 1000;
  return RangeValue::Of(MultiplyHistogram(*increase, factor));
}

RangeValue ExtrapolatedRate(const RangeWindow& window, RangeCall& call, const RateKind& kind) {
  if (call.spec.anchored || call.spec.smoothed) return ExtendedRate(window, call, kind);
  if (!window.times.empty() && !window.histograms.empty()) {
    if (window.times.size() + window.histograms.size() >= 2) call.WarnMixedTypes();
    return RangeValue::None();
  }
  return window.times.empty() ? ExtrapolatedHistograms(window, call, kind)
                              : ExtrapolatedFloats(window, call, kind);
}

RangeValue InstantFloats(const RangeWindow& window, RangeCall& call, bool is_rate) {
  const size_t last = window.times.size() - 1;
  const TimestampMs interval = window.times[last] - window.times[last - 1];
  if (interval == 0) return RangeValue::None();
  double value = window.values[last];
  bool reset = false;
  if (is_rate) {
    const StartTimes starts = FloatStarts(window, call);
    reset = value < window.values[last - 1] || starts.Reset(last);
    NotePossibleNonCounter(call);
  }
  if (!reset) value -= window.values[last - 1];
  if (is_rate) value /= static_cast<double>(interval) / 1000;
  return RangeValue::Float(value);
}

RangeValue InstantHistograms(const RangeWindow& window, const RangeCall& call, bool is_rate) {
  const size_t last = window.histograms.size() - 1;
  const Histogram& now = *window.histograms[last].histogram;
  const Histogram& before = *window.histograms[last - 1].histogram;
  const TimestampMs interval = window.histograms[last].time - window.histograms[last - 1].time;
  if (interval == 0) return RangeValue::None();
  const bool now_gauge = now.reset_hint == ResetHint::kGauge;
  const bool before_gauge = before.reset_hint == ResetHint::kGauge;
  if (is_rate && (now_gauge || before_gauge)) {
    call.Warn("this native histogram metric is not a counter: " + Quoted(call.metric));
  }
  if (!is_rate && (!now_gauge || !before_gauge)) {
    call.Warn("this native histogram metric is not a gauge: " + Quoted(call.metric));
  }
  Histogram result = now;
  const bool reset =
      is_rate && (HistogramStarts(window, call).Reset(last) || DetectHistogramReset(now, before));
  if (!reset) {
    if (!Combinable(now, before)) {
      call.WarnMixedSchemas();
      return RangeValue::None();
    }
    HistogramMergeNotes notes;
    result = SubtractHistograms(now, before, notes);
    call.NoteBounds(notes.bounds_reconciled, "subtraction");
  }
  result.reset_hint = ResetHint::kGauge;
  if (is_rate) result = DivideHistogram(result, static_cast<double>(interval) / 1000);
  return RangeValue::Of(CompactHistogram(result));
}

// The last two samples of a window, whatever their kind.
RangeValue InstantValue(const RangeWindow& window, RangeCall& call, bool is_rate) {
  const size_t floats = window.times.size();
  const size_t histograms = window.histograms.size();
  if (floats + histograms < 2) return RangeValue::None();
  if (histograms == 0) return InstantFloats(window, call, is_rate);
  if (floats == 0) return InstantHistograms(window, call, is_rate);
  if (floats >= 2 && window.times[floats - 2] > window.histograms.back().time) {
    return InstantFloats(window, call, is_rate);
  }
  if (histograms >= 2 && window.histograms[histograms - 2].time > window.times.back()) {
    return InstantHistograms(window, call, is_rate);
  }
  call.WarnMixedTypes();
  return RangeValue::None();
}

struct Tally {
  size_t changes = 0;
  size_t resets = 0;
};

// Walks floats and histograms in the order of their times.
Tally CountChanges(const RangeWindow& window, const StartTimes& float_starts,
                   const StartTimes& histogram_starts) {
  Tally tally;
  size_t f = 0;
  size_t h = 0;
  bool have_previous = false;
  bool previous_is_float = false;
  while (f < window.times.size() || h < window.histograms.size()) {
    const bool is_float = h == window.histograms.size() ||
                          (f < window.times.size() && window.times[f] < window.histograms[h].time);
    if (have_previous) {
      if (is_float != previous_is_float) {
        ++tally.changes;
        ++tally.resets;
      } else if (is_float) {
        const double now = window.values[f];
        const double before = window.values[f - 1];
        if (now != before && !(now != now && before != before)) ++tally.changes;
        if (now < before || float_starts.Reset(f)) ++tally.resets;
      } else {
        const Histogram& now = *window.histograms[h].histogram;
        const Histogram& before = *window.histograms[h - 1].histogram;
        if (!SameHistogram(now, before)) ++tally.changes;
        if (DetectHistogramReset(now, before) || histogram_starts.Reset(h)) ++tally.resets;
      }
    }
    have_previous = true;
    previous_is_float = is_float;
    ++(is_float ? f : h);
  }
  return tally;
}

std::optional<Tally> TallyOf(const RangeWindow& window, const RangeCall& call) {
  if (!call.spec.anchored) {
    return CountChanges(window, FloatStarts(window, call), HistogramStarts(window, call));
  }
  RangeWindow extended = window;
  if (!AnchorWindow(extended)) return std::nullopt;
  return CountChanges(extended, FloatStarts(extended, call), HistogramStarts(extended, call));
}

}  // namespace

void NotePossibleNonCounter(RangeCall& call) {
  if (call.counter_name_checked || call.metric.empty()) return;
  call.counter_name_checked = true;
  if (call.context.features().type_and_unit_labels) {
    if (call.type_label == "counter" || call.type_label == "histogram") return;
    call.Info(
        fmt::format("metric might not be a counter, __type__ label is not set to \"counter\" "
                    "or \"histogram\", got {}: {}",
                    Quoted(call.type_label), Quoted(call.metric)));
    return;
  }
  if (EndsLikeCounter(call.metric)) return;
  call.Info("metric might not be a counter, name does not end in _total/_sum/_count/_bucket: " +
            Quoted(call.metric));
}

RangeValue Rate(const RangeWindow& window, RangeCall& call) {
  return ExtrapolatedRate(window, call, {.is_counter = true, .per_second = true});
}

RangeValue Increase(const RangeWindow& window, RangeCall& call) {
  return ExtrapolatedRate(window, call, {.is_counter = true, .per_second = false});
}

RangeValue Delta(const RangeWindow& window, RangeCall& call) {
  return ExtrapolatedRate(window, call, {.is_counter = false, .per_second = false});
}

RangeValue Irate(const RangeWindow& window, RangeCall& call) {
  return InstantValue(window, call, true);
}

RangeValue Idelta(const RangeWindow& window, RangeCall& call) {
  return InstantValue(window, call, false);
}

RangeValue Changes(const RangeWindow& window, RangeCall& call) {
  const std::optional<Tally> tally = TallyOf(window, call);
  if (!tally.has_value()) return RangeValue::None();
  return RangeValue::Float(static_cast<double>(tally->changes));
}

RangeValue Resets(const RangeWindow& window, RangeCall& call) {
  const std::optional<Tally> tally = TallyOf(window, call);
  if (!tally.has_value()) return RangeValue::None();
  return RangeValue::Float(static_cast<double>(tally->resets));
}

}  // namespace varve::promql

// SPDX-License-Identifier: Apache-2.0
//
// The kernels. A counter's increase needs the resets inside the window only; sums of integers are
// differences of running sums; extremes come from a queue of candidates; quantiles from the window
// kept sorted.
#include "promql/window_kernel.h"

#include <algorithm>
#include <cmath>

namespace varve::promql {

void FloatWindows::Find(const RangeSpec& spec, const SeriesSamples& samples_read) {
  times = samples_read.times;
  values = samples_read.values;
  const size_t count = spec.grid.count;
  begin.resize(count);
  end.resize(count);
  samples = 0;
  uint32_t from = 0;
  uint32_t to = 0;
  for (size_t step = 0; step < count; ++step) {
    const TimestampMs last = spec.EndAt(step);
    const TimestampMs after = last - spec.range;
    while (to < times.size() && times[to] <= last) ++to;
    while (from < to && times[from] <= after) ++from;
    begin[step] = from;
    end[step] = to;
    samples += to - from;
  }
}

namespace {

// How far the increase between a window's samples is stretched. Windows over regular samples are
// alike: the figures of the window before mostly serve again.
class Extrapolation {
 public:
  explicit Extrapolation(const RangeSpec& spec, bool per_second)
      : range_(static_cast<double>(spec.range) / 1000), per_second_(per_second) {}

  // `to_start`, `sampled` and `to_end` in milliseconds; at least two samples.
  void Look(DurationMs to_start, DurationMs sampled, DurationMs to_end, size_t samples) {
    if (to_start == to_start_ms_ && sampled == sampled_ms_ && to_end == to_end_ms_ &&
        samples == samples_) {
      return;
    }
    to_start_ms_ = to_start;
    sampled_ms_ = sampled;
    to_end_ms_ = to_end;
    samples_ = samples;
    sampled_ = static_cast<double>(sampled) / 1000;
    const double spacing = sampled_ / static_cast<double>(samples - 1);
    const double threshold = spacing * 1.1;
    to_start_ = static_cast<double>(to_start) / 1000;
    to_end_ = static_cast<double>(to_end) / 1000;
    if (to_end_ >= threshold) to_end_ = spacing / 2;
    if (to_start_ >= threshold) to_start_ = spacing / 2;
    factor_ = FactorFrom(to_start_);
  }

  double Factor() const { return factor_; }
  // A counter cannot have been below zero: it does not reach further back than there.
  double CounterFactor(double first, double increase) const {
    if (!(increase > 0 && first >= 0)) return factor_;
    if (first >= increase && sampled_ >= to_start_) return factor_;
    const double to_zero = sampled_ * (first / increase);
    return to_zero < to_start_ ? FactorFrom(to_zero) : factor_;
  }

 private:
  double FactorFrom(double to_start) const {
    const double factor = (sampled_ + to_start + to_end_) / sampled_;
    return per_second_ ? factor / range_ : factor;
  }

  const double range_;
  const bool per_second_;
  DurationMs to_start_ms_ = -1;
  DurationMs sampled_ms_ = -1;
  DurationMs to_end_ms_ = -1;
  size_t samples_ = 0;
  double to_start_ = 0;
  double sampled_ = 0;
  double to_end_ = 0;
  double factor_ = 0;
};

template <bool kCounter, bool kPerSecond>
void ExtrapolatedKernel(const FloatWindows& windows, RangeCall& call, Row& row) {
  const absl::Span<const double> values = windows.values;
  std::vector<uint32_t> resets;  // Samples below the one before.
  if (kCounter) {
    for (uint32_t i = 1; i < values.size(); ++i) {
      if (values[i] < values[i - 1]) resets.push_back(i);
    }
  }
  Extrapolation extrapolation(call.spec, kPerSecond);
  size_t first_reset = 0;
  bool any = false;
  for (size_t step = 0; step < windows.steps(); ++step) {
    const uint32_t first = windows.begin[step];
    const uint32_t end = windows.end[step];
    if (end < first + 2) continue;
    const uint32_t last = end - 1;
    any = true;
    double increase = values[last] - values[first];
    if (kCounter) {
      while (first_reset < resets.size() && resets[first_reset] <= first) ++first_reset;
      for (size_t i = first_reset; i < resets.size() && resets[i] <= last; ++i) {
        increase += values[resets[i] - 1];
      }
    }
    const TimestampMs window_end = call.spec.EndAt(step);
    extrapolation.Look(windows.times[first] - (window_end - call.spec.range),
                       windows.times[last] - windows.times[first], window_end - windows.times[last],
                       end - first);
    const double factor =
        kCounter ? extrapolation.CounterFactor(values[first], increase) : extrapolation.Factor();
    row.SetFloat(step, increase * factor);
  }
  if (kCounter && any) NotePossibleNonCounter(call);
}

// Running sums of values that add up without rounding: integers whose absolute values add up to at
// most 2^53. Every order of additions then gives the same, and compensation is zero throughout.
// Empty if the values are not such, or if the windows share too little for it to pay.
std::vector<double> ExactSums(const FloatWindows& windows) {
  if (windows.samples < 2 * windows.values.size()) return {};
  constexpr double kExactMax = 9007199254740992.0;
  std::vector<double> sums;
  sums.reserve(windows.values.size() + 1);
  sums.push_back(0);
  double sum = 0;
  double absolute = 0;
  for (double value : windows.values) {
    absolute += std::fabs(value);
    if (!(absolute <= kExactMax)) return {};
    if (static_cast<double>(static_cast<int64_t>(value)) != value) return {};
    if (value == 0 && std::signbit(value)) return {};
    sum += value;
    sums.push_back(sum);
  }
  return sums;
}

template <bool kAverage>
void SumKernel(const FloatWindows& windows, RangeCall&, Row& row) {
  const std::vector<double> sums = ExactSums(windows);
  for (size_t step = 0; step < windows.steps(); ++step) {
    const uint32_t first = windows.begin[step];
    const uint32_t end = windows.end[step];
    if (first == end) continue;
    if (sums.empty()) {
      const absl::Span<const double> values = windows.Values(step);
      row.SetFloat(step, kAverage ? AverageOf(values) : SumOf(values));
      continue;
    }
    const double sum = sums[end] - sums[first];
    row.SetFloat(step, kAverage ? sum / static_cast<double>(end - first) : sum);
  }
}

// A queue of the samples that are, or may become, the extreme: each better than those behind it.
template <bool kMax>
void ExtremeKernel(const FloatWindows& windows, RangeCall&, Row& row) {
  const absl::Span<const double> values = windows.values;
  std::vector<uint32_t> queue(values.size());
  size_t head = 0;
  size_t tail = 0;
  uint32_t next = 0;
  for (size_t step = 0; step < windows.steps(); ++step) {
    const uint32_t first = windows.begin[step];
    const uint32_t end = windows.end[step];
    if (first == end) continue;
    for (next = std::max(next, first); next < end; ++next) {
      const double value = values[next];
      if (std::isnan(value)) continue;
      // Of equal values the first stays in front.
      while (tail > head &&
             (kMax ? value > values[queue[tail - 1]] : value < values[queue[tail - 1]])) {
        --tail;
      }
      queue[tail++] = next;
    }
    while (head < tail && queue[head] < first) ++head;
    row.SetFloat(step, head < tail ? values[queue[head]] : values[end - 1]);
  }
}

// The values of a window in order, NaNs first.
class SortedWindow {
 public:
  void MoveTo(absl::Span<const double> values, uint32_t first, uint32_t end) {
    const size_t changed = size_t{first} - first_ + (end - end_);
    // Moving a value costs about as much as sorting a few.
    if (first >= end_ || changed > (end - first) / 2) {
      sorted_.assign(values.begin() + first, values.begin() + end);
      std::sort(sorted_.begin(), sorted_.end(), Less);
    } else {
      for (uint32_t i = first_; i < first; ++i) sorted_.erase(Place(values[i]));
      for (uint32_t i = end_; i < end; ++i) sorted_.insert(Place(values[i]), values[i]);
    }
    first_ = first;
    end_ = end;
  }
  absl::Span<const double> values() const { return sorted_; }

 private:
  static bool Less(double a, double b) { return std::isnan(a) ? !std::isnan(b) : a < b; }
  std::vector<double>::iterator Place(double value) {
    return std::lower_bound(sorted_.begin(), sorted_.end(), value, Less);
  }

  std::vector<double> sorted_;
  uint32_t first_ = 0;
  uint32_t end_ = 0;
};

void QuantileKernel(const FloatWindows& windows, RangeCall& call, Row& row) {
  SortedWindow window;
  for (size_t step = 0; step < windows.steps(); ++step) {
    const uint32_t first = windows.begin[step];
    const uint32_t end = windows.end[step];
    if (first == end) continue;
    const double quantile = call.param_rows[0].value(step);
    WarnInvalidQuantile(call.annotations, quantile, call.param_position);
    window.MoveTo(windows.values, first, end);
    row.SetFloat(step, QuantileOfSorted(quantile, window.values()));
  }
}

// Pairs of neighbours for which `differs` holds, by how many lie up to each sample.
template <typename Differs>
void CountKernel(const FloatWindows& windows, Row& row, Differs differs) {
  const absl::Span<const double> values = windows.values;
  std::vector<uint32_t> count(values.size(), 0);
  for (size_t i = 1; i < values.size(); ++i) {
    count[i] = count[i - 1] + (differs(values[i - 1], values[i]) ? 1 : 0);
  }
  for (size_t step = 0; step < windows.steps(); ++step) {
    const uint32_t first = windows.begin[step];
    const uint32_t end = windows.end[step];
    if (first == end) continue;
    row.SetFloat(step, static_cast<double>(count[end - 1] - count[first]));
  }
}

void ChangesKernel(const FloatWindows& windows, RangeCall&, Row& row) {
  CountKernel(windows, row, [](double before, double now) {
    return now != before && !(std::isnan(now) && std::isnan(before));
  });
}

void ResetsKernel(const FloatWindows& windows, RangeCall&, Row& row) {
  CountKernel(windows, row, [](double before, double now) { return now < before; });
}

template <typename ValueOf>
void EdgeKernel(const FloatWindows& windows, Row& row, ValueOf value_of) {
  for (size_t step = 0; step < windows.steps(); ++step) {
    if (windows.begin[step] == windows.end[step]) continue;
    row.SetFloat(step, value_of(windows.begin[step], windows.end[step]));
  }
}

void CountOverTimeKernel(const FloatWindows& windows, RangeCall&, Row& row) {
  EdgeKernel(windows, row,
             [](uint32_t first, uint32_t end) { return static_cast<double>(end - first); });
}

void PresentKernel(const FloatWindows& windows, RangeCall&, Row& row) {
  EdgeKernel(windows, row, [](uint32_t, uint32_t) { return 1.0; });
}

void FirstKernel(const FloatWindows& windows, RangeCall&, Row& row) {
  EdgeKernel(windows, row, [&](uint32_t first, uint32_t) { return windows.values[first]; });
}

void LastKernel(const FloatWindows& windows, RangeCall&, Row& row) {
  EdgeKernel(windows, row, [&](uint32_t, uint32_t end) { return windows.values[end - 1]; });
}

}  // namespace

FloatKernel FindFloatKernel(FunctionId id) {
  switch (id) {
    case FunctionId::kRate:
      return ExtrapolatedKernel<true, true>;
    case FunctionId::kIncrease:
      return ExtrapolatedKernel<true, false>;
    case FunctionId::kDelta:
      return ExtrapolatedKernel<false, false>;
    case FunctionId::kSumOverTime:
      return SumKernel<false>;
    case FunctionId::kAvgOverTime:
      return SumKernel<true>;
    case FunctionId::kMinOverTime:
      return ExtremeKernel<false>;
    case FunctionId::kMaxOverTime:
      return ExtremeKernel<true>;
    case FunctionId::kQuantileOverTime:
      return QuantileKernel;
    case FunctionId::kChanges:
      return ChangesKernel;
    case FunctionId::kResets:
      return ResetsKernel;
    case FunctionId::kCountOverTime:
      return CountOverTimeKernel;
    case FunctionId::kPresentOverTime:
      return PresentKernel;
    case FunctionId::kFirstOverTime:
      return FirstKernel;
    case FunctionId::kLastOverTime:
      return LastKernel;
    default:
      return nullptr;
  }
}

}  // namespace varve::promql

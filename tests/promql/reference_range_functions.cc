// SPDX-License-Identifier: Apache-2.0
//
// Functions of one window, each a loop over all of it.
#include <algorithm>
#include <cmath>
#include <limits>

#include "model/histogram_math.h"
#include "tests/promql/reference_evaluator.h"

namespace varve::promql {
namespace {

using Floats = std::vector<FloatSample>;

double Sum(const Floats& floats) {
  CompensatedSum sum;
  for (const FloatSample& sample : floats) sum.Add(sample.value);
  return std::isinf(sum.sum) ? sum.sum : sum.sum + sum.carry;
}

double Mean(const Floats& floats) {
  CompensatedSum sum;
  sum.sum = floats[0].value;
  bool incremental = false;
  double count = 1;
  for (size_t i = 1; i < floats.size(); ++i) {
    const double value = floats[i].value;
    ++count;
    if (!incremental) {
      CompensatedSum next = sum;
      next.Add(value);
      if (!std::isinf(next.sum)) {
        sum = next;
        continue;
      }
      incremental = true;
      sum.sum /= count - 1;
      sum.carry /= count - 1;
    }
    sum.sum *= (count - 1) / count;
    sum.carry *= (count - 1) / count;
    sum.Add(value / count);
  }
  if (incremental) return sum.sum + sum.carry;
  return sum.sum / count + sum.carry / count;
}

double Variance(const Floats& floats) {
  double count = 0;
  CompensatedSum mean, squares;
  for (const FloatSample& sample : floats) {
    ++count;
    const double delta = sample.value - (mean.sum + mean.carry);
    mean.Add(delta / count);
    squares.Add(delta * (sample.value - (mean.sum + mean.carry)));
  }
  return (squares.sum + squares.carry) / count;
}

std::vector<double> Values(const Floats& floats) {
  std::vector<double> values;
  for (const FloatSample& sample : floats) values.push_back(sample.value);
  return values;
}

double Deviation(const Floats& floats) {
  std::vector<double> values = Values(floats);
  for (double value : values) {
    if (std::isnan(value)) return value;
  }
  const double median = ReferenceQuantile(0.5, values);
  for (double& value : values) value = std::fabs(value - median);
  return ReferenceQuantile(0.5, values);
}

// Slope, and the value at `reference`.
std::pair<double, double> Line(const Floats& floats, TimestampMs reference) {
  CompensatedSum x, y, xy, xx;
  bool constant = true;
  for (const FloatSample& sample : floats) {
    const double at = static_cast<double>(sample.time - reference) / 1e3;
    constant = constant && sample.value == floats[0].value;
    x.Add(at);
    y.Add(sample.value);
    xy.Add(at * sample.value);
    xx.Add(at * at);
  }
  if (constant && std::isinf(floats[0].value)) return {NormalNan(), NormalNan()};
  if (constant) return {0, floats[0].value};
  const double count = static_cast<double>(floats.size());
  const double covariance = xy.Total() - x.Total() * y.Total() / count;
  const double slope = covariance / (xx.Total() - x.Total() * x.Total() / count);
  return {slope, y.Total() / count - slope * x.Total() / count};
}

// The extreme value: NaN only if all are; of equal ones the first, or the last.
FloatSample Extreme(const Floats& floats, bool largest, bool last) {
  FloatSample best = floats[0];
  for (const FloatSample& sample : floats) {
    const bool better = largest ? sample.value > best.value : sample.value < best.value;
    if (better || std::isnan(best.value) || (last && sample.value == best.value)) best = sample;
  }
  return best;
}

double Stretch(const ReferenceWindow& window, TimestampMs first, TimestampMs last, size_t count,
               bool counter, double first_value, double increase) {
  const auto seconds = [](TimestampMs time) { return static_cast<double>(time) / 1000; };
  const double sampled = seconds(last - first);
  const double spacing = sampled / static_cast<double>(count - 1);
  double to_start = seconds(first - window.start);
  double to_end = seconds(window.end - last);
  if (to_start >= spacing * 1.1) to_start = spacing / 2;
  if (counter && increase > 0 && first_value >= 0) {
    to_start = std::min(to_start, sampled * (first_value / increase));
  }
  if (to_end >= spacing * 1.1) to_end = spacing / 2;
  return (sampled + to_start + to_end) / sampled;
}

bool Rate(const ReferenceWindow& window, bool counter, bool per_second, ReferenceSample& result) {
  const Floats& floats = window.floats;
  if (floats.size() < 2 || !window.histograms.empty()) return false;
  double increase = floats.back().value - floats.front().value;
  for (size_t i = 1; counter && i < floats.size(); ++i) {
    if (floats[i].value < floats[i - 1].value) increase += floats[i - 1].value;
  }
  double factor = Stretch(window, floats.front().time, floats.back().time, floats.size(), counter,
                          floats.front().value, increase);
  if (per_second) factor /= static_cast<double>(window.end - window.start) / 1000;
  result.value = increase * factor;
  return true;
}

bool HistogramRate(const ReferenceWindow& window, bool counter, bool per_second,
                   ReferenceSample& result) {
  const std::vector<HistogramSample>& samples = window.histograms;
  if (samples.size() < 2 || !window.floats.empty()) return false;
  const auto reset = [&](size_t i) {
    return DetectHistogramReset(*samples[i].histogram, *samples[i - 1].histogram);
  };
  const bool skip_first = counter && reset(1);
  const Histogram& last = *samples.back().histogram;
  int32_t schema = last.schema;
  for (size_t i = skip_first ? 1 : 0; i < samples.size(); ++i) {
    if (!counter && i > 0 && i + 1 < samples.size()) continue;
    if (!Combinable(*samples[i].histogram, last)) return false;
    if (counter) schema = std::min(schema, samples[i].histogram->schema);
  }
  HistogramMergeNotes notes;
  Histogram increase = ReduceResolution(last, schema);
  if (!skip_first) increase = SubtractHistograms(increase, *samples[0].histogram, notes);
  for (size_t i = skip_first ? 2 : 1; counter && i < samples.size(); ++i) {
    if (reset(i)) increase = AddHistograms(increase, *samples[i - 1].histogram, notes);
  }
  increase = CompactHistogram(increase);
  double factor = Stretch(window, samples.front().time, samples.back().time, samples.size(),
                          counter, samples.front().histogram->count, increase.count);
  if (per_second) factor /= static_cast<double>(window.end - window.start) / 1000;
  increase.reset_hint = ResetHint::kGauge;
  result.histogram = std::make_shared<const Histogram>(MultiplyHistogram(increase, factor));
  return true;
}

// A window as one list in the order of time; a float where the histogram is null.
std::vector<std::pair<FloatSample, const Histogram*>> InOrder(const ReferenceWindow& window) {
  std::vector<std::pair<FloatSample, const Histogram*>> all;
  for (const FloatSample& sample : window.floats) all.emplace_back(sample, nullptr);
  for (const HistogramSample& sample : window.histograms) {
    all.emplace_back(FloatSample{sample.time, 0}, sample.histogram.get());
  }
  std::sort(all.begin(), all.end(),
            [](const auto& a, const auto& b) { return a.first.time < b.first.time; });
  return all;
}

bool InstantRate(const ReferenceWindow& window, bool counter, ReferenceSample& result) {
  const auto all = InOrder(window);
  if (all.size() < 2) return false;
  const auto& [now, now_histogram] = all[all.size() - 1];
  const auto& [before, before_histogram] = all[all.size() - 2];
  if ((now_histogram == nullptr) != (before_histogram == nullptr)) return false;
  const double seconds = static_cast<double>(now.time - before.time) / 1000;
  if (now_histogram == nullptr) {
    result.value = counter && now.value < before.value ? now.value : now.value - before.value;
    if (counter) result.value /= seconds;
    return true;
  }
  Histogram difference = *now_histogram;
  if (!counter || !DetectHistogramReset(*now_histogram, *before_histogram)) {
    if (!Combinable(*now_histogram, *before_histogram)) return false;
    HistogramMergeNotes notes;
    difference = SubtractHistograms(*now_histogram, *before_histogram, notes);
  }
  if (counter) difference = DivideHistogram(difference, seconds);
  result.histogram = std::make_shared<const Histogram>(CompactHistogram(difference));
  return true;
}

double Count(const ReferenceWindow& window, bool resets) {
  const auto all = InOrder(window);
  double count = 0;
  for (size_t i = 1; i < all.size(); ++i) {
    const auto& [now, now_histogram] = all[i];
    const auto& [before, before_histogram] = all[i - 1];
    if ((now_histogram == nullptr) != (before_histogram == nullptr)) {
      ++count;
    } else if (now_histogram != nullptr) {
      count += resets ? DetectHistogramReset(*now_histogram, *before_histogram)
                      : !SameHistogram(*now_histogram, *before_histogram);
    } else if (resets) {
      count += now.value < before.value;
    } else {
      count += now.value != before.value && !(std::isnan(now.value) && std::isnan(before.value));
    }
  }
  return count;
}

bool Total(const ReferenceWindow& window, bool average, ReferenceSample& result) {
  if (window.histograms.empty()) {
    result.value = average ? Mean(window.floats) : Sum(window.floats);
    return true;
  }
  if (!window.floats.empty()) return false;
  HistogramSum sum;
  for (const HistogramSample& sample : window.histograms) {
    if (!sum.Add(*sample.histogram)) return false;
  }
  result.histogram = std::make_shared<const Histogram>(average ? sum.Average() : sum.Sum());
  return true;
}

bool FloatFunction(FunctionId function, const ReferenceWindow& window, double& value) {
  const Floats& floats = window.floats;
  if (floats.empty()) return false;
  switch (function) {
    case FunctionId::kMinOverTime:
    case FunctionId::kMaxOverTime:
      value = Extreme(floats, function == FunctionId::kMaxOverTime, false).value;
      return true;
    case FunctionId::kTsOfMinOverTime:
    case FunctionId::kTsOfMaxOverTime:
      value = static_cast<double>(
                  Extreme(floats, function == FunctionId::kTsOfMaxOverTime, true).time) /
              1000;
      return true;
    case FunctionId::kStdvarOverTime:
      value = Variance(floats);
      return true;
    case FunctionId::kStddevOverTime:
      value = std::sqrt(Variance(floats));
      return true;
    case FunctionId::kMadOverTime:
      value = Deviation(floats);
      return true;
    case FunctionId::kQuantileOverTime:
      value = ReferenceQuantile(window.param, Values(floats));
      return true;
    case FunctionId::kDeriv:
      if (floats.size() < 2) return false;
      value = Line(floats, floats[0].time).first;
      return true;
    default: {  // predict_linear()
      if (floats.size() < 2) return false;
      const auto [slope, intercept] = Line(floats, window.eval_time);
      value = slope * window.param + intercept;
      return true;
    }
  }
}

}  // namespace

double ReferenceQuantile(double quantile, std::vector<double> values) {
  if (values.empty() || std::isnan(quantile)) return NormalNan();
  if (quantile < 0) return -std::numeric_limits<double>::infinity();
  if (quantile > 1) return std::numeric_limits<double>::infinity();
  std::sort(values.begin(), values.end(),
            [](double a, double b) { return std::isnan(a) ? !std::isnan(b) : a < b; });
  const double rank = quantile * (static_cast<double>(values.size()) - 1);
  const double weight = rank - std::floor(rank);
  const auto lower = static_cast<size_t>(rank);
  const size_t upper = std::min(lower + 1, values.size() - 1);
  return values[lower] * (1 - weight) + values[upper] * weight;
}

absl::StatusOr<bool> ReferenceRangeFunction(FunctionId function, const ReferenceWindow& window,
                                            ReferenceSample& result) {
  const auto all = InOrder(window);
  if (all.empty()) return false;
  const auto take = [&](const auto& sample) {
    result.value = sample.first.value;
    if (sample.second != nullptr) {
      result.histogram = std::make_shared<const Histogram>(*sample.second);
    }
    return true;
  };
  switch (function) {
    case FunctionId::kRate:
    case FunctionId::kIncrease:
    case FunctionId::kDelta: {
      const bool counter = function != FunctionId::kDelta;
      const bool per_second = function == FunctionId::kRate;
      return window.floats.empty() ? HistogramRate(window, counter, per_second, result)
                                   : Rate(window, counter, per_second, result);
    }
    case FunctionId::kIrate:
    case FunctionId::kIdelta:
      return InstantRate(window, function == FunctionId::kIrate, result);
    case FunctionId::kChanges:
    case FunctionId::kResets:
      result.value = Count(window, function == FunctionId::kResets);
      return true;
    case FunctionId::kSumOverTime:
    case FunctionId::kAvgOverTime:
      return Total(window, function == FunctionId::kAvgOverTime, result);
    case FunctionId::kCountOverTime:
      result.value = static_cast<double>(all.size());
      return true;
    case FunctionId::kPresentOverTime:
      result.value = 1;
      return true;
    case FunctionId::kFirstOverTime:
      return take(all.front());
    case FunctionId::kLastOverTime:
      return take(all.back());
    case FunctionId::kTsOfFirstOverTime:
      result.value = static_cast<double>(all.front().first.time) / 1000;
      return true;
    case FunctionId::kTsOfLastOverTime:
      result.value = static_cast<double>(all.back().first.time) / 1000;
      return true;
    case FunctionId::kMinOverTime:
    case FunctionId::kMaxOverTime:
    case FunctionId::kTsOfMinOverTime:
    case FunctionId::kTsOfMaxOverTime:
    case FunctionId::kStddevOverTime:
    case FunctionId::kStdvarOverTime:
    case FunctionId::kMadOverTime:
    case FunctionId::kQuantileOverTime:
    case FunctionId::kDeriv:
    case FunctionId::kPredictLinear:
      return FloatFunction(function, window, result.value);
    default:
      return absl::UnimplementedError("range function");
  }
}

}  // namespace varve::promql

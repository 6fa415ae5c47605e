// SPDX-License-Identifier: Apache-2.0
//
// The `_over_time` family and the regressions: functions of one window's samples, and the table
// of all functions over range vectors.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "model/histogram_math.h"
#include "promql/range_function.h"

namespace varve::promql {

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// For functions of floats only: false if there is none; tells of histograms beside them.
bool FloatsOnly(const RangeWindow& window, const RangeCall& call) {
  if (window.times.empty()) return false;
  if (!window.histograms.empty()) call.InfoIgnoredHistograms();
  return true;
}

// For functions that take either kind: false (with a warning) for both in one window.
bool OneKind(const RangeWindow& window, const RangeCall& call) {
  if (window.times.empty() || window.histograms.empty()) return true;
  call.WarnMixedTypes();
  return false;
}

RangeValue HistogramAggregate(const RangeWindow& window, const RangeCall& call, bool average) {
  HistogramSum sum;
  for (const HistogramSample& sample : window.histograms) {
    if (!sum.Add(*sample.histogram)) {
      call.WarnMixedSchemas();
      return RangeValue::None();
    }
  }
  if (sum.notes().reset_hint_conflict) {
    call.Warn("conflicting counter resets during histogram aggregation");
  }
  call.NoteBounds(sum.notes().bounds_reconciled, "aggregation");
  return RangeValue::Of(average ? sum.Average() : sum.Sum());
}

RangeValue AvgOverTime(const RangeWindow& window, RangeCall& call) {
  if (!OneKind(window, call)) return RangeValue::None();
  if (window.times.empty()) return HistogramAggregate(window, call, true);
  return RangeValue::Float(AverageOf(window.values));
}

RangeValue SumOverTime(const RangeWindow& window, RangeCall& call) {
  if (!OneKind(window, call)) return RangeValue::None();
  if (window.times.empty()) return HistogramAggregate(window, call, false);
  return RangeValue::Float(SumOf(window.values));
}

RangeValue CountOverTime(const RangeWindow& window, RangeCall&) {
  return RangeValue::Float(static_cast<double>(window.times.size() + window.histograms.size()));
}

RangeValue PresentOverTime(const RangeWindow&, RangeCall&) { return RangeValue::Float(1); }

// Index of the smallest or largest value: the last of equal ones, NaN only if all are.
template <typename Better>
size_t Extreme(absl::Span<const double> values, bool last_tie, Better better) {
  size_t best = 0;
  for (size_t i = 1; i < values.size(); ++i) {
    if (better(values[i], values[best]) || std::isnan(values[best]) ||
        (last_tie && values[i] == values[best])) {
      best = i;
    }
  }
  return best;
}

RangeValue MinOverTime(const RangeWindow& window, RangeCall& call) {
  if (!FloatsOnly(window, call)) return RangeValue::None();
  return RangeValue::Float(
      window.values[Extreme(window.values, false, [](double a, double b) { return a < b; })]);
}

RangeValue MaxOverTime(const RangeWindow& window, RangeCall& call) {
  if (!FloatsOnly(window, call)) return RangeValue::None();
  return RangeValue::Float(
      window.values[Extreme(window.values, false, [](double a, double b) { return a > b; })]);
}

RangeValue Seconds(TimestampMs time) { return RangeValue::Float(static_cast<double>(time) / 1000); }

RangeValue TsOfMinOverTime(const RangeWindow& window, RangeCall& call) {
  if (!FloatsOnly(window, call)) return RangeValue::None();
  return Seconds(
      window.times[Extreme(window.values, true, [](double a, double b) { return a < b; })]);
}

RangeValue TsOfMaxOverTime(const RangeWindow& window, RangeCall& call) {
  if (!FloatsOnly(window, call)) return RangeValue::None();
  return Seconds(
      window.times[Extreme(window.values, true, [](double a, double b) { return a > b; })]);
}

bool FirstIsHistogram(const RangeWindow& window) {
  return window.times.empty() ||
         (!window.histograms.empty() && window.histograms.front().time < window.times.front());
}

bool LastIsHistogram(const RangeWindow& window) {
  return window.times.empty() ||
         (!window.histograms.empty() && window.histograms.back().time > window.times.back());
}

RangeValue FirstOverTime(const RangeWindow& window, RangeCall&) {
  if (FirstIsHistogram(window)) return {true, 0, window.histograms.front().histogram};
  return RangeValue::Float(window.values.front());
}

RangeValue LastOverTime(const RangeWindow& window, RangeCall&) {
  if (LastIsHistogram(window)) return {true, 0, window.histograms.back().histogram};
  return RangeValue::Float(window.values.back());
}

RangeValue TsOfFirstOverTime(const RangeWindow& window, RangeCall&) {
  return Seconds(FirstIsHistogram(window) ? window.histograms.front().time : window.times.front());
}

RangeValue TsOfLastOverTime(const RangeWindow& window, RangeCall&) {
  return Seconds(LastIsHistogram(window) ? window.histograms.back().time : window.times.back());
}

double Variance(absl::Span<const double> values) {
  double count = 0;
  CompensatedSum mean;
  CompensatedSum squares;
  for (double value : values) {
    ++count;
    const double delta = value - mean.Total();
    mean.Add(delta / count);
    squares.Add(delta * (value - mean.Total()));
  }
  return squares.Total() / count;
}

RangeValue StddevOverTime(const RangeWindow& window, RangeCall& call) {
  if (!FloatsOnly(window, call)) return RangeValue::None();
  return RangeValue::Float(std::sqrt(Variance(window.values)));
}

RangeValue StdvarOverTime(const RangeWindow& window, RangeCall& call) {
  if (!FloatsOnly(window, call)) return RangeValue::None();
  return RangeValue::Float(Variance(window.values));
}

RangeValue QuantileOverTime(const RangeWindow& window, RangeCall& call) {
  const double quantile = call.params[0];
  if (!FloatsOnly(window, call)) return RangeValue::None();
  WarnInvalidQuantile(call.annotations, quantile, call.param_position);
  std::vector<double> values(window.values.begin(), window.values.end());
  return RangeValue::Float(Quantile(quantile, values));
}

RangeValue MadOverTime(const RangeWindow& window, RangeCall& call) {
  if (!FloatsOnly(window, call)) return RangeValue::None();
  std::vector<double> values(window.values.begin(), window.values.end());
  for (double value : values) {
    if (std::isnan(value)) return RangeValue::Float(value);
  }
  const double median = Quantile(0.5, values);
  for (double& value : values) value = std::fabs(value - median);
  return RangeValue::Float(Quantile(0.5, values));
}

struct Line {
  double slope = 0;
  double intercept = 0;  // At the reference time.
};

// Least squares. A constant gives slope 0 (NaN for an infinite one).
Line LinearRegression(const RangeWindow& window, TimestampMs reference) {
  double count = 0;
  CompensatedSum x_sum, y_sum, xy_sum, xx_sum;
  bool constant = true;
  for (size_t i = 0; i < window.times.size(); ++i) {
    const double y = window.values[i];
    if (y != window.values[0]) constant = false;
    const double x = static_cast<double>(window.times[i] - reference) / 1e3;
    ++count;
    x_sum.Add(x);
    y_sum.Add(y);
    xy_sum.Add(x * y);
    xx_sum.Add(x * x);
  }
  if (constant) {
    const double value = window.values[0];
    if (std::isinf(value)) return {NormalNan(), NormalNan()};
    return {0, value};
  }
  const double x = x_sum.Total();
  const double y = y_sum.Total();
  const double covariance = xy_sum.Total() - x * y / count;
  const double variance = xx_sum.Total() - x * x / count;
  const double slope = covariance / variance;
  return {slope, y / count - slope * x / count};
}

// deriv() and predict_linear() need two floats.
bool EnoughForLine(const RangeWindow& window, const RangeCall& call) {
  if (window.times.size() >= 2) {
    if (!window.histograms.empty()) call.InfoIgnoredHistograms();
    return true;
  }
  if (window.times.size() == 1 && !window.histograms.empty()) call.InfoIgnoredHistograms();
  return false;
}

RangeValue Deriv(const RangeWindow& window, RangeCall& call) {
  if (!EnoughForLine(window, call)) return RangeValue::None();
  return RangeValue::Float(LinearRegression(window, window.times.front()).slope);
}

RangeValue PredictLinear(const RangeWindow& window, RangeCall& call) {
  if (!EnoughForLine(window, call)) return RangeValue::None();
  const Line line = LinearRegression(window, window.eval_time);
  return RangeValue::Float(line.slope * call.params[0] + line.intercept);
}

RangeValue DoubleExponentialSmoothing(const RangeWindow& window, RangeCall& call) {
  const double smoothing = call.params[0];
  const double trend_factor = call.params[1];
  if (!(smoothing > 0 && smoothing < 1)) {
    call.error =
        fmt::format("invalid smoothing factor. Expected: 0 < sf < 1, got: {:f}", smoothing);
    return RangeValue::None();
  }
  if (!(trend_factor > 0 && trend_factor < 1)) {
    call.error = fmt::format("invalid trend factor. Expected: 0 < tf < 1, got: {:f}", trend_factor);
    return RangeValue::None();
  }
  if (!EnoughForLine(window, call)) return RangeValue::None();
  double previous = 0;
  double smoothed = window.values[0];
  double trend = window.values[1] - window.values[0];
  for (size_t i = 1; i < window.values.size(); ++i) {
    if (i > 1) trend = trend_factor * (smoothed - previous) + (1 - trend_factor) * trend;
    const double next = smoothing * window.values[i] + (1 - smoothing) * (smoothed + trend);
    previous = smoothed;
    smoothed = next;
  }
  return RangeValue::Float(smoothed);
}

constexpr RangeFunctionEntry kRangeFunctions[] = {
    {FunctionId::kAvgOverTime, AvgOverTime},
    {FunctionId::kChanges, Changes},
    {FunctionId::kCountOverTime, CountOverTime},
    {FunctionId::kDelta, Delta},
    {FunctionId::kDeriv, Deriv},
    {FunctionId::kDoubleExponentialSmoothing, DoubleExponentialSmoothing},
    {FunctionId::kFirstOverTime, FirstOverTime, true},
    {FunctionId::kIdelta, Idelta},
    {FunctionId::kIncrease, Increase},
    {FunctionId::kIrate, Irate},
    {FunctionId::kLastOverTime, LastOverTime, true},
    {FunctionId::kMadOverTime, MadOverTime},
    {FunctionId::kMaxOverTime, MaxOverTime},
    {FunctionId::kMinOverTime, MinOverTime},
    {FunctionId::kPredictLinear, PredictLinear},
    {FunctionId::kPresentOverTime, PresentOverTime},
    {FunctionId::kQuantileOverTime, QuantileOverTime},
    {FunctionId::kRate, Rate},
    {FunctionId::kResets, Resets},
    {FunctionId::kStddevOverTime, StddevOverTime},
    {FunctionId::kStdvarOverTime, StdvarOverTime},
    {FunctionId::kSumOverTime, SumOverTime},
    {FunctionId::kTsOfFirstOverTime, TsOfFirstOverTime},
    {FunctionId::kTsOfLastOverTime, TsOfLastOverTime},
    {FunctionId::kTsOfMaxOverTime, TsOfMaxOverTime},
    {FunctionId::kTsOfMinOverTime, TsOfMinOverTime},
};

}  // namespace

const RangeFunctionEntry* FindRangeFunction(FunctionId id) {
  for (const RangeFunctionEntry& entry : kRangeFunctions) {
    if (entry.id == id) return &entry;
  }
  return nullptr;
}

double SumOf(absl::Span<const double> values) {
  CompensatedSum sum;
  for (double value : values) sum.Add(value);
  // An infinite sum has no compensation; one that was infinite before may have a NaN.
  return std::isinf(sum.sum) ? sum.sum : sum.Total();
}

double AverageOf(absl::Span<const double> values) {
  CompensatedSum sum;
  sum.sum = values[0];
  size_t i = 1;
  for (; i < values.size(); ++i) {
    CompensatedSum next = sum;
    next.Add(values[i]);
    if (std::isinf(next.sum)) break;
    sum = next;
  }
  if (i == values.size()) {
    const double count = static_cast<double>(values.size());
    return sum.sum / count + sum.carry / count;
  }
  // The sum overflows: go on with a running mean.
  CompensatedSum mean;
  mean.sum = sum.sum / static_cast<double>(i);
  mean.carry = sum.carry / static_cast<double>(i);
  for (; i < values.size(); ++i) {
    const double count = static_cast<double>(i + 1);
    const double weight = (count - 1) / count;
    mean.sum *= weight;
    mean.carry *= weight;
    mean.Add(values[i] / count);
  }
  return mean.Total();
}

double Quantile(double quantile, std::vector<double>& values) {
  std::sort(values.begin(), values.end(), [](double a, double b) {
    if (std::isnan(a)) return !std::isnan(b);
    return a < b;
  });
  return QuantileOfSorted(quantile, values);
}

double QuantileOfSorted(double quantile, absl::Span<const double> values) {
  if (values.empty() || std::isnan(quantile)) return NormalNan();
  if (quantile < 0) return -kInfinity;
  if (quantile > 1) return kInfinity;
  const QuantilePlace place = PlaceOfQuantile(quantile, values.size());
  return place.Between(values[place.lower], values[place.upper]);
}

QuantilePlace PlaceOfQuantile(double quantile, size_t count) {
  const double last = static_cast<double>(count) - 1;
  const double rank = quantile * last;
  const double lower = std::max(0.0, std::floor(rank));
  return {.lower = static_cast<size_t>(lower),
          .upper = static_cast<size_t>(std::min(last, lower + 1)),
          .weight = rank - std::floor(rank)};
}

void WarnInvalidQuantile(AnnotationCollector& annotations, double quantile, int position) {
  if (quantile >= 0 && quantile <= 1) return;
  annotations.Warn(
      fmt::format("quantile value should be between 0 and 1, got {}", FormatGeneral(quantile)),
      position);
}

}  // namespace varve::promql

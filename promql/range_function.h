// SPDX-License-Identifier: Apache-2.0
//
// Functions over range vectors: each maps the samples of one window of one series to one sample.
#pragma once

#include <absl/types/span.h>

#include <string>
#include <vector>

#include "promql/ast.h"
#include "promql/context.h"
#include "promql/operator.h"

namespace varve::promql {

// The samples a function looks at. `times` and `values` belong together; start times are empty if
// no sample has one.
struct RangeWindow {
  absl::Span<const TimestampMs> times;
  absl::Span<const double> values;
  absl::Span<const TimestampMs> start_times;
  absl::Span<const HistogramSample> histograms;
  absl::Span<const TimestampMs> histogram_start_times;
  TimestampMs start = 0;  // Exclusive, without what anchored and smoothed add.
  TimestampMs end = 0;
  TimestampMs eval_time = 0;

  bool empty() const { return times.empty() && histograms.empty(); }
};

// One call for one series, and what its annotations need.
struct RangeCall {
  QueryContext& context;
  const RangeSpec& spec;
  AnnotationCollector& annotations;
  int position = 0;                       // Of the range vector argument.
  std::string_view metric = {};           // Name of the series at hand.
  std::string_view type_label = {};       // Its __type__.
  bool counter_name_checked = false;      // Once a series is enough.
  absl::Span<const Row> param_rows = {};  // The scalar arguments.
  std::vector<double> params = {};        // The same at the step at hand.
  int param_position = 0;                 // Of the first scalar argument.
  std::string error = {};                 // Set by a function that cannot go on: ends the query.

  void Warn(std::string message) const { annotations.Warn(std::move(message), position); }
  void Info(std::string message) const { annotations.Info(std::move(message), position); }
  void WarnMixedTypes() const;
  void WarnMixedSchemas() const;
  void InfoIgnoredHistograms() const;
  void NoteBounds(bool reconciled, std::string_view operation) const;
};

// What a function gives for a window: nothing, a float or a histogram.
struct RangeValue {
  bool present = false;
  double value = 0;
  HistogramPtr histogram;

  static RangeValue None() { return {}; }
  static RangeValue Float(double value) { return {true, value, nullptr}; }
  static RangeValue Of(Histogram histogram) {
    return {true, 0, std::make_shared<const Histogram>(std::move(histogram))};
  }
};

// REQUIRES: the window is not empty.
using RangeFunction = RangeValue (*)(const RangeWindow& window, RangeCall& call);

struct RangeFunctionEntry {
  FunctionId id;
  RangeFunction body;
  bool keeps_name = false;
};
// Null if the function is none over range vectors.
const RangeFunctionEntry* FindRangeFunction(FunctionId id);

// The bodies that fill a file of their own (rate.cc, extended_rate.cc).
RangeValue Rate(const RangeWindow& window, RangeCall& call);
RangeValue Increase(const RangeWindow& window, RangeCall& call);
RangeValue Delta(const RangeWindow& window, RangeCall& call);
RangeValue Irate(const RangeWindow& window, RangeCall& call);
RangeValue Idelta(const RangeWindow& window, RangeCall& call);
RangeValue Changes(const RangeWindow& window, RangeCall& call);
RangeValue Resets(const RangeWindow& window, RangeCall& call);

struct RateKind {
  bool is_counter = false;
  bool per_second = false;
};
// rate, increase and delta of an `anchored` or `smoothed` selector.
RangeValue ExtendedRate(const RangeWindow& window, RangeCall& call, const RateKind& kind);
// Cuts the window of an `anchored` selector to what changes() and resets() look at: its samples
// and the newest one before it. False if there are none inside.
bool AnchorWindow(RangeWindow& window);

// The information that a rate is taken of what is no counter by its name. Once a series.
void NotePossibleNonCounter(RangeCall& call);

// Compensated, the values taken in order. REQUIRES: there are values.
double SumOf(absl::Span<const double> values);
double AverageOf(absl::Span<const double> values);
// `values` is sorted in place, NaNs first. NaN for no values or a NaN quantile, infinite outside
// [0, 1].
double Quantile(double quantile, std::vector<double>& values);
// Which of sorted values a quantile lies between, and where.
struct QuantilePlace {
  size_t lower = 0;
  size_t upper = 0;
  double weight = 0;  // Of the upper one.
  double Between(double at_lower, double at_upper) const {
    return at_lower * (1 - weight) + at_upper * weight;
  }
};
// REQUIRES: `quantile` is in [0, 1] and `count` is not 0.
QuantilePlace PlaceOfQuantile(double quantile, size_t count);
// Quantile() of sorted values.
double QuantileOfSorted(double quantile, absl::Span<const double> values);
// The warning for a quantile that is none; nothing if it is in [0, 1].
void WarnInvalidQuantile(AnnotationCollector& annotations, double quantile, int position);

// `fn(sel[5m], scalars...)`.
struct RangeCallArguments {
  RangeSourcePtr source;
  int position = 0;                  // Of the range vector.
  std::vector<OperatorPtr> scalars;  // The other arguments, in order.
  std::vector<Row> params;           // Instead of them, if they are known already.
  int scalar_position = 0;           // Of the first of them.
};
OperatorPtr MakeRangeCall(QueryContext& context, const RangeFunctionEntry& function,
                          RangeCallArguments arguments);
// absent_over_time(): one series, `labels`.
OperatorPtr MakeAbsentOverTime(QueryContext& context, RangeSourcePtr source, Labels labels);

// Moves a window over the samples of one series, steps in rising order.
class WindowSlider {
 public:
  WindowSlider(const RangeSpec& spec, const SeriesSamples& samples)
      : spec_(spec), samples_(samples) {}
  RangeWindow At(size_t step);

 private:
  const RangeSpec& spec_;
  const SeriesSamples& samples_;
  size_t float_begin_ = 0;
  size_t float_end_ = 0;
  size_t histogram_begin_ = 0;
  size_t histogram_end_ = 0;
};

}  // namespace varve::promql

// SPDX-License-Identifier: Apache-2.0
//
// The language once more, as plainly as it can be written: one step at a time, one sample at a
// time, every selector read again for every step, every window gone through from end to end. Tests
// compare the engine with it. It knows what the generated queries contain (query_generator.h) and
// shares no code with the engine but the tree, the arithmetic of histograms and the hash of labels.
#pragma once

#include <absl/status/statusor.h>

#include <memory>
#include <vector>

#include "model/labels.h"
#include "model/queryable.h"
#include "promql/ast.h"

namespace varve::promql {

struct ReferenceSample {
  Labels labels;
  double value = 0;
  std::shared_ptr<const Histogram> histogram;  // Null for a float.
};
// A scalar is a vector of one float without labels.
using ReferenceVector = std::vector<ReferenceSample>;

// The samples of one series in (start, end], staleness markers taken out.
struct ReferenceWindow {
  TimestampMs start = 0;
  TimestampMs end = 0;
  TimestampMs eval_time = 0;
  double param = 0;  // Of quantile_over_time() and predict_linear().
  std::vector<FloatSample> floats;
  std::vector<HistogramSample> histograms;
};

// `function` of a window. False if there is no result. Unimplemented for a function it does not
// know.
absl::StatusOr<bool> ReferenceRangeFunction(FunctionId function, const ReferenceWindow& window,
                                            ReferenceSample& result);
double ReferenceQuantile(double quantile, std::vector<double> values);
// Without the metric name.
Labels ReferenceWithoutName(const Labels& labels);

// Not thread-safe.
class ReferenceEvaluator {
 public:
  // `storage` outlives the evaluator.
  ReferenceEvaluator(const Queryable& storage, DurationMs lookback)
      : storage_(storage), lookback_(lookback) {}

  // The value of `expr` at `time`. FailedPrecondition if the query fails there.
  absl::StatusOr<ReferenceVector> At(const Expr& expr, TimestampMs time) const;

 private:
  absl::StatusOr<std::vector<std::pair<Labels, ReferenceWindow>>> Windows(const Expr& expr,
                                                                          TimestampMs time) const;
  absl::StatusOr<std::vector<std::pair<Labels, SeriesSamples>>> Read(const VectorSelector& selector,
                                                                     TimestampMs after,
                                                                     TimestampMs upto) const;
  absl::StatusOr<ReferenceVector> Select(const VectorSelector& selector, TimestampMs time,
                                         bool timestamps) const;
  absl::StatusOr<ReferenceVector> EvaluateCall(const Call& call, TimestampMs time) const;
  absl::StatusOr<ReferenceVector> RangeCall(const Call& call, TimestampMs time) const;
  absl::StatusOr<ReferenceVector> EvaluateAggregate(const Aggregate& aggregate,
                                                    TimestampMs time) const;
  absl::StatusOr<ReferenceVector> EvaluateBinary(const Binary& binary, TimestampMs time) const;

  const Queryable& storage_;
  const DurationMs lookback_;
};

}  // namespace varve::promql

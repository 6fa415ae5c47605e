// SPDX-License-Identifier: Apache-2.0
//
// Arithmetic on native histograms, as PromQL defines it: addition over different resolutions and
// zero buckets, scaling, counter resets, cutting at a value, quantiles. All results are float
// histograms without empty buckets.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "model/histogram.h"

namespace varve {

// A running sum with Neumaier's compensation. Once the sum is infinite the compensation is gone.
struct CompensatedSum {
  double sum = 0;
  double carry = 0;

  void Add(double value) {
    const double total = sum + value;
    if (__builtin_isinf(total)) {
      carry = 0;
    } else if (__builtin_fabs(sum) >= __builtin_fabs(value)) {
      carry += (sum - total) + value;
    } else {
      carry += (value - total) + sum;
    }
    sum = total;
  }
  double Total() const { return sum + carry; }
};

// What happened while histograms were combined.
struct HistogramMergeNotes {
  bool reset_hint_conflict = false;  // A counter reset met "no counter reset".
  bool bounds_reconciled = false;    // Custom bounds differed; the common ones were used.
};

// Whether both have exponential, or both custom buckets: only then they can be combined.
bool Combinable(const Histogram& a, const Histogram& b);

// REQUIRES: Combinable(a, b).
Histogram AddHistograms(const Histogram& a, const Histogram& b, HistogramMergeNotes& notes);
Histogram SubtractHistograms(const Histogram& a, const Histogram& b, HistogramMergeNotes& notes);

// Multiplies every count and the sum; a negative factor makes a gauge.
Histogram MultiplyHistogram(const Histogram& histogram, double factor);
// Divides every count and the sum; by zero, buckets vanish and the rest becomes infinite or NaN.
Histogram DivideHistogram(const Histogram& histogram, double divisor);

// Without empty buckets.
Histogram CompactHistogram(const Histogram& histogram);
// REQUIRES: `histogram` is exponential, schema <= histogram.schema.
Histogram ReduceResolution(const Histogram& histogram, int32_t schema);

// Whether a counter was reset between `previous` and `current`.
bool DetectHistogramReset(const Histogram& current, const Histogram& previous);

// Equal in everything but the reset hint and how empty buckets are written.
bool SameHistogram(const Histogram& a, const Histogram& b);

// Keeps the observations below (or above) `bound`, estimating within the bucket it cuts.
Histogram TrimHistogramAbove(const Histogram& histogram, double bound);  // h </ bound
Histogram TrimHistogramBelow(const Histogram& histogram, double bound);  // h >/ bound

struct HistogramEstimate {
  double value = 0;
  bool nan_result = false;  // The result is NaN because of NaN observations.
  bool nan_skewed = false;  // There are NaN observations, the result is less exact than it looks.
};
HistogramEstimate HistogramQuantile(double quantile, const Histogram& histogram);
HistogramEstimate HistogramFraction(double lower, double upper, const Histogram& histogram);
// Estimated population variance of the observations.
double HistogramVariance(const Histogram& histogram);

// Sums histograms with compensation for every count.
class HistogramSum {
 public:
  HistogramSum();
  ~HistogramSum();
  HistogramSum(HistogramSum&&) noexcept;
  HistogramSum& operator=(HistogramSum&&) noexcept;

  // False (and the sum is unchanged) if the layouts cannot be combined.
  bool Add(const Histogram& histogram);
  size_t count() const { return count_; }
  const HistogramMergeNotes& notes() const { return notes_; }
  // REQUIRES: count() > 0.
  Histogram Sum() const;
  // The sum divided by count(), also where the sum overflows.
  Histogram Average() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
  size_t count_ = 0;
  bool reset_seen_ = false;
  bool no_reset_seen_ = false;
  HistogramMergeNotes notes_;
};

}  // namespace varve

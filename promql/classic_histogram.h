// SPDX-License-Identifier: Apache-2.0
//
// Estimates from classic histograms: cumulative counts per upper bound.
#pragma once

#include <vector>

namespace varve::promql {

struct ClassicBucket {
  double upper = 0;
  double count = 0;  // Of observations not above `upper`.
};

// Counts that fell where they must not fall, and were raised to the one before.
struct MonotonicityFix {
  bool forced = false;
  double bucket_min = 0;
  double bucket_max = 0;
  double diff_max = 0;
};

// Sorts and repairs `buckets`. NaN without a +Inf bucket, with fewer than two, or without
// observations; infinite for a quantile outside [0, 1].
double BucketQuantile(double quantile, std::vector<ClassicBucket>& buckets, MonotonicityFix& fix);
// The share of observations between the bounds.
double BucketFraction(double lower, double upper, std::vector<ClassicBucket>& buckets);

}  // namespace varve::promql

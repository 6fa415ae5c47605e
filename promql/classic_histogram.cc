// SPDX-License-Identifier: Apache-2.0
//
// Linear interpolation inside classic buckets.
#include "promql/classic_histogram.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "model/sample.h"

namespace varve::promql {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
// Relative differences below this are rounding errors of whoever added the counts up.
constexpr double kSmallDelta = 1e-12;

bool AlmostEqual(double a, double b) {
  if (a == b) return true;
  const double sum = std::fabs(a) + std::fabs(b);
  const double difference = std::fabs(a - b);
  if (a == 0 || b == 0 || sum < std::numeric_limits<double>::min()) {
    return difference < kSmallDelta * std::numeric_limits<double>::min();
  }
  // Mostly far from it: no need to divide.
  if (difference > 2 * kSmallDelta * sum) return false;
  return difference / std::min(sum, std::numeric_limits<double>::max()) < kSmallDelta;
}

// Sorts by bound and adds up buckets of equal bounds. False without a +Inf bucket.
bool SortAndMerge(std::vector<ClassicBucket>& buckets) {
  const auto below = [](const ClassicBucket& a, const ClassicBucket& b) {
    return a.upper < b.upper;
  };
  bool rising = true;
  for (size_t i = 1; i < buckets.size(); ++i) rising &= below(buckets[i - 1], buckets[i]);
  if (!rising && !std::is_sorted(buckets.begin(), buckets.end(), below)) {
    std::stable_sort(buckets.begin(), buckets.end(), below);
  }
  if (buckets.empty() || buckets.back().upper != kInfinity) return false;
  if (rising) return true;
  size_t out = 0;
  for (size_t i = 1; i < buckets.size(); ++i) {
    if (buckets[i].upper == buckets[out].upper) {
      buckets[out].count += buckets[i].count;
    } else {
      buckets[++out] = buckets[i];
    }
  }
  buckets.resize(out + 1);
  return true;
}

void ForceMonotonic(std::vector<ClassicBucket>& buckets, MonotonicityFix& fix) {
  double previous = buckets[0].count;
  for (size_t i = 1; i < buckets.size(); ++i) {
    ClassicBucket& bucket = buckets[i];
    if (bucket.count == previous) continue;
    if (AlmostEqual(previous, bucket.count)) {
      bucket.count = previous;
    } else if (bucket.count < previous) {
      fix.bucket_min = fix.forced ? std::min(fix.bucket_min, bucket.upper) : bucket.upper;
      fix.bucket_max = fix.forced ? std::max(fix.bucket_max, bucket.upper) : bucket.upper;
      fix.diff_max = std::max(fix.diff_max, previous - bucket.count);
      fix.forced = true;
      bucket.count = previous;
    } else {
      previous = bucket.count;
    }
  }
}

}  // namespace

double BucketQuantile(double quantile, std::vector<ClassicBucket>& buckets, MonotonicityFix& fix) {
  if (std::isnan(quantile)) return NormalNan();
  if (quantile < 0) return -kInfinity;
  if (quantile > 1) return kInfinity;
  if (!SortAndMerge(buckets)) return NormalNan();
  ForceMonotonic(buckets, fix);
  if (buckets.size() < 2) return NormalNan();
  const double observations = buckets.back().count;
  if (observations == 0) return NormalNan();
  double rank = quantile * observations;
  size_t index = 0;
  // Written so that a NaN count is never reached, as a binary search would not.
  while (index + 1 < buckets.size() && !(buckets[index].count >= rank)) ++index;
  if (index + 1 == buckets.size()) return buckets[buckets.size() - 2].upper;
  if (index == 0 && buckets[0].upper <= 0) return buckets[0].upper;
  double lower = 0;
  double count = buckets[index].count;
  if (index > 0) {
    lower = buckets[index - 1].upper;
    count -= buckets[index - 1].count;
    rank -= buckets[index - 1].count;
  }
  return lower + (buckets[index].upper - lower) * (rank / count);
}

double BucketFraction(double lower, double upper, std::vector<ClassicBucket>& buckets) {
  if (!SortAndMerge(buckets)) return NormalNan();
  MonotonicityFix fix;
  ForceMonotonic(buckets, fix);
  const double observations = buckets.back().count;
  if (observations == 0 || std::isnan(lower) || std::isnan(upper)) return NormalNan();
  if (lower >= upper) return 0;
  const auto rank_of = [&](double value) {
    double rank = 0;
    double bucket_lower = buckets[0].upper <= 0 ? -kInfinity : 0;
    for (const ClassicBucket& bucket : buckets) {
      if (bucket_lower >= value) return rank;
      if (bucket.upper > value) {
        if (std::isinf(bucket_lower)) return bucket.count;
        return rank +
               (bucket.count - rank) * (value - bucket_lower) / (bucket.upper - bucket_lower);
      }
      rank = bucket.count;
      bucket_lower = bucket.upper;
    }
    return rank;
  };
  return (std::min(rank_of(upper), observations) - std::min(rank_of(lower), observations)) /
         observations;
}

}  // namespace varve::promql

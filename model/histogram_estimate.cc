// SPDX-License-Identifier: Apache-2.0
//
// What a histogram lets one estimate about its observations: quantiles, fractions, variance, and
// the part above or below a value. Inside exponential buckets observations are taken to be spread
// evenly on a logarithmic scale, inside zero and custom buckets on a linear one.
#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "model/histogram_math.h"

namespace varve {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

// Whether a bucket is the zero bucket of an exponential histogram, or straddles 0 otherwise.
bool HoldsZero(const BucketView& bucket) { return bucket.lower <= 0 && bucket.upper >= 0; }

// With observations on one side of zero only, the zero bucket is taken to be on that side too.
void NarrowZeroBucket(const Histogram& histogram, BucketView& bucket) {
  if (histogram.negative.counts.empty() && !histogram.positive.counts.empty()) {
    bucket.lower = 0;
  } else if (histogram.positive.counts.empty() && !histogram.negative.counts.empty()) {
    bucket.upper = 0;
  }
}

// How much of an exponential bucket lies below `value`, which is inside it.
double ExponentialFraction(const BucketView& bucket, double value) {
  const double log_lower = std::log2(std::fabs(bucket.lower));
  const double log_upper = std::log2(std::fabs(bucket.upper));
  const double log_value = std::log2(std::fabs(value));
  if (value > 0) return (log_value - log_lower) / (log_upper - log_lower);
  return 1 - (log_value - log_upper) / (log_lower - log_upper);
}

}  // namespace

HistogramEstimate HistogramQuantile(double quantile, const Histogram& histogram) {
  HistogramEstimate estimate;
  if (quantile < 0) return {-kInfinity};
  if (quantile > 1) return {kInfinity};
  if (histogram.count == 0 || std::isnan(quantile)) return {kNan};

  const bool nan_observations = std::isnan(histogram.sum);
  const std::vector<BucketView> buckets = histogram.AllBuckets();
  if (buckets.empty()) {
    estimate.nan_result = nan_observations;
    estimate.value = kNan;
    return estimate;
  }
  // From the nearer end, so that rounding errors stay small; NaNs count as above everything.
  const bool forward = nan_observations || quantile < 0.5;
  double rank = (forward ? quantile : 1 - quantile) * histogram.count;
  double count = 0;
  BucketView bucket;
  for (size_t i = 0; i < buckets.size(); ++i) {
    bucket = buckets[forward ? i : buckets.size() - 1 - i];
    count += bucket.count;
    if (count >= rank) break;
  }
  if (histogram.HasCustomBuckets()) {
    if (bucket.lower == -kInfinity) {
      if (bucket.upper <= 0) return {bucket.upper};
      bucket.lower = 0;
    } else if (bucket.upper == kInfinity) {
      if (!nan_observations || count >= rank) return {bucket.lower};
    }
  } else if (bucket.lower < 0 && bucket.upper > 0) {
    NarrowZeroBucket(histogram, bucket);
  }
  count = std::min(count, histogram.count);
  if (count < rank) {
    if (nan_observations) {
      estimate.nan_result = true;
      estimate.value = kNan;
      return estimate;
    }
    return {forward ? bucket.upper : bucket.lower};
  }
  estimate.nan_skewed = nan_observations;
  rank = forward ? rank - (count - bucket.count) : count - rank;
  const double fraction = rank / bucket.count;
  if (histogram.HasCustomBuckets() || HoldsZero(bucket)) {
    estimate.value = bucket.lower + (bucket.upper - bucket.lower) * fraction;
    return estimate;
  }
  const double log_lower = std::log2(std::fabs(bucket.lower));
  const double log_upper = std::log2(std::fabs(bucket.upper));
  estimate.value = bucket.lower > 0
                       ? std::exp2(log_lower + (log_upper - log_lower) * fraction)
                       : -std::exp2(log_upper + (log_lower - log_upper) * (1 - fraction));
  return estimate;
}

HistogramEstimate HistogramFraction(double lower, double upper, const Histogram& histogram) {
  if (histogram.count == 0 || std::isnan(lower) || std::isnan(upper)) return {kNan};
  HistogramEstimate estimate;
  estimate.nan_skewed = std::isnan(histogram.sum);
  if (lower >= upper) return estimate;

  const std::vector<BucketView> buckets = histogram.AllBuckets();
  // Observations not above `value`.
  const auto rank_of = [&](double value) {
    double rank = 0;
    for (BucketView bucket : buckets) {
      const bool linear = histogram.HasCustomBuckets() || HoldsZero(bucket);
      if (!histogram.HasCustomBuckets() && HoldsZero(bucket)) NarrowZeroBucket(histogram, bucket);
      if (histogram.HasCustomBuckets() && bucket.lower == -kInfinity && bucket.upper > 0) {
        bucket.lower = 0;
      }
      if (bucket.lower >= value) return rank;
      if (bucket.upper > value) {
        if (!linear) return rank + bucket.count * ExponentialFraction(bucket, value);
        if (bucket.lower == -kInfinity) return rank + bucket.count;
        return rank + bucket.count * (value - bucket.lower) / (bucket.upper - bucket.lower);
      }
      rank += bucket.count;
    }
    return rank;
  };
  const auto capped = [&](double rank) { return std::min(rank, histogram.count); };
  estimate.value = (capped(rank_of(upper)) - capped(rank_of(lower))) / histogram.count;
  return estimate;
}

double HistogramVariance(const Histogram& histogram) {
  const double mean = histogram.sum / histogram.count;
  CompensatedSum squares;
  for (const BucketView& bucket : histogram.AllBuckets()) {
    double value = 0;
    if (histogram.HasCustomBuckets()) {
      value = (bucket.upper + bucket.lower) / 2;
    } else if (!HoldsZero(bucket)) {
      value = std::sqrt(bucket.upper * bucket.lower);
      if (bucket.upper < 0) value = -value;
    }
    const double delta = value - mean;
    squares.Add(bucket.count * delta * delta);
  }
  return squares.Total() / histogram.count;
}

namespace {

enum class BucketScale { kExponential, kLinear, kCustom };

// Cuts buckets at a value and sums up what is left of them.
class Trimmer {
 public:
  Trimmer(double cut, bool keep_below) : cut_(cut), keep_below_(keep_below) {}

  // Returns what is left of the bucket's count.
  double Keep(double lower, double upper, double count, BucketScale scale) {
    if (count == 0) return 0;
    if (keep_below_ ? upper <= cut_ : lower >= cut_) return KeepWhole(lower, upper, count, scale);
    changed_ = true;
    if (keep_below_ ? lower >= cut_ : upper <= cut_) return 0;
    if (scale == BucketScale::kCustom) {
      if (std::isinf(lower) && std::isinf(upper)) return 0;
      // An open end swallows the cut: on the far side of it nothing can be told apart.
      if (std::isinf(upper)) return keep_below_ ? 0 : Account(count, cut_);
      if (std::isinf(lower)) {
        if (upper <= 0) return keep_below_ ? Account(count, cut_) : 0;
        if (cut_ < 0) return 0;
        lower = 0;
        if (!keep_below_ && cut_ == 0) {
          changed_ = changed_before_;
          return KeepWhole(lower, upper, count, scale);
        }
        if (keep_below_ && cut_ == 0) return 0;
      }
    }
    BucketView bucket;
    bucket.lower = lower;
    bucket.upper = upper;
    const double below = scale == BucketScale::kExponential ? ExponentialFraction(bucket, cut_)
                                                            : (cut_ - lower) / (upper - lower);
    const double kept = count * (keep_below_ ? below : 1 - below);
    return Account(kept, keep_below_ ? Middle(lower, cut_, scale) : Middle(cut_, upper, scale));
  }

  // Call between buckets.
  void Mark() { changed_before_ = changed_; }

  bool changed() const { return changed_; }
  double count() const { return count_.Total(); }
  double sum() const { return sum_.Total(); }

 private:
  static double Middle(double lower, double upper, BucketScale scale) {
    if (scale != BucketScale::kExponential) return (lower + upper) / 2;
    const double middle = std::sqrt(std::fabs(lower) * std::fabs(upper));
    return upper <= 0 ? -middle : middle;
  }

  double KeepWhole(double lower, double upper, double count, BucketScale scale) {
    if (std::isinf(lower)) {
      if (upper <= 0 || std::isinf(upper)) return Account(count, std::isinf(upper) ? 0 : upper);
      lower = 0;
    }
    if (std::isinf(upper)) return Account(count, lower);
    return Account(count, Middle(lower, upper, scale));
  }

  double Account(double count, double value) {
    count_.Add(count);
    sum_.Add(count * value);
    return count;
  }

  const double cut_;
  const bool keep_below_;
  bool changed_ = false;
  bool changed_before_ = false;
  CompensatedSum count_;
  CompensatedSum sum_;
};

Histogram Trim(const Histogram& histogram, double cut, bool keep_below) {
  Trimmer trimmer(cut, keep_below);
  Histogram trimmed = histogram;
  trimmed.integer_counts = false;
  size_t next = 0;
  if (histogram.HasCustomBuckets()) {
    const std::vector<double>& bounds = histogram.custom_bounds;
    histogram.positive.ForEach([&](int32_t index, double count) {
      const size_t at = static_cast<size_t>(index);
      const double lower = at == 0 ? -kInfinity : bounds[at - 1];
      const double upper = at < bounds.size() ? bounds[at] : kInfinity;
      trimmer.Mark();
      trimmed.positive.counts[next++] = trimmer.Keep(lower, upper, count, BucketScale::kCustom);
    });
  } else {
    histogram.negative.ForEach([&](int32_t index, double count) {
      trimmed.negative.counts[next++] = trimmer.Keep(-ExponentialBound(histogram.schema, index),
                                                     -ExponentialBound(histogram.schema, index - 1),
                                                     count, BucketScale::kExponential);
    });
    BucketView zero;
    zero.lower = -histogram.zero_threshold;
    zero.upper = histogram.zero_threshold;
    NarrowZeroBucket(histogram, zero);
    trimmed.zero_count =
        trimmer.Keep(zero.lower, zero.upper, histogram.zero_count, BucketScale::kLinear);
    next = 0;
    histogram.positive.ForEach([&](int32_t index, double count) {
      trimmed.positive.counts[next++] =
          trimmer.Keep(ExponentialBound(histogram.schema, index - 1),
                       ExponentialBound(histogram.schema, index), count, BucketScale::kExponential);
    });
  }
  if (!trimmer.changed()) return histogram;
  trimmed.count = trimmer.count();
  trimmed.sum = trimmer.sum();
  return CompactHistogram(trimmed);
}

}  // namespace

Histogram TrimHistogramAbove(const Histogram& histogram, double bound) {
  return Trim(histogram, bound, true);
}

Histogram TrimHistogramBelow(const Histogram& histogram, double bound) {
  return Trim(histogram, bound, false);
}

}  // namespace varve

// SPDX-License-Identifier: Apache-2.0
//
// Histograms are unpacked into flat lists of (index, count) for arithmetic and packed into spans
// again at the end; that keeps every operation a merge of two sorted lists.
#include "model/histogram_math.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <utility>

#include "model/check.h"

namespace varve {
namespace {

struct FlatBucket {
  int32_t index = 0;
  double value = 0;
  double carry = 0;
};
using FlatBuckets = std::vector<FlatBucket>;

FlatBuckets Unpack(const Buckets& buckets) {
  FlatBuckets flat;
  flat.reserve(buckets.counts.size());
  buckets.ForEach([&](int32_t index, double count) { flat.push_back({index, count, 0}); });
  return flat;
}

// Empty buckets are left out.
Buckets Pack(const FlatBuckets& flat) {
  Buckets buckets;
  int32_t next_index = 0;
  for (const FlatBucket& bucket : flat) {
    const double count = bucket.value + bucket.carry;
    if (count == 0) continue;
    if (buckets.spans.empty()) {
      buckets.spans.push_back({bucket.index, 0});
    } else if (bucket.index != next_index) {
      buckets.spans.push_back({bucket.index - next_index, 0});
    }
    ++buckets.spans.back().length;
    buckets.counts.push_back(count);
    next_index = bucket.index + 1;
  }
  return buckets;
}

void AddTo(double value, double& sum, double& carry) {
  CompensatedSum total{sum, carry};
  total.Add(value);
  sum = total.sum;
  carry = total.carry;
}

// The index a bucket has after the resolution went down by `levels`.
int32_t CoarserIndex(int32_t index, int levels) { return ((index - 1) >> levels) + 1; }

// Merges neighbours of equal index.
void MergeEqual(FlatBuckets& flat) {
  size_t out = 0;
  for (size_t i = 0; i < flat.size(); ++i) {
    if (out > 0 && flat[out - 1].index == flat[i].index) {
      FlatBucket& into = flat[out - 1];
      AddTo(flat[i].value, into.value, into.carry);
      into.carry += flat[i].carry;
    } else {
      flat[out++] = flat[i];
    }
  }
  flat.resize(out);
}

struct Flat {
  int32_t schema = 0;
  ResetHint hint = ResetHint::kUnknown;
  double zero_threshold = 0;
  FlatBucket zero;
  FlatBucket count;
  FlatBucket sum;
  FlatBuckets positive;
  FlatBuckets negative;
  std::vector<double> bounds;

  explicit Flat(const Histogram& histogram)
      : schema(histogram.schema),
        hint(histogram.reset_hint),
        zero_threshold(histogram.zero_threshold),
        zero{0, histogram.zero_count, 0},
        count{0, histogram.count, 0},
        sum{0, histogram.sum, 0},
        positive(Unpack(histogram.positive)),
        negative(Unpack(histogram.negative)),
        bounds(histogram.custom_bounds) {}

  bool custom() const { return schema == kCustomBucketsSchema; }

  Histogram ToHistogram() const {
    Histogram histogram;
    histogram.schema = schema;
    histogram.reset_hint = hint;
    histogram.zero_threshold = zero_threshold;
    histogram.zero_count = zero.value + zero.carry;
    histogram.count = count.value + count.carry;
    histogram.sum = sum.value + sum.carry;
    histogram.positive = Pack(positive);
    histogram.negative = Pack(negative);
    histogram.custom_bounds = bounds;
    return histogram;
  }

  template <typename Visitor>
  void ForEachCount(Visitor visit) {
    visit(zero);
    visit(count);
    visit(sum);
    for (FlatBucket& bucket : positive) visit(bucket);
    for (FlatBucket& bucket : negative) visit(bucket);
  }

  void Scale(double factor) {
    ForEachCount([&](FlatBucket& bucket) {
      bucket.value *= factor;
      bucket.carry *= factor;
    });
  }

  void Reduce(int32_t to_schema) {
    if (to_schema >= schema) return;
    const int levels = schema - to_schema;
    for (FlatBuckets* side : {&positive, &negative}) {
      for (FlatBucket& bucket : *side) bucket.index = CoarserIndex(bucket.index, levels);
      MergeEqual(*side);
    }
    schema = to_schema;
  }

  // The zero count if the threshold were `threshold`; `threshold` grows if it would cut a
  // populated bucket. REQUIRES: threshold >= zero_threshold.
  FlatBucket ZeroCountFor(double& threshold) const {
    if (threshold == zero_threshold) return zero;
    for (;;) {
      FlatBucket total = zero;
      const auto absorb = [&](const FlatBucket& bucket) {
        AddTo(bucket.value, total.value, total.carry);
        total.carry += bucket.carry;
      };
      for (const FlatBucket& bucket : positive) {
        if (ExponentialBound(schema, bucket.index - 1) >= threshold) break;
        absorb(bucket);
        const double upper = ExponentialBound(schema, bucket.index);
        if (upper > threshold) {
          if (bucket.value != 0) threshold = upper;
          break;
        }
      }
      bool again = false;
      for (const FlatBucket& bucket : negative) {
        if (ExponentialBound(schema, bucket.index - 1) >= threshold) break;
        absorb(bucket);
        const double upper = ExponentialBound(schema, bucket.index);
        if (upper > threshold) {
          if (bucket.value != 0) {
            threshold = upper;
            again = true;
          }
          break;
        }
      }
      if (!again) return total;
    }
  }

  void WidenZeroBucket(double threshold) {
    zero = ZeroCountFor(threshold);
    zero_threshold = threshold;
    for (FlatBuckets* side : {&positive, &negative}) {
      std::erase_if(*side, [&](const FlatBucket& bucket) {
        return ExponentialBound(schema, bucket.index - 1) < threshold;
      });
    }
  }

  // Drops the bounds that are not in `common`, a subset of ours.
  void MapToBounds(const std::vector<double>& common) {
    for (FlatBucket& bucket : positive) {
      const double upper = static_cast<size_t>(bucket.index) < bounds.size()
                               ? bounds[static_cast<size_t>(bucket.index)]
                               : std::numeric_limits<double>::infinity();
      bucket.index = static_cast<int32_t>(std::lower_bound(common.begin(), common.end(), upper) -
                                          common.begin());
    }
    MergeEqual(positive);
    bounds = common;
  }
};

// Adds `from`. Histograms of one metric mostly have the same buckets: then nothing moves.
void MergeBuckets(FlatBuckets& into, const FlatBuckets& from) {
  const auto same_index = [](const FlatBucket& a, const FlatBucket& b) {
    return a.index == b.index;
  };
  if (std::equal(into.begin(), into.end(), from.begin(), from.end(), same_index)) {
    for (size_t i = 0; i < into.size(); ++i) {
      AddTo(from[i].value, into[i].value, into[i].carry);
      into[i].carry += from[i].carry;
    }
    return;
  }
  FlatBuckets merged;
  merged.reserve(into.size() + from.size());
  size_t a = 0;
  size_t b = 0;
  while (a < into.size() || b < from.size()) {
    if (b == from.size() || (a < into.size() && into[a].index < from[b].index)) {
      merged.push_back(into[a++]);
    } else if (a == into.size() || from[b].index < into[a].index) {
      merged.push_back(from[b++]);
    } else {
      FlatBucket sum = into[a++];
      AddTo(from[b].value, sum.value, sum.carry);
      sum.carry += from[b++].carry;
      merged.push_back(sum);
    }
  }
  into = std::move(merged);
}

std::vector<double> CommonBounds(const std::vector<double>& a, const std::vector<double>& b) {
  std::vector<double> common;
  std::set_intersection(a.begin(), a.end(), b.begin(), b.end(), std::back_inserter(common));
  return common;
}

// The hint of a combination; `conflict` if a reset met "no reset".
ResetHint CombineHints(ResetHint a, ResetHint b, bool& conflict) {
  if (a == b) return a;
  if (a == ResetHint::kGauge || b == ResetHint::kGauge) return ResetHint::kGauge;
  if (a != ResetHint::kUnknown && b != ResetHint::kUnknown) conflict = true;
  return ResetHint::kUnknown;
}

void Combine(Flat& into, Flat other, HistogramMergeNotes& notes) {
  into.hint = CombineHints(into.hint, other.hint, notes.reset_hint_conflict);
  if (into.custom()) {
    if (into.bounds != other.bounds) {
      notes.bounds_reconciled = true;
      const std::vector<double> common = CommonBounds(into.bounds, other.bounds);
      into.MapToBounds(common);
      other.MapToBounds(common);
    }
  } else {
    while (into.zero_threshold != other.zero_threshold) {
      if (into.zero_threshold > other.zero_threshold) {
        other.WidenZeroBucket(into.zero_threshold);
      } else {
        into.WidenZeroBucket(other.zero_threshold);
      }
    }
    const int32_t schema = std::min(into.schema, other.schema);
    into.Reduce(schema);
    other.Reduce(schema);
  }
  const auto add = [](FlatBucket& total, const FlatBucket& value) {
    AddTo(value.value, total.value, total.carry);
    total.carry += value.carry;
  };
  add(into.zero, other.zero);
  add(into.count, other.count);
  add(into.sum, other.sum);
  MergeBuckets(into.positive, other.positive);
  MergeBuckets(into.negative, other.negative);
}

// Plain addition rounds once per count; the carries are for sums over many.
void DropCarries(Flat& flat) {
  flat.ForEachCount([](FlatBucket& bucket) { bucket.carry = 0; });
}

bool AnyInfinite(Flat& flat) {
  bool any = false;
  flat.ForEachCount([&](const FlatBucket& bucket) { any |= std::isinf(bucket.value); });
  return any;
}

// Whether adding two such counts can overflow.
bool AnyHuge(Flat& flat) {
  constexpr double kHuge = std::numeric_limits<double>::max() / 2;
  bool any = false;
  flat.ForEachCount([&](const FlatBucket& bucket) { any |= std::fabs(bucket.value) >= kHuge; });
  return any;
}

}  // namespace

bool Combinable(const Histogram& a, const Histogram& b) {
  return a.HasCustomBuckets() == b.HasCustomBuckets();
}

Histogram AddHistograms(const Histogram& a, const Histogram& b, HistogramMergeNotes& notes) {
  INVARIANT(Combinable(a, b));
  Flat sum(a);
  Combine(sum, Flat(b), notes);
  DropCarries(sum);
  return sum.ToHistogram();
}

Histogram SubtractHistograms(const Histogram& a, const Histogram& b, HistogramMergeNotes& notes) {
  INVARIANT(Combinable(a, b));
  Flat difference(a);
  Flat negated(b);
  negated.Scale(-1);
  Combine(difference, std::move(negated), notes);
  DropCarries(difference);
  return difference.ToHistogram();
}

Histogram MultiplyHistogram(const Histogram& histogram, double factor) {
  Flat product(histogram);
  product.Scale(factor);
  if (factor < 0) product.hint = ResetHint::kGauge;
  return product.ToHistogram();
}

Histogram DivideHistogram(const Histogram& histogram, double divisor) {
  Flat quotient(histogram);
  quotient.ForEachCount([&](FlatBucket& bucket) { bucket.value /= divisor; });
  if (divisor == 0) {
    quotient.positive.clear();
    quotient.negative.clear();
  }
  if (divisor < 0) quotient.hint = ResetHint::kGauge;
  return quotient.ToHistogram();
}

Histogram CompactHistogram(const Histogram& histogram) { return Flat(histogram).ToHistogram(); }

Histogram ReduceResolution(const Histogram& histogram, int32_t schema) {
  INVARIANT(!histogram.HasCustomBuckets() && schema <= histogram.schema);
  Flat reduced(histogram);
  reduced.Reduce(schema);
  DropCarries(reduced);
  return reduced.ToHistogram();
}

namespace {

// Whether a populated bucket of `previous` has fewer observations in `current`.
bool AnyBucketShrank(const FlatBuckets& current, const FlatBuckets& previous) {
  size_t c = 0;
  for (const FlatBucket& bucket : previous) {
    if (bucket.value == 0) continue;
    while (c < current.size() && current[c].index < bucket.index) ++c;
    if (c == current.size() || current[c].index != bucket.index) return true;
    if (current[c].value < bucket.value) return true;
  }
  return false;
}

}  // namespace

bool DetectHistogramReset(const Histogram& current, const Histogram& previous) {
  if (current.reset_hint == ResetHint::kReset) return true;
  if (current.reset_hint == ResetHint::kNotReset) return false;
  if (current.count < previous.count) return true;
  if (!Combinable(current, previous)) return true;
  Flat now(current);
  Flat before(previous);
  if (now.custom()) {
    if (now.bounds != before.bounds) {
      const std::vector<double> common = CommonBounds(now.bounds, before.bounds);
      now.MapToBounds(common);
      before.MapToBounds(common);
    }
    return AnyBucketShrank(now.positive, before.positive);
  }
  if (now.schema > before.schema) return true;
  if (now.zero_threshold < before.zero_threshold) return true;
  double threshold = now.zero_threshold;
  const FlatBucket zero = before.ZeroCountFor(threshold);
  if (threshold != now.zero_threshold) return true;
  if (now.zero.value < zero.value + zero.carry) return true;
  before.WidenZeroBucket(now.zero_threshold);
  before.Reduce(now.schema);
  return AnyBucketShrank(now.positive, before.positive) ||
         AnyBucketShrank(now.negative, before.negative);
}

bool SameHistogram(const Histogram& a, const Histogram& b) {
  Histogram left = CompactHistogram(a);
  Histogram right = CompactHistogram(b);
  left.reset_hint = right.reset_hint = ResetHint::kUnknown;
  return left == right;
}

// Once a count of the sum overflows, a running mean goes on beside it: the average of such a count
// is taken from there. Both always have the same buckets.
struct HistogramSum::State {
  Flat sum;
  std::optional<Flat> mean;
};

HistogramSum::HistogramSum() = default;
HistogramSum::~HistogramSum() = default;
HistogramSum::HistogramSum(HistogramSum&&) noexcept = default;
HistogramSum& HistogramSum::operator=(HistogramSum&&) noexcept = default;

bool HistogramSum::Add(const Histogram& histogram) {
  if (state_ != nullptr && state_->sum.custom() != histogram.HasCustomBuckets()) return false;
  reset_seen_ |= histogram.reset_hint == ResetHint::kReset;
  no_reset_seen_ |= histogram.reset_hint == ResetHint::kNotReset;
  ++count_;
  if (state_ == nullptr) {
    state_ = std::make_unique<State>(State{Flat(histogram), std::nullopt});
    return true;
  }
  HistogramMergeNotes notes;
  const double count = static_cast<double>(count_);
  Flat added(histogram);
  const bool may_overflow = !state_->mean.has_value() && (AnyHuge(state_->sum) || AnyHuge(added));
  std::optional<Flat> before;
  if (may_overflow) before = state_->sum;
  Combine(state_->sum, std::move(added), notes);
  if (may_overflow && AnyInfinite(state_->sum) && !AnyInfinite(*before)) {
    before->Scale(1 / (count - 1));
    state_->mean = std::move(before);
  }
  if (state_->mean.has_value()) {
    state_->mean->Scale((count - 1) / count);
    Flat part(histogram);
    part.Scale(1 / count);
    Combine(*state_->mean, std::move(part), notes);
  }
  notes_.bounds_reconciled |= notes.bounds_reconciled;
  notes_.reset_hint_conflict = reset_seen_ && no_reset_seen_;
  return true;
}

Histogram HistogramSum::Sum() const {
  INVARIANT(count_ > 0);
  return state_->sum.ToHistogram();
}

Histogram HistogramSum::Average() const {
  INVARIANT(count_ > 0);
  Flat average = state_->sum;
  const double n = static_cast<double>(count_);
  average.ForEachCount([&](FlatBucket& bucket) {
    bucket.value /= n;
    bucket.carry /= n;
  });
  if (state_->mean.has_value()) {
    std::vector<FlatBucket> means;
    state_->mean->ForEachCount([&](const FlatBucket& bucket) { means.push_back(bucket); });
    size_t next = 0;
    average.ForEachCount([&](FlatBucket& bucket) {
      const FlatBucket& mean = means[next++];
      if (std::isinf(bucket.value)) bucket = mean;
    });
  }
  return average.ToHistogram();
}

}  // namespace varve

// SPDX-License-Identifier: Apache-2.0
//
// Native histograms: checks, buckets and text.

#include "model/histogram.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>

#include "model/check.h"
#include "model/exponential_bounds.h"
#include "model/sample.h"
#include "model/status_macros.h"
#include "model/time.h"

namespace varve {
namespace {

bool SameBits(double a, double b) {
  return std::bit_cast<uint64_t>(a) == std::bit_cast<uint64_t>(b);
}

bool SameBits(const std::vector<double>& a, const std::vector<double>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](double x, double y) { return SameBits(x, y); });
}

bool SameBits(const Buckets& a, const Buckets& b) {
  return a.spans == b.spans && SameBits(a.counts, b.counts);
}

absl::Status CheckSpans(const Buckets& buckets, std::string_view side) {
  uint64_t total = 0;
  for (size_t i = 0; i < buckets.spans.size(); ++i) {
    if (i > 0 && buckets.spans[i].offset < 0) {
      return absl::InvalidArgumentError(
          fmt::format("{} side: span number {} with offset {}: "
                      "histogram has a span whose offset is negative",
                      side, i + 1, buckets.spans[i].offset));
    }
    total += buckets.spans[i].length;
  }
  if (total != buckets.counts.size()) {
    return absl::InvalidArgumentError(
        fmt::format("{} side: spans need {} buckets, have {} buckets: histogram spans specify "
                    "different number of buckets than provided",
                    side, total, buckets.counts.size()));
  }
  if (total > kHistogramBucketsMax) {
    return absl::InvalidArgumentError(fmt::format("{} side: {} buckets exceed the limit of {}",
                                                  side, total, kHistogramBucketsMax));
  }
  for (size_t i = 0; i < buckets.counts.size(); ++i) {
    if (buckets.counts[i] < 0) {
      return absl::InvalidArgumentError(
          fmt::format("{} side: bucket number {} has observation count of {}: histogram has a "
                      "bucket whose observation count is negative",
                      side, i + 1, FormatFloat(buckets.counts[i])));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckCustomBounds(const Histogram& h) {
  if (!h.negative.spans.empty() || !h.negative.counts.empty() || h.zero_count != 0 ||
      h.zero_threshold != 0) {
    return absl::InvalidArgumentError(
        "custom buckets: must not have a zero bucket or negative buckets");
  }
  for (size_t i = 0; i < h.custom_bounds.size(); ++i) {
    if (!std::isfinite(h.custom_bounds[i])) {
      return absl::InvalidArgumentError("histogram custom bounds must be finite");
    }
    if (i > 0 && h.custom_bounds[i] <= h.custom_bounds[i - 1]) {
      return absl::InvalidArgumentError(
          "histogram custom bounds must be in strictly increasing order");
    }
  }
  int64_t end = 0;
  for (const Span& span : h.positive.spans) {
    if (&span == &h.positive.spans.front() && span.offset < 0) {
      return absl::InvalidArgumentError("custom buckets: the first span starts below bucket 0");
    }
    end += int64_t{span.offset} + span.length;
  }
  if (end > static_cast<int64_t>(h.custom_bounds.size()) + 1) {
    return absl::InvalidArgumentError(
        fmt::format("histogram with custom buckets has {} bounds, its spans reach bucket {}",
                    h.custom_bounds.size(), end));
  }
  return absl::OkStatus();
}

// The largest bucket index of a schema whose bound is still finite, plus one.
int64_t IndexMax(int32_t schema) {
  return schema >= 0 ? int64_t{1024} << schema : (int64_t{1024} >> -schema);
}

double BoundOf(const Histogram& h, int32_t index) {
  if (!h.HasCustomBuckets()) return ExponentialBound(h.schema, index);
  if (index < 0) return -INFINITY;
  if (static_cast<size_t>(index) >= h.custom_bounds.size()) return INFINITY;
  return h.custom_bounds[static_cast<size_t>(index)];
}

}  // namespace

bool operator==(const Histogram& a, const Histogram& b) {
  return a.schema == b.schema && a.reset_hint == b.reset_hint &&
         SameBits(a.zero_threshold, b.zero_threshold) && SameBits(a.zero_count, b.zero_count) &&
         SameBits(a.count, b.count) && SameBits(a.sum, b.sum) && SameBits(a.positive, b.positive) &&
         SameBits(a.negative, b.negative) && SameBits(a.custom_bounds, b.custom_bounds);
}

bool Histogram::IsStale() const { return IsStaleNan(sum); }

absl::Status Histogram::Validate() const {
  const bool exponential = schema >= kExponentialSchemaMin && schema <= kExponentialSchemaMax;
  if (!exponential && !HasCustomBuckets()) {
    return absl::InvalidArgumentError(fmt::format(
        "histogram has an invalid schema, which must be between -4 and 8 for exponential buckets, "
        "or -53 for custom buckets, got schema {}",
        schema));
  }
  RETURN_IF_ERROR(CheckSpans(positive, "positive"));
  RETURN_IF_ERROR(CheckSpans(negative, "negative"));
  if (HasCustomBuckets()) return CheckCustomBounds(*this);
  if (!custom_bounds.empty()) {
    return absl::InvalidArgumentError(
        "histogram with exponential schema must not have custom bounds");
  }
  for (const Buckets* side : {&positive, &negative}) {
    int64_t index = 0;
    for (const Span& span : side->spans) {
      index += span.offset;
      const int64_t last = index + span.length;
      if (index < -2 * IndexMax(8) || last > 2 * IndexMax(8)) {
        return absl::InvalidArgumentError(
            fmt::format("histogram has a bucket index out of range near {}", index));
      }
      index = last;
    }
  }
  return absl::OkStatus();
}

double ExponentialBound(int32_t schema, int32_t index) {
  if (schema < 0) {
    // 2^(index * 2^-schema), exact as a power of two.
    const int64_t exponent = int64_t{index} * (int64_t{1} << -schema);
    // The bucket that holds the largest float must not end at +Inf before it.
    if (exponent == 1024) return std::numeric_limits<double>::max();
    if (exponent > 1024) return INFINITY;
    return std::ldexp(1.0, static_cast<int>(std::max<int64_t>(exponent, -2000)));
  }
  const int32_t steps = 1 << schema;
  const int32_t fraction = index & (steps - 1);
  const int32_t exponent = index >> schema;
  if (exponent == 1024 && fraction == 0) return std::numeric_limits<double>::max();
  const double mantissa = kExponentialBounds[static_cast<size_t>(fraction) << (8 - schema)];
  return std::ldexp(mantissa, exponent + 1);
}

std::vector<BucketView> Histogram::AllBuckets() const {
  std::vector<BucketView> result;
  negative.ForEach([&](int32_t index, double count) {
    if (count == 0) return;
    result.push_back({-BoundOf(*this, index), -BoundOf(*this, index - 1), true, false, count});
  });
  std::reverse(result.begin(), result.end());
  if (zero_count != 0) {
    result.push_back({-zero_threshold, zero_threshold, true, true, zero_count});
  }
  positive.ForEach([&](int32_t index, double count) {
    if (count == 0) return;
    const double lower = BoundOf(*this, index - 1);
    // A custom bucket from -Inf includes it.
    const bool lower_inclusive = HasCustomBuckets() && std::isinf(lower) && lower < 0;
    result.push_back({lower, BoundOf(*this, index), lower_inclusive, true, count});
  });
  return result;
}

std::string Histogram::ToString() const {
  std::string out = fmt::format("{{count:{}, sum:{}", FormatShort(count), FormatShort(sum));
  for (const BucketView& bucket : AllBuckets()) {
    out += fmt::format(", {}{},{}{}:{}", bucket.lower_inclusive ? '[' : '(',
                       FormatShort(bucket.lower), FormatShort(bucket.upper),
                       bucket.upper_inclusive ? ']' : ')', FormatShort(bucket.count));
  }
  out.push_back('}');
  return out;
}

size_t Histogram::MemoryBytes() const {
  return sizeof(Histogram) +
         (positive.spans.capacity() + negative.spans.capacity()) * sizeof(Span) +
         (positive.counts.capacity() + negative.counts.capacity() + custom_bounds.capacity()) *
             sizeof(double);
}

}  // namespace varve

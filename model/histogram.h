// SPDX-License-Identifier: Apache-2.0
//
// Native histograms. One type serves integer and float histograms: counts are doubles (integers up
// to 2^53 are exact) and `integer_counts` remembers that they came as integers, so that storage
// may encode them so and protocols may give them back so.
//
// Buckets are sparse: spans say which bucket indexes are present, counts are absolute (not deltas).
// Schemas -4..8 are exponential: bucket i covers (2^((i-1)/2^schema), 2^(i/2^schema)]. Schema -53
// has custom bounds: bucket i covers (custom_bounds[i-1], custom_bounds[i]], the first starts at
// -Inf and one past the last bound ends at +Inf.
#pragma once

#include <absl/status/status.h>

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

namespace varve {

inline constexpr int32_t kCustomBucketsSchema = -53;
inline constexpr int32_t kExponentialSchemaMin = -4;
inline constexpr int32_t kExponentialSchemaMax = 8;

// Buckets a histogram may have at all, over every producer.
inline constexpr size_t kHistogramBucketsMax = 65536;

enum class ResetHint : uint8_t { kUnknown = 0, kReset = 1, kNotReset = 2, kGauge = 3 };

struct Span {
  int32_t offset = 0;  // Gap to the previous span; the first span's is the start index.
  uint32_t length = 0;
  friend bool operator==(const Span&, const Span&) = default;
};

// One side of a histogram: bucket indexes and counts.
struct Buckets {
  std::vector<Span> spans;
  std::vector<double> counts;  // As many as the spans' lengths add up to.
  friend bool operator==(const Buckets&, const Buckets&) = default;

  // Calls visit(index, count) for every bucket, empty ones in spans included, indexes rising.
  template <typename Visitor>
  void ForEach(Visitor visit) const {
    int32_t index = 0;
    size_t next = 0;
    for (const Span& span : spans) {
      index += span.offset;
      for (uint32_t i = 0; i < span.length; ++i) visit(index++, counts[next++]);
    }
  }
};

// A bucket with its bounds, as queries and JSON show it.
struct BucketView {
  double lower = 0;
  double upper = 0;
  bool lower_inclusive = false;
  bool upper_inclusive = false;
  double count = 0;
};

struct Histogram {
  int32_t schema = 0;
  ResetHint reset_hint = ResetHint::kUnknown;
  bool integer_counts = false;
  double zero_threshold = 0;
  double zero_count = 0;
  double count = 0;
  double sum = 0;  // StaleNan() marks a stale histogram.
  Buckets positive;
  Buckets negative;
  std::vector<double> custom_bounds;  // Only with kCustomBucketsSchema; finite, rising.

  // Bit-exact in every field but integer_counts (NaNs compare by bits).
  friend bool operator==(const Histogram& a, const Histogram& b);

  bool IsStale() const;
  bool HasCustomBuckets() const { return schema == kCustomBucketsSchema; }

  // InvalidArgument naming what is wrong: spans against counts, negative counts, bounds, schema,
  // more than kHistogramBucketsMax buckets.
  absl::Status Validate() const;

  // All non-empty buckets from lowest to highest, the zero bucket in between.
  std::vector<BucketView> AllBuckets() const;

  // `{count:2, sum:1, [-1,1]:1, (1,2]:1}`, as Prometheus prints a float histogram.
  std::string ToString() const;

  // Memory taken, in bytes, for query limits.
  size_t MemoryBytes() const;
};

// Upper bound of bucket `index` of an exponential schema.
double ExponentialBound(int32_t schema, int32_t index);

}  // namespace varve

// SPDX-License-Identifier: Apache-2.0
//
// Native histograms: bounds, buckets, text, validation.

#include "model/histogram.h"

#include <doctest/doctest.h>

#include <cmath>

#include "model/sample.h"
#include "model/time.h"

namespace varve {
namespace {

Histogram Example() {
  Histogram h;
  h.count = 9;
  h.sum = 18.4;
  h.zero_threshold = 0.001;
  h.zero_count = 2;
  h.positive = {{{0, 2}, {1, 1}}, {1, 2, 1}};
  h.negative = {{{0, 1}, {2, 1}}, {1, 2}};
  return h;
}

TEST_CASE("histogram: exponential bounds") {
  CHECK(ExponentialBound(0, 0) == 1);
  CHECK(ExponentialBound(0, 3) == 8);
  CHECK(ExponentialBound(0, -1) == 0.5);
  CHECK(ExponentialBound(1, 1) == doctest::Approx(std::sqrt(2)));
  // The correctly rounded bound would print as 0.7071067811865476.
  CHECK(FormatFloat(ExponentialBound(1, -1)) == "0.7071067811865475");
  CHECK(ExponentialBound(8, -256) == 0.5);
  CHECK(ExponentialBound(-1, 1) == 4);
  CHECK(ExponentialBound(-4, -2) == std::ldexp(1.0, -32));
  CHECK(ExponentialBound(0, 1024) == std::numeric_limits<double>::max());
  CHECK(std::isinf(ExponentialBound(0, 1025)));
  CHECK(std::isinf(ExponentialBound(-4, 65)));
}

TEST_CASE("histogram: buckets from lowest to highest, and their text") {
  const Histogram h = Example();
  CHECK(h.Validate().ok());
  CHECK(h.ToString() ==
        "{count:9, sum:18.4, [-8,-4):2, [-1,-0.5):1, [-0.001,0.001]:2, (0.5,1]:1, (1,2]:2, "
        "(4,8]:1}");
}

TEST_CASE("histogram: custom bounds reach from -Inf to +Inf") {
  Histogram h;
  h.schema = kCustomBucketsSchema;
  h.custom_bounds = {1, 2};
  h.positive = {{{0, 3}}, {1, 0, 4}};
  h.count = 5;
  CHECK(h.Validate().ok());
  CHECK(h.ToString() == "{count:5, sum:0, [-Inf,1]:1, (2,+Inf]:4}");
  h.positive.spans[0].length = 4;
  h.positive.counts.push_back(1);
  CHECK_FALSE(h.Validate().ok());
}

TEST_CASE("histogram: validation names what is wrong") {
  Histogram h = Example();
  h.positive.counts.pop_back();
  CHECK(h.Validate().message() ==
        "positive side: spans need 3 buckets, have 2 buckets: histogram spans specify different "
        "number of buckets than provided");
  h = Example();
  h.negative.counts[1] = -1;
  CHECK(h.Validate().message() ==
        "negative side: bucket number 2 has observation count of -1: histogram has a bucket whose "
        "observation count is negative");
  h = Example();
  h.positive.spans[1].offset = -1;
  CHECK_FALSE(h.Validate().ok());
  h = Example();
  h.schema = 9;
  CHECK_FALSE(h.Validate().ok());
  h = Example();
  h.custom_bounds = {1};
  CHECK_FALSE(h.Validate().ok());
  h = Histogram();
  h.schema = kCustomBucketsSchema;
  h.custom_bounds = {2, 1};
  CHECK_FALSE(h.Validate().ok());
  h = Histogram();
  h.positive = {{{0, kHistogramBucketsMax + 1}},
                std::vector<double>(kHistogramBucketsMax + 1, 1.0)};
  CHECK_FALSE(h.Validate().ok());
}

TEST_CASE("histogram: equality is by bits, the integer mark aside") {
  Histogram a = Example();
  Histogram b = Example();
  b.integer_counts = true;
  CHECK(a == b);
  a.sum = StaleNan();
  CHECK(a.IsStale());
  b.sum = NormalNan();
  CHECK_FALSE(a == b);
  b.sum = StaleNan();
  CHECK(a == b);
  b.zero_count = -0.0;
  a.zero_count = 0.0;
  CHECK_FALSE(a == b);
}

}  // namespace
}  // namespace varve

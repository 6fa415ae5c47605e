// SPDX-License-Identifier: Apache-2.0
//
// Floats at the steps of a grid are the same samples as in a list.
#include "model/float_samples.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <random>

namespace varve {
namespace {

void CheckSame(const FloatSamples& samples, const std::vector<FloatSample>& expected) {
  CHECK(samples.size() == expected.size());
  CHECK(samples.empty() == expected.empty());
  size_t at = 0;
  for (const FloatSample& sample : samples) {
    REQUIRE(at < expected.size());
    CHECK(sample.time == expected[at].time);
    CHECK(sample.value == expected[at].value);
    CHECK(samples[at].time == expected[at].time);
    CHECK(samples[at].value == expected[at].value);
    const auto found =
        std::lower_bound(samples.begin(), samples.end(), sample.time,
                         [](const FloatSample& a, TimestampMs time) { return a.time < time; });
    REQUIRE(found != samples.end());
    CHECK(found->value == expected[at].value);
    ++at;
  }
  CHECK(at == expected.size());
  at = 0;
  samples.Visit([&](const FloatSample& sample) {
    REQUIRE(at < expected.size());
    CHECK(sample.time == expected[at].time);
    CHECK(sample.value == expected[at++].value);
  });
  CHECK(at == expected.size());
}

TEST_CASE("float samples: a list, and the steps of a grid") {
  CheckSame({}, {});
  CheckSame(std::vector<FloatSample>{{1, 2}, {5, 3}}, {{1, 2}, {5, 3}});
  std::mt19937_64 random(1);
  for (const size_t steps : {1, 63, 64, 65, 128, 200}) {
    for (const uint64_t share : {1, 2, 40}) {  // One of so many steps has a value.
      std::vector<double> values;
      std::vector<uint64_t> present((steps + 63) / 64);
      std::vector<FloatSample> expected;
      for (size_t i = 0; i < steps; ++i) {
        values.push_back(static_cast<double>(random() % 1000));
        // The last one at least.
        if (random() % share != 0 && i + 1 < steps) continue;
        present[i / 64] |= uint64_t{1} << i % 64;
        expected.push_back({-700 + static_cast<TimestampMs>(i) * 15, values.back()});
      }
      const FloatSamples samples(-700, 15, std::move(values), std::move(present));
      CheckSame(samples, expected);
      CheckSame(FloatSamples(samples), expected);
    }
  }
}

}  // namespace
}  // namespace varve

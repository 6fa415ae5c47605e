// SPDX-License-Identifier: Apache-2.0
//
// What is worked on in blocks of steps (windows of regular samples, extrapolation, sums, picks) or
// taken on from step to step (quantiles) gives what one step alone gives, to the last digit: long
// ranges over regular series with what breaks blocks up here and there.
#include <doctest/doctest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "model/clock.h"
#include "promql/engine.h"
#include "tests/memory_storage.h"
#include "tests/promql/query_generator.h"

namespace varve::promql {
namespace {

constexpr size_t kSteps = 64 * 3 + 17;
constexpr DurationMs kInterval = 15 * kSecond;
constexpr size_t kSamples = kSteps * 4 + 100;

class SteadySeries {
 public:
  explicit SteadySeries(uint64_t seed) : random_(seed) {}

  // Series of one kind of trouble each, none of which comes often.
  void Fill(MemoryStorage& storage) {
    for (const char* trouble : {"none", "gap", "reset", "late", "stale", "huge", "nan", "tie",
                                "sign", "spike", "wide", "zero", "same"}) {
      for (const char* inst : {"1", "2", "3"}) {
        FillSeries(storage, trouble,
                   Labels::Of({{kMetricName, "x_total"}, {"inst", inst}, {"kind", trouble}}));
      }
    }
  }

 private:
  size_t Below(size_t bound) {
    return std::uniform_int_distribution<size_t>(0, bound - 1)(random_);
  }

  void FillSeries(MemoryStorage& storage, std::string_view trouble, const Labels& labels) {
    // One series in two begins so low that extrapolation stops at zero.
    double value = Below(2) == 0 ? 0 : static_cast<double>(Below(1'000'000)) / 3;
    // How far values differ decides whether sums of windows need compensation value by value.
    const size_t wide = Below(36) + 1;
    for (size_t i = 0; i < kSamples; ++i) {
      const bool now = Below(97) == 0;
      TimestampMs time = static_cast<TimestampMs>(i) * kInterval;
      value += static_cast<double>(Below(100)) / 7;
      double shown = value;
      if (now && trouble == "gap") {
        i += Below(40);
        continue;
      }
      if (now && trouble == "reset") shown = value = 0;
      if (now && trouble == "late") time += static_cast<TimestampMs>(Below(14'999));
      if (now && trouble == "stale") shown = StaleNan();
      if (now && trouble == "huge") shown = Below(2) == 0 ? 1.7e308 : INFINITY;
      if (now && trouble == "nan") shown = NormalNan();
      if (trouble == "spike") shown = static_cast<double>(Below(100)) / (now ? 7e-9 : 7);
      if (now && trouble == "sign") shown = -value;
      if (trouble == "wide") {
        shown =
            std::ldexp(static_cast<double>(Below(1 << 20) + 1) / 7, -static_cast<int>(Below(wide)));
        if (Below(3) == 0) shown = -shown;
      }
      if (trouble == "zero") shown = now ? -1 : Below(2) == 0 ? -0.0 : 0.0;
      if (trouble == "same") shown = 1 / 7.0;
      if (trouble == "tie") shown = static_cast<double>(Below(3));
      storage.AddFloat(labels, time, shown);
    }
  }

  std::mt19937_64 random_;
};

TEST_CASE("engine: steps in blocks give what each gives alone") {
  const uint64_t seed = TestSeed();
  MESSAGE("TEST_SEED=" << seed);
  Engine engine(EngineOptions(), RealClock());
  for (int round = 0; round < TestRounds(2); ++round) {
    MemoryStorage storage;
    SteadySeries(seed + static_cast<uint64_t>(round)).Fill(storage);
    for (const DurationMs step : {15 * kSecond, kMinute, 47 * kSecond}) {
      for (const std::string query :
           {"x_total",
            "rate(x_total[5m])",
            "increase(x_total[1m])",
            "delta(x_total[2m])",
            "sum by (kind) (rate(x_total[5m]))",
            "sum(x_total)",
            "avg(x_total)",
            "avg by (inst) (x_total)",
            "avg_over_time(x_total[5m])",
            "sum_over_time(x_total[5m])",
            "avg_over_time(x_total[1h])",
            "sum_over_time(x_total[1h])",
            "max_over_time(x_total[5m])",
            "max_over_time(x_total[40m])",
            "min_over_time(x_total[10m])",
            "topk(3, x_total)",
            "bottomk by (kind) (2, x_total)",
            "topk(2, rate(x_total[5m]))",
            "bottomk(4, rate(x_total[5m]))",
            "topk(16, x_total)",
            "bottomk(17, x_total)",
            "topk(scalar(count(x_total)) % 4, x_total)",
            "x_total offset 90s",
            "rate(x_total[5m] offset -30s)",
            "quantile_over_time(0.95, x_total{kind!=\"zero\"}[1h])",
            "quantile_over_time(0.5, x_total{kind!=\"zero\"}[30m])",
            "quantile_over_time(0, x_total{kind!=\"zero\"}[40m])",
            "quantile_over_time(1, x_total{kind!=\"zero\"}[40m])",
            "quantile_over_time(0.01, x_total{kind!=\"zero\"}[2m])",
            "quantile_over_time(scalar(count(x_total)) % 3 / 2, x_total{kind!=\"zero\"}[50m])"}) {
        CAPTURE(query);
        CAPTURE(step);
        const TimestampMs end = static_cast<TimestampMs>(kSteps - 1) * step;
        const auto range = engine.Range(storage, query, 0, end, step);
        REQUIRE(range.ok());
        size_t shown = 0;
        for (const MatrixSeries& series : std::get<Matrix>(range->value)) {
          shown += series.floats.size();
        }
        for (TimestampMs time = 0; time <= end; time += step) {
          CAPTURE(time);
          const auto instant = engine.Instant(storage, query, time);
          REQUIRE(instant.ok());
          const auto& samples = std::get<Vector>(instant->value);
          shown -= samples.size();
          for (const VectorSample& sample : samples) {
            CAPTURE(sample.labels.ToString());
            bool found = false;
            for (const MatrixSeries& series : std::get<Matrix>(range->value)) {
              if (series.labels != sample.labels) continue;
              const auto at = std::lower_bound(
                  series.floats.begin(), series.floats.end(), time,
                  [](const FloatSample& a, TimestampMs wanted) { return a.time < wanted; });
              REQUIRE(at != series.floats.end());
              REQUIRE(at->time == time);
              found = true;
              const bool both_nan = std::isnan(at->value) && std::isnan(sample.value);
              if (!both_nan) {
                CHECK(std::bit_cast<uint64_t>(at->value) == std::bit_cast<uint64_t>(sample.value));
              }
            }
            CHECK(found);
          }
        }
        CHECK(shown == 0);  // Nothing at other steps.
      }
    }
  }
}

}  // namespace
}  // namespace varve::promql

// SPDX-License-Identifier: Apache-2.0
//
// Goal: a range query is nothing but one instant query per step.
// Method: random data (gaps, staleness, resets, NaN, histograms) and random queries from a seed;
// the range query's result, step by step, must be what instant queries give (to ten digits: the
// order of addition within a group may differ). Sliding windows, merged series, broadcast `@` parts
// and per-step matching all take part. Where one instant query fails, the range query must fail,
// and only there.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <cmath>
#include <cstdlib>
#include <map>
#include <random>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "model/clock.h"
#include "model/status_macros.h"
#include "promql/engine.h"
#include "tests/memory_storage.h"

namespace varve::promql {
namespace {

constexpr DurationMs kStep = 45 * kSecond;
constexpr int kSteps = 14;

uint64_t Seed() {
  const char* seed = std::getenv("TEST_SEED");
  return seed != nullptr ? std::strtoull(seed, nullptr, 10) : 20261122;
}

class Generator {
 public:
  explicit Generator(uint64_t seed) : random_(seed) {}

  size_t Below(size_t bound) {
    return std::uniform_int_distribution<size_t>(0, bound - 1)(random_);
  }
  bool Chance(int percent) { return Below(100) < static_cast<size_t>(percent); }
  template <typename T, size_t N>
  const T& Pick(const T (&items)[N]) {
    return items[Below(N)];
  }

  void Fill(MemoryStorage& storage) {
    for (const char* name : {"a_total", "b", "h", "mix"}) {
      for (const char* job : {"x", "y"}) {
        for (const char* inst : {"1", "2", "3"}) {
          if (Chance(85)) FillSeries(storage, name, job, inst);
        }
      }
    }
  }

  std::string Vector(int depth) {
    if (depth == 0 || Chance(15)) return Selector() + Modifiers();
    switch (Below(9)) {
      case 0:
        return RangeCall(depth);
      case 1: {
        static constexpr const char* kNames[] = {
            "abs",           "-",         "ceil", "sgn",   "histogram_count",
            "histogram_sum", "timestamp", "sqrt", "absent"};
        const std::string name = Pick(kNames);
        return fmt::format("{}({})", name, Vector(depth - 1));
      }
      case 2: {
        static constexpr const char* kOps[] = {"sum",   "avg",    "min",   "max",
                                               "count", "stddev", "group", "stdvar"};
        return fmt::format("{}{} ({})", Pick(kOps), Grouping(), Vector(depth - 1));
      }
      case 3: {
        static constexpr const char* kOps[] = {"topk", "bottomk", "quantile", "limit_ratio"};
        // limitk picks by input order, which instant queries change by topk and bottomk.
        if (Chance(20)) return fmt::format("limitk{} (2, {})", Grouping(), Selector());
        const std::string op = Pick(kOps);
        const std::string param = op == "quantile" || op == "limit_ratio" ? "0.4" : "2";
        return fmt::format("{}{} ({}, {})", op, Grouping(), param, Vector(depth - 1));
      }
      case 4: {
        static constexpr const char* kOps[] = {"+", "-", "*", "/", "%", ">", "<=", "== bool", "!="};
        return fmt::format("({} {} {})", Vector(depth - 1), Pick(kOps), Scalar(depth - 1));
      }
      case 5: {
        static constexpr const char* kOps[] = {"+", "-", "*", "/", ">", ">= bool", "=="};
        static constexpr const char* kMatching[] = {"",
                                                    "on (job, inst)",
                                                    "ignoring (inst)",
                                                    "on (job) group_left ()",
                                                    "on (job) group_right (inst)",
                                                    "ignoring (inst) group_left (inst)"};
        return fmt::format("({} {} {} {})", Vector(depth - 1), Pick(kOps), Pick(kMatching),
                           Vector(depth - 1));
      }
      case 6: {
        static constexpr const char* kOps[] = {"and", "or", "unless", "or on (job)",
                                               "and on (inst)"};
        return fmt::format("({} {} {})", Vector(depth - 1), Pick(kOps), Vector(depth - 1));
      }
      case 7:
        return fmt::format("label_replace({}, \"inst\", \"{}\", \"inst\", \"(.)\")",
                           Vector(depth - 1), Chance(50) ? "$1-$1" : "same");
      default:
        return fmt::format("histogram_quantile({}, {})", Chance(50) ? "0.9" : "0.1",
                           Vector(depth - 1));
    }
  }

 private:
  void FillSeries(MemoryStorage& storage, const std::string& name, const char* job,
                  const char* inst) {
    const Labels labels = Labels::Of({{kMetricName, name}, {"job", job}, {"inst", inst}});
    double value = static_cast<double>(Below(50));
    Histogram histogram;
    histogram.schema = Chance(20) ? 1 : 0;
    histogram.positive.spans = {{0, 3}};
    histogram.positive.counts = {1, 2, 1};
    histogram.count = 4;
    histogram.sum = 5;
    for (TimestampMs time = 0; time < (kSteps + 8) * kStep; time += 15 * kSecond) {
      if (Chance(20)) continue;
      if (Chance(4)) {
        storage.AddFloat(labels, time, StaleNan());
        continue;
      }
      if (name == "h" || (name == "mix" && Chance(50))) {
        if (Chance(5)) histogram.positive.counts = {0, 1, 0}, histogram.count = 1;
        for (double& count : histogram.positive.counts) {
          const double more = static_cast<double>(Below(3));
          count += more;
          histogram.count += more;
        }
        histogram.sum += static_cast<double>(Below(9));
        storage.AddHistogram(labels, time, histogram);
        continue;
      }
      value = name == "a_total" ? (Chance(6) ? 0 : value + static_cast<double>(Below(7)))
                                : static_cast<double>(Below(40)) / 4;
      storage.AddFloat(labels, time, Chance(2) ? NormalNan() : value);
    }
  }

  std::string Selector() {
    static constexpr const char* kSelectors[] = {"a_total",
                                                 "b",
                                                 "h",
                                                 "mix",
                                                 "a_total{job=\"x\"}",
                                                 "b{inst!=\"1\"}",
                                                 "{__name__=~\"b|mix\"}"};
    return Pick(kSelectors);
  }

  std::string Modifiers() {
    static constexpr const char* kModifiers[] = {" offset 40s", " @ 300", " @ 300 offset -1m",
                                                 " offset -20s"};
    return Chance(25) ? Pick(kModifiers) : "";
  }

  std::string Grouping() {
    static constexpr const char* kGroupings[] = {
        "",           " by (job)",       " without (inst)",
        " by (inst)", " by (job, inst)", " without (job, none)"};
    return Pick(kGroupings);
  }

  std::string Scalar(int depth) {
    if (depth > 0 && Chance(30)) return fmt::format("scalar({})", Vector(depth - 1));
    static constexpr const char* kScalars[] = {"2", "0", "time()", "-1.5", "NaN"};
    return Pick(kScalars);
  }

  std::string RangeCall(int depth) {
    static constexpr const char* kNames[] = {"rate",
                                             "increase",
                                             "delta",
                                             "irate",
                                             "idelta",
                                             "changes",
                                             "resets",
                                             "deriv",
                                             "sum_over_time",
                                             "avg_over_time",
                                             "min_over_time",
                                             "max_over_time",
                                             "last_over_time",
                                             "first_over_time",
                                             "stddev_over_time",
                                             "count_over_time",
                                             "present_over_time",
                                             "mad_over_time",
                                             "ts_of_max_over_time",
                                             "absent_over_time"};
    static constexpr const char* kRanges[] = {"1m", "2m30s", "5m"};
    const std::string name = Pick(kNames);
    if (Chance(30)) {
      return fmt::format("{}(({})[{}:{}]{})", name, Vector(depth - 1), Pick(kRanges),
                         Chance(50) ? "20s" : "1m", Modifiers());
    }
    return fmt::format("{}({}[{}]{})", name, Selector(), Pick(kRanges), Modifiers());
  }

  std::mt19937_64 random_;
};

// One sample as text.
std::string SampleText(double value, const Histogram* histogram) {
  if (histogram != nullptr) {
    std::string text = fmt::format(
        "H{} {:x} {:x} {:x}", histogram->schema, std::bit_cast<uint64_t>(histogram->count),
        std::bit_cast<uint64_t>(histogram->sum), std::bit_cast<uint64_t>(histogram->zero_count));
    for (const Buckets* side : {&histogram->positive, &histogram->negative}) {
      side->ForEach(
          [&](int32_t index, double count) { text += fmt::format(" {}:{:.10g}", index, count); });
      text += " |";
    }
    return text;
  }
  if (std::isnan(value)) return "NaN";
  return fmt::format("{:.10g}", value);
}

using Step = std::map<std::string, std::string>;

TEST_CASE("engine: a range query is one instant query per step") {
  const uint64_t seed = Seed();
  MESSAGE("TEST_SEED=" << seed);
  Generator generator(seed);
  size_t compared = 0;
  for (int round = 0; round < 12; ++round) {
    MemoryStorage storage;
    generator.Fill(storage);
    for (int i = 0; i < 120; ++i) {
      const std::string query = generator.Vector(3);
      CAPTURE(query);
      EngineOptions options;
      options.features.experimental_functions = true;

      Engine engine(options, RealClock());
      const auto range = engine.Range(storage, query, 0, (kSteps - 1) * kStep, kStep);
      std::vector<Step> by_step(kSteps);
      if (range.ok()) {
        for (const MatrixSeries& series : std::get<Matrix>(range->value)) {
          for (const FloatSample& sample : series.floats) {
            by_step[static_cast<size_t>(sample.time / kStep)][series.labels.ToString()] =
                SampleText(sample.value, nullptr);
          }
          for (const HistogramSample& sample : series.histograms) {
            by_step[static_cast<size_t>(sample.time / kStep)][series.labels.ToString()] =
                SampleText(0, sample.histogram.get());
          }
        }
      } else {
        CAPTURE(MessageOf(range.status()));
        REQUIRE(QueryErrorTypeOf(range.status()) == QueryErrorType::kExecution);
      }
      bool any_failed = false;
      for (int step = 0; step < kSteps; ++step) {
        CAPTURE(step);
        const auto instant = engine.Instant(storage, query, step * kStep);
        if (!instant.ok()) {
          any_failed = true;
          continue;
        }
        Step got;
        for (const VectorSample& sample : std::get<promql::Vector>(instant->value)) {
          got[sample.labels.ToString()] = SampleText(sample.value, sample.histogram.get());
        }
        if (range.ok()) {
          CHECK(got == by_step[static_cast<size_t>(step)]);
          compared += got.size();
        }
      }
      CHECK(any_failed == !range.ok());
    }
  }
  CHECK(compared > 10'000);
}

}  // namespace
}  // namespace varve::promql

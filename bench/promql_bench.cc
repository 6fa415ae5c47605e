// SPDX-License-Identifier: Apache-2.0
//
// One query per operator over a day of samples in memory, so that nothing but the engine is
// measured. The argument is the number of series; items are samples read, so that cost which grows
// faster than series x samples shows as falling items per second.
//
// The cases scale/SERIES/HOURS run two queries over samples that are made up while they are read,
// at 1,440 steps; their cost includes making them up.
//
//   promql_bench --benchmark_filter='rate/1000'
#include <benchmark/benchmark.h>

#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "model/clock.h"
#include "promql/engine.h"
#include "tests/memory_storage.h"

namespace varve::promql {
namespace {

constexpr DurationMs kInterval = 15 * kSecond;
constexpr int kSamples = static_cast<int>(kDay / kInterval);

// Counters that rise by thirds, reset once in a while, in 10 groups.
const MemoryStorage& Storage(int series) {
  static auto& storages = *new std::map<int, std::unique_ptr<MemoryStorage>>;
  std::unique_ptr<MemoryStorage>& storage = storages[series];
  if (storage != nullptr) return *storage;
  storage = std::make_unique<MemoryStorage>();
  for (int s = 0; s < series; ++s) {
    const Labels labels = Labels::Of(
        {{kMetricName, "m_total"}, {"g", std::to_string(s % 10)}, {"s", std::to_string(s)}});
    double value = 0;
    for (int i = 0; i < kSamples; ++i) {
      value = (i + s) % 3000 == 0 ? 0 : value + static_cast<double>((i * 7 + s) % 11) / 3;
      storage->AddFloat(labels, i * kInterval, value);
    }
  }
  return *storage;
}

void Run(benchmark::State& state, const std::string& query) {
  const MemoryStorage& storage = Storage(static_cast<int>(state.range(0)));
  Engine engine(EngineOptions(), RealClock());
  uint64_t read = 0;
  for (auto _ : state) {
    const auto result = engine.Range(storage, query, kHour, kDay, kMinute);
    if (!result.ok()) {
      state.SkipWithError("the query failed");
      return;
    }
    read += result->stats.samples_read;
  }
  state.SetItemsProcessed(static_cast<int64_t>(read));
}

// Series of counters whose samples are computed when they are read.
class MadeUpSeries : public SeriesSet {
 public:
  explicit MadeUpSeries(size_t series) {
    labels_.reserve(series);
    for (size_t s = 0; s < series; ++s) {
      labels_.push_back(Labels::Of(
          {{kMetricName, "m_total"}, {"g", std::to_string(s % 10)}, {"s", std::to_string(s)}}));
    }
    std::sort(labels_.begin(), labels_.end());
  }
  size_t size() const override { return labels_.size(); }
  const Labels& labels(size_t index) const override { return labels_[index]; }
  absl::Status Read(size_t index, TimestampMs min, TimestampMs max,
                    SeriesSamples& samples) const override {
    samples.Clear();
    const TimestampMs first = (min + kInterval - 1) / kInterval;
    const auto count = static_cast<size_t>(max / kInterval - first + 1);
    std::vector<TimestampMs> times(count);
    samples.values.resize(count);
    const double slope = static_cast<double>(index % 11 + 1) / 3;
    for (size_t i = 0; i < count; ++i) {
      times[i] = (first + static_cast<TimestampMs>(i)) * kInterval;
      samples.values[i] = static_cast<double>(i) * slope;
    }
    samples.times.Append(times);
    return absl::OkStatus();
  }

 private:
  std::vector<Labels> labels_;
};

class MadeUpStorage : public Queryable, public Querier {
 public:
  explicit MadeUpStorage(size_t series) : series_(series) {}
  absl::StatusOr<std::unique_ptr<Querier>> OpenQuerier(TimestampMs, TimestampMs) const override {
    return std::make_unique<MadeUpStorage>(series_);
  }
  absl::StatusOr<std::unique_ptr<SeriesSet>> Select(const std::vector<Matcher>&,
                                                    const SelectHints&) const override {
    return std::make_unique<MadeUpSeries>(series_);
  }
  absl::StatusOr<LabelTexts> LabelNames(const std::vector<std::vector<Matcher>>&,
                                        uint64_t) const override {
    return LabelTexts();
  }
  absl::StatusOr<LabelTexts> LabelValues(std::string_view, const std::vector<std::vector<Matcher>>&,
                                         uint64_t) const override {
    return LabelTexts();
  }

 private:
  const size_t series_;
};

void RunScaled(benchmark::State& state, const std::string& query) {
  const MadeUpStorage storage(static_cast<size_t>(state.range(0)));
  const DurationMs span = state.range(1) * kHour;
  EngineOptions options;
  options.worker_threads = 0;
  Engine engine(options, RealClock());
  uint64_t read = 0;
  for (auto _ : state) {
    const auto result = engine.Range(storage, query, kHour, kHour + span, span / 1440);
    if (!result.ok()) {
      state.SkipWithError("the query failed");
      return;
    }
    read += result->stats.samples_read;
  }
  state.SetItemsProcessed(static_cast<int64_t>(read));
}

void AddScaled() {
  const std::pair<const char*, const char*> queries[] = {
      {"scale_rate", "sum by (g) (rate(m_total[5m]))"},
      {"scale_max", "max(max_over_time(m_total[1h]))"},
  };
  for (const auto& [name, query] : queries) {
    auto* scaled = benchmark::RegisterBenchmark(
        name, [text = std::string(query)](benchmark::State& state) { RunScaled(state, text); });
    for (const int64_t series : {1'000, 10'000, 100'000}) {
      for (const int64_t hours : {1, 24, 168}) scaled->Args({series, hours});
    }
    scaled->Unit(benchmark::kMillisecond)->UseRealTime()->Iterations(1);
  }
}

int AddAll() {
  AddScaled();
  const std::pair<const char*, const char*> queries[] = {
      {"selector", "m_total"},
      {"rate", "rate(m_total[5m])"},
      {"avg_over_time", "avg_over_time(m_total[1h])"},
      {"max_over_time", "max_over_time(m_total[1h])"},
      {"quantile_over_time", "quantile_over_time(0.9, m_total[1h])"},
      {"stddev_over_time", "stddev_over_time(m_total[1h])"},
      {"sum_by", "sum by (g) (m_total)"},
      {"quantile_by", "quantile by (g) (0.9, m_total)"},
      {"topk", "topk(5, m_total)"},
      {"count_by", "count by (g) (m_total)"},
      {"shared_selector", "max_over_time(m_total[1h]) - min_over_time(m_total[1h])"},
      {"histogram_quantile",
       "histogram_quantile(0.9, label_replace(m_total, \"le\", \"$1\", "
       "\"s\", \"(.*)\"))"},
      {"binary", "m_total / on (s) m_total"},
      {"and", "m_total and on (g) m_total{s=\"1\"}"},
      {"subquery", "max_over_time(sum by (g) (rate(m_total[5m]))[1h:1m])"},
      {"label_replace", "label_replace(m_total, \"x\", \"$1\", \"s\", \"(.*)\")"},
  };
  for (const auto& [name, query] : queries) {
    benchmark::RegisterBenchmark(
        name, [text = std::string(query)](benchmark::State& state) { Run(state, text); })
        ->Arg(10)
        ->Arg(100)
        ->Arg(1000)
        ->Unit(benchmark::kMillisecond)
        ->UseRealTime();
  }
  return 0;
}

[[maybe_unused]] const int kAdded = AddAll();

}  // namespace
}  // namespace varve::promql

BENCHMARK_MAIN();

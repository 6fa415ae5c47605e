// SPDX-License-Identifier: Apache-2.0
//
// One query per operator over a day of samples in memory, so that nothing but the engine is
// measured. The argument is the number of series; items are samples read, so that cost which grows
// faster than series x samples shows as falling items per second.
//
//   promql_bench --benchmark_filter='rate/1000'
#include <benchmark/benchmark.h>

#include <map>
#include <memory>
#include <string>
#include <utility>

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

int AddAll() {
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

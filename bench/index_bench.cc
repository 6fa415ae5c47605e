// SPDX-License-Identifier: Apache-2.0
//
// The index of series in memory at a million series: 1,000 targets of 1,000 series, as pushgen
// names them by size: 100 metrics, an instance and a pod per target, a path per series.
//   index_bench --benchmark_filter=Select
#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include <numeric>
#include <string>
#include <vector>

#include "tsdb/series_index.h"

namespace varve {
namespace {

constexpr uint64_t kTargets = 1000;
constexpr uint64_t kSeriesOfTarget = 1000;

void AddTarget(uint64_t target, SeriesIndex& index) {
  std::vector<SeriesIndex::NewSeries> series;
  for (uint64_t i = 0; i < kSeriesOfTarget; ++i) {
    series.push_back(
        {target * kSeriesOfTarget + i + 1,
         Labels::Of({{"__name__", fmt::format("metric_{:02}_total", i % 100)},
                     {"instance", fmt::format("10.0.{}.{}:9100", target / 250, target % 250)},
                     {"job", fmt::format("job-{}", target % 20)},
                     {"path", fmt::format("/api/v1/resource-{}", i / 100)},
                     {"pod", fmt::format("service-{}-{:06x}", target % 40, target * 7919)}})});
  }
  index.AddAll(series);
}

const SeriesIndex& Million() {
  static const SeriesIndex* const kIndex = [] {
    auto* index = new SeriesIndex();
    for (uint64_t target = 0; target < kTargets; ++target) AddTarget(target, *index);
    return index;
  }();
  return *kIndex;
}

bool All(uint64_t) { return true; }

Matcher Match(MatchType type, std::string_view name, std::string_view value) {
  return Matcher::Create(type, name, value).value();
}

void Add(benchmark::State& state) {
  for (auto _ : state) {
    SeriesIndex index;
    for (uint64_t target = 0; target < kTargets / 10; ++target) AddTarget(target, index);
  }
  state.SetItemsProcessed(static_cast<int64_t>(state.iterations() * kTargets / 10 * 1000));
}
BENCHMARK(Add)->Unit(benchmark::kMillisecond);

void Names(benchmark::State& state) {
  for (auto _ : state) benchmark::DoNotOptimize(Million().Names(All, 0));
}
BENCHMARK(Names)->Unit(benchmark::kMillisecond);

void Values(benchmark::State& state, std::string_view name) {
  for (auto _ : state) benchmark::DoNotOptimize(Million().Values(name, All, 0));
}
BENCHMARK_CAPTURE(Values, metric, "__name__")->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(Values, pod, "pod")->Unit(benchmark::kMillisecond);

void ValuesOfJob(benchmark::State& state) {
  for (auto _ : state) {
    const std::vector<uint64_t> ids = Million().Select({Matcher::Equal("job", "job-7")});
    benchmark::DoNotOptimize(Million().ValuesOf("pod", ids, 0));
  }
}
BENCHMARK(ValuesOfJob)->Unit(benchmark::kMillisecond);

void Select(benchmark::State& state, MatchType type, std::string_view name,
            std::string_view value) {
  const std::vector<Matcher> matchers = {Match(type, name, value)};
  size_t found = 0;
  for (auto _ : state) found = Million().Select(matchers).size();
  state.counters["series"] = static_cast<double>(found);
}
BENCHMARK_CAPTURE(Select, equal, MatchType::kEqual, "__name__", "metric_07_total")
    ->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(Select, alternation, MatchType::kRegex, "pod",
                  "service-(0|1)-000000|service-3-00(5cc5|0000)")
    ->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(Select, prefix, MatchType::kRegex, "pod", "service-7-.*")
    ->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(Select, automaton, MatchType::kRegex, "pod", "service-7-[0-9a-f]{6}")
    ->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(Select, not_empty, MatchType::kNotEqual, "__name__", "")
    ->Unit(benchmark::kMillisecond);

void LabelsOf(benchmark::State& state) {
  std::vector<uint64_t> ids(100'000);
  std::iota(ids.begin(), ids.end(), 500'000);
  for (auto _ : state) benchmark::DoNotOptimize(Million().LabelsOf(ids));
}
BENCHMARK(LabelsOf)->Unit(benchmark::kMillisecond);

void Cardinality(benchmark::State& state) {
  for (auto _ : state) benchmark::DoNotOptimize(Million().Cardinality(10));
}
BENCHMARK(Cardinality)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace varve

BENCHMARK_MAIN();

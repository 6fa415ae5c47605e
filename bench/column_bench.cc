// SPDX-License-Identifier: Apache-2.0
//
// Columns of sealed data: bytes per sample and time per sample, by kind of series and for the mix
// that pushgen sends (same kinds, rates and shares; a day at 15 s).
//   column_bench --benchmark_filter=Decode
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "tsdb/column.h"
#include "tsdb/xor_chunk.h"

namespace varve {
namespace {

constexpr size_t kSamples = 24 * 3600 / 15;
constexpr TimestampMs kStart = 1'700'000'000'000;

struct Random {
  uint64_t state;
  uint64_t Next() {
    uint64_t x = state + 0x9e3779b97f4a7c15;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
    x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
    return state = x ^ (x >> 31);
  }
  double Unit() { return static_cast<double>(Next() >> 11) * 0x1p-53; }
};

// pushgen's kinds; constants are of rate 0.
enum class Kind {
  kConstant,
  kCounter,
  kCpuCounter,
  kNanoCounter,
  kByteCounter,
  kByteGauge,
  kDecimalGauge,
  kFullGauge,
};

std::vector<double> Values(Kind kind, double rate, uint64_t seed) {
  Random random{seed};
  constexpr double kSeconds = 15;
  const bool gauge =
      kind == Kind::kByteGauge || kind == Kind::kDecimalGauge || kind == Kind::kFullGauge;
  double v = gauge || kind == Kind::kConstant ? rate : std::floor(random.Unit() * 1e6);
  std::vector<double> values;
  for (size_t i = 0; i < kSamples; ++i) {
    switch (kind) {
      case Kind::kConstant:
        values.push_back(v);
        break;
      case Kind::kCounter:
        v += std::floor(rate * kSeconds * (0.5 + random.Unit()));
        values.push_back(v);
        break;
      case Kind::kCpuCounter:
        v += rate * kSeconds * (0.8 + 0.4 * random.Unit());
        values.push_back(std::round(v * 100) / 100);
        break;
      case Kind::kNanoCounter:
        v += rate * kSeconds * (0.5 + random.Unit());
        values.push_back(std::round(v * 1e9) / 1e9);
        break;
      case Kind::kByteCounter:
        v += std::floor(rate * kSeconds * (0.2 + 1.6 * random.Unit()));
        values.push_back(v);
        break;
      case Kind::kByteGauge:
        if (random.Unit() < 0.5) v += 4096 * (static_cast<double>(random.Next() % 4001) - 2000);
        v = std::max(v, 4096.0);
        values.push_back(v);
        break;
      case Kind::kDecimalGauge:
        if (random.Unit() < 0.4) v += (static_cast<double>(random.Next() % 5) - 2) / 2;
        values.push_back(v);
        break;
      case Kind::kFullGauge:
        values.push_back(random.Unit() * rate);
        break;
    }
  }
  return values;
}

// Every 15 s, one in fifty up to 4 ms late.
std::vector<TimestampMs> PushTimes() {
  Random random{7};
  std::vector<TimestampMs> times;
  for (size_t i = 0; i < kSamples; ++i) {
    times.push_back(kStart + static_cast<int64_t>(i) * 15000);
    if (random.Unit() < 0.02) times.back() += static_cast<int64_t>(random.Next() % 5);
  }
  return times;
}

std::vector<TimestampMs> RegularTimes() {
  std::vector<TimestampMs> times;
  for (size_t i = 0; i < kSamples; ++i) times.push_back(kStart + static_cast<int64_t>(i) * 15000);
  return times;
}

// The values of one target's thousand series.
std::vector<std::vector<double>> TargetMix() {
  std::vector<std::vector<double>> all;
  uint64_t seed = 1;
  const auto add = [&](Kind kind, double rate) {
    all.push_back(Values(rate == 0 ? Kind::kConstant : kind, rate, seed++));
  };
  for (int cpu = 0; cpu < 16; ++cpu) {
    for (const double rate : {0.8, 0.0, 0.0, 0.0, 0.0, 0.0, 0.05, 0.15}) {
      add(Kind::kCpuCounter, rate);
    }
  }
  for (int method = 0; method < 4; ++method) {
    for (int path = 0; path < 10; ++path) {
      for (int code = 0; code < 5; ++code) {
        add(Kind::kCounter, code < 2 ? 5.0 * (path + 1) : (path < 3 ? 0.2 : 0.0));
      }
    }
  }
  for (int path = 0; path < 10; ++path) {
    for (int i = 0; i < 12; ++i) {
      add(Kind::kCounter, 3.0 * (path + 1) * (1 - std::exp(-(i + 1) / 3.0)));
    }
    add(Kind::kNanoCounter, 0.3 * (path + 1));
    add(Kind::kCounter, 3.0 * (path + 1));
  }
  for (int device = 0; device < 4; ++device) {
    for (const double rate : {1e5, 0.0, 0.0, 300.0, 0.0, 1e5, 0.0, 0.0, 300.0, 0.0}) {
      add(Kind::kByteCounter, rate);
    }
  }
  for (int container = 0; container < 50; ++container) {
    add(Kind::kByteGauge, 1e8 * (container + 1));
    add(Kind::kNanoCounter, 0.01 * (container + 1));
  }
  for (int sensor = 0; sensor < 20; ++sensor) add(Kind::kDecimalGauge, 40 + sensor);
  for (int core = 0; core < 11; ++core) add(Kind::kFullGauge, core + 1);
  while (all.size() < 1000) {
    const auto k = static_cast<int>(all.size());
    all.push_back(Values(Kind::kConstant, k % 3 != 0 ? (k % 7 != 0 ? 0 : k * 1024) : 1, seed++));
  }
  return all;
}

void EncodeMix(benchmark::State& state) {
  const bool shared = state.range(0) != 0;
  const std::vector<std::vector<double>> mix = TargetMix();
  SeriesSamples samples;
  samples.times = PushTimes();
  const TimesRef ref{1, samples.times.front(), 0};
  uint64_t bytes = 0;
  std::vector<ColumnUse> uses;
  for (auto _ : state) {
    bytes = shared ? EncodeTimes(samples.times).size() : 0;
    uses.clear();
    for (const std::vector<double>& values : mix) {
      samples.values = values;
      const std::string row = EncodeColumns(samples, shared ? &ref : nullptr);
      bytes += row.size();
      state.PauseTiming();
      if (!AddColumnUses(row, uses).ok()) std::abort();
      state.ResumeTiming();
    }
  }
  const auto count = static_cast<double>(mix.size() * kSamples);
  state.SetItemsProcessed(static_cast<int64_t>(state.iterations() * mix.size() * kSamples));
  state.counters["bytes_per_sample"] = static_cast<double>(bytes) / count;
  for (const ColumnUse& use : uses) {
    if (static_cast<double>(use.bytes) / count < 0.001) continue;
    state.counters[use.encoding] = static_cast<double>(use.bytes) / count;
  }
}
BENCHMARK(EncodeMix)->ArgName("shared_times")->Arg(0)->Arg(1)->Unit(benchmark::kMillisecond);

void DecodeMix(benchmark::State& state) {
  const bool shared = state.range(0) != 0;
  SeriesSamples samples;
  samples.times = PushTimes();
  const TimesRef ref{1, samples.times.front(), 0};
  const auto times = std::make_shared<SharedTimes>();
  times->times.assign(samples.times.begin(), samples.times.end());
  std::vector<std::string> rows;
  for (std::vector<double>& values : TargetMix()) {
    samples.values = std::move(values);
    rows.push_back(EncodeColumns(samples, shared ? &ref : nullptr));
  }
  for (auto _ : state) {
    for (const std::string& row : rows) {
      samples.Clear();
      if (!DecodeColumns(row, {.times = times}, samples).ok()) std::abort();
      benchmark::DoNotOptimize(samples.values.data());
    }
  }
  state.SetItemsProcessed(static_cast<int64_t>(state.iterations() * rows.size() * kSamples));
}
BENCHMARK(DecodeMix)->ArgName("shared_times")->Arg(0)->Arg(1)->Unit(benchmark::kMillisecond);

struct Example {
  const char* name;
  Kind kind;
  double rate;
};
constexpr Example kExamples[] = {
    {"constant", Kind::kConstant, 1},         {"counter 0.2/s", Kind::kCounter, 0.2},
    {"counter 5/s", Kind::kCounter, 5},       {"counter 50/s", Kind::kCounter, 50},
    {"cpu seconds", Kind::kCpuCounter, 0.15}, {"nanoseconds", Kind::kNanoCounter, 0.3},
    {"bytes total", Kind::kByteCounter, 1e5}, {"bytes", Kind::kByteGauge, 1e8},
    {"temperature", Kind::kDecimalGauge, 40}, {"ratio", Kind::kFullGauge, 3},
};

// Arguments: example, 0 regular times, 1 times of its own with jitter, 2 shared times.
void DecodeKind(benchmark::State& state) {
  const Example& example = kExamples[state.range(0)];
  SeriesSamples samples;
  samples.values = Values(example.kind, example.rate, 42);
  samples.times = state.range(1) == 0 ? RegularTimes() : PushTimes();
  const TimesRef ref{1, samples.times.front(), 0};
  const auto times = std::make_shared<SharedTimes>();
  times->times.assign(samples.times.begin(), samples.times.end());
  const std::string row = EncodeColumns(samples, state.range(1) == 2 ? &ref : nullptr);
  for (auto _ : state) {
    samples.Clear();
    if (!DecodeColumns(row, {.times = times}, samples).ok()) std::abort();
    benchmark::DoNotOptimize(samples.values.data());
    benchmark::ClobberMemory();
  }
  state.SetItemsProcessed(static_cast<int64_t>(state.iterations() * kSamples));
  state.counters["bytes_per_sample"] =
      static_cast<double>(row.size()) / static_cast<double>(kSamples);
  state.SetLabel(example.name);
}
BENCHMARK(DecodeKind)->ArgsProduct({{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}, {0, 1, 2}});

// Chunks of 120 samples, as memory and hot families hold them.
void DecodeHot(benchmark::State& state) {
  const Example& example = kExamples[state.range(0)];
  const std::vector<double> values = Values(example.kind, example.rate, 42);
  const std::vector<TimestampMs> times = state.range(1) == 0 ? RegularTimes() : PushTimes();
  std::vector<std::string> chunks;
  uint64_t bytes = 0;
  for (size_t first = 0; first < kSamples; first += kChunkSamplesMax) {
    OpenXorChunk open;
    for (size_t i = first; i < std::min<size_t>(first + kChunkSamplesMax, kSamples); ++i) {
      if (open.count == 0) open.first_time = times[i];
      open.Append(times[i], values[i], 0);
    }
    bytes += chunks.emplace_back(open.payload()).size();
  }
  SeriesSamples samples;
  for (auto _ : state) {
    samples.Clear();
    for (size_t i = 0; i < chunks.size(); ++i) {
      const size_t first = i * kChunkSamplesMax;
      const auto count =
          static_cast<uint32_t>(std::min<size_t>(kChunkSamplesMax, kSamples - first));
      if (!DecodeXorChunk(chunks[i], count, times[first], false, times.front(), times.back(),
                          samples)
               .ok()) {
        std::abort();
      }
    }
    benchmark::DoNotOptimize(samples.values.data());
    benchmark::ClobberMemory();
  }
  state.SetItemsProcessed(static_cast<int64_t>(state.iterations() * kSamples));
  state.counters["bytes_per_sample"] = static_cast<double>(bytes) / static_cast<double>(kSamples);
  state.SetLabel(example.name);
}
BENCHMARK(DecodeHot)->ArgsProduct({{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}, {0, 1}});

void EncodeKind(benchmark::State& state) {
  const Example& example = kExamples[state.range(0)];
  SeriesSamples samples;
  samples.values = Values(example.kind, example.rate, 42);
  samples.times = RegularTimes();
  for (auto _ : state) benchmark::DoNotOptimize(EncodeColumns(samples));
  state.SetItemsProcessed(static_cast<int64_t>(state.iterations() * kSamples));
  state.SetLabel(example.name);
}
BENCHMARK(EncodeKind)->DenseRange(0, 9);

}  // namespace
}  // namespace varve

BENCHMARK_MAIN();

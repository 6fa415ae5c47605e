// SPDX-License-Identifier: Apache-2.0
//
// A known scrape, from its body to samples handed to the storage, in bytes of body a second.
// Usage: EXPOSITION_PAGE=FILE exposition_bench ; FILE is a page in Prometheus' text format, as of
// `curl -s localhost:9100/metrics`. Without it, a page like a node exporter's is made up.
#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>

#include "scrape/body_appender.h"

namespace varve {
namespace {

std::string MadeUpPage() {
  std::string page;
  for (int metric = 0; metric < 250; ++metric) {
    const std::string name = fmt::format("node_subsystem_{}_seconds_total", metric);
    page += fmt::format("# HELP {} Seconds that subsystem number {} spent in each mode.\n", name,
                        metric);
    page += fmt::format("# TYPE {} counter\n", name);
    for (int cpu = 0; cpu < 8; ++cpu) {
      page += fmt::format("{}{{cpu=\"{}\",mode=\"iowait\"}} {}.{}\n", name, cpu,
                          metric * 7919 + cpu, (cpu * 37) % 100);
    }
  }
  return page;
}

std::string Page() {
  const char* const path = std::getenv("EXPOSITION_PAGE");
  if (path == nullptr) return MadeUpPage();
  std::ifstream file(path);
  return std::string(std::istreambuf_iterator<char>(file), {});
}

// Takes everything and keeps nothing.
class NoStorage : public Appender {
 public:
  absl::StatusOr<SeriesRef> Append(SeriesRef ref, const Labels&, TimestampMs, double value,
                                   TimestampMs) override {
    sum += value;
    return ref == kNoSeries ? SeriesRef{++last_} : ref;
  }
  absl::Status AppendKnown(absl::FunctionRef<bool(KnownSample& sample)> next) override {
    for (KnownSample sample; next(sample);) sum += sample.value;
    return absl::OkStatus();
  }
  absl::StatusOr<SeriesRef> AppendHistogram(SeriesRef, const Labels&, TimestampMs, const Histogram&,
                                            TimestampMs) override {
    return SeriesRef{++last_};
  }
  absl::Status AppendExemplar(SeriesRef, const Labels&, const Exemplar&) override {
    return absl::OkStatus();
  }
  absl::Status AppendMetadata(std::string_view, const MetricMetadata&) override {
    return absl::OkStatus();
  }
  absl::Status Commit() override { return absl::OkStatus(); }
  void Rollback() override {}

  double sum = 0;

 private:
  uint64_t last_ = 0;
};

void KnownScrape(benchmark::State& state) {
  const std::string page = Page();
  const ScrapeConfig config;
  const Labels target = Labels::Of({{"instance", "localhost:9100"}, {"job", "node"}});
  MetadataPool pool;
  TargetMetadataStore metadata(pool);
  SeriesCache cache;
  NoStorage storage;
  TimestampMs time = 1'700'000'000'000;
  for (auto _ : state) {
    AppendCounts counts;
    BodyAppender appender(config, config.histograms, target, cache, metadata);
    const absl::Status status =
        appender.AppendBody(page, ExpositionFormat::kPrometheusText, time, storage, counts);
    if (!status.ok()) return state.SkipWithError(std::string(status.message()).c_str());
    time += 15'000;
  }
  benchmark::DoNotOptimize(storage.sum);
  state.SetBytesProcessed(static_cast<int64_t>(page.size()) * state.iterations());
  state.counters["series"] = static_cast<double>(cache.size());
}
BENCHMARK(KnownScrape);

}  // namespace
}  // namespace varve

BENCHMARK_MAIN();

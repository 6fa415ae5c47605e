// SPDX-License-Identifier: Apache-2.0
//
// Process and storage metrics.

#include "app/self_metrics.h"

#include <fmt/format.h>
#include <sys/resource.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <limits>
#include <sstream>
#include <string>
#include <utility>

#include "model/histogram.h"

namespace varve {
namespace {

using prometheus::ClientMetric;
using Kind = prometheus::MetricType;

prometheus::MetricFamily Family(std::string name, std::string help, Kind type) {
  prometheus::MetricFamily family;
  family.name = std::move(name);
  family.help = std::move(help);
  family.type = type;
  return family;
}

ClientMetric Value(Kind type, double value, std::vector<ClientMetric::Label> labels = {}) {
  ClientMetric metric;
  metric.label = std::move(labels);
  (type == Kind::Counter ? metric.counter.value : metric.gauge.value) = value;
  return metric;
}

// Collects families of one value each.
class Families {
 public:
  void Counter(std::string name, std::string help, double value) {
    Add(std::move(name), std::move(help), Kind::Counter, value);
  }
  void Gauge(std::string name, std::string help, double value) {
    Add(std::move(name), std::move(help), Kind::Gauge, value);
  }
  void Add(prometheus::MetricFamily family) { families_.push_back(std::move(family)); }
  std::vector<prometheus::MetricFamily> Take() { return std::move(families_); }

 private:
  void Add(std::string name, std::string help, Kind type, double value) {
    prometheus::MetricFamily family = Family(std::move(name), std::move(help), type);
    family.metric.push_back(Value(type, value));
    families_.push_back(std::move(family));
  }

  std::vector<prometheus::MetricFamily> families_;
};

// Fields of /proc/self/stat from the third on (the second may contain spaces).
std::vector<std::string> StatFields() {
  std::ifstream in("/proc/self/stat");
  std::string text((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  const size_t end_of_name = text.rfind(')');
  if (end_of_name == std::string::npos) return {};
  std::istringstream rest(text.substr(end_of_name + 1));
  std::vector<std::string> fields;
  for (std::string field; rest >> field;) fields.push_back(field);
  return fields;
}

// Seconds since the epoch at which the system started.
double BootTime() {
  std::ifstream in("/proc/stat");
  for (std::string line; std::getline(in, line);) {
    if (line.rfind("btime ", 0) == 0) return std::stod(line.substr(6));
  }
  return 0;
}

double OpenFiles() {
  std::error_code error;
  double count = 0;
  for (std::filesystem::directory_iterator it("/proc/self/fd", error), end; !error && it != end;
       it.increment(error)) {
    ++count;
  }
  return count - 1;  // The directory itself was open.
}

// Indexes into StatFields(), from proc(5) where the state is field 3.
constexpr size_t kUserTicks = 11;
constexpr size_t kSystemTicks = 12;
constexpr size_t kStartTicks = 19;
constexpr size_t kVirtualBytes = 20;
constexpr size_t kResidentPages = 21;

// Both kinds together, as Prometheus' histogram of compactions.
prometheus::MetricFamily CompactionDurations(const FoldCounters& folds,
                                             const FoldCounters& merges) {
  prometheus::MetricFamily family = Family(
      "prometheus_tsdb_compaction_duration_seconds",
      "How long folds of closed chunks and merges of what was folded took.", Kind::Histogram);
  ClientMetric metric;
  uint64_t count = 0;
  for (size_t i = 0; i <= DurationCounts::kBounds; ++i) {
    count += folds.durations.counts[i] + merges.durations.counts[i];
    const bool last = i == DurationCounts::kBounds;
    metric.histogram.bucket.push_back({.cumulative_count = count,
                                       .upper_bound = last
                                                          ? std::numeric_limits<double>::infinity()
                                                          : static_cast<double>(uint64_t{1} << i)});
  }
  metric.histogram.sample_count = count;
  metric.histogram.sample_sum = folds.durations.sum + merges.durations.sum;
  family.metric.push_back(std::move(metric));
  return family;
}

// What folding and merging did, each as a counter with the label `kind`.
prometheus::MetricFamily ByJob(std::string name, std::string help, double folds, double merges) {
  prometheus::MetricFamily family = Family(std::move(name), std::move(help), Kind::Counter);
  family.metric.push_back(Value(Kind::Counter, folds, {{"kind", "fold"}}));
  family.metric.push_back(Value(Kind::Counter, merges, {{"kind", "merge"}}));
  return family;
}

double Seconds(TimestampMs time) { return static_cast<double>(time) / 1000; }

void AddFolding(const StorageCounters& counters, Families& families) {
  const FoldCounters& folds = counters.folds;
  const FoldCounters& merges = counters.merges;
  families.Counter("prometheus_tsdb_compactions_total",
                   "Total number of folds of closed chunks and merges of what was folded.",
                   static_cast<double>(folds.runs + merges.runs));
  families.Counter("prometheus_tsdb_compactions_failed_total", "Total number of these that failed.",
                   static_cast<double>(folds.failures + merges.failures));
  families.Add(CompactionDurations(folds, merges));
  families.Add(ByJob("varve_tsdb_compactions_total",
                     "Folds of closed chunks, and merges of what was folded.",
                     static_cast<double>(folds.runs), static_cast<double>(merges.runs)));
  families.Add(ByJob("varve_tsdb_compaction_seconds_total", "How long they took.",
                     folds.durations.sum, merges.durations.sum));
  families.Add(ByJob("varve_tsdb_compaction_written_bytes_total", "What they wrote.",
                     static_cast<double>(folds.bytes), static_cast<double>(merges.bytes)));
  families.Gauge("varve_tsdb_unfolded_families",
                 "Finished stretches of closed chunks that wait to be folded.",
                 static_cast<double>(counters.unfolded_families));
  families.Gauge("varve_tsdb_buckets", "Days (or what a bucket spans) that have samples.",
                 static_cast<double>(counters.buckets));
  families.Gauge("prometheus_tsdb_blocks_loaded",
                 "Number of generations: what one fold or merge wrote of a bucket.",
                 static_cast<double>(counters.generations));
  families.Gauge("varve_tsdb_folded_samples", "Samples in generations.",
                 static_cast<double>(counters.generation_samples));
  families.Gauge("varve_tsdb_folded_bytes", "Bytes of generations.",
                 static_cast<double>(counters.generation_bytes));
}

}  // namespace

std::vector<prometheus::MetricFamily> ProcessMetrics::Collect() const {
  Families families;
  const std::vector<std::string> stat = StatFields();
  if (stat.size() > kResidentPages) {
    const auto ticks = static_cast<double>(sysconf(_SC_CLK_TCK));
    families.Counter("process_cpu_seconds_total",
                     "Total user and system CPU time spent in seconds.",
                     (std::stod(stat[kUserTicks]) + std::stod(stat[kSystemTicks])) / ticks);
    families.Gauge("process_start_time_seconds",
                   "Start time of the process since unix epoch in seconds.",
                   BootTime() + std::stod(stat[kStartTicks]) / ticks);
    families.Gauge("process_virtual_memory_bytes", "Virtual memory size in bytes.",
                   std::stod(stat[kVirtualBytes]));
    families.Gauge("process_resident_memory_bytes", "Resident memory size in bytes.",
                   std::stod(stat[kResidentPages]) * static_cast<double>(sysconf(_SC_PAGESIZE)));
  }
  families.Gauge("process_open_fds", "Number of open file descriptors.", OpenFiles());
  rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
    families.Gauge("process_max_fds", "Maximum number of open file descriptors.",
                   static_cast<double>(limit.rlim_cur));
  }
  return families.Take();
}

std::vector<prometheus::MetricFamily> MemoryMetrics::Collect() const {
  Families families;
  families.Gauge("varve_memory_limit_bytes", "Memory to get by with; 0 if there is no limit.",
                 static_cast<double>(budget_.limit()));
  families.Gauge("varve_memory_used_bytes", "What counts against the memory limit.",
                 static_cast<double>(budget_.used()));
  prometheus::MetricFamily parts =
      Family("varve_memory_bytes",
             "Memory by part. `other` is what the process takes beside what is accounted for.",
             Kind::Gauge);
  for (size_t i = 0; i < kMemoryParts; ++i) {
    const auto part = static_cast<MemoryPart>(i);
    parts.metric.push_back(Value(Kind::Gauge, static_cast<double>(budget_.Of(part)),
                                 {{"part", std::string(MemoryPartText(part))}}));
  }
  const uint64_t accounted = budget_.accounted();
  const uint64_t resident = budget_.resident();
  parts.metric.push_back(Value(Kind::Gauge,
                               static_cast<double>(resident > accounted ? resident - accounted : 0),
                               {{"part", "other"}}));
  families.Add(std::move(parts));
  prometheus::MetricFamily refused = Family(
      "varve_memory_refused_total", "What was refused because memory was short.", Kind::Counter);
  for (size_t i = 0; i < kMemoryUses; ++i) {
    const auto use = static_cast<MemoryUse>(i);
    refused.metric.push_back(Value(Kind::Counter, static_cast<double>(budget_.refused(use)),
                                   {{"use", std::string(MemoryUseText(use))}}));
  }
  families.Add(std::move(refused));
  families.Counter("varve_memory_cache_shrinks_total",
                   "How often caches shrank because memory was short.",
                   static_cast<double>(budget_.shrinks()));
  return families.Take();
}

std::vector<prometheus::MetricFamily> StorageMetrics::Collect() const {
  const StorageAdmin* const storage = storage_;
  if (storage == nullptr) return {};
  Families families;
  const HeadStats head = storage->Head();
  const StorageCounters counters = storage->Counters();
  families.Gauge("prometheus_tsdb_head_series", "Total number of series in the head.",
                 static_cast<double>(head.series));
  families.Gauge("prometheus_tsdb_head_chunks", "Total number of chunks in the head.",
                 static_cast<double>(head.chunks));
  const bool empty = head.max_time == kMinTimestamp;
  families.Gauge("prometheus_tsdb_head_min_time",
                 "Minimum time bound of the head, in milliseconds.",
                 empty ? 0 : static_cast<double>(head.min_time));
  families.Gauge("prometheus_tsdb_head_max_time", "Maximum timestamp of the head, in milliseconds.",
                 empty ? 0 : static_cast<double>(head.max_time));
  families.Gauge("prometheus_tsdb_head_min_time_seconds", "Minimum time bound of the head.",
                 empty ? 0 : Seconds(head.min_time));
  families.Gauge("prometheus_tsdb_head_max_time_seconds", "Maximum timestamp of the head.",
                 empty ? 0 : Seconds(head.max_time));
  families.Counter("prometheus_tsdb_head_series_created_total",
                   "Total number of series created in the head.",
                   static_cast<double>(counters.series_created));
  families.Counter("prometheus_tsdb_head_series_removed_total",
                   "Total number of series removed from the head.",
                   static_cast<double>(counters.series_removed));
  prometheus::MetricFamily appended = Family("prometheus_tsdb_head_samples_appended_total",
                                             "Total number of appended samples.", Kind::Counter);
  appended.metric.push_back(Value(
      Kind::Counter, static_cast<double>(counters.float_samples_appended), {{"type", "float"}}));
  appended.metric.push_back(Value(Kind::Counter,
                                  static_cast<double>(counters.histogram_samples_appended),
                                  {{"type", "histogram"}}));
  families.Add(std::move(appended));
  families.Counter("prometheus_tsdb_out_of_order_samples_total",
                   "Total number of refused samples that were out of order.",
                   static_cast<double>(counters.out_of_order_samples));
  families.Counter("prometheus_tsdb_head_out_of_order_samples_appended_total",
                   "Total number of appended samples that were out of order.",
                   static_cast<double>(counters.out_of_order_samples_appended));
  families.Counter("prometheus_tsdb_out_of_bound_samples_total",
                   "Total number of refused samples that were out of bounds.",
                   static_cast<double>(counters.out_of_bounds_samples));
  families.Counter("prometheus_tsdb_too_old_samples_total",
                   "Total number of refused samples that were too old.",
                   static_cast<double>(counters.too_old_samples));
  families.Counter("varve_tsdb_duplicate_samples_total",
                   "Total number of refused samples that had another value at the same time.",
                   static_cast<double>(counters.duplicate_samples));
  families.Counter("prometheus_tsdb_wal_corruptions_total",
                   "Total number of damaged parts of the stored data that were left out.",
                   static_cast<double>(counters.corruptions));
  families.Counter("varve_storage_unknown_series_samples_total",
                   "Logged samples dropped since damage made their series unknown.",
                   static_cast<double>(counters.unknown_series_samples));
  families.Counter("varve_storage_metadata_refused_total",
                   "Types, helps and units of metrics not stored: too many, or no metric name.",
                   static_cast<double>(counters.metadata_refused));
  families.Counter("varve_storage_metadata_cut_total",
                   "Those stored with a help or unit cut, as it was too long.",
                   static_cast<double>(counters.metadata_cut));
  families.Counter("varve_storage_failed_commits_total",
                   "Batches of samples that could not be written.",
                   static_cast<double>(counters.failed_commits));
  families.Gauge("varve_storage_writable", "Whether writing to the storage works.",
                 counters.writable ? 1 : 0);
  families.Gauge("varve_storage_reserve_bytes",
                 "Size of the file that is given up when the disk is full; 0 without one.",
                 static_cast<double>(counters.reserve_bytes));
  families.Counter("prometheus_tsdb_time_retentions_total",
                   "Files' worth of data dropped because it was older than the retention time.",
                   static_cast<double>(counters.buckets_dropped_by_retention));
  families.Counter("prometheus_tsdb_size_retentions_total",
                   "Files' worth of data dropped because all data was larger than allowed.",
                   static_cast<double>(counters.generations_dropped_by_size));
  families.Gauge("prometheus_tsdb_storage_blocks_bytes", "Bytes of all stored data.",
                 static_cast<double>(counters.disk_bytes));
  families.Gauge("prometheus_tsdb_wal_storage_size_bytes", "Bytes of the log.",
                 static_cast<double>(counters.log_bytes));
  families.Gauge("prometheus_tsdb_head_active_appenders", "Number of active appenders.",
                 static_cast<double>(counters.active_appenders));
  families.Gauge("prometheus_tsdb_retention_limit_seconds",
                 "How long samples are kept; 0 if age does not matter.", Seconds(retention_));
  families.Gauge("prometheus_tsdb_retention_limit_bytes",
                 "What all data may take; 0 if there is no such limit.",
                 static_cast<double>(retention_bytes_.load()));
  families.Gauge(
      "varve_tsdb_retention_limit_percentage",
      "Percentage of the file system that all data may take; 0 if there is no such limit.",
      retention_percentage_);
  const bool none = counters.oldest_sample == kMaxTimestamp;
  families.Gauge("prometheus_tsdb_lowest_timestamp",
                 "Time of the oldest stored sample, in milliseconds.",
                 none ? 0 : static_cast<double>(counters.oldest_sample));
  families.Gauge("prometheus_tsdb_lowest_timestamp_seconds", "Time of the oldest stored sample.",
                 none ? 0 : Seconds(counters.oldest_sample));
  AddFolding(counters, families);
  return families.Take();
}

}  // namespace varve

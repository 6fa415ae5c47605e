// SPDX-License-Identifier: Apache-2.0
//
// Registration of the metrics; their help texts say what Prometheus' say.
#include "scrape/metrics.h"

#include <chrono>

namespace varve {
namespace {

const prometheus::Summary::Quantiles kQuantiles = {
    {0.01, 0.001}, {0.05, 0.005}, {0.5, 0.05}, {0.9, 0.01}, {0.99, 0.001}};

// Quantiles of scrapes tell of the last half minute to a minute. An observation goes into each of
// so many parts: more, as by default, would show in what a scrape costs.
constexpr std::chrono::milliseconds kIntervalsAge = std::chrono::minutes(1);
constexpr int kIntervalsParts = 2;

prometheus::Family<prometheus::Counter>& Counters(prometheus::Registry& registry, const char* name,
                                                  const char* help) {
  return prometheus::BuildCounter().Name(name).Help(help).Register(registry);
}

prometheus::Counter& Counter(prometheus::Registry& registry, const char* name, const char* help) {
  return Counters(registry, name, help).Add({});
}

prometheus::Family<prometheus::Gauge>& Gauges(prometheus::Registry& registry, const char* name,
                                              const char* help) {
  return prometheus::BuildGauge().Name(name).Help(help).Register(registry);
}

prometheus::Family<prometheus::Summary>& Summaries(prometheus::Registry& registry, const char* name,
                                                   const char* help) {
  return prometheus::BuildSummary().Name(name).Help(help).Register(registry);
}

}  // namespace

ScrapeMetrics::ScrapeMetrics(prometheus::Registry& registry)
    : sample_limit_exceeded(
          Counter(registry, "prometheus_target_scrapes_exceeded_sample_limit_total",
                  "Total number of scrapes that hit the sample limit and were rejected.")),
      body_size_limit_exceeded(Counter(registry,
                                       "prometheus_target_scrapes_exceeded_body_size_limit_total",
                                       "Total number of scrapes that hit the body size limit.")),
      label_limit_exceeded(Counter(registry,
                                   "prometheus_target_scrape_pool_exceeded_label_limits_total",
                                   "Total number of times scrape pools hit the label limits.")),
      target_limit_exceeded(Counter(registry,
                                    "prometheus_target_scrape_pool_exceeded_target_limit_total",
                                    "Total number of times scrape pools hit the target limit.")),
      bucket_limit_exceeded(Counter(
          registry, "prometheus_target_scrapes_exceeded_native_histogram_bucket_limit_total",
          "Total number of scrapes that hit the native histogram bucket limit and were "
          "rejected.")),
      duplicate_timestamps(
          Counter(registry, "prometheus_target_scrapes_sample_duplicate_timestamp_total",
                  "Total number of samples rejected due to duplicate timestamps.")),
      out_of_bounds(Counter(registry, "prometheus_target_scrapes_sample_out_of_bounds_total",
                            "Total number of samples rejected due to being out of bounds.")),
      out_of_order(Counter(registry, "prometheus_target_scrapes_sample_out_of_order_total",
                           "Total number of samples rejected due to being out of order.")),
      pools(Counter(registry, "prometheus_target_scrape_pools_total",
                    "Total number of scrape pool creation attempts.")),
      pool_reloads(Counter(registry, "prometheus_target_scrape_pool_reloads_total",
                           "Total number of scrape pool reloads.")),
      pools_failed(Counter(registry, "prometheus_target_scrape_pools_failed_total",
                           "Total number of scrape pool creations that failed.")),
      discovery_updates(Counter(registry, "prometheus_sd_updates_total",
                                "Total number of update events sent to the scrape pools.")),
      pool_targets_(Gauges(registry, "prometheus_target_scrape_pool_targets",
                           "Current number of targets in this scrape pool.")),
      pool_syncs_(Counters(registry, "prometheus_target_scrape_pool_sync_total",
                           "Total number of syncs of this scrape pool.")),
      sync_failures_(Counters(registry, "prometheus_target_sync_failed_total",
                              "Total number of targets that failed to sync.")),
      sync_seconds_(Summaries(registry, "prometheus_target_sync_length_seconds",
                              "Time taken to sync the targets of a scrape pool.")),
      metadata_entries_(Gauges(registry, "prometheus_target_metadata_cache_entries",
                               "Metrics with metadata over all targets of a scrape pool.")),
      discovered_targets_(Gauges(registry, "prometheus_sd_discovered_targets",
                                 "Current number of discovered targets.")),
      target_limits_(Gauges(registry, "prometheus_target_scrape_pool_target_limit",
                            "Maximum number of targets allowed in this scrape pool.")),
      interval_seconds_(Summaries(registry, "prometheus_target_interval_length_seconds",
                                  "Actual intervals between scrapes.")) {}

std::shared_ptr<ScrapeMetrics::Pool> ScrapeMetrics::AddPool(const std::string& job) {
  MutexLock lock(mutex_);
  std::weak_ptr<Pool>& known = pools_[job];
  if (std::shared_ptr<Pool> pool = known.lock()) return pool;
  const prometheus::Labels labels = {{"scrape_job", job}};
  const std::shared_ptr<Pool> pool(
      new Pool{.metrics = *this,
               .job = job,
               .targets = pool_targets_.Add(labels),
               .syncs = pool_syncs_.Add(labels),
               .sync_failures = sync_failures_.Add(labels),
               .sync_seconds = sync_seconds_.Add(labels, kQuantiles),
               .metadata_entries = metadata_entries_.Add(labels),
               .discovered_targets = discovered_targets_.Add({{"name", "scrape"}, {"config", job}}),
               .target_limit = target_limits_.Add(labels)});
  known = pool;
  return pool;
}

void ScrapeMetrics::RemovePool(const Pool& pool) {
  MutexLock lock(mutex_);
  const auto known = pools_.find(pool.job);
  // Somebody may have added the job anew since the last user left: the series are theirs now.
  if (known == pools_.end() || !known->second.expired()) return;
  pools_.erase(known);
  pool_targets_.Remove(&pool.targets);
  pool_syncs_.Remove(&pool.syncs);
  sync_failures_.Remove(&pool.sync_failures);
  sync_seconds_.Remove(&pool.sync_seconds);
  metadata_entries_.Remove(&pool.metadata_entries);
  discovered_targets_.Remove(&pool.discovered_targets);
  target_limits_.Remove(&pool.target_limit);
}

void ScrapeMetrics::ObserveInterval(DurationMs interval, double seconds) {
  MutexLock lock(mutex_);
  prometheus::Summary*& summary = intervals_[interval];
  if (summary == nullptr) {
    summary = &interval_seconds_.Add({{"interval", FormatDuration(interval)}}, kQuantiles,
                                     kIntervalsAge, kIntervalsParts);
  }
  summary->Observe(seconds);
}

}  // namespace varve

// SPDX-License-Identifier: Apache-2.0
//
// What scraping tells of itself on /metrics, under Prometheus' names.
#pragma once

#include <absl/base/thread_annotations.h>
#include <prometheus/counter.h>
#include <prometheus/family.h>
#include <prometheus/gauge.h>
#include <prometheus/registry.h>
#include <prometheus/summary.h>

#include <map>
#include <memory>
#include <string>

#include "model/mutex.h"
#include "model/time.h"

namespace varve {

// Thread-safe.
class ScrapeMetrics {
 public:
  explicit ScrapeMetrics(prometheus::Registry& registry);
  ScrapeMetrics(const ScrapeMetrics&) = delete;
  ScrapeMetrics& operator=(const ScrapeMetrics&) = delete;

  // Series of one pool, gone with the last user. What its destructor refers to outlives it.
  struct Pool {
    ~Pool() { metrics.RemovePool(*this); }

    ScrapeMetrics& metrics;
    const std::string job;
    prometheus::Gauge& targets;
    prometheus::Counter& syncs;
    prometheus::Counter& sync_failures;
    prometheus::Summary& sync_seconds;
    prometheus::Gauge& metadata_entries;
    prometheus::Gauge& discovered_targets;
    prometheus::Gauge& target_limit;
  };
  // The series of `job`, shared with whoever has them already.
  std::shared_ptr<Pool> AddPool(const std::string& job) ABSL_LOCKS_EXCLUDED(mutex_);

  // Time between two scrapes of a target whose interval is `interval`.
  void ObserveInterval(DurationMs interval, double seconds) ABSL_LOCKS_EXCLUDED(mutex_);

  prometheus::Counter& sample_limit_exceeded;
  prometheus::Counter& body_size_limit_exceeded;
  prometheus::Counter& label_limit_exceeded;
  prometheus::Counter& target_limit_exceeded;
  prometheus::Counter& bucket_limit_exceeded;
  prometheus::Counter& duplicate_timestamps;
  prometheus::Counter& out_of_bounds;
  prometheus::Counter& out_of_order;
  prometheus::Counter& pools;
  prometheus::Counter& pool_reloads;
  prometheus::Counter& pools_failed;
  prometheus::Counter& discovery_updates;

 private:
  void RemovePool(const Pool& pool) ABSL_LOCKS_EXCLUDED(mutex_);

  prometheus::Family<prometheus::Gauge>& pool_targets_;
  prometheus::Family<prometheus::Counter>& pool_syncs_;
  prometheus::Family<prometheus::Counter>& sync_failures_;
  prometheus::Family<prometheus::Summary>& sync_seconds_;
  prometheus::Family<prometheus::Gauge>& metadata_entries_;
  prometheus::Family<prometheus::Gauge>& discovered_targets_;
  prometheus::Family<prometheus::Gauge>& target_limits_;
  prometheus::Family<prometheus::Summary>& interval_seconds_;

  Mutex mutex_;
  std::map<std::string, std::weak_ptr<Pool>> pools_ ABSL_GUARDED_BY(mutex_);
  std::map<DurationMs, prometheus::Summary*> intervals_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace varve

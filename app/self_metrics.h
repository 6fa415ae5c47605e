// SPDX-License-Identifier: Apache-2.0
//
// Self-metrics read when /metrics is asked: the process, and the storage's counters under
// Prometheus' names.
#pragma once

#include <prometheus/collectable.h>
#include <prometheus/metric_family.h>

#include <atomic>
#include <cstdint>
#include <vector>

#include "model/clock.h"
#include "model/memory_budget.h"
#include "model/storage_admin.h"

namespace varve {

// process_* from /proc/self.
class ProcessMetrics : public prometheus::Collectable {
 public:
  std::vector<prometheus::MetricFamily> Collect() const override;
};

// varve_memory_*. Thread-safe.
class MemoryMetrics : public prometheus::Collectable {
 public:
  // `budget` must outlive this object.
  explicit MemoryMetrics(const MemoryBudget& budget) : budget_(budget) {}
  std::vector<prometheus::MetricFamily> Collect() const override;

 private:
  const MemoryBudget& budget_;
};

// prometheus_tsdb_*; none until Attach(). Thread-safe.
class StorageMetrics : public prometheus::Collectable {
 public:
  // `storage` must outlive this object.
  void Attach(const StorageAdmin& storage) { storage_ = &storage; }
  // What is configured; 0 = no limit.
  void SetRetention(DurationMs retention, uint64_t bytes, double percentage) {
    retention_ = retention;
    retention_bytes_ = bytes;
    retention_percentage_ = percentage;
  }
  std::vector<prometheus::MetricFamily> Collect() const override;

 private:
  std::atomic<const StorageAdmin*> storage_{nullptr};
  std::atomic<DurationMs> retention_{0};
  std::atomic<uint64_t> retention_bytes_{0};
  std::atomic<double> retention_percentage_{0};
};

}  // namespace varve

// SPDX-License-Identifier: Apache-2.0
//
// Self-metrics read when /metrics is asked: the process, and the storage's counters under
// Prometheus' names.
#pragma once

#include <prometheus/collectable.h>
#include <prometheus/metric_family.h>

#include <vector>

#include "model/clock.h"
#include "model/storage.h"

namespace varve {

// process_* from /proc/self.
class ProcessMetrics : public prometheus::Collectable {
 public:
  std::vector<prometheus::MetricFamily> Collect() const override;
};

// prometheus_tsdb_*. `storage` must outlive it.
class StorageMetrics : public prometheus::Collectable {
 public:
  StorageMetrics(const StorageAdmin& storage, DurationMs retention)
      : storage_(storage), retention_(retention) {}
  std::vector<prometheus::MetricFamily> Collect() const override;

 private:
  const StorageAdmin& storage_;
  const DurationMs retention_;
};

}  // namespace varve

// SPDX-License-Identifier: Apache-2.0
//
// How discoveries are doing: which answer, which keep the last targets because they fail, and why.
// On /metrics under Prometheus' names, and as a list for the API.
#pragma once

#include <absl/base/thread_annotations.h>
#include <absl/status/status.h>
#include <prometheus/counter.h>
#include <prometheus/family.h>
#include <prometheus/gauge.h>
#include <prometheus/registry.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "model/clock.h"
#include "model/mutex.h"
#include "model/time.h"

namespace varve {

struct DiscoveryStatus {
  std::string config;             // The job it finds targets for.
  std::string mechanism;          // "dns", "http", ...
  std::string source;             // What it asks, without secrets.
  bool stale = false;             // Fails: its targets are those it found before.
  std::string last_error;         // Empty unless stale.
  TimestampMs last_success = 0;   // 0: none yet.
  TimestampMs failing_since = 0;  // 0 unless stale.
};

class DiscoveryHealths;

// Of one discovery. Thread-safe.
class DiscoveryHealth {
 public:
  // Both log what changes: the first failure of a row, and its end.
  void Succeeded() ABSL_LOCKS_EXCLUDED(mutex_);
  void Failed(const absl::Status& status) ABSL_LOCKS_EXCLUDED(mutex_);

  DiscoveryStatus Status() const ABSL_LOCKS_EXCLUDED(mutex_);
  ~DiscoveryHealth();

 private:
  friend class DiscoveryHealths;
  struct Series;
  DiscoveryHealth(std::shared_ptr<Series> series, DiscoveryStatus status, Clock& clock)
      : series_(std::move(series)), clock_(clock), status_(std::move(status)) {}

  const std::shared_ptr<Series> series_;
  Clock& clock_;

  mutable Mutex mutex_;
  DiscoveryStatus status_ ABSL_GUARDED_BY(mutex_);
};

// All there are. Outlives them. Thread-safe.
class DiscoveryHealths {
 public:
  DiscoveryHealths(prometheus::Registry& registry, Clock& clock);
  DiscoveryHealths(const DiscoveryHealths&) = delete;
  DiscoveryHealths& operator=(const DiscoveryHealths&) = delete;

  std::shared_ptr<DiscoveryHealth> Add(std::string config, std::string mechanism,
                                       std::string source) ABSL_LOCKS_EXCLUDED(mutex_);
  // Of those that still run, by config, mechanism and source.
  std::vector<DiscoveryStatus> List() const ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  friend class DiscoveryHealth;
  using Key = std::pair<std::string, std::string>;  // Config and mechanism.
  void RemoveSeries(const DiscoveryHealth::Series& series) ABSL_LOCKS_EXCLUDED(mutex_);

  Clock& clock_;
  prometheus::Family<prometheus::Counter>& failures_;
  prometheus::Family<prometheus::Gauge>& stale_;
  prometheus::Counter& http_failures_;
  prometheus::Counter& dns_failures_;
  prometheus::Counter& consul_failures_;

  mutable Mutex mutex_;
  std::map<Key, std::weak_ptr<DiscoveryHealth::Series>> series_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::weak_ptr<DiscoveryHealth>> healths_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace varve

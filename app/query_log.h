// SPDX-License-Identifier: Apache-2.0
//
// The query log: every query that ran, as a line of JSON with Prometheus' keys, in the file that
// the configuration names; and slow queries, in the server's own log.
#pragma once

#include <absl/status/status.h>
#include <prometheus/registry.h>

#include <cstdio>
#include <memory>
#include <string>

#include "model/clock.h"
#include "model/mutex.h"
#include "model/time.h"
#include "promql/query_observer.h"

namespace varve {

// Thread-safe.
class QueryLog : public promql::QueryObserver {
 public:
  // Queries that take `slower_than` or longer are named in the server's log; 0 = none. `clock`
  // outlives the log, `registry` (prometheus_engine_query_log_*; may be null) too.
  QueryLog(DurationMs slower_than, Clock& clock, prometheus::Registry* registry = nullptr);

  // Opens `path` for appending, again if it is open already (it may have been moved away); "" ends
  // logging. On failure the file before stays.
  absl::Status SetFile(const std::string& path) ABSL_LOCKS_EXCLUDED(mutex_);

  void QueryFinished(const promql::FinishedQuery& query) override ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  struct CloseFile {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };

  const DurationMs slower_than_;
  Clock& clock_;
  prometheus::Gauge* enabled_ = nullptr;
  prometheus::Counter* failures_ = nullptr;

  Mutex mutex_;
  std::unique_ptr<std::FILE, CloseFile> file_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace varve

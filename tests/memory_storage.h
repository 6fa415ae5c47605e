// SPDX-License-Identifier: Apache-2.0
//
// A storage in memory for tests: series in a sorted map, nothing durable, nothing fast. What hints
// allow to be left out or to be wrong is.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "model/appendable.h"
#include "model/mutex.h"
#include "model/queryable.h"

namespace varve {

// Thread-safe. Reads see what was added before their querier was opened.
class MemoryStorage : public Queryable, public Appendable {
 public:
  MemoryStorage() = default;

  // A sample at a time that has one already replaces it.
  void AddFloat(const Labels& labels, TimestampMs time, double value, TimestampMs start_time = 0)
      ABSL_LOCKS_EXCLUDED(mutex_);
  // The reset hint becomes what a chunk would remember of it: a sample that continues its
  // predecessor is "no reset", one that does not fit into the chunk begins a new one.
  void AddHistogram(const Labels& labels, TimestampMs time, const Histogram& histogram,
                    TimestampMs start_time = 0) ABSL_LOCKS_EXCLUDED(mutex_);
  void Clear() ABSL_LOCKS_EXCLUDED(mutex_);

  absl::StatusOr<std::unique_ptr<Querier>> OpenQuerier(TimestampMs min,
                                                       TimestampMs max) const override;
  std::unique_ptr<Appender> NewAppender() override;

 private:
  using Series = std::map<Labels, std::shared_ptr<SeriesSamples>>;

  // The samples of a series, copied first if a querier sees them.
  SeriesSamples& Writable(const Labels& labels) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  mutable Mutex mutex_;
  Series series_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace varve

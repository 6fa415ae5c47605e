// SPDX-License-Identifier: Apache-2.0
//
// The smallest storage that fulfils the seams of model/: a map under a mutex, for tests of the
// layers above it.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "model/appendable.h"
#include "model/metric_metadata.h"
#include "model/mutex.h"
#include "model/queryable.h"
#include "model/storage_admin.h"

namespace varve {

// Thread-safe. Refuses samples out of order, as storage does without an out-of-order window.
class FakeStorage : public Queryable,
                    public Appendable,
                    public MetadataQueryable,
                    public StorageAdmin {
 public:
  absl::StatusOr<std::unique_ptr<Querier>> OpenQuerier(TimestampMs min,
                                                       TimestampMs max) const override;
  std::unique_ptr<Appender> NewAppender() override;
  std::vector<MetricFamilyPtr> Metadata(std::string_view metric) const override;
  CardinalityStats Cardinality(size_t limit) const override;
  HeadStats Head() const override;
  StorageCounters Counters() const override { return {}; }
  absl::Status DeleteSeries(const std::vector<std::vector<Matcher>>& matcher_sets, TimestampMs min,
                            TimestampMs max) override;
  // Counts calls.
  absl::Status CleanTombstones() override;
  absl::StatusOr<std::string> Snapshot() override { return "20231114T221320Z-0123456789abcdef"; }
  int cleanings() const;

  // Adds one sample at once. REQUIRES: it is in order.
  void Add(std::initializer_list<std::pair<std::string_view, std::string_view>> labels,
           TimestampMs time, double value);

  // `labels value@time value@time`, one line a series, for comparisons.
  std::string Dump() const;

  // Queriers opened from now on have it.
  void AddWarning(const std::string& text);
  // Every commit fails from now on.
  void FailCommits();
  // Series after so many are refused (kLimit).
  void set_series_max(uint64_t series_max) { series_max_ = series_max; }
  // Every ref handed out so far becomes unknown.
  void ForgetRefs();

 private:
  friend class FakeAppender;

  struct Pending {
    Labels labels;
    TimestampMs time = 0;
    double value = 0;
    std::shared_ptr<const Histogram> histogram;
  };
  using SeriesMap = std::map<Labels, SeriesSamples>;

  absl::Status Commit(const std::vector<Pending>& samples,
                      const std::vector<MetricFamily>& metadata);

  mutable Mutex mutex_;
  SeriesMap series_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, MetricFamilyPtr> metadata_ ABSL_GUARDED_BY(mutex_);
  Annotations warnings_ ABSL_GUARDED_BY(mutex_);
  std::vector<Labels> by_ref_ ABSL_GUARDED_BY(mutex_);  // From first_ref_ on.
  uint64_t first_ref_ ABSL_GUARDED_BY(mutex_) = 1;
  std::atomic<uint64_t> series_max_ = 0;  // 0 = none are refused.
  bool fail_commits_ ABSL_GUARDED_BY(mutex_) = false;
  int cleanings_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace varve

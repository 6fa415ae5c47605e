// SPDX-License-Identifier: Apache-2.0
//
// The scrapes of one target, one after the other: a timer starts each in its slot, the HTTP client
// fetches, a worker appends and sets the next timer.
//
// (1) At most one scrape of a loop is under way, so its cache needs no lock of its own while the
//     loop runs; scrape_mutex_ also covers the markers written after the loop was stopped.
// (2) A stopped loop appends nothing but, when asked to, its staleness markers: after two
// intervals,
//     so that the target may come back under another configuration without a gap.
#pragma once

#include <absl/base/thread_annotations.h>
#include <absl/status/statusor.h>
#include <absl/types/span.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "model/mutex.h"
#include "net/client.h"
#include "scrape/body_appender.h"
#include "scrape/context.h"
#include "scrape/failure_log.h"
#include "scrape/manager.h"
#include "scrape/metadata_store.h"
#include "scrape/series_cache.h"
#include "scrape/target.h"

namespace varve {

// A pool's configuration with what follows from it. Immutable but for the flag, shared by its
// loops.
struct PoolSettings {
  ScrapeConfig config;
  std::shared_ptr<const HttpClientConfig> http;
  std::string accept;
  std::shared_ptr<FailureLog> failure_log;  // Null: none.
  bool reads_files = false;                 // Starting a request may wait for the file system.
  mutable std::atomic<bool> limit_offered = false;  // See OfferLimit().

  static std::shared_ptr<const PoolSettings> Create(ScrapeConfig config);
};

struct FinishedScrape;

// Thread-safe. Held by shared_ptr, also by its timers and transfers.
class TargetLoop : public std::enable_shared_from_this<TargetLoop> {
 public:
  // One scrape, from its start to its report.
  struct Scrape {
    std::shared_ptr<const PoolSettings> settings;
    std::shared_ptr<const Target> target;
    TimestampMs time = 0;
    int64_t start_nanos = 0;  // Monotonic.
    std::string forced_error;
    bool unlearn = false;  // The configuration now gives lines another meaning.
    uint64_t body_bytes_expected = 0;
  };

  TargetLoop(std::shared_ptr<ScrapeContext> context, std::shared_ptr<ScrapeMetrics::Pool> metrics,
             std::shared_ptr<const PoolSettings> settings, std::shared_ptr<const Target> target);
  ~TargetLoop();

  // Schedules the first scrape in the target's next slot, or now if one has just passed.
  void Start() ABSL_LOCKS_EXCLUDED(mutex_);
  // Ends the scrapes; `end_series`: with staleness markers as of (2). REQUIRES: called once.
  void Stop(bool end_series) ABSL_LOCKS_EXCLUDED(mutex_);

  // Takes effect with the next scrape. REQUIRES: `target` has the same Hash().
  void Change(std::shared_ptr<const PoolSettings> settings, std::shared_ptr<const Target> target)
      ABSL_LOCKS_EXCLUDED(mutex_);
  // While not empty, the target is not asked and every scrape fails with this error.
  void SetForcedError(std::string error) ABSL_LOCKS_EXCLUDED(mutex_);

  std::shared_ptr<const Target> target() const ABSL_LOCKS_EXCLUDED(mutex_);
  // All but scrape_pool and global_url.
  ActiveTarget Snapshot() const ABSL_LOCKS_EXCLUDED(mutex_);
  const TargetMetadataStore& metadata() const { return metadata_; }

  // Appends what was fetched, of several loops at once, and has each go on.
  static void Finish(absl::Span<FinishedScrape> finished);

 private:
  struct Report {
    AppendCounts counts;
    int64_t body_bytes = 0;
    double seconds = 0;
    std::string error;  // Empty: the scrape succeeded.
  };
  static constexpr size_t kReportSeriesMax = 8;

  void Schedule() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  DurationMs PassedSlotMax(TimestampMs now, DurationMs interval) const;
  void OnSlot() ABSL_LOCKS_EXCLUDED(mutex_);
  Scrape BeginScrape() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  TimestampMs ScrapeTime(TimestampMs now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::StatusOr<std::shared_ptr<const PreparedRequest>> Prepare(const Scrape& scrape)
      ABSL_LOCKS_EXCLUDED(mutex_);
  void Fetch(Scrape scrape) ABSL_LOCKS_EXCLUDED(mutex_);
  // Appends what was fetched and its report; null if the loop has been stopped.
  std::unique_ptr<Appender> AppendScrape(const FinishedScrape& finished, Report& report)
      ABSL_LOCKS_EXCLUDED(mutex_, scrape_mutex_);
  // Behind the commit: records the scrape and schedules the next.
  void Conclude(const Scrape& scrape, Report& report, const absl::Status& committed)
      ABSL_LOCKS_EXCLUDED(mutex_);
  void AppendReport(const Scrape& scrape, const Report& report, Appender& appender)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(scrape_mutex_);
  void AppendReportSample(const Target& target, size_t index, std::string_view metric,
                          TimestampMs time, double value, Appender& appender)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(scrape_mutex_);
  void AppendMetadata(Appender& appender);
  void CountRejects(const AppendCounts& counts, const absl::Status& status);
  void Record(const Scrape& scrape, const Report& report) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void RecordHistory(const Scrape& scrape, const Report& report)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void OfferLimit(const Scrape& scrape, const Report& report) const;
  void EndSeries(TimestampMs time) ABSL_LOCKS_EXCLUDED(scrape_mutex_);
  bool stopped() const ABSL_LOCKS_EXCLUDED(mutex_);

  // Constant after construction; the store is thread-safe.
  const std::shared_ptr<ScrapeContext> context_;
  const std::shared_ptr<ScrapeMetrics::Pool> metrics_;
  const uint64_t hash_;
  TargetMetadataStore metadata_;

  Mutex scrape_mutex_;  // Before mutex_.
  SeriesCache cache_ ABSL_GUARDED_BY(scrape_mutex_);
  size_t metadata_counted_ ABSL_GUARDED_BY(scrape_mutex_) = 0;  // In the pool's gauge.
  std::array<SeriesRef, kReportSeriesMax> report_refs_ ABSL_GUARDED_BY(scrape_mutex_) = {};

  mutable Mutex mutex_;
  std::shared_ptr<const PoolSettings> settings_ ABSL_GUARDED_BY(mutex_);
  std::shared_ptr<const Target> target_ ABSL_GUARDED_BY(mutex_);
  std::string forced_error_ ABSL_GUARDED_BY(mutex_);
  bool unlearn_ ABSL_GUARDED_BY(mutex_) = false;
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
  TimerId timer_ ABSL_GUARDED_BY(mutex_) = kNoTimer;
  TransferId transfer_ ABSL_GUARDED_BY(mutex_) = kNoTransfer;
  // The request made last, and what it was made of.
  struct {
    std::shared_ptr<const PoolSettings> settings;
    std::shared_ptr<const Target> target;
    std::shared_ptr<const PreparedRequest> request;
  } prepared_ ABSL_GUARDED_BY(mutex_);
  TimestampMs slot_ ABSL_GUARDED_BY(mutex_) = 0;          // Of the scrape scheduled or under way.
  DurationMs slot_interval_ ABSL_GUARDED_BY(mutex_) = 0;  // With which slot_ was found.
  int64_t last_start_nanos_ ABSL_GUARDED_BY(mutex_) = 0;
  // What the last scrape said.
  TimestampMs last_scrape_ ABSL_GUARDED_BY(mutex_) = 0;
  double last_seconds_ ABSL_GUARDED_BY(mutex_) = 0;
  ScrapeHistory history_ ABSL_GUARDED_BY(mutex_);
  std::string last_error_ ABSL_GUARDED_BY(mutex_);
  TargetHealth health_ ABSL_GUARDED_BY(mutex_) = TargetHealth::kUnknown;
};

// An answer, or why there is none, and what it is for.
struct FinishedScrape {
  std::shared_ptr<TargetLoop> loop;
  TargetLoop::Scrape scrape;
  absl::StatusOr<ClientResponse> response;
  int64_t end_nanos = 0;  // When it came, on the monotonic clock.
};

}  // namespace varve

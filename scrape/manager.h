// SPDX-License-Identifier: Apache-2.0
//
// Scraping as a whole: one pool per scrape_config, discovery that feeds the pools their targets, a
// scheduler that starts each target's scrape in its slot, and workers that parse and append the
// answers. What the API shows of targets is a snapshot.
#pragma once

#include <absl/status/status.h>
#include <absl/status/statusor.h>
#include <prometheus/registry.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "model/appendable.h"
#include "model/clock.h"
#include "model/labels.h"
#include "model/matcher.h"
#include "model/metric_metadata.h"
#include "scrape/config.h"
#include "scrape/discovery/health.h"

namespace varve {

class HttpClient;
struct ScrapePreview;

enum class TargetHealth { kUnknown, kUp, kDown };
// "unknown", "up", "down".
std::string_view TargetHealthText(TargetHealth health);

// Scrapes in a row that failed with the same error.
struct ScrapeFailures {
  TimestampMs first = 0;
  TimestampMs last = 0;
  uint64_t count = 0;
  std::string error;  // At most kFailureBytesMax.
};
inline constexpr size_t kFailuresKept = 10;
inline constexpr size_t kFailureBytesMax = 1024;

// How a target's scrapes went since it was found, and how the last one compares with its limits.
struct ScrapeHistory {
  uint64_t scrapes = 0;
  uint64_t failed = 0;
  std::vector<ScrapeFailures> failures;  // The newest kFailuresKept, newest first.
  // Samples that were not stored, by reason.
  uint64_t dropped_by_relabelling = 0;
  uint64_t dropped_out_of_order = 0;
  uint64_t dropped_duplicate = 0;
  uint64_t dropped_out_of_bounds = 0;
  uint64_t dropped_with_failed_scrapes = 0;
  // Of the last scrape.
  int64_t body_bytes = 0;  // -1: more than its limit.
  uint64_t samples = 0;
  uint64_t samples_after_relabelling = 0;
  uint64_t series_added = 0;
  ScrapeLimits limits;
};

struct ActiveTarget {
  Labels discovered_labels;  // Before relabelling.
  Labels labels;             // After it, without `__` labels.
  std::string scrape_pool;
  std::string scrape_url;
  std::string global_url;       // scrape_url as reached from other hosts.
  std::string last_error;       // Empty while healthy.
  TimestampMs last_scrape = 0;  // 0 = not scraped yet.
  double last_scrape_duration_seconds = 0;
  TargetHealth health = TargetHealth::kUnknown;
  DurationMs interval = 0;
  DurationMs timeout = 0;
  ScrapeHistory history;
};

struct DroppedTarget {
  Labels discovered_labels;
  std::string scrape_pool;
};

struct TargetsSnapshot {
  std::vector<ActiveTarget> active;                // By pool, then by labels.
  std::vector<DroppedTarget> dropped;              // At most keep_dropped_targets a pool.
  std::map<std::string, uint64_t> dropped_counts;  // By pool, kept or not.
};

struct TargetMetadata {
  Labels target;
  std::string metric;
  MetricMetadata metadata;
};

struct ScrapeManagerOptions {
  Clock& clock;
  HttpClient& http_client;
  Appendable& storage;
  prometheus::Registry& registry;
  std::string hostname;        // Spreads the slots of several servers.
  std::string external_url;    // How others reach this server; its host goes into global_url.
  std::string listen_address;  // host:port of this server, to know itself among its targets.
  uint32_t workers = 0;        // Threads that parse and append; 0 = one per core, at most 4.
  DurationMs discovery_reload_interval = 5 * kSecond;
  bool adjust_timestamps = true;
  DurationMs timestamp_tolerance = 2;
  // More samples than these in a scrape without `sample_limit` are warned of, once a job.
  uint64_t unlimited_samples_max = 50'000;
  // When the process started: slots of the first interval that pass before their target is there
  // are made up for. 0 = not known.
  TimestampMs start_time = 0;
};

// Thread-safe.
class ScrapeManager {
 public:
  // Starts the threads; without a configuration nothing is scraped. References outlive the manager,
  // and clock and registry outlive the client, whose timers may hold on to targets that are gone.
  static absl::StatusOr<std::unique_ptr<ScrapeManager>> Create(ScrapeManagerOptions options);
  // Stops as Stop() does.
  virtual ~ScrapeManager() = default;

  // Makes `configs` what is scraped. Pools whose configuration is unchanged go on as they are, the
  // others keep the targets that stay the same. A discovery that cannot start, for instance since
  // there is no cluster to ask, is logged and costs its own targets only. Fails after Stop().
  virtual absl::Status ApplyConfig(std::vector<ScrapeConfig> configs, Labels external_labels) = 0;

  // Ends every scrape; answers under way are dropped. Series get no staleness markers, so that a
  // restart leaves no gap. May be called again.
  virtual void Stop() = 0;

  virtual std::vector<std::string> Pools() const = 0;  // Sorted.
  // Of every pool if `pool` is empty.
  virtual TargetsSnapshot Targets(std::string_view pool = "") const = 0;
  // How the discoveries are doing, by job.
  virtual std::vector<DiscoveryStatus> DiscoveryStatuses() const = 0;
  // What `pool` was configured with; NotFound `scrape pool not found`.
  virtual absl::StatusOr<ScrapeConfig> PoolConfig(std::string_view pool) const = 0;

  // Scrapes the target of `pool` at `url` now, beside its own rhythm, and stores nothing. At most
  // `samples_max` samples are given. Waits for the answer. NotFound if there is no such target.
  virtual absl::StatusOr<ScrapePreview> ScrapeNow(std::string_view pool, std::string_view url,
                                                  size_t samples_max) = 0;

  // Metadata of `metric` ("" = all) on the active targets whose labels match, at most `limit`
  // entries (negative = all).
  virtual std::vector<TargetMetadata> MetadataByTarget(const std::vector<Matcher>& target_matchers,
                                                       std::string_view metric,
                                                       int64_t limit) const = 0;
  // Distinct metadata by metric, at most `limit` metrics with `limit_per_metric` entries each
  // (negative = all).
  virtual std::map<std::string, std::vector<MetricMetadata>> Metadata(
      std::string_view metric, int64_t limit, int64_t limit_per_metric) const = 0;
};

}  // namespace varve

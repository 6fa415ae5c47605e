// SPDX-License-Identifier: Apache-2.0
//
// What the admin and status endpoints, and /metrics, ask of the storage.
#pragma once

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "model/matcher.h"
#include "model/time.h"

namespace varve {

struct NamedCount {
  std::string name;
  uint64_t value = 0;
};

struct HeadStats {
  uint64_t series = 0;
  uint64_t label_pairs = 0;
  uint64_t chunks = 0;
  TimestampMs min_time = kMaxTimestamp;  // kMaxTimestamp / kMinTimestamp while empty.
  TimestampMs max_time = kMinTimestamp;
};

// The `limit` largest of each kind over the series in memory.
struct CardinalityStats {
  HeadStats head;
  std::vector<NamedCount> series_by_metric;
  std::vector<NamedCount> values_by_label;
  std::vector<NamedCount> bytes_by_label;
  std::vector<NamedCount> series_by_pair;  // "name=value"
};

// How long the runs of a job took, in seconds.
struct DurationCounts {
  // The run took at most 1, 2, 4, ... 8192 seconds, or more.
  static constexpr size_t kBounds = 14;
  std::array<uint64_t, kBounds + 1> counts{};  // Of each bound alone, then of longer ones.
  double sum = 0;

  void Add(double seconds);
};

// Folding closed chunks into columns, or merging what was folded before.
struct FoldCounters {
  uint64_t runs = 0;
  uint64_t failures = 0;
  uint64_t bytes = 0;  // Written.
  DurationCounts durations;
};

// Counters since the start and sizes of now, for /metrics.
struct StorageCounters {
  uint64_t float_samples_appended = 0;
  uint64_t histogram_samples_appended = 0;
  uint64_t series_created = 0;
  uint64_t series_removed = 0;
  uint64_t out_of_order_samples = 0;  // Refused.
  uint64_t out_of_order_samples_appended = 0;
  uint64_t too_old_samples = 0;
  uint64_t out_of_bounds_samples = 0;
  uint64_t duplicate_samples = 0;
  uint64_t corruptions = 0;             // Damaged parts of what is stored that were left out.
  uint64_t unknown_series_samples = 0;  // Logged, of series that damage made unknown.
  uint64_t metadata_refused = 0;        // Of metrics, for a limit or a name that is none.
  uint64_t metadata_cut = 0;            // Stored with a text cut.
  uint64_t failed_commits = 0;          // Batches that could not be written.
  bool writable = true;                 // Whether the last attempt to write worked.
  uint64_t reserve_bytes = 0;           // Held back for when the disk is full.
  uint64_t buckets_dropped_by_retention = 0;
  uint64_t generations_dropped_by_size = 0;
  uint64_t disk_bytes = 0;
  uint64_t log_bytes = 0;
  uint64_t active_appenders = 0;
  FoldCounters folds;
  FoldCounters merges;
  uint64_t buckets = 0;
  uint64_t generations = 0;
  uint64_t generation_samples = 0;
  uint64_t generation_bytes = 0;
  uint64_t unfolded_families = 0;  // Finished stretches of closed chunks that wait to be folded.
  TimestampMs oldest_sample = kMaxTimestamp;  // About: no sample is older. kMaxTimestamp = none.
};

// What the admin and status endpoints ask of the storage. Thread-safe.
class StorageAdmin {
 public:
  virtual ~StorageAdmin() = default;
  virtual CardinalityStats Cardinality(size_t limit) const = 0;
  virtual HeadStats Head() const = 0;
  virtual StorageCounters Counters() const = 0;

  // Makes the samples in [min, max] of the series that match one of `matcher_sets` invisible. What
  // is appended later is not touched.
  virtual absl::Status DeleteSeries(const std::vector<std::vector<Matcher>>& matcher_sets,
                                    TimestampMs min, TimestampMs max) = 0;
  // Removes deleted samples from the disk.
  virtual absl::Status CleanTombstones() = 0;
  // Writes a copy of everything that can be opened as a data directory, and returns its name below
  // `snapshots/` of this one.
  virtual absl::StatusOr<std::string> Snapshot() = 0;
};

}  // namespace varve

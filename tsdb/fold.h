// SPDX-License-Identifier: Apache-2.0
//
// Folding and sealing: from the chunks of a finished hot family to generations of columns, and
// from several generations of a bucket to one.
//
// A step of either kind:
//   1. writes tables beside the database, without any lock that commits or queries take
//   2. moves them into their families, where no row of the bucket table names them yet
//   3. puts the bucket table, which makes them visible and retires what they replace
//   4. syncs that, and drops the hot family
// What a crash leaves of a step is deleted at the next start: tables of 1, generations without a
// row of 2, hot families that the table has as folded of 4. Files of retired generations are
// deleted once the last reader of an older table has left.
#pragma once

#include <absl/functional/function_ref.h>
#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "model/clock.h"
#include "model/mutex.h"
#include "model/storage_admin.h"
#include "tsdb/db.h"
#include "tsdb/generation.h"
#include "tsdb/generation_writer.h"
#include "tsdb/head.h"
#include "tsdb/store.h"
#include "tsdb/write_path.h"

namespace varve {

class HotCursor;

// Which generations of a bucket to merge now: a run up to the newest whose sizes are near one
// another, so that a sample is merged a few times at most however many generations there are.
// Returns the index of the first one, or generations.size() if there is nothing to do.
// REQUIRES: in order of their numbers.
size_t FirstToMerge(const std::vector<BucketTable::Generation>& generations);

// One pass at a time; all functions are thread-safe.
class Folder {
 public:
  // All outlive the folder.
  Folder(const DbOptions& options, Clock& clock, Store& store, Head& head, WritePath& write_path,
         AtomicCounters& counters)
      : options_(options),
        clock_(clock),
        store_(store),
        head_(head),
        write_path_(write_path),
        counters_(counters),
        late_window_(options.out_of_order_window) {}

  // Folds the hot families that are finished, merges generations, seals buckets that have closed,
  // and deletes what nobody needs any more. Cancelled if Stop() was called.
  absl::Status Run() ABSL_LOCKS_EXCLUDED(mutex_);
  // The same, and seals every bucket that has several generations, closed or not.
  absl::Status SealAll() ABSL_LOCKS_EXCLUDED(mutex_);
  // Folds what is finished and writes the generations again that have samples deleted up to log
  // `sequence`.
  absl::Status Clean(uint64_t sequence) ABSL_LOCKS_EXCLUDED(mutex_);
  // Buckets close only once they are out of reach of late samples.
  void SetLateWindow(DurationMs window) { late_window_.store(window, std::memory_order_relaxed); }
  // Makes the pass at work end at its next series; what it has not published is done again later.
  void Stop() { stopped_.store(true, std::memory_order_relaxed); }

  FoldCounters folds() const ABSL_LOCKS_EXCLUDED(counts_mutex_);
  FoldCounters merges() const ABSL_LOCKS_EXCLUDED(counts_mutex_);

 private:
  // Runs `job`, which says how many bytes it wrote, and counts it.
  absl::Status Counted(FoldCounters Folder::*into,
                       absl::FunctionRef<absl::Status(uint64_t& bytes)> job)
      ABSL_LOCKS_EXCLUDED(counts_mutex_);
  absl::Status RunLocked(bool seal_all) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status FoldAndMerge(bool seal_all) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status Fold(const HotFamily& hot, uint64_t& bytes) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status FoldBucket(const HotFamily& hot, HotCursor& cursor, TableChange& change)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Publishes `change`, or deletes the generations it would have added.
  absl::Status Publish(const TableChange& change) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status MergeGenerations(bool seal_all) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Merges the generations of `bucket` from `first` on.
  absl::Status MergeCounted(const HotSet& set, const BucketTable::Bucket& bucket, size_t first)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status Merge(const HotSet& set, const BucketTable::Bucket& bucket, size_t first,
                     uint64_t& bytes) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status MergeInto(const std::vector<GenerationPtr>& from, const TombstoneSet& deleted,
                         GenerationWriter& writer) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::StatusOr<std::unique_ptr<GenerationWriter>> NewWriter(PartitionId partition,
                                                              TimestampMs bucket_start)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool HasClosed(const BucketTable::Bucket& bucket) const;
  void CountDamage(std::string_view what, const absl::Status& status);
  absl::Status At(std::string_view step);

  const DbOptions& options_;
  Clock& clock_;
  Store& store_;
  Head& head_;
  WritePath& write_path_;
  AtomicCounters& counters_;

  std::atomic<DurationMs> late_window_;
  std::atomic<bool> stopped_ = false;
  Mutex mutex_;
  std::string scratch_ ABSL_GUARDED_BY(mutex_);
  // Buckets whose generations could not be merged: left as they are until the next start.
  std::set<std::pair<PartitionId, TimestampMs>> unmergeable_ ABSL_GUARDED_BY(mutex_);

  mutable Mutex counts_mutex_;
  FoldCounters folds_ ABSL_GUARDED_BY(counts_mutex_);
  FoldCounters merges_ ABSL_GUARDED_BY(counts_mutex_);
};

}  // namespace varve

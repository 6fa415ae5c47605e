// SPDX-License-Identifier: Apache-2.0
//
// Deleted samples. A tombstone says that samples of a series in a span of time are gone if they
// were written up to a log sequence: what is appended to the span later stays visible. Readers
// leave the samples out; folding and merging do not write them again. Rows are described in
// format.h.
#pragma once

#include <absl/container/flat_hash_map.h>
#include <absl/status/status.h>
#include <absl/types/span.h>

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "model/mutex.h"
#include "model/queryable.h"
#include "model/status_macros.h"
#include "model/time.h"
#include "tsdb/merge_samples.h"
#include "tsdb/store.h"

namespace varve {

struct Tombstone {
  TimestampMs min = 0;  // Inclusive, as max.
  TimestampMs max = 0;
  uint64_t sequence = 0;  // Taken from the log's: samples of the records before it are gone.
  friend bool operator==(const Tombstone&, const Tombstone&) = default;
};

// Log sequence of samples of which only their times say whether they were deleted: those that came
// in order are older than any tombstone that covers them.
inline constexpr uint64_t kWrittenInOrder = 0;

// All tombstones at one moment. Immutable.
class TombstoneSet {
 public:
  absl::Span<const Tombstone> Of(uint64_t series) const;
  const absl::flat_hash_map<uint64_t, std::vector<Tombstone>>& by_series() const {
    return by_series_;
  }
  // Of the newest tombstone; 0 if there is none.
  uint64_t sequence() const { return sequence_; }

 private:
  friend class TombstoneStore;
  absl::flat_hash_map<uint64_t, std::vector<Tombstone>> by_series_;
  uint64_t sequence_ = 0;
};

// Those of `tombstones` that came after log `sequence`.
std::vector<Tombstone> Since(absl::Span<const Tombstone> tombstones, uint64_t sequence);

// Whether all samples of [min, max] written in order are gone.
bool Covers(absl::Span<const Tombstone> tombstones, TimestampMs min, TimestampMs max);

// Removes the samples that are gone, all of which were written at log sequence `written`.
void RemoveDeleted(absl::Span<const Tombstone> tombstones, uint64_t written,
                   SeriesSamples& samples);

// Lets read(SeriesSamples&) merge samples written at `written` into `samples`, without those that
// are gone.
template <typename Read>
absl::Status ReadLiving(absl::Span<const Tombstone> tombstones, uint64_t written,
                        SeriesSamples& samples, Read read) {
  if (tombstones.empty()) return read(samples);
  SeriesSamples part;
  RETURN_IF_ERROR(read(part));
  RemoveDeleted(tombstones, written, part);
  MergeSamples(std::move(part), samples);
  return absl::OkStatus();
}

// Thread-safe; Add() and Forget() are called by one writer at a time.
class TombstoneStore {
 public:
  // Reads the `tombstones` family; what is damaged is left out and said in `damage`.
  absl::Status Load(const Store& store, std::vector<absl::Status>& damage)
      ABSL_LOCKS_EXCLUDED(mutex_);

  // Never null.
  std::shared_ptr<const TombstoneSet> set() const ABSL_LOCKS_EXCLUDED(mutex_);

  using Entries = std::vector<std::pair<uint64_t, Tombstone>>;  // Series and tombstone.
  // Adds the rows of `entries` to `batch`; once it is written, call Added().
  static void Put(const Entries& entries, const Store& store, rocksdb::WriteBatch& batch);
  void Added(const Entries& entries) ABSL_LOCKS_EXCLUDED(mutex_);

  // The same to remove the tombstones up to `sequence` that end before `time`.
  Entries Outdated(uint64_t sequence, TimestampMs time) const ABSL_LOCKS_EXCLUDED(mutex_);
  static void Delete(const Entries& entries, const Store& store, rocksdb::WriteBatch& batch);
  void Deleted(const Entries& entries) ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  mutable Mutex mutex_;
  std::shared_ptr<const TombstoneSet> set_ ABSL_GUARDED_BY(mutex_) =
      std::make_shared<TombstoneSet>();
};

}  // namespace varve

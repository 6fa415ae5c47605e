// SPDX-License-Identifier: Apache-2.0
//
// The head: the series in memory, their open chunks, and the rules by which samples are accepted.
//
// Two kinds of callers meet here:
//   - Appenders find series and ask whether a sample would be accepted (Check*), many at a time.
//   - One writer at a time (the holder of WritePath's commit lock) accepts and applies batches,
//     captures rows for checkpoints, and removes series. Functions marked WRITER are its own.
// Sample state changes only under both the writer's turn and the shard's lock; so the writer reads
// it without the shard lock, and everybody else under it.
//
// Lock order: writer's turn, create_mutex_, the index, visible_mutex_, a shard.
#pragma once

#include <absl/container/flat_hash_map.h>
#include <absl/container/flat_hash_set.h>
#include <absl/functional/function_ref.h>
#include <absl/status/statusor.h>
#include <absl/types/span.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "model/appendable.h"
#include "model/labels.h"
#include "model/memory_budget.h"
#include "model/mutex.h"
#include "model/queryable.h"
#include "model/storage_admin.h"
#include "tsdb/format.h"
#include "tsdb/head_row.h"
#include "tsdb/head_view.h"
#include "tsdb/idle_series.h"
#include "tsdb/late_samples.h"
#include "tsdb/log_record.h"
#include "tsdb/series_index.h"
#include "tsdb/series_record.h"
#include "tsdb/series_shard.h"

namespace varve {

struct HeadOptions {
  DurationMs bucket_size = kDay;
  uint64_t series_max = 0;
  MemoryBudget* memory = nullptr;  // Says whether new series are accepted; null = always.
};

class Head {
 public:
  explicit Head(const HeadOptions& options) : options_(options) {}
  Head(const Head&) = delete;
  Head& operator=(const Head&) = delete;

  // ------------------------------------------------------------------------------- appending

  // Finds the series (by `id` if it is not 0 and known, else by its labels) or creates it, and
  // calls use(id, record) under the shard's lock. NotFound if `id` is unknown and there are no
  // labels, ResourceExhausted (kLimit) past the series limit.
  template <typename Use>
  absl::Status WithSeries(uint64_t id, const Labels& labels, Use use);

  // Calls use(record) for each sample that next(sample) sets, until that returns false: true. Or
  // until use() returns false or a series is unknown. Both are called under a shard's lock.
  // Neighbouring ids cost little.
  template <typename Next, typename Use>
  bool WithKnown(KnownSample& sample, Next next, Use use) {
    return varve::WithKnown(shards_, sample, next, use);
  }

  // The rule for a sample after `last`. `same` is set if it is there already, with this value.
  static AppendError CheckOrder(const LastSample& last, const AppendWindow& window,
                                TimestampMs time, double value, const Histogram* histogram,
                                bool& same);
  static LastSample LastOf(const SeriesRecord& record);

  // A batch's claim on the record it has accepted a sample for, once for each sample. REQUIRES: the
  // shard's lock.
  void Claim(SeriesRecord& record) {
    if (record.AddPending() > 1) shared_claims_.fetch_add(1, std::memory_order_relaxed);
  }
  // Gives up a batch's claims on its records.
  void Release(const Batch& batch);
  // How often a record was claimed that had been claimed already. While this stays the same, what
  // a batch was told of its series holds.
  uint64_t shared_claims() const { return shared_claims_.load(std::memory_order_relaxed); }

  // WRITER: drops samples of `batch` that no longer fit (another batch was faster) and counts
  // them. Returns how many.
  size_t Recheck(Batch& batch, StorageCounters& refused);
  // Whether a series of the batch has other samples on their way too, of any batch.
  bool AnyShared(const Batch& batch) const;
  // WRITER: whether each of its samples was the only one of its series on its way all the time:
  // then there is nothing to recheck, and nothing is shared. False is said of others too.
  bool IsAlone(const Batch& batch) const { return batch.shared_claims_before == shared_claims(); }
  // WRITER: makes the batch, log record `sequence`, visible, all at once, releases it, and adds the
  // chunks this closed to unwritten_chunks().
  void Apply(const Batch& batch, uint64_t sequence);

  // WRITER: chunks not in a hot family yet; they stay readable here until Written().
  const std::vector<std::shared_ptr<const ClosedChunk>>& unwritten_chunks() const {
    return unwritten_;
  }
  // WRITER: of their values.
  size_t unwritten_bytes() const { return unwritten_bytes_; }
  // WRITER: all of unwritten_chunks() are now in hot family `epoch`.
  void Written(uint32_t epoch);

  // WRITER: the bucket table, and whether it changed since it was asked last.
  const BucketTable& bucket_table() const { return bucket_table_; }
  bool TakeBucketTableChanged() { return std::exchange(bucket_table_changed_, false); }
  void MarkBucketTableChanged() { bucket_table_changed_ = true; }
  void SetBucketTable(BucketTable table) { bucket_table_ = std::move(table); }
  void DropBucketsBefore(TimestampMs time);

  // WRITER: time of the newest sample of a series in memory; nothing if it is not there or has
  // none.
  std::optional<TimestampMs> LastTimeOf(uint64_t id) const;
  // WRITER: the series' late samples become chunks. Returns whether there were any.
  bool CloseLateOf(uint64_t id);
  // WRITER: late samples of the row become chunks.
  void CloseLate(uint64_t row);
  // Late samples up to this time may be stored.
  void RaiseNewestLate(TimestampMs time);
  TimestampMs newest_late() const { return newest_late_.load(std::memory_order_relaxed); }
  uint64_t late_samples() const { return late_samples_.load(std::memory_order_relaxed); }

  // Time of the newest sample; kMinTimestamp before the first.
  TimestampMs max_time() const { return max_time_.load(std::memory_order_relaxed); }
  // WRITER: a clock that was wrong must not keep today's samples out. Series with samples after
  // `limit` get no more: their labels go on under new refs, and they leave memory as idle ones do.
  // The newest sample is now that of the other series, `now` if there is none. Series in use by a
  // batch are passed over. Returns how many were retired.
  uint64_t RetireAfter(TimestampMs limit, TimestampMs now);

  // --------------------------------------------------------------------- checkpoint, restart

  // WRITER: rows (of kHeadRowSeries ids) that changed since their last capture.
  std::vector<uint64_t> DirtyRows() const;
  struct CapturedRow {
    std::string value;                     // Empty if the row has no series left.
    std::vector<uint64_t> unsaved_series;  // Logged, but without a row of `series`.
  };
  // WRITER: the state of a row as of log `sequence`. The row is clean from now on.
  CapturedRow CaptureRow(uint64_t row, uint64_t sequence);
  // WRITER: the row's write succeeded (or not: then it is dirty again).
  void RowSaved(uint64_t row, const CapturedRow& captured, const absl::Status& status);

  // WRITER: a series that the log names; the index and RaiseLastId() are up to the caller. Returns
  // false if there is one of this id.
  bool RestoreLogged(uint64_t id);
  // WRITER: the same for one with a row of `series`. REQUIRES: it is not there.
  void RestoreSaved(uint64_t id);
  // WRITER: its state. DataLoss if the chunk is damaged; the series is then empty.
  absl::Status RestoreEntry(const HeadRowEntry& entry);
  // WRITER: state for a saved series without a head entry: it may have chunks anywhere.
  void RestoreUnknownEntry(uint64_t id, uint32_t hot_epoch);
  // WRITER: applies the samples of log record `sequence`, but for those of series that already
  // `is_contained` them; counts samples of unknown series in `unknown`.
  void Replay(const LogRecord& record, uint64_t sequence,
              absl::FunctionRef<bool(uint64_t id)> is_contained, uint64_t& unknown);
  // Ids up to this one are never given out again.
  void RaiseLastId(uint64_t id);
  uint64_t last_id() const { return last_id_.load(std::memory_order_relaxed); }

  // ----------------------------------------------------------------------------- maintenance

  // WRITER: closes the chunks of idle series of some shards, and of those that are quiet and have
  // got no sample since the sweep before; removes the idle series without any data: no open chunk
  // and none in a hot family from `oldest_epoch` on. Returns the ids removed, and whether each had
  // a row in `series`.
  struct SweepResult {
    std::vector<uint64_t> removed;
    std::vector<uint64_t> removed_saved;
  };
  SweepResult Sweep(size_t first_shard, size_t shards, const IdleLimits& idle,
                    uint32_t oldest_epoch);

  // --------------------------------------------------------------------------------- reading

  SeriesIndex& index() { return index_; }
  const SeriesIndex& index() const { return index_; }

  // Those of `ids` that may have samples in [min, max], in order. A batch is seen whole or not at
  // all by ids that lie near one another.
  std::vector<SeriesView> View(absl::Span<const uint64_t> ids, TimestampMs min,
                               TimestampMs max) const;
  bool MayHaveSamples(uint64_t id, TimestampMs min, TimestampMs max) const;
  // No stored sample is older than this; what min_time says below it is out of date.
  void RaiseOldestTime(TimestampMs time);

  OpenSamples CopyOpen(uint64_t id) const;

  // Of each series the newest sample that is stored anywhere, from `min` on, if it is a float of
  // the open chunk. Not found, if it is not there or not certain. Neighbouring ids cost little.
  std::vector<NewestSample> ReadNewest(absl::Span<const NewestWanted> wanted,
                                       TimestampMs min) const;

  HeadStats Stats() const;

  // An estimate of what the series in memory take: records and open chunks of some thousand series
  // are looked at, other ones at the next call, and the index is reckoned by its numbers. One call
  // at a time.
  uint64_t MemoryBytes();

 private:
  using Shard = SeriesShard;

  // Sweep() but for the index.
  void SweepShard(Shard& shard, const IdleLimits& idle, uint32_t oldest_epoch, SweepResult& result)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(shard.mutex);
  absl::StatusOr<uint64_t> FindOrCreate(const Labels& labels) ABSL_LOCKS_EXCLUDED(create_mutex_);
  // The series with these labels that is not retired; 0 if there is none.
  uint64_t FindLive(const Labels& labels) const;

  // Returns once no series is being created or removed.
  void AwaitRemoval() ABSL_LOCKS_EXCLUDED(create_mutex_);

  void ApplyFloat(Shard& shard, SeriesRecord& record, const LogRecord::Float& sample)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(shard.mutex);
  void ApplyHistogram(Shard& shard, SeriesRecord& record, const LogRecord::HistogramEntry& sample)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(shard.mutex);
  void ApplyLate(Shard& shard, SeriesRecord& record, uint64_t id, LateSample sample)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(shard.mutex);
  void CloseLateOf(Shard& shard, uint64_t id) ABSL_EXCLUSIVE_LOCKS_REQUIRED(shard.mutex);
  TimestampMs BucketStart(TimestampMs time, TimestampMs* end);
  void ApplyAll(const Batch& batch);
  bool Overlaps(const SeriesRecord& record, TimestampMs min, TimestampMs max) const;
  // SeriesView::is_present, without looking at samples.
  bool IsPresent(const SeriesRecord& record, TimestampMs min, TimestampMs max) const;
  // Whether the open chunk has floats in [min, max], the newest that is stored anywhere among them.
  bool HasNewest(const SeriesRecord& record, TimestampMs min, TimestampMs max) const;
  void AddUnwritten(std::shared_ptr<const ClosedChunk> chunk);
  // The open chunk, as a hot family has it.
  struct OpenChunk {
    TimestampMs first_time = 0;
    TimestampMs last_time = 0;
    std::string value;  // EncodeHotChunk
  };
  static std::optional<OpenChunk> EncodeOpen(const SeriesRecord& record);
  // Moves the open chunk, if there is one, to the unwritten ones.
  void CloseChunk(Shard& shard, SeriesRecord& record, uint64_t id)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(shard.mutex);
  uint8_t ChunkLimit(const SeriesRecord& record, uint64_t id) const;

  // Of each sample that is applied, hence inlined.

  // Makes the bucket of `time` the one entered.
  ABSL_ATTRIBUTE_ALWAYS_INLINE void EnterBucket(TimestampMs time) {
    if (time < bucket_start_ || time >= bucket_end_) FindBucket(time);
  }
  void FindBucket(TimestampMs time);
  // Whether a sample at `time`, whose bucket was entered, needs a chunk of its own.
  ABSL_ATTRIBUTE_ALWAYS_INLINE bool MustCut(const SeriesRecord& record, TimestampMs first,
                                            uint32_t count, TimestampMs time) const {
    return count >= record.chunk_limit || first < bucket_start_ ||
           time - first >= kChunkSpanMax * record.chunk_limit / kChunkSamplesMax;
  }
  // `time` is later than any sample of the series.
  ABSL_ATTRIBUTE_ALWAYS_INLINE void NoteSample(SeriesRecord& record, TimestampMs time) {
    if (!record.has_samples) record.details().min_time = std::min(record.details().min_time, time);
    record.has_samples = true;
    record.quiet = false;
    // Only the writer stores these, so there is no update to lose.
    if (time > max_time_.load(std::memory_order_relaxed)) {
      max_time_.store(time, std::memory_order_relaxed);
    }
    if (time < min_time_.load(std::memory_order_relaxed)) {
      min_time_.store(time, std::memory_order_relaxed);
    }
  }
  ABSL_ATTRIBUTE_ALWAYS_INLINE void MarkDirty(uint64_t id) {
    if (id / kHeadRowSeries == last_dirty_row_) return;
    last_dirty_row_ = id / kHeadRowSeries;
    dirty_rows_.insert(last_dirty_row_);
  }

  const HeadOptions options_;

  SeriesIndex index_;
  SeriesShards shards_;

  // Held while a series is created (or removed) in index and shard.
  Mutex create_mutex_ ABSL_ACQUIRED_BEFORE(visible_mutex_);
  // Held while a batch becomes visible, and while a reader notes what is.
  mutable Mutex visible_mutex_;

  std::atomic<uint64_t> last_id_ = 0;
  std::atomic<TimestampMs> max_time_ = kMinTimestamp;
  std::atomic<TimestampMs> min_time_ = kMaxTimestamp;
  std::atomic<TimestampMs> oldest_time_ = kMinTimestamp;
  std::atomic<TimestampMs> newest_late_ = kMinTimestamp;
  std::atomic<uint64_t> late_samples_ = 0;  // Accepted.
  std::atomic<uint64_t> open_chunks_ = 0;
  std::atomic<bool> any_retired_ = false;  // At any time.
  // Whoever commits knows of the claims of all who committed before: the writer's turn sees to it.
  std::atomic<uint64_t> shared_claims_ = 0;

  size_t next_sampled_shard_ = 0;  // MemoryBytes()'s own.

  // The writer's own.
  BucketTable bucket_table_;
  bool bucket_table_changed_ = false;
  TimestampMs bucket_start_ = 0;  // Of the bucket entered last; empty at first.
  TimestampMs bucket_end_ = 0;
  std::vector<std::shared_ptr<const ClosedChunk>> unwritten_;
  size_t unwritten_bytes_ = 0;
  absl::flat_hash_set<uint64_t> dirty_rows_;
  uint64_t last_dirty_row_ = ~uint64_t{0};
  uint64_t sequence_ = 0;     // Of the log record applied last,
  uint64_t late_number_ = 0;  // and late chunks closed since.
};

template <typename Use>
absl::Status Head::WithSeries(uint64_t id, const Labels& labels, Use use) {
  for (bool searched = false;;) {
    if (id != 0) {
      Shard& shard = shards_[ShardOf(id)];
      MutexLock lock(shard.mutex);
      SeriesRecord* record = FindRecord(shard, id);
      if (record != nullptr && !record->retired) {
        use(id, *record);
        return absl::OkStatus();
      }
    }
    if (labels.empty()) return absl::NotFoundError("unknown series ref");
    // A series may leave between being found and being locked; then it is created anew.
    if (searched) AwaitRemoval();
    absl::StatusOr<uint64_t> found = FindOrCreate(labels);
    if (!found.ok()) return std::move(found).status();
    id = *found;
    searched = true;
  }
}

}  // namespace varve

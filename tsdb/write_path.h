// SPDX-License-Identifier: Apache-2.0
//
// From an accepted batch to the disk and back: the commit, the log and its epochs, head
// checkpoints, hot families, retention, and recovery from all of them.
//
// The order of things in a commit, all under the commit lock:
//   1. the batch is checked again, since another may have been faster
//   2. one put of a log record: from here on it survives a killed process. Batches that are
//      committed together and share no series are put with one write.
//   3. the head applies it: from here on it is visible
//   4. chunks that were closed are put into the current hot family, once there are many
//
// Recovery relies on these:
//   (1) A head row says which log sequence it contains; the log after it is still there.
//   (2) When a row is captured, every chunk closed before is in a hot family, earlier in the WAL.
//       A table with the row is made only once the WAL up to there is synced.
//   (3) The `series` row of a series is written no later than the first head row that has it.
//   (4) A log epoch is dropped when all of it lies before the checkpoint, and that is synced.
//   (5) A checkpoint is recorded once tables have its rows, which the WAL has not.
#pragma once

#include <absl/container/flat_hash_map.h>
#include <absl/status/status.h>

#include <atomic>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "model/clock.h"
#include "model/mutex.h"
#include "tsdb/atomic_counters.h"
#include "tsdb/db.h"
#include "tsdb/exemplar_store.h"
#include "tsdb/generation.h"
#include "tsdb/head.h"
#include "tsdb/hot_set.h"
#include "tsdb/log_record.h"
#include "tsdb/metadata_store.h"
#include "tsdb/store.h"
#include "tsdb/tombstones.h"

namespace varve {

class SeriesLoader;

// Thread-safe.
class WritePath {
 public:
  // All outlive the write path.
  WritePath(const DbOptions& options, Clock& clock, Store& store, Head& head,
            ExemplarStore& exemplars, MetadataStore& metadata, AtomicCounters& counters)
      : options_(options),
        clock_(clock),
        store_(store),
        head_(head),
        exemplars_(exemplars),
        metadata_(metadata),
        counters_(counters),
        generation_cache_(std::make_shared<GenerationCache>(options.generation_cache_bytes)) {}

  // Brings head and families to what was committed. Call once, first. What is damaged is left out;
  // `losses` says that something was lost before, so that the bucket table may be out of date.
  // FailedPrecondition if a newer version wrote the data.
  absl::Status Recover(bool losses) ABSL_LOCKS_EXCLUDED(commit_mutex_);
  // Tables of families that are small and live long in which Recover() met damage. Their readable
  // rows are in other tables too once RewriteDamaged() has returned: they can be removed.
  const std::set<uint64_t>& damaged_tables() const { return damaged_tables_; }
  absl::Status RewriteDamaged();
  uint64_t replayed_records() const { return replayed_records_; }

  std::unique_ptr<AppendBuffers> TakeBuffers() ABSL_LOCKS_EXCLUDED(buffers_mutex_);
  void ReturnBuffers(std::unique_ptr<AppendBuffers> buffers) ABSL_LOCKS_EXCLUDED(buffers_mutex_);

  // Commits each batch, or releases it and says why it could not. Batches of different series share
  // one write.
  std::vector<absl::Status> Commit(absl::Span<AppendBuffers* const> all)
      ABSL_LOCKS_EXCLUDED(commit_mutex_);

  // Returns when all commits so far survive a power cut. After a failed write it also tries to make
  // writing go on, so call it now and then.
  absl::Status SyncWal();
  absl::Status Checkpoint() ABSL_LOCKS_EXCLUDED(commit_mutex_, checkpoint_mutex_);
  // Starts a new log epoch and checkpoints if the current one is large or old enough.
  absl::Status CheckpointIfDue() ABSL_LOCKS_EXCLUDED(commit_mutex_, checkpoint_mutex_);

  // --------------------------------------------------------------------- deleting (delete.cc)

  // Makes samples of [min, max] of the selected series invisible, up to what is committed now.
  absl::Status DeleteSeries(const std::vector<std::vector<Matcher>>& matcher_sets, TimestampMs min,
                            TimestampMs max) ABSL_LOCKS_EXCLUDED(commit_mutex_);
  std::shared_ptr<const TombstoneSet> tombstones() const { return tombstones_.set(); }
  // Forgets the tombstones up to log `sequence` that end before `time`: no sample needs them.
  absl::Status ForgetTombstones(uint64_t sequence, TimestampMs time)
      ABSL_LOCKS_EXCLUDED(commit_mutex_);

  // ------------------------------------------------------------------------ folding (install.cc)

  // Hot families that nothing is written to any more, by number.
  std::vector<std::shared_ptr<HotFamily>> FinishedHot() ABSL_LOCKS_EXCLUDED(commit_mutex_);
  // A number no generation has.
  uint32_t NextGeneration() { return next_generation_.fetch_add(1, std::memory_order_relaxed); }
  // Puts the bucket table with `change` and shows it to readers from now on (`published`), syncs
  // it, and drops the hot families it replaces. Aborted if a generation to replace is gone by now.
  absl::Status Install(const TableChange& change, bool& published)
      ABSL_LOCKS_EXCLUDED(commit_mutex_);
  // Deletes the files of generations that the table does not name any more and no reader pins.
  absl::Status DropRetired() ABSL_LOCKS_EXCLUDED(commit_mutex_);
  // Closes all open chunks and starts a new hot family, so that everything can be folded.
  absl::Status CloseAll() ABSL_LOCKS_EXCLUDED(commit_mutex_);

  // Starts a new hot family if the current one has lasted its time.
  absl::Status RotateHotIfDue(DurationMs retention) ABSL_LOCKS_EXCLUDED(commit_mutex_);
  // Drops buckets and hot families all of whose samples are older than `cutoff`.
  absl::Status Expire(TimestampMs cutoff) ABSL_LOCKS_EXCLUDED(commit_mutex_);
  // Drops the oldest generations until their files' `bytes` or more are gone.
  absl::Status ExpireOldest(uint64_t bytes) ABSL_LOCKS_EXCLUDED(commit_mutex_);
  // Closes idle chunks; removes series without data.
  absl::Status Sweep() ABSL_LOCKS_EXCLUDED(commit_mutex_);
  // Starts a new hot family if `number` is the one written to.
  absl::Status FinishHot(uint64_t number) ABSL_LOCKS_EXCLUDED(commit_mutex_);
  // If the newest sample lies further ahead of the clock than samples may, the clock went back:
  // series that have such samples are retired (Head::RetireAfter()).
  void RetireFutureIfAny() ABSL_LOCKS_EXCLUDED(commit_mutex_);
  // Checkpoints and flushes; commits fail from now on.
  absl::Status Close() ABSL_LOCKS_EXCLUDED(commit_mutex_, checkpoint_mutex_);

  // ------------------------------------------------------------------- held log (log_cursor.cc)

  // Holds the log behind the last commit, as long as that is not more than held_log_bytes_max; 0 is
  // never a hold.
  uint64_t HoldLog() ABSL_LOCKS_EXCLUDED(commit_mutex_);
  // The hold moves on to the commits after `sequence`. No effect backwards.
  void MoveHold(uint64_t hold, uint64_t sequence) ABSL_LOCKS_EXCLUDED(commit_mutex_);
  void EndHold(uint64_t hold) ABSL_LOCKS_EXCLUDED(commit_mutex_);
  uint64_t HeldAfter(uint64_t hold) const ABSL_LOCKS_EXCLUDED(commit_mutex_);
  struct StoredCommit {
    uint64_t sequence = 0;
    std::string record;
  };
  // The records after `sequence`, as LogCursor::Read(). OutOfRange if some are gone, with
  // `sequence` moved to where the log begins.
  absl::StatusOr<std::vector<StoredCommit>> ReadLog(uint64_t& sequence, size_t bytes_max) const
      ABSL_LOCKS_EXCLUDED(commit_mutex_);

  // The current set. Take it after copying what the head holds: a chunk is then in either.
  std::shared_ptr<const HotSet> hot_set() const ABSL_LOCKS_EXCLUDED(hot_mutex_);
  GenerationCache& generation_cache() const { return *generation_cache_; }
  uint64_t log_bytes() const { return log_bytes_.load(std::memory_order_relaxed); }

 private:
  // Batches that are checked and wait for their common write.
  struct CommitGroup {
    struct Member {
      Batch* batch = nullptr;
      absl::Status* status = nullptr;
      size_t log_bytes = 0;
    };
    rocksdb::WriteBatch put;
    std::vector<Member> members;
  };

  // Checks the batch of `buffers` anew, unless it is `alone` (Head::IsAlone()), and puts it,
  // `encoded`, into the group.
  absl::Status Join(CommitGroup& group, AppendBuffers& buffers, std::string_view encoded,
                    bool alone, absl::Status* status) ABSL_EXCLUSIVE_LOCKS_REQUIRED(commit_mutex_);
  // Writes the group and makes it visible, or releases it and says so in its members' statuses.
  void WriteGroup(CommitGroup& group) ABSL_EXCLUSIVE_LOCKS_REQUIRED(commit_mutex_);
  static constexpr size_t kClosedBytesPut = 256 << 10;
  // At a time: more would keep commits waiting, fewer take the index longer.
  static constexpr size_t kShardsSwept = kSeriesShards / 8;
  void RetireFuture() ABSL_EXCLUSIVE_LOCKS_REQUIRED(commit_mutex_);
  absl::Status RecoverMeta() ABSL_EXCLUSIVE_LOCKS_REQUIRED(commit_mutex_);
  absl::Status RecoverHotFamilies() ABSL_EXCLUSIVE_LOCKS_REQUIRED(commit_mutex_);
  absl::Status RecoverSeries(SeriesLoader& loader) ABSL_EXCLUSIVE_LOCKS_REQUIRED(commit_mutex_);
  absl::Status RecoverHead(const SeriesLoader& loader) ABSL_EXCLUSIVE_LOCKS_REQUIRED(commit_mutex_);
  absl::Status ReplayLog(SeriesLoader& loader) ABSL_EXCLUSIVE_LOCKS_REQUIRED(commit_mutex_);
  void ReplayRecord(uint64_t sequence, const LogRecord& record, SeriesLoader& loader)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(commit_mutex_);
  absl::StatusOr<HotRange> ScanHotRange(const Family& family) const;
  // Names and counts it, and remembers which table it lies in.
  void NoteDamage(std::string_view part, const absl::Status& status);
  void NoteDamage(std::string_view part, const std::vector<absl::Status>& damage);
  // A row of `meta`; nothing if it is missing or damaged.
  std::optional<std::string> RecoverRow(std::string_view key);

  absl::Status Write(rocksdb::WriteBatch& batch, std::string_view what,
                     WriteVia via = WriteVia::kWal);
  absl::Status At(std::string_view step) const {
    return options_.at_step ? options_.at_step(step) : absl::OkStatus();
  }
  // Puts the head's closed chunks into the current hot family.
  absl::Status WriteClosed() ABSL_EXCLUSIVE_LOCKS_REQUIRED(commit_mutex_);
  // So many at a time cost less than a few for each commit. Until then the log has their samples.
  absl::Status WriteClosedIfMany() ABSL_EXCLUSIVE_LOCKS_REQUIRED(commit_mutex_) {
    return head_.unwritten_bytes() < kClosedBytesPut ? absl::OkStatus() : WriteClosed();
  }
  void PutClosed(rocksdb::WriteBatch& batch, HotFamily& hot)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(commit_mutex_);
  // Through the WAL also if it is the first with some of its series.
  absl::Status SaveRow(uint64_t row, WriteVia via) ABSL_EXCLUSIVE_LOCKS_REQUIRED(commit_mutex_);
  void PutNewestLate(rocksdb::WriteBatch& batch) const;
  // Head::Sweep() of kShardsSwept shards, written.
  absl::Status SweepShards(size_t first, const IdleLimits& idle, uint32_t oldest_epoch)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(commit_mutex_);
  absl::Status CheckpointLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(checkpoint_mutex_)
      ABSL_LOCKS_EXCLUDED(commit_mutex_);
  absl::Status RotateLog() ABSL_EXCLUSIVE_LOCKS_REQUIRED(checkpoint_mutex_)
      ABSL_LOCKS_EXCLUDED(commit_mutex_);
  absl::Status DropLogBefore(uint64_t sequence) ABSL_LOCKS_EXCLUDED(commit_mutex_);
  // Whether a hold needs the oldest epoch, and the log is not too large for that.
  bool HoldsOldestEpoch() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(commit_mutex_);
  absl::Status RotateHot() ABSL_LOCKS_EXCLUDED(commit_mutex_);
  void PublishHot() ABSL_EXCLUSIVE_LOCKS_REQUIRED(commit_mutex_);
  // Drops the families in `folded_`, once the table without them is durable.
  absl::Status DropFolded() ABSL_LOCKS_EXCLUDED(commit_mutex_);
  // The generations the bucket table names; deletes the others, or if the table may be out of date
  // adds them to it.
  absl::Status RecoverGenerations() ABSL_EXCLUSIVE_LOCKS_REQUIRED(commit_mutex_);
  void AdoptGeneration(const GenerationId& id) ABSL_EXCLUSIVE_LOCKS_REQUIRED(commit_mutex_);
  absl::Status Apply(const TableChange& change, BucketTable& table) const;
  // Makes `generations_` what `table` names.
  void SetGenerations(const BucketTable& table) ABSL_EXCLUSIVE_LOCKS_REQUIRED(commit_mutex_);

  const DbOptions options_;
  Clock& clock_;
  Store& store_;
  Head& head_;
  ExemplarStore& exemplars_;
  MetadataStore& metadata_;
  AtomicCounters& counters_;
  // One checkpoint (or log rotation) at a time. Before commit_mutex_.
  Mutex checkpoint_mutex_ ABSL_ACQUIRED_BEFORE(commit_mutex_);

  // The writer's turn (head.h).
  mutable Mutex commit_mutex_;
  absl::Status refusal_ ABSL_GUARDED_BY(commit_mutex_);  // Of all commits, unless OK.
  uint64_t last_sequence_ ABSL_GUARDED_BY(commit_mutex_) = 0;
  uint64_t replay_from_ ABSL_GUARDED_BY(commit_mutex_) = 1;
  std::deque<LogEpoch> log_ ABSL_GUARDED_BY(commit_mutex_);  // The last one is written to.
  // Sequences after which the log is held, by number of the hold.
  std::map<uint64_t, uint64_t> holds_ ABSL_GUARDED_BY(commit_mutex_);
  uint64_t last_hold_ ABSL_GUARDED_BY(commit_mutex_) = 0;
  TimestampMs stored_newest_late_ ABSL_GUARDED_BY(commit_mutex_) = kMinTimestamp;
  int64_t log_begun_nanos_ ABSL_GUARDED_BY(commit_mutex_) = 0;
  std::vector<std::shared_ptr<HotFamily>> hot_ ABSL_GUARDED_BY(commit_mutex_);  // Same.
  // Those the bucket table names.
  std::map<GenerationId, GenerationPtr> generations_ ABSL_GUARDED_BY(commit_mutex_);
  // Those it named before, whose files are still there.
  std::vector<std::pair<GenerationId, std::weak_ptr<const Generation>>> retired_
      ABSL_GUARDED_BY(commit_mutex_);
  std::vector<FamilyPtr> folded_ ABSL_GUARDED_BY(commit_mutex_);  // Hot families to drop.
  // While recovering: the sequence of each head row.
  absl::flat_hash_map<uint64_t, uint64_t> row_sequences_ ABSL_GUARDED_BY(commit_mutex_);

  bool table_lost_ = false;  // The bucket table is missing, or may be out of date.
  std::set<uint64_t> damaged_tables_;
  std::set<std::string, std::less<>> damaged_families_;
  TombstoneStore tombstones_;
  const std::shared_ptr<GenerationCache> generation_cache_;
  std::atomic<uint32_t> next_generation_ = 1;

  mutable Mutex hot_mutex_;
  std::shared_ptr<const HotSet> hot_set_ ABSL_GUARDED_BY(hot_mutex_);
  Mutex buffers_mutex_;
  std::vector<std::unique_ptr<AppendBuffers>> buffers_ ABSL_GUARDED_BY(buffers_mutex_);

  std::atomic<uint64_t> replayed_records_ = 0;
  std::atomic<uint64_t> log_bytes_ = 0;  // Of all epochs.
  std::atomic<bool> unsynced_ = false;
};

}  // namespace varve

// SPDX-License-Identifier: Apache-2.0
//
// The write path: commits, checkpoints, epochs and retention. Recovery is in recovery.cc.
#include "tsdb/write_path.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

#include "model/check.h"
#include "model/clock.h"
#include "model/log_line.h"
#include "model/status_macros.h"

namespace varve {

namespace {

// After a staleness marker a series is taken for ended, unless it goes on within this.
constexpr DurationMs kEndedChunkAge = 10 * kMinute;

// Appenders in use at the same time that find their buffers again.
constexpr size_t kPooledBuffersMax = 16;
// Buffers larger than this are not kept: one huge request should not stay in memory.
constexpr size_t kPooledSamplesMax = 64 << 10;
// Open chunks may be older than what hot families hold, but not by more than this.
constexpr DurationMs kOpenChunkAgeMax = 3 * kHour;

// With more series that have ended than this, and than half of the others, hot families last so
// long: folding them frees memory.
constexpr uint64_t kEndedSeriesMin = 10'000;
constexpr DurationMs kCrowdedHotEpoch = 15 * kMinute;

// An epoch of the log may have this size whatever the number of series.
constexpr uint64_t kLogEpochBytesMin = 24 << 20;
constexpr uint64_t kLogEpochBytesPerSeries = 24;

}  // namespace

void AtomicCounters::CountRefused(AppendError error) {
  switch (error) {
    case AppendError::kOutOfOrder:
      ++out_of_order;
      break;
    case AppendError::kDuplicateTimestamp:
      ++duplicates;
      break;
    case AppendError::kTooOld:
      ++too_old;
      break;
    case AppendError::kOutOfBounds:
      ++out_of_bounds;
      break;
    default:
      break;
  }
}

std::unique_ptr<AppendBuffers> WritePath::TakeBuffers() {
  {
    MutexLock lock(buffers_mutex_);
    if (!buffers_.empty()) {
      std::unique_ptr<AppendBuffers> buffers = std::move(buffers_.back());
      buffers_.pop_back();
      return buffers;
    }
  }
  return std::make_unique<AppendBuffers>();
}

void WritePath::ReturnBuffers(std::unique_ptr<AppendBuffers> buffers) {
  Batch& batch = buffers->batch;
  if (batch.record.floats.capacity() > kPooledSamplesMax ||
      batch.record.histograms.capacity() > kPooledSamplesMax) {
    return;
  }
  batch.record.Clear();
  batch.float_series.clear();
  batch.histogram_series.clear();
  MutexLock lock(buffers_mutex_);
  if (buffers_.size() < kPooledBuffersMax) buffers_.push_back(std::move(buffers));
}

absl::Status WritePath::Write(rocksdb::WriteBatch& batch, std::string_view what, WriteVia via) {
  absl::Status status = store_.Write(batch, what, via);
  if (via == WriteVia::kTablesOnly) return status;
  if (status.ok() && options_.wal_sync_interval == 0) status = store_.SyncWal();
  unsynced_.store(true, std::memory_order_relaxed);
  return status;
}

absl::Status WritePath::SyncWal() {
  // The store refuses all writes until it resumes. Then tables hold what was not synced: the system
  // drops what it could not write, and another sync would say that all is well.
  if (!store_.CanWrite()) RETURN_IF_ERROR(store_.Resume());
  if (!unsynced_.exchange(false, std::memory_order_relaxed)) return absl::OkStatus();
  absl::Status status = store_.SyncWal();
  if (!status.ok()) unsynced_.store(true, std::memory_order_relaxed);
  return status;
}

std::vector<absl::Status> WritePath::Commit(absl::Span<AppendBuffers* const> all) {
  std::vector<absl::Status> statuses(all.size());
  std::vector<std::string_view> encoded(all.size());
  // Compressed before the lock is taken; a batch that shrinks below is encoded again.
  for (size_t i = 0; i < all.size(); ++i) {
    const absl::StatusOr<std::string_view> bytes = all[i]->encoder.Encode(all[i]->batch.record);
    statuses[i] = bytes.status();
    if (bytes.ok()) {
      encoded[i] = *bytes;
    } else {
      head_.Release(all[i]->batch);
    }
  }
  MutexLock lock(commit_mutex_);
  CommitGroup group;
  for (size_t i = 0; i < all.size(); ++i) {
    if (!statuses[i].ok()) continue;
    const Batch& batch = all[i]->batch;
    // What is checked here must know what came before: the head does not know the group yet.
    const bool alone = head_.IsAlone(batch);
    const bool apart =
        all.size() > 1 && (!batch.record.exemplars.empty() || !batch.record.metadata.empty() ||
                           (!alone && head_.AnyShared(batch)));
    if (apart) WriteGroup(group);
    statuses[i] = Join(group, *all[i], encoded[i], alone, &statuses[i]);
    if (apart) WriteGroup(group);
  }
  WriteGroup(group);
  // The commits are durable and visible; chunks that could not be put are tried again by the next.
  const absl::Status closed = WriteClosedIfMany();
  if (!closed.ok()) {
    spdlog::error(LogLine("Closed chunks stay in memory", {{"err", closed.ToString()}}));
  }
  return statuses;
}

absl::Status WritePath::Join(CommitGroup& group, AppendBuffers& buffers, std::string_view encoded,
                             bool alone, absl::Status* status) {
  Batch& batch = buffers.batch;
  if (!refusal_.ok()) {
    ++counters_.failed_commits;
    head_.Release(batch);
    return refusal_;
  }
  StorageCounters refused;
  const size_t dropped = alone ? 0 : head_.Recheck(batch, refused);
  counters_.out_of_order += refused.out_of_order_samples;
  counters_.duplicates += refused.duplicate_samples;
  counters_.too_old += refused.too_old_samples;
  counters_.out_of_bounds += refused.out_of_bounds_samples;
  const size_t entries = batch.record.exemplars.size() + batch.record.metadata.size();
  exemplars_.Put(batch.record.exemplars, store_, group.put);
  counters_.metadata_refused += metadata_.Put(batch.record.metadata, store_, group.put);
  if (batch.record.empty()) return absl::OkStatus();
  if (dropped > 0 || batch.record.exemplars.size() + batch.record.metadata.size() != entries) {
    absl::StatusOr<std::string_view> bytes = buffers.encoder.Encode(batch.record);
    if (!bytes.ok()) {
      head_.Release(batch);
      return std::move(bytes).status();
    }
    encoded = *bytes;
  }
  group.put.Put(log_.back().family->handle(),
                EncodeIdKey(last_sequence_ + 1 + group.members.size()), ToSlice(encoded));
  group.members.push_back({.batch = &batch, .status = status, .log_bytes = encoded.size()});
  return absl::OkStatus();
}

void WritePath::WriteGroup(CommitGroup& group) {
  absl::Status status;
  if (!group.members.empty()) status = Write(group.put, "writing the log");
  if (!status.ok()) {
    for (const CommitGroup::Member& member : group.members) {
      ++counters_.failed_commits;
      head_.Release(*member.batch);
      if (&member != &group.members.front()) *member.status = status;
    }
    *group.members.front().status = std::move(status);
    group.members.clear();
  }
  for (const CommitGroup::Member& member : group.members) {
    const LogRecord& record = member.batch->record;
    log_.back().bytes += member.log_bytes;
    log_bytes_.fetch_add(member.log_bytes, std::memory_order_relaxed);
    head_.Apply(*member.batch, ++last_sequence_);
    exemplars_.Added(record.exemplars);
    metadata_.Added(record.metadata);
    counters_.floats += record.floats.size();
    counters_.histograms += record.histograms.size();
  }
  group.put.Clear();
  group.members.clear();
}

// -------------------------------------------------------------------------------------- hot chunks

void WritePath::PutClosed(rocksdb::WriteBatch& batch, HotFamily& hot) {
  HotRange range{.min = hot.min.load(std::memory_order_relaxed),
                 .max = hot.max.load(std::memory_order_relaxed),
                 .begun = hot.begun};
  bool widened = false;
  // In the order of the keys, the place of each is near the one before.
  std::vector<std::pair<std::string, const ClosedChunk*>> by_key;
  by_key.reserve(head_.unwritten_chunks().size());
  for (const std::shared_ptr<const ClosedChunk>& chunk : head_.unwritten_chunks()) {
    by_key.emplace_back(EncodeHotKey(chunk->key), chunk.get());
    widened |= WidenHotRange(range, chunk->key.first_time, chunk->last_time);
  }
  std::sort(by_key.begin(), by_key.end());
  for (const auto& [key, chunk] : by_key) batch.Put(hot.family->handle(), key, chunk->value);
  if (!widened) return;
  if (hot.begun == kMinTimestamp) range.begun = hot.begun = head_.max_time();
  hot.min.store(range.min, std::memory_order_relaxed);
  hot.max.store(range.max, std::memory_order_relaxed);
  batch.Put(store_.meta().handle(), HotRangeKey(hot.number), EncodeHotRange(range));
}

absl::Status WritePath::WriteClosed() {
  if (head_.unwritten_chunks().empty()) return absl::OkStatus();
  rocksdb::WriteBatch batch;
  HotFamily& hot = *hot_.back();
  PutClosed(batch, hot);
  const bool new_bucket = head_.TakeBucketTableChanged();
  if (new_bucket) {
    batch.Put(store_.meta().handle(), ToSlice(kBucketTableKey), head_.bucket_table().Encode());
  }
  const TimestampMs newest_late = head_.newest_late();
  if (newest_late != stored_newest_late_) PutNewestLate(batch);
  const absl::Status status = Write(batch, "writing closed chunks");
  if (!status.ok()) {
    if (new_bucket) head_.MarkBucketTableChanged();
    return status;
  }
  stored_newest_late_ = newest_late;
  if (new_bucket) PublishHot();
  head_.Written(static_cast<uint32_t>(hot.number));
  return absl::OkStatus();
}

void WritePath::PublishHot() {
  auto set = std::make_shared<HotSet>();
  set->families = hot_;
  set->generations.reserve(generations_.size());
  for (const auto& [id, generation] : generations_) set->generations.push_back(generation);
  set->buckets = head_.bucket_table();
  MutexLock lock(hot_mutex_);
  hot_set_ = std::move(set);
}

std::shared_ptr<const HotSet> WritePath::hot_set() const {
  MutexLock lock(hot_mutex_);
  return hot_set_;
}

absl::Status WritePath::RotateHot() {
  uint64_t number = 0;
  {
    MutexLock lock(commit_mutex_);
    number = hot_.back()->number + 1;
  }
  // Only the maintenance thread rotates; commits go on meanwhile.
  auto hot = std::make_shared<HotFamily>();
  hot->number = number;
  ASSIGN_OR_RETURN(hot->family, store_.CreateNumbered(kHotFamilyPrefix, number));
  MutexLock lock(commit_mutex_);
  hot_.push_back(std::move(hot));
  PublishHot();
  return absl::OkStatus();
}

absl::Status WritePath::RotateHotIfDue(DurationMs retention) {
  DurationMs lasts = options_.hot_epoch;
  if (retention > 0) lasts = std::min(lasts, retention);
  {
    MutexLock lock(commit_mutex_);
    const TimestampMs begun = hot_.back()->begun;
    if (begun == kMinTimestamp) return absl::OkStatus();
    // Series that have ended stay in memory until their chunks are folded.
    const HeadStats stats = head_.Stats();
    if (stats.series > stats.chunks + stats.chunks / 2 + kEndedSeriesMin) {
      lasts = std::min(lasts, kCrowdedHotEpoch);
    }
    // One begun in a future that was not has lasted long enough.
    if (begun <= head_.max_time() && head_.max_time() - begun < lasts) return absl::OkStatus();
  }
  return RotateHot();
}

absl::Status WritePath::Expire(TimestampMs cutoff) {
  std::vector<std::shared_ptr<HotFamily>> expired;
  {
    MutexLock lock(commit_mutex_);
    TimestampMs oldest = head_.max_time() - kOpenChunkAgeMax;
    std::vector<std::shared_ptr<HotFamily>> kept;
    for (const std::shared_ptr<HotFamily>& hot : hot_) {
      const bool empty = hot->begun == kMinTimestamp;
      if (hot != hot_.back() && (empty || hot->max.load(std::memory_order_relaxed) < cutoff)) {
        expired.push_back(hot);
        continue;
      }
      if (!empty) oldest = std::min(oldest, hot->min.load(std::memory_order_relaxed));
      kept.push_back(hot);
    }
    const BucketTable before = head_.bucket_table();
    BucketTable table = before;
    const size_t generations = table.DropGenerationsBefore(cutoff);
    if (expired.empty() && generations == 0) return absl::OkStatus();
    for (const BucketTable::Bucket& bucket : table.buckets()) {
      for (const BucketTable::Generation& generation : bucket.generations) {
        oldest = std::min(oldest, generation.min_time);
      }
    }
    head_.SetBucketTable(std::move(table));
    head_.DropBucketsBefore(oldest);
    rocksdb::WriteBatch batch;
    for (const std::shared_ptr<HotFamily>& hot : expired) {
      batch.Delete(store_.meta().handle(), HotRangeKey(hot->number));
    }
    batch.Put(store_.meta().handle(), ToSlice(kBucketTableKey), head_.bucket_table().Encode());
    absl::Status status = At("retention");
    if (status.ok()) status = Write(batch, "recording expired samples");
    if (!status.ok()) {
      head_.SetBucketTable(before);
      return status;
    }
    head_.TakeBucketTableChanged();
    head_.RaiseOldestTime(oldest);
    hot_ = std::move(kept);
    SetGenerations(head_.bucket_table());
    for (const std::shared_ptr<HotFamily>& hot : expired) folded_.push_back(hot->family);
    PublishHot();
    counters_.families_expired += expired.size() + generations;
    spdlog::info(LogLine("Samples older than the retention deleted",
                         {{"families", std::to_string(expired.size())},
                          {"generations", std::to_string(generations)}}));
  }
  return DropRetired();
}

absl::Status WritePath::ExpireOldest(uint64_t bytes) {
  RETURN_IF_ERROR(DropRetired());
  TableChange change;
  TimestampMs oldest = kMaxTimestamp;
  {
    MutexLock lock(commit_mutex_);
    for (const auto& [id, generation] : retired_) {
      // Room that readers still hold is made already.
      if (const auto held = generation.lock()) bytes -= std::min(bytes, held->info().bytes);
    }
    std::vector<GenerationPtr> by_age;
    for (const auto& [id, generation] : generations_) by_age.push_back(generation);
    std::stable_sort(by_age.begin(), by_age.end(), [](const auto& a, const auto& b) {
      return a->info().max_time < b->info().max_time;
    });
    oldest = head_.max_time() - kOpenChunkAgeMax;
    for (const std::shared_ptr<HotFamily>& hot : hot_) {
      oldest = std::min(oldest, hot->min.load(std::memory_order_relaxed));
    }
    for (const GenerationPtr& generation : by_age) {
      if (bytes == 0) {
        oldest = std::min(oldest, generation->info().min_time);
        continue;
      }
      bytes -= std::min(bytes, generation->info().bytes);
      change.buckets.push_back({.partition = generation->id().partition,
                                .start = generation->id().bucket_start,
                                .replaced = {generation->id().number}});
    }
  }
  if (change.buckets.empty()) return absl::OkStatus();
  bool published = false;
  const absl::Status status = Install(change, published);
  if (absl::IsAborted(status)) return absl::OkStatus();  // Merged meanwhile: the next round sees.
  RETURN_IF_ERROR(status);
  counters_.size_expired += change.buckets.size();
  spdlog::info(LogLine("Oldest samples deleted, as all data was larger than allowed",
                       {{"generations", std::to_string(change.buckets.size())}}));
  {
    MutexLock lock(commit_mutex_);
    head_.RaiseOldestTime(oldest);
    head_.DropBucketsBefore(oldest);
  }
  return DropRetired();
}

// -------------------------------------------------------------------------------------- checkpoint

absl::Status WritePath::SaveRow(uint64_t row, WriteVia via) {
  // (2): what this row no longer holds must be in a hot family first. It never holds late samples.
  head_.CloseLate(row);
  RETURN_IF_ERROR(WriteClosed());
  const Head::CapturedRow captured = head_.CaptureRow(row, last_sequence_);
  rocksdb::WriteBatch batch;
  for (const uint64_t id : captured.unsaved_series) {
    batch.Put(store_.series().handle(), EncodeIdKey(id), head_.index().LabelsOf(id).bytes());
  }
  const std::string key = EncodeIdKey(row * kHeadRowSeries);
  if (captured.value.empty()) {
    batch.Delete(store_.head().handle(), key);
  } else {
    batch.Put(store_.head().handle(), key, captured.value);
  }
  // (3): a crash must not tear them apart.
  if (!captured.unsaved_series.empty()) via = WriteVia::kWal;
  absl::Status status = Write(batch, "writing a head checkpoint", via);
  head_.RowSaved(row, captured, status);
  return status;
}

void WritePath::PutNewestLate(rocksdb::WriteBatch& batch) const {
  batch.Put(store_.meta().handle(), ToSlice(kNewestLateKey),
            EncodeVarintValue(static_cast<uint64_t>(head_.newest_late())));
}

absl::Status WritePath::CheckpointLocked() {
  uint64_t sequence = 0;
  std::vector<uint64_t> rows;
  {
    MutexLock lock(commit_mutex_);
    sequence = last_sequence_;
    rows = head_.DirtyRows();
  }
  // A row at a time, so that commits wait for one of them at most. A row may thus contain more of
  // the log than `sequence`, and says so.
  for (const uint64_t row : rows) {
    RETURN_IF_ERROR(At("checkpoint row"));
    MutexLock lock(commit_mutex_);
    RETURN_IF_ERROR(SaveRow(row, WriteVia::kTablesOnly));
  }
  RETURN_IF_ERROR(At("checkpoint rows put"));
  RETURN_IF_ERROR(store_.Flush({&store_.head()}));
  RETURN_IF_ERROR(At("checkpoint rows flushed"));
  rocksdb::WriteBatch batch;
  batch.Put(store_.meta().handle(), ToSlice(kCheckpointKey), EncodeVarintValue(sequence + 1));
  batch.Put(store_.meta().handle(), ToSlice(kSeriesHighWaterKey),
            EncodeVarintValue(head_.last_id()));
  PutNewestLate(batch);
  RETURN_IF_ERROR(Write(batch, "recording a head checkpoint"));
  RETURN_IF_ERROR(At("checkpoint recorded"));
  return DropLogBefore(sequence + 1);
}

absl::Status WritePath::DropLogBefore(uint64_t sequence) {
  std::vector<LogEpoch> superfluous;
  {
    MutexLock lock(commit_mutex_);
    replay_from_ = sequence;
    while (log_.size() > 1 && log_[1].first_sequence <= sequence && !HoldsOldestEpoch()) {
      log_bytes_.fetch_sub(log_.front().bytes, std::memory_order_relaxed);
      superfluous.push_back(std::move(log_.front()));
      log_.pop_front();
    }
  }
  if (superfluous.empty()) return absl::OkStatus();
  // Unflushed rows of the small families would pin the whole WAL.
  RETURN_IF_ERROR(store_.Flush(
      {&store_.series(), &store_.head(), &store_.exemplars(), &store_.metadata(), &store_.meta()}));
  // A drop is durable at once, a put only when synced.
  RETURN_IF_ERROR(store_.SyncWal());
  for (const LogEpoch& epoch : superfluous) {
    RETURN_IF_ERROR(At("dropping a log epoch"));
    RETURN_IF_ERROR(store_.Drop(*epoch.family));
  }
  return absl::OkStatus();
}

absl::Status WritePath::Checkpoint() {
  MutexLock lock(checkpoint_mutex_);
  RETURN_IF_ERROR(RotateLog());
  return CheckpointLocked();
}

absl::Status WritePath::RotateLog() {
  uint64_t number = 0;
  {
    MutexLock lock(commit_mutex_);
    if (log_.back().first_sequence > last_sequence_) return absl::OkStatus();  // Still empty.
    number = log_.back().number + 1;
  }
  ASSIGN_OR_RETURN(FamilyPtr family, store_.CreateNumbered(kLogFamilyPrefix, number));
  MutexLock lock(commit_mutex_);
  log_.push_back({number, std::move(family), last_sequence_ + 1, 0});
  log_begun_nanos_ = clock_.MonotonicNanos();
  return absl::OkStatus();
}

absl::Status WritePath::CheckpointIfDue() {
  MutexLock checkpoint_lock(checkpoint_mutex_);
  {
    MutexLock lock(commit_mutex_);
    const DurationMs age = (clock_.MonotonicNanos() - log_begun_nanos_) / kNanosPerMs;
    // A checkpoint costs by the series, replay by the bytes: few series are checkpointed early.
    const uint64_t bytes_max = std::min(
        options_.log_epoch_bytes,
        std::max<uint64_t>(kLogEpochBytesMin, kLogEpochBytesPerSeries * head_.index().series()));
    if (log_.back().bytes < bytes_max && age < options_.log_epoch_age) {
      return absl::OkStatus();
    }
    if (log_.size() == 1 && log_.back().first_sequence > last_sequence_) return absl::OkStatus();
  }
  RETURN_IF_ERROR(RotateLog());
  return CheckpointLocked();
}

// ------------------------------------------------------------------------------------------- sweep

absl::Status WritePath::SweepShards(size_t first, const IdleLimits& idle, uint32_t oldest_epoch) {
  const Head::SweepResult swept = head_.Sweep(first, kShardsSwept, idle, oldest_epoch);
  RETURN_IF_ERROR(WriteClosed());
  counters_.series_removed += swept.removed.size();
  if (swept.removed_saved.empty()) return absl::OkStatus();
  rocksdb::WriteBatch batch;
  // Ids are never used again, even if their rows were the last ones.
  batch.Put(store_.meta().handle(), ToSlice(kSeriesHighWaterKey),
            EncodeVarintValue(head_.last_id()));
  for (const uint64_t id : swept.removed_saved) {
    batch.Delete(store_.series().handle(), EncodeIdKey(id));
  }
  return Write(batch, "removing series without data");
}

void WritePath::RetireFuture() {
  const TimestampMs now = clock_.Now();
  const TimestampMs limit = now + options_.lookahead_limit;
  if (options_.lookahead_limit <= 0 || head_.max_time() <= limit) return;
  const uint64_t retired = head_.RetireAfter(limit, now);
  if (retired == 0) return;
  spdlog::warn(LogLine("The clock went back: series with samples ahead of it begin anew",
                       {{"series", std::to_string(retired)}}));
}

void WritePath::RetireFutureIfAny() {
  if (options_.lookahead_limit <= 0 ||
      head_.max_time() <= clock_.Now() + options_.lookahead_limit) {
    return;
  }
  MutexLock lock(commit_mutex_);
  RetireFuture();
}

absl::Status WritePath::Sweep() {
  if (head_.max_time() == kMinTimestamp) return absl::OkStatus();
  const IdleLimits idle{.ended_before = head_.max_time() - kEndedChunkAge,
                        .silent_before = head_.max_time() - kChunkSpanMax,
                        .now = head_.max_time()};
  for (size_t first = 0; first < kSeriesShards; first += kShardsSwept) {
    MutexLock lock(commit_mutex_);
    const auto oldest_epoch = static_cast<uint32_t>(hot_.front()->number);
    RETURN_IF_ERROR(SweepShards(first, idle, oldest_epoch));
  }
  return absl::OkStatus();
}

absl::Status WritePath::FinishHot(uint64_t number) {
  {
    MutexLock lock(commit_mutex_);
    if (hot_.back()->number != number) return absl::OkStatus();
  }
  return RotateHot();
}

absl::Status WritePath::Close() {
  {
    MutexLock lock(commit_mutex_);
    if (!refusal_.ok()) return absl::OkStatus();
    refusal_ = absl::FailedPreconditionError("the storage is closed");
  }
  RETURN_IF_ERROR(Checkpoint());
  std::shared_ptr<const HotSet> hot = hot_set();
  std::vector<const Family*> families = {&store_.series(), &store_.head(), &store_.exemplars(),
                                         &store_.metadata(), &store_.meta()};
  for (const std::shared_ptr<HotFamily>& family : hot->families) {
    families.push_back(family->family.get());
  }
  RETURN_IF_ERROR(store_.Flush(families));
  return store_.SyncWal();
}

}  // namespace varve

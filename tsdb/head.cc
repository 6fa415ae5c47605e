// SPDX-License-Identifier: Apache-2.0
//
// The head: rules, series and sweeping.
#include "tsdb/head.h"

#include <algorithm>
#include <bit>

#include "model/check.h"

namespace varve {

// --------------------------------------------------------------------------------------- the rules

LastSample Head::LastOf(const SeriesRecord& record) {
  return {.exists = record.has_samples,
          .is_histogram = record.last_is_histogram,
          .time = record.chunk.last_time,
          .value = record.chunk.last_value,
          .histogram = record.histogram() == nullptr ? nullptr : &record.histogram()->last()};
}

AppendError Head::CheckOrder(const LastSample& last, const AppendWindow& window, TimestampMs time,
                             double value, const Histogram* histogram, bool& same) {
  same = false;
  if (time > window.max || time > kStoredTimeMax || time < -kStoredTimeMax) {
    return AppendError::kOutOfBounds;
  }
  if (time >= window.min) {
    if (!last.exists || time > last.time) return AppendError::kNone;
    if (time == last.time) {
      same = (histogram != nullptr) == last.is_histogram &&
             (histogram == nullptr
                  ? std::bit_cast<uint64_t>(value) == std::bit_cast<uint64_t>(last.value)
                  : last.histogram != nullptr && *histogram == *last.histogram);
      return same ? AppendError::kNone : AppendError::kDuplicateTimestamp;
    }
  }
  // Not in order: the window for late samples alone decides.
  if (window.late_min != kMaxTimestamp) {
    return time >= window.late_min ? AppendError::kNone : AppendError::kTooOld;
  }
  return time >= window.min ? AppendError::kOutOfOrder : AppendError::kOutOfBounds;
}

void Head::Release(const Batch& batch) {
  for (size_t i = 0; i < batch.float_series.size(); ++i) {
    MutexLock lock(shards_[ShardOf(batch.record.floats[i].id)].mutex);
    batch.float_series[i]->DropPending();
  }
  for (size_t i = 0; i < batch.histogram_series.size(); ++i) {
    MutexLock lock(shards_[ShardOf(batch.record.histograms[i].id)].mutex);
    batch.histogram_series[i]->DropPending();
  }
}

// -------------------------------------------------------------------------------------- the series

uint64_t Head::FindLive(const Labels& labels) const {
  const uint64_t id = index_.Find(labels);
  if (id == 0 || !any_retired_.load(std::memory_order_relaxed)) return id;
  const Shard& shard = shards_[ShardOf(id)];
  MutexLock lock(shard.mutex);
  const SeriesRecord* record = FindRecord(shard, id);
  return record != nullptr && record->retired ? 0 : id;
}

absl::StatusOr<uint64_t> Head::FindOrCreate(const Labels& labels) {
  if (const uint64_t id = FindLive(labels); id != 0) return id;
  MutexLock lock(create_mutex_);
  if (const uint64_t id = FindLive(labels); id != 0) return id;
  if (options_.series_max > 0 && index_.series() >= options_.series_max) {
    return AppendErrorStatus(AppendError::kLimit, "the limit of series in memory is reached");
  }
  if (options_.memory != nullptr && !options_.memory->Allows(MemoryUse::kNewSeries)) {
    return AppendErrorStatus(AppendError::kLimit,
                             "the memory limit is reached: new series are refused");
  }
  const uint64_t id = last_id_.load(std::memory_order_relaxed) + 1;
  last_id_.store(id, std::memory_order_relaxed);
  {
    Shard& shard = shards_[ShardOf(id)];
    MutexLock shard_lock(shard.mutex);
    InsertRecord(shard, id);
  }
  index_.Add(id, labels);
  return id;
}

void Head::AwaitRemoval() { MutexLock lock(create_mutex_); }

void Head::RaiseLastId(uint64_t id) {
  MutexLock lock(create_mutex_);
  last_id_.store(std::max(id, last_id_.load(std::memory_order_relaxed)), std::memory_order_relaxed);
}

// ------------------------------------------------------------------------------------- maintenance

uint64_t Head::RetireAfter(TimestampMs limit, TimestampMs now) {
  uint64_t retired = 0;
  TimestampMs newest = kMinTimestamp;
  bool in_use = false;
  MutexLock create_lock(create_mutex_);
  any_retired_.store(true, std::memory_order_relaxed);
  for (Shard& shard : shards_) {
    MutexLock lock(shard.mutex);
    for (auto& [number, slot] : shard.blocks) {
      for (SeriesRecord& record : *slot.records) {
        if (!record.present || !record.has_samples || record.retired) continue;
        if (record.chunk.last_time <= limit) {
          newest = std::max(newest, record.chunk.last_time);
        } else if (record.pending.load(std::memory_order_relaxed) > 0) {
          in_use = true;
        } else {
          record.retired = true;
          ++retired;
        }
      }
    }
  }
  // With one passed over the caller is to come again.
  if (!in_use) max_time_.store(newest == kMinTimestamp ? now : newest, std::memory_order_relaxed);
  return retired;
}

void Head::SweepShard(Shard& shard, const IdleLimits& idle, uint32_t oldest_epoch,
                      SweepResult& result) {
  std::vector<uint64_t> empty_blocks;
  for (auto& [number, slot] : shard.blocks) {
    for (uint64_t i = 0; i < kBlockSeries; ++i) {
      SeriesRecord& record = (*slot.records)[i];
      if (!record.present || record.pending.load(std::memory_order_relaxed) > 0) continue;
      const bool is_idle = record.retired || IsIdle(record, idle);
      // Samples may come in order, but all of them late: that is no reason to close a chunk.
      const bool was_quiet = record.quiet;
      const bool is_quiet = !is_idle && IsQuiet(record, idle.now);
      if (is_quiet != was_quiet) record.quiet = is_quiet;  // Most records are only read.
      if (!is_idle && !(is_quiet && was_quiet)) continue;
      const uint64_t id = number * kBlockSeries + i;
      CloseChunk(shard, record, id);
      CloseLateOf(shard, id);
      if (!is_idle || shard.closed.contains(id) || shard.late_closed.contains(id) ||
          record.details().hot_epoch >= std::max(oldest_epoch, 1u)) {
        continue;
      }
      result.removed.push_back(id);
      if (record.saved) result.removed_saved.push_back(id);
      slot.records->Clear(record);
      MarkDirty(id);
      if (--slot.used == 0) empty_blocks.push_back(number);
    }
  }
  for (const uint64_t number : empty_blocks) shard.blocks.erase(number);
}

Head::SweepResult Head::Sweep(size_t first_shard, size_t shards, const IdleLimits& idle,
                              uint32_t oldest_epoch) {
  SweepResult result;
  MutexLock create_lock(create_mutex_);
  for (size_t i = first_shard; i < first_shard + shards; ++i) {
    Shard& shard = shards_[i];
    MutexLock lock(shard.mutex);
    SweepShard(shard, idle, oldest_epoch, result);
  }
  std::sort(result.removed.begin(), result.removed.end());
  if (!result.removed.empty()) index_.Remove(result.removed);
  return result;
}

}  // namespace varve

// SPDX-License-Identifier: Apache-2.0
//
// The head's writer: batches are checked again, applied, and cut into chunks.
#include <absl/container/flat_hash_map.h>

#include <algorithm>
#include <bit>
#include <optional>
#include <utility>

#include "tsdb/head.h"
#include "tsdb/sample_walk.h"

namespace varve {

namespace {

// A series' first chunk in a bucket is cut early, at a place its block of ids decides: else series
// created together, or living through a bucket's edge, would close their chunks together for ever.
// Neighbours do close theirs together: their keys then go to one place of the hot family.
constexpr uint32_t kFirstChunkSamplesMin = 8;

uint64_t Mix(uint64_t value) {
  value *= 0x9e3779b97f4a7c15;
  value ^= value >> 32;
  value *= 0xd6e8feb86659fd93;
  return value ^ (value >> 32);
}

template <typename T>
void EraseMarked(std::vector<T>& items, const std::vector<bool>& marked) {
  size_t kept = 0;
  for (size_t i = 0; i < items.size(); ++i) {
    if (marked[i]) continue;
    if (kept != i) items[kept] = std::move(items[i]);
    ++kept;
  }
  items.resize(kept);
}

void Count(AppendError error, StorageCounters& counters) {
  switch (error) {
    case AppendError::kOutOfOrder:
      ++counters.out_of_order_samples;
      break;
    case AppendError::kDuplicateTimestamp:
      ++counters.duplicate_samples;
      break;
    case AppendError::kTooOld:
      ++counters.too_old_samples;
      break;
    default:
      ++counters.out_of_bounds_samples;
  }
}

}  // namespace

size_t Head::Recheck(Batch& batch, StorageCounters& refused) {
  // Only series with several samples on their way need more than a look at their record.
  absl::flat_hash_map<const SeriesRecord*, LastSample> tails;
  std::vector<bool> drop_float(batch.record.floats.size());
  std::vector<bool> drop_histogram(batch.record.histograms.size());
  size_t dropped = 0;
  const AppendWindow anything{.late_min = batch.late_min};
  const auto check = [&](uint64_t id, SeriesRecord& record, TimestampMs time, double value,
                         const Histogram* histogram) {
    const bool alone = record.pending.load(std::memory_order_relaxed) == 1;
    if (alone && (!record.has_samples || time > record.chunk.last_time)) return true;
    const auto tail = tails.find(&record);
    const LastSample last = tail == tails.end() ? LastOf(record) : tail->second;
    bool same = false;
    const AppendError error = CheckOrder(last, anything, time, value, histogram, same);
    if (error != AppendError::kNone) Count(error, refused);
    if (error == AppendError::kNone && !same) {
      const bool newest = !last.exists || time > last.time;
      if (!alone && newest) tails[&record] = {true, histogram != nullptr, time, value, histogram};
      return true;
    }
    MutexLock lock(shards_[ShardOf(id)].mutex);
    record.DropPending();
    ++dropped;
    return false;
  };
  ForEachSample(
      batch.record,
      [&](size_t i) {
        FetchAhead(batch.float_series, i);
        const LogRecord::Float& sample = batch.record.floats[i];
        SeriesRecord& record = *batch.float_series[i];
        drop_float[i] = !check(sample.id, record, sample.time, sample.value, nullptr);
      },
      [&](size_t i) {
        const LogRecord::HistogramEntry& sample = batch.record.histograms[i];
        drop_histogram[i] =
            !check(sample.id, *batch.histogram_series[i], sample.time, 0, &sample.histogram);
      });
  if (dropped > 0) {
    EraseMarked(batch.record.floats, drop_float);
    EraseMarked(batch.float_series, drop_float);
    EraseMarked(batch.record.histograms, drop_histogram);
    EraseMarked(batch.histogram_series, drop_histogram);
  }
  return dropped;
}

bool Head::AnyShared(const Batch& batch) const {
  const auto any = [](const std::vector<SeriesRecord*>& series) {
    for (size_t i = 0; i < series.size(); ++i) {
      FetchAhead(series, i);
      if (series[i]->pending.load(std::memory_order_relaxed) != 1) return true;
    }
    return false;
  };
  return any(batch.float_series) || any(batch.histogram_series);
}

void Head::FindBucket(TimestampMs time) {
  bool added = false;
  const BucketTable::Bucket& bucket =
      bucket_table_.FindOrAdd(kDefaultPartition, time, options_.bucket_size, added);
  bucket_start_ = bucket.start;
  bucket_end_ = bucket.end;
  bucket_table_changed_ |= added;
}

uint8_t Head::ChunkLimit(const SeriesRecord& record, uint64_t id) const {
  if (record.has_samples && record.chunk.last_time >= bucket_start_) return kChunkSamplesMax;
  return static_cast<uint8_t>(kFirstChunkSamplesMin +
                              Mix(id / kBlockSeries + 1) %
                                  (kChunkSamplesMax - kFirstChunkSamplesMin + 1));
}

TimestampMs Head::BucketStart(TimestampMs time, TimestampMs* end) {
  bool added = false;
  const BucketTable::Bucket& bucket =
      bucket_table_.FindOrAdd(kDefaultPartition, time, options_.bucket_size, added);
  bucket_table_changed_ |= added;
  if (end != nullptr) *end = bucket.end;
  return bucket.start;
}

void Head::AddUnwritten(std::shared_ptr<const ClosedChunk> chunk) {
  unwritten_bytes_ += chunk->value.size();
  unwritten_.push_back(std::move(chunk));
}

std::optional<Head::OpenChunk> Head::EncodeOpen(const SeriesRecord& record) {
  const OpenXorChunk& chunk = record.chunk;
  if (chunk.count > 0) {
    return OpenChunk{chunk.first_time, chunk.last_time,
                     EncodeHotChunk({.encoding = chunk.has_starts ? ChunkEncoding::kXorWithStarts
                                                                  : ChunkEncoding::kXor,
                                     .sample_count = chunk.count,
                                     .end_time = chunk.last_time,
                                     .payload = chunk.payload()})};
  }
  const OpenHistogramChunk* const histogram = record.histogram();
  if (histogram == nullptr) return std::nullopt;
  return OpenChunk{histogram->first_time(), histogram->last_time(),
                   EncodeHotChunk({.encoding = ChunkEncoding::kHistogram,
                                   .sample_count = static_cast<uint16_t>(histogram->count()),
                                   .end_time = histogram->last_time(),
                                   .payload = histogram->payload()})};
}

void Head::CloseChunk(Shard& shard, SeriesRecord& record, uint64_t id) {
  std::optional<OpenChunk> open = EncodeOpen(record);
  if (!open.has_value()) return;
  auto closed = std::make_shared<ClosedChunk>();
  closed->key = {.partition = kDefaultPartition,
                 .bucket_start = BucketStart(open->first_time, nullptr),
                 .series = id,
                 .first_time = open->first_time};
  closed->last_time = open->last_time;
  closed->value = std::move(open->value);
  record.chunk.Release();
  record.details().histogram.reset();
  open_chunks_.fetch_sub(1, std::memory_order_relaxed);
  shard.closed[id].push_back(closed);
  AddUnwritten(std::move(closed));
  MarkDirty(id);
}

void Head::ApplyLate(Shard& shard, SeriesRecord& record, uint64_t id, LateSample sample) {
  const TimestampMs time = sample.time;
  LateSamples& late = shard.late[id];
  if (!late.Insert(std::move(sample))) return;
  late_samples_.fetch_add(1, std::memory_order_relaxed);
  record.details().min_time = std::min(record.details().min_time, time);
  if (time < min_time_.load(std::memory_order_relaxed)) {
    min_time_.store(time, std::memory_order_relaxed);
  }
  if (time < oldest_time_.load(std::memory_order_relaxed)) {
    oldest_time_.store(time, std::memory_order_relaxed);
  }
  RaiseNewestLate(time);
  if (late.size() >= kLateSamplesMax) CloseLateOf(shard, id);
  MarkDirty(id);
}

void Head::CloseLateOf(Shard& shard, uint64_t id) {
  const auto it = shard.late.find(id);
  if (it == shard.late.end()) return;
  const auto bucket_end = [this](TimestampMs time) {
    TimestampMs end = 0;
    BucketStart(time, &end);
    return end;
  };
  for (LateSamples::Chunk& chunk : it->second.Encode(bucket_end)) {
    auto closed = std::make_shared<ClosedChunk>();
    closed->key = {.partition = kDefaultPartition,
                   .bucket_start = BucketStart(chunk.first_time, nullptr),
                   .series = id,
                   .first_time = chunk.first_time,
                   .late = sequence_ << kLateSequenceShift | (late_number_++ & 0xffff)};
    closed->last_time = chunk.last_time;
    closed->value = std::move(chunk.value);
    shard.late_closed[id].push_back(closed);
    AddUnwritten(std::move(closed));
  }
  shard.late.erase(it);
  MarkDirty(id);
}

std::optional<TimestampMs> Head::LastTimeOf(uint64_t id) const {
  const Shard& shard = shards_[ShardOf(id)];
  MutexLock lock(shard.mutex);
  const SeriesRecord* record = FindRecord(shard, id);
  if (record == nullptr || !record->has_samples) return std::nullopt;
  return record->chunk.last_time;
}

bool Head::CloseLateOf(uint64_t id) {
  Shard& shard = shards_[ShardOf(id)];
  MutexLock lock(shard.mutex);
  const bool any = shard.late.contains(id);
  CloseLateOf(shard, id);
  return any;
}

void Head::CloseLate(uint64_t row) {
  for (uint64_t base = row * kHeadRowSeries; base < (row + 1) * kHeadRowSeries;
       base += kBlockSeries) {
    Shard& shard = shards_[ShardOf(base)];
    MutexLock lock(shard.mutex);
    if (shard.late.empty()) continue;
    for (uint64_t i = 0; i < kBlockSeries; ++i) CloseLateOf(shard, base + i);
  }
}

void Head::RaiseNewestLate(TimestampMs time) {
  newest_late_.store(std::max(time, newest_late_.load(std::memory_order_relaxed)),
                     std::memory_order_relaxed);
}

void Head::ApplyFloat(Shard& shard, SeriesRecord& record, const LogRecord::Float& sample) {
  if (record.has_samples && sample.time <= record.chunk.last_time) {
    return ApplyLate(shard, record, sample.id,
                     {.time = sample.time, .value = sample.value, .start_time = sample.start_time});
  }
  EnterBucket(sample.time);
  OpenXorChunk& chunk = record.chunk;
  const bool has_start = sample.start_time != 0;
  if (record.last_is_histogram ||
      (chunk.count > 0 && (MustCut(record, chunk.first_time, chunk.count, sample.time) ||
                           (has_start && !chunk.has_starts)))) {
    CloseChunk(shard, record, sample.id);
  }
  if (chunk.count == 0) {
    record.chunk_limit = ChunkLimit(record, sample.id);
    chunk.has_starts = has_start;
    open_chunks_.fetch_add(1, std::memory_order_relaxed);
  }
  chunk.Append(sample.time, sample.value, sample.start_time);
  record.last_is_histogram = false;
  NoteSample(record, sample.time);
  MarkDirty(sample.id);
}

void Head::ApplyHistogram(Shard& shard, SeriesRecord& record,
                          const LogRecord::HistogramEntry& sample) {
  if (record.has_samples && sample.time <= record.chunk.last_time) {
    return ApplyLate(shard, record, sample.id,
                     {.time = sample.time,
                      .start_time = sample.start_time,
                      .histogram = std::make_shared<const Histogram>(sample.histogram)});
  }
  EnterBucket(sample.time);
  std::unique_ptr<OpenHistogramChunk>& chunk = record.details().histogram;
  if (record.chunk.count > 0 ||
      (chunk != nullptr && (MustCut(record, chunk->first_time(), chunk->count(), sample.time) ||
                            !chunk->Fits(sample.histogram)))) {
    CloseChunk(shard, record, sample.id);
  }
  if (chunk == nullptr) {
    record.chunk_limit = ChunkLimit(record, sample.id);
    chunk = std::make_unique<OpenHistogramChunk>(sample.histogram);
    open_chunks_.fetch_add(1, std::memory_order_relaxed);
  }
  chunk->Append(sample.time, sample.histogram, sample.start_time);
  record.chunk.last_time = sample.time;
  record.chunk.steady_since = kMaxTimestamp;
  record.last_is_histogram = true;
  NoteSample(record, sample.time);
  MarkDirty(sample.id);
}

void Head::ApplyAll(const Batch& batch) ABSL_NO_THREAD_SAFETY_ANALYSIS {
  ShardHold hold(shards_);
  for (const LogRecord::Series& series : batch.record.series) {
    if (SeriesRecord* record = FindRecord(hold.Of(series.id), series.id)) {
      record->logged = true;
      MarkDirty(series.id);
    }
  }
  ForEachSample(
      batch.record,
      [&](size_t i) ABSL_NO_THREAD_SAFETY_ANALYSIS ABSL_ATTRIBUTE_ALWAYS_INLINE {
        FetchAhead(batch.float_series, i);
        const LogRecord::Float& sample = batch.record.floats[i];
        SeriesRecord& record = *batch.float_series[i];
        ApplyFloat(hold.Of(sample.id), record, sample);
        record.DropPending();
      },
      [&](size_t i) ABSL_NO_THREAD_SAFETY_ANALYSIS {
        const LogRecord::HistogramEntry& sample = batch.record.histograms[i];
        SeriesRecord& record = *batch.histogram_series[i];
        ApplyHistogram(hold.Of(sample.id), record, sample);
        record.DropPending();
      });
}

void Head::Apply(const Batch& batch, uint64_t sequence) {
  sequence_ = sequence;
  late_number_ = 0;
  MutexLock lock(visible_mutex_);
  ApplyAll(batch);
}

void Head::Written(uint32_t epoch) {
  for (const std::shared_ptr<const ClosedChunk>& chunk : unwritten_) {
    const uint64_t id = chunk->key.series;
    Shard& shard = shards_[ShardOf(id)];
    MutexLock lock(shard.mutex);
    shard.closed.erase(id);
    shard.late_closed.erase(id);
    if (SeriesRecord* record = FindRecord(shard, id)) {
      record->details().hot_epoch = epoch;
      MarkDirty(id);
    }
  }
  unwritten_.clear();
  unwritten_bytes_ = 0;
}

void Head::DropBucketsBefore(TimestampMs time) {
  if (bucket_table_.DropEmptyBefore(time) > 0) {
    bucket_table_changed_ = true;
    bucket_start_ = bucket_end_ = 0;
  }
}

}  // namespace varve

// SPDX-License-Identifier: Apache-2.0
//
// The head: rules, appends, chunk cutting, checkpoint rows, sweeping and views.
#include "tsdb/head.h"

#include <algorithm>
#include <bit>
#include <optional>

#include "model/check.h"
#include "model/status_macros.h"
#include "tsdb/coding.h"

namespace varve {

namespace {

// A series' first chunk in a bucket is cut early, at a place its id decides: else series created
// together, or living through a bucket's edge, would close their chunks together for ever.
constexpr uint32_t kFirstChunkSamplesMin = 8;

uint64_t Mix(uint64_t value) {
  value *= 0x9e3779b97f4a7c15;
  value ^= value >> 32;
  value *= 0xd6e8feb86659fd93;
  return value ^ (value >> 32);
}

// Ids viewed under one hold of the visibility lock.
constexpr size_t kViewSlice = 16384;

// Records of a batch, and the ends of their streams, lie all over memory: asked for this many
// samples ahead, they are there when their turn comes.
constexpr size_t kRecordsAhead = 12;
constexpr size_t kStreamsAhead = 6;

void FetchRecordAhead(absl::Span<SeriesRecord* const> series, size_t i) {
  if (i + kRecordsAhead >= series.size()) return;
  const auto* record = reinterpret_cast<const char*>(series[i + kRecordsAhead]);
  __builtin_prefetch(record);
  __builtin_prefetch(record + sizeof(SeriesRecord) - 1);
}

void FetchStreamAhead(absl::Span<SeriesRecord* const> series, size_t i) {
  if (i + kStreamsAhead >= series.size() || series[i + kStreamsAhead] == nullptr) return;
  const OpenXorChunk& chunk = series[i + kStreamsAhead]->chunk;
  if (chunk.data != nullptr) __builtin_prefetch(chunk.data + chunk.bits / 8, 1);
}

// Calls on_float(i) and on_histogram(i) for every sample of the record such that samples of one
// series come in the order of their times.
template <typename OnFloat, typename OnHistogram>
void ForEachSample(const LogRecord& record, OnFloat on_float, OnHistogram on_histogram) {
  if (record.histograms.empty() || record.floats.empty()) {
    for (size_t i = 0; i < record.floats.size(); ++i) on_float(i);
    for (size_t i = 0; i < record.histograms.size(); ++i) on_histogram(i);
    return;
  }
  absl::flat_hash_set<uint64_t> with_histograms;
  for (const LogRecord::HistogramEntry& entry : record.histograms) {
    with_histograms.insert(entry.id);
  }
  struct Mixed {
    TimestampMs time;
    size_t index;
    bool is_histogram;
  };
  std::vector<Mixed> mixed;
  for (size_t i = 0; i < record.floats.size(); ++i) {
    if (with_histograms.contains(record.floats[i].id)) {
      mixed.push_back({record.floats[i].time, i, false});
    } else {
      on_float(i);
    }
  }
  for (size_t i = 0; i < record.histograms.size(); ++i) {
    mixed.push_back({record.histograms[i].time, i, true});
  }
  std::stable_sort(mixed.begin(), mixed.end(),
                   [](const Mixed& a, const Mixed& b) { return a.time < b.time; });
  for (const Mixed& sample : mixed) {
    sample.is_histogram ? on_histogram(sample.index) : on_float(sample.index);
  }
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

// --------------------------------------------------------------------------------------- the rules

LastSample Head::LastOf(const SeriesRecord& record) {
  return {.exists = record.has_samples,
          .is_histogram = record.last_is_histogram,
          .time = record.chunk.last_time,
          .value = record.chunk.last_value,
          .histogram = record.histogram == nullptr ? nullptr : &record.histogram->last()};
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
  for (SeriesRecord* record : batch.float_series) {
    record->pending.fetch_sub(1, std::memory_order_release);
  }
  for (SeriesRecord* record : batch.histogram_series) {
    record->pending.fetch_sub(1, std::memory_order_release);
  }
}

size_t Head::Recheck(Batch& batch, StorageCounters& refused) {
  // Only series with several samples on their way need more than a look at their record.
  absl::flat_hash_map<const SeriesRecord*, LastSample> tails;
  std::vector<bool> drop_float(batch.record.floats.size());
  std::vector<bool> drop_histogram(batch.record.histograms.size());
  size_t dropped = 0;
  const AppendWindow anything{.late_min = batch.late_min};
  const auto check = [&](SeriesRecord& record, TimestampMs time, double value,
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
    record.pending.fetch_sub(1, std::memory_order_release);
    ++dropped;
    return false;
  };
  ForEachSample(
      batch.record,
      [&](size_t i) {
        FetchRecordAhead(batch.float_series, i);
        const LogRecord::Float& sample = batch.record.floats[i];
        drop_float[i] = !check(*batch.float_series[i], sample.time, sample.value, nullptr);
      },
      [&](size_t i) {
        const LogRecord::HistogramEntry& sample = batch.record.histograms[i];
        drop_histogram[i] = !check(*batch.histogram_series[i], sample.time, 0, &sample.histogram);
      });
  if (dropped > 0) {
    EraseMarked(batch.record.floats, drop_float);
    EraseMarked(batch.float_series, drop_float);
    EraseMarked(batch.record.histograms, drop_histogram);
    EraseMarked(batch.histogram_series, drop_histogram);
  }
  return dropped;
}

// --------------------------------------------------------------------------------------- the
// series

SeriesRecord* Head::FindRecord(const Shard& shard, uint64_t id) {
  const auto it = shard.blocks.find(id / kBlockSeries);
  if (it == shard.blocks.end()) return nullptr;
  SeriesRecord& record = (*it->second.records)[id % kBlockSeries];
  return record.present ? &record : nullptr;
}

SeriesRecord& Head::InsertRecord(Shard& shard, uint64_t id) {
  BlockSlot& slot = shard.blocks[id / kBlockSeries];
  if (slot.records == nullptr) slot.records = std::make_unique<Block>();
  SeriesRecord& record = (*slot.records)[id % kBlockSeries];
  INVARIANT(!record.present);
  record.present = true;
  ++slot.used;
  return record;
}

absl::StatusOr<uint64_t> Head::FindOrCreate(const Labels& labels) {
  if (const uint64_t id = index_.Find(labels); id != 0) return id;
  MutexLock lock(create_mutex_);
  if (const uint64_t id = index_.Find(labels); id != 0) return id;
  if (options_.series_max > 0 && index_.series() >= options_.series_max) {
    return AppendErrorStatus(AppendError::kLimit, "the limit of series in memory is reached");
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

void Head::MarkDirty(uint64_t id) {
  const uint64_t row = id / kHeadRowSeries;
  if (row == last_dirty_row_) return;
  last_dirty_row_ = row;
  dirty_rows_.insert(row);
}

// --------------------------------------------------------------------------------------- appending

void Head::EnterBucket(TimestampMs time) {
  if (time >= bucket_start_ && time < bucket_end_) return;
  bool added = false;
  const BucketTable::Bucket& bucket =
      bucket_table_.FindOrAdd(kDefaultPartition, time, options_.bucket_size, added);
  bucket_start_ = bucket.start;
  bucket_end_ = bucket.end;
  bucket_table_changed_ |= added;
}

bool Head::MustCut(const SeriesRecord& record, TimestampMs first, uint32_t count,
                   TimestampMs time) const {
  return count >= record.chunk_limit || first < bucket_start_ ||
         time - first >= kChunkSpanMax * record.chunk_limit / kChunkSamplesMax;
}

uint8_t Head::ChunkLimit(const SeriesRecord& record, uint64_t id) const {
  if (record.has_samples && record.chunk.last_time >= bucket_start_) return kChunkSamplesMax;
  return static_cast<uint8_t>(kFirstChunkSamplesMin +
                              Mix(id) % (kChunkSamplesMax - kFirstChunkSamplesMin + 1));
}

void Head::NoteSample(SeriesRecord& record, TimestampMs time) {
  record.has_samples = true;
  record.min_time = std::min(record.min_time, time);
  // Only the writer stores these, so there is no update to lose.
  if (time > max_time_.load(std::memory_order_relaxed)) {
    max_time_.store(time, std::memory_order_relaxed);
  }
  if (time < min_time_.load(std::memory_order_relaxed)) {
    min_time_.store(time, std::memory_order_relaxed);
  }
}

TimestampMs Head::BucketStart(TimestampMs time, TimestampMs* end) {
  bool added = false;
  const BucketTable::Bucket& bucket =
      bucket_table_.FindOrAdd(kDefaultPartition, time, options_.bucket_size, added);
  bucket_table_changed_ |= added;
  if (end != nullptr) *end = bucket.end;
  return bucket.start;
}

void Head::CloseChunk(Shard& shard, SeriesRecord& record, uint64_t id) {
  HotChunk chunk;
  TimestampMs first_time = 0;
  std::string histogram_payload;
  if (record.chunk.count > 0) {
    chunk = {
        .encoding = record.chunk.has_starts ? ChunkEncoding::kXorWithStarts : ChunkEncoding::kXor,
        .sample_count = record.chunk.count,
        .end_time = record.chunk.last_time,
        .payload = record.chunk.payload()};
    first_time = record.chunk.first_time;
  } else if (record.histogram != nullptr) {
    histogram_payload = record.histogram->payload();
    chunk = {.encoding = ChunkEncoding::kHistogram,
             .sample_count = static_cast<uint16_t>(record.histogram->count()),
             .end_time = record.histogram->last_time(),
             .payload = histogram_payload};
    first_time = record.histogram->first_time();
  } else {
    return;
  }
  auto closed = std::make_shared<ClosedChunk>();
  closed->key = {.partition = kDefaultPartition,
                 .bucket_start = BucketStart(first_time, nullptr),
                 .series = id,
                 .first_time = first_time};
  closed->last_time = chunk.end_time;
  closed->value = EncodeHotChunk(chunk);
  record.chunk.Release();
  record.histogram.reset();
  open_chunks_.fetch_sub(1, std::memory_order_relaxed);
  shard.closed[id].push_back(closed);
  unwritten_.push_back(std::move(closed));
  MarkDirty(id);
}

void Head::ApplyLate(Shard& shard, SeriesRecord& record, uint64_t id, LateSample sample) {
  const TimestampMs time = sample.time;
  LateSamples& late = shard.late[id];
  if (!late.Insert(std::move(sample))) return;
  late_samples_.fetch_add(1, std::memory_order_relaxed);
  record.min_time = std::min(record.min_time, time);
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
    unwritten_.push_back(std::move(closed));
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
  if (record.histogram != nullptr ||
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
  std::unique_ptr<OpenHistogramChunk>& chunk = record.histogram;
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
  record.last_is_histogram = true;
  NoteSample(record, sample.time);
  MarkDirty(sample.id);
}

// The lock of a shard is kept over neighbouring samples, which the analysis cannot follow.
void Head::ApplyAll(const Batch& batch) ABSL_NO_THREAD_SAFETY_ANALYSIS {
  Shard* held = nullptr;
  const auto hold = [&](uint64_t id) ABSL_NO_THREAD_SAFETY_ANALYSIS -> Shard& {
    Shard& shard = shards_[ShardOf(id)];
    if (held != &shard) {
      if (held != nullptr) held->mutex.Unlock();
      held = &shard;
      shard.mutex.Lock();
    }
    return shard;
  };
  for (const LogRecord::Series& series : batch.record.series) {
    if (SeriesRecord* record = FindRecord(hold(series.id), series.id)) {
      record->logged = true;
      MarkDirty(series.id);
    }
  }
  ForEachSample(
      batch.record,
      [&](size_t i) ABSL_NO_THREAD_SAFETY_ANALYSIS {
        FetchStreamAhead(batch.float_series, i);
        const LogRecord::Float& sample = batch.record.floats[i];
        SeriesRecord& record = *batch.float_series[i];
        ApplyFloat(hold(sample.id), record, sample);
        record.pending.fetch_sub(1, std::memory_order_release);
      },
      [&](size_t i) ABSL_NO_THREAD_SAFETY_ANALYSIS {
        const LogRecord::HistogramEntry& sample = batch.record.histograms[i];
        SeriesRecord& record = *batch.histogram_series[i];
        ApplyHistogram(hold(sample.id), record, sample);
        record.pending.fetch_sub(1, std::memory_order_release);
      });
  if (held != nullptr) held->mutex.Unlock();
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
      record->hot_epoch = epoch;
      MarkDirty(id);
    }
  }
  unwritten_.clear();
}

void Head::ClampMaxTime(TimestampMs limit) {
  max_time_.store(std::min(limit, max_time()), std::memory_order_relaxed);
}

void Head::DropBucketsBefore(TimestampMs time) {
  if (bucket_table_.DropEmptyBefore(time) > 0) {
    bucket_table_changed_ = true;
    bucket_start_ = bucket_end_ = 0;
  }
}

// ----------------------------------------------------------------------------- checkpoint, restart

std::vector<uint64_t> Head::DirtyRows() const {
  std::vector<uint64_t> rows(dirty_rows_.begin(), dirty_rows_.end());
  std::sort(rows.begin(), rows.end());
  return rows;
}

Head::CapturedRow Head::CaptureRow(uint64_t row, uint64_t sequence) {
  dirty_rows_.erase(row);
  last_dirty_row_ = ~uint64_t{0};
  CapturedRow captured;
  const uint64_t first_id = row * kHeadRowSeries;
  HeadRowWriter writer(first_id, sequence, max_time());
  for (uint64_t base = first_id; base < first_id + kHeadRowSeries; base += kBlockSeries) {
    Shard& shard = shards_[ShardOf(base)];
    MutexLock lock(shard.mutex);
    const auto slot = shard.blocks.find(base / kBlockSeries);
    if (slot == shard.blocks.end()) continue;
    for (uint64_t i = 0; i < kBlockSeries; ++i) {
      const SeriesRecord& record = (*slot->second.records)[i];
      if (!record.present || !record.logged) continue;
      const uint64_t id = base + i;
      if (!record.saved) captured.unsaved_series.push_back(id);
      HeadRowEntry entry{.id = id,
                         .last_is_histogram = record.last_is_histogram,
                         .has_samples = record.has_samples,
                         .min_time = record.min_time,
                         .last_time = record.chunk.last_time,
                         .last_value = record.chunk.last_value,
                         .hot_epoch = record.hot_epoch,
                         .limit = record.chunk_limit};
      std::string histogram_payload;
      if (record.chunk.count > 0) {
        entry.kind = record.chunk.has_starts ? OpenChunkKind::kXorWithStarts : OpenChunkKind::kXor;
        entry.count = record.chunk.count;
        entry.first_time = record.chunk.first_time;
        entry.last_step = record.chunk.last_step;
        entry.last_start = record.chunk.last_start;
        entry.window = record.chunk.window;
        entry.bits = record.chunk.bits;
        entry.payload = record.chunk.payload();
      } else if (record.histogram != nullptr) {
        histogram_payload = record.histogram->payload();
        entry.kind = OpenChunkKind::kHistogram;
        entry.count = static_cast<uint8_t>(record.histogram->count());
        entry.first_time = record.histogram->first_time();
        entry.payload = histogram_payload;
      }
      writer.Add(entry);
    }
  }
  if (!writer.empty()) captured.value = writer.Finish();
  return captured;
}

void Head::RowSaved(uint64_t row, const CapturedRow& captured, const absl::Status& status) {
  if (!status.ok()) {
    dirty_rows_.insert(row);
    return;
  }
  for (const uint64_t id : captured.unsaved_series) {
    Shard& shard = shards_[ShardOf(id)];
    MutexLock lock(shard.mutex);
    if (SeriesRecord* record = FindRecord(shard, id)) record->saved = true;
  }
}

bool Head::RestoreSeries(uint64_t id, const Labels& labels, bool saved) {
  RaiseLastId(id);
  {
    Shard& shard = shards_[ShardOf(id)];
    MutexLock lock(shard.mutex);
    if (FindRecord(shard, id) != nullptr) return false;
    SeriesRecord& record = InsertRecord(shard, id);
    record.logged = true;
    record.saved = saved;
  }
  index_.Add(id, labels);
  if (!saved) MarkDirty(id);
  return true;
}

absl::Status Head::RestoreEntry(const HeadRowEntry& entry) {
  Shard& shard = shards_[ShardOf(entry.id)];
  MutexLock lock(shard.mutex);
  SeriesRecord* record = FindRecord(shard, entry.id);
  if (record == nullptr || !entry.has_samples) return absl::OkStatus();
  OpenXorChunk& chunk = record->chunk;
  record->hot_epoch = static_cast<uint32_t>(entry.hot_epoch);
  chunk.last_time = entry.last_time;
  chunk.last_value = entry.last_value;
  record->last_is_histogram = entry.last_is_histogram;
  record->chunk_limit = entry.limit;
  NoteSample(*record, entry.last_time);
  record->min_time = entry.min_time;
  min_time_.store(std::min(entry.min_time, min_time_.load(std::memory_order_relaxed)),
                  std::memory_order_relaxed);
  if (entry.kind == OpenChunkKind::kNone) return absl::OkStatus();
  if (entry.kind == OpenChunkKind::kHistogram) {
    ASSIGN_OR_RETURN(record->histogram,
                     OpenHistogramChunk::Restore(entry.payload, entry.count, entry.first_time));
  } else {
    chunk.Restore(entry.payload, entry.bits);
    chunk.has_starts = entry.kind == OpenChunkKind::kXorWithStarts;
    chunk.count = entry.count;
    chunk.first_time = entry.first_time;
    chunk.last_step = entry.last_step;
    chunk.last_start = entry.last_start;
    chunk.window = entry.window;
  }
  open_chunks_.fetch_add(1, std::memory_order_relaxed);
  return absl::OkStatus();
}

void Head::RestoreUnknownEntry(uint64_t id, uint32_t hot_epoch) {
  Shard& shard = shards_[ShardOf(id)];
  MutexLock lock(shard.mutex);
  SeriesRecord* record = FindRecord(shard, id);
  if (record == nullptr || record->has_samples) return;
  record->hot_epoch = hot_epoch;
  record->chunk.last_time = max_time();
  record->min_time = kMinTimestamp;
  record->has_samples = true;
  MarkDirty(id);
}

// Records are found without their locks, which the analysis cannot allow.
void Head::Replay(const LogRecord& record, uint64_t sequence,
                  absl::FunctionRef<bool(uint64_t id)> is_contained,
                  uint64_t& unknown) ABSL_NO_THREAD_SAFETY_ANALYSIS {
  sequence_ = sequence;
  late_number_ = 0;
  // Nobody else looks at a head that is being recovered: finding records needs no lock.
  uint64_t last_block = ~uint64_t{0};
  Block* block = nullptr;
  const auto find = [&](uint64_t id) ABSL_NO_THREAD_SAFETY_ANALYSIS -> SeriesRecord* {
    if (id / kBlockSeries != last_block) {
      last_block = id / kBlockSeries;
      const Shard& shard = shards_[ShardOf(id)];
      const auto slot = shard.blocks.find(last_block);
      block = slot == shard.blocks.end() ? nullptr : slot->second.records.get();
    }
    SeriesRecord* found = block == nullptr ? nullptr : &(*block)[id % kBlockSeries];
    if (found != nullptr && !found->present) found = nullptr;
    if (found == nullptr) ++unknown;
    return found;
  };
  // Null: to be passed over.
  std::vector<SeriesRecord*> float_series(record.floats.size());
  for (size_t i = 0; i < float_series.size(); ++i) {
    const uint64_t id = record.floats[i].id;
    if (!is_contained(id)) float_series[i] = find(id);
  }
  std::vector<SeriesRecord*> histogram_series(record.histograms.size());
  for (size_t i = 0; i < histogram_series.size(); ++i) {
    const uint64_t id = record.histograms[i].id;
    if (!is_contained(id)) histogram_series[i] = find(id);
  }
  ForEachSample(
      record,
      [&](size_t i) ABSL_NO_THREAD_SAFETY_ANALYSIS {
        FetchRecordAhead(float_series, i);
        FetchStreamAhead(float_series, i);
        const LogRecord::Float& sample = record.floats[i];
        if (float_series[i] == nullptr) return;
        Shard& shard = shards_[ShardOf(sample.id)];
        MutexLock lock(shard.mutex);
        ApplyFloat(shard, *float_series[i], sample);
      },
      [&](size_t i) ABSL_NO_THREAD_SAFETY_ANALYSIS {
        const LogRecord::HistogramEntry& sample = record.histograms[i];
        if (histogram_series[i] == nullptr) return;
        Shard& shard = shards_[ShardOf(sample.id)];
        MutexLock lock(shard.mutex);
        ApplyHistogram(shard, *histogram_series[i], sample);
      });
}

// ------------------------------------------------------------------------------------- maintenance

Head::SweepResult Head::Sweep(size_t shard_number, TimestampMs idle_before, uint32_t oldest_epoch) {
  SweepResult result;
  MutexLock create_lock(create_mutex_);
  {
    Shard& shard = shards_[shard_number];
    MutexLock lock(shard.mutex);
    std::vector<uint64_t> empty_blocks;
    for (auto& [number, slot] : shard.blocks) {
      for (uint64_t i = 0; i < kBlockSeries; ++i) {
        SeriesRecord& record = (*slot.records)[i];
        if (!record.present || record.pending.load(std::memory_order_acquire) > 0 ||
            (record.has_samples && record.chunk.last_time >= idle_before)) {
          continue;
        }
        const uint64_t id = number * kBlockSeries + i;
        CloseChunk(shard, record, id);
        CloseLateOf(shard, id);
        if (shard.closed.contains(id) || shard.late_closed.contains(id) ||
            (record.hot_epoch != 0 && record.hot_epoch >= oldest_epoch)) {
          continue;
        }
        result.removed.push_back(id);
        if (record.saved) result.removed_saved.push_back(id);
        std::destroy_at(&record);
        std::construct_at(&record);
        MarkDirty(id);
        if (--slot.used == 0) empty_blocks.push_back(number);
      }
    }
    for (const uint64_t number : empty_blocks) shard.blocks.erase(number);
  }
  std::sort(result.removed.begin(), result.removed.end());
  if (!result.removed.empty()) index_.Remove(result.removed);
  return result;
}

// ------------------------------------------------------------------------------------------
// reading

bool Head::Overlaps(const SeriesRecord& record, TimestampMs min, TimestampMs max) const {
  return record.has_samples && record.chunk.last_time >= min &&
         std::max(record.min_time, oldest_time_.load(std::memory_order_relaxed)) <= max;
}

std::vector<SeriesView> Head::View(absl::Span<const uint64_t> ids, TimestampMs min,
                                   TimestampMs max) const {
  std::vector<SeriesView> views;
  views.reserve(ids.size());
  while (!ids.empty()) {
    const absl::Span<const uint64_t> slice = ids.subspan(0, kViewSlice);
    ids.remove_prefix(slice.size());
    MutexLock visible_lock(visible_mutex_);
    for (const uint64_t id : slice) {
      const Shard& shard = shards_[ShardOf(id)];
      MutexLock lock(shard.mutex);
      const SeriesRecord* record = FindRecord(shard, id);
      if (record != nullptr && Overlaps(*record, min, max)) {
        views.push_back({id, record->chunk.last_time, record->min_time});
      }
    }
  }
  return views;
}

bool Head::MayHaveSamples(uint64_t id, TimestampMs min, TimestampMs max) const {
  const Shard& shard = shards_[ShardOf(id)];
  MutexLock lock(shard.mutex);
  const SeriesRecord* record = FindRecord(shard, id);
  return record != nullptr && Overlaps(*record, min, max);
}

void Head::RaiseOldestTime(TimestampMs time) {
  oldest_time_.store(std::max(time, oldest_time_.load(std::memory_order_relaxed)),
                     std::memory_order_relaxed);
}

Head::OpenSamples Head::CopyOpen(uint64_t id) const {
  OpenSamples samples;
  const Shard& shard = shards_[ShardOf(id)];
  MutexLock lock(shard.mutex);
  if (const auto closed = shard.closed.find(id); closed != shard.closed.end()) {
    samples.closed = closed->second;
  }
  samples.newest_late = newest_late_.load(std::memory_order_relaxed);
  if (const auto closed = shard.late_closed.find(id); closed != shard.late_closed.end()) {
    samples.late_closed = closed->second;
  }
  if (const auto late = shard.late.find(id); late != shard.late.end()) {
    samples.late = late->second.Copy();
  }
  const SeriesRecord* record = FindRecord(shard, id);
  if (record == nullptr) return samples;
  if (record->chunk.count > 0) {
    samples.open_first_time = record->chunk.first_time;
    samples.open = EncodeHotChunk(
        {.encoding = record->chunk.has_starts ? ChunkEncoding::kXorWithStarts : ChunkEncoding::kXor,
         .sample_count = record->chunk.count,
         .end_time = record->chunk.last_time,
         .payload = record->chunk.payload()});
  } else if (record->histogram != nullptr) {
    samples.open_first_time = record->histogram->first_time();
    samples.open =
        EncodeHotChunk({.encoding = ChunkEncoding::kHistogram,
                        .sample_count = static_cast<uint16_t>(record->histogram->count()),
                        .end_time = record->histogram->last_time(),
                        .payload = record->histogram->payload()});
  }
  return samples;
}

HeadStats Head::Stats() const {
  HeadStats stats;
  stats.series = index_.series();
  stats.label_pairs = index_.label_pairs();
  stats.chunks = open_chunks_.load(std::memory_order_relaxed);
  stats.max_time = max_time();
  stats.min_time = min_time_.load(std::memory_order_relaxed);
  if (stats.min_time != kMaxTimestamp) {
    stats.min_time = std::max(stats.min_time, oldest_time_.load(std::memory_order_relaxed));
  }
  return stats;
}

}  // namespace varve

// SPDX-License-Identifier: Apache-2.0
//
// What readers see of the head.
#include <algorithm>

#include "tsdb/head.h"

namespace varve {

namespace {

// What the index takes of a series (a page slot, a label code, an entry by hash), of each label of
// a series (in a set of ids), and of a label pair (text, set, entry by text), about.
constexpr uint64_t kIndexSeriesBytes = 96;
constexpr uint64_t kIndexLabels = 8;
constexpr uint64_t kIndexLabelBytes = 8;
constexpr uint64_t kIndexPairBytes = 128;
// Series to look at for MemoryBytes().
constexpr size_t kSampledSeries = 4096;

// Ids viewed under one hold of the visibility lock.
constexpr size_t kViewSlice = 16384;

}  // namespace

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

OpenSamples Head::CopyOpen(uint64_t id) const {
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

bool Head::ReadNewest(uint64_t id, TimestampMs min, TimestampMs max, SeriesSamples& samples) const {
  char payload[BitBytes(kXorChunkBitsMax)];
  size_t bytes = 0;
  uint32_t count = 0;
  TimestampMs first_time = 0;
  {
    const Shard& shard = shards_[ShardOf(id)];
    MutexLock lock(shard.mutex);
    const SeriesRecord* record = FindRecord(shard, id);
    if (record == nullptr || !HasNewest(*record, min, max)) return false;
    const OpenXorChunk& chunk = record->chunk;
    if (chunk.last_time <= max) {
      samples.Clear();
      samples.times.push_back(chunk.last_time);
      samples.values.push_back(chunk.last_value);
      return true;
    }
    bytes = chunk.payload().copy(payload, sizeof(payload));
    count = chunk.count;
    first_time = chunk.first_time;
  }
  samples.Clear();
  samples.cost.chunks = 1;
  samples.cost.bytes = bytes;
  const std::optional<FloatSample> newest =
      NewestOfXorChunk({payload, bytes}, count, first_time, min, max);
  if (!newest.has_value()) return false;
  samples.times.push_back(newest->time);
  samples.values.push_back(newest->value);
  return true;
}

bool Head::MayReadNewest(uint64_t id, TimestampMs min, TimestampMs max) const {
  const Shard& shard = shards_[ShardOf(id)];
  MutexLock lock(shard.mutex);
  const SeriesRecord* record = FindRecord(shard, id);
  return record != nullptr && HasNewest(*record, min, max);
}

bool Head::HasNewest(const SeriesRecord& record, TimestampMs min, TimestampMs max) const {
  const OpenXorChunk& chunk = record.chunk;
  if (chunk.count == 0 || chunk.has_starts) return false;
  if (chunk.first_time > max || chunk.last_time < min) return false;
  // Of those before the last one, a late one may be newer.
  return chunk.last_time <= max || newest_late_.load(std::memory_order_relaxed) < min;
}

uint64_t Head::MemoryBytes() {
  uint64_t seen = 0;
  uint64_t bytes = 0;
  for (size_t shards = 0; shards < kSeriesShards && seen < kSampledSeries; ++shards) {
    const Shard& shard = shards_[next_sampled_shard_++ % kSeriesShards];
    MutexLock lock(shard.mutex);
    for (const auto& [number, slot] : shard.blocks) {
      seen += slot.used;
      bytes += sizeof(SeriesBlock);
      for (const SeriesRecord& record : *slot.records) {
        bytes += record.chunk.capacity;
        if (record.histogram != nullptr) bytes += record.histogram->MemoryBytes();
      }
    }
  }
  const uint64_t series = index_.series();
  if (seen > 0) bytes = bytes * series / seen;
  return bytes + series * (kIndexSeriesBytes + kIndexLabels * kIndexLabelBytes) +
         index_.label_pairs() * kIndexPairBytes;
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

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
constexpr size_t kSampledSeries = 1024;

// Ids viewed under one hold of the visibility lock.
constexpr size_t kViewSlice = 16384;

// What is set aside for each open chunk that is copied.
constexpr size_t kUsualChunkBytes = 128;

// Calls use(i, record) for each i < count whose series id_at(i) is there, under the lock of its
// shard, which is kept over neighbours.
template <typename IdAt, typename Use>
void ForEachRecord(const SeriesShards& shards, size_t count, IdAt id_at, Use use) {
  for (size_t i = 0; i < count;) {
    const uint64_t number = id_at(i) / kBlockSeries;
    const SeriesShard& shard = shards[ShardOf(id_at(i))];
    MutexLock lock(shard.mutex);
    const auto slot = shard.blocks.find(number);
    for (; i < count && id_at(i) / kBlockSeries == number; ++i) {
      if (slot == shard.blocks.end()) continue;
      const SeriesRecord& record = (*slot->second.records)[id_at(i) % kBlockSeries];
      if (record.present) use(i, record);
    }
  }
}

}  // namespace

bool Head::Overlaps(const SeriesRecord& record, TimestampMs min, TimestampMs max) const {
  return record.has_samples && record.chunk.last_time >= min &&
         std::max(record.details().min_time, oldest_time_.load(std::memory_order_relaxed)) <= max;
}

std::vector<SeriesView> Head::View(absl::Span<const uint64_t> ids, TimestampMs min,
                                   TimestampMs max) const {
  std::vector<SeriesView> views;
  views.reserve(ids.size());
  while (!ids.empty()) {
    const absl::Span<const uint64_t> slice = ids.subspan(0, kViewSlice);
    ids.remove_prefix(slice.size());
    MutexLock visible_lock(visible_mutex_);
    ForEachRecord(
        shards_, slice.size(), [&](size_t i) { return slice[i]; },
        [&](size_t i, const SeriesRecord& record) {
          if (!Overlaps(record, min, max)) return;
          views.push_back({slice[i], record.chunk.last_time, record.details().min_time,
                           IsPresent(record, min, max)});
        });
  }
  return views;
}

bool Head::IsPresent(const SeriesRecord& record, TimestampMs min, TimestampMs max) const {
  const OpenXorChunk& chunk = record.chunk;
  if (chunk.has_starts || chunk.steady_since > max || min > max) return false;
  if (chunk.last_time <= max) return chunk.last_time >= min;
  // Of those before the last one, one is less than the gap older than `max`, if no late one is
  // newer and none was dropped.
  return static_cast<uint64_t>(max) - static_cast<uint64_t>(min) >= kSteadyGapMax - 1 &&
         newest_late_.load(std::memory_order_relaxed) < min &&
         oldest_time_.load(std::memory_order_relaxed) <= min;
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
  if (std::optional<OpenChunk> open = EncodeOpen(*record)) {
    samples.open_first_time = open->first_time;
    samples.open = std::move(open->value);
  }
  return samples;
}

std::vector<NewestSample> Head::ReadNewest(absl::Span<const NewestWanted> wanted,
                                           TimestampMs min) const {
  std::vector<NewestSample> newest(wanted.size());
  // Chunks are copied under the lock, and decoded without it.
  struct Chunk {
    size_t index;
    size_t end;  // In `payloads`, where the one before ends.
    uint32_t count;
    TimestampMs first_time;
  };
  std::vector<Chunk> chunks;
  std::string payloads;
  ForEachRecord(
      shards_, wanted.size(), [&](size_t i) { return wanted[i].id; },
      [&](size_t i, const SeriesRecord& record) {
        if (!HasNewest(record, min, wanted[i].max)) return;
        const OpenXorChunk& chunk = record.chunk;
        if (chunk.last_time <= wanted[i].max) {
          newest[i] = {.found = true, .sample = {chunk.last_time, chunk.last_value}};
          return;
        }
        if (payloads.empty()) {
          payloads.reserve(wanted.size() * kUsualChunkBytes);
          chunks.reserve(wanted.size());
        }
        payloads += chunk.payload();
        chunks.push_back({i, payloads.size(), chunk.count, chunk.first_time});
      });
  size_t begin = 0;
  for (const Chunk& chunk : chunks) {
    const auto payload = std::string_view(payloads).substr(begin, chunk.end - begin);
    begin = chunk.end;
    const std::optional<FloatSample> sample =
        NewestOfXorChunk(payload, chunk.count, chunk.first_time, min, wanted[chunk.index].max);
    if (!sample.has_value()) continue;
    newest[chunk.index] = {
        .found = true, .sample = *sample, .decoded_bytes = static_cast<uint32_t>(payload.size())};
  }
  return newest;
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
        if (record.histogram() != nullptr) bytes += record.histogram()->MemoryBytes();
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

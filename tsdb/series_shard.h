// SPDX-License-Identifier: Apache-2.0
//
// The records of the series in memory: in blocks of neighbouring ids, in shards with a lock each.
#pragma once

#include <absl/base/attributes.h>
#include <absl/container/flat_hash_map.h>
#include <absl/types/span.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "model/appendable.h"
#include "model/mutex.h"
#include "tsdb/late_samples.h"
#include "tsdb/series_record.h"

namespace varve {

inline constexpr uint64_t kBlockSeries = 64;
inline constexpr size_t kSeriesShards = 256;

using SeriesBlock = std::array<SeriesRecord, kBlockSeries>;
struct SeriesBlockSlot {
  std::unique_ptr<SeriesBlock> records;
  uint32_t used = 0;
};
struct SeriesShard {
  mutable Mutex mutex;
  absl::flat_hash_map<uint64_t, SeriesBlockSlot> blocks ABSL_GUARDED_BY(mutex);
  absl::flat_hash_map<uint64_t, std::vector<std::shared_ptr<const ClosedChunk>>> closed
      ABSL_GUARDED_BY(mutex);
  // Few series have late samples.
  absl::flat_hash_map<uint64_t, LateSamples> late ABSL_GUARDED_BY(mutex);
  absl::flat_hash_map<uint64_t, std::vector<std::shared_ptr<const ClosedChunk>>> late_closed
      ABSL_GUARDED_BY(mutex);
};
using SeriesShards = std::array<SeriesShard, kSeriesShards>;

inline size_t ShardOf(uint64_t id) { return id / kBlockSeries % kSeriesShards; }

// Null if it is not there.
SeriesRecord* FindRecord(const SeriesShard& shard, uint64_t id)
    ABSL_EXCLUSIVE_LOCKS_REQUIRED(shard.mutex);
// REQUIRES: it is not there.
SeriesRecord& InsertRecord(SeriesShard& shard, uint64_t id)
    ABSL_EXCLUSIVE_LOCKS_REQUIRED(shard.mutex);

// Keeps the lock of a shard over neighbouring samples, which the analysis cannot follow.
class ShardHold {
 public:
  explicit ShardHold(SeriesShards& shards) : shards_(shards) {}
  ~ShardHold() ABSL_NO_THREAD_SAFETY_ANALYSIS {
    if (held_ != nullptr) held_->mutex.Unlock();
  }
  ShardHold(const ShardHold&) = delete;
  ShardHold& operator=(const ShardHold&) = delete;
  // The shard of the series, locked until another one is asked for.
  SeriesShard& Of(uint64_t id) ABSL_NO_THREAD_SAFETY_ANALYSIS {
    SeriesShard& shard = shards_[ShardOf(id)];
    if (held_ != &shard) {
      if (held_ != nullptr) held_->mutex.Unlock();
      held_ = &shard;
      shard.mutex.Lock();
    }
    return shard;
  }

 private:
  SeriesShards& shards_;
  SeriesShard* held_ = nullptr;
};

// Samples of a target come in the order of their series, which lie side by side: records are asked
// for this many ahead, and at once where a block begins.
inline constexpr size_t kNeighboursAhead = 16;

// A record, to be written; it is not looked at. Inlined as those in sample_walk.h.
ABSL_ATTRIBUTE_ALWAYS_INLINE inline void FetchRecordAt(const void* at) {
  const auto* record = static_cast<const char*>(at);
  __builtin_prefetch(record, 1);
  __builtin_prefetch(record + sizeof(SeriesRecord) - 1, 1);
}

// The record `i` of the block, if it has so many.
ABSL_ATTRIBUTE_ALWAYS_INLINE inline void FetchRecord(const SeriesBlock& block, size_t i) {
  if (i < kBlockSeries) FetchRecordAt(&block[i]);
}

// Where series were, to fetch their records before they are looked at: a record that has moved or
// gone meanwhile is fetched in vain.
class RecordFetcher {
 public:
  explicit RecordFetcher(const SeriesShards& shards) : shards_(shards) {}
  void Fetch(uint64_t id) {
    if (id / kBlockSeries != number_) FindBlock(id / kBlockSeries);
    if (block_ != nullptr) FetchRecordAt(block_ + id % kBlockSeries * sizeof(SeriesRecord));
  }

 private:
  void FindBlock(uint64_t number);

  const SeriesShards& shards_;
  uint64_t number_ = ~uint64_t{0};
  const char* block_ = nullptr;  // Never read from.
};

// As Head::WithKnown(). The lock of a shard is kept over samples of one block, which the analysis
// cannot follow.
template <typename Use>
size_t WithKnown(SeriesShards& shards, absl::Span<const KnownSample> samples,
                 Use use) ABSL_NO_THREAD_SAFETY_ANALYSIS {
  size_t i = 0;
  while (i < samples.size()) {
    const uint64_t number = static_cast<uint64_t>(samples[i].ref) / kBlockSeries;
    SeriesShard& shard = shards[ShardOf(number * kBlockSeries)];
    MutexLock lock(shard.mutex);
    const auto slot = shard.blocks.find(number);
    if (slot == shard.blocks.end()) return i;
    SeriesBlock& block = *slot->second.records;
    const size_t first = static_cast<uint64_t>(samples[i].ref) % kBlockSeries;
    for (size_t k = 0; k < kNeighboursAhead; ++k) FetchRecord(block, first + k);
    __builtin_prefetch(&shards[ShardOf((number + 1) * kBlockSeries)], 1);
    for (; i < samples.size(); ++i) {
      const auto id = static_cast<uint64_t>(samples[i].ref);
      if (id / kBlockSeries != number) break;
      SeriesRecord& record = block[id % kBlockSeries];
      FetchRecord(block, id % kBlockSeries + kNeighboursAhead);
      if (!record.present || record.retired || !use(i, record)) return i;
    }
  }
  return i;
}

}  // namespace varve

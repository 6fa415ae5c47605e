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

inline constexpr size_t kSeriesShards = 256;

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

// Records of a block are asked for this many ahead.
inline constexpr size_t kNeighboursAhead = 16;

// Fetches records that are to be looked at soon, from where they were when they were last found:
// one that has gone meanwhile is fetched in vain. A block of records is found at most once in turn.
class RecordFetcher {
 public:
  explicit RecordFetcher(const SeriesShards& shards) : shards_(shards) {}
  // `held` is the shard the caller has locked.
  void Fetch(uint64_t id, const SeriesShard& held) {
    if (id / kBlockSeries != number_) FindBlock(id / kBlockSeries, held);
    if (records_ != nullptr) FetchRecord(records_[id % kBlockSeries]);
  }

 private:
  // Not if its shard is locked by somebody else.
  void FindBlock(uint64_t number, const SeriesShard& held);

  const SeriesShards& shards_;
  uint64_t number_ = ~uint64_t{0};
  const SeriesRecord* records_ = nullptr;  // Never read from.
};

// As Head::WithKnown(). The lock of a shard is kept over samples of one block, which the analysis
// cannot follow.
template <typename Next, typename Use>
bool WithKnown(SeriesShards& shards, KnownSample& sample, Next next,
               Use use) ABSL_NO_THREAD_SAFETY_ANALYSIS {
  RecordFetcher fetcher(shards);
  bool more = next(sample);
  while (more) {
    const uint64_t number = static_cast<uint64_t>(sample.ref) / kBlockSeries;
    SeriesShard& shard = shards[ShardOf(number * kBlockSeries)];
    MutexLock lock(shard.mutex);
    const auto slot = shard.blocks.find(number);
    if (slot == shard.blocks.end()) return false;
    SeriesBlock& block = *slot->second.records;
    do {
      SeriesRecord& record = block[static_cast<uint64_t>(sample.ref) % kBlockSeries];
      if (sample.soon != kNoSeries) fetcher.Fetch(static_cast<uint64_t>(sample.soon), shard);
      if (!record.present || record.retired || !use(record)) return false;
      more = next(sample);
    } while (more && static_cast<uint64_t>(sample.ref) / kBlockSeries == number);
  }
  return true;
}

}  // namespace varve

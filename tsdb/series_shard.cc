// SPDX-License-Identifier: Apache-2.0
//
// Records in their blocks.
#include "tsdb/series_shard.h"

#include "model/check.h"

namespace varve {

SeriesRecord* FindRecord(const SeriesShard& shard, uint64_t id) {
  const auto it = shard.blocks.find(id / kBlockSeries);
  if (it == shard.blocks.end()) return nullptr;
  SeriesRecord& record = (*it->second.records)[id % kBlockSeries];
  return record.present ? &record : nullptr;
}

SeriesRecord& InsertRecord(SeriesShard& shard, uint64_t id) {
  SeriesBlockSlot& slot = shard.blocks[id / kBlockSeries];
  if (slot.records == nullptr) slot.records = std::make_unique<SeriesBlock>();
  SeriesRecord& record = (*slot.records)[id % kBlockSeries];
  INVARIANT(!record.present);
  record.present = true;
  ++slot.used;
  return record;
}

void RecordFetcher::FindBlock(uint64_t number,
                              const SeriesShard& held) ABSL_NO_THREAD_SAFETY_ANALYSIS {
  number_ = number;
  records_ = nullptr;
  const SeriesShard& shard = shards_[ShardOf(number * kBlockSeries)];
  if (&shard != &held && !shard.mutex.TryLock()) return;
  const auto it = shard.blocks.find(number);
  if (it != shard.blocks.end()) records_ = it->second.records->data();
  if (&shard != &held) shard.mutex.Unlock();
}

}  // namespace varve

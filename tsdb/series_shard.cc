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

void RecordFetcher::FindBlock(uint64_t number) {
  number_ = number;
  const SeriesShard& shard = shards_[ShardOf(number * kBlockSeries)];
  __builtin_prefetch(&shards_[ShardOf((number + 1) * kBlockSeries)], 1);
  MutexLock lock(shard.mutex);
  const auto it = shard.blocks.find(number);
  block_ =
      it == shard.blocks.end() ? nullptr : reinterpret_cast<const char*>(it->second.records.get());
}

}  // namespace varve

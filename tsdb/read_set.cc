// SPDX-License-Identifier: Apache-2.0
//
// Reading generations and hot families.
#include "tsdb/read_set.h"

#include <rocksdb/db.h>
#include <rocksdb/perf_context.h>
#include <rocksdb/perf_level.h>

#include <algorithm>
#include <array>
#include <utility>

#include "model/status_macros.h"
#include "tsdb/merge_samples.h"
#include "tsdb/table_by_table.h"

namespace varve {

namespace {

// Rows of a series so near are reached by stepping.
constexpr uint64_t kSeriesNear = 4;

bool IsIn(const HotSet& set, const std::shared_ptr<HotFamily>& hot) {
  return std::find(set.families.begin(), set.families.end(), hot) != set.families.end();
}

bool InBucket(const Generation& generation, const BucketTable::Bucket& bucket) {
  return generation.id().partition == bucket.partition &&
         generation.id().bucket_start == bucket.start;
}

// Adds the blocks that this thread finds in RocksDB's cache, and those it does not, to `cost`.
class BlockCounter {
 public:
  explicit BlockCounter(ReadCost& cost) : cost_(cost), level_(rocksdb::GetPerfLevel()) {
    rocksdb::SetPerfLevel(rocksdb::PerfLevel::kEnableCount);
  }
  ~BlockCounter() {
    const rocksdb::PerfContext& context = *rocksdb::get_perf_context();
    cost_.cache_hits += context.block_cache_hit_count - hits_;
    cost_.cache_misses += context.block_read_count - misses_;
    rocksdb::SetPerfLevel(level_);
  }
  BlockCounter(const BlockCounter&) = delete;
  BlockCounter& operator=(const BlockCounter&) = delete;

 private:
  ReadCost& cost_;
  const rocksdb::PerfLevel level_;
  const uint64_t hits_ = rocksdb::get_perf_context()->block_cache_hit_count;
  const uint64_t misses_ = rocksdb::get_perf_context()->block_read_count;
};

// Merges one chunk into `samples`, or says that it is damaged.
void ReadChunk(const HotKey& key, std::string_view value, absl::Span<const Tombstone> deleted,
               TimestampMs min, TimestampMs max, std::vector<ColumnDamage>& damage,
               SeriesSamples& samples) {
  const absl::StatusOr<HotChunk> chunk = DecodeHotChunk(value);
  absl::Status status = chunk.status();
  if (status.ok()) {
    if (chunk->end_time < min) return;
    ++samples.cost.chunks;
    samples.cost.bytes += value.size();
    status = ReadLiving(deleted, key.late >> kLateSequenceShift, samples, [&](SeriesSamples& into) {
      return DecodeInto(std::max(key.first_time, min), into, [&](SeriesSamples& to) {
        return DecodeChunkSamples(*chunk, key.first_time, min, max, to);
      });
    });
  }
  if (!status.ok()) {
    damage.push_back({key.first_time, key.first_time + kChunkSpanMax, 0, MessageOf(status)});
  }
}

// Merges the chunks of `id` in one bucket of a hot family into `samples`. What cannot be read is
// left out and said in `damage`. `pooled` is an iterator over the family.
absl::Status ReadChunks(const Family& family, rocksdb::Iterator& pooled,
                        const BucketTable::Bucket& bucket, uint64_t id,
                        absl::Span<const Tombstone> deleted, TimestampMs min, TimestampMs max,
                        std::vector<ColumnDamage>& damage, SeriesSamples& samples) {
  HotKey last{.partition = bucket.partition,
              .bucket_start = bucket.start,
              .series = id,
              .first_time = std::max(min, kMinTimestamp + kChunkSpanMax) - kChunkSpanMax};
  bool is_first = true;
  std::unique_ptr<rocksdb::Iterator> by_table;
  rocksdb::Iterator* it = &pooled;
  it->Seek(EncodeHotKey(last));
  for (;;) {
    if (!it->Valid()) {
      const absl::Status status = FromRocks(it->status(), "reading chunks");
      if (!absl::IsDataLoss(status) || by_table != nullptr) return status;
      damage.push_back({std::max({min, bucket.start, last.first_time}), std::min(max, bucket.end),
                        0, MessageOf(status)});
      ForgetBlock(pooled);
      by_table = NewTableByTableIterator(family, rocksdb::ReadOptions());
      it = by_table.get();
      it->Seek(is_first ? EncodeHotKey(last) : EncodeHotKey(last) + '\0');
      continue;
    }
    const absl::StatusOr<HotKey> key = DecodeHotKey(ToView(it->key()));
    if (!key.ok()) {
      damage.push_back({bucket.start, bucket.end, 0, MessageOf(key.status())});
      it->Next();
      continue;
    }
    if (key->series != id || key->bucket_start != bucket.start ||
        key->partition != bucket.partition || key->first_time > max) {
      return absl::OkStatus();
    }
    last = *key;
    is_first = false;
    ReadChunk(*key, ToView(it->value()), deleted, min, max, damage, samples);
    it->Next();
  }
}

}  // namespace

FamilyIterator IteratorPool::Take(const FamilyPtr& family, size_t slot, bool refresh) {
  FamilyIterator taken;
  {
    MutexLock lock(mutex_);
    const auto it = idle_.find({family.get(), slot});
    if (it != idle_.end() && !it->second.iterators.empty()) {
      taken = std::move(it->second.iterators.back());
      it->second.iterators.pop_back();
    }
  }
  if (taken.iterator != nullptr) {
    if (!refresh) return taken;
    taken.generation = nullptr;
    if (taken.iterator->Refresh().ok()) return taken;
  }
  taken.iterator.reset(family->db().NewIterator(rocksdb::ReadOptions(), family->handle()));
  return taken;
}

void IteratorPool::Return(const FamilyPtr& family, size_t slot, FamilyIterator iterator) {
  MutexLock lock(mutex_);
  Idle& idle = idle_[{family.get(), slot}];
  idle.family = family;
  if (idle.iterators.size() < kIdleMax) idle.iterators.push_back(std::move(iterator));
}

bool ReadSet::MayHave(const Generation& generation, uint64_t id) const {
  const auto it = selected_.find(&generation);
  return it == selected_.end() || std::binary_search(it->second.begin(), it->second.end(), id);
}

std::shared_ptr<const HotSet> ReadSet::Combined(const std::shared_ptr<const HotSet>& now) const {
  MutexLock lock(mutex_);
  if (now_ == now) return combined_;
  auto set = std::make_shared<HotSet>(*pinned_);
  for (const std::shared_ptr<HotFamily>& hot : now->families) {
    if (!IsIn(*pinned_, hot)) set->families.push_back(hot);
  }
  for (const BucketTable::Bucket& bucket : now->buckets.buckets()) {
    bool added = false;
    if (set->buckets.FindStart(bucket.partition, bucket.start) == nullptr) {
      set->buckets.FindOrAdd(bucket.partition, bucket.start, bucket.end - bucket.start, added);
    }
  }
  if (now->buckets.hot_folded_below() > pinned_->families.back()->number) {
    for (const GenerationPtr& generation : now->generations) {
      if (std::find(set->generations.begin(), set->generations.end(), generation) ==
          set->generations.end()) {
        set->generations.push_back(generation);
      }
    }
    std::sort(set->generations.begin(), set->generations.end(),
              [](const GenerationPtr& a, const GenerationPtr& b) { return a->id() < b->id(); });
  }
  now_ = now;
  combined_ = set;
  return combined_;
}

absl::Status ReadSet::Read(uint64_t id, const std::shared_ptr<const HotSet>& now,
                           absl::Span<const Tombstone> deleted, TimestampMs min, TimestampMs max,
                           std::vector<ColumnDamage>& damage, SeriesSamples& samples) const {
  const BlockCounter blocks(samples.cost);
  const std::shared_ptr<const HotSet> set =
      now == nullptr || now == pinned_ ? pinned_ : Combined(now);
  // By slot; few of them are needed at a time.
  std::array<FamilyIterator, IteratorPool::kSlots> columns;
  std::vector<FamilyIterator> hot_iterators(set->families.size());
  for (const BucketTable::Bucket& bucket : set->buckets.buckets()) {
    if (bucket.start > max || bucket.end <= min) continue;
    const GenerationId first{.partition = bucket.partition, .bucket_start = bucket.start};
    for (auto it = std::lower_bound(set->generations.begin(), set->generations.end(), first,
                                    [](const GenerationPtr&generation, const GenerationId&wanted) {
                                      return generation->id() < wanted;
                                    });
         it != set->generations.end() && InBucket(**it, bucket); ++it) {
      if (!(*it)->Overlaps(min, max) || !MayHave(**it, id)) continue;
      const size_t slot = static_cast<size_t>(it - set->generations.begin()) % IteratorPool::kSlots;
      FamilyIterator& at = columns[slot];
      // Pinned generations were there when the first iterator was made.
      if (at.iterator == nullptr) at = iterators_.Take((*it)->columns(), slot, set != pinned_);
      const bool near =
          at.generation == it->get() && id > at.series && id - at.series <= kSeriesNear;
      RETURN_IF_ERROR(ReadLiving(
          Since(deleted, (*it)->info().sequence), kWrittenInOrder, samples, [&](SeriesSamples& to) {
            return (*it)->Read(*at.iterator, {.near = near, .values = values_}, id, min, max,
                               &damage, to);
          }));
      at.generation = it->get();
      at.series = id;
    }
    if (now == nullptr) continue;
    for (size_t i = 0; i < set->families.size(); ++i) {
      const HotFamily& hot = *set->families[i];
      const TimestampMs hot_min = hot.min.load(std::memory_order_relaxed);
      const TimestampMs hot_max = hot.max.load(std::memory_order_relaxed);
      if (bucket.start > std::min(max, hot_max) || bucket.end <= std::max(min, hot_min) ||
          hot_min > max || hot_max < min) {
        continue;
      }
      FamilyIterator& at = hot_iterators[i];
      if (at.iterator == nullptr) at = iterators_.Take(hot.family, 0, /*refresh=*/true);
      RETURN_IF_ERROR(
          ReadChunks(*hot.family, *at.iterator, bucket, id, deleted, min, max, damage, samples));
    }
  }
  for (size_t slot = 0; slot < columns.size(); ++slot) {
    if (columns[slot].iterator == nullptr) continue;
    iterators_.Return(set->generations.front()->columns(), slot, std::move(columns[slot]));
  }
  for (size_t i = 0; i < hot_iterators.size(); ++i) {
    if (hot_iterators[i].iterator != nullptr) {
      iterators_.Return(set->families[i]->family, 0, std::move(hot_iterators[i]));
    }
  }
  return absl::OkStatus();
}

}  // namespace varve

// SPDX-License-Identifier: Apache-2.0
//
// Reading generations and hot families.
#include "tsdb/read_set.h"

#include <rocksdb/db.h>
#include <rocksdb/perf_context.h>
#include <rocksdb/perf_level.h>

#include <algorithm>

#include "model/status_macros.h"
#include "tsdb/merge_samples.h"

namespace varve {

namespace {

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

// Merges the chunks of `id` in one bucket of the iterator's hot family into `samples`.
absl::Status ReadChunks(rocksdb::Iterator& it, const BucketTable::Bucket& bucket, uint64_t id,
                        absl::Span<const Tombstone> deleted, TimestampMs min, TimestampMs max,
                        SeriesSamples& samples) {
  const std::string from =
      EncodeHotKey({.partition = bucket.partition,
                    .bucket_start = bucket.start,
                    .series = id,
                    .first_time = std::max(min, kMinTimestamp + kChunkSpanMax) - kChunkSpanMax});
  for (it.Seek(from); it.Valid(); it.Next()) {
    ASSIGN_OR_RETURN(const HotKey found, DecodeHotKey(ToView(it.key())));
    if (found.series != id || found.bucket_start != bucket.start ||
        found.partition != bucket.partition || found.first_time > max) {
      break;
    }
    ASSIGN_OR_RETURN(const HotChunk chunk, DecodeHotChunk(ToView(it.value())));
    if (chunk.end_time < min) continue;
    ++samples.cost.chunks;
    samples.cost.bytes += it.value().size();
    RETURN_IF_ERROR(
        ReadLiving(deleted, found.late >> kLateSequenceShift, samples, [&](SeriesSamples& into) {
          return DecodeInto(std::max(found.first_time, min), into, [&](SeriesSamples& to) {
            return DecodeChunkSamples(chunk, found.first_time, min, max, to);
          });
        }));
  }
  return FromRocks(it.status(), "reading chunks");
}

}  // namespace

std::unique_ptr<rocksdb::Iterator> IteratorPool::Take(const FamilyPtr& family) {
  std::unique_ptr<rocksdb::Iterator> iterator;
  {
    MutexLock lock(mutex_);
    const auto it = idle_.find(family.get());
    if (it != idle_.end() && !it->second.iterators.empty()) {
      iterator = std::move(it->second.iterators.back());
      it->second.iterators.pop_back();
    }
  }
  if (iterator != nullptr && iterator->Refresh().ok()) return iterator;
  return std::unique_ptr<rocksdb::Iterator>(
      family->db().NewIterator(rocksdb::ReadOptions(), family->handle()));
}

void IteratorPool::Return(const FamilyPtr& family, std::unique_ptr<rocksdb::Iterator> iterator) {
  MutexLock lock(mutex_);
  Idle& idle = idle_[family.get()];
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
                           SeriesSamples& samples) const {
  const BlockCounter blocks(samples.cost);
  const std::shared_ptr<const HotSet> set =
      now == nullptr || now == pinned_ ? pinned_ : Combined(now);
  std::unique_ptr<rocksdb::Iterator> columns;
  std::vector<std::unique_ptr<rocksdb::Iterator>> hot_iterators(set->families.size());
  for (const BucketTable::Bucket& bucket : set->buckets.buckets()) {
    if (bucket.start > max || bucket.end <= min) continue;
    const GenerationId first{.partition = bucket.partition, .bucket_start = bucket.start};
    for (auto it = std::lower_bound(set->generations.begin(), set->generations.end(), first,
                                    [](const GenerationPtr&generation, const GenerationId&wanted) {
                                      return generation->id() < wanted;
                                    });
         it != set->generations.end() && InBucket(**it, bucket); ++it) {
      if (!(*it)->Overlaps(min, max) || !MayHave(**it, id)) continue;
      if (columns == nullptr) columns = iterators_.Take((*it)->columns());
      RETURN_IF_ERROR(ReadLiving(
          Since(deleted, (*it)->info().sequence), kWrittenInOrder, samples,
          [&](SeriesSamples& to) { return (*it)->Read(*columns, id, min, max, nullptr, to); }));
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
      if (hot_iterators[i] == nullptr) hot_iterators[i] = iterators_.Take(hot.family);
      RETURN_IF_ERROR(ReadChunks(*hot_iterators[i], bucket, id, deleted, min, max, samples));
    }
  }
  if (columns != nullptr) {
    iterators_.Return(set->generations.front()->columns(), std::move(columns));
  }
  for (size_t i = 0; i < hot_iterators.size(); ++i) {
    if (hot_iterators[i] != nullptr) {
      iterators_.Return(set->families[i]->family, std::move(hot_iterators[i]));
    }
  }
  return absl::OkStatus();
}

}  // namespace varve

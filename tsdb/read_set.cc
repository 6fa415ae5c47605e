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

// The key of the first chunk of `id` in a bucket that may reach `min`.
HotKey FirstChunkKey(const BucketTable::Bucket& bucket, uint64_t id, TimestampMs min) {
  return {.partition = bucket.partition,
          .bucket_start = bucket.start,
          .series = id,
          .first_time = std::max(min, kMinTimestamp + kChunkSpanMax) - kChunkSpanMax};
}

// Whether a family may have chunks of the bucket with samples in [min, max].
bool MayHold(const HotFamily& hot, const BucketTable::Bucket& bucket, TimestampMs min,
             TimestampMs max) {
  const TimestampMs hot_min = hot.min.load(std::memory_order_relaxed);
  const TimestampMs hot_max = hot.max.load(std::memory_order_relaxed);
  return bucket.start <= std::min(max, hot_max) && bucket.end > std::max(min, hot_min) &&
         hot_min <= max && hot_max >= min;
}

// Moves `it` to the first key from `from` on: by stepping where that is near. `stands` tells
// whether it stands before there, and is then set.
void MoveTo(rocksdb::Iterator& it, std::string_view from, bool& stands) {
  constexpr int kStepsMax = 8;
  for (int i = 0; stands && i < kStepsMax && it.Valid() && ToView(it.key()) < from; ++i) it.Next();
  if (!stands || !it.Valid() || ToView(it.key()) < from) it.Seek(ToSlice(from));
  stands = true;
}

// Whether `rows`, which are of `done` series, will take more than `bytes_max` of all `series`.
bool WillBeTooMuch(const RowCopies& rows, size_t done, size_t series, uint64_t bytes_max) {
  constexpr size_t kSeriesForGuess = 3;
  return rows.bytes() > bytes_max ||
         (done >= kSeriesForGuess && rows.bytes() / done > bytes_max / series);
}

// Adds what ReadChunks() of a series looks at to `rows`. False if something is damaged or too much.
bool CopyChunks(rocksdb::Iterator& it, const BucketTable::Bucket& bucket, uint64_t id,
                TimestampMs min, TimestampMs max, uint64_t bytes_max, bool& stands,
                RowCopies& rows) {
  MoveTo(it, EncodeHotKey(FirstChunkKey(bucket, id, min)), stands);
  for (; it.Valid(); it.Next()) {
    const absl::StatusOr<HotKey> key = DecodeHotKey(ToView(it.key()));
    if (!key.ok()) return false;
    if (key->series != id || key->bucket_start != bucket.start ||
        key->partition != bucket.partition || key->first_time > max) {
      break;
    }
    rows.Add(ToView(it.key()), ToView(it.value()));
    if (rows.bytes() > bytes_max) return false;
  }
  return it.status().ok();
}

// The same for all buckets and each of `ids`.
bool CopyFamily(rocksdb::Iterator& it, absl::Span<const BucketTable::Bucket> buckets,
                absl::Span<const uint64_t> ids, TimestampMs min, TimestampMs max,
                uint64_t bytes_max, RowCopies& rows) {
  bool stands = false;
  for (size_t i = 0; i < ids.size(); ++i) {
    const bool near = i > 0 && ids[i] - ids[i - 1] <= kSeriesNear;
    for (const BucketTable::Bucket& bucket : buckets) {
      // Only by the buckets' order do keys rise from one series to the next.
      stands = stands && near && buckets.size() == 1;
      if (!CopyChunks(it, bucket, ids[i], min, max, bytes_max, stands, rows)) return false;
    }
    if (WillBeTooMuch(rows, i + 1, ids.size(), bytes_max)) return false;
    rows.EndSeries(ids.size() - i - 1);
  }
  return true;
}

// Merges the chunks of `id` in one bucket of a hot family into `samples`. What cannot be read is
// left out and said in `damage`. `pooled` is an iterator over the family.
absl::Status ReadChunks(const Family& family, rocksdb::Iterator& pooled,
                        const BucketTable::Bucket& bucket, uint64_t id,
                        absl::Span<const Tombstone> deleted, TimestampMs min, TimestampMs max,
                        std::vector<ColumnDamage>& damage, SeriesSamples& samples) {
  HotKey last = FirstChunkKey(bucket, id, min);
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

// Whether what the generation has of the series was copied.
bool IsCopied(const ReadSet::Source& source, size_t generation) {
  return source.copies != nullptr && source.copies->generations[generation].has_value();
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

// Iterators of one read, given back to the pool at its end.
class ReadSet::Taken {
 public:
  Taken(IteratorPool& pool, const HotSet& set, bool refresh)
      : pool_(pool), set_(set), refresh_(refresh), hot_(set.families.size()) {}
  ~Taken() {
    for (size_t slot = 0; slot < columns_.size(); ++slot) {
      if (columns_[slot].iterator == nullptr) continue;
      pool_.Return(set_.generations.front()->columns(), slot, std::move(columns_[slot]));
    }
    for (size_t i = 0; i < hot_.size(); ++i) {
      if (hot_[i].iterator == nullptr) continue;
      pool_.Return(set_.families[i]->family, 0, std::move(hot_[i]));
    }
  }
  Taken(const Taken&) = delete;
  Taken& operator=(const Taken&) = delete;

  // Over the columns of the set's generations; few of them are needed at a time.
  FamilyIterator& Columns(size_t generation) {
    const size_t slot = generation % IteratorPool::kSlots;
    FamilyIterator& at = columns_[slot];
    if (at.iterator == nullptr) {
      at = pool_.Take(set_.generations[generation]->columns(), slot, refresh_);
    }
    return at;
  }
  rocksdb::Iterator& Hot(size_t family) {
    FamilyIterator& at = hot_[family];
    if (at.iterator == nullptr) at = pool_.Take(set_.families[family]->family, 0, /*refresh=*/true);
    return *at.iterator;
  }
  // It may stand on damage.
  void ForgetHot(size_t family) { hot_[family].iterator.reset(); }

 private:
  IteratorPool& pool_;
  const HotSet& set_;
  const bool refresh_;
  std::array<FamilyIterator, IteratorPool::kSlots> columns_;  // By slot.
  std::vector<FamilyIterator> hot_;
};

absl::Status ReadSet::ReadGeneration(const Source& source, const HotSet& set, size_t index,
                                     Taken& taken, absl::Span<const Tombstone> deleted,
                                     TimestampMs min, TimestampMs max,
                                     std::vector<ColumnDamage>& damage,
                                     SeriesSamples& samples) const {
  const Generation& generation = *set.generations[index];
  const auto read = [&](rocksdb::Iterator& it, bool near, TimesMemo* times) {
    return ReadLiving(Since(deleted, generation.info().sequence), kWrittenInOrder, samples,
                      [&](SeriesSamples& to) {
                        return generation.Read(it,
                                               {.near = near, .values = values_, .times = times},
                                               source.id, min, max, &damage, to);
                      });
  };
  if (IsCopied(source, index)) {
    RowCopiesIterator it(*source.copies->generations[index], source.place);
    return read(it, /*near=*/false, &source.copies->times[index]);
  }
  FamilyIterator& at = taken.Columns(index);
  const bool near =
      at.generation == &generation && source.id > at.series && source.id - at.series <= kSeriesNear;
  RETURN_IF_ERROR(read(*at.iterator, near, /*times=*/nullptr));
  at.generation = &generation;
  at.series = source.id;
  return absl::OkStatus();
}

absl::Status ReadSet::Read(const Source& source, absl::Span<const Tombstone> deleted,
                           TimestampMs min, TimestampMs max, std::vector<ColumnDamage>& damage,
                           SeriesSamples& samples) const {
  const BlockCounter blocks(samples.cost);
  const std::shared_ptr<const HotSet> set =
      source.now == nullptr || source.now == pinned_ ? pinned_ : Combined(source.now);
  // Pinned generations were there when the first iterator was made.
  Taken taken(iterators_, *set, /*refresh=*/set != pinned_);
  for (const BucketTable::Bucket& bucket : set->buckets.buckets()) {
    if (bucket.start > max || bucket.end <= min) continue;
    const GenerationId first{.partition = bucket.partition, .bucket_start = bucket.start};
    for (auto it = std::lower_bound(set->generations.begin(), set->generations.end(), first,
                                    [](const GenerationPtr&generation, const GenerationId&wanted) {
                                      return generation->id() < wanted;
                                    });
         it != set->generations.end() && InBucket(**it, bucket); ++it) {
      const auto index = static_cast<size_t>(it - set->generations.begin());
      if (!(*it)->Overlaps(min, max)) continue;
      if (!IsCopied(source, index) && !MayHave(**it, source.id)) continue;
      RETURN_IF_ERROR(
          ReadGeneration(source, *set, index, taken, deleted, min, max, damage, samples));
    }
    if (source.now == nullptr) continue;
    for (size_t i = 0; i < set->families.size(); ++i) {
      const HotFamily& hot = *set->families[i];
      if (!MayHold(hot, bucket, min, max)) continue;
      if (source.copies != nullptr && source.copies->families[i].has_value()) {
        RowCopiesIterator copies(*source.copies->families[i], source.place);
        RETURN_IF_ERROR(
            ReadChunks(*hot.family, copies, bucket, source.id, deleted, min, max, damage, samples));
      } else {
        RETURN_IF_ERROR(ReadChunks(*hot.family, taken.Hot(i), bucket, source.id, deleted, min, max,
                                   damage, samples));
      }
    }
  }
  return absl::OkStatus();
}

// ------------------------------------------------------------------------------------------
// copying

bool ReadSet::CopyColumns(const Generation& generation, rocksdb::Iterator& it,
                          absl::Span<const uint64_t> ids, uint64_t bytes_max,
                          RowCopies& rows) const {
  bool stands = false;
  for (size_t i = 0; i < ids.size(); ++i) {
    if (MayHave(generation, ids[i])) {
      const std::string from =
          EncodeLabelKey(generation.id(), ids[i]);  // Its column keys begin so.
      stands = stands && ids[i] - ids[i - 1] <= kSeriesNear;
      MoveTo(it, from, stands);
      for (; it.Valid() && ToView(it.key()).starts_with(from); it.Next()) {
        rows.Add(ToView(it.key()), ToView(it.value()));
        if (rows.bytes() > bytes_max) return false;
      }
      if (!it.status().ok()) return false;
    }
    if (WillBeTooMuch(rows, i + 1, ids.size(), bytes_max)) return false;
    rows.EndSeries(ids.size() - i - 1);
  }
  return true;
}

StoredCopies ReadSet::Copy(absl::Span<const uint64_t> ids, bool hot, TimestampMs min,
                           TimestampMs max, uint64_t bytes_max) const {
  StoredCopies copies;
  const BlockCounter blocks(copies.cost);
  const HotSet& set = *pinned_;
  Taken taken(iterators_, set, /*refresh=*/false);
  copies.generations.resize(set.generations.size());
  copies.times = std::make_unique<TimesMemo[]>(set.generations.size());
  for (size_t i = 0; i < set.generations.size(); ++i) {
    if (!set.generations[i]->Overlaps(min, max)) continue;  // Nobody will look.
    FamilyIterator& at = taken.Columns(i);
    at.generation = nullptr;
    RowCopies rows;
    if (CopyColumns(*set.generations[i], *at.iterator, ids, bytes_max - copies.bytes, rows)) {
      copies.bytes += rows.bytes();
      copies.generations[i] = std::move(rows);
    } else if (!at.iterator->status().ok()) {
      at.iterator.reset();  // It stands on damage.
    }
  }
  copies.families.resize(set.families.size());
  for (size_t i = 0; hot && i < set.families.size(); ++i) {
    std::vector<BucketTable::Bucket> buckets;
    for (const BucketTable::Bucket& bucket : set.buckets.buckets()) {
      if (MayHold(*set.families[i], bucket, min, max)) buckets.push_back(bucket);
    }
    RowCopies rows;
    if (buckets.empty()) {
      for (size_t left = ids.size(); left > 0;) rows.EndSeries(--left);
      copies.families[i] = std::move(rows);
    } else if (CopyFamily(taken.Hot(i), buckets, ids, min, max, bytes_max - copies.bytes, rows)) {
      copies.bytes += rows.bytes();
      copies.families[i] = std::move(rows);
    } else {
      taken.ForgetHot(i);
    }
  }
  return copies;
}

}  // namespace varve

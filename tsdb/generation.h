// SPDX-License-Identifier: Apache-2.0
//
// A generation: the rows that one pass of folding or sealing wrote for a bucket, and that are
// never changed. It has everything to answer by itself: columns, labels and postings.
//
// The keys of the three families begin with the generation's prefix:
//   partition   u16 BE
//   bucket      i64 BE, sign bit flipped: the bucket's start
//   generation  u32 BE
// and go on so:
//   columns     series id u64 BE; time of the first sample i64 BE, sign bit flipped; kind u8
//               (1 = times row, which comes before the first row that uses it, 2 = samples)
//   labels      series id u64 BE
//   postings    label name, 0xFF, value; 0xFF alone for the set of all series
#pragma once

#include <absl/status/status.h>
#include <absl/status/statusor.h>
#include <absl/types/span.h>
#include <rocksdb/iterator.h>

#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "model/labels.h"
#include "model/matcher.h"
#include "model/mutex.h"
#include "model/queryable.h"
#include "tsdb/column.h"
#include "tsdb/damage.h"
#include "tsdb/format.h"
#include "tsdb/lru_cache.h"
#include "tsdb/row_copies.h"
#include "tsdb/store.h"

namespace varve {

struct GenerationId {
  PartitionId partition = kDefaultPartition;
  TimestampMs bucket_start = 0;
  uint32_t number = 0;
  friend auto operator<=>(const GenerationId&, const GenerationId&) = default;
};
inline constexpr size_t kGenerationPrefixBytes = 2 + 8 + 4;
std::string GenerationPrefix(const GenerationId& id);
// The first key behind all keys of the generation.
std::string GenerationEnd(const GenerationId& id);
// Of a key of any of the three families. DataLoss if it is too short.
absl::StatusOr<GenerationId> DecodeGenerationPrefix(std::string_view key);

enum class ColumnRowKind : uint8_t { kTimes = 1, kSamples = 2 };
struct ColumnKey {
  GenerationId generation;
  uint64_t series = 0;
  TimestampMs first_time = 0;
  ColumnRowKind kind = ColumnRowKind::kSamples;
};
std::string EncodeColumnKey(const ColumnKey& key);
absl::StatusOr<ColumnKey> DecodeColumnKey(std::string_view key);
std::string EncodeLabelKey(const GenerationId& id, uint64_t series);
absl::StatusOr<uint64_t> DecodeLabelKey(std::string_view key);

// What generations have decoded, of all of them. Thread-safe.
struct GenerationCache {
  explicit GenerationCache(uint64_t bytes_max)
      : ids(bytes_max / 2), times(bytes_max / 8 * 3), values(bytes_max / 8) {}

  uint64_t bytes() const { return ids.bytes() + times.bytes() + values.bytes() + copied.bytes(); }
  void SetBytesMax(uint64_t bytes_max) {
    ids.SetBytesMax(bytes_max / 2);
    times.SetBytesMax(bytes_max / 8 * 3);
    values.SetBytesMax(bytes_max / 8);
  }

  LruCache<std::vector<uint64_t>> ids;        // What matchers selected.
  LruCache<SharedTimes> times;                // Times rows; neighbouring series share one.
  LruCache<std::vector<std::string>> values;  // Of a label, rising.
  CopiedBytes copied;                         // Rows that reads share; no part of the maximum.
};

// The times that a row of a generation was found to share last: those of its neighbours mostly do.
// Thread-safe.
class TimesMemo {
 public:
  // Null if other times were the last ones.
  std::shared_ptr<const SharedTimes> Find(const TimesRef& ref) ABSL_LOCKS_EXCLUDED(mutex_) {
    MutexLock lock(mutex_);
    return series_ == ref.series && first_time_ == ref.first_time ? times_ : nullptr;
  }
  void Set(const TimesRef& ref, std::shared_ptr<const SharedTimes> times)
      ABSL_LOCKS_EXCLUDED(mutex_) {
    MutexLock lock(mutex_);
    series_ = ref.series;
    first_time_ = ref.first_time;
    times_ = std::move(times);
  }

 private:
  Mutex mutex_;
  uint64_t series_ ABSL_GUARDED_BY(mutex_) = 0;
  TimestampMs first_time_ ABSL_GUARDED_BY(mutex_) = 0;
  std::shared_ptr<const SharedTimes> times_ ABSL_GUARDED_BY(mutex_);
};

// Reads one generation. Immutable and thread-safe; keeps its families open.
class Generation {
 public:
  // `damage` outlives the generation.
  Generation(const Store& store, const GenerationId& id, const BucketTable::Generation& info,
             std::shared_ptr<GenerationCache> cache, DamageLog& damage);
  Generation(const Generation&) = delete;
  Generation& operator=(const Generation&) = delete;

  const GenerationId& id() const { return id_; }
  const BucketTable::Generation& info() const { return info_; }
  bool Overlaps(TimestampMs min, TimestampMs max) const {
    return info_.min_time <= max && info_.max_time >= min;
  }
  const FamilyPtr& columns() const { return columns_; }

  // The series that every matcher accepts, rising. All of them if there is no matcher. From the
  // labels themselves if postings are damaged.
  absl::StatusOr<std::vector<uint64_t>> Select(const std::vector<Matcher>& matchers) const;
  // Labels of each id, from the postings where rows of labels are damaged or missing; empty ones if
  // these do not tell either. REQUIRES: ids rise.
  absl::StatusOr<std::vector<Labels>> LabelsOf(absl::Span<const uint64_t> ids) const;
  // Adds the label names (values of `name`) that can be read, the smallest `limit` of them or, if
  // 0, all. Returns whether nothing of them was damaged or missing.
  absl::StatusOr<bool> AddNames(uint64_t limit, std::set<std::string>& names) const;
  absl::StatusOr<bool> AddValues(std::string_view name, uint64_t limit,
                                 std::set<std::string>& values) const;

  // Merges the samples of a series in [min, max] into `samples`; at equal times those that are
  // there stay. `it` is an iterator over columns(). If `damage` is not null, what is damaged is
  // added there and passed over; otherwise it is DataLoss.
  struct Reading {
    bool near = false;           // `it` was last used here, for a series shortly before this one.
    bool values = true;          // As in ColumnReadOptions.
    TimesMemo* times = nullptr;  // Of this generation and series around this one; may be null.
  };
  absl::Status Read(rocksdb::Iterator& it, const Reading& reading, uint64_t series, TimestampMs min,
                    TimestampMs max, std::vector<ColumnDamage>* damage,
                    SeriesSamples& samples) const;

 private:
  using Ids = std::shared_ptr<const std::vector<uint64_t>>;

  absl::StatusOr<std::vector<uint64_t>> SelectByPostings(
      const std::vector<Matcher>& matchers) const;
  absl::StatusOr<std::vector<uint64_t>> SelectByLabels(const std::vector<Matcher>& matchers) const;
  // Fills in the empty ones of `labels`.
  absl::Status LabelsFromPostings(absl::Span<const uint64_t> ids,
                                  std::vector<Labels>& labels) const;
  // Whether `it`, which is not valid, goes on behind a damaged block that began past `from`.
  bool GoOn(rocksdb::Iterator& it, std::string_view from, std::string_view part) const;
  // Whether the set of all series is there, which every generation has.
  bool HasPostings() const;
  absl::StatusOr<Ids> MatcherIds(const Matcher& matcher, std::string_view kind) const;
  absl::StatusOr<std::vector<uint64_t>> Resolve(const Matcher& matcher, bool matching) const;
  absl::StatusOr<std::vector<uint64_t>> PostingsOf(std::string_view name,
                                                   std::string_view value) const;
  // Sets `options.times` if the row needs it.
  absl::Status ReadRow(std::string_view row, ColumnReadOptions options, TimesMemo* memo,
                       SeriesSamples& samples) const;
  absl::StatusOr<std::shared_ptr<const SharedTimes>> TimesOfRow(const TimesRef& ref,
                                                                ReadCost& cost) const;
  std::unique_ptr<rocksdb::Iterator> NewIterator(const Family& family) const;

  const FamilyPtr columns_;
  const FamilyPtr labels_;
  const FamilyPtr postings_;
  const GenerationId id_;
  const BucketTable::Generation info_;
  const std::string prefix_;
  const std::shared_ptr<GenerationCache> cache_;
  DamageLog& damage_;
};
using GenerationPtr = std::shared_ptr<const Generation>;

// The generations that have a row in any of the three families, whether the bucket table names them
// or not. What is damaged is left out and said in `damage`.
absl::StatusOr<std::set<GenerationId>> ListGenerations(const Store& store,
                                                       std::vector<absl::Status>& damage);
// What the bucket table would say of a generation, from its rows. Same for damage.
BucketTable::Generation DescribeGeneration(const Store& store, const GenerationId& id,
                                           std::vector<absl::Status>& damage);
// The highest series id with labels in the generation; 0 if there is none that can be read.
uint64_t LastSeriesOf(const Store& store, const GenerationId& id);
// Deletes the files of a generation. REQUIRES: no reader needs them.
absl::Status DeleteGeneration(Store& store, const GenerationId& id);

}  // namespace varve

// SPDX-License-Identifier: Apache-2.0
//
// Reading what is stored of a series: generations and hot families of a pinned bucket table, in the
// order that decides which of two samples at the same time counts.
//
// A chunk that lay in memory when the table was pinned may reach a hot family later, and a
// generation still later. So reads look at the families of the pinned table and of the one of now,
// and at generations of now only if a family that came after the pinned ones is folded already.
#pragma once

#include <absl/container/flat_hash_map.h>
#include <absl/status/status.h>
#include <rocksdb/iterator.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "model/mutex.h"
#include "model/queryable.h"
#include "tsdb/row_copies.h"
#include "tsdb/write_path.h"

namespace varve {

// An iterator over a family, and what it has read last, if it stands behind that.
struct FamilyIterator {
  std::unique_ptr<rocksdb::Iterator> iterator;
  const Generation* generation = nullptr;
  uint64_t series = 0;
};

// Iterators over families, used again by the next read: making one costs more than a seek, and so
// does moving one to another file. Readers of different parts of a family therefore name different
// slots. Thread-safe.
class IteratorPool {
 public:
  static constexpr size_t kSlots = 16;  // Of a family: each iterator keeps a block in memory.

  // An iterator over the family's state of now or later if `refresh`; else of any time since the
  // pool was made. REQUIRES: slot < kSlots.
  FamilyIterator Take(const FamilyPtr& family, size_t slot, bool refresh)
      ABSL_LOCKS_EXCLUDED(mutex_);
  void Return(const FamilyPtr& family, size_t slot, FamilyIterator iterator)
      ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  static constexpr size_t kIdleMax = 16;  // Of one slot: the threads that read at a time.
  struct Idle {
    FamilyPtr family;  // Outlives its iterators.
    std::vector<FamilyIterator> iterators;
  };

  Mutex mutex_;
  absl::flat_hash_map<std::pair<const Family*, size_t>, Idle> idle_ ABSL_GUARDED_BY(mutex_);
};

// What the generations and hot families of a pinned table have of some series, by their places in
// the table. Without value: not copied, because something was damaged or too large.
struct StoredCopies {
  std::vector<std::optional<RowCopies>> generations;
  std::unique_ptr<TimesMemo[]> times;  // By generation, too; of whoever reads its copies.
  std::vector<std::optional<RowCopies>> families;
  uint64_t bytes = 0;
  ReadCost cost;  // But for chunks and bytes, which count when they are decoded.
};

// A pinned bucket table, and which of its generations have which of the selected series.
// Thread-safe.
class ReadSet {
 public:
  // Series of one generation, rising.
  using SelectedIds = absl::flat_hash_map<const Generation*, std::vector<uint64_t>>;

  // `selected` has the generations that were asked which series they have; others are searched.
  // Without `values`, those of columns come as ColumnReadOptions says.
  ReadSet(std::shared_ptr<const HotSet> pinned, SelectedIds selected, bool values)
      : pinned_(std::move(pinned)), selected_(std::move(selected)), values_(values) {}

  const std::shared_ptr<const HotSet>& pinned() const { return pinned_; }

  // Copies what Read() of these series, which rise, would look at in the pinned table, in one pass
  // over each of its parts; of hot families only with `hot`. At most about `bytes_max`.
  StoredCopies Copy(absl::Span<const uint64_t> ids, bool hot, TimestampMs min, TimestampMs max,
                    uint64_t bytes_max) const;

  // Where to read the stored samples of a series.
  struct Source {
    uint64_t id = 0;
    // The table of now, taken after what memory holds of the series was copied; null if memory had
    // nothing of it when the table was pinned.
    std::shared_ptr<const HotSet> now;
    // If set, `now` is the pinned table or null; copied after it was taken, for these times.
    const StoredCopies* copies = nullptr;
    size_t place = 0;  // Of the series among those that were copied.
  };
  // Merges the stored samples in [min, max] into `samples`, at equal times leaving what is there.
  // Samples that `deleted` covers are left out, and those that are damaged, which `damage` gets.
  absl::Status Read(const Source& source, absl::Span<const Tombstone> deleted, TimestampMs min,
                    TimestampMs max, std::vector<ColumnDamage>& damage,
                    SeriesSamples& samples) const;

 private:
  // Those that a read has taken from the pool; they go back when it ends.
  class Taken;

  absl::Status ReadGeneration(const Source& source, const HotSet& set, size_t index, Taken& taken,
                              absl::Span<const Tombstone> deleted, TimestampMs min, TimestampMs max,
                              std::vector<ColumnDamage>& damage, SeriesSamples& samples) const;
  // False if something is damaged or too much.
  bool CopyColumns(const Generation& generation, rocksdb::Iterator& it,
                   absl::Span<const uint64_t> ids, uint64_t bytes_max, RowCopies& rows) const;
  std::shared_ptr<const HotSet> Combined(const std::shared_ptr<const HotSet>& now) const
      ABSL_LOCKS_EXCLUDED(mutex_);
  bool MayHave(const Generation& generation, uint64_t id) const;

  const std::shared_ptr<const HotSet> pinned_;
  const SelectedIds selected_;
  const bool values_;
  mutable IteratorPool iterators_;

  mutable Mutex mutex_;
  // The table of now last seen, and what it makes with the pinned one.
  mutable std::shared_ptr<const HotSet> now_ ABSL_GUARDED_BY(mutex_);
  mutable std::shared_ptr<const HotSet> combined_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace varve

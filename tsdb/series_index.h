// SPDX-License-Identifier: Apache-2.0
//
// The index of the series in memory: which id a label set has, which labels an id has, and which
// series match a selector.
//
// Label texts are stored once, under numbers: a name has a number, and so has each value of a
// name. A series' labels are the pairs of numbers as varints (a few bytes a label), 256 series in
// one buffer. Ids rise in order of creation, so postings built by appending are sorted already. A
// value whose last series leaves frees its number for the next value.
//
// Neighbouring series share most labels: an added one is compared with the one before it first,
// label by label as bytes, and asks hash maps only for what differs.
#pragma once

#include <absl/container/flat_hash_map.h>
#include <absl/container/flat_hash_set.h>
#include <absl/functional/function_ref.h>
#include <absl/types/span.h>

#include <array>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "model/labels.h"
#include "model/matcher.h"
#include "model/mutex.h"
#include "model/queryable.h"
#include "model/storage_admin.h"
#include "model/string_map.h"
#include "tsdb/id_set.h"

namespace varve {

// A hundred years of a million new series an hour.
inline constexpr uint64_t kSeriesIdMax = (uint64_t{1} << 40) - 1;

// Decides whether a series counts. May take shard locks of the head; must not call the index.
using SeriesFilter = absl::FunctionRef<bool(uint64_t id)>;

// Thread-safe: readers run beside one another.
class SeriesIndex {
 public:
  SeriesIndex() = default;
  SeriesIndex(const SeriesIndex&) = delete;
  SeriesIndex& operator=(const SeriesIndex&) = delete;

  // The id of `labels`; 0 if there is none. Of several ids with these labels, the last one added.
  uint64_t Find(const Labels& labels) const ABSL_LOCKS_EXCLUDED(mutex_);

  // REQUIRES: `id` is not 0, at most kSeriesIdMax and not in the index.
  void Add(uint64_t id, const Labels& labels) ABSL_LOCKS_EXCLUDED(mutex_);
  struct NewSeries {
    uint64_t id = 0;
    Labels labels;
  };
  // The same for each.
  void AddAll(absl::Span<const NewSeries> series) ABSL_LOCKS_EXCLUDED(mutex_);
  // Ids that are not there are passed over. `ids` are sorted. Costs as much as the sets of all
  // their label pairs are large: better many at a time.
  void Remove(absl::Span<const uint64_t> ids) ABSL_LOCKS_EXCLUDED(mutex_);

  bool Has(uint64_t id) const ABSL_LOCKS_EXCLUDED(mutex_);
  // Empty if `id` is not there.
  Labels LabelsOf(uint64_t id) const ABSL_LOCKS_EXCLUDED(mutex_);
  // The labels of each id; ids not there get empty ones.
  std::vector<Labels> LabelsOf(absl::Span<const uint64_t> ids) const ABSL_LOCKS_EXCLUDED(mutex_);

  // The labels of each id but for those not in `names`: each set once, sorted, and which of them
  // each id has; kNoSet if it is not there. Nothing if several ids may have the same labels.
  static constexpr uint32_t kNoSet = UINT32_MAX;
  struct SharedLabels {
    std::vector<Labels> sets;
    std::vector<uint32_t> set_of;
  };
  std::optional<SharedLabels> SharedLabelsOf(absl::Span<const uint64_t> ids,
                                             absl::Span<const std::string> names) const
      ABSL_LOCKS_EXCLUDED(mutex_);

  // The series that every matcher accepts, sorted. All of them if there is no matcher.
  std::vector<uint64_t> Select(const std::vector<Matcher>& matchers) const
      ABSL_LOCKS_EXCLUDED(mutex_);

  // Names (values of `name`) of all series that `filter` accepts; sorted; limit 0 = all.
  LabelTexts Names(SeriesFilter filter, uint64_t limit) const ABSL_LOCKS_EXCLUDED(mutex_);
  LabelTexts Values(std::string_view name, SeriesFilter filter, uint64_t limit) const
      ABSL_LOCKS_EXCLUDED(mutex_);
  // The same of these series.
  LabelTexts NamesOf(absl::Span<const uint64_t> ids, uint64_t limit) const
      ABSL_LOCKS_EXCLUDED(mutex_);
  LabelTexts ValuesOf(std::string_view name, absl::Span<const uint64_t> ids, uint64_t limit) const
      ABSL_LOCKS_EXCLUDED(mutex_);

  // The ids, sorted, of those of `ids` that have the `limit` (not 0) smallest label sets, and
  // perhaps some more.
  std::vector<uint64_t> SmallestOf(absl::Span<const uint64_t> ids, uint64_t limit) const
      ABSL_LOCKS_EXCLUDED(mutex_);

  size_t series() const ABSL_LOCKS_EXCLUDED(mutex_);
  size_t label_pairs() const ABSL_LOCKS_EXCLUDED(mutex_);
  // All but `head`.
  CardinalityStats Cardinality(size_t limit) const ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  struct Value {
    std::string text;
    IdSet ids;  // Empty: the number is free.
  };
  struct Name {
    std::string text;
    std::deque<Value> values;  // By number; stable, as by_text points into it.
    absl::flat_hash_map<std::string_view, uint32_t, StringHash, std::equal_to<>> by_text;
    std::vector<uint32_t> free_numbers;
    uint32_t recent = 0;  // The number used last.
  };
  static constexpr uint64_t kPageSeries = 256;
  struct Page {
    // Of each series, pairs of numbers behind their length in bytes, all varints.
    std::vector<uint8_t> codes;
    std::array<uint32_t, kPageSeries> begins{};  // Where the series' code begins, plus 1; 0 = none.
    uint32_t used = 0;
  };

  // An id in 40 bits below 24 bits of its labels' hash: an entry of `by_labels_`.
  static constexpr unsigned kIdBits = 40;
  static_assert(kSeriesIdMax >> kIdBits == 0);
  struct Probe {
    const Labels& labels;
    uint64_t hash = 0;
  };
  struct EntryHash {
    using is_transparent = void;
    size_t operator()(uint64_t entry) const { return Mix(entry >> kIdBits); }
    size_t operator()(const Probe& probe) const { return Mix(probe.hash >> kIdBits); }
    static size_t Mix(uint64_t bits) {
      bits *= 0x9e3779b97f4a7c15;
      return bits ^ (bits >> 32);
    }
  };
  struct EntryEqual {
    using is_transparent = void;
    const SeriesIndex* index;
    bool operator()(uint64_t a, uint64_t b) const { return a == b; }
    bool operator()(uint64_t entry, const Probe& probe) const {
      return entry >> kIdBits == probe.hash >> kIdBits &&
             index->HasLabels(IdOf(entry), probe.labels);
    }
    bool operator()(const Probe& probe, uint64_t entry) const { return (*this)(entry, probe); }
  };
  static uint64_t IdOf(uint64_t entry) { return entry & ((uint64_t{1} << kIdBits) - 1); }

  // A label of the series added last. Valid until a value is removed.
  struct RecentLabel {
    std::string bytes;  // The name, and behind it the value's length and the value.
    size_t name_bytes = 0;
    uint32_t name = 0;
    uint32_t value = 0;
    IdSet* ids = nullptr;  // Of the value.
  };
  // The same for `label`, which was at `position` of its series.
  const RecentLabel& Recent(const LabelView& label, size_t position)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const uint8_t* CodeOf(uint64_t id) const ABSL_SHARED_LOCKS_REQUIRED(mutex_);
  // The same of one id after the other; mostly they lie near one another.
  struct NearPage {
    uint64_t number = UINT64_MAX;
    const Page* page = nullptr;
  };
  const uint8_t* CodeNear(uint64_t id, NearPage& near) const ABSL_SHARED_LOCKS_REQUIRED(mutex_);
  // Whether the labels of one code are before those of the other.
  bool CodeLess(const uint8_t* a, const uint8_t* b) const ABSL_SHARED_LOCKS_REQUIRED(mutex_);
  bool Matches(const uint8_t* code, const Labels& labels) const ABSL_SHARED_LOCKS_REQUIRED(mutex_);
  Labels Decode(const uint8_t* code, LabelsWriter& writer) const ABSL_SHARED_LOCKS_REQUIRED(mutex_);
  // The map asks for it, under the lock of whoever asked the map.
  bool HasLabels(uint64_t id, const Labels& labels) const ABSL_NO_THREAD_SAFETY_ANALYSIS {
    return Matches(CodeOf(id), labels);
  }
  struct ExactValue {
    uint32_t name = 0;
    uint32_t value = 0;
    const IdSet* ids = nullptr;  // Null: no series has it.
  };
  const Name* FindName(std::string_view name) const ABSL_SHARED_LOCKS_REQUIRED(mutex_);
  ExactValue FindValue(std::string_view name, std::string_view value) const
      ABSL_SHARED_LOCKS_REQUIRED(mutex_);
  void AddLocked(uint64_t id, const Labels& labels, uint64_t hash)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  uint32_t NameNumber(std::string_view name) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  static uint32_t ValueNumber(Name& name, std::string_view value);
  void RemoveCode(uint64_t id) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Forget(uint64_t id, const Labels& labels) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  std::vector<uint64_t> AllIds() const ABSL_SHARED_LOCKS_REQUIRED(mutex_);
  // Series with a value of the matcher's name that matches (or, negated, does not).
  std::vector<uint64_t> IdsByValue(const Matcher& matcher, const Name& name, bool matching) const
      ABSL_SHARED_LOCKS_REQUIRED(mutex_);
  void IntersectExact(const ExactValue& exact, std::vector<uint64_t>& ids) const
      ABSL_SHARED_LOCKS_REQUIRED(mutex_);
  void Narrow(const Matcher& matcher, std::vector<uint64_t>& ids) const
      ABSL_SHARED_LOCKS_REQUIRED(mutex_);
  void FilterByLabel(const Matcher& matcher, const Name& name, std::vector<uint64_t>& ids) const
      ABSL_SHARED_LOCKS_REQUIRED(mutex_);

  mutable SharedMutex mutex_;
  std::deque<Name> names_ ABSL_GUARDED_BY(mutex_);  // By number.
  StringMap<uint32_t> name_numbers_ ABSL_GUARDED_BY(mutex_);
  absl::flat_hash_map<uint64_t, std::unique_ptr<Page>> pages_ ABSL_GUARDED_BY(mutex_);
  std::string code_ ABSL_GUARDED_BY(mutex_);                 // Reused.
  std::vector<RecentLabel> recent_ ABSL_GUARDED_BY(mutex_);  // By position.
  // The newest id of each label set, and below ids the older ones with the same labels.
  absl::flat_hash_set<uint64_t, EntryHash, EntryEqual> by_labels_ ABSL_GUARDED_BY(mutex_){
      0, EntryHash{}, EntryEqual{this}};
  absl::flat_hash_map<uint64_t, uint64_t> older_ ABSL_GUARDED_BY(mutex_);
  size_t series_ ABSL_GUARDED_BY(mutex_) = 0;
  size_t label_pairs_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace varve

// SPDX-License-Identifier: Apache-2.0
//
// Exemplars in memory and on disk.
#include "tsdb/exemplar_store.h"

#include <algorithm>
#include <iterator>
#include <map>
#include <utility>

#include "model/check.h"
#include "model/status_macros.h"

namespace varve {

namespace {

// Exemplar rows are grouped by day, whatever the buckets of samples are.
TimestampMs RowBucket(TimestampMs time) {
  const TimestampMs rest = time % kDay;
  return time - (rest < 0 ? rest + kDay : rest);
}

size_t Characters(std::string_view text) {
  return static_cast<size_t>(std::count_if(text.begin(), text.end(), [](char byte) {
    return (static_cast<uint8_t>(byte) & 0xc0) != 0x80;
  }));
}

bool SameExemplar(const Exemplar& a, const Exemplar& b) {
  return a.labels == b.labels && a.time == b.time &&
         std::bit_cast<uint64_t>(a.value) == std::bit_cast<uint64_t>(b.value);
}

}  // namespace

absl::Status ExemplarStore::Load(const Store& store, std::vector<absl::Status>& damage) {
  std::vector<Stored> loaded;
  uint32_t last_number = 0;
  RETURN_IF_ERROR(store.Scan(
      store.exemplars(), {},
      [&](std::string_view key, std::string_view value) -> absl::StatusOr<bool> {
        const absl::StatusOr<uint64_t> series = SeriesOfExemplarKey(key);
        absl::StatusOr<Exemplar> exemplar = DecodeExemplar(value);
        if (!series.ok() || !exemplar.ok()) {
          damage.push_back(series.ok() ? exemplar.status() : series.status());
          return true;
        }
        last_number = std::max(last_number, NumberOfExemplarKey(key));
        loaded.push_back({*series, std::string(key), *std::move(exemplar)});
        return true;
      },
      &damage));
  std::stable_sort(loaded.begin(), loaded.end(), [](const Stored& a, const Stored& b) {
    return a.exemplar.time < b.exemplar.time;
  });
  MutexLock lock(mutex_);
  for (Stored& stored : loaded) Push(std::move(stored));
  next_number_ = last_number + 1;
  Trim();
  return absl::OkStatus();
}

AppendError ExemplarStore::CheckLocked(uint64_t series, const Exemplar& exemplar) const {
  size_t characters = 0;
  for (const LabelView& label : exemplar.labels) {
    characters += Characters(label.name) + Characters(label.value);
  }
  if (characters > kExemplarLabelCharactersMax) return AppendError::kInvalidLabels;
  if (exemplar.time > kStoredTimeMax || exemplar.time < -kStoredTimeMax) {
    return AppendError::kOutOfBounds;
  }
  const auto it = newest_.find(series);
  if (it == newest_.end()) return AppendError::kNone;
  if (SameExemplar(it->second, exemplar)) return AppendError::kDuplicateExemplar;
  return exemplar.time < it->second.time ? AppendError::kOutOfOrderExemplar : AppendError::kNone;
}

AppendError ExemplarStore::Check(uint64_t series, const Exemplar& exemplar) const {
  MutexLock lock(mutex_);
  return CheckLocked(series, exemplar);
}

bool ExemplarStore::enabled() const {
  MutexLock lock(mutex_);
  return exemplars_max_ > 0;
}

void ExemplarStore::SetMax(uint64_t exemplars_max) {
  MutexLock lock(mutex_);
  exemplars_max_ = exemplars_max;
  Trim();
}

void ExemplarStore::Push(Stored stored) {
  newest_[stored.series] = stored.exemplar;
  stored_.push_back(std::move(stored));
}

void ExemplarStore::Trim() {
  while (stored_.size() > exemplars_max_) {
    Stored& oldest = stored_.front();
    const auto it = newest_.find(oldest.series);
    if (it != newest_.end() && SameExemplar(it->second, oldest.exemplar)) newest_.erase(it);
    evicted_.push_back(std::move(oldest.key));
    stored_.pop_front();
  }
}

void ExemplarStore::Put(std::vector<LogRecord::ExemplarEntry>& entries, const Store& store,
                        rocksdb::WriteBatch& batch) {
  MutexLock lock(mutex_);
  put_.clear();
  std::erase_if(entries,
                [this](const LogRecord::ExemplarEntry& entry) ABSL_NO_THREAD_SAFETY_ANALYSIS {
                  return CheckLocked(entry.id, entry.exemplar) != AppendError::kNone;
                });
  for (const LogRecord::ExemplarEntry& entry : entries) {
    put_.push_back(EncodeExemplarKey({.bucket_start = RowBucket(entry.exemplar.time),
                                      .series = entry.id,
                                      .first_time = entry.exemplar.time},
                                     next_number_++));
    batch.Put(store.exemplars().handle(), put_.back(), EncodeExemplar(entry.exemplar));
  }
  for (const std::string& key : evicted_) batch.Delete(store.exemplars().handle(), key);
}

void ExemplarStore::Added(const std::vector<LogRecord::ExemplarEntry>& entries) {
  MutexLock lock(mutex_);
  INVARIANT(put_.size() == entries.size());
  evicted_.clear();
  for (size_t i = 0; i < entries.size(); ++i) {
    Push({entries[i].id, std::move(put_[i]), entries[i].exemplar});
  }
  Trim();
}

absl::StatusOr<std::vector<SeriesExemplars>> ExemplarStore::Select(
    TimestampMs start, TimestampMs end, LabelsLookup lookup,
    const std::vector<std::vector<Matcher>>& matcher_sets) const {
  std::map<uint64_t, std::vector<Exemplar>> found;
  {
    MutexLock lock(mutex_);
    for (const Stored& stored : stored_) {
      if (stored.exemplar.time < start || stored.exemplar.time > end) continue;
      found[stored.series].push_back(stored.exemplar);
    }
  }
  std::vector<uint64_t> ids;
  for (const auto& [id, exemplars] : found) ids.push_back(id);
  ASSIGN_OR_RETURN(const std::vector<Labels> labels, lookup(ids));
  std::map<Labels, std::vector<Exemplar>> by_labels;  // A label set that returned has a new id.
  for (size_t i = 0; i < ids.size(); ++i) {
    const bool wanted =
        !labels[i].empty() && std::any_of(matcher_sets.begin(), matcher_sets.end(),
                                          [&](const std::vector<Matcher>& matchers) {
                                            return MatchesAll(matchers, labels[i]);
                                          });
    if (!wanted) continue;
    std::vector<Exemplar>& exemplars = by_labels[labels[i]];
    std::vector<Exemplar>& more = found[ids[i]];
    exemplars.insert(exemplars.end(), std::make_move_iterator(more.begin()),
                     std::make_move_iterator(more.end()));
  }
  std::vector<SeriesExemplars> result;
  for (auto& [series, exemplars] : by_labels) {
    std::stable_sort(exemplars.begin(), exemplars.end(),
                     [](const Exemplar& a, const Exemplar& b) { return a.time < b.time; });
    result.push_back({series, std::move(exemplars)});
  }
  return result;
}

}  // namespace varve

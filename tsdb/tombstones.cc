// SPDX-License-Identifier: Apache-2.0
//
// Tombstones in memory and on disk.
#include "tsdb/tombstones.h"

#include <algorithm>
#include <utility>

#include "tsdb/coding.h"
#include "tsdb/format.h"

namespace varve {

namespace {

bool IsGone(absl::Span<const Tombstone> tombstones, uint64_t written, TimestampMs time) {
  return std::any_of(tombstones.begin(), tombstones.end(), [&](const Tombstone& tombstone) {
    return written <= tombstone.sequence && time >= tombstone.min && time <= tombstone.max;
  });
}

// The key says everything: a series may be deleted from twice at the same sequence.
std::string EncodeKey(uint64_t series, const Tombstone& tombstone) {
  std::string key;
  PutBigEndian<uint64_t>(key, series);
  PutBigEndian<uint64_t>(key, tombstone.sequence);
  PutTime(key, tombstone.min);
  PutTime(key, tombstone.max);
  return key;
}

}  // namespace

absl::Span<const Tombstone> TombstoneSet::Of(uint64_t series) const {
  const auto it = by_series_.find(series);
  return it == by_series_.end() ? absl::Span<const Tombstone>() : it->second;
}

std::vector<Tombstone> Since(absl::Span<const Tombstone> tombstones, uint64_t sequence) {
  std::vector<Tombstone> since;
  for (const Tombstone& tombstone : tombstones) {
    if (tombstone.sequence > sequence) since.push_back(tombstone);
  }
  return since;
}

bool Covers(absl::Span<const Tombstone> tombstones, TimestampMs min, TimestampMs max) {
  return std::any_of(tombstones.begin(), tombstones.end(), [&](const Tombstone& tombstone) {
    return tombstone.min <= min && tombstone.max >= max;
  });
}

void RemoveDeleted(absl::Span<const Tombstone> tombstones, uint64_t written,
                   SeriesSamples& samples) {
  size_t kept = 0;
  for (size_t i = 0; i < samples.times.size(); ++i) {
    if (IsGone(tombstones, written, samples.times[i])) continue;
    samples.times.Set(kept, samples.times[i]);
    samples.values[kept] = samples.values[i];
    if (!samples.start_times.empty()) samples.start_times[kept] = samples.start_times[i];
    ++kept;
  }
  if (kept < samples.times.size()) samples.known = {};
  samples.times.Truncate(kept);
  samples.values.resize(kept);
  if (!samples.start_times.empty()) samples.start_times.resize(kept);
  kept = 0;
  for (size_t i = 0; i < samples.histograms.size(); ++i) {
    if (IsGone(tombstones, written, samples.histograms[i].time)) continue;
    if (kept != i) samples.histograms[kept] = std::move(samples.histograms[i]);
    if (!samples.histogram_start_times.empty()) {
      samples.histogram_start_times[kept] = samples.histogram_start_times[i];
    }
    ++kept;
  }
  samples.histograms.resize(kept);
  if (!samples.histogram_start_times.empty()) samples.histogram_start_times.resize(kept);
}

std::shared_ptr<const TombstoneSet> TombstoneStore::set() const {
  MutexLock lock(mutex_);
  return set_;
}

absl::Status TombstoneStore::Load(const Store& store, std::vector<absl::Status>& damage) {
  Entries entries;
  RETURN_IF_ERROR(store.Scan(
      store.tombstones(), {},
      [&](std::string_view key, std::string_view /*value*/) -> absl::StatusOr<bool> {
        ByteReader reader(key);
        const uint64_t series = reader.BigEndian<uint64_t>();
        Tombstone tombstone;
        tombstone.sequence = reader.BigEndian<uint64_t>();
        tombstone.min = reader.Time();
        tombstone.max = reader.Time();
        if (reader.failed() || !reader.done()) {
          damage.push_back(absl::DataLossError("damaged tombstone"));
        } else {
          entries.emplace_back(series, tombstone);
        }
        return true;
      },
      &damage));
  Added(entries);
  return absl::OkStatus();
}

void TombstoneStore::Put(const Entries& entries, const Store& store, rocksdb::WriteBatch& batch) {
  for (const auto& [series, tombstone] : entries) {
    batch.Put(store.tombstones().handle(), EncodeKey(series, tombstone), "");
  }
}

void TombstoneStore::Added(const Entries& entries) {
  if (entries.empty()) return;
  MutexLock lock(mutex_);
  auto set = std::make_shared<TombstoneSet>(*set_);
  for (const auto& [series, tombstone] : entries) {
    std::vector<Tombstone>& of_series = set->by_series_[series];
    if (std::find(of_series.begin(), of_series.end(), tombstone) == of_series.end()) {
      of_series.push_back(tombstone);
    }
    set->sequence_ = std::max(set->sequence_, tombstone.sequence);
  }
  set_ = std::move(set);
}

TombstoneStore::Entries TombstoneStore::Outdated(uint64_t sequence, TimestampMs time) const {
  Entries outdated;
  const std::shared_ptr<const TombstoneSet> now = set();
  for (const auto& [series, tombstones] : now->by_series()) {
    for (const Tombstone& tombstone : tombstones) {
      if (tombstone.sequence <= sequence && tombstone.max < time) {
        outdated.emplace_back(series, tombstone);
      }
    }
  }
  return outdated;
}

void TombstoneStore::Delete(const Entries& entries, const Store& store,
                            rocksdb::WriteBatch& batch) {
  for (const auto& [series, tombstone] : entries) {
    batch.Delete(store.tombstones().handle(), EncodeKey(series, tombstone));
  }
}

void TombstoneStore::Deleted(const Entries& entries) {
  if (entries.empty()) return;
  MutexLock lock(mutex_);
  auto set = std::make_shared<TombstoneSet>(*set_);
  for (const auto& [series, tombstone] : entries) {
    const auto it = set->by_series_.find(series);
    if (it == set->by_series_.end()) continue;
    std::erase(it->second, tombstone);
    if (it->second.empty()) set->by_series_.erase(it);
  }
  set_ = std::move(set);
}

}  // namespace varve

// SPDX-License-Identifier: Apache-2.0
//
// While a scrape is like the last one nothing but next_ moves. The first line that is not the
// expected one makes the index and the new order; both are gone again when the scrape ends.
#include "scrape/series_cache.h"

#include <absl/container/flat_hash_set.h>

#include <utility>

#include "model/check.h"

namespace varve {

void SeriesCache::Begin() {
  ++scrape_;
  next_ = 0;
  steady_ = true;
}

void SeriesCache::NoteSeen(Entry& entry, bool ends) {
  entry.ends = ends ? 1 : 0;
  if (entry.live != entry.ends) LeaveOrder();
  if (!steady_) NoteOrder(IndexOf(entry));
}

void SeriesCache::LeaveOrder() {
  if (!steady_) return;
  steady_ = false;
  order_.clear();
  order_.reserve(entries_.size());
  index_.reserve(entries_.size());
  for (uint32_t i = 0; i < entries_.size(); ++i) {
    if (i < next_) order_.push_back(i);
    index_.emplace(entries_[i].hash, i);
  }
}

SeriesCache::Entry* SeriesCache::Find(uint64_t hash, uint32_t bytes) {
  LeaveOrder();
  const auto found = index_.find(hash);
  if (found == index_.end() || entries_[found->second].bytes != bytes) return nullptr;
  next_ = found->second;
  return &entries_[next_];
}

SeriesCache::Entry& SeriesCache::Add(uint64_t hash, uint32_t bytes, Kind kind) {
  LeaveOrder();
  index_.insert_or_assign(hash, static_cast<uint32_t>(entries_.size()));
  Entry& entry = entries_.emplace_back();
  entry.hash = hash;
  entry.bytes = bytes;
  entry.kind = kind;
  return entry;
}

void SeriesCache::NoteOrder(uint32_t at) {
  INVARIANT(at < entries_.size());
  if (order_.empty() || order_.back() != at) order_.push_back(at);
}

std::vector<SeriesRef> SeriesCache::GoneSeries() const {
  std::vector<SeriesRef> gone;
  for (const Entry& entry : entries_) {
    if (entry.scrape != scrape_ && entry.kind == kSeries && entry.live) {
      gone.push_back(SeriesRef{entry.ref});
    }
  }
  if (gone.empty()) return gone;
  absl::flat_hash_set<uint64_t> seen;
  for (const Entry& entry : entries_) {
    if (entry.scrape == scrape_ && entry.kind == kSeries) seen.insert(entry.ref);
  }
  std::erase_if(gone, [&](SeriesRef ref) { return seen.contains(static_cast<uint64_t>(ref)); });
  return gone;
}

void SeriesCache::Rebuild() {
  LeaveOrder();
  std::vector<Entry> kept;
  kept.reserve(order_.size());
  for (const uint32_t at : order_) {
    kept.push_back(entries_[at]);
    kept.back().live = kept.back().ends;
  }
  for (const Entry& entry : entries_) {
    if (entry.scrape != scrape_ && entry.kind >= kHelp && !Expired(entry)) kept.push_back(entry);
  }
  entries_ = std::move(kept);
  failed_ = false;
  Forget();
}

void SeriesCache::Unlearn() {
  for (Entry& entry : entries_) {
    entry.hash = 0;  // No text of no bytes has this hash.
    entry.bytes = 0;
  }
}

void SeriesCache::Forget() {
  order_ = {};
  index_ = {};
}

}  // namespace varve

// SPDX-License-Identifier: Apache-2.0
//
// Remembering series.
#include "remote/ref_cache.h"

#include <xxhash.h>

namespace varve {

RefCache::Key RefCache::KeyOf(std::string_view raw_labels) {
  const XXH128_hash_t hash = XXH3_128bits(raw_labels.data(), raw_labels.size());
  return {hash.low64, hash.high64};
}

RefCache::Cursor RefCache::Begin() const {
  Cursor cursor;
  MutexLock lock(mutex_);
  cursor.table_ = table_;
  return cursor;
}

SeriesRef RefCache::FindNext(Cursor& cursor, std::string_view message, size_t& label_bytes) {
  Table& table = *cursor.table_;
  if (cursor.next_ >= table.size.load(std::memory_order_acquire)) return kNoSeries;
  const Entry& entry = table.At(cursor.next_);
  label_bytes = entry.length();
  if (label_bytes > message.size() || KeyOf(message.substr(0, label_bytes)) != entry.key) {
    return kNoSeries;
  }
  ++cursor.next_;
  return entry.ref();
}

SeriesRef RefCache::Find(Cursor& cursor, const Key& key) {
  Table& table = *cursor.table_;
  if (cursor.next_ < table.size.load(std::memory_order_acquire)) {
    const Entry& entry = table.At(cursor.next_);
    if (entry.key == key) {
      ++cursor.next_;
      return entry.ref();
    }
  }
  MutexLock lock(table.mutex);
  const auto found = table.index.find(key);
  if (found == table.index.end()) return kNoSeries;
  cursor.next_ = *found + 1;
  return table.At(*found).ref();
}

void RefCache::Insert(absl::Span<const Learned> learned) {
  if (learned.empty()) return;
  MutexLock lock(mutex_);
  if (table_->size.load(std::memory_order_relaxed) + learned.size() > kCachedSeriesMax) {
    table_ = std::make_shared<Table>();
  }
  Table& table = *table_;
  MutexLock table_lock(table.mutex);
  for (const auto& [key, label_bytes, ref] : learned) {
    const auto id = static_cast<uint64_t>(ref);
    if (label_bytes >> kLengthBits != 0 || id >> (64 - kLengthBits) != 0) continue;
    const uint64_t ref_and_length = id << kLengthBits | label_bytes;
    const auto found = table.index.find(key);
    if (found != table.index.end()) {
      table.At(*found).ref_and_length.store(ref_and_length, std::memory_order_relaxed);
      continue;
    }
    const uint32_t index = table.size.load(std::memory_order_relaxed);
    if (index >= kCachedSeriesMax) return;
    std::unique_ptr<Entry[]>& block = table.blocks[index / Table::kBlockEntries];
    if (block == nullptr) block = std::make_unique<Entry[]>(Table::kBlockEntries);
    Entry& entry = block[index % Table::kBlockEntries];
    entry.key = key;
    entry.ref_and_length.store(ref_and_length, std::memory_order_relaxed);
    table.size.store(index + 1, std::memory_order_release);
    table.index.insert(index);
  }
}

}  // namespace varve

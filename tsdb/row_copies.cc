// SPDX-License-Identifier: Apache-2.0
//
// A series has few rows: they are looked at one by one.
#include "tsdb/row_copies.h"

#include "tsdb/store.h"

namespace varve {

void RowCopies::Add(std::string_view key, std::string_view value) {
  rows_.push_back({.begin = static_cast<uint32_t>(bytes_.size()),
                   .key_bytes = static_cast<uint32_t>(key.size()),
                   .value_bytes = static_cast<uint32_t>(value.size())});
  bytes_.append(key);
  bytes_.append(value);
}

void RowCopies::EndSeries(size_t left) {
  ends_.push_back(static_cast<uint32_t>(rows_.size()));
  // Neighbours mostly take about as much as those before.
  if (bytes_.capacity() - bytes_.size() < bytes_.size() / ends_.size()) {
    bytes_.reserve(bytes_.size() + bytes_.size() / ends_.size() * (left + left / 8 + 1));
  }
}

void RowCopiesIterator::Seek(const rocksdb::Slice& target) {
  for (at_ = begin_; at_ < end_ && rows_.key(at_) < ToView(target); ++at_) {
  }
}

void RowCopiesIterator::SeekForPrev(const rocksdb::Slice& target) {
  for (at_ = end_; at_ > begin_;) {
    if (rows_.key(--at_) <= ToView(target)) return;
  }
  at_ = end_;
}

rocksdb::Slice RowCopiesIterator::key() const { return ToSlice(rows_.key(at_)); }

rocksdb::Slice RowCopiesIterator::value() const { return ToSlice(rows_.value(at_)); }

bool CopiedBytes::Add(uint64_t bytes) {
  if (bytes_.fetch_add(bytes, std::memory_order_relaxed) + bytes <= kMax) return true;
  Remove(bytes);
  return false;
}

}  // namespace varve

// SPDX-License-Identifier: Apache-2.0
//
// Rows of a family, copied. What is read of neighbouring series in one pass over a family is looked
// up here afterwards, in the order in which the series are wanted.
#pragma once

#include <rocksdb/iterator.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace varve {

// Rows of several series, below 4 GiB in all. Immutable once filled; then thread-safe.
class RowCopies {
 public:
  // REQUIRES: keys of a series rise.
  void Add(std::string_view key, std::string_view value);
  // What is added from here on is of the next series; `left` more will follow that one.
  void EndSeries(size_t left);

  // Keys and values.
  uint64_t bytes() const { return bytes_.size(); }

 private:
  friend class RowCopiesIterator;

  struct Row {
    uint32_t begin = 0;  // Of the key; the value follows it.
    uint32_t key_bytes = 0;
    uint32_t value_bytes = 0;
  };

  std::string_view key(size_t index) const {
    return {bytes_.data() + rows_[index].begin, rows_[index].key_bytes};
  }
  std::string_view value(size_t index) const {
    return {bytes_.data() + rows_[index].begin + rows_[index].key_bytes, rows_[index].value_bytes};
  }

  std::string bytes_;
  std::vector<Row> rows_;
  std::vector<uint32_t> ends_;  // Of each series in rows_.
};

// Bytes that copies take, of all selections together.
class CopiedBytes {
 public:
  static constexpr uint64_t kMax = 16 << 20;

  uint64_t bytes() const { return bytes_.load(std::memory_order_relaxed); }
  // False, and nothing is added, if that would be more than kMax.
  bool Add(uint64_t bytes);
  void Remove(uint64_t bytes) { bytes_.fetch_sub(bytes, std::memory_order_relaxed); }

 private:
  std::atomic<uint64_t> bytes_{0};
};

// Walks over the rows of one series as over a family that has nothing else. Not thread-safe;
// several may walk over the same copies, which outlive them.
class RowCopiesIterator : public rocksdb::Iterator {
 public:
  // REQUIRES: `series` is one of those that were ended.
  RowCopiesIterator(const RowCopies& rows, size_t series)
      : rows_(rows),
        begin_(series == 0 ? 0 : rows.ends_[series - 1]),
        end_(rows.ends_[series]),
        at_(end_) {}

  bool Valid() const override { return at_ < end_; }
  void SeekToFirst() override { at_ = begin_; }
  void SeekToLast() override { at_ = begin_ == end_ ? end_ : end_ - 1; }
  void Seek(const rocksdb::Slice& target) override;
  void SeekForPrev(const rocksdb::Slice& target) override;
  void Next() override { ++at_; }
  void Prev() override { at_ = at_ == begin_ ? end_ : at_ - 1; }
  rocksdb::Slice key() const override;
  rocksdb::Slice value() const override;
  rocksdb::Status status() const override { return rocksdb::Status::OK(); }

 private:
  const RowCopies& rows_;
  const size_t begin_;
  const size_t end_;
  size_t at_;  // end_ = not valid.
};

}  // namespace varve

// SPDX-License-Identifier: Apache-2.0
//
// An iterator for each table.
#include "tsdb/table_by_table.h"

#include <rocksdb/metadata.h>
#include <rocksdb/table_properties.h>

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tsdb/damage.h"

namespace varve {

namespace {

class TableByTableIterator : public rocksdb::Iterator {
 public:
  TableByTableIterator(const Family& family, const rocksdb::ReadOptions& options) {
    rocksdb::ColumnFamilyMetaData metadata;
    family.db().GetColumnFamilyMetaData(family.handle(), &metadata);
    std::vector<uint64_t> tables = {0};  // None: what is in memory, which all of them give.
    for (const rocksdb::LevelMetaData& level : metadata.levels) {
      for (const rocksdb::SstFileMetaData& file : level.files) tables.push_back(file.file_number);
    }
    for (const uint64_t number : tables) {
      rocksdb::ReadOptions of_table = options;
      of_table.table_filter = [number](const rocksdb::TableProperties& properties) {
        return properties.orig_file_number == number;
      };
      sources_.push_back(
          {std::unique_ptr<rocksdb::Iterator>(family.db().NewIterator(of_table, family.handle())),
           {}});
    }
  }

  bool Valid() const override { return current_ != nullptr && status_.ok(); }
  void SeekToFirst() override { Seek({}); }
  void Seek(const rocksdb::Slice& target) override {
    status_ = rocksdb::Status::OK();
    for (Source& source : sources_) {
      source.last.assign(target.data(), target.size());
      source.iterator->Seek(target);
      Settle(source);
    }
    FindSmallest();
  }
  void Next() override {
    const std::string at = key().ToString();
    for (Source& source : sources_) {
      if (!source.iterator->Valid() || source.iterator->key() != rocksdb::Slice(at)) continue;
      source.last = at;
      source.iterator->Next();
      Settle(source);
    }
    FindSmallest();
  }
  void SeekToLast() override { status_ = rocksdb::Status::NotSupported("forward only"); }
  void SeekForPrev(const rocksdb::Slice& /*target*/) override { SeekToLast(); }
  void Prev() override { SeekToLast(); }
  rocksdb::Slice key() const override { return current_->key(); }
  rocksdb::Slice value() const override { return current_->value(); }
  rocksdb::Status status() const override { return status_; }

 private:
  struct Source {
    std::unique_ptr<rocksdb::Iterator> iterator;
    std::string last;  // Where it was sought, or stood before.
  };

  void Settle(Source& source) {
    rocksdb::Iterator& it = *source.iterator;
    if (it.Valid() || it.status().ok()) return;
    if (it.status().IsCorruption() && SeekPastDamage(it, source.last)) return;
    if (!it.status().ok() && !it.status().IsCorruption()) status_ = it.status();
  }
  void FindSmallest() {
    current_ = nullptr;
    for (const Source& source : sources_) {
      if (!source.iterator->Valid()) continue;
      if (current_ == nullptr || source.iterator->key().compare(current_->key()) < 0) {
        current_ = source.iterator.get();
      }
    }
  }

  std::vector<Source> sources_;
  rocksdb::Iterator* current_ = nullptr;  // The one with the smallest key.
  rocksdb::Status status_;
};

}  // namespace

std::unique_ptr<rocksdb::Iterator> NewTableByTableIterator(const Family& family,
                                                           const rocksdb::ReadOptions& options) {
  return std::make_unique<TableByTableIterator>(family, options);
}

}  // namespace varve

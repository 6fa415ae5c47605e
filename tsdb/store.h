// SPDX-License-Identifier: Apache-2.0
//
// The RocksDB database below the engine: its settings, its column families, and its errors in
// our words. Knows nothing of samples.
#pragma once

#include <absl/status/status.h>
#include <absl/status/statusor.h>
#include <rocksdb/cache.h>
#include <rocksdb/db.h>
#include <rocksdb/rate_limiter.h>
#include <rocksdb/sst_file_writer.h>
#include <rocksdb/write_batch.h>
#include <rocksdb/write_buffer_manager.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "model/mutex.h"
#include "tsdb/format.h"
#include "tsdb/write_failures.h"

namespace varve {

// `what` says what was being done: "reading chunks".
absl::Status FromRocks(const rocksdb::Status& status, std::string_view what);

inline rocksdb::Slice ToSlice(std::string_view text) { return {text.data(), text.size()}; }
inline std::string_view ToView(const rocksdb::Slice& slice) { return {slice.data(), slice.size()}; }

// An open column family. Shared: a dropped family stays readable, and its files stay, until the
// last owner lets go.
class Family {
 public:
  Family(std::shared_ptr<rocksdb::DB> db, rocksdb::ColumnFamilyHandle* handle)
      : db_(std::move(db)), handle_(handle) {}
  ~Family() { db_->DestroyColumnFamilyHandle(handle_).PermitUncheckedError(); }
  Family(const Family&) = delete;
  Family& operator=(const Family&) = delete;

  rocksdb::ColumnFamilyHandle* handle() const { return handle_; }
  rocksdb::DB& db() const { return *db_; }
  const std::string& name() const { return handle_->GetName(); }

 private:
  std::shared_ptr<rocksdb::DB> db_;
  rocksdb::ColumnFamilyHandle* handle_;
};
using FamilyPtr = std::shared_ptr<Family>;

class BackgroundErrors;

// Through the write-ahead log, or only into tables: until Flush() a crash loses that.
enum class WriteVia { kWal, kTablesOnly };

struct StoreOptions {
  std::string path;
  uint64_t block_cache_bytes = 32 << 20;
  uint64_t write_buffer_bytes = 4 << 20;
  // Of all families together: past it they are written out early. 0 = no bound.
  uint64_t write_buffers_bytes_max = 0;
  rocksdb::Env* env = nullptr;
  // Damaged records of the write-ahead log are left out; otherwise they are DataLoss, but for one
  // that is cut off at the end of a file.
  bool skip_damaged_log = false;
};

// Thread-safe. Families may outlive the store; the database closes with the last of them.
class Store {
 public:
  // Opens the database at `options.path`, whose parent exists, or creates it.
  static absl::StatusOr<std::unique_ptr<Store>> Open(const StoreOptions& options);

  // Makes a manifest from what the tables say of themselves, and tables from the write-ahead log.
  // `families` names families by RocksDB's numbers, without which their part of that log is lost:
  // tables name their own. What was there before goes to the directory `lost` in `options.path`.
  static absl::Status RebuildManifest(const StoreOptions& options,
                                      const std::map<uint32_t, std::string>& families);

  // Families that are not numbered; they live as long as the store.
  const Family& meta() const { return *fixed_.at(kMetaFamily); }
  const Family& series() const { return *fixed_.at(kSeriesFamily); }
  const Family& head() const { return *fixed_.at(kHeadFamily); }
  const Family& exemplars() const { return *fixed_.at(kExemplarsFamily); }
  const Family& metadata() const { return *fixed_.at(kMetadataFamily); }
  const Family& tombstones() const { return *fixed_.at(kTombstonesFamily); }
  // These are never written to, only given whole tables; readers may outlive the store.
  const FamilyPtr& columns() const { return fixed_.at(kColumnsFamily); }
  const FamilyPtr& labels() const { return fixed_.at(kLabelsFamily); }
  const FamilyPtr& postings() const { return fixed_.at(kPostingsFamily); }

  // The families with this prefix that were there at Open(), by number. Hands them over.
  std::map<uint64_t, FamilyPtr> TakeNumbered(std::string_view prefix);
  absl::StatusOr<FamilyPtr> CreateNumbered(std::string_view prefix, uint64_t number);
  // The family is gone for the next Open() from here on; readers that share it go on.
  absl::Status Drop(const Family& family);

  // After an error of this or of SyncWal() it is the answer to every write, until Resume().
  absl::Status Write(rocksdb::WriteBatch& batch, std::string_view what,
                     WriteVia via = WriteVia::kWal) ABSL_LOCKS_EXCLUDED(failure_mutex_);
  // Returns when all that was written survives a power cut.
  absl::Status SyncWal() ABSL_LOCKS_EXCLUDED(failure_mutex_);
  absl::Status Flush(const std::vector<const Family*>& families);
  // Merges the tables of each family into as few as can be.
  absl::Status Compact(const std::vector<const Family*>& families);
  // After a failed write or sync RocksDB refuses all others: tries to go on. It does so by writing
  // all that is in memory as tables, and beginning a new write-ahead log.
  absl::Status Resume() ABSL_LOCKS_EXCLUDED(resume_mutex_, failure_mutex_);
  // Whether nothing has failed since the last Resume() that did not.
  bool CanWrite() const ABSL_LOCKS_EXCLUDED(failure_mutex_);
  // Call this now and then: Resume() begins a new log only if there is something in memory, and no
  // row can be put there once it is needed.
  absl::Status KeepUnflushed();
  // Tables in which RocksDB met damage in the background since this was asked last, as error texts;
  // it goes on as if it had not.
  std::vector<std::string> TakeBackgroundDamage();
  // The family that table `number` belongs to; empty if there is no such table.
  std::string FamilyOfTable(uint64_t number) const;
  // Bytes free where the database lies; nothing if that cannot be found out.
  std::optional<uint64_t> FreeBytes() const;

  // NotFound if `key` is not there.
  absl::StatusOr<std::string> Get(const Family& family, std::string_view key) const;
  // Calls visit(key, value) for all keys from `from` on, until it returns an error or false.
  // Keys in damaged blocks are DataLoss, or if `damage` is not null left out and said there.
  using Visitor = std::function<absl::StatusOr<bool>(std::string_view, std::string_view)>;
  absl::Status Scan(const Family& family, std::string_view from, const Visitor& visit,
                    std::vector<absl::Status>* damage = nullptr) const;

  // A writer of a table that Ingest() will take, with the family's settings.
  std::unique_ptr<rocksdb::SstFileWriter> NewTableWriter(const Family& family) const;
  struct Tables {
    const Family* family = nullptr;
    std::vector<std::string> paths;
  };
  // Moves the tables into their families, all or none. After a failed write it fails as Write()
  // does. REQUIRES: no key of them is there yet.
  absl::Status Ingest(const std::vector<Tables>& tables) ABSL_LOCKS_EXCLUDED(failure_mutex_);
  // Deletes the tables whose keys all lie in [begin, end).
  absl::Status DeleteTables(const Family& family, std::string_view begin, std::string_view end);
  // A directory for tables being written, which exists, and empties it.
  absl::StatusOr<std::string> ClearScratch();
  absl::Status DeleteFile(const std::string& path);

  // Reads every block of every table against its checksum. DataLoss names the first file at fault.
  absl::Status VerifyChecksums() const;

  // A copy of the database in `path`, which must not exist: files that never change are linked,
  // others copied. Nothing is blocked meanwhile.
  absl::Status CopyTo(const std::string& path);

  // What was left out of the write-ahead log when it was read.
  const std::vector<std::string>& dropped_log() const { return dropped_log_; }

  // Bytes of all files, and of those the log families take.
  uint64_t DiskBytes() const;

  // Bytes in memory.
  uint64_t BlockCacheBytes() const { return block_cache_->GetUsage(); }
  uint64_t WriteBufferBytes() const { return write_buffers_->memory_usage(); }
  void SetBlockCacheBytesMax(uint64_t bytes) { block_cache_->SetCapacity(bytes); }

 private:
  Store() = default;

  absl::Status Failed(absl::Status status) ABSL_LOCKS_EXCLUDED(failure_mutex_);
  absl::Status HaveRocksRecover() ABSL_EXCLUSIVE_LOCKS_REQUIRED(resume_mutex_);

  StoreOptions options_;
  std::shared_ptr<rocksdb::Cache> block_cache_;
  std::shared_ptr<rocksdb::WriteBufferManager> write_buffers_;
  std::shared_ptr<rocksdb::RateLimiter> table_rate_limiter_;
  std::shared_ptr<rocksdb::DB> db_;
  std::map<std::string_view, FamilyPtr> fixed_;
  std::map<std::string, FamilyPtr> numbered_;  // Not taken yet.
  std::vector<std::string> dropped_log_;
  // Since Resume().
  const std::shared_ptr<WriteFailures> write_failures_ = std::make_shared<WriteFailures>();
  std::shared_ptr<FlushGate> flush_gate_;
  Mutex resume_mutex_;  // Before failure_mutex_.
  // Held by writers, and who takes in tables, while at it: none is once there is a failure. Before
  // RocksDB's own.
  mutable SharedMutex failure_mutex_;
  absl::Status failure_ ABSL_GUARDED_BY(failure_mutex_);
  std::shared_ptr<BackgroundErrors> background_errors_;
};

}  // namespace varve

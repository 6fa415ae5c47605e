// SPDX-License-Identifier: Apache-2.0
//
// RocksDB's settings and calls. Each setting that differs from RocksDB's default says why.
#include "tsdb/store.h"

#include <fmt/format.h>
#include <rocksdb/cache.h>
#include <rocksdb/convenience.h>
#include <rocksdb/env.h>
#include <rocksdb/filter_policy.h>
#include <rocksdb/listener.h>
#include <rocksdb/options.h>
#include <rocksdb/rate_limiter.h>
#include <rocksdb/table.h>
#include <rocksdb/utilities/checkpoint.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <cstdarg>
#include <cstdio>
#include <limits>
#include <set>
#include <utility>

#include "model/log_line.h"
#include "model/mutex.h"
#include "model/status_macros.h"
#include "tsdb/damage.h"
#include "tsdb/write_failures.h"

namespace varve {

namespace {

// The WAL may pin this much before the families that hold it back are flushed.
constexpr uint64_t kWalBytesMax = 128 << 20;
// Compactions of hot families and flushes together.
constexpr int kBackgroundJobsMax = 2;
// Of folding and sealing: what they write in a burst would make WAL syncs wait for the disk.
constexpr int64_t kTableBytesPerSecondMax = 32 << 20;
constexpr uint64_t kUnboundedBytes = uint64_t{1} << 50;
constexpr int kLevel0FilesUnlimited = 1 << 30;
// Writes the few rows that are in memory.
constexpr std::chrono::seconds kRecoveryTimeout{30};

constexpr std::array kFixedFamilies = {kMetaFamily,       kSeriesFamily,    kHeadFamily,
                                       kColumnsFamily,    kLabelsFamily,    kPostingsFamily,
                                       kTombstonesFamily, kExemplarsFamily, kMetadataFamily};

// RocksDB's own log file ends the process when the disk is full; ours goes where all messages go.
// Thread-safe.
class RocksLogger : public rocksdb::Logger {
 public:
  RocksLogger() : rocksdb::Logger(rocksdb::InfoLogLevel::INFO_LEVEL) {}

  using rocksdb::Logger::Logv;
  void Logv(const char* format, va_list arguments) override {
    Logv(rocksdb::InfoLogLevel::INFO_LEVEL, format, arguments);
  }
  void Logv(rocksdb::InfoLogLevel level, const char* format, va_list arguments) override {
    spdlog::level::level_enum ours = Level(level);
    // The only place where it says what it leaves out of the write-ahead log.
    const bool is_loss =
        std::string_view(format).find(": dropping %d bytes") != std::string_view::npos;
    // Tables that were written beside the database have no such number, only their checksums.
    if (std::string_view(format).find("opened without unique ID") != std::string_view::npos) {
      ours = spdlog::level::trace;
    }
    if (!is_loss && !spdlog::should_log(ours)) return;
    char text[1024];
    std::vsnprintf(text, sizeof(text), format, arguments);
    if (is_loss) {
      MutexLock lock(mutex_);
      losses_.emplace_back(text);
    }
    spdlog::log(ours, "\"rocksdb\" text=\"{}\"", text);
  }

  // What was left out so far.
  std::vector<std::string> losses() const {
    MutexLock lock(mutex_);
    return losses_;
  }

 private:
  static spdlog::level::level_enum Level(rocksdb::InfoLogLevel level) {
    switch (level) {
      case rocksdb::InfoLogLevel::WARN_LEVEL:
        return spdlog::level::warn;
      case rocksdb::InfoLogLevel::ERROR_LEVEL:
      case rocksdb::InfoLogLevel::FATAL_LEVEL:
        return spdlog::level::err;
      default:  // Its INFO is a trace of every flush.
        return spdlog::level::trace;
    }
  }

  mutable Mutex mutex_;
  std::vector<std::string> losses_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace

// What happens in RocksDB's background. Thread-safe.
class BackgroundErrors : public rocksdb::EventListener,
                         public std::enable_shared_from_this<BackgroundErrors> {
 public:
  // What a compaction cannot read or write is no reason to refuse writes: it is due again. A file
  // that cannot be written to is none to refuse them for good; memory has all that would have gone
  // there.
  void OnBackgroundError(rocksdb::BackgroundErrorReason reason, rocksdb::Status* error) override {
    if (reason == rocksdb::BackgroundErrorReason::kCompaction) {
      if (error->IsCorruption()) {
        MutexLock lock(mutex_);
        damage_.insert(error->ToString());
      }
      if (error->IsCorruption() || error->IsIOError()) *error = rocksdb::Status::OK();
    } else if (error->IsIOError() && error->severity() > rocksdb::Status::Severity::kHardError) {
      *error = rocksdb::Status(*error, rocksdb::Status::Severity::kHardError);
    }
  }
  // Going on after an error is tried by us, every second: RocksDB's own attempts are seconds apart,
  // and refuse ours meanwhile.
  void OnErrorRecoveryBegin(rocksdb::BackgroundErrorReason /*reason*/, rocksdb::Status /*error*/,
                            bool* auto_recovery) override {
    *auto_recovery = false;
  }
  // Of one that it began by itself RocksDB says so before it is done with it: that is when the
  // thread ends.
  void OnErrorRecoveryEnd(const rocksdb::BackgroundErrorRecoveryInfo& info) override {
    struct Thread {
      std::weak_ptr<BackgroundErrors> told;
      ~Thread() {
        if (const auto errors = told.lock()) errors->RecoveryThreadEnded();
      }
    };
    thread_local Thread thread;
    thread.told = weak_from_this();
    MutexLock lock(mutex_);
    recovered_ = info.new_bg_error;
  }

  std::vector<std::string> TakeDamage() {
    MutexLock lock(mutex_);
    std::vector<std::string> texts(damage_.begin(), damage_.end());
    damage_.clear();
    return texts;
  }

  // Threads that recovered from an error and have ended.
  uint64_t recovery_threads_ended() const {
    MutexLock lock(mutex_);
    return recovery_threads_ended_;
  }
  // Waits until there are more than that, and returns how it ended for the last one.
  rocksdb::Status AwaitRecovery(uint64_t ended_before) {
    const auto deadline = std::chrono::steady_clock::now() + kRecoveryTimeout;
    MutexLock lock(mutex_);
    while (recovery_threads_ended_ <= ended_before) {
      const auto left = deadline - std::chrono::steady_clock::now();
      if (left <= std::chrono::nanoseconds(0)) return rocksdb::Status::TimedOut("recovering");
      ended_.WaitFor(mutex_, left);
    }
    return recovered_;
  }

 private:
  void RecoveryThreadEnded() {
    MutexLock lock(mutex_);
    ++recovery_threads_ended_;
    ended_.NotifyAll();
  }

  mutable Mutex mutex_;
  CondVar ended_;
  std::set<std::string> damage_ ABSL_GUARDED_BY(mutex_);
  uint64_t recovery_threads_ended_ ABSL_GUARDED_BY(mutex_) = 0;
  rocksdb::Status recovered_ ABSL_GUARDED_BY(mutex_);
};

namespace {

rocksdb::DBOptions DatabaseOptions(const StoreOptions& options, rocksdb::Env* env,
                                   const std::shared_ptr<RocksLogger>& logger,
                                   const std::shared_ptr<BackgroundErrors>& errors) {
  rocksdb::DBOptions database;
  database.create_if_missing = true;
  database.create_missing_column_families = true;
  database.env = env;
  database.info_log = logger;
  database.listeners.push_back(errors);
  // Off, failed syncs would be ignored too.
  database.paranoid_checks = true;
  // A power cut leaves a file's last record cut off; anything else is damage.
  database.wal_recovery_mode = options.skip_damaged_log
                                   ? rocksdb::WALRecoveryMode::kSkipAnyCorruptedRecords
                                   : rocksdb::WALRecoveryMode::kTolerateCorruptedTailRecords;
  database.max_total_wal_size = kWalBytesMax;
  // Once, after the error that is made for it (HaveRocksRecover).
  database.max_bgerror_resume_count = 1;
  // The row of KeepUnflushed() is no reason to write tables.
  database.avoid_flush_during_shutdown = true;
  // A restart should read the WAL once, not write it out as tables first.
  database.avoid_flush_during_recovery = true;
  database.skip_stats_update_on_db_open = true;
  database.skip_checking_sst_file_sizes_on_db_open = true;
  database.max_background_jobs = kBackgroundJobsMax;
  database.wal_bytes_per_sync = 512 << 10;
  database.bytes_per_sync = 1 << 20;
  // We export counters of our own.
  database.stats_dump_period_sec = 0;
  database.stats_persist_period_sec = 0;
  return database;
}

// Parts of the block cache fill and evict by themselves: few, so that each has room for many
// blocks, of 64 KiB and more, and what fits into the whole stays.
constexpr int kBlockCacheShardBits = 2;

rocksdb::ColumnFamilyOptions FamilyOptions(std::string_view name, const StoreOptions& options,
                                           const std::shared_ptr<rocksdb::Cache>& cache) {
  rocksdb::ColumnFamilyOptions family;
  family.write_buffer_size = options.write_buffer_bytes;
  // Write stalls stop the whole database for one family's sake: every trigger is off.
  family.max_write_buffer_number = 64;
  family.level0_slowdown_writes_trigger = kLevel0FilesUnlimited;
  family.level0_stop_writes_trigger = kLevel0FilesUnlimited;
  family.soft_pending_compaction_bytes_limit = 0;
  family.hard_pending_compaction_bytes_limit = 0;

  rocksdb::BlockBasedTableOptions table;
  table.block_cache = cache;
  table.format_version = 5;
  table.cache_index_and_filter_blocks = true;
  table.cache_index_and_filter_blocks_with_high_priority = true;
  if (name.starts_with(kLogFamilyPrefix)) {
    // Written once, read at most once, dropped whole; the records are compressed already.
    family.compression = rocksdb::kNoCompression;
    family.disable_auto_compactions = true;
    table.block_size = 64 << 10;
  } else if (name == kColumnsFamily || name == kLabelsFamily || name == kPostingsFamily) {
    // Whole tables only, each inside one generation: nothing to compact, ever.
    family.compression = rocksdb::kZSTD;
    family.compression_opts.level = name == kColumnsFamily ? 1 : 3;
    family.disable_auto_compactions = true;
    table.block_size = name == kColumnsFamily ? 64 << 10 : 16 << 10;
  } else {
    // Chunks are dense already: higher levels take twice the time for nothing. Head rows are
    // written again every few minutes: any compression would show in the cost of a sample.
    family.compression = name == kHeadFamily ? rocksdb::kNoCompression : rocksdb::kZSTD;
    if (family.compression == rocksdb::kZSTD) family.compression_opts.level = 1;
    // What comes first is soon merged, and compressed then.
    if (name.starts_with(kHotFamilyPrefix)) {
      family.compression_per_level = {rocksdb::kNoCompression, rocksdb::kZSTD};
    }
    table.block_size = name.starts_with(kHotFamilyPrefix) ? 32 << 10 : 16 << 10;
  }
  family.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
  return family;
}

// Lock failures are plain IOErrors; only their text tells them apart.
absl::Status FromOpen(const rocksdb::Status& status, const std::string& path) {
  const std::string text = status.ToString();
  if (status.IsIOError() && (text.find("lock hold by current process") != std::string::npos ||
                             text.find("While lock file") != std::string::npos)) {
    if (text.find("Permission denied") == std::string::npos) {
      return absl::UnavailableError(
          fmt::format("the data directory \"{}\" is in use by another process", path));
    }
  }
  if (text.find("Permission denied") != std::string::npos) {
    return absl::PermissionDeniedError(
        fmt::format("the data directory \"{}\" cannot be read or written: {}", path, text));
  }
  return FromRocks(status, fmt::format("opening the data directory \"{}\"", path));
}

}  // namespace

absl::Status FromRocks(const rocksdb::Status& status, std::string_view what) {
  if (status.ok()) return absl::OkStatus();
  const std::string text = fmt::format("{}: {}", what, status.ToString());
  if (status.IsNotFound()) return absl::NotFoundError(text);
  if (status.IsCorruption()) return absl::DataLossError(text);
  if (status.IsNoSpace()) return absl::ResourceExhaustedError(text);
  if (status.IsIOError()) return absl::UnavailableError(text);
  return absl::InternalError(text);
}

// A family of a database that is not open.
class NamedFamily : public rocksdb::ColumnFamilyHandle {
 public:
  NamedFamily(uint32_t number, const std::string& name) : number_(number), name_(name) {}
  const std::string& GetName() const override { return name_; }
  uint32_t GetID() const override { return number_; }
  rocksdb::Status GetDescriptor(rocksdb::ColumnFamilyDescriptor* /*descriptor*/) override {
    return rocksdb::Status::NotSupported();
  }
  const rocksdb::Comparator* GetComparator() const override {
    return rocksdb::BytewiseComparator();
  }

 private:
  const uint32_t number_;
  const std::string& name_;
};

absl::Status Store::RebuildManifest(const StoreOptions& options,
                                    const std::map<uint32_t, std::string>& families) {
  const auto logger = std::make_shared<RocksLogger>();
  rocksdb::Env* const env = options.env != nullptr ? options.env : rocksdb::Env::Default();
  const rocksdb::DBOptions database =
      DatabaseOptions(options, env, logger, std::make_shared<BackgroundErrors>());
  std::vector<rocksdb::ColumnFamilyDescriptor> descriptors = {
      {rocksdb::kDefaultColumnFamilyName, FamilyOptions({}, options, nullptr)}};
  for (const std::string_view name : kFixedFamilies) {
    descriptors.emplace_back(std::string(name), FamilyOptions(name, options, nullptr));
  }
  std::vector<std::string> files;
  RETURN_IF_ERROR(FromRocks(env->GetChildren(options.path, &files), "listing files"));
  uint64_t last_number = 0;
  for (const std::string& file : files) {
    uint64_t number = 0;
    const auto [end, error] = std::from_chars(file.data(), file.data() + file.size(), number);
    if (error == std::errc()) last_number = std::max(last_number, number);
  }
  // A table that holds nothing makes RocksDB know a family.
  for (const auto& [number, name] : families) {
    if (std::find(kFixedFamilies.begin(), kFixedFamilies.end(), name) == kFixedFamilies.end()) {
      descriptors.emplace_back(name, FamilyOptions(name, options, nullptr));
    }
    NamedFamily family(number, name);
    rocksdb::SstFileWriter writer(rocksdb::EnvOptions(),
                                  rocksdb::Options(database, FamilyOptions(name, options, nullptr)),
                                  &family);
    rocksdb::Status status = writer.Open(fmt::format("{}/{:06}.sst", options.path, ++last_number));
    if (status.ok()) status = writer.Delete("\xff");
    if (status.ok()) status = writer.Finish();
    RETURN_IF_ERROR(FromRocks(status, "writing a table for the family " + name));
  }
  return FromRocks(rocksdb::RepairDB(options.path, database, descriptors,
                                     FamilyOptions(kHotFamilyPrefix, options, nullptr)),
                   "rebuilding the manifest");
}

absl::StatusOr<std::unique_ptr<Store>> Store::Open(const StoreOptions& options) {
  auto store = std::unique_ptr<Store>(new Store);
  store->options_ = options;
  store->block_cache_ = rocksdb::NewLRUCache(options.block_cache_bytes, kBlockCacheShardBits);
  store->table_rate_limiter_.reset(rocksdb::NewGenericRateLimiter(kTableBytesPerSecondMax));
  // Full buffers are written out early; writers never wait. Without a bound nothing would be
  // counted.
  store->write_buffers_ = std::make_shared<rocksdb::WriteBufferManager>(
      options.write_buffers_bytes_max > 0 ? options.write_buffers_bytes_max : kUnboundedBytes,
      nullptr, /*allow_stall=*/false);
  const auto logger = std::make_shared<RocksLogger>();
  store->background_errors_ = std::make_shared<BackgroundErrors>();
  const auto [env, flush_gate] = NewNotingEnv(
      options.env != nullptr ? *options.env : *rocksdb::Env::Default(), store->write_failures_);
  store->flush_gate_ = flush_gate;
  rocksdb::DBOptions database =
      DatabaseOptions(options, env.get(), logger, store->background_errors_);
  database.write_buffer_manager = store->write_buffers_;

  std::vector<std::string> names;
  const rocksdb::Status listed = rocksdb::DB::ListColumnFamilies(database, options.path, &names);
  if (!listed.ok()) {
    const rocksdb::Status exists = database.env->FileExists(options.path + "/CURRENT");
    if (!exists.IsNotFound()) return FromOpen(listed, options.path);
    names = {rocksdb::kDefaultColumnFamilyName};
  }
  for (const std::string_view name : kFixedFamilies) {
    if (std::find(names.begin(), names.end(), name) == names.end()) names.emplace_back(name);
  }
  std::vector<rocksdb::ColumnFamilyDescriptor> descriptors;
  for (const std::string& name : names) {
    descriptors.emplace_back(name, FamilyOptions(name, options, store->block_cache_));
  }
  std::vector<rocksdb::ColumnFamilyHandle*> handles;
  rocksdb::DB* db = nullptr;
  const rocksdb::Status opened =
      rocksdb::DB::Open(database, options.path, descriptors, &handles, &db);
  if (!opened.ok()) return FromOpen(opened, options.path);
  store->dropped_log_ = logger->losses();
  store->db_ = std::shared_ptr<rocksdb::DB>(db, [env = env](rocksdb::DB* database_to_close) {
    const rocksdb::Status closed = database_to_close->Close();
    if (!closed.ok()) spdlog::warn(LogLine("Closing RocksDB", {{"err", closed.ToString()}}));
    delete database_to_close;
  });
  for (rocksdb::ColumnFamilyHandle* handle : handles) {
    auto family = std::make_shared<Family>(store->db_, handle);
    const auto* fixed = std::find(kFixedFamilies.begin(), kFixedFamilies.end(), family->name());
    if (fixed != kFixedFamilies.end()) {
      store->fixed_.emplace(*fixed, std::move(family));
    } else {
      const std::string name = family->name();
      store->numbered_.emplace(name, std::move(family));
    }
  }
  RETURN_IF_ERROR(store->KeepUnflushed());
  return store;
}

std::vector<std::string> Store::TakeBackgroundDamage() { return background_errors_->TakeDamage(); }

std::string Store::FamilyOfTable(uint64_t number) const {
  std::vector<rocksdb::LiveFileMetaData> tables;
  db_->GetLiveFilesMetaData(&tables);
  for (const rocksdb::LiveFileMetaData& table : tables) {
    if (table.file_number == number) return table.column_family_name;
  }
  return {};
}

std::optional<uint64_t> Store::FreeBytes() const {
  uint64_t bytes = 0;
  const rocksdb::Status found = db_->GetEnv()->GetFreeSpace(options_.path, &bytes);
  return found.ok() ? std::optional(bytes) : std::nullopt;
}

std::map<uint64_t, FamilyPtr> Store::TakeNumbered(std::string_view prefix) {
  std::map<uint64_t, FamilyPtr> taken;
  for (auto it = numbered_.begin(); it != numbered_.end();) {
    const std::optional<uint64_t> number = FamilyNumber(prefix, it->first);
    if (number.has_value()) {
      taken.emplace(*number, std::move(it->second));
      it = numbered_.erase(it);
    } else {
      ++it;
    }
  }
  return taken;
}

absl::StatusOr<FamilyPtr> Store::CreateNumbered(std::string_view prefix, uint64_t number) {
  const std::string name = NumberedFamily(prefix, number);
  rocksdb::ColumnFamilyHandle* handle = nullptr;
  RETURN_IF_ERROR(
      FromRocks(db_->CreateColumnFamily(FamilyOptions(name, options_, block_cache_), name, &handle),
                fmt::format("creating column family {}", name)));
  return std::make_shared<Family>(db_, handle);
}

absl::Status Store::Drop(const Family& family) {
  return FromRocks(db_->DropColumnFamily(family.handle()),
                   fmt::format("dropping column family {}", family.name()));
}

absl::Status Store::Write(rocksdb::WriteBatch& batch, std::string_view what, WriteVia via) {
  rocksdb::WriteOptions options;
  options.disableWAL = via == WriteVia::kTablesOnly;
  absl::Status status;
  {
    const ReaderLock lock(failure_mutex_);
    if (!failure_.ok()) return failure_;
    status = FromRocks(db_->Write(options, &batch), what);
  }
  return Failed(std::move(status));
}

absl::Status Store::Failed(absl::Status status) {
  if (status.ok()) return status;
  const WriterLock lock(failure_mutex_);
  if (failure_.ok()) failure_ = status;
  return status;
}

absl::Status Store::SyncWal() {
  if (!write_failures_->BeginSync()) return Failed(absl::UnavailableError("a write failed before"));
  absl::Status status = FromRocks(db_->SyncWAL(), "syncing the write-ahead log");
  write_failures_->EndSync();
  return Failed(std::move(status));
}

absl::Status Store::Flush(const std::vector<const Family*>& families) {
  std::vector<rocksdb::ColumnFamilyHandle*> handles;
  for (const Family* family : families) handles.push_back(family->handle());
  rocksdb::FlushOptions options;
  options.allow_write_stall = true;  // There are none; this only skips waiting for room.
  RETURN_IF_ERROR(FromRocks(db_->Flush(options, handles), "flushing tables"));
  return KeepUnflushed();
}

absl::Status Store::Compact(const std::vector<const Family*>& families) {
  rocksdb::CompactRangeOptions options;
  options.allow_write_stall = true;
  for (const Family* family : families) {
    RETURN_IF_ERROR(FromRocks(db_->CompactRange(options, family->handle(), nullptr, nullptr),
                              fmt::format("compacting {}", family->name())));
  }
  return KeepUnflushed();  // It flushes first.
}

bool Store::CanWrite() const {
  const ReaderLock lock(failure_mutex_);
  return failure_.ok() && !write_failures_->any();
}

absl::Status Store::Resume() {
  MutexLock resuming(resume_mutex_);
  if (CanWrite()) return absl::OkStatus();
  {
    // Nobody writes from here on, even if a failure was made up for before it was reported here.
    const WriterLock lock(failure_mutex_);
    if (failure_.ok()) failure_ = absl::UnavailableError("writing is about to go on");
  }
  write_failures_->Note(/*is_log=*/false);  // From here on no sync begins either.
  write_failures_->AwaitSyncs();
  uint64_t rows = 0;
  uint64_t flushing = 0;
  if (write_failures_->log() &&
      db_->GetAggregatedIntProperty(rocksdb::DB::Properties::kNumEntriesActiveMemTable, &rows) &&
      db_->GetAggregatedIntProperty(rocksdb::DB::Properties::kNumEntriesImmMemTables, &flushing) &&
      rows + flushing == 0) {
    return absl::InternalError("a new write-ahead log can only be begun by a restart");
  }
  // RocksDB 7.8 ends the process when it resumes after a manifest could not be written to, unless
  // it deletes no files, which it forgets to see to when making or dropping a family fails so.
  RETURN_IF_ERROR(FromRocks(db_->DisableFileDeletions(), "keeping files"));
  absl::Status status = FromRocks(flush_gate_->Resume([this] { return db_->Resume(); }),
                                  "resuming after a failed write");
  if (status.ok()) status = KeepUnflushed();
  if (status.ok()) status = HaveRocksRecover();
  status.Update(FromRocks(db_->EnableFileDeletions(/*force=*/false), "deleting files again"));
  RETURN_IF_ERROR(status);
  write_failures_->Clear();
  // No write may come before this one. One that failed in the new log, and left nothing in memory
  // but what has just been written out, would be the end.
  RETURN_IF_ERROR(KeepUnflushed());
  const WriterLock lock(failure_mutex_);
  failure_ = absl::OkStatus();
  return absl::OkStatus();
}

// RocksDB 7.8 counts itself as stopped from a failure until it has recovered by itself, Resume() or
// not: it would end the process when it is given tables, and not wait for flushes. So it is given
// a failure that it does recover from.
absl::Status Store::HaveRocksRecover() {
  const uint64_t before = background_errors_->recovery_threads_ended();
  write_failures_->FailNextLogWrite();
  const rocksdb::Status refused =
      db_->Put(rocksdb::WriteOptions(), meta().handle(), ToSlice(kUnflushedKey), rocksdb::Slice());
  if (write_failures_->TakeFailNextLogWrite()) {
    return FromRocks(refused, "a write before going on");
  }
  return FromRocks(background_errors_->AwaitRecovery(before), "recovering after a failed write");
}

absl::Status Store::KeepUnflushed() {
  uint64_t rows = 0;
  if (db_->GetIntProperty(meta().handle(), rocksdb::DB::Properties::kNumEntriesActiveMemTable,
                          &rows) &&
      rows > 0) {
    return absl::OkStatus();
  }
  rocksdb::WriteOptions options;
  options.disableWAL = true;  // It may be the write-ahead log that cannot be written to.
  return FromRocks(db_->Put(options, meta().handle(), ToSlice(kUnflushedKey), rocksdb::Slice()),
                   "keeping a row to flush");
}

absl::StatusOr<std::string> Store::Get(const Family& family, std::string_view key) const {
  std::string value;
  RETURN_IF_ERROR(FromRocks(db_->Get(rocksdb::ReadOptions(), family.handle(), ToSlice(key), &value),
                            fmt::format("reading a row of {}", family.name())));
  return value;
}

absl::Status Store::Scan(const Family& family, std::string_view from, const Visitor& visit,
                         std::vector<absl::Status>* damage) const {
  rocksdb::ReadOptions options;
  options.fill_cache = false;
  const std::unique_ptr<rocksdb::Iterator> it(db_->NewIterator(options, family.handle()));
  std::string last(from);
  it->Seek(ToSlice(from));
  for (;;) {
    for (; it->Valid(); it->Next()) {
      ASSIGN_OR_RETURN(const bool more, visit(ToView(it->key()), ToView(it->value())));
      if (!more) return absl::OkStatus();
      if (damage != nullptr) last.assign(it->key().data(), it->key().size());
    }
    absl::Status status = FromRocks(it->status(), fmt::format("reading {}", family.name()));
    if (damage == nullptr || !absl::IsDataLoss(status)) return status;
    damage->push_back(std::move(status));
    if (!SeekPastDamage(*it, last)) {
      return FromRocks(it->status(), fmt::format("reading {}", family.name()));
    }
  }
}

std::unique_ptr<rocksdb::SstFileWriter> Store::NewTableWriter(const Family& family) const {
  const rocksdb::Options options(db_->GetDBOptions(),
                                 FamilyOptions(family.name(), options_, block_cache_));
  rocksdb::EnvOptions file;
  file.rate_limiter = table_rate_limiter_.get();
  return std::make_unique<rocksdb::SstFileWriter>(file, options, family.handle(),
                                                  /*invalidate_page_cache=*/true,
                                                  rocksdb::Env::IO_LOW);
}

absl::Status Store::Ingest(const std::vector<Tables>& tables) {
  std::vector<rocksdb::IngestExternalFileArg> arguments;
  for (const Tables& part : tables) {
    if (part.paths.empty()) continue;
    rocksdb::IngestExternalFileArg argument;
    argument.column_family = part.family->handle();
    argument.external_files = part.paths;
    argument.options.move_files = true;
    argument.options.write_global_seqno = false;
    arguments.push_back(std::move(argument));
  }
  if (arguments.empty()) return absl::OkStatus();
  const ReaderLock lock(failure_mutex_);
  if (!failure_.ok()) return failure_;
  return FromRocks(db_->IngestExternalFiles(arguments), "taking in folded tables");
}

absl::Status Store::DeleteTables(const Family& family, std::string_view begin,
                                 std::string_view end) {
  const rocksdb::Slice from = ToSlice(begin);
  const rocksdb::Slice to = ToSlice(end);
  return FromRocks(rocksdb::DeleteFilesInRange(db_.get(), family.handle(), &from, &to,
                                               /*include_end=*/false),
                   fmt::format("deleting tables of {}", family.name()));
}

absl::StatusOr<std::string> Store::ClearScratch() {
  rocksdb::Env& env = *db_->GetEnv();
  const std::string directory = options_.path + "/folding";
  RETURN_IF_ERROR(FromRocks(env.CreateDirIfMissing(directory), "making a directory for folding"));
  std::vector<std::string> names;
  RETURN_IF_ERROR(FromRocks(env.GetChildren(directory, &names), "reading the folding directory"));
  for (const std::string& name : names) {
    if (name == "." || name == "..") continue;
    RETURN_IF_ERROR(DeleteFile(directory + "/" + name));
  }
  return directory;
}

absl::Status Store::DeleteFile(const std::string& path) {
  return FromRocks(db_->GetEnv()->DeleteFile(path), fmt::format("deleting {}", path));
}

absl::Status Store::VerifyChecksums() const {
  return FromRocks(db_->VerifyChecksum(rocksdb::ReadOptions()), "verifying tables");
}

absl::Status Store::CopyTo(const std::string& path) {
  rocksdb::Checkpoint* made = nullptr;
  RETURN_IF_ERROR(FromRocks(rocksdb::Checkpoint::Create(db_.get(), &made), "preparing a snapshot"));
  const std::unique_ptr<rocksdb::Checkpoint> checkpoint(made);
  // The log goes along, so that nothing need be flushed.
  return FromRocks(checkpoint->CreateCheckpoint(path, std::numeric_limits<uint64_t>::max()),
                   "writing a snapshot");
}

uint64_t Store::DiskBytes() const {
  std::vector<rocksdb::Env::FileAttributes> files;
  if (!db_->GetEnv()->GetChildrenFileAttributes(options_.path, &files).ok()) return 0;
  uint64_t bytes = 0;
  for (const rocksdb::Env::FileAttributes& file : files) bytes += file.size_bytes;
  return bytes;
}

}  // namespace varve

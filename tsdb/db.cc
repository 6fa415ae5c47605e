// SPDX-License-Identifier: Apache-2.0
//
// Opening, closing and the background thread.
#include "tsdb/db.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <ctime>
#include <filesystem>
#include <random>
#include <system_error>
#include <thread>
#include <utility>

#include "model/check.h"
#include "model/clock.h"
#include "model/log_line.h"
#include "model/mutex.h"
#include "model/status_macros.h"
#include "tsdb/appender.h"
#include "tsdb/exemplar_store.h"
#include "tsdb/fold.h"
#include "tsdb/head.h"
#include "tsdb/log_cursor.h"
#include "tsdb/querier.h"
#include "tsdb/store.h"
#include "tsdb/write_path.h"

namespace varve {

namespace {

namespace fs = std::filesystem;

constexpr DurationMs kSweepInterval = kMinute;
constexpr DurationMs kSweepHeadTime = 10 * kMinute;
constexpr int kFoldingNice = 10;
// What caches keep when memory is short.
constexpr uint64_t kShrunkCacheBytes = 1 << 20;

// A ULID in Crockford's base 32: what Prometheus names its blocks.
bool IsUlid(std::string_view name) {
  return name.size() == 26 && std::all_of(name.begin(), name.end(), [](char c) {
           return (c >= '0' && c <= '9') ||
                  (c >= 'A' && c <= 'Z' && c != 'I' && c != 'L' && c != 'O' && c != 'U');
         });
}

std::string DescribeForeignData(const fs::path& path) {
  std::error_code error;
  size_t blocks = 0;
  for (const fs::directory_entry& entry : fs::directory_iterator(path, error)) {
    if (IsUlid(entry.path().filename().native()) && fs::exists(entry.path() / "meta.json", error)) {
      ++blocks;
    }
  }
  const bool wal = fs::is_directory(path / "wal", error);
  if (blocks == 0 && !wal) return {};
  return fmt::format(
      "\"{}\" holds a Prometheus data directory ({} blocks{}), which is left untouched; Varve "
      "keeps its own data in \"{}\"",
      path.native(), blocks, wal ? " and a write-ahead log" : "",
      (path / kDataSubdirectory).native());
}

absl::Status PrepareDirectory(const fs::path& path) {
  std::error_code error;
  fs::create_directories(path / kDataSubdirectory, error);
  if (!error) fs::directory_iterator(path / kDataSubdirectory, error);
  if (!error) return absl::OkStatus();
  const std::string text =
      fmt::format("the data directory \"{}\" cannot be used: {}", path.native(), error.message());
  if (error == std::errc::no_space_on_device) return absl::ResourceExhaustedError(text);
  return absl::PermissionDeniedError(text);
}

// Retention drops whole buckets, so that a short one needs short ones.
DbOptions Adapted(DbOptions options) {
  if (options.retention > 0) {
    const DurationMs part = std::max(options.retention / 4 / kHour * kHour, kHour);
    options.bucket_size = std::min(options.bucket_size, part);
  }
  return options;
}

// As Prometheus names snapshots: the time and 16 hexadecimal digits.
std::string SnapshotName(TimestampMs now) {
  const auto seconds = static_cast<std::time_t>(now / 1000);
  std::tm utc{};
  gmtime_r(&seconds, &utc);
  char text[32];
  std::strftime(text, sizeof(text), "%Y%m%dT%H%M%SZ", &utc);
  std::random_device random;
  return fmt::format("{}-{:08x}{:08x}", text, random(), random());
}

class DbImpl : public Db {
 public:
  // `unlimited` stands in for options.memory if that is null.
  DbImpl(const DbOptions& options, std::unique_ptr<MemoryBudget> unlimited, Clock& clock,
         std::unique_ptr<Store> store, std::string foreign_data)
      : unlimited_(std::move(unlimited)),
        options_(Adapted(options)),
        clock_(clock),
        foreign_data_(std::move(foreign_data)),
        store_(std::move(store)),
        exemplars_(options.exemplars_max),
        state_(std::make_shared<ReadState>()),
        retention_(options.retention),
        out_of_order_window_(options.out_of_order_window),
        size_retention_(options.size_retention) {
    state_->head = std::make_unique<varve::Head>(HeadOptions{.bucket_size = options_.bucket_size,
                                                             .series_max = options.series_max,
                                                             .memory = options_.memory});
    state_->write_path = std::make_unique<WritePath>(options_, clock_, *store_, *state_->head,
                                                     exemplars_, counters_);
    folder_ =
        std::make_unique<Folder>(options_, *store_, *state_->head, *state_->write_path, counters_);
    on_shortage_ = options_.memory->OnShortage([this](bool shrink) { SizeCaches(shrink); });
  }

  ~DbImpl() override {
    const absl::Status status = Close();
    if (!status.ok()) spdlog::error(LogLine("Closing the storage", {{"err", status.ToString()}}));
  }

  absl::Status Start() {
    RETURN_IF_ERROR(write_path().Recover());
    RETURN_IF_ERROR(exemplars_.Load(*store_));
    series_at_start_ = head().last_id();
    late_at_start_ = head().late_samples();  // Replayed.
    disk_bytes_ = store_->DiskBytes();
    AccountMemory();
    if (options_.background) {
      thread_ = std::thread([this] { Run(); });
      folding_thread_ = std::thread([this] { RunFolding(); });
    }
    return absl::OkStatus();
  }

  // ------------------------------------------------------------------------ reading and writing

  std::unique_ptr<Appender> NewAppender() override {
    if (!options_.memory->Allows(MemoryUse::kKnownSeries)) return NewRefusingAppender();
    AppendWindow window;
    const TimestampMs newest = head().max_time();
    const DurationMs late =
        std::min(out_of_order_window_.load(std::memory_order_relaxed), kStoredTimeMax);
    if (newest == kMinTimestamp) {
      window.late_window = late;
    } else {
      window.min = newest - options_.head_window;
      if (late > 0) window.late_min = newest - late;
    }
    if (options_.lookahead_limit > 0) window.max = clock_.Now() + options_.lookahead_limit;
    return NewHeadAppender(*state_->head, *state_->write_path, exemplars_, counters_, window);
  }

  absl::StatusOr<std::unique_ptr<Querier>> OpenQuerier(TimestampMs min,
                                                       TimestampMs max) const override {
    return NewHeadQuerier(state_, min, max);
  }

  absl::StatusOr<std::vector<SeriesExemplars>> SelectExemplars(
      TimestampMs start, TimestampMs end,
      const std::vector<std::vector<Matcher>>& matcher_sets) const override {
    return exemplars_.Select(
        start, end, [this](absl::Span<const uint64_t> ids) { return LabelsOfSeries(*state_, ids); },
        matcher_sets);
  }

  std::unique_ptr<LogCursor> OpenLog() override { return NewLogCursor(head(), write_path()); }

  CardinalityStats Cardinality(size_t limit) const override {
    CardinalityStats stats = head().index().Cardinality(limit);
    stats.head = head().Stats();
    return stats;
  }

  HeadStats Head() const override { return head().Stats(); }

  StorageCounters Counters() const override {
    StorageCounters counters;
    counters.float_samples_appended = counters_.floats;
    counters.histogram_samples_appended = counters_.histograms;
    counters.series_created = head().last_id() - series_at_start_;
    counters.series_removed = counters_.series_removed;
    counters.out_of_order_samples = counters_.out_of_order;
    counters.too_old_samples = counters_.too_old;
    counters.out_of_bounds_samples = counters_.out_of_bounds;
    counters.duplicate_samples = counters_.duplicates;
    counters.out_of_order_samples_appended = head().late_samples() - late_at_start_;
    counters.corruptions = counters_.corruptions;
    counters.buckets_dropped_by_retention = counters_.families_expired;
    counters.generations_dropped_by_size = counters_.size_expired;
    counters.disk_bytes = disk_bytes_;
    counters.log_bytes = write_path().log_bytes();
    counters.active_appenders = counters_.active_appenders;
    return counters;
  }

  absl::Status DeleteSeries(const std::vector<std::vector<Matcher>>& matcher_sets, TimestampMs min,
                            TimestampMs max) override {
    return write_path().DeleteSeries(matcher_sets, min, max);
  }

  absl::Status CleanTombstones() override {
    {
      MutexLock lock(maintenance_mutex_);
      const uint64_t sequence = write_path().tombstones()->sequence();
      if (sequence == 0) return absl::OkStatus();
      RETURN_IF_ERROR(write_path().CloseAll());
      RETURN_IF_ERROR(folder_->Clean(sequence));
      RETURN_IF_ERROR(write_path().ForgetTombstones(sequence, kMaxTimestamp));
    }
    disk_bytes_ = store_->DiskBytes();
    return absl::OkStatus();
  }

  absl::StatusOr<std::string> Snapshot() override {
    RETURN_IF_ERROR(write_path().SyncWal());
    const fs::path snapshots = fs::path(options_.path) / kSnapshotsSubdirectory;
    const std::string name = SnapshotName(clock_.Now());
    std::error_code error;
    fs::create_directories(snapshots / name, error);
    if (error) {
      return absl::UnavailableError(fmt::format("creating the snapshot directory \"{}\": {}",
                                                (snapshots / name).native(), error.message()));
    }
    absl::Status status = store_->CopyTo((snapshots / name / kDataSubdirectory).native());
    if (!status.ok()) {
      fs::remove_all(snapshots / name, error);
      return status;
    }
    return name;
  }

  // -------------------------------------------------------------------------------- maintenance

  absl::Status Close() override {
    {
      MutexLock lock(mutex_);
      if (closed_) return absl::OkStatus();
      closed_ = stop_ = true;
    }
    wake_.NotifyAll();
    folder_->Stop();
    if (thread_.joinable()) thread_.join();
    if (folding_thread_.joinable()) folding_thread_.join();
    MutexLock lock(maintenance_mutex_);
    return started_ ? write_path().Close() : absl::OkStatus();
  }

  absl::Status Maintain() override {
    MutexLock lock(maintenance_mutex_);
    const DurationMs retention = retention_.load(std::memory_order_relaxed);
    if (!options_.background) AccountMemory();
    RETURN_IF_ERROR(write_path().SyncWal());
    RETURN_IF_ERROR(write_path().RotateHotIfDue(retention));
    RETURN_IF_ERROR(write_path().CheckpointIfDue());
    if (!options_.background) RETURN_IF_ERROR(folder_->Run());
    const int64_t now_ms = clock_.MonotonicNanos() / kNanosPerMs;
    const TimestampMs newest = head().max_time();
    if (!options_.background || now_ms - swept_ms_ >= kSweepInterval || IsSweepOverdue(newest)) {
      swept_ms_ = now_ms;
      swept_newest_ = newest;
      RETURN_IF_ERROR(write_path().Sweep());
      RETURN_IF_ERROR(write_path().Expire(retention));
    }
    disk_bytes_ = store_->DiskBytes();
    return ExpireBySize();
  }

  absl::Status Seal() override {
    {
      MutexLock lock(maintenance_mutex_);
      RETURN_IF_ERROR(write_path().CloseAll());
    }
    RETURN_IF_ERROR(folder_->SealAll());
    // What the series in memory were checkpointed as until now is larger than what they are.
    RETURN_IF_ERROR(write_path().Checkpoint());
    RETURN_IF_ERROR(store_->Compact(
        {&store_->meta(), &store_->series(), &store_->head(), &store_->exemplars()}));
    disk_bytes_ = store_->DiskBytes();
    return absl::OkStatus();
  }

  absl::Status Checkpoint() override { return write_path().Checkpoint(); }
  absl::Status Sync() override { return write_path().SyncWal(); }

  void SetRetention(DurationMs retention) override { retention_ = retention; }
  void SetSizeRetention(const SizeRetention& retention) override {
    MutexLock lock(maintenance_mutex_);
    size_retention_ = retention;
  }
  void SetOutOfOrderWindow(DurationMs window) override {
    out_of_order_window_ = window;
    folder_->SetLateWindow(window);
  }
  void SetExemplarsMax(uint64_t exemplars_max) override { exemplars_.SetMax(exemplars_max); }
  StoredStats Stored() const override {
    const std::shared_ptr<const HotSet> set = write_path().hot_set();
    StoredStats stats{.hot_families = set->families.size(),
                      .buckets = set->buckets.buckets().size(),
                      .generations = set->generations.size(),
                      .folds = counters_.folds,
                      .merges = counters_.merges};
    for (const GenerationPtr& generation : set->generations) {
      stats.generation_samples += generation->info().samples;
      stats.generation_bytes += generation->info().bytes;
    }
    return stats;
  }
  const std::string& foreign_data() const override { return foreign_data_; }
  uint64_t replayed_records() const override { return write_path().replayed_records(); }
  void set_started() { started_ = true; }

 private:
  varve::Head& head() { return *state_->head; }
  const varve::Head& head() const { return *state_->head; }
  WritePath& write_path() { return *state_->write_path; }
  const WritePath& write_path() const { return *state_->write_path; }

  // Samples of the past that are sent faster than they were taken must not fill memory meanwhile.
  bool IsSweepOverdue(TimestampMs newest) const {
    return newest > swept_newest_.load(std::memory_order_relaxed) + kSweepHeadTime;
  }

  void SizeCaches(bool shrink) {
    const auto size = [shrink](uint64_t bytes) {
      return shrink ? std::min(bytes, kShrunkCacheBytes) : bytes;
    };
    store_->SetBlockCacheBytesMax(size(options_.block_cache_bytes));
    write_path().generation_cache().SetBytesMax(size(options_.generation_cache_bytes));
    AccountCaches();
  }

  void AccountCaches() {
    options_.memory->Set(MemoryPart::kBlockCache, store_->BlockCacheBytes());
    options_.memory->Set(MemoryPart::kDecodedCaches, write_path().generation_cache().bytes());
  }

  void AccountMemory() {
    AccountCaches();
    options_.memory->Set(MemoryPart::kWriteBuffers, store_->WriteBufferBytes());
    options_.memory->Set(MemoryPart::kHead, head().MemoryBytes());
    options_.memory->Refresh();
  }

  absl::Status ExpireBySize() ABSL_EXCLUSIVE_LOCKS_REQUIRED(maintenance_mutex_) {
    uint64_t limit = size_retention_.bytes;
    if (size_retention_.percentage > 0) {
      std::error_code error;
      const fs::space_info space = fs::space(options_.path, error);
      if (error) return absl::OkStatus();  // Tried again soon.
      limit = static_cast<uint64_t>(static_cast<double>(space.capacity) *
                                    std::min(size_retention_.percentage, 100.0) / 100);
    }
    if (limit == 0 || disk_bytes_ <= limit) return absl::OkStatus();
    RETURN_IF_ERROR(write_path().ExpireOldest(disk_bytes_ - limit));
    disk_bytes_ = store_->DiskBytes();
    return absl::OkStatus();
  }

  // The background thread.
  void Run() {
    const DurationMs tick = options_.wal_sync_interval > 0 ? std::min(options_.wal_sync_interval,
                                                                      options_.maintenance_interval)
                                                           : options_.maintenance_interval;
    int64_t maintained = clock_.MonotonicNanos();
    for (;;) {
      {
        MutexLock lock(mutex_);
        if (stop_) return;
        clock_.WaitFor(wake_, mutex_, std::chrono::milliseconds(tick));
        if (stop_) return;
      }
      AccountMemory();
      absl::Status status = write_path().SyncWal();
      // A log that grows fast must not wait for the next round.
      if (status.ok()) status = write_path().CheckpointIfDue();
      if (status.ok() &&
          (IsSweepOverdue(head().max_time()) ||
           clock_.MonotonicNanos() - maintained >= options_.maintenance_interval * kNanosPerMs)) {
        maintained = clock_.MonotonicNanos();
        status = Maintain();
      }
      if (!status.ok()) spdlog::error(LogLine("Storage maintenance", {{"err", status.ToString()}}));
    }
  }

  // The thread that folds: at work for seconds at a time, and never in anybody's way.
  void RunFolding() {
    setpriority(PRIO_PROCESS, static_cast<id_t>(gettid()), kFoldingNice);
    for (;;) {
      {
        MutexLock lock(mutex_);
        if (stop_) return;
        clock_.WaitFor(wake_, mutex_, std::chrono::milliseconds(options_.maintenance_interval));
        if (stop_) return;
      }
      const absl::Status status = folder_->Run();
      if (!status.ok()) spdlog::error(LogLine("Folding", {{"err", status.ToString()}}));
    }
  }

  const std::unique_ptr<MemoryBudget> unlimited_;  // Null if there is one of the options.
  const DbOptions options_;                        // Its memory is never null.
  Clock& clock_;
  const std::string foreign_data_;

  std::unique_ptr<Store> store_;
  ExemplarStore exemplars_;
  AtomicCounters counters_;
  std::shared_ptr<ReadState> state_;
  std::unique_ptr<Folder> folder_;
  std::unique_ptr<MemoryBudget::Registration> on_shortage_;
  std::atomic<DurationMs> retention_;
  std::atomic<DurationMs> out_of_order_window_;
  std::atomic<uint64_t> disk_bytes_ = 0;
  uint64_t series_at_start_ = 0;
  uint64_t late_at_start_ = 0;
  bool started_ = false;

  // One maintenance at a time; never taken by callers on the data path.
  Mutex maintenance_mutex_;
  int64_t swept_ms_ ABSL_GUARDED_BY(maintenance_mutex_) = 0;
  std::atomic<TimestampMs> swept_newest_ = kMinTimestamp;  // The head's time then.
  SizeRetention size_retention_ ABSL_GUARDED_BY(maintenance_mutex_);

  Mutex mutex_;
  CondVar wake_;
  bool stop_ ABSL_GUARDED_BY(mutex_) = false;
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
  std::thread folding_thread_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Db>> Db::Open(const DbOptions& given, Clock& clock) {
  DbOptions options = given;
  std::unique_ptr<MemoryBudget> unlimited;
  if (options.memory == nullptr) {
    unlimited = std::make_unique<MemoryBudget>();
    options.memory = unlimited.get();
  }
  const fs::path path(options.path);
  std::string foreign_data = DescribeForeignData(path);
  RETURN_IF_ERROR(PrepareDirectory(path));
  ASSIGN_OR_RETURN(std::unique_ptr<Store> store,
                   Store::Open({.path = (path / kDataSubdirectory).native(),
                                .block_cache_bytes = options.block_cache_bytes,
                                .write_buffer_bytes = options.write_buffer_bytes,
                                .write_buffers_bytes_max = options.write_buffers_bytes_max,
                                .env = options.env}));
  auto db = std::make_unique<DbImpl>(options, std::move(unlimited), clock, std::move(store),
                                     std::move(foreign_data));
  RETURN_IF_ERROR(db->Start());
  db->set_started();
  return db;
}

}  // namespace varve

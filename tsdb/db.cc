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
#include <optional>
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
#include "tsdb/engine.h"
#include "tsdb/log_cursor.h"
#include "tsdb/open_store.h"
#include "tsdb/querier.h"
#include "tsdb/reserve_file.h"
#include "tsdb/retention_clock.h"

namespace varve {

namespace {

namespace fs = std::filesystem;

constexpr DurationMs kSweepInterval = kMinute;
constexpr DurationMs kSweepHeadTime = 10 * kMinute;
constexpr int kFoldingNice = 10;
// How often the log says why writing has not gone on yet.
constexpr DurationMs kSayStoppedInterval = 10'000;
// What caches keep when memory is short.
constexpr uint64_t kShrunkCacheBytes = 1 << 20;
// Below the directory: not with the database's files, which may be set aside.
constexpr std::string_view kReserveFile = "varve.reserve";

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
         std::string foreign_data)
      : unlimited_(std::move(unlimited)),
        options_(Adapted(options)),
        clock_(clock),
        foreign_data_(std::move(foreign_data)),
        retention_(options.retention),
        out_of_order_window_(options.out_of_order_window),
        reserve_((fs::path(options.path) / kReserveFile).native(), options.reserve_bytes),
        size_retention_(options.size_retention) {}

  ~DbImpl() override {
    const absl::Status status = Close();
    if (!status.ok()) spdlog::error(LogLine("Closing the storage", {{"err", status.ToString()}}));
  }

  absl::Status Start() {
    absl::StatusOr<std::shared_ptr<Engine>> opened = Engine::Open(options_, clock_);
    {
      MutexLock lock(maintenance_mutex_);
      // An earlier run's reserve is for this: a full disk is no reason not to start.
      if (absl::IsResourceExhausted(opened.status()) && reserve_.Release()) {
        opened = Engine::Open(options_, clock_);
      }
    }
    RETURN_IF_ERROR(opened.status());
    engine_ = *std::move(opened);
    on_shortage_ = options_.memory->OnShortage([this](bool shrink) { SizeCaches(shrink); });
    series_at_start_ = engine_->head.last_id();
    late_at_start_ = engine_->head.late_samples();  // Replayed.
    disk_bytes_ = engine_->store->DiskBytes();
    AccountMemory();
    StartRetentionClock();
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
    TimestampMs newest = engine_->head.max_time();
    if (options_.lookahead_limit > 0) {
      window.max = clock_.Now() + options_.lookahead_limit;
      // The clock went back, and nobody has seen to it yet.
      newest = std::min(newest, window.max);
    }
    const DurationMs late =
        std::min(out_of_order_window_.load(std::memory_order_relaxed), kStoredTimeMax);
    if (newest == kMinTimestamp) {
      window.late_window = late;
    } else {
      window.min = newest - options_.head_window;
      if (late > 0) window.late_min = newest - late;
    }
    return NewHeadAppender(*engine_, window);
  }

  std::vector<absl::Status> CommitAll(absl::Span<Appender* const> appenders) override {
    return CommitAppenders(engine_->write_path, appenders);
  }

  absl::StatusOr<std::unique_ptr<Querier>> OpenQuerier(TimestampMs min,
                                                       TimestampMs max) const override {
    return NewHeadQuerier(engine_, min, max);
  }

  absl::StatusOr<std::vector<SeriesExemplars>> SelectExemplars(
      TimestampMs start, TimestampMs end,
      const std::vector<std::vector<Matcher>>& matcher_sets) const override {
    return engine_->exemplars.Select(
        start, end,
        [this](absl::Span<const uint64_t> ids) { return LabelsOfSeries(*engine_, ids); },
        matcher_sets);
  }

  std::vector<MetricFamilyPtr> Metadata(std::string_view metric) const override {
    return engine_->metadata.Select(metric);
  }

  std::unique_ptr<LogCursor> OpenLog() override {
    return NewLogCursor(engine_->head, engine_->write_path);
  }

  CardinalityStats Cardinality(size_t limit) const override {
    CardinalityStats stats = engine_->head.index().Cardinality(limit);
    stats.head = engine_->head.Stats();
    return stats;
  }

  HeadStats Head() const override { return engine_->head.Stats(); }

  StorageCounters Counters() const override {
    const AtomicCounters& now = *engine_->counters;
    StorageCounters counters;
    counters.float_samples_appended = now.floats;
    counters.histogram_samples_appended = now.histograms;
    counters.series_created = engine_->head.last_id() - series_at_start_;
    counters.series_removed = now.series_removed;
    counters.out_of_order_samples = now.out_of_order;
    counters.too_old_samples = now.too_old;
    counters.out_of_bounds_samples = now.out_of_bounds;
    counters.duplicate_samples = now.duplicates;
    counters.out_of_order_samples_appended = engine_->head.late_samples() - late_at_start_;
    counters.corruptions = now.damage.count();
    counters.unknown_series_samples = now.unknown_series_samples;
    counters.metadata_refused = now.metadata_refused;
    counters.metadata_cut = now.metadata_cut;
    counters.failed_commits = now.failed_commits;
    counters.writable = writable_;
    counters.reserve_bytes = reserve_bytes_;
    counters.buckets_dropped_by_retention = now.families_expired;
    counters.generations_dropped_by_size = now.size_expired;
    counters.disk_bytes = disk_bytes_;
    counters.log_bytes = engine_->write_path.log_bytes();
    counters.active_appenders = now.active_appenders;
    CountStored(counters);
    return counters;
  }

  absl::Status DeleteSeries(const std::vector<std::vector<Matcher>>& matcher_sets, TimestampMs min,
                            TimestampMs max) override {
    return engine_->write_path.DeleteSeries(matcher_sets, min, max);
  }

  absl::Status CleanTombstones() override {
    {
      MutexLock lock(maintenance_mutex_);
      const uint64_t sequence = engine_->write_path.tombstones()->sequence();
      if (sequence == 0) return absl::OkStatus();
      RETURN_IF_ERROR(engine_->write_path.CloseAll());
      RETURN_IF_ERROR(engine_->folder.Clean(sequence));
      // Replay would bring samples back that no tombstone names any more.
      RETURN_IF_ERROR(engine_->write_path.Checkpoint());
      RETURN_IF_ERROR(engine_->write_path.ForgetTombstones(sequence, kMaxTimestamp));
    }
    disk_bytes_ = engine_->store->DiskBytes();
    return absl::OkStatus();
  }

  absl::StatusOr<std::string> Snapshot() override {
    RETURN_IF_ERROR(engine_->write_path.SyncWal());
    const fs::path snapshots = fs::path(options_.path) / kSnapshotsSubdirectory;
    const std::string name = SnapshotName(clock_.Now());
    std::error_code error;
    fs::create_directories(snapshots / name, error);
    if (error) {
      return absl::UnavailableError(fmt::format("creating the snapshot directory \"{}\": {}",
                                                (snapshots / name).native(), error.message()));
    }
    absl::Status status = At("snapshot");
    if (status.ok()) {
      status = engine_->store->CopyTo((snapshots / name / kDataSubdirectory).native());
    }
    if (status.ok()) status = At("snapshot written");
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
    if (engine_ != nullptr) engine_->folder.Stop();
    if (thread_.joinable()) thread_.join();
    if (folding_thread_.joinable()) folding_thread_.join();
    MutexLock lock(maintenance_mutex_);
    reserve_.Release();
    return engine_ != nullptr ? engine_->write_path.Close() : absl::OkStatus();
  }

  absl::Status Maintain() override {
    RETURN_IF_ERROR(Heal());
    MutexLock lock(maintenance_mutex_);
    WritePath& write_path = engine_->write_path;
    const DurationMs retention = retention_.load(std::memory_order_relaxed);
    if (!options_.background) AccountMemory();
    write_path.RetireFutureIfAny();
    RETURN_IF_ERROR(write_path.RotateHotIfDue(retention));
    if (options_.background && !write_path.FinishedHot().empty()) FoldNow();
    RETURN_IF_ERROR(write_path.CheckpointIfDue());
    if (!options_.background) RETURN_IF_ERROR(engine_->folder.Run());
    const int64_t now_ms = clock_.MonotonicNanos() / kNanosPerMs;
    const TimestampMs newest = engine_->head.max_time();
    if (!options_.background || now_ms - swept_ms_ >= kSweepInterval || IsSweepOverdue(newest)) {
      swept_ms_ = now_ms;
      swept_newest_ = newest;
      RETURN_IF_ERROR(write_path.Sweep());
      RETURN_IF_ERROR(Expire(retention));
    }
    return ExpireBySize();
  }

  absl::Status Seal() override {
    {
      MutexLock lock(maintenance_mutex_);
      RETURN_IF_ERROR(engine_->write_path.CloseAll());
    }
    RETURN_IF_ERROR(engine_->folder.SealAll());
    // What the series in memory were checkpointed as until now is larger than what they are.
    RETURN_IF_ERROR(engine_->write_path.Checkpoint());
    Store& store = *engine_->store;
    const absl::Status compacted = store.Compact(
        {&store.meta(), &store.series(), &store.head(), &store.exemplars(), &store.metadata()});
    // Damage that stops a compaction is mended by the next maintenance.
    if (!absl::IsDataLoss(compacted)) RETURN_IF_ERROR(compacted);
    disk_bytes_ = store.DiskBytes();
    return absl::OkStatus();
  }

  absl::Status Checkpoint() override { return engine_->write_path.Checkpoint(); }
  absl::Status Sync() override { return engine_->write_path.SyncWal(); }

  void SetRetention(DurationMs retention) override { retention_ = retention; }
  void SetSizeRetention(const SizeRetention& retention) override {
    MutexLock lock(maintenance_mutex_);
    size_retention_ = retention;
  }
  void SetOutOfOrderWindow(DurationMs window) override {
    out_of_order_window_ = window;
    engine_->folder.SetLateWindow(window);
  }
  void SetExemplarsMax(uint64_t exemplars_max) override {
    engine_->exemplars.SetMax(exemplars_max);
  }
  StoredStats Stored() const override {
    const std::shared_ptr<const HotSet> set = engine_->write_path.hot_set();
    StoredStats stats{.hot_families = set->families.size(),
                      .buckets = set->buckets.buckets().size(),
                      .generations = set->generations.size(),
                      .folds = engine_->folder.folds().runs,
                      .merges = engine_->folder.merges().runs};
    for (const GenerationPtr& generation : set->generations) {
      stats.generation_samples += generation->info().samples;
      stats.generation_bytes += generation->info().bytes;
    }
    return stats;
  }
  const std::string& foreign_data() const override { return foreign_data_; }
  uint64_t replayed_records() const override { return engine_->write_path.replayed_records(); }

 private:
  absl::Status At(std::string_view step) const {
    return options_.at_step ? options_.at_step(step) : absl::OkStatus();
  }

  void CountStored(StorageCounters& counters) const {
    counters.folds = engine_->folder.folds();
    counters.merges = engine_->folder.merges();
    const StoredStats stored = Stored();
    counters.buckets = stored.buckets;
    counters.generations = stored.generations;
    counters.generation_samples = stored.generation_samples;
    counters.generation_bytes = stored.generation_bytes;
    counters.unfolded_families = stored.hot_families - 1;
    counters.oldest_sample = engine_->head.Stats().min_time;
    const std::shared_ptr<const HotSet> set = engine_->write_path.hot_set();
    for (const GenerationPtr& generation : set->generations) {
      counters.oldest_sample = std::min(counters.oldest_sample, generation->info().min_time);
    }
  }

  // Samples of the past that are sent faster than they were taken must not fill memory meanwhile.
  bool IsSweepOverdue(TimestampMs newest) const {
    return newest > swept_newest_.load(std::memory_order_relaxed) + kSweepHeadTime;
  }

  void SizeCaches(bool shrink) {
    const auto size = [shrink](uint64_t bytes) {
      return shrink ? std::min(bytes, kShrunkCacheBytes) : bytes;
    };
    engine_->store->SetBlockCacheBytesMax(size(options_.block_cache_bytes));
    engine_->write_path.generation_cache().SetBytesMax(size(options_.generation_cache_bytes));
    AccountCaches();
  }

  void AccountCaches() {
    options_.memory->Set(MemoryPart::kBlockCache, engine_->store->BlockCacheBytes());
    options_.memory->Set(MemoryPart::kDecodedCaches,
                         engine_->write_path.generation_cache().bytes());
  }

  void AccountMemory() {
    AccountCaches();
    options_.memory->Set(MemoryPart::kWriteBuffers, engine_->store->WriteBufferBytes());
    options_.memory->Set(MemoryPart::kHead,
                         engine_->head.MemoryBytes() + engine_->metadata.MemoryBytes());
    options_.memory->Refresh();
  }

  // Syncs the WAL and makes writing go on where it has stopped. An error if it could not.
  absl::Status Heal() ABSL_LOCKS_EXCLUDED(maintenance_mutex_) {
    RETURN_IF_ERROR(MendBackgroundDamage());
    absl::Status status = engine_->write_path.SyncWal();
    MutexLock lock(maintenance_mutex_);
    if (!status.ok()) status = HealFailed(std::move(status));
    if (!status.ok()) return status;
    RETURN_IF_ERROR(engine_->store->KeepUnflushed());
    if (!writable_.exchange(true)) spdlog::info("Writing to the storage goes on");
    return KeepRoom();
  }

  absl::Status HealFailed(absl::Status status) ABSL_EXCLUSIVE_LOCKS_REQUIRED(maintenance_mutex_) {
    const int64_t now_ms = clock_.MonotonicNanos() / kNanosPerMs;
    if (writable_) {
      spdlog::error(LogLine("Writing to the storage has stopped", {{"err", status.ToString()}}));
      writable_ = false;
      said_stopped_ms_ = now_ms;
    } else if (now_ms - said_stopped_ms_ >= kSayStoppedInterval) {
      spdlog::error(LogLine("Writing to the storage cannot go on", {{"err", status.ToString()}}));
      said_stopped_ms_ = now_ms;
    }
    // First the reserve, for what is in memory; then the oldest data, as far as it may go.
    if (reserve_.Release()) {
      reserve_bytes_ = 0;
      spdlog::warn("The reserve file was given up to make room");
      status = engine_->write_path.SyncWal();
      if (status.ok()) return ExpireBySize();
    }
    return status;
  }

  // Compactions met damage. Hot families are folded at once, which leaves out what is damaged;
  // other families are written again without it while the database is opened.
  absl::Status MendBackgroundDamage() ABSL_LOCKS_EXCLUDED(maintenance_mutex_) {
    for (const std::string& text : engine_->store->TakeBackgroundDamage()) {
      engine_->counters->damage.NoteOnce("table", text);
      const std::string family = engine_->store->FamilyOfTable(TableNamedIn(text));
      MutexLock lock(maintenance_mutex_);
      if (const auto number = FamilyNumber(kHotFamilyPrefix, family); number.has_value()) {
        RETURN_IF_ERROR(engine_->write_path.FinishHot(*number));
        if (options_.background) FoldNow();  // Otherwise Maintain() folds it.
      }
    }
    return absl::OkStatus();
  }

  // The folding thread need not wait for its time.
  void FoldNow() ABSL_LOCKS_EXCLUDED(mutex_) {
    MutexLock lock(mutex_);
    fold_now_ = true;
    wake_.NotifyAll();
  }

  // Gives up old data when there is little room, before anything fails, and makes the reserve file
  // when there is much.
  absl::Status KeepRoom() ABSL_EXCLUSIVE_LOCKS_REQUIRED(maintenance_mutex_) {
    if (options_.reserve_bytes == 0) return absl::OkStatus();
    const uint64_t free = engine_->store->FreeBytes().value_or(0);
    if (reserve_.bytes() == 0 || free < options_.reserve_bytes) {
      RETURN_IF_ERROR(ExpireBySize());
    }
    reserve_.Make(engine_->store->FreeBytes().value_or(0));
    reserve_bytes_ = reserve_.bytes();
    return absl::OkStatus();
  }

  void StartRetentionClock() ABSL_LOCKS_EXCLUDED(maintenance_mutex_) {
    const absl::StatusOr<std::string> stored =
        engine_->store->Get(engine_->store->meta(), kRetentionClockKey);
    std::optional<RetentionClock::State> state;
    if (stored.ok()) state = RetentionClock::Decode(*stored);
    if (!state.has_value()) {
      state = RetentionClock::StateOf(engine_->head.max_time(), clock_.Now());
    }
    MutexLock lock(maintenance_mutex_);
    const int64_t now_ms = clock_.MonotonicNanos() / kNanosPerMs;
    retention_clock_.emplace(*state, now_ms);
    // Also for a run that ends before the first Expire(), which tries again if this fails.
    StoreRetentionClock(now_ms).IgnoreError();
  }

  absl::Status StoreRetentionClock(int64_t now_ms)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(maintenance_mutex_) {
    rocksdb::WriteBatch batch;
    batch.Put(engine_->store->meta().handle(), ToSlice(kRetentionClockKey),
              retention_clock_->Encode(now_ms));
    return engine_->store->Write(batch, "recording the time");
  }

  absl::Status Expire(DurationMs retention) ABSL_EXCLUSIVE_LOCKS_REQUIRED(maintenance_mutex_) {
    TimestampMs newest = engine_->head.max_time();
    const int64_t now_ms = clock_.MonotonicNanos() / kNanosPerMs;
    const TimestampMs now = retention_clock_->Now(clock_.Now(), now_ms);
    RETURN_IF_ERROR(StoreRetentionClock(now_ms));
    if (newest == kMinTimestamp || retention <= 0) return absl::OkStatus();
    if (options_.lookahead_limit > 0) newest = std::min(newest, now + options_.lookahead_limit);
    return engine_->write_path.Expire(newest - retention);
  }

  absl::Status ExpireBySize() ABSL_EXCLUSIVE_LOCKS_REQUIRED(maintenance_mutex_) {
    disk_bytes_ = engine_->store->DiskBytes();
    uint64_t limit = size_retention_.bytes;
    if (size_retention_.percentage > 0) {
      std::error_code error;
      const fs::space_info space = fs::space(options_.path, error);
      if (error) return absl::OkStatus();  // Tried again soon.
      limit = static_cast<uint64_t>(static_cast<double>(space.capacity) *
                                    std::min(size_retention_.percentage, 100.0) / 100);
    }
    if (limit == 0 || disk_bytes_ <= limit) return absl::OkStatus();
    RETURN_IF_ERROR(engine_->write_path.ExpireOldest(disk_bytes_ - limit));
    disk_bytes_ = engine_->store->DiskBytes();
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
      engine_->write_path.RetireFutureIfAny();
      absl::Status status = Heal();
      if (!status.ok()) continue;  // Said when it began.
      // A log that grows fast must not wait for the next round.
      status = engine_->write_path.CheckpointIfDue();
      if (status.ok() &&
          (IsSweepOverdue(engine_->head.max_time()) ||
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
        if (!fold_now_) {
          clock_.WaitFor(wake_, mutex_, std::chrono::milliseconds(options_.maintenance_interval));
        }
        if (stop_) return;
        fold_now_ = false;
      }
      const absl::Status status = engine_->folder.Run();
      if (!status.ok()) spdlog::error(LogLine("Folding", {{"err", status.ToString()}}));
    }
  }

  const std::unique_ptr<MemoryBudget> unlimited_;  // Null if there is one of the options.
  const DbOptions options_;                        // Its memory is never null.
  Clock& clock_;
  const std::string foreign_data_;

  std::shared_ptr<Engine> engine_;  // Set once, by Start(). Queriers share it.
  std::unique_ptr<MemoryBudget::Registration> on_shortage_;
  std::atomic<DurationMs> retention_;
  std::atomic<DurationMs> out_of_order_window_;
  std::atomic<uint64_t> disk_bytes_ = 0;
  std::atomic<uint64_t> reserve_bytes_ = 0;
  std::atomic<bool> writable_ = true;
  uint64_t series_at_start_ = 0;
  std::atomic<uint64_t> late_at_start_ = 0;

  // One maintenance at a time; never taken by callers on the data path.
  Mutex maintenance_mutex_;
  int64_t swept_ms_ ABSL_GUARDED_BY(maintenance_mutex_) = 0;
  std::optional<RetentionClock> retention_clock_ ABSL_GUARDED_BY(maintenance_mutex_);
  int64_t said_stopped_ms_ ABSL_GUARDED_BY(maintenance_mutex_) = 0;
  std::atomic<TimestampMs> swept_newest_ = kMinTimestamp;  // The head's time then.
  ReserveFile reserve_ ABSL_GUARDED_BY(maintenance_mutex_);
  SizeRetention size_retention_ ABSL_GUARDED_BY(maintenance_mutex_);

  Mutex mutex_;
  CondVar wake_;
  bool stop_ ABSL_GUARDED_BY(mutex_) = false;
  bool fold_now_ ABSL_GUARDED_BY(mutex_) = false;
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
  auto db = std::make_unique<DbImpl>(options, std::move(unlimited), clock, std::move(foreign_data));
  RETURN_IF_ERROR(db->Start());
  return db;
}

}  // namespace varve

// SPDX-License-Identifier: Apache-2.0
//
// Opening, closing and the background thread.
#include "tsdb/db.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
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
#include "tsdb/head.h"
#include "tsdb/querier.h"
#include "tsdb/store.h"
#include "tsdb/write_path.h"

namespace varve {

namespace {

namespace fs = std::filesystem;

constexpr DurationMs kSweepInterval = kMinute;

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

class DbImpl : public Db {
 public:
  DbImpl(const DbOptions& options, Clock& clock, std::unique_ptr<Store> store,
         std::string foreign_data)
      : options_(options),
        clock_(clock),
        foreign_data_(std::move(foreign_data)),
        store_(std::move(store)),
        exemplars_(options.exemplars_max),
        state_(std::make_shared<ReadState>()),
        retention_(options.retention) {
    state_->head = std::make_unique<varve::Head>(
        HeadOptions{.bucket_size = options.bucket_size, .series_max = options.series_max});
    state_->write_path = std::make_unique<WritePath>(options_, clock_, *store_, *state_->head,
                                                     exemplars_, counters_);
  }

  ~DbImpl() override {
    const absl::Status status = Close();
    if (!status.ok()) spdlog::error(LogLine("Closing the storage", {{"err", status.ToString()}}));
  }

  absl::Status Start() {
    RETURN_IF_ERROR(write_path().Recover());
    RETURN_IF_ERROR(exemplars_.Load(*store_));
    series_at_start_ = head().last_id();
    disk_bytes_ = store_->DiskBytes();
    if (options_.background) thread_ = std::thread([this] { Run(); });
    return absl::OkStatus();
  }

  // ------------------------------------------------------------------------ reading and writing

  std::unique_ptr<Appender> NewAppender() override {
    AppendWindow window;
    const TimestampMs newest = head().max_time();
    if (newest != kMinTimestamp) window.min = newest - options_.head_window;
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
    return exemplars_.Select(start, end, head().index(), matcher_sets);
  }

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
    counters.corruptions = counters_.corruptions;
    counters.buckets_dropped_by_retention = counters_.families_expired;
    counters.disk_bytes = disk_bytes_;
    counters.log_bytes = write_path().log_bytes();
    counters.active_appenders = counters_.active_appenders;
    return counters;
  }

  // -------------------------------------------------------------------------------- maintenance

  absl::Status Close() override {
    {
      MutexLock lock(mutex_);
      if (closed_) return absl::OkStatus();
      closed_ = stop_ = true;
    }
    wake_.NotifyAll();
    if (thread_.joinable()) thread_.join();
    MutexLock lock(maintenance_mutex_);
    return started_ ? write_path().Close() : absl::OkStatus();
  }

  absl::Status Maintain() override {
    MutexLock lock(maintenance_mutex_);
    const DurationMs retention = retention_.load(std::memory_order_relaxed);
    RETURN_IF_ERROR(write_path().SyncWal());
    RETURN_IF_ERROR(write_path().RotateHotIfDue(retention));
    RETURN_IF_ERROR(write_path().CheckpointIfDue());
    const int64_t now_ms = clock_.MonotonicNanos() / kNanosPerMs;
    if (!options_.background || now_ms - swept_ms_ >= kSweepInterval) {
      swept_ms_ = now_ms;
      RETURN_IF_ERROR(write_path().Sweep());
      RETURN_IF_ERROR(write_path().Expire(retention));
    }
    disk_bytes_ = store_->DiskBytes();
    return absl::OkStatus();
  }

  absl::Status Checkpoint() override { return write_path().Checkpoint(); }
  absl::Status Sync() override { return write_path().SyncWal(); }

  void SetRetention(DurationMs retention) override { retention_ = retention; }
  void SetExemplarsMax(uint64_t exemplars_max) override { exemplars_.SetMax(exemplars_max); }
  const std::string& foreign_data() const override { return foreign_data_; }
  uint64_t replayed_records() const override { return write_path().replayed_records(); }
  void set_started() { started_ = true; }

 private:
  varve::Head& head() { return *state_->head; }
  const varve::Head& head() const { return *state_->head; }
  WritePath& write_path() { return *state_->write_path; }
  const WritePath& write_path() const { return *state_->write_path; }

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
      absl::Status status = write_path().SyncWal();
      // A log that grows fast must not wait for the next round.
      if (status.ok()) status = write_path().CheckpointIfDue();
      if (status.ok() &&
          clock_.MonotonicNanos() - maintained >= options_.maintenance_interval * 1'000'000) {
        maintained = clock_.MonotonicNanos();
        status = Maintain();
      }
      if (!status.ok()) spdlog::error(LogLine("Storage maintenance", {{"err", status.ToString()}}));
    }
  }

  const DbOptions options_;
  Clock& clock_;
  const std::string foreign_data_;

  std::unique_ptr<Store> store_;
  ExemplarStore exemplars_;
  AtomicCounters counters_;
  std::shared_ptr<ReadState> state_;
  std::atomic<DurationMs> retention_;
  std::atomic<uint64_t> disk_bytes_ = 0;
  uint64_t series_at_start_ = 0;
  bool started_ = false;

  // One maintenance at a time; never taken by callers on the data path.
  Mutex maintenance_mutex_;
  int64_t swept_ms_ ABSL_GUARDED_BY(maintenance_mutex_) = 0;

  Mutex mutex_;
  CondVar wake_;
  bool stop_ ABSL_GUARDED_BY(mutex_) = false;
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Db>> Db::Open(const DbOptions& options, Clock& clock) {
  const fs::path path(options.path);
  std::string foreign_data = DescribeForeignData(path);
  RETURN_IF_ERROR(PrepareDirectory(path));
  ASSIGN_OR_RETURN(std::unique_ptr<Store> store,
                   Store::Open({.path = (path / kDataSubdirectory).native(),
                                .block_cache_bytes = options.block_cache_bytes,
                                .write_buffer_bytes = options.write_buffer_bytes,
                                .env = options.env}));
  auto db = std::make_unique<DbImpl>(options, clock, std::move(store), std::move(foreign_data));
  RETURN_IF_ERROR(db->Start());
  db->set_started();
  return db;
}

}  // namespace varve

// SPDX-License-Identifier: Apache-2.0
//
// The storage engine: Queryable, Appendable and StorageAdmin on RocksDB. Opens and closes a data
// directory and owns everything behind it: the head (samples in memory), the log, chunks and index
// on disk, and the thread that checkpoints, trims and expires them.
//
//   ASSIGN_OR_RETURN(std::unique_ptr<Db> db, Db::Open({.path = "data"}, RealClock()));
//   std::unique_ptr<Appender> appender = db->NewAppender();
//   ASSIGN_OR_RETURN(SeriesRef ref, appender->Append(kNoSeries, labels, time, value));
//   RETURN_IF_ERROR(appender->Commit());  // Survives kill -9 from here on.
//   RETURN_IF_ERROR(db->Close());
#pragma once

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "model/appendable.h"
#include "model/clock.h"
#include "model/log_source.h"
#include "model/memory_budget.h"
#include "model/queryable.h"
#include "model/storage_admin.h"
#include "model/time.h"

namespace rocksdb {
class Env;
}

namespace varve {

// Where Varve keeps its files below DbOptions::path, so that they may lie beside Prometheus'.
inline constexpr std::string_view kDataSubdirectory = "varve";

// Snapshots lie in directories below this one, each a data directory of its own.
inline constexpr std::string_view kSnapshotsSubdirectory = "snapshots";

// What all files together may take; the oldest samples go first, as far as they are folded.
struct SizeRetention {
  uint64_t bytes = 0;     // 0 = no limit.
  double percentage = 0;  // Of the file system, instead of `bytes`; 0 = no such limit.
};

struct DbOptions {
  std::string path;  // Created if missing.

  // Samples older than the newest one by more than this are deleted, whole files at a time.
  // 0 keeps everything.
  DurationMs retention = 15 * kDay;
  SizeRetention size_retention;

  // A power cut loses at most the last interval; 0 syncs every commit.
  DurationMs wal_sync_interval = kSecond;

  // Samples further than this ahead of the clock are refused (kOutOfBounds); 0 = no limit.
  DurationMs lookahead_limit = 10 * kMinute;

  // How far behind the newest sample of the head a series may still start, or go on.
  DurationMs head_window = kHour;

  // Samples out of order are accepted if they are not older than the newest one of the head by more
  // than this; 0 = none are.
  DurationMs out_of_order_window = 0;

  // Whether the start times samples come with are kept.
  bool store_start_times = true;
  // Whether a series gets a zero at its samples' start time (of a histogram, one without
  // observations): what it was before its first increment. Only where that is in order.
  bool zero_at_start_time = false;

  // A log epoch ends at this size or age; a head checkpoint then makes the epochs before it
  // superfluous, so these bound what a restart replays.
  uint64_t log_epoch_bytes = 64 << 20;
  DurationMs log_epoch_age = 4 * kMinute;

  // The log that cursors hold, beyond what a restart needs, is dropped past this size of all of it.
  uint64_t held_log_bytes_max = 512 << 20;

  // Closed chunks of one epoch of writing share files, which retention drops together. Shortened
  // to `retention` if that is less.
  DurationMs hot_epoch = 2 * kHour;

  // The time a bucket spans, from the next new bucket on. REQUIRES: whole hours.
  DurationMs bucket_size = kDay;

  uint64_t series_max = 0;           // Series in memory; 0 = no limit.
  uint64_t exemplars_max = 100'000;  // 0 = exemplars are accepted and forgotten.
  uint64_t block_cache_bytes = 32 << 20;
  // What is decoded of generations: the ids matchers selected, times that series share.
  uint64_t generation_cache_bytes = 16 << 20;
  uint64_t write_buffer_bytes = 4 << 20;  // Of each column family.
  // Of all of them together: past it they are written out early. 0 = no bound.
  uint64_t write_buffers_bytes_max = 0;

  // What the parts of the storage take is told here, and asked what may still be taken. Caches
  // shrink when it is short. Null = no limit. Outlives the Db.
  MemoryBudget* memory = nullptr;

  // How often the background thread looks whether a checkpoint, a new epoch or retention is due.
  DurationMs maintenance_interval = 10 * kSecond;
  // Off: no background threads; Maintain() does their work. For tests.
  bool background = true;

  rocksdb::Env* env = nullptr;  // File system to use; null = the system's. Outlives the Db.

  // When the disk is full, a file of this size is given up; made again when there is room. 0 =
  // none.
  uint64_t reserve_bytes = 0;
  // The program that removes a damaged table, with arguments (RemoveTableAndExit() in
  // tools.h); without it, a table that does not open costs all that is stored.
  std::vector<std::string> remove_table;

  // Called before and after each step of folding, sealing, checkpoints, deletes, snapshots and
  // retention; an error ends it there. For tests.
  std::function<absl::Status(std::string_view step)> at_step;
};

// What is stored, by form.
struct StoredStats {
  uint64_t hot_families = 0;  // The one that is written to included.
  uint64_t buckets = 0;
  uint64_t generations = 0;
  uint64_t generation_samples = 0;
  uint64_t generation_bytes = 0;
  uint64_t folds = 0;   // Since the start.
  uint64_t merges = 0;  // Same.
};

// Thread-safe, but for Close().
class Db : public Queryable,
           public Appendable,
           public ExemplarQueryable,
           public MetadataQueryable,
           public LogSource,
           public StorageAdmin {
 public:
  // Opens `options.path`, or creates it, and recovers what was committed. `clock` outlives the Db.
  //   Unavailable         another process has the directory open
  //   PermissionDenied    it cannot be read or written
  //   FailedPrecondition  a newer version wrote it
  // A Prometheus data directory at the path is left untouched; see foreign_data().
  static absl::StatusOr<std::unique_ptr<Db>> Open(const DbOptions& options, Clock& clock);

  // Closes if Close() was not called.
  ~Db() override = default;

  // Checkpoints and flushes, so that the next Open() replays nothing. Call once no appender is in
  // use; everything but reading SeriesSets fails afterwards. Idempotent. On failure nothing
  // committed is lost, but the next start replays it.
  virtual absl::Status Close() = 0;

  // What the background threads do when they wake up, at once: going on after failed writes, WAL
  // sync, log and hot epochs,
  // checkpoint, folding, sealing, retention, removal of series without data.
  virtual absl::Status Maintain() = 0;
  // Closes all chunks, folds them and merges the generations of every bucket into one.
  virtual absl::Status Seal() = 0;
  // A head checkpoint now; the log before it is dropped.
  virtual absl::Status Checkpoint() = 0;
  // Returns when everything committed survives a power cut.
  virtual absl::Status Sync() = 0;

  virtual void SetRetention(DurationMs retention) = 0;
  virtual void SetSizeRetention(const SizeRetention& retention) = 0;
  // Of the appenders made from now on.
  virtual void SetOutOfOrderWindow(DurationMs window) = 0;
  virtual void SetExemplarsMax(uint64_t exemplars_max) = 0;

  virtual StoredStats Stored() const = 0;
  // The Prometheus data found at the path, as a sentence for the log; empty if there is none.
  virtual const std::string& foreign_data() const = 0;
  // Log records Open() replayed, for the log and tests.
  virtual uint64_t replayed_records() const = 0;
};

}  // namespace varve

// SPDX-License-Identifier: Apache-2.0
//
// A file system on which RocksDB goes on after failed writes. RocksDB gives up for good after a
// write error that it is not told may pass, and its own file system says so of a full disk only.
// Flushes go through a gate (flush_gate.h).
#pragma once

#include <rocksdb/env.h>

#include <atomic>
#include <memory>
#include <string>

#include "model/mutex.h"
#include "tsdb/flush_gate.h"

namespace varve {

// What could not be written to. Set here, cleared by whoever has made up for it.
struct FailedWrites {
  std::atomic<bool> any = false;
  std::atomic<bool> log = false;  // A file of the write-ahead log.
  // While set, nothing is written to a manifest: trying fails.
  std::atomic<bool> withhold_manifest = false;

  // Whether the file of the write-ahead log that was begun last is one that could not be written
  // to.
  bool NewestLogFailed() const ABSL_LOCKS_EXCLUDED(mutex);

  mutable Mutex mutex;
  std::string newest_log ABSL_GUARDED_BY(mutex);
  std::string failed_log ABSL_GUARDED_BY(mutex);
};

// `base` with every failed write marked as one that may pass, after it was noted in `failed`.
// `base` outlives what is returned.
struct RetryableEnv {
  std::shared_ptr<rocksdb::Env> env;
  std::shared_ptr<FlushGate> flush_gate;
};
RetryableEnv NewRetryableEnv(rocksdb::Env& base, std::shared_ptr<FailedWrites> failed);

}  // namespace varve

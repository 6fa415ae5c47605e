// SPDX-License-Identifier: Apache-2.0
//
// Which writes of RocksDB failed, and an environment that notes them. RocksDB is told of each
// failure as one that it is not to recover from by itself, but for one that is asked for
// (FailNextLogWrite). Flushes go through a gate (flush_gate.h).
#pragma once

#include <rocksdb/env.h>

#include <atomic>
#include <cstddef>
#include <memory>

#include "model/mutex.h"
#include "tsdb/flush_gate.h"

namespace varve {

// Thread-safe.
class WriteFailures {
 public:
  // Whether a file, or one of the write-ahead log, could not be written to since Clear().
  bool any() const { return any_; }
  bool log() const { return log_; }
  void Note(bool is_log);
  void Clear();

  // A sync of the write-ahead log lies between the two; it must not begin where BeginSync() is
  // false, as a write has failed. RocksDB 7.8 ends the process when it comes to sync a file whose
  // last write failed, so that it is told of a failed write only when no sync is under way.
  [[nodiscard]] bool BeginSync() ABSL_LOCKS_EXCLUDED(mutex_);
  void EndSync() ABSL_LOCKS_EXCLUDED(mutex_);
  // Waits for syncs to end, after a failure was noted: no other one begins.
  void AwaitSyncs() ABSL_LOCKS_EXCLUDED(mutex_);

  // Has the next write to the log fail, without trying it and without noting it, as one that
  // RocksDB recovers from by itself.
  void FailNextLogWrite() { fail_next_log_write_ = true; }
  // Whether that has not come yet. Takes it back.
  bool TakeFailNextLogWrite() { return fail_next_log_write_.exchange(false); }

 private:
  std::atomic<bool> any_ = false;
  std::atomic<bool> log_ = false;
  std::atomic<bool> fail_next_log_write_ = false;

  Mutex mutex_;
  CondVar synced_;
  size_t syncs_ ABSL_GUARDED_BY(mutex_) = 0;
};

// `base`, which outlives what is returned, with every failed write noted in `failures`.
struct NotingEnv {
  std::shared_ptr<rocksdb::Env> env;
  std::shared_ptr<FlushGate> flush_gate;
};
NotingEnv NewNotingEnv(rocksdb::Env& base, std::shared_ptr<WriteFailures> failures);

}  // namespace varve

// SPDX-License-Identifier: Apache-2.0
//
// Lets flushes that RocksDB has scheduled begin only when they would not be lost.
//
// RocksDB 7.8 loses a flush that begins after a write has failed and before Resume() is at work:
// the request stays in its queue, but is not counted any more, and Resume() waits for good for a
// flush that nobody begins. A write that schedules a flush and then finds the disk full does just
// that. Hence:
//   1. A failed write is said to RocksDB once every flush that was let through has begun.
//   2. Flushes that are to begin after that are kept until Resume() is at work.
#pragma once

#include <rocksdb/env.h>
#include <rocksdb/status.h>

#include <cstddef>
#include <functional>
#include <memory>
#include <vector>

#include "model/mutex.h"

namespace varve {

// Thread-safe.
class FlushGate : public std::enable_shared_from_this<FlushGate> {
 public:
  // What RocksDB has an environment schedule. `cancel` may be null.
  struct Job {
    void (*run)(void*) = nullptr;
    void* argument = nullptr;
    void* tag = nullptr;
    void (*cancel)(void*) = nullptr;
  };

  // Has `env` run what is let through; it outlives the gate. Owned by shared pointers.
  explicit FlushGate(rocksdb::Env& env) : env_(env) {}
  FlushGate(const FlushGate&) = delete;
  FlushGate& operator=(const FlushGate&) = delete;

  // As Env::Schedule() and Env::UnSchedule(); the latter only when the database closes.
  void Schedule(const Job& job) ABSL_LOCKS_EXCLUDED(mutex_);
  int UnSchedule(void* tag) ABSL_LOCKS_EXCLUDED(mutex_);

  // The calling thread uses a file: a flush that runs on it has begun.
  static void NoteFileUse();
  // Whether a flush runs on the calling thread.
  static bool IsFlushing();
  // A write failed that RocksDB will refuse all others for, and does not know of yet.
  void Stop() ABSL_LOCKS_EXCLUDED(mutex_);

  // Calls `resume`, RocksDB's Resume(), from two threads if need be: that one of them is told Busy
  // says that the other one is at work.
  rocksdb::Status Resume(const std::function<rocksdb::Status()>& resume)
      ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  struct Scheduled {
    std::shared_ptr<FlushGate> gate;
    Job job;
  };
  static void RunScheduled(void* scheduled);
  static void CancelScheduled(void* scheduled);

  void Submit(const Job& job);
  void Run(const Job& job) ABSL_LOCKS_EXCLUDED(mutex_);
  void Ended() ABSL_LOCKS_EXCLUDED(mutex_);
  void LetThrough() ABSL_LOCKS_EXCLUDED(mutex_);
  void Begun() ABSL_LOCKS_EXCLUDED(mutex_);

  rocksdb::Env& env_;

  Mutex mutex_;
  CondVar changed_;
  bool closing_ ABSL_GUARDED_BY(mutex_) = false;
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
  size_t scheduled_ ABSL_GUARDED_BY(mutex_) = 0;  // And not ended.
  size_t starting_ ABSL_GUARDED_BY(mutex_) = 0;   // Let through, not known to have begun.
  std::vector<Job> kept_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace varve

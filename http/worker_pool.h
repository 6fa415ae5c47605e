// SPDX-License-Identifier: Apache-2.0
//
// Threads that run jobs in order of arrival; made when all others are busy.
#pragma once

#include <deque>
#include <functional>
#include <thread>
#include <vector>

#include "model/mutex.h"

namespace varve {

// Thread-safe.
class WorkerPool {
 public:
  explicit WorkerPool(size_t threads_max) : threads_max_(threads_max) {}
  // REQUIRES: Stop() was called.
  ~WorkerPool();
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  // Runs `job` on a thread of the pool as soon as one is free. Ignored after Stop().
  void Run(std::function<void()> job) ABSL_LOCKS_EXCLUDED(mutex_);

  // The same if a thread is free now. False, and nothing is done, if none is, or after Stop().
  bool RunIfFree(std::function<void()> job) ABSL_LOCKS_EXCLUDED(mutex_);

  // Runs what was given and ends the threads. Call from no job.
  void Stop() ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  // False after Stop(), or if `only_if_free` and no thread is.
  bool Add(std::function<void()> job, bool only_if_free) ABSL_LOCKS_EXCLUDED(mutex_);
  void Work() ABSL_LOCKS_EXCLUDED(mutex_);

  const size_t threads_max_;

  Mutex mutex_;
  CondVar wake_;
  std::deque<std::function<void()>> jobs_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::thread> threads_ ABSL_GUARDED_BY(mutex_);
  size_t idle_ ABSL_GUARDED_BY(mutex_) = 0;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace varve

// SPDX-License-Identifier: Apache-2.0
//
// A few threads that run jobs in the order of their submission: parsing, appending and relabelling
// happen here, away from the event loop.
#pragma once

#include <absl/base/thread_annotations.h>
#include <absl/functional/any_invocable.h>

#include <cstdint>
#include <deque>
#include <thread>
#include <vector>

#include "model/mutex.h"

namespace varve {

// Thread-safe.
class ScrapeWorkers {
 public:
  using Job = absl::AnyInvocable<void()>;

  // REQUIRES: threads > 0.
  explicit ScrapeWorkers(uint32_t threads);
  ~ScrapeWorkers() { Stop(); }
  ScrapeWorkers(const ScrapeWorkers&) = delete;
  ScrapeWorkers& operator=(const ScrapeWorkers&) = delete;

  // Returns false, having dropped the job, once the pool is stopping.
  bool Submit(Job job) ABSL_LOCKS_EXCLUDED(mutex_);

  // Finishes the jobs that run, drops those that wait, ends the threads. Idempotent. REQUIRES: not
  // called from a job.
  void Stop() ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  void Run() ABSL_LOCKS_EXCLUDED(mutex_);

  Mutex mutex_;
  CondVar wake_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::deque<Job> jobs_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::thread> threads_;  // Constant but for Stop().
};

}  // namespace varve

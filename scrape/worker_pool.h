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

  // Quick jobs take a millisecond or two at most, and waking a thread costs a part of that: up to
  // kQuickBacklog of them wait for a thread that is awake.
  enum class Length { kQuick, kUnknown };
  static constexpr size_t kQuickBacklog = 1;

  // REQUIRES: threads > 0.
  explicit ScrapeWorkers(uint32_t threads);
  ~ScrapeWorkers() { Stop(); }
  ScrapeWorkers(const ScrapeWorkers&) = delete;
  ScrapeWorkers& operator=(const ScrapeWorkers&) = delete;

  // Returns false, having dropped the job, once the pool is stopping.
  bool Submit(Job job, Length length = Length::kUnknown) ABSL_LOCKS_EXCLUDED(mutex_);

  // Finishes the jobs that run, drops those that wait, ends the threads. Idempotent. REQUIRES: not
  // called from a job.
  void Stop() ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  struct Queued {
    Job job;
    Length length;
  };

  void Run() ABSL_LOCKS_EXCLUDED(mutex_);
  // Whether a thread sleeps that the queue needs; it then counts as ready.
  bool TakeSleeper() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  Mutex mutex_;
  CondVar wake_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::deque<Queued> jobs_ ABSL_GUARDED_BY(mutex_);
  // Threads that take the next job soon: neither asleep nor in a job of unknown length.
  size_t ready_ ABSL_GUARDED_BY(mutex_) = 0;
  size_t sleeping_ ABSL_GUARDED_BY(mutex_) = 0;
  size_t wakeups_ ABSL_GUARDED_BY(mutex_) = 0;  // Threads that were told to wake and have not yet.
  std::vector<std::thread> threads_;            // Constant but for Stop().
};

}  // namespace varve

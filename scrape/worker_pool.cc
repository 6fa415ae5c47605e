// SPDX-License-Identifier: Apache-2.0
//
// One queue for all threads: jobs are of some hundred microseconds, so its lock is not contended.
#include "scrape/worker_pool.h"

#include <utility>

namespace varve {

ScrapeWorkers::ScrapeWorkers(uint32_t threads) {
  {
    MutexLock lock(mutex_);
    ready_ = threads;
  }
  for (uint32_t i = 0; i < threads; ++i) threads_.emplace_back([this] { Run(); });
}

bool ScrapeWorkers::TakeSleeper() {
  if (sleeping_ == 0 || jobs_.size() <= kQuickBacklog * ready_) return false;
  --sleeping_;
  ++ready_;
  ++wakeups_;
  return true;
}

bool ScrapeWorkers::Submit(Job job, Length length) {
  bool wake = false;
  {
    MutexLock lock(mutex_);
    if (stopping_) return false;
    jobs_.push_back({std::move(job), length});
    wake = TakeSleeper();
  }
  if (wake) wake_.NotifyOne();
  return true;
}

void ScrapeWorkers::Stop() {
  std::deque<Queued> dropped;
  {
    MutexLock lock(mutex_);
    stopping_ = true;
    dropped.swap(jobs_);
  }
  wake_.NotifyAll();
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
}

void ScrapeWorkers::Run() {
  for (;;) {
    Queued next;
    bool wake = false;
    {
      MutexLock lock(mutex_);
      while (!stopping_ && jobs_.empty()) {
        --ready_;
        ++sleeping_;
        while (!stopping_ && wakeups_ == 0) wake_.Wait(mutex_);
        if (!stopping_) --wakeups_;
      }
      if (stopping_) return;
      next = std::move(jobs_.front());
      jobs_.pop_front();
      if (next.length == Length::kUnknown) {
        --ready_;
        wake = TakeSleeper();  // For what would have waited for this thread.
      }
    }
    if (wake) wake_.NotifyOne();
    next.job();
    if (next.length == Length::kQuick) continue;
    MutexLock lock(mutex_);
    ++ready_;
  }
}

}  // namespace varve

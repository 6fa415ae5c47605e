// SPDX-License-Identifier: Apache-2.0
//
// One queue for all threads: jobs are of some hundred microseconds, so its lock is not contended.
#include "scrape/worker_pool.h"

#include <utility>

namespace varve {

ScrapeWorkers::ScrapeWorkers(uint32_t threads) {
  for (uint32_t i = 0; i < threads; ++i) threads_.emplace_back([this] { Run(); });
}

bool ScrapeWorkers::Submit(Job job) {
  {
    MutexLock lock(mutex_);
    if (stopping_) return false;
    jobs_.push_back(std::move(job));
  }
  wake_.NotifyOne();
  return true;
}

void ScrapeWorkers::Stop() {
  std::deque<Job> dropped;
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
    Job job;
    {
      MutexLock lock(mutex_);
      while (!stopping_ && jobs_.empty()) wake_.Wait(mutex_);
      if (stopping_) return;
      job = std::move(jobs_.front());
      jobs_.pop_front();
    }
    job();
  }
}

}  // namespace varve

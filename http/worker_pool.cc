// SPDX-License-Identifier: Apache-2.0
//
// A job never waits for another one while a thread may still be made.
#include "http/worker_pool.h"

#include <spdlog/spdlog.h>

#include <system_error>

#include "model/check.h"
#include "model/log_line.h"

namespace varve {

WorkerPool::~WorkerPool() {
  MutexLock lock(mutex_);
  INVARIANT(threads_.empty());
}

void WorkerPool::Run(std::function<void()> job) { Add(std::move(job), /*only_if_free=*/false); }

bool WorkerPool::RunIfFree(std::function<void()> job) {
  return Add(std::move(job), /*only_if_free=*/true);
}

bool WorkerPool::Add(std::function<void()> job, bool only_if_free) {
  MutexLock lock(mutex_);
  // A thread that has been woken for a job counts as idle until it runs.
  if (stopping_ || (only_if_free && idle_ <= jobs_.size())) return false;
  jobs_.push_back(std::move(job));
  if (idle_ < jobs_.size() && threads_.size() < threads_max_) {
    try {
      threads_.emplace_back([this] { Work(); });
    } catch (const std::system_error& error) {
      // The job waits for a thread that exists; without any, for the next Run().
      spdlog::warn(LogLine("Cannot start a worker thread",
                           {{"threads", std::to_string(threads_.size())}, {"err", error.what()}}));
    }
  }
  wake_.NotifyOne();
  return true;
}

void WorkerPool::Work() {
  mutex_.Lock();
  while (true) {
    while (jobs_.empty() && !stopping_) {
      ++idle_;
      wake_.Wait(mutex_);
      --idle_;
    }
    if (jobs_.empty()) break;
    std::function<void()> job = std::move(jobs_.front());
    jobs_.pop_front();
    mutex_.Unlock();
    job();
    job = nullptr;
    mutex_.Lock();
  }
  mutex_.Unlock();
}

void WorkerPool::Stop() {
  std::vector<std::thread> threads;
  {
    MutexLock lock(mutex_);
    stopping_ = true;
    threads.swap(threads_);
  }
  wake_.NotifyAll();
  for (std::thread& thread : threads) thread.join();
}

}  // namespace varve

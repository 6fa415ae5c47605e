// SPDX-License-Identifier: Apache-2.0
//
// Keeping flushes.
#include "tsdb/flush_gate.h"

#include <chrono>
#include <memory>
#include <thread>
#include <utility>

namespace varve {

namespace {

// A flush that was let through begins once it has RocksDB's lock. Should the one who waits for it
// hold that lock, it waits in vain for no longer than this.
constexpr std::chrono::milliseconds kBeginTimeout{500};
// As long as neither of two attempts ends, flushes are let through this often: losing one is better
// than waiting for it.
constexpr std::chrono::seconds kAttemptTimeout{2};

struct RunningFlush {
  FlushGate* starting = nullptr;  // Null once it has begun.
  bool running = false;
};
thread_local RunningFlush this_thread;

}  // namespace

void FlushGate::Submit(const Job& job) {
  env_.Schedule(RunScheduled, new Scheduled{.gate = shared_from_this(), .job = job},
                rocksdb::Env::Priority::HIGH, job.tag, CancelScheduled);
}

void FlushGate::RunScheduled(void* scheduled) {
  const std::unique_ptr<const Scheduled> one(static_cast<Scheduled*>(scheduled));
  one->gate->Run(one->job);
}

void FlushGate::CancelScheduled(void* scheduled) {
  const std::unique_ptr<const Scheduled> one(static_cast<Scheduled*>(scheduled));
  one->gate->Ended();
  if (one->job.cancel != nullptr) one->job.cancel(one->job.argument);
}

void FlushGate::Schedule(const Job& job) {
  {
    MutexLock lock(mutex_);
    ++scheduled_;
  }
  Submit(job);
}

int FlushGate::UnSchedule(void* tag) {
  std::vector<Job> kept;
  {
    MutexLock lock(mutex_);
    closing_ = true;
    kept.swap(kept_);
    scheduled_ -= kept.size();
  }
  for (const Job& job : kept) {
    if (job.cancel != nullptr) job.cancel(job.argument);
  }
  return static_cast<int>(kept.size()) + env_.UnSchedule(tag, rocksdb::Env::Priority::HIGH);
}

void FlushGate::Run(const Job& job) {
  {
    MutexLock lock(mutex_);
    if (stopped_ && !closing_) {
      kept_.push_back(job);
      return;
    }
    ++starting_;
  }
  this_thread = {.starting = this, .running = true};
  job.run(job.argument);
  if (this_thread.starting != nullptr) Begun();
  this_thread = {};
  Ended();
}

void FlushGate::Ended() {
  MutexLock lock(mutex_);
  --scheduled_;
}

void FlushGate::NoteFileUse() {
  if (FlushGate* gate = std::exchange(this_thread.starting, nullptr)) gate->Begun();
}

bool FlushGate::IsFlushing() { return this_thread.running; }

void FlushGate::Begun() {
  MutexLock lock(mutex_);
  --starting_;
  changed_.NotifyAll();
}

void FlushGate::Stop() {
  NoteFileUse();
  const auto deadline = std::chrono::steady_clock::now() + kBeginTimeout;
  MutexLock lock(mutex_);
  stopped_ = true;
  while (starting_ > 0) {
    const auto left = deadline - std::chrono::steady_clock::now();
    if (left <= std::chrono::nanoseconds(0)) return;
    changed_.WaitFor(mutex_, left);
  }
}

void FlushGate::LetThrough() {
  std::vector<Job> jobs;
  {
    MutexLock lock(mutex_);
    stopped_ = false;
    jobs.swap(kept_);
  }
  for (const Job& job : jobs) Submit(job);
}

rocksdb::Status FlushGate::Resume(const std::function<rocksdb::Status()>& resume) {
  bool none = false;
  {
    MutexLock lock(mutex_);
    none = scheduled_ == 0;
    stopped_ = !none;
  }
  rocksdb::Status status = rocksdb::Status::Busy();  // With whatever is at work of its own.
  if (none) {
    status = resume();  // A database that refuses writes schedules none before it is at work.
  } else {
    // Whoever is at work waits for what is scheduled, so that it cannot end before the other asks.
    Mutex mutex;
    CondVar ended;
    int attempts = 2;
    const auto attempt = [&] {
      rocksdb::Status result = resume();
      if (result.IsBusy()) LetThrough();
      MutexLock lock(mutex);
      if (!result.IsBusy()) status = std::move(result);
      --attempts;
      ended.NotifyAll();
      while (attempts > 0) {
        if (!ended.WaitFor(mutex, kAttemptTimeout)) LetThrough();
      }
    };
    std::thread second(attempt);
    attempt();
    second.join();
  }
  if (status.ok()) {
    LetThrough();
  } else {
    MutexLock lock(mutex_);
    stopped_ = true;
  }
  return status;
}

}  // namespace varve

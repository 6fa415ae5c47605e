// SPDX-License-Identifier: Apache-2.0
//
// Pieces are claimed with one atomic counter a loop and counted with another when they are done;
// the mutex only guards who is inside. A worker that has just done the last piece may look at its
// loop after the starter went on: it keeps the loop, but not what the pieces work on.
#include "promql/workers.h"

#include <algorithm>
#include <utility>

#include "model/check.h"

namespace varve::promql {
namespace {

// For a moment, in which a processor does nothing but for others.
void Pause() {
#ifdef __x86_64__
  __builtin_ia32_pause();
#endif
}

}  // namespace

Workers::~Workers() {
  std::vector<std::thread> threads;
  {
    MutexLock lock(mutex_);
    INVARIANT(loops_.empty());
    stopping_ = true;
    threads.swap(threads_);
    Wake(sleepers_.size());
  }
  for (std::thread& thread : threads) thread.join();
}

// Makes the next call; false if none is left.
bool Workers::Loop::RunPiece() {
  // Looked at first, so that idle hands do not count `next_` up.
  if (next_.load(std::memory_order_relaxed) >= count_) return false;
  const size_t piece = next_.fetch_add(1, std::memory_order_relaxed);
  if (piece >= count_) return false;
  body_(piece);
  done_.fetch_add(1, std::memory_order_release);
  return true;
}

Workers::LoopPtr Workers::Start(size_t count, std::function<void(size_t)> body) {
  auto loop = std::make_shared<Loop>();
  loop->body_ = std::move(body);
  loop->count_ = count;
  if (threads_max_ == 0) return loop;
  MutexLock lock(mutex_);
  while (threads_.size() < threads_max_) threads_.emplace_back([this] { Work(); });
  loops_.push_back(loop);
  Wake(count);
  return loop;
}

void Workers::Finish(Loop& loop, Loop* meanwhile) {
  while (loop.RunPiece()) {
  }
  while (!loop.all_done() && meanwhile != nullptr && meanwhile->RunPiece()) {
  }
  // What others are at is mostly done sooner than a thread falls asleep and wakes.
  constexpr int kLooks = 400;
  for (int i = 0; i < kLooks && !loop.all_done(); ++i) Pause();
  MutexLock lock(mutex_);
  Remove(loop);
  loop.awaited_ = true;
  while (!loop.all_done()) left_.Wait(mutex_);
}

void Workers::Cancel(Loop& loop) {
  loop.next_ = loop.count_;
  MutexLock lock(mutex_);
  Remove(loop);
  loop.awaited_ = true;
  while (loop.running_ > 0) left_.Wait(mutex_);
}

void Workers::Remove(const Loop& loop) {
  std::erase_if(loops_, [&](const LoopPtr& other) { return other.get() == &loop; });
}

void Workers::Wake(size_t count) {
  for (; count > 0 && !sleepers_.empty(); --count) {
    Sleeper& sleeper = *sleepers_.back();
    sleepers_.pop_back();
    sleeper.asleep = false;
    sleeper.placement.AwayFromCaller();
    sleeper.wake.NotifyOne();
  }
}

void Workers::Sleep(Sleeper& self) {
  self.asleep = true;
  sleepers_.push_back(&self);
  while (self.asleep) self.wake.Wait(mutex_);
  self.placement.Anywhere();
}

void Workers::Work() {
  Sleeper self;
  MutexLock lock(mutex_);
  while (!stopping_) {
    const auto found = std::find_if(loops_.begin(), loops_.end(), [](const LoopPtr& loop) {
      return loop->next_.load(std::memory_order_relaxed) < loop->count_;
    });
    if (found == loops_.end()) {
      Sleep(self);
      continue;
    }
    const LoopPtr loop = *found;
    ++loop->running_;
    mutex_.Unlock();
    while (loop->RunPiece()) {
    }
    mutex_.Lock();
    --loop->running_;
    if (loop->awaited_) left_.NotifyAll();
  }
}

}  // namespace varve::promql

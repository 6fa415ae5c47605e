// SPDX-License-Identifier: Apache-2.0
//
// Pieces are claimed with one atomic counter a loop; the mutex only guards who is inside.
#include "promql/workers.h"

#include <algorithm>
#include <utility>

#include "model/check.h"

namespace varve::promql {

Workers::~Workers() {
  std::vector<std::thread> threads;
  {
    MutexLock lock(mutex_);
    INVARIANT(loops_.empty());
    stopping_ = true;
    threads.swap(threads_);
    work_.NotifyAll();
  }
  for (std::thread& thread : threads) thread.join();
}

std::unique_ptr<Workers::Loop> Workers::Start(size_t count, std::function<void(size_t)> body) {
  auto loop = std::make_unique<Loop>();
  loop->body_ = std::move(body);
  loop->count_ = count;
  if (threads_max_ == 0) return loop;
  MutexLock lock(mutex_);
  while (threads_.size() < threads_max_) threads_.emplace_back([this] { Work(); });
  loops_.push_back(loop.get());
  work_.NotifyAll();
  return loop;
}

void Workers::RunPieces(Loop& loop) {
  for (size_t i = loop.next_++; i < loop.count_; i = loop.next_++) loop.body_(i);
}

void Workers::Finish(Loop& loop) {
  RunPieces(loop);
  Leave(loop);
}

void Workers::Cancel(Loop& loop) {
  loop.next_ = loop.count_;
  Leave(loop);
}

void Workers::Leave(Loop& loop) {
  MutexLock lock(mutex_);
  loops_.erase(std::remove(loops_.begin(), loops_.end(), &loop), loops_.end());
  while (loop.running_ > 0) left_.Wait(mutex_);
}

void Workers::Work() {
  MutexLock lock(mutex_);
  while (!stopping_) {
    const auto found = std::find_if(loops_.begin(), loops_.end(),
                                    [](const Loop* loop) { return loop->next_ < loop->count_; });
    if (found == loops_.end()) {
      work_.Wait(mutex_);
      continue;
    }
    Loop& loop = **found;
    ++loop.running_;
    mutex_.Unlock();
    RunPieces(loop);
    mutex_.Lock();
    --loop.running_;
    left_.NotifyAll();
  }
}

}  // namespace varve::promql

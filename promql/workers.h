// SPDX-License-Identifier: Apache-2.0
//
// Threads that help queries: they take part in loops over independent pieces of work. A loop never
// depends on them: whoever wants its result does what is left itself.
#pragma once

#include <atomic>
#include <cstddef>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "model/mutex.h"
#include "promql/placement.h"

namespace varve::promql {

// Thread-safe.
class Workers {
 public:
  // Of one loop. The starter keeps it and ends it with Finish() or Cancel().
  class Loop {
   private:
    friend class Workers;
    bool RunPiece();
    bool all_done() const { return done_.load(std::memory_order_acquire) == count_; }

    std::function<void(size_t)> body_;  // Constant after construction.
    size_t count_ = 0;                  // Likewise.
    std::atomic<size_t> next_{0};
    std::atomic<size_t> done_{0};  // Calls that have returned.
    // Guarded by Workers::mutex_:
    size_t running_ = 0;    // Workers that may be inside `body_`.
    bool awaited_ = false;  // Somebody sleeps until a worker leaves.
  };
  using LoopPtr = std::shared_ptr<Loop>;

  // `threads` may be 0. They are started when the first loop is.
  explicit Workers(size_t threads) : threads_max_(threads) {}
  // REQUIRES: every loop was ended.
  ~Workers();
  Workers(const Workers&) = delete;
  Workers& operator=(const Workers&) = delete;

  size_t threads() const { return threads_max_; }

  // Begins calling body(i) once for each i < count, in no order, several at a time.
  LoopPtr Start(size_t count, std::function<void(size_t)> body) ABSL_LOCKS_EXCLUDED(mutex_);
  // Takes part until all calls have returned. While others are still at theirs it takes part in
  // `meanwhile`, unless that is null.
  void Finish(Loop& loop, Loop* meanwhile = nullptr) ABSL_LOCKS_EXCLUDED(mutex_);
  // Makes no new calls and waits for those that run.
  void Cancel(Loop& loop) ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  // A thread that waits for a loop. Guarded by mutex_.
  struct Sleeper {
    CondVar wake;
    bool asleep = true;
    Placement placement;
  };

  void Work() ABSL_LOCKS_EXCLUDED(mutex_);
  void Sleep(Sleeper& self) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // At most `count`.
  void Wake(size_t count) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Remove(const Loop& loop) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const size_t threads_max_;

  Mutex mutex_;
  CondVar left_;                                            // A worker left a loop that is awaited.
  std::vector<LoopPtr> loops_ ABSL_GUARDED_BY(mutex_);      // The oldest first.
  std::vector<Sleeper*> sleepers_ ABSL_GUARDED_BY(mutex_);  // Who fell asleep last comes last.
  std::vector<std::thread> threads_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace varve::promql

// SPDX-License-Identifier: Apache-2.0
//
// The system's clock and the manual one.

#include "model/clock.h"

#include <algorithm>
#include <chrono>

#include "model/check.h"

namespace varve {
namespace {

class SystemClock : public Clock {
 public:
  TimestampMs Now() const override {
    return std::chrono::duration_cast<std::chrono::milliseconds>(
               std::chrono::system_clock::now().time_since_epoch())
        .count();
  }

  int64_t MonotonicNanos() const override {
    return std::chrono::duration_cast<std::chrono::nanoseconds>(
               std::chrono::steady_clock::now().time_since_epoch())
        .count();
  }

  void WaitFor(CondVar& condition, Mutex& mutex, std::chrono::nanoseconds timeout) override
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) {
    // Far deadlines overflow the clock's range; waking once an hour costs nothing.
    condition.WaitFor(mutex, std::min<std::chrono::nanoseconds>(timeout, std::chrono::hours(1)));
  }
};

}  // namespace

Clock& RealClock() {
  static SystemClock clock;
  return clock;
}

TimestampMs ManualClock::Now() const {
  MutexLock lock(mutex_);
  return now_;
}

int64_t ManualClock::MonotonicNanos() const {
  MutexLock lock(mutex_);
  return monotonic_nanos_;
}

void ManualClock::WaitFor(CondVar& condition, Mutex& mutex, std::chrono::nanoseconds timeout) {
  condition.WaitFor(mutex,
                    std::min<std::chrono::nanoseconds>(timeout, std::chrono::milliseconds(10)));
}

void ManualClock::Advance(DurationMs by) {
  INVARIANT(by >= 0);
  MutexLock lock(mutex_);
  now_ += by;
  monotonic_nanos_ += by * kNanosPerMs;
}

void ManualClock::Set(TimestampMs now) {
  MutexLock lock(mutex_);
  now_ = now;
}

}  // namespace varve

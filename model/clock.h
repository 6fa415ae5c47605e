// SPDX-License-Identifier: Apache-2.0
//
// Time as a dependency: wall-clock time for timestamps, monotonic time for durations, and waits
// that a test can end by moving the clock. Nothing in Varve reads the system's clock elsewhere.
#pragma once

#include <absl/base/thread_annotations.h>

#include <chrono>
#include <cstdint>

#include "model/mutex.h"
#include "model/time.h"

namespace varve {

inline constexpr int64_t kNanosPerMs = 1'000'000;
inline constexpr int64_t kNanosPerSecond = 1'000'000'000;

// Thread-safe.
class Clock {
 public:
  virtual ~Clock() = default;

  // Milliseconds since the Unix epoch. May jump in either direction.
  virtual TimestampMs Now() const = 0;

  // Nanoseconds since an arbitrary start; never goes back.
  virtual int64_t MonotonicNanos() const = 0;

  // Waits on `condition` (see CondVar::Wait) for at most `timeout` of this clock's time. May wake
  // early; callers re-check their condition and the time.
  virtual void WaitFor(CondVar& condition, Mutex& mutex, std::chrono::nanoseconds timeout)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) = 0;
};

// The system's clock; lives for ever.
Clock& RealClock();

// A clock that moves only when told to.
class ManualClock : public Clock {
 public:
  explicit ManualClock(TimestampMs now) : now_(now) {}

  TimestampMs Now() const override ABSL_LOCKS_EXCLUDED(mutex_);
  int64_t MonotonicNanos() const override ABSL_LOCKS_EXCLUDED(mutex_);
  // Returns after at most 10 real milliseconds, so that a waiter notices Advance() soon.
  void WaitFor(CondVar& condition, Mutex& mutex, std::chrono::nanoseconds timeout) override
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex);

  // Moves wall and monotonic time on together. REQUIRES: by >= 0.
  void Advance(DurationMs by) ABSL_LOCKS_EXCLUDED(mutex_);
  // Sets wall-clock time only, as a time step of the system would.
  void Set(TimestampMs now) ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  mutable Mutex mutex_;
  TimestampMs now_ ABSL_GUARDED_BY(mutex_);
  int64_t monotonic_nanos_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace varve

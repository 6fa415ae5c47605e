// SPDX-License-Identifier: Apache-2.0
//
// The time that retention goes by: the wall clock's, but a jump ahead counts only once it has
// lasted, so that a clock that is wrong for a while deletes nothing.
#pragma once

#include <cstdint>

#include "model/time.h"

namespace varve {

// Not thread-safe.
class RetentionClock {
 public:
  // A larger difference between wall clock and elapsed time is a jump; it counts after it lasted.
  static constexpr DurationMs kJump = kHour;
  static constexpr DurationMs kLasts = kHour;

  // `newest` is the time of the newest stored sample, kMinTimestamp if there is none: a clock that
  // is ahead of it by a jump when the storage is opened has still to be believed.
  RetentionClock(TimestampMs newest, TimestampMs wall, int64_t monotonic_ms)
      : believed_(newest == kMinTimestamp || newest > wall ? wall : newest), at_ms_(monotonic_ms) {}

  // The time that it surely is. Monotonic time never goes back.
  TimestampMs Now(TimestampMs wall, int64_t monotonic_ms) {
    const TimestampMs expected = believed_ + (monotonic_ms - at_ms_);
    const bool jumped = wall > expected + kJump;
    if (jumped && jump_since_ms_ < 0) jump_since_ms_ = monotonic_ms;
    if (jumped && monotonic_ms - jump_since_ms_ < kLasts) return expected;
    believed_ = wall;
    at_ms_ = monotonic_ms;
    jump_since_ms_ = -1;
    return wall;
  }

 private:
  TimestampMs believed_;
  int64_t at_ms_;  // When that was.
  int64_t jump_since_ms_ = -1;
};

}  // namespace varve

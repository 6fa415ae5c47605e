// SPDX-License-Identifier: Apache-2.0
//
// The time that retention goes by: the wall clock's, but a jump ahead counts only once it has
// lasted, so that a clock that is wrong for a while deletes nothing. That is stored, so that it
// holds over restarts.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "model/time.h"

namespace varve {

// Not thread-safe.
class RetentionClock {
 public:
  // A larger difference between wall clock and elapsed time is a jump; it counts after it lasted.
  static constexpr DurationMs kJump = kHour;
  static constexpr DurationMs kLasts = kHour;

  // What the next run must know.
  struct State {
    TimestampMs believed = 0;  // The time that it surely was.
    // How long the wall clock has been ahead of it by a jump, if it is.
    std::optional<DurationMs> jumped_for;

    friend bool operator==(const State&, const State&) = default;
  };
  // zigzag believed, varint jumped_for + 1, or 0.
  std::string Encode(int64_t monotonic_ms) const;
  // Nothing if these are not such bytes.
  static std::optional<State> Decode(std::string_view bytes);
  // Of a storage without a state: its newest sample (kMinTimestamp: there is none) says what was
  // believed.
  static State StateOf(TimestampMs newest, TimestampMs wall) {
    return {.believed = newest == kMinTimestamp || newest > wall ? wall : newest};
  }

  RetentionClock(const State& state, int64_t monotonic_ms)
      : believed_(state.believed), at_ms_(monotonic_ms) {
    if (state.jumped_for.has_value()) jump_since_ms_ = monotonic_ms - *state.jumped_for;
  }

  // The time that it surely is. Monotonic time never goes back.
  TimestampMs Now(TimestampMs wall, int64_t monotonic_ms);

 private:
  TimestampMs believed_;
  int64_t at_ms_;                         // When that was.
  std::optional<int64_t> jump_since_ms_;  // If the wall clock was ahead by a jump then.
};

}  // namespace varve

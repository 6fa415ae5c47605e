// SPDX-License-Identifier: Apache-2.0
//
// Jumps, and what is stored of them.
#include "tsdb/retention_clock.h"

#include <algorithm>

#include "tsdb/coding.h"
#include "tsdb/format.h"

namespace varve {

TimestampMs RetentionClock::Now(TimestampMs wall, int64_t monotonic_ms) {
  const TimestampMs expected = believed_ + (monotonic_ms - at_ms_);
  if (wall > expected + kJump) {
    if (!jump_since_ms_.has_value()) jump_since_ms_ = monotonic_ms;
    if (monotonic_ms - *jump_since_ms_ < kLasts) return expected;
  }
  believed_ = wall;
  at_ms_ = monotonic_ms;
  jump_since_ms_.reset();
  return wall;
}

std::string RetentionClock::Encode(int64_t monotonic_ms) const {
  std::string out;
  PutZigZag(out, believed_ + (monotonic_ms - at_ms_));
  PutVarint(out, jump_since_ms_.has_value()
                     ? static_cast<uint64_t>(monotonic_ms - *jump_since_ms_) + 1
                     : 0);
  return out;
}

std::optional<RetentionClock::State> RetentionClock::Decode(std::string_view bytes) {
  ByteReader reader(bytes);
  const TimestampMs believed = reader.SignedVarint();
  const uint64_t jumped_for = reader.Varint();
  const bool in_range = believed <= kStoredTimeMax && believed >= -kStoredTimeMax;
  if (reader.failed() || !reader.done() || !in_range) return std::nullopt;
  State state{.believed = believed};
  if (jumped_for > 0) {
    state.jumped_for = static_cast<DurationMs>(std::min<uint64_t>(jumped_for - 1, kLasts));
  }
  return state;
}

}  // namespace varve

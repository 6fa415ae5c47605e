// SPDX-License-Identifier: Apache-2.0
//
// Walking over the samples of a series step by step.
#pragma once

#include <absl/types/span.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "model/time.h"

namespace varve::promql {

// How many samples are not newer than a time, for times that rise. Samples at regular distances
// are not looked at one by one: each step is expected to move as far as the one before.
class StepCursor {
 public:
  // REQUIRES: `times` rises.
  explicit StepCursor(absl::Span<const TimestampMs> times) : times_(times) {}

  // REQUIRES: `time` is not before that of the previous call.
  size_t MoveTo(TimestampMs time) {
    size_t next = std::min(next_ + moved_, times_.size());
    while (next > next_ && times_[next - 1] > time) --next;
    while (next < times_.size() && times_[next] <= time) ++next;
    moved_ = next - next_;
    next_ = next;
    return next;
  }

  // The same for the times `first`, `first + step`, ... of the places of `to`, as long as each
  // moves as far as the last one did. Returns how many did.
  size_t MoveEvenly(TimestampMs first, DurationMs step, absl::Span<uint32_t> to) {
    if (next_ + moved_ == 0) return 0;
    size_t next = next_;
    size_t done = 0;
    TimestampMs time = first;
    for (; done < to.size(); ++done, time += step) {
      const size_t here = next + moved_;
      if (here >= times_.size() || times_[here - 1] > time || times_[here] <= time) break;
      to[done] = static_cast<uint32_t>(here);
      next = here;
    }
    next_ = next;
    return done;
  }

 private:
  const absl::Span<const TimestampMs> times_;
  size_t next_ = 0;
  size_t moved_ = 0;
};

}  // namespace varve::promql

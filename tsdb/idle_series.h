// SPDX-License-Identifier: Apache-2.0
//
// When a series has ended, as far as that can be told.
#pragma once

#include "model/time.h"
#include "tsdb/series_record.h"

namespace varve {

// When a series is idle: without samples since `silent_before`, or since `ended_before` if the
// newest one says that it ended.
struct IdleLimits {
  TimestampMs ended_before = kMinTimestamp;
  TimestampMs silent_before = kMinTimestamp;
  TimestampMs now = kMinTimestamp;  // What quiet series are judged by; IsQuiet().
};

bool IsIdle(const SeriesRecord& record, const IdleLimits& idle);
// Whether several samples of an open chunk are missing: unless they come late, the series has
// ended, most likely, and what is closed now is folded by the time it is idle.
bool IsQuiet(const SeriesRecord& record, TimestampMs now);

}  // namespace varve

// SPDX-License-Identifier: Apache-2.0
//
// Which series have ended.
#include "tsdb/idle_series.h"

#include <algorithm>

#include "model/sample.h"

namespace varve {

namespace {

// A series is quiet when it has missed so many samples, at the interval it had, within these
// bounds.
constexpr int64_t kQuietSamples = 4;
constexpr DurationMs kQuietMin = 10 * kMinute;
constexpr DurationMs kQuietMax = 30 * kMinute;

}  // namespace

bool IsIdle(const SeriesRecord& record, const IdleLimits& idle) {
  if (!record.has_samples) return true;
  const bool ended = record.last_is_histogram
                         ? record.histogram() != nullptr && record.histogram()->last().IsStale()
                         : IsStaleNan(record.chunk.last_value);
  return record.chunk.last_time < (ended ? idle.ended_before : idle.silent_before);
}

bool IsQuiet(const SeriesRecord& record, TimestampMs now) {
  const OpenXorChunk& chunk = record.chunk;
  DurationMs span = 0;
  uint32_t count = 0;
  if (chunk.count > 0) {
    span = chunk.last_time - chunk.first_time;
    count = chunk.count;
  } else if (record.histogram() != nullptr) {
    span = record.histogram()->last_time() - record.histogram()->first_time();
    count = record.histogram()->count();
  } else {
    return false;
  }
  const DurationMs allowed =
      count == 1 ? kQuietMax : std::clamp(kQuietSamples * span / (count - 1), kQuietMin, kQuietMax);
  return now - chunk.last_time > allowed;
}

}  // namespace varve

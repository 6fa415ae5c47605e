// SPDX-License-Identifier: Apache-2.0
//
// What readers get of the head.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "model/queryable.h"
#include "model/sample.h"
#include "model/time.h"
#include "tsdb/series_record.h"

namespace varve {

// What a reader sees of a series in memory.
struct SeriesView {
  uint64_t id = 0;
  TimestampMs last_time = 0;  // Samples after this one came later than the view.
  TimestampMs min_time = 0;   // No sample is older.
  // The newest sample in the range asked for is certainly a float and no staleness marker. False is
  // said of others too.
  bool is_present = false;
};

// A series whose newest sample is wanted, of those up to `max`.
struct NewestWanted {
  uint64_t id = 0;
  TimestampMs max = 0;
};

struct NewestSample {
  bool found = false;
  FloatSample sample;
  uint32_t decoded_bytes = 0;  // Of the open chunk; 0 if it need not be decoded.
};

// A copy of what memory holds of a series' samples.
struct OpenSamples {
  std::vector<std::shared_ptr<const ClosedChunk>> closed;  // By time.
  std::string open;  // EncodeHotChunk, empty if there is none.
  TimestampMs open_first_time = 0;
  // Chunks of late samples, and those not in one yet. Times overlap those of the others.
  std::vector<std::shared_ptr<const ClosedChunk>> late_closed;
  SeriesSamples late;
  // No late sample stored anywhere is newer.
  TimestampMs newest_late = kMinTimestamp;
};

}  // namespace varve

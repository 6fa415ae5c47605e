// SPDX-License-Identifier: Apache-2.0
//
// What the head keeps of a series, what closes and goes, and what comes in.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "model/time.h"
#include "tsdb/format.h"
#include "tsdb/histogram_chunk.h"
#include "tsdb/log_record.h"
#include "tsdb/xor_chunk.h"

namespace varve {

// What memory holds of a series beside its labels.
struct SeriesRecord {
  // Open if chunk.count > 0; last_time and last_value are the newest sample's in any case.
  OpenXorChunk chunk;
  // The open histogram chunk; with chunk.count == 0.
  std::unique_ptr<OpenHistogramChunk> histogram;
  TimestampMs min_time = kMaxTimestamp;  // Of the oldest sample, as far as known.
  uint32_t hot_epoch = 0;                // Newest hot family with a chunk of it; 0 = none.
  // Samples accepted into batches that are neither committed nor rolled back: the record stays.
  // Changed under the shard's lock only; read without it.
  std::atomic<uint32_t> pending = 0;
  uint8_t chunk_limit = 0;  // Samples at which the open chunk is cut.
  bool present = false;     // The slot has a series.
  bool logged = false;      // A log record names the series.
  bool saved = false;       // So does a row of `series`.
  bool has_samples = false;
  bool last_is_histogram = false;
  bool retired = false;  // Head::RetireAfter()
  bool quiet = false;    // Was so at the last sweep, and no sample came since; IsQuiet().

  // An addition that locks nothing, as the shard's lock is held. Returns how many there are now.
  uint32_t AddPending() { return AddToPending(1); }
  void DropPending() { AddToPending(~uint32_t{0}); }

 private:
  uint32_t AddToPending(uint32_t count) {
    const uint32_t now = pending.load(std::memory_order_relaxed) + count;
    pending.store(now, std::memory_order_relaxed);
    return now;
  }
};

// A chunk on its way from memory to a hot family.
struct ClosedChunk {
  HotKey key;
  TimestampMs last_time = 0;
  std::string value;  // EncodeHotChunk
};

// Samples accepted by an appender, and the series they go to.
struct Batch {
  LogRecord record;
  std::vector<SeriesRecord*> float_series;      // Of record.floats.
  std::vector<SeriesRecord*> histogram_series;  // Of record.histograms.
  TimestampMs late_min = kMaxTimestamp;         // As AppendWindow's.
  uint64_t shared_claims_before = 0;            // Head::shared_claims() when it was empty.
};

// Buffers of an appender, reused by the next one.
struct AppendBuffers {
  Batch batch;
  LogRecordEncoder encoder;
};

struct AppendWindow {
  TimestampMs min = kMinTimestamp;  // In-order samples before this are out of bounds.
  TimestampMs max = kMaxTimestamp;
  // Samples that are not in order are accepted from here on; kMaxTimestamp: none are.
  TimestampMs late_min = kMaxTimestamp;
  // How far before the first sample `late_min` will be, if the head is empty.
  DurationMs late_window = 0;
};

// The newest sample of a series, for the rules.
struct LastSample {
  bool exists = false;
  bool is_histogram = false;
  TimestampMs time = 0;
  double value = 0;
  const Histogram* histogram = nullptr;  // Null if not known any more.
};

}  // namespace varve

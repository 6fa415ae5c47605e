// SPDX-License-Identifier: Apache-2.0
//
// What the head keeps of a series, what closes and goes, and what comes in.
#pragma once

#include <absl/base/attributes.h>

#include <array>
#include <atomic>
#include <cstddef>
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

// Of a series, what a usual sample does not look at.
struct SeriesDetails {
  // The open histogram chunk, with chunk.count == 0 and last_is_histogram.
  std::unique_ptr<OpenHistogramChunk> histogram;
  TimestampMs min_time = kMaxTimestamp;  // Of the oldest sample, as far as known.
  uint32_t hot_epoch = 0;                // Newest hot family with a chunk of it; 0 = none.
};

// What memory holds of a series beside its labels: this, and its details. A usual sample looks at
// this only, which is one line of the processor's cache. Fields are changed under the lock of the
// series' shard.
struct alignas(64) SeriesRecord {
  // Open if chunk.count > 0; last_time and last_value are the newest sample's in any case.
  OpenXorChunk chunk;
  // Samples accepted into batches that are neither committed nor rolled back: the record stays.
  // Read without the lock.
  std::atomic<uint32_t> pending = 0;
  uint8_t chunk_limit = 0;   // Samples at which the open chunk is cut.
  bool present : 1 = false;  // The slot has a series.
  bool logged : 1 = false;   // A log record names the series.
  bool saved : 1 = false;    // So does a row of `series`.
  bool has_samples : 1 = false;
  bool last_is_histogram : 1 = false;
  bool retired : 1 = false;  // Head::RetireAfter()
  bool quiet : 1 = false;    // Was so at the last sweep, and no sample came since; IsQuiet().
  uint8_t place = 0;         // In its block.

  // An addition that locks nothing, as the shard's lock is held. Returns how many there are now.
  uint32_t AddPending() { return AddToPending(1); }
  void DropPending() { AddToPending(~uint32_t{0}); }

  // The open histogram chunk, or null.
  const OpenHistogramChunk* histogram() const {
    return last_is_histogram ? details().histogram.get() : nullptr;
  }
  SeriesDetails& details();
  const SeriesDetails& details() const { return const_cast<SeriesRecord*>(this)->details(); }

 private:
  uint32_t AddToPending(uint32_t count) {
    const uint32_t now = pending.load(std::memory_order_relaxed) + count;
    pending.store(now, std::memory_order_relaxed);
    return now;
  }
};
static_assert(sizeof(SeriesRecord) == 64);

inline constexpr uint64_t kBlockSeries = 128;
static_assert(kBlockSeries - 1 <= UINT8_MAX, "SeriesRecord::place holds it");

// The series of kBlockSeries neighbouring ids, which are made and freed together.
class SeriesBlock {
 public:
  SeriesBlock() {
    for (size_t i = 0; i < kBlockSeries; ++i) records_[i].place = static_cast<uint8_t>(i);
  }
  SeriesBlock(const SeriesBlock&) = delete;
  SeriesBlock& operator=(const SeriesBlock&) = delete;

  SeriesRecord& operator[](uint64_t i) { return records_[i]; }
  const SeriesRecord& operator[](uint64_t i) const { return records_[i]; }
  auto begin() { return records_.begin(); }
  auto end() { return records_.end(); }
  const SeriesRecord* data() const { return records_.data(); }

  // Forgets a series.
  void Clear(SeriesRecord& record) {
    details_[record.place] = {};
    const uint8_t place = record.place;
    std::destroy_at(&record);
    std::construct_at(&record)->place = place;
  }

 private:
  friend SeriesRecord;

  std::array<SeriesRecord, kBlockSeries> records_;
  std::array<SeriesDetails, kBlockSeries> details_;
};

// Records are in blocks only, which begin with them.
inline SeriesDetails& SeriesRecord::details() {
  return reinterpret_cast<SeriesBlock*>(this - place)->details_[place];
}

// To be written soon; the record is not looked at. Inlined as what sample_walk.h has.
ABSL_ATTRIBUTE_ALWAYS_INLINE inline void FetchRecord(const SeriesRecord& record) {
  __builtin_prefetch(&record, 1);
}

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

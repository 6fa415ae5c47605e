// SPDX-License-Identifier: Apache-2.0
//
// Rows of the `head` family: the checkpointed state of kHeadRowSeries consecutive series.
//
//   version     u8       3
//   sequence    varint   the last log record whose samples the row contains; replay skips the
//                        row's series up to it
//   base        zigzag   a time the others are relative to
//   count       varint   of the entries
//   bytes       varint   of the entries before compression
//   entries     zstd frame: series, ids rising:
//     id        varint   difference to the one before (the first: to the row's first id)
//     kind      u8       what lies in memory: 0 nothing, 1 XOR chunk, 2 histogram chunk, 3 XOR
//                        chunk with start times; + 8 if the last sample is a histogram,
//                        + 16 if the series has samples at all
//   with samples:
//     same      u8       fields that are not written, as they are what an entry that has them had
//                        last in this row: 1 min_time, 2 last_time, 4 hot_epoch, 8 count, 16 limit,
//                        32 first, 64 step, 128 steady (before the first: 0, as times too, and
//                        no steady)
//     min_time  zigzag   base relative
//     last_time zigzag
//     last_value f64     of a float sample
//     hot_epoch varint   newest hot family with a chunk of the series, 0 = none
//   with a chunk:
//     count     u8       samples in it
//     limit     u8       samples it is cut at
//     first     zigzag   base relative
//   XOR:
//     step      zigzag   the last one
//     start     zigzag   last start time, with start times
//     steady    zigzag   base relative, without: OpenXorChunk::steady_since
//     leading, significant  u8 each: the window
//     bits      varint   then the stream
//   histogram:
//     payload   varint length and bytes, histogram_chunk.h
//
// Versions before are still read: 2 has no `steady`, and 1 has no `bytes`, no frame and no `same`
// either.
#pragma once

#include <absl/status/statusor.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "model/time.h"
#include "tsdb/bit_stream.h"

namespace varve {

enum class OpenChunkKind : uint8_t { kNone = 0, kXor = 1, kHistogram = 2, kXorWithStarts = 3 };

struct HeadRowEntry {
  uint64_t id = 0;
  OpenChunkKind kind = OpenChunkKind::kNone;
  bool last_is_histogram = false;
  bool has_samples = false;
  TimestampMs min_time = 0;
  TimestampMs last_time = 0;
  double last_value = 0;
  uint64_t hot_epoch = 0;
  uint8_t count = 0;
  uint8_t limit = 0;
  TimestampMs first_time = 0;
  int64_t last_step = 0;
  TimestampMs last_start = 0;
  TimestampMs steady_since = kMaxTimestamp;
  XorWindow window;
  uint16_t bits = 0;
  std::string_view payload;  // A view into the row (or into the chunk, when writing).
};

// Writes a row entry by entry.
class HeadRowWriter {
 public:
  HeadRowWriter(uint64_t first_id, uint64_t sequence, TimestampMs base);
  // REQUIRES: ids rise.
  void Add(const HeadRowEntry& entry);
  bool empty() const { return count_ == 0; }
  std::string Finish() const;

 private:
  void PutChunk(const HeadRowEntry& entry, uint8_t same);

  std::string header_;
  std::string entries_;
  HeadRowEntry before_;  // Fields as the last entry that has them had them.
  TimestampMs base_;
  uint64_t count_ = 0;
};

struct HeadRow {
  uint64_t sequence = 0;
  std::vector<char> bytes;  // What payloads are views into, if the row was compressed.
  std::vector<HeadRowEntry> entries;
};
// Payloads are views into `value` or into the row's own bytes. DataLoss if it is no row.
absl::StatusOr<HeadRow> DecodeHeadRow(uint64_t first_id, std::string_view value);

}  // namespace varve

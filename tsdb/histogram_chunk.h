// SPDX-License-Identifier: Apache-2.0
//
// Histogram chunks: native histograms of one series that share a layout (schema, zero threshold,
// spans, custom bounds, integer flag), every field bit-exact.
//
//   header     flags          u8       1 integer_counts, 2 packed
//              schema         zigzag varint
//              zero_threshold f64
//              bounds         varint n, n times f64
//              positive       varint n, n times (zigzag offset, varint length)
//              negative       as positive
//   bits       per sample:
//     step     but for the first sample, as in XOR chunks
//     start    CountCode of the start timestamp - the one before (0 at first)
//     hint     `0` as before (kUnknown at first), `1` and two bits
//     stale    `1`: a bare staleness marker, nothing follows
//     sum      XOR code against the sum before (bits 0 at first)
//     counts   count, zero_count, positive and negative buckets. Packed: CountCode of the step
//              against the step before, all integers; else: XOR code against the count before
//
// A bare staleness marker is a histogram with nothing but its sum, hint and integer flag; it fits
// any layout of the same integer flag.
#pragma once

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "model/histogram.h"
#include "model/queryable.h"
#include "tsdb/bit_stream.h"
#include "tsdb/coding.h"
#include "tsdb/xor_chunk.h"

namespace varve {

// Where a chunk is cut, whatever it holds by then.
inline constexpr size_t kHistogramChunkBytesMax = 16 << 10;

// An open chunk. Not thread-safe.
class OpenHistogramChunk {
 public:
  // Starts a chunk whose layout is that of `first`, which must be appended next.
  explicit OpenHistogramChunk(const Histogram& first);

  // Whether the next sample may go into this chunk.
  bool Fits(const Histogram& histogram) const;
  // REQUIRES: Fits(histogram), or nothing was appended yet.
  void Append(TimestampMs time, const Histogram& histogram, TimestampMs start);

  // Goes on from a payload of `count` samples, the first at `first_time`. DataLoss if it is none.
  static absl::StatusOr<std::unique_ptr<OpenHistogramChunk>> Restore(std::string_view payload,
                                                                     uint32_t count,
                                                                     TimestampMs first_time);

  uint32_t count() const { return count_; }
  TimestampMs first_time() const { return first_time_; }
  TimestampMs last_time() const { return last_time_; }
  const Histogram& last() const { return last_; }
  std::string payload() const { return header_ + bits_.substr(0, BitBytes(position_)); }
  size_t MemoryBytes() const;

 private:
  OpenHistogramChunk() = default;
  void PutCounts(const Histogram& histogram, BitBuffer& out);

  std::string header_;
  std::string bits_;  // With slack behind the last bit.
  uint32_t position_ = 0;
  uint32_t count_ = 0;
  bool packed_ = false;
  TimestampMs first_time_ = 0;
  TimestampMs last_time_ = 0;
  int64_t last_step_ = 0;
  TimestampMs last_start_ = 0;
  Histogram layout_;  // Its spans and bounds; counts empty.
  Histogram last_;
  // Of the last histogram that was no bare marker: sum's bits, and per count its bits (or integer)
  // and window (or step).
  uint64_t sum_bits_ = 0;
  XorWindow sum_window_;
  std::vector<uint64_t> count_bits_;
  std::vector<XorWindow> windows_;
  std::vector<int64_t> steps_;
};

// As DecodeXorChunk, into samples.histograms.
absl::Status DecodeHistogramChunk(std::string_view payload, uint32_t count, TimestampMs first_time,
                                  TimestampMs min, TimestampMs max, SeriesSamples& samples);

// A histogram by itself, as log records and checkpoints hold it: the header's fields, the hint,
// then sum and counts as f64.
void PutHistogram(const Histogram& histogram, std::string& out);
// Returns nothing if the reader holds no histogram; its spans and counts agree otherwise.
std::optional<Histogram> ReadHistogram(ByteReader& reader);

}  // namespace varve

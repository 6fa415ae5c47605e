// SPDX-License-Identifier: Apache-2.0
//
// XOR chunks: float samples of one series as a bit stream. Times are stored as differences of
// steps, values as the bits that changed (Gorilla's scheme). Chunks with start timestamps carry
// one more number a sample.
//
//   sample 0   value      64 bits; its time is kept beside the chunk
//              start      CountCode of the start timestamp, if the chunk has them
//   sample n   step       TimeCode of (time - time before) - (the step before; 0 at first)
//              value      XOR code against the value before
//              start      CountCode of start - start before, if the chunk has them
//
// Zero bits fill the last byte.
#pragma once

#include <absl/base/attributes.h>
#include <absl/status/status.h>

#include <cstdint>
#include <optional>
#include <string_view>

#include "model/queryable.h"
#include "tsdb/bit_stream.h"

namespace varve {

// Samples a chunk holds at most.
inline constexpr uint32_t kChunkSamplesMax = 120;

// Samples of a series at most so far apart are steady.
inline constexpr DurationMs kSteadyGapMax = 2 * kMinute;

// An open chunk: appends in place, in a buffer that grows by little. Built into every series in
// memory, hence small; `last_time`, `last_value` and, but with start times, `steady_since` serve
// the head's rules too and keep their meaning when the chunk is released.
struct OpenXorChunk {
  uint8_t* data = nullptr;  // Owned; null while nothing was appended.
  TimestampMs first_time = 0;
  TimestampMs last_time = 0;
  double last_value = 0;
  int64_t last_step = 0;
  union {
    TimestampMs last_start;  // With start times.
    // Without. From this sample on none is a staleness marker, and each but the first comes at most
    // kSteadyGapMax after the one before it. kMaxTimestamp: that is not known of the last one.
    TimestampMs steady_since = kMaxTimestamp;
  };
  uint16_t bits = 0;      // Written to data.
  uint16_t capacity = 0;  // Bytes of data.
  uint8_t count = 0;
  XorWindow window;
  bool has_starts = false;

  OpenXorChunk() = default;
  OpenXorChunk(const OpenXorChunk&) = delete;
  OpenXorChunk& operator=(const OpenXorChunk&) = delete;
  ~OpenXorChunk() { Release(); }

  // REQUIRES: count < kChunkSamplesMax; has_starts if `start` is not 0; has_starts does not change
  // while count > 0. Times may be any.
  void Append(TimestampMs time, double value, TimestampMs start);
  // The stream so far; valid until the next Append.
  std::string_view payload() const { return {reinterpret_cast<const char*>(data), BitBytes(bits)}; }
  // Goes on from a stream written before, whose other fields the caller sets.
  // REQUIRES: payload.size() == BitBytes(bits) and bits <= kXorChunkBitsMax.
  void Restore(std::string_view payload, uint16_t stream_bits);
  // Forgets the stream, but for the last sample.
  void Release();

 private:
  // False, and nothing is appended, if the value's code is too long.
  ABSL_ATTRIBUTE_ALWAYS_INLINE bool AppendRegular(double value);
  void AppendShort(int64_t step, double value);
  ABSL_ATTRIBUTE_ALWAYS_INLINE void NoteSteady(TimestampMs time, double value);
  void AppendAny(TimestampMs time, int64_t step, double value, TimestampMs start);
  void Reserve(size_t bytes);
  void FreeBuffer();
};

// What a sample takes at most, alone and all in all.
inline constexpr uint32_t kXorSampleBitsMax =
    TimeCode::kBitsMax + kXorBitsMax + CountCode::kBitsMax;
inline constexpr uint32_t kXorChunkBitsMax = kChunkSamplesMax * kXorSampleBitsMax;
static_assert(kXorChunkBitsMax <= UINT16_MAX, "OpenXorChunk::bits holds it");

// Appends the samples of a chunk that lie in [min, max] to `samples`. Times in the chunk should
// rise; those that do not exceed the last time in `samples` already are skipped.
// DataLoss if the bits up to `max` are no chunk of `count` samples; `samples` is then as before.
absl::Status DecodeXorChunk(std::string_view payload, uint32_t count, TimestampMs first_time,
                            bool has_starts, TimestampMs min, TimestampMs max,
                            SeriesSamples& samples);

// The newest sample in [min, max] of a chunk without start timestamps, if it has any and is one.
std::optional<FloatSample> NewestOfXorChunk(std::string_view payload, uint32_t count,
                                            TimestampMs first_time, TimestampMs min,
                                            TimestampMs max);

}  // namespace varve

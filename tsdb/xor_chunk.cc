// SPDX-License-Identifier: Apache-2.0
//
// Writing and reading of XOR chunks.
#include "tsdb/xor_chunk.h"

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <new>

#include "model/check.h"

namespace varve {

namespace {

// Buffers of open chunks grow by about a quarter: a million of them are most of the head.
uint32_t GrownCapacity(uint32_t needed) {
  if (needed <= 32) return 32;
  const uint32_t step = needed < 128 ? 16 : needed / 64 * 16;
  return (needed + step + 15) / 16 * 16;
}

}  // namespace

void OpenXorChunk::Append(TimestampMs time, double value, TimestampMs start) {
  INVARIANT(count < kChunkSamplesMax && (start == 0 || has_starts));
  uint8_t scratch[kXorSampleBitsMax / 8 + 2 + kBitSlackBytes] = {};
  // Most samples take a few bits: they are composed aside, so that the buffer need only have room
  // for what they take.
  uint32_t position = bits % 8;
  scratch[0] = position == 0 ? 0 : data[bits / 8];
  if (count == 0) {
    PutBits(scratch, position, std::bit_cast<uint64_t>(value), 64);
    first_time = time;
    last_step = 0;
    last_start = 0;
    window = {};
  } else {
    const int64_t step = WrapSub(time, last_time);
    TimeCode::Put(scratch, position, WrapSub(step, last_step));
    PutXor(scratch, position, window, std::bit_cast<uint64_t>(last_value),
           std::bit_cast<uint64_t>(value));
    last_step = step;
  }
  if (has_starts) {
    CountCode::Put(scratch, position, WrapSub(start, last_start));
    last_start = start;
  }
  const uint32_t at = bits / 8;
  const auto size = static_cast<uint32_t>(BitBytes(position));
  if (at + size > capacity) {
    const uint32_t grown = GrownCapacity(at + size);
    void* moved = std::realloc(data, grown);
    if (moved == nullptr) throw std::bad_alloc();
    data = static_cast<uint8_t*>(moved);
    capacity = static_cast<uint16_t>(grown);
  }
  std::memcpy(data + at, scratch, size);
  bits = static_cast<uint16_t>(at * 8 + position);
  last_time = time;
  last_value = value;
  ++count;
}

void OpenXorChunk::Restore(std::string_view payload, uint16_t stream_bits) {
  INVARIANT(payload.size() == BitBytes(stream_bits) && stream_bits <= kXorChunkBitsMax);
  Release();
  const uint32_t wanted = GrownCapacity(static_cast<uint32_t>(payload.size()));
  data = static_cast<uint8_t*>(std::malloc(wanted));
  if (data == nullptr) throw std::bad_alloc();
  capacity = static_cast<uint16_t>(wanted);
  std::memcpy(data, payload.data(), payload.size());
  bits = stream_bits;
}

void OpenXorChunk::Release() {
  std::free(data);
  data = nullptr;
  bits = 0;
  capacity = 0;
  count = 0;
  has_starts = false;
}

namespace {

// A sample with the step and the value of the one before it is two zero bits. How many such samples
// `word` begins with; of what the reader peeks, 57 bits are valid.
uint32_t RepeatsAhead(uint64_t word) {
  return static_cast<uint32_t>(std::min(std::countl_zero(word), 56)) / 2;
}

// Fewer are decoded as fast one by one.
constexpr uint32_t kRepeatsMin = 4;
// Times and steps within these do not overflow over a chunk.
constexpr TimestampMs kRepeatTimeMax = TimestampMs{1} << 61;
constexpr int64_t kRepeatStepMax = int64_t{1} << 48;

// Whether `repeats` samples after `time` all lie in [min, max].
bool RepeatsLieWithin(uint32_t repeats, TimestampMs time, int64_t step, TimestampMs min,
                      TimestampMs max) {
  return step > 0 && step <= kRepeatStepMax && time >= -kRepeatTimeMax && time <= kRepeatTimeMax &&
         time + step >= min && time + repeats * step <= max;
}

}  // namespace

absl::Status DecodeXorChunk(std::string_view payload, uint32_t count, TimestampMs first_time,
                            bool has_starts, TimestampMs min, TimestampMs max,
                            SeriesSamples& samples) {
  if (count == 0 || count > kChunkSamplesMax) {
    return absl::DataLossError("XOR chunk with an impossible number of samples");
  }
  BitReader reader(payload);
  if (!samples.times.empty() && samples.times.back() >= min) {
    if (samples.times.back() == kMaxTimestamp) return absl::OkStatus();
    min = samples.times.back() + 1;
  }
  TimestampMs time = first_time;
  int64_t step = 0;
  TimestampMs start = 0;
  uint64_t bits = reader.Read(64);
  XorWindow window;
  size_t size = samples.times.size();
  const bool keep_starts = has_starts || !samples.start_times.empty();
  samples.times.resize(size + count);
  samples.values.resize(size + count);
  if (keep_starts) samples.start_times.resize(size + count);
  // Raw pointers: the vectors do not change while samples are written.
  TimestampMs* const times = samples.times.data();
  double* const values = samples.values.data();
  bool good = true;
  for (uint32_t i = 0; i < count; ++i) {
    if (i > 0 && !has_starts) {
      const uint32_t repeats = std::min(RepeatsAhead(reader.Peek()), count - i);
      if (repeats >= kRepeatsMin && RepeatsLieWithin(repeats, time, step, min, max)) {
        for (uint32_t k = 0; k < repeats; ++k) times[size + k] = time + (k + 1) * step;
        std::fill_n(values + size, repeats, std::bit_cast<double>(bits));
        size += repeats;
        time += repeats * step;
        min = time + 1;
        reader.Skip(2 * repeats);
        i += repeats - 1;
        continue;
      }
    }
    if (i > 0) {
      step = WrapAdd(step, TimeCode::Read(reader));
      time = WrapAdd(time, step);
      good &= ReadXor(reader, window, bits);
    }
    if (has_starts) start = WrapAdd(start, CountCode::Read(reader));
    if (!good) break;
    times[size] = time;
    values[size] = std::bit_cast<double>(bits);
    if (keep_starts) samples.start_times[size] = start;
    if (time >= min && time <= max) {
      ++size;
      if (time == kMaxTimestamp) break;
      min = time + 1;
    } else if (time > max) {
      break;
    }
  }
  samples.times.resize(size);
  samples.values.resize(size);
  if (keep_starts) samples.start_times.resize(size);
  if (!good || reader.overrun()) return absl::DataLossError("XOR chunk ends amid a sample");
  return absl::OkStatus();
}

}  // namespace varve

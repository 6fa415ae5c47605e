// SPDX-License-Identifier: Apache-2.0
//
// Writing and reading of XOR chunks.
#include "tsdb/xor_chunk.h"

#include <algorithm>
#include <bit>
#include <memory>
#include <utility>

#include "model/check.h"
#include "model/status_macros.h"

namespace varve {

namespace {

// Buffers of open chunks grow by about a quarter: a million of them are most of the head.
uint32_t GrownCapacity(uint32_t needed) {
  if (needed <= 32) return 32;
  const uint32_t step = needed < 128 ? 16 : needed / 64 * 16;
  return (needed + step + 15) / 16 * 16;
}

}  // namespace

// Nearly all samples: a step like the one before, and a value whose code fits a word with the last,
// not full byte of the stream in front.
inline bool OpenXorChunk::AppendRegular(double value) {
  const uint64_t changed = std::bit_cast<uint64_t>(last_value) ^ std::bit_cast<uint64_t>(value);
  const uint32_t at = bits / 8;
  const unsigned used = bits % 8;
  unsigned size = used + 2;
  uint64_t word = 0;
  if (changed != 0) {
    XorWindow next = window;
    const XorCode code = XorCodeOf(changed, next);
    size = used + 1 + code.header_bits + code.meaningful_bits;
    if (size > 64) return false;
    window = next;
    word = (code.header << code.meaningful_bits | code.meaningful) << (64 - size);
  } else if (used > 0 && size <= 8) {
    bits += 2;  // The byte is filled with zeros.
    return true;
  }
  if (used > 0) word |= uint64_t{data[at]} << 56;
  Reserve(at + BitBytes(size));
  if (at + sizeof(word) <= capacity) {
    StoreBigEndian64(data + at, word);
  } else {
    uint8_t added[sizeof(word)];
    StoreBigEndian64(added, word);
    std::memcpy(data + at, added, BitBytes(size));
  }
  bits = static_cast<uint16_t>(at * 8 + size);
  return true;
}

// Before the sample is the last one.
inline void OpenXorChunk::NoteSteady(TimestampMs time, double value) {
  const bool marker = IsStaleNan(value);
  const auto gap = static_cast<uint64_t>(WrapSub(time, last_time));
  if (!marker && gap <= kSteadyGapMax && steady_since <= last_time) [[likely]]
    return;
  steady_since = marker ? kMaxTimestamp : time;
}

void OpenXorChunk::Append(TimestampMs time, double value, TimestampMs start) {
  INVARIANT(count < kChunkSamplesMax && (start == 0 || has_starts));
  const int64_t step = count == 0 ? 0 : WrapSub(time, last_time);
  const int64_t step_change = WrapSub(step, last_step);
  if (count == 0 || has_starts || !TimeCode::IsShort(step_change)) {
    AppendAny(time, step, value, start);
  } else if (step_change != 0 || !AppendRegular(value)) {
    AppendShort(step, value);
  }
  if (!has_starts) NoteSteady(time, value);
  last_step = step;
  last_time = time;
  last_value = value;
  ++count;
}

// Most others. The last, not full byte of the stream is composed anew with what is added.
void OpenXorChunk::AppendShort(int64_t step, double value) {
  static_assert(8 + TimeCode::kShortBitsMax + kXorBitsMax <= 128);
  const uint32_t at = bits / 8;
  const unsigned used = bits % 8;
  BitRegister out;
  if (used > 0) out.Put(data[at] >> (8 - used), used);
  TimeCode::Put(out, WrapSub(step, last_step));
  PutXor(out, window, std::bit_cast<uint64_t>(last_value), std::bit_cast<uint64_t>(value));
  Reserve(at + BitBytes(out.size()));
  if (at + BitRegister::kBytes <= capacity) {
    out.Store(data + at);
  } else {
    uint8_t added[BitRegister::kBytes];
    out.Store(added);
    std::memcpy(data + at, added, BitBytes(out.size()));
  }
  bits = static_cast<uint16_t>(at * 8 + out.size());
}

// Composed aside, so that the buffer need only have room for what the sample takes.
void OpenXorChunk::AppendAny(TimestampMs time, int64_t step, double value, TimestampMs start) {
  uint8_t scratch[kXorSampleBitsMax / 8 + 2 + kBitSlackBytes] = {};
  const uint32_t at = bits / 8;
  BitBuffer out{scratch, bits % 8u};
  scratch[0] = out.position == 0 ? 0 : data[at];
  if (count == 0) {
    out.Put(std::bit_cast<uint64_t>(value), 64);
    first_time = time;
    if (has_starts) last_start = 0;
    window = {};
  } else {
    TimeCode::Put(out, WrapSub(step, last_step));
    PutXor(out, window, std::bit_cast<uint64_t>(last_value), std::bit_cast<uint64_t>(value));
  }
  if (has_starts) {
    CountCode::Put(out, WrapSub(start, last_start));
    last_start = start;
  }
  Reserve(at + BitBytes(out.position));
  std::memcpy(data + at, scratch, BitBytes(out.position));
  bits = static_cast<uint16_t>(at * 8 + out.position);
}

void OpenXorChunk::Reserve(size_t bytes) {
  if (bytes <= capacity) [[likely]]
    return;
  const uint32_t grown = GrownCapacity(static_cast<uint32_t>(bytes));
  uint8_t* const moved = std::allocator<uint8_t>().allocate(grown);
  if (data != nullptr) std::memcpy(moved, data, BitBytes(bits));
  FreeBuffer();
  data = moved;
  capacity = static_cast<uint16_t>(grown);
}

// Which is told the size, so that it need not be looked up.
void OpenXorChunk::FreeBuffer() {
  if (data != nullptr) std::allocator<uint8_t>().deallocate(data, capacity);
}

void OpenXorChunk::Restore(std::string_view payload, uint16_t stream_bits) {
  INVARIANT(payload.size() == BitBytes(stream_bits) && stream_bits <= kXorChunkBitsMax);
  Release();
  const uint32_t wanted = GrownCapacity(static_cast<uint32_t>(payload.size()));
  data = std::allocator<uint8_t>().allocate(wanted);
  capacity = static_cast<uint16_t>(wanted);
  std::memcpy(data, payload.data(), payload.size());
  bits = stream_bits;
}

void OpenXorChunk::Release() {
  FreeBuffer();
  data = nullptr;
  bits = 0;
  capacity = 0;
  count = 0;
  if (has_starts) steady_since = kMaxTimestamp;
  has_starts = false;
}

namespace {

// Of a chunk's bits, a copy with zeros behind is read, so that no read need look for the end: the
// last sample may begin amid the last byte, and then a sample is two or three zero bits.
constexpr uint32_t kChunkBytesMax = (kXorChunkBitsMax + 7) / 8;
constexpr uint32_t kReadSlackBytes =
    (kXorSampleBitsMax + 3 * kChunkSamplesMax) / 8 + 1 + kBitSlackBytes;

// Repeated samples are written so many at a time, and some past the last one.
constexpr uint32_t kRepeatGroup = 8;

// A chunk taken apart.
struct Decoded {
  TimestampMs times[kChunkSamplesMax + kRepeatGroup];
  double values[kChunkSamplesMax + kRepeatGroup];
  TimestampMs starts[kChunkSamplesMax];  // With start timestamps.
  uint32_t count = 0;
  bool rises = true;  // Each time is after the one before.
};

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

void Repeat(TimestampMs time, int64_t step, double value, uint32_t count, TimestampMs* times,
            double* values) {
  for (uint32_t i = 0; i < count; i += kRepeatGroup) {
    for (uint32_t k = 0; k < kRepeatGroup; ++k) {
      times[i + k] = time += step;
      values[i + k] = value;
    }
  }
}

// A sample that comes some milliseconds early or late changes the step three times: three samples
// with a step code of the shortest kind and an unchanged value, ten bits each.
constexpr unsigned kJitterBits = 10;
constexpr uint32_t kJitterSamples = 3;
constexpr uint64_t kJitterMask = 0b1100000001'1100000001'1100000001ULL << (64 - 30);
constexpr uint64_t kJitterCode = 0b1000000000'1000000000'1000000000ULL << (64 - 30);
static_assert(TimeCode::kWidth[0] == 7 && kJitterBits == 2 + 7 + 1);

// Takes `count` samples off the reader, or, as long as times rise, those up to one that is later
// than `max`; returns false if it has none.
template <bool kHasStarts>
bool Decode(PaddedBitReader& reader, uint32_t count, TimestampMs first_time, TimestampMs max,
            Decoded& decoded) {
  TimestampMs time = first_time;
  int64_t step = 0;
  TimestampMs start = 0;
  uint64_t bits = reader.Read(64);
  XorWindow window;
  bool rises = true;
  uint32_t i = 0;
  for (;;) {
    if constexpr (kHasStarts) {
      start = WrapAdd(start, CountCode::Read(reader));
      decoded.starts[i] = start;
    }
    decoded.times[i] = time;
    decoded.values[i] = std::bit_cast<double>(bits);
    if (++i == count || (time > max && rises)) break;
    uint64_t word = reader.Peek();
    if constexpr (!kHasStarts) {
      if (word >> (64 - 2 * kRepeatsMin) == 0 && step > 0 && step <= kRepeatStepMax &&
          time >= -kRepeatTimeMax && time <= kRepeatTimeMax) {
        const uint32_t repeats = std::min(RepeatsAhead(word), count - i);
        Repeat(time, step, std::bit_cast<double>(bits), repeats, decoded.times + i,
               decoded.values + i);
        time += repeats * step;
        reader.Skip(2 * repeats);
        i += repeats;
        if (i == count) break;
        word = reader.Peek();
      }
      if ((word & kJitterMask) == kJitterCode && count - i >= kJitterSamples) {
        for (uint32_t k = 0;;) {
          step = WrapAdd(step, static_cast<int64_t>(word << (2 + kJitterBits * k)) >> (64 - 7));
          const TimestampMs before = time;
          time = WrapAdd(time, step);
          rises &= time > before;
          if (++k == kJitterSamples) break;  // The last one is written above.
          decoded.times[i] = time;
          decoded.values[i++] = std::bit_cast<double>(bits);
        }
        reader.Skip(kJitterSamples * kJitterBits);
        continue;
      }
    }
    if (word >> 63 == 0) {
      reader.Skip(1);
      word <<= 1;
    } else {
      step = WrapAdd(step, TimeCode::Read(reader));
      word = reader.Peek();
    }
    const TimestampMs before = time;
    time = WrapAdd(time, step);
    rises &= time > before;
    if (!ReadXorOf(word, reader, window, bits)) return false;
  }
  decoded.count = i;
  decoded.rises = rises;
  return true;
}

absl::Status DecodeUpTo(std::string_view payload, uint32_t count, TimestampMs first_time,
                        bool has_starts, TimestampMs max, Decoded& decoded) {
  if (count == 0 || count > kChunkSamplesMax) {
    return absl::DataLossError("XOR chunk with an impossible number of samples");
  }
  if (payload.size() > kChunkBytesMax) {
    return absl::DataLossError("XOR chunk longer than its samples can be");
  }
  uint8_t padded[kChunkBytesMax + kReadSlackBytes];
  std::memcpy(padded, payload.data(), payload.size());
  std::memset(padded + payload.size(), 0, kReadSlackBytes);
  PaddedBitReader reader(padded);
  const bool good = has_starts ? Decode<true>(reader, count, first_time, max, decoded)
                               : Decode<false>(reader, count, first_time, max, decoded);
  if (!good || reader.position() > payload.size() * 8) {
    return absl::DataLossError("XOR chunk ends amid a sample");
  }
  return absl::OkStatus();
}

// Keeps samples that lie in [min, max] and after the one kept before; returns how many.
uint32_t KeepRising(TimestampMs min, TimestampMs max, Decoded& decoded) {
  uint32_t kept = 0;
  for (uint32_t i = 0; i < decoded.count && decoded.times[i] <= max; ++i) {
    const TimestampMs time = decoded.times[i];
    if (time < min || (kept > 0 && time <= decoded.times[kept - 1])) continue;
    decoded.times[kept] = time;
    decoded.values[kept] = decoded.values[i];
    decoded.starts[kept] = decoded.starts[i];
    ++kept;
  }
  return kept;
}

// Which samples lie in [min, max] then: the first one, and the one behind the last.
std::pair<uint32_t, uint32_t> KeepWithin(TimestampMs min, TimestampMs max, bool has_starts,
                                         Decoded& decoded) {
  if (!decoded.rises) {
    if (!has_starts) std::fill_n(decoded.starts, decoded.count, 0);
    return {0, KeepRising(min, max, decoded)};
  }
  const TimestampMs* const times = decoded.times;
  const TimestampMs* const behind = times + decoded.count;
  if (times[0] >= min && behind[-1] <= max) return {0, decoded.count};
  const TimestampMs* const begin = std::lower_bound(times, behind, min);
  const TimestampMs* const end = std::upper_bound(begin, behind, max);
  return {static_cast<uint32_t>(begin - times), static_cast<uint32_t>(end - times)};
}

// Says what is seen of the last values.
void LookAt(const double* values, uint32_t count, SeriesSamples& samples) {
  if (count == 0) return;
  bool numbers = values[0] == values[0];
  bool rises = numbers;
  uint64_t differ = 0;
  for (uint32_t i = 1; i < count; ++i) {
    numbers &= values[i] == values[i];
    rises &= values[i] >= values[i - 1];
    differ |= std::bit_cast<uint64_t>(values[i]) ^ std::bit_cast<uint64_t>(values[0]);
  }
  samples.Know(count, numbers, rises, differ == 0);
}

}  // namespace

absl::Status DecodeXorChunk(std::string_view payload, uint32_t count, TimestampMs first_time,
                            bool has_starts, TimestampMs min, TimestampMs max,
                            SeriesSamples& samples) {
  Decoded decoded;
  RETURN_IF_ERROR(DecodeUpTo(payload, count, first_time, has_starts, max, decoded));
  if (!samples.times.empty() && samples.times.back() >= min) {
    if (samples.times.back() == kMaxTimestamp) return absl::OkStatus();
    min = samples.times.back() + 1;
  }
  const auto [begin, end] = KeepWithin(min, max, has_starts, decoded);
  const bool keep_starts = has_starts || !samples.start_times.empty();
  if (keep_starts && samples.start_times.empty()) samples.start_times.resize(samples.times.size());
  samples.times.Append({decoded.times + begin, end - begin});
  samples.values.insert(samples.values.end(), decoded.values + begin, decoded.values + end);
  LookAt(decoded.values + begin, end - begin, samples);
  if (has_starts) {
    samples.start_times.insert(samples.start_times.end(), decoded.starts + begin,
                               decoded.starts + end);
  } else if (keep_starts) {
    samples.start_times.resize(samples.times.size());
  }
  return absl::OkStatus();
}

std::optional<FloatSample> NewestOfXorChunk(std::string_view payload, uint32_t count,
                                            TimestampMs first_time, TimestampMs min,
                                            TimestampMs max) {
  Decoded decoded;
  if (!DecodeUpTo(payload, count, first_time, /*has_starts=*/false, max, decoded).ok()) {
    return std::nullopt;
  }
  const auto [begin, end] = KeepWithin(min, max, /*has_starts=*/false, decoded);
  if (begin == end) return std::nullopt;
  return FloatSample{decoded.times[end - 1], decoded.values[end - 1]};
}

}  // namespace varve

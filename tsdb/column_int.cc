// SPDX-License-Identifier: Apache-2.0
//
// Reading of integer columns; column_int_encode.cc writes them.
#include "tsdb/column_int.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

#ifdef __x86_64__
#include <immintrin.h>
#endif

#include "tsdb/zstd_frames.h"

namespace varve {

namespace {

constexpr uint8_t kOrderMask = 3;
constexpr uint8_t kScaledFlag = 16;
constexpr uint8_t kPatchedFlag = 32;

uint64_t ReadZigZag(ByteReader& reader) { return static_cast<uint64_t>(reader.SignedVarint()); }

// Checks the patches' places; their residuals may be any.
bool SkipPatches(ByteReader& reader, IntColumn& column) {
  const size_t count = reader.Count(2);
  if (count > column.core_count) return false;
  const std::string_view begin = reader.rest();
  uint64_t place = 0;
  for (size_t i = 0; i < count; ++i) {
    const uint64_t gap = reader.Varint();
    if (gap >= column.core_count || (i > 0 && gap == 0)) return false;
    place += gap;
    if (place >= column.core_count) return false;
    reader.SignedVarint();
  }
  column.patch_count = count;
  column.patches = begin.substr(0, begin.size() - reader.rest().size());
  return !reader.failed();
}

bool ReadCore(ByteReader& reader, uint8_t flags, IntColumn& column) {
  column.min = ReadZigZag(reader);
  if ((flags & kScaledFlag) != 0) column.scale = reader.Varint();
  column.shape.low_bits = reader.Byte();
  const uint64_t base = reader.Varint();
  if (base > kPackBaseMax) return false;
  column.shape.base = static_cast<uint16_t>(base);
  if (!IsPackShape(column.shape)) return false;
  if ((flags & kPatchedFlag) != 0 && !SkipPatches(reader, column)) return false;
  column.payload = reader.Bytes(PackedBytes(column.shape, column.core_count));
  return !reader.failed();
}

// Up to 64 bits of a bitmap from a multiple of 64 on.
uint64_t BitmapWord(std::string_view bitmap, size_t begin) {
  uint64_t word = 0;
  std::memcpy(&word, bitmap.data() + begin / 8, std::min<size_t>(8, bitmap.size() - begin / 8));
  return word;
}

size_t CountBits(std::string_view bitmap) {
  size_t count = 0;
  for (size_t i = 0; i < bitmap.size() * 8; i += 64) count += std::popcount(BitmapWord(bitmap, i));
  return count;
}

bool HasBitPast(std::string_view bitmap, size_t count) {
  return count % 8 != 0 && !bitmap.empty() &&
         static_cast<uint8_t>(bitmap.back()) >> (count % 8) != 0;
}

bool ReadZstd(ByteReader& reader, uint8_t flags, IntColumn& column) {
  column.min = ReadZigZag(reader);
  if ((flags & kScaledFlag) != 0) column.scale = reader.Varint();
  column.width = reader.Byte();
  if (column.width > 8 || !std::has_single_bit(column.width)) return false;
  column.payload = reader.Text();
  return !reader.failed();
}

void Scale(const IntColumn& column, size_t count, uint64_t* numbers) {
  const uint64_t min = column.min;
  const uint64_t scale = column.scale;
  if (scale == 1 && min == 0) return;
  if (scale == 1) {
    for (size_t i = 0; i < count; ++i) numbers[i] += min;
  } else {
    for (size_t i = 0; i < count; ++i) numbers[i] = numbers[i] * scale + min;
  }
}

void UnpackCore(const IntColumn& column, uint64_t* numbers) {
  UnpackNumbers(column.payload, column.core_count, column.shape, numbers);
  Scale(column, column.core_count, numbers);
  if (column.patch_count == 0) return;
  ByteReader reader(column.patches);
  uint64_t place = 0;
  for (size_t i = 0; i < column.patch_count; ++i) {
    place += reader.Varint();
    numbers[place] = ReadZigZag(reader);
  }
}

// The bitmap has a bit for each number in `others` and none past `count`.
template <typename Number>
void Spread(std::string_view bitmap, size_t count, const Number* others, Number common,
            Number* numbers) {
  std::fill_n(numbers, count, common);
  const Number* next = others;
  for (size_t i = 0; i < count; i += 64) {
    for (uint64_t word = BitmapWord(bitmap, i); word != 0; word &= word - 1) {
      numbers[i + static_cast<size_t>(std::countr_zero(word))] = *next++;
    }
  }
}

#ifdef __x86_64__
// Of each byte of a bitmap: which of the next others is at each bit, top bit set where it is none.
constexpr auto kSpreadPlaces = [] {
  std::array<std::array<uint8_t, 8>, 256> places{};
  for (size_t byte = 0; byte < places.size(); ++byte) {
    uint8_t next = 0;
    for (size_t bit = 0; bit < 8; ++bit) {
      places[byte][bit] = (byte >> bit & 1) != 0 ? next++ : uint8_t{0x80};
    }
  }
  return places;
}();

// Spread() of eight at a time: up to seven more are written, and of the others eight more read.
[[gnu::target("avx2,popcnt")]] void SpreadEights(std::string_view bitmap, size_t count,
                                                 const uint32_t* others, uint32_t common,
                                                 uint32_t* numbers) {
  const __m256 commons = _mm256_castsi256_ps(_mm256_set1_epi32(static_cast<int>(common)));
  for (size_t i = 0; i < count; i += 8) {
    const auto byte = static_cast<uint8_t>(bitmap[i / 8]);
    const __m256i places = _mm256_cvtepi8_epi32(
        _mm_loadl_epi64(reinterpret_cast<const __m128i*>(kSpreadPlaces[byte].data())));
    const __m256i next = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(others));
    const __m256 spread = _mm256_castsi256_ps(_mm256_permutevar8x32_epi32(next, places));
    _mm256_storeu_ps(reinterpret_cast<float*>(numbers + i),
                     _mm256_blendv_ps(spread, commons, _mm256_castsi256_ps(places)));
    others += std::popcount(byte);
  }
}
#endif

void UnpackSparse(const IntColumn& column, size_t count, uint64_t* numbers) {
  uint64_t others[kColumnValuesMax];
  UnpackCore(column, others);
  Spread(column.bitmap, count, others, column.common, numbers);
}

bool UnpackZstd(const IntColumn& column, size_t count, uint64_t* numbers) {
  char planes[kColumnValuesMax * sizeof(uint64_t)];
  if (!DecompressColumn(column.payload, planes, count * column.width)) return false;
  std::fill_n(numbers, count, 0);
  for (size_t plane = 0; plane < column.width; ++plane) {
    const char* bytes = planes + plane * count;
    for (size_t i = 0; i < count; ++i) {
      numbers[i] |= static_cast<uint64_t>(static_cast<uint8_t>(bytes[i])) << (8 * plane);
    }
  }
  Scale(column, count, numbers);
  return true;
}

// Scale() and Accumulate() in one pass.
void AccumulateScaled(uint64_t first, const IntColumn& column, size_t count, uint64_t* numbers) {
  const uint64_t min = column.min;
  const uint64_t scale = column.scale;
  uint64_t sum = first;
  if (scale == 1) {
    for (size_t i = 0; i < count; ++i) {
      sum += numbers[i] + min;
      numbers[i] = sum;
    }
  } else {
    for (size_t i = 0; i < count; ++i) {
      sum += numbers[i] * scale + min;
      numbers[i] = sum;
    }
  }
}

// Turns differences into what they are the differences of, after `first`.
void Accumulate(uint64_t first, size_t count, uint64_t* numbers) {
  uint64_t sum = first;
  for (size_t i = 0; i < count; ++i) {
    sum += numbers[i];
    numbers[i] = sum;
  }
}

}  // namespace

std::optional<IntColumn> ReadIntColumn(ByteReader& reader, size_t count) {
  IntColumn column;
  const uint8_t header = reader.Byte();
  column.order = header & kOrderMask;
  column.packing = static_cast<IntPacking>(header >> 2 & 3);
  const uint8_t flags = header & (kScaledFlag | kPatchedFlag);
  if (header > (kScaledFlag | kPatchedFlag | 15) || column.order > 2 || column.order > count) {
    return std::nullopt;
  }
  for (size_t i = 0; i < column.order; ++i) column.seeds[i] = ReadZigZag(reader);
  const size_t residuals = count - column.order;
  bool good = true;
  if (residuals == 0) {
    good = column.packing == IntPacking::kConstant;
  } else if (column.packing == IntPacking::kConstant) {
    column.min = ReadZigZag(reader);
  } else if (column.packing == IntPacking::kPacked) {
    column.core_count = residuals;
    good = ReadCore(reader, flags, column);
  } else if (column.packing == IntPacking::kSparse) {
    column.common = ReadZigZag(reader);
    column.bitmap = reader.Bytes((residuals + 7) / 8);
    column.core_count = CountBits(column.bitmap);
    good = !HasBitPast(column.bitmap, residuals) && ReadCore(reader, flags, column);
  } else {
    good = ReadZstd(reader, flags, column);
  }
  if (!good || reader.failed()) return std::nullopt;
  return column;
}

bool DecodeInts(const IntColumn& column, size_t count, int64_t* values) {
  auto* numbers = reinterpret_cast<uint64_t*>(values);  // The unsigned twin may alias.
  const size_t residuals = count - column.order;
  uint64_t* out = numbers + column.order;
  switch (column.packing) {
    case IntPacking::kConstant:
      std::fill_n(out, residuals, column.min);
      break;
    case IntPacking::kPacked:
      if (column.order == 1 && column.patch_count == 0) {  // Counters.
        UnpackNumbers(column.payload, residuals, column.shape, out);
        AccumulateScaled(column.seeds[0], column, residuals, out);
        numbers[0] = column.seeds[0];
        return true;
      }
      UnpackCore(column, out);
      break;
    case IntPacking::kSparse:
      UnpackSparse(column, residuals, out);
      break;
    case IntPacking::kZstd:
      if (!UnpackZstd(column, residuals, out)) return false;
      break;
  }
  if (column.order == 2) {
    Accumulate(column.seeds[1], residuals, out);
    numbers[1] = column.seeds[1];
  }
  if (column.order >= 1) {
    Accumulate(column.seeds[0], count - 1, numbers + 1);
    numbers[0] = column.seeds[0];
  }
  return true;
}

void SpreadSparse(const IntColumn& column, size_t count, const uint32_t* others, uint32_t common,
                  uint32_t* numbers) {
#ifdef __x86_64__
  static const bool kHasEights = __builtin_cpu_supports("avx2");
  if (kHasEights) return SpreadEights(column.bitmap, count, others, common, numbers);
#endif
  Spread(column.bitmap, count, others, common, numbers);
}

bool NeverFalls(const IntColumn& column, size_t count) {
  if (count == 1) return true;
  if (column.order != 1) return column.order == 0 && column.packing == IntPacking::kConstant;
  // So small that no sum of as many as there may be wraps.
  constexpr auto kSmall = [](uint64_t residual) { return residual < uint64_t{1} << 48; };
  const auto seed = static_cast<int64_t>(column.seeds[0]);
  constexpr int64_t kSeedMax = int64_t{1} << 62;
  if (seed < -kSeedMax || seed > kSeedMax) return false;
  if (column.packing == IntPacking::kConstant) return kSmall(column.min);
  if (column.packing == IntPacking::kZstd) return false;
  if (column.packing == IntPacking::kSparse && !kSmall(column.common)) return false;
  ByteReader patches(column.patches);
  for (size_t i = 0; i < column.patch_count; ++i) {
    patches.Varint();
    if (!kSmall(ReadZigZag(patches))) return false;
  }
  const unsigned bits = column.shape.low_bits + std::bit_width(column.shape.base - 1U);
  return bits <= 24 + 8 && column.scale < uint64_t{1} << 15 && kSmall(column.min);
}

}  // namespace varve

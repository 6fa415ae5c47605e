// SPDX-License-Identifier: Apache-2.0
//
// Reading of integer columns; column_int_encode.cc writes them.
#include "tsdb/column_int.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "tsdb/column_zstd.h"

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

size_t CountBits(std::string_view bitmap) {
  size_t count = 0;
  for (const char byte : bitmap) count += std::popcount(static_cast<uint8_t>(byte));
  return count;
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

void UnpackSparse(const IntColumn& column, size_t count, uint64_t* numbers) {
  uint64_t others[kColumnValuesMax + 1];
  UnpackCore(column, others);
  others[column.core_count] = 0;  // Looked at, not used, once the others are all placed.
  const uint64_t choice[2] = {column.common, 0};
  size_t next = 0;
  for (size_t i = 0; i < count; ++i) {
    const auto byte = static_cast<uint8_t>(column.bitmap[i / 8]);
    const uint64_t other = byte >> (i % 8) & 1;
    numbers[i] = choice[other] | (others[next] & (0 - other));
    next += other;
  }
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
    good = column.core_count <= residuals && ReadCore(reader, flags, column);
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

}  // namespace varve

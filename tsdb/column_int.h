// SPDX-License-Identifier: Apache-2.0
//
// Columns of integers: times, start timestamps, and what doubles are made into (column_double.h).
// What is stored are residuals: the values, their differences, or the differences of these.
//
//   header     u8              bits 0-1 order of difference (0, 1, 2); bits 2-3 packing; 16 scaled;
//                              32 patched
//   seeds      order * zigzag  the first value, the first difference
//   residuals (count - order of them, if any), by packing:
//   0 constant zigzag          all of them
//   1 packed   core
//   2 sparse   zigzag          the most common residual
//              bits            one per residual, lowest bit first, set if it is another; zeros fill
//                              the last byte
//              core            the others, in order
//   3 zstd     zigzag min
//              [varint scale]  with flag 16
//              u8              width: 1, 2, 4 or 8
//              varint          bytes of the frame: (residual - min) / scale, little endian, in
//              planes
//                              of all lowest bytes, then all second ones, ...
//
//   core       zigzag          min
//              [varint scale]  with flag 16
//              u8 low bits, varint base: a PackShape
//              [patches        with flag 32: varint n, n times varint places since the one before
//                              (the first: since 0), zigzag residual: these replace what is packed
//                              in their places]
//              packed numbers  (residual - min) / scale
//
// All arithmetic wraps at 64 bits.
#pragma once

#include <absl/types/span.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "tsdb/coding.h"
#include "tsdb/column_pack.h"

namespace varve {

// Most values a column has.
inline constexpr size_t kColumnValuesMax = 512;

enum class IntPacking : uint8_t { kConstant = 0, kPacked = 1, kSparse = 2, kZstd = 3 };

// A column's bytes taken apart but not unpacked; views into them.
struct IntColumn {
  uint8_t order = 0;
  IntPacking packing = IntPacking::kConstant;
  uint64_t seeds[2] = {};
  uint64_t min = 0;     // Of a constant column: the residual.
  uint64_t common = 0;  // Of a sparse one.
  uint64_t scale = 1;
  PackShape shape;
  uint8_t width = 0;
  size_t core_count = 0;
  size_t patch_count = 0;
  std::string_view bitmap;
  std::string_view patches;
  std::string_view payload;
};

// Appends the column. REQUIRES: 1 <= values.size() <= kColumnValuesMax.
void EncodeInts(absl::Span<const int64_t> values, std::string& out);

// Takes the next column of `count` values off `reader`; nothing if there is none.
// REQUIRES: 1 <= count <= kColumnValuesMax.
std::optional<IntColumn> ReadIntColumn(ByteReader& reader, size_t count);
// Writes its `count` values. Returns false if the bytes hold something else.
bool DecodeInts(const IntColumn& column, size_t count, int64_t* values);
// Spreads the core of a sparse column over its `count` residuals: numbers[i] is the next of
// `others` where the residual is one of these, else `common`. Behind them up to seven more are
// written, and behind `others` up to eight more read, which may be anything.
void SpreadSparse(const IntColumn& column, size_t count, const uint32_t* others, uint32_t common,
                  uint32_t* numbers);
// Whether the differences tell, without unpacking, that no value is below the one before.
bool NeverFalls(const IntColumn& column, size_t count);

}  // namespace varve

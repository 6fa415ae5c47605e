// SPDX-License-Identifier: Apache-2.0
//
// Columns of doubles. A double comes back with all of its bits: a form is only used for values that
// were seen to come back so, the others are exceptions.
//
//   form       u8              low 5 bits:
//     0 constant bits          f64: all values
//     1 constant integer       zigzag: all values
//     2 binary                 zigzag e, integer column: integer * 2^e
//     3 bits                   integer column: the double's bits, those of negative ones inverted
//                              but for the sign, so that order is kept
//     4 XOR                    varint bytes, then the XOR codes of bit_stream.h, the first value
//                              against 0
//     5 zstd                   varint bytes of a frame of the doubles' bytes in planes: all lowest
//                              ones first
//     6 + d decimal            integer column: integer / 10^d, d from 0 to kDecimalsMax
//                              | 32 if there are exceptions (not to 0, 1, 4 and 5)
//   [exceptions                varint n, n times: varint places since the one before (the first:
//                              since 0), u8 kind, with kRaw the f64]
//
// An exception's place in the integer column holds what costs least.
#pragma once

#include <absl/types/span.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "tsdb/coding.h"
#include "tsdb/column_int.h"

namespace varve {

inline constexpr int kDecimalsMax = 17;

enum class DoubleForm : uint8_t {
  kConstantBits = 0,
  kConstantInteger = 1,
  kBinary = 2,
  kBits = 3,
  kXor = 4,
  kZstd = 5,
  kDecimal = 6,  // + the number of decimals
};

// Kinds of exceptions. On disk: add, never renumber.
enum class DoubleException : uint8_t {
  kStale = 0,
  kNormalNan = 1,
  kInfinity = 2,
  kMinusInfinity = 3,
  kMinusZero = 4,
  kRaw = 5,
};

// A column's bytes taken apart but not decoded; views into them.
struct DoubleColumn {
  DoubleForm form = DoubleForm::kConstantBits;
  int exponent = 0;  // Decimals, or e.
  double constant = 0;
  IntColumn integers;
  std::string_view payload;
  size_t exception_count = 0;
  std::string_view exceptions;
};

// Appends the column. REQUIRES: 1 <= values.size() <= kColumnValuesMax.
void EncodeDoubles(absl::Span<const double> values, std::string& out);

// Takes the next column of `count` values off `reader`; nothing if there is none.
// REQUIRES: 1 <= count <= kColumnValuesMax.
std::optional<DoubleColumn> ReadDoubleColumn(ByteReader& reader, size_t count);
// Writes its `count` values. Returns false if the bytes hold something else.
bool DecodeDoubles(const DoubleColumn& column, size_t count, double* values);
// The same, but values that are no staleness markers may come out as others that are none.
bool DecodePresence(const DoubleColumn& column, size_t count, double* values);

// Whether its values are known to be numbers, from its form alone.
bool AreNumbers(const DoubleColumn& column);
// Whether its values are known to be numbers none of which is below the one before.
bool NeverFalls(const DoubleColumn& column, size_t count);

// "decimal delta packed", ...: for statistics.
std::string EncodingName(const IntColumn& column);
std::string EncodingName(const DoubleColumn& column);

namespace internal {

// 10^d, exact up to d = 22.
inline constexpr double kPowersOfTen[kDecimalsMax + 1] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,
                                                          1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                                          1e12, 1e13, 1e14, 1e15, 1e16, 1e17};
// Binary exponents whose powers and products stay normal numbers.
inline constexpr int kBinaryExponentMin = -950;
inline constexpr int kBinaryExponentMax = 950;

inline constexpr uint8_t kExceptionsFlag = 32;

// The bits of a double as an integer that rises with it, and back.
inline int64_t OrderedBits(int64_t bits) { return bits ^ ((bits >> 63) & INT64_MAX); }

}  // namespace internal

}  // namespace varve

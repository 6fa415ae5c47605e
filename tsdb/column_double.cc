// SPDX-License-Identifier: Apache-2.0
//
// Reading of columns of doubles; column_double_encode.cc writes them.
#include "tsdb/column_double.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#ifdef __x86_64__
#include <immintrin.h>
#endif

#include "model/sample.h"
#include "tsdb/bit_stream.h"
#include "tsdb/zstd_frames.h"

namespace varve {

namespace {

bool IsDecimal(uint8_t form) {
  return form >= static_cast<uint8_t>(DoubleForm::kDecimal) &&
         form <= static_cast<uint8_t>(DoubleForm::kDecimal) + kDecimalsMax;
}

bool SkipExceptions(ByteReader& reader, size_t values, DoubleColumn& column) {
  const size_t count = reader.Count(2);
  const std::string_view begin = reader.rest();
  uint64_t place = 0;
  for (size_t i = 0; i < count; ++i) {
    const uint64_t gap = reader.Varint();
    if (gap >= values || (i > 0 && gap == 0)) return false;
    place += gap;
    const uint8_t kind = reader.Byte();
    if (place >= values || kind > static_cast<uint8_t>(DoubleException::kRaw)) return false;
    if (kind == static_cast<uint8_t>(DoubleException::kRaw)) reader.Double();
  }
  column.exception_count = count;
  column.exceptions = begin.substr(0, begin.size() - reader.rest().size());
  return !reader.failed();
}

void PutExceptionsBack(const DoubleColumn& column, double* values) {
  ByteReader reader(column.exceptions);
  uint64_t place = 0;
  for (size_t i = 0; i < column.exception_count; ++i) {
    place += reader.Varint();
    switch (static_cast<DoubleException>(reader.Byte())) {
      case DoubleException::kStale:
        values[place] = StaleNan();
        break;
      case DoubleException::kNormalNan:
        values[place] = NormalNan();
        break;
      case DoubleException::kInfinity:
        values[place] = std::numeric_limits<double>::infinity();
        break;
      case DoubleException::kMinusInfinity:
        values[place] = -std::numeric_limits<double>::infinity();
        break;
      case DoubleException::kMinusZero:
        values[place] = -0.0;
        break;
      case DoubleException::kRaw:
        values[place] = reader.Double();
        break;
    }
  }
}

bool DecodeXor(const DoubleColumn& column, size_t count, double* values) {
  BitReader reader(column.payload);
  XorWindow window;
  uint64_t bits = 0;
  for (size_t i = 0; i < count; ++i) {
    if (!ReadXor(reader, window, bits)) return false;
    values[i] = std::bit_cast<double>(bits);
  }
  return !reader.overrun();
}

bool DecodePlanes(const DoubleColumn& column, size_t count, double* values) {
  char planes[kColumnValuesMax * sizeof(double)];
  if (!DecompressColumn(column.payload, planes, count * sizeof(double))) return false;
  for (size_t i = 0; i < count; ++i) {
    uint64_t bits = 0;
    for (size_t plane = 0; plane < sizeof(double); ++plane) {
      bits |= static_cast<uint64_t>(static_cast<uint8_t>(planes[plane * count + i])) << (8 * plane);
    }
    values[i] = std::bit_cast<double>(bits);
  }
  return true;
}

#ifdef __x86_64__
// Sets values[i] to integers[i] / divisor, four at a time; nothing is divided by 1. False if an
// integer is beyond 2^51, up to where adding it to a number's last bits makes a double of it.
[[gnu::target("avx2")]] bool DivideFours(const int64_t* integers, size_t count, double divisor,
                                         double* values) {
  using Words [[gnu::vector_size(32)]] = uint64_t;
  using Floats [[gnu::vector_size(32)]] = double;
  constexpr double kBase = 0x1.8p52;
  constexpr uint64_t kReach = uint64_t{1} << 51;
  const bool whole = divisor == 1;
  Words beyond{};
  size_t i = 0;
  for (; i + 4 <= count; i += 4) {
    Words words;
    std::memcpy(&words, integers + i, sizeof(words));
    beyond |= (words + kReach) >> 52;
    Floats floats = reinterpret_cast<Floats>(words + std::bit_cast<uint64_t>(kBase)) - kBase;
    if (!whole) floats /= divisor;
    std::memcpy(values + i, &floats, sizeof(floats));
  }
  for (; i < count; ++i) values[i] = static_cast<double>(integers[i]) / divisor;
  return (beyond[0] | beyond[1] | beyond[2] | beyond[3]) == 0;
}

// values[i] = (base + i * step + scale * the sum of numbers[0, i]) / divisor, eight at a time. Sums
// are of 32 bits, with a sign. All of it is exact but for the division. Reads, but does not write,
// up to seven places beyond `count`.
[[gnu::target("avx2")]] void SumEights(const uint32_t* numbers, size_t count, double base,
                                       double step, double scale, double divisor, double* values) {
  const __m256d scales = _mm256_set1_pd(scale);
  const __m256d divisors = _mm256_set1_pd(divisor);
  const __m256d advance = _mm256_set1_pd(8 * step);
  __m256d low = _mm256_setr_pd(base, base + step, base + 2 * step, base + 3 * step);
  __m256d high = _mm256_add_pd(low, _mm256_set1_pd(4 * step));
  const __m256i last = _mm256_set1_epi32(7);
  __m256i before = _mm256_setzero_si256();
  for (size_t i = 0; i < count; i += 8) {
    __m256i sums = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(numbers + i));
    sums = _mm256_add_epi32(sums, _mm256_slli_si256(sums, 4));
    sums = _mm256_add_epi32(sums, _mm256_slli_si256(sums, 8));
    // So far each half by itself.
    const __m256i first_half = _mm256_permute2x128_si256(sums, sums, 0x08);
    sums = _mm256_add_epi32(sums, _mm256_shuffle_epi32(first_half, 0xff));
    const __m256i all = _mm256_add_epi32(sums, before);
    before = _mm256_add_epi32(before, _mm256_permutevar8x32_epi32(sums, last));
    __m256d first = _mm256_cvtepi32_pd(_mm256_castsi256_si128(all));
    __m256d second = _mm256_cvtepi32_pd(_mm256_extracti128_si256(all, 1));
    first = _mm256_add_pd(low, _mm256_mul_pd(first, scales));
    second = _mm256_add_pd(high, _mm256_mul_pd(second, scales));
    if (divisor != 1) {
      first = _mm256_div_pd(first, divisors);
      second = _mm256_div_pd(second, divisors);
    }
    low = _mm256_add_pd(low, advance);
    high = _mm256_add_pd(high, advance);
    if (i + 8 <= count) {
      _mm256_storeu_pd(values + i, first);
      _mm256_storeu_pd(values + i + 4, second);
    } else {
      alignas(32) double rest[8];
      _mm256_store_pd(rest, first);
      _mm256_store_pd(rest + 4, second);
      std::copy_n(rest, count - i, values + i);
    }
  }
}

// Takes the differences apart: each is numbers[i] * column.scale + step. Most columns have such as
// are packed and small, or 0 and a few small ones. False if this column has others.
bool UnpackSmallSteps(const IntColumn& column, size_t count, uint32_t* numbers, int64_t& step) {
  if (column.order != 1 || column.patch_count > 0) return false;
  const auto least = static_cast<int64_t>(column.min);
  if (column.packing == IntPacking::kPacked) {
    if (BitsOf(column.shape) > kSmallBitsMax) return false;
    UnpackSmall(column.payload, count, column.shape, numbers);
    step = least;
    return true;
  }
  if (column.packing != IntPacking::kSparse || column.common != 0 ||
      BitsOf(column.shape) >= kSmallBitsMax) {
    return false;
  }
  const auto scale = static_cast<int64_t>(column.scale);
  constexpr int64_t kOffsetMax = int64_t{1} << (kSmallBitsMax - 1);
  if (scale <= 0 || least % scale != 0 || least / scale < -kOffsetMax ||
      least / scale > kOffsetMax) {
    return false;
  }
  uint32_t others[kSmallValuesMax + 8];
  UnpackSmall(column.payload, column.core_count, column.shape, others);
  // Negative ones wrap, and so do their sums.
  for (size_t i = 0; i < column.core_count; ++i) others[i] += static_cast<uint32_t>(least / scale);
  SpreadSparse(column, count, others, 0, numbers);
  step = 0;
  return true;
}

// False, and nothing is written, if the column does not have small differences.
bool DecodeSmallSteps(const IntColumn& column, size_t count, double divisor, double* values) {
  static const bool kHasEights = __builtin_cpu_supports("avx2");
  // Within these all sums are whole numbers that doubles hold: 2^51 + 2^9 * (2^22 * 2^18 + 2^40).
  constexpr int64_t kFirstMax = int64_t{1} << 51;
  constexpr int64_t kStepMax = int64_t{1} << 40;
  constexpr uint64_t kScaleMax = uint64_t{1} << 18;
  const auto first = static_cast<int64_t>(column.seeds[0]);
  if (!kHasEights || first < -kFirstMax || first > kFirstMax || column.scale > kScaleMax) {
    return false;
  }
  static_assert(kColumnValuesMax <= kSmallValuesMax);
  uint32_t numbers[kSmallValuesMax + 8];
  int64_t step = 0;
  if (!UnpackSmallSteps(column, count - 1, numbers, step) || step < -kStepMax || step > kStepMax) {
    return false;
  }
  std::fill_n(numbers + count - 1, 7, 0);  // Summed up, too.
  values[0] = static_cast<double>(first) / divisor;
  SumEights(numbers, count - 1, static_cast<double>(first + step), static_cast<double>(step),
            static_cast<double>(column.scale), divisor, values + 1);
  return true;
}
#endif

// Sets values[i] to integers[i] / divisor.
void Divide(const int64_t* integers, size_t count, double divisor, double* values) {
#ifdef __x86_64__
  static const bool kHasFours = __builtin_cpu_supports("avx2");
  if (kHasFours && DivideFours(integers, count, divisor, values)) return;
#endif
  // Two loops: only the second one has vector instructions.
  for (size_t i = 0; i < count; ++i) values[i] = static_cast<double>(integers[i]);
  if (divisor == 1) return;
  for (size_t i = 0; i < count; ++i) values[i] /= divisor;
}

bool DecodeNumeric(const DoubleColumn& column, size_t count, double* values) {
#ifdef __x86_64__
  if (column.form == DoubleForm::kDecimal &&
      DecodeSmallSteps(column.integers, count, internal::kPowersOfTen[column.exponent], values)) {
    PutExceptionsBack(column, values);
    return true;
  }
#endif
  int64_t integers[kColumnValuesMax];
  if (!DecodeInts(column.integers, count, integers)) return false;
  if (column.form == DoubleForm::kBits) {
    for (size_t i = 0; i < count; ++i) {
      values[i] = std::bit_cast<double>(internal::OrderedBits(integers[i]));
    }
  } else if (column.form == DoubleForm::kBinary) {
    const double factor = std::ldexp(1.0, column.exponent);
    for (size_t i = 0; i < count; ++i) values[i] = static_cast<double>(integers[i]) * factor;
  } else {
    Divide(integers, count, internal::kPowersOfTen[column.exponent], values);
  }
  PutExceptionsBack(column, values);
  return true;
}

}  // namespace

std::optional<DoubleColumn> ReadDoubleColumn(ByteReader& reader, size_t count) {
  DoubleColumn column;
  const uint8_t header = reader.Byte();
  const uint8_t form = header & 31;
  const bool has_exceptions = (header & internal::kExceptionsFlag) != 0;
  if (reader.failed() || header > (31 | internal::kExceptionsFlag)) return std::nullopt;
  if (IsDecimal(form)) {
    column.form = DoubleForm::kDecimal;
    column.exponent = form - static_cast<int>(DoubleForm::kDecimal);
  } else if (form < static_cast<uint8_t>(DoubleForm::kDecimal)) {
    column.form = static_cast<DoubleForm>(form);
  } else {
    return std::nullopt;
  }
  const bool numeric = column.form == DoubleForm::kBinary || column.form == DoubleForm::kBits ||
                       column.form == DoubleForm::kDecimal;
  if (!numeric && has_exceptions) return std::nullopt;
  if (column.form == DoubleForm::kBinary) {
    const int64_t exponent = reader.SignedVarint();
    if (exponent < internal::kBinaryExponentMin || exponent > internal::kBinaryExponentMax) {
      return std::nullopt;
    }
    column.exponent = static_cast<int>(exponent);
  }
  if (numeric) {
    const std::optional<IntColumn> integers = ReadIntColumn(reader, count);
    if (!integers.has_value()) return std::nullopt;
    column.integers = *integers;
    if (has_exceptions && !SkipExceptions(reader, count, column)) return std::nullopt;
  } else if (column.form == DoubleForm::kConstantBits) {
    column.constant = reader.Double();
  } else if (column.form == DoubleForm::kConstantInteger) {
    column.constant = static_cast<double>(reader.SignedVarint());
  } else {
    column.payload = reader.Text();
  }
  if (reader.failed()) return std::nullopt;
  return column;
}

bool DecodeDoubles(const DoubleColumn& column, size_t count, double* values) {
  switch (column.form) {
    case DoubleForm::kConstantBits:
    case DoubleForm::kConstantInteger:
      std::fill_n(values, count, column.constant);
      return true;
    case DoubleForm::kXor:
      return DecodeXor(column, count, values);
    case DoubleForm::kZstd:
      return DecodePlanes(column, count, values);
    case DoubleForm::kBinary:
    case DoubleForm::kBits:
    case DoubleForm::kDecimal:
      return DecodeNumeric(column, count, values);
  }
  return false;
}

bool DecodePresence(const DoubleColumn& column, size_t count, double* values) {
  // What an integer stands for in these forms is a number.
  if (column.form != DoubleForm::kBinary && column.form != DoubleForm::kDecimal) {
    return DecodeDoubles(column, count, values);
  }
  std::fill_n(values, count, 0);
  PutExceptionsBack(column, values);
  return true;
}

bool AreNumbers(const DoubleColumn& column) {
  if (column.form == DoubleForm::kConstantBits) return column.constant == column.constant;
  if (column.form == DoubleForm::kConstantInteger) return true;
  return (column.form == DoubleForm::kBinary || column.form == DoubleForm::kDecimal) &&
         column.exception_count == 0;
}

bool NeverFalls(const DoubleColumn& column, size_t count) {
  if (!AreNumbers(column)) return false;
  // Turning integers into these forms' doubles rounds, which keeps their order.
  return column.form == DoubleForm::kConstantBits || column.form == DoubleForm::kConstantInteger ||
         NeverFalls(column.integers, count);
}

std::string EncodingName(const IntColumn& column) {
  constexpr std::string_view kOrders[] = {"plain", "delta", "delta-of-delta"};
  constexpr std::string_view kPackings[] = {"constant", "packed", "sparse", "zstd"};
  return fmt::format("{} {}", kOrders[column.order],
                     kPackings[static_cast<size_t>(column.packing)]);
}

std::string EncodingName(const DoubleColumn& column) {
  switch (column.form) {
    case DoubleForm::kConstantBits:
    case DoubleForm::kConstantInteger:
      return "constant";
    case DoubleForm::kBinary:
      return "binary " + EncodingName(column.integers);
    case DoubleForm::kBits:
      return "bits " + EncodingName(column.integers);
    case DoubleForm::kXor:
      return "xor";
    case DoubleForm::kZstd:
      return "zstd";
    case DoubleForm::kDecimal:
      return (column.exponent == 0 ? "integer " : "decimal ") + EncodingName(column.integers);
  }
  return "";
}

}  // namespace varve

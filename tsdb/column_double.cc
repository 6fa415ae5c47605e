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

#include "model/sample.h"
#include "tsdb/bit_stream.h"
#include "tsdb/column_zstd.h"

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

// SPDX-License-Identifier: Apache-2.0
//
// Choosing the form of a column of doubles: a number of decimals if the values have one (counters,
// byte gauges, rounded ratios), else binary fractions or bits, with XOR and zstd for what resists.
#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>

#include "model/check.h"
#include "model/sample.h"
#include "tsdb/bit_stream.h"
#include "tsdb/column_double.h"
#include "tsdb/zstd_frames.h"

namespace varve {

namespace {

constexpr double kIntegerMax = 9007199254740992.0;    // 2^53
constexpr double kBinaryMax = 4611686018427387904.0;  // 2^62
// Values to look at for the number of decimals before all are tried.
constexpr size_t kDecimalSamples = 24;
// From here on, in bytes per value, other forms are tried as well; later if there are decimals,
// which are hardly ever beaten.
constexpr size_t kPoorBytes = 4;
constexpr size_t kPoorDecimalBytes = 6;

uint64_t BitsOfDouble(double value) { return std::bit_cast<uint64_t>(value); }

// Not a number that arithmetic could give back.
bool IsSpecial(double value) {
  return !std::isfinite(value) || BitsOfDouble(value) == BitsOfDouble(-0.0);
}

// Values as integers, and which of them are exceptions.
struct Scaled {
  std::array<int64_t, kColumnValuesMax> integers;
  std::array<uint16_t, kColumnValuesMax> exceptions;  // Places, rising.
  size_t exception_count = 0;
  void AddException(size_t place) { exceptions[exception_count++] = static_cast<uint16_t>(place); }
};

// The integer that gives `value` back when divided by the power.
bool ScaleDecimal(double value, double power, int64_t& integer) {
  const double scaled = value * power;
  if (!(std::fabs(scaled) <= kIntegerMax) || IsSpecial(value)) return false;
  const auto nearest = static_cast<int64_t>(scaled + std::copysign(0.5, scaled));
  // The product was rounded: above 2^51 its neighbours may be meant.
  for (const int64_t candidate : {nearest, nearest - 1, nearest + 1}) {
    if (static_cast<double>(candidate) / power == value) {
      integer = candidate;
      return true;
    }
  }
  return false;
}

// The fewest decimals, from `decimals` on, that give `value` back; -1 if none do.
int DecimalsOf(double value, int decimals) {
  int64_t integer = 0;
  for (; decimals <= kDecimalsMax; ++decimals) {
    if (ScaleDecimal(value, internal::kPowersOfTen[decimals], integer)) return decimals;
  }
  return -1;
}

void ScaleAll(absl::Span<const double> values, int decimals, Scaled& scaled) {
  const double power = internal::kPowersOfTen[decimals];
  scaled.exception_count = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    if (!ScaleDecimal(values[i], power, scaled.integers[i])) scaled.AddException(i);
  }
}

// Special values aside, decimals must fit nearly all values.
size_t ExceptionsMax(size_t values, size_t specials) { return specials + 1 + values / 32; }

// The number of decimals of the column, or -1.
int PlanDecimals(absl::Span<const double> values, size_t specials, Scaled& scaled) {
  int decimals = 0;
  size_t refused = 0;
  const size_t step = (values.size() + kDecimalSamples - 1) / kDecimalSamples;
  for (size_t i = 0; i < values.size(); i += step) {
    if (IsSpecial(values[i])) continue;
    const int needed = DecimalsOf(values[i], decimals);
    if (needed >= 0) {
      decimals = needed;
    } else if (++refused > 1) {
      return -1;
    }
  }
  ScaleAll(values, decimals, scaled);
  const size_t most = ExceptionsMax(values.size(), specials);
  if (scaled.exception_count <= most) return decimals;
  for (size_t i = 0; i < scaled.exception_count; ++i) {
    const double value = values[scaled.exceptions[i]];
    if (!IsSpecial(value)) decimals = std::max(decimals, DecimalsOf(value, decimals));
  }
  ScaleAll(values, decimals, scaled);
  return scaled.exception_count <= most ? decimals : -1;
}

// The power of two that makes all values integers, if one does and they stay below 2^62.
std::optional<int> PlanBinary(absl::Span<const double> values, Scaled& scaled) {
  int lowest = std::numeric_limits<int>::max();
  double largest = 0;
  for (const double value : values) {
    if (IsSpecial(value) || value == 0) continue;
    int exponent = 0;
    const double fraction = std::frexp(value, &exponent);
    const auto mantissa = static_cast<int64_t>(std::ldexp(fraction, 53));
    lowest = std::min(lowest, exponent - 53 + std::countr_zero(static_cast<uint64_t>(mantissa)));
    largest = std::max(largest, std::fabs(value));
  }
  if (lowest < internal::kBinaryExponentMin || lowest > internal::kBinaryExponentMax) {
    return std::nullopt;
  }
  const double factor = std::ldexp(1.0, -lowest);
  if (largest * factor > kBinaryMax) return std::nullopt;
  scaled.exception_count = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    if (IsSpecial(values[i])) {
      scaled.AddException(i);
    } else {
      scaled.integers[i] = static_cast<int64_t>(values[i] * factor);
    }
  }
  return lowest;
}

void PlanBits(absl::Span<const double> values, Scaled& scaled) {
  scaled.exception_count = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    scaled.integers[i] = internal::OrderedBits(std::bit_cast<int64_t>(values[i]));
    if (!std::isfinite(values[i])) scaled.AddException(i);
  }
}

// The greatest step all differences between values are multiples of; exceptions are left out.
uint64_t StepOf(const Scaled& scaled, size_t count) {
  uint64_t step = 0;
  size_t next = 0;
  bool has_last = false;
  int64_t last = 0;
  for (size_t i = 0; i < count && step != 1; ++i) {
    if (next < scaled.exception_count && scaled.exceptions[next] == i) {
      ++next;
      continue;
    }
    const int64_t integer = scaled.integers[i];
    const auto rise = static_cast<uint64_t>(integer) - static_cast<uint64_t>(last);
    if (has_last) step = std::gcd(step, integer > last ? rise : 0 - rise);
    last = integer;
    has_last = true;
  }
  return std::max<uint64_t>(step, 1);
}

// Puts exceptions on the line between their neighbours, where they disturb neither the differences
// nor their common divisor.
void FillExceptions(size_t count, Scaled& scaled) {
  using Wide = __int128;
  const Wide step = static_cast<Wide>(StepOf(scaled, count));
  for (size_t i = 0; i < scaled.exception_count;) {
    const size_t begin = scaled.exceptions[i];
    size_t end = begin;
    for (; i < scaled.exception_count && scaled.exceptions[i] == end; ++i) ++end;
    const bool has_left = begin > 0;
    const bool has_right = end < count;
    const int64_t left = has_left    ? scaled.integers[begin - 1]
                         : has_right ? scaled.integers[end]
                                     : 0;
    const Wide rise = has_left && has_right ? static_cast<Wide>(scaled.integers[end]) - left : 0;
    for (size_t j = begin; j < end; ++j) {
      const Wide steps =
          rise / step * static_cast<Wide>(j + 1 - begin) / static_cast<Wide>(end + 1 - begin);
      scaled.integers[j] = static_cast<int64_t>(left + steps * step);
    }
  }
}

DoubleException KindOf(double value) {
  switch (BitsOfDouble(value)) {
    case kStaleNanBits:
      return DoubleException::kStale;
    case kNormalNanBits:
      return DoubleException::kNormalNan;
    case std::bit_cast<uint64_t>(std::numeric_limits<double>::infinity()):
      return DoubleException::kInfinity;
    case std::bit_cast<uint64_t>(-std::numeric_limits<double>::infinity()):
      return DoubleException::kMinusInfinity;
    case std::bit_cast<uint64_t>(-0.0):
      return DoubleException::kMinusZero;
    default:
      return DoubleException::kRaw;
  }
}

// The column in a numeric form; `header` is the form and what belongs to it.
std::string NumericColumn(absl::Span<const double> values, std::string header, Scaled& scaled) {
  std::string column = std::move(header);
  if (scaled.exception_count > 0) {
    FillExceptions(values.size(), scaled);
    column[0] = static_cast<char>(column[0] | internal::kExceptionsFlag);
  }
  EncodeInts({scaled.integers.data(), values.size()}, column);
  if (scaled.exception_count > 0) {
    PutVarint(column, scaled.exception_count);
    size_t last = 0;
    for (size_t i = 0; i < scaled.exception_count; ++i) {
      const size_t place = scaled.exceptions[i];
      PutVarint(column, place - last);
      const DoubleException kind = KindOf(values[place]);
      column.push_back(static_cast<char>(kind));
      if (kind == DoubleException::kRaw) PutDouble(column, values[place]);
      last = place;
    }
  }
  return column;
}

std::string FormByte(DoubleForm form, int decimals = 0) {
  return std::string(1, static_cast<char>(static_cast<int>(form) + decimals));
}

std::string XorColumn(absl::Span<const double> values) {
  std::string bits(BitBytes(values.size() * kXorBitsMax) + kBitSlackBytes, 0);
  BitBuffer out{reinterpret_cast<uint8_t*>(bits.data()), 0};
  XorWindow window;
  uint64_t last = 0;
  for (const double value : values) {
    PutXor(out, window, last, BitsOfDouble(value));
    last = BitsOfDouble(value);
  }
  std::string column = FormByte(DoubleForm::kXor);
  PutText(column, std::string_view(bits).substr(0, BitBytes(out.position)));
  return column;
}

// Empty if zstd does not get below `limit`.
std::string PlanesColumn(absl::Span<const double> values, size_t limit) {
  std::string planes(values.size() * sizeof(double), 0);
  for (size_t i = 0; i < values.size(); ++i) {
    const uint64_t bits = BitsOfDouble(values[i]);
    for (size_t plane = 0; plane < sizeof(double); ++plane) {
      planes[plane * values.size() + i] = static_cast<char>(bits >> (8 * plane));
    }
  }
  std::string frame;
  if (!CompressColumn(planes, limit, frame)) return "";
  std::string column = FormByte(DoubleForm::kZstd);
  PutText(column, frame);
  return column;
}

void KeepSmaller(std::string candidate, std::string& best) {
  if (best.empty() || (!candidate.empty() && candidate.size() < best.size())) {
    best = std::move(candidate);
  }
}

bool PutConstant(absl::Span<const double> values, std::string& out) {
  for (const double value : values) {
    if (BitsOfDouble(value) != BitsOfDouble(values[0])) return false;
  }
  int64_t integer = 0;
  // A varint of eight bytes is no gain.
  if (std::fabs(values[0]) < 0x1p48 && ScaleDecimal(values[0], 1, integer)) {
    out.append(FormByte(DoubleForm::kConstantInteger));
    PutZigZag(out, integer);
  } else {
    out.append(FormByte(DoubleForm::kConstantBits));
    PutDouble(out, values[0]);
  }
  return true;
}

}  // namespace

void EncodeDoubles(absl::Span<const double> values, std::string& out) {
  INVARIANT(!values.empty() && values.size() <= kColumnValuesMax);
  if (PutConstant(values, out)) return;
  const auto specials = static_cast<size_t>(std::count_if(values.begin(), values.end(), IsSpecial));
  std::string best;
  Scaled scaled;
  const int decimals = PlanDecimals(values, specials, scaled);
  if (decimals >= 0) {
    best = NumericColumn(values, FormByte(DoubleForm::kDecimal, decimals), scaled);
  }
  const size_t poor = (best.empty() ? kPoorBytes : kPoorDecimalBytes) * values.size();
  if (best.empty() || best.size() > poor) {
    if (const std::optional<int> exponent = PlanBinary(values, scaled)) {
      std::string header = FormByte(DoubleForm::kBinary);
      PutZigZag(header, *exponent);
      KeepSmaller(NumericColumn(values, std::move(header), scaled), best);
    }
    PlanBits(values, scaled);
    KeepSmaller(NumericColumn(values, FormByte(DoubleForm::kBits), scaled), best);
  }
  if (best.size() > poor || specials > values.size() / 8) {
    KeepSmaller(XorColumn(values), best);
    KeepSmaller(PlanesColumn(values, best.size() - best.size() / 16), best);
  }
  out.append(best);
}

}  // namespace varve

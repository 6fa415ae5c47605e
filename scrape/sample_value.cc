// SPDX-License-Identifier: Apache-2.0
//
// Sample values: most are short decimals, whose digits as an integer and a power of ten are both
// exact doubles, so that one multiplication or division rounds correctly (Clinger, "How to Read
// Floating Point Numbers Accurately", 1990). Longer ones, up to what 64 bits hold, are exact as
// extended doubles; rounded to 64 bits and then to 53 the result is that of rounding once, unless
// the first one ends just halfway between two doubles.
#include <absl/base/attributes.h>

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <cmath>
#include <cstring>
#include <limits>
#include <optional>

#include "model/check.h"
#include "model/sample.h"
#include "scrape/text_parser.h"

namespace varve {
namespace {

constexpr std::array<double, 23> kPowersOfTen = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                                 1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                                 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
constexpr int kExactPowerMax = 22;
constexpr uint64_t kExactIntegerMax = uint64_t{1} << 53;
constexpr int kExactDigitsMax = 15;     // All their numbers are exact.
constexpr int kMantissaDigitsMax = 19;  // 64 bits hold them.

constexpr std::array<long double, 28> kExtendedPowersOfTen = {
    1e0L,  1e1L,  1e2L,  1e3L,  1e4L,  1e5L,  1e6L,  1e7L,  1e8L,  1e9L,
    1e10L, 1e11L, 1e12L, 1e13L, 1e14L, 1e15L, 1e16L, 1e17L, 1e18L, 1e19L,
    1e20L, 1e21L, 1e22L, 1e23L, 1e24L, 1e25L, 1e26L, 1e27L};
constexpr int kExtendedPowerMax = 27;  // 5^27 takes 63 bits.

// mantissa * 10^exponent, if that is certain. REQUIRES: mantissa > 0.
bool ReadExtended(uint64_t mantissa, int exponent, double& value) {
  using Extended = std::numeric_limits<long double>;
  if constexpr (Extended::digits != 64 || std::endian::native != std::endian::little) return false;
  if (exponent < -kExtendedPowerMax || exponent > kExtendedPowerMax) return false;
  const auto digits = static_cast<long double>(mantissa);
  const long double wide = exponent < 0 ? digits / kExtendedPowersOfTen[-exponent]
                                        : digits * kExtendedPowersOfTen[exponent];
  uint64_t bits = 0;  // The highest is the number's first.
  std::memcpy(&bits, &wide, sizeof(bits));
  constexpr int kCut = 64 - std::numeric_limits<double>::digits;
  constexpr uint64_t kHalf = uint64_t{1} << (kCut - 1);
  if ((bits & (2 * kHalf - 1)) == kHalf) return false;
  value = static_cast<double>(wide);
  return true;
}

bool IsDigit(char c) { return static_cast<unsigned char>(c - '0') < 10; }

// Takes the digits at `p` into `mantissa`. REQUIRES: something else follows.
int TakeDigits(const char*& p, uint64_t& mantissa) {
  const char* const first = p;
  for (; IsDigit(*p); ++p) mantissa = mantissa * 10 + (*p - '0');
  return static_cast<int>(std::min<ptrdiff_t>(p - first, kMantissaDigitsMax + 1));
}

bool EndsValue(char c) { return c == '\n' || c == ' ' || c == '\t' || c == '{'; }

// The general case: special values, many digits, large exponents.
const char* ReadSlowly(const char* p, const char* end, double& value) {
  const char* stop = p;
  while (stop < end && !EndsValue(*stop)) ++stop;
  const std::optional<double> parsed = ParseFloat(std::string_view(p, stop - p));
  if (!parsed) return nullptr;
  value = std::isnan(*parsed) ? NormalNan() : *parsed;
  return stop;
}

// All but plain numbers of few digits. REQUIRES: the byte before `end` is no digit, and p < end.
ABSL_ATTRIBUTE_NOINLINE const char* ReadNumber(const char* p, const char* end, double& value) {
  const char* const start = p;
  bool negative = false;
  if (*p == '-' || *p == '+') negative = *p++ == '-';
  if (p == end) return nullptr;
  uint64_t mantissa = 0;
  int digits = TakeDigits(p, mantissa);
  int exponent = 0;
  if (*p == '.' && p + 1 < end) {
    ++p;
    exponent = -TakeDigits(p, mantissa);
    digits -= exponent;
  }
  if (digits == 0 || digits > kMantissaDigitsMax) return ReadSlowly(start, end, value);
  if ((*p == 'e' || *p == 'E') && p + 1 < end) {
    ++p;
    bool minus = false;
    if (*p == '-' || *p == '+') minus = *p++ == '-';
    if (p == end) return nullptr;
    uint64_t written = 0;
    const int exponent_digits = TakeDigits(p, written);
    if (exponent_digits == 0) return nullptr;
    if (exponent_digits > 4) return ReadSlowly(start, end, value);
    exponent += minus ? -static_cast<int>(written) : static_cast<int>(written);
  }
  if (!EndsValue(*p)) return ReadSlowly(start, end, value);
  double magnitude = static_cast<double>(mantissa);
  if (mantissa > kExactIntegerMax || exponent < -kExactPowerMax || exponent > kExactPowerMax) {
    if (mantissa == 0 || !ReadExtended(mantissa, exponent, magnitude)) {
      return ReadSlowly(start, end, value);
    }
  } else if (exponent < 0) {
    magnitude /= kPowersOfTen[-exponent];
  } else {
    magnitude *= kPowersOfTen[exponent];
  }
  value = negative ? -magnitude : magnitude;
  return p;
}

}  // namespace

const char* ReadSampleValue(const char* p, const char* end, double& value) {
  // Digits end before the end then, wherever they begin.
  if (p >= end || IsDigit(end[-1])) [[unlikely]]
    return ReadSlowly(p, end, value);
  const char* stop = p;
  uint64_t number = 0;
  for (; IsDigit(*stop); ++stop) number = number * 10 + (*stop - '0');
  if (EndsValue(*stop) && stop > p && stop - p <= kExactDigitsMax) {
    value = static_cast<double>(number);
    return stop;
  }
  return ReadNumber(p, end, value);
}

std::string OpenMetricsFloat(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0 ? "+Inf" : "-Inf";
  const double magnitude = std::fabs(value);
  // Go's 'g' with the shortest digits: an exponent below 1e-4 and from 1e6 on.
  if (magnitude == 0 || (magnitude >= 1e-4 && magnitude < 1e6)) {
    std::string fixed = FormatFloat(value);
    if (fixed.find('.') == std::string::npos) fixed += ".0";
    return fixed;
  }
  std::array<char, 64> buffer;
  const auto [end, error] = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value,
                                          std::chars_format::scientific);
  INVARIANT(error == std::errc());
  return std::string(buffer.data(), end);
}

}  // namespace varve

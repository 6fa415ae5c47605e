// SPDX-License-Identifier: Apache-2.0
//
// Sample values: most are short decimals, whose digits as an integer and a power of ten are both
// exact doubles, so that one multiplication or division rounds correctly.
#include <array>
#include <charconv>
#include <cmath>
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
constexpr int kMantissaDigitsMax = 18;

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

}  // namespace

const char* ReadSampleValue(const char* p, const char* end, double& value) {
  const char* const start = p;
  bool negative = false;
  if (p < end && (*p == '-' || *p == '+')) negative = *p++ == '-';
  uint64_t mantissa = 0;
  int digits = 0;
  int exponent = 0;
  for (; p < end && static_cast<unsigned char>(*p - '0') < 10; ++p) {
    mantissa = mantissa * 10 + (*p - '0');
    if (++digits > kMantissaDigitsMax) return ReadSlowly(start, end, value);
  }
  if (p < end && *p == '.') {
    ++p;
    for (; p < end && static_cast<unsigned char>(*p - '0') < 10; ++p) {
      mantissa = mantissa * 10 + (*p - '0');
      --exponent;
      if (++digits > kMantissaDigitsMax) return ReadSlowly(start, end, value);
    }
  }
  if (digits == 0) return ReadSlowly(start, end, value);
  if (p < end && (*p == 'e' || *p == 'E')) {
    ++p;
    bool minus = false;
    if (p < end && (*p == '-' || *p == '+')) minus = *p++ == '-';
    int written = 0;
    int exponent_digits = 0;
    for (; p < end && static_cast<unsigned char>(*p - '0') < 10; ++p) {
      written = written * 10 + (*p - '0');
      if (++exponent_digits > 4) return ReadSlowly(start, end, value);
    }
    if (exponent_digits == 0) return nullptr;
    exponent += minus ? -written : written;
  }
  if (p < end && !EndsValue(*p)) return ReadSlowly(start, end, value);
  if (mantissa > kExactIntegerMax || exponent < -kExactPowerMax || exponent > kExactPowerMax) {
    return ReadSlowly(start, end, value);
  }
  double magnitude = static_cast<double>(mantissa);
  if (exponent < 0) {
    magnitude /= kPowersOfTen[-exponent];
  } else {
    magnitude *= kPowersOfTen[exponent];
  }
  value = negative ? -magnitude : magnitude;
  return p;
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

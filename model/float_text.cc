// SPDX-License-Identifier: Apache-2.0
//
// Floats as Go reads and writes them.

#include <fmt/compile.h>
#include <fmt/format.h>

#include <array>
#include <charconv>
#include <cmath>

#include "model/check.h"
#include "model/time.h"

namespace varve {
namespace {

// The longest shortest decimal without an exponent: 5e-324 takes 326 characters.
constexpr size_t kFloatBytesMax = 400;

// Below, the shortest digits end at or behind the decimal point.
constexpr double kPlainDigitsBelow = 0x1p53;
// From here on fmt writes no exponent, up to kPlainDigitsBelow and further.
constexpr double kPlainInFmtFrom = 1e-4;

char Lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }

bool EqualsIgnoringCase(std::string_view text, std::string_view lower) {
  if (text.size() != lower.size()) return false;
  for (size_t i = 0; i < text.size(); ++i) {
    if (Lower(text[i]) != lower[i]) return false;
  }
  return true;
}

// Writes NaN and the infinities; false for finite values.
bool AppendSpecial(double value, std::string& out) {
  if (std::isnan(value)) {
    out += "NaN";
  } else if (std::isinf(value)) {
    out += value > 0 ? "+Inf" : "-Inf";
  } else {
    return false;
  }
  return true;
}

// Decimal form, but exponent form below `smallest_plain` and from 1e21 on.
void AppendWithExponent(double value, double smallest_plain, std::string& out) {
  const double magnitude = std::fabs(value);
  const bool plain = magnitude == 0 || (magnitude >= smallest_plain && magnitude < 1e21);
  if (plain || !std::isfinite(value)) return AppendFloat(value, out);
  std::array<char, kFloatBytesMax> buffer;
  const auto [end, error] = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value,
                                          std::chars_format::scientific);
  INVARIANT(error == std::errc());
  out.append(buffer.data(), end);
}

// Writes numbers of up to six decimals and fifteen digits: no other decimal of so few digits reads
// as the same double, so these are the shortest. False for other numbers, and for -0.
bool AppendFewDecimals(double value, std::string& out) {
  constexpr int64_t kScale = 1'000'000;
  const double scaled = value * kScale;
  if (!(std::fabs(scaled) < 1e15)) return false;
  const auto digits = static_cast<int64_t>(scaled + std::copysign(0.5, scaled));
  if (digits == 0 || static_cast<double>(digits) / kScale != value) return false;
  const uint64_t magnitude = digits < 0 ? -static_cast<uint64_t>(digits) : digits;
  std::array<char, 24> buffer;
  char* at = buffer.data();
  if (digits < 0) *at++ = '-';
  at = std::to_chars(at, buffer.data() + buffer.size(), magnitude / kScale).ptr;
  uint64_t fraction = magnitude % kScale;
  if (fraction != 0) {
    int places = 6;
    for (; fraction % 10 == 0; --places) fraction /= 10;
    *at++ = '.';
    for (int i = places; i-- > 0; fraction /= 10) at[i] = static_cast<char>('0' + fraction % 10);
    at += places;
  }
  out.append(buffer.data(), at);
  return true;
}

}  // namespace

std::optional<double> ParseFloat(std::string_view text) {
  std::string_view rest = text;
  bool negative = false;
  if (!rest.empty() && (rest[0] == '+' || rest[0] == '-')) {
    negative = rest[0] == '-';
    rest.remove_prefix(1);
  }
  if (rest.empty()) return std::nullopt;
  const char first = rest[0];
  if ((first < '0' || first > '9') && first != '.') {
    if (EqualsIgnoringCase(rest, "inf") || EqualsIgnoringCase(rest, "infinity")) {
      return negative ? -INFINITY : INFINITY;
    }
    // Prometheus stores one NaN, whatever its sign in the text.
    if (rest.size() == text.size() && EqualsIgnoringCase(rest, "nan")) return NAN;
    return std::nullopt;
  }
  double value = 0;
  const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), value);
  if (end != rest.data() + rest.size()) return std::nullopt;
  if (error == std::errc::result_out_of_range) {
    // from_chars leaves the value untouched; too small reads as zero, too large is refused by Go.
    const std::string copy(rest);
    value = std::strtod(copy.c_str(), nullptr);
    if (std::isinf(value)) return std::nullopt;
  } else if (error != std::errc()) {
    return std::nullopt;
  }
  return negative ? -value : value;
}

void AppendFloat(double value, std::string& out) {
  if (AppendSpecial(value, out) || AppendFewDecimals(value, out)) return;
  std::array<char, kFloatBytesMax> buffer;
  char* const begin = buffer.data();
  const double magnitude = std::fabs(value);
  if (magnitude < kPlainDigitsBelow) {
    if (magnitude >= kPlainInFmtFrom) {  // The same text as below, in less than half the time.
      out.append(begin, fmt::format_to(begin, FMT_COMPILE("{}"), value));
      return;
    }
    const auto [end, error] =
        std::to_chars(begin, begin + buffer.size(), value, std::chars_format::fixed);
    INVARIANT(error == std::errc());
    out.append(begin, end);
    return;
  }
  // From 2^53 on to_chars prints every digit of the exact value; Go prints the shortest digits that
  // read back and fills up with zeros.
  const auto [end, error] =
      std::to_chars(begin, begin + buffer.size(), value, std::chars_format::scientific);
  INVARIANT(error == std::errc());
  const std::string_view text(begin, end - begin);
  const size_t exponent_at = text.find('e');
  int exponent = 0;
  std::from_chars(text.data() + exponent_at + 2, end, exponent);
  int digits = 0;
  for (const char c : text.substr(0, exponent_at)) {
    if (c == '.') continue;
    out.push_back(c);
    if (c != '-') ++digits;
  }
  out.append(exponent + 1 - digits, '0');
}

std::string FormatFloat(double value) {
  std::string out;
  AppendFloat(value, out);
  return out;
}

std::string FormatShort(double value) {
  std::string out;
  AppendWithExponent(value, 1e-4, out);
  return out;
}

void AppendJsonFloat(double value, std::string& out) { AppendWithExponent(value, 1e-6, out); }

}  // namespace varve

// SPDX-License-Identifier: Apache-2.0
//
// Floats as Go reads and writes them.
#include "model/float_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstring>

#include "model/check.h"
#include "model/time.h"

namespace varve {
namespace {

// Below, the shortest digits end at or behind the decimal point.
constexpr double kPlainDigitsBelow = 0x1p53;
// From here on zeros before the digits are few.
constexpr double kPlainFrom = 1e-7;

// 00, 01, ... 99.
constexpr std::array<char, 200> kDigitPairs = [] {
  std::array<char, 200> pairs{};
  for (size_t i = 0; i < 100; ++i) {
    pairs[2 * i] = static_cast<char>('0' + i / 10);
    pairs[2 * i + 1] = static_cast<char>('0' + i % 10);
  }
  return pairs;
}();

char Lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }

bool EqualsIgnoringCase(std::string_view text, std::string_view lower) {
  if (text.size() != lower.size()) return false;
  for (size_t i = 0; i < text.size(); ++i) {
    if (Lower(text[i]) != lower[i]) return false;
  }
  return true;
}

char* Copy(std::string_view text, char* to) { return std::copy(text.begin(), text.end(), to); }

// Writes numbers of up to six decimals and fifteen digits: no other decimal of so few digits reads
// as the same double, so these are the shortest. Null for other numbers, and for -0.
char* WriteFewDecimals(double value, char* to) {
  constexpr int64_t kScale = 1'000'000;
  const double scaled = value * kScale;
  if (!(std::fabs(scaled) < 1e15)) return nullptr;
  const auto digits = static_cast<int64_t>(scaled + std::copysign(0.5, scaled));
  if (digits == 0 || static_cast<double>(digits) / kScale != value) return nullptr;
  const uint64_t magnitude = digits < 0 ? -static_cast<uint64_t>(digits) : digits;
  if (digits < 0) *to++ = '-';
  const uint64_t whole = magnitude / kScale;
  if (whole < 10) {
    *to++ = static_cast<char>('0' + whole);
  } else {
    to = std::to_chars(to, to + 20, whole).ptr;
  }
  const auto fraction = static_cast<uint32_t>(magnitude % kScale);
  if (fraction == 0) return to;
  *to = '.';
  std::memcpy(to + 1, &kDigitPairs[fraction / 10'000 * 2], 2);
  std::memcpy(to + 3, &kDigitPairs[fraction / 100 % 100 * 2], 2);
  std::memcpy(to + 5, &kDigitPairs[fraction % 100 * 2], 2);
  to += 7;
  while (to[-1] == '0') --to;
  return to;
}

// Seventeen digits at most, in front; copied as a whole, which is a few moves.
constexpr size_t kDigitsMax = 17;
constexpr size_t kDigitsCopied = 24;
struct DigitText {
  char text[kDigitsMax + kDigitsCopied] = {};
  size_t count = 0;
};

void WriteDigits(uint64_t digits, DigitText& out) {
  char text[kDigitsMax + 1 + kDigitsCopied] = {};
  char* const end = text + kDigitsMax + 1;
  char* at = end;
  while (digits >= 100) {
    at -= 2;
    std::memcpy(at, &kDigitPairs[digits % 100 * 2], 2);
    digits /= 100;
  }
  if (digits >= 10) {
    at -= 2;
    std::memcpy(at, &kDigitPairs[digits * 2], 2);
  } else {
    *--at = static_cast<char>('0' + digits);
  }
  out.count = static_cast<size_t>(end - at);
  std::memcpy(out.text, at, kDigitsCopied);
}

// The shortest digits that read back, in decimal form. Writes beyond the end that it returns.
// REQUIRES: kPlainFrom <= |value| < kPlainDigitsBelow.
char* WritePlain(double value, char* to) {
  if (value < 0) *to++ = '-';
  const auto decimal = fmt::detail::dragonbox::to_decimal(std::fabs(value));
  DigitText digits;
  WriteDigits(decimal.significand, digits);
  if (decimal.exponent >= 0) {
    std::memcpy(to, digits.text, kDigitsCopied);
    return std::fill_n(to + digits.count, decimal.exponent, '0');
  }
  const auto fraction = static_cast<size_t>(-decimal.exponent);
  if (digits.count > fraction) {
    const size_t whole = digits.count - fraction;
    std::memcpy(to, digits.text, kDigitsCopied);
    to[whole] = '.';
    std::memcpy(to + whole + 1, digits.text + whole, kDigitsCopied);
    return to + digits.count + 1;
  }
  *to++ = '0';
  *to++ = '.';
  to = std::fill_n(to, fraction - digits.count, '0');
  std::memcpy(to, digits.text, kDigitsCopied);
  return to + digits.count;
}

char* WriteChars(double value, std::chars_format format, char* to) {
  const auto [end, error] = std::to_chars(to, to + kFloatBytesMax, value, format);
  INVARIANT(error == std::errc());
  return end;
}

// From 2^53 on to_chars prints every digit of the exact value; Go prints the shortest digits that
// read back and fills up with zeros.
char* WriteLarge(double value, char* to) {
  std::array<char, kFloatBytesMax> buffer;
  const std::string_view text(
      buffer.data(),
      WriteChars(value, std::chars_format::scientific, buffer.data()) - buffer.data());
  const size_t exponent_at = text.find('e');
  int exponent = 0;
  std::from_chars(text.data() + exponent_at + 2, text.data() + text.size(), exponent);
  int digits = 0;
  for (const char c : text.substr(0, exponent_at)) {
    if (c == '.') continue;
    *to++ = c;
    if (c != '-') ++digits;
  }
  return std::fill_n(to, exponent + 1 - digits, '0');
}

char* WriteFloat(double value, char* to) {
  if (std::isnan(value)) return Copy("NaN", to);
  if (std::isinf(value)) return Copy(value > 0 ? "+Inf" : "-Inf", to);
  if (char* const end = WriteFewDecimals(value, to); end != nullptr) return end;
  const double magnitude = std::fabs(value);
  if (magnitude >= kPlainDigitsBelow) return WriteLarge(value, to);
  // The same text as below, in a third of the time.
  if (magnitude >= kPlainFrom) return WritePlain(value, to);
  return WriteChars(value, std::chars_format::fixed, to);
}

// Decimal form, but exponent form below `smallest_plain` and from 1e21 on.
char* WriteWithExponent(double value, double smallest_plain, char* to) {
  const double magnitude = std::fabs(value);
  const bool plain = magnitude == 0 || (magnitude >= smallest_plain && magnitude < 1e21);
  if (plain || !std::isfinite(value)) return WriteFloat(value, to);
  return WriteChars(value, std::chars_format::scientific, to);
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
  std::array<char, kFloatBytesMax> buffer;
  out.append(buffer.data(), WriteFloat(value, buffer.data()));
}

std::string FormatFloat(double value) {
  std::string out;
  AppendFloat(value, out);
  return out;
}

std::string FormatShort(double value) {
  std::array<char, kFloatBytesMax> buffer;
  return std::string(buffer.data(), WriteWithExponent(value, 1e-4, buffer.data()));
}

char* WriteJsonFloat(double value, char* to) { return WriteWithExponent(value, 1e-6, to); }

void AppendJsonFloat(double value, std::string& out) {
  std::array<char, kFloatBytesMax> buffer;
  out.append(buffer.data(), WriteJsonFloat(value, buffer.data()));
}

}  // namespace varve

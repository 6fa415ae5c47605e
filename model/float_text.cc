// SPDX-License-Identifier: Apache-2.0
//
// Floats as Go reads and writes them.
#include "model/float_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
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

// The digits of a number below 10^8 with zeros in front, a byte each, the first in the lowest one:
// pairs of numbers side by side are taken apart again and again.
uint64_t EightDigits(uint32_t number) {
  uint64_t parts = number / 10'000 | static_cast<uint64_t>(number % 10'000) << 32;
  uint64_t high = (parts * 10'486 >> 20) & 0x7f'0000'007f;  // Divided by 100.
  parts = high | (parts - high * 100) << 16;
  high = (parts * 103 >> 10) & 0xf'000f'000f'000f;  // Divided by 10.
  return high | (parts - high * 10) << 8;
}

// The shortest digits that read back, in decimal form. They stay in registers, from which they are
// stored sixteen at a time: beyond the end that it returns, too.
// REQUIRES: kPlainFrom <= |value| < kPlainDigitsBelow.
char* WritePlain(double value, char* to) {
  using Text = unsigned __int128;
  constexpr uint64_t kEight = 100'000'000;
  constexpr uint64_t kZeros = 0x3030303030303030;
  if (value < 0) *to++ = '-';
  const auto decimal = fmt::detail::dragonbox::to_decimal(std::fabs(value));
  // Seventeen digits at most: one before the others, then two times eight.
  const auto before = static_cast<char>(decimal.significand / (kEight * kEight));
  const uint64_t others = decimal.significand % (kEight * kEight);
  const uint64_t first = EightDigits(static_cast<uint32_t>(others / kEight));
  const uint64_t last = EightDigits(static_cast<uint32_t>(others % kEight));
  Text digits = (first | kZeros) | static_cast<Text>(last | kZeros) << 64;
  size_t count = 17;
  if (before == 0) {
    const int zeros = first != 0 ? std::countr_zero(first) / 8 : 8 + std::countr_zero(last) / 8;
    digits >>= 8 * zeros;
    count = static_cast<size_t>(16 - zeros);
  }
  const auto store = [&](Text text) { std::memcpy(to, &text, sizeof(text)); };
  const auto fraction = static_cast<size_t>(std::max(-decimal.exponent, 0));
  size_t whole = count > fraction ? count - fraction : 0;  // Digits before the point.
  if (whole == 0) {
    *to++ = '0';
    *to++ = '.';
    to = std::fill_n(to, fraction - count, '0');
  }
  if (before != 0) {
    *to++ = static_cast<char>('0' + before);
    --count;
    if (whole > 0) --whole;
  }
  store(digits);
  if (fraction >= count + (before != 0 ? 1 : 0)) return to + count;
  if (fraction == 0) return std::fill_n(to + count, decimal.exponent, '0');
  to += whole;
  *to++ = '.';
  store(digits >> (8 * whole));
  return to + count - whole;
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

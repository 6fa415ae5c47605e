// SPDX-License-Identifier: Apache-2.0
//
// Durations and times as text.

#include "model/time.h"

#include <absl/strings/ascii.h>
#include <fmt/format.h>

#include <array>
#include <charconv>
#include <cmath>

namespace varve {
namespace {

struct Unit {
  std::string_view text;
  DurationMs milliseconds;
  // Printed only when the whole duration is a multiple: nobody reads `1w3d4h`.
  bool only_when_even;
};

constexpr std::array<Unit, 7> kUnits = {{{"y", 365 * kDay, true},
                                         {"w", 7 * kDay, true},
                                         {"d", kDay, false},
                                         {"h", kHour, false},
                                         {"m", kMinute, false},
                                         {"s", kSecond, false},
                                         {"ms", 1, false}}};

// Durations are limited to 2^63 nanoseconds, as in Go.
constexpr DurationMs kDurationMax = std::numeric_limits<int64_t>::max() / 1'000'000;

// The unit at the front of `text`; `ms` before `m`.
const Unit* FindUnit(std::string_view text) {
  if (text.substr(0, 2) == "ms") return &kUnits.back();
  for (const Unit& unit : kUnits) {
    if (!text.empty() && text[0] == unit.text[0] && unit.text.size() == 1) return &unit;
  }
  return nullptr;
}

absl::Status NotADuration(std::string_view text) {
  return absl::InvalidArgumentError(fmt::format("not a valid duration string: \"{}\"", text));
}

// Days since the epoch of a civil date (Howard Hinnant, "chrono-Compatible Low-Level Date
// Algorithms").
int64_t DaysFromCivil(int64_t year, unsigned month, unsigned day) {
  year -= month <= 2;
  const int64_t era = (year >= 0 ? year : year - 399) / 400;
  const auto year_of_era = static_cast<unsigned>(year - era * 400);
  const unsigned day_of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
  const unsigned day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
  return era * 146097 + static_cast<int64_t>(day_of_era) - 719468;
}

struct CivilDate {
  int64_t year;
  unsigned month;
  unsigned day;
};

CivilDate CivilFromDays(int64_t days) {
  days += 719468;
  const int64_t era = (days >= 0 ? days : days - 146096) / 146097;
  const auto day_of_era = static_cast<unsigned>(days - era * 146097);
  const unsigned year_of_era =
      (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
  const unsigned day_of_year =
      day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
  const unsigned month_from_march = (5 * day_of_year + 2) / 153;
  const unsigned day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
  const unsigned month = month_from_march < 10 ? month_from_march + 3 : month_from_march - 9;
  return {static_cast<int64_t>(year_of_era) + era * 400 + (month <= 2), month, day};
}

bool IsLeapYear(int64_t year) { return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0; }

unsigned DaysInMonth(int64_t year, unsigned month) {
  constexpr std::array<unsigned, 12> kDays = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  return month == 2 && IsLeapYear(year) ? 29 : kDays[month - 1];
}

// Reads a fixed number of digits off the front of a text.
class DigitReader {
 public:
  explicit DigitReader(std::string_view text) : rest_(text) {}

  bool Digits(size_t count, unsigned& value) {
    if (rest_.size() < count) return false;
    value = 0;
    for (size_t i = 0; i < count; ++i) {
      if (!absl::ascii_isdigit(rest_[i])) return false;
      value = value * 10 + static_cast<unsigned>(rest_[i] - '0');
    }
    rest_.remove_prefix(count);
    return true;
  }

  bool OneOf(std::string_view characters, char& found) {
    if (rest_.empty() || characters.find(rest_[0]) == std::string_view::npos) return false;
    found = rest_[0];
    rest_.remove_prefix(1);
    return true;
  }

  bool Expect(std::string_view characters) {
    char ignored = 0;
    return OneOf(characters, ignored);
  }

  std::string_view rest() const { return rest_; }

 private:
  std::string_view rest_;
};

// The fraction and zone that end an RFC 3339 time, in milliseconds to add.
std::optional<int64_t> ParseFractionAndZone(DigitReader& reader) {
  int64_t milliseconds = 0;
  char c = 0;
  if (reader.OneOf(".", c)) {
    int64_t scale = 100;
    unsigned digit = 0;
    int digits = 0;
    for (; reader.Digits(1, digit); ++digits, scale /= 10) milliseconds += scale * digit;
    if (digits == 0) return std::nullopt;
  }
  if (!reader.OneOf("Zz+-", c)) return std::nullopt;
  if (c == '+' || c == '-') {
    unsigned hours = 0, minutes = 0;
    if (!reader.Digits(2, hours) || !reader.Expect(":") || !reader.Digits(2, minutes) ||
        hours > 23 || minutes > 59) {
      return std::nullopt;
    }
    const int64_t offset = hours * kHour + minutes * kMinute;
    milliseconds += c == '+' ? -offset : offset;
  }
  if (!reader.rest().empty()) return std::nullopt;
  return milliseconds;
}

std::optional<TimestampMs> ParseRfc3339(std::string_view text) {
  DigitReader reader(text);
  unsigned year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0;
  const bool shaped = reader.Digits(4, year) && reader.Expect("-") && reader.Digits(2, month) &&
                      reader.Expect("-") && reader.Digits(2, day) && reader.Expect("Tt") &&
                      reader.Digits(2, hour) && reader.Expect(":") && reader.Digits(2, minute) &&
                      reader.Expect(":") && reader.Digits(2, second);
  if (!shaped || month < 1 || month > 12 || day < 1 || day > DaysInMonth(year, month) ||
      hour > 23 || minute > 59 || second > 59) {
    return std::nullopt;
  }
  const std::optional<int64_t> rest = ParseFractionAndZone(reader);
  if (!rest.has_value()) return std::nullopt;
  return DaysFromCivil(year, month, day) * kDay + hour * kHour + minute * kMinute +
         second * kSecond + *rest;
}

// Seconds to milliseconds; nothing if out of range.
std::optional<int64_t> SecondsToMs(double seconds) {
  const double milliseconds = std::round(seconds * 1000);
  if (!(std::fabs(milliseconds) < 0x1p63)) return std::nullopt;
  return static_cast<int64_t>(milliseconds);
}

}  // namespace

absl::StatusOr<DurationMs> ParseDuration(std::string_view text) {
  if (text.empty()) return absl::InvalidArgumentError("empty duration string");
  if (text == "0") return DurationMs{0};
  std::string_view rest = text;
  DurationMs total = 0;
  const Unit* previous = nullptr;
  while (!rest.empty()) {
    int64_t count = 0;
    const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), count);
    if (!absl::ascii_isdigit(rest[0]) ||
        (error != std::errc() && error != std::errc::result_out_of_range)) {
      return NotADuration(text);
    }
    rest.remove_prefix(end - rest.data());
    const Unit* unit = FindUnit(rest);
    if (unit == nullptr || (previous != nullptr && unit <= previous)) return NotADuration(text);
    const bool too_large = error == std::errc::result_out_of_range ||
                           count > (kDurationMax - total) / unit->milliseconds;
    if (too_large) return absl::InvalidArgumentError("duration out of range");
    total += count * unit->milliseconds;
    rest.remove_prefix(unit->text.size());
    previous = unit;
  }
  return total;
}

std::string FormatDuration(DurationMs duration) {
  if (duration == 0) return "0s";
  std::string out = duration < 0 ? "-" : "";
  uint64_t rest = duration < 0 ? 0 - static_cast<uint64_t>(duration) : duration;
  for (const Unit& unit : kUnits) {
    const auto size = static_cast<uint64_t>(unit.milliseconds);
    if (rest < size || (unit.only_when_even && rest % size != 0)) continue;
    out += fmt::format("{}{}", rest / size, unit.text);
    rest %= size;
  }
  return out;
}

absl::StatusOr<TimestampMs> ParseApiTime(std::string_view text) {
  if (const std::optional<double> seconds = ParseFloat(text); seconds.has_value()) {
    if (const auto milliseconds = SecondsToMs(*seconds); milliseconds.has_value()) {
      return *milliseconds;
    }
  } else if (const auto time = ParseRfc3339(text); time.has_value()) {
    return *time;
  } else if (text == kMinTimeText) {
    return kMinApiTime;
  } else if (text == kMaxTimeText) {
    return kMaxApiTime;
  }
  return absl::InvalidArgumentError(fmt::format("cannot parse \"{}\" to a valid timestamp", text));
}

absl::StatusOr<DurationMs> ParseApiDuration(std::string_view text) {
  if (const std::optional<double> seconds = ParseFloat(text); seconds.has_value()) {
    const double nanoseconds = *seconds * 1e9;
    if (!(std::fabs(nanoseconds) < 0x1p63)) {
      return absl::InvalidArgumentError(
          fmt::format("cannot parse \"{}\" to a valid duration. It overflows int64", text));
    }
    return static_cast<DurationMs>(nanoseconds / 1e6);
  }
  if (const auto duration = ParseDuration(text); duration.ok()) return *duration;
  return absl::InvalidArgumentError(fmt::format("cannot parse \"{}\" to a valid duration", text));
}

std::string FormatRfc3339(TimestampMs time) {
  int64_t days = time / kDay;
  int64_t rest = time % kDay;
  if (rest < 0) {
    rest += kDay;
    --days;
  }
  const CivilDate date = CivilFromDays(days);
  std::string out = fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}", date.year, date.month,
                                date.day, rest / kHour, rest / kMinute % 60, rest / kSecond % 60);
  if (rest % kSecond != 0) {
    out += fmt::format(".{:03}", rest % kSecond);
    while (out.back() == '0') out.pop_back();
  }
  out.push_back('Z');
  return out;
}

}  // namespace varve

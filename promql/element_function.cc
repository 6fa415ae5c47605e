// SPDX-License-Identifier: Apache-2.0
//
// Functions of one number: arithmetic, trigonometry, and what a Unix time says about its date.
#include <cmath>
#include <limits>
#include <numbers>

#include "model/sample.h"
#include "promql/vector_function.h"

namespace varve::promql {
namespace {

double Round(double value, const double* params) {
  const double inverse = 1.0 / params[0];
  return std::floor(value * inverse + 0.5) / inverse;
}

// NaN arguments win, and 0 is more than -0, as in Go's math.Max and math.Min.
double Larger(double a, double b) {
  if (std::isinf(a) && a > 0) return a;
  if (std::isinf(b) && b > 0) return b;
  if (std::isnan(a) || std::isnan(b)) return NormalNan();
  if (a == 0 && b == 0) return std::signbit(a) ? b : a;
  return a > b ? a : b;
}
double Smaller(double a, double b) {
  if (std::isinf(a) && a < 0) return a;
  if (std::isinf(b) && b < 0) return b;
  if (std::isnan(a) || std::isnan(b)) return NormalNan();
  if (a == 0 && b == 0) return std::signbit(a) ? a : b;
  return a < b ? a : b;
}

double Sgn(double value) {
  if (value < 0) return -1;
  if (value > 0) return 1;
  return value;
}

struct Date {
  int64_t year = 1970;
  int month = 1;  // 1..12
  int day = 1;    // 1..31
  int day_of_year = 1;
  int day_of_week = 4;  // Sunday = 0
  int64_t second_of_day = 0;
};

bool IsLeapYear(int64_t year) { return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0); }

int DaysInMonth(int64_t year, int month) {
  constexpr int kDays[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  return month == 2 && IsLeapYear(year) ? 29 : kDays[month - 1];
}

int64_t FloorDiv(int64_t a, int64_t b) { return a / b - (a % b < 0 ? 1 : 0); }

// Seconds since the epoch in UTC; the fraction is cut off.
Date DateOf(double seconds) {
  constexpr double kSecondsMax = 9.2e18;
  const int64_t whole = std::fabs(seconds) < kSecondsMax ? static_cast<int64_t>(seconds)
                                                         : std::numeric_limits<int64_t>::min();
  const int64_t days = FloorDiv(whole, 86400);
  Date date;
  date.second_of_day = whole - days * 86400;
  date.day_of_week = static_cast<int>(((days + 4) % 7 + 7) % 7);
  // Days since 0000-03-01 in cycles of 400 years, so that the leap day is each year's last.
  const int64_t shifted = days + 719468;
  const int64_t era = FloorDiv(shifted, 146097);
  const int64_t day_of_era = shifted - era * 146097;
  const int64_t year_of_era =
      (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
  const int64_t day_from_march =
      day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
  const int64_t month_from_march = (5 * day_from_march + 2) / 153;
  date.day = static_cast<int>(day_from_march - (153 * month_from_march + 2) / 5 + 1);
  date.month =
      static_cast<int>(month_from_march < 10 ? month_from_march + 3 : month_from_march - 9);
  date.year = year_of_era + era * 400 + (date.month <= 2 ? 1 : 0);
  date.day_of_year = date.day;
  for (int month = 1; month < date.month; ++month) {
    date.day_of_year += DaysInMonth(date.year, month);
  }
  return date;
}

template <double (*kFunction)(double)>
double Plain(double value, const double*) {
  return kFunction(value);
}

struct ElementEntry {
  FunctionId id;
  ElementFunction body;
};

constexpr ElementEntry kElementFunctions[] = {
    {FunctionId::kAbs, [](double v, const double*) { return std::fabs(v); }},
    {FunctionId::kAcos, [](double v, const double*) { return std::acos(v); }},
    {FunctionId::kAcosh, [](double v, const double*) { return std::acosh(v); }},
    {FunctionId::kAsin, [](double v, const double*) { return std::asin(v); }},
    {FunctionId::kAsinh, [](double v, const double*) { return std::asinh(v); }},
    {FunctionId::kAtan, [](double v, const double*) { return std::atan(v); }},
    {FunctionId::kAtanh, [](double v, const double*) { return std::atanh(v); }},
    {FunctionId::kCeil, [](double v, const double*) { return std::ceil(v); }},
    {FunctionId::kClampMax, [](double v, const double* p) { return Smaller(p[0], v); }},
    {FunctionId::kClampMin, [](double v, const double* p) { return Larger(p[0], v); }},
    {FunctionId::kCos, [](double v, const double*) { return std::cos(v); }},
    {FunctionId::kCosh, [](double v, const double*) { return std::cosh(v); }},
    {FunctionId::kDayOfMonth,
     [](double v, const double*) { return static_cast<double>(DateOf(v).day); }},
    {FunctionId::kDayOfWeek,
     [](double v, const double*) { return static_cast<double>(DateOf(v).day_of_week); }},
    {FunctionId::kDayOfYear,
     [](double v, const double*) { return static_cast<double>(DateOf(v).day_of_year); }},
    {FunctionId::kDaysInMonth,
     [](double v, const double*) {
       const Date date = DateOf(v);
       return static_cast<double>(DaysInMonth(date.year, date.month));
     }},
    {FunctionId::kDeg, [](double v, const double*) { return v * 180 / std::numbers::pi; }},
    {FunctionId::kExp, [](double v, const double*) { return std::exp(v); }},
    {FunctionId::kFloor, [](double v, const double*) { return std::floor(v); }},
    {FunctionId::kHour,
     [](double v, const double*) { return static_cast<double>(DateOf(v).second_of_day / 3600); }},
    {FunctionId::kLn, [](double v, const double*) { return std::log(v); }},
    {FunctionId::kLog10, [](double v, const double*) { return std::log10(v); }},
    {FunctionId::kLog2, [](double v, const double*) { return std::log2(v); }},
    {FunctionId::kMinute,
     [](double v, const double*) {
       return static_cast<double>(DateOf(v).second_of_day / 60 % 60);
     }},
    {FunctionId::kMonth,
     [](double v, const double*) { return static_cast<double>(DateOf(v).month); }},
    {FunctionId::kRad, [](double v, const double*) { return v * std::numbers::pi / 180; }},
    {FunctionId::kRound, Round},
    {FunctionId::kSgn, Plain<Sgn>},
    {FunctionId::kSin, [](double v, const double*) { return std::sin(v); }},
    {FunctionId::kSinh, [](double v, const double*) { return std::sinh(v); }},
    {FunctionId::kSqrt, [](double v, const double*) { return std::sqrt(v); }},
    {FunctionId::kTan, [](double v, const double*) { return std::tan(v); }},
    {FunctionId::kTanh, [](double v, const double*) { return std::tanh(v); }},
    {FunctionId::kYear,
     [](double v, const double*) { return static_cast<double>(DateOf(v).year); }},
};

}  // namespace

ElementFunction FindElementFunction(FunctionId id) {
  for (const ElementEntry& entry : kElementFunctions) {
    if (entry.id == id) return entry.body;
  }
  return nullptr;
}

}  // namespace varve::promql

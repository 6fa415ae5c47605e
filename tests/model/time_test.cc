// SPDX-License-Identifier: Apache-2.0
//
// Durations, times and floats as text.

#include "model/time.h"

#include <doctest/doctest.h>

#include <bit>
#include <charconv>
#include <cmath>
#include <iterator>
#include <random>
#include <string>
#include <utility>

#include "model/clock.h"

namespace varve {
namespace {

TEST_CASE("durations: parse and print") {
  struct Case {
    const char* text;
    DurationMs expected;
  };
  const Case cases[] = {
      {"0", 0},
      {"0s", 0},
      {"5m", 5 * kMinute},
      {"1h30m", 90 * kMinute},
      {"1d", kDay},
      {"1y2w3d4h5m6s7ms", 365 * kDay + 17 * kDay + 4 * kHour + 5 * kMinute + 6007},
  };
  for (const Case& c : cases) {
    CAPTURE(c.text);
    const auto parsed = ParseDuration(c.text);
    REQUIRE(parsed.ok());
    CHECK(*parsed == c.expected);
  }
  CHECK(FormatDuration(0) == "0s");
  CHECK(FormatDuration(90 * kMinute) == "1h30m");
  CHECK(FormatDuration(7 * kDay) == "1w");
  CHECK(FormatDuration(8 * kDay) == "8d");
  CHECK(FormatDuration(365 * kDay) == "1y");
  CHECK(FormatDuration(1500) == "1s500ms");
  CHECK(FormatDuration(-1500) == "-1s500ms");
}

TEST_CASE("durations: refused") {
  for (const char* text : {"", "1", "m", "1m1h", "1h1h", "-1m", "1.5h", "1x", "5m ", "1ms1s"}) {
    CAPTURE(text);
    CHECK_FALSE(ParseDuration(text).ok());
  }
  CHECK(ParseDuration("300y").status().message() == "duration out of range");
  CHECK(ParseDuration("99999999999999999999s").status().message() == "duration out of range");
  CHECK(ParseDuration("290y").ok());
}

TEST_CASE("API times") {
  CHECK(ParseApiTime("1.5").value() == 1500);
  CHECK(ParseApiTime("1e3").value() == 1'000'000);
  CHECK(ParseApiTime("-0.0004").value() == 0);
  CHECK(ParseApiTime("1970-01-01T00:00:01Z").value() == 1000);
  CHECK(ParseApiTime("2015-07-01T20:10:51.781Z").value() == 1435781451781);
  CHECK(ParseApiTime("2015-07-01T20:10:51.781999999+02:00").value() == 1435774251781);
  CHECK(ParseApiTime("2000-02-29T00:00:00Z").ok());
  CHECK(ParseApiTime(kMinTimeText).value() == kMinApiTime);
  CHECK(ParseApiTime(kMaxTimeText).value() == kMaxApiTime);
  for (const char* text : {"", "x", "NaN", "Inf", "1e40", "2001-02-29T00:00:00Z",
                           "2015-07-01T20:10:51", "2015-07-01 20:10:51Z", "2015-13-01T00:00:00Z"}) {
    CAPTURE(text);
    CHECK_FALSE(ParseApiTime(text).ok());
  }
  CHECK(ParseApiTime("x").status().message() == "cannot parse \"x\" to a valid timestamp");
}

TEST_CASE("API durations") {
  CHECK(ParseApiDuration("15").value() == 15000);
  CHECK(ParseApiDuration("0.25").value() == 250);
  CHECK(ParseApiDuration("5m").value() == 5 * kMinute);
  CHECK(ParseApiDuration("foo").status().message() == "cannot parse \"foo\" to a valid duration");
  CHECK_FALSE(ParseApiDuration("1e30").ok());
}

TEST_CASE("RFC 3339 text reads back") {
  CHECK(FormatRfc3339(0) == "1970-01-01T00:00:00Z");
  CHECK(FormatRfc3339(1435781451781) == "2015-07-01T20:10:51.781Z");
  CHECK(FormatRfc3339(-1500) == "1969-12-31T23:59:58.5Z");
  std::mt19937_64 random(7);
  for (int i = 0; i < 2000; ++i) {
    const auto time = static_cast<TimestampMs>(random() % 253'402'300'799'000ULL);
    CHECK(ParseApiTime(FormatRfc3339(time)).value() == time);
  }
}

TEST_CASE("floats: text as Go writes it") {
  CHECK(FormatFloat(0.1) == "0.1");
  CHECK(FormatFloat(-0.0) == "-0");
  CHECK(FormatFloat(1e23) == "100000000000000000000000");
  CHECK(FormatFloat(-123456789012345680000.0) == "-123456789012345680000");
  CHECK(FormatFloat(1e-7) == "0.0000001");
  CHECK(FormatFloat(NAN) == "NaN");
  CHECK(FormatFloat(-INFINITY) == "-Inf");
  const auto json = [](double value) {
    std::string out;
    AppendJsonFloat(value, out);
    return out;
  };
  CHECK(json(1e21) == "1e+21");
  CHECK(json(9.99e20) == "999000000000000000000");
  CHECK(json(1e-7) == "1e-07");
  CHECK(json(INFINITY) == "+Inf");
  CHECK(FormatShort(0.00001) == "1e-05");
  CHECK(FormatShort(1e20) == "100000000000000000000");
}

TEST_CASE("floats: few decimals are written as the shortest text") {
  const auto shortest = [](double value) {
    char text[400];
    return std::string(text,
                       std::to_chars(text, std::end(text), value, std::chars_format::fixed).ptr);
  };
  for (double value : {0.000001,
                       0.0000015,
                       -0.5,
                       1234567.125,
                       999999999.999999,
                       1e9 - 1e-6,
                       0.1 + 0.2,
                       1.0 / 3,
                       100.0,
                       -7.25,
                       5e-324,
                       4503599627370497.5,
                       1e-7,
                       std::nextafter(1e-7, 0.0),
                       1e-7 / 3,
                       1e-6 / 3,
                       9.999e-5,
                       0.0001,
                       1e-5 / 7,
                       9007199254740991.0,
                       0x1p53,
                       std::nextafter(1.0, 0.0),
                       -1e-7 / 0.7}) {
    CAPTURE(value);
    CHECK(FormatFloat(value) == shortest(value));
  }
  std::mt19937_64 random(12);
  for (int i = 0; i < 200'000; ++i) {
    // Decimals of up to 9 places, their neighbours, and values whose digits exceed fifteen.
    const double scale = std::pow(10.0, static_cast<double>(random() % 10));
    const auto digits = static_cast<double>(static_cast<int64_t>(random()) >> (random() % 60));
    double value = digits / scale;
    if (random() % 4 == 0) value = std::nextafter(value, INFINITY);
    if (std::fabs(value) >= 0x1p53) continue;
    REQUIRE(FormatFloat(value) == shortest(value));
    value = std::ldexp(value, -static_cast<int>(random() % 90));
    REQUIRE(FormatFloat(value) == shortest(value));
  }
}

TEST_CASE("floats: text reads back") {
  std::mt19937_64 random(11);
  for (int i = 0; i < 20000; ++i) {
    const double value = std::bit_cast<double>(random());
    if (!std::isfinite(value)) continue;
    const auto read = ParseFloat(FormatFloat(value));
    REQUIRE(read.has_value());
    CHECK(std::bit_cast<uint64_t>(*read) == std::bit_cast<uint64_t>(value));
  }
  CHECK(std::isnan(ParseFloat("nan").value()));
  CHECK(ParseFloat("-iNf").value() == -INFINITY);
  CHECK(ParseFloat("1e-400").value() == 0);
  for (const char* text : {"", "+", "0x10", "1_0", "1 ", "1e400", "--1", "+-1", "infx", "1e"}) {
    CAPTURE(text);
    CHECK_FALSE(ParseFloat(text).has_value());
  }
}

TEST_CASE("manual clock") {
  ManualClock clock(1000);
  clock.Advance(500);
  CHECK(clock.Now() == 1500);
  CHECK(clock.MonotonicNanos() == 500'000'000);
  clock.Set(3);
  CHECK(clock.Now() == 3);
  CHECK(clock.MonotonicNanos() == 500'000'000);
}

}  // namespace
}  // namespace varve

// SPDX-License-Identifier: Apache-2.0
//
// Timestamps and durations, and their text forms: Prometheus durations (`1h30m`), and the API's
// times (Unix seconds or RFC 3339).
#pragma once

#include <absl/status/statusor.h>

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>

namespace varve {

using TimestampMs = int64_t;  // Milliseconds since the Unix epoch.
using DurationMs = int64_t;   // Milliseconds.

inline constexpr TimestampMs kMinTimestamp = std::numeric_limits<int64_t>::min();
inline constexpr TimestampMs kMaxTimestamp = std::numeric_limits<int64_t>::max();

inline constexpr DurationMs kSecond = 1000;
inline constexpr DurationMs kMinute = 60 * kSecond;
inline constexpr DurationMs kHour = 60 * kMinute;
inline constexpr DurationMs kDay = 24 * kHour;

// Parses `[Ny][Nw][Nd][Nh][Nm][Ns][Nms]` (that order, each unit once; y = 365d) or `0`.
// InvalidArgument `not a valid duration string: "x"`, `empty duration string`, or
// `duration out of range` past 2^63 ns.
absl::StatusOr<DurationMs> ParseDuration(std::string_view text);

// The shortest form of the same units: `1h30m`, `0s`; years and weeks only when they divide evenly.
// A negative duration is printed with a leading '-'.
std::string FormatDuration(DurationMs duration);

// The times the API prints for "from the beginning" and "to the end", and what they read back as.
inline constexpr std::string_view kMinTimeText = "-292273086-05-16T16:47:06Z";
inline constexpr std::string_view kMaxTimeText = "292277025-08-18T07:12:54.999999999Z";
inline constexpr TimestampMs kMinApiTime = kMinTimestamp / 1000 * 1000 + 62'135'596'801'000;
inline constexpr TimestampMs kMaxApiTime = kMaxTimestamp / 1000 * 1000 - 62'135'596'801'000 + 999;

// Parses the API's time: float Unix seconds, or RFC 3339 with up to nanoseconds (cut to ms).
// InvalidArgument `cannot parse "x" to a valid timestamp`.
absl::StatusOr<TimestampMs> ParseApiTime(std::string_view text);

// Parses the API's duration: float seconds or a Prometheus duration.
// InvalidArgument `cannot parse "x" to a valid duration`, with `. It overflows int64` where it
// does.
absl::StatusOr<DurationMs> ParseApiDuration(std::string_view text);

// RFC 3339 in UTC with the fraction's trailing zeros cut: `2026-01-02T03:04:05.5Z`.
std::string FormatRfc3339(TimestampMs time);

// Parses a float as Go's strconv.ParseFloat does ("Inf", "+Inf", "NaN", hex floats and
// underscores excluded). Returns nothing if any byte is left over.
std::optional<double> ParseFloat(std::string_view text);

// The shortest decimal that reads back as `value`, never in exponent form (Go's 'f', -1):
// `0.1`, `100000000000000000000000`, `NaN`, `+Inf`, `-Inf`.
std::string FormatFloat(double value);
void AppendFloat(double value, std::string& out);

// Go's %g: as FormatFloat, but in exponent form below 1e-4 and from 1e21 on.
std::string FormatShort(double value);

// As FormatFloat, but in exponent form below 1e-6 and from 1e21 on (the HTTP API's form).
void AppendJsonFloat(double value, std::string& out);

}  // namespace varve

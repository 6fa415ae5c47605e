// SPDX-License-Identifier: Apache-2.0
//
// Where log lines go and how they look: one line each on standard error, logfmt or JSON, with
// Prometheus' keys time, level and msg.
#pragma once

#include <string>
#include <string_view>

#include "model/time.h"

namespace varve {

// Configures spdlog's default logger for the whole process. `level` is debug, info, warn or error;
// `format` is logfmt or json.
void ConfigureLogging(const std::string& level, const std::string& format);

// One line of the log as it is written, its end included. `line` as LogLine() makes them.
std::string FormatLogLine(std::string_view line, std::string_view level, TimestampMs time,
                          bool json);

}  // namespace varve

// SPDX-License-Identifier: Apache-2.0
//
// Where log lines go and how they look: one line each on standard error, logfmt or JSON, with
// Prometheus' keys time, level and msg.
#pragma once

#include <string>

namespace varve {

// Configures spdlog's default logger for the whole process. `level` is debug, info, warn or error;
// `format` is logfmt or json.
void ConfigureLogging(const std::string& level, const std::string& format);

}  // namespace varve

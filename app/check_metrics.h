// SPDX-License-Identifier: Apache-2.0
//
// Lint of exposition text: names, types and help as Prometheus' conventions want them.
#pragma once

#include <string_view>

#include "app/check_result.h"

namespace varve {

// A line `METRIC PROBLEM` on standard error for each problem, sorted; code 3 if there are any, 1
// for text that is no exposition.
CheckResult CheckMetrics(std::string_view text);

}  // namespace varve

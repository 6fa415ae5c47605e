// SPDX-License-Identifier: Apache-2.0
//
// `varve check ...`: looks at files without a server, with promtool's output and exit codes.
#pragma once

#include <cstdio>
#include <string>
#include <vector>

#include "app/check_result.h"

namespace varve {

// `arguments` are those after `check`; `input` is what `check metrics` reads. Never throws.
CheckResult RunCheckCommand(const std::vector<std::string>& arguments, std::FILE* input);

}  // namespace varve

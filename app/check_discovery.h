// SPDX-License-Identifier: Apache-2.0
//
// Runs a job's service discovery once and shows what it finds and what relabelling makes of it.
#pragma once

#include <string>

#include "app/check_result.h"
#include "model/time.h"

namespace varve {

// Ends when every discovery of `job` has spoken and nothing came for a second, at the latest after
// `timeout`. Prints a JSON list of {discoveredLabels, labels, error}.
CheckResult CheckDiscovery(const std::string& config_file, const std::string& job,
                           DurationMs timeout, bool agent_mode);

}  // namespace varve

// SPDX-License-Identifier: Apache-2.0
//
// Targets from a server that lists them as JSON: asked every refresh interval; what it said last
// stays while it fails.
#pragma once

#include <memory>

#include "scrape/config.h"
#include "scrape/context.h"
#include "scrape/discovery/discovery.h"

namespace varve {

// The largest answer read.
inline constexpr size_t kTargetListBytesMax = 256 << 20;

// Requests and timers run on the context's event loop, answers are read by its workers. Failures
// are logged and counted (prometheus_sd_http_failures_total).
std::unique_ptr<Discovery> NewHttpDiscovery(const HttpSdConfig& config,
                                            std::shared_ptr<ScrapeContext> context,
                                            TargetGroupsCallback callback);

}  // namespace varve

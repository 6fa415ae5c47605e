// SPDX-License-Identifier: Apache-2.0
//
// Targets from a server that lists them as JSON: asked every refresh interval; what it said last
// stays while it fails.
#pragma once

#include <memory>
#include <string>

#include "scrape/config.h"
#include "scrape/discovery/context.h"
#include "scrape/discovery/discovery.h"

namespace varve {

// The largest answer read.
inline constexpr size_t kTargetListBytesMax = 256 << 20;

std::unique_ptr<Discovery> NewHttpDiscovery(const HttpSdConfig& config, const std::string& job,
                                            std::shared_ptr<DiscoveryContext> context,
                                            TargetGroupsCallback callback);

}  // namespace varve

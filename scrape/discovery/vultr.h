// SPDX-License-Identifier: Apache-2.0
//
// The instances of a Vultr account, from its API version 2: all pages of the list every refresh
// interval; what it said last stays while it fails.
#pragma once

#include <memory>
#include <string>

#include "scrape/config.h"
#include "scrape/discovery/context.h"
#include "scrape/discovery/discovery.h"

namespace varve {

// The largest page read, and how many of them, of a hundred instances each.
inline constexpr size_t kVultrPageBytesMax = 4 << 20;
inline constexpr int kVultrPagesMax = 1000;

std::unique_ptr<Discovery> NewVultrDiscovery(const VultrSdConfig& config, const std::string& job,
                                             std::shared_ptr<DiscoveryContext> context,
                                             TargetGroupsCallback callback);

}  // namespace varve
